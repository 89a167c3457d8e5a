"""A page of pictures and text, positioned in inches from its upper left corner."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from core.store.read import SPLITS

DPI = 120
WIDTH = 14.0
EDGE = 0.35  # around the page
INK, MUTED, RULE = "#1d2733", "#5b6875", "#d5dbe1"
SPLIT_COLOURS = dict(zip(SPLITS, ("#2f6db5", "#e39a1f", "#c8323c", "#9aa5b0")))
_FONT = "DejaVu Sans"  # ships with matplotlib: pages look the same everywhere
_STYLE: dict[Any, Any] = {
    "font.family": _FONT,
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,  # names may contain dollar signs
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@contextmanager
def page_style() -> Iterator[None]:
    """Text and axes style while pages are drawn and saved."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in scripts that the font lacks
        yield


@dataclass(frozen=True)
class Canvas:
    """A figure with coordinates in inches from its upper left corner."""

    figure: Figure
    height: float

    def text(self, x: float, y: float, text: str, *, width: float | None = None, **style: Any) -> Text:
        """Write text with its baseline at y; text wider than ``width`` is shortened in the middle."""
        if width is not None:
            size, weight = style.get("fontsize", _STYLE["font.size"]), style.get("weight", "normal")
            text = shorten(text, width, FontProperties(family=_FONT, size=size, weight=weight))
        at = self.figure.dpi_scale_trans
        return self.figure.text(x, self.height - y, text, transform=at, **style)

    def width(self, text: Text) -> float:
        """Width of a text on the page, inches."""
        return text.get_window_extent().width / DPI

    def heading(self, x: float, y: float, text: str, note: str = "") -> float:
        """Write the title of a panel and a note after it; return the right edge of the title."""
        end = x + self.width(self.text(x, y, text, fontsize=10.5, weight="bold"))
        self.text(end + 0.12, y, note, color=MUTED)
        return end

    def axes(self, x: float, y: float, width: float, height: float, label: str) -> Axes:
        """Axes with their upper left corner at (x, y)."""
        bottom = self.height - y - height
        box = (x / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
        return self.figure.add_axes(box, label=label)

    def picture(self, x: float, y: float, pixels: np.ndarray) -> None:
        """Draw (rows, cols, 3) uint8 at (x, y), unscaled."""
        down = round(self.height * DPI) - round(y * DPI) - len(pixels)
        self.figure.figimage(pixels, round(x * DPI), down, origin="upper")

    def swatch(self, x: float, y: float, colour: Any) -> None:
        """Draw a small square on the baseline y."""
        side = round(0.09 * DPI)
        rgb = (np.array(to_rgb(colour)) * 255).round().astype(np.uint8)
        self.picture(x, y - 0.09, np.broadcast_to(rgb, (side, side, 3)))


def shorten(text: str, width: float, font: FontProperties) -> str:
    """Replace the middle of a text wider than ``width`` inches by an ellipsis; line breaks become spaces."""

    def fits(candidate: str) -> bool:
        return text_to_path.get_text_width_height_descent(candidate, font, ismath=False)[0] <= width * 72

    text = " ".join(text.split())
    if fits(text):
        return text
    least, most = 0, min(len(text), 400)  # bisect the number of characters kept
    while most - least > 1:
        keep = (least + most) // 2
        least, most = (keep, most) if fits(_middle_out(text, keep)) else (least, keep)
    return _middle_out(text, least)


def _middle_out(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (keep - head) :].lstrip()}"

"""A page of pictures and text, positioned in inches from its upper left corner."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from core.store.read import SPLITS

DPI = 120
WIDTH = 14.0
EDGE = 0.35  # around the page
INK, MUTED, RULE = "#1d2733", "#5b6875", "#d5dbe1"
SPLIT_COLOURS = dict(zip(SPLITS, ("#2f6db5", "#e39a1f", "#c8323c", "#9aa5b0")))
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: pages look the same everywhere
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

    def text(self, x: float, y: float, text: str, *, width: float | None = None, **style: Any) -> None:
        """Write text with its baseline at y; text wider than ``width`` is shortened in the middle."""
        if width is not None:
            text = shorten(text, width, style.get("fontsize", _STYLE["font.size"]))
        self.figure.text(x, self.height - y, text, transform=self.figure.dpi_scale_trans, **style)

    def picture(self, x: float, y: float, pixels: np.ndarray) -> None:
        """Draw (rows, cols, 3) uint8 at (x, y), unscaled."""
        down = round(self.height * DPI) - round(y * DPI) - len(pixels)
        self.figure.figimage(pixels, round(x * DPI), down, origin="upper")

    def swatch(self, x: float, y: float, colour: Any) -> None:
        """Draw a small square on the baseline y."""
        side = round(0.09 * DPI)
        rgb = (np.array(to_rgb(colour)) * 255).round().astype(np.uint8)
        self.picture(x, y - 0.09, np.broadcast_to(rgb, (side, side, 3)))


def shorten(text: str, width: float, size: float) -> str:
    """Replace the middle of a text wider than about ``width`` inches by an ellipsis; line breaks become spaces.

    Args:
        text: of letters that are 0.56 times as wide as high on average.
        width: inches, of at least three letters.
        size: of the font, points.
    """
    text, most = " ".join(text.split()), int(width * 72 / (0.56 * size))
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head].rstrip()}…{text[head + 1 - most :].lstrip()}"

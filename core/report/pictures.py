"""Chips as RGB pictures of any size (nodata hatched, labels and objects outlined), and pages to draw them on."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.colors import hsv_to_rgb, is_color_like, to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from core.store.read import SPLITS, UNLABELLED, ChipStore, LandClass
from core.store.summary import sample_rows

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
# The numbers of Sentinel-2 and Landsat 8 agree for these bands.
_NATURAL = ({"red", "r", "b4"}, {"green", "g", "b3"}, {"blue", "b", "b2"})
_STRETCH = (2, 98)  # percentiles
_STRETCH_BYTES = 128 << 20  # of chips from which the stretch is computed
_GAMMA = 0.8  # brightens the imagery
_HATCH = (230, 204)  # greys


def natural_bands(names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Numbers of the red, green and blue band; None if the names do not tell."""
    split = [{re.sub(r"^b0+", "b", word) for word in re.split(r"[^a-z0-9]+", name.lower())} for name in names]
    bands = [next((number for number, words in enumerate(split) if words & known), None) for known in _NATURAL]
    return None if None in bands else tuple(number for number in bands if number is not None)


def class_colours(classes: tuple[LandClass, ...]) -> np.ndarray:
    """(classes, 3) uint8: the legend's colours, or distinct hues where it has none."""
    colours = np.zeros((len(classes), 3))
    for number, entry in enumerate(classes):
        stated = f"#{entry.color}"
        hue = (number * 0.618034) % 1  # golden ratio: neighbours differ
        colours[number] = to_rgb(stated) if is_color_like(stated) else hsv_to_rgb((hue, 0.55, 0.8))
    return (colours * 255).round().astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Painter:
    """Renders chips of a store, all with the same stretch, so that dates can be compared."""

    store: ChipStore
    bands: tuple[int, ...]  # numbers of the three bands to show, or of one
    low: np.ndarray  # (bands, 1, 1) pixel value shown as black
    high: np.ndarray  # (bands, 1, 1) pixel value shown as white
    colours: np.ndarray  # (classes, 3) uint8

    @classmethod
    def of(cls, store: ChipStore) -> Painter:
        """Compute the stretch from a sample of the chips."""
        info = store.info
        natural = natural_bands(info.bands)
        bands = natural or ((0, 1, 2) if len(info.bands) >= 3 else (0,))
        each = len(info.bands) * info.chip_size**2 * np.dtype(info.dtype).itemsize
        rows = sample_rows(store, 200, each, _STRETCH_BYTES)
        known = store.raw(rows)[:, list(bands)].swapaxes(0, 1)[:, store.valid(rows)]
        if natural and info.dtype == "uint8":
            known = known.reshape(1, -1)  # already a picture: keep its colour balance
        low, high = np.percentile(known, _STRETCH, axis=1)[:, :, None, None] if known.size else ([[[0.0]]], [[[1.0]]])
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        return cls(store, bands, low, np.where(high > low, high, low + 1), class_colours(info.classes))

    def chip(self, row: int, side: int, boxes: pd.DataFrame | None = None) -> np.ndarray:
        """Draw the chip of an index row, (side, side, 3) uint8, nodata hatched, with objects as in boxes.parquet."""
        rows = np.array([row])
        valid = self.store.valid(rows)[0]
        pixels = self.store.raw(rows)[0][list(self.bands)].astype(np.float64)
        shown = np.clip((pixels - self.low) / (self.high - self.low), 0, 1) ** _GAMMA
        grey = np.where(valid, shown, 0.85).transpose(1, 2, 0)
        image = Image.fromarray((np.broadcast_to(grey, (*valid.shape, 3)) * 255).round().astype(np.uint8))
        # Enlarged pixels stay sharp, reduced ones are smoothed.
        how = Image.Resampling.NEAREST if side >= 3 * image.width else Image.Resampling.LANCZOS
        picture = np.array(image.resize((side, side), how))
        _hatch(picture, ~resize_nearest(valid, side))
        if self.store.column("mask")[row] >= 0:
            self._outline(picture, resize_nearest(self.store.masks(rows)[0], side))
        return picture if boxes is None or boxes.empty else self._boxed(picture, boxes)

    def mask(self, row: int, side: int) -> np.ndarray:
        """Draw the label mask of an index row in the legend's colours, (side, side, 3) uint8."""
        mask = resize_nearest(self.store.masks(np.array([row]))[0], side)
        palette = np.full((256, 3), 255, np.uint8)
        palette[: len(self.colours)] = self.colours
        picture = palette[mask]
        _hatch(picture, mask == UNLABELLED)
        return picture

    def _outline(self, picture: np.ndarray, mask: np.ndarray) -> None:
        """Draw the borders between labelled and unlabelled pixels: digitised polygons, not the classes of a full map."""
        known = mask != UNLABELLED
        edge = known & ~binary_erosion(known, np.ones((3, 3)), iterations=2, border_value=1)
        picture[edge] = self.colours[mask[edge]]

    def _boxed(self, picture: np.ndarray, boxes: pd.DataFrame) -> np.ndarray:
        image = Image.fromarray(picture)
        draw = ImageDraw.Draw(image)
        scale = len(picture) / self.store.info.chip_size
        for box in boxes.itertuples():
            known = 0 <= box.label < len(self.colours)
            corners = [value * scale for value in (box.xmin, box.ymin, box.xmax, box.ymax)]
            corners[2:] = [max(low, high - 1) for low, high in zip(corners[:2], corners[2:])]
            colour = tuple(int(part) for part in self.colours[int(box.label)]) if known else (255, 255, 255)
            draw.rectangle(corners, outline=colour, width=2)
        return np.array(image)


def boxes_of(store: ChipStore, rows: np.ndarray) -> pd.DataFrame | None:
    """Rows of boxes.parquet for these index rows; None for a store without boxes."""
    path = store.path / "boxes.parquet"
    if not path.exists():
        return None
    return pq.read_table(path, filters=[("image", "in", rows.tolist())]).to_pandas()


def resize_nearest(array: np.ndarray, side: int) -> np.ndarray:
    """Nearest-neighbour resampling of a square array to (side, side, ...)."""
    at = ((np.arange(side) + 0.5) * len(array) / side).astype(int)
    return array[at][:, at]


def _hatch(picture: np.ndarray, where: np.ndarray) -> None:
    rows, columns = np.nonzero(where)
    picture[rows, columns] = np.where((rows + columns) % 9 < 2, _HATCH[1], _HATCH[0])[:, None]


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

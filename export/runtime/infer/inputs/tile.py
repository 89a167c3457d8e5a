"""One tile on its way to a model: its pixels, of one date or of several, and where they hold data. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from ...model.card import ModelCard
from ...raster.window import Read, Window


@dataclass(frozen=True)
class Tile:
    """One tile on its way; of a series it has one axis more, dates.

    Attributes:
        inner: the part that its answer stands for.
        valid: (rows, columns) where that holds data, at any date.
        mask: ([dates,] rows, columns) where the pixels hold data.
        pixels: ([dates,] bands, rows, columns); None: not to be run.
        offset: row and column of the first pixel in the tile.
        held: ([dates,] rows, columns) what ``inner`` is of ``mask``.
        dates: numbers of the dates that hold data in it: others are not run.
    """

    inner: Window
    valid: np.ndarray
    mask: np.ndarray
    pixels: np.ndarray | None = None
    offset: tuple[int, int] = (0, 0)
    held: np.ndarray | None = None
    dates: np.ndarray | None = None


@dataclass(frozen=True)
class Dates:
    """The dates of a raster that has several.

    Attributes:
        day_of_year: (T,) float32, from 1.
        places: longitude and latitude of the pixels of a window, for models that know places.
    """

    day_of_year: np.ndarray
    places: Callable[[Window], np.ndarray] | None = None


def read_around(read: Read, shape: tuple[int, int], inner: Window, border: int, size: int) -> Tile:
    """A window and ``border`` px around it, as far as a raster of this shape reaches, for a tile of ``size`` px."""
    height, width = shape
    top, left = max(inner.row - border, 0), max(inner.column - border, 0)
    bottom, right = min(inner.row - border + size, height), min(inner.column - border + size, width)
    pixels, mask = read(Window(top, left, bottom - top, right - left))
    down, across = inner.row - top, inner.column - left
    dates = None
    if mask.ndim == 3:  # a date that is empty here is not run
        dates = np.flatnonzero(mask.any(axis=(1, 2)))
        if len(dates) < len(mask):
            pixels, mask = pixels[dates], mask[dates]
    held = mask[..., down : down + inner.height, across : across + inner.width]
    valid = held if dates is None else np.logical_or.reduce(held)
    if not valid.any():  # an empty tile has nothing to say
        nothing = np.zeros((inner.height, inner.width), bool)
        return Tile(inner, nothing, nothing)
    return Tile(inner, valid, mask, pixels, (border - down, border - across), held, dates)


def padded(tile: Tile, card: ModelCard) -> np.ndarray:
    """([dates,] bands, size, size) float32: pixels without data replaced, the raster's edges repeated up to a whole tile."""
    assert tile.pixels is not None  # nosec B101  # only such tiles are run
    pixels, size = tile.pixels.astype(np.float32, copy=False), card.tile_size
    if not tile.mask.all():
        pixels = np.where(tile.mask[..., None, :, :], pixels, np.array(card.fill, np.float32)[:, None, None])
    return whole_tile(pixels, tile, size)


def whole_tile(pixels: np.ndarray, tile: Tile, size: int) -> np.ndarray:
    """(..., size, size) of what lies in a tile, the raster's edges repeated."""
    rows, columns = pixels.shape[-2:]
    if (rows, columns) == (size, size):
        return pixels
    down, across = tile.offset
    around = ((down, size - rows - down), (across, size - columns - across))
    return np.pad(pixels, (*[(0, 0)] * (pixels.ndim - 2), *around), mode="edge")


def any_valid(valid: np.ndarray, unit: tuple[int, int], offset: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Whether any pixel of each place holds data, from (..., rows, columns).

    ``unit`` is the size of a place, ``offset`` where in one the window begins, both rows and columns in px.
    """
    for axis in (-2, -1):
        edges = np.arange(-offset[axis], valid.shape[axis], unit[axis]).clip(0)
        valid = np.logical_or.reduceat(valid, edges, axis=axis)
    return valid


def count_dtype(dates: int) -> type[np.unsignedinteger]:
    """That holds a count of so many dates."""
    return np.uint8 if dates <= np.iinfo(np.uint8).max else np.uint16


def counted(held: np.ndarray) -> np.ndarray:
    """How many dates hold data, from (dates, rows, columns)."""
    return held.sum(axis=0, dtype=count_dtype(len(held)))

"""Rectangles of pixels and the tiles that cover a raster. Holds no pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

import numpy as np

_LATTICE, _SAMPLE = 6, 64  # windows a side, and their side in px, that are looked at
LOOKED_AT = _LATTICE * _SAMPLE  # px a side: all of a raster that is not larger


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: first row and column, height and width."""

    row: int
    column: int
    height: int
    width: int

    def intersection(self, other: Window | None) -> Window | None:
        """The pixels that both hold; None where there are none."""
        if other is None:
            return None
        top, left = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.column + self.width, other.column + other.width)
        return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None

    def moved(self, rows: int, columns: int) -> Window:
        """The same rectangle, so many rows down and columns to the right."""
        return Window(self.row + rows, self.column + columns, self.height, self.width)

    def strips(self, step: int) -> Iterator[Window]:
        """The same rectangle cut into strips of at most ``step`` rows, from top to bottom."""
        for top in range(0, self.height, step):
            yield Window(self.row + top, self.column, min(step, self.height - top), self.width)


# (bands, rows, columns) pixels of a window, and (rows, columns) True where they hold data
Read = Callable[[Window], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class TileGrid:
    """Square tiles that cover a raster, neighbours sharing ``overlap`` pixels.

    The last tile of a row or column is moved back so that it ends at the raster's edge, and so shares
    more. A raster smaller than a tile has one tile that reaches beyond it. If ``aligned``, the last ones stay and reach
    beyond: every tile begins at a multiple of the same step.
    """

    height: int
    width: int
    tile_size: int
    overlap: int
    aligned: bool = False

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.tile_size) < 1 or not 0 <= self.overlap < self.tile_size:
            raise ValueError("sizes must be positive and the overlap smaller than the tile")

    @property
    def tops(self) -> list[int]:
        """First rows of the tiles, rising."""
        return self._starts(self.height)

    @property
    def lefts(self) -> list[int]:
        """First columns of the tiles, rising."""
        return self._starts(self.width)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.tops) * len(self.lefts)

    def _starts(self, length: int) -> list[int]:
        step, last = self.tile_size - self.overlap, max(length - self.tile_size, 0)
        starts = range(0, last, step)
        return [*starts, len(starts) * step if self.aligned else last]


def lattice(height: int, width: int) -> list[Window]:
    """Windows all over a raster; those of a small one cover it without meeting twice."""
    rows, columns = _looks(height), _looks(width)
    return [Window(row, column, tall, wide) for row, tall in rows for column, wide in columns]


def _looks(length: int) -> list[tuple[int, int]]:
    if length <= LOOKED_AT:
        return [(0, length)]
    return [(int(share * (length - _SAMPLE)), _SAMPLE) for share in np.linspace(0, 1, _LATTICE)]

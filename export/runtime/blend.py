"""Blends the answers of overlapping tiles in a strip that moves down the raster.

In an overlap the outer part of each tile is not used, because there the network has seen padding instead of
the neighbourhood; over its middle eighth the answers fade from one tile to the next along a Hann ramp. The
weights of all tiles sum to one at every pixel but for the last tile of a row or column, which lies closer: so
they are divided by their sum. No weight is zero at the raster's own edge.
"""

from __future__ import annotations

from typing import Iterator, List, Tuple

import numpy as np

from .grid import Window

UNUSED = 7 / 16  # share of an overlap, at either side: so a receptive field of 7 / 8 of it sees no padding

PIECE = 64  # rows that are finished at once: the memory for that stays small


class Strip:
    """Weighted sums that later tiles can still change.

    Memory: 4 x (channels + 1) x tile x width bytes.
    """

    def __init__(self, channels: int, area: Window, tile: int, overlap: int, starts: Tuple[List[int], List[int]]):
        """Make an empty strip.

        Args:
            channels: numbers that are blended at each pixel.
            area: the part of the raster that is wanted.
            tile: rows = columns of an answer, px.
            overlap: px that neighbouring answers share at least.
            starts: first rows and first columns of all answers of the raster, which may reach beyond the area.
        """
        self.area, self.tile, self.overlap, self.starts = area, tile, overlap, starts
        self.top = 0
        self.sum = np.zeros((channels, tile, area.width), np.float32)
        self.weight = np.zeros((tile, area.width), np.float32)
        self.valid = np.zeros((tile, area.width), bool)

    def see(self, column: int, valid: np.ndarray) -> None:
        """Note where there are data: (rows, columns) of an answer whose first column is given."""
        inside, own = self._columns(column, valid.shape[1])
        self.valid[: len(valid), inside] |= valid[:, own]

    def add(self, column: int, answer: np.ndarray, height: int, width: int) -> None:
        """Add one answer (channels, tile, tile) in the current row of tiles.

        Args:
            column: first column in the raster.
            answer: what lies beyond the raster is cut off.
            height: rows of the raster.
            width: columns of the raster.
        """
        rows = taper(self.starts[0], self.top, self.tile, height, self.overlap)
        columns = taper(self.starts[1], column, self.tile, width, self.overlap)
        inside, own = self._columns(column, len(columns))
        weight = rows[:, None] * columns[None, own]
        with np.errstate(invalid="ignore", over="ignore"):  # numbers that are none are left out in the end
            self.sum[:, : len(rows), inside] += answer[:, : len(rows), own] * weight
        self.weight[: len(rows), inside] += weight

    def pop(self, rows: int) -> Iterator[Tuple[int, np.ndarray, np.ndarray]]:
        """Take the uppermost rows, which no later tile reaches, a few at a time, and move the others up.

        Yields:
            First row in the raster, blended numbers (channels, rows, width), and where they are valid
            (rows, width); only what lies inside the area. Where the model gave no numbers (NaN, infinite) is not valid.
        """
        first = max(self.area.row - self.top, 0)
        last = min(self.area.row + self.area.height - self.top, rows)
        for start in range(first, last, PIECE):
            stop = min(start + PIECE, last)
            weight = self.weight[start:stop]
            with np.errstate(invalid="ignore", over="ignore"):
                share = self.sum[:, start:stop] / np.where(weight > 0, weight, 1)
                numbers = np.isfinite(share.sum(axis=0))
            yield self.top + start, share, self.valid[start:stop] & (weight > 0) & numbers
        self._move(rows)

    def _move(self, rows: int) -> None:
        for part in (self.sum, self.weight[None], self.valid[None]):
            keep = self.tile - rows
            for channel in part:  # one at a time: rows that overlap are copied through a buffer of their size
                channel[:keep] = channel[rows:].copy()
                channel[keep:] = 0
        self.top += rows

    def _columns(self, column: int, count: int) -> Tuple[slice, slice]:
        """Where columns of the raster lie in the strip, and which of them lie in it."""
        first = max(column, self.area.column)
        last = max(min(column + count, self.area.column + self.area.width), first)
        return slice(first - self.area.column, last - self.area.column), slice(first - column, last - column)


def taper(starts: List[int], start: int, tile: int, length: int, overlap: int) -> np.ndarray:
    """Weights along one axis of a tile, one a pixel inside the raster; 1 at the raster's own edges."""
    weight = np.ones(min(tile, length - start), np.float32)
    ramp = hann_ramp(overlap)
    if overlap and start != starts[0]:
        weight[:overlap] *= ramp
    if overlap and start != starts[-1]:
        weight[-overlap:] *= ramp[::-1]
    return weight


def hann_ramp(overlap: int) -> np.ndarray:
    """Rise from 0 to 1 over the middle of the overlap; ramp + its mirror image = 1 everywhere."""
    at = (np.arange(overlap) + 0.5) / max(overlap, 1)
    return np.sin(np.pi / 2 * np.clip((at - UNUSED) / (1 - 2 * UNUSED), 0, 1)) ** 2

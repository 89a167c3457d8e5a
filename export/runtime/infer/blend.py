"""Blends the answers of overlapping tiles, row by row of tiles, from left to right.

In an overlap the outer part of each tile is not used, because there the network has seen padding instead of
the neighbourhood; over its middle eighth the answers fade from one tile to the next along a Hann ramp. The
last tile of a row or column lies closer to the one before: of it, too, only the part counts that begins in the
last ``overlap`` px of the one before. No weight is zero at the raster's own edge. Where a tile was not run the
weights do not sum to one: so they are divided by their sum.

A tile's answer is added to what its left and its upper neighbour left over, gives away what its right and its lower
neighbour will change, and is finished in between. So nothing waits but the rows that two rows of tiles share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..raster.window import Window

UNUSED = 7 / 16  # share of an overlap, at either side: so a receptive field of 7 / 8 of it sees no padding
# finished numbers of a rectangle: first row, (channels, rows, columns), and (rows, columns) where they are valid
Block = tuple[int, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Axis:
    """Where tiles of a raster of ``length`` px hand over to one another along rows or columns; all in px."""

    starts: list[int]
    tile: int
    overlap: int
    length: int

    def span(self, start: int) -> tuple[int, int, int]:
        """Of the tile that begins there: the first px that it is used for, the first one that the next tile changes, its end."""
        number = self.starts.index(start)
        end = min(start + self.tile, self.length)
        first = self.starts[number - 1] + self.tile - self.overlap if number else start
        return first, end - self.overlap if self._has_next(start) else end, end

    def weights(self, start: int) -> np.ndarray:
        """Weights of that tile, one a px from the first that it is used for to its end; 1 at the raster's own edges."""
        first, _, end = self.span(start)
        weight, ramp = np.ones(end - first, np.float32), hann_ramp(self.overlap)
        if self.overlap and start != self.starts[0]:
            weight[: self.overlap] *= ramp
        if self.overlap and self._has_next(start):
            weight[-self.overlap :] *= ramp[::-1]
        return weight

    def _has_next(self, start: int) -> bool:
        return start != self.starts[-1]


class Blend:
    """Weighted sums that later tiles can still change.

    Memory: 4 x (channels + 2) x overlap x width bytes, and some tiles.
    """

    def __init__(self, channels: int, area: Window, rows: Axis, columns: Axis, first: int, last: int) -> None:
        """Nothing is blended yet of ``area``, the part of the raster that is mapped.

        ``rows`` and ``columns`` are those of all tiles of the raster, which may reach beyond the area; ``first`` and
        ``last`` are the first columns of the first and the last tile that is run in a row of tiles.
        """
        self.area, self.rows, self.columns = area, rows, columns
        self._first, end = columns.span(first)[0], columns.span(last)[2]
        # beside the sums: of weights, and of tiles that saw data there
        self._below = np.zeros((channels + 2, rows.overlap, end - self._first), np.float32)
        self._right = np.zeros((channels + 2, 0, 0), np.float32)

    def add(self, top: int, left: int, valid: np.ndarray, answer: np.ndarray | None) -> Block:
        """Add one tile, whose first row and column in the raster are ``top`` and ``left``, from left to right in each row.

        ``valid`` (rows, columns) is where it holds data, ``answer`` (channels, tile, tile), of which what lies beyond the
        raster is cut off; None where it was not run. Returns what no later tile will change, as far as it lies in the area.
        Where the model gave no numbers (NaN, infinite) is not valid.
        """
        (row, next_row, bottom), (column, next_column, right) = self.rows.span(top), self.columns.span(left)
        sums = np.zeros((len(self._below), bottom - row, right - column), np.float32)
        own = (slice(row - top, bottom - top), slice(column - left, right - left))
        with np.errstate(invalid="ignore", over="ignore"):  # numbers that are none are left out in the end
            if answer is not None:
                sums[-2] = self.rows.weights(top)[:, None] * self.columns.weights(left)
                np.multiply(answer[(slice(None), *own)], sums[-2], out=sums[:-2])
            sums[-1] = valid[own]
            if column > self._first:
                sums[:, :, : self._right.shape[2]] += self._right
            self._right = sums[:, :, next_column - column :].copy()
            sums = sums[:, :, : next_column - column]
            below = self._below[:, :, column - self._first : next_column - self._first]
            shared = min(below.shape[1], sums.shape[1])
            sums[:, :shared] += below[:, :shared]
            left_over = sums[:, next_row - row :]
            below[:, : left_over.shape[1]] = left_over
            return self._finished(row, column, sums[:, : next_row - row])

    def _finished(self, row: int, column: int, sums: np.ndarray) -> Block:
        area = self.area
        rows = slice(max(area.row - row, 0), max(min(area.row + area.height - row, sums.shape[1]), 0))
        columns = slice(max(area.column - column, 0), max(min(area.column + area.width - column, sums.shape[2]), 0))
        sums = sums[:, rows, columns]
        weight = sums[-2]
        share = sums[:-2] / np.where(weight > 0, weight, 1)
        valid = (sums[-1] > 0) & (weight > 0) & np.isfinite(share.sum(axis=0))
        return row + rows.start, share, valid


def hann_ramp(overlap: int) -> np.ndarray:
    """Rise from 0 to 1 over the middle of the overlap; ramp + its mirror image = 1 everywhere."""
    at = (np.arange(overlap) + 0.5) / max(overlap, 1)
    return np.sin(np.pi / 2 * np.clip((at - UNUSED) / (1 - 2 * UNUSED), 0, 1)) ** 2

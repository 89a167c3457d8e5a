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
from functools import cached_property

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

    @cached_property
    def ramp(self) -> np.ndarray:
        """Weights of the px of an overlap that both tiles are used for, rising."""
        ramp = hann_ramp(self.overlap)
        return ramp[(ramp > 0) & (ramp < 1)]

    @property
    def unused(self) -> int:
        """Px of an overlap, at either end, that only one of its tiles is used for."""
        return (self.overlap - len(self.ramp)) // 2

    def span(self, start: int) -> tuple[int, int, int]:
        """Of the tile that begins there: the first px that it is used for, the first one that the next tile changes, its end."""
        number = self.starts.index(start)
        first = self.starts[number - 1] + self.tile - self.overlap + self.unused if number else start
        if start == self.starts[-1]:
            return first, self.length, self.length
        end = start + self.tile - self.unused
        return first, end - len(self.ramp), end

    def before(self, start: int) -> int:
        """Px at the beginning of its span that the tile before it is used for as well."""
        return len(self.ramp) if start != self.starts[0] else 0

    def weights(self, start: int) -> np.ndarray:
        """Weights of that tile, one a px of its span; 1 at the raster's own edges."""
        first, following, end = self.span(start)
        weight = np.ones(end - first, np.float32)
        weight[: self.before(start)] *= self.ramp[: self.before(start)]
        weight[following - first :] *= self.ramp[: end - following][::-1]
        return weight


class Blend:
    """Weighted sums that later tiles can still change.

    Memory: 4 x (channels + 2) x width bytes for each row of tiles' ``Axis.ramp``, and some tiles.
    """

    def __init__(self, channels: int, area: Window, rows: Axis, columns: Axis, first: int, last: int) -> None:
        """Nothing is blended yet of ``area``, the part of the raster that is mapped.

        ``rows`` and ``columns`` are those of all tiles of the raster, which may reach beyond the area; ``first`` and
        ``last`` are the first columns of the first and the last tile that is run in a row of tiles.
        """
        self.area, self.rows, self.columns = area, rows, columns
        self._first, end = columns.span(first)[0], columns.span(last)[2]
        # beside the sums: of weights, and of tiles that saw data there
        self._below = np.zeros((channels + 2, len(rows.ramp), end - self._first), np.float32)
        self._right = np.zeros((channels + 2, 0, 0), np.float32)

    def add(self, top: int, left: int, valid: np.ndarray, answer: np.ndarray | None) -> Block:
        """Add one tile, whose first row and column in the raster are ``top`` and ``left``, from left to right in each row.

        ``valid`` (rows, columns) is where it holds data, ``answer`` (channels, tile, tile), of which what lies beyond the
        raster is cut off; None where it was not run. Returns what no later tile will change, as far as it lies in the area.
        Where the model gave no numbers (NaN, infinite) is not valid.
        """
        (row, next_row, bottom), (column, next_column, right) = self.rows.span(top), self.columns.span(left)
        own = (slice(row - top, bottom - top), slice(column - left, right - left))
        valid, height, width = valid[own], next_row - row, next_column - column
        answer = None if answer is None else answer[(slice(None), *own)]
        # Only where others change them are sums made: in between, most of a tile, its answer is what is finished.
        inner = (slice(self.rows.before(top), height), slice(self.columns.before(left), width))
        edges = _around(inner) if answer is not None else [(slice(None), slice(None))]
        sums = np.empty((len(self._below), bottom - row, right - column), np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # numbers that are none are left out in the end
            for edge in edges:
                if answer is None:
                    sums[:-1] = 0
                else:
                    sums[-2][edge] = self.rows.weights(top)[edge[0], None] * self.columns.weights(left)[edge[1]]
                    np.multiply(answer[(slice(None), *edge)], sums[-2][edge], out=sums[(slice(-2), *edge)])
                sums[-1][edge] = valid[edge]
            if column > self._first:
                sums[:, :, : self._right.shape[2]] += self._right
            self._right = sums[:, :, width:].copy()
            sums = sums[:, :, :width]
            below = self._below[:, :, column - self._first : next_column - self._first]
            shared = min(below.shape[1], sums.shape[1])
            sums[:, :shared] += below[:, :shared]
            left_over = sums[:, height:]
            below[:, : left_over.shape[1]] = left_over
            sums, valid = sums[:, :height], valid[:height, :width].copy()
            share = np.zeros_like(sums[:-2]) if answer is None else answer[:, :height, :width].copy()
            for edge in edges:
                weight = sums[-2][edge]
                share[(slice(None), *edge)] = sums[(slice(-2), *edge)] / np.where(weight > 0, weight, 1)
                valid[edge] = (sums[-1][edge] > 0) & (weight > 0)
            valid &= np.isfinite(share.sum(axis=0))
        return self._in_area(row, column, share, valid)

    def _in_area(self, row: int, column: int, share: np.ndarray, valid: np.ndarray) -> Block:
        area, (height, width) = self.area, valid.shape
        rows = slice(max(area.row - row, 0), max(min(area.row + area.height - row, height), 0))
        columns = slice(max(area.column - column, 0), max(min(area.column + area.width - column, width), 0))
        return row + rows.start, share[:, rows, columns], valid[rows, columns]


def _around(inner: tuple[slice, slice]) -> list[tuple[slice, slice]]:
    """What lies above, below, left and right of a rectangle; all where it is empty."""
    rows, columns = inner
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return [(slice(None), slice(None))]
    beside = (slice(columns.start), slice(columns.stop, None))
    return [(slice(rows.start), slice(None)), (slice(rows.stop, None), slice(None)), *((rows, part) for part in beside)]


def hann_ramp(overlap: int) -> np.ndarray:
    """Rise from 0 to 1 over the middle of the overlap; ramp + its mirror image = 1 everywhere."""
    at = (np.arange(overlap) + 0.5) / max(overlap, 1)
    return np.sin(np.pi / 2 * np.clip((at - UNUSED) / (1 - 2 * UNUSED), 0, 1)) ** 2

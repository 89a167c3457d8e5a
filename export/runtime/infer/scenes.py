"""Slides a window over a raster for models that answer once a tile: scene classes and features.

The result is a coarse grid. Its first cell begins at the raster's first pixel and a cell's side is the stride,
so it needs no shift: cell (i, j) covers the pixels from (i x stride, j x stride). The value of a cell is the
mean of the answers of all windows that hold its middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from ..errors import InputFault
from ..model.session import Model
from ..raster.window import TileGrid, Window
from ..results.rows import Rows
from .inputs.tile import Tile, any_valid, count_dtype, counted
from .sweep import AS_CARD, Scan, Sweep, in_units, rows_of, sweep, unit_of

COARSE = ("classification", "embedding")  # tasks whose answer may be coarser than the raster


def scene_grid(height: int, width: int, tile: int, stride: int) -> tuple[int, int]:
    """Rows and columns of the coarse grid.

    The last row and column reach beyond the raster where the stride does not divide it.

    Raises:
        InputFault: the stride leaves pixels out, or is less than one.
    """
    if not 1 <= stride <= tile:
        raise InputFault("bad_stride", stride=stride, tile=tile)
    return -(-height // stride), -(-width // stride)


def cell_size(model: Model, options: Sweep = AS_CARD) -> int:
    """Side of a pixel of the result in px that the model sees: the stride, or what a place of a map of features holds."""
    if model.card.task not in COARSE:
        return 1
    return unit_of(model) if model.dense else options.stride or model.card.tile_size


def windows(scan: Scan) -> Iterator[Rows]:
    """Yield the coarse grid of a scene classification or an embedding from top to bottom, each row of cells once.

    ``area`` must begin at a multiple of the stride.

    Yields:
        Rows whose ``top`` and sizes count cells. A cell is valid where it holds data and a window was run.

    Raises:
        InputFault: the model answers for each pixel, or the stride does not fit.
        Cancelled: ``progress`` returned False.
    """
    options, height, width = scan.options, scan.height, scan.width
    model = scan.model.choose(options.output, options.threshold)
    if model.card.task not in COARSE:
        raise InputFault("no_windows", name=model.card.name, task=model.card.task)
    if model.dense:
        yield from sweep(scan)
        return
    tile, stride = model.card.tile_size, cell_size(model, options)
    rows, columns = scene_grid(height, width, tile, stride)
    area = in_units(options.area, stride) if options.area else Window(0, 0, rows, columns)
    grid = TileGrid(height, width, tile, tile - stride)
    down = _cells(grid.tops, tile, stride, height, range(area.row, area.row + area.height))
    across = _cells(grid.lefts, tile, stride, width, range(area.column, area.column + area.width))
    means = _Means(model.channels, area, stride, len(scan.dates.day_of_year) if scan.dates else 0)
    scan = replace(scan, model=model)
    inner = scan.windows(down, across, tile)
    order = list(down)
    with closing(scan.counted(scan.answers(inner), len(inner))) as answers:
        for done, (seen, answer) in enumerate(answers, start=1):
            means.see(seen)
            if answer is not None:
                means.add(down[seen.inner.row], across[seen.inner.column], answer)
            if done % len(across) == 0:
                row = done // len(across)
                # later windows neither hold the middle of these cells nor see any of their pixels
                open_from = order[row] // stride if row < len(order) else area.row + area.height
                for top, share, valid, dates in means.pop(open_from):
                    yield replace(rows_of(model.card, top, share, valid, options.probabilities), dates=dates)


def _cells(starts: list[int], tile: int, stride: int, length: int, numbers: range) -> dict[int, list[int]]:
    """Start of each window that these cells need, and the cells whose middle it holds."""
    middle = {cell: (cell * stride + min((cell + 1) * stride, length)) / 2 for cell in numbers}
    held = {start: [cell for cell, at in middle.items() if start <= at < start + tile] for start in starts}
    return {start: cells for start, cells in held.items() if cells}


class _Means:
    """Rows of cells that later windows can still change."""

    def __init__(self, channels: int, area: Window, stride: int, dates: int) -> None:
        """Nothing is known yet; ``dates`` are those of a series, else 0."""
        self.area, self.stride, self.next, self.dates = area, stride, area.row, dates
        self.empty = (
            np.zeros((channels, area.width), np.float32),
            np.zeros(area.width, np.float32),
            np.zeros((dates or 1, area.width), bool),
        )
        self.rows: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def _row(self, cell: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.rows.setdefault(cell, tuple(part.copy() for part in self.empty))  # type: ignore[arg-type]

    def see(self, tile: Tile) -> None:
        """Note which cells hold data, and at which dates."""
        inner, stride = tile.inner, self.stride
        held = tile.valid[None] if tile.dates is None or tile.held is None else tile.held
        held = any_valid(held, (stride, stride), (inner.row % stride, inner.column % stride))
        dates = np.arange(len(held)) if tile.dates is None else tile.dates
        first_row, first_column = inner.row // stride, inner.column // stride - self.area.column
        left, right = max(first_column, 0), min(first_column + held.shape[2], self.area.width)
        for number in range(held.shape[1]):
            if self.area.row <= first_row + number < self.area.row + self.area.height:
                part = held[:, number, left - first_column : right - first_column]
                self._row(first_row + number)[2][dates, left:right] |= part

    def add(self, rows: list[int], columns: list[int], answer: np.ndarray) -> None:
        """Add the answer (channels,) of a window to the cells whose middle it holds."""
        first, last = columns[0] - self.area.column, columns[-1] - self.area.column + 1
        for cell in rows:
            total, count, _ = self._row(cell)
            total[:, first:last] += answer[:, None]
            count[first:last] += 1

    def pop(self, until: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Take the rows of cells before ``until``: first row, means (channels, 1, columns), valid and dates (1, columns)."""
        for cell in range(self.next, max(until, self.next)):
            total, count, held = self.rows.pop(cell, self.empty)
            share = total / np.where(count > 0, count, 1)
            valid = held.any(axis=0) & (count > 0) & np.isfinite(share).all(axis=0)
            dates = (counted(held[:, None]) * valid).astype(count_dtype(self.dates)) if self.dates else None
            yield cell, share[:, None], valid[None], dates
        self.next = max(until, self.next)

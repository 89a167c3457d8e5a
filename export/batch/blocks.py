"""Splits a large map into blocks that begin where tiles begin.

A block is computed from all tiles that overlap it, on the tile grid of the whole raster, so its pixels equal those of an
unsplit run bit for bit. Cutting where a tile begins computes only one row of tiles twice. A narrow map is cut into
bands, a wide one into a grid: k x k tiles share fewer tiles with their neighbours than a band of as many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.runtime.infer.layout import Layout
from export.runtime.infer.sweep import Sweep, shared, unit_of
from export.runtime.model.session import Model
from export.runtime.raster.window import TileGrid, Window

SIDE = 16384  # px: 1,444 tiles of 512 px, of which 5 % are computed twice; 5 minutes on four cores


def blocks(model: Model, layout: Layout, run: Sweep, side: int) -> list[Window]:
    """Blocks of about ``side`` px at the model's pixel size, from top to bottom; none if the map is not split.

    Args:
        model: as opened.
        layout: of the raster.
        run: options of the sweep.
        side: of a block, px.
    """
    if model.card.task == "detection" or max(layout.seen.shape) <= side:
        return []
    tops, lefts = _starts(model, layout, run)
    counts = [-(-length // side) for length in layout.seen.shape]
    rows = _cut(tops, layout.result.height, counts[0])
    columns = _cut(lefts, layout.result.width, counts[1])
    windows = [Window(top, left, bottom - top, right - left) for top, bottom in rows for left, right in columns]
    return windows if len(windows) > 1 else []


def _starts(model: Model, layout: Layout, run: Sweep) -> tuple[Sequence[int], Sequence[int]]:
    """Rows and columns of the result where tiles begin."""
    model = model.choose(run.output).sized(max(layout.seen.shape))
    if not model.dense:
        return range(layout.result.height), range(layout.result.width)
    unit = unit_of(model)
    side, overlap = (model.card.tile_size - 2 * model.border) // unit, shared(model, run) // unit
    height, width = (-(-length // unit) for length in layout.seen.shape)
    grid = TileGrid(height, width, side, overlap)
    taken = layout.came_from()
    if not taken:
        return grid.tops, grid.lefts
    # first pixel of the result that is taken from the tile
    return [np.searchsorted(of, starts).tolist() for of, starts in zip(taken, (grid.tops, grid.lefts))]  # type: ignore[return-value]


def _cut(starts: Sequence[int], length: int, count: int) -> list[tuple[int, int]]:
    """Start and end of about ``count`` parts of equal length that begin where tiles begin."""
    begins = np.asarray(starts)
    ideal = length * np.arange(1, count) / count
    nearest = begins[np.abs(begins[None] - ideal[:, None]).argmin(axis=1)] if count > 1 else begins[:0]
    edges = [0, *sorted({int(edge) for edge in nearest} - {0, length}), length]
    return list(zip(edges[:-1], edges[1:]))

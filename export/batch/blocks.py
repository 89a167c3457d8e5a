"""Cuts a large map into blocks whose edges lie where tiles begin.

A block is computed from every tile that reaches into it, on the tile grid of the whole raster: so its pixels have the
bits that they have in one pass. An edge where a tile begins costs one row of tiles twice, the least there is. A map
that is narrow becomes bands from side to side; a wide one a grid, because k x k tiles share fewer tiles with
their neighbours than a band of as many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.runtime.infer.layout import Layout
from export.runtime.infer.sweep import Sweep, shared, unit_of
from export.runtime.model.session import Model
from export.runtime.raster.window import TileGrid, Window

SIDE = 16384  # px: 1,444 tiles of 512 px, of which 5 % are computed for a neighbour too; 5 minutes on four cores


def blocks(model: Model, layout: Layout, run: Sweep, side: int) -> list[Window]:
    """Blocks of about ``side`` px of what the model sees, from top to bottom, or none where the map is not cut.

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
    found = [Window(top, left, bottom - top, right - left) for top, bottom in rows for left, right in columns]
    return found if len(found) > 1 else []


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
    """About ``count`` parts of equal length, first and end of each, that begin where tiles begin."""
    begins = np.asarray(starts)
    ideal = length * np.arange(1, count) / count
    nearest = begins[np.abs(begins[None] - ideal[:, None]).argmin(axis=1)] if count > 1 else begins[:0]
    edges = [0, *sorted({int(edge) for edge in nearest} - {0, length}), length]
    return list(zip(edges[:-1], edges[1:]))

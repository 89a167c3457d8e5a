"""Tiles that lie at multiples of a step from the raster's origin: each answers for its inner part alone.

What a tile says of a pixel then depends on nothing but the pixels around it. Tiles need no neighbours, may be run in any
order, and give the same bits for a view as for the whole raster.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from contextlib import closing

import numpy as np

from ..model.session import Model
from ..raster.window import Window
from .inputs.tile import Tile, read_around
from .layout import Layout
from .sweep import Scan, Sweep

TileNumber = tuple[int, int]  # row and column of a tile, from 0


class AlignedTiles:
    """The tiles of a raster, in pixels of ``layout.seen``; those at its right and lower edge reach beyond it.

    Attributes:
        size: side of a tile, px.
        inner: side of the part that it answers for, px.
        shape: rows and columns of tiles.
    """

    def __init__(self, layout: Layout, tile: int, border: int) -> None:
        """Cover the raster with tiles of ``tile`` px, of which ``border`` px at each edge are only seen."""
        self.layout, self.size, self.border, self.inner = layout, tile, border, tile - 2 * border
        height, width = layout.seen.shape
        self.shape = -(-height // self.inner), -(-width // self.inner)

    def window(self, tile: TileNumber) -> Window:
        """The pixels that a tile answers for, as far as the raster reaches."""
        top, left = tile[0] * self.inner, tile[1] * self.inner
        height, width = self.layout.seen.shape
        return Window(top, left, min(self.inner, height - top), min(self.inner, width - left))

    def of(self, window: Window | None = None) -> list[TileNumber]:
        """The tiles that answer for a window, by default for all, those nearest to its middle first."""
        held = self.layout.seen.whole.intersection(window or self.layout.seen.whole)
        if held is None:
            return []
        rows = range(held.row // self.inner, (held.row + held.height - 1) // self.inner + 1)
        columns = range(held.column // self.inner, (held.column + held.width - 1) // self.inner + 1)
        middle = (held.row + held.height / 2) / self.inner - 0.5, (held.column + held.width / 2) / self.inner - 0.5
        tiles = [(row, column) for row in rows for column in columns]
        return sorted(tiles, key=lambda tile: (max(abs(tile[0] - middle[0]), abs(tile[1] - middle[1])), tile))

    def scattered(self) -> list[TileNumber]:
        """All of them, in an order whose first ones lie all over the raster; always the same."""
        rows, columns = self.shape
        count = rows * columns
        step = max(round(count * (5**0.5 - 1) / 2), 1)
        while np.gcd(step, count) != 1:
            step += 1
        places = (np.arange(count, dtype=np.int64) * step + count // 2) % count
        return [(int(place) // columns, int(place) % columns) for place in places]

    def read(self, tile: TileNumber) -> Tile:
        """The pixels that a tile sees."""
        return read_around(self.layout.read, self.layout.seen.shape, self.window(tile), self.border, self.size)

    def scan(self, model: Model, read_ahead: int = 0) -> Scan:
        """Reads and runs these tiles; the model's answers must cover a whole tile."""
        model = copy.copy(model)
        model.border = self.border  # of what is read around the inner part; the answers keep theirs
        height, width = self.layout.seen.shape
        return Scan(model, self.layout.read, height, width, Sweep(read_ahead=read_ahead))

    def answers(
        self, model: Model, tiles: Sequence[TileNumber], read_ahead: int
    ) -> Generator[tuple[TileNumber, Tile, np.ndarray | None], None, None]:
        """Read and run tiles; yields each, in order, with its answer for the whole tile, None where it holds no data."""
        with closing(self.scan(model, read_ahead).answers([self.window(tile) for tile in tiles])) as answers:
            for tile, (seen, answer) in zip(tiles, answers):
                yield tile, seen, answer

"""Where the tiles of a raster lie. Holds no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: first row and column, height and width."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class TileGrid:
    """Square tiles that cover a raster, neighbours sharing ``overlap`` pixels.

    The last tile of a row or column is moved back so that it ends at the raster's edge, and so shares
    more. A raster smaller than a tile has one tile that reaches beyond it.
    """

    height: int
    width: int
    tile_size: int
    overlap: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.tile_size) < 1 or not 0 <= self.overlap < self.tile_size:
            raise ValueError("sizes must be positive and the overlap smaller than the tile")

    @property
    def tops(self) -> List[int]:
        """First rows of the tiles, rising."""
        return _starts(self.height, self.tile_size, self.overlap)

    @property
    def lefts(self) -> List[int]:
        """First columns of the tiles, rising."""
        return _starts(self.width, self.tile_size, self.overlap)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.tops) * len(self.lefts)


def _starts(length: int, tile: int, overlap: int) -> List[int]:
    last = max(length - tile, 0)
    return [*range(0, last, tile - overlap), last]

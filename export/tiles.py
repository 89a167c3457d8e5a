"""Chips of a store as the tiles that an exported model takes."""

from __future__ import annotations

import numpy as np

from core.store import ChipStore


def real_tiles(store: ChipStore, tile: int, count: int = 2) -> np.ndarray:
    """Mosaics of random chips of the store, (count, bands, tile, tile) float32."""
    rows = np.random.default_rng(0).integers(0, len(store), count * chips_in(store, tile))
    return np.ascontiguousarray(mosaic(store.pixels(rows), tile))


def chips_in(store: ChipStore, tile: int) -> int:
    """Chips that a tile of so many px is made of."""
    return (-(-tile // store.info.chip_size)) ** 2


def mosaic(chips: np.ndarray, tile: int) -> np.ndarray:
    """Chips side by side, cut to tiles: (N, layers, size, size) to (N / chips a tile, layers, tile, tile)."""
    _, layers, size, _ = chips.shape
    across = -(-tile // size)
    grid = chips.reshape(-1, across, across, layers, size, size).transpose(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, layers, across * size, across * size)[..., :tile, :tile]


def filled(chips: np.ndarray, tile: int) -> np.ndarray:
    """Each chip alone in a tile, cut off or with its edge repeated: (N, layers, size, size) to (N, layers, tile, tile)."""
    short = max(tile - chips.shape[-1], 0)
    return np.pad(chips, ((0, 0), (0, 0), (0, short), (0, short)), mode="edge")[..., :tile, :tile]

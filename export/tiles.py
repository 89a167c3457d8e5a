"""Chips of a store as the tiles that an exported model takes."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from core.store.read import ChipStore
from export.runtime.model.session import Model

_BLOCK = 256  # images read at once


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


def answers(model: Model, store: ChipStore, rows: np.ndarray, title: str) -> np.ndarray:
    """What a model answers to each image of these index rows alone.

    Args:
        model: of scene classes, or an encoder.
        store: whose images.
        rows: of its index, (N,).
        title: of the progress bar.

    Returns:
        (N, K) probabilities or features; of a map of features, its mean.
    """
    parts = []
    with tqdm(total=len(rows), desc=title, unit="image", disable=None) as progress:
        for start in range(0, len(rows), _BLOCK):
            images = store.pixels(rows[start : start + _BLOCK])
            answer = model.run(np.ascontiguousarray(filled(images, model.card.tile_size)))
            parts.append(answer.mean(axis=(2, 3)) if answer.ndim == 4 else answer)
            progress.update(len(images))
    return np.concatenate(parts)

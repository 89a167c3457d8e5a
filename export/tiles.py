"""Arranges chips of a store as input tiles of an exported model."""

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
    """Number of chips that cover a tile of this size."""
    return (-(-tile // store.info.chip_size)) ** 2


def mosaic(chips: np.ndarray, tile: int) -> np.ndarray:
    """Join chips to tiles: (N, layers, size, size) to (N / chips per tile, layers, tile, tile)."""
    _, layers, size, _ = chips.shape
    across = -(-tile // size)
    grid = chips.reshape(-1, across, across, layers, size, size).transpose(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, layers, across * size, across * size)[..., :tile, :tile]


def padded(chips: np.ndarray, tile: int) -> np.ndarray:
    """One chip per tile, cropped or padded by its edge values: (N, layers, size, size) to (N, layers, tile, tile)."""
    short = max(tile - chips.shape[-1], 0)
    return np.pad(chips, ((0, 0), (0, 0), (0, short), (0, short)), mode="edge")[..., :tile, :tile]


def outputs(model: Model, store: ChipStore, rows: np.ndarray, title: str) -> np.ndarray:
    """Run a model on each image separately.

    Args:
        model: a scene classifier or an encoder.
        store: of the images.
        rows: index rows, (N,).
        title: of the progress bar.

    Returns:
        (N, K) probabilities or features; the mean of a feature map.
    """
    parts = []
    with tqdm(total=len(rows), desc=title, unit="image", disable=None) as progress:
        for start in range(0, len(rows), _BLOCK):
            images = store.pixels(rows[start : start + _BLOCK])
            output = model.run(np.ascontiguousarray(padded(images, model.card.tile_size)))
            parts.append(output.mean(axis=(2, 3)) if output.ndim == 4 else output)
            progress.update(len(images))
    return np.concatenate(parts)

"""What describes an image without an encoder: its colours, and where it lies."""

from __future__ import annotations

import numpy as np

from core.store.read import ChipStore
from core.store.sphere import unit_vectors

_BLOCK = 2000  # images read at once


def colour_statistics(pixels: np.ndarray) -> np.ndarray:
    """Mean, std, minimum and maximum of each band: (N, bands, rows, cols) to (N, 4 x bands)."""
    flat = pixels.reshape(*pixels.shape[:2], -1)
    return np.concatenate([f(flat, axis=2) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)], axis=1)


def colours_of(store: ChipStore, rows: np.ndarray) -> np.ndarray:
    """Colour statistics of the images of (N,) index rows, read in blocks."""
    blocks = np.array_split(rows, max(1, -(-len(rows) // _BLOCK)))
    return np.concatenate([colour_statistics(store.pixels(block)) for block in blocks])


def coordinates(lonlat: np.ndarray) -> np.ndarray:
    """(N, 2) degrees to (N, 5): longitude and latitude, and the point on the unit sphere."""
    return np.hstack([lonlat, unit_vectors(lonlat)])

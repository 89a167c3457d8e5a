"""A picture of features: their three main directions as red, green and blue. Pure numpy, one pass to learn them."""

from __future__ import annotations

import numpy as np

_REACH = 2.0  # standard deviations at either side that the 255 steps of a colour cover


class Directions:
    """Mean and covariance of features, gathered from blocks of any size."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sum, self.products = np.zeros(channels), np.zeros((channels, channels))
        self._origin: np.ndarray | None = None  # near the mean, so that no digits are lost

    def add(self, values: np.ndarray, valid: np.ndarray) -> None:
        """Add (K, rows, width) features where ``valid`` (rows, width)."""
        features = values[:, valid].astype(np.float64)
        if not features.size:
            return
        if self._origin is None:
            self._origin = features.mean(axis=1)
        features -= self._origin[:, None]
        self.count += features.shape[1]
        self.sum += features.sum(axis=1)
        self.products += features @ features.T

    def picture(self, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(3, rows, width) uint8 colours of features as in ``add``, 1 to 255; 0 where not valid."""
        colors = np.zeros((3, *valid.shape), np.uint8)
        if not valid.any() or self._origin is None:
            return colors
        mean = self.sum / self.count
        spread, axes = np.linalg.eigh(self.products / self.count - np.outer(mean, mean))
        main = axes[:, ::-1][:, :3].T  # the largest first
        main = main * np.sign(main[np.arange(len(main)), np.abs(main).argmax(axis=1)])[:, None]  # no sign by chance
        reach = _REACH * np.sqrt(np.maximum(spread[::-1][:3], 1e-12))
        at = main @ (values[:, valid].astype(np.float64) - (self._origin + mean)[:, None]) / reach[:, None]
        colors[: len(main), valid] = np.clip(np.rint(128 + 127 * at), 1, 255).astype(np.uint8)
        return colors

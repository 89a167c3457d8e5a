"""A picture of features: their three main directions as red, green and blue. Pure numpy, one pass to learn them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLAT = 1e-5  # variance, of the largest, that a direction must have to count
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

    @property
    def mean(self) -> np.ndarray:
        """(K,) of what was added."""
        assert self._origin is not None  # nosec B101  # something was added
        return self.sum / self.count + self._origin

    @property
    def covariance(self) -> np.ndarray:
        """(K, K) of what was added."""
        mean = self.sum / self.count
        return self.products / self.count - np.outer(mean, mean)

    def picture(self, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(3, rows, width) uint8 colours of features as in ``add``, 1 to 255; 0 where not valid."""
        colors = np.zeros((3, *valid.shape), np.uint8)
        if not valid.any() or self._origin is None:
            return colors
        spread, axes = main_axes(self.covariance)
        main, spread = axes[:, :3].T, spread[:3]
        reach = _REACH * np.sqrt(np.maximum(spread, 1e-12))
        at = main @ (values[:, valid].astype(np.float64) - self.mean[:, None]) / reach[:, None]
        colors[: len(main), valid] = np.clip(np.rint(128 + 127 * at), 1, 255).astype(np.uint8)
        return colors


def main_axes(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K,) variances along the main axes, the largest first, and (K, K) these axes, one a column; no sign by chance."""
    spread, axes = np.linalg.eigh(covariance)
    spread, axes = spread[::-1], axes[:, ::-1]
    return spread, axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])


def projection(
    directions: Directions, most: int, steps: float, groups: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """(D, C) weights and (D,) bias that make the main directions of C channels steps of 8 bits around 128.

    Their standard deviations are the roots of what they were, the first ``steps``; D is at most ``most``. ``groups`` are the
    numbers of channels of parts that count alike, however many channels they have; within a part all channels count alike,
    whatever their spread. Without groups the spread is left.
    """
    mean, covariance = directions.mean, directions.covariance
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    held = spread > 1e-6 * np.maximum(np.abs(mean), spread.max())
    scale = held.astype(np.float64)
    if groups is not None:
        many = np.repeat([max(part.sum(), 1) for part in np.split(held, np.cumsum(groups)[:-1])], groups)
        scale = np.where(held, 1 / np.where(held, spread, 1), 0) / np.sqrt(many)
    variances, axes = main_axes(covariance * np.outer(scale, scale))
    count = max(int((variances[:most] > FLAT * variances[0]).sum()), 1)
    reach = np.sqrt(np.maximum(variances[:count], np.finfo(np.float32).tiny)) if variances[0] > 0 else np.ones(count)
    # half way to white: with few labels, channels of noise must not count as much as the first
    weights = short((axes[:, :count] * scale[:, None] / np.sqrt(reach * reach[0])).T * steps)
    return weights, short(128 - weights.astype(np.float64) @ mean)


def short(weights: np.ndarray) -> np.ndarray:
    """Float32 with 12 bits: what differs in the last bits from one library of linear algebra to another is cut off."""
    mantissa, exponent = np.frexp(np.asarray(weights, np.float64))
    return np.ldexp(np.rint(mantissa * 4096) / 4096, exponent).astype(np.float32)

"""Changes whose place is known: patches of another place of the same date, pasted in with feathered seams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL = 4  # px: a place of the features
FEATHER = 3.0  # px over which a patch fades in
PATCHES = 20
_RADII = 6.0, 14.0
_WOBBLE = 0.25  # of the radius: patches are no circles
_TRIES = 200


@dataclass(frozen=True)
class Planted:
    """An image with changes.

    Attributes:
        pixels: (bands, rows, columns).
        weight: (rows, columns) 0 to 1: how much of a pixel comes from elsewhere.
    """

    pixels: np.ndarray
    weight: np.ndarray

    def cells(self, side: int = CELL, step: int = CELL, least: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) of windows of ``side`` px every ``step``: which changed (more than ``least`` of it), which did not."""
        share = windows(self.weight[None], side, step)[0]
        touched = windows((self.weight > 0)[None].astype(float), side, step)[0]
        return share > least, touched == 0


def windows(values: np.ndarray, side: int, step: int) -> np.ndarray:
    """(N, rows, columns) means over windows of ``side`` px every ``step`` px."""
    height, width = values.shape[-2:]
    sums = np.zeros((len(values), height + 1, width + 1))
    sums[:, 1:, 1:] = values.cumsum(axis=1).cumsum(axis=2)
    top, left = np.arange(0, height - side + 1, step), np.arange(0, width - side + 1, step)
    low, right = top + side, left + side
    corner = lambda rows, columns: sums[:, rows[:, None], columns]  # noqa: E731
    return (corner(low, right) - corner(top, right) - corner(low, left) + corner(top, left)) / side**2


def plant(pixels: np.ndarray, rng: np.random.Generator, apart: float = 0.0) -> Planted:
    """Paste ``PATCHES`` patches into (bands, rows, columns).

    With ``apart`` the mean colour of a patch differs from what it covers by so many standard deviations or more.
    """
    height, width = pixels.shape[1:]
    spread = pixels.reshape(len(pixels), -1).std(axis=1)
    weight, made = np.zeros((height, width)), pixels.astype(float)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(PATCHES):
        for _ in range(_TRIES):
            radius = rng.uniform(*_RADII)
            around = int(np.ceil(radius * (1 + _WOBBLE))) + 2
            to, of = (rng.integers(around, (height - around, width - around)) for _ in range(2))
            mask = _blob(rows - to[0], columns - to[1], radius, rng)
            window = slice(to[0] - around, to[0] + around), slice(to[1] - around, to[1] + around)
            source = slice(of[0] - around, of[0] + around), slice(of[1] - around, of[1] + around)
            part = mask[window]
            if weight[window].any() or np.hypot(*(of - to)) < 4 * around:
                continue
            new, old = pixels[(slice(None), *source)], pixels[(slice(None), *window)]
            means = [(values * part).sum(axis=(1, 2)) / part.sum() for values in (new, old)]
            if np.linalg.norm((means[0] - means[1]) / spread) >= apart:
                break
        else:
            continue
        made[(slice(None), *window)] = old + part * (new.astype(float) - old)
        weight[window] = part
    return Planted(np.rint(made).astype(pixels.dtype), weight)


def _blob(rows: np.ndarray, columns: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    angle = np.arctan2(rows, columns)
    bumps = sum(rng.normal(0, _WOBBLE / 3) * np.cos(n * angle + rng.uniform(0, 2 * np.pi)) for n in (1, 2, 3))
    edge = radius * (1 + np.clip(bumps, -_WOBBLE, _WOBBLE))
    inside = np.hypot(rows, columns) - edge
    return np.clip(0.5 - inside / FEATHER, 0, 1)

"""From a raster's pixels to pixels of another size. Pure numpy, no files.

The weights depend on nothing but a pixel's place in the raster and are summed in one order, so a pixel
has the same value, bit for bit, whichever window it is read in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .window import Read, Window

STRIP = 256  # source rows that are held at once


@dataclass(frozen=True)
class Scale:
    """Size of a target pixel in source pixels, down and across."""

    rows: float
    columns: float


def resampled(
    read: Read,
    height: int,
    width: int,
    scale: Scale,
    least: float = 0.0,
    corner: tuple[float, float] = (0.0, 0.0),
    plain: bool = False,
) -> Read:
    """Read a raster on a grid of larger or smaller pixels, as float32: bilinear, averaging where they grow.

    Pixels that grow average what lies within twice their size, weighted by distance, or where ``plain`` what they cover.
    ``least`` is the share of a target pixel's weight that must lie on valid source pixels for it to be valid;
    ``corner`` the row and column of the source where the target's upper left corner lies.
    """

    def read_target(window: Window) -> tuple[np.ndarray, np.ndarray]:
        rows, row_weights = taps(window.row, window.height, scale.rows, height, corner[0], plain)
        columns, column_weights = taps(window.column, window.width, scale.columns, width, corner[1], plain)
        left, right = int(columns.min()), int(columns.max()) + 1
        total, weight = None, np.zeros((window.height, window.width), np.float32)
        for low in range(int(rows.min()), int(rows.max()) + 1, STRIP):
            strip = Window(low, left, min(STRIP, int(rows.max()) + 1 - low), right - left)
            pixels, there = read(strip)
            values = np.where(there, pixels, 0).astype(np.float32)
            known = there.astype(np.float32)[None]
            wide = _across(np.concatenate([values, known]), columns - left, column_weights)
            if total is None:
                total = np.zeros((len(pixels), *(window.height, window.width)), np.float32)
            for tap in range(rows.shape[1]):
                here = np.flatnonzero((rows[:, tap] >= low) & (rows[:, tap] < low + strip.height))
                part = wide[:, rows[here, tap] - low] * row_weights[here, tap, None]
                total[:, here] += part[:-1]
                weight[here] += part[-1]
        assert total is not None  # a window has rows  # nosec B101
        valid = weight > max(least - 1e-6, 0)
        return total / np.where(valid, weight, 1), valid

    return read_target


def taps(
    first: int, count: int, scale: float, length: int, corner: float = 0.0, plain: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Source pixels that ``count`` target pixels from ``first`` on are made of, along one axis.

    ``scale`` is source pixels a target pixel, ``length`` that of the source, ``corner`` where in it target pixel 0 begins.

    Returns:
        (count, T) source pixels inside the raster, rising, and (count, T) their float32 weights, summing to 1.
    """
    radius = max(1.0, scale)
    centre = (np.arange(first, first + count) + 0.5) * scale + corner
    lowest = np.ceil(centre - radius - 0.5).astype(np.int64)
    at = lowest[:, None] + np.arange(int(np.ceil(2 * radius)) + 1)
    apart = np.abs(at + 0.5 - centre[:, None])
    weight = np.clip((scale + 1) / 2 - apart, 0, 1) if plain and scale > 1 else np.clip(1 - apart / radius, 0, None)
    weight[(at < 0) | (at >= length)] = 0
    beyond = weight.sum(axis=1) == 0  # a target pixel of which only a corner lies in the raster
    weight[beyond, 0] = 1
    at[beyond, 0] = length - 1
    weight /= weight.sum(axis=1, keepdims=True)
    return np.clip(at, 0, length - 1), weight.astype(np.float32)


def _across(pixels: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = np.zeros((*pixels.shape[:2], len(columns)), np.float32)
    for tap in range(columns.shape[1]):
        total += pixels[:, :, columns[:, tap]] * weights[:, tap]
    return total


def nearest(length: int, scale: float, count: int) -> np.ndarray:
    """(length,) the target pixel that covers the middle of each source pixel; there are ``count``."""
    return np.minimum(((np.arange(length) + 0.5) / scale).astype(np.int64), count - 1)

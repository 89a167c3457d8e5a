"""Checks a sample of a raster before a long run. Reads through the host."""

from __future__ import annotations

from typing import Callable

import numpy as np

from ..messages import Message
from ..model.card import ModelCard
from ..model.units import Recognised, doubt, may_be_sentinel2, recognised, recognised_name
from ..raster.window import Read, Window

# Of the sample; a fifth of the raster should be said, but a sample errs by several points: Landsat scenes, empty at
# their corners, show 22 % where it is 17 %.
EMPTY_SHARE = 0.1
_LATTICE, _SAMPLE = 6, 64  # windows a side, and their side in px, that are looked at
LOOKED_AT = _LATTICE * _SAMPLE  # px a side: all of a raster that is not larger


def look(
    read: Read,
    shape: tuple[int, int],
    convert: Callable[[np.ndarray], np.ndarray],
    card: ModelCard,
    declared: bool,
) -> list[Message]:
    """Notes on what looks wrong in a sample; reading all of a large raster would take too long.

    Args:
        read: gives stored values.
        shape: rows and columns of the raster.
        convert: to the model's unit.
        card: of the model.
        declared: whether the raster says which of its pixels are empty.
    """
    pixels, valid = _sample(read, shape)
    notes: list[Message] = []
    if not declared:
        value, share = constant(pixels[:, valid])
        if share >= EMPTY_SHARE:
            notes.append(Message("no_nodata", {"share": share, "value": value}))
    note = doubt(convert(pixels[:, valid]).ravel(), card)
    return [*notes, note] if note else notes


def recognise(
    name: str, dtype: str, metres: float, card: ModelCard, seen: Callable[[], tuple[Read, tuple[int, int]]]
) -> Recognised:
    """What a raster holds, where the user does not say it.

    Args:
        name: of the raster.
        dtype: of its pixels.
        metres: side of its pixels.
        card: of the model.
        seen: what ``look`` takes as ``read`` and ``shape``; asked only where the numbers decide.
    """
    held = Recognised()
    if may_be_sentinel2(dtype, metres, card):
        pixels, valid = _sample(*seen())
        held = recognised(pixels[:, valid])
    return recognised_name(name, card) if held.kind == "raw" else held


def _sample(read: Read, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (bands, N) and where all bands hold data (N,)."""
    parts = [read(window) for window in lattice(*shape)]
    pixels = np.concatenate([part.reshape(len(part), -1) for part, _ in parts], axis=1)
    return pixels, np.concatenate([part.ravel() for _, part in parts])


def lattice(height: int, width: int) -> list[Window]:
    """Windows all over a raster; those of a small one cover it without meeting twice."""
    rows, columns = _starts(height), _starts(width)
    return [Window(row, column, tall, wide) for row, tall in rows for column, wide in columns]


def _starts(length: int) -> list[tuple[int, int]]:
    if length <= LOOKED_AT:
        return [(0, length)]
    return [(int(share * (length - _SAMPLE)), _SAMPLE) for share in np.linspace(0, 1, _LATTICE)]


def constant(pixels: np.ndarray) -> tuple[float, float]:
    """The value that most pixels hold in all bands alike, and their share."""
    alike = pixels[0][(pixels == pixels[:1]).all(axis=0)]
    if not alike.size:
        return 0.0, 0.0
    values, counts = np.unique(alike, return_counts=True)
    return float(values[counts.argmax()]), float(counts.max() / pixels.shape[1])

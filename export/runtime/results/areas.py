"""Areas of classes, from the pixels of a result and the area of a pixel of each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..raster.legend import LandClass
from .rows import Rows


@dataclass(frozen=True)
class ClassArea:
    """How much of a raster is of one class; ``percent`` is of all valid area."""

    value: int
    name: str
    pixels: int
    m2: float
    percent: float


class Areas:
    """Counts the pixels of classes, row by row, so that pixels of different rows may have different areas."""

    def __init__(self, classes: tuple[LandClass, ...], height: int) -> None:
        """Start at zero for a raster of so many rows."""
        self.classes = classes
        self.counts = np.zeros((height, len(classes)), np.int64)
        self._index = np.full(max((entry.value for entry in classes), default=0) + 1, -1)
        self._index[[entry.value for entry in classes]] = np.arange(len(classes))

    def add(self, rows: Rows) -> None:
        """Count finished rows; pixels without data never count."""
        if rows.classes is None:
            return
        for number, (line, valid) in enumerate(zip(rows.classes, rows.valid), start=rows.top):
            entries = self._index[line[valid]]
            self.counts[number] += np.bincount(entries, minlength=len(self.classes))

    def table(self, pixel_m2: np.ndarray) -> tuple[ClassArea, ...]:
        """Area of each class.

        Args:
            pixel_m2: (height,) area of a pixel of each row in square metres; a single number serves all rows.
        """
        return areas(self.classes, self.counts, pixel_m2)


def areas(classes: tuple[LandClass, ...], counts: np.ndarray, pixel_m2: np.ndarray) -> tuple[ClassArea, ...]:
    """Area of each class.

    Args:
        classes: the legend.
        counts: (height, classes) pixels of each class in each row.
        pixel_m2: (height,) area of a pixel of each row in square metres; a single number serves all rows.

    Raises:
        ValueError: the sizes disagree.
    """
    if counts.ndim != 2 or counts.shape[1] != len(classes):
        raise ValueError(f"counts of shape {counts.shape} do not fit {len(classes)} classes")
    m2 = (counts * np.broadcast_to(np.asarray(pixel_m2, np.float64), len(counts))[:, None]).sum(axis=0)
    total = m2.sum()
    return tuple(
        ClassArea(entry.value, entry.name, int(pixels), float(area), float(100 * area / total) if total else 0.0)
        for entry, pixels, area in zip(classes, counts.sum(axis=0), m2)
    )

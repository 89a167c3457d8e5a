"""Areas of classes, from the pixels of a result and the area of a pixel of each row, and their files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..raster.legend import LandClass
from .rows import Rows

FIELDS = ("class", "name", "pixels", "hectares", "per_cent")
NOTE = "areas of counted pixels are biased by the map's errors: python -m export.assess corrects them"


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
        self._values = np.array([entry.value for entry in classes], np.intp)

    def add(self, rows: Rows) -> None:
        """Count finished rows; pixels without data hold the value of no class, and do not count."""
        if rows.classes is None:
            return
        least = int(self._values.max(initial=0)) + 1
        for number, line in enumerate(rows.classes, start=rows.top):
            self.counts[number] += np.bincount(line, minlength=least)[self._values]

    def table(self, pixel_m2: np.ndarray) -> tuple[ClassArea, ...]:
        """Area of each class, from (height,) areas of a pixel of each row in square metres, or one for all rows."""
        m2 = (self.counts * np.broadcast_to(pixel_m2, len(self.counts))[:, None]).sum(axis=0)
        total = m2.sum()
        return tuple(
            ClassArea(entry.value, entry.name, int(pixels), float(area), float(100 * area / total) if total else 0.0)
            for entry, pixels, area in zip(self.classes, self.counts.sum(axis=0), m2)
        )


def as_csv(table: Sequence[ClassArea]) -> str:
    """The table for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows([r.value, r.name, r.pixels, f"{r.m2 / 10_000:.4f}", f"{r.percent:.4f}"] for r in table)
    return text.getvalue()


def as_json(table: Sequence[ClassArea], crs: str, geographic: bool) -> str:
    """The table for a program, with how the areas were measured."""
    method = "pixel areas on the ellipsoid" if geographic else "pixel areas in the plane of the projection"
    rows = [dict(zip(FIELDS, (r.value, r.name, r.pixels, r.m2 / 10_000, r.percent))) for r in table]
    return json.dumps({"crs": crs, "method": method, "note": NOTE, "classes": rows}, indent=2) + "\n"

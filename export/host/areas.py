"""How much of a map each class covers: counted while it is written, saved as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np

from export.runtime.card import LandClass

FIELDS = ("class", "name", "pixels", "hectares", "per_cent")


class Tally:
    """Pixels and square metres of each class value."""

    def __init__(self, row_areas: np.ndarray) -> None:
        """Count on a grid whose rows have these pixel areas, in square metres."""
        self._row_areas = row_areas
        self.pixels = np.zeros(0, np.int64)
        self.square_metres = np.zeros(0)

    def add(self, top: int, classes: np.ndarray, valid: np.ndarray) -> None:
        """Count (rows, width) of class values; pixels without data never count."""
        rows = len(classes)
        size = max(int(classes[valid].max()) + 1 if valid.any() else 0, len(self.pixels))
        slots = size + 1  # the last one takes what holds no data
        numbers = np.where(valid, classes, size).astype(np.int64) + slots * np.arange(rows)[:, None]
        counts = np.bincount(numbers.ravel(), minlength=rows * slots).reshape(rows, slots)[:, :size]
        self.pixels = _grown(self.pixels, size) + counts.sum(axis=0)
        self.square_metres = _grown(self.square_metres, size) + self._row_areas[top : top + rows] @ counts

    def table(self, classes: tuple[LandClass, ...]) -> list[dict[str, Any]]:
        """A row for each class of the legend, in its order."""
        total = self.square_metres.sum()
        found = []
        for entry in classes:
            there = entry.value < len(self.pixels)
            area = float(self.square_metres[entry.value]) if there else 0.0
            share = 100 * area / total if total else 0.0
            count = int(self.pixels[entry.value]) if there else 0
            found.append(dict(zip(FIELDS, (entry.value, entry.name, count, area / 10_000, share))))
        return found


def _grown(numbers: np.ndarray, size: int) -> np.ndarray:
    return np.pad(numbers, (0, size - len(numbers)))


def as_csv(table: list[dict[str, Any]]) -> str:
    """The table for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table:
        writer.writerow([row["class"], row["name"], row["pixels"], f"{row['hectares']:.4f}", f"{row['per_cent']:.4f}"])
    return text.getvalue()


def as_json(table: list[dict[str, Any]], crs: str, geographic: bool) -> str:
    """The table for a program, with how the areas were measured."""
    method = "pixel areas on the ellipsoid" if geographic else "pixel areas in the plane of the projection"
    warning = "areas of counted pixels are biased by the map's errors: python -m export.assess corrects them"
    return json.dumps({"crs": crs, "method": method, "note": warning, "classes": table}, indent=2) + "\n"

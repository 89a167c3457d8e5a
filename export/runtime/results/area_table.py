"""Saves how much of a map each class covers, as CSV and JSON; the runtime counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from .areas import ClassArea

FIELDS = ("class", "name", "pixels", "hectares", "per_cent")
NOTE = "areas of counted pixels are biased by the map's errors: python -m export.assess corrects them"


def as_csv(table: Sequence[ClassArea]) -> str:
    """The table for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table:
        writer.writerow([row.value, row.name, row.pixels, f"{row.m2 / 10_000:.4f}", f"{row.percent:.4f}"])
    return text.getvalue()


def as_json(table: Sequence[ClassArea], crs: str, geographic: bool) -> str:
    """The table for a program, with how the areas were measured."""
    method = "pixel areas on the ellipsoid" if geographic else "pixel areas in the plane of the projection"
    rows = [dict(zip(FIELDS, (row.value, row.name, row.pixels, row.m2 / 10_000, row.percent))) for row in table]
    return json.dumps({"crs": crs, "method": method, "note": NOTE, "classes": rows}, indent=2) + "\n"

"""Legends: class values with names and colours, read from a table or made up."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from pathlib import Path

from core.errors import UserError
from core.files import read_csv
from core.store.read import UNLABELLED, LandClass


def legend_of(names: Mapping[int, str]) -> tuple[LandClass, ...]:
    """Classes by value, in made-up colours."""
    return tuple(
        LandClass(value, names[value], color) for value, color in zip(sorted(names), made_up_colors(len(names)))
    )


def made_up_colors(count: int) -> list[str]:
    """So many colours as ``RRGGBB``, different for up to 62 classes."""
    # Steps of the golden section never meet on the circle of hues; saturation and brightness alternate.
    shades = ((i * 0.618034 % 1, (0.9, 0.55)[i % 2], (0.95, 0.7, 0.5)[i % 3]) for i in range(count))
    return ["".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(*shade)) for shade in shades]


def numbers_of(classes: tuple[LandClass, ...]) -> dict[str, int]:
    """Class numbers by name and, for tables that hold class values, by value as text; a name takes precedence."""
    numbers = {str(entry.value): number for number, entry in enumerate(classes)}
    return numbers | {entry.name: number for number, entry in enumerate(classes)}


def read_legend(table: Path) -> tuple[LandClass, ...]:
    """Read a CSV with the columns ``value``, ``name`` and ``color`` (RRGGBB).

    Raises:
        UserError: the table cannot be read.
    """
    try:
        rows = [LandClass(int(r["value"]), r["name"], r["color"].lstrip("#").upper()) for r in read_csv(table)]
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{table}: needs the columns value, name and color ({error})") from error
    if not rows or any(not re.fullmatch("[0-9A-F]{6}", row.color) for row in rows):
        raise UserError(f"{table}: colours must look like 1C6330")
    values = [row.value for row in rows]
    if len(set(values)) < len(values) or not 0 <= min(values) <= max(values) < UNLABELLED:
        raise UserError(f"{table}: class values must differ and lie within 0 to 254")
    return tuple(rows)

"""What users say beside their rasters: dates in file names or tables, legends of label classes."""

from __future__ import annotations

import colorsys
import csv
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from core.errors import UserError
from core.store.read import UNLABELLED, LandClass

_DIGITS = {"%Y": r"\d{4}", "%j": r"\d{3}"}  # every other directive: two digits
# What file names hold, from the most to the least exact; the first form that is found counts.
_USUAL = (
    "%Y%m%dT%H%M%S",
    "%Y%m%d",
    "%Y-%m-%d",
    "%Y_%m_%d",
    "%Y.%m.%d",
    "%Y%j",
    "%Y-%j",
    "%Y_%j",
    "%Y-%m",
    "%Y_%m",
    "%Y",
)
# Names of Sentinel-2 and Landsat products hold the date of processing behind that of the picture.
_PRODUCT = re.compile(r"^(S2[A-D]_MSIL|T\d{2}[A-Z]{3}_|L[COTEM]\d{2}_L)")


def parse_date(path: Path, date_format: str | None = None) -> datetime:
    """Find a date in a file's name.

    Args:
        path: only its name is looked at.
        date_format: of strptime; by default the usual ones are tried.

    Raises:
        UserError: there is none, or more than one.
    """
    for form in [date_format] if date_format else _USUAL:
        found = _dates_in(path.stem, form)
        if len(found) > 1 and _PRODUCT.match(path.name) and not date_format:
            found = found[:1]
        if len(found) == 1:
            return found[0]
        if len(found) > 1 or date_format:
            problem = "holds no date" if not found else "holds more than one date"
            raise UserError(
                f"{path}: its name {problem} of the form {form}; give another --date-format, or --dates TABLE"
            )
    raise UserError(f"{path}: its name holds no date; say how it is written with --date-format, or give --dates TABLE")


def _dates_in(text: str, form: str) -> list[datetime]:
    """The different dates of a form, in the order in which they stand."""
    parts = re.split(r"(%[A-Za-z])", form)
    if len(set(parts[1::2])) < len(parts[1::2]):
        raise UserError(f"--date-format {form}: names a part of the date twice")
    pattern = "".join(_DIGITS.get(p, r"\d{2}") if p.startswith("%") else re.escape(p) for p in parts)
    dates: dict[datetime, None] = {}
    for match in re.findall(f"(?<!\\d){pattern}(?!\\d)", text):
        try:
            date = datetime.strptime(match, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        if date.year in plausible_years():
            dates[date] = None
    return list(dates)


def plausible_years() -> range:
    """Years that a picture may be of: from the first photograph to next year; other numbers are no years."""
    return range(1826, datetime.now(UTC).year + 2)


def check_date_format(form: str) -> None:
    """Refuse a form that strptime does not know, or that names no year."""
    example = datetime(2024, 6, 30, tzinfo=UTC)
    try:
        found = datetime.strptime(example.strftime(form), form)
    except (ValueError, re.error) as error:
        raise UserError(f"--date-format {form}: {error}; write it like %Y-%m-%d") from error
    if found.year != example.year:
        raise UserError(f"--date-format {form}: names no year; write it like %Y-%m-%d")


def check_size(size: int) -> None:
    """Refuse chips that are too small to show anything."""
    if size < 8:
        raise UserError(f"--size {size}: a chip needs at least 8 pixels a side")


def stamp(files: Iterable[Path]) -> tuple[int, int]:
    """Bytes together and time of the last change (ns): files that were exchanged differ in them."""
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)


def legend_of(names: Mapping[int, str]) -> tuple[LandClass, ...]:
    """Classes by value, in made-up colours."""
    return tuple(
        LandClass(value, names[value], color) for value, color in zip(sorted(names), made_up_colors(len(names)))
    )


def made_up_colors(count: int) -> list[str]:
    """So many colours as ``RRGGBB``; no two of 62 are alike."""
    # Steps of the golden section never meet on the circle of hues; saturation and brightness alternate.
    shades = ((i * 0.618034 % 1, (0.9, 0.55)[i % 2], (0.95, 0.7, 0.5)[i % 3]) for i in range(count))
    return ["".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(*shade)) for shade in shades]


def read_dates(table: Path) -> dict[str, datetime]:
    """Read a CSV with the columns ``file`` and ``date`` (ISO 8601).

    Raises:
        UserError: the table cannot be read, or a date is none.
    """
    dates: dict[str, datetime] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                date = datetime.fromisoformat(row["date"])
                dates[row["file"]] = date if date.tzinfo else date.replace(tzinfo=UTC)
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{table}: needs the columns file and date, with dates like 2024-06-30 ({error})") from error
    return dates


def read_legend(table: Path) -> tuple[LandClass, ...]:
    """Read a CSV with the columns ``value``, ``name`` and ``color`` (RRGGBB).

    Raises:
        UserError: the table cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [LandClass(int(r["value"]), r["name"], r["color"].lstrip("#").upper()) for r in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{table}: needs the columns value, name and color ({error})") from error
    if not rows or any(not re.fullmatch("[0-9A-F]{6}", row.color) for row in rows):
        raise UserError(f"{table}: colours must look like 1C6330")
    values = [row.value for row in rows]
    if len(set(values)) < len(values) or not 0 <= min(values) <= max(values) < UNLABELLED:
        raise UserError(f"{table}: class values must differ and lie within 0 to 254")
    return tuple(rows)

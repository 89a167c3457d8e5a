"""What users say beside their rasters: dates in file names or tables, legends of label classes."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from pathlib import Path

from core.errors import UserError
from core.store import UNLABELLED, LandClass

_DATE_PATTERNS = {"%Y": r"\d{4}", "%j": r"\d{3}"}  # every other directive: two digits


def parse_date(path: Path, date_format: str) -> datetime:
    """Find a date of this strptime format in a file's name.

    Raises:
        UserError: there is none, or more than one.
    """
    parts = re.split(r"(%[A-Za-z])", date_format)
    if len(set(parts[1::2])) < len(parts[1::2]):
        raise UserError(f"--date-format {date_format}: names a part of the date twice")
    pattern = "".join(_DATE_PATTERNS.get(p, r"\d{2}") if p.startswith("%") else re.escape(p) for p in parts)
    found = {match for match in re.findall(f"(?<!\\d){pattern}(?!\\d)", path.stem)}
    dates = set()
    for text in found:
        try:
            dates.add(datetime.strptime(text, date_format).replace(tzinfo=UTC))
        except ValueError:
            continue
    if len(dates) != 1:
        problem = "holds no date" if not dates else "holds more than one date"
        raise UserError(
            f"{path}: its name {problem} of the form {date_format}; give another --date-format, or --dates TABLE"
        )
    return dates.pop()


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

"""Acquisition dates from file names and from tables, by the rules that maps follow too; what is wrong is said with flags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from core.errors import InputFault, UserError
from export.runtime.raster import dates
from export.runtime.raster.dates import iso_date as iso_date
from export.runtime.raster.dates import plausible_years as plausible_years

_REMEDY = "say how to read it with --date-format, such as '*_%Y_*', or give a table with --dates"


def parse_date(path: Path, date_format: str | None = None) -> datetime:
    """The date in a file's name; see ``runtime.raster.dates.date_in_name``.

    Raises:
        UserError: it holds none, or more than one.
    """
    try:
        return dates.date_in_name(str(path), date_format)
    except InputFault as fault:
        raise UserError(f"{fault}; {_REMEDY}") from fault
    except ValueError as error:
        raise UserError(f"--date-format {date_format}: {error}") from error


def check_date_format(form: str) -> None:
    """Refuse a format that strptime does not know, or that has no year."""
    try:
        dates.check_date_format(form)
    except ValueError as error:
        raise UserError(f"--date-format {form}: {error}; write it like %Y-%m-%d") from error


def read_dates(table: Path) -> list[tuple[str, datetime]]:
    """Read a CSV with the columns ``file`` and ``date`` (ISO 8601); a ``UserError`` if a date is invalid."""
    try:
        return dates.read_dates(table)
    except InputFault as fault:
        raise UserError(str(fault)) from fault


def date_in_table(path: Path, rows: Sequence[tuple[str, datetime]]) -> datetime | None:
    """The date of a file by the rows of a table, None where none is of it; a ``UserError`` where they give it several."""
    try:
        return dates.date_in_table(str(path), rows)
    except InputFault as fault:
        raise UserError(str(fault)) from fault

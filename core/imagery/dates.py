"""Acquisition dates from file names and from tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from core.errors import UserError
from core.files import read_csv

_DIGITS = {"%Y": r"\d{4}", "%j": r"\d{3}"}  # every other directive: two digits
# Usual notations, the most precise first; the first one that occurs in a name counts.
_USUAL = "%Y%m%dT%H%M%S %Y%m%d %Y-%m-%d %Y_%m_%d %Y.%m.%d %Y%j %Y-%j %Y_%j %Y-%m %Y_%m %Y".split()  # noqa: SIM905
# Product names of Sentinel-2 and Landsat hold the processing date after the acquisition date.
_PRODUCT = re.compile(r"^(S2[A-D]_MSIL|T\d{2}[A-Z]{3}_|L[COTEM]\d{2}_L)")


def parse_date(path: Path, date_format: str | None = None) -> datetime:
    """The date in a file's name, by a format of strptime or a usual one; a ``UserError`` if there is not just one."""
    for form in [date_format] if date_format else _USUAL:
        dates = _dates_in(path.stem, form)
        if len(dates) > 1 and _PRODUCT.match(path.name) and not date_format:
            dates = dates[:1]
        if len(dates) == 1:
            return dates[0]
        if dates or date_format:
            problem = "holds more than one date" if dates else "holds no date"
            raise UserError(
                f"{path}: its name {problem} of the form {form}; give another --date-format, or --dates TABLE"
            )
    raise UserError(f"{path}: its name holds no date; give its format with --date-format, or a table with --dates")


def _dates_in(text: str, form: str) -> list[datetime]:
    """The different dates of a form, in their order."""
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


def iso_date(text: str) -> datetime:
    """A date in ISO 8601, as UTC, which also counts where no zone is stated; raises ValueError."""
    date = datetime.fromisoformat(text)
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def plausible_years() -> range:
    """Years that an image may be of, from the first photograph to next year."""
    return range(1826, datetime.now(UTC).year + 2)


def check_date_format(form: str) -> None:
    """Refuse a format that strptime does not know, or that has no year."""
    example = datetime(2024, 6, 30, tzinfo=UTC)
    try:
        year = datetime.strptime(example.strftime(form), form).year
    except (ValueError, re.error) as error:
        raise UserError(f"--date-format {form}: {error}; write it like %Y-%m-%d") from error
    if year != example.year:
        raise UserError(f"--date-format {form}: has no year; write it like %Y-%m-%d")


def read_dates(table: Path) -> dict[str, datetime]:
    """Read a CSV with the columns ``file`` and ``date`` (ISO 8601); a ``UserError`` if a date is invalid."""
    try:
        return {row["file"]: iso_date(row["date"]) for row in read_csv(table)}
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{table}: needs the columns file and date, with dates like 2024-06-30 ({error})") from error

"""Acquisition dates from file names and from tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from core.errors import UserError
from core.files import read_csv

_DIGITS = {"%Y": r"\d{4}", "%j": r"\d{3}"}  # every other directive: two digits
# Whole dates that nothing else looks like. A year, a month or a day of the year may as well be the number of a tile.
_WHOLE = ("%Y%m%dT%H%M%S", "%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d")
# Names of products: where their acquisition date stands, and its form. Other dates in them are of processing or publication.
_PRODUCTS = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (
        (r"S2[A-D]_OPER_.*_V(\d{8}T\d{6})", "%Y%m%dT%H%M%S"),
        (r"S[12356][A-D][_-].*?(?<!\d)(\d{8}T\d{6})", "%Y%m%dT%H%M%S"),  # Sentinel; of a period its beginning
        (r"(?:L\d[AC]_)?T\d\d[A-Z]{3}_(?:A\d{6}_)?(\d{8}T\d{6})", "%Y%m%dT%H%M%S"),
        (r"L[COTEM]0[1-9]_L\w{3}_\d{6}_(\d{8})_\d{8}", "%Y%m%d"),
        (r"L[COTEM]0?[1-9]_\d{6}_(\d{8})", "%Y%m%d"),  # of Earth Engine
        (r"L[COTEM][1-9]\d{6}(\d{7})[A-Z]{3}\d\d", "%Y%j"),
        (r"HLS\.[LS]30\.T\w{5}\.(\d{7})T\d{6}", "%Y%j"),
        (r"(?:M[OYC]D|VNP|VJ[12])\w+\.A(\d{7})(?!\d)", "%Y%j"),
        (r"m_\d{7}_[ns][ew]_\d{1,2}_\w+?_(\d{8})(?!\d)", "%Y%m%d"),  # NAIP; of publication is the second
        (r"(\d{8})_\d{6}_", "%Y%m%d"),  # Planet
    )
)
_REMEDY = "say how to read it with --date-format, such as '*_%Y_*', or give a table with --dates"


def parse_date(path: Path, date_format: str | None = None) -> datetime:
    """The date in a file's name, by a format of strptime, else of a known product or the only whole date in it.

    Raises:
        UserError: it holds none, or more than one.
    """
    if date_format:
        dates, form = _dates_in(path.stem, date_format), f" of the form {date_format}"
    else:
        for pattern, known in _PRODUCTS:
            if (match := pattern.match(path.name)) and (dates := _dates_in(match[1].upper(), known)):
                return dates[0]
        found = [date for one in _WHOLE for date in _dates_in(path.stem, one)]
        dates = [date for date in found if not any(date < other and date.date() == other.date() for other in found)]
        form = ""
    if len(set(dates)) == 1:
        return dates[0]
    if dates:
        raise UserError(f"{path}: its name holds more than one date{form}; {_REMEDY}")
    years = sorted({year for year in re.findall(r"(?<!\d)\d{4}", path.stem) if int(year) in plausible_years()})
    why = f"; {' and '.join(years)} may be a year or another number" if years and not date_format else ""
    raise UserError(f"{path}: its name holds no date{form}{why}; {_REMEDY}")


def _dates_in(text: str, form: str) -> list[datetime]:
    """The different dates of a form, in their order; with ``*`` for any text, the form is that of the whole text."""
    parts = re.split(r"(%[A-Za-z])", form)
    if len(set(parts[1::2])) < len(parts[1::2]):
        raise UserError(f"--date-format {form}: names a part of the date twice")
    written = [_DIGITS.get(p, r"\d{2}") if p.startswith("%") else re.escape(p).replace(r"\*", ".*?") for p in parts]
    first, last = (1, len(parts) - 1) if "*" in form else (0, len(parts))
    before, after = "".join(written[:first]), "".join(written[last:])
    pattern = f"(?<!\\d)({''.join(written[first:last])})(?!\\d)"
    if "*" in form:
        pattern, form = f"^{before}{pattern}{after}$", "".join(parts[first:last])
    dates: dict[datetime, None] = {}
    for match in re.findall(pattern, text):
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

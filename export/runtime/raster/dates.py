"""Acquisition dates: from names of files, metadata, STAC Items, files beside a raster, and tables. The same for training and maps."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputFault
from .names import absolute

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
# Tags that state when a picture was taken, in any domain of GDAL, without what separates the words.
_TAGS = {
    "acquisitiondate", "acquisitiondatetime", "dateacquired", "sensingtime", "datatakesensingstart", "productstarttime",
    "datetime", "startdatetime", "timecoveragestart", "rangebeginningdate", "imagingdate",
}  # fmt: skip
CREATED = "TIFFTAG_DATETIME"  # often when the file was made
_XML = re.compile(
    r"<(?:\w+:)?(DATE_ACQUIRED|DATATAKE_SENSING_START|SENSING_TIME|PRODUCT_START_TIME|IMAGING_DATE|acquisitionDate(?:Time)?|"
    r"beginPosition)\b[^>]*>\s*([^<]+?)\s*<"
)
_LONGEST = 4 * 2**20  # bytes that are read of a file beside a raster
_SIDECARS = (".stac.json", ".json", ".xml")  # what follows a raster's name without or with its suffix


class DateFound(NamedTuple):
    """A date, in UTC, and what told it: "name", "table", a tag, or the name of a file beside the raster."""

    date: datetime
    how: str


def date_in_name(name: str, form: str | None = None) -> datetime:
    """The date in a file's name, by a format of strptime, else of a known product or the only whole date in it.

    In a format, ``*`` stands for any text, and the format is then that of the whole name without its suffix.

    Raises:
        InputFault: it holds none, or more than one.
        ValueError: the format names a part of the date twice.
    """
    path, years = Path(name), ""
    if form:
        dates = _dates_in(path.stem, form)
    else:
        for pattern, known in _PRODUCTS:
            if (match := pattern.match(path.name)) and (dates := _dates_in(match[1].upper(), known)):
                return dates[0]
        found = [date for one in _WHOLE for date in _dates_in(path.stem, one)]
        dates = [date for date in found if not any(date < other and date.date() == other.date() for other in found)]
        likely = {year for year in re.findall(r"(?<!\d)\d{4}", path.stem) if int(year) in plausible_years()}
        years = " and ".join(sorted(likely))
    if len(set(dates)) == 1:
        return dates[0]
    if dates:
        raise InputFault("several_dates_of_form" if form else "several_dates", where=name, form=form)
    if years:
        raise InputFault("no_date_but_years", where=name, years=years)
    raise InputFault("no_date_of_form" if form else "no_date", where=name, form=form)


def _dates_in(text: str, form: str) -> list[datetime]:
    """The different dates of a form, in their order; with ``*`` for any text, the form is that of the whole text."""
    parts = re.split(r"(%[A-Za-z])", form)
    if len(set(parts[1::2])) < len(parts[1::2]):
        raise ValueError("names a part of the date twice")
    written = [_DIGITS.get(p, r"\d{2}") if p.startswith("%") else re.escape(p).replace(r"\*", ".*?") for p in parts]
    first, last = (1, len(parts) - 1) if "*" in form else (0, len(parts))
    before, after = "".join(written[:first]), "".join(written[last:])
    pattern = f"(?<!\\d)({''.join(written[first:last])})(?!\\d)"
    if "*" in form:
        pattern, form = f"^{before}{pattern}{after}$", "".join(parts[first:last])
    dates: dict[datetime, None] = {}
    for match in re.findall(pattern, text):
        try:
            date = datetime.strptime(match, form).replace(tzinfo=timezone.utc)
        except ValueError:
            continue
        if date.year in plausible_years():
            dates[date] = None
    return list(dates)


def date_in_tags(tags: Mapping[str, str]) -> DateFound | None:
    """The date that a raster's own metadata state; that of the file (``CREATED``) only where nothing else is stated."""
    for key, value in tags.items():
        word = re.sub(r"[^a-z]", "", key.lower().split("#")[-1])
        date = _date_of(str(value)) if word in _TAGS or re.fullmatch(r"datatake\w*sensingstart", word) else None
        if date:
            return DateFound(date, key)
    epoch = tags.get("system:time_start", "")  # of Earth Engine, in milliseconds
    if re.fullmatch(r"\d{9,14}(\.0)?", epoch):
        return DateFound(datetime.fromtimestamp(float(epoch) / 1000, timezone.utc), "system:time_start")
    created = _date_of(str(tags.get(CREATED, "")))
    return DateFound(created, CREATED) if created else None


def date_of_item(item: Mapping[str, Any]) -> datetime | None:
    """The date of a STAC Item, of a period its middle; None where it states none."""
    properties = item.get("properties") or {}
    dates = [_date_of(str(properties.get(key) or "")) for key in ("datetime", "start_datetime", "end_datetime")]
    if dates[0] or dates[1] is None or dates[2] is None:
        return dates[0] or dates[1] or dates[2]
    return dates[1] + (dates[2] - dates[1]) / 2


def date_beside(path: Path) -> DateFound | None:
    """The date in a file beside a raster on a disk: a STAC Item (``.stac.json``, ``.json``), or a product's ``.xml``."""
    names = dict.fromkeys(f"{name}{end}" for end in _SIDECARS for name in (path.stem, path.name))
    for beside in map(path.with_name, names):
        try:
            if not beside.is_file():
                continue
            with beside.open(encoding="utf-8", errors="replace") as file:
                text = file.read(_LONGEST)
            date = _date_in_xml(text) if beside.suffix == ".xml" else date_of_item(json.loads(text))
        except (OSError, ValueError, AttributeError, RecursionError):  # which is no file of such a kind
            continue
        if date:
            return DateFound(date, beside.name)
    return None


def date_stated(tags: Mapping[str, str], path: Path | None) -> DateFound | None:
    """The date that a raster's metadata state, else a file beside it, else that of the file itself (``CREATED``)."""
    found = date_in_tags(tags)
    if path is None or (found and found.how != CREATED):
        return found
    return date_beside(path) or found


def _date_in_xml(text: str) -> datetime | None:
    dates = (_date_of(match[2]) for match in _XML.finditer(text))
    return next((date for date in dates if date), None)


def _date_of(text: str) -> datetime | None:
    """A date as metadata write it; None where it is none, or of no plausible year."""
    if match := re.match(r"\s*(\d{4}):(\d\d):(\d\d)(?: (\d\d:\d\d:\d\d))?\s*$", text):  # TIFF's
        text = f"{match[1]}-{match[2]}-{match[3]}T{match[4] or '00:00:00'}"
    try:
        date = iso_date(text)
    except ValueError:
        return None
    return date if date.year in plausible_years() else None


def iso_date(text: str) -> datetime:
    """A date in ISO 8601, as UTC, which also counts where no zone is stated; raises ValueError."""
    match = re.fullmatch(
        r"\s*(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d|[+-]\d\d)?)?\s*",
        text, re.IGNORECASE,
    )  # fmt: skip
    if not match:  # Python before 3.11 reads less than others write
        raise ValueError(f"{text!r} is no date like 2024-06-30")
    numbers = [int(part or 0) for part in match.groups()[:6]]
    micro, zone = int((match[7] or "0").ljust(6, "0")[:6]), (match[8] or "Z").upper()
    try:
        date = datetime(*numbers, micro, tzinfo=timezone.utc)  # type: ignore[misc, arg-type]  # six numbers
    except ValueError as error:
        raise ValueError(f"{text!r} is no date ({error})") from error
    if zone == "Z":
        return date
    minutes = 60 * int(zone[1:3]) + int(zone[3:].strip(":") or 0)
    return date - timedelta(minutes=minutes if zone[0] == "+" else -minutes)


def plausible_years() -> range:
    """Years that an image may be of, from the first photograph to next year."""
    return range(1826, datetime.now(timezone.utc).year + 2)


def check_date_format(form: str) -> None:
    """Raise a ValueError for a format that strptime does not know, or that has no year."""
    example = datetime(2024, 6, 30, tzinfo=timezone.utc)
    try:
        year = datetime.strptime(example.strftime(form), form).year
    except re.error as error:
        raise ValueError(str(error)) from error
    if year != example.year:
        raise ValueError("has no year")


def read_dates(table: Path, named: bool = True) -> list[tuple[str, datetime]]:
    """The rows of a CSV with the columns ``file`` and ``date`` (ISO 8601), in their order; unless ``named``, "" without a file.

    Raises:
        InputFault: it is no such table, or a date is invalid.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                (str((row["file"] if named else row.get("file")) or "").strip(), iso_date(row["date"]))
                for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise InputFault("dates_unread", where=table, reason=error.strerror or str(error)) from error
    except (UnicodeDecodeError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputFault("no_dates_table", where=table, reason=str(error)) from error
    if not rows:
        raise InputFault("no_dates_table", where=table, reason="it has no rows")
    return rows


def is_row_of(where: str, file: str) -> bool:
    """Whether a table's ``file`` is the name of a raster, or the end of its path."""
    end = f"/{file}".replace("\\", "/").replace("/./", "/")
    return bool(file) and any(f"/{one}".replace("\\", "/").endswith(end) for one in (where, absolute(where)))


def date_in_table(where: str, rows: Sequence[tuple[str, datetime]]) -> datetime | None:
    """The date of a raster by the rows of a table, of several the one that holds most of its path; None where none is of it.

    Raises:
        InputFault: rows give it different dates.
    """
    own = [(len(file), date) for file, date in rows if is_row_of(where, file)]
    dates = sorted({date for length, date in own if length == max(own)[0]})
    if len(dates) > 1:
        raise InputFault("several_rows", where=where, dates=texts_of(dates))
    return dates[0] if dates else None


def day_of_year(date: datetime) -> int:
    """1 for 1 January."""
    return date.timetuple().tm_yday


def texts_of(dates: Sequence[datetime]) -> str:
    """Days for people, as in ISO 8601."""
    return ", ".join(f"{date:%Y-%m-%d}" for date in dates)

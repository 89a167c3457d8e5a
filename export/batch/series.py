"""The rasters of a series: their dates, the bands of each in a stack, and the masks that belong to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from export.batch.inputs import SUFFIXES, DatedRaster, Raster, expanded
from export.rasterio_io.dated import MaskFile, SceneFile
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.run import reading
from export.rasterio_io.vectors import Area
from export.runtime.errors import InputFault
from export.runtime.infer.source import Pixels
from export.runtime.messages import Message
from export.runtime.raster.band_names import follow_band_by_band
from export.runtime.raster.dates import (
    CREATED,
    check_date_format,
    date_in_name,
    date_in_table,
    date_stated,
    is_row_of,
    iso_date,
    read_dates,
    texts_of,
)
from export.runtime.raster.mask_band import MaskBand
from export.runtime.raster.names import absolute, is_far, is_path, short, stem
from export.runtime.raster.window import Window
from export.runtime.results.writing import MADE_BY

_REMEDY = "give a table with --dates, or say with --date-format how names hold their date"
_PROBE = 64  # px a side that are read of the first and the last corner and of the middle
_SIZES = re.compile(r"\d{2,3}m")  # in names of files: 20m


@dataclass(frozen=True)
class DateRules:
    """Where dates come from: a table (file, date), a list of dates in the order of the rasters or of a stack, or names."""

    table: Path | None = None
    listed: tuple[datetime, ...] = ()
    form: str | None = None

    @classmethod
    def of(cls, dates: Sequence[str], form: str | None) -> DateRules:
        """From the command line.

        Raises:
            InputFault: a date or the format cannot be used.
        """
        if form:
            try:
                check_date_format(form)
            except ValueError as error:
                raise InputFault.worded(f"--date-format {form}: {error}; write it like %Y-%m-%d") from error
        if len(dates) == 1 and not re.fullmatch(r"[\d-]+(T.*)?", dates[0]):
            return cls(Path(dates[0]), (), form)
        try:
            return cls(None, tuple(iso_date(text) for text in dates), form)
        except ValueError as error:
            raise InputFault.worded(f"--dates: {error}; write dates like 2024-06-30, or name a table") from error


@dataclass
class FoundSeries:
    """The rasters of a series in the order of their dates, what the user should read, and those that were left out."""

    rasters: list[DatedRaster] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def series_of(
    words: Sequence[str],
    bands: Sequence[str],
    out: Path,
    rules: DateRules,
    mask: MaskBand | None = None,
    skip_bad: bool = False,
    area: Area | None = None,
    fits: Callable[[Pixels], object] = lambda pixels: None,
) -> FoundSeries:
    """The rasters that the arguments of the command line name, with their dates and masks.

    ``bands`` are those of the model, for Items with one file per band; rasters in the folder ``out`` are no inputs. One
    raster with several dates listed, or in a table of several rows, is a stack: all bands of the first date, then those of
    the next. ``fits`` raises an InputFault for an open raster that the model cannot read. Maps that a run made before are
    no dates.

    Raises:
        InputFault: a date is not known, a mask is missing, or a raster cannot be read or does not fit and is not to be skipped.
    """
    inputs = {absolute(raster.where): raster for word in words for raster in expanded(word, bands, out)}
    masks = {where for where, raster in inputs.items() if mask and _is_mask(raster, mask)}
    rasters = [raster for where, raster in inputs.items() if where not in masks]
    if not rasters:
        raise InputFault.worded(f"{', '.join(words)}: holds no rasters but masks")
    found = FoundSeries()
    stack = _dates_of_stack(rasters[0], rules) if len(rasters) == 1 else ()
    if stack:
        found.rasters = list(_of_stack(rasters[0], stack, mask, area))
        return found
    if rules.listed and len(rules.listed) != len(rasters):
        raise InputFault.worded(f"--dates: {len(rules.listed)} dates for {len(rasters)} rasters; give one for each")
    table = read_dates(rules.table) if rules.table else []
    masks_of = _Masks(mask, area) if mask else None
    for number, raster in enumerate(rasters):
        try:
            given = rules.listed[number] if rules.listed else None
            tags = _tags(raster, area)
            if tags.get("TIFFTAG_SOFTWARE") == MADE_BY:
                sentence = f"{raster.where}: left out: a run made it, it is a result and no date"
                found.notes.append(Message("worded", {"sentence": sentence}))
                continue
            one = _dated(raster, given, rules, table, masks_of, tags, found.notes)
            if not raster.parts:  # of an Item the bands are known, and lie in files of their own
                with reading(raster.where), closing(SceneFile(None, raster.where, (), one.mask).open(area)) as pixels:
                    fits(pixels)
        except InputFault as fault:
            if not skip_bad:
                raise InputFault.worded(f"{fault}; or leave out what is bad with --skip-bad") from fault
            found.bad.append(str(fault))
            continue
        found.rasters.append(one)
    if not found.rasters:
        why = [*found.bad, *map(str, found.notes)][0]
        raise InputFault.worded(f"no raster of the series can be used: {why}")
    found.rasters.sort(key=lambda one: one.date)
    return found


def maps_of(found: FoundSeries, words: Sequence[str], name: str | None, together: bool) -> list[Raster]:
    """The maps that are made of a series: one of all dates ``together``, or one of each date, NAME_2024-06-30."""
    name, where = name or name_of(words), ", ".join(words[:3]) + (" ..." if len(words) > 3 else "")
    if together:
        return [Raster(name, where, dates=tuple(found.rasters))]
    by_day: dict[str, list[DatedRaster]] = {}
    for one in found.rasters:
        by_day.setdefault(f"{one.date:%Y-%m-%d}", []).append(one)
    maps = []
    for day, those in by_day.items():
        first = those[0]
        if len(those) > 1 or first.bands:
            maps.append(Raster(f"{name}_{day}", ", ".join(one.raster.where for one in those), dates=tuple(those)))
        else:
            maps.append(replace(first.raster, name=f"{name}_{day}", mask=first.mask))
    return maps


def name_of(words: Sequence[str]) -> str:
    """What the map of a series is called: the only raster or list, its folder, or that of a pattern; else "series"."""
    path = Path(words[0])
    if len(words) > 1:
        return "series"
    if path.is_dir():
        return path.resolve().name or "series"
    if re.search(r"[*?\[]", words[0]) and not path.exists():
        folders = [part for part in path.parts[:-1] if not re.search(r"[*?\[]", part) and part not in ("..", ".", "/")]
        return folders[-1] if folders else "series"
    return stem(words[0])


def masked(rasters: Sequence[Raster], mask: MaskBand, area: Area | None = None) -> list[Raster]:
    """Rasters that are no series and what masks each; the masks among them are no rasters to map.

    Raises:
        InputFault: one cannot be read, or has no such mask.
    """
    masks_of = _Masks(mask, area)
    return [replace(raster, mask=masks_of.of(raster)) for raster in rasters if not _is_mask(raster, mask)]


def _dated(
    raster: Raster,
    given: datetime | None,
    rules: DateRules,
    table: Sequence[tuple[str, datetime]],
    masks_of: _Masks | None,
    tags: dict[str, str],
    notes: list[Message],
) -> DatedRaster:
    """A raster, its date and its mask."""
    if given is not None:
        date = given
    elif rules.table:
        found = date_in_table(raster.where, table)
        if found is None:
            raise InputFault.worded(f"{raster.where}: {rules.table} has no row for {short(raster.where)}")
        date = found
    else:
        date = _own_date(raster, rules.form, tags, notes)
    return DatedRaster(date, raster, (), masks_of.of(raster, date) if masks_of else None)


def _own_date(raster: Raster, form: str | None, tags: dict[str, str], notes: list[Message]) -> datetime:
    """The date that its Item, its name, its metadata or a file beside it tell, in this order."""
    if raster.date:
        return raster.date
    where = raster.where
    stated = date_stated(tags, Path(where) if is_path(where) else None)
    try:
        named = date_in_name(raster.name if raster.parts else where.split("?")[0], form)
    except InputFault as fault:
        if raster.parts:
            raise InputFault.worded(f"{where}: states no datetime, and its id holds no date; {_REMEDY}") from fault
        if form or stated is None:
            raise InputFault.worded(f"{fault}; {_REMEDY}") from fault
        if stated.how == CREATED:
            notes.append(Message("date_of_file", {"where": where, "date": f"{stated.date:%Y-%m-%d}", "tag": CREATED}))
        return stated.date
    if stated and stated.how != CREATED and stated.date.date() != named.date():
        facts = {"where": where, "date": f"{named:%Y-%m-%d}", "other": f"{stated.date:%Y-%m-%d}", "how": stated.how}
        notes.append(Message("dates_differ", facts))
    return named


def _tags(raster: Raster, area: Area | None) -> dict[str, str]:
    """The metadata of a raster, whose first and last pixels can be read; of an Item none, whose parts can be.

    Of files on servers no pixels are read.
    """
    for part in raster.parts:
        try:
            _probed(part.where, area)
        except InputFault as fault:
            raise InputFault.worded(f"{raster.where}: {fault}") from fault
    return {} if raster.parts else _probed(raster.where, area)


def _probed(where: str, area: Area | None) -> dict[str, str]:
    """The metadata of a raster, whose first and last pixels can be read."""
    with reading(where), closing(RasterPixels(where, area)) as pixels:
        if is_far(where):
            return pixels.tags
        height, width = pixels.grid.shape
        tall, wide = min(height, _PROBE), min(width, _PROBE)
        for share in (0.0, 0.5, 1.0):  # a file that is cut off lacks its end
            pixels.read(
                pixels.usable[:1] or [1], Window(int(share * (height - tall)), int(share * (width - wide)), tall, wide)
            )
        return {**pixels.tags, **pixels.dataset.tags(ns="IMAGERY")}


def _dates_of_stack(raster: Raster, rules: DateRules) -> tuple[datetime, ...]:
    """The dates of a stack, in the order of its bands; none where it is the raster of one date."""
    if raster.parts:
        return ()
    if rules.table:
        rows = read_dates(rules.table, named=False)
        dates = [date for file, date in rows if not file or is_row_of(raster.where, file)]
        return tuple(dates) if len(dates) > 1 else ()
    return rules.listed if len(rules.listed) > 1 else ()


def _of_stack(
    raster: Raster, dates: Sequence[datetime], mask: MaskBand | None, area: Area | None
) -> Iterator[DatedRaster]:
    """The dates of one raster that holds the bands of all."""
    with reading(raster.where), closing(RasterPixels(raster.where, area)) as pixels:
        numbers, names = pixels.usable, [band.name for band in pixels.bands]
    count, over = divmod(len(numbers), len(dates))
    if over or not count:
        raise InputFault.worded(
            f"{raster.where}: {len(numbers)} bands are no whole number for each of {len(dates)} dates; see --dates"
        )
    groups = [tuple(numbers[at : at + count]) for at in range(0, len(numbers), count)]
    if follow_band_by_band([names[number - 1] for number in numbers], count):
        raise InputFault.worded(
            f"{raster.where}: its bands follow band by band ({', '.join(names[: count + 1])}), not date by date; "
            "bring them into the order of the dates, with gdal_translate -b, say"
        )
    if len(set(dates)) < len(dates):
        raise InputFault.worded(f"{raster.where}: two of its dates are the same; see --dates")
    told = [date for group in groups if (date := _date_in_names([names[number - 1] for number in group]))]
    if len(told) == len(dates) and _order(told) != _order(dates):
        raise InputFault.worded(
            f"{raster.where}: by the names of its bands its dates are {texts_of(told)}, in this order, but --dates gives "
            f"{texts_of(dates)}; give the dates in the order of the bands"
        )
    own = MaskFile(mask) if mask else None
    yield from sorted(
        (DatedRaster(date, raster, group, own) for date, group in zip(dates, groups)), key=lambda one: one.date
    )


def _date_in_names(names: Sequence[str]) -> datetime | None:
    """The date that the names of bands hold; None where they hold none, or several."""
    dates = set()
    for name in names:
        try:
            dates.add(date_in_name(f"{name}.tif"))
        except InputFault:
            return None
    return dates.pop() if len(dates) == 1 else None


def _order(dates: Sequence[datetime]) -> list[int]:
    return sorted(range(len(dates)), key=dates.__getitem__)


class _Masks:
    """Finds the masks of rasters; looks into each folder once."""

    def __init__(self, rule: MaskBand, area: Area | None) -> None:
        self._rule, self._area = rule, area
        self._folders: dict[Path, list[tuple[Path, list[str]]]] = {}

    def of(self, raster: Raster, date: datetime | None = None) -> MaskFile:
        """The mask band of a raster: the asset of its Item, a band of its own, or a file beside it.

        Raises:
            InputFault: there is none, or more than one.
        """
        rule = self._rule
        for key, href in raster.assets:
            if rule.is_named(key):
                _probed(href, self._area)
                return MaskFile(rule, href)
        if not raster.parts:
            with reading(raster.where), closing(RasterPixels(raster.where, self._area)) as pixels:
                if rule.number(pixels.bands):
                    return MaskFile(rule)
        files = self._beside(Path(raster.where), date) if not raster.parts and is_path(raster.where) else []
        if len(files) > 1:
            names = ", ".join(path.name for path in files)
            raise InputFault.worded(
                f"{raster.where}: several files beside it may be its mask ({names}); keep one of them"
            )
        if files:
            _probed(str(files[0]), self._area)
            return MaskFile(rule, str(files[0]))
        where = (
            f"no asset {rule.name}" if raster.assets else f"no band {rule.name} and no file *_{rule.name}* beside it"
        )
        raise InputFault.worded(f"{raster.where}: has {where}; see --mask-band")

    def _beside(self, path: Path, date: datetime | None) -> list[Path]:
        """The files beside a raster that mask it: named as it is, or of its date and as its name begins or ends."""
        own = [part for part in re.split(r"[_.\s-]+", path.stem.lower()) if not _SIZES.fullmatch(part)]
        best: dict[int, list[Path]] = {}
        for other, words in self._in(path.parent):
            if other == path or not (own[: len(words)] == words or own[-len(words) :] == words):
                continue
            if words != own:
                try:
                    its = date_in_name(other.name)
                except InputFault:
                    continue
                if date is not None and its.date() != date.date():
                    continue
            best.setdefault(len(words), []).append(other)
        return best[max(best)] if best else []

    def _in(self, folder: Path) -> list[tuple[Path, list[str]]]:
        """The files of a folder that are named as masks, and the other words of their names."""
        if folder not in self._folders:
            named = [
                (path, _masks_what(path.stem, self._rule))
                for path in sorted(folder.iterdir())
                if path.suffix.lower() in SUFFIXES
            ]
            self._folders[folder] = [(path, words) for path, words in named if words]
        return self._folders[folder]


def _is_mask(raster: Raster, rule: MaskBand) -> bool:
    """Whether a file is named as a mask."""
    return not raster.parts and _masks_what(Path(raster.where).stem, rule) is not None


def _masks_what(name: str, rule: MaskBand) -> list[str] | None:
    """The words of a file's name but for those that call it a mask; None where none does."""
    parts = re.split(r"[_.\s-]+", name.lower())
    for first in range(len(parts)):
        for last in range(len(parts), first, -1):
            if rule.is_named("".join(parts[first:last])):
                return [part for part in parts[:first] + parts[last:] if not _SIZES.fullmatch(part)]
    return None

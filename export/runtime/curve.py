"""The season curve of a place: what the rasters of its dates hold there, and what a model says of it, date by date."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple, Union

import numpy as np

from .errors import Cancelled, InputFault, RuntimeFault
from .infer.inputs.series import Dated, Series
from .infer.job import Job
from .infer.layout import Options
from .infer.source import Choice, Pixels, Source, alpha_bands
from .messages import Message
from .model.card import ModelCard
from .model.session import Model
from .raster.sentinel2 import REFLECTANCE, baseline_of
from .raster.window import Window
from .results.vectors import KeepGoing

Place = Union[tuple[float, float], None]  # x and y in the CRS of a raster; None where that CRS has no such place
VALUES, PROBABILITIES, ANSWER, SIMILARITY = "value", "probability", "prediction", "similarity"


class DateReading(NamedTuple):
    """What one date tells of a place.

    Attributes:
        raster: number of the raster that tells it; of several of that day the first one that holds data.
        values: (lines,) float64; None in a gap.
        gap: why there are none, or, of a model of series, why they are those of the dates before.
    """

    day: date
    raster: int
    values: np.ndarray | None
    gap: Message | None = None


@dataclass(frozen=True)
class Curve:
    """Readings of a place, by date.

    Attributes:
        kind: what the numbers are: one of ``VALUES``, ``PROBABILITIES``, ``ANSWER`` and ``SIMILARITY``.
        lines: their names.
        colors: of the lines, "RRGGBB"; empty where nothing states them.
    """

    kind: str
    lines: tuple[str, ...]
    colors: tuple[str, ...] = ()
    unit: str = ""
    readings: tuple[DateReading, ...] = ()

    @property
    def numbers(self) -> np.ndarray:
        """(dates, lines) float64, NaN in gaps."""
        if self.kind == SIMILARITY:
            return similarity([one.values for one in self.readings])[:, None]
        nothing = np.full(len(self.lines), np.nan)
        rows = [nothing if one.values is None else one.values for one in self.readings]
        return np.array(rows, np.float64).reshape(len(rows), len(self.lines))


def similarity(vectors: Sequence[np.ndarray | None]) -> np.ndarray:
    """(dates,) cosine between each date's features and the mean direction of all; NaN where there are none.

    The mean is that of the vectors of length 1, so that no date counts more than another.
    """
    found = np.full(len(vectors), np.nan)
    held = [number for number, one in enumerate(vectors) if one is not None and np.linalg.norm(one) > 0]
    if held:
        units = np.array([vectors[number] / np.linalg.norm(vectors[number]) for number in held])  # type: ignore[operator,arg-type]
        mean = units.mean(axis=0)
        length = float(np.linalg.norm(mean))
        found[held] = units @ mean / length if length > 0 else 0.0
    return found


class _Dated(ABC):
    """Rasters with dates, of which a place is asked for.

    ``rasters`` are in any order; one that could not be opened is the fault that says why, and a gap.
    """

    curve: Curve  # without readings

    def __init__(self, days: Sequence[date], rasters: Sequence[Pixels | RuntimeFault]) -> None:
        if not rasters:
            raise InputFault("no_dated_rasters")
        self.days, self.rasters = list(days), list(rasters)

    @abstractmethod
    def at(self, places: Sequence[Place], keep_going: KeepGoing = lambda: True) -> Iterator[DateReading]:
        """Yield a reading for each day, the first one first; ``places`` are those of each raster.

        Raises:
            ModelFault: the model fails.
            Cancelled: ``keep_going`` returned False.
        """

    @abstractmethod
    def notes(self) -> list[Message]:
        """What should be read with the curve, as far as rasters were read; each kind of note once."""


class _EachAlone(_Dated):
    """Each raster is asked by itself."""

    def at(self, places: Sequence[Place], keep_going: KeepGoing = lambda: True) -> Iterator[DateReading]:
        """Yield a reading for each day; see ``_Dated``."""
        order = sorted(range(len(self.days)), key=lambda number: (self.days[number], number))
        waiting: list[DateReading] = []
        for number in order:
            day = self.days[number]
            if waiting and waiting[0].day != day:
                yield _first(waiting)
                waiting = []
            if not keep_going():
                raise Cancelled()
            waiting.append(self._reading(number, places[number], keep_going))
        yield _first(waiting)

    def _reading(self, number: int, place: Place, keep_going: KeepGoing) -> DateReading:
        day, raster = self.days[number], self.rasters[number]
        try:
            if isinstance(raster, RuntimeFault):
                raise raster
            found = self._read(number, place, keep_going)
        except InputFault as fault:
            return DateReading(day, number, None, fault.message)
        if found is None:
            return DateReading(day, number, None, Message("no_data"))
        return DateReading(day, number, found)

    @abstractmethod
    def _read(self, number: int, place: Place, keep_going: KeepGoing) -> np.ndarray | None:
        """(lines,) of a raster at a place; None where it holds no data; an InputFault is a gap."""


def _first(readings: Sequence[DateReading]) -> DateReading:
    return next((one for one in readings if one.values is not None), readings[0])


class BandCurve(_EachAlone):
    """What the bands hold: all but alpha channels, those of the first raster, found in the others by the rules for models.

    Values are as the files state them, their scale and offset applied. Where a raster is a Sentinel-2 product, all are brought
    to reflectance x 10000, because the stored values of products before and after baseline 04.00 differ.
    """

    def __init__(self, days: Sequence[date], rasters: Sequence[Pixels | RuntimeFault]) -> None:
        """Choose the bands.

        Raises:
            InputFault: there is no raster, or none of them can be read.
        """
        super().__init__(days, rasters)
        opened = [one for one in rasters if not isinstance(one, RuntimeFault)]
        if not opened:
            raise next(one for one in rasters if isinstance(one, RuntimeFault))
        names = _names(opened[0])
        baselines = [baseline_of(one.address, one.tags.get("PROCESSING_BASELINE", "")) for one in opened]
        kind = "raw" if set(baselines) == {None} else "s2-l2a"
        unit = "" if kind == "raw" else REFLECTANCE
        self.curve = Curve(VALUES, tuple(names), unit=unit)
        self._sources: dict[int, Source] = {}
        self._faults: dict[int, InputFault] = {}
        card = ModelCard("", "regression", tuple(names), unit, (0.0, 0.0), (0.0,) * len(names), (), 0, 0, None, "", "")
        for number, pixels in enumerate(rasters):
            if not isinstance(pixels, RuntimeFault):
                try:
                    self._sources[number] = Source(pixels, card, Choice(kind=kind))
                except InputFault as fault:
                    self._faults[number] = fault

    def notes(self) -> list[Message]:
        """See ``_Dated``."""
        return _each_once(note for source in self._sources.values() for note in source.notes)

    def _read(self, number: int, place: Place, keep_going: KeepGoing) -> np.ndarray | None:
        if number in self._faults:
            raise self._faults[number]
        source = self._sources[number]
        values, valid = source.read(_pixel(source.grid, place))
        if not valid[0, 0]:
            return None
        found = values[:, 0, 0].astype(np.float64)
        if not self.curve.unit:
            stored = [source.pixels.stored_as(band) for band in source.bands]
            found *= [1.0 if scale is None else scale for scale, _ in stored]
            found += [offset or 0.0 for _, offset in stored]
        return found


class AnswerCurve(_EachAlone):
    """What a model of one date says of each date: as in its map of that raster, to the same bits."""

    def __init__(
        self,
        model: Model,
        days: Sequence[date],
        rasters: Sequence[Pixels | RuntimeFault],
        options: Options | None = None,
    ) -> None:
        """Prepare the run of each raster.

        Raises:
            InputFault: there is no raster, or the model finds objects.
        """
        super().__init__(days, rasters)
        self.curve = answer_lines(model)
        self._model, self._options = model, with_probabilities(options)
        self._jobs: dict[int, Job] = {}

    def notes(self) -> list[Message]:
        """See ``_Dated``."""
        return _of_jobs(self._jobs.values())

    def _read(self, number: int, place: Place, keep_going: KeepGoing) -> np.ndarray | None:
        if number not in self._jobs:
            self._jobs[number] = Job(self._model, self.rasters[number], self._options)  # type: ignore[arg-type]
        job = self._jobs[number]
        return answer(job, _pixel(job.layout.result, place), keep_going)


class SeriesCurve(_Dated):
    """What a model of series says with all dates up to each, and so when it knows; the last is its map of all, to the same bits."""

    def __init__(
        self,
        model: Model,
        days: Sequence[date],
        rasters: Sequence[Pixels | RuntimeFault],
        options: Options | None = None,
    ) -> None:
        """Lay out the grid of all rasters that could be opened.

        Raises:
            InputFault: there is none, or they cannot be brought onto one grid.
        """
        super().__init__(days, rasters)
        self.curve = answer_lines(model)
        self._model, self._options = model, with_probabilities(options)
        self._dated = [Dated(day, one) for day, one in zip(days, rasters) if not isinstance(one, RuntimeFault)]
        if not self._dated:
            raise next(one for one in rasters if isinstance(one, RuntimeFault))
        self._grid = Series(self._dated).grid
        # the grid has the CRS of one of them
        same = (
            n for n, one in enumerate(rasters) if not isinstance(one, RuntimeFault) and one.grid.crs == self._grid.crs
        )
        self._place_of = next(same)
        self._jobs: dict[date, Job] = {}

    def at(self, places: Sequence[Place], keep_going: KeepGoing = lambda: True) -> Iterator[DateReading]:
        """Yield a reading for each day; see ``_Dated``."""
        place = places[self._place_of]
        for day in sorted(set(self.days)):
            if not keep_going():
                raise Cancelled()
            numbers = [number for number, one in enumerate(self.days) if one == day]
            faults = [one for one in (self.rasters[number] for number in numbers) if isinstance(one, RuntimeFault)]
            try:
                found, there = self._upto(day, place, keep_going)
            except InputFault as fault:
                yield DateReading(day, numbers[0], None, fault.message)
                continue
            gap = None if there else faults[0].message if len(faults) == len(numbers) else Message("no_data")
            yield DateReading(day, numbers[0], found, gap)

    def notes(self) -> list[Message]:
        """See ``_Dated``."""
        return _of_jobs(list(self._jobs.values())[-1:])

    def _upto(self, day: date, place: Place, keep_going: KeepGoing) -> tuple[np.ndarray | None, bool]:
        """The answer of all dates up to a day, None where none of them holds data; and whether that day does."""
        upto = [one for one in self._dated if one.date <= day]
        if not upto:
            return None, False
        job = self._jobs.get(day) or Job(self._model, Series(upto, self._grid), self._options)
        self._jobs[day] = job
        found = answer(job, _pixel(job.layout.result, place), keep_going)
        held = any(one.date == day for one in upto) and bool(job.source.valid(_pixel(self._grid, place))[-1, 0, 0])
        return found, held


def _of_jobs(jobs: Iterable[Job]) -> list[Message]:
    notes = ((*job.source.notes, *(note.about(job.source.where) for note in job.layout.notes(False))) for job in jobs)
    return _each_once(note for some in notes for note in some)


def _each_once(notes: Iterable[Message]) -> list[Message]:
    found: dict[str, Message] = {}
    for note in notes:
        found.setdefault(note.kind, note)
    return list(found.values())


def answer_lines(model: Model) -> Curve:
    """What the numbers of a model's answer are; without readings.

    Raises:
        InputFault: the model finds objects.
    """
    card = model.card
    if card.task == "detection":
        raise InputFault("no_curve", name=card.name)
    if card.task == "embedding":
        return Curve(SIMILARITY, ("similarity",))
    if card.task == "regression":
        lines = [card.name] if model.channels == 1 else [f"{card.name} {n + 1}" for n in range(model.channels)]
        return Curve(ANSWER, tuple(lines))
    shown = card.classes[len(card.classes) - model.channels :]  # a class that is none of the channels has no line
    return Curve(PROBABILITIES, tuple(one.name for one in shown), tuple(one.color for one in shown))


def with_probabilities(options: Options | None) -> Options:
    """Options of a run that gives all numbers of an answer."""
    options = options or Options()
    return replace(options, run=replace(options.run, probabilities=True))


def answer(job: Job, pixel: Window, keep_going: KeepGoing) -> np.ndarray | None:
    """(channels,) float64 of a run at one pixel of its result; None where it holds no data."""
    for part in job.at(pixel).rows(lambda done, total: keep_going()):
        if part.valid.any():
            assert part.values is not None  # nosec B101  # asked for
            return part.values[:, 0, 0].astype(np.float64)
    return None


def _pixel(grid: Any, place: Place) -> Window:
    """The pixel of a place; raises InputFault if it lies outside."""
    if place is not None:
        column, row = grid.pixel_at(*place)
        if 0 <= row < grid.height and 0 <= column < grid.width:  # not so where a coordinate is not finite
            return Window(int(row), int(column), 1, 1)
    raise InputFault("place_outside")


def _names(pixels: Pixels) -> list[str]:
    """Of all bands that hold values; by their numbers where they are not named, or not differently."""
    _, others = alpha_bands(pixels)
    numbers = sorted([*pixels.usable, *others])
    names = [pixels.bands[number - 1].shown for number in numbers]
    unclear = len({name.strip().lower() for name in names}) < len(names) or "" in names
    return [f"band {number}" for number in numbers] if unclear else names


@dataclass(frozen=True)
class PlaceTable:
    """A place and its curves, for a file.

    Attributes:
        crs: in which ``x`` and ``y`` are, for people.
        rasters: names of all rasters.
    """

    x: float
    y: float
    crs: str
    rasters: Sequence[str]
    curves: Sequence[Curve] = field(default_factory=list)

    def csv_text(self, words: Callable[[Message], str] = str) -> str:
        """CSV with a row for each date; numbers with a point, empty in gaps, whose reason is in the last column."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        heads = [_head(curve, line) for curve in self.curves for line in curve.lines]
        write(["date", "x", "y", "crs", "layer", *heads, "gap"])
        tables = [curve.numbers for curve in self.curves]
        for at, first in enumerate(self.curves[0].readings):
            cells = [_cell(number) for table in tables for number in table[at]]
            gaps = [curve.readings[at].gap for curve in self.curves]
            why = next((words(one) for one in gaps if one), "")
            write(
                [first.day.isoformat(), repr(self.x), repr(self.y), self.crs, self.rasters[first.raster], *cells, why]
            )
        return text.getvalue()


def _head(curve: Curve, line: str) -> str:
    return curve.kind if curve.kind == SIMILARITY else f"{curve.kind} {line}"


def _cell(number: float) -> str:
    return "" if np.isnan(number) else f"{number:.9g}"

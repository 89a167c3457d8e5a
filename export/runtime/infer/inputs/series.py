"""Rasters of several dates on one grid, and how a model reads them: each in its own unit, with its own gaps.

A ``Series`` is what a host opens; ``SeriesSource`` is to it what ``Source`` is to one raster: its pixels are
(dates, bands, rows, columns), and where they hold data (dates, rows, columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from ...errors import InputFault
from ...messages import Message
from ...model.card import ModelCard
from ...raster.warp import Mesh
from ...raster.window import Read, Window, lattice
from ..source import Choice, Pixels, Source
from .onto import box_on, common_grid, degrees_of, is_shifted, onto

LEAST_UNSEEN = 0.005  # part of a grid without data at any date that is worth a sentence


@dataclass(frozen=True)
class Dated:
    """An open raster and the day, in UTC, on which it was taken."""

    date: date
    pixels: Pixels


class Series:
    """Open rasters in the order of their dates. Of rasters of one day the first that holds data at a pixel counts.

    Attributes:
        grid: that all are read on: of the CRS and pixel size of most of them, over all of them.
        days: different dates, rising.
        name: for messages.
    """

    def __init__(self, dated: Sequence[Dated], grid: Any = None) -> None:
        """Put them in order; they are read on ``grid``, if given.

        Raises:
            InputFault: there is none, one cannot be brought onto the grid, or lies apart from those of all other dates.
        """
        if not dated:
            raise InputFault("no_dates")
        self.dated = sorted(dated, key=lambda one: one.date)
        self.days = sorted({one.date for one in dated})
        rasters = [one.pixels for one in self.dated]
        self.grid = common_grid(rasters) if grid is None else grid
        first, last = rasters[0].name, rasters[-1].name
        self.name = first if first == last else f"{first} … {last}"
        self._check_apart()

    def of(self, day: date) -> list[Pixels]:
        """The rasters of a day."""
        return [one.pixels for one in self.dated if one.date == day]

    def _check_apart(self) -> None:
        """Refuse a raster that no raster of another date meets: it is of another place."""
        boxes = [box_on(one.pixels, self.grid) for one in self.dated]
        for one, (left, top, right, bottom) in zip(self.dated, boxes):
            others = [box for other, box in zip(self.dated, boxes) if other.date != one.date]
            if others and not any(left < r and right > x and top < b and bottom > y for x, y, r, b in others):
                raise InputFault("lies_apart", where=one.pixels.name)

    def close(self) -> None:
        """Release the files."""
        for one in self.dated:
            one.pixels.close()


class DayRasters:
    """The rasters of a day, as a model reads them on the grid of a series."""

    def __init__(self, rasters: Sequence[Pixels], grid: Any, card: ModelCard, choice: Choice) -> None:
        self.sources = [Source(pixels, card, choice) for pixels in rasters]
        self._reads = [onto(source.read, source.pixels, grid) for source in self.sources]
        self._valid = [onto(_valid_of(source), source.pixels, grid, nearest=True) for source in self.sources]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, columns) in the model's unit, and where they hold data (rows, columns)."""
        pixels, valid = self._reads[0](window)
        for read in self._reads[1:]:
            if valid.all():
                break
            others, there = read(window)
            pixels = np.where(valid, pixels, others)
            valid = valid | there
        return pixels, valid

    def valid(self, window: Window) -> np.ndarray:
        """(rows, columns) True where they hold data."""
        return np.logical_or.reduce([read(window)[1] for read in self._valid])

    def overview(self, factor: float) -> Pixels | None:
        """See ``Source``, of the only raster of the day where it lies on the grid as it is."""
        alone = self._reads == [self.sources[0].read]
        return self.sources[0].overview(factor) if alone else None


def _valid_of(source: Source) -> Read:
    """Reads where a raster holds data, and no values."""

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((1, window.height, window.width), bool), source.valid(window)

    return read


class SeriesSource:
    """A series in a model's bands and unit; see ``Source``.

    Attributes:
        grid: of the series.
        dates: what is read of each date.
        sources: the rasters, in the order of their dates.
        day_of_year: (T,) float32, from 1.
    """

    def __init__(self, series: Series, card: ModelCard, choice: Choice) -> None:
        """Check what can be checked without reading pixels; see ``Source``."""
        self.series, self.grid, self.where, self._card = series, series.grid, series.name, card
        self.dates = tuple(DayRasters(series.of(day), series.grid, card, choice) for day in series.days)
        self.sources = tuple(source for day in self.dates for source in day.sources)
        self._unseen: Message | None = None
        self.day_of_year = np.array([day.timetuple().tm_yday for day in series.days], np.float32)

    @property
    def notes(self) -> list[Message]:
        """That the user should read before a long run: those of each raster, equal ones told of the first."""
        alike: dict[str, list[Message]] = {}
        for note in (note for source in self.sources for note in source.notes):
            alike.setdefault(str(note.about("")), []).append(note)
        told = [
            notes[0] if len(notes) == 1 else Message("also_of_others", {"note": notes[0], "count": len(notes) - 1})
            for notes in alike.values()
        ]
        warped = [one for one in self.series.dated if not is_shifted(one.pixels, self.grid)]
        if warped:
            facts = {
                "count": len(warped),
                "total": len(self.sources),
                "names": ", ".join(one.pixels.name for one in warped[:3]),
                "crs": self.grid.crs_name,
            }
            told.append(Message("warped_to_series", facts))
        if self._unseen:
            told.append(self._unseen)
        return told

    @property
    def sampled(self) -> bool:
        """Whether samples may be read before a run."""
        return all(source.sampled for source in self.sources)

    @property
    def sized(self) -> bool:
        """Whether the pixels already have the size that the model needs."""
        return all(source.sized for source in self.sources)

    @property
    def read_ahead(self) -> int:
        """Tiles that another thread may read in advance."""
        return min(source.read_ahead for source in self.sources)

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and the highest value that their types can hold, in the model's unit."""
        lows, highs = zip(*(source.reach for source in self.sources))
        return min(lows), max(highs)

    def settle(self) -> None:
        """Find out what the values of each raster are; see ``Source``.

        Raises:
            InputFault: a sample cannot be read, or values of one type are taken for different ones: a dark date for others.
        """
        kinds: dict[str, dict[str, str]] = {}
        for source in self.sources:
            source.settle()
            kinds.setdefault(source.pixels.dtype(source.bands[0]), {}).setdefault(source.kind, source.where)
        for unlike in kinds.values():
            if len(unlike) > 1:
                raise InputFault(
                    "read_differently", names=", ".join(f"{where}: {kind}" for kind, where in unlike.items())
                )

    def look(self) -> None:
        """Note what looks wrong in a sample of each raster, and how much of the grid no date shows."""
        for source in self.sources:
            source.look()
        if not self.sampled:
            return
        seen = [self.valid(window).any(axis=0).ravel() for window in lattice(*self.grid.shape)]
        share = 1 - float(np.concatenate(seen).mean())
        self._unseen = Message("never_seen", {"share": share}).about(self.where) if share >= LEAST_UNSEEN else None

    def valid(self, window: Window) -> np.ndarray:
        """(dates, rows, columns) True where a date holds data."""
        return np.stack([day.valid(window) for day in self.dates])

    def places(self, grid: Any) -> Mesh:
        """Longitude and latitude of each pixel of a grid in the same CRS."""
        return degrees_of(self.sources[0].pixels, grid)

    def close(self) -> None:
        """Release the files."""
        for source in self.sources:
            source.close()


def opened(raster: Pixels | Series, card: ModelCard, choice: Choice) -> Source | SeriesSource:
    """A raster, or a series, as a model reads it.

    Raises:
        InputFault: it does not fit the model: its bands, its unit, or that it has no dates.
    """
    if isinstance(raster, Series):
        if card.task == "detection":
            raise InputFault("no_series", name=card.name, task=card.task)
        return SeriesSource(raster, card, choice)
    if card.dates:
        raise InputFault("needs_series", where=raster.name, name=card.name)
    return Source(raster, card, choice)

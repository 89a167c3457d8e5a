"""Which dates of a place are fetched: the least cloudy ones, spread over the seasons."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import shapely

from core.sources.stac.catalogue import CatalogueScene, Query

_YEAR_DAYS = 365.2425
_COVERED = 1 - 1e-6  # of a chip's area: footprints are rounded


@dataclass(frozen=True, eq=False)
class Day:
    """Scenes of one place on one solar day, the clearest first; ``cloud`` is of those that cover the chip."""

    date: dt.date
    cloud: float
    scenes: tuple[CatalogueScene, ...]

    @property
    def clearness(self) -> tuple[float, dt.date]:
        """Sorts the clearest first."""
        return self.cloud, self.date


def days_of(scenes: list[CatalogueScene], lon: float, area: shapely.Geometry, min_valid: float) -> list[Day]:
    """Group scenes by solar day, and leave out days on which they cover too little of the chip.

    Args:
        scenes: of a place.
        lon: of the place, degrees: it determines the solar day.
        area: of the chip, degrees.
        min_valid: minimum fraction of the area.
    """
    by_date: dict[dt.date, list[CatalogueScene]] = {}
    for scene in scenes:
        by_date.setdefault((scene.time + dt.timedelta(hours=lon / 15)).date(), []).append(scene)
    days = []
    for day, group in sorted(by_date.items()):
        group.sort(key=lambda scene: (_cloud(scene), scene.id))
        covered, cloud = shapely.Polygon(), 0.0
        for scene in group:
            grown = covered.union(scene.footprint.intersection(area))
            if grown.area > covered.area and covered.area < _COVERED * area.area:
                covered, cloud = grown, max(cloud, _cloud(scene))
        if covered.area >= min_valid * area.area:
            days.append(Day(day, cloud, tuple(group)))
    return days


def _cloud(scene: CatalogueScene) -> float:
    return 100.0 if scene.cloud is None else scene.cloud  # known to be clear comes first


def parts_of(days: list[Day], query: Query, count: int) -> list[list[Day]]:
    """Days in equal parts of the year, or of a shorter period that is queried, from its first day; clearest first."""
    period = min((query.last - query.first).days + 1, _YEAR_DAYS)
    parts: list[list[Day]] = [[] for _ in range(count)]
    for day in days:
        elapsed = max((day.date - query.first).days, 0) % _YEAR_DAYS  # solar days may begin a day early
        parts[min(int(elapsed / period * count), count - 1)].append(day)
    return [sorted(part, key=lambda day: day.clearness) for part in parts]

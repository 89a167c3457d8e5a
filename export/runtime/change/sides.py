"""Both sides of a comparison on one grid: a raster, or several dates, each; and the area that both reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from ..errors import InputFault
from ..infer.inputs.days import check_days
from ..infer.inputs.onto import EDGE, box_on, is_shifted
from ..infer.inputs.series import Dated, Series
from ..infer.layout import Limits
from ..infer.source import Pixels
from ..raster.window import Window


def side_on(rasters: Sequence[Pixels], days: Sequence[date | None], grid: Any, dated: bool) -> Pixels | Series:
    """One side as it is where its only raster has the grid, else read on it.

    ``days`` are those of the rasters; where the model is not ``dated`` they need not be known.

    Raises:
        InputFault: a day that counts is not known, or a raster cannot be brought onto the grid.
    """
    only = rasters[0]
    if (
        len(rasters) == 1
        and not dated
        and only.grid.shape == grid.shape
        and is_shifted(only, grid)
        and _meets(only, grid)
    ):
        return only
    known = _known(rasters, days) if dated else _numbered(rasters)
    if dated:
        check_days((one.date, one.pixels) for one in known)
    return Series(known, grid)


def _known(rasters: Sequence[Pixels], days: Sequence[date | None]) -> list[Dated]:
    found = []
    for raster, day in zip(rasters, days):
        if day is None:
            raise InputFault("change_day", where=raster.name)
        found.append(Dated(day, raster))
    return found


def _numbered(rasters: Sequence[Pixels]) -> list[Dated]:
    """With days that keep rasters apart whose days do not count."""
    return [Dated(date.fromordinal(number), raster) for number, raster in enumerate(rasters, start=1)]


def _meets(raster: Pixels, grid: Any) -> bool:
    left, top, _, _ = box_on(raster, grid)
    return max(abs(left), abs(top)) < EDGE


def reached(limits: Limits, sides: Sequence[Sequence[Pixels]], grid: Any) -> Limits:
    """The limits as far as both sides reach.

    Raises:
        InputFault: they do not overlap.
    """
    window = grid.whole
    for rasters in sides:
        lefts, tops, rights, bottoms = zip(*(box_on(one, grid) for one in rasters))
        first_row, first_column = (max(math.floor(min(of) + EDGE), 0) for of in (tops, lefts))
        last_row, last_column = (
            min(math.ceil(max(of) - EDGE), length) for of, length in ((bottoms, grid.height), (rights, grid.width))
        )
        reach = Window(first_row, first_column, last_row - first_row, last_column - first_column)
        window = window.intersection(reach) if min(reach.height, reach.width) > 0 else None
        if window is None:
            raise InputFault("change_apart", where=sides[1][0].name, other=sides[0][0].name)
    if window == grid.whole:
        return limits
    bounds = grid.crop(window).bounds
    if limits.bounds:
        west, south, east, north = zip(bounds, limits.bounds)
        bounds = max(west), max(south), min(east), min(north)
        if bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
            raise InputFault("change_apart", where=sides[1][0].name, other=sides[0][0].name)
    return replace(limits, bounds=bounds)

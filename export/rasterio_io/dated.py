"""Rasters of a series as files: their dates, their mask bands, and how they are opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.vectors import Area
from export.runtime.infer.inputs.days import check_days
from export.runtime.infer.inputs.series import Dated, Series
from export.runtime.infer.inputs.views import Masked, SomeBands
from export.runtime.infer.source import Pixels
from export.runtime.raster.mask_band import MaskBand
from export.runtime.raster.names import absolute


@dataclass(frozen=True)
class MaskFile:
    """A mask band: its rule, and the raster that holds it; "" where it is the masked one itself."""

    rule: MaskBand
    where: str = ""

    def elsewhere(self) -> MaskFile:
        """The same for a process that runs in another folder."""
        return replace(self, where=self.where and absolute(self.where))


@dataclass(frozen=True)
class SceneFile:
    """A raster of one date; small, because it is sent to workers.

    Attributes:
        date: when it was taken, in UTC; None for a masked raster that is no series.
        where: a path, a URL, or another name that GDAL opens.
        bands: numbers, from 1, of those of the date in a stack of several dates; empty: all.
        mask: what hides pixels of it.
        name: for messages; "" where it is the same.
    """

    date: datetime | None
    where: str
    bands: tuple[int, ...] = ()
    mask: MaskFile | None = None
    name: str = ""

    def open(self, area: Area | None = None) -> Pixels:
        """Open it, without the pixels that its mask hides.

        Raises:
            InputFault: it or its mask cannot be read, or lacks a band.
        """
        with ExitStack() as opened:
            whole: Any = RasterPixels(self.where, area)
            opened.callback(whole.close)
            whole.name = self.name or whole.name
            pixels: Pixels = SomeBands(whole, self.bands) if self.bands else whole
            if self.mask:
                other: Any = RasterPixels(self.mask.where, area) if self.mask.where else None
                if other:
                    opened.callback(other.close)
                pixels = Masked(pixels, self.mask.rule, other)
            opened.pop_all()
            return pixels


def open_series(files: Sequence[SceneFile], area: Area | None = None, grid: Any = None) -> Series:
    """Open rasters of several dates, on one grid.

    Raises:
        InputFault: one cannot be read, two show the same area on one day, or they fit no common grid.
    """
    with ExitStack() as opened:
        dated = []
        for file in files:
            pixels = file.open(area)
            opened.callback(pixels.close)
            if file.date:
                dated.append(Dated(file.date.date(), pixels))
        check_days([(one.date, one.pixels) for one in dated])
        series = Series(dated, grid)
        opened.pop_all()
        return series


def open_input(where: str, scenes: Sequence[SceneFile], area: Area | None = None) -> Pixels | Series:
    """Open what is mapped: one raster, one with a mask, or a series.

    Raises:
        InputFault: it cannot be read; see ``open_series``.
    """
    if not scenes:
        return RasterPixels(where, area)
    return open_series(scenes, area) if scenes[0].date else scenes[0].open(area)


def members_of(raster: Any) -> Iterator[str]:
    """The files that an open raster or series is made of."""
    rasters: list[Any] = [one.pixels for one in raster.dated] if isinstance(raster, Series) else [raster]
    return chain.from_iterable(one.members() for one in rasters)

"""What a model sees of a raster, and where its answer goes: area, pixel size, mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import InputFault
from ..messages import Message
from ..model.card import ModelCard
from ..model.session import Model
from ..raster.lattice import Bounds, stated_size
from ..raster.resample import STRIP, Scale, nearest, resampled
from ..raster.shapes.polygons import Polygons
from ..raster.window import Read, Window
from ..results.rows import Rows, blanked
from .inputs.series import DayRasters, SeriesSource
from .inputs.tile import counted
from .source import Choice, Pixels, Source
from .sweep import Sweep, shared, tile_bytes, waiting

MOST_ENLARGED = 10  # times: beyond it, pixels made smaller hold nothing that a model could see
SAME_SIZE = 0.1  # pixel sizes that differ by less than a tenth count as the same


@dataclass(frozen=True)
class Limits:
    """The area to map, in the CRS of the raster."""

    bounds: Bounds | None = None
    mask: Polygons | None = None

    @classmethod
    def of(cls, area: Polygons, mask: Polygons | None, where: str) -> Limits:
        """Of a box that was given in another CRS, or in degrees: the smallest one in the grid's that holds it.

        At both ends of a raster around the Earth it is two.

        Raises:
            InputFault: it lies outside, or polygons are given too for both ends.
        """
        if not len(area.numbers):
            raise InputFault("bounds_outside", where=where, extent=_extent(area.grid))
        if area.apart and mask:
            raise InputFault("bounds_apart", where=where)
        return cls(None, area) if area.apart else cls(area.bounds, mask)

    @property
    def box(self) -> Bounds | None:
        """Both together; None for the whole raster."""
        boxes = [box for box in (self.bounds, self.mask and self.mask.bounds) if box]
        if not boxes:
            return None
        west, south, east, north = zip(*boxes)
        return max(west), max(south), min(east), min(north)

    def window(self, grid: Any, where: str) -> tuple[Window, Message | None]:
        """The smallest window of a grid that holds the area, and a note where no pixel's middle lies in the polygons.

        The window is that of the bounds then.

        Raises:
            InputFault: the bounds lie outside.
        """
        window: Window | None = grid.window_inside(self.bounds) if self.bounds else grid.whole
        if window is None:
            raise InputFault("bounds_outside", where=where, extent=_extent(grid))
        if not self.mask:
            return window, None
        held = window.intersection(grid.window_inside(self.mask.bounds))
        if held and any(self.mask.inside(grid, strip).any() for strip in held.strips(STRIP)):
            return held, None
        return window, Message("mask_outside", {"extent": _extent(grid)})


def _extent(grid: Any) -> str:
    return ", ".join(f"{side:.10g}" for side in grid.bounds)


@dataclass(frozen=True)
class Options:
    """How a raster is mapped; every part has defaults.

    Attributes:
        resample: whether pixels are brought to the model's size.
        model_grid: whether the map keeps that size.
    """

    choice: Choice = field(default_factory=Choice)
    limits: Limits = field(default_factory=Limits)
    run: Sweep = field(default_factory=Sweep)
    resample: bool = True
    model_grid: bool = False


class Layout:
    """A raster as the model sees it.

    Attributes:
        source: the raster; of a series the first.
        seen: grid that the model works on.
        result: grid of the map.
        scale: size of a pixel of ``seen`` in the raster's pixels, None where they are the same.
        cell: side of a pixel of the answer, in pixels of ``seen``.
        overview: pixel size in metres of the coarser copy that is read; 0: the raster itself.
    """

    def __init__(self, source: Source | SeriesSource, card: ModelCard, options: Options, cell: int = 1) -> None:
        """Lay out a run; a coarse answer (``cell``) stays coarse.

        Raises:
            InputFault: the area lies outside the raster.
        """
        self.source, self.mask, self.cell = source.sources[0], options.limits.mask, cell
        self._all = source
        self.window, self._empty = options.limits.window(source.grid, source.where)
        self._gsd = None if source.sized else card.gsd
        self._crop = source.grid.crop(self.window)
        self.scale = scale_of(self._crop.pixel_size_m, self._gsd if options.resample else None)
        self.seen = self._crop.scaled(self.scale.rows, self.scale.columns) if self.scale else self._crop
        model_grid = options.model_grid or cell > 1
        self.result = self.seen.scaled(cell, cell) if model_grid else self._crop
        self._back = self.scale is not None and not model_grid
        self.overview = 0.0
        self._least = 0.5 if model_grid else 0.0  # on the source's grid its own gaps are cut out later
        reads = [self._read_of(date) for date in source.dates]
        self.read: Read = stacked(reads, len(card.bands)) if isinstance(source, SeriesSource) else reads[0]

    def _read_of(self, date: Source | DayRasters) -> Read:
        """What the model sees of a date."""

        def read_crop(window: Window) -> tuple[np.ndarray, np.ndarray]:
            return date.read(self._moved(window))

        if not self.scale:
            return read_crop
        coarse = date.overview(min(self.scale.rows, self.scale.columns))
        if coarse:
            return self._read_from(date.sources[0], coarse, self.scale)
        return resampled(read_crop, self._crop.height, self._crop.width, self.scale, self._least)

    def _read_from(self, source: Source, coarse: Pixels, scale: Scale) -> Read:
        """Resample from a coarser copy of the whole raster; gaps on the raster's own grid are still its own."""
        (height, width), (tall, wide) = source.grid.shape, coarse.grid.shape
        rows, columns = height / tall, width / wide
        scale = Scale(scale.rows / rows, scale.columns / columns)
        corner = (self.window.row / rows, self.window.column / columns)
        self.overview = coarse.grid.pixel_size_m[0]
        return resampled(partial(source.read, pixels=coarse), tall, wide, scale, self._least, corner)

    def notes(self, measured: bool) -> list[Message]:
        """What to read before a long run, and, where areas will be measured, how wrong they will be."""
        notes = [self._empty] if self._empty else []
        gsd, size = self._gsd, stated_size(self._crop.pixel_size_m)
        sizes = {"pixel": size, "model": gsd, "overview": self.overview}
        if self.scale:
            notes.append(Message("resampled_from_overviews" if self.overview else "resampled", sizes))
        elif gsd and not 0.5 <= size / gsd <= 2:
            notes.append(Message("not_resampled", sizes))
        distortion = self.result.area_distortion if measured else 1.0
        if not 0.98 <= distortion <= 1.02:
            notes.append(Message("area_distortion", {"times": distortion}))
        return notes

    def bytes_needed(self, model: Model, run: Sweep) -> int:
        """Memory that blending takes, which grows with the width, and that the tiles of a series take."""
        width = run.area.width if run.area else int(self.seen.width)
        tile, number = model.card.tile_size, 4 * (model.channels + 2)
        rows = tile * (number if run.probabilities or model.card.task != "segmentation" else 4)
        blended = width * (rows + number * (shared(model, run) if model.dense else 0))
        if not isinstance(self._all, SeriesSource):
            return blended
        dates = len(self._all.dates)
        ahead, spare = waiting(model, run, dates)
        return blended + (ahead + model.threads + spare) * tile_bytes(model, dates)

    def _moved(self, window: Window) -> Window:
        return window.moved(self.window.row, self.window.column)

    def touches(self, window: Window) -> bool:
        """Whether the polygons reach into a window of the seen grid."""
        return self.mask is None or self.mask.touches(self.seen, window)

    def came_from(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Row and column of ``seen`` that each row and column of the result is taken from; None: none is."""
        if not (self._back and self.scale):
            return None
        (height, width), (rows, columns) = self._crop.shape, self.seen.shape
        return nearest(height, self.scale.rows, rows), nearest(width, self.scale.columns, columns)

    def area_of(self, block: Window) -> Window:
        """The part of ``seen`` that a block of the result is made from."""
        taken = self.came_from()
        if taken:
            (top, bottom), (left, right) = (
                (int(of[start]), int(of[start + count - 1]) + 1)
                for of, start, count in zip(taken, (block.row, block.column), (block.height, block.width))
            )
        else:
            top, left = block.row * self.cell, block.column * self.cell
            bottom = min(top + block.height * self.cell, self.seen.height)
            right = min(left + block.width * self.cell, self.seen.width)
        return Window(top, left, bottom - top, right - left)

    def finish(self, rows: Iterator[Rows], block: Window | None = None) -> Iterator[Rows]:
        """Bring the answer for ``area_of(block)`` onto the result's grid; what is no data or not asked for is cut out.

        ``block`` is a part of the result, by default all; rows of it count from its first.
        """
        left = self.area_of(block).column if block else 0
        block = block or Window(0, 0, *self.result.shape)
        taken = self.came_from()
        if taken:
            row_of = taken[0][block.row : block.row + block.height]
            column_of = taken[1][block.column : block.column + block.width]
            rows = onto_source(rows, row_of, column_of - left, block.row)
        for part in rows:
            window = Window(part.top, block.column, len(part.valid), block.width)
            valid = part.valid
            if self.mask:
                valid = valid & self.mask.inside(self.result, window)
            if taken and valid.any():
                there = self._all.valid(self._moved(window))
                if part.dates is not None:
                    part, there = replace(part, dates=counted(there)), np.logical_or.reduce(there)
                valid = valid & there
            part = part if valid is part.valid else blanked(part, valid)
            yield replace(part, top=part.top - block.row) if block.row else part


def stacked(reads: Sequence[Read], bands: int) -> Read:
    """Reads several dates: float32 (dates, bands, rows, columns), and (dates, rows, columns) where they hold data."""

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.zeros((len(reads), bands, window.height, window.width), np.float32)
        valid = np.zeros((len(reads), window.height, window.width), bool)
        for number, one in enumerate(reads):
            values, valid[number] = one(window)
            if valid[number].any():
                pixels[number] = values
        return pixels, valid

    return read


def scale_of(pixel_size_m: tuple[float, float], gsd: float | None) -> Scale | None:
    """How many source pixels a pixel of the model's size takes; None where the sizes are alike, or too far apart."""
    if not gsd:
        return None
    scale = Scale(gsd / pixel_size_m[0], gsd / pixel_size_m[1])
    # so a raster of the training data stays as it is
    same = 1 - SAME_SIZE <= gsd / stated_size(pixel_size_m) <= 1 + SAME_SIZE
    coarse = min(scale.rows, scale.columns) < 1 / MOST_ENLARGED
    return None if same or coarse else scale


def onto_source(rows: Iterator[Rows], row_of: np.ndarray, column_of: np.ndarray, first: int = 0) -> Iterator[Rows]:
    """Bring finished rows of the target back onto the source's grid; the nearest pixel, so no class is invented.

    ``row_of`` and ``column_of`` are the target's row and column that each of the source is taken from (see ``nearest``);
    the first entry of ``row_of`` stands for the source row ``first``.
    """
    for part in rows:
        low, high = np.searchsorted(row_of, [part.top, part.top + len(part.valid)])
        for top in range(low, high, STRIP):
            take = row_of[top : min(top + STRIP, high)] - part.top
            layers = {name: layer[..., take, :][..., column_of] for name, layer in part.layers.items()}
            yield Rows(first + int(top), **layers)

"""What a model sees of a raster, and where its answer goes: area, pixel size, polygons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.errors import RasterioError

from export.host.grid import Bounds, check_bounds, crs_of
from export.host.limits import Mask
from export.host.resample import Scale, nearest, onto_source, resampled
from export.host.source import Source
from export.runtime.card import ModelCard
from export.runtime.errors import InputFault
from export.runtime.grid import Window
from export.runtime.sweep import Read, Rows

MOST_ENLARGED = 10  # times: beyond it, pixels made smaller hold nothing that a model could see
SAME_SIZE = 0.1  # pixel sizes that differ by less than a tenth count as the same


@dataclass(frozen=True)
class Limits:
    """The area that is wanted.

    Attributes:
        bounds: west, south, east, north.
        crs: of the bounds; the raster's own when None.
        mask: file of polygons.
    """

    bounds: Bounds | None = None
    crs: str | None = None
    mask: Path | None = None


class View:
    """A raster as the model sees it.

    Attributes:
        seen: grid that the model works on.
        result: grid of the map.
        scale: px of the raster that a pixel of the seen grid takes; None where they are the same.
        cell: side of a pixel of the answer, in pixels of the seen grid.
    """

    def __init__(
        self, source: Source, card: ModelCard, limits: Limits, *, resample: bool, model_grid: bool, cell: int = 1
    ) -> None:
        """Lay out a run.

        Args:
            source: the raster.
            card: of the model.
            limits: of the area.
            resample: whether to bring pixels to the model's size.
            model_grid: whether the map keeps that size.
            cell: side of a pixel of the answer, in pixels that the model sees; a coarse answer stays coarse.

        Raises:
            InputFault: the area lies outside the raster, or the polygons cannot be read.
        """
        self.source = source
        self.mask = Mask.read(limits.mask, source.grid) if limits.mask else None
        self.window = self._window(limits)
        self._crop = source.grid.crop(self.window)
        self.cell = cell
        self.scale = scale_of(self._crop.pixel_size_m, card.gsd) if resample else None
        self.seen = self._crop.scaled(self.scale.rows, self.scale.columns) if self.scale else self._crop
        model_grid = model_grid or cell > 1
        self.result = self.seen.scaled(cell, cell) if model_grid else self._crop
        self._back = self.scale is not None and not model_grid
        self.read: Read = self._read_crop
        if self.scale:
            least = 0.5 if model_grid else 0.0  # on the source's grid its own gaps are cut out later
            self.read = resampled(self._read_crop, *self._crop.shape, self.scale, least)

    def _window(self, limits: Limits) -> Window:
        grid, window = self.source.grid, self.source.grid.whole
        if limits.bounds:
            check_bounds(limits.bounds)
            crs = crs_of(limits.crs) if limits.crs else grid.crs
            try:
                found = grid.window_of(limits.bounds, crs)
            except RasterioError as error:
                raise InputFault(f"--bounds: they cannot be brought into the CRS of {self.source.where}") from error
            window = self._met(found, "--bounds")
        if self.mask:
            window = self._met(_common(window, grid.window_of(self.mask.bounds, grid.crs)), f"--mask {limits.mask}")
        return window

    def _met(self, window: Window | None, option: str) -> Window:
        if window is None:
            box = ", ".join(f"{v:.10g}" for v in self.source.grid.bounds)
            raise InputFault(f"{option}: lies outside {self.source.where} ({box} in its CRS); nothing to map")
        return window

    def _read_crop(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        return self.source.read(self._moved(window))

    def _moved(self, window: Window) -> Window:
        return replace(window, row=window.row + self.window.row, column=window.column + self.window.column)

    def touches(self, window: Window) -> bool:
        """Whether a window of the seen grid holds anything that is wanted."""
        return self.mask is None or self.mask.touches(self.seen, window)

    def came_from(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Row and column of the seen grid that each row and column of the result is taken from; None: none is."""
        if not (self._back and self.scale):
            return None
        (height, width), (rows, columns) = self._crop.shape, self.seen.shape
        return nearest(height, self.scale.rows, rows), nearest(width, self.scale.columns, columns)

    def area_of(self, block: Window) -> Window:
        """The part of the seen grid that a block of the result is made from."""
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
        """Bring the model's answer onto the result's grid; what is no data or not wanted is cut out.

        Args:
            rows: the answer for ``area_of(block)``.
            block: of the result; all of it by default.

        Yields:
            Rows of the block, whose ``top`` counts from its first row.
        """
        block = block or self.result.whole
        taken = self.came_from()
        if taken:
            row_of = taken[0][block.row : block.row + block.height]
            column_of = taken[1][block.column : block.column + block.width]
            rows = onto_source(rows, row_of, column_of - column_of[0], block.row)
        for part in rows:
            window = Window(part.top, block.column, len(part.valid), block.width)
            valid = part.valid
            if self.mask:
                valid = valid & self.mask.inside(self.result, window)
            if taken and valid.any():
                valid = valid & self.source.valid(self._moved(window))
            part = part if valid is part.valid else blanked(part, valid)
            yield replace(part, top=part.top - block.row) if block.row else part


def scale_of(pixel_size_m: tuple[float, float], gsd: float | None) -> Scale | None:
    """How many source pixels a pixel of the model's size takes; None where the sizes are alike, or too far apart."""
    if not gsd:
        return None
    found = Scale(gsd / pixel_size_m[0], gsd / pixel_size_m[1])
    alike = all(1 - SAME_SIZE <= side <= 1 + SAME_SIZE for side in (found.rows, found.columns))
    coarse = min(found.rows, found.columns) < 1 / MOST_ENLARGED
    return None if alike or coarse else found


def blanked(part: Rows, valid: np.ndarray) -> Rows:
    """The same rows with no data outside ``valid``."""

    def empty(layer: np.ndarray | None) -> np.ndarray | None:
        if layer is None:
            return None
        return np.where(valid, layer, np.nan if layer.dtype.kind == "f" else np.iinfo(layer.dtype).max).astype(
            layer.dtype
        )

    return replace(
        part, valid=valid, classes=empty(part.classes), confidence=empty(part.confidence), values=empty(part.values)
    )


def _common(one: Window, other: Window | None) -> Window | None:
    if other is None:
        return None
    top, left = max(one.row, other.row), max(one.column, other.column)
    bottom = min(one.row + one.height, other.row + other.height)
    right = min(one.column + one.width, other.column + other.width)
    return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None

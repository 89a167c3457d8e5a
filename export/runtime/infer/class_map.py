"""A raster of class numbers that is measured or compared with a sample, band 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import Cancelled, InputFault
from ..raster.gaps import holds_data, nodata_of
from ..raster.shapes.polygons import Polygons
from ..raster.window import Window
from ..results.areas import ClassArea
from ..results.assessment import most_common
from .layout import Limits
from .source import Pixels, alpha_bands
from .sweep import Progress

_STRIP = 256  # rows that are counted at once


@dataclass(frozen=True)
class Shape:
    """A unit of a sample, in the CRS of the map: a point, or a polygon alone; of a point ``polygon`` is not asked."""

    point: tuple[float, float] | None
    polygon: Polygons


class ClassMap:
    """An open map."""

    def __init__(self, pixels: Pixels, names: dict[int, str]) -> None:
        """Take an open raster and the names of its classes."""
        self.pixels, self.names, self.grid, self.where = pixels, names, pixels.grid, pixels.name
        self._alphas, _ = alpha_bands(pixels)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Class numbers and where there are any, (rows, columns) each.

        Raises:
            InputFault: it holds no class numbers.
        """
        values, valid = self.pixels.read([1], window)
        valid = valid & holds_data(values, [nodata_of(self.pixels.nodata(1), self.pixels.dtype(1))])
        for number in self._alphas:
            valid &= self.pixels.read([number], window)[0][0] > 0
        numbers = values[0]
        if numbers.dtype.kind == "u":
            return numbers, valid
        if numbers.dtype.kind == "f":  # as providers of services give integers
            valid = valid & np.isfinite(numbers)
        integers = np.where(valid, numbers, 0)
        if numbers.dtype.kind not in "if" or (integers != np.rint(integers)).any():
            raise InputFault("no_class_numbers", where=self.where)
        return integers.astype(np.int64), valid & (integers >= 0)  # such as -9999 that the file does not declare

    def areas(self, limits: Limits, progress: Progress) -> list[ClassArea]:
        """Area of each class within limits.

        Raises:
            InputFault: it holds no class numbers, or nothing at all there.
            Cancelled: ``progress`` returned False.
        """
        pixels: dict[int, int] = {}
        metres: dict[int, float] = {}
        area, _ = limits.window(self.grid, self.where)
        for strip in area.strips(_STRIP):
            numbers, valid = self.read(strip)
            if limits.mask:
                valid = valid & limits.mask.inside(self.grid, strip)
            row_areas = self.grid.row_areas[strip.row : strip.row + strip.height]
            for value in np.unique(numbers[valid]).tolist():
                counts = ((numbers == value) & valid).sum(axis=1)
                pixels[value] = pixels.get(value, 0) + int(counts.sum())
                metres[value] = metres.get(value, 0.0) + float(row_areas @ counts)
            if not progress(strip.row + strip.height - area.row, area.height):
                raise Cancelled()
        if not pixels:
            raise InputFault("no_data", where=self.where)
        total = sum(metres.values())
        named = [(value, self.names.get(value, str(value))) for value in sorted(pixels)]
        return [ClassArea(v, name, pixels[v], metres[v], 100 * metres[v] / total) for v, name in named]

    def at(self, shapes: Sequence[Shape]) -> np.ndarray:
        """(N,) class of each point, or of most pixels of each polygon; -1 outside the map or on nodata."""
        return np.array([self._class_of(shape) for shape in shapes], np.int64)

    def _class_of(self, shape: Shape) -> int:
        if shape.point:
            return self._class_at(*shape.point)
        window = self.grid.window_inside(shape.polygon.bounds)
        if window is None or not len(shape.polygon.numbers):
            return -1
        inside = shape.polygon.inside(self.grid, window)
        if not inside.any():  # smaller than a pixel
            return self._class_at(*shape.polygon.surface_point)
        numbers, valid = self.read(window)
        return most_common(numbers[inside & valid])

    def _class_at(self, x: float, y: float) -> int:
        if not np.isfinite([x, y]).all():  # the map's CRS has no such place
            return -1
        column, row = (int(np.floor(place)) for place in self.grid.pixel_at(x, y))
        if not (0 <= row < self.grid.height and 0 <= column < self.grid.width):
            return -1
        numbers, valid = self.read(Window(row, column, 1, 1))
        return most_common(numbers[valid])

"""A raster of classes that is measured or compared: its legend, its areas, its class at a place."""

from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Tuple

import numpy as np
from qgis.core import QgsGeometry

from ..runtime.errors import Cancelled, InputFault
from ..runtime.infer.job import Limits
from ..runtime.raster.window import Window
from ..runtime.results.areas import ClassArea
from ..runtime.results.assessment import most_common
from ..texts import tr
from .mask import pixels_inside
from .source import Layer, snapshot

Progress = Callable[[int, int], bool]


@dataclass(frozen=True)
class ClassLayer:
    """A snapshot of a layer of class numbers.

    Attributes:
        layer: how it is opened again.
        names: of its classes.
        files: that it consists of.
    """

    layer: Layer
    names: Dict[int, str]
    files: Tuple[str, ...]

    @classmethod
    def of(cls, layer) -> "ClassLayer":
        """Copy it from a raster layer, on the layer's thread.

        Raises:
            InputFault: it is broken, or a service without pixels of its own.
        """
        copied = snapshot(layer)
        pixels = copied.open()
        pixels.close()
        return cls(copied, legend_names(layer), tuple(pixels.files))


def legend_names(layer) -> Dict[int, str]:
    """From the legend of a layer, which QGIS also makes from the names in a file."""
    renderer = layer.renderer()
    if renderer is None or renderer.type() != "paletted":
        return {}
    return {int(one.value): one.label for one in renderer.classes()}


class Classes:
    """The opened raster, band 1."""

    def __init__(self, source: ClassLayer) -> None:
        """Open it.

        Raises:
            InputFault: it cannot be read.
        """
        self.names, self.where = source.names, source.layer.name
        self.pixels = source.layer.open()
        self.grid = self.pixels.grid

    def read(self, window: Window) -> Tuple[np.ndarray, np.ndarray]:
        """Class numbers and where there are any, (rows, columns) each.

        Raises:
            InputFault: it holds no class numbers.
        """
        values, valid = self.pixels.read([1], window)
        numbers = values[0]
        if numbers.dtype.kind == "f":  # as providers of services give whole numbers
            valid = valid & np.isfinite(numbers)
            whole = np.where(valid, numbers, 0)
            if (whole != np.rint(whole)).any():
                raise InputFault(tr("The layer '{name}' holds no class numbers.").format(name=self.where))
            numbers = whole.astype(np.int64)
        return numbers, valid

    def areas(self, limits: Limits, progress: Progress) -> List[ClassArea]:
        """Area of each class within limits.

        Raises:
            InputFault: it holds no class numbers, or nothing at all there.
            Cancelled: ``progress`` returned False.
        """
        pixels: Dict[int, int] = {}
        metres: Dict[int, float] = {}
        for window, numbers, valid in self._blocks(limits, progress):
            row_areas = self.grid.row_areas[window.row : window.row + window.height]
            for value in np.unique(numbers[valid]).tolist():
                counts = ((numbers == value) & valid).sum(axis=1)
                pixels[value] = pixels.get(value, 0) + int(counts.sum())
                metres[value] = metres.get(value, 0.0) + float(row_areas @ counts)
        if not pixels:
            raise InputFault(tr("The layer '{name}' holds no data there.").format(name=self.where))
        total = sum(metres.values())
        named = [(value, self.names.get(value, str(value))) for value in sorted(pixels)]
        return [ClassArea(v, name, pixels[v], metres[v], 100 * metres[v] / total) for v, name in named]

    def at(self, shapes: List[QgsGeometry]) -> np.ndarray:
        """(N,) class of each point, or of most pixels of each polygon; below 0 outside the raster or on nodata."""
        return np.array([self._class_of(shape) for shape in shapes], np.int64)

    def close(self) -> None:
        """Give the file back."""
        self.pixels.close()

    def _blocks(self, limits: Limits, progress: Progress) -> Iterator[Tuple[Window, np.ndarray, np.ndarray]]:
        area = limits.window(self.grid, self.where)
        for window in area.strips(256):
            numbers, valid = self.read(window)
            if limits.mask:
                valid = valid & limits.mask.inside(self.grid, window)
            yield window, numbers, valid
            if not progress(window.row + window.height - area.row, area.height):
                raise Cancelled("cancelled")

    def _class_of(self, shape: QgsGeometry) -> int:
        if shape.constGet().dimension() == 0:
            return self._class_at(shape.centroid())
        box = shape.boundingBox()
        window = self.grid.window_inside((box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()))
        if window is None:
            return -1
        inside = pixels_inside([shape], self.grid.crop(window))
        if not inside.any():  # smaller than a pixel
            return self._class_at(shape.pointOnSurface())
        numbers, valid = self.read(window)
        return most_common(numbers[inside & valid])

    def _class_at(self, point: QgsGeometry) -> int:
        column, row = (int(np.floor(v)) for v in self.grid.pixel_at(point.asPoint().x(), point.asPoint().y()))
        if not (0 <= row < self.grid.height and 0 <= column < self.grid.width):
            return -1
        numbers, valid = self.read(Window(row, column, 1, 1))
        return int(numbers[0, 0]) if valid[0, 0] else -1

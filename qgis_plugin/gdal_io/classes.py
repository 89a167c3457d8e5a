"""A layer of class numbers that is measured or compared: its snapshot, its legend, the shapes of a sample."""

from dataclasses import dataclass
from typing import Optional

import numpy as np
from qgis.core import QgsGeometry

from ..runtime.infer.class_map import ClassMap
from ..runtime.raster.lattice import Bounds
from .grid import LayerGrid
from .mask import pixels_inside
from .source import Layer, snapshot


@dataclass(frozen=True)
class ClassLayer:
    """A snapshot of a layer of class numbers.

    Attributes:
        layer: how it is opened again.
        names: of its classes.
        files: that it consists of.
    """

    layer: Layer
    names: dict[int, str]
    files: tuple[str, ...]

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

    def open(self) -> ClassMap:
        """Open it in a worker.

        Raises:
            InputFault: it cannot be read.
        """
        return ClassMap(self.layer.open(), self.names)


def legend_names(layer) -> dict[int, str]:
    """From the legend of a layer, which QGIS also makes from the names in a file."""
    renderer = layer.renderer()
    if renderer is None or renderer.type() != "paletted":
        return {}
    return {int(one.value): one.label for one in renderer.classes()}


@dataclass(frozen=True)
class LayerShape:
    """See ``runtime.infer.class_map.Shape``."""

    geometry: QgsGeometry

    @property
    def point(self) -> Optional[tuple[float, float]]:
        return _place(self.geometry.centroid()) if self.geometry.constGet().dimension() == 0 else None

    @property
    def bounds(self) -> Bounds:
        box = self.geometry.boundingBox()
        return box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()

    @property
    def surface_point(self) -> tuple[float, float]:
        return _place(self.geometry.pointOnSurface())

    def inside(self, grid: LayerGrid) -> np.ndarray:
        return pixels_inside([self.geometry], grid)


def _place(point: QgsGeometry) -> tuple[float, float]:
    return point.asPoint().x(), point.asPoint().y()

"""Labels of vector layers: points and polygons, the classes that they name, and their place on a raster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    NULL,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeatureRequest,
    QgsGeometry,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ..runtime.errors import InputFault
from ..runtime.learn.samples import Label
from ..runtime.results.assessment import true_field
from ..texts import tr
from .grid import LayerGrid
from .mask import units_on

Mark = tuple[int, int, QgsGeometry]  # number of a label over all layers, index of its class, its shape
_DIMENSIONS = (0, 2)  # of points and polygons


@dataclass(frozen=True)
class LayerLabels:
    """The labels of a layer, copied so that a worker never touches it.

    Attributes:
        field: that names their classes.
        values: of that field, None where it is empty, one for each shape.
        colors: ``RRGGBB`` by the value as text, as the layer is drawn; empty where it is not drawn by that field.
    """

    name: str
    crs: QgsCoordinateReferenceSystem
    field: str
    values: list[Any]
    shapes: list[QgsGeometry]
    colors: dict[str, str]


def read_labels(layer: QgsVectorLayer, field: str = "", selected: bool = False) -> LayerLabels:
    """Copy the points and polygons of a layer, all or the selected ones, on its thread; an empty ``field`` is guessed.

    Raises:
        InputFault: the layer cannot be read, has no CRS, holds lines, or lacks the field.
    """
    name = layer.name() if layer is not None else ""
    if layer is None or not layer.isValid():
        raise InputFault.worded(tr("The label layer '{name}' cannot be read.").format(name=name))
    if not (layer.isSpatial() and QgsWkbTypes.wkbDimensions(layer.wkbType()) in _DIMENSIONS):
        raise InputFault.worded(tr("'{name}' holds no points or polygons.").format(name=name))
    if not layer.crs().isValid():
        text = tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
        raise InputFault.worded(text.format(name=name))
    names = layer.fields().names()
    at = true_field(name, names, field or None)
    request = QgsFeatureRequest(layer.selectedFeatureIds()) if selected else QgsFeatureRequest()
    features = [one for one in layer.getFeatures(request) if not (one.geometry().isNull() or one.geometry().isEmpty())]
    values = [one.attributes()[at] for one in features]
    return LayerLabels(
        name, layer.crs(), names[at], [None if value == NULL else value for value in values],
        [QgsGeometry(one.geometry()) for one in features], drawn_colors(layer, names[at]),
    )  # fmt: skip


def labels_on(
    marks: Sequence[Mark],
    crs: QgsCoordinateReferenceSystem,
    grid: LayerGrid,
    context: QgsCoordinateTransformContext,
    name: str,
) -> list[Label]:
    """Marks of a CRS on the grid of a raster, none of them empty; ``name`` is that of their layer.

    Raises:
        InputFault: one cannot be read.
    """
    placed = units_on([shape for _, _, shape in marks], crs, grid, context, name)
    return [
        Label(number, index, one.polygon if one.point is None else one.point)
        for (number, index, _), one in zip(marks, placed)
    ]


def drawn_colors(layer: QgsVectorLayer, field: str) -> dict[str, str]:
    """Colours of the values of a field, as a layer with a categorized style shows them."""
    renderer = layer.renderer()
    if not (isinstance(renderer, QgsCategorizedSymbolRenderer) and renderer.classAttribute().strip('"') == field):
        return {}
    drawn = [one for one in renderer.categories() if one.value() not in (None, NULL, "")]
    return {str(one.value()): one.symbol().color().name()[1:].upper() for one in drawn}

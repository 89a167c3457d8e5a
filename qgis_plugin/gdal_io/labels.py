"""Labels of vector layers: points and polygons, the classes that they name, and their place on a raster."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Optional

import numpy as np
from qgis.core import (
    NULL,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsMapLayer,
    QgsProcessingFeatureSource,
    QgsVectorLayer,
    QgsWkbTypes,
)

from ..runtime.errors import InputFault
from ..runtime.learn.samples import Label
from ..runtime.raster.legend import LandClass, class_name, classes_of
from ..runtime.raster.shapes import footprint
from ..runtime.results.assessment import true_field
from ..texts import tr
from .grid import LayerGrid
from .mask import features_of, units_on, way

Mark = tuple[int, int, QgsGeometry]  # number of a label over all layers, index of its class, its shape
_COLUMNS = ("values", "numbers", "colors")
_DIMENSIONS = (0, 2)  # of points and polygons


@dataclass(frozen=True)
class LayerLabels:
    """The labels of a layer, copied so that a worker never touches it.

    Attributes:
        field: that names their classes.
        values: of that field, None where it is empty, one for each shape.
        numbers: of the field ``class``, where another one names the classes.
        colors: of the field ``color``.
        styled: ``RRGGBB`` by the value as text, as the layer is drawn; empty where it is not drawn by that field.
    """

    name: str
    crs: QgsCoordinateReferenceSystem
    field: str
    values: list[Any]
    numbers: list[Any]
    colors: list[Any]
    shapes: list[QgsGeometry]
    styled: dict[str, str]


def read_labels(layer: Optional[QgsMapLayer], field: str = "", selected: bool = False) -> LayerLabels:
    """Copy the points and polygons of a layer, all or the selected ones, on its thread; an empty ``field`` is guessed.

    Raises:
        InputFault: the layer cannot be read, has no CRS, holds lines, or lacks the field.
    """
    name = layer.name() if layer is not None else ""
    if not isinstance(layer, QgsVectorLayer) or not layer.isValid():
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
    if not features:
        raise InputFault.worded(tr("'{name}' holds no points or polygons.").format(name=name))
    shapes = [QgsGeometry(one.geometry()) for one in features]
    if any(one.constGet().dimension() == 0 and one.constGet().partCount() > 1 for one in shapes):
        raise InputFault.worded(
            tr("'{name}' holds labels of several points each: split them into single points.").format(name=name)
        )

    lower = {one.lower(): number for number, one in reversed([*enumerate(names)]) if number != at}

    def column(*fields: str) -> list[Any]:
        number = next((lower[one] for one in fields if one in lower), None)
        return [None] * len(features) if number is None else _values(features, number)

    return LayerLabels(
        name, layer.crs(), names[at], _values(features, at), column("class"), column("color", "colour"), shapes,
        drawn_colors(layer, names[at]),
    )  # fmt: skip


def _values(features: Sequence[QgsFeature], field: int) -> list[Any]:
    values = (one.attributes()[field] for one in features)
    return [None if value == NULL else value for value in values]


def classes_in(layers: Sequence[LayerLabels]) -> tuple[tuple[LandClass, ...], list[np.ndarray]]:
    """The classes of layers together, and of each layer the index of every label's class, -1 where it has none.

    Raises:
        InputFault: see ``legend.classes_of``.
    """
    where, field = ", ".join(one.name for one in layers), layers[0].field
    values, numbers, colors = ([value for one in layers for value in of(one)] for of in map(attrgetter, _COLUMNS))
    styled = {name: color for one in layers[::-1] for name, color in one.styled.items()}
    classes, index = classes_of(where, field, values, numbers, colors, styled)
    return classes, np.split(index, np.cumsum([len(one.shapes) for one in layers])[:-1])


def marks_of(layers: Sequence[LayerLabels], index: Sequence[np.ndarray]) -> list[list[Mark]]:
    """The labels with a class of each layer, numbered through all of them."""
    firsts = np.cumsum([0, *(len(one.shapes) for one in layers)]).tolist()
    return [
        [(first + at, kind, shape) for at, (kind, shape) in enumerate(zip(kinds.tolist(), one.shapes)) if kind >= 0]
        for first, one, kinds in zip(firsts, layers, index)
    ]


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


def places_on(
    source: QgsProcessingFeatureSource, grid: LayerGrid, context: QgsCoordinateTransformContext, exact: float = 0.0
) -> np.ndarray:
    """(N, 2) x and y on a grid of a place inside each shape of a feature source, infinite where there is no such place.

    Raises:
        InputFault: there is no shape, or no CRS.
    """
    return places_and_values(source, grid, context, None, exact)[0]


def places_and_values(
    source: QgsProcessingFeatureSource,
    grid: LayerGrid,
    context: QgsCoordinateTransformContext,
    field: Optional[int],
    exact: float = 0.0,
) -> tuple[np.ndarray, list[Any]]:
    """The same with the value of a field at each place, if one is given.

    Raises:
        InputFault: there is no shape, or no CRS.
    """
    name, crs = source.sourceName(), source.sourceCrs()
    if not crs.isValid():
        text = tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
        raise InputFault.worded(text.format(name=name))
    found = ((one.geometry().pointOnSurface(), one) for one in features_of(source))
    there = [(inside.asPoint(), one) for inside, one in found if not inside.isNull()]
    if not there:
        raise InputFault.worded(tr("'{name}' holds no points or polygons.").format(name=name))
    places = footprint.placed(np.array([(at.x(), at.y()) for at, _ in there]), grid, way(crs, grid, context, exact))
    return places, [] if field is None else [one.attributes()[field] for _, one in there]


def drawn_colors(layer: QgsVectorLayer, field: str) -> dict[str, str]:
    """Colours of the values of a field, as a layer with a categorized style shows them."""
    renderer = layer.renderer()
    if not (isinstance(renderer, QgsCategorizedSymbolRenderer) and renderer.classAttribute().strip('"') == field):
        return {}
    drawn = [one for one in renderer.categories() if one.value() not in (None, NULL, "")]
    return {class_name(one.value()): one.symbol().color().name()[1:].upper() for one in drawn}

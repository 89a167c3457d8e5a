"""Labels of vector layers in QGIS: their classes, and the pixels of a raster that they stand for."""

from __future__ import annotations

from importlib import import_module

import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRendererCategory,
    QgsSymbol,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from tests.qgis import rasters


def labels(*marks: tuple[str, object], kind: str = "Polygon", crs: str = "EPSG:32633") -> QgsVectorLayer:
    """A layer of shapes (WKT) and their classes."""
    layer = QgsVectorLayer(f"{kind}?crs={crs}&field=note:string&field=class:string", "fields", "memory")
    features = []
    for wkt, name in marks:
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(wkt))
        feature.setAttributes(["", name])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    return layer


def box(top: float, left: float, bottom: float, right: float) -> str:
    """WKT of a rectangle in pixels of the test rasters."""
    x, across, _, y, _, down = rasters.TRANSFORM
    west, east, north, south = x + across * left, x + across * right, y + down * top, y + down * bottom
    return f"Polygon (({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}))"


@pytest.fixture
def parts(running):
    return {
        name: import_module(f"geoaware.{name}") for name in ("gdal_io.labels", "gdal_io.grid", "runtime.learn.samples")
    }


@pytest.fixture
def grid(parts):
    wkt = QgsCoordinateReferenceSystem("EPSG:32633").toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL)
    return parts["gdal_io.grid"].LayerGrid(wkt, parts["gdal_io.grid"].transform_of(rasters.TRANSFORM), 40, 50)


def pixels(parts, grid, layer) -> list[set[tuple[int, int]]]:
    read = parts["gdal_io.labels"].read_labels(layer, "class")
    marks = [(number, 0, shape) for number, shape in enumerate(read.shapes)]
    placed = parts["gdal_io.labels"].labels_on(marks, read.crs, grid, QgsCoordinateTransformContext(), read.name)
    assert [one.number for one in placed] == list(range(len(marks)))
    found = [parts["runtime.learn.samples"].pixels_of(one, grid) for one in placed]
    return [set(zip(rows.tolist(), columns.tolist())) for rows, columns in found]


def test_polygons_and_points_stand_for_their_pixels(parts, grid):
    four = {(row, column) for row in (3, 4) for column in (7, 8)}
    assert pixels(parts, grid, labels((box(3, 7, 5, 9), "a"), (box(3.1, 7.1, 3.4, 7.4), "b"))) == [four, {(3, 7)}]
    assert pixels(parts, grid, labels(("Point (500125 4999955)", "a"), kind="Point")) == [{(4, 12)}]
    assert pixels(parts, grid, labels(("Point (400000 4999955)", "a"), kind="Point")) == [set()]


def test_labels_in_another_crs_lie_at_the_same_place(parts, grid):
    shape = QgsGeometry.fromWkt(box(3, 7, 9, 15))
    shape.transform(QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:32633"), QgsCoordinateReferenceSystem("EPSG:4326"), QgsProject.instance()
    ))  # fmt: skip
    there = {(row, column) for row in range(3, 9) for column in range(7, 15)}
    assert pixels(parts, grid, labels((shape.asWkt(12), "a"), crs="EPSG:4326")) == [there]


def test_empty_shapes_are_no_labels_and_null_is_no_value(parts):
    layer = labels((box(3, 7, 5, 9), None), (box(6, 7, 8, 9), "b"))
    layer.dataProvider().addFeatures([QgsFeature(layer.fields())])
    read = parts["gdal_io.labels"].read_labels(layer)
    assert (read.field, read.values, len(read.shapes)) == ("class", [None, "b"], 2)


def test_values_and_colours_beside_a_name_are_read(parts):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=class:int&field=name:string&field=color:string", "p", "memory")
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromWkt(box(3, 7, 5, 9)))
    feature.setAttributes([7, "water", "#0000ff"])
    layer.dataProvider().addFeatures([feature])
    read = parts["gdal_io.labels"].read_labels(layer, "name")
    assert (read.values, read.numbers, read.colors) == (["water"], [7], ["#0000ff"])
    assert parts["gdal_io.labels"].read_labels(layer, "class").numbers == [None]


def test_layers_share_their_classes_and_labels_without_one_are_left_out(parts):
    module = parts["gdal_io.labels"]
    layers = [
        module.read_labels(labels((box(3, 7, 5, 9), "wood"), (box(3, 7, 5, 9), ""), (box(6, 7, 8, 9), "field"))),
        module.read_labels(labels(("Point (500125 4999955)", " wood "), kind="Point")),
    ]
    classes, index = module.classes_in(layers)
    assert [(one.value, one.name) for one in classes] == [(1, "field"), (2, "wood")]
    marks = module.marks_of(layers, index)
    assert [[(number, kind) for number, kind, _ in one] for one in marks] == [[(0, 1), (2, 0)], [(3, 1)]]


def test_selected_features_only(parts):
    layer = labels((box(3, 7, 5, 9), "a"), (box(6, 7, 8, 9), "b"))
    layer.select([2])
    assert parts["gdal_io.labels"].read_labels(layer, "class", selected=True).values == ["b"]


def test_colours_are_those_that_the_layer_is_drawn_in(parts):
    layer = labels((box(3, 7, 5, 9), "a"), (box(6, 7, 8, 9), "b"))
    read = parts["gdal_io.labels"].read_labels
    assert read(layer, "class").styled == {}
    categories = []
    for name, color in (("a", "#102030"), ("b", "#ff0010"), ("", "#000000")):
        symbol = QgsSymbol.defaultSymbol(layer.geometryType())
        symbol.setColor(QColor(color))
        categories.append(QgsRendererCategory(name, symbol, name))
    layer.setRenderer(QgsCategorizedSymbolRenderer("class", categories))
    assert read(layer, "class").styled == {"a": "102030", "b": "FF0010"}
    assert read(layer, "note").styled == {}


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda: labels(("LineString (0 0, 1 1)", "a"), kind="LineString"), "'fields' holds no points or polygons."),
        (lambda: labels((box(3, 7, 5, 9), "a"), crs=""), "The layer 'fields' has no CRS: set it with Layer"),
        (
            lambda: labels(("MultiPoint ((500005 4999995), (500015 4999995))", "a"), kind="MultiPoint"),
            "'fields' holds labels of several points each",
        ),
        (lambda: QgsVectorLayer("nowhere.gpkg", "gone", "ogr"), "The label layer 'gone' cannot be read."),
    ],
)
def test_layers_that_hold_no_labels_are_refused(parts, layer, said):
    fault = import_module("geoaware.runtime.errors").InputFault
    with pytest.raises(fault, match=said):
        parts["gdal_io.labels"].read_labels(layer(), "class")


def test_a_field_that_is_not_there_is_named(parts):
    fault = import_module("geoaware.runtime.errors").InputFault
    with pytest.raises(fault) as caught:
        parts["gdal_io.labels"].read_labels(labels((box(3, 7, 5, 9), "a")), "crop")
    assert "crop" in import_module("geoaware.texts").words(caught.value)

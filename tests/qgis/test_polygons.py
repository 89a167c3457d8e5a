"""Polygons in any CRS on the grid of a raster, in QGIS: as ``tests/test_polygons.py`` asks of rasterio."""

from importlib import import_module

import numpy as np
import pytest
from osgeo import ogr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsRectangle,
)

from tests.adapters import POLYGONS


def shape(text: str) -> QgsGeometry:
    if not text.startswith("box"):
        return QgsGeometry.fromWkt(text)
    west, south, east, north = map(float, text.split()[1:])
    return QgsGeometry.fromRect(QgsRectangle(west, south, east, north))


def direct(grid, shapes, own):
    """(rows, columns) number of the last shape that holds a pixel's middle in its own CRS, -1 where none does."""
    context = QgsCoordinateTransformContext()
    move = QgsCoordinateTransform(QgsCoordinateReferenceSystem.fromWkt(grid.crs), own, context)
    turn = 400 if "GRAD" in own.toWkt().upper() else 360
    last = np.full(grid.shape, -1)
    for row in range(grid.height):
        for column in range(grid.width):
            try:
                place = move.transform(QgsPointXY(*grid.at(column + 0.5, row + 0.5)))
            except QgsCsException:
                continue
            for number, one in enumerate(shapes):
                for around in (-turn, 0, turn) if own.isGeographic() else (0,):
                    if one.contains(QgsPointXY(place.x() + around, place.y())):
                        last[row, column] = number
    return last


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_lie_where_their_own_crs_says(geoaware, name):
    grid_module, mask = (import_module(f"geoaware.gdal_io.{part}") for part in ("grid", "mask"))
    crs, (west, north, width, height), (rows, columns), own, texts = POLYGONS[name]
    system = lambda text: QgsCoordinateReferenceSystem(text if "+" not in text else f"PROJ:{text}")  # noqa: E731
    wkt = system(crs).toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL)
    place = grid_module.transform_of((west, width, 0, north, 0, -height))
    grid = grid_module.LayerGrid(wkt, place, rows, columns)
    shapes = [mask.polygons_of(shape(text), name) for text in texts]
    found = mask.polygons_on(shapes, system(own), grid, QgsCoordinateTransformContext()).last(grid)
    right = direct(grid, [QgsGeometry.collectGeometry(one) for one in shapes], system(own))
    assert (right >= 0).any()
    assert (found != right).sum() <= 0.002 * right.size, "but for pixels whose middle lies within 0.05 px of a side"


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("TIN (((0 0, 2 0, 0 2, 0 0)), ((2 0, 2 2, 0 2, 2 0)))", 4),
        ("MULTIPOLYGON (((0 0, 2 0, 2 2, 0 2, 0 0)), ((1 1, 3 1, 3 3, 1 3, 1 1)))", 7),
        ("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))", 2),
        ("GEOMETRYCOLLECTION (POINT (9 9), GEOMETRYCOLLECTION (POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))))", 1),
        ("CURVEPOLYGON (CIRCULARSTRING (0 1, 1 0, 0 -1, -1 0, 0 1))", np.pi),
        ("LINESTRING (0 0, 1 1)", 0),
    ],
)
def test_every_kind_of_surface_becomes_polygons(geoaware, text, area):
    made = QgsGeometry()
    made.fromWkb(bytes(ogr.CreateGeometryFromWkt(text).ExportToIsoWkb()))
    if made.isNull():
        pytest.skip("this QGIS has no such shape")
    polygons = import_module("geoaware.gdal_io.mask").polygons_of(made, "a layer")
    assert sum(one.area() for one in polygons) == pytest.approx(area, rel=1e-3)

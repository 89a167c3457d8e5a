"""Polygons in any CRS on the grid of a raster, in QGIS: as ``tests/test_polygons.py`` asks of rasterio."""

from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import ogr
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingContext,
    QgsRasterLayer,
    QgsRectangle,
)

from tests.adapters import POLYGONS
from tests.qgis import rasters


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
@pytest.mark.parametrize("raises", [True, False])
def test_every_kind_of_surface_becomes_polygons(geoaware, text, area, raises):
    was = ogr.GetUseExceptions()
    (ogr.UseExceptions if raises else ogr.DontUseExceptions)()
    try:
        found = area_of(text)
    finally:
        (ogr.UseExceptions if was else ogr.DontUseExceptions)()
    assert found == pytest.approx(area, rel=1e-3)


def area_of(text: str) -> float:
    """Of the polygons of a shape."""
    made = QgsGeometry()
    made.fromWkb(bytes(ogr.CreateGeometryFromWkt(text).ExportToIsoWkb()))
    if made.isNull():
        pytest.skip("this QGIS has no such shape")
    polygons = import_module("geoaware.gdal_io.mask").polygons_of(made, "a layer")
    return sum(one.area() for one in polygons)


@pytest.mark.parametrize(
    ("west", "extent", "columns"),
    [
        (170, "178,-179,-9,-6 [EPSG:4326]", [(8, 11)]),
        (170, "178,181,-9,-6", [(8, 11)]),
        (-180, "178,-179,-9,-6 [EPSG:4326]", [(0, 1), (358, 360)]),
        (0, "-10,-5,-9,-6 [EPSG:4326]", [(350, 355)]),
    ],
)
def test_an_extent_across_the_antimeridian_is_found(running, tmp_path, west, extent, columns):
    layer = QgsRasterLayer(str(degrees(tmp_path / "scene.tif", west)), "scene")
    algorithm = QgsApplication.processingRegistry().algorithmById("geoaware:segment").create()
    limits = algorithm.limits({"EXTENT": extent}, QgsProcessingContext(), layer)
    grid = import_module("geoaware.gdal_io.job").grid_of(layer)[0]
    window, _ = limits.window(grid, "scene")
    inside = np.zeros(grid.width, bool)
    inside[window.column : window.column + window.width] = True
    if limits.mask:
        inside &= limits.mask.inside(grid, grid.whole).any(axis=0)
    edges = np.flatnonzero(np.diff(np.r_[0, inside.astype(int), 0]))
    assert list(zip(edges[::2], edges[1::2])) == columns


def degrees(path, west):
    """A raster of 180 rows and 360 columns of a degree each."""
    return rasters.write(path, np.ones((1, 180, 360), np.uint8), epsg=4326, transform=(west, 1, 0, 90, 0, -1))

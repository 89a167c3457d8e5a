"""The outline of a map in its STAC Item, compared with the places of its pixels."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from rasterio.crs import CRS
from rasterio.transform import from_origin

from export.rasterio_io.grid import Grid
from export.rasterio_io.stac import _footprint

# CRS, (west, north, pixel width, height), rows and columns, west and east of the box (None: not compared), kind of outline
KINDS: dict[str, tuple] = {
    "the North Cape": ("EPSG:3035", (2.5e6, 5.5e6, 10_000, 10_000), (410, 500), None, "Polygon"),
    "a zone": ("EPSG:32633", (5e5, 5e6, 10, 10), (100, 100), None, "Polygon"),
    "across the antimeridian": ("EPSG:4326", (177, -16, 0.01, 0.01), (300, 600), (177, -177), "MultiPolygon"),
    "a zone across the antimeridian": ("EPSG:32660", (4e5, 7e6, 1000, 1000), (300, 500), None, "MultiPolygon"),
    "beyond 180": ("EPSG:4326", (190, 10, 0.1, 0.1), (50, 50), (-170, -165), "Polygon"),
    "from 180": ("EPSG:4326", (180, 10, 0.1, 0.1), (50, 50), (-180, -175), "Polygon"),
    "from 0 to 360": ("EPSG:4326", (0, 90, 1, 1), (180, 360), (-180, 180), "Polygon"),
    "a pole": ("EPSG:3031", (-1e6, 1.2e6, 1e4, 1e4), (200, 200), (-180, 180), "Polygon"),
    "the world on Mercator": ("EPSG:3857", (-20037508.34, 20037508.34, 78271.516953, 78271.516953), (512, 512), (-180, 180), "Polygon"),
    "the world on Mollweide": ("ESRI:54009", (-18.1e6, 9.1e6, 1e5, 1e5), (182, 362), (-180, 180), "Polygon"),
    "one side of the globe": ("+proj=ortho +lat_0=20 +lon_0=170", (-6.5e6, 6.5e6, 1e5, 1e5), (130, 130), (-180, 180), "Polygon"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_outline_holds_every_pixel_and_is_geojson(kind):
    crs, place, (rows, columns), sides, outline = KINDS[kind]
    grid = Grid(CRS.from_user_input(crs), from_origin(*place), rows, columns)
    (west, south, east, north), geometry = _footprint(grid)
    shape = shapely.geometry.shape(geometry)
    assert shape.is_valid
    assert geometry["type"] == outline
    assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
    move = pyproj.Transformer.from_crs(grid.crs.to_wkt(), "OGC:CRS84", always_xy=True)
    column, row = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    x, y = move.transform(*grid.at(column.ravel(), row.ravel()))
    x, y = (x[np.isfinite(x)] + 180) % 360 - 180, y[np.isfinite(x)]
    assert shapely.contains_xy(shape, x, y).mean() > 0.9999
    assert south <= y.min() <= y.max() <= north
    within = (x >= west) & (x <= east) if west < east else (x >= west) | (x <= east)
    assert within.all()
    assert all(-180 <= lon <= 180 and -90 <= lat <= 90 for lon, lat in shapely.get_coordinates(shape).tolist())
    if sides:
        assert (west, east) == pytest.approx(sides)
    if kind == "the North Cape":
        edge = move.transform(*grid.at(np.linspace(0, columns, 10_001), np.zeros(10_001)))[1]
        assert north == pytest.approx(edge.max(), abs=1e-4)


def test_a_raster_of_another_planet_has_no_outline():
    grid = Grid(CRS.from_user_input("+proj=longlat +R=1737400 +no_defs"), from_origin(0, 10, 1, 1), 10, 10)
    assert _footprint(grid) == (None, None)

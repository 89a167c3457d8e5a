"""Polygons in any CRS on the grid of a raster, compared pixel by pixel with their own CRS."""

from __future__ import annotations

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from rasterio.crs import CRS
from rasterio.transform import from_origin

from export.rasterio_io.grid import Grid
from export.rasterio_io.polygons import _made_valid, in_degrees, polygons_on
from export.rasterio_io.vectors import Area
from export.runtime.errors import InputFault
from tests.adapters import POLYGONS


def shape(text: str) -> shapely.Geometry:
    return shapely.box(*map(float, text.split()[1:])) if text.startswith("box") else shapely.from_wkt(text)


def direct(grid: Grid, shapes: list, crs: str) -> np.ndarray:
    """(rows, columns) number of the last shape that holds a pixel's middle in its own CRS, -1 where none does."""
    own = pyproj.CRS.from_user_input(crs)
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    move = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()), own, always_xy=True)
    x, y = move.transform(*grid.at(columns, rows))
    turn = 400 if crs == "EPSG:4807" else 360
    last = np.full(grid.shape, -1)
    for number, one in enumerate(shapes):
        parts = shapely.union_all(shapely.make_valid(shapely.get_parts(one)))
        for around in (-turn, 0, turn) if own.is_geographic else (0,):
            last[shapely.contains_xy(parts, x + around, y)] = number
    return last


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_lie_where_their_own_crs_says(name):
    crs, place, (rows, columns), own, texts = POLYGONS[name]
    grid = Grid(CRS.from_user_input(crs), from_origin(*place), rows, columns)
    shapes = [shape(text) for text in texts]
    polygons = polygons_on(_made_valid(np.array(shapes, object)), pyproj.CRS.from_user_input(own), grid)
    right = direct(grid, shapes, own)
    assert (right >= 0).any()
    found = polygons.last(grid)
    assert (found != right).sum() <= 0.002 * right.size, "but for pixels whose middle lies within 0.05 px of a side"


@pytest.mark.parametrize(
    ("crs", "place", "bounds", "own", "columns"),
    [
        ("EPSG:4326", (170, 0, 1, 1), (178, -9, -179, -6), None, [(8, 11)]),
        ("EPSG:4326", (-180, 90, 1, 1), (178, -9, -179, -6), "EPSG:4326", [(0, 1), (358, 360)]),
        ("EPSG:4326", (-180, 90, 1, 1), (178, -9, 181, -6), None, [(0, 1), (358, 360)]),
        ("EPSG:4326", (0, 90, 1, 1), (-10, -9, 5, -6), None, [(0, 5), (350, 360)]),
        ("EPSG:4326", (0, 90, 1, 1), (-10, -9, -5, -6), "EPSG:4326", [(350, 355)]),
        ("EPSG:3832", (-2_000_000, 2_000_000, 100_000, 100_000), (178, -9, -179, -6), "EPSG:4326", [(51, 55)]),
    ],
)
def test_bounds_across_the_antimeridian_are_found(crs, place, bounds, own, columns):
    grid = Grid(CRS.from_user_input(crs), from_origin(*place), 180, 360)
    limits = Area(bounds, own).on(grid, "a raster")
    window, _ = limits.window(grid, "a raster")
    inside = np.zeros(grid.width, bool)
    inside[window.column : window.column + window.width] = True
    if limits.mask:
        inside &= limits.mask.inside(grid, grid.whole).any(axis=0)
    edges = np.flatnonzero(np.diff(np.r_[0, inside.astype(int), 0]))
    assert list(zip(edges[::2], edges[1::2])) == columns


def test_bounds_in_another_order_or_elsewhere_are_refused(tmp_path):
    grid = Grid(CRS.from_epsg(4326), from_origin(-180, 90, 1, 1), 180, 360)
    for bounds, kind in (((20, 40, 10, 50), "bounds_order"), ((10, 50, 20, 40), "bounds_order")):
        with pytest.raises(InputFault) as caught:
            Area(bounds).on(grid, "a raster")
        assert caught.value.message.kind == kind
    with pytest.raises(InputFault) as caught:
        Area((10, 40, 20, 50), "EPSG:4326").on(Grid(CRS.from_epsg(32760), from_origin(4e5, 8e6, 10, 10), 50, 50), "x")
    assert caught.value.message.kind == "bounds_outside"
    mask = tmp_path / "m.gpkg"
    pyogrio.raw.write(mask, shapely.to_wkb([shapely.box(0, 0, 1, 1)]), [], [], geometry_type="Polygon", crs="EPSG:4326")
    with pytest.raises(InputFault) as caught:
        Area((178, -9, -179, -6), mask=mask).on(grid, "a raster")
    assert caught.value.message.kind == "bounds_apart"


def test_polygons_of_other_systems_lie_in_longitude_and_latitude_within_180():
    ring = [(3_600_000, -1_900_000), (4_500_000, -1_900_000), (4_500_000, -1_700_000), (3_600_000, -1_700_000)]
    kinds = {
        "EPSG:3832": [shapely.Polygon(ring)],  # a Mercator around 150 east, across the antimeridian
        "EPSG:3031": [shapely.Point(0, 0).buffer(1e6).difference(shapely.Point(0, 0).buffer(2e5)), shapely.box(2e6, 0, 3e6, 5e5)],
        "EPSG:4326": [shapely.box(170, -10, 190, 10), shapely.box(-185, 20, -175, 30)],
    }  # fmt: skip
    lon, lat = np.meshgrid(np.arange(-179.75, 180, 0.5), np.arange(-89.75, 90, 0.5))
    for crs, shapes in kinds.items():
        found = shapely.union_all(in_degrees(np.array(shapes, object), pyproj.CRS.from_user_input(crs)))
        x, y = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(lon, lat)
        if crs == "EPSG:4326":
            right = sum(shapely.contains_xy(one, x + turn, y) for one in shapes for turn in (-360, 0, 360)) > 0
        else:
            right = sum(shapely.contains_xy(one, x, y) for one in shapes) > 0
        assert right.sum() > 50
        assert (shapely.contains_xy(found, lon, lat) != right).mean() < 1e-4, crs
        assert -180 <= found.bounds[0] <= found.bounds[2] <= 180

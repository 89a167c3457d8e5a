"""Polygons in any CRS on the grid of a raster, compared pixel by pixel with their own CRS."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from rasterio.crs import CRS
from rasterio.transform import from_origin

from export.rasterio_io.grid import Grid
from export.rasterio_io.polygons import _made_valid, polygons_on
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

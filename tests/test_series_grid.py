"""Rasters of several dates on one grid: which one, and what is read of each."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from scipy.ndimage import map_coordinates

from export.rasterio_io.grid import Grid
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault
from export.runtime.infer.inputs.onto import common_grid, degrees_of, onto
from export.runtime.infer.inputs.series import Dated, Series
from export.runtime.raster.warp import Mesh, warped
from export.runtime.raster.window import Window

NORTH = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def write(path: Path, values: np.ndarray, transform: Affine = NORTH, crs: str = "EPSG:32633", **profile) -> Path:
    """A raster of (bands, rows, columns)."""
    place = {
        "crs": crs,
        "transform": transform,
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
    }
    with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **place, **profile) as file:
        file.write(values)
    return path


def smooth(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(2, rows, columns) values of which a place between pixels is a matter of interpolation, not of noise."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] / 10
    return np.stack([100 + 50 * np.sin(rows + seed) * np.cos(columns), 100 + 40 * np.cos(rows * columns / 5)]).astype(
        np.float32
    )


def read_whole(pixels: RasterPixels, window: Window) -> tuple[np.ndarray, np.ndarray]:
    values, there = pixels.read([1, 2], window)
    return values, there & np.isfinite(values).all(axis=0)


def on(pixels: RasterPixels, grid: Grid, nearest: bool = False):
    return onto(lambda window: read_whole(pixels, window), pixels, grid, nearest)


def test_the_grid_is_that_of_most_rasters_over_all_of_them(tmp_path):
    fine = Affine(5, 0, 500_000, 0, -5, 5_000_000)
    zone = Affine(10, 0, 30_000, 0, -10, 5_000_000)
    made = [
        write(tmp_path / "a.tif", smooth((20, 30)), fine),
        write(tmp_path / "b.tif", smooth((20, 30))),
        write(tmp_path / "c.tif", smooth((20, 30)), NORTH * Affine.translation(7, -4)),
        write(tmp_path / "d.tif", smooth((20, 30)), NORTH * Affine.translation(0.3, 0)),
        write(tmp_path / "e.tif", smooth((20, 30)), zone, "EPSG:32634"),
    ]
    rasters = [RasterPixels(path) for path in made[:4]]
    grid = common_grid(rasters)
    assert (grid.crs, grid.shape) == (CRS.from_epsg(32633), (24, 37))
    assert grid.transform == NORTH * Affine.translation(0, -4)
    assert common_grid(rasters[:2]) == rasters[0].grid.scaled(1, 1).__class__(
        rasters[0].grid.crs, fine, 40, 60
    )  # the finest
    assert common_grid(rasters[1:2] + rasters[3:4]) == Grid(rasters[1].grid.crs, NORTH, 20, 31)  # the first
    with closing(RasterPixels(made[4])) as apart:
        assert common_grid([rasters[1], apart]).crs == CRS.from_epsg(32633)
    for raster in rasters:
        raster.close()


def test_a_shift_of_whole_pixels_is_read_as_it_is_and_beyond_there_is_no_data(tmp_path):
    values = np.random.default_rng(0).integers(0, 60000, (2, 40, 50)).astype(np.uint16)
    path = write(tmp_path / "a.tif", values)
    with closing(RasterPixels(path)) as pixels:
        grid = Grid(pixels.grid.crs, NORTH * Affine.translation(-3, 5), 60, 70)
        read, valid = on(pixels, grid)(Window(0, 0, 60, 70))
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read[:, :35, 3:53], values[:, 5:])
        assert valid.sum() == valid[:35, 3:53].sum() == 35 * 50
        part, there = on(pixels, grid)(Window(30, 1, 20, 9))
        np.testing.assert_array_equal(part, read[:, 30:50, 1:10])
        np.testing.assert_array_equal(there, valid[30:50, 1:10])


GRIDS = {
    "another zone": ("EPSG:32634", Affine(10, 0, 27_000, 0, -10, 5_018_000), (300, 280)),
    "half a pixel": ("EPSG:32633", NORTH * Affine.translation(0.5, 0.25), (150, 170)),
    "finer": ("EPSG:32633", NORTH * Affine.scale(0.4), (320, 330)),
    "degrees": ("EPSG:4326", Affine(0.00012, 0, 14.998, 0, -0.00009, 45.153), (160, 170)),
    "turned": ("EPSG:32633", NORTH * Affine.rotation(20), (150, 150)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_another_grid_is_warped_bilinearly_and_no_window_changes_a_bit(tmp_path, name):
    crs, transform, shape = GRIDS[name]
    values = smooth((160, 190))
    path = write(tmp_path / "a.tif", values)
    with closing(RasterPixels(path)) as pixels:
        grid = Grid(CRS.from_user_input(crs), transform, *shape)
        read = on(pixels, grid)
        found, valid = read(grid.whole)
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        x, y = pyproj.Transformer.from_crs(crs, "EPSG:32633", always_xy=True).transform(*(transform * (columns, rows)))
        across, down = ~NORTH * (x, y)
        inside = (across >= 0) & (across < 190) & (down >= 0) & (down < 160)
        assert inside.mean() > 0.05
        assert (valid == inside).mean() > 0.999
        expected = np.stack(
            [map_coordinates(band, [down - 0.5, across - 0.5], order=1, mode="nearest") for band in values]
        )
        assert np.abs(found - expected)[:, valid & inside].max() < 0.2  # 0.05 px of values that change by 5 a pixel
        for window in (Window(17, 40, 33, 21), Window(100, 0, 1, shape[1]), Window(3, 149, 97, 1), Window(0, 0, 1, 1)):
            part, there = read(window)
            inner = (slice(window.row, window.row + window.height), slice(window.column, window.column + window.width))
            np.testing.assert_array_equal(part, found[(slice(None), *inner)])
            np.testing.assert_array_equal(there, valid[inner])


def test_it_is_what_gdal_warps(tmp_path):
    path = write(tmp_path / "a.tif", smooth((160, 190)))
    crs, transform, shape = GRIDS["another zone"]
    with closing(RasterPixels(path)) as pixels:
        found, valid = on(pixels, Grid(CRS.from_user_input(crs), transform, *shape))(Window(0, 0, *shape))
    theirs = np.full((2, *shape), -1, np.float32)
    places = {"src_transform": NORTH, "src_crs": "EPSG:32633", "dst_transform": transform, "dst_crs": crs}
    reproject(
        smooth((160, 190)), theirs, **places, src_nodata=-1, dst_nodata=-1, resampling=Resampling.bilinear, tolerance=0
    )
    both = valid & (theirs[0] != -1)
    assert both.sum() > 0.98 * max(valid.sum(), (theirs[0] != -1).sum())
    assert np.quantile(np.abs(found - theirs)[:, both], 0.95) < 0.3  # GDAL differs at the edges of a raster


def test_pixels_that_grow_are_means_and_gaps_weigh_nothing(tmp_path):
    values = np.zeros((2, 120, 120), np.float32)
    values[:, :, :] = np.arange(120)[None, None, :]
    values[0, 40:50, 40:50] = np.nan
    path = write(tmp_path / "a.tif", values)
    with closing(RasterPixels(path)) as pixels:
        grid = Grid(pixels.grid.crs, NORTH * Affine.scale(4), 30, 30)
        found, valid = on(pixels, grid)(grid.whole)
    columns = np.arange(30) * 4 + 1.5
    np.testing.assert_allclose(found[1][20], columns, atol=1e-4)
    assert not valid[10:12, 10:12].any()
    assert valid.sum() > 900 - 9
    noise = np.random.default_rng(0).normal(size=(1, 400, 400)).astype(np.float32)
    place = lambda columns, rows: (columns * 8, rows * 8)  # noqa: E731
    read = warped(
        lambda w: (
            noise[:, w.row : w.row + w.height, w.column : w.column + w.width],
            np.ones((w.height, w.width), bool),
        ),
        (400, 400),
        Mesh(place, (50, 50), 0.01),
        8.0,
    )
    assert read(Window(0, 0, 50, 50))[0].std() < 0.2  # of 1: means of 64 and more


def test_no_gap_bleeds_into_a_value(tmp_path):
    values = np.full((2, 100, 100), 50, np.float32)
    values[:, 30:60, 30:60] = np.nan
    values[1, 10, 10] = np.nan  # a gap in one band is one in all
    path = write(tmp_path / "a.tif", values)
    with closing(RasterPixels(path)) as pixels:
        grid = Grid(pixels.grid.crs, NORTH * Affine.translation(0.5, 0.5), 100, 100)
        found, valid = on(pixels, grid)(grid.whole)
    np.testing.assert_allclose(found[:, valid], 50, rtol=1e-6)
    assert valid.sum() == 99 * 99 - 30 * 30 - 1


def test_values_that_stand_for_something_are_taken_from_the_nearest_pixel(tmp_path):
    values = np.random.default_rng(0).integers(0, 12, (2, 100, 100)).astype(np.uint8)
    path = write(tmp_path / "a.tif", values)
    with closing(RasterPixels(path)) as pixels:
        grid = Grid(pixels.grid.crs, NORTH * Affine.scale(0.5), 200, 200)
        found, _ = on(pixels, grid, nearest=True)(grid.whole)
    np.testing.assert_array_equal(found, values.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize(
    ("crs", "transform", "shape"),
    [
        ("EPSG:32633", NORTH, (700, 900)),
        ("EPSG:4326", Affine(0.1, 0, -180, 0, -0.1, 90), (1800, 3600)),
        ("EPSG:32701", Affine(100, 0, 100_000, 0, -100, 8_300_000), (300, 300)),  # across the antimeridian
        ("EPSG:3995", Affine(5000, 0, -900_000, 0, -5000, 900_000), (300, 300)),  # around a pole
        ("EPSG:3035", Affine(1000, 0, 4_000_000, 0, -1000, 4_000_000), (500, 500)),
    ],
)
def test_longitude_and_latitude_of_every_pixel(tmp_path, crs, transform, shape):
    path = write(tmp_path / "a.tif", np.zeros((2, 4, 4), np.uint8), transform, crs)
    grid = Grid(CRS.from_user_input(crs), transform, *shape)
    window = Window(shape[0] // 2 - 3, shape[1] // 2 - 30, 70, 90)
    with closing(RasterPixels(path)) as pixels:
        mesh = degrees_of(pixels, grid)
        found = mesh(window)
        np.testing.assert_array_equal(mesh(Window(window.row + 9, window.column + 8, 5, 7)), found[:, 9:14, 8:15])
    rows, columns = np.mgrid[window.row : window.row + 70, window.column : window.column + 90] + 0.5
    x, y = transform * (columns, rows)
    longitude, latitude = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(x, y)
    apart = (found[0] - longitude + 180) % 360 - 180
    assert max(np.abs(apart).max(), np.abs(found[1] - latitude).max()) < 1e-4


def test_a_raster_of_another_place_and_a_series_of_nothing_are_refused(tmp_path):
    here, far = (
        write(tmp_path / "a.tif", smooth((20, 30))),
        write(tmp_path / "b.tif", smooth((20, 30)), NORTH * Affine.translation(500, 0)),
    )
    rasters = [RasterPixels(here), RasterPixels(far)]
    with pytest.raises(InputFault, match=r"b\.tif: lies apart from the rasters of all other dates"):
        Series(
            [
                Dated(date(2020, 1, 1), rasters[0]),
                Dated(date(2020, 2, 1), rasters[0]),
                Dated(date(2020, 3, 1), rasters[1]),
            ]
        )
    with pytest.raises(InputFault, match="no raster is given"):
        Series([])
    for raster in rasters:
        raster.close()

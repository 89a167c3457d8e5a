"""Coordinate systems of every kind: measured rightly, and the same in every result."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from core.errors import UserError
from core.imagery.georasters import ground, open_raster, pixel_size_m
from export import predict
from export.rasterio_io.grid import Grid
from tests.adapters import CRS_KINDS
from tests.conftest import call, write_raster
from tests.models import write_given, write_graph, write_strongest_band
from tests.test_predict_rasters import stripes

KINDS = [pytest.param(*kind, id=name) for name, kind in CRS_KINDS.items()]
SQUARE = np.full((3, 60, 60), 50, np.uint8)


def stored(path, crs: CRS, pixels=SQUARE):
    """A raster of that CRS, a VRT, whose text keeps what a TIFF cannot."""
    origin, step = ((2, 52), 1e-4) if crs.is_geographic else ((500_000, 5_700_000), 10)
    tiff = write_raster(path.with_suffix(".tif"), pixels, crs="EPSG:4326", origin=origin, pixel=step)
    with rasterio.open(tiff) as source, rasterio.vrt.WarpedVRT(source, src_crs=crs, crs=crs) as same:
        assert same.crs == crs
        rasterio.shutil.copy(same, path, driver="VRT")
    return path


def is_same(one: object, other: object) -> bool:
    """Whether two are one CRS, as pyproj sees it; the order of axes apart, which libraries choose."""
    return pyproj.CRS.from_user_input(one).equals(pyproj.CRS.from_user_input(other), ignore_axis_order=True)


@pytest.mark.parametrize(("text", "size", "kept"), KINDS)
def test_the_unit_of_a_crs_is_known_and_whether_a_tiff_keeps_it(text, size, kept):
    crs = CRS.from_user_input(text)
    grid = Grid(crs, from_origin(2, 52, 1e-4, 2e-4), 9, 9)
    metres = size * (111_195 if crs.is_geographic else 1)
    assert grid.pixel_size_m == pytest.approx((2e-4 * metres, 1e-4 * metres))
    assert kept is None or kept == (not grid.wkt_beside)


@pytest.mark.parametrize(("text", "size", "kept"), KINDS)
def test_every_result_has_the_crs_of_the_raster(text, size, kept, tmp_path):
    crs = CRS.from_user_input(text)
    path = stored(tmp_path / "a.vrt", crs)
    model = write_strongest_band(tmp_path / "m.onnx")
    asked = ("--confidence", "--probabilities", "--polygons", "--areas", "--threads", 1)
    assert call(predict.main, model, path, "--out", tmp_path / "out", *asked) == 0
    for name in ("a", "a_confidence", "a_probabilities"):
        with rasterio.open(tmp_path / "out" / f"{name}.tif") as result:
            assert result.crs == crs or is_same(result.crs.to_wkt(), crs.to_wkt()), name
    with rasterio.open(tmp_path / "out" / "a.tif") as result:
        assert result.colormap(1)[3][:3] != (0, 0, 0)
    assert is_same(pyogrio.read_info(tmp_path / "out" / "a.gpkg", layer="land_cover")["crs"], crs.to_wkt())
    stated = json.loads((tmp_path / "out" / "a.stac.json").read_text())["properties"]
    assert is_same(stated.get("proj:code") or stated["proj:wkt2"], crs.to_wkt())
    assert is_same(json.loads((tmp_path / "out" / "a_areas.json").read_text())["crs"], crs.to_wkt())


def test_a_crs_that_tiffs_cannot_hold_is_kept_beside_blocks_and_features_too(tmp_path):
    crs = CRS.from_user_input(CRS_KINDS["rotated pole"][0])
    path = stored(tmp_path / "a.vrt", crs, np.tile(stripes(), (1, 4, 5)))
    model = write_strongest_band(tmp_path / "m.onnx")
    for out, option in (("merged", "--merge"), ("virtual", "--confidence")):
        arguments = ("--out", tmp_path / out, "--block", 256, "--confidence", option, "--threads", 1)
        assert call(predict.main, model, path, *arguments) == 0
        results = [*(tmp_path / out).glob("a*.tif"), *(tmp_path / out).glob("a*.vrt")]
        assert len(results) == 2
        for result in results:
            with rasterio.open(result) as source:
                assert source.crs == crs
    nodes = [("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": 1})]
    numbers = write_graph(tmp_path / "numbers.onnx", nodes, {"mean": (1, ("batch", 1, 32, 32))})
    write_given(numbers, task="regression", classes=None)
    assert call(predict.main, numbers, path, "--out", tmp_path / "numbers", "--threads", 1) == 0
    with rasterio.open(tmp_path / "numbers" / "a.tif") as source:
        assert source.crs == crs


def test_what_gdal_kept_beside_an_older_result_does_not_place_the_new_one(tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx")
    for crs in (CRS_KINDS["rotated pole"][0], "EPSG:32631"):
        path = stored(tmp_path / "a.vrt", CRS.from_user_input(crs))
        arguments = ("--out", tmp_path / "out", "--confidence", "--threads", 1)
        assert call(predict.main, model, path, *arguments) == 0
        for name in ("a", "a_confidence"):
            with rasterio.open(tmp_path / "out" / f"{name}.tif") as source:
                assert source.crs == CRS.from_user_input(crs)


def test_areas_in_grads_are_those_on_the_ellipsoid(tmp_path, capsys):
    path = stored(tmp_path / "a.vrt", CRS.from_epsg(4807))
    model = write_strongest_band(tmp_path / "m.onnx", gsd=10)
    assert call(predict.main, model, path, "--out", tmp_path / "out", "--areas", "--threads", 1) == 0
    assert "resampled" not in capsys.readouterr().err  # 1e-4 grads are 10 m
    edge = np.linspace(2, 2 + 60e-4, 500) * 0.9
    lons, lats = np.concatenate([edge, edge[::-1]]), np.repeat([52 * 0.9, (52 - 60e-4) * 0.9], 500)
    area, _ = pyproj.Geod(a=6378249.2, b=6356515).polygon_area_perimeter(lons, lats)
    rows = list(csv.DictReader((tmp_path / "out" / "a_areas.csv").read_text().splitlines()))
    assert sum(float(row["hectares"]) for row in rows) == pytest.approx(abs(area) / 10_000, abs=1e-4)


def test_a_sites_own_grid_is_measured_in_its_plane_and_has_no_place_on_earth(tmp_path):
    path = stored(tmp_path / "a.vrt", CRS.from_user_input(CRS_KINDS["site grid in feet"][0]))
    model = write_strongest_band(tmp_path / "m.onnx")
    assert call(predict.main, model, path, "--out", tmp_path / "out", "--areas", "--threads", 1) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "a_areas.csv").read_text().splitlines()))
    assert sum(float(row["hectares"]) for row in rows) == pytest.approx(3600 * (10 * 0.3048) ** 2 / 10_000, abs=1e-4)
    item = json.loads((tmp_path / "out" / "a.stac.json").read_text())
    assert item["geometry"] is None
    assert "bbox" not in item


@pytest.mark.parametrize("name", ["grads", "rotated pole", "derived"])
def test_chips_are_measured_and_placed_in_any_crs_that_lies_on_earth(name, tmp_path):
    crs = CRS.from_user_input(CRS_KINDS[name][0])
    with open_raster(stored(tmp_path / "a.vrt", crs)) as source:
        assert pixel_size_m(source) == pytest.approx(Grid(crs, source.transform, *source.shape).pixel_size_m[0])
        at = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*source.transform @ (16, 16))
        where = ground(source, np.array([0]), np.array([0]), 32)
        assert (where.lon[0], where.lat[0]) == pytest.approx(at)


def test_chips_of_a_sites_own_grid_are_refused(tmp_path):
    path = stored(tmp_path / "a.vrt", CRS.from_user_input(CRS_KINDS["site grid"][0]))
    with (
        pytest.raises(UserError, match=r"a.vrt: its CRS, mine, does not say where it lies on Earth"),
        open_raster(path),
    ):
        pass

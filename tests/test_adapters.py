"""The rasterio adapter does what the pipeline asks of every adapter; what a run refuses and what it needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from core.errors import UserError
from core.imagery.georasters import open_raster
from export import predict
from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.grid import Grid
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.vectors import PyogrioVectors
from export.runtime.errors import InputFault
from export.runtime.infer.blend import Blend
from export.runtime.model.session import Model
from export.runtime.results.rows import Objects
from export.runtime.results.writing import Targets, room_needed
from tests import adapters, gaps, pixel_types
from tests.conftest import call, write_raster
from tests.models import write_strongest_band
from tests.test_predict_rasters import stripes

GRID = Grid(CRS.from_epsg(32633), from_origin(500_000, 5_000_000, 10, 10), 20, 30)
BOXES = Objects(
    np.array([[1, 2, 5, 6], [10, 3, 14, 9]], np.float32), np.array([0.9, 0.5], np.float32), np.array([3, 7])
)


@pytest.fixture
def legend(tmp_path):
    return Model(write_strongest_band(tmp_path / "m.onnx"), "cpu").card.classes


def test_rasters_are_written_as_given(tmp_path):
    values = adapters.raster_out_keeps_what_it_is_given(RasterioWriter, GRID, InputFault, tmp_path)
    with rasterio.open(tmp_path / "cog.tif") as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.descriptions == ("one", "two")


def test_a_mistake_in_a_call_is_no_failure_of_the_disk(tmp_path):
    writer = RasterioWriter(tmp_path / "plain.tif", GRID, "uint8", 255, ["one"])
    with pytest.raises(ValueError, match="inconsistent"):
        writer.write(0, np.zeros((2, 4, 30), np.uint8))
    writer.discard()


def test_polygons_and_boxes_are_written(legend, tmp_path):
    counts = adapters.vector_out_traces_patches_and_writes_objects(
        RasterioWriter, PyogrioVectors(), GRID, legend, BOXES, tmp_path
    )
    assert counts == (3, 2)
    for name, layer, count in (("patches", "land_cover", 3), ("objects", "objects", 2)):
        assert pyogrio.read_info(tmp_path / f"{name}.gpkg", layer=layer)["features"] == count


def test_pixels_are_the_stored_ones(tmp_path):
    stored = np.random.default_rng(0).integers(0, 5, (3, 9, 8)).astype(np.uint16)
    path = write_raster(tmp_path / "a.tif", stored, nodata=0)
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("red", "nir", "swir")
    adapters.pixels_are_the_stored_ones(RasterPixels(path), stored, 0)


def write_kind(path: Path, kind: gaps.Kind) -> Path:
    """As ``tests.gaps`` describes it."""
    color = {"photometric": "RGB", "alpha": "YES"} if kind.fourth else {}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind.mask == "own"):
        write_raster(path, kind.pixels, nodata=kind.nodata, **color)
        if kind.mask:
            with rasterio.open(path, "r+") as target:
                target.write_mask(kind.hidden)
    return path


def test_every_source_of_gaps_counts(tmp_path):
    gaps.every_source_of_gaps_counts(write_kind, RasterPixels, tmp_path)


def test_each_band_has_its_nodata_value(tmp_path):
    gaps.each_band_has_its_nodata_value(write_kind(tmp_path / "a.tif", gaps.Kind("int16", None, "", "")), RasterPixels)


def test_an_error_of_the_blending_is_not_reported_as_bad_input(tmp_path, monkeypatch):
    model = write_strongest_band(tmp_path / "m.onnx")
    raster = write_raster(tmp_path / "scene.tif", stripes())

    def broken(*_):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(Blend, "add", broken)
    with pytest.raises(ValueError, match="operands"):
        call(predict.main, model, raster, "--out", tmp_path / "out", "--threads", 1)
    assert not (tmp_path / "out").exists()


def test_results_of_one_name_or_that_of_a_source_are_refused(tmp_path):
    for name in ("map.tif", "map.gpkg", "map.tiff"):
        (tmp_path / name).touch()
    files = {"map": tmp_path / "map.tif", "polygons": tmp_path / "map.gpkg"}
    Targets(files).check([str(tmp_path / "other.tif")])
    with pytest.raises(InputFault, match=r"map.qml: two results have this name"):
        Targets({"map": tmp_path / "map.tif", "confidence": tmp_path / "map.tiff"}).check(())
    with pytest.raises(InputFault, match=r"map.gpkg: would overwrite .*map.gpkg, which is read"):
        Targets(files).check([str(tmp_path / "map.gpkg")])


def test_the_room_of_features_counts_all_bands_whatever_the_legend(tmp_path):
    card = replace(Model(write_strongest_band(tmp_path / "m.onnx"), "cpu").card, task="embedding")
    pixels = GRID.height * GRID.width
    assert room_needed(GRID, card, 512, ["map"]) >= 4 * 512 * pixels
    assert room_needed(GRID, card, 512, ["map", "picture"]) > room_needed(GRID, card, 512, ["map"])


def test_numbers_of_every_type_are_read(tmp_path):
    pixel_types.numbers_of_every_type_are_read(RasterPixels, tmp_path)


def test_control_points_become_a_grid(tmp_path):
    pixel_types.control_points_become_a_grid(RasterPixels, tmp_path)


def test_gaps_of_images_on_control_points_are_kept(tmp_path):
    pixel_types.gaps_of_images_on_control_points_are_kept(RasterPixels, tmp_path)


def test_an_offset_that_is_not_added_is_named(tmp_path):
    pixel_types.an_offset_that_is_not_added_is_named(RasterPixels, tmp_path)


def test_rpcs_alone_are_refused(tmp_path):
    path = pixel_types.rpcs_alone_are_refused(RasterPixels, tmp_path)
    with pytest.raises(
        InputFault, match=r"rpcs.vrt: lies on RPCs instead of a grid; warp it to one with gdalwarp -rpc"
    ):
        RasterPixels(path)
    with pytest.raises(UserError, match=r"rpcs.vrt: lies on RPCs instead of a grid"), open_raster(path):
        pass

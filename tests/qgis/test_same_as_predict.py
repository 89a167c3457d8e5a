"""The adapter of GDAL does what that of rasterio does: the same contract, and the same numbers from the same raster."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal, ogr, osr
from qgis.core import QgsProcessingFeedback, QgsRasterLayer, QgsVectorLayer

from tests import adapters, gaps, pixel_types
from tests.models import card_item, write_fitted, write_model, write_strongest_band
from tests.qgis import rasters
from tests.qgis.conftest import ROOT
from tests.test_runtime_scenes import detector, scene_model, scene_with

PYTHON = os.environ.get("GEOAWARE_TEST_PYTHON") or str(ROOT / ".venv" / "bin" / "python")
pytestmark = pytest.mark.skipif(
    shutil.which(PYTHON) is None, reason="no Python with rasterio: see GEOAWARE_TEST_PYTHON"
)
RUN_ALL = """
import json, sys
from export import predict
for arguments in json.load(sys.stdin):
    sys.argv = ["predict", *arguments]
    assert predict.main() == 0, arguments
"""
DEGREES = (13.0, 1e-4, 0.0, 48.0, 0.0, -1e-4)
TURNED = (500_000.0, 8.0, 3.0, 5_000_000.0, 2.0, -7.0)
EXTENT = (500_213.0, 5_000_000 - 1_407.0, 500_977.0, 5_000_000 - 118.0)


def noise(dtype: str = "uint8", top: int = 255, rows: int = 170, columns: int = 130) -> np.ndarray:
    coarse = np.random.default_rng(3).integers(1, top, (3, rows // 10, columns // 10)).astype(dtype)
    pixels = np.kron(coarse, np.ones((1, 10, 10), dtype))
    pixels[:, 20:50, 30:44] = 0
    return pixels


def triangles(path: Path) -> Path:
    """Two polygons in degrees over the raster in UTM."""
    target = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(4326)
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    layer = target.CreateLayer("areas", srs, ogr.wkbPolygon)
    for ring in (
        "15.0005 45.1530, 15.0070 45.1535, 15.0030 45.1450, 15.0005 45.1530",
        "15.0100 45.1440, 15.0160 45.1440, 15.0130 45.1405, 15.0100 45.1440",
    ):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON (({ring}))"))
        layer.CreateFeature(feature)
    return path


# name: (raster, model, options of export.predict, parameters of the plugin)
CASES = {
    "as it is": ("utm", "plain", [], {}),
    "coarser pixels": ("utm", "gsd20", [], {}),
    "coarser pixels, model's grid": ("utm", "gsd20", ["--grid", "model"], {"GRID": "model"}),
    "finer pixels": ("utm", "gsd6", [], {}),
    "not resampled": ("utm", "gsd6", ["--no-resample"], {"RESAMPLE": False}),
    "rotated, 16 bits": ("turned", "plain", ["--bands", "3", "1", "2"], {"BANDS": [3, 1, 2]}),
    "degrees, real numbers with gaps": ("degrees", "gsd20", [], {}),
    "VRT": ("vrt", "plain", [], {}),
    "extent": ("utm", "gsd20", ["--bounds", *map(str, EXTENT)], {"EXTENT": "{0},{2},{1},{3} [EPSG:32633]"}),
    "polygons": ("utm", "gsd20", ["--mask", "MASK"], {"MASK": "MASK"}),
    "Sentinel-2": ("counts", "plain", ["--input", "s2-l2a", "--offset", "-500"], {"VALUES": "s2-l2a", "OFFSET": -500}),
    "Sentinel-2, zero is stated": ("zero", "plain", ["--input", "s2-l2a"], {"VALUES": "s2-l2a"}),
    "Sentinel-2, recognised": ("counts", "plain", [], {}),
    "turns and overlap": ("utm", "plain", ["--tta", "--overlap", "16"], {"TTA": True, "OVERLAP": 16}),
    "a border of tiles": ("utm", "border", [], {}),
    "fitted to labels": ("utm", "fitted", [], {}),
    "fitted to labels, extent": (
        "utm",
        "fitted",
        ["--bounds", *map(str, EXTENT)],
        {"EXTENT": "{0},{2},{1},{3} [EPSG:32633]"},
    ),
    "undeclared gaps": ("bare", "plain", ["--nodata", "0"], {"NODATA": 0}),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Rasters, models, and what ``export.predict`` makes of them, each case in a folder of its number."""
    folder = tmp_path_factory.mktemp("world")
    rasters.write(folder / "utm.tif", noise(), nodata=0)
    rasters.write(folder / "bare.tif", noise())
    rasters.write(folder / "counts.tif", noise("uint16", 3500), nodata=0)
    zero = gdal.Open(str(rasters.write(folder / "zero.tif", noise("uint16", 2500), nodata=0)), gdal.GA_Update)
    for number in (1, 2, 3):
        zero.GetRasterBand(number).SetScale(1e-4)
        zero.GetRasterBand(number).SetOffset(0)
    zero = None
    rasters.write(folder / "turned.tif", noise("uint16", 255), nodata=0, transform=TURNED)
    gaps = noise().astype(np.float32)
    gaps[1, 60:70, 5:90] = np.nan
    rasters.write(folder / "degrees.tif", gaps, epsg=4326, transform=DEGREES)
    gdal.BuildVRT(str(folder / "vrt.tif"), [str(folder / "utm.tif")]).FlushCache()
    kernel = np.random.default_rng(1).normal(0, 0.01, (3, 3, 5, 5))
    for name, gsd in (("plain", None), ("gsd20", 20.0), ("gsd6", 6.0)):
        write_model(folder / f"{name}.onnx", kernel, card_item(gsd=gsd, overlap=12))
    item = card_item(tile_size=32, overlap=8)
    item["properties"]["geoaware:border"] = 4
    write_model(folder / "border.onnx", kernel, item)
    write_fitted(folder / "fitted.onnx")
    scene_model(folder / "scenes.onnx")
    detector(folder / "boxes.onnx")
    rasters.write(folder / "objects.tif", scene_with((20, 10, 44, 30), (90, 60, 110, 95), shape=(150, 160)))
    triangles(folder / "mask.gpkg")
    calls = [
        predict_call(folder, number, raster, model, *options, "--confidence", "--areas")
        for number, (raster, model, options, _) in enumerate(CASES.values())
    ]
    calls.append(predict_call(folder, "polygons", "utm", "plain", "--polygons", "--min-area", "900", "--probabilities"))
    calls.append(predict_call(folder, "scenes", "utm", "scenes", "--stride", "16"))
    calls.append(predict_call(folder, "objects", "objects", "boxes"))
    subprocess.run([PYTHON, "-c", RUN_ALL], input=json.dumps(calls), text=True, check=True, cwd=ROOT, timeout=300)
    return folder


def predict_call(folder: Path, number, raster: str, model: str, *options: str) -> list[str]:
    named = [str(folder / "mask.gpkg") if option == "MASK" else option for option in options]
    start = [str(folder / f"{model}.onnx"), str(folder / f"{raster}.tif"), "--out", str(folder / f"case {number}")]
    return [*start, "--name", "map", "--threads", "1", "--provider", "cpu", *named]


def run(name: str, world: Path, raster: str, model: str, **parameters) -> dict:
    import processing

    given = {"INPUT": str(world / f"{raster}.tif"), "MODEL": str(world / f"{model}.onnx"), **parameters}
    return processing.run(f"geoaware:{name}", given, feedback=QgsProcessingFeedback())


def features(path: Path, layer: str) -> list[tuple]:
    """Values by their fields and shapes, in an order that does not depend on GDAL's version."""
    opened = QgsVectorLayer(f"{path}|layername={layer}")
    found = [({**feature.attributeMap(), "fid": None}, feature.geometry()) for feature in opened.getFeatures()]
    return sorted(found, key=lambda one: (one[1].boundingBox().toString(), str(one[0])))


@pytest.mark.parametrize("case", CASES)
def test_maps_are_equal(running, world, tmp_path, case):
    raster, model, _, parameters = CASES[case]
    parameters = {key: str(world / "mask.gpkg") if value == "MASK" else value for key, value in parameters.items()}
    if "EXTENT" in parameters:
        parameters["EXTENT"] = parameters["EXTENT"].format(*EXTENT)
    outputs = {"OUTPUT": str(tmp_path / "map.tif"), "CONFIDENCE": str(tmp_path / "sure.tif"), "AREAS": "memory:"}
    made = run("segment", world, raster, model, **parameters, **outputs)
    folder = world / f"case {list(CASES).index(case)}"
    expected, found = gdal.Open(str(folder / "map.tif")), gdal.Open(str(tmp_path / "map.tif"))
    np.testing.assert_allclose(found.GetGeoTransform(), expected.GetGeoTransform(), rtol=1e-12)
    assert len(np.unique(expected.ReadAsArray())) > 2
    np.testing.assert_array_equal(found.ReadAsArray(), expected.ReadAsArray())
    np.testing.assert_array_equal(rasters.band(tmp_path / "sure.tif"), rasters.band(folder / "map_confidence.tif"))
    assert found.GetRasterBand(1).GetOverviewCount() == expected.GetRasterBand(1).GetOverviewCount()
    rows = list(csv.DictReader((folder / "map_areas.csv").read_text().splitlines()))
    table = [feature.attributes() for feature in made["AREAS"].getFeatures()]
    assert [row[:3] for row in table] == [[int(row["class"]), row["name"], int(row["pixels"])] for row in rows]
    assert [row[3] for row in table] == pytest.approx([float(row["hectares"]) for row in rows], abs=1e-4)


def test_polygons_and_probabilities_are_equal(running, world, tmp_path):
    polygons, shares = tmp_path / "p.gpkg", tmp_path / "s.tif"
    parameters = {"POLYGONS": str(polygons), "MIN_AREA": 900, "PROBABILITIES": str(shares)}
    run("segment", world, "utm", "plain", OUTPUT=str(tmp_path / "map.tif"), **parameters)
    np.testing.assert_array_equal(
        gdal.Open(str(shares)).ReadAsArray(),
        gdal.Open(str(world / "case polygons/map_probabilities.tif")).ReadAsArray(),
    )
    found, expected = features(polygons, "land_cover"), features(world / "case polygons/map.gpkg", "land_cover")
    assert len(found) > 20
    assert [values for values, _ in found] == [values for values, _ in expected]
    assert all(one.isGeosValid() for _, one in found)
    assert all(one.isGeosEqual(other) for (_, one), (_, other) in zip(found, expected))


def test_scenes_are_equal(running, world, tmp_path):
    run("classifyscenes", world, "utm", "scenes", STRIDE=16, OUTPUT=str(tmp_path / "map.tif"))
    expected, found = gdal.Open(str(world / "case scenes/map.tif")), gdal.Open(str(tmp_path / "map.tif"))
    assert found.GetGeoTransform() == expected.GetGeoTransform()
    np.testing.assert_array_equal(found.ReadAsArray(), expected.ReadAsArray())


def test_objects_are_equal(running, world, tmp_path):
    made = run("detect", world, "objects", "boxes", OUTPUT=str(tmp_path / "o.gpkg"))
    found, expected = features(tmp_path / "o.gpkg", "objects"), features(world / "case objects/map.gpkg", "objects")
    assert made["COUNT"] == len(found) == 2
    assert [values for values, _ in found] == [values for values, _ in expected]
    assert all(one.isGeosEqual(other) for (_, one), (_, other) in zip(found, expected))


@pytest.fixture
def grid(running):
    from geoaware.gdal_io.grid import LayerGrid, transform_of

    srs = osr.SpatialReference()
    srs.ImportFromEPSG(32633)
    return LayerGrid(srs.ExportToWkt(), transform_of((500_000, 10, 0, 5_000_000, 0, -10)), 20, 30)


def test_rasters_are_written_as_given(grid, tmp_path):
    from geoaware.gdal_io.writer import GdalWriter
    from geoaware.runtime.errors import InputFault

    values = adapters.raster_out_keeps_what_it_is_given(GdalWriter, grid, InputFault, tmp_path)
    written = gdal.Open(str(tmp_path / "cog.tif"))
    np.testing.assert_array_equal(written.ReadAsArray(), values)
    assert [written.GetRasterBand(number).GetDescription() for number in (1, 2)] == ["one", "two"]


def test_polygons_and_boxes_are_written(grid, tmp_path):
    from geoaware.gdal_io.job import card_in
    from geoaware.gdal_io.vectors import GdalVectors
    from geoaware.gdal_io.writer import GdalWriter
    from geoaware.runtime.results.rows import Objects

    boxes = np.array([[1, 2, 5, 6], [10, 3, 14, 9]], np.float32)
    objects = Objects(boxes, np.array([0.9, 0.5], np.float32), np.array([3, 7]))
    legend = card_in(str(write_strongest_band(tmp_path / "m.onnx"))).classes
    place = (GdalWriter, GdalVectors(), grid, legend, objects, tmp_path)
    assert adapters.vector_out_traces_patches_and_writes_objects(*place) == (3, 2)
    assert (
        len(features(tmp_path / "patches.gpkg", "land_cover")),
        len(features(tmp_path / "objects.gpkg", "objects")),
    ) == (3, 2)


def test_pixels_are_the_stored_ones(running, tmp_path):
    from geoaware.gdal_io.job import snapshot

    stored = np.random.default_rng(0).integers(0, 5, (3, 9, 8)).astype(np.uint16)
    path = rasters.write(tmp_path / "a.tif", stored, nodata=0, names=("red", "nir", "swir"))
    adapters.pixels_are_the_stored_ones(snapshot(QgsRasterLayer(str(path), "a")).open(), stored, 0)


def write_kind(path: Path, kind: gaps.Kind) -> Path:
    """As ``tests.gaps`` describes it."""
    rasters.write(path, kind.pixels, nodata=kind.nodata, alpha=bool(kind.fourth))
    if kind.mask:
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES" if kind.mask == "own" else "NO")
        target = gdal.Open(str(path), gdal.GA_Update)
        target.CreateMaskBand(gdal.GMF_PER_DATASET)
        target.GetRasterBand(1).GetMaskBand().WriteArray(kind.hidden)
        target = None
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", None)
    return path


def test_every_source_of_gaps_counts(running, tmp_path):
    from geoaware.gdal_io.job import snapshot

    def opened(path: Path):
        return snapshot(QgsRasterLayer(str(path), "a")).open()

    gaps.every_source_of_gaps_counts(write_kind, opened, tmp_path)
    gaps.each_band_has_its_nodata_value(write_kind(tmp_path / "a.tif", gaps.Kind("int16", None, "", "")), opened)


def test_a_run_opens_its_layer_once_to_check_it_and_once_to_do_it(running, world, tmp_path, monkeypatch):
    from geoaware.gdal_io.files import FileLayer

    opened, before = [], FileLayer.open
    monkeypatch.setattr(FileLayer, "open", lambda self, *place: opened.append(self) or before(self, *place))
    run("segment", world, "utm", "plain", OUTPUT=str(tmp_path / "map.tif"))
    assert len(opened) == 2


def test_numbers_of_every_type_and_control_points_are_read(running, tmp_path):
    from geoaware.gdal_io.job import snapshot

    def opened(path: Path):
        return snapshot(QgsRasterLayer(str(path), path.stem)).open()

    pixel_types.numbers_of_every_type_are_read(opened, tmp_path)
    pixel_types.control_points_become_a_grid(opened, tmp_path)
    pixel_types.gaps_of_images_on_control_points_are_kept(opened, tmp_path)
    pixel_types.an_offset_that_is_not_added_is_named(opened, tmp_path)
    pixel_types.rpcs_alone_are_refused(opened, tmp_path)

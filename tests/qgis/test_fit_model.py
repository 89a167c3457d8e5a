"""``geoaware:fitmodel`` gives the model, the figures and the map of ``export.fit``, number for number."""

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
import onnx
from onnx import numpy_helper
from osgeo import ogr, osr
from qgis.core import QgsProcessingException, QgsProcessingFeedback, QgsRasterLayer, QgsVectorLayer

from tests.qgis import rasters
from tests.qgis.conftest import ROOT
from tests.qgis.test_labels_of_layers import box

PYTHON = os.environ.get("GEOAWARE_TEST_PYTHON") or str(ROOT / ".venv" / "bin" / "python")
needs_python = pytest.mark.skipif(
    shutil.which(PYTHON) is None,
    reason="no Python with rasterio: see GEOAWARE_TEST_PYTHON",
)
RUN_ALL = """
import json, sys
from importlib import import_module
for module, *arguments in json.load(sys.stdin):
    sys.argv = [module, *arguments]
    assert import_module(f"export.{module}").main() == 0, arguments
"""
ROWS, COLUMNS = 300, 420


def stripes() -> np.ndarray:
    """(3, rows, columns): three grounds in stripes of 60 px, which differ by colour or by roughness; a corner without data."""
    random = np.random.default_rng(5)
    ground = np.arange(COLUMNS) // 60 % 3
    level = np.array([[90, 110, 60], [90, 110, 60], [40, 60, 120]])[ground].T[:, None]
    rough = np.array([3, 25, 6])[ground]
    pixels = np.clip(level + rough * random.standard_normal((3, ROWS, COLUMNS)), 1, 255).astype(np.uint8)
    pixels[:, :30, :40] = 0
    return pixels


def write_labels(path: Path, marks: list[tuple[str, str]], epsg: int = rasters.UTM, kind: int = ogr.wkbPolygon) -> Path:
    """A GeoPackage of shapes in UTM (WKT) and their classes, in a CRS."""
    target = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    own, there = osr.SpatialReference(), osr.SpatialReference()
    own.ImportFromEPSG(rasters.UTM)
    there.ImportFromEPSG(epsg)
    there.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    layer = target.CreateLayer(path.stem, there, kind)
    layer.CreateField(ogr.FieldDefn("class", ogr.OFTString))
    move = osr.CoordinateTransformation(own, there)
    for wkt, name in marks:
        feature = ogr.Feature(layer.GetLayerDefn())
        shape = ogr.CreateGeometryFromWkt(wkt)
        shape.Transform(move)
        feature.SetGeometry(shape)
        if name:
            feature.SetField("class", name)
        layer.CreateFeature(feature)
    return path


NAMES = ("smooth", "rough", "water")
MARKS = [
    (box(60 + 50 * row, 60 * stripe + 10, 80 + 50 * row + 6 * stripe, 60 * stripe + 50), NAMES[stripe % 3])
    for stripe in range(6)
    for row in range(3)
]
POINTS = [
    (f"Point ({500_000 + 10 * (60 * stripe + 33)} {5_000_000 - 10 * 271})", NAMES[stripe % 3]) for stripe in range(3)
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A folder with a raster, label layers in two CRSs, and what ``export.fit`` and ``export.predict`` make of them."""
    folder = tmp_path_factory.mktemp("scene")
    rasters.write(folder / "scene.tif", stripes(), nodata=0)
    rasters.write(folder / "bare.tif", stripes())
    rasters.write(folder / "other.tif", stripes()[:, ::-1], nodata=0)
    write_labels(folder / "fields.gpkg", [*MARKS, (box(1, 200, 9, 220), "")], 4326)
    write_labels(folder / "points.gpkg", POINTS, kind=ogr.wkbPoint)
    write_labels(folder / "part.gpkg", [(box(40, 100, 200, 333), "")])
    return folder


@pytest.fixture(scope="module")
def made(scene) -> Path:
    """What the command line makes of it."""
    labels = ["--labels", str(scene / "fields.gpkg"), str(scene / "points.gpkg"), "--field", "class"]
    out = scene / "made"
    out.mkdir()
    one = ["fit", str(scene / "scene.tif"), *labels, "--texture", "--out", str(out / "ground.onnx")]
    mapped = ["--map", str(out), "--confidence", "--areas"]
    two = ["fit", str(scene / "scene.tif"), str(scene / "other.tif"), *labels, "--out", str(out / "both.onnx")]
    limits = ["--map", str(out / "part"), "--mask", str(scene / "part.gpkg")]
    bare = [
        "fit",
        str(scene / "bare.tif"),
        *labels,
        "--out",
        str(out / "bare.onnx"),
        "--bands",
        "3",
        "1",
        "--nodata",
        "0",
    ]
    (out / "predicted").mkdir()
    predict = ["predict", str(out / "ground.onnx"), str(scene / "scene.tif"), "--out", str(out / "predicted")]
    calls = [[*one, *mapped], [*two, *limits], bare, [*predict, "--confidence"]]
    subprocess.run([PYTHON, "-c", RUN_ALL], input=json.dumps(calls), text=True, check=True, cwd=ROOT, timeout=500)
    return out


def run(name: str, feedback=None, **parameters) -> dict:
    import processing

    return processing.run(f"geoaware:{name}", parameters, feedback=feedback or QgsProcessingFeedback())


def given(scene: Path, tmp_path: Path, *names: str, **more) -> dict:
    return {
        "INPUT": [str(scene / f"{name}.tif") for name in names or ("scene",)],
        "LABELS": [str(scene / "fields.gpkg"), str(scene / "points.gpkg")],
        "FIELD": "class", "FEATURES": "texture", "MODEL": str(tmp_path / "ground.onnx"), "CACHE": str(tmp_path / "cache"),
        **more,
    }  # fmt: skip


def check_same_model(one: Path, other: Path) -> None:
    """Two models compute the same, to what numpy's linear algebra rounds: QGIS's numpy is built with another one on Debian 13."""
    first, second = (onnx.load(str(path)).graph for path in (one, other))
    weights, others = ([numpy_helper.to_array(part) for part in graph.initializer] for graph in (first, second))
    for mine, theirs in zip(weights, others):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5 * max(np.abs(theirs).max(initial=0), 1e-9))
    for graph in (first, second):
        for part in graph.initializer:
            part.ClearField("raw_data")
    assert first.SerializeToString() == second.SerializeToString()


@needs_python
def test_model_map_and_figures_are_those_of_the_command_line(running, scene, made, tmp_path):
    outputs = {"OUTPUT": str(tmp_path / "map.tif"), "CONFIDENCE": str(tmp_path / "sure.tif"), "AREAS": "memory:"}
    found = run("fitmodel", **given(scene, tmp_path, **outputs, REPORT=str(tmp_path / "report.html")))
    check_same_model(tmp_path / "ground.onnx", made / "ground.onnx")
    classes = rasters.band(tmp_path / "map.tif")
    assert sorted(np.unique(classes).tolist()) == [1, 2, 3, 255]
    np.testing.assert_array_equal(classes, rasters.band(made / "scene.tif"))
    other = rasters.band(made / "scene_confidence.tif").astype(int)
    assert np.abs(other - rasters.band(tmp_path / "sure.tif")).max() <= 1  # per cent, rounded
    rows = list(csv.DictReader((made / "scene_areas.csv").read_text().splitlines()))
    table = [feature.attributes() for feature in found["AREAS"].getFeatures()]
    assert [row[:3] for row in table] == [[int(row["class"]), row["name"], int(row["pixels"])] for row in rows]
    report = json.loads((made / "ground_report.json").read_text())
    assert [found[name] for name in ("ACCURACY", "ACCURACY_LOW", "ACCURACY_HIGH")] == pytest.approx(
        [report[name] for name in ("accuracy", "accuracy_low", "accuracy_high")]
    )
    page = (tmp_path / "report.html").read_text("utf-8")
    assert all(name in page for name in NAMES)


@needs_python
def test_the_saved_model_gives_the_map_pixel_for_pixel(running, scene, made, tmp_path):
    run("fitmodel", **given(scene, tmp_path, OUTPUT=str(tmp_path / "map.tif"), CONFIDENCE=str(tmp_path / "sure.tif")))
    again = {"INPUT": str(scene / "scene.tif"), "MODEL": str(tmp_path / "ground.onnx")}
    run("segment", **again, OUTPUT=str(tmp_path / "again.tif"), CONFIDENCE=str(tmp_path / "again_sure.tif"))
    for mine, segmented, predicted in (("map", "again", "scene"), ("sure", "again_sure", "scene_confidence")):
        expected = rasters.band(tmp_path / f"{mine}.tif")
        np.testing.assert_array_equal(rasters.band(tmp_path / f"{segmented}.tif"), expected)
        other = rasters.band(made / "predicted" / f"{predicted}.tif").astype(int)
        assert np.abs(other - expected).max() <= (mine == "sure")  # per cent, rounded: of a model fitted elsewhere


@needs_python
def test_several_rasters_and_the_polygons_of_a_mask(running, scene, made, tmp_path):
    run("fitmodel", **given(
        scene, tmp_path, "scene", "other", FEATURES="auto", MASK=str(scene / "part.gpkg"), OUTPUT=str(tmp_path / "map.tif"),
    ))  # fmt: skip
    check_same_model(tmp_path / "ground.onnx", made / "both.onnx")
    np.testing.assert_array_equal(rasters.band(tmp_path / "map.tif"), rasters.band(made / "part" / "scene.tif"))


@needs_python
def test_bands_and_nodata_are_chosen(running, scene, made, tmp_path):
    run("fitmodel", **given(scene, tmp_path, "bare", BANDS="3, 1", NODATA=0))
    check_same_model(tmp_path / "ground.onnx", made / "bare.onnx")


def test_layers_may_be_removed_and_the_cache_is_used_again(running, scene, tmp_path):
    raster, fields = (
        QgsRasterLayer(str(scene / "scene.tif"), "s"),
        QgsVectorLayer(str(scene / "fields.gpkg"), "f", "ogr"),
    )
    run("fitmodel", **given(scene, tmp_path, INPUT=[raster], LABELS=[fields], OUTPUT=str(tmp_path / "one.tif")))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert [path.suffix for path in kept if path.suffix in (".tif", ".gaf")] == [".tif"]  # one COG, no records
    run("fitmodel", **given(scene, tmp_path, INPUT=[raster], LABELS=[fields], OUTPUT=str(tmp_path / "two.tif")))
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    np.testing.assert_array_equal(rasters.band(tmp_path / "one.tif"), rasters.band(tmp_path / "two.tif"))


class Stop(QgsProcessingFeedback):
    """Cancels at some per cent."""

    def __init__(self, at: float) -> None:
        super().__init__(False)
        self._at = at
        self.progressChanged.connect(self._look)  # no lambda: QGIS ends at one that is collected after it

    def _look(self, now: float) -> None:
        if now >= self._at:
            self.cancel()


@pytest.mark.parametrize("at", [1, 20, 37, 60])
def test_a_cancelled_run_leaves_nothing(running, scene, tmp_path, at):
    out = tmp_path / "out"
    out.mkdir()
    feedback = Stop(at)
    found = run("fitmodel", feedback, **given(
        scene, tmp_path, MODEL=str(out / "m.onnx"), OUTPUT=str(out / "map.tif"), REPORT=str(out / "page.html"),
    ))  # fmt: skip
    assert feedback.isCanceled()
    assert not any(found.values())
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"LABELS": ["far.gpkg"]}, "far"),
        ({"LABELS": ["one.gpkg"]}, "smooth"),
        ({"LABELS": ["empty.gpkg"]}, "empty"),
        ({"FIELD": "crop"}, "crop"),
        ({"FEATURES": "encoder"}, "ncoder"),
        ({"MODEL": "m.txt"}, "m.txt"),
        ({"OUTPUT": "scene.tif"}, "scene.tif"),
        ({"MODEL": "fields.gpkg"}, "fields.gpkg"),
    ],
    ids=["outside", "one class", "no data", "no field", "no encoder", "suffix", "over the raster", "over the labels"],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(running, scene, tmp_path, more, said):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("scene.tif", "fields.gpkg", "points.gpkg"):
        shutil.copy(scene / name, folder / name)
    write_labels(folder / "far.gpkg", [(box(9000, 0, 9010, 10), "a"), (box(9020, 0, 9030, 10), "b")])
    write_labels(folder / "one.gpkg", [(box(100, 10, 110, 20), "smooth"), (box(130, 10, 140, 20), "smooth")])
    write_labels(folder / "empty.gpkg", [(box(2, 2, 10, 10), "a"), (box(12, 2, 20, 10), "b")])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    parameters = given(folder, tmp_path, MODEL=str(folder / "m.onnx"))
    for name, value in more.items():
        is_file = name in ("MODEL", "OUTPUT")
        parameters[name] = (
            [str(folder / one) for one in value] if name == "LABELS" else str(folder / value) if is_file else value
        )
    with pytest.raises(QgsProcessingException) as caught:
        run("fitmodel", **parameters)
    sentence = str(caught.value).removeprefix("Unable to execute algorithm\n")  # QGIS's own
    assert said in sentence
    assert "\n" not in sentence.strip()
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before

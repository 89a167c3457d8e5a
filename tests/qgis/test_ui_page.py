"""The page on a finished run: what it shows when something is missing, and how a run can be repeated."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import ogr, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtWidgets import QFileDialog, QMessageBox

from tests.models import write_given, write_graph
from tests.qgis import rasters
from tests.qgis.test_same_as_predict import PYTHON, ROOT
from tests.qgis.test_ui import NORTH, WEST, models, opened, ran, settle, squares  # noqa: F401, some are fixtures
from tests.qgis.test_ui_kinds import page_of, ready
from tests.test_runtime_scenes import scene_model

OUTPUT = {"OUTPUT": "/tmp/map.tif"}


@pytest.mark.parametrize(("value", "gone", "said"), [(0, False, "Nothing was mapped"), (9, True, "Hectares")])
def test_page_opens_where_nothing_was_mapped_or_the_map_is_gone(running, desktop, models, tmp_path, value, gone, said):  # noqa: F811
    model = tmp_path / "scenes.onnx"
    scene_model(model)
    pixels = np.full((3, 70, 90), value, np.uint8)
    dialog = ready(running, desktop, models, model, rasters.write(tmp_path / "s.tif", pixels, nodata=0))
    run = ran(dialog, desktop)
    if gone:
        Path(run.outputs["OUTPUT"]).unlink()
    assert said in page_of(running, run)


def test_page_of_values_speaks_of_no_areas(running, desktop, models, tmp_path):  # noqa: F811
    nodes = [("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": 1})]
    graph = write_graph(tmp_path / "m.onnx", nodes, {"mean": (1, ("batch", 1, 32, 32))})
    raster = rasters.write(tmp_path / "s.tif", np.full((3, 70, 90), 9, np.uint8))
    dialog = ready(running, desktop, models, write_given(graph, task="regression", classes=None), raster)
    assert "Nothing was mapped" not in page_of(running, ran(dialog, desktop))


def test_page_that_cannot_be_saved_is_said(running, opened, desktop, tmp_path, monkeypatch):  # noqa: F811
    said = []
    where = tmp_path / "not a folder" / "page.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(where), ""))
    monkeypatch.setattr(QMessageBox, "warning", lambda *words: said.append(words[-1]))
    run = ran(opened, desktop)
    running.desk.open_page(run)
    running.desk.pages[run]._save()
    running.desk.pages[run].reject()
    assert said[0].startswith("The page cannot be saved (")


def test_map_view_in_a_crs_without_a_name_can_be_repeated(running, opened, desktop):  # noqa: F811
    canvas, own = desktop.mapCanvas(), desktop.layer.crs()
    crs = QgsCoordinateReferenceSystem.fromProj("+proj=tmerc +lon_0=15 +k=0.9996 +x_0=600000 +datum=WGS84 +units=m")
    assert crs.authid() == ""
    canvas.setDestinationCrs(crs)
    canvas.setExtent(QgsRectangle(WEST + 100_300, NORTH - 300, WEST + 100_600, NORTH))
    opened.area.view.setChecked(True)
    settle(opened)
    run = ran(opened, desktop)
    assert 30 <= rasters.band(run.outputs["OUTPUT"]).shape[0] < 70
    assert "--bounds" in page_of(running, run)
    line = shlex.split(command(run.given))
    assert QgsCoordinateReferenceSystem.fromWkt(line[line.index("--crs") + 1]) == crs
    canvas.setDestinationCrs(own)


def test_run_is_repeated_from_its_source_when_the_layer_is_gone(running, opened, desktop, tmp_path):  # noqa: F811
    run = ran(opened, desktop)
    desktop.layer = None
    QgsProject.instance().removeAllMapLayers()
    assert f"INPUT={tmp_path / 'scene.tif'}" in page_of(running, run)


# lines for a shell


def command(texts: dict) -> str | None:
    from geoaware.ui import repeat

    return repeat.predict({**texts, **OUTPUT})


def masked(layer: QgsVectorLayer, raster: Path, selected: bool = False) -> dict:
    """Parameters with polygons."""
    QgsProject.instance().addMapLayer(layer)
    return {"INPUT": str(raster), "MODEL": "m.onnx", "MASK": QgsProcessingFeatureSourceDefinition(layer.id(), selected)}


@pytest.fixture
def raster(tmp_path) -> Path:
    return rasters.write(tmp_path / "a.tif", np.full((3, 40, 40), 9, np.uint8))


@pytest.fixture
def polygons(tmp_path) -> Path:
    """A GeoPackage with two layers of polygons."""
    path = tmp_path / "p.gpkg"
    target = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(rasters.UTM)
    for name in ("first", "second"):
        target.CreateLayer(name, srs, ogr.wkbPolygon)
    return path


@pytest.mark.parametrize(("suffix", "same"), [("first", True), ("second", False), ("first|subset=fid=1", False)])
def test_polygons_keep_their_layer(running, raster, polygons, suffix, same):
    from geoaware.ui import repeat

    source = f"{polygons}|layername={suffix}"
    parameters = masked(QgsVectorLayer(source, "p"), raster)
    texts = repeat.given(parameters)
    assert repeat.hindrance(parameters, texts) == ""
    assert f"MASK={source}" in shlex.split(repeat.qgis_process("geoaware:segment", texts))
    line = command(texts)
    if same:
        assert shlex.split(line)[-2:] == ["--mask", str(polygons)]
    else:
        assert line is None  # it reads the first layer, whole


def test_polygons_in_memory_are_told_instead_of_a_line(running, opened, desktop):  # noqa: F811
    opened.area.polygons.setLayer(squares(0))
    opened.area.inside.setChecked(True)
    settle(opened)
    page = page_of(running, ran(opened, desktop))
    assert "one of its layers exists only in memory" in page
    assert "qgis_process" not in page
    assert "export.predict" not in page


def test_selected_polygons_are_told_instead_of_a_line(running, raster, polygons):
    from geoaware.ui import repeat

    parameters = masked(QgsVectorLayer(f"{polygons}|layername=first", "p"), raster, selected=True)
    assert "selected polygons" in repeat.hindrance(parameters, repeat.given(parameters))


def test_threshold_is_repeated(running, raster):
    from geoaware.ui import repeat

    texts = repeat.given({"INPUT": str(raster), "MODEL": "m.onnx", "THRESHOLD": 0.4})
    assert "THRESHOLD=0.4" in repeat.qgis_process("geoaware:detect", texts)
    assert "--threshold 0.4" in command(texts)


@pytest.mark.skipif(shutil.which(PYTHON) is None, reason="no Python with rasterio: see GEOAWARE_TEST_PYTHON")
def test_repeated_command_is_accepted_and_gives_the_same_map(running, desktop, models, tmp_path, scene):  # noqa: F811
    keys = {"activation": "sigmoid", "overlap": 0}
    nodes = [("Mul", ["image", "scale"], ["out"], {})]
    graph = write_graph(
        tmp_path / "m.onnx", nodes, {"out": (1, ("batch", 3, 32, 32))}, {"scale": np.array([0.01], np.float32)}
    )
    step = 1e-6  # degrees: the map view is written with small negative numbers
    place = (-45 * step, step, 0, 35 * step, 0, -step)
    raster = rasters.write(tmp_path / "s.tif", scene[0], nodata=0, epsg=4326, transform=place)
    dialog = ready(running, desktop, models, write_given(graph, **keys), raster)
    canvas = desktop.mapCanvas()
    canvas.resize(300, 300)
    canvas.setDestinationCrs(desktop.layer.crs())
    canvas.setExtent(QgsRectangle(-30 * step, -30 * step, 30 * step, 30 * step))
    dialog.area.view.setChecked(True)
    dialog.bands._lists[0].setBand(2)
    dialog.options.wrappers["THRESHOLD"].setParameterValue(0.8, dialog.options._context)
    settle(dialog)
    run = ran(dialog, desktop)
    again = {**run.given, "OUTPUT": str(tmp_path / "again.tif")}
    from geoaware.ui import repeat

    words = shlex.split(repeat.predict(again))
    assert words[:3] == ["python", "-m", "export.predict"]
    answer = subprocess.run([PYTHON, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    np.testing.assert_array_equal(rasters.band(tmp_path / "again.tif"), rasters.band(run.outputs["OUTPUT"]))

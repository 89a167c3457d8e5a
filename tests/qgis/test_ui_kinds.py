"""The window with models of every task, models made for Deepness, and layers that come from a service."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
import onnx
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessingUtils,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)

from tests.models import write_strongest_band
from tests.qgis import rasters
from tests.qgis.test_algorithms import encoder  # noqa: F401, a fixture
from tests.qgis.test_services import layer, server  # noqa: F401, fixtures
from tests.qgis.test_ui import looked, models, ran, settle, shown  # noqa: F401, one is a fixture
from tests.test_runtime_scenes import detector, scene_model, scene_with


def ready(plugin, desktop, folder, path, raster):
    """The dialog with a model and a raster, after its first look."""
    shutil.copy(path, folder)
    card = path.with_suffix(".card.json")
    if card.is_file():
        shutil.copy(card, folder)
    desktop.layer = shown(raster)
    return looked(plugin)


def page_of(plugin, run) -> str:
    plugin.desk.open_page(run)
    text = plugin.desk.pages[run].html
    plugin.desk.pages[run].reject()
    return text


def test_scenes(running, desktop, models, scene, tmp_path):  # noqa: F811
    path = tmp_path / "scenes.onnx"
    scene_model(path)
    dialog = ready(running, desktop, models, path, rasters.write(tmp_path / "s.tif", scene[0], nodata=0))
    run = ran(dialog, desktop)
    assert desktop.activeLayer().renderer().type() == "paletted"
    page = page_of(running, run)
    assert "red land" in page
    assert "geoaware:classifyscenes" in page


def test_objects(running, desktop, models, tmp_path):  # noqa: F811
    path = tmp_path / "boxes.onnx"
    detector(path)
    raster = rasters.write(tmp_path / "objects.tif", scene_with((20, 10, 44, 30)))
    dialog = ready(running, desktop, models, path, raster)
    assert "THRESHOLD" in dialog.options.wrappers
    run = ran(dialog, desktop)
    assert isinstance(desktop.activeLayer(), QgsVectorLayer)
    assert run.outputs["COUNT"] == 1
    assert "geoaware:detect" in page_of(running, run)


def test_features(running, desktop, models, encoder, scene, tmp_path):  # noqa: F811
    raster = rasters.write(tmp_path / "s.tif", scene[0], nodata=0)
    dialog = ready(running, desktop, models, encoder, raster)
    assert list(dialog.options.results) == ["PICTURE"]
    run = ran(dialog, desktop)
    assert "geoaware:embed" in page_of(running, run)


def test_threshold_of_a_deepness_model_is_offered(running, desktop, models, model, scene, tmp_path):  # noqa: F811
    deepness = onnx.load(str(model))
    del deepness.metadata_props[:]
    keys = {"model_type": "Segmentor", "class_names": {0: "a", 1: "b", 2: "c"}, "seg_thresh": 0.6}
    onnx.helper.set_model_props(deepness, {name: json.dumps(value) for name, value in keys.items()})
    onnx.save(deepness, str(model))
    dialog = ready(running, desktop, models, model, rasters.write(tmp_path / "s.tif", scene[0]))
    assert dialog.options.wrappers["THRESHOLD"].parameterValue() == pytest.approx(0.6)
    ran(dialog, desktop)


def test_a_service_is_mapped_in_the_map_view(running, desktop, models, layer, tmp_path):  # noqa: F811
    write_strongest_band(models / "m.onnx", gsd=10.0)
    canvas = desktop.mapCanvas()
    canvas.resize(400, 400)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    canvas.setExtent(QgsRectangle(1_000_000, -600, 1_001_200, 600))
    desktop.layer = layer
    dialog = looked(running)
    assert not dialog.area.whole.isEnabled()
    assert dialog.area.view.isChecked()
    assert "time is known after the first batch" in dialog.fit.figures.text()
    run = ran(dialog, desktop)
    assert len(np.unique(rasters.band(run.outputs["OUTPUT"]))) > 1
    assert "export.predict" not in page_of(running, run)  # it reads files
    again = QgsProcessingUtils.mapLayerFromString(run.given["INPUT"], run.context)  # as qgis_process does it
    assert again.isValid()
    assert again.source() == layer.source()


def test_model_without_a_pixel_size_says_that_a_service_needs_one(running, desktop, models, layer):  # noqa: F811
    write_strongest_band(models / "m.onnx")
    desktop.layer = layer
    dialog = looked(running)
    settle(dialog)
    (said,) = dialog.fit.texts()
    assert "does not say which size it needs" in said
    assert not dialog.run_button.isEnabled()
    assert len(QgsProject.instance().mapLayers()) == 1

"""*Map the layer* and *Save as model* of the panel for labels: runs of ``geoaware:fitmodel`` in the queue."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from tests.qgis import rasters
from tests.qgis.test_fit_model import MARKS, NAMES, run, stripes, write_labels
from tests.qgis.test_ui import shown, until


@pytest.fixture
def page(running, desktop, tmp_path, monkeypatch):
    """The page on a raster and its labels; models that it saves are in ``page.added``."""
    page_module, legend = (
        import_module(f"geoaware.{name}") for name in ("ui.label_panel.pages.map_page", "runtime.raster.legend")
    )
    monkeypatch.setattr(import_module("geoaware.ui.models"), "folder", lambda: tmp_path / "profile" / "models")
    raster = QgsRasterLayer(str(rasters.write(tmp_path / "scene.tif", stripes(), nodata=0)), "scene")
    fields = QgsVectorLayer(str(write_labels(tmp_path / "fields.gpkg", MARKS)), "fields", "ogr")
    QgsProject.instance().addMapLayers([raster, fields])
    classes = tuple(legend.LandClass(number, name, "FF0000") for number, name in enumerate(sorted(NAMES), start=1))
    parameters = {
        "INPUT": [raster.id()], "LABELS": [fields.id()], "FIELD": "class", "FEATURES": "texture", "CACHE": str(tmp_path / "kept"),
    }  # fmt: skip
    added: list[Path] = []
    made = page_module.MapPage(
        desktop.mapCanvas(), running.desk.runs, lambda: page_module.FitInput("scene", classes, parameters), added.append
    )
    made.added, made.raster = added, raster
    return made


def test_the_layer_is_mapped_like_any_run(page, running, tmp_path):
    page.file.setFilePath(str(tmp_path / "map.tif"))
    run_ = page.map()
    until(lambda: run_.over, 120)
    assert run_.state == "done", run_.log
    assert sorted(np.unique(rasters.band(tmp_path / "map.tif")).tolist()) == [1, 2, 3, 255]
    assert (tmp_path / "map_confidence.tif").is_file()
    assert sum(row.pixels for row in run_.areas()) == int((rasters.band(tmp_path / "map.tif") != 255).sum())
    assert [one.name for one in run_.card.classes] == sorted(NAMES)  # of the model that was made
    group = QgsProject.instance().layerTreeRoot().findGroups()[0]
    assert [one.name() for one in group.findLayers()][:2] == ["scene: confidence", "scene: land cover"]
    running.desk.open_page(run_)
    text = running.desk.pages[run_].text.toPlainText()
    assert "qgis_process run geoaware:fitmodel" in text
    assert "-m export.fit" in text


def test_a_saved_model_is_in_the_library_and_gives_the_same_map(page, tmp_path):
    page.file.setFilePath(str(tmp_path / "map.tif"))
    mapped = page.map()
    page.name.setText("fields: 3/4")
    saved = page.save()
    until(lambda: mapped.over and saved.over, 200)
    assert (mapped.state, saved.state) == ("done", "done"), saved.log
    (path,) = page.added
    assert path == tmp_path / "profile" / "models" / "fields_ 3_4.onnx"
    run("segment", INPUT=str(tmp_path / "scene.tif"), MODEL=str(path), OUTPUT=str(tmp_path / "again.tif"))
    np.testing.assert_array_equal(rasters.band(tmp_path / "again.tif"), rasters.band(tmp_path / "map.tif"))
    assert page.save() is None
    assert "has a model named 'fields: 3/4' already" in page.said.text()


def test_a_model_that_waits_to_be_saved_keeps_its_name(page):
    page.name.setText("fields")
    first = page.save()
    assert page.save() is None
    assert "has a model named 'fields' already" in page.said.text()
    first.cancel(wait=True)
    until(lambda: first.over, 60)


def test_what_hinders_a_run_is_one_sentence(page, monkeypatch):
    fault = import_module("geoaware.runtime.errors").InputFault

    def refuse():
        raise fault.worded("Paint labels of two classes first.")

    monkeypatch.setattr(page, "_given", refuse)
    assert page.map() is None
    assert page.said.text() == "Paint labels of two classes first."
    assert not page.save_button.isEnabled()  # without a name


def test_a_cancelled_save_leaves_no_model(page, tmp_path):
    page.name.setText("fields")
    saved = page.save()
    saved.cancel(wait=True)
    until(lambda: saved.over, 60)
    assert saved.state == "cancelled"
    assert page.added == []
    assert list((tmp_path / "profile" / "models").iterdir()) == []


@pytest.fixture
def painted(running, desktop, tmp_path, monkeypatch):
    """The panel with labels of three classes on a raster."""
    labels = import_module("geoaware.ui.label_panel.labels")
    monkeypatch.setattr(labels, "profile_folder", lambda: tmp_path / "profile")
    monkeypatch.setattr(import_module("geoaware.ui.models"), "folder", lambda: tmp_path / "profile" / "models")
    raster = shown(rasters.write(tmp_path / "scene.tif", stripes(), nodata=0))
    desktop.mapCanvas().setDestinationCrs(raster.crs())
    desktop.mapCanvas().setExtent(raster.extent())
    desktop.layer = raster
    running.open_panel()
    panel = running.desk.panel
    kinds = panel.features.kinds
    kinds.setCurrentIndex(kinds.findData("texture"))
    kinds.activated.emit(kinds.currentIndex())
    fields = shown_vector(write_labels(tmp_path / "fields.gpkg", MARKS))
    panel.take(fields, "class", False)
    yield panel
    panel.set_layer(None)


def shown_vector(path: Path) -> QgsVectorLayer:
    layer = QgsVectorLayer(str(path), path.stem, "ogr")
    QgsProject.instance().addMapLayer(layer)
    return layer


def test_the_panel_maps_and_saves_what_was_painted(painted, running, tmp_path):
    page = painted.map_page
    page.file.setFilePath(str(tmp_path / "map.tif"))
    page.map_button.click()
    page.name.setText("valley")
    page.save_button.click()
    mapped, saved = running.desk.runs.all
    until(lambda: mapped.over and saved.over, 200)
    assert (mapped.state, saved.state) == ("done", "done"), (mapped.log, saved.log)
    assert [(one.value, one.name, one.color) for one in mapped.card.classes] == [
        (one.value, one.name, one.color) for one in painted.store.classes
    ]
    running.open_dialog()
    assert running.desk.dialog.entry.title == "valley"
    path = tmp_path / "profile" / "models" / "valley.onnx"
    run("segment", INPUT=str(tmp_path / "scene.tif"), MODEL=str(path), OUTPUT=str(tmp_path / "again.tif"))
    np.testing.assert_array_equal(rasters.band(tmp_path / "again.tif"), rasters.band(tmp_path / "map.tif"))


def test_the_map_while_labels_are_painted_is_that_of_the_model(painted, tmp_path):
    engine, classes = painted.engine, painted.store.classes
    until(
        lambda: engine.fitted is not None and engine.maps is not None and (engine.maps.classes[40:300, :420] > 0).all(),
        60,
    )
    view = engine.maps.view
    assert (view.window.row, view.window.column, view.step) == (0, 0, 0)
    painted.map_page.file.setFilePath(str(tmp_path / "map.tif"))
    mapped = painted.map_page.map()
    until(lambda: mapped.over, 120)
    assert mapped.state == "done", mapped.log
    made = rasters.band(tmp_path / "map.tif")
    values = np.array([255, *(one.value for one in classes)], np.uint8)
    live = values[engine.maps.classes[: made.shape[0], : made.shape[1]]]
    np.testing.assert_array_equal(live, made)

"""The window, as an analyst uses it: layer, model and area are chosen, runs go on in the background."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
import onnx
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
    QgsTask,
    QgsVectorLayer,
)
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QAction

from tests.models import write_strongest_band
from tests.qgis import rasters
from tests.qgis.conftest import NODATA, RED

WEST, NORTH = rasters.TRANSFORM[0], rasters.TRANSFORM[3]


def until(fine, seconds: float = 30) -> None:
    """Let QGIS's events go on until something is so."""
    for _ in range(int(seconds * 50)):
        if fine():
            return
        QTest.qWait(20)
    raise AssertionError("it did not come about")


def shown(path: Path, name: str = "scene") -> QgsRasterLayer:
    """A layer in the project."""
    layer = QgsRasterLayer(str(path), name)
    QgsProject.instance().addMapLayer(layer)
    return layer


def squares(selected: int) -> QgsVectorLayer:
    """Two polygons of 20 x 20 px in the upper left and lower right of the scene; one of them selected."""
    layer = QgsVectorLayer("Polygon?crs=epsg:32633", "fields", "memory")
    for column, row in ((20, 0), (60, 40)):
        west, north = WEST + column * 10, NORTH - row * 10
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(west, north - 200, west + 200, north)))
        layer.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(layer)
    layer.select(selected)
    return layer


@pytest.fixture
def models(running, tmp_path, monkeypatch) -> Path:
    """The library's folder; no model was used before."""
    from geoaware.algorithms.run_model import LAST_MODEL
    from geoaware.ui import models as library

    QgsSettings().remove(LAST_MODEL)

    folder = tmp_path / "profile" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setattr(library, "folder", lambda: folder)
    monkeypatch.setattr(library, "STARTERS", tmp_path / "starters")
    return folder


@pytest.fixture
def opened(running, desktop, models, model, scene, tmp_path):
    """The dialog with the scene and the model, after its first look."""
    shutil.copy(model, models)
    desktop.layer = shown(rasters.write(tmp_path / "scene.tif", scene[0], nodata=0))
    return looked(running)


@pytest.fixture
def busy(running, desktop, models, model, tmp_path):
    """The dialog with a raster that takes a while."""
    shutil.copy(model, models)
    desktop.layer = shown(rasters.write(tmp_path / "large.tif", np.full((3, 1000, 1000), 9, np.uint8)), "large")
    return looked(running)


def looked(plugin):
    """Open the dialog; it, once it knows whether layer and model fit."""
    plugin.open_dialog()
    dialog = plugin.desk.dialog
    settle(dialog)
    return dialog


def settle(dialog) -> None:
    """Wait for the first look."""
    QTest.qWait(10)
    until(lambda: not dialog._timer.isActive() and dialog._estimating is None)


def ran(dialog, desktop, state: str = "done"):
    """Click Run; the run, once it has ended and the message is there."""
    dialog.tabs.setCurrentIndex(0)
    before = len(desktop.messages)
    dialog.run_button.click()
    run = dialog.runs.all[-1]
    until(lambda: run.over and len(desktop.messages) > before)
    assert run.state == state, run.log
    return run


def classes_of(run) -> np.ndarray:
    return rasters.band(run.outputs["OUTPUT"])


# what the dialog says


def test_layer_and_model_that_fit_can_be_run(opened):
    assert opened.fit.texts() == ["Layer and model fit."]
    assert opened.fit.figures.text().startswith("12 tiles · about ")
    assert opened.run_button.isEnabled()
    assert opened.run_button.isDefault()
    assert "red land" in opened.card.toPlainText()
    said = opened.fit.facts.toPlainText()
    for what in (
        "bands\nred = 1, green = 2, blue = 3",
        "no data",
        "WGS 84 / UTM zone 33N (EPSG:32633)",
        "70 rows, 90 columns",
    ):
        assert what in said


@pytest.mark.parametrize(
    ("pixels", "gsd", "said", "runs"),
    [
        (np.full((2, 40, 40), 9, np.uint8), None, "bands", False),
        (np.full((3, 40, 40), 9, np.uint8), 30.0, "pixels are 10 m", True),
        (np.full((3, 40, 40), 9000, np.float32), None, "the model learned from 0 to 255", True),
        (np.full((3, 40, 40), 9000, np.uint16), None, "taken for Sentinel-2 bands as delivered", True),
    ],
)
def test_what_differs_is_said_before_the_run(running, desktop, models, tmp_path, pixels, gsd, said, runs):
    write_strongest_band(models / "m.onnx", gsd=gsd)
    desktop.layer = shown(rasters.write(tmp_path / "a.tif", pixels))
    dialog = looked(running)
    assert any(said in text for text in dialog.fit.texts()), dialog.fit.texts()
    assert dialog.run_button.isEnabled() == runs
    assert not any("--" in text for text in dialog.fit.texts())  # no options of a shell


def test_empty_project_and_empty_library_say_what_to_do(running, models, model):
    dialog = looked(running)
    assert dialog.fit.texts() == ["The library is empty: click 'Models…' to add a model."]
    shutil.copy(model, models)
    dialog = looked(running)
    assert dialog.fit.texts() == ["The project has no raster layer."]
    assert not dialog.run_button.isEnabled()


def test_bands_are_matched_by_name_then_set_by_hand(running, desktop, models, model, scene, tmp_path):
    shutil.copy(model, models)
    names = ("B02", "B03", "B04")
    desktop.layer = shown(rasters.write(tmp_path / "s2.tif", scene[0][::-1].copy(), nodata=0, names=names))
    dialog = looked(running)
    assert [one.currentBand() for one in dialog.bands._lists] == [3, 2, 1]
    assert "BANDS" not in dialog.parameters()
    dialog.bands._lists[0].setBand(2)
    settle(dialog)
    assert dialog.parameters()["BANDS"] == [2, 2, 1]
    dialog.bands._by_name.click()
    settle(dialog)
    assert [one.currentBand() for one in dialog.bands._lists] == [3, 2, 1]
    assert (classes_of(ran(dialog, desktop)) == scene[1]).all()


def test_model_that_fits_is_chosen_until_one_is_taken_by_hand(running, desktop, models, scene, tmp_path):
    for name, gsd in (("coarse", 7400.0), ("fine", 10.0)):
        write_strongest_band(models / f"{name}.onnx", gsd=gsd)
    fine = shown(rasters.write(tmp_path / "fine.tif", scene[0], nodata=0))
    coarse = shown(rasters.write(tmp_path / "coarse.tif", scene[0], epsg=4326, transform=(0, 0.07, 0, 50, 0, -0.07)))
    desktop.layer = fine
    dialog = looked(running)
    assert dialog.entry.path.stem == "fine"
    dialog.set_layer(coarse)
    assert dialog.entry.path.stem == "coarse"
    dialog.models.activated.emit(dialog.models.currentIndex())  # as a click does
    dialog.set_layer(fine)
    assert dialog.entry.path.stem == "coarse"
    settle(dialog)


def test_added_model_is_chosen_in_the_dialog(running, opened, models, model):
    running.desk.open_library()
    other = write_strongest_band(model.with_name("other.onnx"))
    running.desk.library.fetching.add_file(other, "")
    until(lambda: opened.entry.path == models / "other.onnx")
    settle(opened)


def test_bands_without_names_are_taken_in_their_order(opened):
    assert [one.currentBand() for one in opened.bands._lists] == [1, 2, 3]


def test_keyboard_goes_from_layer_to_model_to_area(opened):
    chain, widget = [], opened.layers
    wanted = [opened.layers, opened.models, opened.area.whole, opened.options.file.lineEdit()]
    wanted += [*opened.bands._lists, opened.run_button]
    for _ in range(200):
        chain += [widget] if widget in wanted else []
        widget = widget.nextInFocusChain()
        if widget is opened.layers:
            break
    assert chain == wanted


def test_window_speaks_spanish(running, desktop, models, model, scene, tmp_path, monkeypatch):
    from geoaware import texts

    monkeypatch.setattr(texts, "language", lambda: "es")
    shutil.copy(model, models)
    desktop.layer = shown(rasters.write(tmp_path / "scene.tif", scene[0], nodata=0))
    dialog = looked(running)
    assert dialog.fit.texts() == ["La capa y el modelo encajan."]
    assert dialog.run_button.text() == "Ejecutar"
    assert [dialog.tabs.tabText(at) for at in range(2)] == ["Ajustes", "Ejecuciones"]
    running.desk.open_help()


def test_messages_of_the_runtime_are_translated_with_numbers_as_the_language_writes_them(running, monkeypatch):
    from geoaware import texts
    from geoaware.runtime.errors import InputFault
    from geoaware.runtime.messages import Message

    monkeypatch.setattr(texts, "language", lambda: "es")

    def told(kind, **facts):
        return texts.words(InputFault(kind, where="a", **facts))

    assert told("resampled", pixel=10.5, model=30) == (
        "a: sus píxeles miden 10,5 m y el modelo aprendió con 30 m: se remuestrean al leerlos"
    )
    assert told("values_maybe_sentinel2", most=9000.0, low=0.0, high=255.0, unit="8-bit") == (
        "a: sus valores llegan a 9000 y el modelo aprendió de 0 a 255 (8-bit): se toman tal como son; vea «Valores»"
    )
    assert told("offset_assumed", input="s2-l2a", offset=-1000) == (
        "a: se leen como s2-l2a, desplazamiento -1000 (sin línea base: se toma por 04.00 o posterior)"
        "; «Desplazamiento» 0 para escenas más antiguas"
    )
    assert told("first_bands", count=2, pairs="red = 1") == (
        "a: tiene 2 bandas que no se llaman como las del modelo: se toman como red = 1; vea «Bandas»"
    )
    assert told("bad_card", reason=Message("card_gsd", {"limit": 1_000_000, "gsd": -0.5})) == (
        "a: la ficha del modelo no es válida "
        "(el tamaño de píxel debe ser mayor que 0 y de 1.000.000 metros como máximo, no -0,5)"
    )
    assert texts.words(InputFault.worded("something else")) == "something else"
    assert (texts.size(2.5e9), texts.number(0.25, ".2f")) == ("2,5 GB", "0,25")


# areas


def test_whole_layer_is_the_default(opened, desktop, scene):
    run = ran(opened, desktop)
    assert (classes_of(run) == scene[1]).all()
    assert set(run.parameters) & {"EXTENT", "MASK"} == set()


def test_map_view_is_what_is_mapped(opened, desktop, scene):
    canvas = desktop.mapCanvas()
    canvas.setDestinationCrs(desktop.layer.crs())
    canvas.resize(400, 400)
    canvas.setExtent(QgsRectangle(WEST + 300, NORTH - 300, WEST + 600, NORTH))
    opened.area.view.setChecked(True)
    settle(opened)
    wanted = canvas.extent()
    found = classes_of(ran(opened, desktop))
    assert found.shape != scene[1].shape
    assert abs(found.shape[1] - min(wanted.width() / 10, 90)) <= 2


@pytest.mark.parametrize(("only", "mapped"), [(False, 800), (True, 400)])
def test_polygons_all_or_selected_are_mapped(opened, desktop, only, mapped):
    squares(selected=1)
    opened.area.inside.setChecked(True)
    opened.area.selected.setChecked(only)
    settle(opened)
    assert (classes_of(ran(opened, desktop)) != NODATA).sum() == mapped


# runs


def test_results_arrive_in_a_group_with_the_map_active_and_a_page(running, opened, desktop):
    opened.options.results["CONFIDENCE"].setChecked(True)
    opened.options.results["POLYGONS"].setChecked(True)
    settle(opened)
    run = ran(opened, desktop)
    (group,) = QgsProject.instance().layerTreeRoot().findGroups()
    assert group.name().startswith("GeoAware: tiny colours")
    assert [one.name() for one in group.findLayers()] == ["scene: confidence", "scene: polygons", "scene: land cover"]
    assert desktop.activeLayer().name() == "scene: land cover"
    assert desktop.messages[-1][0] == Qgis.MessageLevel.Success
    running.desk.open_page(run)
    page = running.desk.pages[run]
    until(lambda: "data:image/png" in page.html)
    for told in ("red land", "qgis_process run geoaware:segment", "python -m export.predict", "scene.tif"):
        assert told in page.html
    shares = [area.percent for area in page._areas]
    assert sum(shares) == pytest.approx(100)
    page.reject()
    until(lambda: run not in running.desk.pages)


def test_message_with_the_result_page_lies_above_qgis_own(opened, desktop):
    def notify(_, status):  # as QGIS does after a long task where the desktop shows no notifications
        if status == QgsTask.TaskStatus.Complete:
            desktop.bar.pushInfo("Task complete", "")

    changed = QgsApplication.taskManager().statusChanged
    changed.connect(notify)
    opened.run_button.click()
    until(lambda: len(desktop.messages) == 2)
    changed.disconnect(notify)
    assert desktop.messages[-1][1].endswith(" is ready.")


@pytest.mark.skipif(Qgis.QGIS_VERSION_INT < 32400, reason="older QGIS keeps its history as lines of Python")
def test_history_of_processing_can_repeat_the_run(opened, desktop, tmp_path):
    from qgis.gui import QgsGui

    opened.options.file.setFilePath(str(tmp_path / "map.tif"))
    settle(opened)
    ran(opened, desktop)
    entry = QgsGui.historyProviderRegistry().queryEntries(providerId="processing")[-1].entry
    assert entry["algorithm_id"] == "geoaware:segment"
    assert entry["process_command"].startswith("qgis_process run geoaware:segment ")
    assert str(tmp_path / "map.tif") in entry["process_command"]


def test_class_and_confidence_are_read_with_a_click(running, opened, desktop, scene):
    opened.options.results["CONFIDENCE"].setChecked(True)
    settle(opened)
    ran(opened, desktop)
    canvas = desktop.mapCanvas()
    canvas.setDestinationCrs(desktop.layer.crs())
    canvas.setLayers(list(QgsProject.instance().mapLayers().values()))
    assert scene[1][5, 15] == RED
    assert running.class_tool.text_at(QgsPointXY(WEST + 155, NORTH - 55)) == "scene: land cover: red land (100 %)"
    assert running.class_tool.text_at(QgsPointXY(WEST - 999, NORTH)) == "There is no GeoAware map here."


def test_second_run_waits_for_the_first(busy, desktop):
    busy.run_button.click()
    busy.tabs.setCurrentIndex(0)
    busy.run_button.click()
    first, second = busy.runs.all
    assert (first.state, second.state) == ("running", "waiting")
    until(lambda: first.over)
    until(lambda: second.over)
    assert (first.state, second.state) == ("done", "done")
    assert first.outputs["OUTPUT"] != second.outputs["OUTPUT"]
    assert (classes_of(first) == classes_of(second)).all()


def test_cancel_ends_within_a_batch_and_the_next_run_is_whole(busy, desktop):
    busy.run_button.click()
    (run,) = busy.runs.all
    until(lambda: run.progress > 3)
    busy.runs_view.cancel_button.click()
    at = run.progress
    until(lambda: run.over)
    assert run.state == "cancelled"
    assert run.progress < at + 3
    assert run.outputs == {}
    until(lambda: desktop.messages)
    assert desktop.messages[-1][1].endswith("cancelled.")
    assert (classes_of(ran(busy, desktop)) == RED).all()


def test_waiting_run_can_be_cancelled(busy):
    for _ in range(2):
        busy.tabs.setCurrentIndex(0)
        busy.run_button.click()
    first, second = busy.runs.all
    assert busy.runs_view.current is second
    busy.runs_view.cancel_button.click()
    assert (first.state, second.state) == ("running", "cancelled")
    first.cancel()
    until(lambda: first.over)


@pytest.mark.parametrize("gone", ["layer", "project"])
def test_run_ends_well_when_its_layer_goes(busy, desktop, gone):
    busy.run_button.click()
    (run,) = busy.runs.all
    until(lambda: run.progress > 1)
    desktop.layer = None
    if gone == "layer":
        QgsProject.instance().removeAllMapLayers()
    else:
        QgsProject.instance().clear()
    until(lambda: run.over and desktop.messages)
    assert run.state == "done"
    assert (classes_of(run) == RED).all()
    loaded = len(QgsProject.instance().mapLayers())
    assert loaded == (1 if gone == "layer" else 0)
    assert ("project was closed" in desktop.messages[-1][1]) == (gone == "project")


def test_unload_ends_runs_and_leaves_nothing(running, busy, desktop, models, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    busy.options.file.setFilePath(str(results / "map.tif"))
    settle(busy)
    running.desk.open_library()
    running.desk.open_help()
    busy.run_button.click()
    (run,) = busy.runs.all
    until(lambda: run.progress > 1)
    running.unload()
    until(lambda: QgsApplication.taskManager().countActiveTasks() == 0)
    QTest.qWait(50)
    assert run.state == "cancelled"
    assert list(results.iterdir()) == []
    assert [path.name for path in models.iterdir()] == ["colours.onnx"]
    left = [child for child in desktop.mainWindow().children() if type(child).__module__.startswith("geoaware")]
    assert left == []
    assert desktop.mainWindow().findChildren(QAction, "geoawareMap") == []
    assert (desktop.toolbar, desktop.raster_menu, desktop.layer_menu) == ([], [], [])


# what goes wrong


def test_failed_run_is_one_sentence_in_the_message_bar(busy, desktop, tmp_path):
    path = tmp_path / "large.tif"
    path.write_bytes(path.read_bytes()[:3_000_000])  # after the first look: the disk went bad
    run = ran(busy, desktop, "failed")
    level, said = desktop.messages[-1]
    assert level == Qgis.MessageLevel.Critical
    assert "corrupt or truncated file" in said
    assert "Traceback" not in said
    assert "\n" not in said
    assert run.outputs == {}
    assert len(QgsProject.instance().mapLayers()) == 1


def test_model_that_is_gone_is_said_in_the_dialog(opened, models):
    (models / "colours.onnx").unlink()
    opened.run_button.click()
    (said,) = opened.fit.texts()
    assert "colours.onnx" in said
    assert opened.runs.all == []


def test_hostile_model_is_refused_before_a_session_is_made(running, opened, models, model, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", None)  # whoever makes one fails otherwise than by our words
    hostile = onnx.load(str(model))
    hostile.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    hostile.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")
    path = model.with_name("hostile.onnx")
    path.write_bytes(hostile.SerializeToString())
    running.desk.open_library()
    window = running.desk.library
    window._busy(True)
    window.fetching.add_file(path, "")
    until(lambda: not window.fetching.busy)
    assert "its weights are in another file; bring them into one file outside QGIS" in window.message.text()
    assert "python -m export.to_onnx --onefile hostile.onnx" in window.message.text()
    assert [one.name for one in models.iterdir()] == ["colours.onnx"]
    assert window.add_button.isEnabled()


def test_checksum_of_a_model_is_shown(running, opened, models):
    running.desk.open_library()
    window = running.desk.library
    assert window.entry.path == opened.entry.path  # not the first of the list
    window.checksum_button.click()
    until(lambda: window.message.text())
    assert window.message.text() == f"SHA-256: {hashlib.sha256((models / 'colours.onnx').read_bytes()).hexdigest()}"


def test_enter_in_the_address_does_not_close_the_library(running, opened):
    running.desk.open_library()
    window = running.desk.library
    QTest.keyClicks(window.address, "https://example.org/m.onnx")
    QTest.keyClick(window.address, 0x01000004)  # Qt's Return
    assert window.isVisible()
    assert window.message.text().startswith("Enter the SHA-256 checksum")


def test_texts_of_the_install_page_do_not_overlap(running):
    from geoaware.ui.install import InstallWindow

    window = InstallWindow("It is missing.")
    window.show()
    for text in ("Collecting onnxruntime", "x " * 500):
        window.output.appendPlainText(text)
    QTest.qWait(20)
    layout = window.layout()
    parts = [layout.itemAt(row).geometry() for row in range(layout.count())]
    assert all(upper.bottom() < lower.top() for upper, lower in zip(parts, parts[1:]))
    assert window.label.height() >= window.label.heightForWidth(window.label.width())
    window.reject()


def test_an_installation_that_cannot_be_put_in_place_leaves_the_older_one(running, tmp_path, monkeypatch):
    from geoaware import onnxruntime_help
    from geoaware.ui.install import Installing

    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "older.txt").write_text("works")
    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: folder)
    installing = Installing()
    installing._hidden = tmp_path / "never-filled"
    assert "restart QGIS" in installing._take_over()
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]
    assert (folder / "older.txt").read_text() == "works"

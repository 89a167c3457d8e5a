"""The plugin starts, offers its action where users look for it, and leaves nothing behind."""

from __future__ import annotations

import builtins
import sys
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QEvent
from qgis.PyQt.QtGui import QHelpEvent
from qgis.PyQt.QtWidgets import QApplication, QDialog, QLineEdit

from tests.qgis import rasters


def registry():
    return QgsApplication.processingRegistry()


def test_algorithm_appears_in_the_toolbox(running):
    found = registry().algorithmById("geoaware:segment")
    assert found.displayName() == "Segment raster layer"
    assert "pixel" in found.shortHelpString()
    assert not found.icon().isNull()


def test_qgis_process_needs_no_window(geoaware):
    plugin = geoaware.classFactory(None)
    plugin.initProcessing()
    assert registry().providerById("geoaware") is not None
    plugin.unload()
    assert registry().providerById("geoaware") is None


def test_action_stands_in_toolbar_raster_menu_and_layer_menu(running, desktop):
    (action,) = desktop.toolbar
    assert desktop.raster_menu == [("GeoAware", action)]
    assert [entry[0] for entry in desktop.layer_menu] == [action]
    assert desktop.layer_menu[0][1] == QgsRasterLayer().type()
    assert not action.icon().isNull()


def test_unload_removes_everything(geoaware, desktop):
    plugin = geoaware.classFactory(desktop)
    plugin.initGui()
    plugin.unload()
    assert (desktop.toolbar, desktop.raster_menu, desktop.layer_menu) == ([], [], [])
    assert registry().providerById("geoaware") is None
    viewport = desktop.mapCanvas().viewport()
    help_event = QHelpEvent(QEvent.Type.ToolTip, viewport.rect().center(), viewport.rect().center())
    with mock.patch.object(desktop, "activeLayer", side_effect=AssertionError("still listening")):
        QApplication.sendEvent(viewport, help_event)


def test_plugin_starts_again_after_unload(geoaware, desktop):
    plugin = geoaware.classFactory(desktop)
    for _ in range(2):
        plugin.initGui()
        assert registry().algorithmById("geoaware:segment") is not None
        plugin.unload()


@pytest.mark.parametrize("layer", [None, "vector"])
def test_button_without_a_raster_layer_says_what_to_do(running, desktop, layer):
    desktop.layer = QgsVectorLayer("Point?crs=epsg:4326", "points", "memory") if layer else None
    desktop.toolbar[0].trigger()
    assert desktop.messages == ["Select a raster layer in the Layers panel first."]


def test_button_opens_the_dialog_with_layer_and_last_model(running, desktop, model, tmp_path):
    from geoaware.algorithms.run_model import LAST_MODEL
    from qgis.core import QgsSettings

    QgsSettings().setValue(LAST_MODEL, str(model))
    path = rasters.write(tmp_path / "a.tif", np.ones((3, 8, 8), np.uint8))
    desktop.layer = QgsRasterLayer(str(path), "a")
    QgsProject.instance().addMapLayer(desktop.layer)
    import processing

    dialog = mock.Mock()
    with mock.patch.object(processing, "createAlgorithmDialog", return_value=dialog) as create:
        desktop.toolbar[0].trigger()
    create.assert_called_once_with("geoaware:segment", {"INPUT": desktop.layer.id(), "MODEL": str(model)})
    dialog.show.assert_called_once_with()


@pytest.fixture
def without_onnxruntime():
    """Python as it is in a fresh QGIS."""
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.split(".")[0] == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
        return real(name, *rest, **named)

    hidden = {name: None for name in sys.modules if name.split(".")[0] == "onnxruntime"}
    with (
        mock.patch.dict(sys.modules, {**hidden, "onnxruntime": None}),
        mock.patch.object(builtins, "__import__", refuse),
    ):
        yield


def test_missing_onnxruntime_is_explained_in_a_dialog(running, desktop, without_onnxruntime, tmp_path):
    desktop.layer = QgsRasterLayer(str(rasters.write(tmp_path / "a.tif", np.ones((3, 8, 8), np.uint8))), "a")
    seen = []

    def read(dialog):
        seen.append((dialog.findChildren(QLineEdit)[0].text(), [b.text() for b in dialog.findChildren(QDialog)]))
        next(
            b for b in dialog.findChildren(type(dialog.layout().itemAt(2).widget()))[0].buttons() if "Copy" in b.text()
        ).click()

    with mock.patch.object(QDialog, "exec", read):
        desktop.toolbar[0].trigger()
    command = seen[0][0]
    assert command.startswith("python3 -m pip install --target ")
    assert "geoaware_packages" in command
    assert command.endswith('"onnxruntime>=1.24.1"')
    assert QApplication.clipboard().text() == command


def test_missing_onnxruntime_is_explained_before_a_run(running, without_onnxruntime):
    from geoaware import onnxruntime_help

    reason = onnxruntime_help.problem()
    assert reason == "The Python package onnxruntime is not installed."
    assert onnxruntime_help.install_command() in onnxruntime_help.sentence(reason)


@pytest.mark.parametrize("version", ["1.17.0", "1.23.2"])
def test_unsafe_onnxruntime_is_refused(running, version):
    from geoaware import onnxruntime_help

    with mock.patch.dict(sys.modules, {"onnxruntime": mock.Mock(__version__=version)}):
        assert f"onnxruntime {version} is too old" in onnxruntime_help.problem()


def test_python_without_wheels_is_told_so_instead_of_a_command(running):
    from geoaware import onnxruntime_help

    with mock.patch.object(onnxruntime_help, "OLDEST_PYTHON", (99, 0)):
        text = onnxruntime_help.sentence("It is missing.")
    assert "use a newer QGIS" in text
    assert "pip" not in text


def test_packages_folder_of_the_profile_is_found_but_comes_last(running, tmp_path, monkeypatch):
    from geoaware import onnxruntime_help

    folder = tmp_path / "geoaware_packages"
    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    onnxruntime_help.add_packages_folder()
    assert str(folder) not in sys.path
    folder.mkdir()
    onnxruntime_help.add_packages_folder()
    onnxruntime_help.add_packages_folder()
    assert sys.path[-1] == str(folder)
    assert sys.path.count(str(folder)) == 1

"""The plugin starts, offers its action where users look for it, and leaves nothing behind."""

from __future__ import annotations

import builtins
import importlib.util
import sys
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsApplication, QgsRasterLayer
from qgis.PyQt.QtCore import QEvent
from qgis.PyQt.QtGui import QHelpEvent
from qgis.PyQt.QtWidgets import QApplication

ROOT = Path(__file__).resolve().parents[2]


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


def test_every_module_can_be_imported_from_the_checkout():
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "qgis_plugin").rglob("*.py")]
    assert len(paths) > 30
    for path in paths:
        assert importlib.import_module(".".join(path.parts))
    assert sys.modules["qgis_plugin.runtime"].__file__.startswith(str(ROOT))


def test_action_stands_in_toolbar_raster_menu_and_layer_menu(running, desktop):
    action, labels, identify, curve = desktop.toolbar
    assert desktop.raster_menu[:4] == [("GeoAware", one) for one in (action, labels, identify, curve)]
    assert [entry[0] for entry in desktop.layer_menu] == [action, labels]
    assert {entry[1] for entry in desktop.layer_menu} == {QgsRasterLayer().type()}
    assert not any(one.icon().isNull() for one in desktop.toolbar)


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


def test_missing_onnxruntime_is_explained_and_nothing_is_installed_without_a_click(
    running, desktop, without_onnxruntime, monkeypatch, tmp_path
):
    from geoaware import onnxruntime_help
    from geoaware.ui.install import InstallWindow

    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: tmp_path / "geoaware_packages")
    seen = []

    def read(window):
        window.copy_button.click()
        seen.append((window.label.text(), window.line.text()))
        window.reject()

    with (
        mock.patch.object(InstallWindow, "exec", read),
        mock.patch.object(importlib.util, "find_spec", return_value=None),
    ):
        desktop.toolbar[0].trigger()
    ((about, command),) = seen
    assert "The Python package onnxruntime is not installed." in about
    assert str(tmp_path / "geoaware_packages") in about
    assert command.startswith(f'python3 -m pip install --upgrade --no-deps --target "{tmp_path}')
    assert command.endswith('"onnxruntime>=1.24.1" "openvino>=2025.4"')
    assert QApplication.clipboard().text() == command
    assert running.desk.dialog is None
    assert list(tmp_path.iterdir()) == []


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


def test_pip_fetches_a_wheel_for_the_python_of_qgis(running, tmp_path):
    from geoaware.ui.install import pip_arguments, python_of_qgis

    assert python_of_qgis().is_file()
    command = pip_arguments(tmp_path, tmp_path / "wheels")
    assert command[command.index("--python-version") + 1] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert {"--no-deps", "--no-index", "--only-binary=:all:"} <= set(command)
    assert command[command.index("--target") + 1] == str(tmp_path)


def test_packages_folder_of_the_profile_is_found_before_all_others(running, tmp_path, monkeypatch):
    from geoaware import onnxruntime_help

    folder = tmp_path / "geoaware_packages"
    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    onnxruntime_help.add_packages_folder()
    assert str(folder) not in sys.path
    folder.mkdir()
    onnxruntime_help.add_packages_folder()
    onnxruntime_help.add_packages_folder()
    assert sys.path[0] == str(folder)
    assert sys.path.count(str(folder)) == 1

"""The page of what runs models: it lists, measures, cancels and installs, with and without onnxruntime."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsApplication
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLabel, QPushButton

from tests.qgis.test_lifecycle import without_onnxruntime  # noqa: F401
from tests.qgis.test_ui import models, opened, until  # noqa: F401
from tests.qgis.test_ui_onnxruntime import put

CPU = "CPUExecutionProvider"
PLUGIN = "onnxruntime_ep_webgpu"


@pytest.fixture
def page(running, models, model, monkeypatch):  # noqa: F811
    """The page with one model, once it knows what there is; measurements are short."""
    from geoaware.runtime.infer.timing import speed

    monkeypatch.setattr(speed, "SECONDS", 0.05)
    shutil.copy(model, models)
    return listed(running)


def listed(running):
    running.desk.open_devices()
    page = running.desk.devices
    until(lambda: page._looking is None)
    return page


def cells(page) -> list[list[str]]:
    rows = [page.list.topLevelItem(at) for at in range(page.list.topLevelItemCount())]
    return [[row.text(column) for column in range(5)] for row in rows]


def offered(page) -> dict[str, QPushButton]:
    """The buttons that install, by the package."""
    rows = [[page._rows.itemAtPosition(row, at) for at in (1, 3)] for row in range(page._rows.rowCount())]
    return {name.widget().text(): click.widget() for name, click in rows if name and isinstance(name.widget(), QLabel)}


def test_page_stands_in_the_menu_and_in_the_run_window(running, desktop, models, opened):  # noqa: F811
    shutil.copy(opened.entry.path, models / "a.onnx")
    opened.fill_models()
    opened.models.setCurrentIndex(1)
    (action,) = [one for _, one in desktop.raster_menu if one.text() == "Devices…"]
    opened.devices_button.click()
    page = running.desk.devices
    assert page.isVisible()
    assert page.models.currentData() == opened.entry.path
    page.reject()
    opened.models.setCurrentIndex(0)
    action.trigger()
    assert page.isVisible()
    assert page.models.currentData() == opened.entry.path
    until(lambda: page._looking is None)


def test_page_lists_what_the_command_lists(page):
    from geoaware.runtime.model.devices.packages import installable
    from geoaware.runtime.model.providers import available, provider_of

    rows = cells(page)
    assert page.about.text().startswith("Processor: ")
    assert rows[0][0] == CPU
    assert rows[0][2].startswith("onnxruntime 1.")
    assert {provider_of(row[0])[0] for row in rows} == set(available())
    assert list(offered(page)) == [one.name for one in installable()]
    assert page.message.text() == ""


def test_model_is_measured_on_every_provider_in_the_background(page):
    page.measure_button.click()
    assert page.message.text().startswith("Measuring…")
    assert not page.measure_button.isEnabled()
    until(lambda: page._measuring is None)
    for row in cells(page):
        assert float(row[3].replace(",", "")) > 0
        assert row[4].endswith(" x")
    assert cells(page)[0][4] == "1.0 x"
    assert page.message.text() == ""
    assert page.measure_button.isEnabled()


def test_measuring_is_cancelled_by_a_click_another_model_or_closing(page, models, model, monkeypatch):  # noqa: F811
    from geoaware.runtime.infer.timing import speed

    monkeypatch.setattr(speed, "SECONDS", 60.0)
    shutil.copy(model, models / "other.onnx")
    page.fill_models()
    tasks = QgsApplication.taskManager()
    for stop in (
        page.cancel_button.click,
        lambda: page.models.setCurrentIndex(1 - page.models.currentIndex()),
        page.reject,
    ):
        page.measure_button.click()
        until(lambda: tasks.countActiveTasks() == 1)
        QTest.qWait(100)
        stop()
        assert page._measuring is None
        assert {row[3] for row in cells(page)} == {""}
        until(lambda: tasks.countActiveTasks() == 0, 5)
    assert page.measure_button.isEnabled()


def test_unloading_while_it_measures_leaves_nothing(running, page, monkeypatch):
    page.measure_button.click()
    QTest.qWait(50)
    running.unload()
    assert running.desk is None
    until(lambda: QgsApplication.taskManager().countActiveTasks() == 0)


def test_provider_that_fails_is_named_with_its_reason(page, monkeypatch):
    from geoaware.runtime.errors import ModelFault
    from geoaware.runtime.model import session

    def refuse(*_):
        raise ModelFault("openvino_failed", where="", reason="no luck")

    if len(cells(page)) == 1:
        pytest.skip("nothing but onnxruntime is installed here")
    monkeypatch.setattr(session, "OpenVinoSession", refuse)
    page.measure_button.click()
    until(lambda: page._measuring is None)
    assert [row[3] for row in cells(page)][1:] == ["fails"] * (len(cells(page)) - 1)
    assert "OpenVINO: OpenVINO failed: no luck" in page.message.text()


def test_page_opens_without_onnxruntime_and_offers_it(
    running,
    models,  # noqa: F811
    model,
    without_onnxruntime,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    from geoaware import onnxruntime_help
    from geoaware.ui.install import InstallWindow

    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: tmp_path / "geoaware_packages")
    shutil.copy(model, models)
    page = listed(running)
    assert page.message.text() == "The Python package onnxruntime is not installed."
    assert not any(row[0].startswith(CPU) for row in cells(page))
    assert not page.measure_button.isEnabled()
    clicks = offered(page)
    assert [name for name, click in clicks.items() if click.isEnabled()] == ["onnxruntime"]
    seen: list[str] = []
    monkeypatch.setattr(InstallWindow, "exec", lambda window: seen.append(window.line.text()) or 0)
    clicks["onnxruntime"].click()
    assert seen[0].endswith('"onnxruntime>=1.24.1" "openvino>=2025.4"')
    until(lambda: page._looking is None)


def test_a_package_is_installed_from_a_folder_beside_the_others(page, monkeypatch, tmp_path):
    """A click, a folder of wheels, and the page lists what it brought."""
    from geoaware import onnxruntime_help
    from geoaware.runtime.model.devices import plugins
    from geoaware.ui import install

    monkeypatch.setattr(plugins, "_found", None)  # both belong to the process
    monkeypatch.setattr(plugins, "_asked", {})
    folder, wheels = tmp_path / "geoaware_packages", tmp_path / "wheels"
    put(folder, "1.24.1", "")
    wheels.mkdir()
    (wheels / "pip.py").write_text(FAKE_PIP)
    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("PYTHONPATH", str(wheels))  # where "-m pip" finds a stand-in
    monkeypatch.setattr(onnxruntime_help, "add_packages_folder", lambda: None)

    def by_hand(window):
        assert "about 7 MB" in window.label.text()
        assert "onnxruntime-ep-webgpu" in window.line.text()
        window._start(wheels)
        until(lambda: not window.bar.isVisible() and window.installing._process is None)
        return window.result()

    monkeypatch.setattr(install.InstallWindow, "exec", by_hand)
    offered(page)["onnxruntime-ep-webgpu"].click()
    until(lambda: page._looking is None)
    assert {path.name for path in folder.iterdir()} >= {"onnxruntime", PLUGIN, f"{PLUGIN}-0.4.0.dist-info"}
    assert page.idle.text().startswith("onnxruntime-ep-webgpu 0.4.0: does not load: ")
    assert "onnxruntime-ep-webgpu" not in offered(page)


FAKE_PIP = f"""
import pathlib, sys
arguments = sys.argv[1:]
assert arguments[0] == "install" and arguments[-1] == "onnxruntime-ep-webgpu" and "--no-index" in arguments
target = pathlib.Path(arguments[arguments.index("--target") + 1])
(target / "{PLUGIN}").mkdir()
(target / "{PLUGIN}" / "__init__.py").write_text("def get_library_path():\\n    return '/none.so'\\n")
(target / "{PLUGIN}-0.4.0.dist-info").mkdir()
(target / "{PLUGIN}-0.4.0.dist-info" / "METADATA").write_text("Name: onnxruntime-ep-webgpu\\nVersion: 0.4.0\\n")
print("Successfully installed")
"""


def test_newer_version_takes_the_place_of_the_older_one_and_others_stay(running, monkeypatch, tmp_path):
    from geoaware import onnxruntime_help
    from geoaware.ui.install import Installing

    folder, hidden = tmp_path / "geoaware_packages", tmp_path / "hidden"
    put(folder, "1.24.1", "__version__ = '1.24.1'")
    (folder / PLUGIN).mkdir()
    put(hidden, "1.31.0", "__version__ = '1.31.0'")
    monkeypatch.setattr(onnxruntime_help, "packages_folder", lambda: folder)
    monkeypatch.setattr(onnxruntime_help, "is_loaded", lambda: False)
    monkeypatch.setattr(onnxruntime_help, "problem", lambda: "")
    installing = Installing()
    installing._hidden = hidden
    assert installing._take_over() == ""
    assert sorted(path.name for path in folder.iterdir()) == ["onnxruntime", "onnxruntime-1.31.0.dist-info", PLUGIN]
    assert "1.31.0" in (folder / "onnxruntime/__init__.py").read_text()


def test_page_speaks_spanish(running, models, model, monkeypatch):  # noqa: F811
    from geoaware import texts

    monkeypatch.setattr(texts, "language", lambda: "es")
    page = listed(running)
    assert page.measure_button.text() == "Medir"
    assert [page.list.headerItem().text(at) for at in range(3)] == ["Proveedor de ejecución", "Dispositivo", "Paquete"]


def test_plugin_that_only_has_a_cpu_is_listed_and_not_measured(page):
    from geoaware.runtime.model.providers import Library, Provider

    found = page.found
    library = Library("onnxruntime-ep-openvino", "1.8.1", (Provider("OpenVINOExecutionProvider", "Intel CPU", ()),))
    page._fill_list(SimpleNamespace(libraries=[*found.libraries, library]))
    assert page.idle.text() == "onnxruntime-ep-openvino 1.8.1: Intel CPU is not tried, a CPU only"
    assert "OpenVINOExecutionProvider" not in page._runners()

"""Builds the plugin's zip, unpacks it and loads the package from there: what is tested is what ships."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
import traceback
import zipfile
from pathlib import Path

import numpy as np
import pytest

try:
    from qgis.core import QgsLayerTreeModel, QgsProject
    from qgis.gui import QgsLayerTreeView, QgsMessageBar, QgsMessageBarItem
    from qgis.PyQt import sip
    from qgis.PyQt.QtWidgets import QAction
except ImportError:  # every module says so and is skipped
    sip = QgsMessageBar = QgsMessageBarItem = None
pytest.importorskip("onnx", reason="the tests make their tiny models with the onnx package")
from export import plugin
from tests.models import write_strongest_band

ROOT = Path(__file__).resolve().parents[2]
NODATA = 255
RED, GREEN, BLUE = 3, 7, 12  # class values of the tiny model: the band with the highest value


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where there is no QGIS every module is skipped with its reason, which pytest calls an error."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and importlib.util.find_spec("qgis") is None:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def plugins_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a profile's ``python/plugins``, with the unpacked plugin in it."""
    folder = tmp_path_factory.mktemp("plugins")
    with zipfile.ZipFile(plugin.build(tmp_path_factory.mktemp("dist"))) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def geoaware(plugins_folder: Path):
    """The plugin's package."""
    sys.path.insert(0, str(plugins_folder))
    package = importlib.import_module("geoaware")
    assert Path(package.__file__).parent.parent == plugins_folder
    return package


@pytest.fixture(autouse=True)
def no_traceback_windows(monkeypatch: pytest.MonkeyPatch):
    """Errors in slots, for which QGIS would open a window with a traceback, fail the test."""
    seen: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: seen.append("".join(traceback.format_exception(*error))))
    yield
    assert seen == [], "\n".join(seen)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What trials of providers find is kept apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "colours.onnx")


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """(3, 70, 90) pixels whose strongest band changes from block to block, and the classes to expect.

    The first 10 columns are 0 in all bands: no data.
    """
    strongest = np.add.outer(np.arange(70) // 16, np.arange(90) // 20) % 3
    pixels = np.full((3, 70, 90), 40, np.uint8)
    np.put_along_axis(pixels, strongest[None], 200, axis=0)
    pixels[:, :, :10] = 0
    classes = np.array([RED, GREEN, BLUE], np.uint8)[strongest]
    classes[:, :10] = NODATA
    return pixels, classes


class Desktop:
    """Stands in for QGIS's window: keeps what a plugin adds, and a real canvas and main window."""

    def __init__(self, iface) -> None:
        self.mainWindow, self.mapCanvas, self.layerTreeView = iface.mainWindow, iface.mapCanvas, iface.layerTreeView
        self.toolbar, self.raster_menu, self.layer_menu = [], [], []
        self.docks, self.layer = [], None
        self.map_tips_action = QAction()
        self.map_tips_action.setCheckable(True)
        self.bar = QgsMessageBar()
        self.messages: list[tuple[int, str]] = []  # level and sentence
        self.bar.widgetAdded.connect(self._keep)

    def addDockWidget(self, area, dock):
        self.docks.append(dock)

    def removeDockWidget(self, dock):
        self.docks.remove(dock)

    def activeLayer(self):
        return self.layer

    def setActiveLayer(self, layer):
        self.layer = layer

    def actionMapTips(self):
        return self.map_tips_action

    def addToolBarIcon(self, action):
        self.toolbar.append(action)

    def removeToolBarIcon(self, action):
        self.toolbar.remove(action)

    def addPluginToRasterMenu(self, name, action):
        self.raster_menu.append((name, action))

    def removePluginRasterMenu(self, name, action):
        self.raster_menu.remove((name, action))

    def addCustomActionForLayerType(self, action, menu, kind, all_layers):
        assert all_layers
        self.layer_menu.append((action, kind))

    def removeCustomActionForLayerType(self, action):
        self.layer_menu = [entry for entry in self.layer_menu if entry[0] is not action]

    def messageBar(self):
        return self.bar

    def _keep(self, widget):
        item = sip.cast(widget, QgsMessageBarItem)  # those that QGIS makes itself come as bare widgets
        self.messages.append((int(item.level()), item.text()))


@pytest.fixture(scope="session")
def layer_tree(qgis_app) -> QgsLayerTreeView:
    """A real tree of layers, which folds long legends as in QGIS Desktop; newer QGIS refuses a stand-in."""
    tree = QgsLayerTreeView()
    model = QgsLayerTreeModel(QgsProject.instance().layerTreeRoot(), tree)
    model.setAutoCollapseLegendNodes(10)
    tree.setModel(model)
    return tree


@pytest.fixture
def desktop(qgis_iface, qgis_new_project, qgis_processing, layer_tree) -> Desktop:
    qgis_iface.layerTreeView = lambda: layer_tree
    return Desktop(qgis_iface)


@pytest.fixture(autouse=True)
def collected():
    """Cycles of wrappers go while the application and what they belong to are still there, not at any later moment."""
    yield
    gc.collect()


@pytest.fixture
def running(geoaware, desktop, monkeypatch):
    """The plugin, started as QGIS Desktop starts it; the load of this computer does not decide what runs a model."""
    monkeypatch.setattr("geoaware.runtime.infer.timing.trial.WORTH", 10**9)
    started = geoaware.classFactory(desktop)
    started.initGui()
    yield started
    started.unload()

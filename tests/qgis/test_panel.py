"""The panel, as an analyst uses it: real mouse and keys on a canvas; the labels are read back from the file on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsPointXY
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLineEdit

from tests.qgis import rasters
from tests.qgis.test_ui import shown

WEST, NORTH = rasters.TRANSFORM[0], rasters.TRANSFORM[3]
LEFT, SHIFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def raster(scene, tmp_path):
    return shown(rasters.write(tmp_path / "scene.tif", scene[0], nodata=0))


@pytest.fixture
def profile(running, tmp_path, monkeypatch) -> Path:
    """The profile's folder of labels, empty."""
    from geoaware.ui.label_panel import labels

    monkeypatch.setattr(labels, "profile_folder", lambda: tmp_path / "profile")
    return tmp_path / "profile"


@pytest.fixture
def panel(running, desktop, raster, profile):
    """The panel on the scene, one canvas pixel to a metre."""
    canvas = desktop.mapCanvas()
    canvas.setDestinationCrs(raster.crs())
    canvas.resize(900, 700)
    canvas.setExtent(raster.extent())
    desktop.layer = raster
    running.open_panel()
    assert running.desk.panel.layer is raster
    return running.desk.panel


def at(panel, column: float, row: float) -> QPoint:
    """Place on the canvas of a place in the scene, in its pixels."""
    x, y = WEST + column * 10, NORTH - row * 10
    point = panel._canvas.getCoordinateTransform().transform(QgsPointXY(x, y))
    return QPoint(round(point.x()), round(point.y()))


def stroke(panel, *places: tuple[float, float]) -> None:
    """Press the left button, move through places, release."""
    port, points = panel._canvas.viewport(), [at(panel, *place) for place in places]
    QTest.mousePress(port, LEFT, pos=points[0])
    for point in points[1:]:
        QTest.mouseMove(port, point)
    QTest.mouseRelease(port, LEFT, pos=points[-1])


def click(widget) -> None:
    QTest.mouseClick(widget, LEFT)


def saved(path: Path) -> list[tuple[int, str, str]]:
    """Class, name and colour of each label, read by another library than the panel's."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
        return file.execute("select class, name, color from labels order by fid").fetchall()


def two_classes(panel) -> None:
    for name in ("water", "forest"):
        click(panel.classes_page.add_button)
        editor = panel.classes_page.table.findChild(QLineEdit)
        QTest.keyClicks(editor, name)
        QTest.keyClick(editor, Qt.Key.Key_Return)
        QTest.qWait(1)  # Qt takes the text in the next turn of its loop


def test_strokes_are_on_disk_at_once(panel, profile):
    two_classes(panel)
    click(panel.classes_page.modes["brush"])
    stroke(panel, (20, 20), (30, 20))
    (path,) = profile.glob("*.gpkg")
    assert path.name == "scene_labels.gpkg"
    assert [row[:2] for row in saved(path)] == [(2, "forest")]
    QTest.keyClick(panel._canvas, Qt.Key.Key_1)
    stroke(panel, (60, 40), (60, 50))
    assert [row[:2] for row in saved(path)] == [(2, "forest"), (1, "water")]
    assert panel.message.isHidden() or not panel.message.text.text()

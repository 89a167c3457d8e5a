"""The panel, as an analyst uses it: real mouse and keys on a canvas; the labels are read back from the file on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QEvent, QPoint, Qt
from qgis.PyQt.QtGui import QKeyEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QLineEdit

from tests.qgis import rasters
from tests.qgis.test_ui import shown, until

WEST, NORTH = rasters.TRANSFORM[0], rasters.TRANSFORM[3]
LEFT, SHIFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def desktop(desktop):
    """With a canvas of a known size."""
    canvas = QgsMapCanvas()
    canvas.resize(900, 700)
    canvas.show()
    desktop.mapCanvas = lambda: canvas
    return desktop


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
    canvas.setExtent(raster.extent())
    assert canvas.mapUnitsPerPixel() == pytest.approx(1, abs=0.1)
    desktop.layer = raster
    running.open_panel()
    assert running.desk.panel.layer is raster
    until(lambda: not running.desk.panel.features._reading)
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
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        return file.execute("select class, name, color from labels order by fid").fetchall()


def two_classes(panel) -> None:
    for name in ("water", "forest"):
        click(panel.classes_page.add_button)
        editor = panel.classes_page.table.findChild(QLineEdit)
        QTest.keyClicks(editor, name)
        QTest.keyClick(editor, Qt.Key.Key_Return)
        QTest.qWait(1)  # Qt takes the text in the next turn of its loop


@pytest.fixture
def painted(panel, profile) -> Path:
    """Two classes, the brush in the hand, a stroke of each; the file."""
    two_classes(panel)
    click(panel.classes_page.modes["brush"])
    stroke(panel, (20, 20), (30, 20))
    QTest.keyClick(panel._canvas, Qt.Key.Key_1)
    stroke(panel, (60, 40), (60, 50))
    (path,) = profile.glob("*.gpkg")
    return path


def shapes(path: Path) -> dict[int, list[QgsGeometry]]:
    """Polygons of each class, read from the disk."""
    layer, found = QgsVectorLayer(f"{path}|layername=labels", "again", "ogr"), {}
    for feature in layer.getFeatures():
        found.setdefault(feature["class"], []).append(feature.geometry())
    return found


def said(panel) -> str:
    return "" if panel.foot.message.isHidden() else panel.foot.message.text.text()


def place(column: float, row: float) -> QgsGeometry:
    return QgsGeometry.fromPointXY(QgsPointXY(WEST + column * 10, NORTH - row * 10))


# painting


def test_strokes_are_on_disk_at_once(painted, panel):
    assert painted.name == "scene_labels.gpkg"
    assert [row[:2] for row in saved(painted)] == [(2, "forest"), (1, "water")]
    assert {row[2] for row in saved(painted)} == {f"#{one.color}" for one in panel.store.classes}
    (forest,), (water,) = shapes(painted)[2], shapes(painted)[1]
    assert forest.contains(place(25, 20))
    assert water.contains(place(60, 45))
    assert not forest.intersects(water)
    wide = panel.tool.size * panel._canvas.mapUnitsPerPixel()
    assert forest.area() == pytest.approx(100 * wide + np.pi * wide**2 / 4, rel=0.05)
    assert said(panel) == ""


def test_labels_far_apart_are_drawn_and_strokes_need_not_wait_for_the_canvas(painted, panel):
    layer, canvas = panel.store.layer, panel._canvas
    for step in range(12):
        canvas.refresh()
        QApplication.processEvents()
        row, column = (5, 60) if step % 2 else (60, 5)
        stroke(panel, (column, row + step), (column + 4, row + step))
    boxes = [shape.boundingBox() for _, _, shape in panel.store.marks()]
    assert all(layer.extent().buffered(1).contains(box) for box in boxes)
    assert len(list(layer.getFeatures())) == len(boxes)


def test_what_is_missing_is_said(panel):
    assert said(panel) == "Add a class, then paint a few places of it."
    click(panel.classes_page.modes["brush"])
    assert said(panel) == "Add a class first."
    assert not panel.classes_page.modes["brush"].isChecked()
    two_classes(panel)
    assert said(panel) == "Paint a few places of each class."
    click(panel.classes_page.modes["brush"])
    stroke(panel, (20, 20), (30, 20))
    assert said(panel) == "Only 'forest' has labels: label a second class."


def test_labels_of_a_class_that_overlap_are_one(painted, panel):
    stroke(panel, (60, 45), (70, 45))
    assert len(shapes(painted)[1]) == 1
    stroke(panel, (80, 10), (82, 10))
    assert len(shapes(painted)[1]) == 2
    assert panel.classes_page.table.item(0, 3).text() == "2"


def test_later_strokes_win(painted, panel):
    before = shapes(painted)[2][0]
    stroke(panel, (25, 10), (25, 30))  # water, across the forest
    after = shapes(painted)
    assert not after[2][0].contains(place(25, 20))
    assert any(one.contains(place(25, 20)) for one in after[1])
    assert after[2][0].area() < 0.9 * before.area()


def test_polygon_is_drawn_corner_by_corner(painted, panel):
    click(panel.classes_page.modes["polygon"])
    port = panel._canvas.viewport()
    for corner in ((40, 10), (50, 10), (50, 20)):
        QTest.mouseClick(port, LEFT, pos=at(panel, *corner))
    QTest.mouseClick(port, Qt.MouseButton.RightButton, pos=at(panel, 40, 20))
    drawn = shapes(painted)[1][-1]
    assert drawn.area() == pytest.approx(100 * 100 / 2, rel=0.05)
    assert drawn.contains(place(48, 12))


def test_a_point_is_the_label_of_one_pixel(painted, panel):
    click(panel.classes_page.modes["point"])
    before = len(panel.store.marks())
    for column, row in ((41.1, 10.1), (45.5, 10.5), (48.9, 12.9)):
        QTest.mouseClick(panel._canvas.viewport(), LEFT, pos=at(panel, column, row))
    for (_, _, shape), (column, row) in zip(panel.store.marks()[before:], ((41, 10), (45, 10), (48, 12))):
        centres = [(x, y) for y in range(70) for x in range(90) if shape.contains(place(x + 0.5, y + 0.5))]
        assert centres in ([], [(column, row)])  # of none, the pixel is that of its middle
        middle = shape.pointOnSurface().asPoint()
        assert (int((middle.x() - WEST) // 10), int((NORTH - middle.y()) // 10)) == (column, row)


def test_eraser_takes_labels_away(painted, panel):
    click(panel.classes_page.modes["erase"])
    stroke(panel, (15, 20), (35, 20))
    assert 2 not in shapes(painted)
    assert len(shapes(painted)[1]) == 1


def test_undo_and_redo_are_on_disk_too(painted, panel):
    original = shapes(painted)[2][0].asWkt()
    stroke(panel, (25, 10), (25, 30))
    changed = shapes(painted)[2][0].asWkt()
    assert changed != original
    QTest.keyClick(panel._canvas, Qt.Key.Key_Z, CONTROL)
    assert shapes(painted)[2][0].asWkt() == original
    QTest.keyClick(panel._canvas, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert shapes(painted)[2][0].asWkt() == changed
    click(panel.classes_page.undo_button)
    assert shapes(painted)[2][0].asWkt() == original
    QTest.keyClick(panel.classes_page.table, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert shapes(painted)[2][0].asWkt() == changed
    assert not panel.classes_page.redo_button.isEnabled()


def test_undo_of_the_panel_goes_before_that_of_qgis(painted, panel):
    """QGIS has Ctrl+Z for itself: whoever accepts the question of Qt gets the key."""
    for widget in (panel._canvas, panel.classes_page.table):
        assert asked(widget).isAccepted()
    panel.choose_tool("")
    assert not asked(panel._canvas).isAccepted()


def asked(widget) -> QKeyEvent:
    """Ask a widget whether it wants Ctrl+Z before QGIS."""
    question = QKeyEvent(QEvent.Type.ShortcutOverride, Qt.Key.Key_Z, CONTROL)
    question.ignore()
    QApplication.sendEvent(widget, question)
    return question


def test_keys_choose_the_class(painted, panel):
    table = panel.classes_page.table
    QTest.keyClick(panel._canvas, Qt.Key.Key_2)
    assert table.currentRow() == 1
    QTest.keyClick(table, Qt.Key.Key_1)
    assert table.currentRow() == 0
    QTest.keyClick(panel._canvas, Qt.Key.Key_9)
    assert table.currentRow() == 0
    assert panel.tool.color.name().upper() == f"#{panel.store.classes[0].color}"


def test_brackets_change_the_size_of_the_brush(painted, panel):
    before = panel.tool.size
    QTest.keyClick(panel._canvas, Qt.Key.Key_BracketRight)
    assert panel.tool.size == panel.classes_page.size.value() > before
    panel.classes_page.size.setValue(40)
    assert panel.tool.size == 40


def test_strokes_in_another_crs_lie_where_they_were_painted(painted, panel):
    canvas, mercator = panel._canvas, QgsCoordinateReferenceSystem("EPSG:3857")
    move = QgsCoordinateTransform(panel.layer.crs(), mercator, QgsProject.instance())
    canvas.setDestinationCrs(mercator)
    canvas.setExtent(move.transformBoundingBox(panel.layer.extent()))
    spot = canvas.getCoordinateTransform().transform(move.transform(place(45, 60).asPoint()))
    spot = QPoint(round(spot.x()), round(spot.y()))
    QTest.mousePress(canvas.viewport(), LEFT, pos=spot)
    QTest.mouseRelease(canvas.viewport(), LEFT, pos=spot)
    assert any(one.contains(place(45, 60)) for one in shapes(painted)[1])


def test_places_outside_the_layer_are_refused(painted, panel):
    before, wide = saved(painted), QgsRectangle(panel.layer.extent())
    wide.scale(3)
    panel._canvas.setExtent(wide)
    stroke(panel, (-40, 20), (-30, 20))
    assert said(panel) == "That place lies outside 'scene'."
    assert saved(painted) == before
    stroke(panel, (85, 60), (110, 60))  # half of it
    (inside,) = [one for one in shapes(painted)[1] if one.contains(place(88, 60))]
    assert panel.layer.extent().contains(inside.boundingBox())


def test_places_without_coordinates_in_the_crs_of_the_layer_are_refused(painted, panel):
    before = saved(painted)
    shape = QgsGeometry.fromRect(QgsRectangle(100, 1e6, 200, 2e6))  # latitudes beyond all
    panel._try(panel.store.paint, 0, shape, QgsCoordinateReferenceSystem("EPSG:4326"))
    assert said(panel) == "That place lies outside 'scene'."
    assert saved(painted) == before


def test_closing_the_panel_lets_go_and_opening_it_again_goes_on(painted, panel, running, raster):
    panel.close()
    assert panel.layer is None
    assert panel._canvas.mapTool() is not panel.tool
    running.open_panel()
    assert panel.layer is raster
    assert [mark[0] for mark in panel.store.marks()] == [1, 2]
    stroke(panel, (20, 60), (30, 60))  # without a tool
    assert len(saved(painted)) == 2
    click(panel.classes_page.modes["brush"])
    stroke(panel, (20, 60), (30, 60))
    assert len(saved(painted)) == 3


def test_features_that_a_layer_holds_are_recognised(panel, tmp_path):
    pixels = np.random.default_rng(0).normal(size=(5, 40, 40)).astype(np.float32)
    names = tuple(f"value {number}" for number in range(1, 6))
    panel.set_layer(shown(rasters.write(tmp_path / "embedding.tif", pixels, names=names), "embedding"))
    assert panel.features.kind == "raster"
    assert "features" in panel.features.recognised.text()
    panel.set_layer(shown(tmp_path / "scene.tif"))
    assert panel.features.kind != "raster"
    assert panel.features.recognised.isHidden()


def test_no_page_is_cut_off_at_the_side(panel):
    panel.show()
    for section in panel.sections:
        section.setCollapsed(False)
    QTest.qWait(20)
    for section in panel.sections:
        area = section.parent().parent().parent()
        assert section.minimumSizeHint().width() <= area.minimumWidth()
    assert panel.widget().layout().totalMinimumSize().width() >= area.minimumWidth()


# classes


def test_a_class_name_is_there_once(painted, panel):
    panel.classes_page.table.item(1, 2).setText("Water ")
    assert said(panel) == "There is a class 'Water' already: give it another name."
    assert panel.classes_page.table.item(1, 2).text() == "forest"
    assert [row[1] for row in saved(painted)] == ["forest", "water"]


def test_name_and_colour_of_a_class_reach_its_labels(painted, panel):
    panel.classes_page.table.item(1, 2).setText("wood")
    panel.classes_page.table.recolored.emit(1, "112233")
    assert saved(painted)[0] == (2, "wood", "#112233")
    categories = panel.store.layer.renderer().categories()
    assert [one.label() for one in categories] == ["water", "wood"]
    assert categories[1].symbol().color().name() == "#112233"


def test_a_removed_class_comes_back_with_its_labels(painted, panel):
    before = saved(painted)
    click(panel.classes_page.remove_button)
    assert [row[1] for row in saved(painted)] == ["forest"]
    click(panel.classes_page.undo_button)
    assert sorted(saved(painted)) == sorted(before)


def test_labels_of_another_layer_are_taken(painted, panel):
    from geoaware.ui.label_panel.taking import TakeDialog

    layer = QgsVectorLayer("Polygon?crs=epsg:4326&field=crop:string", "fields", "memory")
    move = QgsCoordinateTransform(panel.layer.crs(), layer.crs(), QgsProject.instance())
    for column, crop in ((15, "maize"), (40, "Water"), (70, "maize"), (500, "maize"), (75, "")):
        west, north = WEST + column * 10, NORTH - 600
        shape = QgsGeometry.fromRect(QgsRectangle(west, north - 50, west + 50, north))
        shape.transform(move)
        feature = QgsFeature(layer.fields())
        feature.setGeometry(shape)
        feature["crop"] = crop or None
        layer.dataProvider().addFeatures([feature])
    symbol = QgsFillSymbol.createSimple({"color": "1,2,3,255"})
    layer.setRenderer(QgsCategorizedSymbolRenderer("crop", [QgsRendererCategory("maize", symbol, "Maize, corn")]))
    QgsProject.instance().addMapLayer(layer)
    layer.selectByExpression("$id < 5")
    dialog = TakeDialog(panel.store.layer, panel)
    assert dialog.layers.currentLayer() is layer
    assert (dialog.fields.currentField(), dialog.selected.isChecked()) == ("crop", True)
    panel.take(layer, "crop", True)
    assert said(panel) == "1 labels of 'fields' lie outside the raster layer and were left out."
    rows = saved(painted)
    assert sorted(row[1] for row in rows) == ["forest", "maize", "maize", "water", "water"]
    (maize,) = {row for row in rows if row[1] == "maize"}
    assert maize[2] == "#010203"
    assert any(one.contains(place(72, 62)) for one in shapes(painted)[maize[0]])
    click(panel.classes_page.undo_button)
    assert len(saved(painted)) == 2
    layer.selectByIds([4])
    panel.take(layer, "crop", True)
    assert said(panel) == "All labels lie outside 'scene'."


# what can go wrong


def test_a_layer_without_crs_is_refused(panel, tmp_path):
    bare = shown(rasters.write(tmp_path / "bare.tif", np.full((3, 20, 20), 9, np.uint8), epsg=None), "bare")
    bare.setCrs(QgsCoordinateReferenceSystem())
    panel.set_layer(bare)
    assert said(panel) == "The layer 'bare' has no CRS: set it with Layer > Set CRS of Layer."
    assert panel.layer is None
    click(panel.classes_page.add_button)
    assert said(panel) == "Choose a raster layer first."


def test_a_removed_layer_leaves_its_labels(painted, panel):
    before = saved(painted)
    QgsProject.instance().removeMapLayer(panel.layer)
    QTest.qWait(5)
    assert said(panel) == f"'scene' was removed from the project; its labels are in {painted}."
    assert panel.layer is None
    assert panel.layers.currentLayer() is None
    assert panel._canvas.mapTool() is not panel.tool
    assert saved(painted) == before


def test_a_removed_label_layer_comes_back_with_the_next_stroke(painted, panel):
    QgsProject.instance().removeMapLayer(panel.store.layer)
    assert said(panel) == f"The label layer was removed; its labels are in {painted} and come back with the next one."
    stroke(panel, (20, 60), (30, 60))
    assert len(saved(painted)) == 3
    assert panel.store.layer in QgsProject.instance().mapLayers().values()
    assert panel.store.layer.featureCount() == 3


def test_labels_come_back_with_project_and_layer(painted, panel, tmp_path, scene):
    QgsProject.instance().write(str(tmp_path / "work.qgs"))
    classes = panel.store.classes
    QgsProject.instance().clear()
    assert panel.layer is None
    assert said(panel) == "Choose a raster layer."
    QgsProject.instance().read(str(tmp_path / "work.qgs"))
    assert panel.layer.name() == "scene"
    assert (panel.store.path, panel.store.classes) == (painted, classes)
    assert len(QgsProject.instance().mapLayersByName("scene: labels")) == 1
    # without the project, by the source of the layer
    QgsProject.instance().clear()
    panel.set_layer(shown(tmp_path / "scene.tif"))
    assert panel.store.path == painted
    assert [row[0] for row in panel.store.marks()] == [1, 2]
    # another layer of that name has labels of its own
    panel.set_layer(shown(rasters.write(tmp_path / "other.tif", scene[0])))
    assert panel.store.classes == ()
    panel.store.add_class("water")
    assert panel.store.path.name == "scene_labels_2.gpkg"


def test_labels_lie_beside_a_saved_project(panel, tmp_path):
    (tmp_path / "work").mkdir()
    QgsProject.instance().write(str(tmp_path / "work" / "work.qgs"))
    two_classes(panel)
    assert panel.store.path == tmp_path / "work" / "scene_labels.gpkg"


def test_a_folder_that_cannot_be_written_to_is_named(panel, tmp_path, monkeypatch):
    from geoaware.ui.label_panel import labels

    (tmp_path / "taken").write_text("")
    monkeypatch.setattr(labels, "profile_folder", lambda: tmp_path / "taken" / "labels")
    click(panel.classes_page.add_button)
    assert said(panel).startswith(f"{tmp_path / 'taken' / 'labels' / 'scene_labels.gpkg'}: cannot be written (")
    assert panel.store.classes == ()
    assert panel.classes_page.table.rowCount() == 0


@pytest.mark.parametrize("exceptions", [False, True])
def test_a_full_disk_loses_nothing(painted, panel, exceptions):
    resource = pytest.importorskip("resource", reason="the limit of a file's size is a Unix one")
    before, state, limits = saved(painted), panel.store.state, resource.getrlimit(resource.RLIMIT_FSIZE)
    (gdal.UseExceptions if exceptions else gdal.DontUseExceptions)()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        stroke(panel, (20, 60), (30, 60))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        gdal.DontUseExceptions()
    assert said(panel).startswith(f"{painted}: cannot be written (")
    assert panel.store.state is state
    assert saved(painted) == before
    stroke(panel, (20, 60), (30, 60))
    assert len(saved(painted)) == len(before) + 1


def test_edits_of_the_label_layer_in_qgis_count(painted, panel):
    layer = panel.store.layer
    layer.startEditing()
    stroke(panel, (20, 60), (30, 60))
    assert said(panel) == "'scene: labels' is being edited: save or discard those edits first."
    layer.deleteFeature(next(feature.id() for feature in layer.getFeatures() if feature["class"] == 2))
    layer.commitChanges()
    QTest.qWait(5)
    assert panel.classes_page.table.item(1, 3).text() == "0"
    assert not panel.store.can_undo
    assert said(panel) == "Only 'water' has labels: label a second class."


def test_the_panel_goes_with_the_plugin(painted, panel, running, desktop):
    running.desk.close()
    running.desk.__init__(desktop)
    assert desktop.docks == []
    assert desktop.mapCanvas().mapTool() is None


# what others do to the labels

BOX = place(45, 45).buffer(50, 2)


def edited(layer, *changes) -> None:
    """Change (field, value) of every label of class 2, as in QGIS's attribute table."""
    layer.startEditing()
    for feature in list(layer.getFeatures()):
        for name, value in changes if feature["class"] == 2 else ():
            assert layer.changeAttributeValue(feature.id(), feature.fieldNameIndex(name), value)
    assert layer.commitChanges()
    QTest.qWait(5)


def test_a_shape_without_class_does_not_hinder_the_next_stroke(painted, panel):
    layer = panel.store.layer
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    feature.setGeometry(BOX)
    assert layer.addFeature(feature)
    assert layer.commitChanges()
    stroke(panel, (20, 60), (30, 60))
    assert said(panel) == ""
    assert [row[0] for row in saved(painted)] == [2, 1, None, 1]


@pytest.mark.parametrize("color", ["red", "#12", None, "#GGGGGG"])
def test_a_colour_that_is_none_is_replaced(painted, panel, color):
    edited(panel.store.layer, ("color", color), ("class", 77))
    assert [one.value for one in panel.store.classes] == [1, 2, 77]
    assert saved(painted)[0] == (77, "77", f"#{panel.store.classes[2].color}")


def test_a_label_has_the_name_of_the_class_of_its_number(painted, panel):
    """Else the panel and Map the layer, which reads names, would map different classes."""
    edited(panel.store.layer, ("name", "water"))
    assert said(panel).startswith("The number of a label's class counts")
    assert saved(painted)[0][:2] == (2, "forest")
    edited(panel.store.layer, ("class", 1))
    assert saved(painted)[0][:2] == (1, "water")
    assert panel.store.counts() == [2, 0]


def test_labels_of_a_deleted_file_are_written_again(painted, panel):
    before = len(panel.store.marks())
    painted.unlink()
    stroke(panel, (20, 60), (30, 60))
    assert said(panel) == ""
    assert len(saved(panel.store.path)) == before + 1 == panel.store.layer.featureCount()
    assert panel.store.layer.isValid()
    assert panel.store.layer.source().startswith(str(panel.store.path))


def test_labels_that_another_program_added_are_kept(painted, panel, running):
    from geoaware.ui.label_panel import label_file

    held = label_file.read(painted)
    added = label_file.PaintedLabel(1, BOX)
    label_file.write(painted, held, label_file.LabelState({**held.labels, 3: added}, held.classes))
    stroke(panel, (20, 60), (30, 60))
    assert said(panel) == (
        "scene_labels.gpkg: another program has changed the labels. They were read again: repeat the last step."
    )
    assert len(panel.store.marks()) == 3
    stroke(panel, (20, 60), (30, 60))
    assert len(saved(painted)) == len(panel.store.marks()) == 4


def test_new_labels_come_back_where_the_old_file_is_gone(painted, panel, tmp_path):
    project, file = QgsProject.instance(), str(tmp_path / "work.qgs")
    project.write(file)
    project.clear()
    painted.rename(tmp_path / "elsewhere.gpkg")
    project.read(file)
    assert said(panel) == f"{painted}: the file with the labels is gone."
    click(panel.classes_page.add_button)
    new = panel.store.path
    project.write(file)
    project.clear()
    project.read(file)
    assert (panel.store.path, len(panel.store.classes)) == (new, 1)


def test_labels_of_a_renamed_layer_are_found(painted, panel, tmp_path):
    QgsProject.instance().clear()
    panel.set_layer(shown(tmp_path / "scene.tif", "another name"))
    assert panel.store.path == painted


def test_what_was_said_of_labels_stays_when_they_are_mapped(painted, panel):
    until(lambda: panel.engine.fitted is not None, 60)
    stroke(panel, (-40, 20), (-41, 20))
    assert "outside" in said(panel)
    panel.engine.set_labels(*panel.engine.marks)
    heard = []
    panel.engine.refitted.connect(heard.append)
    until(lambda: heard, 60)
    assert "outside" in said(panel)


def test_no_tool_of_the_panel_stays_with_the_canvas(panel, running, desktop):
    """One that is used after its page is gone ends QGIS."""
    from qgis.PyQt import sip

    canvas, tools = desktop.mapCanvas(), [*panel.similar_page.tools, panel.tool]
    panel.similar_page.like.click()
    assert canvas.mapTool() is tools[0]
    running.desk.close()
    QTest.qWait(5)
    assert canvas.mapTool() is None
    assert all(sip.isdeleted(tool) for tool in tools)
    running.desk.__init__(desktop)


def test_a_layer_that_is_labelled_all_over_needs_no_more(painted, panel):
    from geoaware.ui.label_panel.live.next_page import NextPage

    page, extent = panel.findChild(NextPage), panel.layer.extent()
    middle = extent.center().x()
    for index, (west, east) in enumerate(((extent.xMinimum(), middle), (middle, extent.xMaximum()))):
        half = QgsRectangle(west, extent.yMinimum(), east, extent.yMaximum())
        assert panel.add_label(index, QgsGeometry.fromRect(half))
    until(lambda: panel.engine.fitted is not None and not panel.engine._fit_timer.isActive(), 60)
    until(lambda: not panel.engine._thread.busy(), 60)
    page.suggest.click()
    until(lambda: page.text.text().startswith("There is no place left"), 60)
    assert page.places == []


def test_examples_lie_on_data(painted, panel):
    """The features of a place without data are like those of others without, wherever that is."""
    page, port = panel.similar_page, panel._canvas.viewport()
    until(lambda: panel.engine.opened is not None and not panel.engine._thread.busy(), 60)
    click(page.like)
    QTest.mouseClick(port, LEFT, pos=at(panel, -3, 20))
    assert page.text.text() == "That place lies outside 'scene'."
    assert page.points == ([], [])
    QTest.mouseClick(port, LEFT, pos=at(panel, 4, 20))  # the first ten columns hold no data
    until(lambda: "no data" in said(panel), 60)
    assert page.list.count() == 0
    click(page.clear_all)
    assert said(panel) == ""
    QTest.mouseClick(port, LEFT, pos=at(panel, 40, 20))
    until(lambda: page.list.count() > 0, 60)


def test_maps_that_were_replaced_leave_the_memory(panel):
    from geoaware.ui.label_panel.live import files

    path = "/vsimem/geoaware-old.tif"
    for name in (path, f"{path}.aux.xml"):
        gdal.FileFromMemBuffer(name, b"1")
    files.remove(path)
    files.remove(path)
    assert not [name for name in gdal.ReadDir("/vsimem/") or [] if name.startswith("geoaware-old")]

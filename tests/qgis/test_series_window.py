"""The dates of a series in the window: layers are ticked, dates typed, marks clicked."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLineEdit, QStyle, QStyleOptionViewItem

from tests.qgis import rasters
from tests.qgis.test_ui import shown, until

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def box(running):
    from geoaware.ui.run_window.series_box import SeriesBox

    made = SeriesBox()
    made.resize(520, 420)
    made.show()
    made.setCollapsed(False)
    yield made
    made.close()
    made.deleteLater()


def layers(folder, *names: str) -> list[QgsRasterLayer]:
    pixels = np.ones((3, 20, 20), np.uint8)
    return [shown(rasters.write(folder / f"{name}.tif", pixels, nodata=0), name) for name in names]


def item_of(box, layer):
    found = box.list.findItems(layer.name(), Qt.MatchFlag.MatchExactly)
    assert len(found) == 1
    return found[0]


def tick(box, layer) -> None:
    """Click the check box of a layer."""
    QTest.qWait(10)
    item = item_of(box, layer)
    box.list.scrollToItem(item)
    option = QStyleOptionViewItem()
    option.rect = box.list.visualItemRect(item)
    option.features |= QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
    part = QStyle.SubElement.SE_ItemViewItemCheckIndicator
    at = box.list.style().subElementRect(part, option, box.list).center()
    QTest.mouseClick(box.list.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)


def type_date(box, layer, text: str) -> None:
    """Double-click the date of a layer and type another."""
    QTest.qWait(10)
    item = item_of(box, layer)
    box.list.scrollToItem(item)
    at = box.list.visualItemRect(item).center()
    at.setX(box.list.columnViewportPosition(1) + 5)
    QTest.mouseClick(box.list.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    QTest.mouseDClick(box.list.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
    until(lambda: box.list.findChildren(QLineEdit))
    (line,) = box.list.findChildren(QLineEdit)
    line.selectAll()
    QTest.keyClick(line, Qt.Key.Key_Delete)
    QTest.keyClicks(line, text)
    QTest.keyClick(line, Qt.Key.Key_Return)
    until(lambda: not box.list.findChildren(QLineEdit))


def test_layers_are_ticked_and_ordered_by_date(box, tmp_path):
    may, plain, january = layers(tmp_path, "scene_20240506", "plain", "scene_20240120")
    box.set_first(may)
    assert (box.layers, box.several, box.parameters()) == ([may], False, {})
    assert box.timeline.isHidden()
    tick(box, january)
    assert box.layers == [january, may]
    assert box.parameters() == {"SERIES": [january.id()], "DATES": "2024-05-06;2024-01-20"}
    assert not box.timeline.isHidden()
    tick(box, may)  # the chosen layer stays
    assert box.layers == [january, may]
    tick(box, january)
    assert box.layers == [may]
    box.alike.click()
    assert box.layers == [january, may]  # no date is known of the other
    tick(box, plain)
    assert box.layers == [january, may, plain]
    box.alone.click()
    assert box.layers == [may]


def test_date_that_is_missing_is_red_until_it_is_typed(box, tmp_path):
    may, plain = layers(tmp_path, "scene_20240506", "plain")
    box.set_first(may)
    tick(box, plain)
    assert "plain" in box.problem()
    assert [mark.day for mark in box.timeline.marks] == [date(2024, 5, 6), None]
    assert item_of(box, plain).foreground(1).color().name() == "#c00000"
    seen = []
    box.changed.connect(lambda: seen.append(box.problem()))
    type_date(box, plain, "2024-08-1")
    assert "plain" in box.problem()
    assert item_of(box, plain).text(1) == "2024-08-1"
    type_date(box, plain, "2024-02-01")
    assert (box.problem(), box.layers, seen[-1]) == ("", [plain, may], "")
    assert box.parameters()["DATES"] == "2024-05-06;2024-02-01"
    type_date(box, plain, "")  # back to what is known
    assert "plain" in box.problem()


def test_two_layers_of_one_date_are_flagged(box, tmp_path):
    one, other, third = layers(tmp_path, "a_20240506", "b_20240506", "c_20240601")
    box.set_first(one)
    tick(box, other)
    tick(box, third)
    assert [bool(mark.problem) for mark in box.timeline.marks] == [True, True, False]
    assert item_of(box, other).foreground(1).color().name() == "#b35900"
    first, second, _ = box.timeline.places()
    assert not first.intersects(second)


def test_click_on_a_mark_selects_its_layer_and_the_picture_shows_shares(box, tmp_path):
    from geoaware.ui.run_window.timeline import DATA, GAPS, MASKED, Look

    one, other = layers(tmp_path, "a_20240106", "b_20241206")
    box.set_first(one)
    tick(box, other)
    box.show_looks({other.id(): Look(0.5, 0.25), one.id(): Look(0.0)})
    QTest.qWait(20)
    first, second = (place.toRect() for place in box.timeline.places())
    picture = box.timeline.grab().toImage()
    colours = [
        picture.pixelColor(second.center().x(), second.bottom() - second.height() * part // 100)
        for part in (10, 40, 80)
    ]
    assert colours == [DATA, MASKED, GAPS]
    assert picture.pixelColor(first.center().x(), first.top() + 3) == DATA
    QTest.mouseClick(box.timeline, LEFT, Qt.KeyboardModifier.NoModifier, second.center())
    assert box.list.currentItem().text(0) == "b_20241206"
    assert [item_of(box, other).text(column) for column in (2, 3)] == ["50 %", "25 %"]
    assert box.timeline.mark_at(*(QPoint(0, 0).x(), 0)) == -1


def test_layers_that_leave_the_project_leave_the_series(box, tmp_path):
    one, other = layers(tmp_path, "a_20240106", "b_20241206")
    box.set_first(one)
    tick(box, other)
    QgsProject.instance().removeMapLayer(other.id())
    assert box.layers == [one]
    assert box.list.topLevelItemCount() == 1
    box.set_first(None)
    QgsProject.instance().removeMapLayer(one.id())
    assert box.layers == []

"""The dates of a series in the window: layers are ticked, dates typed, marks clicked."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import QgsPointXY, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QLineEdit, QStyle, QStyleOptionViewItem

from tests.models import write_series
from tests.qgis import rasters
from tests.qgis.test_series import dated
from tests.qgis.test_ui import looked, models, ran, settle, shown, until  # noqa: F401, models is a fixture

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


def test_a_layer_whose_gaps_are_in_a_mask_is_like_one_without_gaps(box, tmp_path, qgis_new_project):
    first, other = layers(tmp_path, "a_20240101", "b_20240301")
    path = rasters.write(tmp_path / "c_20240501.tif", np.ones((3, 20, 20), np.uint8))
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(np.eye(20, dtype=np.uint8) * 255)
    dataset = None
    masked = shown(path, "c_20240501")
    assert (masked.bandCount(), first.bandCount()) == (4, 3)  # QGIS shows the mask as an alpha channel
    box.set_first(first)
    QTest.mouseClick(box.alike, LEFT)
    assert box.layers == [first, other, masked]


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
    assert [item_of(box, other).text(column) for column in (2, 3)] == ["50 %", ""]  # no mask band
    assert box.timeline.mark_at(0, 0) == -1


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


@pytest.fixture
def series_model(models):  # noqa: F811, the fixture
    return write_series(models / "series.onnx")


@pytest.fixture
def window(running, desktop, series_model, tmp_path):
    """The window with the first of three dated layers and a model of a series, after its first look."""
    files, _, valid = dated(tmp_path)
    added = [shown(path, path.stem) for path in files]
    desktop.layer = added[0]
    dialog = looked(running)
    return dialog, added, valid


def waited(dialog) -> None:
    settle(dialog)
    until(lambda: not dialog.looking.busy and not dialog._timer.isActive() and dialog._estimating is None)


def test_model_of_a_series_asks_for_the_other_layers(window):
    dialog, (first, *_), _ = window
    (said,) = dialog.fit.texts()
    assert "reads a series of dates" in said
    assert "any number; it learned from series of 12" in dialog.card.toPlainText()
    assert not dialog.run_button.isEnabled()
    assert not dialog.series.isCollapsed()
    assert dialog.series.layers == [first]
    assert "DATE_COUNT" not in dialog.parameters()


def test_series_is_ticked_checked_and_run_with_its_number_of_dates(running, window, desktop):
    dialog, added, valid = window
    dialog.series.alike.click()
    waited(dialog)
    assert dialog.run_button.isEnabled(), dialog.fit.texts()
    assert dialog.fit.figures.text().startswith("12 tiles · about ")
    gaps = [mark.gaps for mark in dialog.series.timeline.marks]
    assert gaps == pytest.approx([1 - part.mean() for part in valid])
    assert dialog.options.results["DATE_COUNT"].isChecked()
    dialog.options.results["CONFIDENCE"].setChecked(True)
    waited(dialog)
    run = ran(dialog, desktop)
    np.testing.assert_array_equal(rasters.band(run.outputs["DATE_COUNT"]), valid.sum(axis=0))
    names = {layer.name() for layer in QgsProject.instance().mapLayers().values()}
    assert "scene_20240120 (+2): number of dates" in names
    desktop.mapCanvas().setDestinationCrs(added[0].crs())
    told = running.map_tips.text_at(QgsPointXY(500_005 + 10 * 50, 4_999_995 - 10 * 30))
    assert told.endswith(f" %), dates: {valid[:, 30, 50].sum()}")
    running.desk.open_page(run)
    html = running.desk.pages[run].html
    assert html.count("SERIES=") == 2
    files = [layer.source() for layer in added]
    dates = "--series --dates 2024-01-20 2024-05-06 2024-09-30"
    assert f"{' '.join(files)} --out" in html
    assert dates in html
    assert "--date-count" in html
    # one layer again: its name is plain, and the number of dates is not asked for
    dialog.tabs.setCurrentIndex(0)
    dialog.series.alone.click()
    waited(dialog)
    assert dialog.options.results["DATE_COUNT"].isHidden()
    assert "DATE_COUNT" not in dialog.parameters()


def test_date_that_is_missing_disables_run_and_says_why(window, tmp_path):
    dialog, _, _ = window
    plain = shown(rasters.write(tmp_path / "plain.tif", np.full((3, 70, 90), 9, np.uint8), nodata=0), "plain")
    tick(dialog.series, plain)
    waited(dialog)
    (said,) = dialog.fit.texts()
    assert said.startswith("No date is known of plain")
    assert not dialog.run_button.isEnabled()
    type_date(dialog.series, plain, "2024-03-01")
    waited(dialog)
    assert dialog.run_button.isEnabled(), dialog.fit.texts()


def test_pictures_of_one_place_and_day_are_refused_before_the_run(window, tmp_path):
    dialog, added, _ = window
    tick(dialog.series, added[1])
    type_date(dialog.series, added[1], "2024-01-20")
    waited(dialog)
    assert not dialog.run_button.isEnabled()
    (said,) = dialog.fit.texts()
    assert "scene_20240120" in said
    assert "scene_20240506" in said


def test_clouds_are_offered_where_all_layers_have_such_a_band(running, desktop, series_model, tmp_path):
    clouds, added = np.full((70, 90), 4, np.uint8), []
    clouds[:, 45:] = 9
    for day in ("20240101", "20240601"):
        bands = np.concatenate([np.full((3, 70, 90), 9, np.uint8), clouds[None]])
        path = rasters.write(tmp_path / f"s_{day}.tif", bands, nodata=0, names=("red", "green", "blue", "SCL"))
        added.append(shown(path, path.stem))
    desktop.layer = added[0]
    dialog = looked(running)
    dialog.series.alike.click()
    waited(dialog)
    assert dialog.series.masks.currentData() == "scl"
    assert dialog.parameters()["MASK_BAND"] == "scl"
    assert [(mark.gaps, mark.masked) for mark in dialog.series.timeline.marks] == [(0, 0.5), (0, 0.5)]
    assert [item_of(dialog.series, layer).text(3) for layer in added] == ["50 %", "50 %"]
    dialog.series.masks.setCurrentIndex(0)
    waited(dialog)
    assert "MASK_BAND" not in dialog.parameters()
    assert [mark.masked for mark in dialog.series.timeline.marks] == [0, 0]


def test_layer_that_is_removed_while_it_is_looked_at_leaves_the_window_usable(window):
    dialog, added, _ = window
    dialog.series.alike.click()
    until(lambda: dialog.looking.busy or dialog._estimating)
    QgsProject.instance().removeMapLayers([layer.id() for layer in added[1:]])
    waited(dialog)
    assert "reads a series" in dialog.fit.texts()[0]
    QgsProject.instance().removeAllMapLayers()
    waited(dialog)
    assert dialog.fit.texts() == ["The project has no raster layer."]

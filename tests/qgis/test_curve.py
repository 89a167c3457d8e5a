"""The season curve, as an analyst uses it: real clicks on a canvas, numbers compared with the arrays that were written."""

from __future__ import annotations

import csv
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsProject, QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsVertexMarker
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from tests.models import series_answer, write_series, write_strongest_band
from tests.qgis import rasters
from tests.qgis.test_label_live import LongestGap
from tests.qgis.test_ui import until

WEST, NORTH = rasters.TRANSFORM[0], rasters.TRANSFORM[3]
LEFT = Qt.MouseButton.LeftButton
DAYS = [date(2024, month, 15) for month in (1, 3, 5, 7, 9, 11)]
ROWS, COLUMNS = 60, 80
GAP = 2  # place of the date whose upper left quarter holds nothing


def pixels_of(at: int) -> np.ndarray:
    """(3, ROWS, COLUMNS) of a date."""
    values = np.random.default_rng(at).integers(1, 255, (3, ROWS, COLUMNS)).astype(np.uint8)
    if at == GAP:
        values[:, : ROWS // 2, : COLUMNS // 2] = 0
    return values


@pytest.fixture
def desktop(desktop):
    """With a canvas of a known size."""
    canvas = QgsMapCanvas()
    canvas.resize(640, 480)
    canvas.show()
    desktop.mapCanvas = lambda: canvas
    desktop.mainWindow().show()
    yield desktop
    desktop.mainWindow().hide()


@pytest.fixture
def layers(tmp_path, qgis_new_project) -> list[QgsRasterLayer]:
    """A layer of each date in the project, in no order."""
    made = []
    for at in (3, 0, 5, 1, 4, 2):
        path = rasters.write(tmp_path / f"scene_{DAYS[at]:%Y%m%d}.tif", pixels_of(at), nodata=0)
        made.append(QgsRasterLayer(str(path), path.stem))
    QgsProject.instance().addMapLayers(made)
    return sorted(made, key=lambda layer: layer.name())


@pytest.fixture
def curve(running, desktop, layers):
    """The dock on all layers, opened by the action of the toolbar."""
    canvas = desktop.mapCanvas()
    canvas.setDestinationCrs(layers[0].crs())
    canvas.setExtent(layers[0].extent())
    desktop.layer = layers[0]
    running.curve_action.trigger()
    dock = running.desk.curve
    dock.resize(900, 300)
    assert canvas.mapTool() is dock.tool
    return dock


def at(dock, column: float, row: float) -> QPoint:
    """Place on the canvas of the middle of a pixel."""
    point = dock._canvas.getCoordinateTransform().transform(
        QgsPointXY(WEST + (column + 0.5) * 10, NORTH - (row + 0.5) * 10)
    )
    return QPoint(round(point.x()), round(point.y()))


def click(dock, column: float, row: float) -> None:
    """On the map."""
    QTest.mouseClick(dock._canvas.viewport(), LEFT, pos=at(dock, column, row))


def is_whole(dock) -> bool:
    """Whether all that is shown is known."""
    place = dock.list.current
    told = place.told if place is not None else {}
    return all(source in told and told[source].is_whole for source in {"", dock.source})


def shown(dock) -> np.ndarray:
    """(dates, lines) that the plot draws."""
    until(lambda: is_whole(dock))
    return np.array([line.numbers for line in dock.plot.data.lines]).T


def marks(dock) -> list[QgsVertexMarker]:
    return [item for item in dock._canvas.scene().items() if isinstance(item, QgsVertexMarker)]


def test_a_click_shows_the_values_of_all_dates_in_their_order(curve):
    click(curve, 61, 40)
    numbers = shown(curve)
    np.testing.assert_array_equal(numbers, [pixels_of(at)[:, 40, 61] for at in range(6)])
    assert list(curve.plot.data.days) == DAYS
    assert [line.title for line in curve.plot.data.lines] == ["red", "green", "blue"]
    assert curve.summary.text() == "6 dates, 2024-01-15 to 2024-11-15"
    assert len(marks(curve)) == 1


def test_a_gap_is_left_out_and_marked_with_its_reason(curve):
    click(curve, 5, 5)
    numbers = shown(curve)
    assert np.isnan(numbers[GAP]).all()
    assert np.isfinite(np.delete(numbers, GAP, axis=0)).all()
    assert [bool(gap) for gap in curve.plot.data.gaps] == [at == GAP for at in range(6)]
    assert curve.plot.data.gaps[GAP] == "holds no data there"


def test_the_cursor_over_the_plot_reads_date_and_values(curve):
    click(curve, 61, 40)
    shown(curve)
    plot = curve.plot
    QTest.mouseMove(plot, QPoint(round(plot.x_of(DAYS[3])) + 2, plot.height() // 2))
    until(lambda: plot.at == 3)
    values = pixels_of(3)[:, 40, 61]
    names = np.array(["red", "green", "blue"])[np.argsort(-values.astype(int), kind="stable")]
    read = [text for text, _ in plot.data.reading(3)]
    assert read == ["2024-07-15", *(f"{name}  {value}" for name, value in zip(names, sorted(values, reverse=True)))]
    QTest.keyClick(plot, Qt.Key.Key_Right)
    assert plot.at == 4
    without = plot.grab().toImage()
    plot._read(-1)
    assert plot.grab().toImage() != without


def test_a_model_shows_its_classes_in_their_colours(curve, tmp_path):
    path = write_strongest_band(tmp_path / "colours.onnx")
    curve.sources.addItem("colours", str(path))
    click(curve, 61, 40)
    curve.sources.setCurrentIndex(curve.sources.findData(str(path)))
    curve.sources.activated.emit(curve.sources.currentIndex())
    numbers = shown(curve)
    scores = np.exp(0.1 * np.array([pixels_of(at)[:, 40, 61] for at in range(6)], float))
    np.testing.assert_allclose(numbers, scores / scores.sum(axis=1, keepdims=True), atol=1e-5)
    assert [line.color.name() for line in curve.plot.data.lines] == ["#c03020", "#30a040", "#2040c0"]
    assert curve.plot.data.span == (0.0, 1.0)
    assert curve.foot.message.isHidden()
    coarse = write_strongest_band(tmp_path / "coarse.onnx", gsd=300.0)
    curve.sources.addItem("coarse", str(coarse))
    curve.sources.setCurrentIndex(curve.sources.findData(str(coarse)))
    curve.sources.activated.emit(curve.sources.currentIndex())
    shown(curve)
    assert "its pixels are 10 m, the model learned from 300 m" in curve.foot.message.text.text()


def test_the_last_ten_places_can_be_chosen_again(curve):
    for column in range(12):
        click(curve, 2 * column + 40, 40)
    assert curve.list.count() == 10
    assert len(marks(curve)) == 10
    shown(curve)
    curve.list.setCurrentRow(9)  # the oldest: the third click
    numbers = shown(curve)
    np.testing.assert_array_equal(numbers, [pixels_of(at)[:, 40, 44] for at in range(6)])
    assert len({place.color for place in curve.list.places}) == 10
    QTest.mouseClick(curve.clear_button, LEFT)
    assert (curve.list.count(), marks(curve), list(curve.plot.data.days)) == (0, [], [])


def test_csv_holds_place_and_values(curve, tmp_path, monkeypatch):
    from qgis.PyQt.QtWidgets import QFileDialog

    click(curve, 5, 5)
    shown(curve)
    path = tmp_path / "curve.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    QTest.mouseClick(curve.save_button, LEFT)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["date"] for row in rows] == [day.isoformat() for day in DAYS]
    assert {row["crs"] for row in rows} == {"EPSG:32633"}
    assert abs(float(rows[0]["x"]) - (WEST + 55)) < 10
    assert rows[0]["value red"] == str(pixels_of(0)[0, 5, 5])
    assert (rows[GAP]["value red"], rows[GAP]["gap"]) == ("", "holds no data there")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "no" / "curve.csv"), ""))
    QTest.mouseClick(curve.save_button, LEFT)
    assert "cannot be written" in curve.foot.message.text.text()


def test_the_picture_goes_to_the_clipboard(curve):
    click(curve, 61, 40)
    shown(curve)
    QTest.mouseClick(curve.copy_button, LEFT)
    image = QApplication.clipboard().image()
    assert image.width() == 2 * curve.plot.width()
    colors = {image.pixelColor(x, y).name() for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}
    assert {"#d62728", "#2ca02c", "#1f77b4"} <= colors


def test_layers_of_another_crs_and_size_are_read_at_the_same_place(running, desktop, curve, layers, tmp_path):
    from qgis.core import QgsCoordinateTransform

    to = QgsCoordinateReferenceSystem("EPSG:4326")
    coarse = np.arange(1, 121, dtype=np.uint8).reshape(1, 10, 12).repeat(3, axis=0)
    box = QgsCoordinateTransform(layers[0].crs(), to, QgsProject.instance()).transformBoundingBox(layers[0].extent())
    size = max(box.width() / 12, box.height() / 10)
    place = (box.xMinimum(), size, 0, box.yMaximum(), 0, -size)
    path = rasters.write(tmp_path / "coarse_20240601.tif", coarse, nodata=0, epsg=4326, transform=place)
    other = QgsRasterLayer(str(path), "coarse_20240601")
    QgsProject.instance().addMapLayer(other)
    far = rasters.write(
        tmp_path / "far_20240602.tif", coarse, nodata=0, transform=(WEST + 90_000, 10, 0, NORTH, 0, -10)
    )
    away = QgsRasterLayer(str(far), "far_20240602")
    QgsProject.instance().addMapLayer(away)
    chosen = type(curve.chosen[0])
    curve.set_layers([*curve.chosen, chosen(other, date(2024, 6, 1)), chosen(away, date(2024, 6, 2))])
    click(curve, 61, 40)
    numbers = shown(curve)
    point = curve.list.current.point
    there = QgsCoordinateTransform(layers[0].crs(), to, QgsProject.instance()).transform(point)
    row, column = int((place[3] - there.y()) / size), int((there.x() - place[0]) / size)
    assert numbers[3].tolist() == [coarse[0, row, column]] * 3
    assert np.isnan(numbers[4]).all()
    assert curve.plot.data.gaps[4] == "the place lies outside"
    np.testing.assert_array_equal(numbers[-1], pixels_of(5)[:, 40, 61])
    # on a canvas of another CRS the place is the same, and its mark follows
    curve._canvas.setDestinationCrs(to)
    (mark,) = marks(curve)
    assert abs(mark.center().x() - there.x()) < 1e-9


def test_bands_of_one_layer_are_dates(running, desktop, curve, layers, tmp_path):
    values = np.concatenate([pixels_of(at) for at in range(6)])
    stack = QgsRasterLayer(str(rasters.write(tmp_path / "stack.tif", values, nodata=0)), "stack")
    QgsProject.instance().addMapLayer(stack)
    window = curve._window
    window.layers.setLayer(stack)
    window.series.tick(())
    columns = window.series.list
    seen = [columns.headerItem().text(one) for one in range(4) if not columns.isColumnHidden(one)]
    assert seen == ["Layer", "Date"]  # nobody reads samples here
    assert window.problem().startswith("No date is known of stack")
    for text, reason in (
        ("2024-13-01", "is no date"),
        (" ".join(map(str, DAYS[:5])), "18 bands, which 5 dates"),
        ("2024-01-01 2024-01-01", "are the same"),
    ):
        window.band_dates.setText(text)
        assert reason in window.problem()
        assert not window.apply_button.isEnabled()
    window.band_dates.setText(", ".join(map(str, DAYS)))
    window.show()
    QTest.mouseClick(window.apply_button, LEFT)
    assert not window.isVisible()
    click(curve, 61, 40)
    np.testing.assert_array_equal(shown(curve), [pixels_of(at)[:, 40, 61] for at in range(6)])


def test_bands_that_follow_band_by_band_are_refused_and_names_with_dates_need_no_others(curve, tmp_path):
    values = np.concatenate([pixels_of(at)[:2] for at in range(2)])
    window = curve._window
    for names in (("red", "red", "nir", "nir"), tuple(f"{day}_{band}" for day in DAYS[:2] for band in ("red", "nir"))):
        path = rasters.write(tmp_path / f"{names[1]}.tif", values, nodata=0, names=names)
        layer = QgsRasterLayer(str(path), names[1])
        QgsProject.instance().addMapLayer(layer)
        window.layers.setLayer(layer)
        window.series.tick(())
        if names[0] == "red":
            window.band_dates.setText(f"{DAYS[0]} {DAYS[1]}")
            assert "follow band by band" in window.problem()
    assert window.problem() == ""
    assert [(one.day, one.bands) for one in window.chosen()] == [(DAYS[0], (1, 2)), (DAYS[1], (3, 4))]


def test_layers_that_are_selected_are_taken_when_it_is_opened(running, desktop, layers, layer_tree):
    desktop.layer = layers[0]
    tree = QgsProject.instance().layerTreeRoot()
    group = tree.insertGroup(0, "three")
    for layer in layers[2:5]:
        group.insertLayer(0, layer)
    layer_tree.setCurrentIndex(layer_tree.node2index(group))
    running.curve_action.trigger()
    assert [one.layer for one in running.desk.curve.chosen] == layers[2:5]


def test_two_layers_of_one_place_and_day_are_refused(curve):
    chosen = type(curve.chosen[0])
    curve.set_layers([*curve.chosen, chosen(curve.chosen[1].layer, DAYS[0])])
    for column in (61, 62):
        click(curve, column, 40)
        until(lambda: curve.foot.message.isVisible())
        assert "scene_20240315" in curve.foot.message.text.text()
        assert "2024-01-15" in curve.foot.message.text.text()


def test_pixels_that_a_mask_band_hides_are_gaps_and_it_is_no_line(curve, tmp_path):
    made = []
    for at, day in enumerate(DAYS[:3]):
        mask = np.full((1, ROWS, COLUMNS), 8 if at == 1 else 4, np.uint8)
        path = tmp_path / f"masked_{day:%Y%m%d}.tif"
        rasters.write(path, np.concatenate([pixels_of(at), mask]), names=("red", "green", "blue", "SCL"))
        made.append(QgsRasterLayer(str(path), path.stem))
    QgsProject.instance().addMapLayers(made)
    curve._window.suggest(made)
    assert curve._window.mask() is not None  # offered, and so chosen
    curve._window.show()
    QTest.mouseClick(curve._window.apply_button, LEFT)
    click(curve, 61, 40)
    numbers = shown(curve)
    assert [line.title for line in curve.plot.data.lines] == ["red", "green", "blue"]
    assert np.isnan(numbers[1]).all()
    np.testing.assert_array_equal(numbers[[0, 2]], [pixels_of(at)[:, 40, 61] for at in (0, 2)])


def test_a_model_of_series_answers_with_all_dates_up_to_each(curve, tmp_path):
    path = write_series(tmp_path / "series.onnx")
    curve.sources.addItem("series", str(path))
    click(curve, 61, 40)
    curve.sources.setCurrentIndex(curve.sources.findData(str(path)))
    curve.sources.activated.emit(curve.sources.currentIndex())
    numbers = shown(curve)
    stack = np.stack([pixels_of(at)[:, 40, 61] for at in range(6)])[..., None, None]
    days = [day.timetuple().tm_yday for day in DAYS]
    for at in range(1, 7):
        expected = series_answer(stack[:at], np.ones((at, 1, 1), bool), days[:at])[:, 0, 0]
        np.testing.assert_allclose(numbers[at - 1], expected, atol=1e-5)


def test_layers_that_are_removed_leave_the_curve(curve, layers):
    click(curve, 61, 40)
    shown(curve)
    QgsProject.instance().removeMapLayer(layers[1].id())
    numbers = shown(curve)
    np.testing.assert_array_equal(numbers, [pixels_of(at)[:, 40, 61] for at in (0, 2, 3, 4, 5)])
    QgsProject.instance().removeAllMapLayers()
    assert curve.chosen == []
    assert curve.summary.text() == "no layers chosen"
    click(curve, 3, 3)
    QTest.qWait(50)
    assert curve.plot.data.hint == "Choose the layers and their dates."


def test_a_file_that_is_gone_is_a_gap_that_names_it(curve, layers, tmp_path):
    Path(layers[4].source()).unlink()
    curve.set_layers(curve.chosen)
    click(curve, 61, 40)
    numbers = shown(curve)
    assert np.isnan(numbers[4]).all()
    assert "scene_20240915" in curve.plot.data.gaps[4]
    assert np.isfinite(np.delete(numbers, 4, axis=0)).all()


def test_the_next_click_cancels_the_last_and_the_event_loop_goes_on(curve, tmp_path, monkeypatch):
    from geoaware.runtime.infer.source import Source

    real = Source.read

    def slow(self, window, pixels=None):
        time.sleep(0.3)
        return real(self, window, pixels)

    monkeypatch.setattr(Source, "read", slow)
    path = write_strongest_band(tmp_path / "colours.onnx")
    curve.sources.addItem("colours", str(path))
    curve.sources.setCurrentIndex(curve.sources.findData(str(path)))
    gap, said = LongestGap(), []
    curve.told.connect(lambda told: said.append(told))
    for column in (41, 45, 50, 61):
        click(curve, column, 40)
        QTest.qWait(400)
    numbers = shown(curve)
    scores = np.exp(0.1 * np.array([pixels_of(at)[:, 40, 61] for at in range(6)], float))
    np.testing.assert_allclose(numbers, scores / scores.sum(axis=1, keepdims=True), atol=1e-5)
    assert not any(place.told.get("") and place.told[""].is_whole for place in curve.list.places[1:])
    assert gap.longest < 280  # not even one read of 300 ms held it up
    assert len(said) < 4 * 12


def test_another_tool_and_closing_leave_the_map_alone(curve, running):
    from qgis.gui import QgsMapToolPan

    canvas = curve._canvas
    assert curve.pick_button.isChecked()
    pan = QgsMapToolPan(canvas)
    canvas.setMapTool(pan)
    assert not curve.pick_button.isChecked()
    QTest.mouseClick(curve.pick_button, LEFT)
    assert canvas.mapTool() is curve.tool
    click(curve, 61, 40)
    shown(curve)
    curve.close()
    assert canvas.mapTool() is not curve.tool
    assert marks(curve) == []
    assert curve._thread is None
    running.curve_action.trigger()
    assert len(marks(curve)) == 1
    click(curve, 30, 50)
    np.testing.assert_array_equal(shown(curve), [pixels_of(at)[:, 50, 30] for at in range(6)])
    canvas.unsetMapTool(pan)


def test_a_project_that_is_closed_takes_layers_and_places_along(curve):
    click(curve, 61, 40)
    QgsProject.instance().clear()
    QTest.qWait(30)
    assert (curve.chosen, curve.list.count(), marks(curve)) == ([], 0, [])


def test_unloading_while_it_reads_leaves_nothing_behind(geoaware, desktop, layers):
    plugin = geoaware.classFactory(desktop)
    plugin.initGui()
    canvas = desktop.mapCanvas()
    canvas.setDestinationCrs(layers[0].crs())
    canvas.setExtent(layers[0].extent())
    desktop.layer = layers[0]
    plugin.curve_action.trigger()
    dock = plugin.desk.curve
    click(dock, 61, 40)
    thread = dock._thread
    plugin.unload()
    assert thread.wait(5)
    assert desktop.docks == []
    assert canvas.mapTool() is None or type(canvas.mapTool()).__name__ != "CurveTool"
    assert [item for item in canvas.scene().items() if isinstance(item, QgsVertexMarker)] == []
    QTest.qWait(50)


def test_without_layers_it_says_what_is_to_be_done(running, desktop, qgis_new_project):
    running.curve_action.trigger()
    dock = running.desk.curve
    assert dock.plot.data.hint == "Choose the layers and their dates."
    assert dock._window.isVisible()
    assert dock._window.problem() == "Choose a raster layer."
    assert not dock.save_button.isEnabled()


def test_a_model_that_cannot_be_used_says_why(curve, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all, really")
    curve.sources.addItem("broken", str(broken))
    click(curve, 61, 40)
    shown(curve)
    curve.sources.setCurrentIndex(curve.sources.findData(str(broken)))
    curve.sources.activated.emit(curve.sources.currentIndex())
    until(lambda: curve.foot.message.isVisible())
    assert "not an ONNX file" in curve.foot.message.text.text()


def test_round_numbers_and_dates_stand_at_the_axes(geoaware):
    from geoaware.ui.curve.plot import date_ticks, nice_ticks

    assert nice_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(-3.2, 11, 4) == [0, 5, 10]
    assert nice_ticks(7, 7, 4) == [7]
    assert all(len(nice_ticks(low, low + width, 5)) <= 6 for low in (-7.3, 0, 1e6) for width in (1e-6, 3.3, 97, 1e9))
    assert [text for _, text in date_ticks(date(2024, 1, 15), date(2024, 12, 15), 6)] == [
        "2024-03", "2024-05", "2024-07", "2024-09", "2024-11",
    ]  # fmt: skip
    assert date_ticks(date(1985, 6, 1), date(2020, 6, 1), 5)[0][1] == "1990"
    assert date_ticks(date(2024, 1, 15), date(2024, 1, 15), 5) == [(date(2024, 1, 15), "2024-01-15")]

"""The engine behind the label panel: features and maps of the view while somebody labels, and what it says of them."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis", reason="QGIS's Python packages are not installed")
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QElapsedTimer, QSize, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from .rasters import band, write

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("GEOAWARE_TEST_PYTHON") or str(ROOT / ".venv" / "bin" / "python")

ROWS, COLUMNS, SPLIT = 700, 898, 430  # px; left of the split the land is smooth, right of it rough
X, Y, PIXEL = 500_000, 5_000_000, 10


def textured() -> np.ndarray:
    """(3, ROWS, COLUMNS) uint8 whose halves differ in texture and somewhat in colour; a corner holds no data."""
    noise, smooth = np.random.default_rng(5).normal(0, 1, (3, ROWS, COLUMNS)), np.arange(COLUMNS) < SPLIT
    pixels = np.array([110, 120, 130])[:, None, None] + noise * np.where(smooth, 3, 30) + np.where(smooth, 0, 12)
    pixels = np.clip(pixels, 1, 255).astype(np.uint8)
    pixels[:, :60, :100] = 0
    return pixels


def square(row: int, column: int, side: int = 24) -> QgsGeometry:
    x, y = X + column * PIXEL, Y - row * PIXEL
    return QgsGeometry.fromRect(QgsRectangle(x, y - side * PIXEL, x + side * PIXEL, y))


MARKS = [(1, 0, square(200, 100)), (2, 1, square(200, 700)), (3, 0, square(500, 250)), (4, 1, square(450, 600))]


class LongestGap:
    """The longest time for which Qt's events waited."""

    def __init__(self) -> None:
        self.longest, self._clock = 0, QElapsedTimer()
        self._clock.start()
        self._timer = QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        self.longest = max(self.longest, self._clock.restart())


def wait_for(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        QApplication.processEvents()
        time.sleep(0.002)


class Listener:
    """What an engine has said."""

    def __init__(self, engine) -> None:
        self.problems, self.states, self.readings, self.progress, self.paints = [], [], [], [], 0
        engine.problem.connect(lambda text: text and self.problems.append(text))
        engine.state.connect(self.states.append)
        engine.read.connect(self.readings.append)
        engine.progressed.connect(lambda *counts: self.progress.append(counts))
        engine.painted.connect(self._painted)

    def _painted(self) -> None:
        self.paints += 1


@pytest.fixture
def label_panel(geoaware):
    name = geoaware.__name__
    return lambda module: importlib.import_module(f"{name}.{module}")


@pytest.fixture
def layer(tmp_path, qgis_new_project):
    layer = QgsRasterLayer(str(write(tmp_path / "land.tif", textured(), nodata=0)), "land")
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def canvas(qgis_app, layer):
    canvas = QgsMapCanvas()
    canvas.resize(QSize(600, 450))
    canvas.setDestinationCrs(layer.crs())
    canvas.setLayers([layer])
    canvas.setExtent(layer.extent())
    return canvas


@pytest.fixture
def engine(label_panel, canvas):
    made = label_panel("ui.label_panel.engine").Engine(canvas)
    yield made
    made.finish()


@pytest.fixture
def opened(label_panel, engine, layer, tmp_path):
    """An engine on the layer, with texture features, and two classes."""
    engine.heard = Listener(engine)
    choice = label_panel("runtime.learn.features").FeatureChoice("texture")
    engine.open(layer, choice, tmp_path / "cache")
    land = label_panel("runtime.raster.legend").LandClass
    engine.set_classes([land(1, "smooth", "00AA00"), land(2, "rough", "CC0000")])
    return engine


def expected() -> np.ndarray:
    """1 + index of the class of each pixel."""
    truth = np.where(np.arange(COLUMNS) < SPLIT, 1, 2) * np.ones((ROWS, 1), int)
    truth[:60, :100] = 0
    return truth


def map_of(engine) -> np.ndarray:
    return engine.maps.classes[:ROWS, :COLUMNS]


def quiet(engine) -> bool:
    """Whether nothing is under way, and nothing about to begin."""
    return not engine._thread.busy() and not any(timer.isActive() for timer in engine.findChildren(QTimer))


def finish(engine) -> None:
    """Wait for the features of the whole layer and for what is made of them."""
    done = lambda: engine.heard.progress and engine.heard.progress[-1][0] == engine.heard.progress[-1][1]  # noqa: E731
    for _ in range(2):  # what the thread said last may begin something
        wait_for(lambda: done() and quiet(engine))
        QApplication.processEvents()


def test_two_labels_a_class_give_a_map_of_the_view(opened, layer):
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    away = np.abs(np.arange(COLUMNS) - SPLIT) > 30
    assert ((map_of(opened) == expected()) | ~away).mean() > 0.85
    np.testing.assert_array_equal(map_of(opened) == 0, expected() == 0)
    confidence = opened.maps.confidence[:ROWS, :COLUMNS]
    assert 80 < confidence[expected() > 0].mean() <= 100
    assert (confidence[expected() == 0] == 255).all()
    assert opened.heard.problems == []


def test_the_map_is_that_of_the_head_at_every_pixel(opened, layer, label_panel):
    """Through the features at the pixels' middles, as samples are taken: not through the records that the map is made of."""
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(60, ROWS, 500), rng.integers(100, COLUMNS, 500)
    raster, head = opened._work.raster, opened.fitted.head
    best = head.probabilities(raster.at(rows, columns)).argmax(axis=1) + 1
    assert (
        best == opened.maps.classes[rows, columns]
    ).mean() > 0.99  # logits, not features, are interpolated in the map


@pytest.mark.skipif(shutil.which(PYTHON) is None, reason="no Python with rasterio: see GEOAWARE_TEST_PYTHON")
def test_the_saved_model_gives_the_same_pixels_in_predict(opened, layer, label_panel, tmp_path):
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    fitted, save = opened.fitted, label_panel("runtime.learn.save").save_model
    quality = label_panel("runtime.learn.judge").cross_validate(fitted.samples, fitted.names)
    save(tmp_path / "land.onnx", opened._work.raster.features, fitted.head, opened._classes, "land", quality)
    out = tmp_path / "out"
    command = [
        PYTHON,
        "-m",
        "export.predict",
        str(tmp_path / "land.onnx"),
        str(tmp_path / "land.tif"),
        "--out",
        str(out),
    ]
    subprocess.run(command, check=True, cwd=ROOT, timeout=200, capture_output=True)
    (path,) = (one for one in out.glob("*.tif") if "confidence" not in one.name)
    saved = band(path)
    np.testing.assert_array_equal(np.where(saved == 255, 0, saved), map_of(opened))


def test_the_layers_show_the_maps_and_leave_with_the_panel(opened, layer, tmp_path):
    project = QgsProject.instance()
    project.setDirty(False)
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    group = project.layerTreeRoot().findGroup("GeoAware: land")
    shown = [(node.name(), node.itemVisibilityChecked()) for node in group.children()]
    assert shown == [("Confidence (%)", False), ("Classes", True)]
    classes = opened.preview.layer("classes")
    assert classes.crs() == layer.crs()
    assert not project.isDirty()
    assert [(one.value, one.label, one.color.name()) for one in classes.renderer().classes()] == [
        (1, "smooth", "#00aa00"), (2, "rough", "#cc0000"),
    ]  # fmt: skip
    ramp = opened.preview.layer("confidence").renderer().shader().rasterShaderFunction().colorRampItemList()
    assert [(round(one.value), one.color.name()) for one in ramp] == [
        (0, "#440154"), (33, "#31688e"), (67, "#35b779"), (100, "#fde725"),
    ]  # fmt: skip
    values = classes.dataProvider().block(1, layer.extent(), COLUMNS, ROWS)
    assert values.value(300, 200) == 1
    assert values.value(300, 700) == 2
    assert values.isNoData(10, 10)
    project.write(str(tmp_path / "saved.qgs"))
    assert project.layerTreeRoot().findGroup("GeoAware: land") is group
    opened.close()
    assert list(project.mapLayers()) == [layer.id()]
    assert project.layerTreeRoot().findGroup("GeoAware: land") is None
    project.read(str(tmp_path / "saved.qgs"))
    assert [one.name() for one in project.mapLayers().values()] == ["land"]
    assert [node.name() for node in project.layerTreeRoot().children()] == ["land"]


def test_of_several_strokes_the_newest_counts(opened, layer, canvas):
    finish(opened)
    for count in (2, 3, 4):
        opened.set_labels([(n, 1 - index, shape) for n, index, shape in MARKS[:count]], layer.crs())
        opened._ask_fit()
    opened.set_labels(MARKS, layer.crs())
    wait_for(lambda: opened.maps is not None and map_of(opened)[300, [200, 700]].tolist() == [1, 2])
    finish(opened)
    assert map_of(opened)[300, [200, 700]].tolist() == [1, 2]  # no older one comes after it


def test_panning_shows_the_map_of_the_new_view(opened, layer, canvas):
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    canvas.setExtent(QgsRectangle(X + 4000, Y - 3000, X + 5000, Y - 2250))
    wait_for(lambda: opened.maps.view.window.row == 224 and quiet(opened))
    assert opened.maps.view.window.column > 350
    assert set(np.unique(opened.maps.classes)) == {1, 2}
    canvas.setExtent(QgsRectangle(X + 40_000, Y - 3000, X + 50_000, Y - 2000))
    wait_for(lambda: opened.heard.states[-1] == "The map shows no part of the layer.")


def test_class_and_confidence_are_read_under_the_cursor(opened, layer, canvas):
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    assert opened.reading_at(QgsPointXY(X + 2000, Y - 3000)).startswith("smooth (")
    assert opened.reading_at(QgsPointXY(X + 100, Y - 100)) == ""
    canvas.xyCoordinates.emit(QgsPointXY(X + 7000, Y - 3000))
    wait_for(lambda: opened.heard.readings and opened.heard.readings[-1].startswith("rough ("))


def test_closing_ends_at_once_whatever_is_computed(opened, layer):
    wait_for(lambda: opened.opened is not None)
    opened.set_labels(MARKS, layer.crs())
    thread, began = opened._thread, time.monotonic()
    opened.close()
    assert time.monotonic() - began < 0.5
    assert opened.layer is None
    assert opened.preview is None
    heard = len(opened.heard.progress)
    assert thread.wait(30)
    QApplication.processEvents()
    assert len(opened.heard.progress) == heard
    assert opened.heard.problems == []


def test_removing_the_layer_ends_it_too(opened, layer):
    wait_for(lambda: opened.heard.progress)
    QgsProject.instance().removeMapLayer(layer.id())
    assert opened.layer is None
    assert opened.heard.problems == []


def test_events_never_wait_long(opened, layer, canvas):
    gap = LongestGap()
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    canvas.setExtent(QgsRectangle(X + 4000, Y - 3000, X + 5000, Y - 2250))
    finish(opened)
    opened.close()
    QApplication.processEvents()
    assert gap.longest < 1000, f"{gap.longest} ms"  # a busy machine; figures are in docs


def test_fewer_than_two_classes_have_no_map(opened, layer):
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    opened.set_labels(MARKS[:1], layer.crs())
    wait_for(lambda: opened.maps is None)
    assert opened.preview.layer("classes") is None
    assert opened.heard.states[-1] == "Label at least two classes to see a map."


def test_a_layer_without_crs_is_refused_with_a_sentence(engine, label_panel, tmp_path, qgis_new_project):
    heard = Listener(engine)
    bare = QgsRasterLayer(str(write(tmp_path / "bare.tif", textured()[:, :50, :50], epsg=None)), "bare")
    bare.setCrs(QgsCoordinateReferenceSystem())
    engine.open(bare, label_panel("runtime.learn.features").FeatureChoice("texture"), None)
    assert "'bare' has no CRS" in heard.problems[0]
    assert engine.layer is None


def test_what_may_be_wrong_with_a_layer_is_said(engine, label_panel, tmp_path, qgis_new_project):
    pixels = textured()
    pixels[:, :, :300] = 0  # a third without data, which the file does not say
    layer = QgsRasterLayer(str(write(tmp_path / "empty.tif", pixels)), "empty")
    QgsProject.instance().addMapLayer(layer)
    engine.heard = Listener(engine)
    engine.open(layer, label_panel("runtime.learn.features").FeatureChoice("texture"), None)
    wait_for(lambda: any("nodata" in text for text in engine.heard.states))


def test_what_is_unlike_the_labels_is_hatched(opened, layer):
    opened.set_shown("unlike", True)
    shares = []
    opened.unlike_found.connect(shares.append)
    opened.set_labels(
        [(1, 0, square(200, 100)), (2, 0, square(500, 250)), (3, 1, square(300, 150)), (4, 1, square(600, 50))],
        layer.crs(),
    )
    finish(opened)
    QApplication.processEvents()
    assert 0.4 < shares[-1] < 0.9  # the rough half was never labelled
    assert layer.extent().buffered(1).contains(opened.preview.layer("unlike").extent())
    block = opened.preview.layer("unlike").dataProvider().block(1, layer.extent(), COLUMNS, ROWS)
    values = np.frombuffer(block.data().data(), np.uint8).reshape(ROWS, COLUMNS)
    assert 0.1 < values[:, 470:].mean() < 0.5  # lines
    assert values[:, 470:].mean() > 1.3 * values[:, :400].mean()


def test_similar_places_of_the_view_and_of_the_layer(opened, layer):
    finish(opened)
    found = []
    opened.similar_found.connect(found.append)
    opened.seek([QgsPointXY(X + 7000, Y - 3000)], [QgsPointXY(X + 2000, Y - 3000)])
    finish(opened)
    wait_for(lambda: found and found[-1].pictures)
    places = found[-1].places
    assert len(places.scores) > 20
    assert (places.columns[:20] > SPLIT).all()
    assert (np.diff(places.scores) <= 0).all()
    assert found[-1].pictures[0].shape == (64, 64, 3)
    block = opened.preview.layer("similarity").dataProvider().block(1, layer.extent(), COLUMNS // 4, ROWS // 4)
    values = np.frombuffer(block.data().data(), np.float32).reshape(ROWS // 4, COLUMNS // 4)
    assert np.nanmean(values[20:, 120:]) > 2 * np.nanmean(values[20:, 25:100])
    assert np.isnan(values[5, 5])
    assert opened.preview.layer("similarity").extent() == layer.extent()
    points = opened.preview.layer("similar")
    assert points.featureCount() == len(places.scores)
    opened.seek([], [])
    wait_for(lambda: quiet(opened))
    assert opened.preview.layer("similarity") is None
    assert opened.preview.layer("similar") is None


class Panel:
    """What the pages ask of the panel."""

    def __init__(self, engine) -> None:
        self.engine, self.added = engine, []

    def classes(self):
        return self.engine._classes

    def add_label(self, index, shape):
        self.added.append((index, shape))


def test_the_next_places_are_labelled_by_keys(opened, layer, canvas, label_panel):
    page = label_panel("ui.label_panel.live.next_page").NextPage(opened, panel := Panel(opened))
    page.show()
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    page.suggest.click()
    wait_for(lambda: page.at == 0)
    assert len(page.places) == 10
    assert page.text.text().startswith("Place 1 of 10: perhaps ")
    inside = [shape for _, _, shape in MARKS]
    points = [QgsGeometry.fromPointXY(opened.point_of(place)) for place, _, _ in page.places]
    assert not any(shape.contains(point) for shape in inside for point in points)
    assert canvas.extent().contains(points[0].asPoint())
    QTest.keyClick(page, Qt.Key.Key_Right)
    assert page.text.text().startswith("Place 2 of 10")
    QTest.keyClick(page, Qt.Key.Key_2)
    ((index, shape),) = panel.added
    assert index == 1
    assert shape.area() == pytest.approx((4 * PIXEL) ** 2)
    assert shape.contains(points[1])
    assert len(page.places) == 9
    assert page.at == 1
    page.skip.click()
    assert len(page.places) == 8
    assert len(panel.added) == 1
    page.previous.click()
    assert page.at == 0


def test_how_good_it_is_is_told_with_intervals(opened, layer, label_panel):
    page = label_panel("ui.label_panel.live.quality_page").QualityPage(opened)
    page.show()
    assert page.summary.text().startswith("Label at least two classes")
    opened.set_labels(MARKS, layer.crs())
    wait_for(lambda: page.summary.text().startswith("Accuracy"))
    assert "at 4 polygons that were left out one by one" in page.summary.text()
    assert page.scores.item(0, 0).text() == "2"
    assert page.confusion.rowCount() == 2
    assert page.scores.verticalHeaderItem(1).text() == "rough"
    assert "8" in page.warnings.text()  # polygons that a class should have
    page.hatched.click()
    wait_for(lambda: "% of the view is unlike" in page.unlike.text())
    assert opened.preview.is_shown("unlike")


def test_examples_are_clicked_on_the_map(opened, layer, canvas, label_panel):
    page = label_panel("ui.label_panel.live.similar_page").SimilarPage(opened, canvas)
    page.show()
    finish(opened)
    page.like.click()
    assert canvas.mapTool() is page.tools[0]
    page.tools[0].canvasClicked.emit(QgsPointXY(X + 7000, Y - 3000), Qt.MouseButton.LeftButton)
    page.unlike.click()
    assert canvas.mapTool() is page.tools[1]
    assert not page.like.isChecked()
    page.tools[1].canvasClicked.emit(QgsPointXY(X + 2000, Y - 3000), Qt.MouseButton.LeftButton)
    wait_for(lambda: bool(page.places.pictures))
    assert page.list.count() == len(page.places.places.scores) > 20
    assert not page.list.item(0).icon().isNull()
    assert page.list.item(0).text().endswith(" %")
    page.list.setCurrentRow(0)
    assert canvas.extent().contains(opened.point_of((page.places.places.rows[0], page.places.places.columns[0])))
    page.clear_all.click()
    assert page.list.count() == 0
    assert page.points == ([], [])
    page.hide()
    assert canvas.mapTool() is not page.tools[1]


def test_a_large_view_is_mapped_on_every_kth_place(opened, layer, canvas, label_panel, monkeypatch):
    """The same classes as at those places of the full map, whatever tile they lie in."""
    monkeypatch.setattr(label_panel("ui.label_panel.live.view"), "MOST_PIXELS", 10_000)
    monkeypatch.setattr(label_panel("ui.label_panel.live.view"), "MOST_PLACES", 5_000)
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    view, raster, head = opened.maps.view, opened._work.raster, opened.fitted.head
    assert view.step == 3
    assert opened.maps.classes.shape == (-(-ROWS // 12), -(-COLUMNS // 12))
    margin, tested = raster.features.margin, 0
    for tile in raster.tiles():
        record, window = raster.record(tile), raster.window(tile)
        for row in range(-(-window.row // 12) * 12, window.row + window.height, 12 * 5):
            for column in range(-(-window.column // 12) * 12, window.column + window.width, 12 * 5):
                place = record[:, (row - window.row) // 4 + margin, (column - window.column) // 4 + margin]
                best = head.probabilities(place[None].astype(np.float32)).argmax() + 1
                assert opened.maps.classes[row // 12, column // 12] == (0 if row < 60 and column < 100 else best)
                tested += 1
    assert tested > 100


def test_a_cache_that_cannot_be_written_is_told_and_the_map_goes_on(engine, layer, label_panel, tmp_path):
    (tmp_path / "full").write_text("no folder")
    engine.heard = Listener(engine)
    land, choice = label_panel("runtime.raster.legend").LandClass, label_panel("runtime.learn.features").FeatureChoice
    engine.open(layer, choice("texture"), tmp_path / "full")
    engine.set_classes([land(1, "smooth", "00AA00"), land(2, "rough", "CC0000")])
    engine.set_labels(MARKS, layer.crs())
    wait_for(lambda: engine.heard.problems and engine.maps is not None)
    finish(engine)
    assert "full" in engine.heard.problems[0]
    assert set(np.unique(map_of(engine))) == {0, 1, 2}


def test_a_file_that_changes_meanwhile_is_told(opened, layer, canvas):
    finish(opened)
    opened.delete_cache()
    finish(opened)
    pixels = textured()
    pixels[:, 300:, 300:] = 77
    write(Path(layer.source()), pixels, nodata=0)
    opened._work.raster._kept.clear()
    canvas.setExtent(QgsRectangle(X + 100, Y - 6900, X + 8800, Y - 500))
    wait_for(lambda: bool(opened.heard.problems))
    assert "changed" in opened.heard.problems[0]


def test_the_features_of_the_whole_layer_become_one_file_and_are_used_again(opened, layer, tmp_path, label_panel):
    opened.set_labels(MARKS, layer.crs())
    finish(opened)
    first = map_of(opened)
    assert len(list((tmp_path / "cache").rglob("*.tif"))) == 1
    choice = label_panel("runtime.learn.features").FeatureChoice("texture")
    opened.open(layer, choice, tmp_path / "cache")  # the labels stay
    wait_for(lambda: opened.opened is not None)
    assert all(opened._work.raster.is_there(tile) for tile in opened._work.raster.tiles())
    wait_for(lambda: opened.maps is not None and quiet(opened))
    np.testing.assert_array_equal(map_of(opened), first)
    wait_for(lambda: opened.cache_bytes() > 0)
    opened.delete_cache()
    wait_for(lambda: opened.cache_bytes() == 0)


def test_labels_on_no_data_are_named(opened, layer):
    opened.set_labels([*MARKS, (5, 0, square(10, 10))], layer.crs())
    wait_for(lambda: opened.maps is not None)
    assert "1 of 5 labels lie on pixels without data and do not count" in opened.heard.problems[-1]
    opened.set_labels([(1, 0, square(200, 100)), (5, 1, square(10, 10))], layer.crs())
    wait_for(lambda: "at least two classes are needed" in opened.heard.problems[-1])

"""The panel that labels a sample, by real key presses; what was answered is read back from the file on disk."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsApplication, QgsPointXY, QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QEvent, QPoint, Qt, QTimer
from qgis.PyQt.QtGui import QKeyEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from tests.qgis import rasters
from tests.qgis.test_algorithms import run
from tests.qgis.test_ui import shown, until

NAMES = ["", "forest", "crops", "forest to crops"]
COLORS = [(0, 0, 0), (20, 120, 40), (220, 180, 60), (200, 30, 30)]


@pytest.fixture
def change_map(tmp_path) -> Path:
    """Forest left, crops right, a clearing between them; 10 m pixels."""
    classes = np.ones((1, 60, 80), np.uint8)
    classes[:, :, 40:] = 2
    classes[:, 20:30, 30:40] = 3
    path = rasters.write(tmp_path / "change.tif", classes, nodata=255)
    names = "".join(f"<Category>{name}</Category>" for name in NAMES)
    colors = "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="255"/>' for r, g, b in COLORS)
    about = f"<CategoryNames>{names}</CategoryNames><ColorTable>{colors}</ColorTable>"
    text = f'<PAMDataset><PAMRasterBand band="1">{about}</PAMRasterBand></PAMDataset>'
    path.with_name("change.tif.aux.xml").write_text(text)
    return path


@pytest.fixture
def sample(geoaware, running, change_map, tmp_path) -> Path:
    out = tmp_path / "sample.gpkg"
    run("sample", INPUT=change_map, OUTPUT=out, ERROR=0.05, LEAST=5, SEED=3)
    return out


@pytest.fixture
def images(tmp_path, scene):
    before = shown(rasters.write(tmp_path / "2001.tif", scene[0], nodata=0))
    after = shown(rasters.write(tmp_path / "2020.tif", scene[0][::-1].copy(), nodata=0))
    before.setName("2001")
    after.setName("2020")
    return before, after


@pytest.fixture
def panel(running, desktop, sample, images):
    running.open_sample_panel()
    panel = running.desk.sample_panel
    panel.show()
    panel.resize(900, 800)
    panel.open(sample)
    until(lambda: panel.answers.point is not None)
    return panel


def press(panel, key, text: str = "", widget=None) -> None:
    """As a keyboard does: QGIS may take the key first, then it is pressed and released."""
    target = widget or panel.body
    modifiers = Qt.KeyboardModifier.NoModifier
    early = QKeyEvent(QEvent.Type.ShortcutOverride, key, modifiers, text)
    early.ignore()
    QApplication.sendEvent(target, early)
    QTest.keyClick(target, text if text else key)


def rows(path: Path) -> list[tuple]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute('SELECT "class", notes, stratum, map FROM sample ORDER BY number').fetchall()


def saved(panel) -> None:
    until(lambda: panel.answers.waiting == 0 and panel.answers._task is None)


def test_keys_answer_skip_and_go_back_and_every_answer_is_in_the_file(panel, sample):
    names = [one.name for one in panel.answers.sample.classes]
    assert names == ["forest", "crops", "forest to crops", "crops to forest"]
    assert panel.answers.point.number == 1
    press(panel, Qt.Key.Key_2, "2")
    saved(panel)
    assert rows(sample)[0][0] == "crops"
    assert panel.answers.point.number == 2
    press(panel, Qt.Key.Key_Space, " ")
    press(panel, Qt.Key.Key_4, "4")
    saved(panel)
    assert [row[0] for row in rows(sample)[:4]] == ["crops", None, "crops to forest", None]
    assert "Point 4 of" in panel.progress.text()
    assert "2 labelled" in panel.progress.text()
    press(panel, Qt.Key.Key_Backspace)
    press(panel, Qt.Key.Key_Backspace)
    assert panel.answers.point.number == 2
    assert "skipped" in panel.progress.text()
    press(panel, Qt.Key.Key_1, "1")
    saved(panel)
    assert [row[0] for row in rows(sample)[:3]] == ["crops", "forest", "crops to forest"]
    assert panel.answers.point.number == 4  # the next one that nobody has seen
    press(panel, Qt.Key.Key_9, "9")  # no class has this key
    assert panel.answers.point.number == 4


def test_keys_work_wherever_the_focus_is_but_in_the_notes_they_are_letters(panel, sample):
    press(panel, Qt.Key.Key_1, "1", panel.skip_button)
    press(panel, Qt.Key.Key_1, "1", panel.pictures.both[0].canvas)
    saved(panel)
    assert [row[0] for row in rows(sample)[:3]] == ["forest", "forest", None]
    panel.notes.setFocus()
    QTest.keyClicks(panel.notes, "2 or 1?")
    assert panel.answers.point.number == 3
    QTest.keyClick(panel.notes, Qt.Key.Key_Return)
    saved(panel)
    assert rows(sample)[2][:2] == (None, "2 or 1?")
    press(panel, Qt.Key.Key_2, "2")
    saved(panel)
    assert rows(sample)[2][:2] == ("crops", "2 or 1?")


def test_a_note_that_is_being_written_stays_with_its_point_when_a_class_is_clicked(panel, sample):
    panel.notes.setFocus()
    QTest.keyClicks(panel.notes, "hazy")
    item = panel.classes.visualItemRect(panel.classes.item(1)).center()
    QTest.mouseClick(panel.classes.viewport(), Qt.MouseButton.LeftButton, pos=item)
    saved(panel)
    assert [row[:2] for row in rows(sample)[:2]] == [("crops", "hazy"), (None, None)]


def test_work_resumes_at_the_first_point_that_nobody_has_seen(panel, sample, running):
    for key in "123":
        press(panel, getattr(Qt.Key, f"Key_{key}"), key)
    saved(panel)
    panel.open(sample)
    until(lambda: panel.answers.labelled == 3 and panel.answers.at == 3)
    assert panel.answers.point.answer == ""


def test_the_map_is_hidden_and_no_choice_of_image(panel, sample, change_map, running):
    layer, points = shown(change_map), QgsVectorLayer(f"{sample}|layername=sample", "points", "ogr")
    QgsProject.instance().addMapLayer(points)
    tree = QgsProject.instance().layerTreeRoot()
    assert tree.findLayer(layer.id()).isVisible()
    opened = []
    panel.answers.opened.connect(lambda: opened.append(1))
    panel.open(sample)
    until(lambda: opened)
    assert not tree.findLayer(layer.id()).isVisible()
    assert not tree.findLayer(points.id()).isVisible()
    assert "Hidden" in panel.foot.message.text.text()
    chosen = [panel.before.layer(at) for at in range(panel.before.count())]
    assert layer not in chosen
    assert panel.before.currentLayer().name() == "2001"
    assert panel.after.currentLayer().name() == "2020"
    shown_names = " ".join(panel.classes.item(at).text() for at in range(panel.classes.count()))
    assert "buffer" not in shown_names + panel.progress.text() + panel.file.text()


def test_both_images_show_the_point_and_move_together(panel):
    point, (first, second) = panel.answers.point, (one.canvas for one in panel.pictures.both)
    for canvas in (first, second):
        assert canvas.center().distance(QgsPointXY(point.x, point.y)) < 20
    assert [layer.name() for layer in first.layers() + second.layers()] == ["2001", "2020"]
    first.zoomByFactor(0.5)
    assert second.mapUnitsPerPixel() == pytest.approx(first.mapUnitsPerPixel(), rel=0.01)
    scale = first.mapUnitsPerPixel()
    press(panel, Qt.Key.Key_1, "1")
    after = panel.answers.point
    assert first.center().distance(QgsPointXY(after.x, after.y)) < 20
    assert second.center().distance(QgsPointXY(after.x, after.y)) < 20
    assert first.mapUnitsPerPixel() == pytest.approx(scale, rel=0.01)
    box = panel.pictures.both[0]._lines[0].asGeometry().boundingBox()
    assert (box.width(), box.height()) == (pytest.approx(10), pytest.approx(10))
    panel.after.setLayer(None)
    assert not panel.pictures.both[1].isVisible()


def test_while_another_program_writes_answers_wait_and_nothing_is_lost(panel, sample):
    beats, timer = [], QTimer()
    timer.timeout.connect(lambda: beats.append(time.monotonic()))
    with closing(sqlite3.connect(sample, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer.start(10)
        press(panel, Qt.Key.Key_1, "1")
        press(panel, Qt.Key.Key_2, "2")
        until(lambda: "another program is writing to the file" in panel.foot.message.text.text())
        timer.stop()
        assert np.diff(beats).max() < 1  # the file was asked for two seconds, in the background
        assert rows(sample)[0][0] is None
        assert panel.answers.waiting == 2
        other.execute("ROLLBACK")
    saved(panel)
    assert [row[0] for row in rows(sample)[:2]] == ["forest", "crops"]
    assert panel.foot.message.text.text() == ""


def test_answers_that_cannot_be_saved_at_the_end_are_in_the_log(panel, sample):
    told = []
    QgsApplication.messageLog().messageReceived.connect(lambda text, tag, level: told.append(text))
    with closing(sqlite3.connect(sample, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        press(panel, Qt.Key.Key_2, "2")
        panel.stop()
        other.execute("ROLLBACK")
    assert [text.rpartition(": ")[2] for text in told if "could not be written" in text] == ["1 crops"]


def test_another_file_and_a_missing_one_get_one_sentence(panel, change_map, tmp_path):
    panel.open(change_map)
    until(lambda: "no sample that was drawn from a map" in panel.foot.message.text.text())
    panel.open(tmp_path / "none.gpkg")
    until(lambda: "no such file" in panel.foot.message.text.text())
    assert panel.answers.point is not None  # the sample before stays open


def test_assess_shows_the_page_of_what_is_in_the_file(panel, sample):
    for _ in range(len(panel.answers.points) - 2):
        truth = panel.answers.sample.classes[panel.answers.point.mapped - 1]
        key = str([one.name for one in panel.answers.sample.classes].index(truth.name) + 1)
        press(panel, getattr(Qt.Key, f"Key_{key}"), key)
    QTest.mouseClick(panel.assess_button, Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    until(lambda: panel.report is not None)
    text = panel.report.text.toPlainText()
    assert "overall accuracy 1.000" in text
    assert "all change" in text
    assert "2 of" in text
    assert "have no class yet" in text
    panel.report.close()


def test_what_can_be_asked_before_a_sample_is_open_does_nothing(running, desktop):
    running.open_sample_panel()
    panel = running.desk.sample_panel
    assert not panel.assess_button.isEnabled()
    press(panel, Qt.Key.Key_1, "1")
    panel.assess()
    assert panel.answers.point is None
    assert "No sample is open" in panel.file.text()


def test_processing_draws_the_points_of_the_command_line(sample, change_map, tmp_path):
    """``export.sample`` is run in the Python that has rasterio, where there is one."""
    import os
    import subprocess

    python = os.environ.get("GEOAWARE_TEST_PYTHON")
    if not python:
        pytest.skip("GEOAWARE_TEST_PYTHON names no Python that has rasterio")
    other, root = tmp_path / "other.gpkg", Path(__file__).parents[2]
    command = [
        python,
        "-m",
        "export.sample",
        change_map,
        "--out",
        other,
        "--error",
        "0.05",
        "--least",
        "5",
        "--seed",
        "3",
    ]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "QT_QPA_PLATFORM")}
    subprocess.run([str(word) for word in command], check=True, cwd=root, env=environment, capture_output=True)
    places = [
        {
            tuple(map(float, f.geometry().asPoint()))
            for f in QgsVectorLayer(f"{path}|layername=sample", "", "ogr").getFeatures()
        }
        for path in (sample, other)
    ]
    assert places[0] == places[1]
    assert [row[2:] for row in rows(sample)] == [row[2:] for row in rows(other)]
    with closing(sqlite3.connect(sample)) as one, closing(sqlite3.connect(other)) as two:
        for table in ("sample_strata", "sample_classes"):
            assert [base.execute(f"SELECT * FROM {table}").fetchall() for base in (one,)] == [
                base.execute(f"SELECT * FROM {table}").fetchall() for base in (two,)
            ]
    assert QgsApplication.processingRegistry().algorithmById("geoaware:sample") is not None

"""From strokes to a model and its map, by real mouse strokes in the panel for labels; see ``desktop.py``, which runs it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.qgis.desktop import click, ended, opened, result_page, shoot, with_onnxruntime, with_plugin

Places = Sequence[Sequence[float]]  # column and row in pixels of the raster


class Heart:
    """Beats in QGIS's event loop; tells how long it was ever kept from it, but for this program's own steps."""

    def __init__(self) -> None:
        from qgis.PyQt.QtCore import Qt, QTimer

        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self._beat)
        self.last, self.line = time.monotonic(), 0
        # longer than 100 ms: how long, how long of it this thread worked, and in which line of ``steps``
        self.gaps: list[tuple[int, int, int]] = []
        self.worked = time.thread_time()
        self.longest = 0
        self.timer.start(5)

    def skip(self, line: int) -> None:
        """Begin anew after a step of this program, which the loop had to wait for."""
        self.last, self.line, self.worked = time.monotonic(), line, time.thread_time()

    def _beat(self) -> None:
        now, worked = time.monotonic(), time.thread_time()
        gap, self.last = round(1000 * (now - self.last)), now
        work, self.worked = round(1000 * (worked - self.worked)), worked
        self.longest = max(self.longest, gap)
        if gap > 100:
            self.gaps.append((gap, work, self.line))


def on_screen(canvas, layer, places: Places) -> list[tuple[int, int]]:
    """Where pixels of a layer are on the screen; the canvas has the CRS of the layer."""
    extent, shown = layer.extent(), canvas.getCoordinateTransform()
    across, down = extent.width() / layer.width(), extent.height() / layer.height()
    found = []
    for column, row in places:
        at = shown.transform(extent.xMinimum() + (column + 0.5) * across, extent.yMaximum() - (row + 0.5) * down)
        point = canvas.viewport().mapToGlobal(at.toQPointF().toPoint())
        found.append((point.x(), point.y()))
    return found


def drag(points: Sequence[tuple[int, int]]) -> Iterator[Callable]:
    """Draw a line with the left button pressed, while QGIS goes on."""
    words = ["mousemove", *map(str, points[0]), "sleep", "0.1", "mousedown", "1"]
    for (x, y), (u, v) in zip(points, points[1:]):
        steps = max(abs(u - x), abs(v - y)) // 8 + 1
        for step in range(1, steps + 1):
            words += ["mousemove", str(x + (u - x) * step // steps), str(y + (v - y) * step // steps), "sleep", "0.01"]
    running = subprocess.Popen(["xdotool", *words, "sleep", "0.05", "mouseup", "1"])
    yield lambda: running.poll() is not None


def type_text(text: str, *keys: str) -> None:
    """Type on the keyboard."""
    subprocess.run(["xdotool", "type", "--delay", "2", text], check=True)
    for key in keys:
        subprocess.run(["xdotool", "key", key], check=True)


def picture(task: dict, name: str) -> Iterator[float]:
    """Take the screen, which is no part of what QGIS waits for."""
    shoot(task, name)
    yield 0.05


class Driver:
    """The panel, and the hand that uses it."""

    def __init__(self, panel, canvas, layer, seen: dict) -> None:
        self.panel, self.canvas, self.layer, self.seen = panel, canvas, layer, seen
        self.painted, self.released = 0.0, 0.0
        panel.engine.painted.connect(self._painted)

    def _painted(self) -> None:
        self.painted = time.monotonic()

    def page(self, name: str):
        """The page of a class, unfolded and scrolled to."""
        from qgis.gui import QgsCollapsibleGroupBox
        from qgis.PyQt.QtWidgets import QScrollArea, QWidget

        (page,) = (one for one in self.panel.findChildren(QWidget) if type(one).__name__ == name)
        box = page.parent()
        while not isinstance(box, QgsCollapsibleGroupBox):
            box = box.parent()
        for other in self.panel.findChildren(QgsCollapsibleGroupBox):
            if other.parent() is box.parent():
                other.setCollapsed(other is not box)
        self.panel.findChild(QScrollArea).ensureWidgetVisible(box)
        return page

    def add_class(self, name: str) -> Iterator[float]:
        """With the button, its name on the keyboard."""
        click(self.panel.classes_page.add_button)
        yield 0.3
        type_text(name, "Return")
        yield 0.3

    def stroke(self, places: Places) -> Iterator[Callable]:
        """Paint, and wait for the map if there is one."""
        before = self.painted
        yield from drag(on_screen(self.canvas, self.layer, places))
        self.released = time.monotonic()
        if len({one for _, one, _ in self.panel.store.marks()}) > 1:
            yield lambda: self.painted > max(before, self.released)
            self.seen["seconds from stroke to map"].append(round(self.painted - self.released, 2))


def steps(task: dict, seen: dict) -> Iterator[float | Callable]:
    """Open the panel, paint, look at every page, save and map.

    ``task["labels"]`` has ``classes`` ({name: strokes}), and what to type into the list of features if another entry than the
    suggested one is to be used (``features``).
    """
    from qgis.core import QgsProject
    from qgis.utils import iface, plugins

    canvas, heart = iface.mapCanvas(), Heart()
    seen["heart"] = heart  # kept alive, and taken out at the end
    layer = yield from opened(task)
    yield from with_plugin(task)
    plugin = plugins["geoaware"]
    yield from with_onnxruntime(task, plugin.labels_action)
    yield lambda: plugin.desk.panel is not None and plugin.desk.panel.isVisible()
    began, panel = time.monotonic(), plugin.desk.panel
    heart.longest, heart.gaps = 0, []
    driver = Driver(panel, canvas, layer, seen)
    seen["seconds from stroke to map"] = []
    if task["labels"].get("features"):
        click(panel.features.kinds)
        yield 0.3
        type_text(task["labels"]["features"], "Return")
        began = time.monotonic()
    yield lambda: panel.engine.opened is not None
    seen["seconds to open the layer"] = round(time.monotonic() - began, 1)
    iface.zoomToActiveLayer()
    yield 1
    yield from picture(task, "few_labels_open")
    driver.page("ClassesPage")
    strokes_of = task["labels"]["classes"]
    for name in strokes_of:
        yield from driver.add_class(name)
    click(panel.classes_page.modes["brush"])
    yield 0.3
    for _ in range(3):
        subprocess.run(["xdotool", "key", "bracketleft"], check=True)  # a smaller brush
    for number, strokes in enumerate(strokes_of.values(), start=1):
        subprocess.run(["xdotool", "key", str(number)], check=True)
        yield 0.2
        for places in strokes:
            yield from driver.stroke(places)
        if number == 2:
            yield 0.5
            yield from picture(task, "few_labels_paint")
    yield 1
    yield from picture(task, "few_labels_map")
    seen["seconds to the map of the view"] = round(time.monotonic() - began, 1)

    page = driver.page("NextPage")
    yield 0.5
    click(page.suggest)
    yield lambda: page.places
    yield 1.5
    seen["places"] = len(page.places)
    yield from picture(task, "few_labels_next")
    labels = len(panel.store.marks())
    subprocess.run(["xdotool", "key", "1"], check=True)
    yield lambda: len(panel.store.marks()) != labels or len(page.places) < seen["places"]
    iface.zoomToActiveLayer()
    yield 1

    page = driver.page("QualityPage")
    yield lambda: page.scores.isVisible() and page.scores.rowCount()
    click(page.hatched, 8)
    yield 2
    seen["quality"] = page.summary.text()
    yield from picture(task, "few_labels_quality")
    click(page.hatched, 8)
    yield lambda: not page.hatched.isChecked()

    page = driver.page("SimilarPage")
    yield 0.5
    click(page.like)
    yield 0.3
    ((x, y),) = on_screen(canvas, layer, [next(iter(strokes_of.values()))[0][0]])
    asked = time.monotonic()
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)
    yield lambda: page.list.count()
    seen["seconds to similar places"] = round(time.monotonic() - asked, 2)
    yield 1.5
    yield from picture(task, "few_labels_similar")
    click(page.clear_all)
    yield 0.5

    page = driver.page("MapPage")
    yield 0.5
    click(page.name)
    type_text("river valley")
    click(page.save_button)
    yield lambda: plugin.desk.runs.all and plugin.desk.runs.all[0].over
    seen["saved"] = plugin.desk.runs.all[0].state
    seen["seconds to the saved model"] = round(time.monotonic() - began, 1)
    click(page.map_button)
    yield lambda: len(plugin.desk.runs.all) == 2 and plugin.desk.runs.all[1].over
    seen["mapped"] = plugin.desk.runs.all[1].state
    shutil.copy(plugin.desk.runs.all[1].outputs["OUTPUT"], Path(task["out"]) / "few_labels.tif")  # to be compared
    seen["seconds from the panel to model and map"] = round(time.monotonic() - began, 1)
    seen["milliseconds that the event loop waited at most"], seen["waits over 100 ms"] = heart.longest, heart.gaps
    yield 1.5
    yield from picture(task, "few_labels_result")
    group = QgsProject.instance().layerTreeRoot().findGroups()
    seen["groups"] = [one.name() for one in group]
    result = yield from result_page()
    seen["page"] = result.text.toPlainText()
    yield from picture(task, "few_labels_page")
    yield from ended(seen)

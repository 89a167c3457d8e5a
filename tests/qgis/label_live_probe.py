"""How long QGIS's events wait, and a repaint takes, while labels are painted: ``python -m tests.qgis.label_live_probe RASTER``.

A canvas of 1500 x 1000 px without a window system. Prints milliseconds: of a stroke until the view is mapped anew, and the
longest time for which the event loop was blocked in each phase. The checkout's plugin is used.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from qgis.core import QgsApplication, QgsGeometry, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QElapsedTimer, QTimer

STROKES, CLASSES = 20, 4


class LongestGap:
    """The longest time for which Qt's events waited, in milliseconds, and how much of it this thread worked."""

    def __init__(self) -> None:
        self.longest, self._worked, self._clock = (0, 0), 0.0, QElapsedTimer()
        self._clock.start()
        self._timer = QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def take(self) -> str:
        """What it was since this was last asked."""
        (longest, worked), self.longest = self.longest, (0, 0)
        return f"{longest} ms, of which the main thread worked {worked}"

    def _tick(self) -> None:
        before, self._worked = self._worked, 1000 * time.thread_time()
        self.longest = max(self.longest, (self._clock.restart(), round(self._worked - before)))


def wait_for(condition, seconds: float = 600) -> float:
    """Process events until something is so; how many milliseconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        QgsApplication.processEvents()
        time.sleep(0.001)
    return 1000 * (time.monotonic() - began)


def probe(raster: Path, model: Path | None, whole: bool) -> None:
    """Open, paint, pan, zoom out and close; prints what it took."""
    from qgis_plugin.runtime.learn.features import FeatureChoice
    from qgis_plugin.runtime.raster.legend import LandClass, palette
    from qgis_plugin.ui.label_panel.engine import Engine

    layer = QgsRasterLayer(str(raster), raster.stem)
    QgsProject.instance().addMapLayer(layer)
    canvas = QgsMapCanvas()
    canvas.resize(1500, 1000)
    canvas.setDestinationCrs(layer.crs())
    canvas.setLayers([layer])
    size = layer.rasterUnitsPerPixelX()
    middle = layer.extent().center()
    half = QgsRectangle(-750 * size, -500 * size, 750 * size, 500 * size)

    def look(right: float) -> None:
        canvas.setExtent(QgsRectangle(half.xMinimum() + middle.x() + right, half.yMinimum() + middle.y(),
                                      half.xMaximum() + middle.x() + right, half.yMaximum() + middle.y()))  # fmt: skip
        canvas.refresh()

    look(0)
    engine, gap, counts, progress = Engine(canvas), LongestGap(), [0], [(0, 1)]

    def painted() -> None:
        counts[0] += 1

    engine.painted.connect(painted)
    engine.progressed.connect(lambda *now: progress.append(now))
    engine.problem.connect(lambda text: text and print("problem:", text))
    drawn = time.monotonic() + 1
    wait_for(lambda: not canvas.isDrawing() and time.monotonic() > drawn)
    gap.take()
    with tempfile.TemporaryDirectory() as cache:
        engine.open(layer, FeatureChoice("both", model) if model else FeatureChoice("texture"), Path(cache))
        engine.set_classes([LandClass(n, f"class {n}", palette(n)) for n in range(1, CLASSES + 1)])
        opened = wait_for(lambda: engine.opened is not None)
        ready = wait_for(lambda: not engine._thread.busy("view") and not engine._view_timer.isActive())
        print(f"opened {opened:.0f} ms, view ready after {ready:.0f} more; longest gap {gap.take()} ms")
        if whole:
            took_all = wait_for(lambda: progress[-1][0] == progress[-1][1])
            print(f"rest of {progress[-1][1]} tiles: {took_all:.0f} ms; longest gap {gap.take()} ms")
        cpu = time.process_time()
        rng, marks, took = np.random.default_rng(0), [], []
        for number in range(STROKES):
            x, y = middle.x() + size * rng.uniform(-700, 700), middle.y() + size * rng.uniform(-450, 450)
            marks.append(
                (number, number % CLASSES, QgsGeometry.fromRect(QgsRectangle(x, y, x + 20 * size, y + 20 * size)))
            )
            if number + 1 < CLASSES:
                continue
            before = counts[0]
            engine.set_labels(marks, layer.crs())
            took.append(wait_for(lambda before=before: counts[0] > before))
            wait_for(lambda: not canvas.isDrawing())
        cpu = 1000 * (time.process_time() - cpu) / len(took)
        print(f"a stroke takes {cpu:.0f} ms of processor time, drawing included")
        print(f"stroke to map: median {np.median(took):.0f}, longest {max(took):.0f} ms; longest gap {gap.take()} ms")
        before = counts[0]
        look(300 * size)
        print(
            f"panned: {wait_for(lambda: counts[0] > before and not engine._thread.busy('view')):.0f} ms; longest gap {gap.take()} ms"
        )
        if whole:
            before = counts[0]
            canvas.setExtent(layer.extent())
            shown = wait_for(lambda: counts[0] > before and not engine._thread.busy("view", "paint"))
            print(f"whole layer shown: {shown:.0f} ms; longest gap {gap.take()} ms; {engine.maps.view}")
            before = counts[0]
            engine.set_labels(marks[:-1], layer.crs())
            print(f"stroke to map: {wait_for(lambda: counts[0] > before):.0f} ms; longest gap {gap.take()} ms")
        began = time.monotonic()
        engine.close()
        print(f"closed in {1000 * (time.monotonic() - began):.0f} ms; longest gap {gap.take()} ms")
        engine.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raster", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--whole", action="store_true", help="wait for the features of the whole layer")
    given = parser.parse_args()
    application = QgsApplication([], True)
    application.initQgis()
    probe(given.raster, given.encoder, given.whole)
    QgsProject.instance().clear()

"""Between the panel and its worker threads: hands out what is to be computed, shows what comes back. Main thread only."""

from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsPointXY,
    QgsProject,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ...gdal_io.job import snapshot
from ...runtime.errors import RuntimeFault
from ...texts import tr, words
from .live import thinking
from .live.preview import PreviewLayers
from .live.view import NO_CLASS, Maps
from .live.work import FIT, OPEN, REST, SCORE, VIEW, Given, LikePlaces, LiveFit, LiveLayer, Marks, Work
from .live.worker import StepThread

_SETTLED_MS = 60  # after the map was moved or painted on
_ENDING_S = 20.0  # that unloading the plugin waits for the threads
_HOVER_MS = 30  # between two looks at what is under the cursor


class Engine(QObject):
    """Computes features, fits and maps in the background, and shows the maps as layers.

    Attributes:
        layer: that is mapped; None while there is none.
        opened: what is known of it once its features can be computed.
        fitted: the head and its samples; None with fewer than two classes.
        maps: of the view, as last drawn.
        seconds: that the last refit took, from its labels to the map.
    """

    progressed = pyqtSignal(int, int)  # tiles of the layer whose features are there, of so many
    painted = pyqtSignal()  # the map of the view was repainted
    state = pyqtSignal(str)  # what is being done
    problem = pyqtSignal(str)  # one sentence; empty: the last one no longer holds
    read = pyqtSignal(str)  # class and confidence under the cursor
    cache_changed = pyqtSignal()
    ready = pyqtSignal(object)  # LiveLayer
    refitted = pyqtSignal(object)  # LiveFit, or None
    judged = pyqtSignal(object)  # Quality
    suggested = pyqtSignal(object, object, object)  # rows and columns, indices of classes, their probabilities
    unlike_found = pyqtSignal(float)  # share of the view that is unlike anything labelled
    similar_found = pyqtSignal(object)  # LikePlaces of the layer so far
    closed = pyqtSignal()

    def __init__(self, canvas, parent=None) -> None:
        super().__init__(parent)
        self.canvas = canvas
        self.layer: Any = None
        self.opened: Optional[LiveLayer] = None
        self.fitted: Optional[LiveFit] = None
        self.maps: Optional[Maps] = None
        self.seconds = 0.0
        self.preview: Optional[PreviewLayers] = None
        self._classes: tuple = ()
        self._marks = Marks()
        self._given: Optional[Given] = None
        # there is a layer as long as there are these
        self._work: Any = None
        self._thread: Any = None
        self._thinker: Any = None
        self._ending: list[StepThread] = []
        self._bytes = 0
        self._cursor: Optional[QgsPointXY] = None
        self._reading = ""
        self._shown: dict[str, bool] = {}
        self._view_timer, self._fit_timer = self._timer(self._ask_view), self._timer(self._ask_fit)
        self._hover_timer = self._timer(self._read_cursor, _HOVER_MS)
        for signal, slot in self._listened():
            signal.connect(slot)

    def open(self, layer, choice, folder: Optional[Path], **options) -> None:
        """Compute features (a ``FeatureChoice``) of a raster layer, the view first; ``folder`` is for the cache.

        What was open before is closed; the labels stay, if it is the same layer. Errors are emitted as ``problem``.
        """
        classes, marks = (self._classes, self._marks) if layer is self.layer else ((), Marks())
        self.close()
        self._classes, self._marks = classes, marks
        self.problem.emit("")
        try:
            transforms = QgsCoordinateTransformContext(QgsProject.instance().transformContext())
            given = Given(snapshot(layer), layer.name(), choice, folder, transforms, **options)
        except RuntimeFault as fault:
            self.problem.emit(words(fault))
            return
        self.layer, self._given = layer, given
        layer.willBeDeleted.connect(self.close)  # before the project forgets it: the group is found by it
        self.preview = PreviewLayers(layer, self.canvas, self)
        for kind, shown in self._shown.items():
            self.preview.set_shown(kind, shown)
        self._thread, self._thinker = self._started("features"), self._started("judging")
        self._work = Work(self._thread, given)
        self._thread.put("open", OPEN, self._work.open)
        self.state.emit(tr("Opening the layer…"))

    def set_classes(self, classes) -> None:
        """The classes, with ``name`` and ``color`` each; those without labels too."""
        names = tuple(one.name for one in classes)
        again = len(names) != len(self._classes)
        self._classes = tuple(classes)
        self._marks = Marks(self._marks.marks, self._marks.crs, names)
        if again:
            self._fit_timer.start()
        elif self.preview is not None and self.maps is not None:
            self.preview.restyle("classes", self._style())

    def set_labels(self, marks, crs) -> None:
        """Fit anew and repaint; ``marks`` are (number, index of the class, ``QgsGeometry`` in ``crs``)."""
        self._marks = Marks(tuple(marks), crs, self._marks.names)
        self._fit_timer.start()

    @property
    def marks(self) -> tuple:
        """(number, index of the class, geometry) of each label, and their CRS."""
        return self._marks.marks, self._marks.crs

    def set_shown(self, name: str, shown: bool) -> None:
        """Show or hide "classes", "confidence", "unlike" or "similarity"."""
        self._shown[name] = shown
        if self.preview is not None:
            self.preview.set_shown(name, shown)
        if name == "unlike" and self._thread is not None and self.opened is not None:
            self._thread.put("unlike", SCORE, lambda: self._work.want_unlike(shown))

    def judge(self) -> None:
        """Ask how good the fit is; ``judged`` answers."""
        if self._thinker is not None and self.fitted is not None:
            fitted, thinker = self.fitted, self._thinker
            thinker.put("judge", 1, lambda: thinking.judge(thinker, fitted))

    def suggest(self) -> None:
        """Ask which places to label next; ``suggested`` answers."""
        if self._thread is not None and self.opened is not None and self.fitted is not None:
            self._thread.put("candidates", FIT, self._work.give_candidates)

    def seek(self, positives, negatives) -> None:
        """Find what is like some points of the layer's CRS and unlike others; without any, stop that."""
        if self._thread is None or self.opened is None:
            return
        self.problem.emit("")  # of the examples before
        seen = self.opened.seen
        places = [_pixels_of(points, seen) for points in (positives, negatives)]
        self._thread.drop("similar", "best")
        self._thread.put("similar", SCORE, lambda: self._work.seek(*places))
        if not len(places[0]) and self.preview is not None:
            self.preview.hide("similarity")
            self.preview.hide("similar")

    def point_of(self, place) -> QgsPointXY:
        """The middle of a pixel, row and column, in the layer's CRS."""
        row, column = place
        return QgsPointXY(*self.opened.seen.at(column + 0.5, row + 0.5))

    def cache_bytes(self) -> int:
        """Size of the cache of this layer on disk."""
        return self._bytes

    def delete_cache(self) -> None:
        """Delete the cache of this layer; what is shown stays."""
        if self._thread is not None and self.opened is not None:
            self._thread.drop("rest")
            self._thread.put("delete", FIT, self._work.delete_cache)

    def close(self) -> None:
        """Let go of the layer, cancel what runs; returns at once."""
        if self.layer is None:
            return
        for timer in (self._view_timer, self._fit_timer, self._hover_timer):
            timer.stop()
        layer, self.layer = self.layer, None
        if not sip.isdeleted(layer):
            layer.willBeDeleted.disconnect(self.close)
        self._thread.close(self._work.close)
        self._thinker.close()
        self._ending = [one for one in (*self._ending, self._thread, self._thinker) if not one.wait(0)]
        self._work = self._thread = self._thinker = self._given = None
        self.preview.close()
        self.preview = self.opened = self.fitted = self.maps = None
        self._classes, self._marks, self._bytes = (), Marks(), 0
        self.state.emit("")
        self.read.emit("")
        self.closed.emit()

    def finish(self) -> None:
        """Close and wait for the workers; called when the plugin is unloaded."""
        for signal, slot in self._listened():
            signal.disconnect(slot)
        self.close()
        for one in self._ending:
            one.wait(_ENDING_S)
        self._ending = []

    def _listened(self) -> list:
        canvas, project = self.canvas, QgsProject.instance()
        return [
            (canvas.extentsChanged, self._view_timer.start),
            (canvas.destinationCrsChanged, self._view_timer.start),
            (canvas.xyCoordinates, self._hovered),
            (project.cleared, self.close),
        ]

    def _timer(self, slot: Callable, milliseconds: int = _SETTLED_MS) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer

    def _started(self, name: str) -> StepThread:
        thread = StepThread(name)
        thread.voice.said.connect(self._heard)
        thread.voice.failed.connect(self._failed)
        thread.voice.broke.connect(self._broke)
        return thread

    def _ask_view(self) -> None:
        if self._thread is None or self.opened is None:
            return
        settings = self.canvas.mapSettings()
        try:
            transform = QgsCoordinateTransform(settings.destinationCrs(), self.layer.crs(), QgsProject.instance())
            box = transform.transformBoundingBox(settings.visibleExtent())
        except QgsCsException:  # the view lies where the layer's CRS has no coordinates
            return
        bounds = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        across = settings.outputSize().width()
        self._thread.put("view", VIEW, lambda: self._work.view(bounds, across))

    def _ask_fit(self) -> None:
        if self._thread is not None and self.opened is not None:
            marks = self._marks
            self._thread.put("fit", FIT, lambda: self._work.fit(marks))

    def _is_listened_to(self, number: int) -> bool:
        """Whether a thread is in use; what it says after it was closed is of no use."""
        return any(one is not None and one.number == number for one in (self._thread, self._thinker))

    def _heard(self, number: int, what: str, result: Any) -> None:
        if self._is_listened_to(number):
            getattr(self, f"_on_{what}")(result)

    def _broke(self, error: Exception) -> None:
        raise error

    def _failed(self, number: int, text: str) -> None:
        if self._is_listened_to(number):
            self.state.emit("")
            self.problem.emit(text)

    def _on_state(self, text: str) -> None:
        self.state.emit(text)

    def _on_opened(self, opened: LiveLayer) -> None:
        self.opened = opened
        self.ready.emit(opened)
        self.state.emit(" ".join(words(note) for note in opened.notes))
        self._ask_view()
        self._ask_fit()
        if self._shown.get("unlike"):
            self.set_shown("unlike", True)
        self._thread.put("rest", REST, self._work.rest)

    def _on_progress(self, counts: tuple[int, int]) -> None:
        self.progressed.emit(*counts)

    def _on_view(self, counts: tuple[int, int]) -> None:
        done, total = counts
        text = tr("Features of the view: {done} of {total} tiles").format(done=done, total=total)
        self.state.emit(text if done < total else "")

    def _on_cache(self, count: int) -> None:
        self._bytes = count
        self.cache_changed.emit()

    def _on_unfitted(self, _) -> None:
        self.fitted = self.maps = None
        for kind in ("classes", "confidence", "unlike"):
            self.preview.hide(kind)
        self.state.emit(tr("Label at least two classes to see a map."))
        self.refitted.emit(None)

    def _on_fitted(self, fitted: LiveFit) -> None:
        self.fitted = fitted
        self.problem.emit(" ".join(words(note) for note in fitted.notes))
        self.refitted.emit(fitted)

    def _on_painted(self, result) -> None:
        self.maps, paths, self.seconds = result
        self.preview.show("classes", paths["classes"], self._style())
        self.preview.show("confidence", paths["confidence"], ())
        self._read_cursor()
        self.painted.emit()

    def _on_unlike(self, result) -> None:
        path, share = result
        self.preview.show("unlike", path, ())
        self.unlike_found.emit(share)

    def _on_similar(self, path: str) -> None:
        self.preview.show("similarity", path, ())

    def _on_best(self, found: LikePlaces) -> None:
        points = [self.point_of(place) for place in zip(found.places.rows, found.places.columns)]
        self.preview.show_points(points, found.places.scores.tolist())
        self.similar_found.emit(found)

    def _on_candidates(self, candidates) -> None:
        fitted, thinker = self.fitted, self._thinker
        if fitted is not None:
            thinker.put("suggest", 0, lambda: thinking.suggest(thinker, fitted, candidates))

    def _on_judged(self, result) -> None:
        fitted, quality = result
        if fitted is self.fitted:
            self.judged.emit(quality)

    def _on_suggested(self, result) -> None:
        fitted, places, classes, sure = result
        if fitted is self.fitted:
            self.suggested.emit(places, classes, sure)

    def _style(self) -> tuple:
        return tuple((index, f"#{one.color.lstrip('#')}", one.name) for index, one in enumerate(self._classes, start=1))

    def _hovered(self, point: QgsPointXY) -> None:
        self._cursor = QgsPointXY(point)
        if not self._hover_timer.isActive():
            self._hover_timer.start()

    def _read_cursor(self) -> None:
        reading = self.reading_at(self._cursor) if self._cursor is not None else ""
        if reading != self._reading:
            self._reading = reading
            self.read.emit(reading)

    def reading_at(self, point: QgsPointXY) -> str:
        """Class and confidence at a point in the CRS of the canvas; empty where there is none."""
        maps, opened = self.maps, self.opened
        if maps is None or opened is None:
            return ""
        try:
            source = self.canvas.mapSettings().destinationCrs()
            at = QgsCoordinateTransform(source, self.layer.crs(), QgsProject.instance()).transform(point)
        except QgsCsException:
            return ""
        column, row = opened.seen.pixel_at(at.x(), at.y())
        window, cell = maps.view.window, maps.view.cell
        row, column = int(np.floor((row - window.row) / cell)), int(np.floor((column - window.column) / cell))
        rows, columns = maps.classes.shape
        if not (0 <= row < rows and 0 <= column < columns) or maps.classes[row, column] == NO_CLASS:
            return ""
        index = int(maps.classes[row, column]) - 1
        if index >= len(self._classes):
            return ""
        confidence = int(maps.confidence[row, column])
        return tr("{name} ({confidence} %)").format(name=self._classes[index].name, confidence=confidence)


def _pixels_of(points, seen) -> np.ndarray:
    """(N, 2) rows and columns of those points that lie in a grid."""
    places = [seen.pixel_at(point.x(), point.y()) for point in points]
    found = [(int(np.floor(row)), int(np.floor(column))) for column, row in places if np.isfinite([row, column]).all()]
    inside = [(row, column) for row, column in found if 0 <= row < seen.height and 0 <= column < seen.width]
    return np.array(inside, np.int64).reshape(-1, 2)

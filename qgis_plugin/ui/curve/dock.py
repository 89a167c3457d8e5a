"""The panel *GeoAware: season curve*: what layers of several dates hold, or a model says, at the place of a click."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QApplication, QDockWidget, QFileDialog, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from ...algorithms.base import ICON
from ...runtime.curve import PlaceTable
from ...runtime.raster.mask_band import MaskBand
from ...texts import tr, words
from ..label_panel.live.worker import StepThread
from ..label_panel.parts import Foot
from ..models import all_known, entries
from ..widgets import Background, button, narrow_list, paragraph, split, stack
from .places import PickedPlace, PlaceList
from .plot import CurvePlot, PlotData
from .plotted import plotted
from .tool import CurveTool, PlaceMarks, moved
from .work import BANDS, OPEN, READ, Asked, ChosenLayer, CurveWork, LayerCopy, Told, whole

CURVE_ICON = ICON.with_name("curve.svg")
_SHOWN_MS = 60  # between two drawings of a curve that grows
_ENDING_S = 20.0  # that unloading the plugin waits for threads


class CurveDock(QDockWidget):
    """Holds the places, asks a thread what layers and models say of them, and shows it."""

    told = pyqtSignal(object)  # Told

    def __init__(self, iface, window, open_help, usable) -> None:
        """``window`` chooses layers and dates; ``usable`` says whether models can be run, after it has offered to help."""
        super().__init__(tr("GeoAware: season curve"), iface.mainWindow())
        self.setObjectName("geoawareCurve")
        self._canvas, self._usable, self._window = iface.mapCanvas(), usable, window
        self.chosen: list[ChosenLayer] = []
        self.tool, self.marks = CurveTool(self._canvas), PlaceMarks(self._canvas)
        self.plot, self.list, self.foot = CurvePlot(), PlaceList(), Foot()
        self.sources = narrow_list()
        self._mask_band: Optional[MaskBand] = None
        self._asked = 0
        self._latest: Optional[Told] = None
        self._latest_timer = QTimer(self)
        self._latest_timer.setSingleShot(True)
        self._latest_timer.setInterval(_SHOWN_MS)
        self._latest_timer.timeout.connect(self._show_latest)
        self._work: Optional[CurveWork] = None
        self._thread: Optional[StepThread] = None
        self._ending: list[StepThread] = []
        self._reading: list[Background] = []
        self._lay_out(open_help)
        self._listen()
        self.fill_models()
        self._show()

    def _lay_out(self, open_help) -> None:
        self.dates_button = button(tr("Layers and dates…"), self.choose_layers)
        self.summary = paragraph()
        self.pick_button = self._tool_button(str(CURVE_ICON), tr("Click a place on the map"), self.pick)
        self.pick_button.setCheckable(True)
        self.save_button = self._tool_button("mActionFileSave.svg", tr("Save as CSV…"), self.save)
        self.copy_button = self._tool_button("mActionEditCopy.svg", tr("Copy the picture"), self.copy)
        self.clear_button = self._tool_button("mActionDeleteSelected.svg", tr("Forget all places"), self.forget)
        help_button = self._tool_button("mActionHelpContents.svg", tr("Help"), open_help)
        self.sources.setToolTip(tr("What is shown: values of the bands, or what a model says"))
        top = stack(
            QHBoxLayout(), self.pick_button, self.dates_button, self.summary, self.sources, self.save_button,
            self.copy_button, self.clear_button, help_button,
        )  # fmt: skip
        top.setStretch(2, 1)
        top.setContentsMargins(6, 4, 6, 0)
        self.splitter = split(Qt.Orientation.Horizontal, self.plot, self.list)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setChildrenCollapsible(False)
        whole_of = QWidget()
        layout = stack(QVBoxLayout(whole_of), top, self.splitter, self.foot)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setStretch(1, 1)
        layout.setSpacing(2)
        self.setWidget(whole_of)

    def _tool_button(self, icon: str, tip: str, clicked) -> QToolButton:
        made = QToolButton()
        made.setIcon(QIcon(icon) if os.path.isabs(icon) else QgsApplication.getThemeIcon(icon))
        made.setToolTip(tip)
        made.setAutoRaise(True)
        made.clicked.connect(lambda *_: clicked())
        return made

    def _listen(self) -> None:
        self.tool.clicked.connect(self.add_place)
        self.tool.activated.connect(self._tool_taken)
        self.tool.deactivated.connect(self._tool_left)
        self.list.chosen.connect(self._chosen)
        self.sources.activated.connect(self._source_chosen)
        self._window.applied.connect(self._layers_chosen)
        project = QgsProject.instance()
        self._signals = [
            (project.layersWillBeRemoved, self._layers_going),
            (project.cleared, self._project_closed),
            (self._canvas.destinationCrsChanged, self._mark),
        ]
        for signal, slot in self._signals:
            signal.connect(slot)

    # the tool

    def pick(self) -> None:
        """Take the tool, or put it away."""
        if self._canvas.mapTool() is self.tool:
            self._canvas.unsetMapTool(self.tool)
        else:
            self._canvas.setMapTool(self.tool)
        self.pick_button.setChecked(self._canvas.mapTool() is self.tool)

    def _tool_taken(self) -> None:
        self.pick_button.setChecked(True)

    def _tool_left(self) -> None:
        self.pick_button.setChecked(False)

    # layers

    def set_layers(self, chosen: Sequence[ChosenLayer], mask: Optional[MaskBand] = None) -> None:
        """Read other layers from now on, of which a mask band hides pixels; the places stay."""
        self._unwatch()
        self._close()
        self._mask_band = mask
        self.chosen = sorted(chosen, key=lambda one: one.day)
        for layer in self._layers():
            layer.crsChanged.connect(self._layer_changed)
            layer.dataSourceChanged.connect(self._layer_changed)
        self.list.forget()
        self._open()
        self._chosen()

    def choose_layers(self) -> None:
        """Open the window of layers and dates."""
        self._window.to_front()

    def suggest(self, layers: Sequence[QgsRasterLayer]) -> None:
        """Take layers that were selected in QGIS, where they have dates and none are chosen yet."""
        if not self.chosen:
            self._window.suggest(layers)
            self._layers_chosen()
        if not self.chosen:
            self.choose_layers()

    def _layers_chosen(self) -> None:
        self.set_layers(self._window.chosen(), self._window.mask())

    def _layers(self) -> list[QgsRasterLayer]:
        return list({one.layer.id(): one.layer for one in self.chosen}.values())

    def _unwatch(self) -> None:
        for layer in self._layers():
            with suppress(TypeError):
                layer.crsChanged.disconnect(self._layer_changed)
                layer.dataSourceChanged.disconnect(self._layer_changed)

    def _layer_changed(self) -> None:
        self.set_layers(self.chosen, self._mask_band)

    def _layers_going(self, ids: Sequence[str]) -> None:
        left = [one for one in self.chosen if one.layer.id() not in ids]
        if len(left) < len(self.chosen):
            self.set_layers(left, self._mask_band)

    def _project_closed(self) -> None:
        self._close()
        self.chosen = []
        self.forget()

    # models

    def fill_models(self) -> None:
        """List the models of the library."""
        if all_known():
            self._fill()
            return
        task = Background(tr("GeoAware: reading the models"), lambda _: entries(), "{error}")
        self._reading.append(task)
        task.start(self._models_read)

    def _models_read(self, *_) -> None:
        self._reading = []
        self._fill()

    def _fill(self) -> None:
        before = self.source
        self.sources.clear()
        self.sources.addItem(tr("Values of the bands"), BANDS)
        for entry in entries():
            if entry.card is not None and entry.card.task != "detection":
                self.sources.addItem(entry.title, str(entry.path))
        self.sources.setCurrentIndex(max(0, self.sources.findData(before)))
        if self.source != before:
            self._chosen()

    @property
    def source(self) -> str:
        """What is shown: ``BANDS`` or the file of a model."""
        return self.sources.currentData() or BANDS

    def _source_chosen(self, *_) -> None:
        if self.source and not self._usable():
            self.sources.setCurrentIndex(0)
        self._chosen()

    # places

    def add_place(self, point) -> None:
        """Show the curve of a place in the CRS of the canvas."""
        self.list.add(point, self._canvas.mapSettings().destinationCrs())
        self._chosen()

    def forget(self) -> None:
        """Forget all places."""
        self._asked += 1
        if self._work is not None:
            self._work.want(self._asked)
        self.list.remove_all()
        self._mark()
        self._show()

    def _chosen(self) -> None:
        """Another place, source or layer is to be shown: ask what is not known, instead of what was asked before."""
        self._mark()
        self.foot.say(False, "")
        self._ask()
        self._show()

    def _ask(self) -> None:
        place = self.list.current
        self._asked += 1
        if self._work is None or self._thread is None:
            return
        self._work.want(self._asked)
        self._thread.drop("read")
        self.foot.show_status("")
        self.foot.show_progress(0, 0)
        if place is None:
            return
        missing = [one for one in dict.fromkeys((BANDS, self.source)) if not whole(place.told.get(one))]
        if not missing:
            return
        places = [self._on(place, one.layer) for one in self.chosen]
        work, asked = self._work, [Asked(self._asked, one, places) for one in missing]
        self._thread.put("read", READ, lambda: (step for one in asked for step in work.read(one)))

    @staticmethod
    def _on(place: PickedPlace, layer) -> Optional[tuple[float, float]]:
        point = moved(place.point, place.crs, layer.crs())
        return None if point is None else (point.x(), point.y())

    def _mark(self) -> None:
        if self.isVisible():
            self.marks.show(self.list.places, self.list.currentRow())
        else:
            self.marks.clear()

    # the thread

    def _open(self) -> None:
        if not self.chosen or self.isHidden():
            return
        dated = [LayerCopy.of(one, self._mask_band) for one in self.chosen]
        self._thread = StepThread("season curve")
        self._thread.voice.said.connect(self._heard)
        self._thread.voice.failed.connect(self._failed)
        self._thread.voice.broke.connect(self._broke)
        self._work = CurveWork(self._thread, dated)
        self._thread.put("open", OPEN, self._work.open)

    def _close(self) -> None:
        """Let go of files and models; returns at once."""
        if self._thread is not None and self._work is not None:
            self._work.want(-1)
            self._thread.close(self._work.close)
            self._ending = [one for one in (*self._ending, self._thread) if not one.wait(0)]
        self._thread = self._work = None
        self.foot.show_status("")
        self.foot.show_progress(0, 0)

    def _heard(self, number: int, what: str, result: Any) -> None:
        if self._thread is None or number != self._thread.number:
            return
        if what == "state":
            self.foot.show_status(result)
        elif result.asked.number == self._asked:
            self._on_told(result)

    def _on_told(self, told: Told) -> None:
        place = self.list.current
        if place is None:
            return
        place.told[told.asked.source] = self._latest = told
        if told.is_whole:
            self._show_latest()
        elif not self._latest_timer.isActive():
            self._latest_timer.start()
        self.told.emit(told)

    def _show_latest(self) -> None:
        """Show what was told last: dates come in faster than they can be drawn."""
        told, self._latest = self._latest, None
        if told is None or told.asked.number != self._asked:
            return
        self.foot.show_status("")
        self.foot.show_progress(len(told.curve.readings), told.days)
        if told.asked.source == self.source:
            self.foot.say(bool(told.notes and self.source), " ".join(map(words, told.notes)))
        self._show()

    def _failed(self, number: int, text: str) -> None:
        if self._thread is not None and number == self._thread.number:
            self.foot.show_status("")
            self.foot.show_progress(0, 0)
            self.foot.say(True, text)

    def _broke(self, error: Exception) -> None:
        raise error

    # what is shown

    def _show(self) -> None:
        days = sorted({one.day for one in self.chosen})
        if not days:
            self.summary.setText(tr("no layers chosen"))
        elif len(days) == 1:
            self.summary.setText(days[0].isoformat())
        else:
            text = tr("{count} dates, {first} to {last}")
            self.summary.setText(text.format(count=len(days), first=days[0].isoformat(), last=days[-1].isoformat()))
        place = self.list.current
        told = place.told.get(self.source) if place is not None else None
        if not self.chosen:
            hint = tr("Choose the layers and their dates.")
        elif place is None:
            hint = tr("Click a place on the map.")
        else:
            hint = tr("Reading…")
        title = self.sources.currentText() if self.source else tr("Values of the bands")
        if place is not None:
            title = f"{title} · {place.title} ({place.crs.authid() or place.crs.description()})"
        self.plot.show_data(plotted(told.curve, title) if told else PlotData(hint=hint))
        ready = whole(place.told.get(BANDS)) if place is not None else False
        self.save_button.setEnabled(ready)
        self.copy_button.setEnabled(told is not None)
        self.clear_button.setEnabled(bool(self.list.places))

    def table(self) -> Optional[PlaceTable]:
        """The place that is shown, for a file: values, and what the model says if it has said all."""
        place = self.list.current
        if place is None:
            return None
        told = [place.told[one] for one in dict.fromkeys((BANDS, self.source)) if whole(place.told.get(one))]
        names = [one.layer.name() for one in self.chosen]
        crs = place.crs.authid() or place.crs.toWkt()
        return PlaceTable(place.point.x(), place.point.y(), crs, names, [one.curve for one in told])

    def save(self) -> None:
        """Ask for a file and write the place that is shown."""
        place = self.list.current
        if place is None:
            return
        start = str(Path(QgsProject.instance().absolutePath() or Path.home()) / "season_curve.csv")
        path, _ = QFileDialog.getSaveFileName(self, tr("Save as CSV"), start, tr("CSV files (*.csv)"))
        if path:
            self.save_to(Path(path))

    def save_to(self, path: Path) -> None:
        """Write the place that is shown as CSV in UTF-8."""
        table = self.table()
        if table is None or not table.curves:
            return
        path = path if path.suffix else path.with_suffix(".csv")
        try:
            part = path.with_name(f".{path.name}.part")
            part.write_text(table.csv_text(words), "utf-8")
            os.replace(part, path)
        except OSError as error:
            text = tr("'{path}' cannot be written ({error}).")
            self.foot.say(True, text.format(path=path, error=error.strerror or error))
            return
        self.foot.say(False, tr("Saved: {path}").format(path=path))

    def copy(self) -> None:
        """Put the plot on the clipboard as a picture."""
        QApplication.clipboard().setPixmap(self.plot.picture())

    # the end

    def showEvent(self, event):
        """Go on where it was closed."""
        super().showEvent(event)
        if self._thread is None and self.chosen:
            self._open()
        self._chosen()

    def hideEvent(self, event):
        """Another tab hides it too: nothing but the marks goes."""
        super().hideEvent(event)
        self.marks.clear()

    def closeEvent(self, event):
        """Leave the map to other tools and let go of the files."""
        self._canvas.unsetMapTool(self.tool)
        self._close()
        super().closeEvent(event)

    def stop(self) -> None:
        """Let go of everything; called when the plugin is unloaded."""
        for signal, slot in self._signals:
            signal.disconnect(slot)
        self._window.applied.disconnect(self._layers_chosen)
        for task in self._reading:
            task.ended.disconnect()
        self._latest_timer.stop()
        self._unwatch()
        self._close()
        for one in self._ending:
            one.wait(_ENDING_S)
        self.marks.clear()
        self._canvas.unsetMapTool(self.tool)
        self.tool.deleteLater()
        self._window.deleteLater()

"""The panel *GeoAware: label a sample*: its frame, its keys, and what happens between file, pictures and classes."""

import html
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsMapLayerProxyModel,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import QEvent, Qt
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ...algorithms.base import files_of_vectors
from ...runtime.files import identity
from ...runtime.sampling.sample_file import POINTS
from ...texts import tr
from ..label_panel.parts import Foot
from ..widgets import PluginWindow, button, paragraph, stack
from .answers import Answers
from .pictures import ImagePair

KEYS = "123456789abcdefghijklmnopqrstuvwxyz"  # one for each class, in their order
BACK, SKIP = Qt.Key.Key_Backspace, Qt.Key.Key_Space


class SampleReport(PluginWindow):
    """The page that 'Assess a map' wrote."""

    def __init__(self, page: str, parent=None) -> None:
        super().__init__(tr("GeoAware: result"), parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QTextBrowser()
        self.text.setHtml(page)
        self.fill_with(self.text)
        self.resize(900, 700)


class SamplePanel(QDockWidget):
    """Shows a point at a time, without what the map says of it, and takes its class.

    Attributes:
        answers: the sample and what was answered.
        before, after: combo boxes of the images.
        report: window with the result, once it was asked for.
    """

    def __init__(self, iface, open_help) -> None:
        super().__init__(tr("GeoAware: label a sample"), iface.mainWindow())
        self.setObjectName("geoawareSample")
        self.answers, self.pictures = Answers(self), ImagePair(tr("Before"), tr("After"))
        self.before, self.after = self._layers(), self._layers()
        self.file, self.progress = paragraph(tr("No sample is open.")), paragraph()
        self.classes, self.notes, self.foot = QListWidget(), QLineEdit(), Foot()
        self.notes.setPlaceholderText(tr("Notes"))
        self.open_button = button(tr("Open sample…"), self._choose)
        self.back_button = button(tr("Back"), lambda: self._leave(self.answers.back))
        self.skip_button = button(tr("Skip"), lambda: self._leave(self.answers.skip))
        self.assess_button = button(tr("Assess"), self.assess)
        self.help_button = button(tr("Help"), open_help)
        self.report: Optional[SampleReport] = None
        self._pixel = (1.0, 0.0, 0.0, -1.0)
        self._task: Any = None
        self._context: Any = None
        self._asked = False  # to assess as soon as all is saved
        self._lay_out()
        self._connect()
        self._show_point()

    def _layers(self) -> QgsMapLayerComboBox:
        box = QgsMapLayerComboBox()
        box.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        box.setAllowEmptyLayer(True)
        box.setLayer(None)
        box.setMinimumContentsLength(8)
        return box

    def _lay_out(self) -> None:
        top = stack(QHBoxLayout(), self.open_button, self.file, self.help_button)
        top.setStretch(1, 1)
        images = QFormLayout()
        images.addRow(tr("Image, or the one before"), self.before)
        images.addRow(tr("The one after"), self.after)
        self.back_button.setToolTip(tr("Backspace"))
        self.skip_button.setToolTip(tr("Space: the point keeps no class"))
        self.assess_button.setToolTip(tr("Accuracy and areas from all points that have a class"))
        steps = stack(QHBoxLayout(), self.back_button, self.skip_button, None, self.assess_button)
        self.body = QWidget()
        layout = stack(
            QVBoxLayout(self.body),
            top,
            images,
            self.pictures,
            self.progress,
            self.classes,
            self.notes,
            steps,
            self.foot,
        )
        layout.setStretch(2, 1)
        layout.setContentsMargins(6, 6, 6, 6)
        self.setWidget(self.body)
        self.body.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def _connect(self) -> None:
        self.answers.opened.connect(self._opened)
        self.answers.moved.connect(self._show_point)
        self.answers.saved.connect(self._saved)
        self.answers.problem.connect(partial(self.foot.say, True))
        self.before.layerChanged.connect(self._show_layers)
        self.after.layerChanged.connect(self._show_layers)
        self.classes.itemClicked.connect(lambda item: self._take(item.data(Qt.ItemDataRole.UserRole)))
        self.notes.editingFinished.connect(lambda: self.answers.note(self.notes.text().strip()))
        self.notes.returnPressed.connect(self.body.setFocus)
        for widget in (self.body, *self.body.findChildren(QWidget)):
            if not isinstance(widget, QLineEdit) and widget not in (self.before, self.after):
                widget.installEventFilter(self)

    def open(self, path: Path) -> None:
        """Open the file of a sample."""
        self.foot.say(False, "")
        self.answers.open(path)

    def open_layer(self, layer) -> None:
        """Open the file of a vector layer, where it has one."""
        files = files_of_vectors(layer) if isinstance(layer, QgsVectorLayer) else []
        if files and files[0].lower().endswith(".gpkg"):
            self.open(Path(files[0]))

    def stop(self) -> None:
        """Save what waits and stop drawing; called when the plugin is unloaded."""
        self.answers.note(self.notes.text().strip())
        if not self.answers.close():
            text = tr(
                "The sample could not be written; these answers, by number of their point, are not in it: {answers}"
            )
            log: Any = QgsApplication.messageLog()
            log.logMessage(text.format(answers=self.answers.unsaved), "GeoAware", Qgis.MessageLevel.Critical)
        self.pictures.stop()
        if self._task is not None:
            self._task.cancel()
        if self.report is not None:
            self.report.close()

    def eventFilter(self, watched, event):
        """Take the keys before QGIS and the buttons do, except while a note is written."""
        if event.type() not in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress) or self.answers.point is None:
            return False
        act = self._action(event)
        if act is None:
            return False
        event.accept()
        if event.type() == QEvent.Type.KeyPress and not event.isAutoRepeat():
            act()
        return True

    def _action(self, event):
        """What a key does; None where it is no key of ours."""
        if event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier):
            return None  # Shift may be what makes a digit
        if event.key() == BACK:
            return partial(self._leave, self.answers.back)
        if event.key() == SKIP:
            return partial(self._leave, self.answers.skip)
        at = KEYS.find(event.text().lower()) if event.text() else -1
        known = self.answers.sample
        return partial(self._take, at) if known is not None and 0 <= at < len(known.classes) else None

    def _choose(self) -> None:
        filters = tr("GeoPackages (*.gpkg)")
        chosen, _ = QFileDialog.getOpenFileName(self, tr("Open sample"), "", filters)
        if chosen:
            self.open(Path(chosen))

    def _take(self, at: int) -> None:
        sample = self.answers.sample
        if sample is not None:
            self._leave(partial(self.answers.answer, sample.classes[at].name))

    def _leave(self, act) -> None:
        """Do something that shows another point; a note that is being written stays with its own."""
        self.answers.note(self.notes.text().strip())
        self.body.setFocus()
        act()

    def _opened(self) -> None:
        sample = self.answers.sample
        assert sample is not None  # nosec B101  # it was opened
        layer = QgsVectorLayer(f"{sample.path}|layername={POINTS}", "", "ogr")
        self.pictures.set_crs(layer.crs())
        with suppress(KeyError, ValueError):
            a, b, d, e = map(float, sample.settings["pixel"].split())
            self._pixel = (a, b, d, e)
        self.file.setText(sample.path.name)
        self.classes.clear()
        for at, one in enumerate(sample.classes):
            key = KEYS[at].upper() if at < len(KEYS) else " "
            square = QPixmap(14, 14)
            square.fill(QColor(f"#{one.color}"))
            item = QListWidgetItem(QIcon(square), f"{key}   {one.name}")
            item.setData(Qt.ItemDataRole.UserRole, at)
            self.classes.addItem(item)
        self.classes.setMaximumHeight(min(220, 24 * len(sample.classes) + 8))
        self._hide_map(sample)
        self._show_layers()
        self.body.setFocus()

    def _hide_map(self, sample) -> None:
        """Whoever labels must not see what the map says, nor where the strata are."""
        files = {identity(file) for file in (sample.path, sample.settings.get("map", ""))}
        tree, hidden, maps = QgsProject.instance().layerTreeRoot(), [], []
        for layer in QgsProject.instance().mapLayers().values():
            if identity(layer.source().split("|")[0]) not in files:
                continue
            maps.append(layer)
            node = tree.findLayer(layer.id())
            if node is not None and node.isVisible():
                node.setItemVisibilityChecked(False)
                hidden.append(layer.name())
        for box in (self.before, self.after):
            box.setExceptedLayerList(maps)
        rasters = [one for one in QgsProject.instance().mapLayers().values() if isinstance(one, QgsRasterLayer)]
        images = sorted((one for one in rasters if one not in maps), key=lambda one: one.name())
        if len(images) <= 2 and self.before.currentLayer() is None:
            for box, layer in zip((self.before, self.after), images):
                box.setLayer(layer)
        if hidden:
            text = tr("Hidden, so that they do not tell the answers: {layers}.")
            self.foot.say(False, text.format(layers=", ".join(hidden)))

    def _show_layers(self, *_: Any) -> None:
        before, after = self.before.currentLayer(), self.after.currentLayer()
        self.pictures.show_layers(before, after)

    def _show_point(self) -> None:
        point, answers = self.answers.point, self.answers
        for widget in (self.back_button, self.skip_button, self.notes, self.classes, self.assess_button):
            widget.setEnabled(point is not None)
        if point is None:
            self.progress.setText("")
            return
        self.pictures.show_place(point.x, point.y, self._pixel)
        self.notes.setText(point.notes)
        counts = {"number": point.number, "total": len(answers.points), "labelled": answers.labelled}
        text = tr("<b>Point {number} of {total}</b>, {labelled} labelled").format(**counts)
        if point.seen:
            text += "; " + html.escape(point.answer or tr("skipped"))
        if answers.complete:
            text += ". " + tr("All points were seen.")
        self.progress.setText(text)
        names = [one.name for one in answers.sample.classes] if answers.sample else []
        self.classes.setCurrentRow(names.index(point.answer) if point.answer in names else -1)

    def _saved(self) -> None:
        self.foot.say(False, "")
        if self._asked:
            self.assess()

    def assess(self) -> None:
        """Run 'Assess a map' over what is in the file, once all answers are, and show its page."""
        sample = self.answers.sample
        if sample is None or self._task is not None:
            return
        self._asked = self.answers.waiting > 0
        if self._asked:
            return
        algorithm = QgsApplication.processingRegistry().algorithmById("geoaware:assess").create()
        self._context, self._feedback = QgsProcessingContext(), QgsProcessingFeedback(False)
        page = QgsProcessingUtils.generateTempFilename("assessment.html")
        reference = f"{sample.path}|layername={POINTS}"
        parameters = {"REFERENCE": reference, "OUTPUT": "TEMPORARY_OUTPUT", "REPORT": page}
        self._task = QgsProcessingAlgRunnerTask(algorithm, parameters, self._context, self._feedback)
        if self._task.isCanceled():  # it could not be prepared
            self._assessed(False, {})
            return
        self._task.executed.connect(self._assessed)
        self.assess_button.setEnabled(False)
        QgsApplication.taskManager().addTask(self._task)

    def _assessed(self, fine: bool, outputs: "dict[str, Any]") -> None:
        self._task = None
        self.assess_button.setEnabled(True)
        if not fine:
            lines = [line for line in self._feedback.textLog().splitlines() if line.strip()]
            self.foot.say(True, lines[-1] if lines else tr("The run failed; see the Log Messages panel of QGIS."))
            return
        self.report = SampleReport(Path(outputs["REPORT"]).read_text("utf-8"), self)
        self.report.destroyed.connect(self._forget)
        self.report.to_front()

    def _forget(self) -> None:
        self.report = None

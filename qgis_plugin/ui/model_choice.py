"""Widget of the *Model* parameter in the toolbox: the models of the library, and any other file."""

from collections.abc import Sequence
from pathlib import Path

from processing.gui.wrappers import DIALOG_MODELER, WidgetWrapper, dialogTypes
from qgis.gui import QgsGui
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QHBoxLayout, QToolButton, QWidget

from ..texts import tr
from .models import Entry, entries, last_used
from .widgets import narrow_list, stack


class ModelChoice(QWidget):
    """List of models with a button that adds a file to it."""

    changed = pyqtSignal()

    def __init__(self, tasks: Sequence[str], none: str = "") -> None:
        """List the models of the library that have one of the tasks; all of them where none is given.

        The first entry is no model if ``none`` says what is done then.
        """
        super().__init__()
        self.models, self.browse = narrow_list(), QToolButton()
        self.browse.setText("…")
        self.browse.setToolTip(tr("Another model file"))
        self.browse.clicked.connect(self._browse)
        row = stack(QHBoxLayout(self), self.models, self.browse)
        row.setContentsMargins(0, 0, 0, 0)
        row.setStretch(0, 1)
        if none:
            self.models.addItem(none, "")
        for entry in entries():
            if entry.card and (not tasks or entry.card.task in tasks):
                self._add(entry)
        self.models.setCurrentIndex(max(0, -1 if none else self.models.findData(str(last_used()))))
        self.models.currentIndexChanged.connect(lambda _: self.changed.emit())

    def path(self) -> str:
        """File of the chosen model; empty where there is none."""
        return self.models.currentData() or ""

    def choose(self, path: str) -> None:
        """Choose a file, which is listed if it is not yet."""
        if path and self.models.findData(path) < 0:
            self._add(Entry.of(Path(path)))
        self.models.setCurrentIndex(self.models.findData(path))

    def _add(self, entry: Entry) -> None:
        self.models.addItem(entry.title, str(entry.path))

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, tr("Model"), self.path(), tr("ONNX models (*.onnx)"))
        if chosen:
            self.choose(chosen)


class ModelWrapper(WidgetWrapper):
    """Gives Processing that widget, except in the model designer, whose own widget also takes model inputs."""

    def __new__(cls, parameter, dialog, row=0, column=0, tasks=(), none=""):
        """Make QGIS's own widget for the model designer."""
        if dialogTypes.get(type(dialog).__name__) != DIALOG_MODELER:
            return super().__new__(cls, parameter, dialog, row, column, tasks=tasks, none=none)
        registry = QgsGui.processingGuiRegistry()
        wrapper = registry.createModelerParameterWidget(dialog.model, dialog.childId, parameter, dialog.context)
        wrapper.setDialog(dialog)
        return wrapper

    def createWidget(self, tasks=(), none=""):
        """Called by Processing."""
        choice = ModelChoice(tasks, none)
        choice.changed.connect(lambda: self.widgetValueHasChanged.emit(self))
        return choice

    def setValue(self, value):
        """Called by Processing with a path."""
        self.widget.choose(str(value or ""))

    def value(self):
        """Called by Processing for the path."""
        return self.widget.path()

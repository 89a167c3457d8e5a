"""Holds the windows and the runs of one QGIS, and tells how the runs ended."""

from typing import Dict, Optional

from qgis.core import Qgis
from qgis.PyQt.QtWidgets import QPushButton

from ..texts import tr
from . import results
from .dialog import RunDialog
from .result_window import ResultWindow
from .runs import CANCELLED, DONE, FAILED, Run, Runs

TITLE = "GeoAware"


class Desk:
    """Opens each window at most once."""

    def __init__(self, iface) -> None:
        self._iface = iface
        self.runs = Runs()
        self.runs.ended.connect(self._ended)
        self.dialog: Optional[RunDialog] = None
        self.pages: Dict[Run, ResultWindow] = {}

    def open_dialog(self, layer=None) -> None:
        """Open the dialog with a layer."""
        if self.dialog is None:
            canvas, window = self._iface.mapCanvas(), self._iface.mainWindow()
            self.dialog = RunDialog(canvas, self.runs, self.open_library, self.open_page, self.open_help, window)
        else:
            self.dialog.fill_models()
        if layer is not None:
            self.dialog.set_layer(layer)
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()

    def open_library(self) -> None:
        """Open the library of models."""

    def open_help(self) -> None:
        """Open the help."""

    def open_page(self, run: Run) -> None:
        """Open the page on a finished run."""
        if run not in self.pages:
            page = self.pages[run] = ResultWindow(run, self._iface.mainWindow())
            page.destroyed.connect(lambda: self.pages.pop(run, None))
        self.pages[run].show()
        self.pages[run].raise_()

    def close(self) -> None:
        """End everything."""
        self.runs.ended.disconnect(self._ended)
        self.runs.stop()
        for page in list(self.pages.values()):
            page.stop()
            page.deleteLater()
        self.pages.clear()
        if self.dialog is not None:
            self.dialog.stop()
            self.dialog.deleteLater()
            self.dialog = None

    def _ended(self, run: Run) -> None:
        bar = self._iface.messageBar()
        if run.state == FAILED:
            bar.pushMessage(TITLE, run.problem, Qgis.MessageLevel.Critical)
        elif run.state == CANCELLED:
            bar.pushMessage(TITLE, tr("{title}: cancelled.").format(title=run.title), Qgis.MessageLevel.Info)
        elif run.state == DONE:
            results.remember(run)
            results.load(run)
            text = tr("{title} is ready.") if run.loaded else tr("{title} is ready; its project was closed meanwhile.")
            item = bar.createMessage(TITLE, text.format(title=run.title))
            button = QPushButton(tr("Result page"))
            button.clicked.connect(lambda: self.open_page(run))
            item.layout().addWidget(button)
            bar.pushWidget(item, Qgis.MessageLevel.Success)

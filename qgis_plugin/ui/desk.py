"""Opens the windows, holds the runs and reports how they ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from qgis.core import Qgis
from qgis.PyQt.QtCore import Qt, QTimer, QUrl
from qgis.PyQt.QtWidgets import QPushButton, QTextBrowser

from .. import onnxruntime_help
from ..runtime.model.devices.packages import Package
from ..texts import language, tr
from .devices_window import DevicesWindow
from .install import InstallWindow
from .library_window import LibraryWindow
from .result_window import ResultWindow
from .run_queue import CANCELLED, DONE, FAILED, Run, RunQueue
from .run_window.run_dialog import RunDialog
from .sample_panel.dock import SamplePanel
from .widgets import PluginWindow

TITLE = "GeoAware"
_HELP = Path(__file__).resolve().parent.parent / "help"


class HelpWindow(PluginWindow):
    """Shows the help page in the user's language, or in English."""

    def __init__(self, parent=None) -> None:
        super().__init__(tr("GeoAware: help"), parent)
        self.text = QTextBrowser()
        self.text.setOpenExternalLinks(True)
        own = _HELP / f"{language()}.html"
        self.text.setSource(QUrl.fromLocalFile(str(own if own.is_file() else _HELP / "en.html")))
        self.fill_with(self.text)
        self.resize(680, 620)


class Desk:
    """Opens each window at most once."""

    def __init__(self, iface) -> None:
        self._iface = iface
        self._closed = False
        self.runs = RunQueue()
        self.runs.ended.connect(self._ended)
        self.dialog: Optional[RunDialog] = None
        self.library: Optional[LibraryWindow] = None
        self.help: Optional[HelpWindow] = None
        self.devices: Optional[DevicesWindow] = None
        self.panel: Any = None  # LabelPanel
        self.curve: Any = None  # CurveDock
        self.sample_panel: Optional[SamplePanel] = None
        self.pages: dict[Run, ResultWindow] = {}
        self._saved: Optional[Path] = None  # the last model of the panel

    def open_dialog(self, layer=None) -> None:
        """Open the run window with a layer; before it, the page that installs onnxruntime if that is missing."""
        # the run window imports onnxruntime in the background when it is first opened
        problem = onnxruntime_help.quick_problem() if self.dialog is None else onnxruntime_help.problem()
        if problem and not self._install(problem):
            return
        if self.dialog is None:
            canvas, window = self._iface.mapCanvas(), self._iface.mainWindow()
            pages = (self.open_library, self.open_page, self.open_help, self.open_devices)
            self.dialog = RunDialog(canvas, self.runs, *pages, window)
            self.dialog.unusable.connect(self._install)
            if self._saved is not None:
                self.dialog.fill_models(self._saved)
        else:
            self.dialog.fill_models()
        if layer is not None:
            self.dialog.set_layer(layer)
        self.dialog.to_front()

    def open_panel(self, layer=None) -> None:
        """Open the panel that turns labels into a map, with a layer."""
        problem = onnxruntime_help.quick_problem() if self.panel is None else onnxruntime_help.problem()
        if problem and not self._install(problem):
            return
        from .label_panel.dock import LabelPanel, labelled_raster  # not before onnxruntime is there

        if self.panel is None:
            self.panel = LabelPanel(self._iface, self.runs, self.open_library, self.open_help, self._model_saved)
            self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.panel)
        self.panel.show()
        self.panel.raise_()
        self.panel.set_layer(layer or labelled_raster() or self.panel.layer)

    def open_curve(self, layers=()) -> None:
        """Open the season curve with its map tool; ``layers`` are taken where none were chosen before."""
        from .curve.dates_window import DatesWindow
        from .curve.dock import CurveDock

        if self.curve is None:
            window = DatesWindow(self._iface.mainWindow())
            self.curve = CurveDock(self._iface, window, self.open_help, self._can_run)
            self._iface.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self.curve)
        self.curve.show()
        self.curve.raise_()
        self._iface.mapCanvas().setMapTool(self.curve.tool)
        self.curve.suggest(layers)

    def open_sample_panel(self, layer=None) -> None:
        """Open the panel in which samples are labelled, with the sample of a vector layer, if it is one."""
        if self.sample_panel is None:
            self.sample_panel = SamplePanel(self._iface, self.open_help)
            self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.sample_panel)
        self.sample_panel.show()
        self.sample_panel.raise_()
        self.sample_panel.open_layer(layer)

    def open_library(self) -> None:
        """Open the model library, with the model of the run window selected."""
        if self.library is None:
            self.library = LibraryWindow(self.dialog or self._iface.mainWindow())
            self.library.changed.connect(self._library_changed)
        entry = self.dialog.entry if self.dialog else None
        self.library.fill(entry.path if entry else None)
        self.library.to_front()

    def open_help(self) -> None:
        """Open the help."""
        if self.help is None:
            self.help = HelpWindow(self.dialog or self._iface.mainWindow())
        self.help.to_front()

    def open_devices(self) -> None:
        """Open the page of what runs models, with the model of the run window chosen."""
        if self.devices is None:
            self.devices = DevicesWindow(self._install, self.dialog or self._iface.mainWindow())
        entry = self.dialog.entry if self.dialog else None
        self.devices.open_with(entry.path if entry else None)

    def open_page(self, run: Run) -> None:
        """Open the result page of a finished run."""
        if run not in self.pages:
            page = self.pages[run] = ResultWindow(run, self._iface.mainWindow())
            page.destroyed.connect(lambda: self.pages.pop(run, None))
        self.pages[run].to_front()

    def close(self) -> None:
        """Stop the runs and close all windows."""
        self._closed = True
        self.runs.ended.disconnect(self._ended)
        self.runs.stop()
        for window in (*self.pages.values(), self.library, self.help, self.devices, self.dialog):
            if window is not None:
                window.stop()
                window.deleteLater()
        for dock in (self.panel, self.curve, self.sample_panel):
            if dock is not None:
                dock.stop()
                self._iface.removeDockWidget(dock)
                dock.deleteLater()
        self.pages = {}
        self.library = self.help = self.devices = self.dialog = None
        self.panel = self.curve = self.sample_panel = None

    def _can_run(self) -> bool:
        """Whether models can be run; opens the page that installs onnxruntime if not."""
        problem = onnxruntime_help.quick_problem()
        return not problem or self._install(problem)

    def _install(self, reason: str, packages: Sequence[Package] = onnxruntime_help.PACKAGES, parent=None) -> bool:
        """Open the page that installs packages, onnxruntime by default; returns whether they can be used afterwards."""
        page = InstallWindow(reason, parent or self._iface.mainWindow(), packages)
        accepted = bool(page.exec())
        page.deleteLater()
        return accepted

    def _model_saved(self, path: Path) -> None:
        """Show a model of the panel wherever models are listed; the run window has it chosen, also if it is opened later."""
        self._saved = path
        if self.library is not None:
            self.library.fill(path)
        self._library_changed(str(path))

    def _library_changed(self, added: str) -> None:
        if self.dialog is not None:
            self.dialog.fill_models(Path(added) if added else None)
        if self.panel is not None:
            self.panel.features.fill_models()
        if self.curve is not None:
            self.curve.fill_models()
        if self.devices is not None:
            self.devices.fill_models()

    def _ended(self, run: Run) -> None:
        if run.state == DONE:
            run.load()
            main = run.layer() if run.loaded else None
            if main is not None:
                self._iface.setActiveLayer(main)  # so that the map tips are of it
        # after QGIS's own "Task complete", which would cover the button
        QTimer.singleShot(0, lambda: self._announce(run))

    def _announce(self, run: Run) -> None:
        if self._closed:
            return
        bar = self._iface.messageBar()
        if run.state == FAILED:
            bar.pushMessage(TITLE, run.problem, Qgis.MessageLevel.Critical)
        elif run.state == CANCELLED:
            bar.pushMessage(TITLE, tr("{title}: cancelled.").format(title=run.title), Qgis.MessageLevel.Info)
        else:
            text = (
                tr("{title} is ready.")
                if run.loaded
                else tr("{title} is ready, but its project was closed: the results were not loaded.")
            )
            item = bar.createMessage(TITLE, text.format(title=run.title))
            page = QPushButton(tr("Result page"))
            page.clicked.connect(lambda: self.open_page(run))
            item.layout().addWidget(page)
            bar.pushWidget(item, Qgis.MessageLevel.Success)

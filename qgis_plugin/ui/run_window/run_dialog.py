"""The window to choose layer, model and area, with a tab that shows the runs."""

import threading
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    QgsApplication,
    QgsMapLayerProxyModel,
    QgsProcessingContext,
    QgsProcessingUtils,
    QgsProject,
    QgsSettings,
)
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ... import onnxruntime_help
from ...algorithms.base import ICON
from ...algorithms.run_model import LAST_MODEL
from ...gdal_io.job import RunPlan
from ...runtime.errors import RuntimeFault
from ...runtime.files import free_bytes
from ...texts import tr, words
from ..library import models
from ..library.card_view import CardView
from ..library.models import Entry
from ..runs.run_queue import Run, Runs
from ..runs.runs_view import RunsView
from .area_box import AreaBox
from .bands_box import BandsBox
from .estimate import Estimate, Estimating
from .fit_view import FitView
from .options_box import OptionsBox
from .suggestion import suggested

_PAUSE = 250  # ms without a change before the run is estimated
_SIZE = (940, 680)
_ALGORITHMS = {
    "segmentation": "geoaware:segment",
    "regression": "geoaware:segment",
    "classification": "geoaware:classifyscenes",
    "detection": "geoaware:detect",
    "embedding": "geoaware:embed",
}


class RunDialog(QDialog):
    """Stays open beside QGIS; runs continue when it is closed."""

    unusable = pyqtSignal(str)  # why onnxruntime cannot be used, once that is known

    def __init__(self, canvas, runs: Runs, open_library, open_page, open_help, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle("GeoAware")
        self.setWindowIcon(QIcon(str(ICON)))
        self.runs = runs
        self._algorithm: Any = None  # until a model is chosen
        self._plan: Optional[RunPlan] = None
        self._estimating: Optional[Estimating] = None
        self._tiles = 0
        self._picked = False  # whether the model was chosen by hand
        # in a thread, so that the window is there at once
        self._loading: Optional[threading.Thread] = threading.Thread(target=onnxruntime_help.problem, daemon=True)
        self._loading.start()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self.compare)
        self._make(canvas, open_library)
        self.runs_view = RunsView(runs, open_page)
        self.tabs = QTabWidget()
        self.tabs.addTab(self._settings, tr("Settings"))
        self.tabs.addTab(self.runs_view, tr("Runs"))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close | QDialogButtonBox.StandardButton.Help)
        self.run_button = self.buttons.addButton(tr("Run"), QDialogButtonBox.ButtonRole.ActionRole)
        self.run_button.clicked.connect(self.run)
        self.buttons.rejected.connect(self.close)
        self.buttons.helpRequested.connect(open_help)
        self.tabs.currentChanged.connect(lambda _: self._allow())
        layout = QVBoxLayout(self)
        layout.addWidget(self.tabs)
        layout.addWidget(self.buttons)
        for button in self.buttons.buttons():
            button.setAutoDefault(False)
        self.run_button.setDefault(True)  # has an effect only once the button is in the dialog
        self.layers.setFocus()
        self.resize(*_SIZE)
        self.fill_models()
        self._layer_chosen()

    def set_layer(self, layer) -> None:
        """Choose a layer."""
        self.layers.setLayer(layer)
        self.tabs.setCurrentIndex(0)

    def fill_models(self, added: Optional[Path] = None) -> None:
        """Reload the models; selects one that was just added, and keeps one chosen by hand."""
        self._picked = self._picked or added is not None
        last = added or (self.entry.path if self._picked else _last_model())
        found = models.entries()
        if last.is_file() and last not in [entry.path for entry in found]:
            found.append(Entry.of(last))  # used from the toolbox
        self.models.blockSignals(True)
        self.models.clear()
        for entry in found:
            self.models.addItem(entry.title, entry)
        paths = [entry.path for entry in found]
        self._picked = self._picked and last in paths
        if self._picked:
            self.models.setCurrentIndex(paths.index(last))
        elif found:
            self.models.setCurrentIndex(suggested(found, self.layers.currentLayer(), last))
        self.models.blockSignals(False)
        self._model_chosen()

    @property
    def entry(self) -> Optional[Entry]:
        """The chosen model."""
        return self.models.currentData()

    def parameters(self) -> dict[str, Any]:
        """Parameters of the algorithm."""
        given = {"INPUT": self.layers.currentLayer().id(), "MODEL": str(self.entry.path)}
        if self.bands.bands():
            given["BANDS"] = self.bands.bands()
        return {**given, **self.area.parameters(), **self.options.parameters()}

    def compare(self) -> None:
        """Check whether layer and model fit, then estimate the run in the background."""
        if self._loading and not self._loading.is_alive():
            self._loading = None
            problem = onnxruntime_help.problem()
            if problem:
                self.unusable.emit(problem)
        self._stop_estimating()
        self._plan = None
        if self._loading:  # onnxruntime is still being imported
            self._timer.start()
            return
        layer, entry = self.layers.currentLayer(), self.entry
        if entry is None:
            self.fit.show_fault(tr("The library is empty: click 'Models…' to add a model."))
        elif layer is None:
            self.fit.show_fault(tr("The project has no raster layer."))
        elif entry.card is None:
            self.fit.show_fault(entry.fault)
        else:
            self._plan_run()
        self._allow()

    def run(self) -> None:
        """Queue a run and show the runs."""
        layer, card = self.layers.currentLayer(), self.entry.card if self.entry else None
        if layer is None or card is None:
            return
        title = f"{card.name} – {layer.name()}"  # noqa: RUF001, the dash of the group's title
        run = Run(self._algorithm.create(), self.parameters(), title, card)
        if run.over:
            self.fit.show_fault(run.problem)
            return
        self.runs.add(run)
        self.tabs.setCurrentWidget(self.runs_view)

    def done(self, result):
        """Cancel the estimate when the window is closed, in any way."""
        self.stop()
        super().done(result)

    def stop(self) -> None:
        """Cancel what runs in the background, except the runs."""
        self._timer.stop()
        self._stop_estimating()

    def showEvent(self, event):
        """Check again: layers may have changed while it was closed."""
        super().showEvent(event)
        self._timer.start()

    def _make(self, canvas, open_library) -> None:
        self.layers, self.models = QgsMapLayerComboBox(), QComboBox()
        self.layers.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.layers.setMinimumContentsLength(20)
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.models.setMinimumContentsLength(20)
        manage = QPushButton(tr("Models…"))
        manage.setAutoDefault(False)
        manage.clicked.connect(open_library)
        row = QHBoxLayout()
        row.addWidget(self.models, 1)
        row.addWidget(manage)
        form = QFormLayout()
        form.addRow(tr("Layer"), self.layers)
        form.addRow(tr("Model"), row)
        self.area, self.bands, self.options = AreaBox(canvas), BandsBox(), OptionsBox()
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addLayout(form)
        for part in (self.area, self.options, self.bands):
            column.addWidget(part)
        column.addStretch(1)
        left = self._left = QScrollArea()
        left.setWidget(inside)
        left.setWidgetResizable(True)
        left.setFrameShape(QFrame.Shape.NoFrame)
        self.card, self.fit = CardView(), FitView()
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(self.card)
        right.addWidget(self.fit)
        right.setSizes([340, 280])
        self._settings = QSplitter(Qt.Orientation.Horizontal)
        self._settings.addWidget(left)
        self._settings.addWidget(right)
        self._settings.setSizes([460, 480])
        self.layers.layerChanged.connect(self._layer_chosen)
        self.models.currentIndexChanged.connect(lambda _: self._model_chosen())
        self.models.activated.connect(lambda _: self._pick())
        for part in (self.area, self.bands, self.options):
            part.changed.connect(self._timer.start)

    def _layer_chosen(self, *_) -> None:
        layer = self.layers.currentLayer()
        self.area.suggest(layer)
        if self.models.count() and not self._picked:
            found = [self.models.itemData(number) for number in range(self.models.count())]
            self.models.setCurrentIndex(suggested(found, layer, _last_model()))
        if self.entry and self.entry.card:
            self.bands.fit(layer, self.entry.card.bands)
            self._arrange()
        self._timer.start()

    def _pick(self) -> None:
        self._picked = True

    def _model_chosen(self) -> None:
        entry = self.entry
        if entry is None:
            self.card.setHtml("")
        else:
            self.card.show_entry(entry)
        for part in (self.options, self.bands):
            part.setVisible(bool(entry and entry.card))
        if entry and entry.card:
            registry = QgsApplication.processingRegistry()
            self._algorithm = registry.createAlgorithmById(_ALGORITHMS[entry.card.task])
            self.options.fit(self._algorithm, entry.card)
            self.bands.fit(self.layers.currentLayer(), entry.card.bands)
            self._arrange()
        self._timer.start()

    def _arrange(self) -> None:
        """Make the left side as wide as its widgets, and put new widgets into the Tab order."""
        bar = self._left.verticalScrollBar().sizeHint().width()
        self._left.setMinimumWidth(self._left.widget().minimumSizeHint().width() + bar)
        before = self.area.selected
        for part in (self.options, self.bands):
            for widget in part.findChildren(QWidget):
                if widget.window() is self and widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
                    self.setTabOrder(before, widget)
                    before = widget

    def _plan_run(self) -> None:
        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        try:
            self._plan = self._algorithm.plan(self.parameters(), context)
            self.bands.show_match(self._plan.bands)
            self._tiles = self._plan.tiles
        except RuntimeFault as fault:
            self._plan = None
            self.fit.show_fault(words(fault))
            return
        self.fit.show_checking(self._tiles)
        estimating = self._estimating = Estimating(self._plan, self.options.roles())
        estimating.done.connect(self._estimated)
        for ended in (estimating.taskCompleted, estimating.taskTerminated):
            ended.connect(lambda: self._estimating_ended(estimating))
        QgsApplication.taskManager().addTask(estimating)

    def _estimated(self, estimate: Estimate) -> None:
        if estimate.plan is not self._plan:
            return
        out = self.options.file.filePath()
        folder = Path(out).parent if out else Path(QgsProcessingUtils.tempFolder())
        self.fit.show_estimate(estimate, free_bytes(folder if folder.is_dir() else Path.home()), self._tiles)
        if estimate.fault:
            self._plan = None
        self._allow()

    def _estimating_ended(self, task: Estimating) -> None:
        if self._estimating is task:  # a cancelled one ends after its successor began
            self._estimating = None

    def _stop_estimating(self) -> None:
        if self._estimating is not None:
            task, self._estimating = self._estimating, None
            task.cancel()

    def _allow(self) -> None:
        self.run_button.setEnabled(self._plan is not None and self.tabs.currentIndex() == 0)


def _last_model() -> Path:
    """File of the model that ran last; not a file if none did."""
    return Path(QgsSettings().value(LAST_MODEL, "") or ".")

"""The window to choose layer, model and area, with a tab that shows the runs."""

import threading
from functools import partial
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    QgsApplication,
    QgsMapLayerProxyModel,
    QgsProcessingContext,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
)
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QDialogButtonBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ... import onnxruntime_help
from ...gdal_io.job import RunPlan, series_grid
from ...runtime.errors import RuntimeFault
from ...runtime.files import free_bytes
from ...texts import tr, words
from .. import models
from ..models import Entry
from ..pages import card_page
from ..run_queue import Run, RunQueue
from ..runs_view import RunsView
from ..widgets import Background, PluginWindow, button, narrow_list, split, stack, wrapped_text
from .estimate import Preview, preview
from .looking import Looking
from .options_box import OptionsBox
from .parts import AreaBox, BandsBox, FitView
from .series_box import SeriesBox

_PAUSE = 250  # ms without a change before the run is estimated
_SIZE = (940, 680)
_ALGORITHMS = {
    "segmentation": "geoaware:segment",
    "regression": "geoaware:segment",
    "classification": "geoaware:classifyscenes",
    "detection": "geoaware:detect",
    "embedding": "geoaware:embed",
}


class RunDialog(PluginWindow):
    """Stays open beside QGIS; runs continue when it is closed."""

    unusable = pyqtSignal(str)  # why onnxruntime cannot be used, once that is known

    def __init__(self, canvas, runs: RunQueue, open_library, open_page, open_help, open_devices, parent=None) -> None:
        super().__init__("GeoAware", parent)
        self.runs = runs
        self._algorithm: Any = None  # until a model is chosen
        self._plan: Optional[RunPlan] = None
        self._estimating: Optional[Background] = None
        self._picked = False  # whether the model was chosen by hand
        # in a thread, so that the window is there at once
        self._loading: Optional[threading.Thread] = threading.Thread(target=onnxruntime_help.problem, daemon=True)
        self._loading.start()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self.compare)
        self.runs_view, self.tabs = RunsView(runs, open_page), QTabWidget()
        self.tabs.addTab(self._settings(canvas, open_library), tr("Settings"))
        self.tabs.addTab(self.runs_view, tr("Runs"))
        self.tabs.currentChanged.connect(lambda _: self._allow())
        self.buttons.addButton(QDialogButtonBox.StandardButton.Help)
        self.buttons.helpRequested.connect(open_help)
        self.devices_button = self.buttons.addButton(tr("Devices…"), QDialogButtonBox.ButtonRole.ResetRole)
        self.devices_button.setToolTip(tr("What runs models on this computer, and how fast it runs this one"))
        self.devices_button.clicked.connect(open_devices)
        self.run_button = self.buttons.addButton(tr("Run"), QDialogButtonBox.ButtonRole.ActionRole)
        self.run_button.clicked.connect(self.run)
        self.fill_with(self.tabs)
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
        last = added or (self.entry.path if self._picked else models.last_used())
        entries = models.entries()
        if last.is_file() and last not in [entry.path for entry in entries]:
            entries.append(Entry.of(last))  # used from the toolbox
        paths = [entry.path for entry in entries]
        self._picked = self._picked and last in paths
        self.models.blockSignals(True)
        self.models.clear()
        for entry in entries:
            self.models.addItem(entry.title, entry)
        if self._picked:
            self.models.setCurrentIndex(paths.index(last))
        elif entries:
            self.models.setCurrentIndex(models.suggested(entries, self.layers.currentLayer(), last))
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
        if self._takes_series():
            given.update(self.series.parameters())
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
        elif self._takes_series() and self.series.problem():
            self.fit.show_fault(self.series.problem())
        else:
            self._plan_run()
        self._look()
        self._allow()

    def run(self) -> None:
        """Queue a run and show the runs."""
        layer, card = self.layers.currentLayer(), self.entry.card if self.entry else None
        if layer is None or card is None:
            return
        others = len(self.series.layers) - 1 if self._takes_series() else 0
        name = f"{layer.name()} (+{others})" if others else layer.name()
        title = f"{card.name} – {name}"  # noqa: RUF001, the dash of the group's title
        run = Run(self._algorithm.create(), self.parameters(), title, card)
        if run.over:
            self.fit.show_fault(run.problem)
            return
        self.runs.add(run)
        self.tabs.setCurrentWidget(self.runs_view)

    def stop(self) -> None:
        """Cancel what runs in the background, except the runs."""
        self._timer.stop()
        self._stop_estimating()
        self.looking.stop()

    def showEvent(self, event):
        """Check again: layers may have changed while it was closed."""
        super().showEvent(event)
        self._timer.start()

    def _settings(self, canvas, open_library) -> QWidget:
        self.layers, self.models = QgsMapLayerComboBox(), narrow_list()
        self.layers.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.layers.setMinimumContentsLength(20)
        row = stack(QHBoxLayout(), self.models, button(tr("Models…"), open_library))
        row.setStretch(0, 1)
        form = QFormLayout()
        form.addRow(tr("Layer"), self.layers)
        form.addRow(tr("Model"), row)
        self.area, self.bands, self.options = AreaBox(canvas), BandsBox(), OptionsBox()
        self.series = SeriesBox()
        self.looking = Looking(self.series)
        inside = QWidget()
        stack(QVBoxLayout(inside), form, self.series, self.area, self.options, self.bands, None)
        self._left = QScrollArea()
        self._left.setWidget(inside)
        self._left.setWidgetResizable(True)
        self._left.setFrameShape(QFrame.Shape.NoFrame)
        self.card, self.fit = wrapped_text(), FitView()
        right = split(Qt.Orientation.Vertical, self.card, self.fit)
        right.setSizes([260, 360])
        both = split(Qt.Orientation.Horizontal, self._left, right)
        both.setSizes([460, 480])
        self.layers.layerChanged.connect(self._layer_chosen)
        self.models.currentIndexChanged.connect(lambda _: self._model_chosen())
        self.models.activated.connect(lambda _: self._pick())
        for part in (self.area, self.bands, self.options, self.series):
            part.changed.connect(self._timer.start)
        self.series.changed.connect(self._series_changed)
        self.series.collapsedStateChanged.connect(lambda _: self._arrange())
        return both

    def _layer_chosen(self, *_) -> None:
        layer = self.layers.currentLayer()
        self.area.suggest(layer)
        self.series.set_first(layer if isinstance(layer, QgsRasterLayer) else None)
        self._series_changed()
        if self.models.count() and not self._picked:
            entries = [self.models.itemData(number) for number in range(self.models.count())]
            self.models.setCurrentIndex(models.suggested(entries, layer, models.last_used()))
        if self.entry and self.entry.card:
            self.bands.fit(layer, self.entry.card.bands)
            self._arrange()
        self._timer.start()

    def _pick(self) -> None:
        self._picked = True

    def _model_chosen(self) -> None:
        entry = self.entry
        self.card.setHtml(card_page(entry) if entry else "")
        for part in (self.options, self.bands, self.series):
            part.setVisible(bool(entry and entry.card))
        if entry and entry.card:
            registry = QgsApplication.processingRegistry()
            self._algorithm = registry.createAlgorithmById(_ALGORITHMS[entry.card.task])
            self.options.fit(self._algorithm, entry.card)
            self.series.setVisible(self._takes_series())
            if entry.card.dates and not self.series.several:
                self.series.setCollapsed(False)
            self._series_changed()
            self.bands.fit(self.layers.currentLayer(), entry.card.bands)
            self._arrange()
        self._timer.start()

    def _arrange(self) -> None:
        """Make the left side as wide as its widgets, and put new widgets into the Tab order."""
        bar = self._left.verticalScrollBar().sizeHint().width()
        self._left.setMinimumWidth(self._left.widget().minimumSizeHint().width() + bar)
        before = self.area.selected
        for part in (self.series, self.options, self.bands):
            for widget in part.findChildren(QWidget):
                if widget.window() is self and widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
                    self.setTabOrder(before, widget)
                    before = widget

    def _takes_series(self) -> bool:
        """Whether the model's algorithm takes layers of several dates."""
        return self._algorithm is not None and bool(self._algorithm.parameterDefinition("SERIES"))

    def _series_changed(self) -> None:
        if self._algorithm is not None:
            self.options.show_date_count(self._takes_series() and self.series.several)

    def _look(self) -> None:
        """Find out in the background how much of each layer of a series holds data."""
        entry = self.entry
        if self._takes_series() and self.series.several and entry is not None and entry.card is not None:
            self.looking.start(entry.card, self.bands.bands())
        else:
            self.looking.stop()

    def _plan_run(self) -> None:
        """Plan at once; an area of a series only when its grid is known, for which all its files are opened elsewhere."""
        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        if not (self._takes_series() and self.series.several and self.area.parameters()):
            self._plan_with(context)
            return
        try:
            layers = self._algorithm.series(self.parameters(), context, self.layers.currentLayer())
        except RuntimeFault as fault:
            self.fit.show_fault(words(fault))
            return
        self.fit.show_checking(0)
        work = lambda _: series_grid(layers)  # noqa: E731
        task = Background(tr("GeoAware: estimating the run"), work, tr("The layer cannot be read ({error})."))
        self._estimating = task.start(lambda grid, problem: self._grid_known(task, context, problem))

    def _grid_known(self, task: Background, context: QgsProcessingContext, problem: str) -> None:
        if task is not self._estimating:  # it was cancelled
            return
        self._estimating = None
        if problem:
            self.fit.show_fault(problem)
        else:
            self._plan_with(context)

    def _plan_with(self, context: QgsProcessingContext) -> None:
        try:
            plan = self._algorithm.plan(self.parameters(), context)
        except RuntimeFault as fault:
            self.fit.show_fault(words(fault))
            return
        self._plan = plan
        self.bands.show_match(plan.bands)
        self.fit.show_checking(plan.tiles)
        work = partial(preview, plan, self.options.roles(), self.options.files())
        task = Background(tr("GeoAware: estimating the run"), work, tr("The layer cannot be read ({error})."))
        self._estimating = task.start(lambda estimate, problem: self._estimated(task, estimate, problem))

    def _estimated(self, task: Background, estimate: Optional[Preview], problem: str) -> None:
        if task is not self._estimating:  # it was cancelled
            return
        self._estimating = None
        if estimate is None or self._plan is None:
            self.fit.show_fault(problem)
            self._plan = None
        else:
            out = self.options.file.filePath()
            folder = Path(out).parent if out else Path(QgsProcessingUtils.tempFolder())
            free = free_bytes(folder if folder.is_dir() else Path.home())
            self.fit.show_estimate(estimate, free, self._plan.tiles)
        self._allow()

    def _stop_estimating(self) -> None:
        if self._estimating is not None:
            task, self._estimating = self._estimating, None
            task.cancel()

    def _allow(self) -> None:
        self.run_button.setEnabled(self._plan is not None and self.tabs.currentIndex() == 0)

"""The page that lists what runs models on this computer, what could be installed, and how fast each is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
)

from .. import onnxruntime_help
from ..runtime.infer.timing.speed import SECONDS, Speed, speeds
from ..runtime.model.devices.known import fast_units, processor
from ..runtime.model.devices.packages import ONNXRUNTIME, Package, installable
from ..runtime.model.providers import Library, cores, libraries, runner_of
from ..runtime.model.session import Model
from ..texts import number, size, tr, words
from . import models
from .widgets import Background, PluginWindow, button, narrow_list, paragraph, stack

_SIZE = (860, 500)
_RUNNER, _DEVICE, _, _SPEED, _RATIO = range(5)  # columns
_WAITING = "…"


@dataclass
class Found:
    """What a computer has: the processor, its cores and fast units, the libraries, and why onnxruntime cannot be used, if so."""

    processor: str
    cores: int
    units: Sequence[str]
    libraries: Sequence[Library]
    missing: Sequence[Package]
    problem: str


def look(keep_going: Callable[[], bool]) -> Found:
    """Find out; in a worker thread, because all libraries are loaded."""
    problem = onnxruntime_help.problem()
    if problem and onnxruntime_help.obstacle():
        problem = f"{problem} {onnxruntime_help.obstacle()}"
    return Found(processor()[0], cores(), fast_units(), libraries(), installable(), problem)


class Measuring(Background):
    """Measures a model on one provider after the other."""

    measured = pyqtSignal(object)  # a Speed; on the main thread

    def __init__(self, path: Path) -> None:
        title, problem = tr("GeoAware: measuring {name}"), tr("The model cannot be read ({error}).")
        super().__init__(title.format(name=path.name), partial(self._measure, path), problem)

    def _measure(self, path: Path, keep_going: Callable[[], bool]) -> bool:
        for speed in speeds(Model(path, "cpu"), keep_going):
            self.measured.emit(speed)
        return True


class DevicesWindow(PluginWindow):
    """Looks when it is opened; measures after a click."""

    def __init__(self, install: Callable[..., bool], parent=None) -> None:
        """``install(reason, packages, parent)`` opens the page that installs packages; whether they can be used then."""
        super().__init__(tr("GeoAware: devices"), parent)
        self._install = install
        self._looking: Optional[Background] = None
        self._measuring: Optional[Measuring] = None
        self.found: Optional[Found] = None
        self._faults: list[str] = []  # of a measurement
        self.about, self.idle, self.message = paragraph(), paragraph(), paragraph()
        self.models = narrow_list()
        self.measure_button, self.cancel_button = button(tr("Measure"), self.measure), button(tr("Cancel"), self.cancel)
        self.measure_button.setToolTip(
            tr("Runs the model on noise, {seconds} s on each provider.").format(seconds=number(SECONDS, "g"))
        )
        row = stack(QHBoxLayout(), self.models, self.measure_button, self.cancel_button)
        row.setStretch(0, 1)
        form = QFormLayout()
        form.addRow(tr("Model"), row)
        hint = paragraph(
            tr(
                "A run whose execution provider is 'auto' tries these on tiles of the layer itself, and takes the fastest that "
                "gives nearly the same classes, values, features or boxes as onnxruntime on the CPU."
            )
        )
        self.offer = QGroupBox(tr("Not installed"))
        self._rows = QGridLayout(self.offer)
        self._rows.setColumnStretch(0, 1)
        self._rows.setHorizontalSpacing(24)
        layout = self.fill_with(self.about, form, self._list(), self.idle, hint, self.offer, self.message)
        layout.setStretch(2, 1)
        self.models.currentIndexChanged.connect(lambda _: self._model_chosen())
        self.resize(*_SIZE)

    def open_with(self, chosen: Optional[Path]) -> None:
        """Show it with this model chosen; a measurement that goes on is kept."""
        if self._measuring is None:
            self.fill_models(chosen)
            self.look()
        self.to_front()

    def fill_models(self, chosen: Optional[Path] = None) -> None:
        """Reload the models; by default the one that was chosen stays."""
        chosen = chosen or self.models.currentData() or models.last_used()
        entries = [entry for entry in models.entries() if entry.card]
        if chosen.is_file() and chosen not in [entry.path for entry in entries]:
            entries.append(models.Entry.of(chosen))  # used from the toolbox
        before = self.models.currentData()
        self.models.blockSignals(True)
        self.models.clear()
        for entry in entries:
            self.models.addItem(entry.title, entry.path)
        paths = [entry.path for entry in entries]
        self.models.setCurrentIndex(paths.index(chosen) if chosen in paths else 0)
        self.models.blockSignals(False)
        if self.models.currentData() != before:
            self._model_chosen()
        self._allow()

    def look(self) -> None:
        """Find out in the background what there is."""
        self._stop_looking()
        self.message.setText(tr("Looking at what is installed…"))
        task = Background(tr("GeoAware: looking for devices"), look, tr("The devices cannot be listed ({error})."))
        self._looking = task
        task.start(lambda found, problem: self._looked(task, found, problem))
        self._allow()

    def measure(self) -> None:
        """Measure the chosen model on all providers in the background."""
        self._clear_speeds(_WAITING)
        self._faults = []
        self.message.setText(tr("Measuring… Other programs that run make it slower."))
        task = self._measuring = Measuring(self.models.currentData())
        task.measured.connect(lambda speed: self._show_speed(task, speed))
        task.start(lambda _, problem: self._measured(task, problem))
        self._allow()

    def cancel(self) -> None:
        """Stop measuring."""
        if self._measuring is not None:
            task, self._measuring = self._measuring, None
            task.cancel()
            self._ended(tr("Cancelled."))

    def stop(self) -> None:
        """Cancel what runs in the background."""
        self._stop_looking()
        self.cancel()

    def _list(self) -> QTreeWidget:
        self.list = QTreeWidget()
        heads = [tr("Execution provider"), tr("Device"), tr("Package"), tr("Tiles per second"), tr("Ratio")]
        self.list.setHeaderLabels(heads)
        self.list.setRootIsDecorated(False)
        self.list.setAllColumnsShowFocus(True)
        header = self.list.header()
        header.setStretchLastSection(False)
        for column in range(len(heads)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_DEVICE, QHeaderView.ResizeMode.Stretch)
        for column in (_SPEED, _RATIO):
            self.list.headerItem().setTextAlignment(column, Qt.AlignmentFlag.AlignRight)
        return self.list

    def _stop_looking(self) -> None:
        if self._looking is not None:
            task, self._looking = self._looking, None
            task.cancel()

    def _looked(self, task: Background, found: Optional[Found], problem: str) -> None:
        if task is not self._looking:  # it was cancelled
            return
        self._looking = None
        self.message.setText(problem)
        if found is not None:
            self.found = found
            text = tr("Processor: {name}, cores used: {count}")
            units = f" ({', '.join(found.units)})" if found.units else ""
            self.about.setText(text.format(name=found.processor, count=found.cores) + units)
            self._fill_list(found)
            self._fill_offer(found)
            self.message.setText(found.problem)
        self._allow()

    def _fill_list(self, found: Found) -> None:
        self.list.clear()
        idle = []
        for library in found.libraries:
            if library.fault:
                idle.append(f"{library.title}: {words(library.fault)}")
            for one in library.providers:
                if not one.precisions:
                    text = tr("{package}: {device} is not tried, a CPU only")
                    idle.append(text.format(package=library.title, device=one.device))
                for precision in one.precisions:
                    row = QTreeWidgetItem(
                        self.list, [runner_of(one.name, precision), one.device, library.title, "", ""]
                    )
                    row.setToolTip(_DEVICE, one.device)
                    for column in (_SPEED, _RATIO):
                        row.setTextAlignment(column, Qt.AlignmentFlag.AlignRight)
        self.idle.setText("\n".join(idle))
        self.idle.setVisible(bool(idle))

    def _fill_offer(self, found: Found) -> None:
        while self._rows.count():
            self._rows.takeAt(0).widget().deleteLater()
        usable = not found.problem
        # the page that installs onnxruntime brings OpenVINO too
        offered = [one for one in found.missing if usable or one is not ONNXRUNTIME]
        packages = [*([] if usable else [ONNXRUNTIME]), *offered]
        for row, one in enumerate(packages):
            click = button(tr("Install…"), partial(self._install_one, one))
            click.setEnabled((usable or one is ONNXRUNTIME) and not onnxruntime_help.obstacle())
            parts = (paragraph(words(one.use)), QLabel(one.name), QLabel(size(one.download)), click)
            for column, part in enumerate(parts):
                self._rows.addWidget(part, row, column)
        self.offer.setVisible(bool(packages))

    def _install_one(self, package: Package) -> None:
        if package is ONNXRUNTIME:
            self._install(self.found.problem, onnxruntime_help.PACKAGES, self)
        else:
            self._install(f"{package.name}: {words(package.use)}", (package,), self)
        self.look()

    def _clear_speeds(self, text: str) -> None:
        for row in self._runners().values():
            row.setText(_SPEED, text)
            row.setText(_RATIO, "")

    def _runners(self) -> dict[str, QTreeWidgetItem]:
        """The rows by ``Model.runner``."""
        rows = [self.list.topLevelItem(at) for at in range(self.list.topLevelItemCount())]
        return {row.text(_RUNNER): row for row in rows}

    def _show_speed(self, task: Measuring, speed: Speed) -> None:
        row = self._runners().get(speed.runner)
        if task is not self._measuring or row is None:
            return
        if speed.fault:
            row.setText(_SPEED, tr("fails"))
            self._faults.append(f"{speed.runner}: {words(speed.fault)}")
        else:
            row.setText(_SPEED, number(speed.tiles, ",.1f"))
            row.setText(_RATIO, f"{number(speed.ratio, '.1f')} x")

    def _measured(self, task: Measuring, problem: str) -> None:
        if task is self._measuring:
            self._measuring = None
            self._ended("\n".join([*self._faults, *([problem] if problem else [])]))

    def _ended(self, text: str) -> None:
        for row in self._runners().values():
            if row.text(_SPEED) == _WAITING:
                row.setText(_SPEED, "")
        self.message.setText(text)
        self._allow()

    def _model_chosen(self) -> None:
        """The numbers are of another model."""
        self.cancel()
        self._clear_speeds("")
        self.message.setText("" if self.found is None else self.found.problem)

    def _allow(self) -> None:
        usable = self.found is not None and not self.found.problem and self._looking is None
        self.measure_button.setEnabled(usable and self.models.count() > 0 and self._measuring is None)
        self.cancel_button.setEnabled(self._measuring is not None)

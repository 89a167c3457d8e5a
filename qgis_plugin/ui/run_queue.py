"""Runs in the background, one after the other, and their results. Without windows."""

import time
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProject,
)
from qgis.gui import QgsGui
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..layers import forget
from ..runtime.model.card import ModelCard
from ..runtime.results.areas import ClassArea
from ..texts import duration, tr
from . import repeat

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
_PAUSE = 0.2  # seconds between two reports of progress
_ENDING_SECONDS = 30  # that unloading the plugin waits for a batch to end


class _Feedback(QgsProcessingFeedback):
    """Passes the log of a worker to the main thread."""

    logged = pyqtSignal(str, str)  # level, sentence

    def __init__(self) -> None:
        super().__init__(False)

    def pushInfo(self, text):
        """Log information."""
        self.logged.emit("info", text)

    def setProgressText(self, text):
        """Log the present step."""
        self.logged.emit("info", text)

    def pushWarning(self, text):
        """Log a warning."""
        self.logged.emit("warning", text)

    def reportError(self, text, fatalError=False):
        """Log an error."""
        self.logged.emit("error", text)


class Run(QObject):
    """One run of an algorithm.

    Attributes:
        given: the parameters as texts, which stay valid when layers are removed.
        state: WAITING, RUNNING, DONE, FAILED or CANCELLED.
        progress: per cent.
        log: level and text of each message.
        outputs: of the algorithm, once it is done.
        loaded: whether the results were loaded into the project.
    """

    changed = pyqtSignal()
    ended = pyqtSignal()

    def __init__(self, algorithm, parameters: dict[str, Any], title: str, card: ModelCard) -> None:
        """Prepare the algorithm; if that fails the state is FAILED and ``problem`` says why."""
        super().__init__()
        self.algorithm, self.parameters, self.title, self.card = algorithm, parameters, title, card
        self.given = repeat.given(parameters)
        self.state, self.progress, self.seconds, self.loaded = WAITING, 0.0, 0.0, False
        self.log: list[tuple[str, str]] = []
        self.outputs: dict[str, Any] = {}
        self._project_open, self._began, self._told = True, 0.0, 0.0
        self.feedback = _Feedback()
        self.feedback.logged.connect(self._log)
        self.context = QgsProcessingContext()
        self.context.setProject(QgsProject.instance())
        self.context.setFeedback(self.feedback)
        QgsProject.instance().cleared.connect(self._project_closed)
        self._task: Any = QgsProcessingAlgRunnerTask(algorithm, parameters, self.context, self.feedback)
        self._task.setDescription(f"GeoAware: {title}")
        if self._task.isCanceled():
            self._end(FAILED)

    @property
    def problem(self) -> str:
        """Why it failed, in one sentence; empty if it did not."""
        if self.state != FAILED:
            return ""
        errors = [text for level, text in self.log if level == "error"]
        return errors[-1].splitlines()[0] if errors else tr("The run failed; see the Log Messages panel of QGIS.")

    @property
    def over(self) -> bool:
        """Whether it has ended, in any way."""
        return self.state in (DONE, FAILED, CANCELLED)

    @property
    def remaining(self) -> str:
        """Remaining time as text; empty if unknown."""
        if self.state != RUNNING or not 0 < self.progress < 100:
            return ""
        return duration((time.monotonic() - self._began) / self.progress * (100 - self.progress))

    def start(self) -> None:
        """Hand it to QGIS's task manager."""
        self.state, self._began = RUNNING, time.monotonic()
        self.feedback.progressChanged.connect(self._progressed)
        self._task.executed.connect(self._executed)
        self.changed.emit()
        QgsApplication.taskManager().addTask(self._task)  # which owns and deletes it from here on

    def cancel(self, wait: bool = False) -> None:
        """Stop within one batch; ``wait`` until then, while QGIS processes events."""
        if self.over:
            return
        self.feedback.cancel()
        if self.state == WAITING:
            self._task.cancel()
            self._end(CANCELLED)
        elif wait:
            self._task.waitForFinished(_ENDING_SECONDS * 1000)

    def load(self) -> None:
        """Add the run to Processing's history, and its results to the project unless that was closed."""
        self._remember()
        if not self._project_open:
            forget(self.context)
            return
        # here, since Processing is a plugin itself and may be loaded later than this module
        from processing.gui.Postprocessing import handleAlgorithmResults

        handleAlgorithmResults(self.algorithm, self.context, self.feedback, parameters=self.parameters)
        self.loaded = True

    def layer(self):
        """Layer of the main result; None if it is not in the project."""
        source, layers = self.outputs.get("OUTPUT", ""), QgsProject.instance().mapLayers().values()
        return next((layer for layer in layers if layer.source().split("|")[0] == source), None)

    def files(self) -> list[Path]:
        """Files that the run has written."""
        paths = [Path(value) for value in self.outputs.values() if isinstance(value, str) and value]
        return [path for path in paths if path.is_file()]

    def areas(self) -> list[ClassArea]:
        """Area of each class; empty if the result is not a map of classes."""
        table = self.outputs.get("AREAS")
        layer: Any = QgsProcessingUtils.mapLayerFromString(table, self.context) if table else None
        return [
            ClassArea(one["class"], one["name"], one["pixels"], one["hectares"] * 10_000, one["per_cent"])
            for one in (layer.getFeatures() if layer else ())
        ]

    def _remember(self) -> None:
        command = self.algorithm.asPythonCommand(self.parameters, self.context)
        if Qgis.versionInt() < 32400:
            from processing.core.ProcessingLog import ProcessingLog

            ProcessingLog.addToLog(command)
            return
        details = {
            "python_command": command,
            "algorithm_id": self.algorithm.id(),
            "parameters": self.algorithm.asMap(self.parameters, self.context),
        }
        process_command, complete = self.algorithm.asQgisProcessCommand(self.parameters, self.context)
        if complete:
            details["process_command"] = process_command  # its line in the history is empty without
        QgsGui.historyProviderRegistry().addEntry("processing", details)

    def _log(self, level: str, text: str) -> None:
        self.log.append((level, text))
        self.changed.emit()

    def _progressed(self, progress: float) -> None:
        self.progress, now = progress, time.monotonic()
        if now - self._told > _PAUSE:  # each of many thousand tiles reports it
            self._told = now
            self.changed.emit()

    def _executed(self, fine: bool, outputs: dict[str, Any]) -> None:
        self.outputs, self.seconds = outputs, time.monotonic() - self._began
        self._end(CANCELLED if self.feedback.isCanceled() else DONE if fine else FAILED)

    def _end(self, state: str) -> None:
        self.state, self._task = state, None
        QgsProject.instance().cleared.disconnect(self._project_closed)
        self.changed.emit()
        self.ended.emit()

    def _project_closed(self) -> None:
        self._project_open = False


class RunQueue(QObject):
    """All runs since QGIS started; the next one starts when one ends."""

    added = pyqtSignal(object)
    ended = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Run] = []

    def add(self, run: Run) -> None:
        """Queue a run."""
        self.all.append(run)
        run.ended.connect(lambda: self._ended(run))
        self.added.emit(run)
        self._next()

    def stop(self) -> None:
        """Cancel all and wait until they have ended."""
        for run in sorted(self.all, key=lambda run: run.state == RUNNING):  # last, since the next one would start
            run.cancel(wait=True)

    def _ended(self, run: Run) -> None:
        self.ended.emit(run)
        self._next()

    def _next(self) -> None:
        waiting = [run for run in self.all if run.state == WAITING]
        if waiting and not any(run.state == RUNNING for run in self.all):
            waiting[0].start()

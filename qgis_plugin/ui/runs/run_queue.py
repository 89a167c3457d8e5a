"""Runs in the background, one after the other. Without windows."""

import time
from typing import Any, Optional

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...runtime.model.card import ModelCard
from ...texts import tr
from ..duration import duration
from . import repeat

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
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
        algorithm: Processing algorithm.
        parameters: its parameters.
        given: the parameters as texts, which stay valid when layers are removed.
        title: name of the run, for the user.
        card: card of the model.
        state: WAITING, RUNNING, DONE, FAILED or CANCELLED.
        progress: per cent.
        log: level and text of each message.
        outputs: outputs of the algorithm, once it is done.
        seconds: duration of the run.
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
        self.project_open = True
        self._began = 0.0
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
        passed = time.monotonic() - self._began
        return duration(passed / self.progress * (100 - self.progress))

    def start(self) -> None:
        """Hand it to QGIS's task manager."""
        self.state, self._began = RUNNING, time.monotonic()
        self.feedback.progressChanged.connect(self._progressed)
        self._task.executed.connect(self._executed)
        self.changed.emit()
        QgsApplication.taskManager().addTask(self._task)  # which owns and deletes it from here on

    def cancel(self) -> None:
        """Stop within one batch."""
        self.feedback.cancel()
        if self.state == WAITING:
            self._task.cancel()
            self._end(CANCELLED)

    def wait(self) -> None:
        """Wait until it has ended, while QGIS processes events."""
        if self.state == RUNNING:
            self._task.waitForFinished(_ENDING_SECONDS * 1000)

    def _log(self, level: str, text: str) -> None:
        self.log.append((level, text))
        self.changed.emit()

    def _progressed(self, progress: float) -> None:
        self.progress = progress
        self.changed.emit()

    def _executed(self, fine: bool, outputs: dict[str, Any]) -> None:
        self.outputs = outputs
        self.seconds = time.monotonic() - self._began
        if self.feedback.isCanceled():
            self._end(CANCELLED)
        else:
            self._end(DONE if fine else FAILED)

    def _end(self, state: str) -> None:
        self.state, self._task = state, None
        QgsProject.instance().cleared.disconnect(self._project_closed)
        self.changed.emit()
        self.ended.emit()

    def _project_closed(self) -> None:
        self.project_open = False


class Runs(QObject):
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

    @property
    def running(self) -> Optional[Run]:
        """The run that is running."""
        return next((run for run in self.all if run.state == RUNNING), None)

    def stop(self) -> None:
        """Cancel all and wait until they have ended."""
        for run in self.all:
            if run.state == WAITING:
                run.cancel()
        for run in self.all:
            if run.state == RUNNING:
                run.cancel()
                run.wait()

    def _ended(self, run: Run) -> None:
        self.ended.emit(run)
        self._next()

    def _next(self) -> None:
        waiting = [run for run in self.all if run.state == WAITING]
        if waiting and self.running is None:
            waiting[0].start()

"""Shows the runs, their progress and their logs."""

import html
from typing import Optional

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QProgressBar,
    QTextBrowser,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..texts import duration, tr
from .run_queue import CANCELLED, DONE, FAILED, RUNNING, WAITING, Run, RunQueue
from .widgets import button, split, stack

_COLORS = {"warning": "#b35900", "error": "#c00000"}


class RunsView(QWidget):
    """A list of the runs, and the log of the selected one."""

    def __init__(self, runs: RunQueue, open_page) -> None:
        super().__init__()
        self._runs = runs.all
        self._shown = 0  # messages of the log
        self.list = QTreeWidget()
        self.list.setHeaderLabels([tr("Model and layer"), tr("State"), tr("Progress")])
        self.list.setRootIsDecorated(False)
        self.list.header().setStretchLastSection(False)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.header().resizeSection(1, 180)
        self.list.header().resizeSection(2, 160)
        self.log = QTextBrowser()
        self.log.setPlaceholderText(
            tr("The log of the selected run appears here. Runs continue in the background while you work in QGIS.")
        )
        self.page_button = button(tr("Result page"), lambda: open_page(self.current))
        self.cancel_button = button(tr("Cancel run"), lambda: self.current.cancel())
        both = split(Qt.Orientation.Vertical, self.list, self.log)
        stack(QVBoxLayout(self), both, stack(QHBoxLayout(), None, self.page_button, self.cancel_button))
        self.list.currentItemChanged.connect(lambda *_: self._chosen())
        runs.added.connect(self._add)
        self._show()

    @property
    def current(self) -> Optional[Run]:
        """The selected run."""
        row = self.list.indexOfTopLevelItem(self.list.currentItem()) if self.list.currentItem() else -1
        return self._runs[row] if row >= 0 else None

    def _add(self, run: Run) -> None:
        item = QTreeWidgetItem([run.title, "", ""])
        self.list.addTopLevelItem(item)
        self.list.setItemWidget(item, 2, QProgressBar())
        run.changed.connect(lambda: self._update(run))
        self.list.setCurrentItem(item)
        self._update(run)

    def _update(self, run: Run) -> None:
        item = self.list.topLevelItem(self._runs.index(run))
        item.setText(1, state_text(run))
        self.list.itemWidget(item, 2).setValue(100 if run.state == DONE else int(run.progress))
        if run is self.current:
            self._show()

    def _chosen(self) -> None:
        self.log.clear()
        self._shown = 0
        self._show()

    def _show(self) -> None:
        """Write what is new in the log of the selected run, and allow what can be done with the run."""
        run = self.current
        log = run.log if run else []
        for level, text in log[self._shown :]:
            color = f" style='color:{_COLORS[level]}'" if level in _COLORS else ""
            self.log.append(f"<span{color}>{html.escape(text, quote=False)}</span>")
        self._shown = len(log)
        self.cancel_button.setEnabled(run is not None and not run.over and not run.feedback.isCanceled())
        self.page_button.setEnabled(run is not None and run.state == DONE)


def state_text(run: Run) -> str:
    """State of a run as text."""
    if run.state == RUNNING:
        if run.feedback.isCanceled():
            return tr("cancelling")
        left = run.remaining
        return tr("running, {time} left").format(time=left) if left else tr("running")
    if run.state == DONE:
        return tr("done in {time}").format(time=duration(run.seconds))
    return {WAITING: tr("waiting"), FAILED: tr("failed"), CANCELLED: tr("cancelled")}[run.state]

"""Shows the runs, their progress and their logs."""

import html
from typing import Optional

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QSplitter,
    QTextBrowser,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ...texts import tr
from ..duration import duration
from .run_queue import CANCELLED, DONE, FAILED, RUNNING, WAITING, Run, Runs

_COLORS = {"warning": "#b35900", "error": "#c00000"}


class RunsView(QWidget):
    """A list of the runs, and the log of the selected one."""

    def __init__(self, runs: Runs, open_page, parent=None) -> None:
        super().__init__(parent)
        self._open_page, self._shown = open_page, 0
        self._runs: list[Run] = []
        self.list = QTreeWidget()
        self.list.setHeaderLabels([tr("Model and layer"), tr("State"), tr("Progress")])
        self.list.setRootIsDecorated(False)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.header().setStretchLastSection(False)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.header().resizeSection(1, 180)
        self.list.header().resizeSection(2, 160)
        self.log = QTextBrowser()
        self.log.setPlaceholderText(
            tr("The log of the selected run appears here. Runs continue in the background while you work in QGIS.")
        )
        self.cancel_button, self.page_button = QPushButton(tr("Cancel run")), QPushButton(tr("Result page"))
        for button in (self.cancel_button, self.page_button):
            button.setAutoDefault(False)
        self.cancel_button.clicked.connect(lambda: self.current.cancel())
        self.page_button.clicked.connect(lambda: self._open_page(self.current))
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.page_button)
        row.addWidget(self.cancel_button)
        both = QSplitter(Qt.Orientation.Vertical)
        both.addWidget(self.list)
        both.addWidget(self.log)
        layout = QVBoxLayout(self)
        layout.addWidget(both)
        layout.addLayout(row)
        self.list.currentItemChanged.connect(lambda *_: self._chosen())
        for run in runs.all:
            self._add(run)
        runs.added.connect(self._add)
        self._allow()

    @property
    def current(self) -> Optional[Run]:
        """The selected run."""
        row = self.list.indexOfTopLevelItem(self.list.currentItem()) if self.list.currentItem() else -1
        return self._runs[row] if row >= 0 else None

    def _add(self, run: Run) -> None:
        item = QTreeWidgetItem([run.title, "", ""])
        self._runs.append(run)
        self.list.addTopLevelItem(item)
        bar = QProgressBar()
        self.list.setItemWidget(item, 2, bar)
        run.changed.connect(lambda: self._update(run))
        self.list.setCurrentItem(item)
        self._update(run)

    def _update(self, run: Run) -> None:
        item = self.list.topLevelItem(self._runs.index(run))
        item.setText(1, state_text(run))
        self.list.itemWidget(item, 2).setValue(100 if run.state == DONE else int(run.progress))
        if run is self.current:
            self._write_log()
            self._allow()

    def _chosen(self) -> None:
        self.log.clear()
        self._shown = 0
        self._write_log()
        self._allow()

    def _write_log(self) -> None:
        log = self.current.log if self.current else []
        for level, text in log[self._shown :]:
            color = f" style='color:{_COLORS[level]}'" if level in _COLORS else ""
            self.log.append(f"<span{color}>{html.escape(text, quote=False)}</span>")
        self._shown = len(log)

    def _allow(self) -> None:
        run = self.current
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

"""*How good is it?*: accuracy at polygons that were left out, and what is unlike anything labelled."""

import math
from typing import Optional

from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ....runtime.learn.judge import Quality
from ....texts import number, tr, words
from ...widgets import paragraph, stack

_QUIET_MS = 700  # after the last stroke: refits come first
_ROW = 24  # px
_FEW = 4  # columns
_UNKNOWN = "-"


class QualityPage(QWidget):
    """Keeps up with the labels while it is visible."""

    def __init__(self, engine, parent=None) -> None:
        super().__init__(parent)
        self._engine = engine
        self.summary, self.warnings, self.unlike = paragraph(), paragraph(), paragraph()
        self.scores, self.confusion = _table(), _table()
        self.hatched = QCheckBox(tr("Hatch what is unlike anything labelled"))
        self.hatched.toggled.connect(lambda shown: engine.set_shown("unlike", shown))
        self.hatched.toggled.connect(lambda shown: self.unlike.setVisible(shown and bool(self.unlike.text())))
        self._caption = paragraph(tr("Labelled as (down) and mapped as (across), in polygons:"))
        layout = stack(
            QVBoxLayout(self), self.summary, self.scores, self._caption, self.confusion, self.warnings,
            self.hatched, self.unlike,
        )  # fmt: skip
        layout.setContentsMargins(0, 0, 0, 0)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.timeout.connect(engine.judge)
        engine.refitted.connect(self._refitted)
        engine.judged.connect(self.show_quality)
        engine.unlike_found.connect(self._show_share)
        engine.closed.connect(lambda: self._refitted(None))
        self._refitted(None)

    def showEvent(self, event):
        """Judge what is there."""
        super().showEvent(event)
        if self._engine.fitted is not None:
            self._timer.start()

    def show_quality(self, quality: Quality) -> None:
        """Show figures that have been computed."""
        accuracy, low, high = quality.accuracy
        if math.isnan(accuracy):
            text = tr("The accuracy is not known: label a second polygon of each class, away from the first.")
        else:
            text = tr(
                "Accuracy {share} % (95 % interval {low} to {high} %), at {count} polygons that were left out {how}."
            )
        how = tr("in {count} spatial blocks").format(count=quality.blocks) if quality.blocks else tr("one by one")
        tested = int(round(float(quality.confusion.sum())))
        self.summary.setText(
            text.format(share=_per_cent(accuracy), low=_per_cent(low), high=_per_cent(high), count=tested, how=how)
        )
        self._show_scores(quality)
        self._show_confusion(quality)
        texts = [words(one) for one in quality.warnings]
        self.warnings.setText("\n".join(f"{text[:1].upper()}{text[1:]}." for text in texts))
        self._show_parts(True)

    def _show_scores(self, quality: Quality) -> None:
        table, (f1, low, high) = self.scores, quality.f1
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([tr("Polygons"), tr("F1 (%)"), tr("95 % int.")])
        table.setRowCount(len(quality.names))
        table.setVerticalHeaderLabels(list(quality.names))
        for row in range(len(quality.names)):
            known = not math.isnan(f1[row])
            between = tr("{low} to {high}").format(low=_per_cent(low[row]), high=_per_cent(high[row]))
            cells = [str(int(quality.polygons[row])), _per_cent(f1[row]), between]
            for column, text in enumerate(cells):
                table.setItem(row, column, _cell(text if known or not column else _UNKNOWN))
        _fit(table)

    def _show_confusion(self, quality: Quality) -> None:
        table, counts = self.confusion, quality.confusion
        names = list(quality.names)
        table.setColumnCount(len(names))
        table.setHorizontalHeaderLabels(names)
        table.setRowCount(len(names))
        table.setVerticalHeaderLabels(names)
        for row, name in enumerate(names):
            total = float(counts[row].sum())
            for column, other in enumerate(names):
                share = float(counts[row, column]) / total if total else 0.0
                cell = _cell(number(float(counts[row, column]), ".1f") if counts[row, column] >= 0.05 else "")
                good = QColor("#2c7fb8") if row == column else QColor("#d95f0e")
                good.setAlphaF(0.65 * share)
                cell.setBackground(good)
                text = tr("{share} % of the polygons labelled {name} are mapped as {other}.")
                cell.setToolTip(text.format(share=_per_cent(share), name=name, other=other))
                table.setItem(row, column, cell)
        _fit(table)

    def _refitted(self, fitted: Optional[object]) -> None:
        if fitted is None:
            self._timer.stop()
            self.summary.setText(tr("Label at least two classes, two polygons each, to see how good the map is."))
            self._show_parts(False)
        elif self.isVisible():
            self._timer.start()

    def _show_parts(self, shown: bool) -> None:
        for part in (self.scores, self._caption, self.confusion, self.warnings):
            part.setVisible(shown and (part is not self.warnings or bool(self.warnings.text())))
        if not shown:
            self.unlike.hide()

    def _show_share(self, share: float) -> None:
        text = tr("{share} % of the view is unlike anything labelled: the map cannot be trusted there.")
        self.unlike.setText(text.format(share=_per_cent(share)))
        self.unlike.setVisible(self.hatched.isChecked())


def _table() -> QTableWidget:
    table = QTableWidget()
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.verticalHeader().setMaximumWidth(110)
    table.verticalHeader().setDefaultSectionSize(_ROW)
    table.horizontalHeader().setMaximumSectionSize(110)
    return table


def _fit(table: QTableWidget) -> None:
    """As high as its rows; few columns share the width, many are scrolled."""
    few, modes = table.columnCount() <= _FEW, QHeaderView.ResizeMode
    table.horizontalHeader().setSectionResizeMode(modes.Stretch if few else modes.ResizeToContents)
    bar = 0 if few else table.horizontalScrollBar().sizeHint().height()
    table.setFixedHeight(table.horizontalHeader().sizeHint().height() + _ROW * table.rowCount() + bar + 4)


def _cell(text: str) -> QTableWidgetItem:
    cell = QTableWidgetItem(text)
    cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    return cell


def _per_cent(share: float) -> str:
    return _UNKNOWN if math.isnan(share) else str(round(100 * share))

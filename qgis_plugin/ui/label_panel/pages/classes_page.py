"""The page *Classes and painting*: tools, undo, the table of classes, and labels taken from another layer."""

from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QPainter, QPixmap
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSlider,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ....algorithms.base import ICON
from ....texts import tr
from ...widgets import button, stack
from ..tools import BRUSH, ERASE, POINT, POLYGON, digit

KEY, COLOR, NAME, COUNT = range(4)
_ROWS = 6  # that are shown without scrolling
_LARGEST = 100  # px on the screen, of the slider


class ClassTable(QTableWidget):
    """One row per class: its key, its colour, its name, how many labels it has."""

    renamed = pyqtSignal(int, str)
    recolored = pyqtSignal(int, str)

    def __init__(self) -> None:
        super().__init__(0, 4)
        self.setHorizontalHeaderLabels([tr("Key"), "", tr("Class"), tr("Labels")])
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(max(24, self.fontMetrics().height() + 6))
        self.setIconSize(QSize(28, 14))
        head = self.horizontalHeader()
        head.setHighlightSections(False)
        for column in (KEY, COLOR, COUNT):
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        self.itemChanged.connect(self._changed)
        self.cellClicked.connect(self._clicked)

    def fill(self, classes, counts: "list[int]") -> None:
        """Show classes and the number of labels of each; the selected row stays."""
        row = self.currentRow()
        self.blockSignals(True)
        self.setRowCount(len(classes))
        for at, (one, labels) in enumerate(zip(classes, counts)):
            for column, text in (
                (KEY, str(at + 1) if at < 9 else ""),
                (COLOR, ""),
                (NAME, one.name),
                (COUNT, str(labels)),
            ):
                item = QTableWidgetItem(text)
                if column != NAME:
                    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                if column == COLOR:
                    item.setIcon(_swatch(one.color))
                    item.setData(Qt.ItemDataRole.UserRole, f"#{one.color}")
                    item.setToolTip(tr("Colour of the class"))
                self.setItem(at, column, item)
        self.setCurrentCell(min(max(row, 0), len(classes) - 1), NAME)
        self.blockSignals(False)
        rows, height = min(max(len(classes), 3), _ROWS), self.verticalHeader().defaultSectionSize()
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows * height + 2 * self.frameWidth())

    def keyPressEvent(self, event):
        """Leave digits to the panel; Qt would look for a class that begins with one."""
        if digit(event):
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _changed(self, item) -> None:
        if item.column() == NAME:
            self.renamed.emit(item.row(), item.text())

    def _clicked(self, row: int, column: int) -> None:
        if column == COLOR:
            now = QColor(self.item(row, COLOR).data(Qt.ItemDataRole.UserRole))
            chosen = QColorDialog.getColor(now, self, tr("Colour of the class"))
            if chosen.isValid():
                self.recolored.emit(row, chosen.name()[1:].upper())


class ClassesPage(QWidget):
    """Which class is painted, and with what."""

    tool_chosen = pyqtSignal(str)  # mode; empty: none any more
    sized = pyqtSignal(int)
    class_chosen = pyqtSignal(int)
    added = pyqtSignal()
    removed = pyqtSignal(int)
    taking = pyqtSignal()
    undone = pyqtSignal()
    redone = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.tools = QButtonGroup(self)
        self.tools.setExclusive(False)
        self.modes = {}
        row = QHBoxLayout()
        row.setSpacing(1)
        for mode, icon, text in (
            (BRUSH, str(ICON.with_name("brush.svg")), tr("Brush (size: [ and ], or Shift and the wheel)")),
            (POLYGON, "mActionCapturePolygon.svg", tr("Polygon (right click ends it)")),
            (POINT, "mActionCapturePoint.svg", tr("Point: one pixel")),
            (ERASE, str(ICON.with_name("eraser.svg")), tr("Eraser")),
        ):
            made = _tool(icon, text)
            made.setCheckable(True)
            made.clicked.connect(lambda checked, mode=mode: self.tool_chosen.emit(mode if checked else ""))
            self.modes[mode] = made
            row.addWidget(made)
        self.size, self.size_text = QSlider(Qt.Orientation.Horizontal), QLabel()
        self.size.setRange(2, _LARGEST)
        self.size.setMinimumWidth(40)
        self.size.setToolTip(tr("Size of the brush in pixels of the screen"))
        self.size_text.setMinimumWidth(self.size_text.fontMetrics().horizontalAdvance("000"))
        self.size.valueChanged.connect(self._sized)
        self.undo_button = _tool("mActionUndo.svg", tr("Undo (Ctrl+Z)"))
        self.redo_button = _tool("mActionRedo.svg", tr("Redo (Ctrl+Shift+Z)"))
        self.undo_button.clicked.connect(self.undone)
        self.redo_button.clicked.connect(self.redone)
        stack(row, self.size, self.size_text, self.undo_button, self.redo_button)
        row.setStretchFactor(self.size, 1)

        self.table = ClassTable()
        self.table.currentCellChanged.connect(lambda row, *_: self.class_chosen.emit(row))
        self.add_button = button(tr("Add class"), lambda: self.added.emit())
        self.add_button.setIcon(QgsApplication.getThemeIcon("symbologyAdd.svg"))
        self.remove_button = _tool("symbologyRemove.svg", tr("Remove the class and its labels"))
        self.remove_button.clicked.connect(lambda: self.removed.emit(self.table.currentRow()))
        self.take_button = button(tr("From a layer…"), lambda: self.taking.emit())
        self.take_button.setToolTip(tr("Copy the labels of a vector layer with a field of classes"))
        buttons = stack(QHBoxLayout(), self.add_button, self.remove_button, None, self.take_button)
        stack(QVBoxLayout(self), row, self.table, buttons).setContentsMargins(0, 0, 0, 0)

    def show_labels(self, store) -> None:
        """Show classes, numbers of labels, and what can be undone."""
        self.table.fill(store.classes, store.counts())
        self.remove_button.setEnabled(bool(store.classes))
        self.undo_button.setEnabled(store.can_undo)
        self.redo_button.setEnabled(store.can_redo)

    def show_mode(self, mode: str) -> None:
        """Show which tool is in use; empty: none."""
        for name, one in self.modes.items():
            one.setChecked(name == mode)

    def show_size(self, size: int) -> None:
        """Show the size of the brush."""
        self.size.setValue(size)
        self.size_text.setText(str(size))

    def _sized(self, size: int) -> None:
        self.show_size(size)
        self.sized.emit(size)


def _tool(icon: str, text: str) -> QToolButton:
    made = QToolButton()
    made.setIcon(QIcon(icon) if Path(icon).is_absolute() else QgsApplication.getThemeIcon(icon))
    made.setIconSize(QSize(20, 20))
    made.setToolTip(text)
    made.setAccessibleName(text)
    made.setAutoRaise(True)
    return made


def _swatch(color: str) -> QIcon:
    picture = QPixmap(28, 14)
    picture.fill(QColor(f"#{color}"))
    painter = QPainter(picture)
    painter.setPen(QColor(0, 0, 0, 90))
    painter.drawRect(0, 0, 27, 13)
    painter.end()
    return QIcon(picture)

"""What the windows share: their frame, rows and columns of widgets, tasks in the background."""

from typing import Any, Callable

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QIcon, QTextOption
from qgis.PyQt.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLayout,
    QListWidget,
    QPushButton,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ..algorithms.base import ICON
from ..runtime.errors import Cancelled, RuntimeFault
from ..texts import tr, words


class PluginWindow(QDialog):
    """A window with the icon of the plugin and a Close button."""

    def __init__(self, title: str, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setWindowIcon(QIcon(str(ICON)))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.buttons.rejected.connect(self.reject)

    def fill_with(self, *parts) -> QVBoxLayout:
        """Stack the parts above the buttons."""
        for one in self.buttons.buttons():
            one.setAutoDefault(False)
        return stack(QVBoxLayout(self), *parts, self.buttons)

    def done(self, result):
        """Cancel what runs in the background when the window is closed, in any way."""
        self.stop()
        super().done(result)

    def stop(self) -> None:
        """Cancel what runs in the background."""

    def to_front(self) -> None:
        """Show the window above all others."""
        self.show()
        self.raise_()
        self.activateWindow()


def stack(layout: QBoxLayout, *parts) -> Any:
    """Add widgets and layouts to a layout; None is a stretch."""
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(part)
    return layout


def split(orientation, *parts: QWidget) -> QSplitter:
    """Widgets beside or below each other, with handles between them."""
    splitter = QSplitter(orientation)
    for part in parts:
        splitter.addWidget(part)
    return splitter


def button(title: str, clicked: Callable) -> QPushButton:
    """A button that Enter in another widget does not press."""
    made = QPushButton(title)
    made.setAutoDefault(False)
    made.clicked.connect(clicked)
    return made


def narrow_list() -> QComboBox:
    """A list that may be narrower than its longest entry."""
    made = QComboBox()
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    made.setMinimumContentsLength(20)
    return made


def wrapped_list() -> QListWidget:
    """A list whose entries are wrapped instead of scrolled sideways."""
    made = QListWidget()
    made.setWordWrap(True)
    made.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return made


def wrapped_text() -> QTextBrowser:
    """A rich text whose lines are wrapped, at any character if need be."""
    made = QTextBrowser()
    made.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    made.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    return made


def paragraph(text: str = "") -> QLabel:
    """A wrapped text that can be copied."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


class Background(QgsTask):
    """Calls ``work(keep_going)`` in a worker thread; QGIS deletes it once it has ended."""

    ended = pyqtSignal(object, str)  # result, or None and a sentence that says why there is none

    def __init__(self, title: str, work: Callable, unreadable: str) -> None:
        """``unreadable`` is the sentence about an error of the system."""
        super().__init__(title, QgsTask.Flag.CanCancel)
        self._work, self._unreadable = work, unreadable
        self._result: Any = None
        self._problem = tr("Cancelled.")  # also of a task that never began

    def start(self, ended: Callable) -> "Background":
        """Hand it to QGIS's task manager; ``ended`` is called on the main thread, in any case."""
        self.ended.connect(ended)
        QgsApplication.taskManager().addTask(self)
        return self

    def run(self) -> bool:
        """In a worker thread."""
        try:
            self._result, self._problem = self._work(lambda: not self.isCanceled()), ""
        except Cancelled:
            return False
        except RuntimeFault as fault:
            self._problem = words(fault)
        except (MemoryError, OSError) as error:
            self._problem = self._unreadable.format(error=error)
        return True

    def finished(self, fine: bool) -> None:
        """On the main thread."""
        self.ended.emit(self._result, self._problem)

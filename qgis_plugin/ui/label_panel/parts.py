"""Parts of the panel's frame: a page under its title, and the foot that says what goes on and what is wrong."""

from qgis.core import QgsApplication
from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import QEvent, QSize, Qt
from qgis.PyQt.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from ..widgets import paragraph, stack


class Section(QgsCollapsibleGroupBox):
    """A page under its title, which folds it."""

    def __init__(self, title: str, page: QWidget, folded: bool = False) -> None:
        super().__init__(title)
        self.setSaveCollapsedState(False)
        self.setCollapsed(folded)
        stack(QVBoxLayout(self), page).setContentsMargins(4, 2, 4, 4)


class PageArea(QScrollArea):
    """Pages below each other, scrolled down but never sideways: it is as wide as they need."""

    def __init__(self, pages: "list[Section]") -> None:
        super().__init__()
        inside = QWidget()
        column = stack(QVBoxLayout(inside), *pages, None)
        column.setContentsMargins(4, 2, 4, 2)
        column.setSpacing(4)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)
        inside.installEventFilter(self)

    def eventFilter(self, watched, event):
        """Follow a page that is unfolded, or shows something wider."""
        if event.type() == QEvent.Type.LayoutRequest:
            bar = self.verticalScrollBar().sizeHint().width()
            self.setMinimumWidth(self.widget().minimumSizeHint().width() + bar)
        return super().eventFilter(watched, event)


class MessageLine(QFrame):
    """An icon and one sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.icon, self.text = QLabel(), paragraph()
        row = stack(QHBoxLayout(self), self.icon, self.text)
        row.setContentsMargins(0, 2, 0, 2)
        row.setStretch(1, 1)
        row.setAlignment(self.icon, Qt.AlignmentFlag.AlignTop)

    def show_text(self, icon: str, text: str) -> None:
        """Show a sentence; nothing where it is empty."""
        self.icon.setPixmap(QgsApplication.getThemeIcon(icon).pixmap(QSize(16, 16)))
        self.text.setText(text)
        self.setVisible(bool(text))


class Foot(QWidget):
    """What is wrong or missing, what goes on, and how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.status, self.bar = MessageLine(), paragraph(), QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        stack(QVBoxLayout(self), self.message, self.status, self.bar).setContentsMargins(6, 2, 6, 6)
        self.say(False, "")
        self.show_status("")
        self.show_progress(0, 0)

    def say(self, warning: bool, text: str) -> None:
        """Show a sentence: a warning, or what is to be done next; nothing where it is empty."""
        self.message.show_text("mIconWarning.svg" if warning else "mIconInfo.svg", text)

    def show_status(self, text: str) -> None:
        """Show what goes on."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def show_progress(self, done: int, total: int) -> None:
        """Show how far it is, until it is done."""
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.bar.setVisible(done < total)

"""Shows whether layer and model are compatible, and the expected time and disk space."""

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QGroupBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout

from ...texts import size, tr
from ..duration import duration
from .estimate import Estimate


class FitView(QGroupBox):
    """A list of sentences with QGIS icons, and one line of figures."""

    def __init__(self, parent=None) -> None:
        super().__init__(tr("Compatibility"), parent)
        self.sentences = QListWidget()
        self.sentences.setWordWrap(True)
        self.sentences.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.sentences.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.sentences.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.figures = QLabel()
        self.figures.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self.sentences)
        layout.addWidget(self.figures)

    def show_fault(self, text: str) -> None:
        """Show why they are not compatible."""
        self._show("mIconCritical.svg", [text])
        self.figures.clear()

    def show_checking(self, tiles: int) -> None:
        """Show that the estimate is being made."""
        self._show("mActionRefresh.svg", [tr("Checking the layer…")])
        self.figures.setText(tr("{count} tiles").format(count=tiles) if tiles else "")

    def show_estimate(self, estimate: Estimate, free: float, tiles: int) -> None:
        """Show an estimate; ``free`` is the disk space in bytes, ``tiles`` their number if the estimate has none."""
        if estimate.fault:
            self.show_fault(estimate.fault)
            return
        self._show("mIconWarning.svg", estimate.notes)
        if not estimate.notes:
            self._show("mIconSuccess.svg", [tr("Layer and model fit.")])
        parts = [tr("{count} tiles").format(count=estimate.tiles or tiles)] if estimate.tiles or tiles else []
        if estimate.seconds is None:
            parts.append(tr("time is known after the first batch"))
        else:
            parts.append(tr("about {time}").format(time=duration(estimate.seconds)))
        if estimate.room:
            text = tr("up to {needed} on disk, {free} free")
            parts.append(text.format(needed=size(estimate.room), free=size(free)))
        if estimate.room > free:
            self._add("mIconWarning.svg", tr("There may not be enough disk space."))
        self.figures.setText(" · ".join(parts))

    def texts(self) -> list[str]:
        """The sentences shown."""
        return [self.sentences.item(row).text() for row in range(self.sentences.count())]

    def _show(self, icon: str, texts: list[str]) -> None:
        self.sentences.clear()
        for text in texts:
            self._add(icon, text)

    def _add(self, icon: str, text: str) -> None:
        self.sentences.addItem(QListWidgetItem(QIcon(QgsApplication.getThemeIcon(icon)), text))

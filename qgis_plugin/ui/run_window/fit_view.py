"""Says whether layer and model fit, and what a run will take."""

from typing import List

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QGroupBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout

from ...runtime.files import size_text
from ...texts import tr
from ..duration import duration
from .estimate import Estimate


class FitView(QGroupBox):
    """Sentences with the icons of QGIS, and one line of figures."""

    def __init__(self, parent=None) -> None:
        super().__init__(tr("Do they fit?"), parent)
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
        """They do not fit."""
        self._say("mIconCritical.svg", [text])
        self.figures.clear()

    def show_looking(self, tiles: int) -> None:
        """The first look is under way."""
        self._say("mActionRefresh.svg", [tr("Having a first look…")])
        self.figures.setText(tr("{count} tiles").format(count=tiles) if tiles else "")

    def show_estimate(self, found: Estimate, free: float, tiles: int) -> None:
        """What the first look found; ``free`` bytes on the disk, ``tiles`` where it did not count them."""
        if found.fault:
            self.show_fault(found.fault)
            return
        self._say("mIconWarning.svg", found.notes)
        if not found.notes:
            self._say("mIconSuccess.svg", [tr("Layer and model fit.")])
        parts = [tr("{count} tiles").format(count=found.tiles or tiles)] if found.tiles or tiles else []
        if found.seconds is None:
            parts.append(tr("time is known after the first batch"))
        else:
            parts.append(tr("about {time}").format(time=duration(found.seconds)))
        if found.room:
            text = tr("up to {needed} on the disk, {free} are free")
            parts.append(text.format(needed=size_text(found.room), free=size_text(free)))
        if found.room > free:
            self._add("mIconWarning.svg", tr("There may be too little room on the disk."))
        self.figures.setText(" · ".join(parts))

    def texts(self) -> List[str]:
        """The sentences that are shown."""
        return [self.sentences.item(row).text() for row in range(self.sentences.count())]

    def _say(self, icon: str, texts: List[str]) -> None:
        self.sentences.clear()
        for text in texts:
            self._add(icon, text)

    def _add(self, icon: str, text: str) -> None:
        self.sentences.addItem(QListWidgetItem(QIcon(QgsApplication.getThemeIcon(icon)), text))

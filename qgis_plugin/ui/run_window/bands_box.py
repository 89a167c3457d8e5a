"""Chooses which band of a layer serves as which of the model's."""

from typing import List, Sequence

from qgis.gui import QgsCollapsibleGroupBox, QgsRasterBandComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFormLayout, QLabel, QPushButton

from ...texts import tr


class BandsBox(QgsCollapsibleGroupBox):
    """One list a band of the model; matched by itself until one is set by hand."""

    changed = pyqtSignal()

    def __init__(self, parent=None) -> None:
        super().__init__(tr("Bands"), parent)
        self._layout = QFormLayout(self)
        self._lists: List[QgsRasterBandComboBox] = []
        self.by_hand = False
        self._wanted, self._layer = (), None

    def fit(self, layer, wanted: Sequence[str]) -> None:
        """Offer the bands of a layer for those that a model wants."""
        if layer is self._layer and tuple(wanted) == self._wanted:
            return
        self._layer, self._wanted, self.by_hand = layer, tuple(wanted), False
        while self._layout.rowCount():
            self._layout.removeRow(0)
        self._lists = []
        for name in wanted:
            choice = QgsRasterBandComboBox()
            choice.setLayer(layer)
            choice.bandChanged.connect(self._chosen)
            self._layout.addRow(QLabel(name), choice)
            self._lists.append(choice)
        self._again = QPushButton(tr("Match again"))
        self._again.setEnabled(False)
        self._again.clicked.connect(self._match_again)
        self._layout.addRow("", self._again)

    def show_match(self, numbers: Sequence[int]) -> None:
        """Show which bands were matched."""
        for choice, number in zip(self._lists, numbers):
            choice.blockSignals(True)
            choice.setBand(number)
            choice.blockSignals(False)

    def bands(self) -> List[int]:
        """Numbers set by hand, in the model's order; empty where they are matched."""
        return [choice.currentBand() for choice in self._lists] if self.by_hand else []

    def _chosen(self, *_) -> None:
        self.by_hand = True
        self._again.setEnabled(True)
        self.changed.emit()

    def _match_again(self) -> None:
        self.by_hand = False
        self._again.setEnabled(False)
        self.changed.emit()

"""Assigns bands of the layer to the bands of the model."""

from collections.abc import Sequence

from qgis.gui import QgsCollapsibleGroupBox, QgsRasterBandComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFormLayout, QLabel, QPushButton

from ...texts import tr


class BandsBox(QgsCollapsibleGroupBox):
    """One list per band of the model, matched by name until one is set by hand."""

    changed = pyqtSignal()

    def __init__(self, parent=None) -> None:
        super().__init__(tr("Bands"), parent)
        self._layout = QFormLayout(self)
        self._lists: list[QgsRasterBandComboBox] = []
        self.by_hand = False
        self._names: tuple[str, ...] = ()
        self._layer = None

    def fit(self, layer, names: Sequence[str]) -> None:
        """Offer the bands of a layer for the bands of a model."""
        if layer is self._layer and tuple(names) == self._names:
            return
        self._layer, self._names, self.by_hand = layer, tuple(names), False
        while self._layout.rowCount():
            self._layout.removeRow(0)
        self._lists = []
        for name in names:
            choice = QgsRasterBandComboBox()
            choice.setLayer(layer)
            choice.bandChanged.connect(self._chosen)
            self._layout.addRow(QLabel(name), choice)
            self._lists.append(choice)
        self._by_name = QPushButton(tr("Match by name"))
        self._by_name.setEnabled(False)
        self._by_name.clicked.connect(self._match_by_name)
        self._layout.addRow("", self._by_name)

    def show_match(self, numbers: Sequence[int]) -> None:
        """Show the bands that were matched."""
        for choice, number in zip(self._lists, numbers):
            choice.blockSignals(True)
            choice.setBand(number)
            choice.blockSignals(False)

    def bands(self) -> list[int]:
        """Band numbers set by hand, in the order of the model; empty if bands are matched by name."""
        return [choice.currentBand() for choice in self._lists] if self.by_hand else []

    def _chosen(self, *_) -> None:
        self.by_hand = True
        self._by_name.setEnabled(True)
        self.changed.emit()

    def _match_by_name(self) -> None:
        self.by_hand = False
        self._by_name.setEnabled(False)
        self.changed.emit()

"""Parts of the run window: the area, the bands, and whether layer and model are compatible."""

from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsMapLayerProxyModel,
    QgsProcessingFeatureSourceDefinition,
)
from qgis.gui import QgsCollapsibleGroupBox, QgsMapLayerComboBox, QgsRasterBandComboBox
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QGroupBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QVBoxLayout,
)

from ...algorithms.model_info import fact_table
from ...texts import duration, size, tr
from ..widgets import stack, wrapped_list, wrapped_text
from .estimate import Preview


class AreaBox(QGroupBox):
    """Whole layer, map view, or polygons of a layer."""

    changed = pyqtSignal()

    def __init__(self, canvas) -> None:
        super().__init__(tr("Area"))
        self._canvas = canvas
        self.whole, self.view = QRadioButton(tr("Whole layer")), QRadioButton(tr("Map view"))
        self.inside = QRadioButton(tr("Polygons of"))
        self.polygons = QgsMapLayerComboBox()
        self.polygons.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self.selected = QCheckBox(tr("Selected only"))
        layout = QGridLayout(self)
        for row, widgets in enumerate([(self.whole, self.view), (self.inside, self.polygons, self.selected)]):
            for column, widget in enumerate(widgets):
                layout.addWidget(widget, row, column)
        layout.setColumnStretch(1, 1)
        self.whole.setChecked(True)
        for button in (self.whole, self.view, self.inside):
            button.toggled.connect(self._toggled)
        self.polygons.layerChanged.connect(self._toggled)
        self.selected.toggled.connect(self.changed)
        canvas.extentsChanged.connect(self._moved)
        self._toggled()

    def suggest(self, layer) -> None:
        """Adapt the choices to a layer: a service has no whole extent."""
        provider = layer.dataProvider() if layer is not None and layer.isValid() else None
        unbounded = provider is not None and provider.name() != "gdal" and provider.xSize() < 1
        self.whole.setEnabled(not unbounded)
        if unbounded and self.whole.isChecked():
            self.view.setChecked(True)

    def parameters(self) -> dict[str, Any]:
        """For the algorithm; empty for the whole layer."""
        if self.view.isChecked():
            extent, crs = self._canvas.extent(), self._canvas.mapSettings().destinationCrs()
            sides = (extent.xMinimum(), extent.xMaximum(), extent.yMinimum(), extent.yMaximum())
            # without exponents, which a shell's parser takes for options where they are negative
            return {"EXTENT": ",".join(f"{side:.9f}".rstrip("0").rstrip(".") for side in sides) + _in_brackets(crs)}
        layer = self.polygons.currentLayer()
        if self.inside.isChecked() and layer is not None:
            return {"MASK": QgsProcessingFeatureSourceDefinition(layer.id(), self.selected.isChecked())}
        return {}

    def _toggled(self, *_) -> None:
        layer = self.polygons.currentLayer()
        self.inside.setEnabled(layer is not None)
        self.polygons.setEnabled(self.inside.isChecked())
        self.selected.setEnabled(self.inside.isChecked())
        self.changed.emit()

    def _moved(self) -> None:
        if self.view.isChecked() and self.isVisible():
            self.changed.emit()


def _in_brackets(crs: QgsCoordinateReferenceSystem) -> str:
    """The CRS of an extent: as WKT if it has no code, or one of this profile only."""
    if not crs.isValid():
        return ""
    name = crs.authid()
    if not name or name.startswith("USER:"):
        name = "WKT:" + crs.toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED)  # type: ignore[attr-defined]  # not in qgis-stubs
    return f" [{name}]"


class BandsBox(QgsCollapsibleGroupBox):
    """One list per band of the model, matched by name until one is set by hand."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__(tr("Bands"))
        self._layout = QFormLayout(self)
        self._lists: list[QgsRasterBandComboBox] = []
        self._shown: Any = None  # layer, and names of the model's bands
        self._by_hand = False

    def fit(self, layer, names: Sequence[str]) -> None:
        """Offer the bands of a layer for the bands of a model."""
        if (layer, tuple(names)) == self._shown:
            return
        self._shown, self._by_hand = (layer, tuple(names)), False
        while self._layout.rowCount():
            self._layout.removeRow(0)
        self._lists = []
        for name in names:
            choice = QgsRasterBandComboBox()
            choice.setLayer(layer)
            choice.bandChanged.connect(lambda: self._match(by_hand=True))
            self._layout.addRow(QLabel(name), choice)
            self._lists.append(choice)
        self._by_name = QPushButton(tr("Match by name"))
        self._by_name.setEnabled(False)
        self._by_name.clicked.connect(lambda: self._match(by_hand=False))
        self._layout.addRow("", self._by_name)

    def show_match(self, numbers: Sequence[int]) -> None:
        """Show the bands that were matched."""
        for choice, number in zip(self._lists, numbers):
            choice.blockSignals(True)
            choice.setBand(number)
            choice.blockSignals(False)

    def bands(self) -> list[int]:
        """Band numbers set by hand, in the order of the model; empty if bands are matched by name."""
        return [choice.currentBand() for choice in self._lists] if self._by_hand else []

    def _match(self, by_hand: bool) -> None:
        self._by_hand = by_hand
        self._by_name.setEnabled(by_hand)
        self.changed.emit()


class FitView(QGroupBox):
    """A list of sentences with QGIS icons, what will be done and why, and one line of figures."""

    def __init__(self) -> None:
        super().__init__(tr("Compatibility"))
        self.sentences = wrapped_list()
        self.sentences.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.sentences.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        # as high as its sentences, so that the facts have the rest
        self.sentences.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustToContents)
        self.sentences.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.facts, self.figures = wrapped_text(), QLabel()
        self.figures.setWordWrap(True)
        layout = stack(QVBoxLayout(self), self.sentences, self.facts, self.figures)
        layout.setStretch(1, 1)

    def show_fault(self, text: str) -> None:
        """Show why they are not compatible."""
        self._show("mIconCritical.svg", [text])
        self.facts.clear()
        self.figures.clear()

    def show_checking(self, tiles: int) -> None:
        """Show that the estimate is being made."""
        self._show("mActionRefresh.svg", [tr("Checking the layer…")])
        self.figures.setText(tr("{count} tiles").format(count=tiles) if tiles else "")

    def show_estimate(self, estimate: Preview, free: float, tiles: int) -> None:
        """Show an estimate; ``free`` is the disk space in bytes, ``tiles`` their number if the estimate has none."""
        self._show("mIconWarning.svg", estimate.notes)
        self.facts.setHtml(fact_table(estimate.facts))
        if not estimate.notes:
            self._show("mIconSuccess.svg", [tr("Layer and model fit.")])
        if estimate.room > free:
            self._add("mIconWarning.svg", tr("There may not be enough disk space."))
        tiles = estimate.tiles or tiles
        parts = [tr("{count} tiles").format(count=tiles)] if tiles else []
        if estimate.seconds is None:
            parts.append(tr("time is known after the first batch"))
        else:
            parts.append(tr("about {time}").format(time=duration(estimate.seconds)))
        if estimate.room:
            text = tr("up to {needed} on disk, {free} free")
            parts.append(text.format(needed=size(estimate.room), free=size(free)))
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

"""Chooses the area of a run."""

from typing import Any

from qgis.core import QgsCoordinateReferenceSystem, QgsMapLayerProxyModel, QgsProcessingFeatureSourceDefinition
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QGridLayout, QGroupBox, QRadioButton

from ...texts import tr


class AreaBox(QGroupBox):
    """Whole layer, map view, or polygons of a layer."""

    changed = pyqtSignal()

    def __init__(self, canvas, parent=None) -> None:
        super().__init__(tr("Area"), parent)
        self._canvas = canvas
        self.whole, self.view = QRadioButton(tr("Whole layer")), QRadioButton(tr("Map view"))
        self.inside = QRadioButton(tr("Polygons of"))
        self.polygons = QgsMapLayerComboBox()
        self.polygons.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self.selected = QCheckBox(tr("Selected only"))
        layout = QGridLayout(self)
        layout.addWidget(self.whole, 0, 0)
        layout.addWidget(self.view, 0, 1)
        layout.addWidget(self.inside, 1, 0)
        layout.addWidget(self.polygons, 1, 1)
        layout.addWidget(self.selected, 1, 2)
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

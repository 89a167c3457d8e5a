"""Labels of another vector layer: which layer, which field of classes, all features or the selected ones."""

from contextlib import suppress
from typing import Any

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsMapLayerProxyModel,
    QgsVectorLayer,
)
from qgis.gui import QgsFieldComboBox, QgsMapLayerComboBox
from qgis.PyQt.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QFormLayout

from ...gdal_io.labels import classes_in, read_labels
from ...runtime.errors import InputFault
from ...runtime.raster.legend import LandClass
from ...runtime.results.assessment import true_field
from ...texts import tr
from ..widgets import paragraph

_LIMIT = 20_000  # labels that are copied; more are another tool's work


class TakeDialog(QDialog):
    """Asks for a layer with classes."""

    def __init__(self, without, parent=None) -> None:
        """``without`` is the label layer itself, or None."""
        super().__init__(parent)
        self.setWindowTitle(tr("Labels from a layer"))
        self.layers, self.fields = QgsMapLayerComboBox(), QgsFieldComboBox()
        self.layers.setFilters(QgsMapLayerProxyModel.Filter.HasGeometry)  # lines are refused when they are read
        self.layers.setExceptedLayerList([without] if without is not None else [])
        self.selected = QCheckBox(tr("Selected features only"))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        form = QFormLayout(self)
        form.addRow(tr("Layer"), self.layers)
        form.addRow(tr("Field of classes"), self.fields)
        form.addRow("", self.selected)
        form.addRow(paragraph(tr("The labels are copied into the label layer of the panel; the layer stays as it is.")))
        form.addRow(self.buttons)
        self.layers.layerChanged.connect(self._layer_changed)
        self._layer_changed()

    def _layer_changed(self, *_) -> None:
        layer: Any = self.layers.currentLayer()
        self.fields.setLayer(layer)
        renderer = layer.renderer() if layer is not None else None
        if (
            isinstance(renderer, QgsCategorizedSymbolRenderer)
            and layer.fields().indexOf(renderer.classAttribute()) >= 0
        ):
            self.fields.setField(renderer.classAttribute())
        elif layer is not None:
            with suppress(InputFault):
                names = layer.fields().names()
                self.fields.setField(names[true_field(layer.name(), names, None)])
        self.selected.setEnabled(layer is not None and layer.selectedFeatureCount() > 0)
        self.selected.setChecked(self.selected.isEnabled())
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(bool(self.fields.currentField()))


def labels_in(layer: QgsVectorLayer, field: str, selected: bool) -> "tuple[list[LandClass], list[tuple[str, Any]]]":
    """Classes and (name of class, geometry) of the features of a layer, in its CRS; those without a class are left out.

    Raises:
        InputFault: there are none, or too many, or the layer cannot be used.
    """
    count = layer.selectedFeatureCount() if selected else layer.featureCount()
    if count > _LIMIT:
        text = tr("'{name}' has more than {count} features: select those that count.")
        raise InputFault.worded(text.format(name=layer.name(), count=_LIMIT))
    found = read_labels(layer, field, selected)
    classes, (indices,) = classes_in([found])
    return list(classes), [(classes[at].name, shape) for at, shape in zip(indices, found.shapes) if at >= 0]

"""Labels of another vector layer: which layer, which field of classes, all features or the selected ones."""

from typing import Any

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFeatureRequest,
    QgsFieldProxyModel,
    QgsMapLayerProxyModel,
    QgsVectorLayer,
)
from qgis.gui import QgsFieldComboBox, QgsMapLayerComboBox
from qgis.PyQt.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QFormLayout

from ...runtime.errors import InputFault
from ...runtime.raster.legend import LandClass, class_name, classes_of
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
        self.layers.setFilters(  # type: ignore[call-overload]  # wrong in qgis-stubs
            QgsMapLayerProxyModel.Filter.PolygonLayer | QgsMapLayerProxyModel.Filter.PointLayer
        )
        self.layers.setExceptedLayerList([without] if without is not None else [])
        self.fields.setFilters(
            QgsFieldProxyModel.Filter.String | QgsFieldProxyModel.Filter.Int  # type: ignore[arg-type]  # wrong in qgis-stubs
        )
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
        self.selected.setEnabled(layer is not None and layer.selectedFeatureCount() > 0)
        self.selected.setChecked(self.selected.isEnabled())
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(bool(self.fields.currentField()))


def labels_in(layer: QgsVectorLayer, field: str, selected: bool) -> "tuple[list[LandClass], list[tuple[str, Any]]]":
    """Classes and (name of class, geometry) of the features of a layer, in its CRS; those without a class are left out.

    Raises:
        InputFault: there are none, or too many.
    """
    place = layer.fields().indexOf(field)
    request = QgsFeatureRequest().setSubsetOfAttributes([place])
    values, shapes = [], []
    for feature in layer.getSelectedFeatures(request) if selected else layer.getFeatures(request):
        if feature.hasGeometry() and not feature.geometry().isEmpty():
            values.append(feature.attribute(place))
            shapes.append(feature.geometry())
        if len(shapes) > _LIMIT:
            text = tr("'{name}' has more than {count} labels: select those that count.")
            raise InputFault.worded(text.format(name=layer.name(), count=_LIMIT))
    classes, indices = classes_of(layer.name(), field, values, styled=_colors(layer, field))
    return list(classes), [(classes[at].name, shape) for at, shape in zip(indices, shapes) if at >= 0]


def _colors(layer: QgsVectorLayer, field: str) -> "dict[str, str]":
    """Colours of the values of a field, where the layer is drawn by it."""
    renderer = layer.renderer()
    if not isinstance(renderer, QgsCategorizedSymbolRenderer) or renderer.classAttribute().strip('"') != field:
        return {}
    colors = {}
    for one in renderer.categories():
        for value in one.value() if isinstance(one.value(), list) else [one.value()]:
            colors[class_name(value)] = one.symbol().color().name()
    return colors

"""Class names under the cursor, for QGIS before 3.30, which has no map tips for rasters."""

from pathlib import Path

from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QEvent, QObject
from qgis.PyQt.QtWidgets import QToolTip

from .layers import CONFIDENCE_PROPERTY, class_names
from .texts import tr


def reading_at(layer, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> str:
    """Class and confidence of a layer at a point in a CRS; empty if the layer has none there."""
    names = class_names(layer)
    if not names:
        return ""
    try:
        at = QgsCoordinateTransform(crs, layer.crs(), QgsProject.instance()).transform(point)
    except QgsCsException:  # the point lies outside the area of use of a CRS
        return ""
    value, sampled = layer.dataProvider().sample(at, 1)
    if not sampled or int(value) not in names:
        return ""
    confidence = _confidence(layer, at)
    name = names[int(value)]
    return name if confidence is None else tr("{name} ({confidence} %)").format(name=name, confidence=round(confidence))


def _confidence(layer, at: QgsPointXY):
    """Confidence in per cent at a point in the CRS of the layer; None if there is no confidence raster."""
    path = layer.customProperty(CONFIDENCE_PROPERTY)
    if not path or not Path(path).is_file():
        return None
    confidence = QgsRasterLayer(path, "confidence")  # opened each time, so that nothing keeps the file open
    value, sampled = confidence.dataProvider().sample(at, 1) if confidence.isValid() else (0, False)
    return value if sampled else None


class MapTips(QObject):
    """Shows a tool tip while a GeoAware result is the active layer and the cursor rests over the map.

    It answers Qt's tool tip event, because the canvas hides any tip that was shown before that event.
    """

    def __init__(self, iface) -> None:
        super().__init__()
        self._iface = iface
        self._canvas = iface.mapCanvas()
        self._canvas.viewport().installEventFilter(self)

    def stop(self) -> None:
        """Stop listening to the canvas."""
        self._canvas.viewport().removeEventFilter(self)

    def eventFilter(self, watched, event):
        """Show a tip if there is a class; leave all other events to the canvas."""
        if event.type() != QEvent.Type.ToolTip or self._qgis_shows_tips():
            return False
        at = event.pos()
        text = self.text_at(self._canvas.getCoordinateTransform().toMapCoordinates(at.x(), at.y()))
        if not text:
            return False
        QToolTip.showText(event.globalPos(), text, self._canvas)
        return True

    def text_at(self, point: QgsPointXY) -> str:
        """Class and confidence of the active layer at a point in the CRS of the canvas; empty if it has none there."""
        return reading_at(self._iface.activeLayer(), point, self._canvas.mapSettings().destinationCrs())

    def _qgis_shows_tips(self) -> bool:
        return hasattr(self._iface.activeLayer(), "mapTipTemplate") and self._iface.actionMapTips().isChecked()

"""Class names under the cursor: QGIS before 3.30 has no map tips for rasters, and Identify shows numbers only."""

from pathlib import Path

from qgis.core import (
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
    """Class and confidence of a layer at a point in some CRS; empty where it has none."""
    names = class_names(layer)
    if not names:
        return ""
    try:
        at = QgsCoordinateTransform(crs, layer.crs(), QgsProject.instance()).transform(point)
    except QgsCsException:  # the map reaches beyond where the layer's CRS is defined
        return ""
    value, found = layer.dataProvider().sample(at, 1)
    if not found or int(value) not in names:
        return ""
    sure = _confidence(layer, at)
    name = names[int(value)]
    return name if sure is None else tr("{name} ({confidence} %)").format(name=name, confidence=round(sure))


def _confidence(layer, at: QgsPointXY):
    """Per cent at a point in the layer's CRS; None where there is no such file."""
    path = layer.customProperty(CONFIDENCE_PROPERTY)
    if not path or not Path(path).is_file():
        return None
    sure = QgsRasterLayer(path, "confidence")  # opened each time, so that nothing keeps the file
    value, found = sure.dataProvider().sample(at, 1) if sure.isValid() else (0, False)
    return value if found else None


class MapTips(QObject):
    """Shows a tip while a GeoAware result is the active layer and the cursor rests over the map.

    It answers Qt's own request for a tool tip, because the canvas hides any tip that was shown before that request.
    """

    def __init__(self, iface) -> None:
        super().__init__()
        self._iface = iface
        self._canvas = iface.mapCanvas()
        self._canvas.viewport().installEventFilter(self)

    def stop(self) -> None:
        """Let go of the canvas."""
        self._canvas.viewport().removeEventFilter(self)

    def eventFilter(self, watched, event):
        """Answer the request where there is a class; leave all else to the canvas."""
        if event.type() != QEvent.Type.ToolTip or self._qgis_shows_tips():
            return False
        at = event.pos()
        text = self.text_at(self._canvas.getCoordinateTransform().toMapCoordinates(at.x(), at.y()))
        if not text:
            return False
        QToolTip.showText(event.globalPos(), text, self._canvas)
        return True

    def text_at(self, point: QgsPointXY) -> str:
        """Class and confidence of the active layer at a point in the map's CRS; empty where it has none."""
        return reading_at(self._iface.activeLayer(), point, self._canvas.mapSettings().destinationCrs())

    def _qgis_shows_tips(self) -> bool:
        return hasattr(self._iface.activeLayer(), "mapTipTemplate") and self._iface.actionMapTips().isChecked()

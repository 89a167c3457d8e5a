"""Class names under the cursor: QGIS before 3.30 has no map tips for rasters, and Identify shows numbers only."""

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsPointXY, QgsProject
from qgis.PyQt.QtCore import QEvent, QObject
from qgis.PyQt.QtWidgets import QToolTip

from .layers import class_names
from .texts import tr


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
        """Class and confidence at a point in the map's CRS; empty where the active layer has none."""
        layer = self._iface.activeLayer()
        names = class_names(layer)
        if not names:
            return ""
        crs = self._canvas.mapSettings().destinationCrs()
        try:
            at = QgsCoordinateTransform(crs, layer.crs(), QgsProject.instance()).transform(point)
        except QgsCsException:  # the map reaches beyond where the layer's CRS is defined
            return ""
        value, found = layer.dataProvider().sample(at, 1)
        if not found or int(value) not in names:
            return ""
        if layer.bandCount() < 2:
            return names[int(value)]
        confidence, _ = layer.dataProvider().sample(at, 2)
        return tr("{name} ({confidence} %)").format(name=names[int(value)], confidence=round(confidence))

    def _qgis_shows_tips(self) -> bool:
        return hasattr(self._iface.activeLayer(), "mapTipTemplate") and self._iface.actionMapTips().isChecked()

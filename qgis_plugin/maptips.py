"""Class names under the cursor: QGIS before 3.30 has no map tips for rasters, and Identify shows numbers only."""

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsPointXY, QgsProject
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QCursor
from qgis.PyQt.QtWidgets import QToolTip

from .layers import class_names
from .texts import tr

DELAY_MS = 400  # the cursor must rest: moving the map stays smooth


class MapTips:
    """Shows a tip while a GeoAware result is the active layer and the cursor rests over it."""

    def __init__(self, iface) -> None:
        self._iface = iface
        self._canvas = iface.mapCanvas()
        self._point = QgsPointXY()
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._show)
        self._canvas.xyCoordinates.connect(self._moved)

    def stop(self) -> None:
        """Let go of the canvas."""
        self._timer.stop()
        self._canvas.xyCoordinates.disconnect(self._moved)

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

    def _moved(self, point: QgsPointXY) -> None:
        self._point = QgsPointXY(point)
        if class_names(self._iface.activeLayer()) and not self._qgis_shows_tips():
            self._timer.start()

    def _qgis_shows_tips(self) -> bool:
        return hasattr(self._iface.activeLayer(), "mapTipTemplate") and self._iface.actionMapTips().isChecked()

    def _show(self) -> None:
        text = self.text_at(self._point)
        if text and self._canvas.underMouse():
            QToolTip.showText(QCursor.pos(), text, self._canvas)

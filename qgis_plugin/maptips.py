"""Class, confidence and number of dates under the cursor or at a click: QGIS before 3.30 has no map tips for rasters."""

from pathlib import Path
from typing import Optional

from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
)
from qgis.gui import QgsMapTool
from qgis.PyQt.QtCore import QEvent, QObject, Qt
from qgis.PyQt.QtWidgets import QToolTip

from .layers import CONFIDENCE_PROPERTY, DATES_PROPERTY, class_names
from .texts import tr

_SHOWN_MS = 20_000  # after a click


def reading_at(layer, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> str:
    """Class, confidence and number of dates of a layer at a point in a CRS; empty if the layer has none there."""
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
    text = names[int(value)]
    per_cent, count = (_beside(layer, name, at) for name in (CONFIDENCE_PROPERTY, DATES_PROPERTY))
    if per_cent is not None:
        text = tr("{name} ({confidence} %)").format(name=text, confidence=round(per_cent))
    return text if count is None else f"{text}, {tr('dates')}: {round(count)}"


def _beside(layer, name: str, at: QgsPointXY) -> Optional[float]:
    """Value at a point of the raster that a layer's property names; None where there is none."""
    path = layer.customProperty(name)
    if not path or not Path(path).is_file():
        return None
    raster = QgsRasterLayer(path, name)  # opened each time, so that nothing keeps the file open
    value, sampled = raster.dataProvider().sample(at, 1) if raster.isValid() else (0.0, False)
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
        at = self._canvas.getCoordinateTransform().toMapCoordinates(event.pos().x(), event.pos().y())
        text = self.text_at(at)
        if not text:
            return False
        QToolTip.showText(event.globalPos(), text, self._canvas)
        return True

    def text_at(self, point: QgsPointXY) -> str:
        """What the active layer shows at a point in the CRS of the canvas; may be empty."""
        return reading_at(self._iface.activeLayer(), point, self._canvas.mapSettings().destinationCrs())

    def _qgis_shows_tips(self) -> bool:
        return hasattr(self._iface.activeLayer(), "mapTipTemplate") and self._iface.actionMapTips().isChecked()


class ClassTool(QgsMapTool):
    """Shows the class in every visible GeoAware map at the click, topmost first."""

    def __init__(self, canvas) -> None:
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.WhatsThisCursor)

    def canvasReleaseEvent(self, event):
        """Show the classes at the click."""
        at = self.toMapCoordinates(event.pos())
        QToolTip.showText(
            self.canvas().mapToGlobal(event.pos()), self.text_at(at), self.canvas(), self.canvas().rect(), _SHOWN_MS
        )

    def text_at(self, point) -> str:
        """One line per map at a point in the CRS of the canvas: layer and class."""
        crs = self.canvas().mapSettings().destinationCrs()
        readings = [(layer.name(), reading_at(layer, point, crs)) for layer in self.canvas().layers()]
        lines = [f"{name}: {text}" for name, text in readings if text]
        return "\n".join(lines) or tr("There is no GeoAware map here.")

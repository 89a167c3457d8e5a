"""The map tool of the season curve, and the marks of its places on the map."""

from collections.abc import Sequence

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsPointXY, QgsProject  # type: ignore[attr-defined]
from qgis.gui import QgsMapTool, QgsVertexMarker
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor


class CurveTool(QgsMapTool):
    """Tells where the left button was clicked, in the CRS of the canvas."""

    clicked = pyqtSignal(QgsPointXY)

    def __init__(self, canvas) -> None:
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.CrossCursor)

    def canvasReleaseEvent(self, event):
        """Called by the canvas."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(self.toMapCoordinates(event.pos()))


class PlaceMarks:
    """Marks on the canvas, which follow its CRS."""

    def __init__(self, canvas) -> None:
        self._canvas = canvas
        self._marks: list[QgsVertexMarker] = []

    def show(self, places: Sequence, current: int) -> None:
        """Mark places with ``point``, ``crs`` and ``color``; the current one is larger."""
        self.clear()
        for number, place in enumerate(places):
            center = moved(place.point, place.crs, self._canvas.mapSettings().destinationCrs())
            if center is None:
                continue
            mark = QgsVertexMarker(self._canvas)
            mark.setCenter(center)
            mark.setColor(QColor(place.color))
            mark.setIconType(QgsVertexMarker.IconType.ICON_CROSS)
            mark.setPenWidth(4 if number == current else 2)
            mark.setIconSize(18 if number == current else 11)
            self._marks.append(mark)

    def clear(self) -> None:
        """Remove all marks."""
        for mark in self._marks:
            self._canvas.scene().removeItem(mark)
        self._marks = []


def moved(point: QgsPointXY, source, target):
    """A point in another CRS; None where that has no such place."""
    try:
        found = QgsCoordinateTransform(source, target, QgsProject.instance()).transform(point)
    except QgsCsException:
        return None
    return found if abs(found.x()) < float("inf") and abs(found.y()) < float("inf") else None

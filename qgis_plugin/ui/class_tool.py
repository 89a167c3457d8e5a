"""Reads class and confidence where the map is clicked: QGIS's own Identify shows numbers only."""

from qgis.gui import QgsMapTool
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QToolTip

from ..maptips import reading_at
from ..texts import tr

_SHOWN_MS = 20_000


class ClassTool(QgsMapTool):
    """Answers for every visible GeoAware map under the click, the topmost first."""

    def __init__(self, canvas) -> None:
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.WhatsThisCursor)

    def canvasReleaseEvent(self, event):
        """Show what is there."""
        at = self.toMapCoordinates(event.pos())
        QToolTip.showText(
            self.canvas().mapToGlobal(event.pos()), self.text_at(at), self.canvas(), self.canvas().rect(), _SHOWN_MS
        )

    def text_at(self, point) -> str:
        """Layer and class, a line each, at a point in the map's CRS."""
        crs = self.canvas().mapSettings().destinationCrs()
        found = [(layer.name(), reading_at(layer, point, crs)) for layer in self.canvas().layers()]
        lines = [f"{name}: {said}" for name, said in found if said]
        return "\n".join(lines) or tr("There is no GeoAware map here.")

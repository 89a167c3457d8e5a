"""Map tool that shows class and confidence at a click: Identify in older QGIS shows only numbers."""

from qgis.gui import QgsMapTool
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QToolTip

from ..maptips import reading_at
from ..texts import tr

_SHOWN_MS = 20_000


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

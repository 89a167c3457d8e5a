"""Two views of a place side by side, before and after, that move and zoom together."""

from typing import Optional

from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsPointXY, QgsRectangle, QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsMapToolPan, QgsRubberBand
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ..widgets import stack

AROUND = 20  # pixels of the map that are shown on each side of a point


class Picture(QWidget):
    """One image with the outline of the pixel in question."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title, self.canvas = QLabel(title), QgsMapCanvas()
        self.title.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.canvas.setMinimumSize(180, 180)
        self.canvas.setCanvasColor(QColor("#f4f4f4"))
        self.canvas.setParallelRenderingEnabled(True)
        self.canvas.setCachingEnabled(True)
        self._tool = QgsMapToolPan(self.canvas)
        self.canvas.setMapTool(self._tool)
        self._lines = [self._line("#000000", 4), self._line("#ffe600", 2)]
        stack(QVBoxLayout(self), self.title, self.canvas).setContentsMargins(0, 0, 0, 0)

    def _line(self, color: str, width: int) -> QgsRubberBand:
        line = QgsRubberBand(self.canvas, QgsWkbTypes.GeometryType.PolygonGeometry)  # type: ignore[attr-defined]  # not in qgis-stubs
        line.setStrokeColor(QColor(color))
        line.setFillColor(QColor(0, 0, 0, 0))
        line.setWidth(width)
        return line

    def show_outline(self, outline: QgsGeometry) -> None:
        """Draw the outline of a pixel, in the CRS of the canvas."""
        for line in self._lines:
            line.setToGeometry(outline, None)

    def stop(self) -> None:
        """Stop drawing; layers may go away."""
        self.canvas.stopRendering()
        self.canvas.setLayers([])


class ImagePair(QWidget):
    """The two of them; the second is hidden where there is one image."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__()
        self.both = (Picture(before), Picture(after))
        self._side = 0.0
        self._moving = False
        layout = stack(QHBoxLayout(self), *self.both)
        layout.setContentsMargins(0, 0, 0, 0)
        for picture in self.both:
            picture.canvas.extentsChanged.connect(self._together(picture))

    def show_layers(self, before, after) -> None:
        """Show raster layers; None for no image."""
        for picture, layer in zip(self.both, (before, after)):
            picture.canvas.setLayers([layer] if layer is not None else [])
            picture.canvas.refresh()
        self.both[1].setVisible(after is not None)

    def set_crs(self, crs: QgsCoordinateReferenceSystem) -> None:
        """The CRS of the points; the next place is shown from near again."""
        self._side = 0.0
        for picture in self.both:
            picture.canvas.setDestinationCrs(crs)

    def show_place(self, x: float, y: float, pixel: "tuple[float, float, float, float]") -> None:
        """Show the pixel around a point, at the scale of the one before.

        ``pixel`` has what x and y change from column to column and from row to row: x, x, y, y.
        """
        a, b, d, e = pixel
        corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)]
        ring = [QgsPointXY(x + a * column + b * row, y + d * column + e * row) for column, row in corners]
        outline = QgsGeometry.fromPolygonXY([ring])
        first = self.both[0].canvas
        if not self._side:
            side = max(abs(a) + abs(b), abs(d) + abs(e)) * AROUND
            extent = QgsRectangle(x - side, y - side, x + side, y + side)
            self._side = side
        else:
            extent = first.extent()
            extent = QgsRectangle.fromCenterAndSize(QgsPointXY(x, y), extent.width(), extent.height())
        for picture in self.both:
            picture.show_outline(outline)
        first.setExtent(extent)
        first.refresh()

    def stop(self) -> None:
        """Stop drawing."""
        for picture in self.both:
            picture.stop()

    def _together(self, mover: Picture):
        def moved() -> None:
            if self._moving:
                return
            other: Optional[Picture] = next(one for one in self.both if one is not mover)
            self._moving = True
            try:
                other.canvas.setExtent(mover.canvas.extent())
                other.canvas.refresh()
            finally:
                self._moving = False

        return moved

"""The map tools of the panel: brush, polygon, point and eraser. They draw; what becomes of it is the panel's matter."""

import math
from typing import Optional

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import QEvent, QPointF, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QCursor, QPainter, QPen, QPixmap

BRUSH, POLYGON, POINT, ERASE = "brush", "polygon", "point", "erase"
SMALLEST, LARGEST = 2, 200  # px on the screen
_SEGMENTS = 8  # of a quarter of a circle
_STEP = 0.15  # of the brush: places of the mouse that are nearer than this are one


class PaintTool(QgsMapTool):
    """Draws with one of four modes and tells what was drawn, as polygons in the CRS of the canvas."""

    drawn = pyqtSignal(str, QgsGeometry)  # mode and polygons; of the mode "point" a point
    key = pyqtSignal(int)  # 1 to 9
    undo = pyqtSignal()
    redo = pyqtSignal()
    resized = pyqtSignal(int)

    def __init__(self, canvas) -> None:
        super().__init__(canvas)
        self.mode, self.size, self.color = BRUSH, 16, QColor("#808080")
        self._places: list[QgsPointXY] = []
        self._painting = False
        self._band: Optional[QgsRubberBand] = None

    def set(self, mode: str = "", size: int = 0, color: Optional[QColor] = None) -> None:
        """Change mode, size of the brush (px on the screen) or colour."""
        if mode and mode != self.mode:
            self._end()
            self.mode = mode
        self.size = min(max(size or self.size, SMALLEST), LARGEST)
        self.color = color or self.color
        self.setCursor(self._cursor())

    def activate(self):
        """Called by the canvas; listens to the keys that QGIS would take for itself."""
        super().activate()
        self.setCursor(self._cursor())
        self.canvas().installEventFilter(self)

    def deactivate(self):
        """Called by the canvas."""
        self._end()
        self.canvas().removeEventFilter(self)
        super().deactivate()

    def eventFilter(self, watched, event):
        """Undo and redo of the labels go before those of QGIS while this is the tool of the canvas."""
        if event.type() == QEvent.Type.ShortcutOverride and undo_step(event):
            event.accept()
            return True
        return False

    def keyPressEvent(self, event):
        """Digits, undo, redo, brackets for the size, Backspace and Escape within a polygon, Enter ends one."""
        step, pressed = undo_step(event), event.key()
        if step:
            (self.undo if step < 0 else self.redo).emit()
        elif digit(event):
            self.key.emit(digit(event))
        elif pressed in (Qt.Key.Key_BracketLeft, Qt.Key.Key_BracketRight):
            self._resize(-1 if pressed == Qt.Key.Key_BracketLeft else 1)
        elif pressed == Qt.Key.Key_Escape and self._places:
            self._end()
        elif pressed == Qt.Key.Key_Backspace and self.mode == POLYGON and self._places:
            self._places.pop()
            self._show_polygon(self._places)
        elif pressed in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.mode == POLYGON:
            self._finish_polygon()
        else:
            event.ignore()
            return
        event.accept()

    def wheelEvent(self, event):
        """Shift and the wheel change the size of the brush."""
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self.mode in (BRUSH, ERASE):
            turned = event.angleDelta()
            self._resize(1 if turned.y() + turned.x() > 0 else -1)
            event.accept()
        else:
            event.ignore()

    def canvasPressEvent(self, event):
        """Begin a stroke; add a corner; end a polygon with the right button."""
        at = self.toMapCoordinates(event.pos())
        if event.button() == Qt.MouseButton.RightButton and self.mode == POLYGON:
            self._finish_polygon()
        elif event.button() != Qt.MouseButton.LeftButton:
            return
        elif self.mode == POLYGON:
            self._places.append(at)
            self._show_polygon(self._places)
        elif self.mode == POINT:
            self.drawn.emit(POINT, QgsGeometry.fromPointXY(at))
        else:
            self._painting, self._places = True, [at]
            self._begin_band("LineString (0 0, 1 1)", self.size)
            self._band.addPoint(at)
            self._band.addPoint(at)

    def canvasMoveEvent(self, event):
        """Draw on; the last side of a polygon follows the mouse."""
        at = self.toMapCoordinates(event.pos())
        if self._painting:
            near = _STEP * self.size * self.canvas().mapUnitsPerPixel()
            if self._places[-1].distance(at) >= near:
                self._places.append(at)
                self._band.addPoint(at)
        elif self.mode == POLYGON and self._places:
            self._show_polygon([*self._places, at])

    def canvasReleaseEvent(self, event):
        """End a stroke."""
        if self._painting and event.button() == Qt.MouseButton.LeftButton:
            at, places, unit = self.toMapCoordinates(event.pos()), self._places, self.canvas().mapUnitsPerPixel()
            if places[-1] != at:
                places.append(at)
            line = QgsGeometry.fromPolylineXY(places) if len(places) > 1 else QgsGeometry.fromPointXY(places[0])
            shape = line.buffer(self.size / 2 * unit, _SEGMENTS).simplify(unit / 4)
            self._end()
            self.drawn.emit(self.mode, shape)

    def canvasDoubleClickEvent(self, event):
        """End a polygon; its last corner came with the first click."""
        if self.mode == POLYGON and event.button() == Qt.MouseButton.LeftButton:
            self._finish_polygon()

    def _finish_polygon(self) -> None:
        places = [place for place, before in zip(self._places, [None, *self._places]) if place != before]
        self._end()
        if len(places) > 2:
            self.drawn.emit(POLYGON, QgsGeometry.fromPolygonXY([places]))

    def _show_polygon(self, places: "list[QgsPointXY]") -> None:
        self._begin_band("Polygon ((0 0, 1 1, 0 1, 0 0))", 2)
        for place in places:
            self._band.addPoint(place)

    def _begin_band(self, like: str, width: int) -> None:
        kind = QgsGeometry.fromWkt(like).type()  # the name of its enum differs between QGIS 3.22, 3.30 and 4
        if self._band is None:
            self._band = QgsRubberBand(self.canvas(), kind)
        self._band.reset(kind)
        ink = QColor("#ffffff") if self.mode == ERASE else QColor(self.color)
        ink.setAlpha(150)
        self._band.setColor(ink)
        self._band.setWidth(width)

    def _end(self) -> None:
        """Forget what is being drawn."""
        self._painting, self._places = False, []
        if self._band is not None:
            self.canvas().scene().removeItem(self._band)
            self._band = None

    def _resize(self, sign: int) -> None:
        self.set(size=self.size + sign * max(1, self.size // 8))
        self.resized.emit(self.size)

    def _cursor(self) -> QCursor:
        """A circle as large as the brush; a cross for the other modes."""
        if self.mode not in (BRUSH, ERASE):
            return QCursor(Qt.CursorShape.CrossCursor)
        side = math.ceil(self.size) + 4
        picture = QPixmap(side, side)
        picture.fill(QColor(0, 0, 0, 0))
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for ink, width in ((QColor("#ffffff"), 3.0), (QColor("#202020") if self.mode == ERASE else self.color, 1.5)):
            painter.setPen(QPen(ink, width))
            painter.drawEllipse(QPointF(side / 2, side / 2), self.size / 2, self.size / 2)
        painter.end()
        return QCursor(picture, side // 2, side // 2)


def undo_step(event) -> int:
    """-1 for Ctrl+Z, 1 for Ctrl+Shift+Z and Ctrl+Y, 0 for all other keys."""
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    if not event.modifiers() & control:
        return 0
    if event.key() == Qt.Key.Key_Z:
        return 1 if event.modifiers() & shift else -1
    return int(event.key() == Qt.Key.Key_Y)


def digit(event) -> int:
    """1 to 9 for these keys without Ctrl or Alt; 0 for all others."""
    others = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
    if event.modifiers() & others or not Qt.Key.Key_1 <= event.key() <= Qt.Key.Key_9:
        return 0
    return int(event.key()) - int(Qt.Key.Key_0)

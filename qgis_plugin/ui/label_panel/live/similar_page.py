"""*Find similar*: click places and counter-examples; what is like them, in the view and in the layer."""

from typing import Optional

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsPointXY, QgsProject  # type: ignore[attr-defined]
from qgis.gui import QgsMapToolEmitPoint, QgsVertexMarker
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor, QIcon, QImage, QPixmap
from qgis.PyQt.QtWidgets import QHBoxLayout, QListView, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from ....texts import tr
from ...widgets import button, paragraph, stack
from .canvas import near
from .work import LikePlaces

_ICON = QSize(64, 64)
_ACROSS_PX = 300  # of the layer, that are shown around a place
_COLORS = (QColor(0, 158, 115), QColor(213, 94, 0))  # of examples and counter-examples


class SimilarPage(QWidget):
    """Collects examples by clicks; the list shows the best places."""

    def __init__(self, engine, canvas, parent=None) -> None:
        super().__init__(parent)
        self._engine, self._canvas = engine, canvas
        self.points: tuple[list[QgsPointXY], list[QgsPointXY]] = ([], [])  # in the CRS of the layer
        self._marks: list[QgsVertexMarker] = []
        self._before: Optional[object] = None  # the map tool that was used
        self.tools: tuple[QgsMapToolEmitPoint, ...] = (QgsMapToolEmitPoint(canvas), QgsMapToolEmitPoint(canvas))
        self.like = self._chooser(0, tr("Examples"), tr("Click places on the map that show what you look for"))
        self.unlike = self._chooser(1, tr("Counter-examples"), tr("Click places that are found but are something else"))
        self.clear_all = button(tr("Clear"), self.clear)
        self.text = paragraph()
        self.list = QListWidget()
        self.list.setViewMode(QListView.ViewMode.IconMode)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setMovement(QListView.Movement.Static)
        self.list.setIconSize(_ICON)
        self.list.setMinimumWidth(0)
        self.list.setMinimumHeight(3 * (_ICON.height() + 24))
        self.list.currentRowChanged.connect(self._go)
        self.places = LikePlaces.none()
        buttons, below = stack(QHBoxLayout(), self.like, self.unlike), stack(QHBoxLayout(), self.text, self.clear_all)
        below.setStretch(0, 1)
        layout = stack(QVBoxLayout(self), buttons, below, self.list)
        layout.setContentsMargins(0, 0, 0, 0)
        engine.similar_found.connect(self.show_places)
        engine.closed.connect(self.clear)
        canvas.destinationCrsChanged.connect(self._mark_points)
        self.clear()

    def clear(self) -> None:
        """Forget examples and places."""
        for points in self.points:
            points.clear()
        self._engine.seek([], [])
        self.show_places(LikePlaces.none())
        self._changed()

    def stop(self) -> None:
        """Take the tools from the canvas, which would keep them; called when the plugin is unloaded."""
        for tool in self.tools:
            self._canvas.unsetMapTool(tool)
            tool.deleteLater()
        self.tools = ()

    def hideEvent(self, event):
        """Leave the map to the other tools."""
        super().hideEvent(event)
        for tool in self.tools:
            self._canvas.unsetMapTool(tool)
        self._mark_points()

    def showEvent(self, event):
        """Mark the examples again."""
        super().showEvent(event)
        self._mark_points()

    def show_places(self, found: LikePlaces) -> None:
        """List the best places, with pictures if there are any."""
        self.places = found
        self.list.blockSignals(True)
        self.list.clear()
        for number, score in enumerate(found.places.scores):
            item = QListWidgetItem(f"{round(100 * float(score))} %")
            item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
            if number < len(found.pictures):
                item.setIcon(_icon(found.pictures[number]))
            self.list.addItem(item)
        self.list.blockSignals(False)
        self.list.setVisible(bool(self.list.count()))
        self._say()

    def _chooser(self, kind: int, title: str, tip: str) -> QPushButton:
        made = QPushButton(title)
        made.setCheckable(True)
        made.setAutoDefault(False)
        made.setToolTip(tip)
        tool = self.tools[kind]
        tool.canvasClicked.connect(lambda point, _: self._clicked(kind, point))
        tool.activated.connect(lambda: made.setChecked(True))
        tool.deactivated.connect(lambda: made.setChecked(False))
        made.clicked.connect(lambda on: self._canvas.setMapTool(tool) if on else self._canvas.unsetMapTool(tool))
        return made

    def _clicked(self, kind: int, point: QgsPointXY) -> None:
        if self._engine.opened is None:
            return
        source = self._canvas.mapSettings().destinationCrs()
        try:
            transform = QgsCoordinateTransform(source, self._engine.layer.crs(), QgsProject.instance())
            place = transform.transform(point)
        except QgsCsException:
            return
        if not self._engine.layer.extent().contains(place):
            self.text.setText(tr("That place lies outside '{name}'.").format(name=self._engine.layer.name()))
            return
        self.points[kind].append(place)
        self._changed()
        self._engine.seek(*self.points)

    def _changed(self) -> None:
        self.clear_all.setEnabled(any(self.points))
        self._mark_points()
        self._say()

    def _say(self) -> None:
        examples, others = map(len, self.points)
        if not examples:
            text = tr("Click one or more examples of what you look for.")
        elif not self.list.count():
            text = tr("Comparing the layer with {examples} examples and {others} counter-examples…")
        else:
            text = tr("The {count} best places of the layer so far; click one to see it.")
            if self.places.pictures:
                text = tr("The {count} best places of the layer; click one to see it.")
        self.text.setText(text.format(examples=examples, others=others, count=self.list.count()))

    def _go(self, row: int) -> None:
        if 0 <= row < len(self.places.places.rows) and self._engine.opened is not None:
            near(self._engine, (self.places.places.rows[row], self.places.places.columns[row]), _ACROSS_PX)

    def _mark_points(self) -> None:
        for mark in self._marks:
            self._canvas.scene().removeItem(mark)
        self._marks = []
        layer = self._engine.layer
        if layer is None or not self.isVisible():
            return
        target = self._canvas.mapSettings().destinationCrs()
        transform = QgsCoordinateTransform(layer.crs(), target, QgsProject.instance())
        for points, color in zip(self.points, _COLORS):
            for point in points:
                try:
                    center = transform.transform(point)
                except QgsCsException:  # the CRS of the canvas has no such place
                    continue
                mark = QgsVertexMarker(self._canvas)
                mark.setCenter(center)
                mark.setColor(color)
                mark.setPenWidth(3)
                mark.setIconSize(12)
                self._marks.append(mark)


def _icon(picture) -> QIcon:
    rows, columns, _ = picture.shape
    image = QImage(picture.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image.scaled(_ICON, Qt.AspectRatioMode.KeepAspectRatio)))

"""*Where next?*: ten places whose labels would help most, one after the other."""

from typing import Any, Optional

from qgis.core import (
    QgsCoordinateTransform,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
)
from qgis.gui import QgsRubberBand
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from ....texts import tr
from ...widgets import button, paragraph, stack
from .canvas import near, transformed

_COUNT = 10
_PATCH = QSize(16, 16)
_ACROSS_PX = 500  # of the raster, that are shown around a place


class NextPage(QWidget):
    """Zooms to one place after the other; a key or a button for each class labels it.

    Of ``panel`` it asks ``classes()``, and ``add_label(index, shape)``, whose shape is in the CRS of the layer.
    """

    def __init__(self, engine, panel, parent=None) -> None:
        super().__init__(parent)
        self._engine, self._panel = engine, panel
        self.places: list[tuple[Any, int, float]] = []  # row and column, likeliest class, its probability
        self.at = -1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.text = paragraph()
        self.suggest = button(tr("Suggest ten places"), self._ask)
        self.previous, self.next = button(tr("Previous"), lambda: self.go(-1)), button(tr("Next"), lambda: self.go(1))
        self.skip = button(tr("Skip"), self.leave_out)
        self._classes = QGridLayout()
        layout = stack(
            QVBoxLayout(self),
            self.suggest,
            self.text,
            stack(QHBoxLayout(), self.previous, self.next, self.skip),
            self._classes,
        )
        layout.setContentsMargins(0, 0, 0, 0)
        self._mark: Optional[QgsRubberBand] = None
        engine.suggested.connect(self._suggested)
        engine.refitted.connect(lambda fitted: self._show())
        engine.closed.connect(self.clear)
        self.clear()

    def clear(self) -> None:
        """Forget the places."""
        self.places, self.at = [], -1
        self._show()

    def hideEvent(self, event):
        """Remove the mark from the map."""
        super().hideEvent(event)
        self._mark_place(None)

    def showEvent(self, event):
        """Mark the place again."""
        super().showEvent(event)
        self._show()

    def keyPressEvent(self, event):
        """A digit labels the place, the arrows go on and back."""
        key, digit = event.key(), event.key() - Qt.Key.Key_1
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.go(-1 if key == Qt.Key.Key_Left else 1)
        elif 0 <= digit < min(9, len(self._panel.classes())) and self.at >= 0:
            self.label(digit)
        else:
            super().keyPressEvent(event)

    def go(self, steps: int) -> None:
        """Zoom to the next place, or to the one before."""
        if self.places:
            self.at = (self.at + steps) % len(self.places) if self.at >= 0 else 0
            self._zoom()

    def label(self, index: int) -> None:
        """Give the place a class, and go on."""
        shape = self._square()
        self.leave_out()
        self._panel.add_label(index, shape)

    def leave_out(self) -> None:
        """Go on without the place, which does not come again."""
        if self.at >= 0:
            del self.places[self.at]
            self.at = min(self.at, len(self.places) - 1)
            self._zoom()
        if not self.places:
            self._ask()

    def _ask(self) -> None:
        self.text.setText(tr("Looking for places…"))
        self._engine.suggest()

    def _suggested(self, places, classes, sure) -> None:
        found = [(place, int(index), float(share)) for place, index, share in zip(places, classes, sure)]
        shapes = self._labels()
        free = [one for one in found if not any(shape.contains(self._point(one[0])) for shape in shapes)]
        self.places, self.at = free[:_COUNT], -1
        self.go(1)
        self._show()
        if not free:
            self.text.setText(tr("There is no place left to suggest: all that were looked at have labels."))
        if self.isVisible():
            self.setFocus()

    def _labels(self) -> list[QgsGeometry]:
        """The shapes that have a label, in the CRS of the layer."""
        marks, crs = self._engine.marks
        if not marks:
            return []
        transform = QgsCoordinateTransform(crs, self._engine.layer.crs(), QgsProject.instance())
        return [shape for shape in (transformed(shape, transform) for _, _, shape in marks) if shape is not None]

    def _point(self, place) -> QgsPointXY:
        return self._engine.point_of(place)

    def _square(self) -> QgsGeometry:
        """The place on the ground, in the CRS of the layer."""
        (row, column), opened = self.places[self.at][0], self._engine.opened
        side = opened.factor
        top, left = int(row) // side * side, int(column) // side * side
        bottom, right = min(top + side, opened.seen.height), min(left + side, opened.seen.width)
        corners = [
            opened.seen.at(x, y) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        ]
        return QgsGeometry.fromPolygonXY([[QgsPointXY(*corner) for corner in corners]])

    def _zoom(self) -> None:
        if self.at >= 0 and self._engine.opened is not None:
            near(self._engine, self.places[self.at][0], _ACROSS_PX)
        self._show()

    def _show(self) -> None:
        ready, here = self._engine.fitted is not None, self.at >= 0
        self.suggest.setEnabled(ready)
        for one in (self.previous, self.next, self.skip):
            one.setEnabled(here)
        if here:
            _, index, share = self.places[self.at]
            classes = self._panel.classes()
            name = classes[index].name if index < len(classes) else "?"
            text = tr("Place {number} of {count}: perhaps {name} ({share} %). What is it?")
            self.text.setText(
                text.format(number=self.at + 1, count=len(self.places), name=name, share=round(100 * share))
            )
        elif ready:
            self.text.setText(tr("Ten places that are uncertain, different, and unlike what is labelled."))
        else:
            self.text.setText(tr("Label at least two classes first."))
        self._show_classes(here)
        self._mark_place(self._square() if here and self.isVisible() and self._engine.opened is not None else None)

    def _show_classes(self, here: bool) -> None:
        while self._classes.count():
            self._classes.takeAt(0).widget().deleteLater()
        for index, entry in enumerate(self._panel.classes() if here else ()):
            title = f"{index + 1}  {entry.name}" if index < 9 else entry.name
            one = button(title.replace("&", "&&"), lambda _=False, index=index: self.label(index))
            one.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            patch = QPixmap(_PATCH)
            patch.fill(QColor(f"#{entry.color.lstrip('#')}"))
            one.setIcon(QIcon(patch))
            one.setToolTip(tr("Labels the place as {name}").format(name=entry.name))
            self._classes.addWidget(one, index // 2, index % 2)

    def _mark_place(self, shape: Optional[QgsGeometry]) -> None:
        if self._mark is not None:
            self._engine.canvas.scene().removeItem(self._mark)
            self._mark = None
        if shape is None or self._engine.layer is None:
            return
        self._mark = QgsRubberBand(self._engine.canvas, shape.type())  # the enum's name differs between versions
        self._mark.setToGeometry(shape, self._engine.layer.crs())
        self._mark.setStrokeColor(QColor(255, 255, 255))
        self._mark.setSecondaryStrokeColor(QColor(0, 0, 0))
        self._mark.setFillColor(QColor(0, 0, 0, 0))
        self._mark.setWidth(2)

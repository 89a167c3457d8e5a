"""The places of the season curve: the last few clicks and what is known of them."""

from dataclasses import dataclass, field
from typing import Optional

from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY
from qgis.PyQt.QtCore import QSize, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import QListWidget, QListWidgetItem

from ...texts import tr
from .work import Told

MOST = 10
_COLORS = (
    "#e6194b", "#0082c8", "#f58231", "#911eb4", "#008080", "#f032e6", "#808000", "#800000", "#000080", "#3cb44b",
)  # fmt: skip


@dataclass
class PickedPlace:
    """A click; ``told`` is what is known of it by source: ``BANDS`` or the file of a model."""

    point: QgsPointXY
    crs: QgsCoordinateReferenceSystem
    color: str
    told: dict[str, Told] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Coordinates for people, with as many decimals as metres need."""
        digits = 5 if self.crs.isGeographic() else 1
        return f"{self.point.x():.{digits}f}, {self.point.y():.{digits}f}"


class PlaceList(QListWidget):
    """The places, the newest first; the chosen one is shown."""

    chosen = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.places: list[PickedPlace] = []
        self.setIconSize(QSize(12, 12))
        self.setMinimumWidth(60)
        self.setToolTip(tr("The last places, at most {count}").format(count=MOST))
        self.currentRowChanged.connect(lambda row: row >= 0 and self.chosen.emit())

    def sizeHint(self):
        """As wide as coordinates are."""
        return QSize(170, 120)

    @property
    def current(self) -> Optional[PickedPlace]:
        """The place that is shown."""
        return self.places[self.currentRow()] if 0 <= self.currentRow() < len(self.places) else None

    def add(self, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> None:
        """Show another place, without the oldest of too many."""
        used = {place.color for place in self.places[: MOST - 1]}
        color = next(one for one in _COLORS if one not in used)
        self.places = [PickedPlace(QgsPointXY(point), crs, color), *self.places[: MOST - 1]]
        self._fill()

    def forget(self) -> None:
        """Forget what is known of the places."""
        for place in self.places:
            place.told = {}

    def remove_all(self) -> None:
        """Forget the places."""
        self.places = []
        self._fill()

    def _fill(self) -> None:
        self.blockSignals(True)
        self.clear()
        for place in self.places:
            square = QPixmap(12, 12)
            square.fill(QColor(place.color))
            item = QListWidgetItem(QIcon(square), place.title)
            item.setToolTip(f"{place.title} ({place.crs.authid() or place.crs.description()})")
            self.addItem(item)
        self.setCurrentRow(0 if self.places else -1)
        self.blockSignals(False)

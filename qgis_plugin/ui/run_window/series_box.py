"""The layers of other dates that are read together with the chosen one: their dates, gaps and clouds."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Optional

from qgis.core import QgsProject, QgsRasterLayer
from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QBrush, QColor
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from ...gdal_io.dates import LayerDate, day_of, layer_date
from ...layers import class_names
from ...runtime.raster.band_names import BandFacts
from ...runtime.raster.mask_band import MASKS, MaskBand
from ...texts import number, tr
from ..widgets import button, narrow_list, stack
from .timeline import WRONG, Look, Mark, Timeline, twice

_NAME, _DAY, _GAPS, _MASKED = range(4)  # columns
_ID = Qt.ItemDataRole.UserRole
_ROWS = 6  # that are seen without scrolling


class SeriesBox(QgsCollapsibleGroupBox):
    """The raster layers of the project; those that are ticked are the series, the chosen layer always among them."""

    changed = pyqtSignal()

    def __init__(self, looked_at: bool = True) -> None:
        """``looked_at``: whether somebody shows the shares of layers, ``Looking``; else there are no columns for them."""
        super().__init__(tr("Dates"))
        self._first: Optional[QgsRasterLayer] = None
        self._ticked: set[str] = set()  # ids
        self._found: dict[str, LayerDate] = {}
        self._by_hand: dict[str, str] = {}  # what was typed
        self._looks: dict[str, Look] = {}
        self._filling = False
        self.timeline, self.list = Timeline(), QTreeWidget()
        self.list.setHeaderLabels([tr("Layer"), tr("Date"), tr("No data"), tr("Masked")])
        self.list.setRootIsDecorated(False)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.header().setStretchLastSection(False)
        self.list.header().setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column in (_DAY, _GAPS, _MASKED):
            self.list.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
            self.list.setColumnHidden(column, column != _DAY and not looked_at)
        self.list.setMinimumHeight(_ROWS * self.list.fontMetrics().height() * 3 // 2)
        self.list.itemChanged.connect(self._edited)
        self.list.itemDoubleClicked.connect(self._edit)
        self.list.itemActivated.connect(self._edit)
        self.timeline.picked.connect(self._picked)
        self.alike = button(tr("Tick layers like it"), self.tick_alike)
        self.alike.setToolTip(tr("All layers with as many bands that overlap the chosen one and have a date."))
        self.alone = button(tr("Only the chosen layer"), lambda: self.tick(()))
        self.masks = narrow_list()
        self.masks.currentIndexChanged.connect(lambda _: self.changed.emit())
        form = QFormLayout()
        form.addRow(tr("Mask band"), self.masks)
        row = stack(QHBoxLayout(), self.alike, self.alone, None)
        stack(QVBoxLayout(self), self.timeline, self.list, row, form)
        project = QgsProject.instance()
        project.layersAdded.connect(self.fill)
        project.layersRemoved.connect(self.fill)
        self.setCollapsed(True)

    def set_first(self, layer: Optional[QgsRasterLayer]) -> None:
        """Choose the layer that the others are added to."""
        self._first = layer
        self.fill()

    def tick(self, layers: Sequence[QgsRasterLayer]) -> None:
        """Make these, with the chosen layer, the series."""
        self._ticked = {layer.id() for layer in layers}
        self.fill()
        self.changed.emit()

    def tick_alike(self) -> None:
        """Tick all layers that look like other dates of the chosen one."""
        self.tick([layer for layer in self._offered() if self._is_alike(layer)])

    @property
    def layers(self) -> list[QgsRasterLayer]:
        """The series by date, those without one last; only the chosen layer where no other is ticked."""
        ticked = [layer for layer in self._offered() if layer is self._first or layer.id() in self._ticked]
        return sorted(ticked, key=lambda layer: (self.day(layer) is None, self.day(layer) or date.max, layer.name()))

    @property
    def several(self) -> bool:
        """Whether there is more than one layer."""
        return len(self.layers) > 1

    def day(self, layer: QgsRasterLayer) -> Optional[date]:
        """The date of a layer, as it was typed or found."""
        typed = self._by_hand.get(layer.id())
        return day_of(typed) if typed else self._found_in(layer).day

    def problem(self) -> str:
        """One sentence that says why the series cannot be run; empty where it can."""
        if not self.several:
            return ""
        undated = [layer.name() for layer in self.layers if self.day(layer) is None]
        if undated:
            text = tr("No date is known of {names}: type it under Dates, or set it in the layer's temporal properties.")
            return text.format(names=", ".join(undated))
        return ""

    def parameters(self) -> dict[str, Any]:
        """For the algorithm; empty for one layer."""
        if not self.several or self._first is None:
            return {}
        others = [layer for layer in self.layers if layer is not self._first]
        days = [self.day(layer) for layer in (self._first, *others)]
        given = {
            "SERIES": [layer.id() for layer in others],
            "DATES": ";".join(day.isoformat() if day else "" for day in days),
        }
        if self.masks.currentData():
            given["MASK_BAND"] = self.masks.currentData()
        return given

    def hides(self) -> Optional[MaskBand]:
        """The mask band that is chosen."""
        return MASKS.get(self.masks.currentData() or "")

    def show_looks(self, looks: dict[str, Look]) -> None:
        """Show the shares of layers, by their ids."""
        self._looks.update(looks)
        self._show()

    def unlooked(self) -> list[QgsRasterLayer]:
        """Layers of the series whose shares are not known yet."""
        return [layer for layer in self.layers if layer.id() not in self._looks]

    def forget_looks(self) -> None:
        """Their shares are those of another model or mask band."""
        self._looks.clear()
        self._show()

    def _offer_masks(self) -> None:
        """List the presets whose band all layers of the series have; the first is chosen until another is by hand."""
        names = [[_band_name(layer, number) for number in range(1, layer.bandCount() + 1)] for layer in self.layers]
        facts = [[BandFacts(name) for name in bands] for bands in names]
        known = [name for name, band in MASKS.items() if facts and all(band.number(bands) for bands in facts)]
        if [self.masks.itemData(at) for at in range(1, self.masks.count())] == known and self.masks.count():
            return
        self.masks.blockSignals(True)
        self.masks.clear()
        self.masks.addItem(tr("none: all pixels with data are used"), "")
        for name in known:
            self.masks.addItem(f"{MASKS[name].name}: {MASKS[name].said}", name)
        self.masks.setCurrentIndex(1 if known else 0)
        self.masks.setEnabled(bool(known))
        self.masks.blockSignals(False)

    def fill(self, *_) -> None:
        """List the raster layers of the project anew."""
        offered = self._offered()
        ids = {layer.id() for layer in offered}
        self._ticked &= ids
        self._found = {key: found for key, found in self._found.items() if key in ids}
        self._filling = True
        self.list.clear()
        for layer in sorted(offered, key=lambda one: (self.day(one) or date.max, one.name())):
            item = QTreeWidgetItem([layer.name(), "", "", ""])
            item.setData(_NAME, _ID, layer.id())
            chosen = layer is self._first
            item.setCheckState(
                _NAME, Qt.CheckState.Checked if chosen or layer.id() in self._ticked else Qt.CheckState.Unchecked
            )
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            self.list.addTopLevelItem(item)
        self._filling = False
        self._show()

    def _offered(self) -> list[QgsRasterLayer]:
        """All raster layers but maps of classes; the chosen one in any case."""
        layers = QgsProject.instance().mapLayers().values()
        return [
            one
            for one in layers
            if isinstance(one, QgsRasterLayer) and (one is self._first or (one.isValid() and not class_names(one)))
        ]

    def _is_alike(self, layer: QgsRasterLayer) -> bool:
        first = self._first
        if first is None or layer is first or _band_count(layer) != _band_count(first) or not self.day(layer):
            return False
        near = layer.crs() != first.crs() or layer.extent().intersects(first.extent())
        return near and layer.providerType() == first.providerType()

    def _found_in(self, layer: QgsRasterLayer) -> LayerDate:
        if layer.id() not in self._found:
            self._found[layer.id()] = layer_date(layer)
        return self._found[layer.id()]

    def _marks(self) -> list[Mark]:
        marks = []
        for layer in self.layers:
            look = self._looks.get(layer.id())
            mark = Mark(layer.name(), self.day(layer))
            marks.append(replace(mark, gaps=look.gaps, masked=look.masked, problem=look.problem) if look else mark)
        doubled = twice(marks)
        return [replace(mark, problem=tr("two layers of one date")) if mark.day in doubled else mark for mark in marks]

    def _show(self) -> None:
        """Write dates and shares into the rows, and draw the line of time."""
        self._offer_masks()
        self._filling = True
        marks = self._marks()
        doubled, series = twice(marks), {layer.id() for layer in self.layers}
        for row in range(self.list.topLevelItemCount()):
            item = self.list.topLevelItem(row)
            layer = _raster(item.data(_NAME, _ID))
            if layer is None:
                continue
            self._write_row(item, layer, layer.id() in series, doubled)
        self._filling = False
        self.timeline.setVisible(self.several)
        self.timeline.show_marks(marks)
        self.alone.setEnabled(self.several)

    def _write_row(self, item: QTreeWidgetItem, layer: QgsRasterLayer, inside: bool, doubled: set[date]) -> None:
        day, typed = self.day(layer), self._by_hand.get(layer.id(), "")
        found = self._found_in(layer)
        item.setText(_DAY, day.isoformat() if day else typed or tr("unknown"))
        item.setToolTip(_DAY, tr("typed") if typed else found.note or found.how or found.problem)
        doubtful = day in doubled or (found.note and not typed)
        color = QColor(WRONG) if day is None else QColor("#b35900") if doubtful else None
        item.setForeground(_DAY, QBrush(color) if color and inside else QBrush())
        look = self._looks.get(layer.id())
        hidden = look.masked if look and self.masks.currentData() else None
        for column, share in ((_GAPS, look.gaps if look else None), (_MASKED, hidden)):
            item.setText(column, "" if share is None or not inside else f"{number(100 * share, '.0f')} %")
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def _edit(self, item: QTreeWidgetItem, column: int) -> None:
        if column == _DAY:
            self.list.editItem(item, _DAY)

    def _edited(self, item: QTreeWidgetItem, column: int) -> None:
        if self._filling:
            return
        key = item.data(_NAME, _ID)
        if column == _DAY:
            typed = item.text(_DAY).strip()
            layer = _raster(key)
            found = self._found_in(layer).day if layer else None
            if not typed or (found and typed == found.isoformat()):
                self._by_hand.pop(key, None)
            elif typed != tr("unknown"):
                self._by_hand[key] = typed
        elif column == _NAME:
            chosen = self._first is not None and key == self._first.id()
            ticked = item.checkState(_NAME) == Qt.CheckState.Checked
            if chosen and not ticked:  # it is taken away by choosing another layer
                self._filling = True
                item.setCheckState(_NAME, Qt.CheckState.Checked)
                self._filling = False
                return
            (self._ticked.add if ticked else self._ticked.discard)(key)
        self._show()
        self.changed.emit()

    def _picked(self, at: int) -> None:
        key = self.layers[at].id()
        for row in range(self.list.topLevelItemCount()):
            if self.list.topLevelItem(row).data(_NAME, _ID) == key:
                self.list.setCurrentItem(self.list.topLevelItem(row))


def _raster(key: str) -> Optional[QgsRasterLayer]:
    layer = QgsProject.instance().mapLayer(key)
    return layer if isinstance(layer, QgsRasterLayer) else None


def _band_count(layer: QgsRasterLayer) -> int:
    """Without an alpha channel, as which QGIS shows the mask of a file."""
    renderer = layer.renderer()
    return int(layer.bandCount()) - bool(renderer is not None and renderer.alphaBand() > 0)


def _band_name(layer: QgsRasterLayer, number: int) -> str:
    shown = layer.bandName(number)  # Band 1: SCL
    return shown.split(": ", 1)[1] if ": " in shown else ""

"""The window of the season curve's layers and dates: several layers, or the bands of one."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Optional

from qgis.core import QgsMapLayerProxyModel, QgsRasterLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QDialogButtonBox, QFormLayout, QLineEdit

from ...gdal_io.dates import day_of
from ...gdal_io.services import band_count
from ...runtime.errors import InputFault
from ...runtime.raster.band_names import follow_band_by_band
from ...runtime.raster.dates import date_in_name
from ...runtime.raster.mask_band import MaskBand
from ...texts import tr
from ..label_panel.parts import MessageLine
from ..run_window.series_box import SeriesBox
from ..widgets import PluginWindow, paragraph
from .work import ChosenLayer


class DatesWindow(PluginWindow):
    """Chooses a layer and the others of its series, as in the run window; or one layer and the dates of its bands."""

    applied = pyqtSignal()

    def __init__(self, parent=None) -> None:
        super().__init__(tr("GeoAware: layers and dates"), parent)
        self.layers, self.series, self.band_dates = QgsMapLayerComboBox(), SeriesBox(looked_at=False), QLineEdit()
        self.layers.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.series.setCollapsed(False)
        self.band_dates.setPlaceholderText("2024-01-15, 2024-04-15, …")
        self.problem_line = MessageLine()
        form = QFormLayout()
        form.addRow(tr("Layer"), self.layers)
        self._stack = QFormLayout()
        self._stack.addRow(tr("Dates of its bands"), self.band_dates)
        note = tr(
            "For one layer that holds several dates: the dates in the order of its bands, which are shared out evenly (of 12 bands "
            "and 4 dates, the first 3 bands are of the first date). Not needed where the names of the bands hold dates."
        )
        self._stack.addRow(paragraph(note))
        self.apply_button = self.buttons.addButton(tr("Apply"), QDialogButtonBox.ButtonRole.ApplyRole)
        self.apply_button.clicked.connect(self.apply)
        self.fill_with(form, self.series, self._stack, self.problem_line)
        self.resize(620, 560)
        self.layers.layerChanged.connect(self._layer_chosen)
        self.series.changed.connect(self._check)
        self.band_dates.textChanged.connect(lambda _: self._check())
        self._layer_chosen()

    def suggest(self, layers: Sequence[QgsRasterLayer]) -> None:
        """Choose these layers; of one, those that look like other dates of it too."""
        if not layers:
            return
        self.layers.setLayer(layers[0])
        if len(layers) > 1:
            self.series.tick(layers)
        elif not self._bands_of():
            self.series.tick_alike()

    def chosen(self) -> list[ChosenLayer]:
        """The layers and their days; empty where ``problem`` says why there are none."""
        if self.problem():
            return []
        layers = self.series.layers
        stack = self._bands_of() if len(layers) == 1 else []
        if stack:
            return [ChosenLayer(layers[0], day, bands) for day, bands in stack]
        dated = [(layer, self.series.day(layer)) for layer in layers]
        return [ChosenLayer(layer, day) for layer, day in dated if day is not None]

    def mask(self) -> Optional[MaskBand]:
        """The mask band that hides pixels of the layers."""
        return self.series.hides() if self.series.several else None

    def problem(self) -> str:
        """One sentence that says what is missing; empty where nothing is."""
        layers = self.series.layers
        if not layers:
            return tr("Choose a raster layer.")
        if self.series.several:
            return self.series.problem()
        if self.band_dates.text().strip():
            return self._stack_problem(layers[0])
        if not self._bands_of() and self.series.day(layers[0]) is None:
            text = tr("No date is known of {names}: type it under Dates, or set it in the layer's temporal properties.")
            return text.format(names=layers[0].name())
        return ""

    def apply(self) -> None:
        """Take what is chosen and close the window."""
        if not self.problem():
            self.applied.emit()
            self.accept()

    def _layer_chosen(self, *_) -> None:
        layer: Any = self.layers.currentLayer()
        self.band_dates.setText("")
        self.series.set_first(layer)
        self._check()

    def _check(self) -> None:
        problem = self.problem()
        self.problem_line.show_text("mIconWarning.svg", problem)
        self.apply_button.setEnabled(not problem)
        self.band_dates.setEnabled(not self.series.several)

    def _stack_problem(self, layer: Any) -> str:
        texts = _texts(self.band_dates.text())
        wrong = [text for text in texts if day_of(text) is None]
        if wrong:
            return tr("'{text}' is no date: write it like 2024-06-30.").format(text=wrong[0])
        if len({day_of(text) for text in texts}) < len(texts):
            return tr("Two of the dates of '{name}' are the same.").format(name=layer.name())
        count = band_count(layer.dataProvider())
        if count % len(texts):
            text = tr("'{name}' has {count} bands, which {dates} dates do not divide.")
            return text.format(name=layer.name(), count=count, dates=len(texts))
        names = [_named(layer.bandName(number)) for number in range(1, count + 1)]
        if follow_band_by_band(names, count // len(texts)):
            text = tr(
                "The bands of '{name}' follow band by band, not date by date: bring them into the order of the dates."
            )
            return text.format(name=layer.name())
        return ""

    def _bands_of(self) -> "list[tuple[date, tuple[int, ...]]]":
        """The days of the chosen layer's bands and their numbers; empty where nothing tells them."""
        layer: Any = self.layers.currentLayer()
        if layer is None:
            return []
        count = band_count(layer.dataProvider())
        typed = [day_of(text) for text in _texts(self.band_dates.text())]
        days: Sequence[Optional[date]] = [day for day in typed for _ in range(count // max(len(typed), 1))]
        if not typed:
            days = [_day_in(layer.bandName(number)) for number in range(1, count + 1)] if count > 1 else []
        known = [day for day in days if day is not None]
        if len(known) < count or (not typed and len(set(known)) < 2):
            return []
        return [
            (day, tuple(number for number, one in enumerate(known, start=1) if one == day))
            for day in sorted(set(known))
        ]


def _texts(text: str) -> list[str]:
    return [part for part in text.replace(";", ",").replace(" ", ",").split(",") if part]


def _named(shown: str) -> str:
    """The name of a band in what QGIS shows ("Band 1: red"); empty where it has none."""
    return shown.partition(": ")[2]


def _day_in(name: str) -> Optional[date]:
    try:
        return date_in_name(name).date()
    except InputFault:
        return None

"""More layers beside INPUT: the same place at other dates, and the band that says which of their pixels are hidden."""

from collections.abc import Sequence
from datetime import date
from typing import Optional

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsRasterLayer,
)

from ..gdal_io.dates import day_of, layer_date
from ..gdal_io.job import DatedLayer, Layer, snapshot
from ..gdal_io.services import ServiceLayer
from ..runtime.errors import InputFault
from ..runtime.raster.mask_band import MaskBand, mask_band
from ..texts import tr
from .run_model import ModelAlgorithm


class MaskedAlgorithm(ModelAlgorithm):
    """Runs a model over a raster layer, a band of which may hide pixels."""

    MASK_BAND, MASK_VALUES = "MASK_BAND", "MASK_VALUES"

    def add_masking(self):
        """Declare the mask band."""
        hint = tr(
            "Band of each layer that says where it shows clouds: scl (Sentinel-2), qa_pixel (Landsat), s2cloudless, or the "
            "name or number of another band together with its values to drop."
        )
        label = tr("Mask band")
        self.add(QgsProcessingParameterString(self.MASK_BAND, label, None, False, True), hint, advanced=True)
        hint = tr(
            "Values, ranges (8-10) and bits (bit3) that hide a pixel, separated by commas; empty: those of the preset."
        )
        label = tr("Mask values")
        self.add(QgsProcessingParameterString(self.MASK_VALUES, label, None, False, True), hint, advanced=True)

    def hides(self, parameters, context) -> Optional[MaskBand]:
        band = self.parameterAsString(parameters, self.MASK_BAND, context)
        values = self.parameterAsString(parameters, self.MASK_VALUES, context)
        if values and not band:
            raise InputFault.worded(tr("'{parameter}' needs a mask band.").format(parameter=tr("Mask values")))
        return mask_band(band, [values] if values else ()) if band else None


class SeriesAlgorithm(MaskedAlgorithm):
    """Runs a model over a raster layer, or over several of one place at different dates."""

    SERIES, DATES = "SERIES", "DATES"

    def add_layers(self):
        super().add_layers()
        kind = QgsProcessing.SourceType.TypeRaster
        self.add(
            QgsProcessingParameterMultipleLayers(self.SERIES, tr("Layers of other dates"), kind, None, True),
            tr(
                "Layers of the same place at other dates: with the first layer they are a series. Their extent, pixel size "
                "and CRS may differ. A model that reads one date is run on each, and its probabilities are averaged."
            ),
        )
        self.add(
            QgsProcessingParameterString(self.DATES, tr("Dates (empty: from the layers)"), None, False, True),
            tr(
                "Days such as 2024-06-30, that of the first layer before those of the others, separated by semicolons; a "
                "place left empty, and all if this is: from the layer's temporal properties, its name, or its metadata."
            ),
        )

    def checkParameterValues(self, parameters, context):
        """Name a layer that cannot be read; QGIS itself names the parameter only."""
        given = parameters.get(self.SERIES)
        for one in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(one, str) and one and QgsProcessingUtils.mapLayerFromString(one, context) is None:
                return False, tr("'{name}' cannot be read: its source is gone or broken.").format(name=one)
        return super().checkParameterValues(parameters, context)

    def add_date_count(self):
        """Declare the raster with the number of dates."""
        hint = tr("How many dates hold data at each pixel; only of a series.")
        self.add_raster_output("DATE_COUNT", tr("Number of dates"), hint)

    def series(self, parameters, context, first: QgsRasterLayer) -> tuple[DatedLayer, ...]:
        layers, others = [first], self.parameterAsLayerList(parameters, self.SERIES, context) or []
        for layer in others:
            if not isinstance(layer, QgsRasterLayer):
                raise InputFault.worded(tr("'{name}' is no raster layer.").format(name=layer.name()))
            if not any(_same(layer, other) for other in layers):
                layers.append(layer)
        if len(layers) == 1:
            return ()
        days = self._days(self.parameterAsString(parameters, self.DATES, context), layers)
        return tuple(DatedLayer(day, _with_pixels(snapshot(layer)), note) for (day, note), layer in zip(days, layers))

    def _days(self, text: str, layers: Sequence[QgsRasterLayer]) -> list[tuple[date, str]]:
        """Of each layer, and a sentence where it is doubtful; where none is given they are found.

        Raises:
            InputFault: one cannot be read or found, or there are not as many as layers.
        """
        parts = [part.strip() for part in text.replace(",", ";").split(";")] if text.strip() else [""] * len(layers)
        if len(parts) != len(layers):
            said = tr("{dates} dates are given for {layers} layers: give one for each, the first layer's first.")
            raise InputFault.worded(said.format(dates=len(parts), layers=len(layers)))
        days = []
        for part, layer in zip(parts, layers):
            note = ""
            if part:
                day = day_of(part)
                if day is None:
                    raise InputFault.worded(tr("'{text}' is no date like 2024-06-30.").format(text=part))
            else:
                found = layer_date(layer)
                if found.day is None:
                    said = tr("{problem}; set it in the layer's temporal properties or in '{parameter}'")
                    raise InputFault.worded(said.format(problem=found.problem, parameter=tr("Dates")))
                day, note = found.day, found.note
            days.append((day, note))
        return days


def _with_pixels(layer: Layer) -> Layer:
    """The same; raises InputFault for a service that has no pixels of its own."""
    if isinstance(layer, ServiceLayer) and layer.own_grid() is None:
        text = tr("The layer '{name}' has no pixels of its own: a series takes files, or services that have pixels.")
        raise InputFault.worded(text.format(name=layer.name))
    return layer


def _same(one: QgsRasterLayer, other: QgsRasterLayer) -> bool:
    return one is other or (one.providerType(), one.source()) == (other.providerType(), other.source())

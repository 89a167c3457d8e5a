"""The date of a raster layer: its temporal properties, else what its name, its tags and the files beside it tell."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Optional

from osgeo import gdal
from qgis.core import Qgis, QgsProviderRegistry, QgsRasterLayer

from ..runtime.errors import InputFault
from ..runtime.messages import Message
from ..runtime.raster.dates import CREATED, DateFound, date_in_name, date_stated, iso_date
from ..texts import tr, words
from .calls import ask


@dataclass(frozen=True)
class LayerDate:
    """A day and what told it, for people; or none, and why not; and a sentence where it is doubtful."""

    day: Optional[date] = None
    how: str = ""
    problem: str = ""
    note: str = ""


def layer_date(layer: QgsRasterLayer) -> LayerDate:
    """Of a layer, on its thread; no pixels are read. Of a period it is the beginning."""
    day = stated_day(layer)
    if day:
        return LayerDate(day, tr("temporal properties of the layer"))
    problems = []
    path = _file_of(layer)
    for name in dict.fromkeys((path.name if path else layer.name(), layer.name())):
        try:
            return LayerDate(date_in_name(name).date(), tr("name"))
        except InputFault as fault:
            problems.append(words(fault))
    found = _beside(path) if path and path.is_file() else None
    if found is None:
        return LayerDate(problem=problems[0])
    facts = {"date": found.date.date().isoformat(), "tag": found.how}
    note = words(Message("date_of_file", facts).about(layer.name())) if found.how == CREATED else ""
    return LayerDate(found.date.date(), found.how, note=note)


def stated_day(layer: QgsRasterLayer) -> Optional[date]:
    """The first day of the fixed range in a layer's temporal properties."""
    properties = layer.temporalProperties()
    begin = properties.fixedTemporalRange().begin()
    fixed = properties.mode() == Qgis.RasterTemporalMode.FixedTemporalRange
    if not (properties.isActive() and fixed and begin.isValid()):
        return None
    day = begin.date()
    return date(day.year(), day.month(), day.day())


def day_of(text: str) -> Optional[date]:
    """From ISO 8601; None where it is no date."""
    try:
        return iso_date(text).date()
    except ValueError:
        return None


def _file_of(layer: QgsRasterLayer) -> Optional[Path]:
    path = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source()).get("path")
    return Path(path) if path else None


def _beside(path: Path) -> Optional[DateFound]:
    """In the file's own metadata, or in a file beside it."""
    flags = gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR
    try:
        tags = ask("not_readable", path, gdal.OpenEx, str(path), flags).GetMetadata() or {}
    except InputFault:  # which is reported when its pixels are read
        tags = {}
    return date_stated(tags, path)

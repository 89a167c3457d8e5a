"""Tables of results, as rows of a feature sink."""

from collections.abc import Iterable, Sequence
from typing import Optional

from qgis.core import QgsFeature, QgsFeatureSink, QgsFields

from ..runtime.errors import InputFault
from ..runtime.results.areas import ClassArea
from ..runtime.results.assessment import Report
from ..texts import tr

AREA_FIELDS = {"class": "count", "name": "text", "pixels": "count", "hectares": "number", "per_cent": "number"}
ASSESS_FIELDS = {
    "class": "count", "name": "text", "sampled": "count", "mapped_ha": "number", "area_ha": "number",
    "area_ha_margin": "number", "users": "number", "users_margin": "number", "producers": "number",
    "producers_margin": "number",
}  # fmt: skip


def area_rows(table: Iterable[ClassArea]) -> list[tuple]:
    """One a class, for ``AREA_FIELDS``."""
    return [(row.value, row.name, row.pixels, row.m2 / 10_000, row.percent) for row in table]


def assess_rows(report: Report) -> list[tuple]:
    """One a class, for ``ASSESS_FIELDS``."""
    return [tuple(row[name] for name in ASSESS_FIELDS) for row in report.as_dict()["classes"]]


def write_table(sink_and_id: tuple[Optional[QgsFeatureSink], str], fields: QgsFields, rows: Sequence[tuple]) -> str:
    """Write rows into a sink; the id of what it makes.

    Raises:
        InputFault: it takes none.
    """
    sink, made = sink_and_id
    for row in rows:
        feature = QgsFeature(fields)
        feature.setAttributes(list(row))
        if sink is None or not sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
            raise InputFault.worded(tr("The table cannot be written."))
    return made

"""``geoaware:assess``: accuracy of a map and unbiased area of each class."""

import html
import math
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
)

from ..gdal_io.classes import ClassLayer, LayerShape
from ..gdal_io.mask import features_of, transformed
from ..runtime.errors import InputFault
from ..runtime.infer.job import Limits
from ..runtime.results.assessment import Report, class_numbers, compare, true_field
from ..texts import tr, words
from .base import Algorithm, progress_of

_FIELDS = {
    "class": "count", "name": "text", "sampled": "count", "mapped_ha": "number", "area_ha": "number",
    "area_ha_margin": "number", "users": "number", "users_margin": "number", "producers": "number",
    "producers_margin": "number",
}  # fmt: skip


class _AssessPlan(NamedTuple):
    classes: ClassLayer
    sample: str
    shapes: list[Any]
    field: str
    truth: list[Any]
    files: tuple[str, ...]


class AssessAlgorithm(Algorithm):
    """Compares a map with reference points or polygons."""

    NAME = "assess"
    INPUT, REFERENCE, FIELD, OUTPUT, REPORT = "INPUT", "REFERENCE", "FIELD", "OUTPUT", "REPORT"
    OVERALL, MARGIN = "OVERALL", "MARGIN"

    def displayName(self):
        return tr("Assess a map")

    def shortHelpString(self):
        return tr(
            "Compares a map of classes with reference points or polygons: confusion matrix, user's and "
            "producer's accuracy and the area of each class, with 95 % confidence intervals.\n\n"
            "Each class of the map is a stratum, and sample counts are weighted by mapped area (Olofsson et "
            "al. 2014). The sample must be random within each class of the map, or over the whole map, and "
            "must not have been used for training. A polygon counts as one unit; its map class is that of most "
            "of its pixels."
        )

    def initAlgorithm(self, configuration=None):
        hint = tr("Raster of class values, such as the output of 'Segment raster layer'.")
        self.add(QgsProcessingParameterRasterLayer(self.INPUT, tr("Map of classes")), hint)
        shapes = [QgsProcessing.SourceType.TypeVectorPoint, QgsProcessing.SourceType.TypeVectorPolygon]
        sample = QgsProcessingParameterFeatureSource(self.REFERENCE, tr("Reference points or polygons"), shapes)
        self.add(sample, tr("In any CRS; all features or the selected ones."))
        label = tr("Field with the true class (empty: the field named class)")
        field = QgsProcessingParameterField(self.FIELD, label, parentLayerParameterName=self.REFERENCE, optional=True)
        self.add(field, tr("Class values or class names of the map."))
        table = QgsProcessing.SourceType.TypeVector
        self.add(
            QgsProcessingParameterFeatureSink(self.OUTPUT, tr("Accuracy and areas"), table), tr("One row per class.")
        )
        report = QgsProcessingParameterFileDestination(
            self.REPORT, tr("Report"), tr("HTML files (*.html)"), None, True, True
        )
        self.add(report, tr("HTML page with confusion matrix, accuracies and areas."))
        self.addOutput(QgsProcessingOutputNumber(self.OVERALL, tr("Overall accuracy, 0 to 1")))
        self.addOutput(
            QgsProcessingOutputNumber(
                self.MARGIN, tr("Half-width of the 95 % confidence interval of the overall accuracy")
            )
        )

    def plan(self, parameters, context):
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        classes = ClassLayer.of(layer)
        source = self.parameterAsSource(parameters, self.REFERENCE, context)
        if source is None:
            raise InputFault.worded(tr("The reference layer cannot be read."))
        names = source.fields().names()
        at = true_field(source.sourceName(), names, self.parameterAsString(parameters, self.FIELD, context) or None)
        shapes, truth = [], []
        for feature in features_of(source):
            placed = transformed([feature.geometry()], source.sourceCrs(), layer.crs(), context.transformContext())
            shapes += placed
            truth += [feature.attributes()[at]] * len(placed)
        return _AssessPlan(classes, source.sourceName(), shapes, names[at], truth, classes.files)

    def work(self, plan, parameters, context, feedback):
        classes = plan.classes.open()
        with closing(classes.pixels):
            # below 0 lies nodata that the map does not declare
            mapped = {row.value: row.m2 for row in classes.areas(Limits(), progress_of(feedback, 80)) if row.value >= 0}
            truth = class_numbers(plan.sample, plan.field, plan.truth, classes.names)
            shapes = [LayerShape(geometry) for geometry in plan.shapes]
            report = compare(classes.at(shapes), truth, mapped, classes.names, plan.sample)
        for note in report.notes:
            feedback.pushWarning(words(note))
        feedback.pushInfo(report.as_text())
        rows = ([row[column] for column in _FIELDS] for row in report.as_dict()["classes"])
        table = self.write_table(parameters, self.OUTPUT, context, _FIELDS, rows)
        overall, margin = (number if math.isfinite(number) else None for number in report.result.overall)
        outputs = {self.OUTPUT: table, self.OVERALL: overall, self.MARGIN: margin}
        page = self.parameterAsFileOutput(parameters, self.REPORT, context)
        if page:
            Path(page).write_text(_html(report, plan), "utf-8")
            outputs[self.REPORT] = page
        return outputs


def _html(report: Report, plan: _AssessPlan) -> str:
    title = html.escape(tr("{map} compared with {sample}").format(map=plan.classes.layer.name, sample=plan.sample))
    notes = "".join(f"<p>{html.escape(words(note))}</p>" for note in report.notes)
    return (
        f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title></head>"
        f"<body><h1>{title}</h1><pre>{html.escape(report.as_text())}</pre>{notes}</body></html>\n"
    )

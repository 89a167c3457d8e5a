"""``geoaware:areas`` and ``geoaware:assess``: area of each class of a map, and its accuracy."""

import html
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    QgsGeometry,
    QgsPointXY,
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterRasterLayer,
)

from ..gdal_io.files import FileLayer, category_names
from ..gdal_io.job import Layer, grid_of, snapshot
from ..gdal_io.mask import read_sample, units_on
from ..runtime.errors import InputFault
from ..runtime.infer.class_map import ClassMap, Shape
from ..runtime.infer.layout import Limits
from ..runtime.results.assessment import Report, class_numbers, compare, true_field
from ..runtime.sampling.assessing import assess_sample
from ..runtime.sampling.sample_file import SampleFile, is_sample
from ..runtime.sampling.sample_file import read_sample as read_drawn
from ..texts import number, tr, words
from .base import Algorithm, files_of_source, html_table, progress_of

_MEASURES = [f"{measure}{end}" for measure in ("area_ha", "users", "producers") for end in ("", "_low", "_high")]
_FIELDS = {"class": "count", "name": "text", "sampled": "count", **dict.fromkeys(["mapped_ha", *_MEASURES], "number")}


@dataclass(frozen=True)
class MapPlan:
    """What the worker needs: a map, and its limits or the sample; no map, where the sample needs none."""

    layer: Optional[Layer]
    names: dict[int, str]
    files: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    sample: str = ""
    shapes: Sequence[Shape] = ()
    field: str = ""
    truth: Sequence[Any] = ()
    drawn: Optional[SampleFile] = None

    def open(self) -> ClassMap:
        return ClassMap(self.layer.open(), self.names)


class ClassMapAlgorithm(Algorithm):
    """Reads a layer of class numbers and writes a table of its classes."""

    INPUT, OUTPUT = "INPUT", "OUTPUT"

    def add_map(self, optional: bool = False):
        """Declare the layer."""
        hint = tr("Raster of class values, such as the output of 'Segment raster layer'.")
        self.add(QgsProcessingParameterRasterLayer(self.INPUT, tr("Map of classes"), optional=optional), hint)

    def add_table(self, label: str):
        """Declare the table."""
        table = QgsProcessing.SourceType.TypeVector
        self.add(QgsProcessingParameterFeatureSink(self.OUTPUT, label, table), tr("One row per class."))


class AreasAlgorithm(ClassMapAlgorithm):
    """Counts the pixels of a map of classes."""

    NAME = "areas"
    TOTAL = "TOTAL"

    def displayName(self):
        return tr("Areas of classes")

    def shortHelpString(self):
        return tr(
            "Counts the pixels of each class of a map and gives pixels, hectares and per cent. In a geographic "
            "CRS areas are measured on the ellipsoid, in a projected CRS in its plane.\n\n"
            "Pixel counting is biased by the errors of the map: 'Assess a map' corrects the areas with a "
            "reference sample."
        )

    def initAlgorithm(self, configuration=None):
        self.add_map()
        self.add_area(
            tr("Only this part of the map, in any CRS."),
            tr(
                "All or the selected polygons of a layer, taken together. A pixel counts if its centre lies in one "
                "of them."
            ),
        )
        self.add_table(tr("Areas"))
        self.addOutput(QgsProcessingOutputNumber(self.TOTAL, tr("Total hectares")))

    def plan(self, parameters, context):
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        plan = map_plan(layer)
        return replace(plan, limits=self.limits(parameters, context, layer))

    def work(self, plan, parameters, context, feedback):
        classes = plan.open()
        with closing(classes.pixels):
            table = classes.areas(plan.limits, progress_of(feedback))
            distortion = classes.grid.area_distortion
        if not 0.98 <= distortion <= 1.02:
            text = tr(
                "Areas are measured in the plane of the projection: {times} times the true area at the centre "
                "of the map."
            )
            feedback.pushWarning(text.format(times=number(distortion, ".3g")))
        for row in table:
            text = tr("{name}: {hectares} ha, {share} %")
            figures = {"hectares": number(row.m2 / 1e4, ",.1f"), "share": number(row.percent, ".1f")}
            feedback.pushInfo(text.format(name=row.name, **figures))
        made = self.write_areas(parameters, self.OUTPUT, context, table)
        return {self.OUTPUT: made, self.TOTAL: sum(row.m2 for row in table) / 1e4}


class AssessAlgorithm(ClassMapAlgorithm):
    """Compares a map with reference points or polygons."""

    NAME = "assess"
    REFERENCE, FIELD, REPORT = "REFERENCE", "FIELD", "REPORT"
    OVERALL = ("OVERALL", "OVERALL_LOW", "OVERALL_HIGH")

    def displayName(self):
        return tr("Assess a map")

    def shortHelpString(self):
        return tr(
            "Compares a map of classes with reference points or polygons: confusion matrix, user's and "
            "producer's accuracy and the area of each class, with 95 % confidence intervals.\n\n"
            "Each class of the map is a stratum, and sample counts are weighted by mapped area (Olofsson et "
            "al. 2014). The sample must be random within each class of the map, or over the whole map, and "
            "must not have been used for training. A polygon counts as one unit; its map class is that of most "
            "of its pixels.\n\n"
            "A sample that 'Draw a sample of a map' made holds its own strata and the areas of its map: then the map may "
            "be left out, or be another one of the same area (Stehman 2014)."
        )

    def initAlgorithm(self, configuration=None):
        self.add_map(optional=True)
        shapes = [QgsProcessing.SourceType.TypeVectorPoint, QgsProcessing.SourceType.TypeVectorPolygon]
        sample = QgsProcessingParameterFeatureSource(self.REFERENCE, tr("Reference points or polygons"), shapes)
        self.add(sample, tr("In any CRS; all features or the selected ones."))
        label = tr("Field with the class (empty: the field named class)")
        field = QgsProcessingParameterField(self.FIELD, label, parentLayerParameterName=self.REFERENCE, optional=True)
        self.add(field, tr("Class values or class names of the map."))
        self.add_table(tr("Accuracy and areas"))
        self.add_page(self.REPORT, tr("Report"), tr("HTML page with confusion matrix, accuracies and areas."))
        labels = (
            tr("Overall accuracy, 0 to 1"),
            tr("Lower limit of the overall accuracy (95 % confidence)"),
            tr("Upper limit of the overall accuracy (95 % confidence)"),
        )
        for name, label in zip(self.OVERALL, labels):
            self.addOutput(QgsProcessingOutputNumber(name, label))

    def plan(self, parameters, context):
        source = self.parameterAsSource(parameters, self.REFERENCE, context)
        if source is None:
            raise InputFault.worded(tr("The reference layer cannot be read."))
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        drawn = next((f for f in files_of_source(parameters[self.REFERENCE], context) if is_sample(Path(f))), None)
        known = read_drawn(Path(drawn)) if drawn else None
        if layer is None and parameters.get(self.INPUT) in (None, ""):
            if known is None:
                raise InputFault("not_a_sample", where=source.sourceName())
            return MapPlan(None, {}, (), sample=source.sourceName(), drawn=known)
        plan = map_plan(layer)
        if known is not None:
            places = [QgsGeometry.fromPointXY(QgsPointXY(point.x, point.y)) for point in known.points]
            grid, _ = grid_of(layer)
            units = units_on(places, source.sourceCrs(), grid, context.transformContext(), source.sourceName())
            return replace(plan, sample=source.sourceName(), shapes=units, drawn=known)
        names = source.fields().names()
        at = true_field(source.sourceName(), names, self.parameterAsString(parameters, self.FIELD, context) or None)
        shapes, truth = read_sample(source, grid_of(layer)[0], context.transformContext(), at)
        return replace(plan, sample=source.sourceName(), field=names[at], shapes=shapes, truth=truth)

    def work(self, plan, parameters, context, feedback):
        report = self._report(plan, feedback)
        for note in report.notes:
            feedback.pushWarning(words(note))
        feedback.pushInfo(report.as_text())
        rows = ([row[column] for column in _FIELDS] for row in report.as_dict()["classes"])
        table = self.write_table(parameters, self.OUTPUT, context, _FIELDS, rows)
        outputs = {self.OUTPUT: table, **dict(zip(self.OVERALL, map(float, report.result.overall)))}
        name = plan.layer.name if plan.layer else Path(plan.drawn.settings["map"]).name
        title = tr("{map} compared with {sample}").format(map=name, sample=plan.sample)
        notes = "".join(f"<p>{html.escape(words(note))}</p>" for note in report.notes)
        tables = "".join(f"<h2>{html.escape(name)}</h2>{html_table(rows)}" for name, rows in report.tables().items())
        return {**outputs, **self.write_page(parameters, self.REPORT, context, title, tables + notes)}

    def _report(self, plan: MapPlan, feedback) -> Report:
        if plan.layer is None:
            assert plan.drawn is not None  # nosec B101  # as planned
            return assess_sample(plan.drawn)
        classes = plan.open()
        with closing(classes.pixels):
            # below 0 lies nodata that the map does not declare
            mapped = {
                row.value: row.m2 for row in classes.areas(plan.limits, progress_of(feedback, 80)) if row.value >= 0
            }
            found = classes.at(plan.shapes)
            if plan.drawn is not None:
                return assess_sample(plan.drawn, found, mapped)
            truth = class_numbers(plan.sample, plan.field, plan.truth, classes.names)
            return compare(found, truth, mapped, classes.names, plan.sample)


def map_plan(layer) -> MapPlan:
    """Copy a layer of classes and its legend, which QGIS also makes from the names in a file.

    Raises:
        InputFault: it cannot be read, or is a service without pixels of its own.
    """
    copied = snapshot(layer)
    with closing(copied.open()) as pixels:
        files = tuple(pixels.files)
    renderer = layer.renderer()
    paletted = renderer is not None and renderer.type() == "paletted"
    labels = {int(one.value): one.label for one in renderer.classes()} if paletted else {}
    # QGIS calls the colours of a file that has no style by their numbers
    names = {value: label for value, label in labels.items() if label and label != str(value)}
    if not names and isinstance(copied, FileLayer):
        names = category_names(copied.uri)
    return MapPlan(copied, names, files)

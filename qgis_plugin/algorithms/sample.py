"""``geoaware:sample``: a stratified random sample of a map of classes."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from ..gdal_io.vectors import GdalVectors
from ..layers import show_when_loaded
from ..runtime.errors import InputFault
from ..runtime.files import Staging
from ..runtime.raster.legend import color_of
from ..runtime.sampling.design import EXPECTED, MOST_BUFFER, Wanted
from ..runtime.sampling.draw import draw
from ..runtime.sampling.sample_file import check_replaces_no_answers, summary, write_sample
from ..texts import tr, words
from .base import progress_of
from .class_maps import ClassMapAlgorithm, MapPlan, map_plan


@dataclass(frozen=True)
class _SamplePlan:
    """What the worker needs; ``colors`` are ``RRGGBB`` by class."""

    map: MapPlan
    colors: "dict[int, str]"
    wanted: Wanted
    source: str

    @property
    def files(self):
        return self.map.files


class SampleAlgorithm(ClassMapAlgorithm):
    """Draws points within each class, each change and around change."""

    NAME = "sample"
    CHANGE, BUFFER, ACCURACY, ERROR, LEAST = "CHANGE", "BUFFER", "ACCURACY", "ERROR", "LEAST"
    DISTANCE, SEED, COUNT = "DISTANCE", "SEED", "COUNT"

    def displayName(self):
        return tr("Draw a sample of a map")

    def shortHelpString(self):
        return tr(
            "Draws a random sample of a map of classes, for assessing its accuracy and the areas of its classes.\n\n"
            "Each class is a stratum; on a map of change (classes named 'A to B', or those that you name) the pixels around "
            "change are one too, since that is where change is missed. Sizes: Neyman's allocation for a standard error of "
            "the overall accuracy, and at least so many points a stratum.\n\n"
            "The points are in random order. Label them with Raster > GeoAware > Label a sample; 'Assess a map' then needs "
            "nothing but the sample. The same map, settings and seed give the same points."
        )

    def initAlgorithm(self, configuration=None):
        default = Wanted()
        self.add_map()
        whole = QgsProcessingParameterNumber.Type.Integer
        real = QgsProcessingParameterNumber.Type.Double
        change = QgsProcessingParameterString(
            self.CHANGE, tr("Classes that are change (empty: those named A to B)"), "", optional=True
        )
        self.add(change, tr("Names or values, separated by semicolons."))
        buffer = QgsProcessingParameterNumber(
            self.BUFFER, tr("Width of the stratum around change, pixels"), whole, default.buffer, False, 0, MOST_BUFFER
        )
        self.add(buffer, tr("0 for none."))
        accuracy = QgsProcessingParameterString(self.ACCURACY, tr("Expected user's accuracies"), "", optional=True)
        hint = tr(
            "One for all classes, or NAME=0.9 for one, separated by semicolons; buffer=0.9 for the pixels around change. Empty: "
            "{change} of change, {stable} of all else."
        )
        self.add(accuracy, hint.format(change=EXPECTED["change"], stable=EXPECTED["stable"]))
        error = QgsProcessingParameterNumber(
            self.ERROR, tr("Standard error of the overall accuracy"), real, default.error, False, 0.0001, 0.49
        )
        self.add(error, tr("The smaller, the more points."))
        least = QgsProcessingParameterNumber(
            self.LEAST, tr("Points of a stratum, at least"), whole, default.least, False, 2
        )
        self.add(least, tr("Of a stratum with fewer pixels, all."))
        distance = QgsProcessingParameterNumber(
            self.DISTANCE, tr("Distance between points, metres, at least"), real, default.distance, False, 0
        )
        self.add(distance, tr("Rare strata choose their points first."), advanced=True)
        seed = QgsProcessingParameterNumber(self.SEED, tr("Seed"), whole, default.seed, False, 0)
        self.add(seed, tr("Another one gives other points."), advanced=True)
        point = QgsProcessing.SourceType.TypeVectorPoint
        target = QgsProcessingParameterVectorDestination(self.OUTPUT, tr("Sample"), point)
        self.add(target, tr("GeoPackage with points, strata, classes and all settings."))
        self.addOutput(QgsProcessingOutputNumber(self.COUNT, tr("Number of points")))

    def plan(self, parameters, context):
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        plan = map_plan(layer)
        renderer = layer.renderer()
        paletted = renderer is not None and renderer.type() == "paletted"
        colors = {int(one.value): color_of(one.color.name()) for one in renderer.classes()} if paletted else {}
        change = _parts(self.parameterAsString(parameters, self.CHANGE, context))
        wanted = Wanted(
            tuple(change) or None,
            self.parameterAsInt(parameters, self.BUFFER, context),
            _accuracy(self.parameterAsString(parameters, self.ACCURACY, context)),
            self.parameterAsDouble(parameters, self.ERROR, context),
            self.parameterAsInt(parameters, self.LEAST, context),
            self.parameterAsDouble(parameters, self.DISTANCE, context),
            self.parameterAsInt(parameters, self.SEED, context),
        )
        return _SamplePlan(plan, colors, wanted, layer.source())

    def work(self, plan, parameters, context, feedback):
        out = self.output_file(parameters, self.OUTPUT, context, ".gpkg")
        if out is None:
            raise InputFault.worded(tr("Name the file of the sample."))
        check_replaces_no_answers(out)
        classes = plan.map.open()
        with closing(classes.pixels), Staging(out.parent) as staging:
            drawn = draw(classes, plan.wanted, progress_of(feedback))
            target = staging.keep(out.name)
            write_sample(target, drawn, classes.names, plan.colors, classes.grid, plan.source, GdalVectors())
            staging.commit()
        for note in drawn.notes:
            feedback.pushWarning(words(note))
        feedback.pushInfo(summary(drawn))
        outputs: dict[str, Any] = {self.OUTPUT: str(out), self.COUNT: len(drawn)}
        name = plan.map.layer.name
        show_when_loaded(context, f"GeoAware: {name}", name, outputs, {self.OUTPUT: tr("sample")})
        return outputs


def _parts(text: str) -> "list[str]":
    return [part.strip() for part in text.split(";") if part.strip()]


def _accuracy(text: str) -> "dict[str, float]":
    found = {}
    for part in _parts(text):
        name, _, share = part.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError as error:
            wrong = tr("'{text}': write accuracies as 0.9 or NAME=0.9, separated by semicolons.")
            raise InputFault.worded(wrong.format(text=part)) from error
    return found

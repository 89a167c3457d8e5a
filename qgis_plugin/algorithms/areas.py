"""``geoaware:areas``: area of each class of a map."""

from contextlib import closing
from typing import NamedTuple

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterRasterLayer,
)

from ..gdal_io.classes import ClassLayer
from ..runtime.infer.job import Limits
from ..texts import number, tr
from .base import Algorithm, progress_of


class _AreasPlan(NamedTuple):
    classes: ClassLayer
    limits: Limits
    files: tuple[str, ...]


class AreasAlgorithm(Algorithm):
    """Counts the pixels of a map of classes."""

    NAME = "areas"
    INPUT, OUTPUT, TOTAL = "INPUT", "OUTPUT", "TOTAL"

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
        hint = tr("Raster of class values, such as the output of 'Segment raster layer'.")
        self.add(QgsProcessingParameterRasterLayer(self.INPUT, tr("Map of classes")), hint)
        self.add_area(
            tr("Only this part of the map, in any CRS."),
            tr(
                "All or the selected polygons of a layer, taken together. A pixel counts if its centre lies in one "
                "of them."
            ),
        )
        table = QgsProcessing.SourceType.TypeVector
        self.add(QgsProcessingParameterFeatureSink(self.OUTPUT, tr("Areas"), table), tr("One row per class."))
        self.addOutput(QgsProcessingOutputNumber(self.TOTAL, tr("Total hectares")))

    def plan(self, parameters, context):
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        classes = ClassLayer.of(layer)
        return _AreasPlan(classes, self.limits(parameters, context, layer), classes.files)

    def work(self, plan, parameters, context, feedback):
        classes = plan.classes.open()
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

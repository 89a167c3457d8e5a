"""``geoaware:areas``: area of each class of a map."""

from contextlib import closing
from dataclasses import dataclass

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterRasterLayer,
)

from ..gdal_io.classes import ClassLayer
from ..gdal_io.mask import LayerMask
from ..gdal_io.tables import AREA_FIELDS, area_rows
from ..runtime.infer.job import Limits
from ..texts import number, tr
from .base import Algorithm, extent_in


@dataclass(frozen=True)
class _Plan:
    classes: ClassLayer
    limits: Limits

    @property
    def files(self):
        """Of the map."""
        return self.classes.files


class AreasAlgorithm(Algorithm):
    """Counts the pixels of a map of classes."""

    NAME = "areas"
    INPUT, EXTENT, MASK, OUTPUT, TOTAL = "INPUT", "EXTENT", "MASK", "OUTPUT", "TOTAL"

    def displayName(self):
        """Name in the toolbox."""
        return tr("Areas of classes")

    def shortHelpString(self):
        """Help beside the dialog."""
        return tr(
            "Counts the pixels of each class of a map and gives pixels, hectares and per cent. In a geographic "
            "CRS areas are measured on the ellipsoid, in a projected CRS in its plane.\n\n"
            "Pixel counting is biased by the errors of the map: 'Assess a map' corrects the areas with a "
            "reference sample."
        )

    def initAlgorithm(self, configuration=None):
        """Declare the parameters."""
        hint = tr("Raster of class values, such as the output of 'Segment raster layer'.")
        self.add(QgsProcessingParameterRasterLayer(self.INPUT, tr("Map of classes")), hint)
        extent = QgsProcessingParameterExtent(self.EXTENT, tr("Extent (empty: the whole layer)"), optional=True)
        self.add(extent, tr("Only this part of the map, in any CRS."))
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource(self.MASK, tr("Only inside these polygons"), polygons, optional=True),
            tr(
                "All or the selected polygons of a layer, taken together. A pixel counts if its centre lies in one "
                "of them."
            ),
        )
        table = QgsProcessing.SourceType.TypeVector
        self.add(QgsProcessingParameterFeatureSink(self.OUTPUT, tr("Areas"), table), tr("One row per class."))
        self.addOutput(QgsProcessingOutputNumber(self.TOTAL, tr("Total hectares")))

    def plan(self, parameters, context):
        """Copy what the worker needs of the layer and the area."""
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        classes = ClassLayer.of(layer)
        box = extent_in(self, parameters, self.EXTENT, context, layer.crs())
        source = self.parameterAsSource(parameters, self.MASK, context)
        mask = LayerMask.of(source, classes.layer.crs, context.transformContext()) if source else None
        return _Plan(classes, Limits(box, mask))

    def work(self, plan, parameters, context, feedback):
        """Count the pixels and write the table."""

        def progress(done: int, total: int) -> bool:
            feedback.setProgress(100 * done / total)
            return not feedback.isCanceled()

        classes = plan.classes.open()
        with closing(classes.pixels):
            table = classes.areas(plan.limits, progress)
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
        made = self.write_table(parameters, self.OUTPUT, context, AREA_FIELDS, area_rows(table))
        return {self.OUTPUT: made, self.TOTAL: sum(row.m2 for row in table) / 1e4}

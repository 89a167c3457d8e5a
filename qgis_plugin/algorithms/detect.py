"""``geoaware:detect``: objects as bounding boxes."""

from qgis.core import QgsProcessing, QgsProcessingOutputNumber, QgsProcessingParameterVectorDestination

from ..texts import tr
from .run_model import ModelAlgorithm


class DetectAlgorithm(ModelAlgorithm):
    """Runs detectors."""

    NAME = "detect"
    TASKS = ("detection",)
    MAIN = "objects"
    THRESHOLD, OVERLAP, COUNT = "THRESHOLD", "OVERLAP", "COUNT"

    def displayName(self):
        return tr("Detect objects")

    def shortHelpString(self):
        return tr(
            "Finds objects such as aircraft, ships or trees in a raster layer.\n\n"
            "Objects: bounding boxes in a GeoPackage with class, name and score (0 to 1), in the colours of "
            "the model. An object seen by several tiles gives one box. If polygons limit the area, only "
            "objects whose centre lies in one of them are kept."
        )

    def add_outputs(self):
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(QgsProcessingParameterVectorDestination(self.OUTPUT, tr("Objects"), polygons), tr("GeoPackage."))
        self.addOutput(QgsProcessingOutputNumber(self.COUNT, tr("Number of objects")))

    def add_options(self):
        hint = tr("Boxes with a lower score are dropped; empty: every box that the model returns.")
        self.add_number(self.THRESHOLD, tr("Minimum score"), hint, least=0.0, most=1.0)
        self.add_overlap()

    def titles(self):
        return {self.OUTPUT: tr("objects")}

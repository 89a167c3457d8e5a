"""``geoaware:detect``: objects as bounding boxes."""

from dataclasses import replace

from qgis.core import QgsProcessing, QgsProcessingOutputNumber, QgsProcessingParameterVectorDestination

from ..runtime.infer.sweep import Sweep
from ..texts import tr
from .run_model import ModelAlgorithm


class DetectAlgorithm(ModelAlgorithm):
    """Runs detectors."""

    NAME = "detect"
    TASKS = ("detection",)
    MAIN = "objects"
    THRESHOLD, OVERLAP, COUNT = "THRESHOLD", "OVERLAP", "COUNT"

    def displayName(self):
        """Name in the toolbox."""
        return tr("Detect objects")

    def shortHelpString(self):
        """Help beside the dialog."""
        return tr(
            "Finds objects such as aircraft, ships or trees in a raster layer.\n\n"
            "Objects: bounding boxes in a GeoPackage with class, name and score (0 to 1), in the colours of "
            "the model. An object seen by several tiles gives one box. If polygons limit the area, only "
            "objects whose centre lies in one of them are kept."
        )

    def add_outputs(self):
        """Declare the results."""
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(QgsProcessingParameterVectorDestination(self.OUTPUT, tr("Objects"), polygons), tr("GeoPackage."))
        self.addOutput(QgsProcessingOutputNumber(self.COUNT, tr("Number of objects")))

    def add_options(self):
        """Declare more advanced parameters."""
        hint = tr("Boxes with a lower score are dropped; empty: every box that the model returns.")
        self._add_number(self.THRESHOLD, tr("Minimum score"), hint, least=0.0, most=1.0)
        hint = tr("Pixels that neighbouring tiles share; empty: the value in the model card.")
        self._add_number(self.OVERLAP, tr("Tile overlap"), hint, least=0)

    def sweep(self, parameters, context) -> Sweep:
        """How the model slides over the raster."""
        overlap = self._number(parameters, self.OVERLAP, context, whole=True)
        return replace(super().sweep(parameters, context), overlap=overlap)

    def titles(self):
        """What the layer of each result shows."""
        return {self.OUTPUT: tr("objects")}

"""``geoaware:detect``: objects as boxes."""

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
            "Objects: boxes in a GeoPackage with class, name and score (0 to 1), in the model's colours. An object "
            "that several tiles see is one box. Where polygons limit the area, objects count whose middle lies in one."
        )

    def add_outputs(self):
        """Declare the results."""
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(QgsProcessingParameterVectorDestination(self.OUTPUT, tr("Objects"), polygons), tr("GeoPackage."))
        self.addOutput(QgsProcessingOutputNumber(self.COUNT, tr("Number of objects")))

    def add_options(self):
        """Declare more advanced parameters."""
        hint = tr("Boxes with a lower score are left out; empty: all that the model itself does not leave out.")
        self._add_number(self.THRESHOLD, tr("Lowest score"), hint, least=0.0, most=1.0)
        hint = tr("Pixels that neighbouring tiles share; empty: as the model's card says.")
        self._add_number(self.OVERLAP, tr("Overlap of tiles"), hint, least=0)

    def sweep(self, parameters, context) -> Sweep:
        """How the model slides over the raster."""
        overlap = self._number(parameters, self.OVERLAP, context, whole=True)
        return replace(super().sweep(parameters, context), overlap=overlap)

    def titles(self):
        """What the layer of each result shows."""
        return {self.OUTPUT: tr("objects")}

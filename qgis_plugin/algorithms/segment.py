"""``geoaware:segment``: a class, or a value, for every pixel."""

from dataclasses import replace

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorDestination,
)

from ..runtime.infer.sweep import Sweep
from ..texts import tr
from .run_model import ModelAlgorithm


class SegmentAlgorithm(ModelAlgorithm):
    """Runs pixel-wise models: segmentations and regressions."""

    NAME = "segment"
    TASKS = ("segmentation", "regression")
    CONFIDENCE, PROBABILITIES, POLYGONS = "CONFIDENCE", "PROBABILITIES", "POLYGONS"
    MIN_AREA, GRID, OVERLAP, THRESHOLD = "MIN_AREA", "GRID", "OVERLAP", "THRESHOLD"
    FILES = ("OUTPUT", "POLYGONS", "PROBABILITIES", "CONFIDENCE")

    def displayName(self):
        """Name in the toolbox."""
        return tr("Segment raster layer")

    def shortHelpString(self):
        """Help beside the dialog."""
        return tr(
            "Gives every pixel of a raster layer a land-cover class; a regression model gives it a value.\n\n"
            "The model is one ONNX file that carries its own card: which bands it needs, in which unit and at which "
            "pixel size, and its classes with their colours. Bands are matched by name, then by number; pixels of "
            "another size are resampled on the way in.\n\n"
            "Land cover: a Cloud-Optimized GeoTIFF with class names and colours; 255 means no data (65535 where there "
            "are more than 255 classes). Its style is saved beside it. Pixels without data in any of the bands stay "
            "without a class.\n\n"
            "Confidence: the probability of the class, 0 to 100 per cent, shown as a veil over the map that is the "
            "denser the less sure the model is.\n\n"
            "Polygons: the patches of a class in the same colours, with area and mean confidence.\n\n"
            "Areas: hectares and share of each class; counted pixels are biased by the map's errors, which "
            "'Assess a map' corrects.\n\n"
            "Nothing leaves this computer, unless the layer itself is a service."
        )

    def add_outputs(self):
        """Declare the results."""
        self.add_raster_output(self.OUTPUT, tr("Land cover"), optional=False)
        self.add_raster_output(self.CONFIDENCE, tr("Confidence"), tr("Probability of the class in per cent."))
        self.add_raster_output(self.PROBABILITIES, tr("Probabilities"), tr("A band a class, 0 to 1."))
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            QgsProcessingParameterVectorDestination(self.POLYGONS, tr("Polygons"), polygons, None, True, False),
            tr("GeoPackage with the patches, along the edges of the pixels."),
        )
        self.add_areas()

    def add_options(self):
        """Declare more advanced parameters."""
        kind = QgsProcessingParameterNumber.Type.Double
        smallest = QgsProcessingParameterNumber(
            self.MIN_AREA, tr("Smallest polygon, square metres"), kind, 0.0, False, 0.0
        )
        smallest.setMetadata({"widget_wrapper": {"decimals": 1}})
        self.add(smallest, tr("Smaller polygons are merged into their largest neighbour."), advanced=True)
        self.add(
            QgsProcessingParameterEnum(
                self.GRID,
                tr("Pixels of the result"),
                ["source", "model"],
                defaultValue="source",
                usesStaticStrings=True,
            ),
            tr("Those of the layer, or of the size that the model learned from."),
            advanced=True,
        )
        hint = tr("Pixels that neighbouring tiles share; empty: as the model's card says.")
        self._add_number(self.OVERLAP, tr("Overlap of tiles"), hint, least=0)
        hint = tr("Models of independent classes only: from which probability on a class counts; empty: the card's.")
        self._add_number(self.THRESHOLD, tr("Threshold"), hint, least=0.0, most=1.0)

    def sweep(self, parameters, context) -> Sweep:
        """How the model slides over the raster."""
        overlap = self._number(parameters, self.OVERLAP, context, whole=True)
        wanted = parameters.get(self.PROBABILITIES) not in (None, "")
        return replace(super().sweep(parameters, context), overlap=overlap, probabilities=wanted)

    def model_grid(self, parameters, context) -> bool:
        """Whether the result keeps the model's pixel size."""
        return self.parameterAsEnumString(parameters, self.GRID, context) == "model"

    def titles(self):
        """What the layer of each result shows."""
        return {
            self.CONFIDENCE: tr("confidence"), self.POLYGONS: tr("polygons"), self.OUTPUT: tr("land cover"),
            self.PROBABILITIES: tr("probabilities"), self.AREAS: tr("areas"),
        }  # fmt: skip

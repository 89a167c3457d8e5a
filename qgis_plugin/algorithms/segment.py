"""``geoaware:segment``: a class, or a value, for every pixel."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorDestination,
)

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
        return tr("Segment raster layer")

    def shortHelpString(self):
        return tr(
            "Gives every pixel of a raster layer a land-cover class, or a value if the model is a regression "
            "model.\n\n"
            "The model is one ONNX file with a card: the bands it needs, their unit and pixel size, and its "
            "classes with their colours. Bands are matched by name; pixels of another size are resampled.\n\n"
            "Land cover: a Cloud-Optimized GeoTIFF with class names, colours and an attribute table; nodata is "
            "255 (65535 with more than 255 classes). The QGIS style is saved beside it. Pixels without data in "
            "any band get no class.\n\n"
            "Confidence: probability of the class, 0 to 100 per cent. QGIS draws it over the map in grey, "
            "denser where the confidence is low.\n\n"
            "Polygons: patches of one class in the same colours, with area and mean confidence.\n\n"
            "Areas: pixels, hectares and per cent of each class. Pixel counting is biased by the errors of the "
            "map, which 'Assess a map' corrects.\n\n"
            "Nothing leaves this computer, unless the layer itself is a service."
        )

    def add_outputs(self):
        self.add_class_outputs(tr("Land cover"))
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            QgsProcessingParameterVectorDestination(self.POLYGONS, tr("Polygons"), polygons, None, True, False),
            tr("GeoPackage of patches that follow the pixel edges."),
        )
        self.add_areas()

    def add_options(self):
        kind = QgsProcessingParameterNumber.Type.Double
        smallest = QgsProcessingParameterNumber(
            self.MIN_AREA, tr("Minimum polygon area, square metres"), kind, 0.0, False, 0.0
        )
        smallest.setMetadata({"widget_wrapper": {"decimals": 1}})
        self.add(smallest, tr("Smaller polygons are merged into their largest neighbour."), advanced=True)
        hint = tr("source: the pixels of the layer; model: the pixel size of the model.")
        self.add_choice("GRID", tr("Output grid"), ["source", "model"], hint)
        self.add_overlap()
        self.add_threshold()

    def titles(self):
        return {
            self.CONFIDENCE: tr("confidence"), self.POLYGONS: tr("polygons"), self.OUTPUT: tr("land cover"),
            self.PROBABILITIES: tr("probabilities"), self.AREAS: tr("areas"),
        }  # fmt: skip

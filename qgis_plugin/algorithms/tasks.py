"""The algorithms that run a model, one for each kind of result: classes, scenes, objects, features."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorDestination,
)

from ..texts import tr
from .run_model import ModelAlgorithm
from .series import SeriesAlgorithm


class SegmentAlgorithm(SeriesAlgorithm):
    """Runs pixel-wise models: segmentations and regressions."""

    NAME = "segment"
    TASKS = ("segmentation", "regression")
    FILES = ("OUTPUT", "POLYGONS", "PROBABILITIES", "CONFIDENCE", "DATE_COUNT")

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
            "Layers of other dates of the same place make a series, read on one grid: that of the CRS and pixel size of most "
            "of them, over all of them. A model of a series reads them all; one of a single date is run on each, and its "
            "probabilities are averaged. A pixel is mapped where at least one date holds data.\n\n"
            "Nothing leaves this computer, unless the layer itself is a service."
        )

    def add_outputs(self):
        self.add_class_outputs(tr("Land cover"))
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            QgsProcessingParameterVectorDestination("POLYGONS", tr("Polygons"), polygons, None, True, False),
            tr("GeoPackage of patches that follow the pixel edges."),
        )
        self.add_date_count()
        self.add_areas()

    def add_options(self):
        kind = QgsProcessingParameterNumber.Type.Double
        smallest = QgsProcessingParameterNumber(
            "MIN_AREA", tr("Minimum polygon area, square metres"), kind, 0.0, False, 0.0
        )
        smallest.setMetadata({"widget_wrapper": {"decimals": 1}})
        self.add(smallest, tr("Smaller polygons are merged into their largest neighbour."), advanced=True)
        hint = tr("source: the pixels of the layer; model: the pixel size of the model.")
        self.add_choice("GRID", tr("Output grid"), ["source", "model"], hint)
        self.add_masking()
        self.add_overlap()
        self.add_threshold()

    def main_title(self):
        return tr("land cover")


class ClassifyScenesAlgorithm(SeriesAlgorithm):
    """Runs scene classifiers."""

    NAME = "classifyscenes"
    TASKS = ("classification",)
    FILES = ("OUTPUT", "CONFIDENCE", "PROBABILITIES", "DATE_COUNT")

    def displayName(self):
        return tr("Classify scenes")

    def shortHelpString(self):
        return tr(
            "Slides a window over a raster layer and gives each position the class of the scene around it, "
            "such as residential or forest. The window has the tile size of the model.\n\n"
            "Scenes: a coarse Cloud-Optimized GeoTIFF with class names and colours. Its pixels are as wide as "
            "the stride; half the stride gives a finer map and takes four times as long.\n\n"
            "Confidence: probability of the class, 0 to 100 per cent.\n\n"
            "Areas: pixels, hectares and per cent of each class."
        )

    def add_outputs(self):
        self.add_class_outputs(tr("Scenes"))
        self.add_date_count()
        self.add_areas()

    def add_options(self):
        self.add_masking()
        self.add_stride()
        self.add_threshold()

    def main_title(self):
        return tr("scenes")


class DetectAlgorithm(ModelAlgorithm):
    """Runs detectors."""

    NAME = "detect"
    TASKS = ("detection",)
    MAIN = "objects"

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
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of objects")))

    def add_options(self):
        hint = tr("Boxes with a lower score are dropped; empty: every box that the model returns.")
        self.add_number("THRESHOLD", tr("Minimum score"), hint, least=0.0, most=1.0)
        self.add_overlap()

    def main_title(self):
        return tr("objects")


class EmbedAlgorithm(ModelAlgorithm):
    """Runs encoders."""

    NAME = "embed"
    TASKS = ("embedding",)
    FILES = ("OUTPUT", "PICTURE")

    def displayName(self):
        return tr("Embed raster layer")

    def shortHelpString(self):
        return tr(
            "Computes the features of an encoder for each position of a raster layer. Places that look alike "
            "have similar features: input for clustering, change maps or your own classifier.\n\n"
            "Features: a coarse Cloud-Optimized GeoTIFF, 32-bit float, one band per feature.\n\n"
            "Picture: the first three principal components of the features as red, green and blue."
        )

    def add_outputs(self):
        self.add_raster_output(self.OUTPUT, tr("Features"), optional=False)
        self.add_raster_output(
            "PICTURE", tr("Picture"), tr("First three principal components of the features as red, green and blue.")
        )
        self.parameterDefinition("PICTURE").setCreateByDefault(True)

    def add_options(self):
        self.add_stride()

    def main_title(self):
        return tr("features")

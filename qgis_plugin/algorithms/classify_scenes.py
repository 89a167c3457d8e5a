"""``geoaware:classifyscenes``: a class for each position of a sliding window."""

from ..texts import tr
from .run_model import ModelAlgorithm


class ClassifyScenesAlgorithm(ModelAlgorithm):
    """Runs scene classifiers."""

    NAME = "classifyscenes"
    TASKS = ("classification",)
    FILES = ("OUTPUT", "CONFIDENCE", "PROBABILITIES")
    CONFIDENCE, PROBABILITIES, STRIDE, THRESHOLD = "CONFIDENCE", "PROBABILITIES", "STRIDE", "THRESHOLD"

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
        self.add_areas()

    def add_options(self):
        self.add_stride()
        self.add_threshold()

    def titles(self):
        return {
            self.CONFIDENCE: tr("confidence"), self.OUTPUT: tr("scenes"), self.PROBABILITIES: tr("probabilities"),
            self.AREAS: tr("areas"),
        }  # fmt: skip

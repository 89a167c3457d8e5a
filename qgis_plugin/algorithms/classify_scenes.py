"""``geoaware:classifyscenes``: a class for each position of a sliding window."""

from dataclasses import replace

from ..runtime.infer.sweep import Sweep
from ..texts import tr
from .run_model import ModelAlgorithm


class ClassifyScenesAlgorithm(ModelAlgorithm):
    """Runs scene classifiers."""

    NAME = "classifyscenes"
    TASKS = ("classification",)
    FILES = ("OUTPUT", "CONFIDENCE", "PROBABILITIES")
    CONFIDENCE, PROBABILITIES, STRIDE, THRESHOLD = "CONFIDENCE", "PROBABILITIES", "STRIDE", "THRESHOLD"

    def displayName(self):
        """Name in the toolbox."""
        return tr("Classify scenes")

    def shortHelpString(self):
        """Help beside the dialog."""
        return tr(
            "Slides a window over a raster layer and gives each position the class of the scene around it, "
            "such as residential or forest. The window has the tile size of the model.\n\n"
            "Scenes: a coarse Cloud-Optimized GeoTIFF with class names and colours. Its pixels are as wide as "
            "the stride; half the stride gives a finer map and takes four times as long.\n\n"
            "Confidence: probability of the class, 0 to 100 per cent.\n\n"
            "Areas: pixels, hectares and per cent of each class."
        )

    def add_outputs(self):
        """Declare the results."""
        self.add_raster_output(self.OUTPUT, tr("Scenes"), optional=False)
        self.add_raster_output(self.CONFIDENCE, tr("Confidence"), tr("Probability of the class, per cent."))
        self.add_raster_output(self.PROBABILITIES, tr("Probabilities"), tr("One band per class, 0 to 1."))
        self.add_areas()

    def add_options(self):
        """Declare more advanced parameters."""
        hint = tr("Distance from one window to the next, in pixels of the model; empty: the size of the window.")
        self._add_number(self.STRIDE, tr("Stride"), hint, least=1)
        hint = tr(
            "For models with independent classes: lowest probability at which a class counts; empty: the value "
            "in the model card."
        )
        self._add_number(self.THRESHOLD, tr("Threshold"), hint, least=0.0, most=1.0)

    def sweep(self, parameters, context) -> Sweep:
        """How the window slides."""
        stride = self._number(parameters, self.STRIDE, context, whole=True)
        wanted = parameters.get(self.PROBABILITIES) not in (None, "")
        return replace(super().sweep(parameters, context), stride=stride, probabilities=wanted)

    def titles(self):
        """What the layer of each result shows."""
        return {
            self.CONFIDENCE: tr("confidence"), self.OUTPUT: tr("scenes"), self.PROBABILITIES: tr("probabilities"),
            self.AREAS: tr("areas"),
        }  # fmt: skip

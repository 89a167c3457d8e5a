"""``geoaware:embed``: what an encoder sees, as a raster of features and as a picture."""

from dataclasses import replace

from ..runtime.infer.sweep import Sweep
from ..texts import tr
from .run_model import ModelAlgorithm


class EmbedAlgorithm(ModelAlgorithm):
    """Runs encoders."""

    NAME = "embed"
    TASKS = ("embedding",)
    FILES = ("OUTPUT", "PICTURE")
    PICTURE, STRIDE = "PICTURE", "STRIDE"

    def displayName(self):
        """Name in the toolbox."""
        return tr("Embed raster layer")

    def shortHelpString(self):
        """Help beside the dialog."""
        return tr(
            "Describes each place of a raster layer by the features that an encoder has learned. Places that look "
            "alike have similar features: input for clustering, change maps or a classifier of your own.\n\n"
            "Features: a coarse Cloud-Optimized GeoTIFF, 32-bit, a band a feature.\n\n"
            "Picture: the three directions in which the features differ most as red, green and blue."
        )

    def add_outputs(self):
        """Declare the results."""
        self.add_raster_output(self.OUTPUT, tr("Features"), optional=False)
        self.add_raster_output(self.PICTURE, tr("Picture"), tr("Main directions of the features in three colours."))
        self.parameterDefinition(self.PICTURE).setCreateByDefault(True)

    def add_options(self):
        """Declare more advanced parameters."""
        hint = tr("Pixels, of the model's size, from one window to the next; empty: a whole window.")
        self._add_number(self.STRIDE, tr("Step of the window"), hint, least=1)

    def sweep(self, parameters, context) -> Sweep:
        """How the window slides."""
        return replace(
            super().sweep(parameters, context), stride=self._number(parameters, self.STRIDE, context, whole=True)
        )

    def titles(self):
        """What the layer of each result shows."""
        return {self.PICTURE: tr("picture of the features"), self.OUTPUT: tr("features")}

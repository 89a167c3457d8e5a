"""``geoaware:embed``: features of an encoder as a raster and as a picture."""

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
            "Computes the features of an encoder for each position of a raster layer. Places that look alike "
            "have similar features: input for clustering, change maps or your own classifier.\n\n"
            "Features: a coarse Cloud-Optimized GeoTIFF, 32-bit float, one band per feature.\n\n"
            "Picture: the first three principal components of the features as red, green and blue."
        )

    def add_outputs(self):
        """Declare the results."""
        self.add_raster_output(self.OUTPUT, tr("Features"), optional=False)
        self.add_raster_output(
            self.PICTURE, tr("Picture"), tr("First three principal components of the features as red, green and blue.")
        )
        self.parameterDefinition(self.PICTURE).setCreateByDefault(True)

    def add_options(self):
        """Declare more advanced parameters."""
        hint = tr("Distance from one window to the next, in pixels of the model; empty: the size of the window.")
        self._add_number(self.STRIDE, tr("Stride"), hint, least=1)

    def sweep(self, parameters, context) -> Sweep:
        """How the window slides."""
        return replace(
            super().sweep(parameters, context), stride=self._number(parameters, self.STRIDE, context, whole=True)
        )

    def titles(self):
        """What the layer of each result shows."""
        return {self.PICTURE: tr("picture of the features"), self.OUTPUT: tr("features")}

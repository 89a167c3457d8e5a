"""``geoaware:embed``: features of an encoder as a raster and as a picture."""

from ..texts import tr
from .run_model import ModelAlgorithm


class EmbedAlgorithm(ModelAlgorithm):
    """Runs encoders."""

    NAME = "embed"
    TASKS = ("embedding",)
    FILES = ("OUTPUT", "PICTURE")
    PICTURE, STRIDE = "PICTURE", "STRIDE"

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
            self.PICTURE, tr("Picture"), tr("First three principal components of the features as red, green and blue.")
        )
        self.parameterDefinition(self.PICTURE).setCreateByDefault(True)

    def add_options(self):
        self.add_stride()

    def titles(self):
        return {self.PICTURE: tr("picture of the features"), self.OUTPUT: tr("features")}

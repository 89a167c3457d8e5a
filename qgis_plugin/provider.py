"""The Processing provider, GeoAware's group in the toolbox."""

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms.base import ICON
from .algorithms.class_maps import AreasAlgorithm, AssessAlgorithm
from .algorithms.model_info import ModelInfoAlgorithm
from .algorithms.tasks import ClassifyScenesAlgorithm, DetectAlgorithm, EmbedAlgorithm, SegmentAlgorithm

ALGORITHMS = (
    SegmentAlgorithm,
    ClassifyScenesAlgorithm,
    DetectAlgorithm,
    EmbedAlgorithm,
    AreasAlgorithm,
    AssessAlgorithm,
    ModelInfoAlgorithm,
)


class GeoAwareProvider(QgsProcessingProvider):
    """Lists the algorithms; raster outputs are GeoTIFF, vector outputs GeoPackage."""

    def id(self):
        """Prefix of the algorithms' ids."""
        return "geoaware"

    def name(self):
        """Name in the toolbox; a proper name, so not translated."""
        return "GeoAware"

    def icon(self):
        """Icon in the toolbox."""
        return QIcon(str(ICON))

    def svgIconPath(self):
        """Icon for the model designer."""
        return str(ICON)

    def loadAlgorithms(self):
        """Called by QGIS at start and on refresh."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputRasterLayerExtensions(self):
        """The formats that the writer supports."""
        return ["tif"]

    def defaultRasterFileExtension(self, has_geometry=True):
        """Temporary results are GeoTIFF too."""
        return "tif"

    def defaultVectorFileExtension(self, has_geometry=True):
        """Temporary polygons are GeoPackages."""
        return "gpkg"

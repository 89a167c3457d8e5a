"""The Processing provider: GeoAware's place in the toolbox."""

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .segment import SegmentAlgorithm

ICON = Path(__file__).parent / "icon.svg"


class GeoAwareProvider(QgsProcessingProvider):
    """Lists the algorithms; results are GeoTIFF only."""

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
        self.addAlgorithm(SegmentAlgorithm())

    def supportedOutputRasterLayerExtensions(self):
        """What the writer can write."""
        return ["tif"]

    def defaultRasterFileExtension(self, has_geometry=True):
        """Temporary results are GeoTIFF too."""
        return "tif"

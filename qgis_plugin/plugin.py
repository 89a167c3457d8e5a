"""What QGIS loads: registers the provider, the action and the map tips, and takes all of it back."""

from pathlib import Path

from qgis.core import QgsApplication, QgsRasterLayer, QgsSettings
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from . import onnxruntime_help
from .algorithms.base import ICON
from .algorithms.run_model import LAST_MODEL
from .maptips import MapTips
from .provider import GeoAwareProvider
from .texts import tr

MENU = "GeoAware"


class GeoAwarePlugin:
    """Thin: all work is done by the Processing algorithm, which also runs in batch, models and qgis_process."""

    def __init__(self, iface):
        self.iface = iface  # None in qgis_process
        self.provider = None
        self.action = None
        self.map_tips = None

    def initProcessing(self):
        """The only part that qgis_process calls."""
        onnxruntime_help.add_packages_folder()
        self.provider = GeoAwareProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Called by QGIS Desktop."""
        self.initProcessing()
        self.action = QAction(QIcon(str(ICON)), tr("Segment with GeoAware…"), self.iface.mainWindow())
        self.action.setObjectName("geoawareSegment")
        self.action.setToolTip(tr("Find the land cover of the selected raster layer with an ONNX model"))
        self.action.triggered.connect(self.open_dialog)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToRasterMenu(MENU, self.action)
        # the type is taken from an instance because the name of its enum differs between QGIS 3.22, 3.30 and 4
        self.iface.addCustomActionForLayerType(self.action, "", QgsRasterLayer().type(), True)
        self.map_tips = MapTips(self.iface)

    def unload(self):
        """Undo ``initGui``; also called when the plugin is switched off or updated."""
        if self.map_tips is not None:
            self.map_tips.stop()
            self.map_tips = None
        if self.action is not None:
            self.iface.removeCustomActionForLayerType(self.action)
            self.iface.removePluginRasterMenu(MENU, self.action)
            self.iface.removeToolBarIcon(self.action)
            self.action.deleteLater()
            self.action = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def open_dialog(self):
        """Open the algorithm's dialog with the selected layer; it runs in the background from there."""
        layer = self.iface.activeLayer()
        if not isinstance(layer, QgsRasterLayer):
            self.iface.messageBar().pushMessage("GeoAware", tr("Select a raster layer in the Layers panel first."))
            return
        problem = onnxruntime_help.problem()
        if problem:
            onnxruntime_help.show(problem, self.iface.mainWindow())
            return
        import processing  # a plugin itself, so it may not be there yet when this module is imported

        preset = {"INPUT": layer.id()}
        model = QgsSettings().value(LAST_MODEL, "")
        if model and Path(model).is_file():
            preset["MODEL"] = model
        dialog = processing.createAlgorithmDialog("geoaware:segment", preset)
        dialog.show()

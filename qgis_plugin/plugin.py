"""What QGIS loads: registers the provider, the action and the map tips, and takes all of it back."""

from qgis.core import QgsApplication, QgsRasterLayer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from . import onnxruntime_help
from .algorithms.base import ICON
from .maptips import MapTips
from .provider import GeoAwareProvider
from .texts import tr
from .ui.desk import Desk

MENU = "GeoAware"


class GeoAwarePlugin:
    """Thin: all work is done by the Processing algorithms, which also run in batch, models and qgis_process."""

    def __init__(self, iface):
        self.iface = iface  # None in qgis_process
        self.provider = None
        self.action = None
        self.map_tips = None
        self.desk = None

    def initProcessing(self):
        """The only part that qgis_process calls."""
        onnxruntime_help.add_packages_folder()
        self.provider = GeoAwareProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Called by QGIS Desktop."""
        self.initProcessing()
        self.action = QAction(QIcon(str(ICON)), tr("Map with GeoAware…"), self.iface.mainWindow())
        self.action.setObjectName("geoawareMap")
        self.action.setToolTip(tr("Find the land cover of the selected raster layer with an ONNX model"))
        self.action.triggered.connect(self.open_dialog)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToRasterMenu(MENU, self.action)
        # the type is taken from an instance because the name of its enum differs between QGIS 3.22, 3.30 and 4
        self.iface.addCustomActionForLayerType(self.action, "", QgsRasterLayer().type(), True)
        self.map_tips = MapTips(self.iface)
        self.desk = Desk(self.iface)

    def unload(self):
        """Undo ``initGui``; also called when the plugin is switched off or updated."""
        if self.desk is not None:
            self.desk.close()
            self.desk = None
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
        """Open the dialog with the selected layer; what it starts runs in the background."""
        problem = "" if onnxruntime_help.is_there() else onnxruntime_help.problem()
        if problem:
            onnxruntime_help.show(problem, self.iface.mainWindow())
            return
        layer = self.iface.activeLayer()
        self.desk.open_dialog(layer if isinstance(layer, QgsRasterLayer) else None)

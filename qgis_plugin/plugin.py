"""The plugin class that QGIS loads: registers provider, actions and map tips, and removes them."""

from qgis.core import QgsApplication, QgsRasterLayer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from . import onnxruntime_help
from .algorithms.base import ICON
from .maptips import MapTips
from .provider import GeoAwareProvider
from .texts import tr
from .ui.class_tool import ClassTool
from .ui.desk import Desk

MENU = "GeoAware"
IDENTIFY = ICON.with_name("identify.svg")


class GeoAwarePlugin:
    """Registers everything; the work is done by Processing algorithms, which also run in batch and qgis_process."""

    def __init__(self, iface):
        self.iface = iface  # None in qgis_process
        self.provider = None
        self.action = self.identify_action = self.library_action = self.class_tool = None
        self.actions = []
        self.map_tips = None
        self.desk = None

    def initProcessing(self):
        """Register the provider; the only part that qgis_process calls."""
        onnxruntime_help.add_packages_folder()
        self.provider = GeoAwareProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Called by QGIS Desktop."""
        self.initProcessing()
        self.map_tips = MapTips(self.iface)
        self.desk = Desk(self.iface)
        self._add_actions()

    def unload(self):
        """Undo ``initGui``; called when the plugin is disabled or updated."""
        if self.desk is not None:
            self.desk.close()
            self.desk = None
        if self.map_tips is not None:
            self.map_tips.stop()
            self.map_tips = None
        if self.actions:
            self._remove_actions()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def open_dialog(self):
        """Open the run window with the selected layer."""
        layer = self.iface.activeLayer()
        self.desk.open_dialog(layer if isinstance(layer, QgsRasterLayer) else None)

    def _add_actions(self):
        window = self.iface.mainWindow()
        self.action = QAction(QIcon(str(ICON)), tr("Map with GeoAware…"), window)
        self.action.setObjectName("geoawareMap")
        self.action.setToolTip(tr("Map the selected raster layer with an ONNX model"))
        self.action.triggered.connect(self.open_dialog)
        self.class_tool = ClassTool(self.iface.mapCanvas())
        self.identify_action = QAction(QIcon(str(IDENTIFY)), tr("Read class"), window)
        self.identify_action.setObjectName("geoawareIdentify")
        self.identify_action.setToolTip(tr("Click a GeoAware map to read class and confidence"))
        self.identify_action.setCheckable(True)
        self.identify_action.triggered.connect(lambda: self.iface.mapCanvas().setMapTool(self.class_tool))
        self.class_tool.setAction(self.identify_action)
        self.library_action = QAction(tr("Models…"), window)
        self.library_action.setObjectName("geoawareModels")
        self.library_action.triggered.connect(self.desk.open_library)
        self.actions = [self.action, self.identify_action, self.library_action]
        for action in (self.action, self.identify_action):
            self.iface.addToolBarIcon(action)
        for action in self.actions:
            self.iface.addPluginToRasterMenu(MENU, action)
        # the type is taken from an instance because the name of its enum differs between QGIS 3.22, 3.30 and 4
        self.iface.addCustomActionForLayerType(self.action, "", QgsRasterLayer().type(), True)

    def _remove_actions(self):
        self.iface.removeCustomActionForLayerType(self.action)
        for action in (self.action, self.identify_action):
            self.iface.removeToolBarIcon(action)
        for action in self.actions:
            self.iface.removePluginRasterMenu(MENU, action)
            action.deleteLater()
        self.iface.mapCanvas().unsetMapTool(self.class_tool)
        self.class_tool.deleteLater()
        self.action = self.identify_action = self.library_action = self.class_tool = None
        self.actions = []

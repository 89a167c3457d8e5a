"""The plugin class that QGIS loads: registers provider, actions and map tips, and removes them."""

from qgis.core import QgsApplication, QgsProcessingProvider, QgsRasterLayer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from . import onnxruntime_help
from .algorithms.base import ICON
from .algorithms.change import ChangeAlgorithm
from .algorithms.class_maps import AreasAlgorithm, AssessAlgorithm
from .algorithms.fit_model import FitModelAlgorithm
from .algorithms.model_info import ModelInfoAlgorithm
from .algorithms.sample import SampleAlgorithm
from .algorithms.similar import SimilarAlgorithm
from .algorithms.tasks import ClassifyScenesAlgorithm, DetectAlgorithm, EmbedAlgorithm, SegmentAlgorithm
from .maptips import ClassTool, MapTips
from .texts import tr
from .ui.desk import Desk

MENU = "GeoAware"
IDENTIFY = ICON.with_name("identify.svg")
LABELS = ICON.with_name("labels.svg")
CURVE = ICON.with_name("curve.svg")
ALGORITHMS = (
    SegmentAlgorithm,
    ClassifyScenesAlgorithm,
    DetectAlgorithm,
    EmbedAlgorithm,
    AreasAlgorithm,
    AssessAlgorithm,
    ChangeAlgorithm,
    SampleAlgorithm,
    FitModelAlgorithm,
    SimilarAlgorithm,
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


class GeoAwarePlugin:
    """Registers everything; the work is done by Processing algorithms, which also run in batch and qgis_process."""

    def __init__(self, iface):
        self.iface = iface  # None in qgis_process
        self.provider = None
        self.action = self.labels_action = self.identify_action = self.curve_action = self.class_tool = None
        self.actions = []
        self.map_tips = self.desk = None

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
        self.desk.open_dialog(self._active_raster())

    def open_panel(self):
        """Open the panel that turns labels into a map, with the selected layer."""
        self.desk.open_panel(self._active_raster())

    def open_curve(self):
        """Open the season curve with the layers that are selected, those of selected groups too."""
        tree = self.iface.layerTreeView()
        selected = tree.selectedLayersRecursive() if tree is not None else []
        layers = [layer for layer in selected if isinstance(layer, QgsRasterLayer)]
        active = self._active_raster()
        self.desk.open_curve(layers or ([active] if active is not None else []))

    def open_sample_panel(self):
        """Open the panel in which samples are labelled, with the selected layer if it is a sample."""
        self.desk.open_sample_panel(self.iface.activeLayer())

    def _active_raster(self):
        layer = self.iface.activeLayer()
        return layer if isinstance(layer, QgsRasterLayer) else None

    def _add_actions(self):
        self.action = self._action("geoawareMap", tr("Map with GeoAware…"), self.open_dialog, ICON)
        self.action.setToolTip(tr("Map the selected raster layer with an ONNX model"))
        self.labels_action = self._action("geoawareLabels", tr("Labels to map…"), self.open_panel, LABELS)
        self.labels_action.setToolTip(tr("Label a few places of the selected raster layer and watch the map grow"))
        self.class_tool = ClassTool(self.iface.mapCanvas())
        choose = lambda: self.iface.mapCanvas().setMapTool(self.class_tool)  # noqa: E731
        self.identify_action = self._action("geoawareIdentify", tr("Read class"), choose, IDENTIFY)
        self.identify_action.setToolTip(tr("Click a GeoAware map to read class and confidence"))
        self.identify_action.setCheckable(True)
        self.class_tool.setAction(self.identify_action)
        self.curve_action = self._action("geoawareCurve", tr("Season curve"), self.open_curve, CURVE)
        self.curve_action.setToolTip(tr("Click a place: what layers of several dates hold there, or a model says"))
        self._action("geoawareSample", tr("Label a sample…"), self.open_sample_panel)
        self._action("geoawareModels", tr("Models…"), self.desk.open_library)
        self._action("geoawareDevices", tr("Devices…"), self.desk.open_devices)
        # the type is taken from an instance because the name of its enum differs between QGIS 3.22, 3.30 and 4
        for action in (self.action, self.labels_action):
            self.iface.addCustomActionForLayerType(action, "", QgsRasterLayer().type(), True)

    def _action(self, name, title, triggered, icon=None):
        """An entry of the Raster menu; in the toolbar too if it has an icon."""
        action = QAction(title, self.iface.mainWindow())
        action.setObjectName(name)
        action.triggered.connect(triggered)
        if icon:
            action.setIcon(QIcon(str(icon)))
            self.iface.addToolBarIcon(action)
        self.iface.addPluginToRasterMenu(MENU, action)
        self.actions.append(action)
        return action

    def _remove_actions(self):
        for action in (self.action, self.labels_action):
            self.iface.removeCustomActionForLayerType(action)
        for action in (self.action, self.labels_action, self.identify_action, self.curve_action):
            self.iface.removeToolBarIcon(action)
        for action in self.actions:
            self.iface.removePluginRasterMenu(MENU, action)
            action.deleteLater()
        self.iface.mapCanvas().unsetMapTool(self.class_tool)
        self.class_tool.deleteLater()
        self.action = self.labels_action = self.identify_action = self.curve_action = self.class_tool = None
        self.actions = []

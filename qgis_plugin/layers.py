"""How a loaded result looks in QGIS: legend, group, map tips."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Dict, List

from qgis.core import (
    QgsLayerTreeGroup,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .runtime.model.card import ModelCard
from .runtime.results.style import CLASSES_PROPERTY, map_tip

CONFIDENCE_PROPERTY = "geoaware/confidence"  # of a map of classes: file with the confidence in per cent


def class_names(layer) -> Dict[int, str]:
    """Names of the classes of a result layer by their values; empty for other layers."""
    text = layer.customProperty(CLASSES_PROPERTY) if layer is not None else None
    return {int(value): name for value, name in json.loads(text).items()} if text else {}


@dataclass(frozen=True)
class Shown:
    """Whose result it is: the model's card and the layer's name."""

    card: ModelCard
    source: str

    @property
    def group(self) -> str:
        """Title of the group of all results of a run."""
        return f"GeoAware: {self.card.name} – {self.source}"  # noqa: RUF001, the dash of the group's title


def show_when_loaded(context, destination: str, shown: Shown, title: str, confidence: str = "") -> None:
    """Ask QGIS to name, group and style a result once it loads it; without effect in qgis_process.

    Args:
        context: of the algorithm.
        destination: file or id of the layer.
        shown: whose result it is.
        title: what it shows.
        confidence: file that the map tips of a map of classes read too.
    """
    if not context.willLoadLayerOnCompletion(destination):
        return
    details = context.layerToLoadOnCompletionDetails(destination)
    details.name = f"{shown.source}: {title}"
    styler = _Styler(destination, shown.group, confidence if destination != confidence else "")
    if hasattr(details, "groupName"):  # QGIS 3.32 and newer group by themselves
        details.groupName = shown.group
        styler.group = ""
    details.setPostProcessor(styler)


class _Styler(QgsProcessingLayerPostProcessorInterface):
    """Runs on the main thread, after the layer was made."""

    # QGIS keeps a bare pointer to a post-processor, so Python must keep the object until it has run
    alive: ClassVar[List["_Styler"]] = []

    def __init__(self, path: str, group: str, confidence: str) -> None:
        super().__init__()
        self.path, self.group, self.confidence = path, group, confidence
        self.alive.append(self)

    def postProcessLayer(self, layer, context, feedback):
        """Style and group the layer."""
        # again, although QGIS loads the style beside a file: Processing's own default style may have come after.
        # The style also sets the property by which the map tips know the layer, now and when it is opened again.
        style = Path(self.path).with_suffix(".qml")
        if isinstance(layer, QgsRasterLayer) and style.is_file():
            layer.loadNamedStyle(str(style))
        elif isinstance(layer, QgsVectorLayer):
            layer.loadDefaultStyle()  # the one inside the GeoPackage, which Processing leaves out
        names = class_names(layer)
        if names and hasattr(layer, "setMapTipTemplate"):  # raster layers have them since QGIS 3.30
            confidence = QgsProcessingUtils.mapLayerFromString(self.confidence, context) if self.confidence else None
            layer.setMapTipTemplate(map_tip(names, confidence.id() if confidence else ""))
        if names and self.confidence:
            layer.setCustomProperty(CONFIDENCE_PROPERTY, self.confidence)
        layer.triggerRepaint()
        if self.group:
            _move_to_group(context.project(), layer, self.group)
        self.alive.remove(self)


def _move_to_group(project, layer, name: str) -> None:
    root = project.layerTreeRoot()
    node = root.findLayer(layer.id())
    if node is None:  # the caller loads results in its own way
        return
    group = root.findGroup(name) or root.insertGroup(0, name)
    # also where QGIS put it into the group itself, since that was its active one: the order is ours
    others = [None if isinstance(one, QgsLayerTreeGroup) else one.layer() for one in group.children()]
    below = (at for at, one in enumerate(others) if one is not layer and _rank(one) >= _rank(layer))
    copy = node.clone()
    copy.setExpanded(bool(class_names(layer)))  # QGIS folds long legends; the others say little
    group.insertChildNode(next(below, len(others)), copy)
    node.parent().removeChildNode(node)


def _rank(layer) -> int:
    """Place within a group, from the top: the veil, what is drawn, the map, the rest."""
    if isinstance(layer, QgsVectorLayer):
        return 1 if layer.isSpatial() else 3
    if class_names(layer):
        return 2
    veil = layer is not None and layer.renderer() is not None and layer.renderer().type() == "singlebandpseudocolor"
    return 0 if veil else 3

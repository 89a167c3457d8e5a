"""How a loaded result looks in QGIS: legend, group, map tips."""

import json
from pathlib import Path
from typing import ClassVar, Dict, List

from qgis.core import QgsProcessingLayerPostProcessorInterface

from .runtime.card import ModelCard
from .runtime.style import CLASSES_PROPERTY, map_tip
from .texts import tr


def class_names(layer) -> Dict[int, str]:
    """Names of the classes of a result layer by their values; empty for other layers."""
    text = layer.customProperty(CLASSES_PROPERTY) if layer is not None else None
    return {int(value): name for value, name in json.loads(text).items()} if text else {}


def style_when_loaded(context, destination: str, card: ModelCard, source_name: str) -> None:
    """Ask QGIS to name, group and style the result once it loads it; without effect in qgis_process."""
    if not context.willLoadLayerOnCompletion(destination):
        return
    details = context.layerToLoadOnCompletionDetails(destination)
    details.name = tr("{source}: land cover").format(source=source_name)
    group = f"GeoAware: {card.name} – {source_name}"  # noqa: RUF001, the dash of the group's title
    styler = _Styler(card, destination, group)
    if hasattr(details, "groupName"):  # QGIS 3.32 and newer group by themselves
        details.groupName = group
        styler.group = ""
    details.setPostProcessor(styler)


class _Styler(QgsProcessingLayerPostProcessorInterface):
    """Runs on the main thread, after the layer was made."""

    # QGIS keeps a bare pointer to a post-processor, so Python must keep the object until it has run
    alive: ClassVar[List["_Styler"]] = []

    def __init__(self, card: ModelCard, path: str, group: str) -> None:
        super().__init__()
        self.card, self.path, self.group = card, path, group
        self.alive.append(self)

    def postProcessLayer(self, layer, context, feedback):
        """Style and group the layer."""
        # again, although QGIS loads the style beside a file: Processing's own default style may have come after.
        # The style also sets the property by which the map tips know the layer, now and when it is opened again.
        layer.loadNamedStyle(str(Path(self.path).with_suffix(".qml")))
        if hasattr(layer, "setMapTipTemplate"):  # raster layers have them since QGIS 3.30
            layer.setMapTipTemplate(map_tip(self.card.classes))
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
    if node.parent() != group:
        copy = node.clone()
        copy.setExpanded(True)  # QGIS folds long legends
        group.insertChildNode(0, copy)
        node.parent().removeChildNode(node)

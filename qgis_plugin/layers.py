"""How a loaded result looks in QGIS: legend, group, map tips."""

import json
from functools import partial
from pathlib import Path
from typing import Callable, ClassVar, Optional

from qgis.core import QgsProcessingLayerPostProcessorInterface, QgsProcessingUtils, QgsRasterLayer, QgsVectorLayer

from .runtime.results.style import CLASSES_PROPERTY, map_tip
from .texts import tr

# of a map of classes: files with the confidence in per cent, and with the number of dates that hold data
CONFIDENCE_PROPERTY, DATES_PROPERTY = "geoaware/confidence", "geoaware/dates"


def class_names(layer) -> dict[int, str]:
    """Names of the classes of a result layer by their values; empty for other layers."""
    text = layer.customProperty(CLASSES_PROPERTY) if layer is not None else None
    return {int(value): name for value, name in json.loads(text).items()} if text else {}


def show_when_loaded(
    context,
    group: str,
    source: str,
    outputs: dict[str, str],
    titles: dict[str, str],
    confidence: str = "",
    dates: str = "",
) -> None:
    """Ask QGIS to name, group, order and style the results of a run once it loads them.

    Args:
        context: of the algorithm.
        group: title of the group of all results of the run.
        source: name of the layer that was mapped.
        outputs: file or layer id of each result by the name of the output.
        titles: what each output shows, from the top of the group to its bottom.
        confidence: file that the map tips of a map of classes read too.
        dates: another, with the number of dates.
    """
    places: list[int] = []  # of the results of this run that were moved into the group
    for place, (name, title) in enumerate(titles.items()):
        destination = outputs.get(name, "")
        if not context.willLoadLayerOnCompletion(destination):  # as in qgis_process
            continue
        details = context.layerToLoadOnCompletionDetails(destination)
        details.name = f"{source}: {title}"
        beside = () if destination in (confidence, dates) else (confidence, dates)
        styler = _Styler(destination, *beside)
        if hasattr(details, "layerSortKey"):  # QGIS 3.32 and newer group and sort by themselves
            details.groupName, details.layerSortKey = group, -place
        else:
            styler.move = partial(_move_to_group, group, place, places)
        details.setPostProcessor(styler)


def forget(context) -> None:
    """Let go of the stylers of results that will not be loaded, since their project was closed."""
    processors = [details.postProcessor() for details in context.layersToLoadOnCompletion().values()]
    _Styler.alive[:] = [styler for styler in _Styler.alive if styler not in processors]


class _Styler(QgsProcessingLayerPostProcessorInterface):
    """Runs on the main thread, after the layer was made."""

    # QGIS keeps a bare pointer to a post-processor, so Python must keep the object until it has run
    alive: ClassVar[list["_Styler"]] = []

    def __init__(self, path: str, confidence: str = "", dates: str = "") -> None:
        super().__init__()
        self.path, self.beside = path, {CONFIDENCE_PROPERTY: confidence, DATES_PROPERTY: dates}
        self.move: Optional[Callable] = None
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
            confidence, dates = (_id(path, context) for path in self.beside.values())
            layer.setMapTipTemplate(map_tip(names, confidence, dates, tr("dates")))
        for name, path in self.beside.items():
            if names and path:
                layer.setCustomProperty(name, path)
        layer.triggerRepaint()
        if self.move:
            self.move(context.project(), layer)
        node = context.project().layerTreeRoot().findLayer(layer.id())
        if node is not None:  # None: the caller loads results in its own way
            node.setExpanded(bool(names))  # QGIS folds long legends; those of the other results say little
        self.alive.remove(self)


def _id(path: str, context) -> str:
    """Of the layer of a file; empty where there is none."""
    layer = QgsProcessingUtils.mapLayerFromString(path, context) if path else None
    return layer.id() if layer else ""


def _move_to_group(name: str, place: int, places: list[int], project, layer) -> None:
    """Move a layer below those results of its run that belong above it.

    ``place`` is that of the result in its run, 0 at the top; ``places`` those of the results moved before.
    """
    root = project.layerTreeRoot()
    node = root.findLayer(layer.id())
    if node is None:  # the caller loads results in its own way
        return
    group = root.findGroup(name) or root.insertGroup(0, name)
    at = sum(other < place for other in places)
    # QGIS has put it into the group itself where that was its active one
    group.insertChildNode(at + (node in group.children()[: at + 1]), node.clone())
    node.parent().removeChildNode(node)  # last: a layer that is nowhere in the tree leaves the project
    places.append(place)

"""The layers in which the panel shows its maps: of the project, but not saved with it, and gone with the panel."""

from contextlib import contextmanager
from typing import Any, Callable, Optional

from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsGradientColorRamp,
    QgsMarkerSymbol,
    QgsPalettedRasterRenderer,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsSingleBandPseudoColorRenderer,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, QTimer

from ....texts import tr
from . import files

PROPERTY = "geoaware/preview"  # of these layers: what they show
_SAVED_AS = "geoaware-preview"  # instead of "maplayer" in a saved project, where QGIS does not look for it
_AGAIN_MS = 400  # after which a map is drawn again
_KEPT_MS = 10_000  # that a map is kept in memory after a newer one took its place, for those who still draw it
# What there is, from the top down, and whether it is switched on at first. All are rasters but the points of "similar".
SHOWN = {"similar": True, "unlike": False, "similarity": True, "confidence": False, "classes": True}
_OPACITY = {"classes": 0.6, "confidence": 0.7, "similarity": 0.7}  # who labels must see the image
_HATCH = ((1, "#000000b0", ""),)
_VIRIDIS = "0.33;49,104,142:0.67;53,183,121"
_SIMILAR = "field=rank:integer&field=similarity:double"


class PreviewLayers(QObject):
    """A group of layers above the layer that is mapped."""

    def __init__(self, layer, canvas, parent=None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._source_id, self._title = layer.id(), tr("GeoAware: {layer}").format(layer=layer.name())
        self._layers: dict[str, str] = {}  # id by what it shows
        self._paths: dict[str, str] = {}
        self._styles: dict[str, tuple] = {}
        self._shown = dict(SHOWN)
        self._group_name = ""
        self._project = QgsProject.instance()
        self._project.writeMapLayer.connect(self._leave_out)
        self._project.writeProject.connect(self._leave_out_group)

    def layer(self, kind: str) -> Any:
        """The layer that shows something; None where there is none, or the user has removed it."""
        return self._project.mapLayer(self._layers.get(kind, ""))

    def show(self, kind: str, path: str, style: tuple) -> None:
        """Show a new raster; ``style`` as ``renderer_of`` takes it."""
        layer = self.layer(kind)
        old, self._paths[kind] = self._paths.get(kind, ""), path
        with _undisturbed(self._project):
            if layer is None:
                layer = self._add(kind, QgsRasterLayer(path, _title(kind), "gdal"))
                self._styles.pop(kind, None)
            else:
                layer.setDataSource(path, layer.name(), "gdal", False)
            if self._styles.get(kind) != style:
                self._draw(kind, layer, style)
        layer.triggerRepaint()
        if self._canvas.isDrawing():  # the canvas may keep the old picture if its drawing ends just now
            QTimer.singleShot(_AGAIN_MS, self._repainter(kind))
        if old:
            QTimer.singleShot(_KEPT_MS, lambda: files.remove(old))

    def _repainter(self, kind: str) -> Callable[[], None]:
        layer_id = self._layers[kind]

        def repaint() -> None:
            layer = self._project.mapLayer(layer_id)
            if layer is not None:
                layer.triggerRepaint()

        return repaint

    def restyle(self, kind: str, style: tuple) -> None:
        """Draw a layer in another style."""
        layer = self.layer(kind)
        if layer is not None:
            self._draw(kind, layer, style)
            layer.triggerRepaint()

    def show_points(self, points: list[QgsPointXY], scores: list[float]) -> None:
        """Show the most similar places, best first, in the CRS of the source."""
        with _undisturbed(self._project):
            layer = self.layer("similar")
            if layer is None:
                crs = self._project.mapLayer(self._source_id).crs()
                layer = QgsVectorLayer(f"Point?{_SIMILAR}", _title("similar"), "memory")
                layer.setCrs(crs)
                layer.setRenderer(QgsSingleSymbolRenderer(_ring()))
                self._add("similar", layer)
            features = []
            for rank, (point, score) in enumerate(zip(points, scores), start=1):
                feature = QgsFeature(layer.fields())
                feature.setAttributes([rank, score])
                feature.setGeometry(QgsGeometry.fromPointXY(point))
                features.append(feature)
            layer.dataProvider().truncate()
            layer.dataProvider().addFeatures(features)
            layer.updateExtents()
        layer.triggerRepaint()

    def set_shown(self, kind: str, shown: bool) -> None:
        """Switch a layer on or off, now and when it comes."""
        self._shown[kind] = shown
        node = self._project.layerTreeRoot().findLayer(self._layers.get(kind, ""))
        if node is not None:
            with _undisturbed(self._project):
                node.setItemVisibilityChecked(shown)

    def is_shown(self, kind: str) -> bool:
        """Whether a layer is switched on."""
        node = self._project.layerTreeRoot().findLayer(self._layers.get(kind, ""))
        return self._shown[kind] if node is None else node.itemVisibilityChecked()

    def hide(self, kind: str) -> None:
        """Remove one of the layers."""
        with _undisturbed(self._project):
            self._project.removeMapLayers([one for one in [self._layers.pop(kind, "")] if self._project.mapLayer(one)])
        self._styles.pop(kind, None)
        path = self._paths.pop(kind, "")
        if path:
            QTimer.singleShot(_KEPT_MS, lambda: files.remove(path))

    def close(self) -> None:
        """Remove all of it."""
        self._project.writeMapLayer.disconnect(self._leave_out)
        self._project.writeProject.disconnect(self._leave_out_group)
        for kind in list(self._layers):
            self.hide(kind)
        group = self._group()
        if group is not None and not group.children():
            with _undisturbed(self._project):
                group.parent().removeChildNode(group)

    def _draw(self, kind: str, layer: QgsRasterLayer, style: tuple) -> None:
        self._styles[kind] = style
        renderer = renderer_of(kind, layer, *style)
        renderer.setOpacity(_OPACITY.get(kind, 1.0))
        layer.setRenderer(renderer)
        layer.emitStyleChanged()

    def _add(self, kind: str, layer) -> Any:
        layer.setCustomProperty(PROPERTY, kind)
        layer.setCustomProperty("skipMemoryLayersCheck", 1)  # QGIS does not ask whether to save it when it ends
        self._project.addMapLayer(layer, False)
        self._layers[kind] = layer.id()
        group = self._group() or self._insert_group()
        order = list(SHOWN)
        above = [one for one in order[: order.index(kind)] if self.layer(one) is not None]
        node = group.insertLayer(len(above), layer)
        node.setItemVisibilityChecked(self._shown[kind])
        node.setExpanded(kind == "classes")
        group.setExpanded(False)  # QGIS folds a new group without telling the node
        group.setExpanded(True)
        return layer

    def _group(self):
        groups = self._project.layerTreeRoot().findGroups(True)
        return next((one for one in groups if one.customProperty(PROPERTY) == self._source_id), None)

    def _insert_group(self):
        """A group just above the layer that is mapped, so that labels above it stay above the maps."""
        root = self._project.layerTreeRoot()
        node = root.findLayer(self._source_id)
        parent = node.parent() if node is not None else root
        group = parent.insertGroup(parent.children().index(node) if node is not None else 0, self._title)
        group.setCustomProperty(PROPERTY, self._source_id)
        return group

    def _leave_out(self, layer, element, document) -> None:
        """Save one of these layers as something that QGIS does not read, since its file ends with QGIS."""
        if layer.id() in self._layers.values():
            element.setTagName(_SAVED_AS)

    def _leave_out_group(self, document) -> None:
        for group in _elements(document, "layer-tree-group"):
            options = _elements(group.firstChildElement("customproperties"), "Option")
            if any(one.attribute("name") == PROPERTY for one in options):
                group.parentNode().removeChild(group)
        for layer in _elements(document, "layer-tree-layer"):  # that the user has moved out of the group
            if layer.attribute("id") in self._layers.values():
                layer.parentNode().removeChild(layer)


def _elements(parent, name: str) -> list:
    found = parent.elementsByTagName(name)
    return [found.at(number).toElement() for number in range(found.count())]


def renderer_of(kind: str, layer, *style):
    """How a kind of map is drawn; of classes ``style`` is (value, ``#rrggbb``, name) of each."""
    provider = layer.dataProvider()
    if kind in ("classes", "unlike"):
        lines = [" ".join(map(str, (value, *_rgba(color), name))) for value, color, name in style or _HATCH]
        return QgsPalettedRasterRenderer(provider, 1, QgsPalettedRasterRenderer.classDataFromString("\n".join(lines)))
    renderer = QgsSingleBandPseudoColorRenderer(provider, 1)
    renderer.setClassificationMin(0)
    renderer.setClassificationMax(100)
    stops = QgsGradientColorRamp.create({"color1": "68,1,84", "color2": "253,231,37", "stops": _VIRIDIS})
    renderer.createShader(stops)
    return renderer


def _ring() -> Optional[QgsMarkerSymbol]:
    return QgsMarkerSymbol.createSimple(
        {"name": "circle", "color": "0,0,0,0", "outline_color": "#00e5ff", "outline_width": "0.6", "size": "5"}
    )


def _title(kind: str) -> str:
    titles = {
        "similar": tr("Most similar places"),
        "classes": tr("Classes"),
        "confidence": tr("Confidence (%)"),
        "unlike": tr("Unlike anything labelled"),
        "similarity": tr("Similarity (%)"),
    }
    return titles[kind]


def _rgba(text: str) -> tuple[int, ...]:
    """Of ``#rrggbb`` or ``#rrggbbaa``, 0 to 255 each."""
    return tuple(int(f"{text[1:]}ff"[at : at + 2], 16) for at in (0, 2, 4, 6))


@contextmanager
def _undisturbed(project):
    """What is done to the preview does not make the project one that must be saved."""
    dirty = project.isDirty()
    yield
    project.setDirty(dirty)

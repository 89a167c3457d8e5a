"""The panel *GeoAware: labels to map*: its frame, and what happens between its pages, the labels and the engine."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication, QgsMapLayerProxyModel, QgsProject, QgsRasterLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import QEvent, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QColor, QKeySequence
from qgis.PyQt.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...runtime.errors import InputFault, RuntimeFault
from ...runtime.learn.features import FeatureChoice
from ...texts import tr, words
from ..widgets import stack
from .engine import Engine
from .labels import RASTER_PROPERTY, LabelStore, missing
from .live.next_page import NextPage
from .live.preview import PROPERTY as PREVIEW
from .live.quality_page import QualityPage
from .live.similar_page import SimilarPage
from .pages.classes_page import NAME, ClassesPage
from .pages.features_page import BOTH, ENCODER, FeaturesPage, recognised
from .pages.map_page import MapPage, fit_input
from .parts import Foot, PageArea, Section
from .taking import TakeDialog, labels_in
from .tools import ERASE, PaintTool, digit, undo_step


class LabelPanel(QDockWidget):
    """Holds the labels of one raster layer, the tool that paints them, and the engine that maps them.

    Attributes:
        layer: the raster layer; None where there is none, or it cannot be worked on.
        store: its labels.
        engine: computes features, fits and repaints in the background.
    """

    labels_changed = pyqtSignal()

    def __init__(self, iface, runs, open_library, open_help, model_added) -> None:
        """``runs`` is the queue of runs; ``model_added`` is called with the file of a model that was saved."""
        super().__init__(tr("GeoAware: labels to map"), iface.mainWindow())
        self.setObjectName("geoawareLabels")
        self._canvas = iface.mapCanvas()
        self.layer: Any = None
        self.store, self.engine, self.tool = LabelStore(), Engine(self._canvas, self), PaintTool(self._canvas)
        self.layers = QgsMapLayerComboBox()
        self.layers.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.layers.setAllowEmptyLayer(True)
        self.layers.setLayer(None)
        self.layers.setMinimumContentsLength(8)
        self.features = FeaturesPage(Path(QgsApplication.qgisSettingsDirPath()) / "geoaware" / "features")
        self.classes_page = ClassesPage()
        self.similar_page = SimilarPage(self.engine, self._canvas)
        self.map_page = MapPage(self._canvas, runs, lambda: fit_input(self), model_added)
        self.help_button = QToolButton()
        self.help_button.setIcon(QgsApplication.getThemeIcon("mActionHelpContents.svg"))
        self.help_button.setToolTip(tr("Help"))
        self.help_button.setAutoRaise(True)
        self.help_button.clicked.connect(open_help)
        self.sections = [
            Section(tr("Features"), self.features),
            Section(tr("Classes and painting"), self.classes_page),
            Section(tr("Where next?"), NextPage(self.engine, self), folded=True),
            Section(tr("How good is it?"), QualityPage(self.engine), folded=True),
            Section(tr("Find similar"), self.similar_page, folded=True),
            Section(tr("Map and model"), self.map_page, folded=True),
        ]
        self.foot = Foot()
        self._lay_out()
        self._before: Any = None  # tool of the canvas before ours
        self._unmapped = ""  # why the engine has no map
        self._connect(open_library)
        self.classes_page.show_size(self.tool.size)
        self._labels_changed()

    def _lay_out(self) -> None:
        top = stack(QHBoxLayout(), self.layers, self.help_button)
        top.setStretch(0, 1)
        top.setContentsMargins(6, 6, 6, 2)
        whole = QWidget()
        layout = stack(QVBoxLayout(whole), top, PageArea(self.sections), self.foot)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.setWidget(whole)
        self.setMinimumWidth(300)

    def _connect(self, open_library) -> None:
        self.layers.activated.connect(lambda _: self.set_layer(self.layers.currentLayer()))
        self.features.changed.connect(self._open_engine)
        self.features.deleting.connect(self._delete_cache)
        self.features.browsing.connect(open_library)
        page = self.classes_page
        page.tool_chosen.connect(self.choose_tool)
        page.sized.connect(lambda size: self.tool.set(size=size))
        page.class_chosen.connect(self._class_chosen)
        page.added.connect(self._add_class)
        page.removed.connect(self._remove_class)
        page.taking.connect(self._take)
        page.undone.connect(lambda: self._try(self.store.undo))
        page.redone.connect(lambda: self._try(self.store.redo))
        page.table.renamed.connect(lambda row, name: self._try(self._rename, row, name))
        page.table.recolored.connect(lambda row, color: self._try(self.store.change_class, row, color=color))
        self.tool.drawn.connect(self._drawn)
        self.tool.key.connect(self.choose_class)
        self.tool.undo.connect(lambda: self._try(self.store.undo))
        self.tool.redo.connect(lambda: self._try(self.store.redo))
        self.tool.resized.connect(page.show_size)
        self._canvas.mapToolSet.connect(self._tool_set)
        self.store.changed.connect(self._labels_changed)
        self.store.problem.connect(self.say)
        self.engine.progressed.connect(self.foot.show_progress)
        self.engine.state.connect(self.foot.show_status)
        self.engine.read.connect(self.foot.show_status)
        self.engine.problem.connect(self._engine_problem)
        self.engine.cache_changed.connect(lambda: self.features.show_used(self.engine.cache_bytes()))
        project = QgsProject.instance()
        project.cleared.connect(self._project_closed)
        project.readProject.connect(self._project_read)
        project.layersAdded.connect(self._leave_out_previews)
        project.layersWillBeRemoved.connect(self._layers_going)

    # what the pages of the panel use

    def classes(self) -> "tuple[Any, ...]":
        """The classes, a ``LandClass`` each."""
        return self.store.classes

    def key_of(self, index: int) -> QKeySequence:
        """The key that chooses a class; empty after the ninth."""
        return QKeySequence(str(index + 1) if index < 9 else "")

    def add_label(self, index: int, shape) -> bool:
        """Label a point or polygons in the CRS of the layer; whether it was saved."""
        return self._try(self.store.paint, index, shape, self.layer.crs()) if self.layer is not None else False

    def say(self, problem: str) -> None:
        """Show one sentence until something succeeds; empty: why there is no map, or what is missing for it."""
        problem = problem or self._unmapped
        hint = tr("Choose a raster layer.") if self.layer is None else missing(self.store)
        self.foot.say(bool(problem), problem or hint)

    # the layer

    def set_layer(self, layer) -> None:
        """Work on a raster layer, or on none."""
        if layer is self.layer and layer is not None:
            return
        self._release()
        self.layers.setLayer(layer)
        if not isinstance(layer, QgsRasterLayer):
            self.say("")
            return
        if not layer.isValid() or not layer.crs().isValid():
            text = (
                tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
                if layer.isValid()
                else tr("'{name}' cannot be read: its source is gone or broken.")
            )
            self.say(text.format(name=layer.name()))
            return
        self.layer = layer
        layer.crsChanged.connect(self._layer_changed)
        layer.dataSourceChanged.connect(self._layer_changed)
        self.say("")
        self.features.suggest(layer, recognised(layer))
        self.map_page.suggest(layer)
        self._try(self.store.open, layer)

    def _open_engine(self) -> None:
        if self.layer is None:
            return
        kind, encoder = self.features.kind, self.features.encoder
        if kind in (ENCODER, BOTH) and encoder is None:
            self.engine.close()
            self._engine_problem(tr("There is no encoder in the library: add one with …, or choose bands and texture."))
        else:
            self._engine_problem("")
            self.engine.open(self.layer, FeatureChoice(kind, encoder), self.features.folder)

    def _release(self) -> None:
        """Let go of the layer; all labels are on disk already."""
        self.choose_tool("")
        if self.layer is not None:
            self.layer.crsChanged.disconnect(self._layer_changed)
            self.layer.dataSourceChanged.disconnect(self._layer_changed)
            self.layer = None
            self.engine.close()
        self._unmapped = ""
        self.features.suggest(None)
        self.store.close()
        self.foot.show_progress(0, 0)
        self.foot.show_status("")

    def _layers_going(self, layers: "list[str]") -> None:
        if self.layer is None or self.layer.id() not in layers:
            return
        name, path = self.layer.name(), self.store.path
        self._release()
        self.say(
            tr("'{name}' was removed from the project; its labels are in {path}.").format(name=name, path=path)
            if path
            else tr("'{name}' was removed from the project.").format(name=name)
        )
        # the list of layers chooses another one by itself
        QTimer.singleShot(0, lambda: self.layers.setLayer(self.layer))

    def _layer_changed(self) -> None:
        layer = self.layer
        self._release()
        self.set_layer(layer)

    def _project_closed(self) -> None:
        self._release()
        self.layers.setLayer(None)
        self.say("")

    def _project_read(self) -> None:
        """Go on with the labels that came with a project."""
        if not self.isHidden() and self.layer is None:
            layer = labelled_raster()
            if layer is not None:
                self.set_layer(layer)

    def _leave_out_previews(self, *_) -> None:
        layers = QgsProject.instance().mapLayers().values()
        self.layers.setExceptedLayerList([one for one in layers if one.customProperty(PREVIEW)])

    # tools and classes

    def choose_tool(self, mode: str) -> None:
        """Paint with a tool; empty: with none."""
        if not mode:
            if self._canvas.mapTool() is self.tool:
                self._canvas.unsetMapTool(self.tool)
                with suppress(RuntimeError):  # it may be gone, with its plugin
                    if self._before is not None:
                        self._canvas.setMapTool(self._before)
            self.classes_page.show_mode("")
            return
        problem = "" if self.layer is not None else tr("Choose a raster layer first.")
        if not problem and mode != ERASE and not self.store.classes:
            problem = tr("Add a class first.")
        if problem:
            self.say(problem)
            self.choose_tool("")
            return
        self.tool.set(mode=mode)
        if self._canvas.mapTool() is not self.tool:
            self._before = self._canvas.mapTool()
            self._canvas.setMapTool(self.tool)
        self.classes_page.show_mode(mode)
        self._canvas.setFocus()  # for the keys

    def choose_class(self, number: int) -> None:
        """Paint the class with a key, from 1."""
        if number <= len(self.store.classes):
            self.classes_page.table.selectRow(number - 1)

    def _tool_set(self, new, _old=None) -> None:
        if new is not self.tool:
            self.classes_page.show_mode("")

    def _class_chosen(self, row: int) -> None:
        if 0 <= row < len(self.store.classes):
            self.tool.set(color=QColor(f"#{self.store.classes[row].color}"))

    def _drawn(self, mode: str, shape) -> None:
        crs, row = self._canvas.mapSettings().destinationCrs(), self.classes_page.table.currentRow()
        if self.layer is None:
            return
        if mode == ERASE:
            self._try(self.store.erase, shape, crs)
        elif row >= 0:
            self._try(self.store.paint, row, shape, crs)

    def _add_class(self) -> None:
        if self.layer is None:
            self.say(tr("Choose a raster layer first."))
        elif self._try(self.store.add_class):
            table = self.classes_page.table
            table.setCurrentCell(len(self.store.classes) - 1, NAME)
            table.editItem(table.item(table.currentRow(), NAME))

    def _rename(self, row: int, name: str) -> None:
        try:
            self.store.change_class(row, name=name)
        finally:
            self.classes_page.show_labels(self.store)

    def _remove_class(self, row: int) -> None:
        if 0 <= row < len(self.store.classes):
            self._try(self.store.remove_class, row)

    def _take(self) -> None:
        if self.layer is None:
            self.say(tr("Choose a raster layer first."))
            return
        asked = TakeDialog(self.store.layer, self)
        if asked.exec():
            self.take(asked.layers.currentLayer(), asked.fields.currentField(), asked.selected.isChecked())
        asked.deleteLater()

    def take(self, layer, field: str, selected: bool) -> None:
        """Copy the labels of a vector layer."""

        def copy() -> None:
            left_out = self.store.take(*labels_in(layer, field, selected), layer.crs())
            if left_out:
                text = tr("{count} labels of '{name}' lie outside the raster layer and were left out.")
                raise InputFault.worded(text.format(count=left_out, name=layer.name()))

        self._try(copy)

    def _try(self, change, *given, **named) -> bool:
        """Change the labels; whether it succeeded, else the reason is shown."""
        try:
            change(*given, **named)
        except RuntimeFault as fault:
            self.say(words(fault))
            return False
        self.say("")
        return True

    def _labels_changed(self) -> None:
        self.classes_page.show_labels(self.store)
        self._class_chosen(self.classes_page.table.currentRow())
        if self.layer is not None:
            self.engine.set_classes(self.store.classes)
            self.engine.set_labels(self.store.marks(), self.store.crs)
        self.say("")
        self.labels_changed.emit()

    # the engine

    def _engine_problem(self, text: str) -> None:
        if text != self._unmapped:  # else what was said of the labels stays
            self._unmapped = text
            self.say("")

    def _delete_cache(self) -> None:
        self.engine.delete_cache()
        self.features.show_used(self.engine.cache_bytes())

    # keys, and the end

    def event(self, event):
        """Undo, redo and digits are ours while the panel has the focus, unless a text is being edited."""
        if event.type() == QEvent.Type.ShortcutOverride and (undo_step(event) or digit(event)):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event):
        """Undo, redo, choose a class."""
        if undo_step(event):
            self._try(self.store.undo if undo_step(event) < 0 else self.store.redo)
        elif digit(event):
            self.choose_class(digit(event))
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event):
        """Stop what runs; the labels stay, and come back when the panel is opened again."""
        self.set_layer(None)
        super().closeEvent(event)

    def stop(self) -> None:
        """Let go of everything; called when the plugin is unloaded."""
        project = QgsProject.instance()
        project.cleared.disconnect(self._project_closed)
        project.readProject.disconnect(self._project_read)
        project.layersAdded.disconnect(self._leave_out_previews)
        project.layersWillBeRemoved.disconnect(self._layers_going)
        self._canvas.mapToolSet.disconnect(self._tool_set)
        self._release()
        self.store.stop()
        self.features.stop()
        self.similar_page.stop()
        self.engine.finish()
        self.tool.deleteLater()


def labelled_raster():
    """The first raster layer of the project that has a label layer; None if there is none."""
    layers = QgsProject.instance().mapLayers()
    raster = (layers.get(one.customProperty(RASTER_PROPERTY)) for one in layers.values())
    return next((one for one in raster if one is not None), None)

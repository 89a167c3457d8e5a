"""The page *Features*: what the map is made from, and the cache of it."""

from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Optional

from qgis.core import QgsProject
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from ....gdal_io.files import FileLayer
from ....gdal_io.job import snapshot
from ....gdal_io.services import band_count
from ....runtime.errors import RuntimeFault
from ....runtime.infer.holding import holding_of
from ....texts import size, tr, words
from ...models import Entry, all_known, entries, last_used, suggested
from ...widgets import Background, button, narrow_list, paragraph, stack

ENCODER, TEXTURE, BOTH, RASTER = "encoder", "texture", "both", "raster"  # kinds of a FeatureChoice


class FeaturesPage(QWidget):
    """Kind of features, the encoder, and the folder of the cache."""

    changed = pyqtSignal()
    deleting = pyqtSignal()
    browsing = pyqtSignal()

    def __init__(self, profile: Path) -> None:
        """``profile`` is the folder of caches in the profile."""
        super().__init__()
        self._layer: Any = None
        self._reading: list[Background] = []
        self.kinds, self.encoders, self.places = narrow_list(), narrow_list(), narrow_list()
        for kind, text in (
            (BOTH, tr("Encoder, bands and texture")),
            (ENCODER, tr("Encoder")),
            (TEXTURE, tr("Bands and texture")),
            (RASTER, tr("The layer holds features")),
        ):
            self.kinds.addItem(text, kind)
        self.places.addItem(tr("In the profile"), str(profile))
        for one in (self.kinds, self.encoders, self.places):
            one.setMinimumContentsLength(8)
        self.models_button = QToolButton()
        self.models_button.setText("…")
        self.models_button.setToolTip(tr("Models…"))
        self.models_button.clicked.connect(self.browsing)
        self.recognised = paragraph()
        self.recognised.hide()
        self.used = QLabel()
        self.delete_button = button(tr("Delete"), lambda: self.deleting.emit())
        self.delete_button.setToolTip(tr("Delete the stored features of this layer"))
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(tr("From"), self.kinds)
        encoder = stack(QHBoxLayout(), self.encoders, self.models_button)
        encoder.setStretch(0, 1)
        form.addRow(tr("Encoder"), encoder)
        form.addRow(tr("Stored"), self.places)
        form.addRow("", stack(QHBoxLayout(), self.used, None, self.delete_button))
        stack(QVBoxLayout(self), form, self.recognised).setContentsMargins(0, 0, 0, 0)
        self._enable()
        self.show_used(0)
        self.kinds.activated.connect(self._chosen)
        self.encoders.activated.connect(self._chosen)
        self.places.activated.connect(self._chosen)

    @property
    def kind(self) -> str:
        """See ``FeatureChoice``."""
        return self.kinds.currentData()

    @property
    def encoder(self) -> Optional[Path]:
        """File of the encoder; None where it is not used."""
        path = self.encoders.currentData()
        return Path(path) if path and self.kind in (ENCODER, BOTH) else None

    @property
    def folder(self) -> Path:
        """Folder of the cache."""
        return Path(self.places.currentData())

    def fill_models(self) -> None:
        """List the encoders of the library."""
        self._when_read(self._fill)

    def suggest(self, layer, recognised: str = "") -> None:
        """Choose what fits a layer and tell by ``changed``; None: no layer any more.

        ``recognised`` says which features the layer holds, empty if none are known.
        """
        self._layer = layer
        self.recognised.setText(recognised)
        self.recognised.setVisible(bool(recognised))
        if layer is not None:
            self._offer_places()
            self._when_read(lambda: self._suggest(layer, bool(recognised)))

    def stop(self) -> None:
        """Do not hear of the models any more."""
        for task in self._reading:
            task.ended.disconnect()
        self._reading = []

    def _when_read(self, then: Callable[[], None]) -> None:
        """Call ``then`` once all models were read, in the background where some were not."""
        if all_known():
            then()
        else:
            task = Background(tr("GeoAware: reading the models"), lambda _: entries(), "{error}")
            self._reading.append(task)
            task.start(lambda *_: self._read(task, then))

    def _read(self, task: Background, then: Callable[[], None]) -> None:
        self._reading.remove(task)
        then()

    def _fill(self) -> None:
        before = self.encoders.currentData()
        self.encoders.clear()
        for entry in _encoders():
            self.encoders.addItem(entry.title, str(entry.path))
        self.encoders.setCurrentIndex(max(0, self.encoders.findData(before)))
        self._enable()

    def _suggest(self, layer, holds: bool) -> None:
        if layer is not self._layer:  # it went while models were read
            return
        self._fill()
        # those that state a border give features of places; of the others it shows when they run
        found, fits = [one for one in _encoders() if one.card is not None and one.card.border], False
        if found:
            best = found[suggested(found, layer, last_used())]
            self.encoders.setCurrentIndex(self.encoders.findData(str(best.path)))
            fits = best.card is not None and band_count(layer.dataProvider()) >= len(best.card.bands)
        self._choose(RASTER if holds else BOTH if fits else TEXTURE)
        self.changed.emit()

    def show_used(self, count: float) -> None:
        """Show how large the cache of the layer is, in bytes."""
        self.used.setText(tr("{size} used").format(size=size(count)) if count else tr("nothing yet"))
        self.delete_button.setEnabled(count > 0)

    def _offer_places(self) -> None:
        """The project's folder too, where it has one."""
        home, before = QgsProject.instance().absolutePath(), self.places.currentIndex()
        while self.places.count() > 1:
            self.places.removeItem(1)
        if home:
            self.places.addItem(tr("Beside the project"), str(Path(home) / "geoaware_features"))
        self.places.setCurrentIndex(before if before < self.places.count() else 0)

    def _choose(self, kind: str) -> None:
        self.kinds.setCurrentIndex(self.kinds.findData(kind))
        self._enable()

    def _enable(self) -> None:
        uses = self.kind in (ENCODER, BOTH)
        self.encoders.setEnabled(uses and self.encoders.count() > 0)
        self.models_button.setEnabled(uses)

    def _chosen(self, *_) -> None:
        self._enable()
        self.changed.emit()


def _encoders() -> "list[Entry]":
    return [entry for entry in entries() if entry.card is not None and entry.card.task == "embedding"]


def recognised(layer) -> str:
    """Which features a layer holds, in a sentence; empty where it holds none that are known."""
    try:
        copy = snapshot(layer)
        if not isinstance(copy, FileLayer):  # which would be asked over the network
            return ""
        with closing(copy.open()) as pixels:
            holding = holding_of(pixels)
    except RuntimeFault:  # the engine says it
        return ""
    return words(holding.note) if holding.known else ""

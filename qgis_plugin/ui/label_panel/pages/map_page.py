"""*Map the layer* and *Save as model*: both are runs of ``geoaware:fitmodel`` in the queue, like any other."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from qgis.core import QgsApplication, QgsProcessing, QgsProcessingOutputLayerDefinition, QgsProcessingUtils, QgsProject
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from ....gdal_io.job import card_in
from ....runtime.errors import InputFault, RuntimeFault
from ....runtime.model.card import ModelCard
from ....runtime.raster.legend import LandClass
from ....texts import tr, words
from ... import models
from ...run_queue import DONE, Run, RunQueue
from ...run_window.parts import AreaBox
from ...widgets import button, paragraph, stack
from ..labels import missing

_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')  # on any system


@dataclass(frozen=True)
class FitInput:
    """What a model is fitted to.

    Attributes:
        title: of the layer.
        classes: the legend.
        parameters: INPUT, LABELS, FIELD, ENCODER and TEXTURE of ``geoaware:fitmodel``.
    """

    title: str
    classes: tuple[LandClass, ...]
    parameters: dict[str, Any] = field(default_factory=dict)


def fit_input(panel) -> FitInput:
    """What the panel has: its layer, its labels, which are on disk, and its features.

    Raises:
        InputFault: there is no layer, or fewer than two classes have labels.
    """
    if panel.layer is None:
        raise InputFault.worded(tr("Choose a raster layer first."))
    if missing(panel.store):
        raise InputFault.worded(missing(panel.store))
    store, features = panel.store, panel.features
    parameters = {
        "INPUT": [panel.layer.id()], "LABELS": [store.source], "FIELD": "name", "FEATURES": features.kind,
        "ENCODER": str(features.encoder or ""), "CACHE": str(features.folder),
    }  # fmt: skip
    return FitInput(panel.layer.name(), store.classes, parameters)


class MapPage(QWidget):
    """Area and files of the map, and the name of the model."""

    def __init__(
        self, canvas, runs: RunQueue, given: Callable[[], FitInput], added: Callable[[Path], None], parent=None
    ) -> None:
        """Take the labels from ``given()``, which raises InputFault; ``added`` is called with a model of the library."""
        super().__init__(parent)
        self._runs, self._given, self._added = runs, given, added
        self.area, self.file = AreaBox(canvas), QgsFileWidget()
        self.area.polygons.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.area.polygons.setMinimumContentsLength(4)
        self.area.layout().addWidget(self.area.selected, 2, 1)  # the panel is narrow
        self.file.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.file.setFilter(tr("GeoTIFF files (*.tif)"))
        self.file.lineEdit().setPlaceholderText(tr("a temporary file"))
        self.file.lineEdit().setShowClearButton(True)
        self.confidence = QCheckBox(tr("Confidence"))
        self.confidence.setChecked(True)
        self.map_button = button(tr("Map the layer"), self.map)
        self.name = QLineEdit()
        self.name.setPlaceholderText(tr("name of the model"))
        self.name.setMaxLength(80)
        self.name.textChanged.connect(lambda *_: self._allow())
        self.save_button = button(tr("Save as model"), self.save)
        self.said = paragraph()
        form = QFormLayout()
        form.addRow(tr("Map"), self.file)
        form.addRow("", stack(QHBoxLayout(), self.confidence, None, self.map_button))
        form.addRow(tr("Model"), self.name)
        form.addRow("", stack(QHBoxLayout(), None, self.save_button))
        layout = stack(QVBoxLayout(self), self.area, form, self.said)
        layout.setContentsMargins(0, 0, 0, 0)
        self._allow()

    def suggest(self, layer) -> None:
        """Adapt the areas to a layer."""
        self.area.suggest(layer)

    def map(self) -> Optional[Run]:
        """Queue a run that fits the model and maps the area; None, and a sentence, where that cannot be done."""
        project, path = QgsProject.instance(), self.file.filePath()
        given: dict[str, Any] = {
            "MODEL": QgsProcessingUtils.generateTempFilename(f"{tr('labels')}.onnx"),
            "OUTPUT": QgsProcessingOutputLayerDefinition(path or QgsProcessing.TEMPORARY_OUTPUT, project),
            "AREAS": QgsProcessing.TEMPORARY_OUTPUT,  # for the page on the result
        }
        if self.confidence.isChecked():
            beside = Path(path).with_name(f"{Path(path).stem}_confidence.tif") if path else ""
            given["CONFIDENCE"] = QgsProcessingOutputLayerDefinition(
                str(beside) or QgsProcessing.TEMPORARY_OUTPUT, project
            )
        return self._queue(tr("labels"), {**self.area.parameters(), **given})

    def save(self) -> Optional[Run]:
        """Queue a run that writes the model into the library."""
        name = self.name.text().strip()
        path = models.folder() / f"{_NOT_IN_NAMES.sub('_', name)}.onnx"
        waiting = [run.parameters["MODEL"] for run in self._runs.all if not run.over and "MODEL" in run.parameters]
        if path.exists() or str(path) in waiting:
            self.said.setText(
                tr("The library has a model named '{name}' already: choose another name.").format(name=name)
            )
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.said.setText(tr("The model cannot be saved ({error}).").format(error=error))
            return None
        run = self._queue(name, {"MODEL": str(path)})
        if run is not None:
            run.ended.connect(lambda: run.state == DONE and self._added(path))
        return run

    def _queue(self, name: str, more: dict[str, Any]) -> Optional[Run]:
        self.said.clear()
        try:
            given = self._given()
        except RuntimeFault as fault:
            self.said.setText(words(fault))
            return None
        algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoaware:fitmodel")
        card = ModelCard(name, "segmentation", (), "", (0, 0), (), given.classes, 0, 0, None, "", "")
        title = f"{name} – {given.title}"  # noqa: RUF001, the dash of the group's title
        run = Run(algorithm, {**given.parameters, **more}, title, card)
        if run.over:
            self.said.setText(run.problem)
            return None
        run.ended.connect(lambda: _know_model(run))
        self._runs.add(run)
        self.said.setText(tr("{title} is in the queue of runs.").format(title=title))
        return run

    def _allow(self) -> None:
        self.save_button.setEnabled(bool(self.name.text().strip()))


def _know_model(run: Run) -> None:
    """Give a finished run the card of the model that it made, for the result page."""
    if run.state == DONE:
        run.card = card_in(run.outputs["MODEL"])

"""Results and options of an algorithm, from the parameters that it declares."""

from pathlib import Path
from typing import Any, Optional

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingOutputLayerDefinition, QgsProject
from qgis.gui import (
    QgsCollapsibleGroupBox,
    QgsFileWidget,
    QgsGui,
    QgsProcessingGui,
    QgsProcessingParameterWidgetContext,
)
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QFormLayout, QGroupBox, QHBoxLayout, QVBoxLayout, QWidget

from ...runtime.model.card import ModelCard
from ...texts import tr
from ..widgets import stack

_ELSEWHERE = (
    "INPUT",
    "MODEL",
    "BANDS",
    "EXTENT",
    "MASK",
    "SERIES",
    "DATES",
    "MASK_BAND",
)  # chosen in other parts of the window
_SUFFIXES = {
    "CONFIDENCE": "confidence", "PROBABILITIES": "probabilities", "POLYGONS": "polygons", "PICTURE": "picture",
    "DATE_COUNT": "dates",
}  # fmt: skip


class OptionsBox(QWidget):
    """Processing's widgets for the parameters, check boxes for the results."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._algorithm: Any = None  # until a model is chosen
        self._context = QgsProcessingContext()
        self.wrappers: dict[str, Any] = {}
        self.results: dict[str, QCheckBox] = {}
        self.file: Optional[QgsFileWidget] = None

    def fit(self, algorithm, card: ModelCard) -> None:
        """Show the results and options of an algorithm for a model."""
        self._clear()
        self._algorithm = algorithm
        main = algorithm.parameterDefinition("OUTPUT")
        self.file = QgsFileWidget()
        self.file.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.file.setFilter(main.createFileFilter())
        self.file.lineEdit().setPlaceholderText(tr("a temporary file"))
        self.file.lineEdit().setShowClearButton(True)
        form, ticks, more = QFormLayout(), QHBoxLayout(), QFormLayout()
        form.addRow(main.description(), self.file)
        for definition in algorithm.destinationParameterDefinitions():
            if definition.name() in _SUFFIXES and (card.classes or definition.name() in ("PICTURE", "DATE_COUNT")):
                ticks.addWidget(self._result(definition))
        ticks.addStretch(1)
        results, advanced = QGroupBox(tr("Results")), QgsCollapsibleGroupBox(tr("Advanced"))
        stack(QVBoxLayout(results), form, ticks, more)
        folded = QFormLayout(advanced)
        folded.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        # these models need their threshold to be seen
        up_front = ["MIN_AREA"] + ["THRESHOLD"] * (card.task == "detection" or card.source == "deepness")
        for definition in algorithm.parameterDefinitions():
            if definition.name() not in _ELSEWHERE and not definition.isDestination():
                self._add(definition, more if definition.name() in up_front else folded)
        self.show_date_count(False)
        advanced.setCollapsed(True)
        stack(self._layout, results, advanced)
        self._preset(card)

    def show_date_count(self, several: bool) -> None:
        """Offer the number of dates, ticked, for a series, whose map tips read it; for one layer it is none."""
        box = self.results.get("DATE_COUNT")
        if box is not None and box.isHidden() == several:
            box.setHidden(not several)
            box.setChecked(several)

    def parameters(self) -> dict[str, Any]:
        """Parameters of the algorithm."""
        given = {name: wrapper.parameterValue() for name, wrapper in self.wrappers.items()}
        default = {name: self._algorithm.parameterDefinition(name).defaultValue() for name in given}
        given = {name: value for name, value in given.items() if value not in (None, "", default[name])}
        given["OUTPUT"] = self._destination(self.file.filePath())
        for name, box in self.results.items():
            if box.isChecked():
                given[name] = self._destination(self._beside(name))
        if "POLYGONS" not in given:
            given.pop("MIN_AREA", None)
        if self._algorithm.parameterDefinition("AREAS"):
            given["AREAS"] = QgsProcessing.TEMPORARY_OUTPUT  # for the page on the result
        return given

    def roles(self) -> list[str]:
        """Roles of the requested results beside the map."""
        return [_SUFFIXES[name] for name, box in self.results.items() if box.isChecked()]

    def files(self) -> list[str]:
        """Names of the requested files."""
        path = self.file.filePath()
        if not path:
            return [tr("temporary files")]
        beside = [self._beside(name) for name, box in self.results.items() if box.isChecked()]
        return [Path(one).name for one in (path, *beside)]

    def _preset(self, card: ModelCard) -> None:
        """Set the threshold of the card; allow a minimum area only with polygons."""
        if "THRESHOLD" in self.wrappers and card.source == "deepness":
            self.wrappers["THRESHOLD"].setParameterValue(card.threshold, self._context)
        if "MIN_AREA" in self.wrappers:
            smallest = self.wrappers["MIN_AREA"].wrappedWidget()
            smallest.setEnabled(False)
            if "POLYGONS" in self.results:
                self.results["POLYGONS"].toggled.connect(smallest.setEnabled)

    def _result(self, definition) -> QCheckBox:
        box = QCheckBox(definition.description())
        box.setObjectName(definition.name())
        box.setToolTip(definition.help())
        box.setChecked(definition.createByDefault())
        box.toggled.connect(self.changed)
        self.results[definition.name()] = box
        return box

    def _add(self, definition, form: QFormLayout) -> None:
        kind = QgsProcessingGui.WidgetType.Standard
        wrapper = QgsGui.processingGuiRegistry().createParameterWidgetWrapper(definition, kind)
        wrapper.setWidgetContext(QgsProcessingParameterWidgetContext())
        widget, label = wrapper.createWrappedWidget(self._context), wrapper.createWrappedLabel()
        widget.setToolTip(definition.help())
        form.addRow(label or "", widget)
        wrapper.widgetValueHasChanged.connect(lambda *_: self.changed.emit())
        self.wrappers[definition.name()] = wrapper

    def _beside(self, name: str) -> str:
        """File of an optional result, named after the main one; empty for a temporary file."""
        if not self.file.filePath():
            return ""
        main = Path(self.file.filePath())
        suffix = ".gpkg" if name == "POLYGONS" else ".tif"
        return str(main.with_name(f"{main.stem}_{_SUFFIXES[name]}{suffix}"))

    def _destination(self, path: str) -> QgsProcessingOutputLayerDefinition:
        return QgsProcessingOutputLayerDefinition(path or QgsProcessing.TEMPORARY_OUTPUT, QgsProject.instance())

    def _clear(self) -> None:
        while self._layout.count():
            part = self._layout.takeAt(0).widget()
            part.hide()
            part.deleteLater()
        self.wrappers, self.results = {}, {}

"""Base of all algorithms: parameters, outputs, and errors as one sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsField,
    QgsFields,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QMetaType, QVariant
from qgis.PyQt.QtGui import QIcon

from ..gdal_io.tables import write_table
from ..runtime.errors import Cancelled, InputFault, RuntimeFault
from ..runtime.raster.lattice import Bounds
from ..texts import tr, words
from .apart import check_apart

ICON = Path(__file__).resolve().parent.parent / "icon.svg"
_KINDS = {"text": ("QString", "String"), "number": ("Double", "Double"), "count": ("LongLong", "LongLong")}


class Algorithm(QgsProcessingAlgorithm):
    """Copies its input on the thread of the layers and works on another."""

    NAME = ""

    def __init__(self):
        super().__init__()
        self._plan = None
        self._checked = None  # parameters and their plan, until a run takes it

    def createInstance(self):
        """A fresh one for each run, which takes the plan that was made when its parameters were checked."""
        fresh = type(self)()
        fresh._checked, self._checked = self._checked, None
        return fresh

    def name(self):
        """Id within the provider."""
        return self.NAME

    def icon(self):
        """The plugin's icon."""
        return QIcon(str(ICON))

    def svgIconPath(self):
        """The plugin's icon, for the model designer."""
        return str(ICON)

    def checkParameterValues(self, parameters, context):
        """Check the parameters before the run; called by Processing's dialogs."""
        fine, message = super().checkParameterValues(parameters, context)
        if not fine:
            return fine, message
        try:
            self._checked = dict(parameters), self._planned(parameters, context)
        except RuntimeFault as error:
            return False, words(error)
        return True, ""

    def prepareAlgorithm(self, parameters, context, feedback):
        """Copy what the worker needs from the layers; called on their thread."""
        checked, self._checked = self._checked, None
        try:
            if checked is not None and checked[0] == parameters:
                self._plan = checked[1]
            else:
                self._plan = self._planned(parameters, context)
        except RuntimeFault as error:
            raise QgsProcessingException(words(error)) from error
        return True

    def _planned(self, parameters, context):
        plan = self.plan(parameters, context)
        check_apart(self, parameters, context, getattr(plan, "files", ()))
        return plan

    def processAlgorithm(self, parameters, context, feedback):
        """Run; called on a worker thread."""
        try:
            return self.work(self._plan, parameters, context, feedback)
        except Cancelled:
            feedback.pushInfo(tr("Cancelled; nothing was written."))
            return {}
        except RuntimeFault as error:
            raise QgsProcessingException(words(error)) from error
        except MemoryError as error:
            raise QgsProcessingException(tr("Out of memory: choose a smaller extent.")) from error
        except OSError as error:
            raise QgsProcessingException(tr("The result cannot be written ({error})").format(error=error)) from error
        finally:
            self._plan = None  # a snapshot may hold a provider

    def plan(self, parameters, context):
        """Check the parameters and copy what the worker needs.

        Raises:
            RuntimeFault: they do not fit together.
        """
        raise NotImplementedError

    def work(self, plan, parameters, context, feedback):
        """Run the plan and return the outputs.

        Raises:
            RuntimeFault: the run failed or was cancelled.
        """
        raise NotImplementedError

    def add(self, parameter, hint: str = "", advanced: bool = False):
        """Declare a parameter with its help text."""
        parameter.setHelp(hint)
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        self.addParameter(parameter)

    def add_model(self, tasks: Sequence[str] = ()):
        """Declare the model; the toolbox offers the models of the library that have one of the tasks."""
        parameter = QgsProcessingParameterFile("MODEL", tr("Model"), fileFilter=tr("ONNX models (*.onnx)"))
        # by name: Processing, in which the widget's class is based, may be loaded after the plugin
        widget = f"{__package__.rpartition('.')[0]}.ui.library.model_choice.ModelWrapper"
        parameter.setMetadata({"widget_wrapper": {"class": widget, "tasks": list(tasks)}})
        self.add(
            parameter,
            tr(
                "A model of the library, or another ONNX file with a card: inside it, as NAME.card.json beside it, or as "
                "Deepness writes it."
            ),
        )

    def add_raster_output(self, name: str, label: str, hint: str = "", optional: bool = True):
        """Declare a GeoTIFF output; an optional one is not created by default."""
        self.add(QgsProcessingParameterRasterDestination(name, label, None, optional, not optional), hint)

    def output_file(self, parameters, name: str, context, suffix: str) -> Optional[Path]:
        """File of an output; None if it was not requested.

        Raises:
            InputFault: the file name has another suffix.
        """
        text = self.parameterAsOutputLayer(parameters, name, context)
        if not text:
            return None
        path = Path(text)
        if path.suffix.lower() not in ((".tif", ".tiff") if suffix == ".tif" else (suffix,)):
            raise InputFault.worded(
                tr("{name}: choose a file name that ends in {suffix}").format(name=path.name, suffix=suffix)
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_table(self, parameters, name: str, context, kinds: dict[str, str], rows: Sequence[tuple]) -> str:
        """Write rows into the sink of that name; id or path of the table."""
        fields, nowhere = fields_of(kinds), QgsCoordinateReferenceSystem()
        sink = self.parameterAsSink(parameters, name, context, fields, QgsWkbTypes.Type.NoGeometry, nowhere)
        return write_table(sink, fields, rows)


def fields_of(kinds: dict[str, str]) -> QgsFields:
    """Fields of a table, each of the kind "text", "number" or "count"."""
    fields = QgsFields()
    for name, kind in kinds.items():
        new, old = _KINDS[kind]
        # the old form is deprecated from 3.38 on, the new one unknown before
        of = getattr(QMetaType.Type, new) if Qgis.QGIS_VERSION_INT >= 33800 else getattr(QVariant, old)
        fields.append(QgsField(name, of))
    return fields


def extent_in(algorithm, parameters, name: str, context, crs: QgsCoordinateReferenceSystem) -> Optional[Bounds]:
    """An optional extent, transformed to a CRS; None if it was not given.

    Raises:
        InputFault: the transformed extent is empty.
    """
    if parameters.get(name) in (None, ""):
        return None
    extent = algorithm.parameterAsExtent(parameters, name, context, crs)
    if extent.isEmpty():
        raise InputFault.worded(tr("The extent is empty, or cannot be transformed to the CRS of the layer."))
    return extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()

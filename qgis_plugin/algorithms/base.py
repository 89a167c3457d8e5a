"""Base of all algorithms: parameters, outputs, and errors as one sentence."""

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterDestination,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QMetaType, QVariant
from qgis.PyQt.QtGui import QIcon

from ..gdal_io.job import grid_of
from ..gdal_io.mask import polygons_on, read_mask, turn_of
from ..runtime.errors import Cancelled, InputFault, RuntimeFault
from ..runtime.infer.layout import Limits
from ..runtime.raster.lattice import Bounds, eastwards
from ..runtime.results.areas import ClassArea
from ..runtime.results.writing import Targets
from ..texts import tr, words

ICON = Path(__file__).resolve().parent.parent / "icon.svg"
AREA_FIELDS = {"class": "count", "name": "text", "pixels": "count", "hectares": "number", "per_cent": "number"}
_KINDS = {"text": ("QString", "String"), "number": ("Double", "Double"), "count": ("LongLong", "LongLong")}

_NUMBER = r"\s*([-+.\deE]*\d[-+.\deE]*)\s*"
_EXTENT = re.compile(rf"{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}(?:\[|$)")  # west, east, south, north


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
        return self.NAME

    def icon(self):
        return QIcon(str(ICON))

    def svgIconPath(self):
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
        self._check_apart(parameters, context, getattr(plan, "files", ()))
        return plan

    def _check_apart(self, parameters, context, files: Sequence[str]) -> None:
        """Refuse results that would overwrite each other, the model, a vector layer or the files of the raster layer."""
        given = [(one, parameters.get(one.name())) for one in self.parameterDefinitions()]
        results = {one.name(): _file(value) for one, value in given if one.isDestination() and value}
        vectors = [value for one, value in given if value and one.type() == "source"]
        named = [str(value) for one, value in given if value and one.type() == "file"]
        read = [*files, *named, *(file for value in vectors for file in files_of_source(value, context))]
        self.targets({name: path for name, path in results.items() if path.suffix}).check(read)

    def targets(self, files: dict[str, Path]) -> Targets:
        """What is written where, for the files of the outputs by their names."""
        return Targets(files, style=False)

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

    def add_model(self, tasks: Sequence[str] = (), name: str = "MODEL", label: str = "", none: str = ""):
        """Declare a model; the toolbox offers the models of the library that have one of the tasks.

        It is optional if ``none`` says what is done without one.
        """
        parameter = QgsProcessingParameterFile(
            name, label or tr("Model"), optional=bool(none), fileFilter=tr("ONNX models (*.onnx)")
        )
        # by name: Processing, in which the widget's class is based, may be loaded after the plugin
        widget = f"{__package__.rpartition('.')[0]}.ui.model_choice.ModelWrapper"
        parameter.setMetadata({"widget_wrapper": {"class": widget, "tasks": list(tasks), "none": none}})
        self.add(
            parameter,
            tr(
                "A model of the library, or another ONNX file with a card: inside it, as NAME.card.json beside it, or as "
                "Deepness writes it."
            ),
        )

    def add_area(self, extent_hint: str, mask_hint: str):
        """Declare EXTENT and MASK, which limit a run."""
        extent = QgsProcessingParameterExtent("EXTENT", tr("Extent (empty: the whole layer)"), optional=True)
        self.add(extent, extent_hint)
        kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource("MASK", tr("Only inside these polygons"), kinds, optional=True),
            mask_hint,
        )

    def limits(self, parameters, context, layer, grid=None) -> Limits:
        """The area that EXTENT and MASK leave of a raster layer, in its CRS; or of a series that it belongs to, on ``grid``.

        Raises:
            InputFault: the extent is empty, or the mask holds no polygons.
        """
        source = self.parameterAsSource(parameters, "MASK", context)
        asked = parameters.get("EXTENT") not in (None, "")
        if source is None and not asked:
            return Limits()
        own = QgsCoordinateReferenceSystem.fromWkt(grid.crs) if grid else layer.crs()
        (grid, exact), transforms = (grid, 0.0) if grid else grid_of(layer), context.transformContext()
        mask = read_mask(source, grid, transforms, exact) if source else None
        if not asked:
            return Limits(None, mask)
        extent, crs = self._extent(parameters, context, layer.crs())
        box = eastwards(extent, turn_of(crs))
        if crs == own and not crs.isGeographic():
            return Limits(box, mask)
        area = polygons_on([[QgsGeometry.fromRect(QgsRectangle(*box))]], crs, grid, transforms, exact)
        return Limits.of(area, mask, layer.name())

    def _extent(self, parameters, context, crs) -> tuple[Bounds, QgsCoordinateReferenceSystem]:
        """EXTENT as it is given, west, south, east, north, and its CRS, by default ``crs``."""
        given = parameters["EXTENT"]
        if isinstance(given, QgsReferencedRectangle) or "[" in str(given) or isinstance(given, QgsMapLayer):
            crs = self.parameterAsExtentCrs(parameters, "EXTENT", context)
        written = _EXTENT.match(given) if isinstance(given, str) else None
        if written:  # QGIS would turn 178 to -179 around
            west, east, south, north = map(float, written.groups())
            return (west, south, east, north), crs
        extent = self.parameterAsExtent(parameters, "EXTENT", context, crs)
        if extent.isEmpty():
            raise InputFault.worded(tr("The extent is empty, or cannot be transformed to the CRS of the layer."))
        return (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()), crs

    def add_areas(self):
        """Declare the table of areas."""
        table = QgsProcessing.SourceType.TypeVector
        self.add(
            QgsProcessingParameterFeatureSink("AREAS", tr("Areas"), table, None, True, False),
            tr("Table with pixels, hectares and per cent of each class."),
        )

    def add_page(self, name: str, label: str, hint: str):
        """Declare an HTML page, which is created by default."""
        self.add(QgsProcessingParameterFileDestination(name, label, tr("HTML files (*.html)"), None, True, True), hint)

    def write_page(self, parameters, name: str, context, title: str, body: str) -> dict[str, str]:
        """Write that page, titled with plain text over a body in HTML; the output, none where it was not requested."""
        path, title = self.parameterAsFileOutput(parameters, name, context), html.escape(title)
        if not path:
            return {}
        head = f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title></head>"
        Path(path).write_text(f"{head}<body><h1>{title}</h1>{body}</body></html>\n", "utf-8")
        return {name: path}

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
        return path

    def write_table(self, parameters, name: str, context, kinds: dict[str, str], rows: Iterable[Sequence]) -> str:
        """Write rows into the sink of that name; ``kinds`` of columns: "text", "number", "count". Id or path of the table.

        Raises:
            InputFault: the sink takes no row.
        """
        fields = QgsFields()
        for column, kind in kinds.items():
            new, old = _KINDS[kind]
            # the old form is deprecated from 3.38 on, the new one unknown before
            of = getattr(QMetaType.Type, new) if Qgis.QGIS_VERSION_INT >= 33800 else getattr(QVariant, old)
            fields.append(QgsField(column, of))
        nowhere = QgsCoordinateReferenceSystem()
        sink, made = self.parameterAsSink(parameters, name, context, fields, QgsWkbTypes.Type.NoGeometry, nowhere)
        for row in rows:
            feature = QgsFeature(fields)
            feature.setAttributes(list(row))
            if sink is None or not sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
                raise InputFault.worded(tr("The table cannot be written."))
        return made

    def write_areas(self, parameters, name: str, context, table: Iterable[ClassArea]) -> str:
        """Write the areas of classes into the sink of that name; id or path of the table."""
        rows = ((row.value, row.name, row.pixels, row.m2 / 10_000, row.percent) for row in table)
        return self.write_table(parameters, name, context, AREA_FIELDS, rows)


def progress_of(feedback, share: float = 100):
    """A callback (done, total) that shows the progress, up to ``share`` per cent, and returns False after a cancel."""
    return part_of(feedback, 0, share)


def part_of(feedback, first: float, last: float):
    """The same for a part of the work, from one per cent to another."""

    def progress(done: int, total: int) -> bool:
        feedback.setProgress(first + (last - first) * done / max(total, 1))
        return not feedback.isCanceled()

    return progress


def html_table(rows: list[list[str]]) -> str:
    """A table in HTML."""
    cells = (
        "".join(f"<td align='{'right' if at else 'left'}'>{html.escape(cell)}</td>" for at, cell in enumerate(row))
        for row in rows
    )
    return f"<table cellspacing='0' cellpadding='4'>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _file(value) -> Path:
    """File of an output; a temporary output or a table inside a file gives a path that does not exist."""
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink.staticValue()
    return Path(str(value))


def files_of_source(value, context) -> list[str]:
    """The file of the vector layer that a parameter names."""
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        value = value.source.staticValue()
    layer = value if isinstance(value, QgsMapLayer) else QgsProcessingUtils.mapLayerFromString(str(value), context)
    return files_of_vectors(layer) if layer is not None else []


def files_of_vectors(layer) -> list[str]:
    """The file that a vector layer lies in; none where it lies in none."""
    path = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source()).get("path")
    return [path] if path else []

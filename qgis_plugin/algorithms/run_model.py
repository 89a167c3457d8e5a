"""What the algorithms that run a model share: layer, model, area, how it is run."""

from contextlib import closing
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsSettings,
)
from qgis.PyQt.QtCore import Qt

from .. import onnxruntime_help
from ..gdal_io.job import RunPlan, card_in, notes_of, open_job
from ..gdal_io.mask import LayerMask
from ..gdal_io.source import snapshot
from ..gdal_io.tables import AREA_FIELDS, area_rows
from ..gdal_io.vectors import GdalVectors
from ..gdal_io.writer import GdalWriter
from ..layers import Shown, show_when_loaded
from ..runtime.errors import InputFault
from ..runtime.infer.job import Job, Limits, Options
from ..runtime.infer.source import Choice
from ..runtime.infer.sweep import Sweep
from ..runtime.model.providers import PROVIDERS
from ..runtime.model.units import INPUTS
from ..runtime.results.writing import Results, Targets
from ..texts import tr
from .base import Algorithm, extent_in

LAST_MODEL = "geoaware/last_model"  # in QGIS's settings
RUNNING = 90  # per cent of the progress bar until the files are made


class ModelAlgorithm(Algorithm):
    """Runs a model of one of ``TASKS`` over a raster layer."""

    INPUT, MODEL, BANDS, EXTENT, MASK, OUTPUT = "INPUT", "MODEL", "BANDS", "EXTENT", "MASK", "OUTPUT"
    VALUES, OFFSET, NODATA, RESAMPLE = "VALUES", "OFFSET", "NODATA", "RESAMPLE"
    TTA, PROVIDER, THREADS, MODEL_OUTPUT = "TTA", "PROVIDER", "THREADS", "MODEL_OUTPUT"
    AREAS = "AREAS"
    TASKS: tuple[str, ...] = ()
    FILES: tuple[str, ...] = ("OUTPUT",)  # parameters of the files that are made
    MAIN = "map"  # role of the first of them, in the words of ``Targets``; those of the others are their names

    def initAlgorithm(self, configuration=None):
        """Declare the parameters."""
        self.add(
            QgsProcessingParameterRasterLayer(self.INPUT, tr("Raster layer")),
            tr(
                "A file in any format that GDAL reads, or a service (WMS, XYZ tiles, WCS). Services need an extent "
                "or polygons."
            ),
        )
        self.add_model(self.TASKS)
        self.add(
            QgsProcessingParameterExtent(self.EXTENT, tr("Extent (empty: the whole layer)"), optional=True),
            tr("Only this part of the layer, in any CRS."),
        )
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource(self.MASK, tr("Only inside these polygons"), polygons, optional=True),
            tr("All or the selected polygons of a layer, in any CRS. Tiles that touch no polygon are not read."),
        )
        self.add_outputs()
        self._add_input()
        self.add_options()
        self._add_run()

    def add_outputs(self):
        """Declare the results."""
        raise NotImplementedError

    def add_options(self):
        """Declare more advanced parameters."""

    def _add_input(self):
        self.add(
            QgsProcessingParameterBand(
                self.BANDS,
                tr("Bands, in the model's order (empty: matched by name, else in their order)"),
                parentLayerParameterName=self.INPUT,
                optional=True,
                allowMultiple=True,
            ),
            tr("Bands are matched by the names in the model card; B04 and red are the same band."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                self.VALUES, tr("Values"), list(INPUTS), defaultValue="auto", usesStaticStrings=True
            ),
            tr(
                "What the pixel values are: the unit of the model (raw), Sentinel-2 L2A or L1C as delivered, "
                "or the Sentinel-2 true-colour image. Sentinel-2 values are converted to the unit of the "
                "model. auto is raw, except for 16-bit values in pixels of 10, 20 or 60 m that are too large "
                "for a model of 8-bit colours: these are read as Sentinel-2 L2A."
            ),
            advanced=True,
        )
        self._add_number(
            self.OFFSET, tr("Offset"), tr("Added to Sentinel-2 values if the file does not state an offset.")
        )
        self._add_number(self.NODATA, tr("No-data value"), tr("For layers that declare no nodata value."))
        self.add(
            QgsProcessingParameterBoolean(
                self.RESAMPLE, tr("Resample to the pixel size of the model"), defaultValue=True
            ),
            tr("Otherwise pixels of another size are passed to the model as they are."),
            advanced=True,
        )

    def _add_run(self):
        self.add(
            QgsProcessingParameterBoolean(self.TTA, tr("Average over flips and rotations"), defaultValue=False),
            tr("Slightly more accurate, and eight times slower."),
            advanced=True,
        )
        providers = ["auto", *PROVIDERS]
        self.add(
            QgsProcessingParameterEnum(
                self.PROVIDER, tr("Execution provider"), providers, defaultValue="auto", usesStaticStrings=True
            ),
            tr("ONNX Runtime execution provider; auto is the fastest available. The log names it."),
            advanced=True,
        )
        self._add_number(
            self.THREADS, tr("Threads"), tr("CPU threads; empty: as many as cores and memory allow."), least=1
        )
        self.add(
            QgsProcessingParameterString(self.MODEL_OUTPUT, tr("Model output"), optional=True),
            tr("Name of the output, if the model has several."),
            advanced=True,
        )

    def _add_number(self, name, label, hint, least=None, most=None):
        """An optional advanced number: whole where a least one is given."""
        whole = isinstance(least, int)
        kind = QgsProcessingParameterNumber.Type.Integer if whole else QgsProcessingParameterNumber.Type.Double
        parameter = QgsProcessingParameterNumber(name, label, kind, None, True)
        if least is not None:
            parameter.setMinimum(least)
        if most is not None:
            parameter.setMaximum(most)
        self.add(parameter, hint, advanced=True)

    def plan(self, parameters, context) -> RunPlan:
        """Check model, layer and area, and copy what the worker needs."""
        problem = onnxruntime_help.problem()
        if problem:
            raise InputFault.worded(onnxruntime_help.sentence(problem))
        model = self.parameterAsFile(parameters, self.MODEL, context)
        card = card_in(model)
        if card.task not in self.TASKS:
            text = tr("The model '{name}' is a {task} model; a {wanted} model is needed.")
            raise InputFault.worded(text.format(name=card.name, task=card.task, wanted=" or ".join(self.TASKS)))
        layer = snapshot(self.parameterAsRasterLayer(parameters, self.INPUT, context))
        choice = Choice(
            tuple(self.parameterAsInts(parameters, self.BANDS, context)),
            self._number(parameters, self.NODATA, context),
            self.parameterAsEnumString(parameters, self.VALUES, context) or "auto",
            self._number(parameters, self.OFFSET, context),
        )
        options = Options(
            choice,
            self._limits(parameters, context, layer.crs),
            self.sweep(parameters, context),
            resample=self.parameterAsBoolean(parameters, self.RESAMPLE, context),
            model_grid=self.model_grid(parameters, context),
        )
        provider = self.parameterAsEnumString(parameters, self.PROVIDER, context) or "auto"
        threads = self._number(parameters, self.THREADS, context, whole=True)
        return RunPlan.checked(model, card, layer, options, provider=provider, threads=threads)

    def model_grid(self, parameters, context) -> bool:
        """Whether the result keeps the model's pixel size."""
        return False

    def prepareAlgorithm(self, parameters, context, feedback):
        """Plan, and remember the model for the next dialog."""
        prepared = super().prepareAlgorithm(parameters, context, feedback)
        QgsSettings().setValue(LAST_MODEL, self._plan.model)
        return prepared

    def sweep(self, parameters, context) -> Sweep:
        """How the model slides over the raster."""
        return Sweep(
            tta=self.parameterAsBoolean(parameters, self.TTA, context),
            output=self.parameterAsString(parameters, self.MODEL_OUTPUT, context) or None,
            threshold=self._number(parameters, "THRESHOLD", context),
        )

    def _limits(self, parameters, context, crs) -> Limits:
        system = self.parameterAsRasterLayer(parameters, self.INPUT, context).crs()
        box = extent_in(self, parameters, self.EXTENT, context, system)
        source = self.parameterAsSource(parameters, self.MASK, context)
        return Limits(box, LayerMask.of(source, crs, context.transformContext()) if source else None)

    def _number(self, parameters, name, context, whole=False):
        """The number, None where it is left empty."""
        if parameters.get(name) in (None, ""):
            return None
        read = self.parameterAsInt if whole else self.parameterAsDouble
        return read(parameters, name, context)

    def titles(self) -> dict[str, str]:
        """What the layer of each result shows."""
        raise NotImplementedError

    def work(self, plan, parameters, context, feedback):
        """Run the model and write what is wanted."""
        roles = {name: self.MAIN if name == self.OUTPUT else name.lower() for name in self.FILES}
        files = {}
        for name, role in roles.items():
            suffix = ".gpkg" if role in ("polygons", "objects") else ".tif"
            path = self.output_file(parameters, name, context, suffix)
            if path:
                files[name] = path
        least = self._number(parameters, "MIN_AREA", context) or 0.0
        targets = Targets({roles[name]: path for name, path in files.items()}, least)
        measured = self.wants_areas(parameters) or "polygons" in targets.files
        results = self.run_plan(plan, targets, feedback, measured)
        outputs: dict[str, Any] = {name: str(path) for name, path in files.items()}
        outputs.update(self.areas(results, parameters, context))
        shown, titles = Shown(results.card, plan.layer.name), self.titles()
        show_when_loaded(context, shown, outputs, titles, outputs.get("CONFIDENCE", ""))
        if "objects" in targets.files:
            feedback.pushInfo(tr("{count} objects").format(count=results.count))
            outputs["COUNT"] = results.count
        return outputs

    def run_plan(self, plan: RunPlan, targets: Targets, feedback, measured: bool = False) -> Results:
        """Run a model over a layer and write its files.

        Returns:
            The results, closed.
        """
        going = lambda: not feedback.isCanceled()  # noqa: E731
        with closing(open_job(plan)) as job:
            self._tell(job, feedback, measured, targets)
            request = getattr(job.source.pixels, "feedback", None)
            if request:  # ends a request that is under way
                feedback.canceled.connect(request.cancel, Qt.ConnectionType.DirectConnection)
            with Results(targets, job.grid, job.card, GdalWriter, GdalVectors()) as results:
                job.write(results, self.progress(feedback), going)
                results.finish(going)
                results.commit()
        feedback.setProgress(100)
        return results

    def _tell(self, job: Job, feedback, measured: bool, targets: Targets) -> None:
        """What runs, and what the user should know."""
        text = tr("Model: {name}, run by {provider}")
        feedback.pushInfo(text.format(name=job.card.name, provider=job.model.provider))
        pairs = ", ".join(f"{name} = {number}" for name, number in zip(job.card.bands, job.source.bands))
        feedback.pushInfo(tr("Bands: {pairs}").format(pairs=pairs))
        for note in notes_of(job, measured, "polygons" in targets.files, targets.min_area > 0):
            feedback.pushWarning(note)

    def add_areas(self):
        """Declare the table of areas."""
        table = QgsProcessing.SourceType.TypeVector
        self.add(
            QgsProcessingParameterFeatureSink(self.AREAS, tr("Areas"), table, None, True, False),
            tr("Table with pixels, hectares and per cent of each class."),
        )

    def wants_areas(self, parameters) -> bool:
        """Whether that table is asked for."""
        return parameters.get(self.AREAS) not in (None, "")

    def areas(self, results: Results, parameters, context) -> dict[str, str]:
        """Write that table; the output, none where it is not asked for."""
        if not self.wants_areas(parameters):
            return {}
        rows = area_rows(results.areas.table(results.grid.row_areas))
        table = self.write_table(parameters, self.AREAS, context, AREA_FIELDS, rows)
        return {self.AREAS: table}

    def progress(self, feedback):
        """Shows tiles done and hands a cancel on."""

        def said(done: int, total: int) -> bool:
            feedback.setProgress(done / total * RUNNING)
            return not feedback.isCanceled()

        return said

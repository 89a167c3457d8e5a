"""What the algorithms that run a model share: layer, model, area, how it is run."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Optional

from qgis.core import (
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsSettings,
)
from qgis.PyQt.QtCore import Qt

from .. import onnxruntime_help
from ..gdal_io.job import DatedLayer, RunPlan, card_in, files_read, open_job, requests_of, series_grid, snapshot
from ..gdal_io.vectors import GdalVectors
from ..gdal_io.writer import GdalWriter
from ..layers import show_when_loaded
from ..runtime.errors import InputFault
from ..runtime.infer.explain import facts, said
from ..runtime.infer.layout import Options
from ..runtime.infer.source import Choice
from ..runtime.infer.sweep import Sweep
from ..runtime.infer.timing.trial import decided, told
from ..runtime.model.providers import PROVIDERS
from ..runtime.model.units import INPUTS
from ..runtime.raster.gaps import RULES
from ..runtime.raster.mask_band import MaskBand
from ..runtime.results.writing import Results, Targets
from ..texts import tr, words
from .base import Algorithm, progress_of
from .model_info import push_facts

LAST_MODEL = "geoaware/last_model"  # in QGIS's settings
RUNNING = 90  # per cent of the progress bar until the files are made
_ROLES = {"DATE_COUNT": "dates"}  # of results whose role is not their name


def check_onnxruntime() -> None:
    """Say how to install it where it cannot be used.

    Raises:
        InputFault: it cannot.
    """
    problem = onnxruntime_help.problem()
    if problem:
        raise InputFault.worded(onnxruntime_help.sentence(problem))


class ModelAlgorithm(Algorithm):
    """Runs a model of one of ``TASKS`` over a raster layer."""

    INPUT, MODEL, BANDS, EXTENT, MASK, OUTPUT = "INPUT", "MODEL", "BANDS", "EXTENT", "MASK", "OUTPUT"
    VALUES, OFFSET, NODATA, NODATA_RULE, RESAMPLE = "VALUES", "OFFSET", "NODATA", "NODATA_RULE", "RESAMPLE"
    TTA, PROVIDER, THREADS, MODEL_OUTPUT = "TTA", "PROVIDER", "THREADS", "MODEL_OUTPUT"
    AREAS = "AREAS"
    TASKS: tuple[str, ...] = ()
    FILES: tuple[str, ...] = ("OUTPUT",)  # parameters of the files that are made
    MAIN = "map"  # role of the first of them, in the words of ``Targets``; those of the others are their names

    def initAlgorithm(self, configuration=None):
        self.add_layers()
        self.add_model(self.TASKS)
        self.add_area(
            tr("Only this part of the layer, in any CRS."),
            tr("All or the selected polygons of a layer, in any CRS. Tiles that touch no polygon are not read."),
        )
        self.add_outputs()
        self._add_input()
        self.add_options()
        self._add_run()

    def add_layers(self):
        """Declare what is mapped."""
        self.add(
            QgsProcessingParameterRasterLayer(self.INPUT, tr("Raster layer")),
            tr(
                "A file in any format that GDAL reads, or a service (WMS, XYZ tiles, WCS). Services need an extent "
                "or polygons."
            ),
        )

    def series(self, parameters, context, first) -> tuple[DatedLayer, ...]:
        """The layers of all dates; none where only one is given.

        Raises:
            InputFault: one cannot be read, or has no date.
        """
        return ()

    def hides(self, parameters, context) -> Optional[MaskBand]:
        """The band of each layer that says which pixels are hidden.

        Raises:
            InputFault: it is unknown.
        """
        return None

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
        self.add_choice(
            self.VALUES,
            tr("Values"),
            INPUTS,
            tr(
                "What the pixel values are: the unit of the model (raw), Sentinel-2 L2A or L1C as delivered, "
                "or the Sentinel-2 true-colour image. Sentinel-2 values are converted to the unit of the "
                "model. auto is raw, except for 16-bit values in pixels of 10, 20 or 60 m that are too large "
                "for a model of 8-bit colours: these are read as Sentinel-2 L2A."
            ),
        )
        self.add_number(
            self.OFFSET, tr("Offset"), tr("Added to Sentinel-2 values if the file does not state an offset.")
        )
        self.add_number(self.NODATA, tr("No-data value"), tr("For layers that declare no nodata value."))
        self.add_choice(
            self.NODATA_RULE,
            tr("No-data rule"),
            RULES,
            tr("A pixel is empty where any of the bands that are read holds its no-data value, or only where all do."),
        )
        hint = tr("Otherwise pixels of another size are passed to the model as they are.")
        label = tr("Resample to the pixel size of the model")
        self.add(QgsProcessingParameterBoolean(self.RESAMPLE, label, defaultValue=True), hint, advanced=True)

    def _add_run(self):
        label, hint = tr("Average over flips and rotations"), tr("Slightly more accurate, and eight times slower.")
        self.add(QgsProcessingParameterBoolean(self.TTA, label, defaultValue=False), hint, advanced=True)
        hint = tr(
            "OpenVINO or an execution provider of ONNX Runtime; auto is the fastest that agrees with ONNX Runtime on the CPU on tiles of the layer."
        )
        self.add_choice(self.PROVIDER, tr("Execution provider"), ["auto", *PROVIDERS], hint)
        hint = tr("CPU threads; empty: as many as cores and memory allow.")
        self.add_number(self.THREADS, tr("Threads"), hint, least=1)
        label, hint = tr("Model output"), tr("Name of the output, if the model has several.")
        self.add(QgsProcessingParameterString(self.MODEL_OUTPUT, label, optional=True), hint, advanced=True)

    def add_choice(self, name: str, label: str, choices: Sequence[str], hint: str):
        """Declare an advanced choice; the first is the default."""
        parameter = QgsProcessingParameterEnum(name, label, [*choices], False, choices[0], False, True)
        self.add(parameter, hint, advanced=True)

    def add_number(self, name: str, label: str, hint: str, least: Optional[float] = None, most: Optional[float] = None):
        """Declare an optional advanced number: whole where ``least`` is an integer."""
        whole = isinstance(least, int)
        kind = QgsProcessingParameterNumber.Type.Integer if whole else QgsProcessingParameterNumber.Type.Double
        parameter = QgsProcessingParameterNumber(name, label, kind, None, True)
        if least is not None:
            parameter.setMinimum(least)
        if most is not None:
            parameter.setMaximum(most)
        self.add(parameter, hint, advanced=True)

    def add_overlap(self):
        """Declare the overlap of tiles."""
        hint = tr("Pixels that neighbouring tiles share; empty: the value in the model card.")
        self.add_number("OVERLAP", tr("Tile overlap"), hint, least=0)

    def add_stride(self):
        """Declare the stride of a window."""
        hint = tr("Distance from one window to the next, in pixels of the model; empty: the size of the window.")
        self.add_number("STRIDE", tr("Stride"), hint, least=1)

    def add_threshold(self):
        """Declare the threshold of independent classes."""
        hint = tr(
            "For models with independent classes: lowest probability at which a class counts; empty: the value "
            "in the model card."
        )
        self.add_number("THRESHOLD", tr("Threshold"), hint, least=0.0, most=1.0)

    def add_class_outputs(self, label: str):
        """Declare the map of classes and the other rasters of a classifier."""
        self.add_raster_output(self.OUTPUT, label, optional=False)
        self.add_raster_output("CONFIDENCE", tr("Confidence"), tr("Probability of the class, per cent."))
        self.add_raster_output("PROBABILITIES", tr("Probabilities"), tr("One band per class, 0 to 1."))

    def plan(self, parameters, context) -> RunPlan:
        check_onnxruntime()
        model = self.parameterAsFile(parameters, self.MODEL, context)
        card = card_in(model)
        if card.task not in self.TASKS:
            text = tr("The model '{name}' is a {task} model; a {wanted} model is needed.")
            raise InputFault.worded(text.format(name=card.name, task=card.task, wanted=" or ".join(self.TASKS)))
        raster = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        layer, series = snapshot(raster), self.series(parameters, context, raster)
        if card.dates and not series:
            text = tr(
                "The model '{name}' reads a series of dates: name the layers of the other dates in '{parameter}'."
            )
            raise InputFault.worded(text.format(name=card.name, parameter=tr("Layers of other dates")))
        limited = any(parameters.get(name) not in (None, "") for name in (self.EXTENT, self.MASK))
        grid = series_grid(series) if series and limited else None
        choice = Choice(
            tuple(self.parameterAsInts(parameters, self.BANDS, context)),
            self._number(parameters, self.NODATA, context),
            self.parameterAsEnumString(parameters, self.VALUES, context) or "auto",
            self._number(parameters, self.OFFSET, context),
            self.parameterAsEnumString(parameters, self.NODATA_RULE, context) or RULES[0],
        )
        options = Options(
            choice,
            self.limits(parameters, context, raster, grid),
            self._sweep(parameters, context),
            resample=self.parameterAsBoolean(parameters, self.RESAMPLE, context),
            model_grid=self.parameterAsEnumString(parameters, "GRID", context) == "model",
        )
        provider = self.parameterAsEnumString(parameters, self.PROVIDER, context) or "auto"
        threads = self._number(parameters, self.THREADS, context, whole=True)
        hides = self.hides(parameters, context)
        run = {"series": series, "hides": hides, "provider": provider, "threads": threads}
        return RunPlan.checked(model, card, layer, options, **run)

    def prepareAlgorithm(self, parameters, context, feedback):
        """Plan, and remember the model for the next dialog."""
        prepared = super().prepareAlgorithm(parameters, context, feedback)
        QgsSettings().setValue(LAST_MODEL, self._plan.model)
        return prepared

    def _sweep(self, parameters, context) -> Sweep:
        return Sweep(
            tta=self.parameterAsBoolean(parameters, self.TTA, context),
            output=self.parameterAsString(parameters, self.MODEL_OUTPUT, context) or None,
            threshold=self._number(parameters, "THRESHOLD", context),
            overlap=self._number(parameters, "OVERLAP", context, whole=True),
            stride=self._number(parameters, "STRIDE", context, whole=True),
            probabilities=parameters.get("PROBABILITIES") not in (None, ""),
        )

    def _number(self, parameters, name, context, whole=False):
        """The number, None where it is left empty."""
        if parameters.get(name) in (None, ""):
            return None
        read = self.parameterAsInt if whole else self.parameterAsDouble
        return read(parameters, name, context)

    def main_title(self) -> str:
        """What the layer of the first result shows."""
        raise NotImplementedError

    def targets(self, files):
        return Targets({self._role(name): path for name, path in files.items()})

    def _role(self, name: str) -> str:
        """Of a result in the words of ``Targets``; the table of areas is none of them."""
        return self.MAIN if name == self.OUTPUT else _ROLES.get(name, name.lower()) if name in self.FILES else name

    def work(self, plan, parameters, context, feedback):
        files = {}
        for name in self.FILES:
            suffix = ".gpkg" if self._role(name) in ("polygons", "objects") else ".tif"
            path = self.output_file(parameters, name, context, suffix)
            if path:
                files[name] = path
        targets = replace(self.targets(files), min_area=self._number(parameters, "MIN_AREA", context) or 0.0)
        areas = parameters.get(self.AREAS) not in (None, "")
        results = self._run(plan, targets, feedback, areas or "polygons" in targets.files)
        outputs: dict[str, Any] = {name: str(path) for name, path in files.items()}
        if areas:
            table = results.areas.table(results.grid.row_areas)
            outputs[self.AREAS] = self.write_areas(parameters, self.AREAS, context, table)
        titles = {  # from the top of the group to its bottom
            "CONFIDENCE": tr("confidence"), "PICTURE": tr("picture of the features"), "POLYGONS": tr("polygons"),
            self.OUTPUT: self.main_title(), "PROBABILITIES": tr("probabilities"),
            "DATE_COUNT": tr("number of dates"), self.AREAS: tr("areas"),
        }  # fmt: skip
        source = plan.name
        group = f"GeoAware: {results.card.name} – {source}"  # noqa: RUF001, the dash of the group's title
        beside = (outputs.get(name, "") for name in ("CONFIDENCE", "DATE_COUNT"))
        show_when_loaded(context, group, source, outputs, titles, *beside)
        if "objects" in targets.files:
            feedback.pushInfo(tr("{count} objects").format(count=results.count))
            outputs["COUNT"] = results.count
        return outputs

    def _run(self, plan: RunPlan, targets: Targets, feedback, measured: bool) -> Results:
        """Run a model over a layer and write its files; the results are closed."""
        going = lambda: not feedback.isCanceled()  # noqa: E731
        with closing(open_job(plan)) as job:
            job = decided(job, going)
            text = tr("Model: {name}, run by {provider}")
            feedback.pushInfo(text.format(name=job.card.name, provider=job.model.runner))
            for note in told(job):
                feedback.pushInfo(words(note))
            if plan.series:
                targets.check(files_read(job))
            for remark in plan.remarks:
                feedback.pushWarning(remark)
            names = [path.name for path in targets.files.values()]
            push_facts(said(facts(job, names, targets.files), words), feedback)
            for note in job.notes(measured, "polygons" in targets.files, targets.min_area > 0):
                feedback.pushWarning(words(note))
            for request in requests_of(job):  # which are ended where they are under way
                feedback.canceled.connect(request.cancel, Qt.ConnectionType.DirectConnection)
            with Results(targets, job.grid, job.card, GdalWriter, GdalVectors()) as results:
                job.write(results, progress_of(feedback, RUNNING), going)
                results.finish(going)
                results.commit()
        feedback.setProgress(100)
        return results

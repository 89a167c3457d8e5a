"""``geoaware:change``: what changed between two layers."""

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
)
from qgis.PyQt.QtCore import Qt

from ..gdal_io.job import RunPlan, card_in, grid_of
from ..gdal_io.labels import places_and_values
from ..gdal_io.writer import GdalWriter
from ..layers import show_when_loaded
from ..runtime.change.decision import KnownPlaces, truths
from ..runtime.change.job import TASKS, ChangeJob
from ..runtime.change.results import ChangeResults, ChangeTargets, truth_names
from ..runtime.change.sides import reached, side_on
from ..runtime.errors import InputFault
from ..runtime.infer.timing.trial import told
from ..runtime.model.session import Model
from ..runtime.results.assessment import true_field
from ..texts import number, tr, words
from .base import progress_of
from .run_model import RUNNING
from .series import MaskedAlgorithm

_HECTARES = 1e4


@dataclass(frozen=True)
class _ChangePlan:
    """What the worker needs; both runs have the same limits."""

    before: RunPlan
    after: RunPlan
    sample: Optional[KnownPlaces]
    threshold: Optional[float]

    @property
    def model(self) -> str:
        return self.before.model

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.before.files, *self.after.files)


class ChangeAlgorithm(MaskedAlgorithm):
    """Compares what a model says of two layers."""

    NAME = "change"
    TASKS = TASKS
    INPUT, AFTER, REFERENCE, FIELD, DISTANCE = "INPUT", "AFTER", "REFERENCE", "FIELD", "DISTANCE"
    FORMER, LATTER, CHANGE, MATRIX, REPORT = "FORMER", "LATTER", "CHANGE", "MATRIX", "REPORT"
    FILES = ("OUTPUT", "CHANGE", "FORMER", "LATTER")

    def displayName(self):
        return tr("Change between two dates")

    def shortHelpString(self):
        return tr(
            "Compares two layers of an area with a model of classes or an encoder. The result has the pixels of the first "
            "layer, where both overlap.\n\n"
            "Change, with a model of classes: a map of what each pixel was and is, such as 'forest to cropland'; a class "
            "that stayed has its plain name. With an encoder: 1 unchanged, 2 changed.\n\n"
            "Strength of the change: the probability that the classes differ, per cent; with an encoder the cosine distance "
            "of the features, 0 to 2.\n\n"
            "Matrix and report: hectares from each class to each, pixels without data, pictures.\n\n"
            "The probability is calibrated only with reference places of which is known whether they changed. The areas are "
            "counted pixels: the errors of both dates add up in them, and 'Assess a map' corrects them."
        )

    def initAlgorithm(self, configuration=None):
        self.add(
            QgsProcessingParameterRasterLayer(self.INPUT, tr("Layer before")), tr("Its pixels are those of the result.")
        )
        self.add(QgsProcessingParameterRasterLayer(self.AFTER, tr("Layer after")), tr("The same kind of image, later."))
        self.add_model(self.TASKS)
        self.add_area(
            tr("Only this part of the layers, in any CRS."),
            tr("All or the selected polygons of a layer, in any CRS. Tiles that touch no polygon are not read."),
        )
        self.add_outputs()
        self._add_reference()
        self._add_input()
        self.add_masking()
        self.add_options()
        self._add_run()

    def add_outputs(self):
        self.add_raster_output(self.OUTPUT, tr("Change"), optional=False)
        hint = tr("Probability in per cent; with an encoder the distance of features.")
        self.add_raster_output(self.CHANGE, tr("Strength of the change"), hint)
        self.add_raster_output(self.FORMER, tr("Classes before"), tr("As 'Segment raster layer' gives them."))
        self.add_raster_output(self.LATTER, tr("Classes after"), tr("As 'Segment raster layer' gives them."))
        table = QgsProcessingParameterFileDestination(
            self.MATRIX, tr("Matrix"), tr("CSV files (*.csv)"), None, True, False
        )
        self.add(table, tr("Hectares from each class (rows) to each (columns), with a JSON beside it."))
        self.add_page(self.REPORT, tr("Report"), tr("HTML page with matrix, areas and pictures."))
        self.addOutput(QgsProcessingOutputNumber("CHANGED", tr("Changed area, hectares")))

    def add_options(self):
        hint = tr("With an encoder: distance of features from which on a place has changed; empty: Otsu's rule.")
        self.add_number(self.DISTANCE, tr("Distance of a change"), hint, least=0.0, most=2.0)
        self.add_overlap()
        self.add_stride()

    def _add_reference(self):
        shapes = [QgsProcessing.SourceType.TypeVectorPoint, QgsProcessing.SourceType.TypeVectorPolygon]
        places = QgsProcessingParameterFeatureSource(self.REFERENCE, tr("Reference places"), shapes, optional=True)
        hint = tr(
            "Points, or polygons of which a place inside is taken, of which is known whether they changed: random, or random "
            "within the classes of a change map. They calibrate the probability, or set the distance that keeps 90 % of "
            "the changed ones."
        )
        self.add(places, hint)
        label = tr("Field with the truth (empty: the field named class)")
        field = QgsProcessingParameterField(self.FIELD, label, parentLayerParameterName=self.REFERENCE, optional=True)
        self.add(field, tr("yes or no, 1 or 0, or a class of the change map."))

    def plan(self, parameters, context):
        card = card_in(self.parameterAsFile(parameters, self.MODEL, context))
        if card.dates:
            text = tr(
                "The model '{name}' reads a series of dates: compare periods with python -m export.change --before … --after …"
            )
            raise InputFault.worded(text.format(name=card.name))
        layers = [self.parameterAsRasterLayer(parameters, name, context) for name in (self.INPUT, self.AFTER)]
        if all(layers) and layers[0].source() == layers[1].source():
            text = tr("'{name}' is given as the layer before and as the layer after: choose two different ones.")
            raise InputFault.worded(text.format(name=layers[0].name()))
        before = super().plan(parameters, context)
        after = super().plan({**parameters, self.INPUT: parameters[self.AFTER], "EXTENT": None, "MASK": None}, context)
        grid, exact = grid_of(self.parameterAsRasterLayer(parameters, self.INPUT, context))
        transforms = context.transformContext()
        source = self.parameterAsSource(parameters, self.REFERENCE, context)
        sample = None
        if source is not None:
            name = source.sourceName()
            at = true_field(
                name, source.fields().names(), self.parameterAsString(parameters, self.FIELD, context) or None
            )
            places, values = places_and_values(source, grid, transforms, at, exact)
            truth = truths(name, source.fields().names()[at], values, truth_names(before.card))
            sample = KnownPlaces(name, places, truth)
        threshold = self._number(parameters, self.DISTANCE, context)
        if threshold is not None and sample:
            raise InputFault.worded(tr("Give either reference places or a distance of a change."))
        return _ChangePlan(before, after, sample, threshold)

    def targets(self, files):
        roles = {
            self.OUTPUT: "map",
            self.FORMER: "before",
            self.LATTER: "after",
            self.MATRIX: "matrix",
            self.REPORT: "report",
        }
        return ChangeTargets({roles.get(name, "probability"): path for name, path in files.items()})

    def work(self, plan, parameters, context, feedback):
        encoder = plan.before.card.task == "embedding"
        files = {}
        for name in self.FILES:
            if not (encoder and name in (self.FORMER, self.LATTER)):
                files[name] = self.output_file(parameters, name, context, ".tif")
        if parameters.get(self.MATRIX) not in (None, ""):
            files[self.MATRIX] = Path(self.parameterAsFileOutput(parameters, self.MATRIX, context))
        page = self.parameterAsFileOutput(parameters, self.REPORT, context)
        if page:
            files[self.REPORT] = Path(page)
        files = {name: path for name, path in files.items() if path}
        roles = dict(self.targets(files).files)
        if encoder and "probability" in roles:
            roles["distance"] = roles.pop("probability")
        results = self._compare(plan, ChangeTargets(roles), feedback)
        outputs: dict[str, Any] = {name: str(path) for name, path in files.items()}
        outputs["CHANGED"] = results.report.changed_m2 / _HECTARES
        titles = {
            self.CHANGE: tr("strength of the change"), self.OUTPUT: tr("change"), self.LATTER: tr("classes after"),
            self.FORMER: tr("classes before"),
        }  # fmt: skip
        source = plan.after.layer.name
        group = f"GeoAware: {plan.before.card.name} – {source}"  # noqa: RUF001, the dash of the group's title
        show_when_loaded(context, group, source, outputs, titles)
        return outputs

    def _compare(self, plan: _ChangePlan, targets: ChangeTargets, feedback) -> ChangeResults:
        going = lambda: not feedback.isCanceled()  # noqa: E731
        sides = plan.before, plan.after
        model = Model(plan.model, plan.before.provider, threads=plan.before.threads)
        with ExitStack() as stack:
            before, after = rasters = [stack.enter_context(closing(one.pixels())) for one in sides]
            grid = before.grid
            first, last = (side_on([one], [None], grid, dated=False) for one in rasters)
            limits = reached(plan.before.options.limits, [[before], [after]], grid)
            options = replace(plan.before.options, limits=limits)
            with closing(ChangeJob(model, first, last, options)) as job:
                text = tr("Model: {name}, run by {provider}")
                feedback.pushInfo(text.format(name=job.card.name, provider=job.before.model.runner))
                for note in told(job.before):
                    feedback.pushInfo(words(note))
                for note in job.notes():
                    feedback.pushWarning(words(note))
                for pixels in (before, after):
                    request = getattr(pixels, "feedback", None)
                    if request:  # ends a request that is under way
                        feedback.canceled.connect(request.cancel, Qt.ConnectionType.DirectConnection)
                names = (sides[0].layer.name, sides[1].layer.name)
                with ChangeResults(targets, job, GdalWriter, plan.sample, plan.threshold, names, words) as results:
                    for part in job.rows(progress_of(feedback, RUNNING)):
                        results.add_change(part)
                    results.finish(going)
                    results.commit()
        for note in results.report.notes():
            feedback.pushWarning(words(note))
        text = tr("Changed: {hectares} ha (counted pixels)")
        feedback.pushInfo(text.format(hectares=number(results.report.changed_m2 / _HECTARES, ",.1f")))
        feedback.setProgress(100)
        return results

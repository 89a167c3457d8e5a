"""``geoaware:fitmodel``: a model from a few labels, how good it is, and its map."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMultipleLayers,
)

from ..gdal_io.labels import LayerLabels, classes_in, labels_on, marks_of, read_labels
from ..gdal_io.vectors import GdalVectors
from ..gdal_io.writer import GdalWriter
from ..layers import show_when_loaded
from ..runtime.errors import InputFault
from ..runtime.infer.layout import Limits
from ..runtime.learn.fitting import Featured, Fitted, fit_model
from ..runtime.messages import Message
from ..runtime.raster.legend import LandClass
from ..runtime.results.writing import Results, Targets
from ..texts import tr, words
from .base import files_of_vectors, part_of
from .features import FeaturesAlgorithm, LayersPlan, opened
from .run_model import check_onnxruntime

LEARNED, LABELLED, FITTED, MAPPED = 10, 35, 40, 95  # per cent of the progress bar


@dataclass(frozen=True)
class _FitPlan:
    """What the worker needs.

    Attributes:
        index: of the class of each label of each layer, -1 where it has none.
    """

    rasters: LayersPlan
    labels: tuple[LayerLabels, ...]
    classes: tuple[LandClass, ...]
    index: list[np.ndarray]
    limits: Limits

    @property
    def files(self) -> tuple[str, ...]:
        return self.rasters.files


class FitModelAlgorithm(FeaturesAlgorithm):
    """Fits a classifier to features of labelled pixels and joins both in one ONNX file."""

    NAME = "fitmodel"
    INPUT, LABELS, FIELD, MODEL, REPORT, OUTPUT = "INPUT", "LABELS", "FIELD", "MODEL", "REPORT", "OUTPUT"
    AREAS, ACCURACY = "AREAS", ("ACCURACY", "ACCURACY_LOW", "ACCURACY_HIGH")

    def displayName(self):
        return tr("Fit a model to labels")

    def shortHelpString(self):
        return tr(
            "Makes a segmentation model from a few labelled polygons or points, and the map of the first layer if it is "
            "wanted.\n\n"
            "Every polygon weighs the same, however large it is.\n\n"
            "Model: features and classifier in one ONNX file with its card. It runs in 'Segment raster layer', in "
            "export.predict and in Deepness.\n\n"
            "Report: accuracy and F1 of each class with 95 % intervals. Whole polygons are left out in turn, so no pixel is "
            "judged by others of its own polygon."
        )

    def initAlgorithm(self, configuration=None):
        rasters = QgsProcessingParameterMultipleLayers(
            self.INPUT, tr("Raster layers"), QgsProcessing.SourceType.TypeRaster
        )
        self.add(rasters, tr("Layers with the same bands. The first one is mapped."))
        labels = QgsProcessingParameterMultipleLayers(
            self.LABELS, tr("Labels"), QgsProcessing.SourceType.TypeVectorAnyGeometry
        )
        self.add(labels, tr("Layers of polygons or points, in any CRS."))
        label = tr("Field with the class (empty: the field named class)")
        field = QgsProcessingParameterField(self.FIELD, label, parentLayerParameterName=self.LABELS, optional=True)
        self.add(field, tr("Names or values of classes. Labels without one are left out."))
        self.add_features()
        self.add_area(
            tr("Map only this part of the first layer, in any CRS."),
            tr("Map only inside all or the selected polygons of a layer, in any CRS."),
        )
        model = QgsProcessingParameterFileDestination(self.MODEL, tr("Model"), tr("ONNX models (*.onnx)"))
        self.add(model, tr("One ONNX file."))
        self.add_page(self.REPORT, tr("Report"), tr("HTML page: how good the model is, and what it was made from."))
        self.add_raster_output(self.OUTPUT, tr("Land cover"), tr("Map of the first layer."))
        self.add_raster_output("CONFIDENCE", tr("Confidence"), tr("Probability of the class, per cent."))
        self.add_areas()
        self.add_reading()
        labels_of = (
            tr("Overall accuracy, 0 to 1"),
            tr("Lower limit of the overall accuracy (95 % confidence)"),
            tr("Upper limit of the overall accuracy (95 % confidence)"),
        )
        for name, text in zip(self.ACCURACY, labels_of):
            self.addOutput(QgsProcessingOutputNumber(name, text))

    def plan(self, parameters, context):
        check_onnxruntime()
        layers = self.parameterAsLayerList(parameters, self.INPUT, context)
        rasters = self.layers_plan(parameters, context, layers)
        marked = self.parameterAsLayerList(parameters, self.LABELS, context)
        if not marked:
            raise InputFault.worded(tr("No label layer is chosen."))
        field = self.parameterAsString(parameters, self.FIELD, context)
        labels = tuple(read_labels(layer, field) for layer in marked)
        classes, index = classes_in(labels)
        files = (*rasters.files, *(file for layer in marked for file in files_of_vectors(layer)))
        limits = self.limits(parameters, context, layers[0])
        return _FitPlan(replace(rasters, files=files), labels, classes, index, limits)

    def targets(self, files):
        return Targets({"map" if name == self.OUTPUT else name.lower(): path for name, path in files.items()})

    def work(self, plan, parameters, context, feedback):
        model = Path(self.parameterAsFileOutput(parameters, self.MODEL, context))
        files = {name: self.output_file(parameters, name, context, ".tif") for name in ("OUTPUT", "CONFIDENCE")}
        files = {name: path for name, path in files.items() if path}
        areas = parameters.get(self.AREAS) not in (None, "")
        if model.suffix.lower() != ".onnx":
            text = tr("{name}: choose a file name that ends in {suffix}")
            raise InputFault.worded(text.format(name=model.name, suffix=".onnx"))
        with ExitStack() as stack:
            featured = opened(plan.rasters, stack, part_of(feedback, 0, LEARNED), feedback)
            fitted = self._fit(plan, featured, feedback)
            report = fitted.report(model.stem)
            for note in report.notes:
                feedback.pushWarning(words(note))
            feedback.pushInfo(report.as_text())
            results = self._map(plan, fitted, self.targets(files), stack, feedback, areas) if files or areas else None
            featured.complete(lambda: not feedback.isCanceled())
            model.parent.mkdir(parents=True, exist_ok=True)
            fitted.save(model, model.stem)
            if results:
                results.commit()
            for trouble in featured.troubles:
                feedback.pushWarning(words(trouble))
        feedback.setProgress(100)
        outputs: dict[str, Any] = {self.MODEL: str(model), **{name: str(path) for name, path in files.items()}}
        outputs.update(zip(self.ACCURACY, map(float, report.accuracy)))
        page = self.parameterAsFileOutput(parameters, self.REPORT, context)
        if page:
            Path(page).write_text(report.as_html(words), "utf-8")
            outputs[self.REPORT] = page
        if areas:
            table = results.areas.table(results.grid.row_areas)
            outputs[self.AREAS] = self.write_areas(parameters, self.AREAS, context, table)
        titles = {"CONFIDENCE": tr("confidence"), self.OUTPUT: tr("land cover"), self.AREAS: tr("areas")}
        source = plan.rasters.layers[0].name
        group = f"GeoAware: {model.stem} – {source}"  # noqa: RUF001, the dash of the group's title
        show_when_loaded(context, group, source, outputs, titles, outputs.get("CONFIDENCE", ""))
        return outputs

    def _fit(self, plan: _FitPlan, featured: Featured, feedback) -> Fitted:
        """Fit, and say which labels did not count."""
        where = ", ".join(one.name for one in plan.labels)
        without, total = sum(int((one < 0).sum()) for one in plan.index), sum(map(len, plan.index))
        if without:
            note = Message("labels_without_class", {"count": without, "total": total}).about(where)
            feedback.pushWarning(words(note))
        marks = marks_of(plan.labels, plan.index)
        labels = [
            [label for layer, some in zip(plan.labels, marks)
             for label in labels_on(some, layer.crs, raster.source.grid, plan.rasters.transforms, layer.name)]
            for raster in featured.rasters
        ]  # fmt: skip
        parts = {"labels": part_of(feedback, LEARNED, LABELLED), "accuracy": part_of(feedback, LABELLED, FITTED)}
        return fit_model(featured, labels, plan.classes, where, parts.__getitem__)

    def _map(
        self, plan: _FitPlan, fitted: Fitted, targets: Targets, stack: ExitStack, feedback, areas: bool
    ) -> Results:
        """Map the first raster; its files are not in their places yet."""
        going = lambda: not feedback.isCanceled()  # noqa: E731
        job = fitted.job(fitted.featured.rasters[0], plan.limits)
        for note in job.notes(areas):
            feedback.pushWarning(words(note))
        results = stack.enter_context(Results(targets, job.grid, job.card, GdalWriter, GdalVectors()))
        job.write(results, part_of(feedback, FITTED, MAPPED), going)
        results.finish(going)
        return results

"""``geoaware:similar``: where a layer looks like the places that are named."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
)

from ..gdal_io.job import grid_of
from ..gdal_io.labels import places_on
from ..gdal_io.vectors import GdalVectors
from ..gdal_io.writer import GdalWriter
from ..layers import show_when_loaded
from ..runtime.infer.layout import Limits
from ..runtime.learn.mapping import SimilarJob, examples
from ..runtime.learn.similar import Similarity
from ..runtime.results.vectors import write_places
from ..runtime.results.writing import Results, Targets
from ..texts import tr, words
from .base import part_of
from .features import FeaturesAlgorithm, LayersPlan, opened
from .run_model import check_onnxruntime

LEARNED, LOOKED_AT, COMPARED = 10, 20, 95  # per cent of the progress bar


@dataclass(frozen=True)
class _SimilarPlan:
    """What the worker needs; places are (N, 2) x and y in the CRS of the raster."""

    rasters: LayersPlan
    like: np.ndarray
    unlike: np.ndarray
    limits: Limits

    @property
    def files(self) -> tuple[str, ...]:
        return self.rasters.files


class SimilarAlgorithm(FeaturesAlgorithm):
    """Compares the features of all places with those of examples."""

    NAME = "similar"
    INPUT, LIKE, UNLIKE, OUTPUT, PLACES = "INPUT", "LIKE", "UNLIKE", "OUTPUT", "PLACES"

    def displayName(self):
        return tr("Find similar places")

    def shortHelpString(self):
        return tr(
            "Compares every place of a raster layer with examples, and with counter-examples if there are any, by its "
            "features.\n\n"
            "Similarity: 1 at the examples, 0 at counter-examples and at whatever is unrelated; one pixel per place of the "
            "features.\n\n"
            "Best places: up to a hundred points, apart from each other, with rank and score."
        )

    def initAlgorithm(self, configuration=None):
        shapes = [QgsProcessing.SourceType.TypeVectorPoint, QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(QgsProcessingParameterRasterLayer(self.INPUT, tr("Raster layer")), tr("The layer that is searched."))
        like = QgsProcessingParameterFeatureSource(self.LIKE, tr("Examples"), shapes)
        self.add(
            like, tr("Points, or polygons of which a place inside is taken, in any CRS; all or the selected ones.")
        )
        unlike = QgsProcessingParameterFeatureSource(self.UNLIKE, tr("Counter-examples"), shapes, optional=True)
        self.add(unlike, tr("Places that look similar but are not what is searched."))
        self.add_features()
        self.add_area(
            tr("Only this part of the layer, in any CRS."),
            tr("Only inside all or the selected polygons of a layer, in any CRS."),
        )
        self.add_raster_output(self.OUTPUT, tr("Similarity"), tr("32-bit float, 0 to 1."), optional=False)
        point = QgsProcessing.SourceType.TypeVectorPoint
        places = QgsProcessingParameterVectorDestination(self.PLACES, tr("Best places"), point, None, True, True)
        self.add(places, tr("GeoPackage of points with rank and score."))
        self.add_reading()
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of best places")))

    def plan(self, parameters, context):
        check_onnxruntime()
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        rasters = self.layers_plan(parameters, context, [layer])
        (grid, exact), transforms = grid_of(layer), context.transformContext()
        like, unlike = (
            places_on(source, grid, transforms, exact) if source else np.zeros((0, 2))
            for source in (self.parameterAsSource(parameters, name, context) for name in (self.LIKE, self.UNLIKE))
        )  # fmt: skip
        return _SimilarPlan(rasters, like, unlike, self.limits(parameters, context, layer))

    def targets(self, files):
        return Targets(
            {"map" if name == self.OUTPUT else name.lower(): path for name, path in files.items()}, style=False
        )

    def work(self, plan, parameters, context, feedback):
        layer_file = self.output_file(parameters, self.OUTPUT, context, ".tif")
        points = self.output_file(parameters, self.PLACES, context, ".gpkg")
        files = {name: path for name, path in ((self.OUTPUT, layer_file), (self.PLACES, points)) if path}
        going = lambda: not feedback.isCanceled()  # noqa: E731
        outputs: dict[str, Any] = {name: str(path) for name, path in files.items()}
        with ExitStack() as stack:
            featured = opened(plan.rasters, stack, part_of(feedback, 0, LEARNED), feedback)
            (raster,) = featured.rasters
            looking = part_of(feedback, LEARNED, LOOKED_AT)
            to = Similarity.to(examples(raster, plan.like, looking), examples(raster, plan.unlike, looking))
            job = SimilarJob(raster, to, plan.limits)
            for note in job.notes(False):
                feedback.pushWarning(words(note))
            results = stack.enter_context(Results(self.targets(files), job.grid, job.card, GdalWriter, GdalVectors()))
            job.write(results, part_of(feedback, LOOKED_AT, COMPARED), going)
            results.finish(going)
            featured.complete(going)
            outputs["COUNT"] = len(job.best.scores)
            if points:
                write_places(results.keep(points), job.best.scores, job.places, job.grid, GdalVectors())
            results.commit()
            for trouble in featured.troubles:
                feedback.pushWarning(words(trouble))
        feedback.setProgress(100)
        source = plan.rasters.layers[0].name
        titles = {self.PLACES: tr("best places"), self.OUTPUT: tr("similarity")}
        show_when_loaded(context, f"GeoAware: {source}", source, outputs, titles)
        return outputs

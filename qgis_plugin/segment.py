"""The Processing algorithm ``geoaware:segment``: a raster layer and a model give a land-cover layer."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

import numpy as np
from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsSettings,
)
from qgis.PyQt.QtGui import QIcon

from . import onnxruntime_help
from .gdal_host import LayerSource, SourceRaster, write_result
from .layers import style_when_loaded
from .runtime.card import NODATA, ModelCard
from .runtime.errors import Cancelled, InputFault, RuntimeFault
from .runtime.guard import read_header
from .runtime.session import Model
from .runtime.sweep import segment
from .texts import tr

LAST_MODEL = "geoaware/last_model"  # in QGIS's settings
WRITING = 5  # per cent of the progress bar that stand for the final copy


@dataclass(frozen=True)
class _Plan:
    """All that the worker needs, checked on the main thread."""

    model: str
    card: ModelCard
    source: LayerSource
    bands: Sequence[int]
    confidence: bool


class SegmentAlgorithm(QgsProcessingAlgorithm):
    """Segment a raster; QGIS runs it in the background, in batch, in models and in qgis_process."""

    INPUT, BANDS, MODEL, CONFIDENCE, OUTPUT = "INPUT", "BANDS", "MODEL", "CONFIDENCE", "OUTPUT"

    def __init__(self):
        super().__init__()
        self._plan = None

    def createInstance(self):
        """A fresh one for each run."""
        return SegmentAlgorithm()

    def name(self):
        """Id within the provider."""
        return "segment"

    def displayName(self):
        """Name in the toolbox."""
        return tr("Segment raster layer")

    def icon(self):
        """The plugin's icon."""
        return QIcon(str(Path(__file__).parent / "icon.svg"))

    def shortHelpString(self):
        """Help beside the dialog."""
        return tr(
            "Gives every pixel of a raster layer a land-cover class.\n\n"
            "Model: one ONNX file made with GeoAware. It carries its own card: which bands it needs, in which unit "
            "and at which pixel size, and its classes with their colours.\n\n"
            "Bands: leave empty to use the bands that bear the names in the card or, where they have no such names, "
            "the first ones. Otherwise choose as many as the model needs and drag them into its order.\n\n"
            "Confidence: adds a second band with the probability of the class, 0 to 100 per cent.\n\n"
            "Result: a Cloud-Optimized GeoTIFF with class names and colours; 255 means no data. Its style is saved "
            "beside it. Pixels without data in any of the bands stay without a class.\n\n"
            "Nothing leaves this computer."
        )

    def initAlgorithm(self, configuration=None):
        """Declare the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer(self.INPUT, tr("Raster layer")))
        model = QgsProcessingParameterFile(self.MODEL, tr("Model"), fileFilter=tr("ONNX models (*.onnx)"))
        self.addParameter(model)
        bands = QgsProcessingParameterBand(
            self.BANDS,
            tr("Bands, in the model's order (empty: matched by name, else the first)"),
            parentLayerParameterName=self.INPUT,
            optional=True,
            allowMultiple=True,
        )
        self.addParameter(bands)
        confidence = tr("Add a band with the confidence in per cent")
        self.addParameter(QgsProcessingParameterBoolean(self.CONFIDENCE, confidence, defaultValue=False))
        self.addParameter(QgsProcessingParameterRasterDestination(self.OUTPUT, tr("Land cover")))

    def checkParameterValues(self, parameters, context):
        """Say in one sentence what is wrong before anything runs."""
        fine, message = super().checkParameterValues(parameters, context)
        if not fine:
            return fine, message
        try:
            self._make_plan(parameters, context)
        except RuntimeFault as error:
            return False, str(error)
        return True, ""

    def prepareAlgorithm(self, parameters, context, feedback):
        """Copy from the layer all that the worker needs; the main thread calls this."""
        try:
            self._plan = self._make_plan(parameters, context)
        except RuntimeFault as error:
            raise QgsProcessingException(str(error)) from error
        QgsSettings().setValue(LAST_MODEL, self._plan.model)
        return True

    def processAlgorithm(self, parameters, context, feedback):
        """Run; a worker thread calls this."""
        destination = self.parameterAsOutputLayer(parameters, self.OUTPUT, context)
        try:
            self._run(Path(destination), feedback)
        except Cancelled:
            feedback.pushInfo(tr("Cancelled; nothing was written."))
            return {}
        except RuntimeFault as error:
            raise QgsProcessingException(str(error)) from error
        except MemoryError as error:
            text = tr("There is not enough memory for a raster of this width; cut it into parts.")
            raise QgsProcessingException(text) from error
        style_when_loaded(context, destination, self._plan.card, self._plan.source.name)
        return {self.OUTPUT: destination}

    def _make_plan(self, parameters, context) -> _Plan:
        problem = onnxruntime_help.problem()
        if problem:
            raise InputFault(onnxruntime_help.sentence(problem))
        model = self.parameterAsFile(parameters, self.MODEL, context)
        header = read_header(model)
        card = ModelCard.from_metadata(header.metadata, model, header.input_shape)
        if card.task != "segmentation":
            text = tr("The model '{name}' is a {task} model; a segmentation model is needed.")
            raise InputFault(text.format(name=card.name, task=card.task))
        source = LayerSource.of(self.parameterAsRasterLayer(parameters, self.INPUT, context))
        chosen = self.parameterAsInts(parameters, self.BANDS, context)
        bands = SourceRaster(source).choose_bands(card, chosen)
        return _Plan(model, card, source, bands, self.parameterAsBoolean(parameters, self.CONFIDENCE, context))

    def _run(self, out: Path, feedback) -> None:
        plan = self._plan
        if out.exists() and Path(plan.source.uri).exists() and out.samefile(plan.source.uri):
            raise InputFault(tr("The result would overwrite its own source; choose another file."))
        raster = SourceRaster(plan.source)  # opened again: a GDAL dataset belongs to one thread
        raster.choose_bands(plan.card, plan.bands)
        for warning in (_pixel_size_warning(raster, plan.card), _values_warning(raster, plan.card)):
            if warning:
                feedback.pushWarning(warning)
        model = Model(plan.model, provider="cpu")
        if model.card.nodata > NODATA:
            text = tr("The model '{name}' has classes above 254, which this version of the plugin cannot write.")
            raise InputFault(text.format(name=model.card.name))
        plan = self._plan = replace(plan, card=model.card)  # opened, it knows all its classes
        feedback.pushInfo(tr("Model: {name}, run by {provider}").format(name=plan.card.name, provider=model.provider))
        pairs = ", ".join(f"{name} = {number}" for name, number in zip(plan.card.bands, plan.bands))
        feedback.pushInfo(tr("Bands: {pairs}").format(pairs=pairs))

        def progress(done: int, total: int) -> bool:
            feedback.setProgress(done / total * (100 - WRITING))
            return not feedback.isCanceled()

        rows = segment(model, raster.read, raster.height, raster.width, progress)
        write_result(rows, raster, plan.card, out, plan.confidence, lambda: not feedback.isCanceled())
        feedback.setProgress(100)


def _pixel_size_warning(raster: SourceRaster, card: ModelCard) -> str:
    size = raster.pixel_size_m()
    if not card.gsd or not size or 0.5 <= size / card.gsd <= 2:
        return ""
    text = tr("A pixel of this layer is {size:.3g} m wide, the model was trained on {gsd:.3g} m: expect poor results.")
    return text.format(size=size, gsd=card.gsd)


def _values_warning(raster: SourceRaster, card: ModelCard) -> str:
    """Compare the middle 96 % of a sample's values with what the model was trained on."""
    pixels, valid = raster.sample()
    if not valid.any():
        return ""
    low, high = np.percentile(pixels[:, valid], (2, 98))
    trained_low, trained_high = card.value_range
    span = trained_high - trained_low
    inside = trained_low - 0.1 * span <= low and high <= trained_high + 0.1 * span
    if inside and high - trained_low > 0.01 * span:  # reflectance of 0 to 1 lies inside 0 to 255 too
        return ""
    text = tr("The values of this layer, {low:.4g} to {high:.4g}, are not what the model was trained on: {unit}.")
    return text.format(low=low, high=high, unit=card.unit)

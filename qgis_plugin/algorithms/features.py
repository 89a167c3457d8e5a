"""What the algorithms on features share: which features, where they are kept, and labels on rasters."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateTransformContext,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import Qt

from ..gdal_io.cache import cache_folder, feature_cache
from ..gdal_io.files import files_of
from ..gdal_io.job import Layer, snapshot
from ..gdal_io.services import ServiceLayer
from ..runtime.errors import InputFault
from ..runtime.files import with_members
from ..runtime.infer.layout import Options
from ..runtime.infer.source import Choice
from ..runtime.infer.sweep import Progress
from ..runtime.learn.features import KINDS
from ..runtime.learn.fitting import Featured, choice_of
from ..texts import tr, words
from .base import Algorithm


@dataclass(frozen=True)
class LayersPlan:
    """Rasters whose features are needed, copied so that a worker never touches a layer.

    Attributes:
        options: how they are read.
        kind: of the features, "auto" or one of ``KINDS``.
        encoder: file of the model; "" for none.
        cache: folder in which features are kept.
        files: that the layers consist of.
    """

    layers: tuple[Layer, ...]
    options: Options
    kind: str
    encoder: str
    cache: Path
    transforms: QgsCoordinateTransformContext
    files: tuple[str, ...]


class FeaturesAlgorithm(Algorithm):
    """Works on features of raster layers."""

    FEATURES, ENCODER, BANDS, NODATA, CACHE = "FEATURES", "ENCODER", "BANDS", "NODATA", "CACHE"

    def add_features(self):
        """Declare the features."""
        kinds = QgsProcessingParameterEnum(self.FEATURES, tr("Features"), ["auto", *KINDS], False, "auto", False, True)
        hint = tr(
            "encoder: those of a model; texture: mean, contrast and texture of the bands at several scales, without a model; "
            "both; raster: the bands themselves, of a layer that holds features. auto: the encoder if one is chosen, else "
            "the bands where they are known to be features (AlphaEarth, TESSERA, 'Embed raster layer'), else texture."
        )
        self.add(kinds, hint)
        self.add_model(("embedding",), self.ENCODER, tr("Encoder"), tr("none"))

    def add_reading(self):
        """Declare how the layers are read, and the folder of the features."""
        bands = QgsProcessingParameterString(self.BANDS, tr("Bands"), optional=True)
        hint = tr("Names or numbers from 1, separated by commas; empty: those that the encoder needs, else all.")
        self.add(bands, hint, advanced=True)
        kind = QgsProcessingParameterNumber.Type.Double
        nodata = QgsProcessingParameterNumber(self.NODATA, tr("No-data value"), kind, None, True)
        self.add(nodata, tr("For layers that declare no nodata value."), advanced=True)
        folder = QgsProcessingParameterFile.Behavior.Folder
        cache = QgsProcessingParameterFile(self.CACHE, tr("Folder for features"), folder, optional=True)
        self.add(cache, tr("Features are kept there for the next run; empty: in the profile."), advanced=True)

    def layers_plan(self, parameters, context, layers: Sequence[Any]) -> LayersPlan:
        """Copy raster layers and the choice of features.

        Raises:
            InputFault: there is no layer, or one cannot be read or has no CRS.
        """
        if not layers:
            raise InputFault.worded(tr("No raster layer is chosen."))
        copies = tuple(map(snapshot, layers))
        files = [file for copy in copies for file in _files(copy)]
        kind = self.parameterAsEnumString(parameters, self.FEATURES, context) or "auto"
        encoder = self.parameterAsFile(parameters, self.ENCODER, context)
        cache = self.parameterAsString(parameters, self.CACHE, context)
        names = [name.strip() for name in self.parameterAsString(parameters, self.BANDS, context).split(",")]
        nodata = None
        if parameters.get(self.NODATA) not in (None, ""):
            nodata = self.parameterAsDouble(parameters, self.NODATA, context)
        options = Options(Choice(tuple(name for name in names if name), nodata))
        return LayersPlan(
            copies,
            options,
            kind,
            encoder,
            Path(cache) if cache else cache_folder(),
            context.transformContext(),
            tuple(files),
        )


def opened(plan: LayersPlan, stack: ExitStack, progress: Progress, feedback) -> Featured:
    """Open the rasters and learn their features; ``stack`` closes them.

    Raises:
        RuntimeFault: they cannot be read, or the features do not fit them.
    """
    pixels = [stack.enter_context(closing(layer.open())) for layer in plan.layers]
    for one in pixels:
        request = getattr(one, "feedback", None)
        if request:  # ends a request that is under way
            feedback.canceled.connect(request.cancel, Qt.ConnectionType.DirectConnection)
    choice = choice_of(plan.kind, plan.encoder or None, pixels[0])
    featured = Featured.of(pixels, choice, plan.options, cache=feature_cache(plan.cache), progress=progress)
    for note in featured.features.notes:
        feedback.pushInfo(words(note))
    for note in (note for raster in featured.rasters for note in raster.source.notes):
        feedback.pushWarning(words(note))
    feedback.pushInfo(featured.described)
    return featured


def _files(layer: Layer) -> list[str]:
    if isinstance(layer, ServiceLayer):  # which is opened for a model of a known pixel size
        return []
    with closing(layer.open()) as pixels:
        return list(with_members(pixels.files, files_of))

"""Keeps results apart from what they are made from: nothing that is read may be overwritten."""

from pathlib import Path
from typing import List

from osgeo import gdal
from qgis.core import (
    QgsMapLayer,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProviderRegistry,
)

from ..gdal_io.calls import ask
from ..gdal_io.files import FileLayer
from ..runtime.errors import InputFault
from ..runtime.files import taken
from ..texts import tr


def check_apart(algorithm, parameters, context) -> None:
    """Compare the files of the results with those of the layers.

    Raises:
        InputFault: a result would take the place of one of them.
    """
    given = [(one, parameters.get(one.name())) for one in algorithm.parameterDefinitions()]
    results = [_file(value) for one, value in given if one.isDestination() and value]
    inputs = [value for one, value in given if value and one.type() in ("raster", "source")]
    sources = [file for value in inputs for file in _files(value, context)]
    if taken(results, sources):
        raise InputFault(tr("The result would overwrite its own source; choose another file."))


def _file(value) -> Path:
    """The file of a result; one that is not named, or a table in a file, is none that exists."""
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink.staticValue()
    return Path(str(value))


def _files(value, context) -> List[str]:
    """The files that a layer is made of."""
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        value = value.source.staticValue()
    layer = value if isinstance(value, QgsMapLayer) else QgsProcessingUtils.mapLayerFromString(str(value), context)
    if layer is None:
        return []
    if layer.providerType() == "gdal":
        raster = FileLayer.of(layer, "")
        failed = tr("{uri}: cannot be read").format(uri=raster.uri)
        opened = ask(failed, gdal.OpenEx, raster.uri, gdal.OF_RASTER, open_options=list(raster.options))
        return opened.GetFileList() or []
    path = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source()).get("path")
    return [path] if path else []

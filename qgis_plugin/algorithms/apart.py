"""Refuses results that would overwrite an input."""

from collections.abc import Sequence
from pathlib import Path

from qgis.core import (
    QgsMapLayer,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProviderRegistry,
)

from ..runtime.errors import InputFault
from ..runtime.files import taken


def check_apart(algorithm, parameters, context, files: Sequence[str]) -> None:
    """Compare the files of the results with those of the layers.

    Args:
        algorithm: whose parameters they are.
        parameters: of the run.
        context: of the run.
        files: that its raster layer consists of.

    Raises:
        InputFault: an output would overwrite an input.
    """
    given = [(one, parameters.get(one.name())) for one in algorithm.parameterDefinitions()]
    results = [_file(value) for one, value in given if one.isDestination() and value]
    vectors = [value for one, value in given if value and one.type() == "source"]
    sources = [*files, *(file for value in vectors for file in _files(value, context))]
    result = taken(results, sources)
    if result:
        raise InputFault("overwrites_input", where=result)


def _file(value) -> Path:
    """File of an output; a temporary output or a table inside a file gives a path that does not exist."""
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink.staticValue()
    return Path(str(value))


def _files(value, context) -> list[str]:
    """The file of a vector layer."""
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        value = value.source.staticValue()
    layer = value if isinstance(value, QgsMapLayer) else QgsProcessingUtils.mapLayerFromString(str(value), context)
    if layer is None:
        return []
    path = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source()).get("path")
    return [path] if path else []

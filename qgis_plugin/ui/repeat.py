"""Shell commands that repeat a run. Without windows."""

import shlex
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsProviderRegistry,
    QgsWkbTypes,
)

from ..texts import tr

_FLAGS = {"CONFIDENCE": "--confidence", "PROBABILITIES": "--probabilities", "POLYGONS": "--polygons", "TTA": "--tta"}
_VALUES = {
    "VALUES": "--input", "OFFSET": "--offset", "NODATA": "--nodata", "NODATA_RULE": "--nodata-rule",
    "MIN_AREA": "--min-area", "GRID": "--grid",
    "OVERLAP": "--overlap", "STRIDE": "--stride", "PROVIDER": "--provider", "THREADS": "--threads",
    "MODEL_OUTPUT": "--output", "THRESHOLD": "--threshold",
}  # fmt: skip


def given(parameters: dict[str, Any]) -> dict[str, str]:
    """Parameters as texts, layers as their sources; call while the layers are in the project."""
    texts: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, QgsProcessingOutputLayerDefinition) or name == "AREAS":
            continue
        if isinstance(value, QgsProcessingFeatureSourceDefinition):
            value = value.source.staticValue()
        if name in ("INPUT", "MASK"):
            texts[name] = _source(value)
        elif isinstance(value, (list, tuple)):
            texts[name] = ";".join(map(str, value))
        else:
            texts[name] = str(value)
    return texts


def output_files(parameters: dict[str, Any], outputs: dict[str, Any]) -> dict[str, str]:
    """Files of the requested outputs."""
    requested = [name for name, value in parameters.items() if isinstance(value, QgsProcessingOutputLayerDefinition)]
    return {name: str(outputs[name]) for name in requested if name in outputs}


def hindrance(parameters: dict[str, Any], texts: dict[str, str]) -> str:
    """One sentence that says why no command can repeat the run; empty if one can."""
    if any(texts.get(name, "").startswith(("memory://", "/vsimem/")) for name in ("INPUT", "MASK")):
        return tr(
            "This run cannot be repeated from a shell: one of its layers exists only in memory. Save the layer "
            "to a file first."
        )
    if getattr(parameters.get("MASK"), "selectedFeaturesOnly", False):
        return tr(
            "This run cannot be repeated from a shell: it used only the selected polygons. Save them to a file first."
        )
    return ""


def qgis_process(algorithm: str, texts: dict[str, str]) -> str:
    """The command for qgis_process."""
    return f"qgis_process run {algorithm} -- " + " ".join(f"{name}={shlex.quote(text)}" for name, text in texts.items())


def predict(texts: dict[str, str]) -> Optional[str]:
    """The command for ``export.predict``; None if that cannot do the same, since it reads files only."""
    source, mask = texts["INPUT"], _whole_file(texts["MASK"]) if "MASK" in texts else ""
    if not Path(source).is_file() or mask is None or "OUTPUT" not in texts:
        return None
    out = Path(texts["OUTPUT"])
    words = ["python", "-m", "export.predict", texts["MODEL"], source, "--out", str(out.parent), "--name", out.stem]
    words += [flag for name, flag in _FLAGS.items() if texts.get(name, "False") != "False"]
    if texts.get("RESAMPLE") == "False":
        words.append("--no-resample")
    if texts.get("BANDS"):
        words += ["--bands", *texts["BANDS"].split(";")]
    if texts.get("EXTENT"):
        words += _bounds(texts["EXTENT"])
    if mask:
        words += ["--mask", mask]
    for name, flag in _VALUES.items():
        words += [flag, texts[name]] if texts.get(name) else []
    return shlex.join(words)


def _bounds(extent: str) -> list[str]:
    numbers, _, crs = extent.partition(" [")
    west, east, south, north = numbers.split(",")
    crs = crs[:-1]  # without its bracket; a WKT ends in more of them
    crs = crs[len("WKT:") :] if crs.startswith("WKT:") else crs
    return ["--bounds", west, south, east, north, *(["--crs", crs] if crs else [])]


def _source(text: str) -> str:
    """A layer's source as ``qgis_process`` takes it, with the provider if that is not GDAL or OGR."""
    layer = QgsProject.instance().mapLayer(text)
    if layer is None:
        return text
    if layer.providerType() in ("gdal", "ogr"):
        return layer.source()
    return QgsProcessingUtils.encodeProviderKeyAndUri(layer.providerType(), layer.source())


def _whole_file(source: str) -> Optional[str]:
    """The file of a polygon layer; None unless the layer is the whole first one, which ``--mask`` reads."""
    registry = QgsProviderRegistry.instance()
    parts = registry.decodeUri("ogr", source)
    path, layer = parts.get("path") or "", parts.get("layerName")
    if not Path(path).is_file() or any(parts.get(name) for name in ("vsiPrefix", "layerId", "subset")):
        return None
    shapes = [one.name() for one in registry.querySublayers(path) if one.wkbType() != QgsWkbTypes.Type.NoGeometry]
    return path if not layer or shapes[:1] == [layer] else None

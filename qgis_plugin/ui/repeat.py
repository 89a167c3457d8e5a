"""Shell commands that repeat a run. Without windows."""

import shlex
from pathlib import Path
from typing import Any, Optional

from qgis.core import (
    QgsProcessing,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsProviderRegistry,
    QgsWkbTypes,
)

from ..texts import tr

_FLAGS = {
    "CONFIDENCE": "--confidence", "PROBABILITIES": "--probabilities", "POLYGONS": "--polygons", "TTA": "--tta",
    "DATE_COUNT": "--date-count",
}  # fmt: skip
_LAYERS = ("INPUT", "MASK", "LABELS", "SERIES")  # parameters that are layers, a line each where there are several
_TEMPORARY = QgsProcessing.TEMPORARY_OUTPUT
_VALUES = {
    "VALUES": "--input", "OFFSET": "--offset", "NODATA": "--nodata", "NODATA_RULE": "--nodata-rule",
    "MIN_AREA": "--min-area", "GRID": "--grid",
    "OVERLAP": "--overlap", "STRIDE": "--stride", "PROVIDER": "--provider", "THREADS": "--threads",
    "MODEL_OUTPUT": "--output", "THRESHOLD": "--threshold", "MASK_BAND": "--mask-band", "MASK_VALUES": "--mask-values",
}  # fmt: skip


def given(parameters: dict[str, Any]) -> dict[str, str]:
    """Parameters as texts, layers as their sources; call while the layers are in the project."""
    texts: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, QgsProcessingOutputLayerDefinition) or name == "AREAS":
            continue
        if isinstance(value, QgsProcessingFeatureSourceDefinition):
            value = value.source.staticValue()
        if name in _LAYERS:
            texts[name] = "\n".join(map(_source, value if isinstance(value, list) else [value]))
        elif isinstance(value, (list, tuple)):
            texts[name] = ";".join(map(str, value))
        else:
            texts[name] = str(value)
    return texts


def output_files(parameters: dict[str, Any], outputs: dict[str, Any]) -> dict[str, str]:
    """Files of the requested outputs."""
    requested = [
        name for name, value in parameters.items()
        if isinstance(value, QgsProcessingOutputLayerDefinition) or (value == _TEMPORARY and name != "AREAS")
    ]  # fmt: skip
    return {name: str(outputs[name]) for name in requested if name in outputs}


def hindrance(parameters: dict[str, Any], texts: dict[str, str]) -> str:
    """One sentence that says why no command can repeat the run; empty if one can."""
    sources = [source for name in _LAYERS for source in texts.get(name, "").splitlines()]
    if any(source.startswith(("memory://", "/vsimem/")) for source in sources):
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
    given = [(name, one) for name, text in texts.items() for one in (text.splitlines() if name in _LAYERS else [text])]
    return f"qgis_process run {algorithm} -- " + " ".join(f"{name}={shlex.quote(text)}" for name, text in given)


def command(algorithm: str, texts: dict[str, str], of_series: bool = False) -> Optional[str]:
    """The command without QGIS; None if that cannot do the same, since it reads files only.

    ``of_series`` says whether the model reads a series.
    """
    return fit(texts) if algorithm == "geoaware:fitmodel" else predict(texts, of_series)


def predict(texts: dict[str, str], of_series: bool = False) -> Optional[str]:
    """The command for ``export.predict``; None if that cannot do the same."""
    others = texts.get("SERIES", "").splitlines()
    sources, mask = [texts["INPUT"], *others], _whole_file(texts["MASK"]) if "MASK" in texts else ""
    if not all(Path(source).is_file() for source in sources) or mask is None or "OUTPUT" not in texts:
        return None
    out = Path(texts["OUTPUT"])
    words = ["python", "-m", "export.predict", texts["MODEL"], *sources, "--out", str(out.parent), "--name", out.stem]
    if others:
        words += ["--series", *([] if of_series else ["--combine", "mean"])]
        words += ["--dates", *texts["DATES"].split(";")] if texts.get("DATES") else []
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


def fit(texts: dict[str, str]) -> Optional[str]:
    """The command for ``export.fit``; None if that cannot do the same."""
    labels = [_in_file(source) for source in texts["LABELS"].splitlines()]
    inputs, mask = texts["INPUT"].splitlines(), _whole_file(texts["MASK"]) if "MASK" in texts else ""
    layers = {layer for _, layer in labels}
    if (
        not all(Path(source).is_file() for source in (*inputs, *(path for path, _ in labels)))
        or len(layers) > 1
        or mask is None
    ):
        return None
    words = ["python", "-m", "export.fit", *inputs, "--labels", *(path for path, _ in labels)]
    for name, flag in (
        ("FIELD", "--field"),
        ("ENCODER", "--encoder"),
        ("CACHE", "--cache"),
        ("MODEL", "--out"),
        ("BANDS", "--bands"),
        ("NODATA", "--nodata"),
    ):
        words += [flag, texts[name]] if texts.get(name) else []
    layer = layers.pop()
    words += ["--layer", layer] if layer else []
    words += {"texture": ["--texture"], "both": ["--texture"], "raster": ["--holds-features"]}.get(
        texts.get("FEATURES", ""), []
    )
    if "OUTPUT" in texts:
        words += [
            "--map",
            str(Path(texts["OUTPUT"]).with_suffix("")),
            *(["--confidence"] if "CONFIDENCE" in texts else []),
        ]
        words += _bounds(texts["EXTENT"]) if texts.get("EXTENT") else []
        words += ["--mask", mask] if mask else []
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


def _in_file(source: str) -> tuple[str, str]:
    """File and layer of a vector layer, "" where it is the only one; no file where only a part of it is shown."""
    parts = QgsProviderRegistry.instance().decodeUri("ogr", source)
    whole = not any(parts.get(name) for name in ("vsiPrefix", "layerId", "subset"))
    return (parts.get("path") or "" if whole else ""), parts.get("layerName") or ""


def _whole_file(source: str) -> Optional[str]:
    """The file of a polygon layer; None unless the layer is the whole first one, which ``--mask`` reads."""
    registry = QgsProviderRegistry.instance()
    parts = registry.decodeUri("ogr", source)
    path, layer = parts.get("path") or "", parts.get("layerName")
    if not Path(path).is_file() or any(parts.get(name) for name in ("vsiPrefix", "layerId", "subset")):
        return None
    shapes = [one.name() for one in registry.querySublayers(path) if one.wkbType() != QgsWkbTypes.Type.NoGeometry]
    return path if not layer or shapes[:1] == [layer] else None

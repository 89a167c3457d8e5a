"""How to repeat a run: lines for a shell. Knows no windows."""

import shlex
from pathlib import Path
from typing import Any, Dict, List, Optional

from qgis.core import QgsProcessingFeatureSourceDefinition, QgsProcessingOutputLayerDefinition, QgsProject

_FLAGS = {"CONFIDENCE": "--confidence", "PROBABILITIES": "--probabilities", "POLYGONS": "--polygons", "TTA": "--tta"}
_VALUES = {
    "VALUES": "--input", "OFFSET": "--offset", "NODATA": "--nodata", "MIN_AREA": "--min-area", "GRID": "--grid",
    "OVERLAP": "--overlap", "STRIDE": "--stride", "PROVIDER": "--provider", "THREADS": "--threads",
    "MODEL_OUTPUT": "--output",
}  # fmt: skip


def plain(parameters: Dict[str, Any], outputs: Dict[str, Any]) -> Dict[str, str]:
    """Parameters as texts, layers as their sources and results as their files."""
    texts: Dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, QgsProcessingOutputLayerDefinition) or name == "AREAS":
            if name != "AREAS" and name in outputs:
                texts[name] = str(outputs[name])
        elif isinstance(value, QgsProcessingFeatureSourceDefinition):
            texts[name] = _source(value.source.staticValue())
        elif name == "INPUT":
            texts[name] = _source(value)
        elif isinstance(value, (list, tuple)):
            texts[name] = ";".join(map(str, value))
        else:
            texts[name] = str(value)
    return texts


def qgis_process(algorithm: str, texts: Dict[str, str]) -> str:
    """The line for QGIS's own shell command."""
    given = " ".join(f"{name}={shlex.quote(text)}" for name, text in texts.items())
    return f"qgis_process run {algorithm} -- {given}"


def predict(texts: Dict[str, str]) -> Optional[str]:
    """The line for ``export.predict``; None where the layer is no file."""
    source = texts["INPUT"]
    if not Path(source).is_file() or "OUTPUT" not in texts:
        return None
    out = Path(texts["OUTPUT"])
    parts: List[str] = ["python -m export.predict", *_quoted(texts["MODEL"], source)]
    parts += [f"--out {shlex.quote(str(out.parent))}", f"--name {shlex.quote(out.stem)}"]
    parts += [flag for name, flag in _FLAGS.items() if texts.get(name, "False") != "False"]
    if texts.get("RESAMPLE") == "False":
        parts.append("--no-resample")
    if texts.get("BANDS"):
        parts.append("--bands " + texts["BANDS"].replace(";", " "))
    if texts.get("EXTENT"):
        parts.append(_bounds(texts["EXTENT"]))
    if texts.get("MASK"):
        parts.append(f"--mask {shlex.quote(texts['MASK'].split('|')[0])}")
    parts += [f"{flag} {shlex.quote(texts[name])}" for name, flag in _VALUES.items() if texts.get(name)]
    return " ".join(parts)


def _bounds(extent: str) -> str:
    numbers, _, crs = extent.partition(" [")
    west, east, south, north = numbers.split(",")
    return f"--bounds {west} {south} {east} {north}" + (f" --crs {crs.rstrip(']')}" if crs else "")


def _quoted(*texts: str) -> List[str]:
    return [shlex.quote(text) for text in texts]


def _source(text: str) -> str:
    layer = QgsProject.instance().mapLayer(text)
    return layer.source() if layer else text

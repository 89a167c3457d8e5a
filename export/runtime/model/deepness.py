"""Reads the keys by which the QGIS plugin Deepness describes a model. Source: Deepness 0.6.5."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from ..errors import ModelFault
from ..raster.legend import LandClass, palette
from .card import ModelCard, Scaling

TASKS = {"segmentor": "segmentation", "regressor": "regression", "recognition": "embedding"}
RESOLUTION = 3.0  # cm a pixel, Deepness's own default
OVERLAP = 15.0  # per cent of a tile, Deepness's own default


def card_of_keys(metadata: dict[str, str], where: str, shape: tuple[int | None, ...]) -> ModelCard:
    """The card of a model made for Deepness, which feeds raw / 255 and then applies mean and deviation.

    Args:
        metadata: keys and texts of ``metadata_props``.
        where: name of the file, for the message.
        shape: of the graph's input: (batch, bands, rows, columns), None where free.

    Raises:
        ModelFault: the model is of an unsupported type, the number of bands is not fixed, or a key cannot be read.
        ValueError: a key holds no number.
    """
    kind = str(_value(metadata, "model_type", "")).strip()
    if kind.lower() not in TASKS:
        raise ModelFault("deepness_type", where=where, type=kind)
    mean = tuple(float(v) for v in _value(metadata, "standardization_mean", ()))
    std = tuple(float(v) for v in _value(metadata, "standardization_std", ()))
    bands = shape[1] if len(shape) == 4 else None
    bands = bands or len(mean)
    if not bands:
        raise ModelFault("deepness_bands", where=where, card=f"{Path(where).stem}.card.json")
    tile = (shape[2] if len(shape) == 4 else None) or int(
        _value(metadata, "tile_size", _value(metadata, "tiles_size", 0))
    )
    scale = Scaling(255.0, mean, std)
    if mean and set(mean) == {0.0} and all(abs(v * 255 - 1) < 1e-6 for v in std):
        scale = Scaling()  # the way to ask Deepness for raw values
    return ModelCard(
        name=Path(where).stem,
        task=TASKS[kind.lower()],
        bands=tuple(f"band {number}" for number in range(1, bands + 1)),
        unit="8-bit values, 0 to 255",
        value_range=(0.0, 255.0),
        fill=tuple(scale.raw(0.0, band) for band in range(bands)) if mean else (0.0,) * bands,
        classes=_classes(metadata) if kind.lower() == "segmentor" else (),
        tile_size=tile,
        overlap=round(tile * float(_value(metadata, "tiles_overlap", OVERLAP)) / 100),
        gsd=float(_value(metadata, "resolution", RESOLUTION)) / 100,
        license="",
        description="a model made for the QGIS plugin Deepness",
        activation=None,
        scale=scale,
        source="deepness",
        threshold=float(_value(metadata, "seg_thresh", 0.5)) or 0.5,  # 0 asks for no threshold: the likelier one
        factor=float(_value(metadata, "reg_output_scaling", 1.0)),
    )


def _value(metadata: dict[str, str], key: str, absent: Any) -> Any:
    """A key's JSON; a bare word, which Deepness's own examples show too, is itself."""
    text = metadata.get(key)
    if text is None:
        return absent
    try:
        return json.loads(text)
    except ValueError:
        if key in ("class_names", "names"):
            return _literal(text)
        return text


def _literal(text: str) -> Any:
    """What a Python literal, which Deepness allows too, stands for; nothing is run."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError):  # the last if it is nested too deeply
        raise ModelFault("deepness_names", text=repr(text[:40])) from None


def _classes(metadata: dict[str, str]) -> tuple[LandClass, ...]:
    names = _value(metadata, "class_names", _value(metadata, "names", {}))
    if isinstance(names, list):  # one legend an output, or plain names
        names = names[0] if names and isinstance(names[0], dict) else dict(enumerate(names))
    numbered = sorted((int(number), str(name)) for number, name in names.items())
    return tuple(LandClass(number, name, palette(number)) for number, name in numbered)

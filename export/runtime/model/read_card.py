"""Reads model cards: from an ONNX file's metadata, or from a JSON file beside the model.

A card is one STAC MLM Item (a JSON text under the metadata key ``mlm``) in our models, Deepness's keys in the models
of that plugin's users, or a JSON file given beside the model. Code or expressions that an Item may name are never run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ModelFault
from ..messages import Message
from ..raster.legend import LandClass, palette
from .card import MLM_TASKS, ModelCard, Scaling
from .deepness import card_of_keys
from .guard import OnnxHeader

# what JSON of another structure causes
_MALFORMED = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)
_WITH_CLASSES = ("segmentation", "classification", "detection")


def card_of(path: str | Path, header: OnnxHeader) -> ModelCard:
    """The card of a model: ``<model>.card.json`` beside the file, else the one inside it.

    Raises:
        ModelFault: there is none, or it is not valid.
    """
    beside = Path(path).with_suffix(".card.json")
    if os.path.isfile(beside):  # unlike Path's: also if that name is too long for the disk
        return card_of_file(beside)
    return card_of_metadata(header.metadata, str(path), header.input_shape)


def card_of_metadata(metadata: dict[str, str], where: str, shape: tuple[int | None, ...] = ()) -> ModelCard:
    """Read the card from an ONNX file's metadata: ours, else Deepness's keys.

    Args:
        metadata: keys and texts of ``metadata_props``.
        where: name of the file, for the message.
        shape: of the graph's input; Deepness's keys do not name the bands, so it must give their number.

    Raises:
        ModelFault: there is no card, or it lacks something.
    """
    if "mlm" not in metadata and "model_type" not in metadata:
        raise ModelFault("no_card", where=where, card=f"{Path(where).stem}.card.json")
    with _faults_of(where):
        if "mlm" in metadata:
            return _of_item(json.loads(metadata["mlm"]))
        return card_of_keys(metadata, where, shape).checked()


def card_of_file(path: str | Path) -> ModelCard:
    """Read a card from a JSON file: an MLM Item, or an object with the fields of ``ModelCard``.

    ``task``, ``bands``, ``value_range`` and, for classes, ``classes`` must be there. ``scale`` is an object with
    ``divisor``, ``mean`` and ``std``. ``classes`` is a list, in the order of the model's output, of names or of objects
    with ``value``, ``name`` and ``color``; or an object that maps class values to names.

    Raises:
        ModelFault: it cannot be read, or something is missing.
    """
    path = Path(path)
    with _faults_of(path):
        try:
            item = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelFault("not_readable", where=path, reason=error.strerror) from None
        if not isinstance(item, dict):
            raise ModelFault("card_no_object")
        return _of_item(item) if "properties" in item else _given(item, path).checked()


@contextmanager
def _faults_of(where: str | Path) -> Iterator[None]:
    """Turn what is wrong with a card into a fault that names its file."""
    try:
        yield
    except ModelFault as fault:
        if "where" in fault.message.fields:
            raise
        raise ModelFault("bad_card", where=where, reason=fault.message) from None
    except RecursionError:
        raise ModelFault("bad_card", where=where, reason=Message("card_nested")) from None
    except _MALFORMED as error:
        raise ModelFault("bad_card", where=where, reason=f"{type(error).__name__}: {error}") from None


def _of_item(item: dict[str, Any]) -> ModelCard:
    properties = item["properties"]
    model_input, output = properties["mlm:input"][0], properties["mlm:output"][0]
    task = MLM_TASKS[properties["mlm:tasks"][0]]
    classes = tuple(_land_class(entry) for entry in output.get("classification:classes") or ())
    bands = tuple(band if isinstance(band, str) else str(band["name"]) for band in model_input["bands"])
    card = ModelCard(
        name=str(properties["mlm:name"]),
        task=task,
        bands=bands,
        unit=str(properties["geoaware:unit"]),
        value_range=_pair(properties["geoaware:value_range"]),
        fill=tuple(float(v) for v in properties["geoaware:fill"]),
        classes=classes,
        tile_size=int(model_input["input"]["shape"][-1]),
        overlap=int(properties["geoaware:overlap"]),
        gsd=_metres(properties.get("gsd")),
        license=str(properties.get("license", "")),
        description=str(properties.get("description", "")),
        accuracy=_accuracy(properties.get("geoaware:accuracy")),
    )
    if task in _WITH_CLASSES and not classes:
        raise ModelFault("card_no_classes")
    return card.checked()


def _given(item: dict[str, Any], path: Path) -> ModelCard:
    needed = ["task", "bands", "value_range"]
    if item.get("task") in _WITH_CLASSES:
        needed.append("classes")
    missing = [key for key in needed if not item.get(key)]
    if missing:
        raise ModelFault("card_lacks", keys=", ".join(missing))
    fields = set(ModelCard.__dataclass_fields__) - {"source"}
    if set(item) - fields:
        raise ModelFault("card_unknown_key", key=min(set(item) - fields), known=", ".join(sorted(fields)))
    scale = item.get("scale") or {}
    scale = {} if scale == "raw" else scale
    low, high = _pair(item["value_range"])
    bands = tuple(str(band) for band in item["bands"])
    tile = int(item.get("tile_size") or 0)
    return ModelCard(
        name=str(item.get("name") or path.name.split(".")[0]),
        task=str(item["task"]),
        bands=bands,
        unit=str(item.get("unit") or f"{low:g} to {high:g}"),
        value_range=(low, high),
        fill=tuple(float(v) for v in item.get("fill") or [(low + high) / 2] * len(bands)),
        classes=_given_classes(item.get("classes") or []),
        tile_size=tile,
        overlap=int(item.get("overlap", tile // 4)),
        gsd=_metres(item.get("gsd")),
        license=str(item.get("license", "")),
        description=str(item.get("description", "")),
        activation=item.get("activation"),
        scale=Scaling(float(scale.get("divisor", 1)), _floats(scale.get("mean")), _floats(scale.get("std"))),
        source="given",
        threshold=float(item.get("threshold", 0.5)),
        factor=float(item.get("factor", 1)),
        output=item.get("output"),
        accuracy=str(item.get("accuracy", "")),
    )


def _accuracy(measured: dict[str, Any] | None) -> str:
    """A share from 0 to 1 with the ends of its 95 % interval, and of what it is the share."""
    if not measured:
        return ""
    value, low, high = (f"{100 * float(measured[key]):.1f}" for key in ("value", "low", "high"))
    return f"{value} % (95 %: {low} to {high}) {measured['of']}"


def _given_classes(entries: Any) -> tuple[LandClass, ...]:
    if isinstance(entries, dict):  # value -> name, or what else is known of the class
        known = {int(value): entry if isinstance(entry, dict) else {"name": entry} for value, entry in entries.items()}
        entries = [{**entry, "value": value} for value, entry in known.items()]
    if not isinstance(entries, list):
        raise ModelFault("card_classes")
    return tuple(_given_class(number, entry) for number, entry in enumerate(entries))


def _given_class(number: int, entry: Any) -> LandClass:
    if not isinstance(entry, dict):
        return LandClass(number, str(entry), palette(number))
    return LandClass(int(entry.get("value", number)), str(entry["name"]), _color(entry.get("color") or palette(number)))


def _land_class(entry: dict[str, Any]) -> LandClass:
    name = str(entry.get("description") or entry["name"])
    return LandClass(int(entry["value"]), name, _color(entry["color_hint"]))


def _color(text: Any) -> str:
    color = str(text).upper()
    if not re.fullmatch("[0-9A-F]{6}", color):
        raise ModelFault("card_color", color=color)
    return color


def _metres(gsd: Any) -> float | None:
    return None if gsd in (None, "") else float(gsd)


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values or ())


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)

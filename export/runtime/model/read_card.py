"""Reads model cards: from an ONNX file's metadata, or from a JSON file beside the model.

A card is one STAC MLM Item (a JSON text under the metadata key ``mlm``) in our models, Deepness's keys in the models
of that plugin's users (version 0.6.5), or a JSON file given beside the model. Code or expressions that an Item may name
are never run.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ModelFault
from ..messages import Message
from ..raster.legend import LandClass, palette
from .card import MLM_TASKS, ModelCard, Scaling
from .guard import OnnxHeader

# what JSON of another structure causes
_MALFORMED = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)
_WITH_CLASSES = ("segmentation", "classification", "detection")
DEEPNESS_TASKS = {"segmentor": "segmentation", "regressor": "regression", "recognition": "embedding"}
RESOLUTION = 3.0  # cm a pixel, Deepness's own default
OVERLAP = 15.0  # per cent of a tile, Deepness's own default


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
    """Read the card from an ONNX file's ``metadata_props``: ours, else Deepness's keys.

    ``shape`` is that of the graph's input; Deepness's keys do not name the bands, so it must give their number.

    Raises:
        ModelFault: there is no card, or it lacks something.
    """
    if "mlm" not in metadata and "model_type" not in metadata:
        raise ModelFault("no_card", where=where, card=f"{Path(where).stem}.card.json")
    with _faults_of(where):
        if "mlm" in metadata:
            return _of_item(json.loads(metadata["mlm"]))
        return _of_keys(metadata, where, shape)


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
        return _of_item(item) if "properties" in item else _given(item, path.name.split(".")[0])


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
    classes = output.get("classification:classes") or ()
    border = properties.get("geoaware:border") or 0
    if task in _WITH_CLASSES and not classes:
        raise ModelFault("card_no_classes")
    fields = {
        "name": properties.get("title") or properties["mlm:name"],  # the title is for people; older cards have none
        "task": task,
        "bands": [band if isinstance(band, str) else band["name"] for band in model_input["bands"]],
        "unit": properties["geoaware:unit"],
        "value_range": properties["geoaware:value_range"],
        "fill": properties["geoaware:fill"],
        "classes": [
            {"value": entry["value"], "name": entry.get("description") or entry["name"], "color": entry["color_hint"]}
            for entry in classes
        ],
        "tile_size": max(int(model_input["input"]["shape"][-1]), 0),  # -1 where free
        "overlap": 2 * border or properties["geoaware:overlap"],
        "border": border,
        "gsd": properties.get("gsd"),
        "license": _license(properties),
        "description": properties.get("description", ""),
        "activation": "softmax",
        "accuracy": _accuracy(properties.get("geoaware:accuracy")),
        "dates": properties.get("geoaware:dates"),
        "location": any(one.get("name") == "longitude" for one in properties["mlm:input"]),
    }
    return _of_fields(fields, "geoaware")


def _given(item: dict[str, Any], name: str) -> ModelCard:
    needed = ["task", "bands", "value_range"]
    if item.get("task") in _WITH_CLASSES:
        needed.append("classes")
    missing = [key for key in needed if not item.get(key)]
    if missing:
        raise ModelFault("card_lacks", keys=", ".join(missing))
    fields = set(ModelCard.__dataclass_fields__) - {"source"}
    if set(item) - fields:
        raise ModelFault("card_unknown_key", key=min(set(item) - fields), known=", ".join(sorted(fields)))
    low, high = map(float, item["value_range"])
    defaults = {
        "name": name,
        "unit": f"{low:g} to {high:g}",
        "fill": [(low + high) / 2] * len(item["bands"]),
    }
    return _of_fields({**item, **{key: item.get(key) or value for key, value in defaults.items()}}, "given")


def _of_fields(fields: dict[str, Any], source: str) -> ModelCard:
    """The card with the fields of ``ModelCard`` as JSON has them."""
    low, high = map(float, fields["value_range"])
    tile, gsd, scale = int(fields.get("tile_size") or 0), fields.get("gsd"), fields.get("scale") or {}
    scale, border = {} if scale == "raw" else scale, int(fields.get("border") or 0)
    return ModelCard(
        name=str(fields["name"]),
        task=str(fields["task"]),
        bands=tuple(str(band) for band in fields["bands"]),
        unit=str(fields["unit"]),
        value_range=(low, high),
        fill=_floats(fields["fill"]),
        classes=_given_classes(fields.get("classes") or []),
        tile_size=tile,
        overlap=int(fields.get("overlap", 2 * border or tile // 4)),
        border=border,
        gsd=None if gsd in (None, "") else float(gsd),
        license=str(fields.get("license", "")),
        description=str(fields.get("description", "")),
        activation=fields.get("activation"),
        scale=Scaling(float(scale.get("divisor", 1)), _floats(scale.get("mean")), _floats(scale.get("std"))),
        source=source,
        threshold=float(fields.get("threshold", 0.5)),
        factor=float(fields.get("factor", 1)),
        output=fields.get("output"),
        accuracy=str(fields.get("accuracy", "")),
        dates=int(fields.get("dates") or 0),
        location=bool(fields.get("location")),
    ).checked()


def _license(properties: dict[str, Any]) -> str:
    """In the words of its source, where STAC's one word is "other"."""
    stated = properties.get("license", "")
    return properties.get("geoaware:license", stated) if stated == "other" else stated


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


def _color(text: Any) -> str:
    color = str(text).upper()
    if not re.fullmatch("[0-9A-F]{6}", color):
        raise ModelFault("card_color", color=color)
    return color


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values or ())


def _of_keys(metadata: dict[str, str], where: str, shape: tuple[int | None, ...]) -> ModelCard:
    """The card of a model made for Deepness, which feeds raw / 255 and then applies mean and deviation."""
    kind = str(_value(metadata, "model_type", "")).strip()
    if kind.lower() not in DEEPNESS_TASKS:
        raise ModelFault("deepness_type", where=where, type=kind)
    mean, std = (_floats(_value(metadata, f"standardization_{key}", ())) for key in ("mean", "std"))
    bands = (shape[1] if len(shape) == 4 else None) or len(mean)
    if not bands:
        raise ModelFault("deepness_bands", where=where, card=f"{Path(where).stem}.card.json")
    stated = _value(metadata, "tile_size", _value(metadata, "tiles_size", 0))
    tile = (shape[2] if len(shape) == 4 else None) or int(stated)
    scale = Scaling(255.0, mean, std)
    if mean and set(mean) == {0.0} and all(abs(v * 255 - 1) < 1e-6 for v in std):
        scale = Scaling()  # the way to ask Deepness for raw values
    return ModelCard(
        name=Path(where).stem,
        task=DEEPNESS_TASKS[kind.lower()],
        bands=tuple(f"band {number}" for number in range(1, bands + 1)),
        unit="8-bit values, 0 to 255",
        value_range=(0.0, 255.0),
        fill=tuple(scale.raw(0.0, band) for band in range(bands)) if mean else (0.0,) * bands,
        classes=_deepness_classes(metadata) if kind.lower() == "segmentor" else (),
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
    ).checked()


def _value(metadata: dict[str, str], key: str, absent: Any) -> Any:
    """A key's JSON; a bare word, which Deepness's own examples show too, is itself."""
    text = metadata.get(key)
    if text is None:
        return absent
    try:
        return json.loads(text)
    except ValueError:
        if key not in ("class_names", "names"):
            return text
    try:
        return ast.literal_eval(text)  # a Python literal, which Deepness allows too; nothing is run
    except (ValueError, SyntaxError, MemoryError):  # the last if it is nested too deeply
        raise ModelFault("deepness_names", text=repr(text[:40])) from None


def _deepness_classes(metadata: dict[str, str]) -> tuple[LandClass, ...]:
    names = _value(metadata, "class_names", _value(metadata, "names", {}))
    if isinstance(names, list):  # one legend an output, or plain names
        names = names[0] if names and isinstance(names[0], dict) else dict(enumerate(names))
    numbered = sorted((int(number), str(name)) for number, name in names.items())
    return tuple(LandClass(number, name, palette(number)) for number, name in numbered)


def with_tile(card: ModelCard, header: OnnxHeader, where: str) -> ModelCard:
    """The card with its own tile size or the graph's; 0 if neither states one."""
    _, bands, rows, columns = header.input_shape
    takes = (bool(header.others), "longitude" in header.others)
    if takes != (card.dates > 0, card.location):
        inputs = ", ".join((header.input_name, *header.others))
        raise ModelFault(
            "series_card", where=where, inputs=inputs, dates=card.dates, location=str(card.location).lower()
        )
    if not card.tile_size and (rows or columns):
        size = rows or columns or 0
        card = replace(card, tile_size=size, overlap=min(card.overlap or min(size // 4, 128), size - 1))
    expected = (len(card.bands), card.tile_size, card.tile_size)
    if any(size not in (None, needed) for size, needed in zip((bands, rows, columns), expected)):
        raise ModelFault("input_shape", where=where, shape=list(header.input_shape), expected=expected)
    return card

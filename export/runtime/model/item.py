"""What a model's file says of itself: names as STAC MLM allows them, the Item of a map from features, Deepness's keys.

Reading them is ``read_card``'s part.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..files import sha256
from ..raster.legend import LandClass
from .card import ModelCard

MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"


def mlm_name(title: str) -> str:
    """A title as MLM allows names: Latin letters, digits, ``_``, ``.``, ``-`` and spaces; a letter first, at least three."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    name = re.sub("[^A-Za-z0-9_.-]+", " ", plain).strip(" _.-")
    return name if re.match("[A-Za-z]..", name) else f"model {name}".strip()


def multihash(path: Path) -> str:
    """SHA-256 of a file as the STAC file extension writes it."""
    return f"1220{sha256(path)}"


def slug(name: str) -> str:
    """The name of a class as STAC allows it."""
    return re.sub("[^0-9A-Za-z_-]+", "_", name)


def item_id(title: str) -> str:
    """The identity of an Item by its title."""
    return re.sub("[^a-z0-9]+", "-", mlm_name(title).lower()).strip("-")


def license_fields(license: str) -> dict[str, str]:
    """STAC takes one word, at best of SPDX; other words go beside it."""
    if re.fullmatch(r"[\w.+-]+", license):
        return {"license": license}
    return {"license": "other", "geoaware:license": license or "unknown"}


def map_item(card: ModelCard, file: str, architecture: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A STAC Item of a model that gives probabilities for each pixel of a tile, as MLM 1.6 asks for it.

    Args:
        card: what it says; ``fill`` and the range of values are those that pixels had.
        file: name of the ONNX file.
        architecture: what the network is, in a few words.
        settings: how it was made; at least one.
    """
    bands, tile = [{"name": band} for band in card.bands], card.tile_size
    task, order = "semantic-segmentation", ["batch", "bands", "height", "width"]
    model_input = {"shape": [-1, len(bands), tile, tile], "dim_order": order, "data_type": "float32"}
    result = {"shape": [-1, len(card.classes), tile, tile], "dim_order": ["batch", "class", "height", "width"]}
    properties: dict[str, Any] = {
        "title": card.name,
        "description": card.description,
        "datetime": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "bands": bands,  # which the model's input refers to
        **license_fields(card.license),
        "geoaware:unit": card.unit,
        "geoaware:value_range": list(card.value_range),
        "geoaware:fill": list(card.fill),
        "geoaware:overlap": card.overlap,
        "geoaware:border": card.border,
        "mlm:name": mlm_name(card.name),
        "mlm:architecture": architecture,
        "mlm:framework": "ONNX",
        "mlm:tasks": [task],
        "mlm:hyperparameters": dict(settings),
        "mlm:input": [
            {"name": f"raw pixel values ({card.unit})", "bands": list(card.bands), "input": model_input},
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "tasks": [task],
                "result": {**result, "data_type": "float32"},
                "classification:classes": [_class(one) for one in card.classes],
            }
        ],
    }
    if card.gsd:
        properties["gsd"] = card.gsd
    asset = {
        "href": f"./{file}",
        "type": "application/octet-stream; framework=onnx",
        "roles": ["mlm:model", "mlm:weights", "data"],
        "mlm:artifact_type": "onnx",
        "bands": bands,
    }
    return {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [MLM], "id": item_id(card.name), "geometry": None,
        "properties": properties, "links": [], "assets": {"model": asset},
    }  # fmt: skip


def _class(one: LandClass) -> dict[str, Any]:
    return {"value": one.value, "name": slug(one.name), "description": one.name, "color_hint": one.color.upper()}


def metadata(
    item: dict[str, Any], task: str, classes: Sequence[LandClass], bands: int, tile: int, gsd: float | None
) -> dict[str, str]:
    """The ONNX file's ``metadata_props``: the Item, and Deepness's keys.

    Deepness computes (raw / 255 - mean) / std: mean 0 and std 1 / 255 restore the raw value.
    """
    # Detection has no Deepness type: a Detector of Deepness decodes boxes itself.
    model_type = {"segmentation": "Segmentor", "detection": None}.get(task, "Recognition")
    keys: dict[str, Any] = {
        "mlm": item,
        "class_names": {str(number): entry.name for number, entry in enumerate(classes)},
        "tile_size": tile,
        "tiles_size": tile,
        "tiles_overlap": -(-100 * item["properties"]["geoaware:overlap"] // tile),
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1 / 255] * bands,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if model_type:
        keys["model_type"] = model_type
    if gsd:
        keys["resolution"] = gsd * 100  # in centimetres
    return {key: json.dumps(value) for key, value in keys.items()}

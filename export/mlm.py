"""Writes the model card: a STAC MLM Item (MLM 1.6), and the keys that the Deepness plugin reads."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pystac
import shapely
from stac_model.base import TaskEnum
from stac_model.input import InputStructure, ModelInput
from stac_model.output import MLMClassification, ModelOutput, ModelResult
from stac_model.schema import MLModelExtension, MLModelProperties

from core.models import ModelSpec, feature_width
from core.store import ChipStore
from export.runtime.card import MLM_TASKS

_MLM_OF = {ours: theirs for theirs, ours in MLM_TASKS.items()}


def model_item(
    spec: ModelSpec,
    store: ChipStore,
    *,
    name: str,
    file_name: str,
    tile_size: int,
    overlap: int,
    parameters: int,
    data_sha256: str,
) -> dict[str, Any]:
    """Describe a model as a STAC Item, validated against MLM 1.6.

    Args:
        spec: the network's specification.
        store: what it was trained on.
        name: for people.
        file_name: of the ONNX file, beside the Item.
        tile_size: rows = columns of the input, px.
        overlap: px that neighbouring tiles should share.
        parameters: number of weights.
        data_sha256: checksum of the training chips.

    Returns:
        The Item as a dictionary.
    """
    box, start, end = _extent(store)
    item = pystac.Item(
        id=re.sub("[^a-z0-9]+", "-", name.lower()).strip("-"),
        geometry=shapely.box(*box).__geo_interface__ if box else None,
        bbox=box,
        datetime=None if start else datetime.now(UTC),  # STAC wants one: of the model, where the imagery has none
        start_datetime=start,
        end_datetime=end,
        properties={
            "description": spec.description,
            "license": spec.license or "unknown",
            "geoaware:unit": spec.unit,
            "geoaware:value_range": list(spec.value_range),
            "geoaware:fill": list(spec.mean),
            "geoaware:overlap": overlap,
            "geoaware:scaling": {
                "where": "inside the graph",
                "type": "z-score",
                "mean": list(spec.mean),
                "stddev": list(spec.std),
            },
            "geoaware:training_data_sha256": data_sha256,
        },
    )
    if spec.gsd:
        item.properties["gsd"] = spec.gsd
    item.add_asset(
        "model",
        pystac.Asset(
            href=f"./{file_name}",
            media_type="application/octet-stream; framework=onnx",
            roles=["mlm:model", "mlm:weights", "data"],
            extra_fields={"mlm:artifact_type": "onnx"},
        ),
    )
    MLModelExtension.ext(item, add_if_missing=True).apply(_mlm_properties(spec, name, tile_size, parameters))
    return item.to_dict(include_self_link=False)


def _extent(store: ChipStore) -> tuple[list[float] | None, datetime | None, datetime | None]:
    """Bounding box in degrees, first and last date; None where they are unknown."""
    corners = [extreme(store.column(axis)) for extreme in (np.fmin.reduce, np.fmax.reduce) for axis in ("lon", "lat")]
    box = [float(degrees) for degrees in corners] if np.isfinite(corners).all() else None
    dates = store.column("datetime")
    dates = pd.DatetimeIndex(dates[~np.isnat(dates)]).tz_localize("UTC")
    return (box, None, None) if dates.empty else (box, dates.min().to_pydatetime(), dates.max().to_pydatetime())


def _mlm_properties(spec: ModelSpec, name: str, tile: int, parameters: int) -> MLModelProperties:
    task = TaskEnum(_MLM_OF[spec.task])
    pixels = [-1, len(spec.bands), tile, tile]
    shape, order = {
        "segmentation": ([-1, len(spec.classes), tile, tile], ["batch", "class", "height", "width"]),
        "classification": ([-1, len(spec.classes)], ["batch", "class"]),
        "embedding": ([-1, feature_width(spec)], ["batch", "feature"]),
    }[spec.task]
    return MLModelProperties(
        name=name,
        architecture=f"U-Net {spec.arch}" if spec.task == "segmentation" else spec.arch,
        tasks={task},
        framework="ONNX",
        total_parameters=parameters,
        pretrained=True,
        pretrained_source=spec.description,
        input=[
            ModelInput(
                name=f"raw pixel values ({spec.unit})",
                bands=list(spec.bands),
                input=InputStructure(
                    shape=pixels, dim_order=["batch", "bands", "height", "width"], data_type="float32"
                ),
            )
        ],
        output=[
            ModelOutput(
                name="probabilities" if spec.classes else "features",
                tasks={task},
                classes=[
                    MLMClassification(value=c.value, name=_slug(c.name), description=c.name, color_hint=c.color)
                    for c in spec.classes
                ],
                result=ModelResult(shape=shape, dim_order=order, data_type="float32"),
            )
        ],
    )


def _slug(name: str) -> str:
    return re.sub("[^0-9A-Za-z_-]+", "_", name)


def metadata(spec: ModelSpec, item: dict[str, Any], tile_size: int, overlap: int) -> dict[str, str]:
    """The ONNX file's ``metadata_props``: the Item, and Deepness's keys.

    Deepness feeds raw / 255 and then applies mean and deviation: 0 and 1 / 255 give the raw value back.
    """
    model_type = {"segmentation": "Segmentor", "classification": "Recognition", "embedding": "Recognition"}[spec.task]
    bands = len(spec.bands)
    keys: dict[str, Any] = {
        "mlm": item,
        "model_type": model_type,
        "class_names": {str(number): entry.name for number, entry in enumerate(spec.classes)},
        "tile_size": tile_size,
        "tiles_size": tile_size,
        "tiles_overlap": round(100 * overlap / tile_size),
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1 / 255] * bands,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if spec.gsd:
        keys["resolution"] = spec.gsd * 100  # Deepness counts centimetres
    return {key: json.dumps(value) for key, value in keys.items()}

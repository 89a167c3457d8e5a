"""The model card: a STAC MLM Item (MLM 1.6), and the metadata keys of the Deepness plugin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
import shapely
from stac_model.base import ModelHyperParameters, TaskEnum
from stac_model.input import InputStructure, ModelInput
from stac_model.output import MLMClassification, ModelOutput, ModelResult
from stac_model.schema import MLModelExtension, MLModelProperties

from core.files import sha256
from core.networks.decoders import DECODERS
from core.networks.encoders import STRIDE, ModelSpec
from core.store.read import ChipStore
from export.runtime.model.card import MLM_TASKS
from export.runtime.model.item import item_id, license_fields, mlm_name, slug
from export.runtime.model.item import metadata as properties

_MLM_OF = {task: mlm_task for mlm_task, task in MLM_TASKS.items()}
_MLM_OF["sequence"] = _MLM_OF["classification"]  # the exported model takes one date
SEQUENCE = (
    "a place with several dates: average the logarithms of the probabilities over its dates, then take the softmax; "
    "the model was trained on that average"
)
SERIES = "any number of dates in any order: raw pixels, where they hold data (valid), the day of the year of each date (1 to 366)"
LOCATION = ", and the longitude and latitude of each pixel in degrees (WGS 84)"
DETECTION = (
    "boxes (M, 4) as xmin, ymin, xmax, ymax in px, x to the right and y down; scores (M), best first; labels (M), "
    "numbers into the classes; decoded, overlapping boxes of a class removed; one tile at a time"
)


# Settings of a run that do not change what it learns, or name files of its maker.
_NO_HYPERPARAMETERS = {"data", "encoder", "out", "device", "compile", "loggers", "checkpoint_every"}


def model_item(
    spec: ModelSpec,
    store: ChipStore,
    out: Path,
    name: str,
    tile: int,
    output_shape: list[int],
    parameters: int,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A STAC Item of the model in the file ``out``, as MLM 1.6 asks for it.

    ``name`` is for people, and the title; ``tile`` is the side of the input, px; ``output_shape`` that of the first output
    for one tile; ``settings`` are those of the training run, where they are known.
    """
    box, start, end = _extent(store)
    short, bands = mlm_name(name), [{"name": band} for band in spec.bands]
    item = pystac.Item(
        id=item_id(name),
        geometry=shapely.box(*box).__geo_interface__ if box else None,
        bbox=box,
        datetime=None if start else datetime.now(UTC),  # required by STAC: of the model, if the imagery has no dates
        start_datetime=start,
        end_datetime=end,
        properties={
            "title": name,
            "bands": bands,  # which the model's input refers to
            **license_fields(spec.license),
            "geoaware:unit": spec.unit,
            "geoaware:value_range": list(spec.value_range),
            "geoaware:fill": list(spec.mean),
            "geoaware:overlap": tile // 4 if spec.task == "segmentation" else 0,  # of neighbouring tiles, px
            "geoaware:precision": "fp32",
            "geoaware:scaling": {
                "where": "inside the graph",
                "type": "z-score",
                "mean": list(spec.mean),
                "stddev": list(spec.std),
            },
            "geoaware:training_data_sha256": sha256(store.path / "SHA256SUMS"),
        },
    )
    if spec.description:
        item.properties["description"] = spec.description
    if spec.gsd:
        item.properties["gsd"] = spec.gsd
    if spec.task in ("sequence", "detection"):
        item.properties["geoaware:answer"] = SEQUENCE if spec.task == "sequence" else DETECTION
    if spec.dates:
        item.properties["geoaware:dates"] = spec.dates
        item.properties["geoaware:series"] = SERIES + (LOCATION if spec.location else "")
    item.add_asset(
        "model",
        pystac.Asset(
            href=f"./{out.name}",
            media_type="application/octet-stream; framework=onnx",
            roles=["mlm:model", "mlm:weights", "data"],
            extra_fields={
                "mlm:artifact_type": "onnx",
                "bands": bands,
            },  # STAC allows those of an Item only with an asset's
        ),
    )
    MLModelExtension.ext(item, add_if_missing=True).apply(
        _mlm_properties(spec, short, tile, output_shape, parameters, settings or {})
    )
    return item.to_dict(include_self_link=False)


def _hyperparameters(spec: ModelSpec, settings: dict[str, Any]) -> ModelHyperParameters:
    """What a training run was set to, nested settings as ``views.size``; of files and machines nothing."""
    found: dict[str, Any] = {"arch": spec.arch, "stride": spec.stride, "chip_size": spec.chip_size}
    if spec.dates:
        found |= {"dates": spec.dates, "temporal": spec.temporal, "location": spec.location}
    for key, value in settings.items():
        if key in _NO_HYPERPARAMETERS:
            continue
        parts = {f"{key}.{inner}": part for inner, part in value.items()} if isinstance(value, dict) else {key: value}
        found |= {name: part for name, part in parts.items() if isinstance(part, (str, int, float))}
    return ModelHyperParameters(**found)


def _extent(store: ChipStore) -> tuple[list[float] | None, datetime | None, datetime | None]:
    """Bounding box in degrees, first and last date; None if unknown."""
    corners = [extreme(store.column(axis)) for extreme in (np.fmin.reduce, np.fmax.reduce) for axis in ("lon", "lat")]
    box = [float(degrees) for degrees in corners] if np.isfinite(corners).all() else None
    dates = store.column("datetime")
    dates = pd.DatetimeIndex(dates[~np.isnat(dates)]).tz_localize("UTC")
    return (box, None, None) if dates.empty else (box, dates.min().to_pydatetime(), dates.max().to_pydatetime())


def _mlm_properties(
    spec: ModelSpec, name: str, tile: int, output_shape: list[int], parameters: int, settings: dict[str, Any]
) -> MLModelProperties:
    task = TaskEnum(_MLM_OF[spec.task])
    answer, *order = {
        "segmentation": ["probabilities", "batch", "class", "height", "width"],
        "detection": ["boxes", "object", "corner"],
        "embedding": ["features", "batch", "feature", "height", "width"][: len(output_shape) + 1],
    }.get(spec.task, ["probabilities", "batch", "class"])
    family = {"segmentation": f"{DECODERS[spec.decoder]} ", "detection": "RetinaNet "}.get(spec.task, "")
    pooling = f", temporal {spec.temporal}" if spec.dates else ""
    return MLModelProperties(
        name=name,
        architecture=family + spec.arch + (f", stride {spec.stride}" if spec.stride != STRIDE else "") + pooling,
        tasks={task},
        framework="ONNX",
        total_parameters=parameters,
        hyperparameters=_hyperparameters(spec, settings),
        pretrained=True,
        pretrained_source=spec.description,
        input=_inputs(spec, tile),
        output=[
            ModelOutput(
                name=answer,
                tasks={task},
                classes=[
                    MLMClassification(value=c.value, name=slug(c.name), description=c.name, color_hint=c.color)
                    for c in spec.classes
                ],
                result=ModelResult(
                    shape=[1 if spec.dates else -1, *output_shape[1:]], dim_order=order, data_type="float32"
                ),
            )
        ],
    )


def _inputs(spec: ModelSpec, tile: int) -> list[ModelInput]:
    """The pixels first."""
    side = {"height": tile, "width": tile}
    if not spec.dates:
        image = {"batch": 1 if spec.task == "detection" else -1, "bands": len(spec.bands), **side}
        return [_input(f"raw pixel values ({spec.unit})", image, list(spec.bands))]
    inputs = [
        _input("pixels", {"time": -1, "bands": len(spec.bands), **side}, list(spec.bands)),
        _input("valid", {"time": -1, **side}, [], "other"),  # bool: STAC has no word for it
        _input("day_of_year", {"time": -1}, []),
    ]
    return [*inputs, *(_input(name, side, []) for name in ("longitude", "latitude") if spec.location)]


def _input(name: str, shape: dict[str, int], bands: list[str], data_type: str = "float32") -> ModelInput:
    structure = InputStructure(shape=list(shape.values()), dim_order=list(shape), data_type=data_type)
    return ModelInput(name=name, bands=bands, input=structure)


def metadata(spec: ModelSpec, item: dict[str, Any], tile: int) -> dict[str, str]:
    """The ONNX file's ``metadata_props``: the Item, and Deepness's keys, which a model of a series has not."""
    if spec.dates:
        return {"mlm": json.dumps(item)}
    return properties(item, spec.task, spec.classes, len(spec.bands), tile, spec.gsd)

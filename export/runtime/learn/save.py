"""Saves a fitted model: features and head in one ONNX file that runs wherever models of land cover do, with its card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputFault
from ..files import Staging, free_bytes
from ..model.card import ModelCard
from ..model.graph import Graph
from ..model.item import map_item, metadata
from ..model.session import Model
from ..raster.legend import LandClass
from .features import FeatureSet
from .heads import Head
from .judge import Quality


def save_model(
    path: Path,
    features: FeatureSet,
    head: Head,
    classes: Sequence[LandClass],
    name: str,
    quality: Quality,
    made: str = "",
) -> None:
    """Write the model; it takes its place when it has run once.

    Args:
        path: of the ONNX file; one that is there is replaced.
        features: of the layer.
        head: fitted to them.
        classes: the legend, in the order of the head's probabilities.
        name: title of the model.
        quality: tells how many polygons it was fitted to, and how many of those that were left out it got right.
        made: what the features are, for the description.

    Raises:
        InputFault: the file cannot be written, or a card beside it would count instead of its own.
        ModelFault: features and head together are more than an ONNX file holds.
    """
    beside = path.with_suffix(".card.json")
    if beside.exists():
        raise InputFault("card_beside", where=path, card=beside.name)
    content = model_bytes(features, head, classes, name, quality, made, path.name)
    _try(Model(content, "cpu", threads=1))
    with Staging(path.parent) as staging:
        try:
            staging.keep(path.name).write_bytes(content)
        except OSError as error:
            free = free_bytes(path.parent)
            if free < len(content):
                raise InputFault("disk_full", where=path, needed=len(content), free=free) from error
            raise InputFault("write_failed", where=path, reason=error.strerror or error) from error
        staging.commit()


def _try(model: Model) -> None:
    """Run one tile, so that nothing is kept that cannot run; raises ModelFault."""
    size = model.card.tile_size
    fill = np.array(model.card.fill, np.float32)[None, :, None, None]
    model.run(np.repeat(np.repeat(fill, size, axis=2), size, axis=3))


def model_bytes(
    features: FeatureSet,
    head: Head,
    classes: Sequence[LandClass],
    name: str,
    quality: Quality,
    made: str = "",
    file: str = "model.onnx",
) -> bytes:
    """The content of the file; see ``save_model``."""
    graph = Graph.of_model(features.graph, where=features.card.name)
    answer = head.add_to(graph, graph.answer(), features.factor)
    if features.nodata is not None:  # which a raster of this kind need not declare: where there is no number is no data
        missing = graph.node("ReduceMin", _equal(graph, features.nodata), axes=[1], keepdims=1)
        answer = graph.node("Where", graph.node("Cast", missing, to=9), float("nan"), answer)
    card = _card(features, classes, name, quality, made)
    tile, batch = card.tile_size, graph.input.shape[0]
    item = map_item(card, file, "features and a head fitted to them", _settings(features, classes, quality))
    item["properties"] |= _accuracy(quality)
    texts = metadata(item, card.task, card.classes, len(card.bands), tile, card.gsd)
    return graph.to_bytes({"probabilities": (answer, (batch or "batch", len(classes), tile, tile))}, texts)


def _equal(graph: Graph, value: float) -> str:
    return graph.node("Cast", graph.node("Equal", graph.input.name, value), to=1)


def _card(features: FeatureSet, classes: Sequence[LandClass], name: str, quality: Quality, made: str) -> ModelCard:
    counts = ", ".join(f"{one.name} {count}" for one, count in zip(classes, quality.polygons))
    text = f"Fitted to {int(quality.polygons.sum())} labels ({counts}). Features: {made or features.card.name}."
    return replace(
        features.card, name=name, task="segmentation", classes=tuple(classes), activation="softmax", border=features.border,
        overlap=2 * features.border, description=text,
    ).checked()  # fmt: skip


def _settings(features: FeatureSet, classes: Sequence[LandClass], quality: Quality) -> dict[str, Any]:
    """Channels and px of a place, labels in all and by value of their class."""
    labels = {f"labels.{one.value}": int(count) for one, count in zip(classes, quality.polygons)}
    return {"features": features.channels, "factor": features.factor, "labels": sum(labels.values()), **labels}


def _accuracy(quality: Quality) -> dict[str, Any]:
    """As cards state it; nothing if it is not known."""
    value, low, high = (float(part) for part in quality.accuracy)
    if not math.isfinite(value):
        return {}
    units = round(float(quality.confusion.sum()))
    of = f"of {units} labels, each left out of the fit" + (" with those around it" if quality.blocks else "")
    return {"geoaware:accuracy": {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "of": of}}

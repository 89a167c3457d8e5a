"""Small ONNX models with a card, made by hand so that every answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ((3, "red land", "C03020"), (7, "green land", "30A040"), (12, "blue water", "2040C0"))


def card_item(
    classes: tuple = CLASSES,
    bands: tuple = ("red", "green", "blue"),
    tile_size: int = 32,
    overlap: int = 8,
    gsd: float | None = None,
    task: str = "semantic-segmentation",
) -> dict:
    """The parts of a STAC MLM Item that the runtime reads."""
    return {
        "properties": {
            "mlm:name": "tiny colours",
            "mlm:tasks": [task],
            "mlm:input": [{"bands": list(bands), "input": {"shape": [-1, len(bands), tile_size, tile_size]}}],
            "mlm:output": [
                {
                    "classification:classes": [
                        {"value": v, "name": n.replace(" ", "_"), "description": n, "color_hint": c}
                        for v, n, c in classes
                    ]
                }
            ],
            "geoaware:unit": "8-bit colour, 0 to 255",
            "geoaware:value_range": [0, 255],
            "geoaware:fill": [100.0] * len(bands),
            "geoaware:overlap": overlap,
            "gsd": gsd,
            "license": "MIT",
            "description": "names the strongest band",
        }
    }


def write_model(path: Path, kernel: np.ndarray, item: dict | None = None, bias: np.ndarray | None = None) -> Path:
    """A model of one convolution with zero padding, then softmax: probabilities of raw pixel values.

    Args:
        path: the file to write.
        kernel: (classes, bands, k, k) with odd k.
        item: the card; none is written when it is an empty dict.
        bias: (classes,).
    """
    item = card_item() if item is None else item
    tile = item["properties"]["mlm:input"][0]["input"]["shape"][-1] if item else 32
    classes, bands, size, _ = kernel.shape
    bias = np.zeros(classes) if bias is None else bias
    weights = [
        numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
        numpy_helper.from_array(bias.astype(np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"], pads=[size // 2] * 4),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", bands, tile, tile])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes, tile, tile])],
        weights,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    if item:
        helper.set_model_props(model, {"mlm": json.dumps(item)})
    onnx.save(model, str(path))
    return path


def write_strongest_band(path: Path, **card: object) -> Path:
    """A model whose class is the band with the highest value."""
    kernel = np.eye(3).reshape(3, 3, 1, 1) * 0.1
    return write_model(path, kernel, card_item(**card))


def write_graph(
    path: Path,
    nodes: list,
    outputs: dict,
    weights: dict | None = None,
    image: tuple = ("batch", 3, 32, 32),
    metadata: dict | None = None,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Any graph with one input called ``image``.

    Args:
        path: the file to write.
        nodes: (operator, inputs, outputs, attributes).
        outputs: name to (element type, shape).
        weights: name to array.
        image: shape of the input; a text is a free dimension.
        metadata: keys and texts.
        kind: element type of the input.
    """
    graph = helper.make_graph(
        [helper.make_node(operator, into, out, **attributes) for operator, into, out, attributes in nodes],
        "tiny",
        [helper.make_tensor_value_info("image", kind, list(image))],
        [helper.make_tensor_value_info(name, *described) for name, described in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def given_card(**changes: object) -> dict:
    """A card as a user writes it beside a model of three classes."""
    card = {
        "task": "segmentation",
        "bands": ["red", "green", "blue"],
        "value_range": [0, 255],
        "classes": [{"value": v, "name": n, "color": c} for v, n, c in CLASSES],
        "tile_size": 32,
        "overlap": 8,
    }
    return {key: value for key, value in {**card, **changes}.items() if value is not None}


def write_given(path: Path, **changes: object) -> Path:
    """Put a card beside a model."""
    path.with_suffix(".card.json").write_text(json.dumps(given_card(**changes)))
    return path


def write_fitted(path: Path, tile: int = 48, border: int = 8) -> Path:
    """A model as it is saved after fitting a head, on four features at 4 px of three bands."""
    from export.runtime.learn.features import FeatureSet
    from export.runtime.learn.heads import Head
    from export.runtime.learn.judge import Quality
    from export.runtime.learn.save import save_model
    from export.runtime.model.card import ModelCard
    from export.runtime.model.graph import Graph
    from export.runtime.raster.legend import LandClass

    rng, cells = np.random.default_rng(5), tile // 4
    graph = Graph("image", ("batch", 3, tile, tile))
    kernel = rng.normal(0, 0.1, (4, 3, 7, 7)).astype(np.float32)
    value = graph.node("Conv", "image", kernel, np.full(4, 128, np.float32), pads=[2, 2, 1, 1], strides=[4, 4])
    value = graph.node("Clip", graph.node("Round", value), 1.0, 255.0)
    content = graph.to_bytes({"features": (value, ("batch", 4, cells, cells))})
    card = ModelCard(
        "features", "embedding", ("red", "green", "blue"), "8-bit colour, 0 to 255", (0.0, 255.0), (100.0,) * 3, (), tile,
        2 * border, None, "MIT", "",
    )  # fmt: skip
    features = FeatureSet(content, card, 4, 4, border, 1, True)
    head = Head(rng.normal(0, 0.05, (3, 4)).astype(np.float32), np.zeros((3, 0), np.float32), np.zeros(3, np.float32))
    counts, unknown = np.array([2, 3, 1]), np.full(3, np.nan)
    quality = Quality(("a", "b", "c"), np.zeros((3, 3)), counts, unknown, np.full((3, 3), np.nan), 0, ())
    save_model(path, features, head, [LandClass(*one) for one in CLASSES], "fitted", quality)
    return path


def series_item(dates: int = 12, location: bool = False, **card: object) -> dict:
    """``card_item`` of a model that reads a series of dates."""
    item = card_item(**card)
    properties = item["properties"]
    shape = properties["mlm:input"][0]["input"]["shape"]
    first = {**properties["mlm:input"][0], "name": "pixels"}
    first["input"] = {"shape": shape, "dim_order": ["time", "bands", "height", "width"], "data_type": "float32"}
    names = ["valid", "day_of_year", *(["longitude", "latitude"] if location else [])]
    properties["mlm:input"] = [first, *({"name": name, "bands": []} for name in names)]
    properties["geoaware:dates"] = dates
    return item


def write_series(path: Path, location: bool = False, item: dict | None = None, **card: object) -> Path:
    """A model of a series whose answer is that of ``series_answer``: for each pixel, or once a tile for a classification.

    Args:
        path: the file to write.
        location: whether it takes longitude and latitude.
        item: the card; by default that of ``series_item``.
        card: what else is given to ``series_item``.
    """
    item = series_item(location=location, **card) if item is None else item
    properties = item["properties"]
    _, bands, tile, _ = properties["mlm:input"][0]["input"]["shape"]
    once = properties["mlm:tasks"] == ["scene-classification"]
    axes = [0, 2, 3] if once else [0]
    nodes = [
        ("Cast", ["valid"], "seen_2", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["seen_2", "one"], "seen", {}),
        ("Where", ["valid_4", "pixels", "zero"], "held", {}),
        ("Unsqueeze", ["valid", "one"], "valid_4", {}),
        ("Reshape", ["day_of_year", "dates_first"], "days", {}),
        ("Mul", ["days", "seen"], "days_seen", {}),
        ("ReduceSum", ["held", "axes"], "total", {"keepdims": 1}),
        ("ReduceSum", ["days_seen", "axes"], "total_days", {"keepdims": 1}),
        ("ReduceSum", ["seen", "axes"], "count_0", {"keepdims": 1}),
        ("Max", ["count_0", "least"], "count", {}),
        ("Div", ["total", "count"], "mean", {}),
        ("Div", ["total_days", "count"], "day", {}),
        ("Conv", ["mean", "kernel"], "by_colour", {}),
        ("Mul", ["day", "day_weights"], "by_day", {}),
        ("Add", ["by_colour", "by_day"], "logits_0", {}),
    ]
    nodes[2:4] = nodes[3:1:-1]
    weights = {
        "zero": np.zeros((), np.float32), "one": np.array([1]), "least": np.ones((), np.float32), "axes": np.array(axes),
        "dates_first": np.array([-1, 1, 1, 1]), "kernel": (np.eye(3, bands) * 0.1).astype(np.float32)[:, :, None, None],
        "day_weights": np.array([0.01, 0, 0], np.float32).reshape(1, 3, 1, 1),
    }  # fmt: skip
    last = "logits_0"
    for number, name in enumerate(("longitude", "latitude") if location else (), start=1):
        weights[f"{name}_weights"] = (0.05 * np.eye(3, dtype=np.float32)[number]).reshape(1, 3, 1, 1)
        if once:
            nodes.append(("ReduceMean", [name], f"{name}_1", {"axes": [0, 1], "keepdims": 1}))
        nodes.append(("Mul", [f"{name}_1" if once else name, f"{name}_weights"], f"by_{name}", {}))
        nodes.append(("Add", [last, f"by_{name}"], f"logits_{number}", {}))
        last = f"logits_{number}"
    if once:
        weights["vector"] = np.array([1, 3])
        nodes.append(("Reshape", [last, "vector"], "vectors", {}))
        last = "vectors"
    nodes.append(("Softmax", [last], "probabilities", {"axis": 1}))
    float32, inputs = TensorProto.FLOAT, {"pixels": ["dates", bands, tile, tile], "valid": ["dates", tile, tile]}
    inputs |= {"day_of_year": ["dates"]} | ({"longitude": [tile, tile], "latitude": [tile, tile]} if location else {})
    graph = helper.make_graph(
        [helper.make_node(operator, into, [out], **attributes) for operator, into, out, attributes in nodes],
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.BOOL if name == "valid" else float32, shape)
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info("probabilities", float32, [1, 3] if once else [1, 3, tile, tile])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, {"mlm": json.dumps(item)} if item else {})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def series_answer(
    pixels: np.ndarray, valid: np.ndarray, days: np.ndarray, lonlat: np.ndarray | None = None, once: bool = False
) -> np.ndarray:
    """What ``write_series`` computes, in float64: softmax of the means over what is valid, (3, rows, cols) or (3,).

    The three logits are a tenth of the mean of each band, to which are added 0.01 x the mean day of the year, 0.05 x the
    longitude, and 0.05 x the latitude. ``once``: one answer for the tile, from the means over its valid pixels.
    """
    seen = np.asarray(valid)[:, None].astype(float)
    axes = (0, 2, 3) if once else (0,)
    count = np.maximum(seen.sum(axes), 1)
    logits = 0.1 * np.where(seen > 0, pixels, 0).sum(axes) / count
    logits[0] += 0.01 * ((np.asarray(days, float)[:, None, None, None] * seen).sum(axes) / count)[0]
    if lonlat is not None:
        logits[1:] += 0.05 * (np.mean(lonlat, axis=(1, 2)) if once else np.asarray(lonlat, float))
    exponentials = np.exp(logits - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)

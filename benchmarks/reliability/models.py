"""ONNX files that nobody should trust: refused or run, never the end of the process, nothing read outside the file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from tests.models import card_item

TILE = 32
SECRET = "a secret that lies outside"
EXTREMES = (0, -1, 1, 2, 3, 255, 65536, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
OPERATORS = (
    "Conv ConvTranspose MaxPool AveragePool Resize Concat Softmax Relu Add Div Reshape Gather Slice Pad Tile Expand Loop If Cast "
    "GlobalAveragePool Transpose Squeeze Einsum LSTM TopK NonMaxSuppression GridSample DepthToSpace Range OneHot ScatterND Flatten Gemm "
    "MatMul QuantizeLinear DequantizeLinear LRN Upsample Scan SequenceAt Split Unsqueeze RoiAlign CumSum ConstantOfShape StringNormalizer"
).split()  # noqa: SIM905


def good_model() -> ModelProto:
    """A little network down and up again, with a card."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.05, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "w2"], ["d"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=2),
        helper.make_node("ConvTranspose", ["d", "w3"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["e", "", "scales"], ["f"], mode="nearest"),
        helper.make_node("Concat", ["f", "image"], ["g"], axis=1),
        helper.make_node("Conv", ["g", "w4", "bias"], ["logits"], kernel_shape=[1, 1], dilations=[1, 1]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    held = [weights("w1", 8, 3, 3, 3), weights("w2", 8, 4, 3, 3), weights("w3", 8, 8, 2, 2), weights("w4", 3, 11, 1, 1)]
    held += [weights("bias", 3), numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")]
    graph = helper.make_graph(
        nodes,
        "good",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, TILE, TILE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3, TILE, TILE])],
        held,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, {"mlm": json.dumps(card_item(tile_size=TILE))})
    return model


def mutants(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of a good file, and what was done: bytes changed, bytes lost, or parts of the graph that lie."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = number % 4
        if kind == 0:
            yield "bytes", _flipped(good_model().SerializeToString(), rng)
        elif kind == 1:
            data = good_model().SerializeToString()
            yield "cut", data[: rng.integers(len(data))]
        else:
            model = good_model()
            done = [_CHANGES[rng.integers(len(_CHANGES))](model, rng) for _ in range(rng.integers(1, 4))]
            yield " and ".join(done), model.SerializeToString()


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of the graph changed; the card comes after it."""
    bad = bytearray(data)
    for at in rng.integers(0, data.find(b"mlm"), rng.integers(1, 8)):
        bad[at] = rng.integers(256)
    return bytes(bad)


def _extreme(rng: np.random.Generator) -> int:
    return EXTREMES[rng.integers(len(EXTREMES))]


def _attribute(model: ModelProto, rng: np.random.Generator) -> str:
    found = [(node, one) for node in model.graph.node for one in node.attribute if one.type in (AttributeProto.INT, AttributeProto.INTS)]
    node, one = found[rng.integers(len(found))]
    if one.type == AttributeProto.INT:
        one.i = _extreme(rng)
    else:
        one.ints[rng.integers(len(one.ints))] = _extreme(rng)
    return f"{node.op_type}.{one.name}"


def _weights_shape(model: ModelProto, rng: np.random.Generator) -> str:
    held = model.graph.initializer[rng.integers(len(model.graph.initializer))]
    held.dims[rng.integers(len(held.dims))] = _extreme(rng)
    return f"shape of {held.name}"


def _weights_type(model: ModelProto, rng: np.random.Generator) -> str:
    held = model.graph.initializer[rng.integers(len(model.graph.initializer))]
    held.data_type = int(rng.integers(0, 26))
    return f"type of {held.name}"


def _operator(model: ModelProto, rng: np.random.Generator) -> str:
    node = model.graph.node[rng.integers(len(model.graph.node))]
    before, node.op_type = node.op_type, OPERATORS[rng.integers(len(OPERATORS))]
    return f"{before} to {node.op_type}"


def _wire(model: ModelProto, rng: np.random.Generator) -> str:
    node = model.graph.node[rng.integers(len(model.graph.node))]
    names = [name for one in model.graph.node for name in (*one.input, *one.output)] + [""]
    node.input[rng.integers(len(node.input))] = names[rng.integers(len(names))]
    return f"input of {node.op_type}"


def _lost(model: ModelProto, rng: np.random.Generator) -> str:
    node = model.graph.node[rng.integers(len(model.graph.node))]
    model.graph.node.remove(node)
    return f"without {node.op_type}"


def _shape(model: ModelProto, rng: np.random.Generator) -> str:
    end = (model.graph.input, model.graph.output)[rng.integers(2)][0]
    end.type.tensor_type.shape.dim[rng.integers(4)].dim_value = _extreme(rng)
    return f"shape of {end.name}"


def _versions(model: ModelProto, rng: np.random.Generator) -> str:
    model.opset_import[0].version = int(rng.integers(1, 30))
    return f"opset {model.opset_import[0].version}"


_CHANGES: tuple[Callable[[ModelProto, np.random.Generator], str], ...] = (
    _attribute, _attribute, _attribute, _weights_shape, _weights_type, _operator, _operator, _wire, _lost, _shape, _versions,
)  # fmt: skip

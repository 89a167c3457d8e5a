"""Untrusted ONNX files: refused or run, the process survives, nothing is read outside the file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from benchmarks.reliability.child import Answers, Ended, Predictor
from benchmarks.reliability.kills import make_rasters
from tests.models import card_item

TILE = 32
LIMIT = 150.0  # seconds for one; a loop without end is stopped after some
SECRET = "a secret that lies outside"
EXTREMES = (0, -1, 1, 2, 3, 255, 65536, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1)
OPERATORS = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "Concat", "Softmax", "Relu", "Add", "Reshape", "Gather",
    "Slice", "Pad", "Tile", "Expand", "Loop", "If", "Cast", "GlobalAveragePool", "Transpose", "Squeeze", "Einsum", "LSTM", "TopK",
    "NonMaxSuppression", "GridSample", "DepthToSpace", "Range", "OneHot", "ScatterND", "Flatten", "Gemm", "MatMul",
    "QuantizeLinear", "DequantizeLinear", "LRN", "Upsample", "Scan", "SequenceAt", "Split", "Unsqueeze", "RoiAlign", "CumSum",
    "ConstantOfShape", "StringNormalizer",
)  # fmt: skip


def open_many(folder: Path, count: int, seed: int = 0, *, loops: bool = True) -> tuple[Answers, Answers]:
    """Run mutants of a valid file, then files made to do harm, which must all be refused.

    Args:
        folder: to work in.
        count: mutants.
        seed: of the mutations.
        loops: also the endless loop, which is only stopped after some seconds.
    """
    scene = make_rasters(folder / "scenes", 1, 40)[0]
    path = folder / "mutant.onnx"
    mutated: list[tuple[str, Ended]] = []
    with Predictor(LIMIT) as predict:
        for what, data in mutants(count, seed):
            path.write_bytes(data)
            mutated.append((what, predict(path, scene, "--out", folder / "out", "--threads", 1)))
        harmful = [
            (what, predict(file, scene, "--out", folder / "harmed", "--threads", 1))
            for what, file in hostile(folder / "hostile").items()
            if loops or "loop" not in what
        ]
    wrong = _judged(harmful)
    wrong.problems.extend(f"{what}: was not refused" for what, ended in harmful if ended.code == 0)
    return _judged(mutated), wrong


def _judged(answers: list[tuple[str, Ended]]) -> Answers:
    problems = []
    for what, ended in answers:
        errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        if ended.fault or len(errors) != (ended.code != 0) or SECRET in ended.stderr:
            problems.append(f"{what}: {ended.fault or ended.stderr}")
    return Answers.of([ended for _, ended in answers], problems)


def good_model() -> ModelProto:
    """A small encoder and decoder, with a card."""
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
    """Damaged copies of a valid file, and what was done: bytes changed, bytes lost, or parts of the graph made inconsistent."""
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
    found = [
        (node, one)
        for node in model.graph.node
        for one in node.attribute
        if one.type in (AttributeProto.INT, AttributeProto.INTS)
    ]
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


def hostile(folder: Path) -> dict[str, Path]:
    """Files made to do harm, by what they try; each must be refused.

    Beside them lies ``SECRET``, which a file with external data may want.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outside = folder.parent / f"{folder.name}-secret.bin"
    outside.write_bytes(SECRET.encode().ljust(2**16, b"!"))
    (folder / "link.bin").symlink_to(outside)
    (folder / "hard.bin").hardlink_to(outside)
    made = {}
    contents = {
        **{f"weights in {where}": _external(where) for where in (f"../{outside.name}", str(outside), "link.bin", "hard.bin", "/dev/zero")},
        **_foreign(), **_huge(), **_senseless(), **_no_models(),
    }  # fmt: skip
    for number, (name, data) in enumerate(contents.items()):
        made[name] = folder / f"{number:02}.onnx"
        made[name].write_bytes(data)
    return made


def _external(where: str) -> bytes:
    model = good_model()
    held = model.graph.initializer[0]
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value=where)
    return model.SerializeToString()


def _graph(
    nodes: list, held: list | None = None, opsets: dict[str, int] | None = None, functions: list | None = None
) -> bytes:
    """A model of these nodes, from ``image`` to ``out``."""
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, TILE, TILE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 3, TILE, TILE])],
        held or [],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in {"": 17, **(opsets or {})}.items()]
    model = helper.make_model(graph, ir_version=8, opset_imports=imports, functions=functions or [])
    helper.set_model_props(model, {"mlm": json.dumps(card_item(tile_size=TILE))})
    return model.SerializeToString()


def _whole(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _foreign() -> dict[str, bytes]:
    """Operators of unknown domains: in the graph, in a branch, in a function, in a graph that another one covers."""
    evil = helper.make_node("Evil", ["image"], ["out"], domain="evil.ops")
    inner = helper.make_graph([evil], "inner", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)])
    branch = helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=inner)
    yes = numpy_helper.from_array(np.array(True), "yes")
    function = helper.make_function("", "Mine", ["image"], ["out"], [evil], [helper.make_opsetid("", 17)])
    context = helper.make_node("EPContext", ["image"], ["out"], domain="com.microsoft")
    return {
        "foreign operator": _graph([evil], opsets={"evil.ops": 1}),
        "foreign operator that is not declared": _graph([evil]),
        "foreign operator in a branch": _graph([branch], [yes]),
        "foreign operator in a function": _graph([helper.make_node("Mine", ["image"], ["out"])], functions=[function]),
        "two graphs in one file": _graph([evil]) + good_model().SerializeToString(),
        "precompiled node": _graph([context], opsets={"com.microsoft": 1}),
        "library of onnxruntime's own": _graph(
            [helper.make_node("FusedMatMul", ["image", "image"], ["out"], domain="com.microsoft")]
        ),
    }


def _huge() -> dict[str, bytes]:
    """More memory, or more time, than there is; our limits stop each of them."""
    side = _whole("size", 1, 3, 90_000, 90_000)
    whole = _whole("more", 90_000, 90_000, 4)
    inside = [
        helper.make_node("ConstantOfShape", ["more"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0),
        helper.make_node("Add", ["image", "top"], ["out"]),
    ]
    many = good_model()
    many.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 65536
    return {
        "answer of 97 GB": _graph([helper.make_node("ConstantOfShape", ["size"], ["out"])], [side]),
        "130 GB on the way": _graph(inside, [whole]),
        "padding of terabytes": _graph([helper.make_node("Pad", ["image", "pads"], ["out"])], [_whole("pads", 0, 0, 2**33, 0, 0, 0, 2**33, 0)]),
        "copies without end": _graph([helper.make_node("Tile", ["image", "times"], ["out"])], [_whole("times", 1, 1, 2**62, 2**62)]),
        "loop without end": _graph([helper.make_node("Loop", ["", "yes", "image"], ["out"], body=_body())], [numpy_helper.from_array(np.array(True), "yes")]),
        "65,536 tiles at once": many.SerializeToString(),
    }  # fmt: skip


def _body() -> onnx.GraphProto:
    """Of a loop that never asks to stop."""
    return helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Neg", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )


def _senseless() -> dict[str, bytes]:
    """Inconsistent graphs."""
    calls = helper.make_function(
        "", "Mine", ["x"], ["y"], [helper.make_node("Mine", ["x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    lies = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "w")
    lies.dims[0] = 2**40
    return {
        "empty graph": _graph([]),
        "circle": _graph([helper.make_node("Add", ["image", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"]), helper.make_node("Neg", ["a"], ["out"])]),
        "function that calls itself": _graph([helper.make_node("Mine", ["image"], ["out"])], functions=[calls]),
        "weights smaller than their shape": _graph([helper.make_node("Conv", ["image", "w"], ["out"])], [lies]),
    }  # fmt: skip


def _no_models() -> dict[str, bytes]:
    """Files of other kinds."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.onnx", good_model().SerializeToString())
    tensor = numpy_helper.from_array(np.ones(100, np.float32), "w")
    return {
        "nothing": b"",
        "text": b"no model at all, only words\n" * 10,
        "renamed zip": packed.getvalue(),
        "zeros": bytes(4096),
        "protobuf of something else": tensor.SerializeToString(),
        "a message in a message, a thousand times": _nested(1000),
    }


def _nested(depth: int) -> bytes:
    data = b"\x08\x08"
    for _ in range(depth):
        length, size = len(data), bytearray()
        while length > 127:
            size.append(length & 127 | 128)
            length >>= 7
        data = b"\x3a" + bytes([*size, length]) + data
    return data

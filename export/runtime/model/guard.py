"""Reads an ONNX file's protobuf before onnxruntime does, and refuses harmful content.

An ONNX file is untrusted input: tensors may point at other files, operators may come from foreign
libraries. Only the wire format is read here, without the onnx package, and tensor data is skipped.
Source of the field numbers: onnx.proto (ONNX IR version 8).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..errors import ModelFault
from .wire import BadWire, fields, first_text, message_of, nested, text_of

MAX_BYTES = 2 * 1024**3  # protobuf's own limit for one message
TRUSTED_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}

# The inputs of a model that reads a series of dates, with their element types; the last two go together.
SERIES = {"pixels": 1, "valid": 9, "day_of_year": 1, "longitude": 1, "latitude": 1}

_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
# What is checked in each message, by field number: other messages, names, and where a tensor's data lie. Domains count
# where a node uses them: what a model or function merely imports (opset_import) runs nothing.
_PARTS = {
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},  # 11: values that its nodes refer to
    "node": {4: "operator", 5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},  # values, indices
    "tensor": {13: "external data", 14: "data location"},
}
_MAX_DEPTH = 32  # nested sub-graphs; real models have two or three levels

Shape = tuple[Optional[int], ...]  # None where free


@dataclass(frozen=True)
class Tensor:
    """An input or output of the graph: its name, its element type by onnx.proto's number, its shape."""

    name: str
    kind: int
    shape: Shape


@dataclass(frozen=True)
class OnnxHeader:
    """What is known of a model without running it.

    Attributes:
        input_shape: the four dimensions of the image input, None where free; the first counts tiles, or dates in a series.
        input_kind: its element type, onnx.proto's number: 1 is float32.
        outputs: all, in the graph's order; a shape is empty if the file does not state it.
        loops: whether it holds a loop, whose number of turns it sets itself.
        others: names of the inputs beside the image, which only a model of a series of dates has.
    """

    metadata: dict[str, str]
    input_name: str
    input_shape: Shape
    input_kind: int = 1
    outputs: tuple[Tensor, ...] = ()
    loops: bool = False
    others: tuple[str, ...] = ()


def read_header(model: str | Path | bytes, where: str = "") -> OnnxHeader:
    """Check a file, or its content, and return its header.

    Raises:
        ModelFault: no such file, one that cannot be read, not an ONNX file, larger than 2 GB, external data,
            operators from a foreign domain, or other inputs than one of 4 dimensions or those of a series.
    """
    path = where if isinstance(model, bytes) else model
    try:
        view = memoryview(model) if isinstance(model, bytes) else _opened(Path(model))
    except OSError as error:
        raise ModelFault("not_readable", where=path, reason=error.strerror) from None
    if not 16 <= len(view) <= MAX_BYTES:
        raise ModelFault("model_size", where=path, size=len(view))
    try:
        return _header(view, path)
    except (BadWire, UnicodeDecodeError) as error:
        raise ModelFault("not_onnx", where=path, reason=error) from None


def _opened(path: Path) -> memoryview:
    if not path.is_file():
        raise ModelFault("no_such_file", where=path)
    if not path.stat().st_size:
        raise ModelFault("model_size", where=path, size=0)  # which cannot be mapped
    with path.open("rb") as file:
        # Not closed by hand: the frames of a raised error may still hold views of it.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _header(model: memoryview, path: str | Path) -> OnnxHeader:
    ir_version = 0
    metadata: dict[str, str] = {}
    graph: memoryview | None = None
    operators: set[str] = set()
    for number, value in fields(model):
        if number == 1 and isinstance(value, int):
            ir_version = value
        elif number == 7:
            if graph is not None:  # protobuf would join them into one
                raise BadWire("two graphs in it")
            graph = message_of(value)
        elif number == 14:
            metadata[first_text(message_of(value), 1)] = first_text(message_of(value), 2)
        elif number == 25:  # FunctionProto: its nodes hide operators too
            _check(message_of(value), "function", path, operators)
    if graph is None or ir_version == 0:
        raise BadWire("no graph in it")
    _check(graph, "graph", path, operators)
    image, *others = _inputs(graph, path)
    outputs = tuple(_tensor(message_of(value)) for number, value in fields(graph) if number == 12)
    if not outputs:
        raise ModelFault("no_output", where=path)
    names = tuple(one.name for one in others)
    return OnnxHeader(metadata, image.name, image.shape, image.kind, outputs, "Loop" in operators, names)


def _check(message: memoryview, kind: str, path: str | Path, operators: set[str], depth: int = 0) -> None:
    """Check a message of ``_PARTS`` and all inside it, and note the operators."""
    if depth > _MAX_DEPTH:
        raise ModelFault("nested_graphs", where=path, limit=_MAX_DEPTH)
    for number, value in fields(message):
        part = _PARTS[kind].get(number)
        if part == "domain":
            if text_of(value) not in TRUSTED_DOMAINS:
                raise ModelFault("foreign_operator", where=path, domain=text_of(value))
        elif part == "operator":
            operators.add(text_of(value))
            if "EPContext" in operators:
                raise ModelFault("precompiled_node", where=path)
        elif part == "external data" or (part == "data location" and value == _EXTERNAL):
            raise ModelFault("external_weights", where=path)
        elif part in _PARTS:
            _check(message_of(value), part, path, operators, depth + (part == "graph"))


def _inputs(graph: memoryview, path: str | Path) -> tuple[Tensor, ...]:
    """The image first, then what else a series of dates has."""
    weights = {first_text(message_of(v), 8) for n, v in fields(graph) if n == 5}
    inputs = [_tensor(message_of(v)) for n, v in fields(graph) if n == 11]
    images = [one for one in inputs if one.name not in weights]
    if len(images) == 1 and len(images[0].shape) == 4:
        return (images[0],)
    shapes = ", ".join(f"{one.name} {list(one.shape)}" for one in images) or "none"
    if len(images) < 2 or not {one.name for one in images} <= set(SERIES):
        raise ModelFault("image_input", where=path, inputs=shapes)
    images.sort(key=lambda one: [*SERIES].index(one.name))
    if not _is_series(images):
        raise ModelFault("series_inputs", where=path, inputs=shapes)
    return tuple(images)


def _is_series(inputs: list[Tensor]) -> bool:
    """Whether they are those of ``SERIES``, in this order, with or without the location, in types and shapes."""
    image = inputs[0].shape
    if tuple(one.name for one in inputs) not in (tuple(SERIES)[:3], tuple(SERIES)) or len(image) != 4:
        return False
    free, side = image[0], image[2]
    shapes = (image, (free, side, side), (free,), (side, side), (side, side))
    fits = all(one.shape == shape and one.kind == SERIES[one.name] for one, shape in zip(inputs, shapes))
    return fits and free is None and side is not None and image[1] is not None and image[3] == side


def _tensor(value_info: memoryview) -> Tensor:
    kinds = [v for t in nested(value_info, 2, 1) for n, v in fields(t) if n == 1 and isinstance(v, int)]
    return Tensor(first_text(value_info, 1), kinds[0] if kinds else 0, _shape(value_info))


def _shape(value_info: memoryview) -> Shape:
    dims: list[int | None] = []
    for tensor_type in nested(value_info, 2, 1):
        for dim in nested(tensor_type, 2, 1):
            sizes = [v for n, v in fields(dim) if n == 1 and isinstance(v, int) and 0 < v < 2**31]
            dims.append(sizes[0] if sizes else None)
    return tuple(dims)

"""Reads an ONNX file's protobuf before onnxruntime does, and refuses harmful content.

An ONNX file is untrusted input: tensors may point at other files, operators may come from foreign
libraries. Only the wire format is read here, without the onnx package, and tensor data is skipped.
Source of the field numbers: onnx.proto (ONNX IR version 8).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from ..errors import ModelFault

MAX_BYTES = 2 * 1024**3  # protobuf's own limit for one message
TRUSTED_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
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

Field = tuple[int, Union[int, memoryview]]
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
        input_shape: the four dimensions of the one image input, None where free.
        input_kind: its element type, onnx.proto's number: 1 is float32.
        outputs: all, in the graph's order; a shape is empty if the file does not state it.
        loops: whether it holds a loop, whose number of turns it sets itself.
    """

    metadata: dict[str, str]
    input_name: str
    input_shape: Shape
    input_kind: int = 1
    outputs: tuple[Tensor, ...] = ()
    loops: bool = False


def read_header(path: str | Path) -> OnnxHeader:
    """Check a file and return its header.

    Raises:
        ModelFault: no such file, one that cannot be read, not an ONNX file, larger than 2 GB, external data,
            operators from a foreign domain, or not exactly one 4-D input.
    """
    path = Path(path)
    try:
        view = _opened(path)
    except OSError as error:
        raise ModelFault("not_readable", where=path, reason=error.strerror) from None
    try:
        return _header(view, path)
    except (_BadWire, UnicodeDecodeError) as error:
        raise ModelFault("not_onnx", where=path, reason=error) from None


def _opened(path: Path) -> memoryview:
    if not path.is_file():
        raise ModelFault("no_such_file", where=path)
    size = path.stat().st_size
    if not 16 <= size <= MAX_BYTES:
        raise ModelFault("model_size", where=path, size=size)
    with path.open("rb") as file:
        # Not closed by hand: the frames of a raised error may still hold views of it.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class _BadWire(ValueError):
    """The bytes are not protobuf."""


def _header(model: memoryview, path: Path) -> OnnxHeader:
    ir_version = 0
    metadata: dict[str, str] = {}
    graph: memoryview | None = None
    operators: set[str] = set()
    for number, value in _fields(model):
        if number == 1 and isinstance(value, int):
            ir_version = value
        elif number == 7:
            if graph is not None:  # protobuf would join them into one
                raise _BadWire("two graphs in it")
            graph = _message(value)
        elif number == 14:
            metadata[_first_text(_message(value), 1)] = _first_text(_message(value), 2)
        elif number == 25:  # FunctionProto: its nodes hide operators too
            _check(_message(value), "function", path, operators)
    if graph is None or ir_version == 0:
        raise _BadWire("no graph in it")
    _check(graph, "graph", path, operators)
    image = _image_input(graph, path)
    outputs = tuple(_tensor(_message(value)) for number, value in _fields(graph) if number == 12)
    if not outputs:
        raise ModelFault("no_output", where=path)
    return OnnxHeader(metadata, image.name, image.shape, image.kind, outputs, "Loop" in operators)


def _check(message: memoryview, kind: str, path: Path, operators: set[str], depth: int = 0) -> None:
    """Check a message of ``_PARTS`` and all inside it, and note the operators."""
    if depth > _MAX_DEPTH:
        raise ModelFault("nested_graphs", where=path, limit=_MAX_DEPTH)
    for number, value in _fields(message):
        part = _PARTS[kind].get(number)
        if part == "domain":
            if _text(value) not in TRUSTED_DOMAINS:
                raise ModelFault("foreign_operator", where=path, domain=_text(value))
        elif part == "operator":
            operators.add(_text(value))
            if "EPContext" in operators:
                raise ModelFault("precompiled_node", where=path)
        elif part == "external data" or (part == "data location" and value == _EXTERNAL):
            raise ModelFault("external_weights", where=path)
        elif part in _PARTS:
            _check(_message(value), part, path, operators, depth + (part == "graph"))


def _image_input(graph: memoryview, path: Path) -> Tensor:
    weights = {_first_text(_message(v), 8) for n, v in _fields(graph) if n == 5}
    inputs = [_tensor(_message(v)) for n, v in _fields(graph) if n == 11]
    images = [one for one in inputs if one.name not in weights]
    if len(images) != 1 or len(images[0].shape) != 4:
        shapes = ", ".join(f"{one.name} {list(one.shape)}" for one in images) or "none"
        raise ModelFault("image_input", where=path, inputs=shapes)
    return images[0]


def _tensor(value_info: memoryview) -> Tensor:
    kinds = [v for t in _nested(value_info, 2, 1) for n, v in _fields(t) if n == 1 and isinstance(v, int)]
    return Tensor(_first_text(value_info, 1), kinds[0] if kinds else 0, _shape(value_info))


def _shape(value_info: memoryview) -> Shape:
    dims: list[int | None] = []
    for tensor_type in _nested(value_info, 2, 1):
        for dim in _nested(tensor_type, 2, 1):
            sizes = [v for n, v in _fields(dim) if n == 1 and isinstance(v, int) and 0 < v < 2**31]
            dims.append(sizes[0] if sizes else None)
    return tuple(dims)


def _nested(message: memoryview, *path: int) -> Iterator[memoryview]:
    if not path:
        yield message
        return
    for number, value in _fields(message):
        if number == path[0]:
            yield from _nested(_message(value), *path[1:])


def _first_text(message: memoryview, number: int) -> str:
    return next((_text(v) for n, v in _fields(message) if n == number), "")


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _BadWire("a number stands where a message should")
    return value


def _fields(message: memoryview) -> Iterator[Field]:
    """Yield (field number, value) of one protobuf message; values of unknown use included."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:  # protobuf itself would drop the higher bits, and see another field
            raise _BadWire("a field number that protobuf does not know")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _BadWire(f"wire type {wire}")
        if at + length > end:
            raise _BadWire("a field reaches past the end")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _BadWire("ends in the middle of a number")
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise _BadWire("a number of more than 64 bits")

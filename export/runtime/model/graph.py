"""Builds ONNX graphs without the onnx package: from nothing, or on top of the graph of a file.

Nodes are added in the order in which they run, and named so that no name of the file is met. Source of the field numbers:
onnx.proto (ONNX IR version 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Union

import numpy as np

from ..errors import ModelFault
from .card import RAW, ModelCard, ends
from .guard import Tensor, read_header
from .providers import CPU, called, start
from .wire import (
    first_text,
    message_of,
    nested,
    of_bytes,
    of_float,
    of_floats,
    of_int,
    of_ints,
    of_text,
    pieces,
    text_of,
)

OPSET, IR = 17, 8  # of new graphs; QGIS plugins still ship onnxruntime 1.17
NEWEST_IR = 9  # that one reads; what came later are notes on nodes, and types that operators of newer opsets take
OLDEST_OPSET = 13  # of a file that is built on: Softmax, Squeeze and Split were others before
ML, ML_OPSET = "ai.onnx.ml", 3  # operators of trees; deprecated from version 5 on
FLOAT = 1
# Element types of onnx.proto by numpy's names.
KINDS = {
    "float32": FLOAT, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11,
}  # fmt: skip
_NAMES = {number: name for name, number in KINDS.items()}

# The name of a value, or numbers: see ``Graph.constant``; "" leaves an optional input out.
Input = Union[str, np.ndarray, float, Sequence[float]]
Dims = Sequence[Union[int, str, None]]  # a text or None is a free dimension


class Graph:
    """A graph with one input of four dimensions, to which nodes are added.

    Attributes:
        input: its name, element type and shape.
        outputs: those of the file that it is built on, which are outputs no longer; their names can be used.
        opset: version of the default operators, 13 or later; nodes must be as it has them.
    """

    def __init__(self, name: str, shape: Dims) -> None:
        """Begin with an input of float32, such as ("batch", 16, "rows", "columns"), and nothing else."""
        self.input = Tensor(name, FLOAT, tuple(d if isinstance(d, int) else None for d in shape))
        self.outputs: tuple[Tensor, ...] = ()
        self.opset = OPSET
        self._ir, self._ml, self._prefix, self._count = IR, ML_OPSET, "added/", 0
        self._nodes: list[_Node] = []
        self._weights: dict[str, bytes | memoryview] = {}
        self._rest: list[memoryview] = []  # other fields of the file's graph

    @classmethod
    def of_model(cls, model: str | Path | bytes, card: ModelCard | None = None, where: str = "") -> Graph:
        """Continue the graph of a file, or of the bytes of one: its nodes and weights stay.

        With its card, the graph takes raw pixel values as float32, as a host does: what the card leaves to the host (scaling,
        rounding to the graph's own type) is done by nodes before it, with the same bits, and the tile has the card's size.

        Raises:
            ModelFault: the file is refused, its operators are too old, it holds functions, or its input no numbers.
        """
        where = where or ("" if isinstance(model, bytes) else str(model))
        data = model if isinstance(model, bytes) else _read(Path(model))
        header = read_header(data, where)
        graph = cls(header.input_name, header.input_shape)
        graph.input, graph.outputs = replace(graph.input, kind=header.input_kind), header.outputs
        while graph._prefix.encode() in data:
            graph._prefix = f"added{int(graph._prefix[5:-1] or 1) + 1}/"
        graph._take(memoryview(data), where)
        if header.input_kind not in _NAMES:
            raise ModelFault("input_type", where=where)
        if card:
            graph._take_raw(card)
        return graph

    def _take(self, model: memoryview, where: str) -> None:
        """Keep the nodes, the weights and the versions of a file."""
        opsets: dict[str, int] = {}
        for number, value, _ in pieces(model):
            if number == 1 and isinstance(value, int):
                self._ir = min(max(value, IR), NEWEST_IR)  # older ones list weights as inputs, too
            elif number == 7:
                self._take_graph(message_of(value))
            elif number == 8:
                version = next((v for n, v, _ in pieces(message_of(value)) if n == 2 and isinstance(v, int)), 0)
                domain = first_text(message_of(value), 1)
                opsets["" if domain == "ai.onnx" else domain] = version
            elif number == 25:
                raise ModelFault("graph_functions", where=where)
        self.opset = opsets.get("", 0)
        if self.opset < OLDEST_OPSET:
            raise ModelFault("graph_opset", where=where, opset=self.opset, least=OLDEST_OPSET)
        if any(ML in node.domains for node in self._nodes):  # many files state it and do not use it
            self._ml = opsets.get(ML, ML_OPSET)

    def _take_graph(self, graph: memoryview) -> None:
        for number, value, piece in pieces(graph):
            if number == 1:
                self._nodes.append(_Node.of(message_of(value), piece))
            elif number == 5:
                self._weights[first_text(message_of(value), 8)] = piece
            elif number in (13, 14, 15):  # stated shapes, scales of integers, sparse weights
                self._rest.append(piece)

    def _take_raw(self, card: ModelCard) -> None:
        """Put what the host would do to raw values before the graph; see ``Model``."""
        own, tile = self.input, card.tile_size or None
        shape = (own.shape[0], len(card.bands), own.shape[2] or tile, own.shape[3] or tile)
        self.input = replace(own, shape=shape)
        whole = _NAMES[own.kind] not in ("float16", "float32", "float64")
        if own.kind == FLOAT and card.scale == RAW:
            return
        nodes, self._nodes = self._nodes, []
        self.input = Tensor(f"{self._prefix}raw", FLOAT, shape)
        value = self.input.name
        if whole:
            fill = np.array(card.fill, np.float32)[:, None, None]
            value = self.node("Where", self.node("IsNaN", value), fill, value)
        if card.scale.divisor != 1:
            value = self.node("Div", value, card.scale.divisor)
        if card.scale.mean:
            mean, std = (np.array(part, np.float32)[:, None, None] for part in (card.scale.mean, card.scale.std))
            value = self.node("Div", self.node("Sub", value, mean), std)
        if whole:
            value = self.node("Round", value)
        if own.kind != FLOAT:
            if whole or _NAMES[own.kind] == "float16":
                value = self.node("Clip", value, *map(np.array, ends(np.dtype(_NAMES[own.kind]))))
            value = self.node("Cast", value, to=own.kind)
        self._nodes.append(_Node.made("Identity", "", (value,), (own.name,), {}))
        self._nodes += nodes

    def constant(self, values: np.ndarray | float | Sequence[float]) -> str:
        """Add numbers; returns their name.

        An array keeps its type; other numbers become float32, or int64 where all are whole numbers.
        """
        if not isinstance(values, (np.ndarray, np.generic)):
            values = np.asarray(values)
            values = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
        array, name = np.asarray(values), self._new("constant")
        dtype = array.dtype.newbyteorder("<")
        raw = np.ascontiguousarray(array, dtype).tobytes()
        dims = b"".join(of_int(1, size) for size in array.shape)
        tensor = (dims, of_int(2, KINDS[array.dtype.name]), of_text(8, name), of_bytes(9, raw))
        self._weights[name] = of_bytes(5, *tensor)
        return name

    def node(self, operator: str, *inputs: Input, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        return self.nodes(operator, *inputs, domain=domain, **attributes)[0]

    def nodes(
        self, operator: str, *inputs: Input, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node; returns the names of its outputs.

        ``attributes`` are numbers, texts, or lists of them (an array is a list, too); ``None`` leaves one out.

        Raises:
            ModelFault: the file that it is built on uses newer operators of trees.
        """
        if domain == ML and self._ml > 4:
            raise ModelFault("graph_trees", opset=self._ml)
        names = tuple(one if isinstance(one, str) else self.constant(one) for one in inputs)
        made = tuple(self._new(operator) for _ in range(outputs))
        self._nodes.append(_Node.made(operator, domain, names, made, attributes))
        return made

    def answer(self, output: str | None = None) -> str:
        """The float32 value of an output of the file that it is built on, by default the first."""
        found = next(one for one in self.outputs if output in (None, one.name))
        return found.name if found.kind == FLOAT else self.node("Cast", found.name, to=FLOAT)

    def holds(self, names: Iterable[str]) -> bool:
        """Whether nodes make the values of all these names."""
        return {*names} <= {name for node in self._nodes for name in node.outputs}

    def _new(self, what: str) -> str:
        self._count += 1
        return f"{self._prefix}{what}_{self._count}"

    def to_bytes(self, outputs: Mapping[str, tuple[str, Dims]], metadata: Mapping[str, str] | None = None) -> bytes:
        """The file's content.

        Args:
            outputs: by their public names, which change only where the file has another value of that name: the name of
                a float32 value, and its shape.
            metadata: the ``metadata_props``.
        """
        known = {name for node in self._nodes for name in (*node.inputs, *node.outputs)} | {self.input.name}
        last, infos = [], []
        for public, (value, shape) in outputs.items():
            name = public
            while name in known and name != value:
                name += "_"
            if name != value:
                last.append(_Node.made("Identity", "", (value,), (name,), {}))
            infos.append(_value_info(12, Tensor(name, FLOAT, ()), shape))
        nodes, needed = _needed(
            [*self._nodes, *last], [value for value, _ in outputs.values()] + [n.outputs[0] for n in last]
        )
        weights = [piece for name, piece in self._weights.items() if name in needed]
        shape = [size or free for size, free in zip(self.input.shape, ("batch", "bands", "rows", "columns"))]
        graph = of_bytes(
            7, *(node.piece for node in nodes), of_text(2, "geoaware"), *weights,
            _value_info(11, self.input, shape), *infos, *self._rest,
        )  # fmt: skip
        opsets = {"": self.opset} | ({ML: self._ml} if any(ML in node.domains for node in nodes) else {})
        return b"".join(
            (
                of_int(1, self._ir),
                of_text(2, "geoaware"),
                graph,
                *(of_bytes(8, of_text(1, domain), of_int(2, version)) for domain, version in opsets.items()),
                *(of_bytes(14, of_text(1, key), of_text(2, text)) for key, text in (metadata or {}).items()),
            )
        )


class _Node:
    """A node as bytes, and what it refers to: ``inputs`` are also those of graphs inside it."""

    def __init__(
        self, piece: bytes | memoryview, inputs: Sequence[str], outputs: Sequence[str], domains: set[str]
    ) -> None:
        self.piece, self.inputs, self.outputs, self.domains = piece, inputs, outputs, domains

    @classmethod
    def of(cls, message: memoryview, piece: memoryview) -> _Node:
        """One of a file."""
        inputs, outputs, domains = [], [], {""}
        for number, value, _ in pieces(message):
            if number == 1:
                inputs.append(text_of(value))
            elif number == 2:
                outputs.append(text_of(value))
            elif number == 7:
                domains.add(text_of(value))
            elif number == 5:
                for inside in (graph for where in (6, 11) for graph in nested(message_of(value), where)):
                    for within in nested(inside, 1):
                        node = cls.of(within, within)
                        inputs += [*node.inputs, *node.outputs]
                        domains |= node.domains
                    inputs += [first_text(output, 1) for output in nested(inside, 12)]
        return cls(piece, inputs, outputs, domains)

    @classmethod
    def made(
        cls, operator: str, domain: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> _Node:
        """A new one."""
        parts = [of_text(1, name) for name in inputs] + [of_text(2, name) for name in outputs]
        parts += [of_text(3, outputs[0]), of_text(4, operator)]
        parts += [_attribute(name, value) for name, value in attributes.items() if value is not None]
        parts += [of_text(7, domain)] if domain else []
        return cls(of_bytes(1, *parts), inputs, outputs, {domain})


def _attribute(name: str, value: Any) -> bytes:
    """An attribute of a node: its kind follows from the values."""
    array = np.asarray(value)
    if array.dtype.kind == "U":
        coded = {text: of_text(9 if array.ndim else 4, text) for text in set(array.ravel().tolist())}
        kind, content = (8 if array.ndim else 3), b"".join(coded[text] for text in array.ravel().tolist())
    elif array.dtype.kind == "f" and array.size:
        kind, content = (6, of_floats(7, array.ravel())) if array.ndim else (1, of_float(2, float(array)))
    else:
        kind, content = (7, of_ints(8, array.ravel())) if array.ndim else (2, of_int(3, int(array)))
    return of_bytes(5, of_text(1, name), content, of_int(20, kind))


def _value_info(number: int, tensor: Tensor, shape: Dims) -> bytes:
    """An input or output of the graph, in the field of this number."""
    dims = (of_bytes(1, of_int(1, size) if isinstance(size, int) else of_text(2, size or "")) for size in shape)
    kind = of_bytes(1, of_int(1, tensor.kind), of_bytes(2, *dims))
    return of_bytes(number, of_text(1, tensor.name), of_bytes(2, kind))


def _needed(nodes: Sequence[_Node], values: Iterable[str]) -> tuple[list[_Node], set[str]]:
    """The nodes that these values depend on, in their order, and all names that are used."""
    needed, kept = set(values), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1], needed


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ModelFault("no_such_file", where=path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFault("not_readable", where=path, reason=error.strerror) from None


class HeadSession:
    """A graph of our own in onnxruntime, on one thread of the CPU; may be called by several threads at once."""

    def __init__(self, model: bytes, where: str = "") -> None:
        """Check and open it; raises ModelFault if it is refused."""
        self._where, self._input = where, read_header(model, where).input_name
        self._session = start(model, CPU, None, where)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The first output for (N, D, rows, columns); raises ModelFault if onnxruntime fails."""
        return called(self._session, None, {self._input: features}, self._where)[0]

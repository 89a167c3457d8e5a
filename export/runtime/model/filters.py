"""Bands and texture as nodes of a graph: features of an image with any bands, without a trained model.

For each band, at scales from 1 to 16 px: its mean, its spread, how strong its edges are along and across their direction
(the structure tensor's eigenvalues), and the Laplacian. All is done by small convolutions and average pooling on a pyramid,
so a place sees at most ``REACH`` px around it. Source: Foerstner and Guelch 1987 (structure tensor); the scales and filters
are those of Weka segmentation and ilastik, on a pyramid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .graph import Graph

STRIDE = 4  # px of a place of the finest features
REACH = 52  # px around a place that its features may depend on
STEP = 16  # px: side of the coarsest cells, which tiles must not cut
_DERIVATIVES = {
    "x": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8,
    "y": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 8,
    "laplacian": np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]]) / 12,
}
_EDGES = 1e-6  # keeps the root of a difference of nearly equal numbers finite


@dataclass(frozen=True)
class FeatureStage:
    """Features of one stride: the name of a tensor (N, C, T / stride, T / stride) in a graph.

    Attributes:
        names: of its C channels.
    """

    tensor: str
    stride: int
    names: tuple[str, ...]


def filter_bank(graph: Graph, image: str, names: Sequence[str]) -> list[FeatureStage]:
    """Add the filters over a tensor (N, K, T, T), K of the order of 1 and ``names`` long, T a multiple of 16."""
    bank = _Bank(graph, names)
    levels = {1: image}
    for stride in (2, 4, 8, 16):
        levels[stride] = bank.pooled(levels[stride // 2], 2)
    squares = {1: graph.node("Mul", image, image)}
    for stride, before in ((4, 1), (16, 4)):
        squares[stride] = bank.pooled(squares[before], stride // before)
    for stride in (4, 8, 16):
        bank.add(stride, levels[stride], f"mean of {stride} px")
    for stride in (4, 16):
        variance = graph.node("Sub", squares[stride], graph.node("Mul", levels[stride], levels[stride]))
        bank.add(stride, bank.root(variance), f"spread within {stride} px")
    for stride in (1, 2, 4, 8):
        bank.add_edges(levels[stride], stride)
    return bank.stages()


class _Bank:
    """Collects the features of each stride."""

    def __init__(self, graph: Graph, names: Sequence[str]) -> None:
        self.graph, self._names = graph, names
        self._parts: dict[int, list[tuple[str, str]]] = {}

    def add(self, stride: int, tensor: str, what: str) -> None:
        self._parts.setdefault(stride, []).append((tensor, what))

    def stages(self) -> list[FeatureStage]:
        return [
            FeatureStage(
                self.graph.node("Concat", *(tensor for tensor, _ in parts), axis=1),
                stride,
                tuple(f"{name}: {what}" for _, what in parts for name in self._names),
            )
            for stride, parts in sorted(self._parts.items())
        ]

    def pooled(self, tensor: str, size: int) -> str:
        return self.graph.node("AveragePool", tensor, kernel_shape=[size, size], strides=[size, size])

    def root(self, tensor: str) -> str:
        """Square root; a little below 0, as rounding leaves it, counts as 0."""
        return self.graph.node("Sqrt", self.graph.node("Relu", tensor))

    def add_edges(self, tensor: str, stride: int) -> None:
        """Edge strength along and across, and the Laplacian, of one level of the pyramid."""
        graph, coarse = self.graph, max(stride, STRIDE)
        x, y, laplacian = (self._filtered(tensor, kernel) for kernel in _DERIVATIVES.values())
        xx, yy, xy = (self._around(graph.node("Mul", *pair), stride) for pair in ((x, x), (y, y), (x, y)))
        total, apart = graph.node("Add", xx, yy), graph.node("Sub", xx, yy)
        twice = graph.node("Mul", xy, 2.0)
        squares = graph.node("Add", graph.node("Mul", apart, apart), graph.node("Mul", twice, twice))
        lean = graph.node("Sqrt", graph.node("Add", squares, _EDGES**2))
        self.add(coarse, self.root(graph.node("Add", total, lean)), f"edges across, {stride} px")
        self.add(coarse, self.root(graph.node("Sub", total, lean)), f"edges along, {stride} px")
        if stride < STRIDE:
            laplacian = self.root(self._around(graph.node("Mul", laplacian, laplacian), stride))
        self.add(coarse, laplacian, f"Laplacian, {stride} px")

    def _filtered(self, tensor: str, kernel: np.ndarray) -> str:
        count = len(self._names)
        weights = np.repeat(kernel[None, None].astype(np.float32), count, axis=0)
        return self.graph.node("Conv", tensor, weights, group=count, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def _around(self, tensor: str, stride: int) -> str:
        """Mean over a place, or over a cell and its neighbours where cells are no smaller than places."""
        if stride < STRIDE:
            return self.pooled(tensor, STRIDE // stride)
        return self.graph.node("AveragePool", tensor, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])


def projected(graph: Graph, stages: Sequence[FeatureStage], weights: np.ndarray, bias: np.ndarray, factor: int) -> str:
    """Add the projection of the stages and the rounding; the sum of what each gives at ``factor`` px."""
    total, first = "", 0
    for stage in stages:
        part = weights[:, first : first + len(stage.names), None, None]
        first += len(stage.names)
        tensor, stride = stage.tensor, stage.stride
        if stride < factor:
            tensor, stride = brought(graph, tensor, stride, factor), factor
        answer = graph.node("Conv", tensor, part, *(() if total else (bias,)), kernel_shape=[1, 1])
        answer = brought(graph, answer, stride, factor)
        total = graph.node("Add", total, answer) if total else answer
    return graph.node("Clip", graph.node("Round", total), 1.0, 255.0)


def brought(graph: Graph, tensor: str, stride: int, factor: int) -> str:
    """A tensor at ``factor`` px: averaged, or bilinear as every head resizes."""
    if stride == factor:
        return tensor
    if factor % stride == 0:
        size = factor // stride
        return graph.node("AveragePool", tensor, kernel_shape=[size, size], strides=[size, size])
    scales = np.array([1, 1, stride / factor, stride / factor], np.float32)
    return graph.node("Resize", tensor, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")

"""Classes from features: a head fitted on a few labelled polygons, as numbers and as nodes of an ONNX graph. Numpy only.

Every polygon weighs the same, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputFault
from ..model.graph import Graph
from .samples import Samples

NEVER = -1e4  # logit of a class without labels: its probability is 0, and stays so when logits are interpolated
_MIDDLE, _STEP = 128.0, 12.0  # of features as ``learn_features`` makes them: their mean, and what counts as 1
_ROWS = 20_000  # whose products are held at once
_PAIRS = 0.3  # weight of products of two features beside the features themselves
_MOST_PAIRED = 16  # features of which products are taken
_RIDGE = 1.5  # weight of half the squared coefficients beside the sum of the polygons' losses
_FITTED = 64  # pixels of a polygon that are fitted: more of them tell nothing new
_STEPS, _KEPT, _FLAT = 200, 8, 1e-4  # of L-BFGS: most steps, remembered steps, gradient at which it ends
_SHORTEST = 1e-5  # part of a step that is tried


@dataclass(frozen=True)
class Head:
    """A fitted head: probabilities are the softmax of a linear function of features and of products of two of them.

    Attributes:
        weights: (K, D) float32, of the features less ``_MIDDLE``.
        pairs: (K, P) float32, of the products of features in the order of ``np.triu_indices``; P is 0 for many features.
        bias: (K,) float32; ``NEVER`` for a class without labels.
    """

    weights: np.ndarray
    pairs: np.ndarray
    bias: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, K) float32 from (N, D) features, such as 1 to 255."""
        values = features.astype(np.float32) - np.float32(_MIDDLE)
        logits = values @ self.weights.T + self.bias
        if self.pairs.size:
            left, right = np.triu_indices(values.shape[1])
            for first in range(0, len(values), _ROWS):
                part = values[first : first + _ROWS]
                logits[first : first + _ROWS] += (part[:, left] * part[:, right]) @ self.pairs.T
        return _softmax(logits)

    def add_to(self, graph: Graph, name: str, factor: int) -> str:
        """Add the head to a graph, after its value ``name`` of (N, D, rows, columns) features.

        Returns:
            The name of (N, K, rows x factor, columns x factor) probabilities: logits are interpolated bilinearly.
        """
        values = graph.node("Sub", name, _MIDDLE)
        logits = graph.node("Conv", values, self.weights[:, :, None, None], self.bias, kernel_shape=[1, 1])
        if self.pairs.size:
            sides = (graph.node("Gather", values, side, axis=1) for side in np.triu_indices(self.weights.shape[1]))
            products = graph.node("Conv", graph.node("Mul", *sides), self.pairs[:, :, None, None], kernel_shape=[1, 1])
            logits = graph.node("Add", logits, products)
        if factor > 1:
            scales = np.array([1, 1, factor, factor], np.float32)
            logits = graph.node(
                "Resize", logits, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
            )
        return _added_softmax(graph, logits, len(self.weights))


def fit(samples: Samples, classes: int, start: Head | None = None) -> Head:
    """Fit a head for so many classes; those without samples never occur in its answers.

    Multinomial logistic regression with a ridge, which counts less the more polygons there are. Features count by their
    spread, as ``learn_features`` leaves it. ``start`` is a head of nearly the same samples, from which the same result is
    reached sooner.

    Raises:
        InputFault: samples of fewer than two classes.
    """
    present = np.unique(samples.classes)
    if len(present) < 2:
        raise InputFault("one_class")
    few = few_of_each(samples.polygons, _FITTED)
    share = 1.0 / np.bincount(samples.polygons[few])[samples.polygons[few]] / len(samples.numbers)
    inputs, scale = _inputs(samples.features[few])
    targets = samples.classes[few, None] == present
    ridge = _RIDGE / len(samples.numbers)
    loss = _loss(inputs, targets.astype(np.float32), share.astype(np.float32), ridge)
    begin = np.zeros((inputs.shape[1], len(present)), np.float32)
    if start is not None:
        begin = np.column_stack([start.weights, start.pairs, start.bias])[present].T / np.append(scale, 1)[:, None]
        begin = np.where(np.abs(begin) < -NEVER / 2, begin, 0).astype(np.float32)
    found = _minimum(loss, begin)
    weights = np.zeros((classes, len(scale)), np.float32)
    weights[present] = found[:-1].T * scale
    bias = np.full(classes, NEVER, np.float32)
    bias[present] = found[-1] - found[-1].mean()
    channels = samples.features.shape[1]
    return Head(weights[:, :channels], weights[:, channels:], bias)


def few_of_each(polygons: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most so many samples of each polygon, evenly in their order."""
    order = np.argsort(polygons, kind="stable")
    _, first, count = np.unique(polygons[order], return_index=True, return_counts=True)
    step = -(-count // most)
    number = np.arange(len(order)) - np.repeat(first, count)
    return order[number % np.repeat(step, count) == 0]


def _inputs(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, C + 1) float32 features, their products and a column of ones, and the (C,) factors of the first C."""
    values = (features - _MIDDLE) / _STEP
    scale, parts = np.full(values.shape[1], 1 / _STEP), [values]
    if values.shape[1] <= _MOST_PAIRED:
        left, right = np.triu_indices(values.shape[1])
        parts.append(_PAIRS * values[:, left] * values[:, right])
        scale = np.append(scale, np.full(len(left), _PAIRS / _STEP**2))
    return np.column_stack([*parts, np.ones(len(values))]).astype(np.float32), scale.astype(np.float32)


def _added_softmax(graph: Graph, logits: str, classes: int) -> str:
    """Add the softmax over channels: onnxruntime's own turns the axes around first, and takes six times as long."""
    most = graph.node("Max", *graph.nodes("Split", logits, np.ones(classes, np.int64), outputs=classes, axis=1))
    likely = graph.node("Exp", graph.node("Sub", logits, most))
    return graph.node("Div", likely, graph.node("ReduceSum", likely, np.ones(1, np.int64), keepdims=1))


def _softmax(logits: np.ndarray) -> np.ndarray:
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


def _loss(
    inputs: np.ndarray, targets: np.ndarray, share: np.ndarray, ridge: float
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The penalised cross-entropy in nats, and its gradient, of (D + 1, K) coefficients; the last row is not penalised."""

    def loss(found: np.ndarray) -> tuple[float, np.ndarray]:
        likely = _softmax(inputs @ found)
        slopes = found.copy()
        slopes[-1] = 0.0
        value = -share @ np.log(np.maximum((likely * targets).sum(axis=1), 1e-30)) + ridge / 2 * (slopes**2).sum()
        return float(value), inputs.T @ ((likely - targets) * share[:, None]) + ridge * slopes

    return loss


def _minimum(function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray) -> np.ndarray:
    """The minimum of a smooth convex function that returns its value and gradient: L-BFGS (Nocedal and Wright, alg. 7.5)."""
    at, (value, gradient) = start, function(start)
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(_STEPS):
        if np.abs(gradient).max() < _FLAT:
            break
        step = -_curved(gradient, pairs)
        along, size = float((step * gradient).sum()), 1.0
        while True:
            there = at + size * step
            next_value, next_gradient = function(there)
            if next_value <= value + 1e-4 * size * along:
                break
            size /= 2
            if size < _SHORTEST:  # what float32 can tell is reached
                return at
        moved, turned = there - at, next_gradient - gradient
        bend = float((moved * turned).sum())
        if bend > 1e-12:
            pairs = [*pairs[1 - _KEPT :], (moved, turned, bend)]
        at, value, gradient = there, next_value, next_gradient
    return at


def _curved(gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """The gradient times the inverse curvature that the last steps show."""
    direction, shares = gradient.copy(), []
    for moved, turned, bend in reversed(pairs):
        shares.append(float((moved * direction).sum()) / bend)
        direction -= shares[-1] * turned
    if pairs:
        _, turned, bend = pairs[-1]
        direction *= bend / float((turned**2).sum())
    for (moved, turned, bend), share in zip(pairs, reversed(shares)):
        direction += (share - float((turned * direction).sum()) / bend) * moved
    return direction

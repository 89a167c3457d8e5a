"""Classes from features: a head fitted on a few labelled polygons, as numbers and as nodes of an ONNX graph. Numpy only.

Every polygon weighs the same, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputFault
from .samples import Samples

NEVER = -1e4  # logit of a class without labels: its probability is 0, and stays so when logits are interpolated
_RIDGE = 0.01  # weight of the squared coefficients of standardised features, beside the mean loss of the polygons
_STEPS, _KEPT, _FLAT = 200, 8, 1e-4  # of L-BFGS: most steps, remembered steps, gradient at which it ends


@dataclass(frozen=True)
class Head:
    """A fitted head: probabilities are the softmax of ``weights @ features + bias``.

    Attributes:
        weights: (K, D) float32.
        bias: (K,) float32; ``NEVER`` for a class without labels.
    """

    weights: np.ndarray
    bias: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, K) float32 from (N, D) features, such as 1 to 255."""
        return _softmax(features.astype(np.float32, copy=False) @ self.weights.T + self.bias)

    def add_to(self, graph: Any, name: str, factor: int) -> str:
        """Add the head to a graph, after its output ``name`` of (N, D, rows, columns) features.

        Returns:
            The name of (N, K, rows x factor, columns x factor) probabilities: logits are interpolated bilinearly.
        """
        kernel = graph.constant(self.weights[:, :, None, None])
        logits = graph.node("Conv", name, kernel, graph.constant(self.bias), kernel_shape=[1, 1])
        if factor > 1:
            scales = graph.constant(np.array([1, 1, factor, factor], np.float32))
            logits = graph.node(
                "Resize", logits, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
            )
        return graph.node("Softmax", logits, axis=1)


def fit(samples: Samples, classes: int) -> Head:
    """Fit a head for so many classes; those without samples never occur in its answers.

    Multinomial logistic regression on standardised features, with a ridge.

    Raises:
        InputFault: samples of fewer than two classes.
    """
    present = np.unique(samples.classes)
    if len(present) < 2:
        raise InputFault("one_class")
    share = samples.weights / len(samples.numbers)
    features = samples.features.astype(np.float64)
    mean = share @ features
    spread = np.sqrt(share @ (features - mean) ** 2)
    spread[spread == 0] = 1.0
    inputs = np.column_stack([(features - mean) / spread, np.ones(len(features))])
    targets = (samples.classes[:, None] == present).astype(np.float64)
    found = _minimum(_loss(inputs, targets, share), np.zeros((inputs.shape[1], len(present))))
    slopes = found[:-1].T / spread
    weights = np.zeros((classes, features.shape[1]), np.float32)
    bias = np.full(classes, NEVER, np.float32)
    weights[present], bias[present] = slopes, found[-1] - slopes @ mean
    return Head(weights, bias)


def _softmax(logits: np.ndarray) -> np.ndarray:
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


def _loss(
    inputs: np.ndarray, targets: np.ndarray, share: np.ndarray
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The penalised cross-entropy in nats, and its gradient, of (D + 1, K) coefficients; the last row is not penalised."""

    def loss(found: np.ndarray) -> tuple[float, np.ndarray]:
        likely = _softmax(inputs @ found)
        slopes = found.copy()
        slopes[-1] = 0.0
        value = -share @ np.log(np.maximum((likely * targets).sum(axis=1), 1e-300)) + _RIDGE / 2 * (slopes**2).sum()
        return float(value), inputs.T @ ((likely - targets) * share[:, None]) + _RIDGE * slopes

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
            if next_value <= value + 1e-4 * size * along or size < 1e-10:
                break
            size /= 2
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

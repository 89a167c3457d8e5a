"""Converts the outputs of models to one form, and picks the class of each place."""

from __future__ import annotations

import numpy as np

from ..errors import ModelFault
from .card import ModelCard

DENSE = ("segmentation", "regression")  # tasks with an output per pixel


def kind_of(answer: np.ndarray) -> str:
    """What the values of an output (N, K, ...), as the graph returned it, are: one of ``card.ACTIVATIONS``."""
    if answer.dtype.kind in "iub":
        return "classes"
    if answer.min() < -1e-3 or answer.max() > 1 + 1e-3:
        return "logits"
    several = answer.shape[1] > 1
    return "softmax" if several and np.allclose(answer.sum(axis=1), 1, atol=1e-2) else "sigmoid"


def with_channels(answer: np.ndarray, task: str) -> np.ndarray:
    """Give (N, rows, columns) of a pixel-wise task, or (N,), its channel axis; (N, K, 1, 1) of others becomes (N, K)."""
    if answer.ndim == 1 or (answer.ndim == 3 and task in DENSE):
        return answer[:, None]
    once = task not in DENSE and answer.ndim == 4 and answer.shape[2:] == (1, 1)
    return answer[:, :, 0, 0] if once else answer


def canonical(answer: np.ndarray, card: ModelCard, where: str) -> np.ndarray:
    """Float32 probabilities, values or features from (N, K, rows, columns) or (N, K), as the graph returned it.

    Raises:
        ModelFault: a class number is not in the legend.
    """
    if card.task == "regression":
        return answer.astype(np.float32, copy=False) * np.float32(card.factor)
    if card.task == "embedding":
        return answer.astype(np.float32, copy=False)
    if card.activation == "classes":
        return _votes(answer, card, where)
    answer = answer.astype(np.float32, copy=False)
    if card.activation == "logits":
        return _softmax(answer) if answer.shape[1] > 1 else _sigmoid(answer)
    return answer


def decide(share: np.ndarray, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class of each place, as an index into ``card.classes``, and its probability.

    ``share`` are (K, ...) probabilities; whether channels exclude each other follows from the number of classes.
    """
    dtype = np.min_scalar_type(len(share))
    best, number = share[0].copy(), np.zeros(share.shape[1:], dtype)
    # Many times faster than argmax over the first axis, or than writes where it is better.
    for channel in range(1, len(share)):
        better = share[channel] > best
        np.maximum(best, share[channel], out=best)
        np.maximum(number, np.multiply(better, channel, dtype=dtype), out=number)
    if len(card.classes) == len(share):
        return number, best
    reached = best >= card.threshold  # one class more than channels: the first means none of them
    return np.where(reached, number + 1, 0), np.where(reached, best, 1 - best)


def cosine_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(...) float32, 0 to 2, between features (D, ...); 1 where those of one side alone are all 0."""
    squares, others = (one * one).sum(axis=0), (other * other).sum(axis=0)
    length = np.sqrt(squares) * np.sqrt(others)
    along = (one * other).sum(axis=0) / np.where(length > 0, length, 1)
    along[(squares == 0) & (others == 0)] = 1
    return np.clip(1 - along, 0, 2).astype(np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinite values become NaN, which the blending leaves out
        logits = logits - logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
    return logits


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and the result 0
        return 1 / (1 + np.exp(-logits))


def _votes(numbers: np.ndarray, card: ModelCard, where: str) -> np.ndarray:
    """One channel per class, 1 where the graph chose it: class numbers cannot be averaged, votes can."""
    if numbers.ndim > 1 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    values = np.array([entry.value for entry in card.classes])
    known = np.isin(numbers, values)
    if not known.all():
        raise ModelFault("unknown_class", where=where, value=int(numbers[~known][0]))
    return np.stack([numbers == value for value in values], axis=1).astype(np.float32)

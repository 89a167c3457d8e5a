"""95 % intervals by bootstrap over places, and over seeds if there are several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """In percent."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def mean_score(values: np.ndarray, seed: int = 0) -> Score:
    """Mean with its interval, resampling places, and seeds if there are several.

    Args:
        values: (places,) or (seeds, places), one value per place, such as 1 for a correct prediction. The same places
            in every row; differences of two methods make a paired comparison.
        seed: of the bootstrap.
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    rng = np.random.default_rng(seed)
    seeds, places = values.shape
    means = []
    for _ in range(RESAMPLES):
        rows = values[rng.integers(0, seeds, seeds)].mean(axis=0) if seeds > 1 else values[0]
        means.append(rows[rng.integers(0, places, places)].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return Score(float(values.mean()), float(low), float(high))


def share_score(correct: np.ndarray, known: np.ndarray, seed: int = 0) -> Score:
    """Fraction of correct pixels with its interval, resampling places, which have different numbers of pixels.

    Args:
        correct: (places,) number of correct pixels.
        known: (places,) number of labelled pixels.
        seed: of the bootstrap.
    """
    draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    low, high = np.percentile(correct[draws].sum(axis=1) / known[draws].sum(axis=1), [2.5, 97.5])
    return Score(float(correct.sum() / known.sum()), float(low), float(high))


def advantage(better: np.ndarray, worse: np.ndarray, labels: np.ndarray, seed: int = 0) -> Score:
    """Difference in accuracy of two predictions for the same places, paired bootstrap.

    Args:
        better: (places,) or (seeds, places) predicted labels.
        worse: predicted labels of the other method, in the same shape.
        labels: (places,) true labels.
        seed: of the bootstrap.
    """
    return mean_score((better == labels).astype(float) - (worse == labels), seed)


def bootstrap(predicted: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Accuracy and macro-F1 with intervals, resampling test places."""
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]

    def score(metric: Callable[[np.ndarray, np.ndarray], float]) -> Score:
        values = [metric(predicted[d], labels[d]) for d in draws]
        low, high = np.percentile(values, [2.5, 97.5])
        return Score(metric(predicted, labels), float(low), float(high))

    return {"accuracy": score(_accuracy), "macro_f1": score(macro_f1)}


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float((predicted == labels).mean())


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 of the classes that occur; written with bincount, as the bootstrap calls it a thousand times."""
    size = int(max(labels.max(), predicted.max())) + 1
    hits = np.bincount(labels[labels == predicted], minlength=size)
    truth, answers = np.bincount(labels, minlength=size), np.bincount(predicted, minlength=size)
    return float((2 * hits / np.maximum(truth + answers, 1))[truth > 0].mean())

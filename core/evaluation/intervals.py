"""95 % intervals by bootstrap over places, and over seeds if there are several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: list[float] | np.ndarray) -> Score:
        """The interval from the values of ``RESAMPLES`` bootstrap samples."""
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(float(value), float(low), float(high))

    def __str__(self) -> str:
        """In percent."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def mean_score(values: np.ndarray, seed: int = 0) -> Score:
    """Mean of (places,) or (seeds, places) values, such as 1 for a correct prediction; seeds are resampled too.

    The places are the same in every row; differences of two methods make a paired comparison.
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    rng = np.random.default_rng(seed)
    seeds, places = values.shape
    means = []
    for _ in range(RESAMPLES):
        rows = values[rng.integers(0, seeds, seeds)].mean(axis=0) if seeds > 1 else values[0]
        means.append(rows[rng.integers(0, places, places)].mean())
    return Score.of(values.mean(), means)


def share_score(correct: np.ndarray, known: np.ndarray, seed: int = 0) -> Score:
    """Fraction of correct pixels, from the (places,) numbers of correct and of labelled pixels of each place."""
    draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    return Score.of(correct.sum() / known.sum(), correct[draws].sum(axis=1) / known[draws].sum(axis=1))


def advantage(better: np.ndarray, worse: np.ndarray, labels: np.ndarray, seed: int = 0) -> Score:
    """Difference in accuracy of two predictions, (places,) or (seeds, places), of (places,) labels; paired bootstrap."""
    return mean_score((better == labels).astype(float) - (worse == labels), seed)


def bootstrap(predicted: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Accuracy and macro-F1 with intervals, resampling test places."""
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]
    metrics = {"accuracy": lambda some, truth: (some == truth).mean(), "macro_f1": macro_f1}
    return {
        name: Score.of(metric(predicted, labels), [metric(predicted[drawn], labels[drawn]) for drawn in draws])
        for name, metric in metrics.items()
    }


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 of the classes that occur; written with bincount, as the bootstrap calls it a thousand times."""
    size = int(max(labels.max(), predicted.max())) + 1
    hits = np.bincount(labels[labels == predicted], minlength=size)
    truth, answers = np.bincount(labels, minlength=size), np.bincount(predicted, minlength=size)
    return float((2 * hits / np.maximum(truth + answers, 1))[truth > 0].mean())

"""95 % intervals over places, and over seeds if there are several, that hold for few places of unequal size too.

The places are the independent units: pixels of one are alike. A share gets the exact limits (Clopper and Pearson 1934) of as
many independent units as have the variance that the places show: Korn and Graubard 1998, Confidence intervals for
proportions with small expected number of positive counts estimated from survey data, Survey Methodology 24, 193-201. The
variance between places is the jackknife's, raised for Student's t. It never exceeds that of places which are wholly right or
wholly wrong, and is drawn towards it as far as few places cannot tell: ten good ones say little about the bad ones that were
not drawn.
``benchmarks/coverage.py`` measures how often the intervals hold the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, stdtrit

FEWEST = 8  # places below which no interval keeps its promise
UPPER = 0.975  # quantile at the upper limit
_NORMAL = 1.959964  # that quantile of the normal distribution
# Weight of the worst case, times the squared skewness of the mean in that case: what few places cannot show.
_DOUBT = 0.3


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """In percent."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def few_places(places: int) -> str | None:
    """A warning where there are too few for the intervals."""
    if places >= FEWEST:
        return None
    return f"{places} test places: the 95 % intervals need {FEWEST} or more to hold, and say little here"


def share_score(correct: np.ndarray, known: np.ndarray) -> Score:
    """Fraction of correct pixels, from the (places,) numbers of correct and of labelled pixels of each place."""
    correct, known = correct[known > 0], known[known > 0]
    weights = known / known.sum()
    value = float(correct.sum() / known.sum())
    return _share(value, _between(correct / known, weights), float(1 / (weights**2).sum()))


def mean_score(values: np.ndarray) -> Score:
    """Mean of (places,) or (seeds, places) values from 0 to 1, such as 1 for a correct prediction.

    The places are the same in every row. Seeds count as drawn at random too.
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    places = values.mean(axis=0)
    variance = _between(places, np.full(len(places), 1 / len(places)))
    return _share(float(values.mean()), variance, len(places), _of_seeds(values))


def gain_score(values: np.ndarray) -> Score:
    """Mean of (places,) or (seeds, places) differences from -1 to 1 between two methods, in a paired comparison.

    Two places more, one for each method, keep the interval open where no difference was seen: Bonett and Price 2012, Adjusted
    Wald confidence interval for a difference of binomial proportions based on paired data, Journal of Educational and
    Behavioral Statistics 37, 479-488. Their differences are as large as the large ones that were seen.
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    places = values.mean(axis=0)
    size = np.sqrt((places**4).sum() / (places**2).sum()) if places.any() else 1.0
    wider = np.append(places, [size, -size])
    half = np.hypot(_t(len(places) - 1) * wider.std() / len(wider) ** 0.5, _NORMAL * _of_seeds(values) ** 0.5)
    middle = float(wider.mean())
    return Score(float(values.mean()), max(middle - half, -1.0), min(middle + half, 1.0))


def advantage(better: np.ndarray, worse: np.ndarray, labels: np.ndarray) -> Score:
    """Difference in accuracy of two predictions, (places,) or (seeds, places), of (places,) labels."""
    return gain_score((better == labels).astype(float) - (worse == labels))


def prediction_scores(predicted: np.ndarray, labels: np.ndarray) -> dict[str, Score]:
    """Accuracy and macro-F1 of (places,) predictions."""
    return {"accuracy": mean_score(predicted == labels), "macro_f1": _macro_f1_score(predicted, labels)}


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 of the classes that occur."""
    return float(_macro_f1(_confusion(predicted, labels)[None])[0])


def _confusion(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts, (classes, classes): truth down, predictions across."""
    size = int(max(labels.max(), predicted.max())) + 1
    return np.bincount(labels.astype(np.int64) * size + predicted, minlength=size**2).reshape(size, size)


def _macro_f1(confusions: np.ndarray) -> np.ndarray:
    """Macro-F1 of each of (N, classes, classes) counts."""
    hits, truth, answers = confusions.diagonal(axis1=1, axis2=2), confusions.sum(axis=2), confusions.sum(axis=1)
    f1 = 2 * hits / np.maximum(truth + answers, 1)
    return np.where(truth > 0, f1, 0).sum(axis=1) / np.maximum((truth > 0).sum(axis=1), 1)


def _macro_f1_score(predicted: np.ndarray, labels: np.ndarray) -> Score:
    """Its variance is the jackknife's: of the values without one place, which are the same for all places of a cell."""
    confusion = _confusion(predicted, labels)
    cells = np.argwhere(confusion)
    counts, places = confusion[tuple(cells.T)], len(labels)
    without = np.array([_macro_f1((confusion - _one_at(cell, len(confusion)))[None])[0] for cell in cells])
    mean = (counts * without).sum() / places
    variance = (places - 1) / places * float((counts * (without - mean) ** 2).sum())
    of_class = confusion.sum(axis=1)
    of_class = of_class[of_class > 0]
    units = len(of_class) ** 2 / (1 / of_class).sum()  # whose mean varies as that of the classes' shares
    return _share(float(_macro_f1(confusion[None])[0]), variance, float(units))


def _one_at(cell: np.ndarray, size: int) -> np.ndarray:
    one = np.zeros((size, size), np.int64)
    one[tuple(cell)] = 1
    return one


def _between(values: np.ndarray, weights: np.ndarray) -> float:
    """Variance of the weighted mean of (places,) values, by the jackknife."""
    if len(values) < 2:
        return 0.0
    moved = weights * (values - weights @ values) / (1 - weights)  # how far the mean moves without each place
    return float((len(values) - 1) / len(values) * (moved**2).sum())


def _of_seeds(values: np.ndarray) -> float:
    """Variance of the mean of (seeds, places) values that the seeds add, raised for their small number; 0 of one seed."""
    seeds = len(values)
    if seeds < 2:
        return 0.0
    return float(values.mean(axis=1).var(ddof=1) / seeds * (_t(seeds - 1) / _NORMAL) ** 2)


def _t(freedom: float) -> float:
    return float(stdtrit(max(freedom, 0.1), UPPER))


def _share(value: float, variance: float, places: float, of_seeds: float = 0.0) -> Score:
    """Limits of a share with some variance between so many places of equal size, and some more between seeds."""
    value = min(max(value, 0.0), 1.0)
    worst = value * (1 - value) / places  # if every place were wholly right or wholly wrong
    units = places
    if worst > 0:
        skewed = ((1 - 2 * value) ** 2 + 1 / places) / (value * (1 - value))
        doubt = _DOUBT * skewed / places
        ratio = (variance / worst + doubt) / (1 + doubt)
        ratio = min(ratio * (_t(places - 1) / _NORMAL) ** 2, 1.0)
        units = places / (ratio + of_seeds / worst)
    hits, misses = value * units, (1 - value) * units
    low = float(betaincinv(hits, misses + 1, 1 - UPPER)) if hits else 0.0
    high = float(betaincinv(hits + 1, misses, UPPER)) if misses else 1.0
    return Score(value, low, high)

"""From which feature distance on a place has changed, and what share of places with a probability of change did change.

Both come from a sample of places whose truth is known, where there is one. Without it distances are cut by a stated rule, and
probabilities stay the model's own, which are said not to be calibrated. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputFault
from ..raster.legend import class_name

RECALL = 0.9  # of the changed places of a sample, that the threshold of distances keeps
LEAST = 10  # places of each kind that a sample must have on the data
BINS = 4096  # of distances from 0 to 2: thresholds lie on their edges
_PER_BIN = BINS / 2
_ROUNDS = 100
_SURE = 0.005  # a probability of 0 or 1 counts as this far from it: per cent are rounded so
_YES, _NO = (
    ("1", "true", "yes", "y", "t", "change", "changed"),
    ("0", "false", "no", "n", "f", "no change", "unchanged"),
)


@dataclass(frozen=True)
class KnownPlaces:
    """Places whose truth is known.

    Attributes:
        where: file or layer, for messages.
        places: (N, 2) x and y in the CRS of the result.
        changed: (N,) bool.
    """

    where: str
    places: np.ndarray
    changed: np.ndarray


@dataclass(frozen=True)
class Threshold:
    """Distances from ``value`` on are change.

    Attributes:
        rule: "otsu", "recall" or "given".
        separability: of Otsu's rule, share of the variance of all distances that lies between its two groups; else NaN.
        recall: of the changed places of the sample, and ``false_alarms`` of its unchanged ones; else NaN.
    """

    value: float
    rule: str
    separability: float = np.nan
    recall: float = np.nan
    false_alarms: float = np.nan


@dataclass(frozen=True)
class Calibration:
    """Probabilities p become 1 / (1 + exp(-(slope x logit(p) + shift))) (Platt 1999); fitted on a sample.

    Attributes:
        places: of the sample that lie on data.
        brier: mean squared error of the probabilities of the sample before, and after with each place left out of the fit.
    """

    slope: float
    shift: float
    places: int
    brier: tuple[float, float]

    def of(self, percent: np.ndarray) -> np.ndarray:
        """(...) uint8 per cent from uint8 per cent."""
        table = 100 * _sigmoid(self.slope * _logit(np.arange(101) / 100) + self.shift)
        return np.rint(table).astype(np.uint8)[percent]


def truths(where: str, field: str, values: Sequence[Any], names: dict[int, tuple[str, bool]]) -> np.ndarray:
    """(N,) bool: which places of a sample changed, from an attribute: yes or no, or a class of the from-to map.

    ``names`` are that map's classes by value: name, and whether it is a change.

    Raises:
        InputFault: a value is none of these.
    """
    by_name = {name.casefold(): changed for name, changed in names.values()}
    by_value = {} if set(map(str, values)) <= {"0", "1"} else {str(value): of for value, (_, of) in names.items()}
    known = {**dict.fromkeys(_YES, True), **dict.fromkeys(_NO, False), **by_value, **by_name}
    found = []
    for value in values:
        text = class_name(value).casefold()
        if text not in known:
            raise InputFault("change_truth", where=where, attribute=field, text=value)
        found.append(known[text])
    return np.array(found, bool)


def check_sample(sample: KnownPlaces, there: np.ndarray) -> None:
    """Raise InputFault where too few of a sample's places lie on data (``there``, (N,) bool)."""
    changed = int((sample.changed & there).sum())
    kept = int((~sample.changed & there).sum())
    if min(changed, kept) < LEAST:
        raise InputFault("change_sample", where=sample.where, changed=changed, kept=kept, least=LEAST)


class Histogram:
    """Counts distances, so that no rule has to read them again."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)

    def add(self, distances: np.ndarray) -> None:
        """Count what is finite."""
        known = distances[np.isfinite(distances)]
        self.counts += np.bincount(np.minimum((known * _PER_BIN).astype(np.int64), BINS - 1), minlength=BINS)

    def otsu(self) -> Threshold:
        """The threshold between two groups of distances that differ most (Otsu 1979, IEEE Trans. SMC 9, 62-66).

        It always finds two groups, also where nothing changed: then they are hardly apart.

        Raises:
            InputFault: no distance was counted.
        """
        total = self.counts.sum()
        if not total:
            raise InputFault("change_nothing")
        middles = (np.arange(BINS) + 0.5) / _PER_BIN
        below = np.cumsum(self.counts)[:-1]
        sums = np.cumsum(self.counts * middles)
        mean = sums[-1] / total
        with np.errstate(invalid="ignore", divide="ignore"):
            between = (mean * below - sums[:-1]) ** 2 / (below * (total - below))
        between = np.where((below > 0) & (below < total), between, 0.0)
        best = between == between.max()
        edge = int(np.flatnonzero(best).mean()) + 1  # the middle of an empty stretch
        spread = float((self.counts * (middles - mean) ** 2).sum())
        return Threshold(edge / _PER_BIN, "otsu", float(between.max() * total / spread) if spread else 0.0)


def recall_threshold(distances: np.ndarray, changed: np.ndarray, weights: np.ndarray) -> Threshold:
    """The largest threshold that keeps ``RECALL`` of the changed places of a sample, weighted.

    Args:
        distances: (N,) at the places.
        changed: (N,) bool.
        weights: (N,) area that each place stands for.
    """
    ranked = np.argsort(-distances[changed], kind="stable")
    share = np.cumsum(weights[changed][ranked]) / weights[changed].sum()
    value = float(distances[changed][ranked][np.searchsorted(share, RECALL - 1e-9)])
    value = np.floor(value * _PER_BIN) / _PER_BIN
    beyond = distances >= value
    recall, alarms = (float(weights[of & beyond].sum() / weights[of].sum()) for of in (changed, ~changed))
    return Threshold(value, "recall", recall=recall, false_alarms=alarms)


def calibrate(percent: np.ndarray, sample: KnownPlaces, weights: np.ndarray) -> Calibration:
    """Fit a calibration.

    Args:
        percent: (N,) probability at the places of the sample, in per cent.
        sample: N places, all of them on data.
        weights: (N,) area that each place stands for.

    Raises:
        InputFault: places with a higher probability changed no more often than others.
    """
    of, changed = _logit(percent / 100), sample.changed
    weights = weights / weights.mean()
    slope, shift = _fit(of, changed, weights)
    if not slope > 0:
        raise InputFault("change_contradicts", where=sample.where)
    out = np.empty(len(of))
    for left in range(len(of)):
        rest = np.arange(len(of)) != left
        one, other = _fit(of[rest], changed[rest], weights[rest])
        out[left] = _sigmoid(one * of[left] + other)
    errors = [float(np.average((guess - changed) ** 2, weights=weights)) for guess in (percent / 100, out)]
    return Calibration(slope, shift, len(of), (errors[0], errors[1]))


def _fit(of: np.ndarray, changed: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Logistic regression on one number by Newton's method, with Platt's targets: never quite 0 and 1."""
    ups, downs = weights[changed].sum(), weights[~changed].sum()
    target = np.where(changed, (ups + 1) / (ups + 2), 1 / (downs + 2))
    design = np.stack([of, np.ones_like(of)])
    at = np.array([0.0, np.log((ups + 1) / (downs + 1))])
    loss = _loss(at, design, target, weights)
    for _ in range(_ROUNDS):
        guess = _sigmoid(at @ design)
        slope = design @ (weights * (guess - target))
        curve = (design * (weights * guess * (1 - guess))) @ design.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        while _loss(at - step, design, target, weights) > loss + 1e-12 and abs(step).max() > 1e-9:
            step = step / 2
        at = at - step
        loss = _loss(at, design, target, weights)
        if abs(step).max() < 1e-8:
            break
    return float(at[0]), float(at[1])


def _loss(at: np.ndarray, design: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    odds = at @ design
    return float((weights * (np.logaddexp(0, odds) - target * odds)).sum())


def _logit(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, _SURE, 1 - _SURE)
    return np.log(share / (1 - share))


def _sigmoid(odds: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))

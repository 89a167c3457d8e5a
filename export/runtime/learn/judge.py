"""How far a map from a few labels can be trusted: accuracy at polygons left out, and which places are unlike all labels.

Numpy only. Pixels of one polygon are alike, so that polygons are what is left out, and what the intervals count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import Cancelled
from ..messages import Message
from ..results.estimates import exact_limits
from .heads import few_of_each, fit
from .samples import Samples

FEWEST = 8  # polygons of a class below which its limits say little
_ALONE = 30  # polygons up to which each is left out alone
_BLOCKS = 8  # above it: spatial blocks, halved three times
_NEAREST, _REFERENCES = 8, 512  # pixels of a polygon, and of all, with which places are compared
_LIKE = 0.93  # of the labels are like the others
_LEAST = 1.0  # distance of features, in steps of 8 bits, that says nothing
_ROWS = 10_000  # places compared at once

Progress = Callable[[int, int], bool]  # (done, total) -> go on


@dataclass(frozen=True)
class Quality:
    """Accuracy at polygons that were left out of the fit; every polygon counts as one, by the shares of its pixels.

    Attributes:
        names: (K,) the classes.
        confusion: (K, K) polygons: the class that they are labelled as down, the class that they get across.
        polygons: (K,) labelled polygons of each class, whether or not they could be tested.
        accuracy: (3,) share of the polygons that get their class, with the limits of its 95 % interval; NaN if unknown.
        f1: (3, K) F1 score of each class, with the limits of its 95 % interval; NaN where no polygon could be tested.
        blocks: how many spatial blocks were left out in turn; 0: each polygon alone.
        warnings: what keeps these figures from being known well.
    """

    names: tuple[str, ...]
    confusion: np.ndarray
    polygons: np.ndarray
    accuracy: np.ndarray
    f1: np.ndarray
    blocks: int
    warnings: tuple[Message, ...]


def cross_validate(samples: Samples, names: Sequence[str], progress: Progress | None = None) -> Quality:
    """Fit without some polygons and compare the answers with their labels, until each was left out once.

    A polygon that is the only one of its class, or whose class has no other outside its block, always helps to fit and is
    not tested: no head can know what it never saw.

    Raises:
        InputFault: samples of fewer than two classes.
        Cancelled: ``progress`` returned False.
    """
    labels = samples.labels
    confusion = np.zeros((len(names), len(names)))
    folds = _folds(samples)
    tested = np.zeros(len(labels), bool)
    turns = list(_turns(folds, labels))
    whole = fit(samples, len(names))
    for done, out in enumerate(turns):
        if progress is not None and not progress(done, len(turns)):
            raise Cancelled()
        inside = out[samples.polygons]
        head = fit(samples.without(out), len(names), start=whole)
        given = head.probabilities(samples.features[inside]).argmax(axis=1)
        np.add.at(confusion, (samples.classes[inside], given), samples.weights[inside])
        tested |= out
    blocks = int(folds.max()) + 1 if len(labels) > _ALONE else 0
    polygons = np.bincount(labels, minlength=len(names))
    warnings = _warnings(labels, tested, polygons, names, blocks)
    return Quality(tuple(names), confusion, polygons, _accuracy(confusion), _f1(confusion), blocks, warnings)


def _folds(samples: Samples) -> np.ndarray:
    """(P,) in which turn each polygon is left out: alone, or with its block where there are many.

    Polygons that share pixels go together, as one would know the answer for the other.
    """
    labels = len(samples.numbers)
    _, groups = np.unique(samples.groups, return_inverse=True)
    if labels <= _ALONE:
        return groups
    folds = np.zeros(labels, np.int64)
    # rasters beside each other, farther apart than they are large
    apart = samples.scenes * 4 * (np.ptp(samples.places, axis=0).max() + 1)
    places = samples.places + np.column_stack([np.zeros(labels), apart])
    blocks = [np.arange(labels)]
    while len(blocks) < _BLOCKS:
        blocks = [half for block in blocks for half in _halves(block, places[block])]
    for number, block in enumerate(blocks):
        folds[block] = number
    _, first = np.unique(groups, return_index=True)
    return folds[first[groups]]


def _halves(block: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two equally large parts of some polygons, across the longer side."""
    axis = int(np.ptp(places, axis=0).argmax())
    order = block[np.argsort(places[:, axis], kind="stable")]
    return order[: len(order) // 2], order[len(order) // 2 :]


def _turns(folds: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    """(P,) masks of the polygons to leave out; those without another one of their class outside stay."""
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        out &= np.isin(labels, labels[~out])
        if out.any():
            yield out


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    """(3,) overall accuracy and its limits."""
    return np.array(_share(float(np.trace(confusion)), float(confusion.sum())))


def _f1(confusion: np.ndarray) -> np.ndarray:
    """(3, K) F1 and its limits: those of J, the share of right ones among the polygons that have or get a class.

    F1 is 2 J / (1 + J), which rises with J.
    """
    right = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    known = np.where(confusion.sum(axis=1) > 0, either, 0.0)
    shares = np.array([_share(float(hits), float(units)) for hits, units in zip(right, known)]).T
    return 2 * shares / (1 + shares)


def _share(hits: float, units: float) -> tuple[float, float, float]:
    """A share and its exact limits, for whole units; between whole hits the limits are interpolated."""
    if units <= 0:
        return math.nan, math.nan, math.nan
    share, whole = min(hits / units, 1.0), max(math.floor(units + 1e-9), 1)
    below = min(math.floor(share * whole + 1e-9), whole)
    above, part = min(below + 1, whole), max(share * whole - below, 0.0)
    (low, high), (next_low, next_high) = exact_limits(below, whole), exact_limits(above, whole)
    return share, min(low + part * (next_low - low), share), max(high + part * (next_high - high), share)


def _warnings(
    labels: np.ndarray, tested: np.ndarray, polygons: np.ndarray, names: Sequence[str], blocks: int
) -> tuple[Message, ...]:
    """What the figures cannot tell."""
    known = np.bincount(labels[tested], minlength=len(names))

    def named(which: np.ndarray) -> str:
        return ", ".join(name for name, one in zip(names, which) if one)

    found = []
    if bare := named(polygons == 0):
        found.append(Message("class_without_labels", {"classes": bare}))
    if single := named(polygons == 1):
        found.append(Message("class_labelled_once", {"classes": single}))
    if close := named((polygons > 1) & (known == 0)):
        found.append(
            Message("class_in_one_block" if blocks else "class_in_one_place", {"classes": close, "blocks": blocks})
        )
    if rare := named((known > 0) & (polygons < FEWEST)):
        found.append(Message("class_labelled_rarely", {"classes": rare, "needed": FEWEST}))
    return tuple(found)


@dataclass(frozen=True)
class Applicability:
    """Where a head can be expected to hold: places whose features lie near those of some label, for its surroundings.

    Attributes:
        references: (R, D) features of labelled pixels, the same number of each polygon.
        reach: (R,) how far from each the features of a place may lie for an index of 1: half the distance to the nearest
            one of another polygon, and half of what is usual.
        threshold: index above which a place is unlike anything labelled.

    Source: Meyer and Pebesma 2021, Predicting into unknown space? Estimating the area of applicability of spatial
    prediction models, Methods in Ecology and Evolution 12, 1620-1633. Other than there, the distance is compared with those
    around the nearest label, as in the local outlier factor (Breunig et al. 2000, SIGMOD 29, 93-104): labels of a class of
    many looks lie farther apart than those of water. The threshold is exceeded by ``1 - _LIKE`` of the labels, each compared
    with the others.
    """

    references: np.ndarray
    reach: np.ndarray
    threshold: float

    @classmethod
    def of(cls, samples: Samples) -> Applicability:
        """Learn it from labelled samples."""
        count = len(np.unique(samples.groups))
        few = few_of_each(samples.polygons, max(min(_NEAREST, _REFERENCES // len(samples.numbers)), 1))
        references, polygons = samples.features[few].astype(np.float32), samples.groups[samples.polygons[few]]
        squares = _squares(references, references, np.ones(len(references), np.float32))
        squares[polygons[:, None] == polygons] = np.inf
        nearest = np.sqrt(squares.min(axis=1))
        if count < 2:  # nothing to compare it with
            return cls(references, np.ones(len(references), np.float32), np.inf)
        reach = np.maximum((nearest + np.median(nearest)) / 2, _LEAST).astype(np.float32)
        own = np.sqrt((squares / reach**2).min(axis=1))
        return cls(references, reach, float(np.quantile(own, _LIKE)))

    def index(self, features: np.ndarray) -> np.ndarray:
        """(N,) float32 dissimilarity of (N, D) features: distance to the nearest label, for its reach."""
        found = np.empty(len(features), np.float32)
        for first in range(0, len(features), _ROWS):
            part = features[first : first + _ROWS].astype(np.float32, copy=False)
            found[first : first + _ROWS] = np.sqrt(_squares(part, self.references, self.reach).min(axis=1))
        return found


def _squares(left: np.ndarray, right: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(N, R) squared distances of (N, D) and (R, D), in units of (R,) reaches; one product of matrices."""
    middle = right.mean(axis=0)  # small numbers keep their digits
    left, right = left - middle, right - middle
    ones = np.ones(len(left), np.float32)
    parts = np.stack([(right**2).sum(axis=1), np.ones(len(right), np.float32)])
    found = np.column_stack([left, ones, (left**2).sum(axis=1)]) @ (np.vstack([-2 * right.T, parts]) / reach**2)
    return np.maximum(found, 0, out=found)

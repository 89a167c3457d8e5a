"""Accuracy and areas from a stratified random sample, with limits of 95 % confidence. Pure numpy, no files.

The strata may be the classes of the map (Olofsson et al. 2014, Good practices for estimating area and assessing accuracy of
land change, Remote Sensing of Environment 148, 42-57; its equation numbers stand beside the formulas) or others, such as a
buffer around change that holds pixels of many classes: then the shares are those of indicators (Stehman 2014, Estimating area
and map accuracy for stratified random sampling when the strata are different from the map classes, International Journal of
Remote Sensing 35, 4923-4939). Where strata are classes, both are the same.

The papers' intervals are too narrow for small samples, and of no width where all units of a stratum agree. Here each share
within a stratum has the exact limits of Clopper and Pearson 1934 (Biometrika 26, 404-413), and a sum of shares has them from
the distances between the shares and their limits: Zou and Donner 2008, Construction of confidence intervals about effect
measures, Statistics in Medicine 27, 1693-1702. Where the estimates are normal, these are the papers' intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

OUTSIDE = 0.025  # probability beyond each limit of a 95 % confidence interval
_HALVINGS = 50  # of an interval from 0 to 1 in which a limit of a share is searched
_RATIO_HALVINGS = 32  # the same for a ratio of areas


@dataclass(frozen=True)
class Accuracy:
    """Values and the limits of their 95 % confidence intervals (value, low, high); NaN where the sample cannot say.

    Attributes:
        proportions: (C, C) of the area: map classes down, reference classes across.
        overall: (3,) overall accuracy, 0 to 1.
        users: (3, C) user's accuracies, 0 to 1.
        producers: (3, C) producer's accuracies, 0 to 1.
        areas: (3, C) areas of the reference classes, in the unit of the areas of the strata.
    """

    proportions: np.ndarray
    overall: np.ndarray
    users: np.ndarray
    producers: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class StratifiedCounts:
    """Units of a sample that is random within each of H strata, for C classes.

    Attributes:
        units: (H, C, C) of each stratum: map classes down, reference classes across. Many samples of the same design at once, for
            simulations, are (H, N, C, C); then all results have an axis of N before that of the classes.
        areas: (H,) of the strata, or their pixels.
        own: (H,) index of the only class that the map has in a stratum, -1 where it has several.
        pixels: (H,) that a stratum has, none of which is drawn twice; infinite where units are drawn from a continuum.
    """

    units: np.ndarray
    areas: np.ndarray
    own: np.ndarray
    pixels: np.ndarray


def estimate(counts: np.ndarray, mapped: np.ndarray) -> Accuracy:
    """Estimate accuracies and areas from (C, C) counts of units and (C,) mapped areas or pixels: strata are the map's classes.

    Map classes stand down, reference classes across.

    Raises:
        ValueError: a class that covers something has no sample unit.
    """
    return stratified(by_class(counts, mapped))


def by_class(counts: np.ndarray, mapped: np.ndarray) -> StratifiedCounts:
    """A sample whose strata are the classes of the map, of a map that has far more pixels than are drawn."""
    own = np.arange(len(counts))
    units = np.zeros((len(counts), *counts.shape), counts.dtype)
    units[own, own] = counts
    return StratifiedCounts(units, mapped, own, np.full(len(counts), np.inf))


def stratified(sample: StratifiedCounts) -> Accuracy:
    """Estimate accuracies and areas of classes from strata.

    Raises:
        ValueError: a stratum that covers something has no sample unit.
    """
    units, weight = sample.units, _weight(sample)
    drawn = units.sum(axis=(-2, -1))[..., None]
    if ((drawn == 0) & (weight > 0)).any():
        raise ValueError("every stratum needs sample units")
    agreed = np.diagonal(units, axis1=-2, axis2=-1)
    left = _left(drawn, _before(sample.pixels, drawn.ndim))
    own = _before(sample.own, drawn.ndim)
    is_own, pure = own == np.arange(units.shape[-1]), own >= 0

    mapped_as, truly = units.sum(axis=-1), units.sum(axis=-2)
    share = _Shares.of(mapped_as, drawn, left).known(pure, is_own)
    users = _ratio(weight, share, _Shares.of(agreed, mapped_as, left))
    mapped = (mapped_as > 0).any(axis=0)

    share = _Shares.of(truly, drawn, left)
    producers = _ratio(weight, share, _Shares.of(agreed, truly, left).known(pure, is_own))
    overall = _sum(weight, _Shares.of(agreed.sum(axis=-1, keepdims=True), drawn, left))
    return Accuracy(
        (weight[..., None] * units / np.maximum(drawn, 1)[..., None]).sum(axis=0),  # eq. 4
        overall[..., 0],  # eq. 1
        np.where(mapped, users, np.nan),  # eq. 2
        producers,  # eq. 3
        _sum(weight, share) * sample.areas.sum(),  # eq. 9
    )


def total(sample: StratifiedCounts, classes: np.ndarray) -> np.ndarray:
    """(3,) area of several reference classes together, (C,) True, and its limits."""
    drawn = sample.units.sum(axis=(-2, -1))[..., None]
    truly = sample.units[..., classes].sum(axis=(-2, -1))[..., None]
    share = _Shares.of(truly, drawn, _left(drawn, _before(sample.pixels, drawn.ndim)))
    return _sum(_weight(sample), share)[..., 0] * sample.areas.sum()


def _weight(sample: StratifiedCounts) -> np.ndarray:
    return _before(sample.areas / sample.areas.sum(), sample.units.ndim - 1)


def _before(values: np.ndarray, axes: int) -> np.ndarray:
    """(H,) values before so many axes in all."""
    return values.reshape(-1, *(1,) * (axes - 1))


@dataclass(frozen=True)
class _Shares:
    """Shares of units, NaN where there are none, and their limits; (H, ..., C) each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, hits: np.ndarray, units: np.ndarray, left: np.ndarray) -> _Shares:
        """With exact limits, which narrow as fewer pixels are left to draw: none where all were drawn."""
        low, high = np.vectorize(exact_limits, otypes=(float, float))(hits, units)
        with np.errstate(invalid="ignore"):
            value = hits / np.asarray(units, float)
        near = np.where(np.isnan(value), 0.0, value)
        narrow = np.where(np.isnan(value), 1.0, left)
        return cls(value, near - narrow * (near - low), near + narrow * (high - near))

    def known(self, where: np.ndarray, value: np.ndarray) -> _Shares:
        """The same, but 0 or 1 without a doubt where the strata say so."""
        return _Shares(*(np.where(where, value, part) for part in (self.value, self.low, self.high)))


def _left(drawn: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Factor of standard errors where so many of a stratum's pixels were drawn, none twice."""
    with np.errstate(invalid="ignore"):
        left = (pixels - drawn) / np.maximum(pixels - 1, 1)
    return np.sqrt(np.where(np.isinf(pixels), 1.0, np.maximum(left, 0.0)))


@lru_cache(maxsize=10_000)
def exact_limits(hits: int, units: int) -> tuple[float, float]:
    """Limits of a share of which ``hits`` of some independent units are (Clopper and Pearson)."""
    return 1 - _upper_limit(units - hits, units), _upper_limit(hits, units)


def _upper_limit(hits: int, units: int) -> float:
    """The share at which so few hits, or fewer, have a probability of ``OUTSIDE``."""
    if hits == units:
        return 1.0
    k = np.arange(hits + 1)
    logs = np.array([math.lgamma(n + 1) for n in range(units + 1)])
    ways = logs[units] - logs[k] - logs[units - k]  # logarithms of the binomial coefficients
    low, high = hits / units, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        likely = np.exp(ways + k * math.log(share) + (units - k) * math.log1p(-share)).sum() > OUTSIDE
        low, high = (share, high) if likely else (low, share)
    return high


def _sum(weight: np.ndarray, share: _Shares) -> np.ndarray:
    """(3, ..., C) sums of the shares of all strata, and their limits; strata without units must weigh nothing."""
    value = np.where(weight > 0, share.value, 0.0)
    below = np.sqrt(((weight * (value - share.low)) ** 2).sum(axis=0))
    above = np.sqrt(((weight * (share.high - value)) ** 2).sum(axis=0))
    middle = (weight * value).sum(axis=0)
    return np.stack([middle, np.maximum(middle - below, 0), np.minimum(middle + above, 1)])


def _ratio(weight: np.ndarray, share: _Shares, right: _Shares) -> np.ndarray:
    """(3, ..., C) of the area of ``share``, what is ``right``; NaN where there is no such area.

    A limit is the ratio P at which 0 is a limit of the sum of share (right - P): within a stratum both are independent, since
    the limits of ``right`` are those given the units of ``share``. What is right of a share that no unit has, is anything.
    """
    there = np.where(weight > 0, np.nan_to_num(share.value), 0.0)
    value_of = np.nan_to_num(right.value)
    with np.errstate(invalid="ignore"):
        value = (weight * there * value_of).sum(axis=0) / (weight * there).sum(axis=0)
    limits = []
    for sign, far, least, most in ((-1, right.low, share.low, share.high), (1, right.high, share.high, share.low)):
        low, high = np.zeros_like(value), np.ones_like(value)
        of_right = there * (far - value_of)
        gap_at = np.where(np.isnan(right.value), far, value_of)
        for _ in range(_RATIO_HALVINGS):
            p = (low + high) / 2
            gap = gap_at - p
            of_share = gap * np.where(gap > 0, least - there, most - there)
            spread = np.sqrt((weight**2 * (of_right**2 + of_share**2)).sum(axis=0))
            beyond = (weight * there * (value_of - p)).sum(axis=0) + sign * spread > 0
            low, high = np.where(beyond, p, low), np.where(beyond, high, p)
        limits.append(np.where(np.isnan(value), np.nan, (low + high) / 2))
    low, high = limits
    return np.stack([value, np.where(value == 0, 0.0, low), np.where(value == 1, 1.0, high)])

"""Accuracy and area of a map's classes, estimated from a stratified sample. Pure numpy, no files.

The strata are the classes of the map. Counts become proportions of the mapped area first, since classes
are rarely sampled in proportion to their size.

Source: Olofsson et al. 2014, Good practices for estimating area and assessing accuracy of land change,
Remote Sensing of Environment 148, 42-57; its equation numbers stand beside the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Z = 1.96  # half-width of a 95 % confidence interval, in standard errors


@dataclass(frozen=True)
class Estimate:
    """Values and the half-widths of their 95 % confidence intervals; NaN where the sample cannot say.

    Attributes:
        proportions: (C, C) of the area: map classes down, reference classes across.
        overall: overall accuracy and its half-width, 0 to 1.
        users: (2, C) user's accuracies and half-widths, 0 to 1.
        producers: (2, C) producer's accuracies and half-widths, 0 to 1.
        areas: (2, C) areas of the reference classes and half-widths, in the unit of the mapped areas.
    """

    proportions: np.ndarray
    overall: tuple[float, float]
    users: np.ndarray
    producers: np.ndarray
    areas: np.ndarray


def estimate(counts: np.ndarray, mapped: np.ndarray) -> Estimate:
    """Estimate accuracies and areas.

    Args:
        counts: (C, C) sample units: map classes down, reference classes across.
        mapped: (C,) area that the map gives each class, or its pixels.

    Raises:
        ValueError: a class that covers something has no sample unit.
    """
    sampled = counts.sum(axis=1)
    if ((sampled == 0) & (mapped > 0)).any():
        raise ValueError("every class of the map needs sample units")
    weight = mapped / mapped.sum()
    share = counts / np.maximum(sampled, 1)[:, None]
    proportions = weight[:, None] * share  # eq. 4
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = share * (1 - share) / np.where(sampled > 1, sampled - 1, np.nan)[:, None]
        variance[sampled == 0] = 0  # a class that the map does not have adds nothing
        users = np.where(sampled > 0, np.diag(share), np.nan)  # eq. 2
        users_variance = np.where(sampled > 0, np.diag(variance), np.nan)  # eq. 6
        totals = proportions.sum(axis=0)
        producers = np.diag(proportions) / totals  # eq. 3
        producers_variance = _producers_variance(variance, mapped, producers, totals * mapped.sum())
    overall_variance = float((weight**2 * np.diag(variance)).sum())  # eq. 5
    area_error = np.sqrt((weight[:, None] ** 2 * variance).sum(axis=0))  # eq. 10
    return Estimate(
        proportions,
        (float(np.trace(proportions)), Z * overall_variance**0.5),
        np.stack([users, Z * np.sqrt(users_variance)]),
        np.stack([producers, Z * np.sqrt(producers_variance)]),
        np.stack([totals, Z * area_error]) * mapped.sum(),  # eq. 9, 11
    )


def _producers_variance(
    variance: np.ndarray, mapped: np.ndarray, producers: np.ndarray, totals: np.ndarray
) -> np.ndarray:
    """Eq. 7, with (C, C) variances of the shares within each map class."""
    own = np.diag(variance)
    from_itself = (mapped * (1 - producers)) ** 2 * own
    from_others = producers**2 * ((mapped[:, None] ** 2 * variance).sum(axis=0) - mapped**2 * own)
    return (from_itself + from_others) / totals**2

"""Compares a map with a stratified sample: confusion, and estimates of accuracy and areas. Pure numpy, no files.

The strata are the classes of the map. Counts become proportions of the mapped area first, since classes
are rarely sampled in proportion to their size.

Source of the estimates: Olofsson et al. 2014, Good practices for estimating area and assessing accuracy of land change,
Remote Sensing of Environment 148, 42-57; its equation numbers stand beside the formulas. Its intervals are too narrow for
small samples, and of no width where all units of a class agree. Here each share within a class has the exact limits of
Clopper and Pearson 1934 (Biometrika 26, 404-413), and a sum of shares has them from the distances between the shares and
their limits: Zou and Donner 2008, Construction of confidence intervals about effect measures, Statistics in Medicine 27,
1693-1702. Where the estimates are normal, these are the paper's intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InputFault
from ..messages import Message

GUESSES = ("class", "reference", "label", "value", "name")  # attributes that hold the true class, where none is named
OUTSIDE = 0.025  # probability beyond each limit of a 95 % confidence interval
_HALVINGS = 50  # of an interval from 0 to 1 in which a limit is searched


@dataclass(frozen=True)
class Accuracy:
    """Values and the limits of their 95 % confidence intervals (value, low, high); NaN where the sample cannot say.

    Attributes:
        proportions: (C, C) of the area: map classes down, reference classes across.
        overall: (3,) overall accuracy, 0 to 1.
        users: (3, C) user's accuracies, 0 to 1.
        producers: (3, C) producer's accuracies, 0 to 1.
        areas: (3, C) areas of the reference classes, in the unit of the mapped areas.
    """

    proportions: np.ndarray
    overall: np.ndarray
    users: np.ndarray
    producers: np.ndarray
    areas: np.ndarray


def estimate(counts: np.ndarray, mapped: np.ndarray) -> Accuracy:
    """Estimate accuracies and areas from (C, C) counts of the sample's units and (C,) mapped areas or pixels.

    Map classes stand down, reference classes across.

    Raises:
        ValueError: a class that covers something has no sample unit.
    """
    sampled = counts.sum(axis=1)
    if ((sampled == 0) & (mapped > 0)).any():
        raise ValueError("every class of the map needs sample units")
    weight = (mapped / mapped.sum())[:, None]
    share = counts / np.maximum(sampled, 1)[:, None]
    low, high = np.vectorize(exact_limits, otypes=(float, float))(counts, sampled[:, None])
    # each cell's proportion of the area, eq. 4, and the distances to its limits
    cells = np.stack([weight * share, weight * (share - low), weight * (high - share)])
    own = np.eye(len(counts), dtype=bool)
    users = np.stack([np.diag(share), np.diag(low), np.diag(high)])  # eq. 2
    return Accuracy(
        cells[0],
        _within(_sum(cells[:, own])),  # eq. 1
        np.where(sampled > 0, users, np.nan),
        _producers(cells[:, own], _sum(np.where(own, 0.0, cells))),  # eq. 3
        _within(_sum(cells)) * mapped.sum(),  # eq. 9
    )


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


def _sum(parts: np.ndarray) -> np.ndarray:
    """Sum over the first axis after the (3,) of independent values and their distances to both limits."""
    return np.stack([parts[0].sum(axis=0), *np.sqrt((parts[1:] ** 2).sum(axis=1))])


def _within(parts: np.ndarray) -> np.ndarray:
    """Values and limits from values and distances, of shares of the whole area."""
    value, below, above = parts
    return np.stack([value, np.maximum(value - below, 0), np.minimum(value + above, 1)])


def _producers(own: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """Producer's accuracies (3, C) of the area of a class that is mapped as such, and of what is mapped as others.

    A limit is the accuracy P at which 0 is a limit of (1 - P) own - P missed.
    """
    with np.errstate(invalid="ignore"):
        value = own[0] / (own[0] + missed[0])
    limits = []
    for sign, near, far in ((-1, own[1], missed[2]), (1, own[2], missed[1])):
        low, high = np.zeros_like(value), np.ones_like(value)
        for _ in range(_HALVINGS):
            p = (low + high) / 2
            beyond = (1 - p) * own[0] - p * missed[0] + sign * np.hypot((1 - p) * near, p * far) > 0
            low, high = np.where(beyond, p, low), np.where(beyond, high, p)
        limits.append(np.where(np.isnan(value), np.nan, (low + high) / 2))
    return np.stack([value, *limits])


@dataclass(frozen=True)
class Report:
    """A comparison of a map with a sample."""

    classes: list[int]
    names: dict[int, str]
    counts: np.ndarray
    mapped: np.ndarray
    result: Accuracy
    notes: list[Message]

    def as_dict(self) -> dict[str, Any]:
        """For a program; square metres become hectares, what cannot be estimated is None."""
        result, rows = self.result, []
        for i, value in enumerate(self.classes):
            row: dict[str, Any] = {"class": value, "name": self.names.get(value, str(value))}
            row.update(mapped_ha=float(self.mapped[i]) / 1e4, sampled=int(self.counts[i].sum()))
            row.update(limited("area_ha", result.areas[:, i] / 1e4))
            row.update(limited("users", result.users[:, i]), **limited("producers", result.producers[:, i]))
            rows.append(row)
        return {
            "method": "stratified estimation, Olofsson et al. 2014; limits of 95 % confidence: Clopper-Pearson, Zou and Donner 2008",
            **limited("overall", result.overall),
            "classes": rows,
            "confusion": {"rows": "map", "columns": "reference", "counts": self.counts.tolist()},
            "notes": [str(note) for note in self.notes],
        }

    def tables(self) -> dict[str, list[list[str]]]:
        """Title and rows of each table for people; the first row and the first column are heads."""
        names = [f"{value} {self.names.get(value, '')}".strip() for value in self.classes]
        counted = [[name, *map(str, row)] for name, row in zip(names, self.counts.tolist())]
        result, estimates = self.result, []
        for i, name in enumerate(names):
            accuracies = (with_limits(part[:, i], ".3f") for part in (result.users, result.producers))
            area = with_limits(result.areas[:, i] / 1e4, ",.1f")
            estimates.append([name, f"{self.mapped[i] / 1e4:,.1f}", area, *accuracies])
        return {
            "sample units (rows: map, columns: reference)": [["", *map(str, self.classes)], *counted],
            "estimates (in brackets: limits of 95 % confidence)": [
                ["", "mapped ha", "estimated ha", "user's accuracy", "producer's accuracy"],
                *estimates,
            ],
            f"overall accuracy {with_limits(result.overall, '.3f')}": [],
        }

    def as_text(self) -> str:
        """The tables in aligned columns."""
        return as_columns(self.tables())


def as_columns(tables: dict[str, list[list[str]]]) -> str:
    """Tables as a text in aligned columns, by their titles."""
    lines = []
    for title, rows in tables.items():
        widths = [max(map(len, column)) for column in zip(*rows)]
        aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
        lines += [title, *("  ".join(row).rstrip() for row in aligned), ""]
    return "\n".join(lines[:-1])


def limited(key: str, values: np.ndarray) -> dict[str, float | None]:
    """A value and its limits under their names; None where they are NaN."""
    numbers = (float(value) if np.isfinite(value) else None for value in values)
    return dict(zip((key, f"{key}_low", f"{key}_high"), numbers))


def with_limits(values: np.ndarray, spec: str) -> str:
    """A value and its limits as text; a dash where they are NaN."""
    value, low, high = (format(float(number), spec) for number in values)
    return f"{value} ({low} to {high})" if np.isfinite(values).all() else "-"


def compare(
    mapped_as: np.ndarray, truth: np.ndarray, square_metres: dict[int, float], names: dict[int, str], where: str
) -> Report:
    """Compare (N,) classes of the map at the units of a sample, -1 outside it or on nodata, with (N,) true classes.

    ``square_metres`` is the area that the map gives each of its classes.

    Raises:
        InputFault: no unit lies on the map.
    """
    notes: list[Message] = []
    outside = int((mapped_as < 0).sum())
    if outside == len(mapped_as):
        raise InputFault("sample_outside", where=where)
    if outside:
        notes.append(Message("sample_partly_outside", {"count": outside, "total": len(mapped_as)}))
    mapped_as, truth = mapped_as[mapped_as >= 0], truth[mapped_as >= 0]
    classes = sorted({*square_metres, *truth.tolist()})
    number = {value: i for i, value in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, ([number[v] for v in mapped_as.tolist()], [number[v] for v in truth.tolist()]), 1)
    mapped = np.array([square_metres.get(value, 0.0) for value in classes])
    weighed = _weighed(counts, mapped, [names.get(v, str(v)) for v in classes], notes)
    return Report(classes, names, counts, mapped, estimate(counts, weighed), notes)


def _weighed(counts: np.ndarray, mapped: np.ndarray, names: list[str], notes: list[Message]) -> np.ndarray:
    """Mapped areas without the classes that were never sampled."""
    sampled = counts.sum(axis=1)
    bare = (sampled == 0) & (mapped > 0)
    if bare.any():
        missed = ", ".join(name for name, is_bare in zip(names, bare) if is_bare)
        share = float(mapped[bare].sum() / mapped.sum())
        notes.append(Message("classes_not_sampled", {"classes": missed, "share": share}))
    alike = (counts.max(axis=1) == sampled) & (mapped > 0)
    for single in (True, False):
        which = alike & (sampled == 1 if single else sampled > 1)
        if which.any():
            few = ", ".join(name for name, is_one in zip(names, which) if is_one)
            notes.append(Message("classes_sampled_once" if single else "classes_without_spread", {"classes": few}))
    return np.where(bare, 0.0, mapped)


def most_common(values: np.ndarray) -> int:
    """The class of most of a polygon's pixels, the lower one of a tie; -1 if none has a class.

    Numbers below 0 are no classes: a nodata value that the map does not declare.
    """
    classes, counts = np.unique(values[values >= 0], return_counts=True)
    return int(classes[counts.argmax()]) if classes.size else -1


def true_field(where: str, fields: Sequence[str], name: str | None) -> int:
    """Index of the attribute that holds the true class.

    Raises:
        InputFault: there is none of that name, or no name is given and none can be guessed.
    """
    lower = {field.lower(): number for number, field in enumerate(fields)}
    index = next((lower[guess.lower()] for guess in ([name] if name else GUESSES) if guess.lower() in lower), None)
    if index is None and len(fields) == 1 and not name:
        index = 0
    if index is None:
        attributes = ", ".join(fields) or "none"
        raise InputFault("no_attribute", where=where, attribute=name or "class", attributes=attributes)
    return index


def class_numbers(where: str, field: str, values: Iterable[Any], names: dict[int, str]) -> np.ndarray:
    """(N,) class numbers from numbers or names of the map's classes.

    Raises:
        InputFault: a value is neither.
    """
    by_name = {name.lower(): value for value, name in names.items()}

    def number_of(value: Any) -> int:
        text = str(value).strip()
        if text.lower() in by_name:
            return by_name[text.lower()]
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not np.isfinite(number) or number < 0 or number != int(number):
            raise InputFault("no_class_value", where=where, text=text, attribute=field)
        return int(number)

    return np.array([number_of(value) for value in values], np.int64)

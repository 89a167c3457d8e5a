"""Compares a map with a stratified sample: confusion, and estimates of accuracy and areas. Pure numpy, no files.

The strata are the classes of the map. Counts become proportions of the mapped area first, since classes
are rarely sampled in proportion to their size.

Source: Olofsson et al. 2014, Good practices for estimating area and assessing accuracy of land change,
Remote Sensing of Environment 148, 42-57; its equation numbers stand beside the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputFault
from ..messages import Message

GUESSES = ("class", "reference", "label", "value", "name")  # attributes that hold the true class, where none is named
Z = 1.96  # half-width of a 95 % confidence interval, in standard errors


@dataclass(frozen=True)
class Accuracy:
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


def estimate(counts: np.ndarray, mapped: np.ndarray) -> Accuracy:
    """Estimate accuracies and areas from (C, C) counts of the sample's units and (C,) mapped areas or pixels.

    Map classes stand down, reference classes across.

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
    return Accuracy(
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
            for key, pair in (
                ("area_ha", result.areas / 1e4),
                ("users", result.users),
                ("producers", result.producers),
            ):
                row[key], row[f"{key}_margin"] = _or_none(pair[:, i])
            rows.append(row)
        overall, margin = _or_none(result.overall)
        return {
            "method": "stratified estimation, Olofsson et al. 2014; margins are half-widths of 95 % confidence intervals",
            "overall": overall,
            "overall_margin": margin,
            "classes": rows,
            "confusion": {"rows": "map", "columns": "reference", "counts": self.counts.tolist()},
            "notes": [str(note) for note in self.notes],
        }

    def as_text(self) -> str:
        """For people."""
        names = [f"{value} {self.names.get(value, '')}".strip() for value in self.classes]
        wide = max(9, *map(len, names))
        lines = ["sample units (rows: map, columns: reference)"]
        lines.append(" " * (wide + 2) + "".join(f"{value:>8}" for value in self.classes))
        for name, row in zip(names, self.counts):
            lines.append(f"{name:<{wide}}  " + "".join(f"{count:>8}" for count in row))
        lines += ["", f"{'':<{wide}}  {'mapped ha':>14} {'estimated ha':>26} {'users':>15} {'producers':>15}"]
        for i, name in enumerate(names):
            area = _plus_minus(self.result.areas[:, i] / 1e4, "{:,.1f}")
            users, producers = (
                _plus_minus(part[:, i], "{:.2f}") for part in (self.result.users, self.result.producers)
            )
            lines.append(f"{name:<{wide}}  {self.mapped[i] / 1e4:>14,.1f} {area:>26} {users:>15} {producers:>15}")
        lines += ["", f"overall accuracy {_plus_minus(np.array(self.result.overall), '{:.2f}')} (95 % confidence)"]
        return "\n".join(lines)


def _or_none(numbers: Sequence[float] | np.ndarray) -> list[float | None]:
    return [float(number) if np.isfinite(number) else None for number in numbers]


def _plus_minus(pair: np.ndarray, pattern: str) -> str:
    value, margin = ("-" if not np.isfinite(number) else pattern.format(number) for number in pair)
    return f"{value} ± {margin}"


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
    if ((sampled == 1) & (mapped > 0)).any():
        few = ", ".join(name for name, n in zip(names, sampled) if n == 1)
        notes.append(Message("classes_sampled_once", {"classes": few}))
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

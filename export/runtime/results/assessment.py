"""Compares a map with a sample: confusion, and estimates of accuracy and areas. No files.

The strata are the classes of the map, unless the sample says otherwise. Counts become proportions of the mapped area first,
since classes are rarely sampled in proportion to their size: see ``estimates``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputFault
from ..messages import Message
from ..raster.legend import from_to
from .estimates import Accuracy, StratifiedCounts, by_class, stratified, total

GUESSES = ("class", "reference", "label", "value", "name")  # attributes that hold the true class, where none is named


@dataclass(frozen=True)
class SampledStratum:
    """What a report tells of a stratum of a sample: points drawn, those with a true class, and those mapped as they are."""

    name: str
    m2: float
    drawn: int
    labelled: int
    right: int


@dataclass(frozen=True)
class Report:
    """A comparison of a map with a sample.

    Attributes:
        strata: of a sample that states its own.
        change: (3,) square metres of all change together and their limits, of a map of change.
    """

    classes: list[int]
    names: dict[int, str]
    counts: np.ndarray
    mapped: np.ndarray
    result: Accuracy
    notes: list[Message]
    strata: tuple[SampledStratum, ...] = ()
    change: np.ndarray | None = None

    def as_dict(self) -> dict[str, Any]:
        """For a program; square metres become hectares, what cannot be estimated is None."""
        result, rows = self.result, []
        for i, value in enumerate(self.classes):
            row: dict[str, Any] = {"class": value, "name": self.names.get(value, str(value))}
            row.update(mapped_ha=float(self.mapped[i]) / 1e4, sampled=int(self.counts[i].sum()))
            row.update(limited("area_ha", result.areas[:, i] / 1e4))
            row.update(limited("users", result.users[:, i]), **limited("producers", result.producers[:, i]))
            rows.append(row)
        source = "indicators of strata, Stehman 2014" if self.strata else "stratified estimation, Olofsson et al. 2014"
        strata = [
            {"name": s.name, "hectares": s.m2 / 1e4, "drawn": s.drawn, "labelled": s.labelled, "right": s.right}
            for s in self.strata
        ]
        return {
            "method": f"{source}; limits of 95 % confidence: Clopper-Pearson, Zou and Donner 2008",
            **limited("overall", result.overall),
            **(limited("change_ha", self.change / 1e4) if self.change is not None else {}),
            "classes": rows,
            **({"strata": strata} if strata else {}),
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
        tables = {
            "sample units (rows: map, columns: reference)": [["", *map(str, self.classes)], *counted],
            "estimates (in brackets: limits of 95 % confidence)": [
                ["", "mapped ha", "estimated ha", "user's accuracy", "producer's accuracy"],
                *estimates,
            ],
        }
        if self.strata:
            tables["strata (limits of shares within them: exact, Clopper-Pearson)"] = [
                ["", "ha", "points", "labelled", "mapped right"],
                *([s.name, f"{s.m2 / 1e4:,.1f}", str(s.drawn), str(s.labelled), str(s.right)] for s in self.strata),
            ]
        if self.change is not None:
            tables[f"all change {with_limits(self.change / 1e4, ',.1f')} ha"] = []
        return {**tables, f"overall accuracy {with_limits(result.overall, '.3f')}": []}

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
    weighed = sampled_areas(counts, mapped, [names.get(v, str(v)) for v in classes], notes)
    return report_of(by_class(counts, weighed), classes, names, mapped, notes)


def report_of(
    sample: StratifiedCounts,
    classes: list[int],
    names: dict[int, str],
    mapped: np.ndarray,
    notes: list[Message],
    strata: tuple[SampledStratum, ...] = (),
) -> Report:
    """Estimates for (C,) classes, of which the map has so many square metres; of change together too, where there is any."""
    changes = np.isin(classes, list(from_to(names)))
    change = total(sample, changes) if changes.any() else None
    return Report(classes, names, sample.units.sum(axis=0), mapped, stratified(sample), notes, strata, change)


def sampled_areas(
    counts: np.ndarray, mapped: np.ndarray, names: list[str], notes: list[Message], *, drawn: bool = False
) -> np.ndarray:
    """Areas of strata without those that were never sampled, from (H, C) counts.

    Notes tell of those and of other poor ones. Strata are classes of the map, or those of a ``drawn`` sample.
    """
    sampled = counts.sum(axis=1)
    bare = (sampled == 0) & (mapped > 0)
    if bare.any():
        missed = ", ".join(name for name, is_bare in zip(names, bare) if is_bare)
        share = float(mapped[bare].sum() / mapped.sum())
        facts = {"classes": missed, "share": share}
        notes.append(Message("strata_not_sampled" if drawn else "classes_not_sampled", facts))
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

"""One entry of a legend: what a class value means and how it is drawn; shared by chip stores, models, maps and labels."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputFault

MOST_CLASSES = 254  # of labels; a field with more values holds something else
_LARGEST = 65534  # class value


@dataclass(frozen=True)
class LandClass:
    """One class: its value in the raster, its name, its colour as ``RRGGBB``."""

    value: int
    name: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 to 255."""
        return int(self.color[0:2], 16), int(self.color[2:4], 16), int(self.color[4:6], 16)


def palette(number: int) -> str:
    """A colour for a class that has none: hues a golden angle apart, so that neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.61803399 % 1, 0.65, 0.85 - 0.25 * (number % 2))
    return f"{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"


def color_of(text: Any) -> str:
    """``RRGGBB`` of a colour as people and QGIS write it (``#rrggbb``, ``r,g,b`` with or without more); "" of anything else."""
    text = str(text).strip()
    if re.fullmatch("#?[0-9A-Fa-f]{6}", text):
        return text[-6:].upper()
    numbers = re.match(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})(?![\d.])", text)
    parts = [int(part) for part in numbers.groups()] if numbers else [256]
    return "".join(f"{part:02X}" for part in parts) if max(parts) < 256 else ""


def class_name(value: Any) -> str:
    """Name of a class from an attribute of a label: a text without spaces around it, or a number; "" where it is empty."""
    if value is None or value != value:  # NaN, as libraries give empty numbers
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    name = " ".join(str(value).split())
    return "" if name.upper() == "NULL" else name


def classes_of(
    where: str,
    field: str,
    values: Sequence[Any],
    numbers: Sequence[Any] | None = None,
    colors: Sequence[Any] | None = None,
    styled: Mapping[str, str] | None = None,
) -> tuple[tuple[LandClass, ...], np.ndarray]:
    """Classes of labels in the order of their values, and (N,) the index of each label's class, -1 where it has none.

    Names that are whole numbers are the values of their classes; other classes are numbered from 1 in the order of their names.

    Args:
        where: file or layer of the labels.
        field: name of the attribute that holds the class.
        values: (N,) what it holds.
        numbers: (N,) class values in another attribute; they count if each name has one of its own.
        colors: (N,) colours in another attribute; the first that is one counts for its class.
        styled: colours of names, for classes that have no other.

    Raises:
        InputFault: no label has a class, two names differ by nothing but case, spaces or leading zeros, or there are too many.
    """
    names = [class_name(value) for value in values]
    distinct = dict.fromkeys(name for name in names if name)
    if not distinct:
        raise InputFault("no_class_values", where=where, attribute=field)
    if len(distinct) > MOST_CLASSES:
        raise InputFault("too_many_classes", where=where, attribute=field, count=len(distinct), limit=MOST_CLASSES)
    alike: dict[str, str] = {}
    for name in distinct:
        form = str(int(name)) if re.fullmatch("[0-9]+", name) else "".join(name.casefold().split())
        other = alike.setdefault(form, name)
        if other != name:
            raise InputFault("class_twice", where=where, attribute=field, one=other, other=name)
    value_of = _own_values(names, numbers) or _values(sorted(distinct, key=lambda name: (name.casefold(), name)))
    color: dict[str, str] = {}
    for name, text in zip(names, colors if colors is not None else ()):
        if color_of(text):
            color.setdefault(name, color_of(text))
    ordered = sorted(distinct, key=lambda name: value_of[name])
    legend = tuple(
        LandClass(value_of[name], name, color.get(name) or color_of((styled or {}).get(name, "")) or palette(number))
        for number, name in enumerate(ordered)
    )
    index = {name: number for number, name in enumerate(ordered)}
    return legend, np.array([index.get(name, -1) for name in names], np.int64)


def _values(names: list[str]) -> dict[str, int]:
    if all(re.fullmatch("[0-9]+", name) and int(name) <= _LARGEST for name in names):
        return {name: int(name) for name in names}
    return {name: number for number, name in enumerate(names, start=1)}


def _own_values(names: list[str], numbers: Sequence[Any] | None) -> dict[str, int] | None:
    """The value of each name; None unless names and values belong to each other one to one."""
    pairs = {(name, class_name(number)) for name, number in zip(names, numbers if numbers is not None else ()) if name}
    own = dict(pairs)
    if len(own) < len(pairs) or not own:
        return None
    if not all(re.fullmatch("[0-9]+", number) and int(number) <= _LARGEST for number in own.values()):
        return None
    values = {name: int(number) for name, number in own.items()}
    return values if len({*values.values()}) == len(values) else None


def from_to(names: Mapping[int, str]) -> dict[int, tuple[str, str]]:
    """What a class of a change map was and became, by its value: of the classes that are named "A to B".

    Both sides must be known, as classes of their own or as sides of others: "bare to sparse" alone is no change.
    """
    plain = {name.casefold() for name in names.values()}
    changes = _known({value: _splits(name) for value, name in names.items()}, lambda _: plain)
    ends = {side.casefold() for pair in changes.values() for side in pair}
    rest = {v: _splits(name) for v, name in names.items() if v not in changes and name.casefold() not in ends}
    sides = {value: {side.casefold() for split in found for side in split} for value, found in rest.items()}
    changes.update(_known(rest, lambda value: plain.union(*(of for other, of in sides.items() if other != value))))
    return changes


def _known(splits: dict[int, list[tuple[str, str]]], sides: Callable[[int], set[str]]) -> dict[int, tuple[str, str]]:
    """Of each name the first way to split it into two different sides that are known."""
    found: dict[int, tuple[str, str]] = {}
    for value, ways in splits.items():
        known = sides(value)
        for before, after in ways:
            if {before.casefold(), after.casefold()} <= known and before.casefold() != after.casefold():
                found.setdefault(value, (before, after))
    return found


def _splits(name: str) -> list[tuple[str, str]]:
    words = name.split(" ")
    ways = [at for at in range(1, len(words) - 1) if words[at] == "to"]
    return [(" ".join(words[:at]), " ".join(words[at + 1 :])) for at in ways]

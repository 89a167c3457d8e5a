"""Pairs of classes, before and after: their values, names and colours in a from-to map, and how much there is of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputFault
from ..raster.legend import LandClass
from ..results.areas import ClassArea

MOST = 255  # classes whose pairs fit into 16 bits
_PALE, _FORMER = 0.7, 0.3  # shares of white in an unchanged class's colour, of the former class in that of a change


@dataclass(frozen=True)
class FromTo:
    """The legend of a from-to map: every pair of the K classes of a model has a value, whether it occurs or not.

    The value is 1 + K x (position of the former class) + (position of the latter), positions counted from 0 in the order of
    the model's legend: the maps of different rasters can be compared. What did not change is a class of its own for each
    class, as samples of change maps are stratified (Olofsson et al. 2014).
    """

    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        if len(self.classes) > MOST:
            raise InputFault("change_classes", count=len(self.classes), limit=MOST)

    def value(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Values of pairs of positions in the legend."""
        count = len(self.classes)
        return (1 + before.astype(np.int64) * count + after).astype(self.dtype)

    @property
    def dtype(self) -> np.dtype:
        """Of the map: 8 bits for up to 15 classes."""
        return np.dtype(np.uint8 if len(self.classes) ** 2 < 255 else np.uint16)

    def names(self) -> dict[int, tuple[str, bool]]:
        """Of every pair by its value: its name, and whether it is a change."""
        everything = self.legend(np.ones((len(self.classes),) * 2))
        diagonal = len(self.classes) + 1  # from the value of an unchanged class to that of the next
        return {entry.value: (entry.name, (entry.value - 1) % diagonal > 0) for entry in everything}

    def legend(self, pixels: np.ndarray) -> tuple[LandClass, ...]:
        """The classes of the pairs of which there are any, from (K, K) pixels: before down, after across."""
        return tuple(self._entry(int(row), int(column)) for row, column in zip(*np.nonzero(pixels)))

    def areas(self, pixels: np.ndarray, m2: np.ndarray) -> tuple[ClassArea, ...]:
        """The same pairs with their areas."""
        total = m2.sum()
        rows = zip(*np.nonzero(pixels))
        return tuple(
            ClassArea(entry.value, entry.name, int(pixels[at]), float(m2[at]), float(100 * m2[at] / total))
            for at, entry in zip(rows, self.legend(pixels))
        )

    def _entry(self, before: int, after: int) -> LandClass:
        former, latter = self.classes[before], self.classes[after]
        value = 1 + before * len(self.classes) + after
        if before == after:
            return LandClass(value, latter.name, _mixed(latter.rgb, (255, 255, 255), _PALE))
        return LandClass(value, f"{former.name} to {latter.name}", _mixed(latter.rgb, former.rgb, _FORMER))


class PairCounts:
    """Pixels and square metres of each pair, and pixels without data, added row by row.

    Attributes:
        pixels: (K, K), before down, after across.
        m2: (K, K), before down, after across.
        before_only: pixels that hold data before only, ``after_only`` after only, ``neither`` at neither date.
    """

    def __init__(self, count: int, row_areas: np.ndarray) -> None:
        """``row_areas`` are (height,) areas of a pixel of each row in square metres."""
        self.pixels = np.zeros((count, count), np.int64)
        self.m2 = np.zeros((count, count))
        self.before_only = self.after_only = self.neither = 0
        self._row_areas = row_areas

    def add(self, top: int, before: np.ndarray, after: np.ndarray, valid: np.ndarray) -> None:
        """Count rows of positions in the legend where both dates are valid."""
        count = len(self.pixels)
        for number, (one, other, there) in enumerate(zip(before, after, valid), start=top):
            pairs = one[there].astype(np.int64) * count + other[there]
            found = np.bincount(pairs, minlength=count * count).reshape(count, count)
            self.pixels += found
            self.m2 += found * self._row_areas[number]

    def add_gaps(self, before: np.ndarray, after: np.ndarray, asked: np.ndarray) -> None:
        """Count where the dates hold no data, of the pixels that were asked for."""
        self.before_only += int((before & ~after & asked).sum())
        self.after_only += int((after & ~before & asked).sum())
        self.neither += int((~after & ~before & asked).sum())


def _mixed(color: tuple[int, ...], other: tuple[int, ...], share: float) -> str:
    return "".join(f"{round(one + share * (two - one)):02X}" for one, two in zip(color, other))

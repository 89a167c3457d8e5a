"""Draws a stratified random sample from a map of any size: one pass counts, one draws. What is drawn depends on no window.

Each pixel has a random number of its own, made from the seed and its place, and the pixels with the lowest numbers of a
stratum are its sample: one without replacement. Where pixels differ in area (a geographic CRS) the numbers are divided by it,
so that pixels are drawn in proportion to their area: sequential Poisson sampling, Ohlsson 1998, Journal of Official Statistics
14, 149-162.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..errors import Cancelled, InputFault
from ..infer.class_map import ClassMap
from ..infer.sweep import Progress
from ..messages import Message
from ..raster.window import Window
from .design import BUFFER, CHANGE, STABLE, Stratum, Wanted, changes_among, expected, sizes

SIDE = 2048  # of the windows that are read, in px
_MOST = 2_000_000  # candidates of a stratum that are compared for their distance
_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Drawn:
    """A sample, in the order in which its points are to be labelled, which is random.

    Attributes:
        strata: with the number of points that each got.
        mapped: pixels and square metres of each class of the map.
        stratum: (N,) index of the stratum of each point.
        value: (N,) its class of the map.
        rows, columns: (N,) of its pixel.
        notes: that the user should read.
    """

    wanted: Wanted
    strata: tuple[Stratum, ...]
    mapped: dict[int, tuple[int, float]]
    stratum: np.ndarray
    value: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    notes: tuple[Message, ...] = ()

    def __len__(self) -> int:
        """Number of points."""
        return len(self.stratum)


def draw(classes: ClassMap, wanted: Wanted, progress: Progress, side: int = SIDE) -> Drawn:
    """Draw a sample of a map, in windows of at most ``side`` px.

    Raises:
        InputFault: the map holds no class numbers or no data, or a class is named that it does not have.
        Cancelled: ``progress`` returned False.
    """
    return _Draw(classes, wanted, progress, side).sample()


class _Draw:
    def __init__(self, classes: ClassMap, wanted: Wanted, progress: Progress, side: int) -> None:
        self.classes, self.wanted, self.progress, self.side = classes, wanted, progress, side
        self.grid, self.where = classes.grid, classes.where
        self.row_areas = np.broadcast_to(classes.grid.row_areas, classes.grid.height)
        self.change: set[int] = set()

    def sample(self) -> Drawn:
        counts = self._count()
        mapped: dict[int, tuple[int, float]] = {}
        for (number, _), (pixels, m2) in sorted(counts.items()):
            before = mapped.get(number, (0, 0.0))
            mapped[number] = (before[0] + pixels, before[1] + m2)
        strata = self._strata(counts)
        numbers = {(s.value, False): at for at, s in enumerate(strata) if s.value >= 0}
        numbers.update({key: len(strata) - 1 for key in counts if key[1]})
        places, notes = self._places(strata, numbers)
        stratum = np.repeat(np.arange(len(strata)), [len(found) for found in places])
        index, value = (np.concatenate([found[:, at] for found in places]) for at in (0, 1))
        got = tuple(replace(one, points=len(found)) for one, found in zip(strata, places))
        order = np.lexsort((index, _random(self.wanted.seed, index, 1)))
        rows, columns = np.divmod(index[order], self.grid.width)
        return Drawn(self.wanted, got, mapped, stratum[order], value[order], rows, columns, tuple(notes))

    def _windows(self, first: float, last: float) -> Iterator[tuple[Window, np.ndarray, np.ndarray, np.ndarray]]:
        """Each window, its class numbers, where there are any, and where change is near that they are none of."""
        grid, reach = self.grid, self.wanted.buffer if self.change else 0
        tops, lefts = range(0, grid.height, self.side), range(0, grid.width, self.side)
        done, count = 0, len(tops) * len(lefts)
        for top in tops:
            for left in lefts:
                window = Window(top, left, min(self.side, grid.height - top), min(self.side, grid.width - left))
                around = grid.whole.intersection(
                    Window(top - reach, left - reach, window.height + 2 * reach, window.width + 2 * reach)
                )
                assert around is not None  # nosec B101  # it holds the window
                numbers, valid = self.classes.read(around)
                near = np.zeros(valid.shape, bool)
                if reach:
                    changed = valid & np.isin(numbers, list(self.change))
                    near = _widened(_widened(changed, reach, 0), reach, 1) & ~changed
                inner = (
                    slice(top - around.row, top - around.row + window.height),
                    slice(left - around.column, left - around.column + window.width),
                )
                yield window, numbers[inner], valid[inner], near[inner]
                done += 1
                if not self.progress(int(1000 * (first + (last - first) * done / count)), 1000):
                    raise Cancelled()

    def _count(self) -> dict[tuple[int, bool], tuple[int, float]]:
        """Pixels and square metres of each class, within the buffer and elsewhere.

        With a buffer, which classes are change may depend on those that the map has: names that nobody gave are values.
        """
        names = self.classes.names
        if self.wanted.change is None or all(_is_named(text, names) for text in self.wanted.change):
            self.change = changes_among(self.where, names, self.wanted.change)
        else:
            found = {value: names.get(value, str(value)) for value, _ in self._counted(0, 0)}
            self.change = changes_among(self.where, {**names, **found}, self.wanted.change)
        counts = self._counted(0, 0.5)
        if not counts:
            raise InputFault("no_data", where=self.where)
        return counts

    def _counted(self, first: float, last: float) -> dict[tuple[int, bool], tuple[int, float]]:
        pixels: dict[tuple[int, bool], np.ndarray] = {}
        for window, numbers, valid, near in self._windows(first, last):
            for value in np.unique(numbers[valid]).tolist():
                here = valid & (numbers == value)
                for is_near in (False, True) if near.any() else (False,):
                    rows = (here & (near == is_near)).sum(axis=1)
                    if rows.any():
                        of = pixels.setdefault((value, is_near), np.zeros(self.grid.height, np.int64))
                        of[window.row : window.row + window.height] += rows
        return {key: (int(rows.sum()), float(self.row_areas @ rows)) for key, rows in pixels.items()}

    def _strata(self, counts: dict[tuple[int, bool], tuple[int, float]]) -> list[Stratum]:
        names = self.classes.names
        kinds = {value: CHANGE if value in self.change else STABLE for value, _ in counts}
        rows = [
            (names.get(value, str(value)), kinds[value], value, *counts[value, False])
            for value in sorted(kinds)
            if (value, False) in counts
        ]
        near = [count for (_, is_near), count in counts.items() if is_near]
        if near:
            rows.append((BUFFER, BUFFER, -1, sum(one[0] for one in near), sum(one[1] for one in near)))
        accuracy = expected(self.where, [row[:2] for row in rows], self.wanted.accuracy)
        pixels, areas = (np.array([row[at] for row in rows]) for at in (3, 4))
        points = sizes(areas, pixels, np.array(accuracy), self.wanted.error, self.wanted.least)
        return [Stratum(*row, one, count) for row, one, count in zip(rows, accuracy, points.tolist())]

    def _places(
        self, strata: list[Stratum], numbers: dict[tuple[int, bool], int]
    ) -> tuple[list[np.ndarray], list[Message]]:
        """(N, 2) index of the pixel and class of the points of each stratum."""
        asked = [stratum.points for stratum in strata]
        # points that are too close to others are replaced by the next ones
        several = 4 if self.wanted.distance else 1
        first = 0.5
        while True:
            candidates = self._lowest(strata, numbers, [min(several * n, _MOST) for n in asked], first)
            taken = self._apart(strata, candidates)
            short = [
                stratum
                for stratum, found, near in zip(strata, taken, candidates)
                if len(found) < stratum.points and len(near) < min(stratum.pixels, _MOST)
            ]
            if not short:
                break
            several, first = several * 8, 1.0
        few = [
            stratum.name for stratum, found in zip(strata, taken) if len(found) < min(stratum.points, stratum.pixels)
        ]
        notes = (
            [Message("sample_too_close", {"strata": ", ".join(few), "distance": self.wanted.distance})] if few else []
        )
        return taken, notes

    def _lowest(
        self,
        strata: list[Stratum],
        numbers: dict[tuple[int, bool], int],
        most: list[int],
        first: float,
    ) -> list[np.ndarray]:
        """(N, 2) index and class of the so many pixels of each stratum with the lowest numbers, ascending."""
        middle = float(self.row_areas.mean())
        # below it lie as many as are asked for, and some more: their number has the spread of its root
        limits = np.array([(n + 6 * n**0.5 + 20) * middle / one.m2 for n, one in zip(most, strata)])
        found: list[list[np.ndarray]] = [[] for _ in strata]
        for window, values, valid, near in self._windows(first, 1.0):
            stratum = np.full(values.shape, -1, np.int32)
            for (value, is_near), number in numbers.items():
                stratum[valid & (values == value) & (near == is_near)] = number
            rows = np.arange(window.row, window.row + window.height, dtype=np.int64)
            index = rows[:, None] * self.grid.width + np.arange(window.column, window.column + window.width)
            keys = _random(self.wanted.seed, index, 0) / (self.row_areas[rows] / middle)[:, None]
            low = (stratum >= 0) & (keys <= limits[stratum])
            for number in np.unique(stratum[low]).tolist():
                here = low & (stratum == number)
                found[number].append(np.column_stack([keys[here], index[here], values[here]]))
        lowest = []
        for parts, count in zip(found, most):
            all_of = np.concatenate(parts) if parts else np.zeros((0, 3))
            order = np.lexsort((all_of[:, 1], all_of[:, 0]))[:count]
            lowest.append(all_of[order, 1:].astype(np.int64))
        return lowest

    def _apart(self, strata: list[Stratum], candidates: list[np.ndarray]) -> list[np.ndarray]:
        """Of the candidates of each stratum the first that lie apart; rare strata choose first."""
        if not self.wanted.distance:
            return [found[: stratum.points] for stratum, found in zip(strata, candidates)]
        taken = [found[:0] for found in candidates]
        near = _Near(self.wanted.distance)
        for number in sorted(range(len(strata)), key=lambda at: (strata[at].m2, at)):
            found = candidates[number]
            kept: list[int] = []
            for at, place in enumerate(self._metres(found[:, 0])):
                if len(kept) == strata[number].points:
                    break
                if near.add(*place):
                    kept.append(at)
            taken[number] = found[kept]
        return taken

    def _metres(self, index: np.ndarray) -> list[tuple[float, float]]:
        """Of pixels' middles; degrees of longitude count as at their own latitude."""
        rows, columns = np.divmod(index, self.grid.width)
        x, y = self.grid.at(columns + 0.5, rows + 0.5)
        units = self.grid.units
        wide = np.cos(np.radians(y * units.size)) if units.geographic else 1.0
        return list(zip((x * units.metres * wide).tolist(), (y * units.metres).tolist()))


class _Near:
    """Places that lie apart, in squares of that side."""

    def __init__(self, distance: float) -> None:
        self._distance, self._squares = distance, {}  # type: float, dict[tuple[int, int], list[tuple[float, float]]]

    def add(self, x: float, y: float) -> bool:
        """Add a place unless it is too close to another one."""
        column, row = int(x // self._distance), int(y // self._distance)
        for c in (column - 1, column, column + 1):
            for r in (row - 1, row, row + 1):
                for other_x, other_y in self._squares.get((c, r), ()):
                    if (x - other_x) ** 2 + (y - other_y) ** 2 < self._distance**2:
                        return False
        self._squares.setdefault((column, row), []).append((x, y))
        return True


def _is_named(text: str, names: dict[int, str]) -> bool:
    text = text.strip().casefold()
    return any(text in (name.casefold(), str(value)) for value, name in names.items())


def _widened(mask: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Where there is one within so many places along an axis."""
    count = np.cumsum(np.insert(mask, 0, False, axis=axis), axis=axis, dtype=np.int32)
    length = mask.shape[axis]
    at = np.arange(length)
    before, after = np.maximum(at - reach, 0), np.minimum(at + reach + 1, length)
    return count.take(after, axis=axis) > count.take(before, axis=axis)


def _random(seed: int, index: np.ndarray, use: int) -> np.ndarray:
    """Numbers from 0 to 1 by index: SplitMix64 (Steele, Lea and Flood 2014), whose steps are the indices."""
    start = _mixed(np.array([(seed + (2 * use + 1) * int(_STEP)) % 2**64], np.uint64))
    return (_mixed(start + (index.astype(np.uint64) + np.uint64(1)) * _STEP) >> np.uint64(11)) * 2.0**-53


def _mixed(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))

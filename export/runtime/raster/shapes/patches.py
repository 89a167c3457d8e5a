"""Connected patches of one class, and the merging of those that are too small. Pure numpy.

A map is held as runs: the stretches of one class within a row. Patches are runs that touch along an edge.
Memory grows with the number of runs, not with the number of pixels; what would not fit is refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...errors import InputFault
from ...files import free_memory

# Of memory a run, as measured on noise of five classes, with what the hosts hold while they trace.
BYTES, BYTES_MERGING = 400, 750


@dataclass(frozen=True)
class Runs:
    """Runs of a map, row by row.

    Attributes:
        first: (N,) place of the first pixel, row x width + column, rising.
        value: (N,) class value; ``gap`` where the map holds no data.
        weight: (N,) sum of the confidence over the run.
        end: rows x width.
        gap: the value that means no data.
    """

    width: int
    first: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    end: int
    gap: int

    @classmethod
    def of(cls, blocks: Iterable[tuple[np.ndarray, np.ndarray]], gap: int) -> Runs:
        """Collect the runs of blocks of whole rows, (rows, width) classes and confidence each, from top to bottom.

        Raises:
            InputFault: they are too many.
        """
        firsts, values, weights, end, width, count = [], [], [], 0, 1, 0
        for classes, confidence in blocks:
            width = classes.shape[1]
            at = np.flatnonzero(begins(classes))
            count += len(at)
            check_room(count)
            firsts.append(at + end)
            values.append(classes.ravel()[at])
            weights.append(np.add.reduceat(confidence.ravel().astype(np.int64), at))
            end += classes.size
        return cls(width, np.concatenate(firsts), np.concatenate(values), np.concatenate(weights), end, gap)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) px."""
        return np.diff(self.first, append=self.end)

    @property
    def rows(self) -> np.ndarray:
        """(N,) row of each run."""
        return self.first // self.width

    def touching(self) -> np.ndarray:
        """(P, 2) pairs of runs with data that share an edge, each at least once."""
        same_row = np.flatnonzero(self.rows[1:] == self.rows[:-1]).astype(np.int32)
        beside = np.stack([same_row, same_row + 1], axis=1)
        above, below = self.first[self.first >= self.width], self.first[self.first < self.end - self.width]
        pairs = [
            np.stack([self._run_at(above - self.width), self._run_at(above)], axis=1),
            np.stack([self._run_at(below), self._run_at(below + self.width)], axis=1),
            beside,
        ]
        touching = np.concatenate(pairs)
        return touching[(self.value[touching] != self.gap).all(axis=1)]

    def _run_at(self, places: np.ndarray) -> np.ndarray:
        return (np.searchsorted(self.first, places, side="right") - 1).astype(np.int32)


def begins(classes: np.ndarray) -> np.ndarray:
    """(rows, width) True where a run begins."""
    first = np.ones(classes.shape, bool)
    first[:, 1:] = classes[:, 1:] != classes[:, :-1]
    return first


def check_room(runs: int, merging: bool = False, where: str = "") -> None:
    """Raises InputFault where the patches of so many runs, merged or not, take more memory than is free."""
    needed, free = runs * (BYTES_MERGING if merging else BYTES), free_memory()
    if needed > free:
        raise InputFault("too_many_patches", where=where, needed=needed, free=free)


@dataclass(frozen=True)
class Patches:
    """Patches of a map, numbered from 0.

    Attributes:
        of_run: (N,) number of the patch of each run, -1 without data.
        value: (M,) class.
        pixels: (M,) count.
        area: (M,) square metres.
        confidence: (M,) mean, in the units of the confidence.
    """

    runs: Runs
    of_run: np.ndarray
    value: np.ndarray
    pixels: np.ndarray
    area: np.ndarray
    confidence: np.ndarray

    def rows(self, first: int, count: int) -> np.ndarray:
        """(count, width) int32: number of the patch of each pixel, plus one; 0 without data."""
        width = self.runs.width
        low, high = np.searchsorted(self.runs.first, [first * width, (first + count) * width])
        return np.repeat(self.of_run[low:high] + 1, self.runs.lengths[low:high]).astype(np.int32).reshape(-1, width)


def find_patches(runs: Runs, row_areas: np.ndarray, least: float = 0.0) -> Patches:
    """Find the patches of a map and merge those below the area ``least`` into their largest neighbour, smallest first.

    Patches that no other touches stay, however small. ``row_areas`` (rows,) are of one pixel of each row.

    Raises:
        InputFault: they are too many.
    """
    check_room(len(runs.first), least > 0)
    pairs = runs.touching()
    alike = runs.value[pairs[:, 0]] == runs.value[pairs[:, 1]]
    label = components(len(runs.first), pairs[alike])
    there = runs.value != runs.gap
    areas = np.bincount(label, runs.lengths * row_areas[runs.rows], len(label))
    if least > 0:
        edges = np.unique(np.sort(label[pairs[~alike]], axis=1), axis=0)
        roots = np.unique(label[there])
        label = _merged(roots, areas, runs.value, edges, least)[label]
    roots, of_run = np.unique(label[there], return_inverse=True)
    number = np.full(len(label), -1, np.int64)
    number[there] = of_run
    pixels = np.bincount(of_run, runs.lengths[there])
    return Patches(
        runs, number, runs.value[roots], pixels.astype(np.int64),
        np.bincount(of_run, (runs.lengths * row_areas[runs.rows])[there]),
        np.bincount(of_run, runs.weight[there]) / pixels,
    )  # fmt: skip


def components(count: int, pairs: np.ndarray) -> np.ndarray:
    """(count,) the smallest number that each of ``count`` nodes is connected with by (P, 2) pairs."""
    label = np.arange(count, dtype=np.int32)
    while len(pairs):
        ends = np.sort(label[pairs], axis=1)
        pairs = ends[ends[:, 0] != ends[:, 1]]
        np.minimum.at(label, pairs[:, 1], pairs[:, 0])
        while not np.array_equal(shorter := label[label], label):
            label = shorter
    return label


def _merged(roots: np.ndarray, areas: np.ndarray, values: np.ndarray, edges: np.ndarray, least: float) -> np.ndarray:
    """(N,) the patch that each patch ends up in; numbers of patches are those of their first runs."""
    into = np.arange(len(values))
    area = areas.copy()
    neighbours = _neighbours(edges)
    small = [(area[root], int(root)) for root in roots[area[roots] < least]]
    heapq.heapify(small)

    def end_of(patch: int) -> int:
        while into[patch] != patch:
            into[patch] = into[into[patch]]
            patch = int(into[patch])
        return patch

    def absorb(winner: int, patch: int) -> None:
        into[patch] = winner
        area[winner] += area[patch]
        neighbours.setdefault(winner, set()).update(neighbours.pop(patch, ()))

    while small:
        size, patch = heapq.heappop(small)
        if into[patch] != patch or area[patch] != size:
            continue
        around = {end_of(other) for other in neighbours.get(patch, ())} - {patch}
        if not around:
            continue
        winner = max(around, key=lambda other: (area[other], -other))
        absorb(winner, patch)
        for other in sorted(around - {winner}):
            if values[other] == values[winner]:  # two patches of a class that now touch
                absorb(winner, other)
        if area[winner] < least:
            heapq.heappush(small, (area[winner], winner))
    while not np.array_equal(shorter := into[into], into):
        into = shorter
    return into


def _neighbours(edges: np.ndarray) -> dict[int, set[int]]:
    beside: dict[int, set[int]] = {}
    for one, other in edges.tolist():
        beside.setdefault(one, set()).add(other)
        beside.setdefault(other, set()).add(one)
    return beside

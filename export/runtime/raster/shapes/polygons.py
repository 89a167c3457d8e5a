"""Polygons of any CRS on a grid: for masks, labels and samples alike. The host's library cuts, moves and burns them.

They are cut to the grid's footprint in their own CRS, since what lies beyond may have no place in the grid's, and then
moved. Where that cannot be done truly (the outline leaves the projection, or a side runs across its seam) the grid is
quartered, down to small parts in which each pixel's middle is moved to the polygons' CRS instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from ..lattice import Bounds
from ..window import Window
from . import footprint
from .footprint import Way

_LEAF = 64  # px: sides of a part in which pixels are asked one by one


class Pieces(Protocol):
    """Parts of polygons in the CRS of a grid; ``numbers`` are those of the polygons."""

    numbers: np.ndarray

    boxes: np.ndarray  # (N, 4) west, south, east, north of each

    @property
    def surface_point(self) -> tuple[float, float]:
        """A place inside the first."""

    def only(self, number: int) -> Pieces:
        """Those of one polygon."""

    def touch(self, part: Any) -> bool:
        """Whether one reaches into a part of the grid."""

    def burn(self, part: Any) -> np.ndarray:
        """(rows, columns) highest number of a piece in which a pixel's middle lies, -1 where there is none; int32."""


class Own(Protocol):
    """Polygons in their own CRS; ``numbers`` as in ``Pieces``."""

    numbers: np.ndarray

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of all."""

    def cut(self, frame: np.ndarray, grid: Any, way: Way) -> Pieces | None:
        """What lies in a grid's frame, (N, 2) corners, in the grid's CRS; None where it cannot be moved truly."""

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of (N, 2) finite points lie in which polygon: the number of the point and of the polygon, a pair each."""


class Polygons:
    """Polygons on a grid."""

    def __init__(self, own: Own, grid: Any, way: Way) -> None:
        """Bring polygons onto a grid."""
        self.own, self.grid, self.way = own, grid, way
        frame = footprint.frame(grid, way)
        self._pieces = None if frame is None else own.cut(frame, grid, way)
        self._parts: list[Polygons] = []
        if self._pieces is not None:
            self.numbers = np.unique(self._pieces.numbers)
        elif max(grid.shape) > _LEAF:
            parts = (Polygons(own, grid.crop(window), way) for window in _quarters(grid))
            self._parts = [part for part in parts if len(part.numbers)]
            self.numbers = np.unique(np.concatenate([np.zeros(0, int), *(part.numbers for part in self._parts)]))
        elif way.exact:  # finer than the grid's pixels: what lies between their middles counts too
            self.numbers = np.unique(own.numbers)
        else:
            self.numbers = np.unique(self._at(footprint.centres(grid, way))[1])

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of those on the grid, or more; the grid's own where there are none."""
        boxes = self._boxes()
        west, south = boxes[:, :2].min(axis=0).tolist()
        east, north = boxes[:, 2:].max(axis=0).tolist()
        return west, south, east, north

    @property
    def apart(self) -> bool:
        """Whether they lie at both ends of a grid that reaches around the Earth."""
        boxes = self._boxes()
        boxes = boxes[np.argsort(boxes[:, 0])]
        gaps = boxes[1:, 0] - np.maximum.accumulate(boxes[:-1, 2])
        return bool(self.way.grid_turn and (gaps > self.way.grid_turn / 2).any())

    def _boxes(self) -> np.ndarray:
        if self._pieces is not None and len(self.numbers):
            return self._pieces.boxes
        return np.concatenate([part._boxes() for part in self._parts]) if self._parts else np.array([self.grid.bounds])

    @property
    def surface_point(self) -> tuple[float, float]:
        """A place inside one of them, about; the middle of the grid where there are none."""
        if self._pieces is not None and len(self.numbers):
            return self._pieces.surface_point
        return self._parts[0].surface_point if self._parts else self.grid.at(self.grid.width / 2, self.grid.height / 2)

    def only(self, number: int) -> Polygons:
        """One of them alone."""
        alone = object.__new__(Polygons)
        alone.__dict__.update(self.__dict__, numbers=self.numbers[self.numbers == number])
        alone._pieces = self._pieces and self._pieces.only(number)
        alone._parts = [part.only(number) for part in self._parts if number in part.numbers]
        return alone

    def touches(self, grid: Any, window: Window) -> bool:
        """Whether one reaches into a window of a grid; True where it cannot be excluded."""
        part = grid.crop(window)
        if self._pieces is not None:
            return self._pieces.touch(part)
        return any(one.touches(grid, window) for one, _ in self._within(part)) if self._parts else len(self.numbers) > 0

    def inside(self, grid: Any, window: Window) -> np.ndarray:
        """(rows, columns) True where the middle of a pixel lies in one."""
        return self.last(grid.crop(window)) >= 0

    def holds(self, x: float, y: float) -> bool:
        """Whether a place in the grid's CRS lies in one."""
        place = self._at(np.column_stack(self.way.back(np.array([x]), np.array([y]))))
        return bool(np.isin(place[1], self.numbers).any())

    def last(self, part: Any) -> np.ndarray:
        """(rows, columns) number of the last one in which a pixel's middle lies, -1 where there is none; int32."""
        if self._pieces is not None:
            return self._pieces.burn(part)
        last = np.full(part.shape, -1, np.int32)
        if self._parts:
            for one, window in self._within(part):
                pixels = last[window.row : window.row + window.height, window.column : window.column + window.width]
                np.maximum(pixels, one.last(part.crop(window)), out=pixels)
        elif len(self.numbers):
            place, number = self._at(footprint.centres(part, self.way))
            known = np.isin(number, self.numbers)
            np.maximum.at(last.reshape(-1), place[known], number[known])
        return last

    def _within(self, part: Any) -> Iterator[tuple[Polygons, Window]]:
        """The quarters, and their windows of a part of the grid."""
        for one in self._parts:
            window = part.window_inside(one.grid.bounds)
            if window:
                yield one, window

    def _at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of (N, 2) points of the polygons' CRS lie in which polygon, however both count longitude."""
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        pairs = [(known[:0], known[:0])]
        if len(known):
            west, _, east, _ = self.own.bounds
            for turn in footprint.turns(points[known], west, east, self.way):
                place, number = self.own.at(points[known] - [turn, 0])
                pairs.append((known[place], number))
        places, numbers = zip(*pairs)
        return np.concatenate(places), np.concatenate(numbers)


def _quarters(grid: Any) -> Iterator[Window]:
    """Windows of about half the height and width."""
    rows, columns = (sorted({0, side // 2 if side > _LEAF else 0, side}) for side in grid.shape)
    for top, bottom in zip(rows, rows[1:]):
        for left, right in zip(columns, columns[1:]):
            yield Window(top, left, bottom - top, right - left)

"""The part of a layer that the map canvas shows: its features, and the maps that are made from them."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, Callable, Optional

import numpy as np

from ....runtime.infer.inputs.tile import any_valid
from ....runtime.infer.sweep import mapped
from ....runtime.model.providers import cores
from ....runtime.raster.window import Window

MOST_PIXELS = 2_200_000  # that are classified one by one: a canvas of 1500 x 1000 px at its own size, and some more
MOST_PLACES = 500_000  # of features that are classified in a larger view: beyond, every k-th a side
NO_CLASS, UNSURE = 0, 255  # where a map of a view holds nothing
Tile = tuple[int, int]  # row and column of a tile
Bounds = tuple[float, float, float, float]
Cells = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class LayerView:
    """A window of the grid that the model sees.

    Attributes:
        window: in px, of whole cells: it may reach beyond the raster.
        step: 0 where each pixel is mapped, else how many places a side one cell of the map stands for.
        factor: px a side of a place.
    """

    window: Window
    step: int
    factor: int

    @classmethod
    def of(cls, seen: Any, factor: int, bounds: Bounds) -> "Optional[LayerView]":
        """What lies within bounds in the CRS of the grid ``seen``; None where nothing does."""
        window = seen.window_inside(bounds)
        if window is None:
            return None
        pixels = window.height * window.width
        step = 0 if pixels <= MOST_PIXELS else max(1, ceil(sqrt(pixels / MOST_PLACES) / factor))
        unit = max(step, 1) * factor
        top, left = window.row // unit * unit, window.column // unit * unit
        height, width = (
            (end - 1) // unit * unit + unit for end in (window.row + window.height, window.column + window.width)
        )
        return cls(Window(top, left, height - top, width - left), step, factor)

    @property
    def coarse(self) -> int:
        """Px a side of a cell of the maps that are made of places."""
        return max(self.step, 1) * self.factor

    @property
    def cell(self) -> int:
        """Px a side of a cell of the map of classes."""
        return self.coarse if self.step else 1

    def shape(self, cell: int) -> tuple[int, int]:
        """Rows and columns of a map with such cells."""
        return self.window.height // cell, self.window.width // cell


@dataclass(frozen=True)
class Maps:
    """The classes of a view, (rows, columns) uint8 each.

    Attributes:
        classes: 1 + index of the likeliest class, 0 where there is none.
        confidence: its probability in per cent, 255 where there is none.
    """

    view: LayerView
    classes: np.ndarray
    confidence: np.ndarray


class ViewFeatures:
    """The features of a view, filled tile by tile, in memory."""

    def __init__(self, view: LayerView, side: int, margin: int) -> None:
        """``side`` is that of a tile's answer in px, ``margin`` what a record holds around it, in places."""
        self.view, self._side, self._margin = view, side, margin
        # of each tile its record, or every k-th place (D, rows, columns), and where px, or places, hold data
        self._parts: dict[Tile, Cells] = {}

    def __contains__(self, tile: Tile) -> bool:
        return tile in self._parts

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, tile: Tile, record: np.ndarray, valid: np.ndarray) -> None:
        """Take a record, (D, n + 2m, n + 2m) uint8, and where its pixels hold data, (side, side)."""
        if self.view.step:
            record, valid = self._places(tile, record, valid)
        self._parts[tile] = record, valid

    def classified(self, head: Any, run: Callable[[np.ndarray], np.ndarray]) -> Generator[None, None, Maps]:
        """Map the classes of what is there; yields between the tiles.

        Args:
            head: gives (N, K) ``probabilities`` of (N, D) features.
            run: (N, K, ...) probabilities of the pixels of (N, D, n + 2m, n + 2m) float32 records, margins included; may
                be called by several threads at once.
        """
        view, cell = self.view, self.view.cell
        classes, sure = np.full(view.shape(cell), NO_CLASS, np.uint8), np.full(view.shape(cell), UNSURE, np.uint8)

        def classify(part: tuple[Tile, np.ndarray, np.ndarray]) -> None:
            tile, features, valid = part
            to, own = self._cells(tile, cell)
            likely = self._probabilities(features, own, head, run)
            best, top = np.ones(likely.shape[1:], np.uint8), likely[0].copy()
            for number, share in enumerate(likely[1:], start=2):
                best[share > top] = number
                np.maximum(top, share, out=top)
            valid = valid if view.step else valid[own]
            classes[to] = np.where(valid, best, NO_CLASS)
            sure[to] = np.where(valid, np.rint(top * np.float32(100)), UNSURE)

        parts = [(tile, *part) for tile, part in self._parts.items() if part[1].any()]
        with closing(mapped(classify, parts, cores())) as done:
            for _ in done:
                yield
        return Maps(view, classes, sure)

    def scored(self, score: Callable[[np.ndarray], np.ndarray]) -> Generator[None, None, np.ndarray]:
        """Score all places that are there, NaN elsewhere; ``score`` gives (N,) of (D, N) uint8; yields between tiles."""
        scores = np.full(self.view.shape(self.view.coarse), np.nan, np.float32)
        for tile, (features, valid) in list(self._parts.items()):
            if not self.view.step:
                features, valid = self._places(tile, features, valid)
            if valid.any():
                part = scores[self._cells(tile, self.view.coarse)[0]]
                part[valid] = score(features[:, valid])
            yield
        return scores

    def _probabilities(
        self, features: np.ndarray, own: tuple[slice, slice], head: Any, run: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """(K, rows, columns) of every k-th place, or of the pixels ``own`` of a tile."""
        if self.view.step:
            depth, rows, columns = features.shape
            likely = head.probabilities(features.reshape(depth, -1).T.astype(np.float32))
            return likely.T.reshape(-1, rows, columns)
        edge, side = self._margin * self.view.factor, self._side
        inner = run(features[None].astype(np.float32))[0, :, edge : edge + side, edge : edge + side]
        return inner[:, own[0], own[1]]

    def _places(self, tile: Tile, record: np.ndarray, valid: np.ndarray) -> Cells:
        """Those places of a tile that are cells of a coarse map."""
        factor, margin = self.view.factor, self._margin
        _, (rows, columns) = self._cells(tile, self.view.coarse)
        rows, columns = (slice(one.start // factor, one.stop // factor, one.step // factor) for one in (rows, columns))
        inner = record[:, margin : record.shape[1] - margin, margin : record.shape[2] - margin]
        return np.ascontiguousarray(inner[:, rows, columns]), any_valid(valid, (factor, factor))[rows, columns]

    def _cells(self, tile: Tile, cell: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns of a map that begin in a tile, and the px of the tile that they begin at."""
        starts = (self.view.window.row, self.view.window.column)
        both = [self._axis(*one, cell) for one in zip(tile, starts, self.view.shape(cell))]
        return (both[0][0], both[1][0]), (both[0][1], both[1][1])

    def _axis(self, number: int, start: int, length: int, cell: int) -> tuple[slice, slice]:
        origin, begin = start // cell, number * self._side
        low = max(-(-begin // cell), origin)
        high = max(min(-(-(begin + self._side) // cell), origin + length), low)
        first = low * cell - begin
        return slice(low - origin, high - origin), slice(first, first + (high - low) * cell, cell)

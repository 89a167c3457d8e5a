"""From labelled polygons and points to samples: the features of some of their pixels. Pure numpy.

The same pixels are taken on the command line, in Processing and in the panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..infer.layout import Layout
from ..infer.sweep import Progress
from ..raster.shapes.polygons import Polygons
from ..raster.window import Read, Window

MOST = 256  # pixels of a polygon
_SIDE = 1024  # px of the window of a polygon in which every pixel is looked at
_NEAR = 256  # px: pixels within squares of this side are read together
_GOLDEN = (5**0.5 - 1) / 2


class FeaturePlaces(Protocol):
    """What is needed of a raster of features; its layout must have no limits."""

    layout: Layout

    def at(self, rows: np.ndarray, columns: np.ndarray, progress: Progress) -> np.ndarray:
        """(N, D) float32 features at the middles of (N,) pixels of ``layout.seen``."""


@dataclass(frozen=True)
class Label:
    """A labelled polygon or point on one raster.

    Attributes:
        number: of the label; what has the same number on several rasters, where they overlap, is one label.
        class_index: its class, from 0.
        shape: the polygon alone, or x and y of a point in the CRS of the raster.
    """

    number: int
    class_index: int
    shape: Polygons | tuple[float, float]


@dataclass(frozen=True)
class Samples:
    """Features of labelled pixels; P labels have N pixels that hold data.

    Attributes:
        features: (N, D) float32.
        classes: (N,) int64 class index, from 0.
        polygons: (N,) int64 which label each pixel is of, 0 to P - 1.
        places: (P, 2) float64 row and column of the middle of the label's pixels, in pixels that its raster is seen in.
        scenes: (P,) int64 number of that raster, the first on which it lies.
        numbers: (P,) int64 the labels' own numbers, rising.
        groups: (P,) int64, the same for labels that share pixels, such as one that is in two files.
        outside: numbers of labels that lie on no raster.
        empty: numbers of labels that lie on rasters, but on no pixel that holds data.
    """

    features: np.ndarray
    classes: np.ndarray
    polygons: np.ndarray
    places: np.ndarray
    scenes: np.ndarray
    numbers: np.ndarray
    groups: np.ndarray
    outside: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()

    @property
    def weights(self) -> np.ndarray:
        """(N,) float64: those of each label's pixels sum to 1."""
        return 1.0 / np.bincount(self.polygons, minlength=len(self.numbers))[self.polygons]

    @property
    def labels(self) -> np.ndarray:
        """(P,) class index of each label."""
        _, first = np.unique(self.polygons, return_index=True)
        return self.classes[first]

    def without(self, labels: np.ndarray) -> Samples:
        """The samples without some labels, a (P,) mask."""
        stay = ~labels[self.polygons]
        number = np.cumsum(~labels) - 1
        return replace(
            self, features=self.features[stay], classes=self.classes[stay], polygons=number[self.polygons[stay]],
            places=self.places[~labels], scenes=self.scenes[~labels], numbers=self.numbers[~labels],
            groups=self.groups[~labels],
        )  # fmt: skip


def samples_of(
    rasters: Sequence[FeaturePlaces],
    labels: Sequence[Sequence[Label]],
    progress: Progress = lambda done, total: True,
) -> Samples:
    """The samples of labels on several rasters: at most ``MOST`` pixels of each label on each raster.

    ``labels[i]`` lie on ``rasters[i]``; features that are not there yet are computed, tile by tile: ``progress`` counts the
    tiles of each raster.

    Raises:
        InputFault: a raster cannot be read.
        Cancelled: the computation of features was stopped.
    """
    features, classes, numbers, scenes, at = [], [], [], [], []
    seen: set[int] = set()
    for scene, (raster, on_it) in enumerate(zip(rasters, labels)):
        taken = [pixels_of(label, raster.layout.seen) for label in on_it]
        seen |= {label.number for label, (rows, _) in zip(on_it, taken) if len(rows)}
        taken = [hold_data(*pixels, raster.layout.read) for pixels in taken]
        counts = [len(rows) for rows, _ in taken]
        if not sum(counts):
            continue
        rows, columns = (np.concatenate(axis) for axis in zip(*taken))
        features.append(raster.at(rows, columns, progress))
        classes.append(np.repeat([label.class_index for label in on_it], counts))
        numbers.append(np.repeat([label.number for label in on_it], counts))
        scenes.append(np.full(len(rows), scene))
        at.append(np.column_stack([rows, columns]))
    everyone = {label.number for on_it in labels for label in on_it}
    if not features:
        return _nothing(everyone, seen)
    number, scene_of, place = np.concatenate(numbers), np.concatenate(scenes), np.concatenate(at)
    known, first, polygons = np.unique(number, return_index=True, return_inverse=True)
    scenes_of = scene_of[first]
    here = scene_of == scenes_of[polygons]
    count = np.bincount(polygons[here])
    places = [np.bincount(polygons[here], place[here, axis]) / count for axis in (0, 1)]
    return Samples(
        np.concatenate(features), np.concatenate(classes).astype(np.int64), polygons.astype(np.int64),
        np.column_stack(places), scenes_of.astype(np.int64), known.astype(np.int64),
        _sharing(np.column_stack([scene_of, place]), polygons), tuple(sorted(everyone - seen)), tuple(sorted(seen - {*known.tolist()})),
    )  # fmt: skip


def _sharing(pixels: np.ndarray, polygons: np.ndarray) -> np.ndarray:
    """(P,) for each label the least number of those with which, directly or by others, it shares one of (N, 3) pixels."""
    _, pixel = np.unique(pixels, axis=0, return_inverse=True)
    groups = np.arange(polygons.max() + 1)
    while True:
        least = np.full(len(pixels), len(groups))
        np.minimum.at(least, pixel, groups[polygons])
        joined = groups.copy()
        np.minimum.at(joined, polygons, least[pixel])
        if (joined == groups).all():
            return groups
        groups = joined


def _nothing(everyone: set[int], seen: set[int]) -> Samples:
    none = np.zeros(0, np.int64)
    features, places = np.zeros((0, 0), np.float32), np.zeros((0, 2))
    return Samples(features, none, none, places, none, none, none, tuple(sorted(everyone - seen)), tuple(sorted(seen)))


def pixels_of(label: Label, grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """(N,) rows and columns of pixels of a grid that stand for a label, N <= ``MOST``; none where it lies outside.

    Of a point it is the pixel in which it lies, of a polygon without any pixel's middle that of a place inside. Of a large
    polygon the pixels are spread evenly, and are always the same.
    """
    if isinstance(label.shape, tuple):
        return _pixel_at(label.shape, grid)
    window = grid.window_inside(label.shape.bounds) if len(label.shape.numbers) else None
    if window is None:
        return _pixels([], [])
    step = -(-max(window.height, window.width) // _SIDE) // 2 * 2 + 1 if max(window.height, window.width) > _SIDE else 1
    rows, columns = np.nonzero(label.shape.last(grid.crop(window).scaled(step, step)) >= 0)
    rows, columns = (window.row + rows * step + step // 2, window.column + columns * step + step // 2)
    inside = (rows < grid.height) & (columns < grid.width)
    rows, columns = rows[inside], columns[inside]
    if not len(rows):
        return _pixel_at(label.shape.surface_point, grid)
    if len(rows) > MOST:  # steps of the golden ratio meet no column or row more often than others
        few = np.unique((np.arange(MOST) * _GOLDEN % 1 * len(rows)).astype(np.int64))
        rows, columns = rows[few], columns[few]
    return _pixels(rows, columns)


def _pixel_at(place: tuple[float, float], grid: Any) -> tuple[np.ndarray, np.ndarray]:
    if not np.isfinite(place).all():  # the CRS has no such place
        return _pixels([], [])
    column, row = (int(np.floor(number)) for number in grid.pixel_at(*place))
    return _pixels([row], [column]) if 0 <= row < grid.height and 0 <= column < grid.width else _pixels([], [])


def _pixels(rows: Any, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(rows, np.int64), np.asarray(columns, np.int64)


def hold_data(rows: np.ndarray, columns: np.ndarray, read: Read) -> tuple[np.ndarray, np.ndarray]:
    """Those of some pixels that hold data."""
    there = np.zeros(len(rows), bool)
    squares = np.stack([rows // _NEAR, columns // _NEAR], axis=1)
    for square in np.unique(squares, axis=0):
        near = np.flatnonzero((squares == square).all(axis=1))
        top, left = rows[near].min(), columns[near].min()
        bottom, right = rows[near].max() + 1, columns[near].max() + 1
        _, valid = read(Window(int(top), int(left), int(bottom - top), int(right - left)))
        there[near] = valid[rows[near] - top, columns[near] - left]
    return rows[there], columns[there]

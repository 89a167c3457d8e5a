"""A map, or a layer of similarity, from the features of a raster: with the interface of ``infer.job.Job``.

The map has the pixels that the saved model gives: each record is resized alone, and tiles do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from typing import Optional

import numpy as np

from ..errors import Cancelled, InputFault
from ..files import free_memory
from ..infer.inputs.tile import any_valid
from ..infer.layout import Limits
from ..infer.sweep import Progress, ahead, mapped, rows_of, side_by_side
from ..messages import Message
from ..model.card import ModelCard
from ..model.graph import Graph, HeadSession
from ..raster.legend import LandClass
from ..raster.shapes.patches import BYTES, BYTES_MERGING
from ..raster.window import Window
from ..results.rows import Rows, blanked
from ..results.vectors import KeepGoing
from ..results.writing import Results
from .heads import Head
from .place import FeatureRaster
from .samples import Label, hold_data, pixels_of
from .similar import BestPlaces, Similarity

TileNumber = tuple[int, int]
_THREADS = 2  # heads are small: more threads wait for each other
_SPARE = 4


# A tile, its record (None where nothing is wanted), and where the pixels of its window hold data.
_Seen = tuple[TileNumber, Optional[np.ndarray], np.ndarray]


class _Tiles:
    """The tiles of a part of a raster, row by row, with their records and where they hold data."""

    def __init__(self, raster: FeatureRaster, area: Window, touches: Callable[[Window], bool]) -> None:
        """``area`` is in pixels of the seen grid; tiles that do not touch it or are not wanted are not computed."""
        self.raster, self._touches = raster, touches
        self.area = area
        tiles = sorted(raster.tiles(area))
        self.lines = [[tile for tile in tiles if tile[0] == row] for row in sorted({row for row, _ in tiles})]
        self.total = len(tiles)

    def window(self, tile: TileNumber) -> Window:
        """The pixels of the area that a tile answers for."""
        held = self.raster.window(tile).intersection(self.area)
        assert held is not None  # nosec B101  # others are not asked for
        return held

    def __iter__(self) -> Iterator[_Seen]:
        """Line by line, in any order within a line."""
        for line in self.lines:
            wanted = [tile for tile in line if self._touches(self.window(tile))]
            with closing(self.raster.compute(wanted)) as records:  # type: ignore[type-var]  # a generator
                for tile, record in records:
                    yield tile, record, self._valid(self.window(tile))
            for tile in set(line).difference(wanted):
                window = self.window(tile)
                yield tile, None, np.zeros((window.height, window.width), bool)

    def _valid(self, window: Window) -> np.ndarray:
        layout = self.raster.layout
        return layout.read(window)[1] if layout.scale else layout.source.valid(window)


class _TileJob:
    """What a map and a layer of similarity share.

    Attributes:
        grid: of the result.
    """

    def __init__(self, raster: FeatureRaster, card: ModelCard, limits: Limits, unit: int) -> None:
        """``unit`` is the side of a pixel of the result, in pixels of the seen grid; 0: the result has the raster's own."""
        self.raster, self.card, self.source, self.layout = raster, card, raster.layout.source, raster.layout
        self._unit, self._mask = unit, limits.mask
        self._whole = self.layout.seen.scaled(unit, unit) if unit else self.layout.result
        self.block, self._empty = limits.window(self._whole, self.source.where)
        self.grid = self._whole.crop(self.block)
        seen = self._area()
        touches = limits.mask.touches if limits.mask else None
        self._tiles = _Tiles(raster, seen, lambda window: not touches or touches(self.layout.seen, window))

    def notes(self, measured: bool, polygons: bool = False, merging: bool = False) -> list[Message]:
        """See ``Job.notes``; those on the features come with them."""
        notes = [self._empty] if self._empty else []
        distortion = self.grid.area_distortion if measured else 1.0
        if not 0.98 <= distortion <= 1.02:
            notes.append(Message("area_distortion", {"times": distortion}))
        most, free = self.grid.height * self.grid.width * (BYTES_MERGING if merging else BYTES), free_memory()
        if polygons and most > free:
            notes.append(Message("polygons_may_not_fit", {"most": most, "free": free}))
        return [note.about(self.source.where) for note in notes]

    def write(self, results: Results, progress: Progress, keep_going: KeepGoing) -> None:
        """Hand the rows to the results, which are not finished here."""
        for part in self.rows(progress):
            results.add(part)

    def rows(self, progress: Progress) -> Iterator[Rows]:
        """Finished rows of ``grid``, from top to bottom.

        Raises:
            InputFault: the raster cannot be read.
            Cancelled: ``progress`` returned False.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Nothing: the features stay open for other uses."""

    def _area(self) -> Window:
        if not self._unit:
            return self.layout.area_of(self.block)
        top, left = self.block.row * self._unit, self.block.column * self._unit
        height, width = self.layout.seen.shape
        bottom = min(top + self.block.height * self._unit, height)
        right = min(left + self.block.width * self._unit, width)
        return Window(top, left, bottom - top, right - left)

    def _lines(self, work: Callable[[_Seen], Rows], progress: Progress) -> Iterator[Rows]:
        """``work`` on every tile, in threads; its rows joined from left to right."""
        tiles = ahead(self._tiles, _SPARE if self.source.pixels.read_ahead else 0)
        done = 0
        with closing(mapped(lambda seen: (seen[0], work(seen)), tiles, _THREADS, _SPARE)) as answers:
            for line in self._tiles.lines:
                blocks = []
                for block in islice(answers, len(line)):
                    blocks.append(block)
                    done += 1
                    if not progress(done, self._tiles.total):
                        raise Cancelled()
                yield from side_by_side([rows for _, rows in sorted(blocks, key=itemgetter(0))])


class MapJob(_TileJob):
    """A map of classes.

    Attributes:
        card: of a segmentation; the one that the saved model has.
        grid: of the map.
    """

    def __init__(
        self,
        raster: FeatureRaster,
        head: Head,
        classes: Sequence[LandClass],
        limits: Limits | None = None,
        probabilities: bool = False,
        name: str = "",
    ) -> None:
        """Prepare; whatever is missing of the features is computed with the map.

        ``limits`` are in the CRS of the raster; with ``probabilities`` rows hold those of all classes, too.

        Raises:
            InputFault: the limits lie outside the raster, or it is too wide for the memory.
        """
        card = replace(raster.features.card, name=name or raster.features.card.name, task="segmentation")
        super().__init__(raster, replace(card, classes=tuple(classes)), limits or Limits(), 0)
        self._session, self._probabilities = (
            head_session(head, raster.features.channels, raster.features.factor),
            probabilities,
        )
        self._check_memory()

    def rows(self, progress: Progress) -> Iterator[Rows]:
        """See ``_TileJob``."""
        for part in self.layout.finish(self._lines(self._classes, progress), self.block):
            window = Window(self.block.row + part.top, self.block.column, *part.valid.shape)
            yield blanked(part, part.valid & self._mask.inside(self._whole, window)) if self._mask else part

    def _classes(self, seen: _Seen) -> Rows:
        tile, record, valid = seen
        window, whole = self._tiles.window(tile), self.raster.window(tile)
        count = len(self.card.classes)
        share = np.zeros((count, *valid.shape), np.float32)
        if record is not None and valid.any():
            answer = self._session(record[None].astype(np.float32))[0]
            first = self.raster.features.margin * self.raster.features.factor
            top, left = first + window.row - whole.row, first + window.column - whole.column
            share = answer[:, top : top + window.height, left : left + window.width]
        return rows_of(self.card, window.row, share, valid, self._probabilities)

    def _check_memory(self) -> None:
        """Refuse what cannot fit: rows of tiles wait until they are joined."""
        width, height = self._tiles.area.width, self.raster.window((0, 0)).height
        count = len(self.card.classes)
        needed = width * height * (self.card.class_dtype.itemsize + 2 + (4 * count if self._probabilities else 0))
        free = free_memory()
        if needed > free:
            raise InputFault("too_wide", where=self.source.where, width=width, needed=needed, free=free)


def head_session(head: Head, channels: int, factor: int) -> HeadSession:
    """A head that answers for records: from (N, D, rows, columns) to (N, K, rows x factor, columns x factor)."""
    graph = Graph("features", ("batch", channels, "rows", "columns"))
    output = head.add_to(graph, "features", factor)
    return HeadSession(graph.to_bytes({"probabilities": (output, ("batch", "classes", "height", "width"))}))


def examples(raster: FeatureRaster, places: np.ndarray, progress: Progress = lambda done, total: True) -> np.ndarray:
    """(N, D) float32 features at (N, 2) places x and y in the CRS of the raster, computed where they are missing.

    Raises:
        InputFault: a place holds no data.
        Cancelled: ``progress`` returned False.
    """
    seen, pixels = raster.layout.seen, []
    for number, (x, y) in enumerate(places.tolist()):
        label = Label(number, 0, (x, y))
        rows, columns = hold_data(*pixels_of(label, seen), raster.layout.read)
        if not len(rows):
            raise InputFault("place_without_data", where=raster.source.where, x=x, y=y)
        pixels.append((rows[0], columns[0]))
    rows, columns = np.array(pixels, np.int64).reshape(-1, 2).T
    return raster.at(rows, columns, progress)


class SimilarJob(_TileJob):
    """A layer of similarity to some places, one pixel per place of the features.

    Attributes:
        card: of a regression.
        grid: of the layer.
        best: the best places so far, apart from each other; rows and columns count in the seen grid.
    """

    def __init__(self, raster: FeatureRaster, to: Similarity, limits: Limits | None = None) -> None:
        """Prepare; ``limits`` are in the CRS of the raster.

        Raises:
            InputFault: the limits lie outside the raster.
        """
        classes = (LandClass(1, "similarity", "000000"),)
        card = replace(raster.features.card, task="regression", classes=classes)
        super().__init__(raster, card, limits or Limits(), raster.features.factor)
        self._to, self.best = to, BestPlaces.none()

    @property
    def places(self) -> np.ndarray:
        """(N, 2) x and y of the best places, in the CRS of the raster: middles of pixels of the seen grid."""
        seen = self.layout.seen
        rows, columns = np.minimum(self.best.rows, seen.height - 1), np.minimum(self.best.columns, seen.width - 1)
        at = [seen.at(column + 0.5, row + 0.5) for row, column in zip(rows.tolist(), columns.tolist())]
        return np.array(at, np.float64).reshape(-1, 2)

    def rows(self, progress: Progress) -> Iterator[Rows]:
        """See ``_TileJob``."""
        for part in self._lines(self._scores, progress):
            assert part.values is not None  # nosec B101  # a regression
            corner = part.top * self._unit, self.block.column * self._unit
            self.best = self.best.joined(BestPlaces.of_tile(part.values[0], *corner, self._unit))
            yield replace(part, top=part.top - self.block.row)

    def _scores(self, seen: _Seen) -> Rows:
        tile, record, valid = seen
        unit, margin = self._unit, self.raster.features.margin
        window, whole = self._tiles.window(tile), self.raster.window(tile)
        there = any_valid(valid, (unit, unit)) if unit > 1 else valid
        scores = np.full((1, *there.shape), np.nan, np.float32)
        if record is not None and there.any():
            top, left = (
                margin + (at - of) // unit for at, of in ((window.row, whole.row), (window.column, whole.column))
            )
            part = record[:, top : top + there.shape[0], left : left + there.shape[1]]
            scores[0] = np.where(there, self._to.of(part), np.float32(np.nan))
        rows = Rows(window.row // unit, there, values=scores)
        if self._mask:
            inside = self._mask.inside(self._whole, Window(rows.top, window.column // unit, *there.shape))
            rows = blanked(rows, there & inside)
        return rows

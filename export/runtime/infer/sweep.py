"""Runs a model over a raster of any height in one pass, tiles blended.

Three things overlap: a thread reads ahead, others run the model, and the caller's own thread blends and hands
finished rows to whoever writes them. Each tile is run alone or in a batch of always the same size, and the
answers are added in the order of the tiles: so neither threads nor batches nor the part of the raster that is
mapped change a bit of the result. Memory grows with width x (blended rows x channels + tile), never with the height.
Where a card has a border nothing is blended: each tile answers for its inner part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any, Callable, TypeVar

import numpy as np

from ..errors import Cancelled, InputFault
from ..model.answers import decide
from ..model.card import ModelCard
from ..model.session import Model
from ..raster.window import Read, TileGrid, Window
from ..results.rows import NO_CONFIDENCE, Rows
from .blend import Axis, Blend, Block
from .inputs.tile import Dates, Tile, any_valid, count_dtype, padded, read_around, whole_tile

Item = TypeVar("Item")
Result = TypeVar("Result")
_END: Any = object()  # follows the last item that is read ahead
Progress = Callable[[int, int], bool]  # takes tiles done and tiles in all after each tile; False cancels
PIECE = 64  # finished rows that are handed out at once
WAITING_BYTES = 48 * 1024**2  # of answers that wait while finished rows are written
COLOURS = 8
READ_BYTES = 16 * 1024**2  # of tiles of a series that are read ahead, and again of those that wait to be run


@dataclass(frozen=True)
class Sweep:
    """Options of a run.

    Attributes:
        overlap: px that neighbouring tiles share; the card's by default.
        tta: answer for the eight flips and quarter turns of each tile and average.
        stride: scene classifiers: px from one window to the next; the tile's size by default.
        output: name of the graph's output, where there are several.
        threshold: probability from which on one of several independent classes counts, instead of the card's; lowest
            score of an object.
        area: the part of the raster to map, all by default. Tiles lie where they lie for the whole raster,
            so the parts of a raster fit together to the same bits.
        read_ahead: tiles that another thread reads in advance; 0 reads in the caller's thread.
    """

    overlap: int | None = None
    tta: bool = False
    probabilities: bool = False
    stride: int | None = None
    output: str | None = None
    threshold: float | None = None
    area: Window | None = None
    read_ahead: int = 4


AS_CARD = Sweep()


@dataclass(frozen=True)
class Scan:
    """A model and the raster that it runs over.

    Attributes:
        read: gives the pixels of a window that lies inside the raster; called by one thread at a time.
        touches: tiles whose window it refuses are neither read nor run, and their pixels are not valid.
        dates: of a series.
        colours: of tiles of one colour, whose answers are kept for the next of the same.
    """

    model: Model
    read: Read
    height: int
    width: int
    options: Sweep = AS_CARD
    progress: Progress = lambda done, total: True
    touches: Callable[[Window], bool] = lambda window: True
    dates: Dates | None = None
    colours: int = COLOURS

    def windows(self, tops: Iterable[int], lefts: Iterable[int], size: int) -> list[Window]:
        """Tiles of ``size`` px that begin there, without what lies beyond the raster."""
        return [Window(t, x, min(size, self.height - t), min(size, self.width - x)) for t in tops for x in lefts]

    def tile(self, inner: Window) -> Tile:
        """The pixels that the model must see to answer for a window: with its border, as far as there is a raster."""
        if not self.touches(inner):
            nothing = np.zeros((inner.height, inner.width), bool)
            return Tile(inner, nothing, nothing)
        return read_around(self.read, (self.height, self.width), inner, unused(self.model), self.model.card.tile_size)

    def counted(self, answers: Generator[Item, None, None], total: int) -> Generator[Item, None, None]:
        """The same answers; each counts as done once the next one is asked for. Closing it ends their threads.

        Raises:
            Cancelled: ``progress`` returned False.
        """
        with closing(answers):
            for done, answer in enumerate(answers, start=1):
                yield answer
                if not self.progress(done, total):
                    raise Cancelled()

    def answers(self, windows: list[Window]) -> Generator[tuple[Tile, np.ndarray | None], None, None]:
        """Read and run the tiles that answer for these windows; yield each with its answer, in order.

        It is (channels, side, side) px of a map, (channels,) of a vector, None where nothing was to be run.
        """
        groups = _groups(map(self.tile, windows), 1 if self.dates else self.model.batch)
        queue, spare = waiting(self.model, self.options, len(self.dates.day_of_year) if self.dates else 0)
        run = partial(self._run, {})
        for finished in mapped(run, ahead(groups, queue), self.model.threads, spare):
            yield from finished

    def _run(self, known: dict[bytes, np.ndarray], group: list[Tile]) -> list[tuple[Tile, np.ndarray | None]]:
        model = self.model
        cut = model.card.border // model.factor
        tiles = [tile for tile in group if tile.pixels is not None]
        if not tiles:
            return [(tile, None) for tile in group]
        answers: Iterator[np.ndarray]
        if self.dates:
            answers = map(partial(self._answer_of_dates, self.dates), tiles)
        else:
            pixels = np.stack([padded(tile, model.card) for tile in tiles])
            answers = iter(self._ask_once(pixels, known) if len(pixels) == 1 else self._ask(model.run, pixels))
        results = []
        for tile in group:
            answer = None if tile.pixels is None else next(answers)
            if answer is not None and cut:
                answer = answer[:, cut:-cut, cut:-cut]
            if answer is not None and answer.ndim == 3 and model.factor > 1 and model.card.task != "embedding":
                answer = answer.repeat(model.factor, axis=1).repeat(model.factor, axis=2)
            results.append((replace(tile, pixels=None), answer))
        return results

    def _ask_once(self, pixels: np.ndarray, known: dict[bytes, np.ndarray]) -> np.ndarray:
        """The answer for one tile; that for a tile of one colour is kept in ``known`` for the next of the same."""
        if self.model.batch > 1 or not (pixels == pixels[..., :1, :1]).all():
            return self._ask(self.model.run, pixels)
        colour = pixels[..., 0, 0].tobytes()
        if colour not in known and len(known) < self.colours:
            answer = self._ask(self.model.run, pixels)
            answer.setflags(write=False)
            known[colour] = answer
        return known[colour] if colour in known else self._ask(self.model.run, pixels)

    def _ask(self, run: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
        """The answer of a model for arrays whose last two axes are a tile's, turned to all sides if that was asked for."""
        return _turned(run, *arrays) if self.options.tta else run(*arrays)

    def _answer_of_dates(self, dates: Dates, tile: Tile) -> np.ndarray:
        """The answer for a tile of several dates: of a model of series, or the mean over the dates of a model of one.

        It is the mean of the probabilities of those dates that hold data at a pixel.
        """
        model, size = self.model, self.model.card.tile_size
        pixels, valid = padded(tile, model.card), whole_tile(tile.mask, tile, size)
        if model.card.dates:
            days, border = dates.day_of_year[tile.dates], unused(model)
            if dates.places is None:
                return self._ask(lambda seen, there: model.run_series(seen, there, days, None), pixels, valid)
            lonlat = dates.places(Window(tile.inner.row - border, tile.inner.column - border, size, size))
            return self._ask(lambda seen, there, at: model.run_series(seen, there, days, at), pixels, valid, lonlat)
        total, weight = np.zeros((), np.float32), np.zeros((), np.float32)
        for first in range(0, len(pixels), model.batch):
            part = slice(first, first + model.batch)
            for answer, there in zip(self._ask(model.run, pixels[part]), valid[part]):
                share = _share(there, model)
                total = total + np.where(share > 0, answer, np.float32(0)) * share
                weight = weight + share
        return total / np.where(weight > 0, weight, np.float32(1))


def waiting(model: Model, options: Sweep, dates: int) -> tuple[int, int]:
    """Groups of tiles that are read ahead, and that wait beside those that are run, of so many ``dates``; 0: no series."""
    spare = min(max(WAITING_BYTES // model.answer_bytes, 1), 8)
    if not dates:
        return max(options.read_ahead // model.batch, 1) if options.read_ahead else 0, spare
    most = max(READ_BYTES // tile_bytes(model, dates), 1)
    return min(options.read_ahead, most), min(spare, most)


def tile_bytes(model: Model, dates: int) -> int:
    """Memory of the pixels of a tile of a series."""
    return dates * (4 * len(model.card.bands) + 1) * model.card.tile_size**2


def _share(there: np.ndarray, model: Model) -> np.ndarray:
    """How much of each place of a model's answer holds data, 0 to 1, from (tile, tile) pixels; one number of a vector."""
    if not model.dense:
        return np.array(there.mean(), np.float32)
    border, factor = model.border, model.factor
    inner = there[border : len(there) - border, border : len(there) - border].astype(np.float32)
    if factor == 1:
        return inner
    side = len(inner) // factor
    return inner.reshape(side, factor, side, factor).mean(axis=(1, 3), dtype=np.float32)


def sweep(scan: Scan) -> Iterator[Rows]:
    """Yield the answer for a raster from top to bottom, each row once.

    The model answers with a map: a segmentation, a regression, or an embedding, whose rows and columns then count
    places of ``unit_of(model)`` px.

    Raises:
        InputFault: the model answers once a tile, or an option does not fit.
        ModelFault: the model fails.
        Cancelled: ``progress`` returned False.
    """
    options, height, width = scan.options, scan.height, scan.width
    model = scan.model.choose(options.output, options.threshold).sized(max(height, width))
    if not model.dense:
        raise InputFault("answers_once", name=model.card.name, task=model.card.task)
    unit = unit_of(model)
    grid = place_grid(model, height, width, options)
    area = in_units(options.area, unit) if options.area else Window(0, 0, grid.height, grid.width)
    side, overlap = grid.tile_size, grid.overlap
    tops = [top for top in grid.tops if top < area.row + area.height and top + side > area.row]
    lefts = [left for left in grid.lefts if left < area.column + area.width and left + side > area.column]
    rows, columns = Axis(grid.tops, side, overlap, grid.height), Axis(grid.lefts, side, overlap, grid.width)
    blend = Blend(model.channels + bool(scan.dates), area, rows, columns, lefts[0], lefts[-1])
    scan = replace(scan, model=model)
    windows = scan.windows([top * unit for top in tops], [left * unit for left in lefts], side * unit)
    finished: list[Rows] = []
    with closing(scan.counted(scan.answers(windows), len(windows))) as answers:
        for tile, answer in answers:
            valid = tile.valid if unit == 1 else any_valid(tile.valid, (unit, unit))
            if scan.dates and answer is not None:
                answer = np.concatenate([answer, _count_of(tile, unit, side)])
            block = blend.add(tile.inner.row // unit, tile.inner.column // unit, valid, answer)
            finished.append(_finished(model.card, block, options.probabilities, scan.dates))
            if len(finished) == len(lefts):
                yield from side_by_side(finished)
                finished = []


def _count_of(tile: Tile, unit: int, side: int) -> np.ndarray:
    """(1, side, side) how many dates hold data at each place of a tile."""
    assert tile.held is not None  # nosec B101  # of a tile that was run
    count = np.zeros((1, side, side), np.float32)
    held = tile.held if unit == 1 else any_valid(tile.held, (unit, unit))
    count[0, : held.shape[1], : held.shape[2]] = held.sum(axis=0)
    return count


def _finished(card: ModelCard, block: Block, probabilities: bool, dates: Dates | None) -> Rows:
    """Rows of blended numbers, the last of which count the dates of a series."""
    top, share, valid = block
    if not dates:
        return rows_of(card, top, share, valid, probabilities)
    count = np.where(valid, np.rint(share[-1]), 0).astype(count_dtype(len(dates.day_of_year)))
    return replace(rows_of(card, top, share[:-1], valid, probabilities), dates=count)


def unit_of(model: Model) -> int:
    """Side of a place of the result in px of the raster: 1, but for the map of an embedding, which stays coarse."""
    return model.factor if model.card.task == "embedding" else 1


def in_units(area: Window, unit: int) -> Window:
    """A part of the raster, counted in places of ``unit`` px; raises InputFault if it begins inside a place."""
    if area.row % unit or area.column % unit:
        raise InputFault("bad_start", unit=unit)
    last_row, last_column = -(-(area.row + area.height) // unit), -(-(area.column + area.width) // unit)
    row, column = area.row // unit, area.column // unit
    return Window(row, column, last_row - row, last_column - column)


def tile_overlap(card: ModelCard, options: Sweep) -> int:
    """Px that neighbouring tiles share; raises InputFault if that is no less than a tile, or not what a border needs.

    A detection's card without an overlap gets a quarter of a tile.
    """
    tile, own = card.tile_size, card.overlap or (card.tile_size // 4 if card.task == "detection" else 0)
    overlap = own if options.overlap is None else options.overlap
    if not 0 <= overlap < tile:
        raise InputFault("bad_overlap", overlap=overlap, tile=tile)
    if card.border and overlap != own:
        raise InputFault("fixed_overlap", overlap=own, border=card.border)
    return overlap


def shared(model: Model, options: Sweep) -> int:
    """Px that neighbouring answers share: the overlap of the tiles without the borders that are not answered for."""
    return max(tile_overlap(model.card, options) - 2 * unused(model), 0)


def unused(model: Model) -> int:
    """Px at each edge of a tile without an answer: the graph gives none, or the card leaves it out."""
    return model.border or model.card.border


def place_grid(model: Model, height: int, width: int, options: Sweep) -> TileGrid:
    """The answers of a model whose answer is a map over a raster, in places of ``unit_of(model)`` px."""
    unit = unit_of(model)
    side, overlap = (model.card.tile_size - 2 * unused(model)) // unit, shared(model, options) // unit
    return TileGrid(-(-height // unit), -(-width // unit), side, overlap, aligned=model.card.border > 0)


def _groups(tiles: Iterator[Tile], batch: int) -> Iterator[list[Tile]]:
    """Runs of tiles with as many that are to be run as a batch takes."""
    group: list[Tile] = []
    for tile in tiles:
        group.append(tile)
        if sum(one.pixels is not None for one in group) == batch or len(group) >= 8 * batch:
            yield group
            group = []
    if group:
        yield group


def _turned(run: Callable[..., np.ndarray], *tiles: np.ndarray) -> np.ndarray:
    """Mean of the answers for the eight ways to lay a square, which the last two axes are."""
    total = np.zeros((), np.float32)
    for turns in range(4):
        for flipped in (False, True):
            seen = [np.rot90(tile, turns, axes=(-2, -1)) for tile in tiles]
            answer = run(*(np.ascontiguousarray(one[..., ::-1] if flipped else one) for one in seen))
            if answer.ndim > 2:
                answer = np.rot90(answer[..., ::-1] if flipped else answer, -turns, axes=(-2, -1))
            total = total + answer
    return total / np.float32(8)


def side_by_side(blocks: list[Rows]) -> Iterator[Rows]:
    """Blocks of the same rows joined from left to right, a few rows at a time: the memory for that stays small."""
    for start in range(0, len(blocks[0].valid), PIECE):
        piece = slice(start, start + PIECE)
        layers = {
            name: np.concatenate([block.layers[name][..., piece, :] for block in blocks], axis=-1)
            for name in blocks[0].layers
        }
        yield Rows(blocks[0].top + start, **layers)


def rows_of(card: ModelCard, top: int, share: np.ndarray, valid: np.ndarray, probabilities: bool) -> Rows:
    """The layers of a result from blended numbers (K, rows, columns)."""
    classes = confidence = values = None
    if card.task in ("segmentation", "classification"):
        number, sure = decide(share, card)
        legend = np.array([entry.value for entry in card.classes], card.class_dtype)
        classes = np.where(valid, np.take(legend, number), card.class_dtype.type(card.nodata))
        sure = np.rint(np.clip(sure, 0, 1) * np.float32(100))
        confidence = np.where(valid, sure, NO_CONFIDENCE).astype(np.uint8)
    if classes is None or probabilities:
        values = np.where(valid, share, np.float32(np.nan))
    return Rows(top, valid, classes, confidence, values)


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield the same items, made by another thread up to ``count`` of them before they are asked for.

    An error of that thread is raised here, in its turn. When this generator is closed the thread stops after
    the item that it is making, and has ended. With a count of 0 the caller's own thread makes them.
    """
    if not count:
        yield from items
        return
    iterator: Iterator[Any] = iter(items)
    with closing(mapped(lambda _: next(iterator, _END), repeat(None), 1, count)) as made:
        for item in made:
            if item is _END:
                return
            yield item


def mapped(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, spare: int = 1
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` in the order of the items, done by so many threads.

    At most ``threads + spare`` items are in work or done and not yet taken, so memory stays bounded; the spare ones
    keep the threads at work while the caller is busy with a result.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="inference")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads + spare:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

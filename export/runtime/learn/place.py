"""The features of one raster: computed tile by tile in any order, kept in memory and on the disk, read at any pixel."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property

import numpy as np

from ..errors import Cancelled, InputFault
from ..infer.aligned import AlignedTiles, TileNumber
from ..infer.layout import Layout, Options
from ..infer.source import Pixels, Source
from ..infer.sweep import Progress
from ..messages import Message
from ..model.session import Model
from ..raster.window import Window, lattice
from ..results.vectors import KeepGoing
from .cache import FeatureCache, RecordPlaces
from .features import FeatureSet

_MEMORY = 128 * 2**20  # bytes of records that are kept
_LOOKS = 6  # every so many of the windows of ``lattice`` tells whether a raster is the same as before
_BESIDE = (".aux.xml", ".ovr")


class FeatureRaster:
    """A raster, as its features show it.

    A record is uint8 (D, n + 2 m, n + 2 m): the n x n places of ``factor`` px that a tile answers for, and m of their
    neighbours at each side, so that it can be resized alone. It is 0 where the tile holds no data at all; which pixels do,
    the raster says. Beyond the raster's edge the last places are repeated.

    Attributes:
        features: what is computed.
        layout: the whole raster as the features' graph sees it; all rows, columns and windows are of ``layout.seen``.
        shape: rows and columns of tiles.
        trouble: why records are no longer kept on the disk, once they are not.
    """

    def __init__(
        self,
        pixels: Pixels,
        features: FeatureSet,
        cache: FeatureCache | None = None,
        options: Options | None = None,
        provider: str = "cpu",
        threads: int | None = None,
    ) -> None:
        """Lay out; a sample of the pixels is read where there is a cache. A raster that holds features needs none.

        Raises:
            InputFault: the raster does not fit the features, or cannot be read.
        """
        self.features, self._pixels, self._run = features, pixels, (provider, threads)
        self.layout: Layout = features.layout(pixels, options or Options())
        self._aligned = AlignedTiles(self.layout, features.tile, features.border)
        self.shape = self._aligned.shape
        self.trouble: Message | None = None
        self._kept: OrderedDict[TileNumber, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._stamp = _stamp(pixels.files)
        factor = features.factor
        grid = self.layout.seen.scaled(factor, factor) if factor > 1 else self.layout.seen
        places = RecordPlaces(grid, features.channels, self._aligned.inner // factor, features.margin, features.exact)
        self._shape = places.shape
        self._records = cache.records(self._key(), places, pixels.name) if cache and factor > 1 else None

    @property
    def source(self) -> Source:
        """The raster."""
        return self.layout.source

    @cached_property
    def model(self) -> Model:
        """The features' graph, opened when it is first needed."""
        provider, threads = self._run
        return Model(self.features.graph, provider, self.features.card, threads)

    def tiles(self, window: Window | None = None) -> list[TileNumber]:
        """The tiles that answer for a window, by default for all, those nearest to its middle first."""
        return self._aligned.of(window)

    def window(self, tile: TileNumber) -> Window:
        """The pixels that a tile answers for, as far as the raster reaches."""
        return self._aligned.window(tile)

    def compute(
        self, tiles: Sequence[TileNumber], progress: Progress = lambda done, total: True
    ) -> Iterator[tuple[TileNumber, np.ndarray]]:
        """Yield tiles with their records: first those that are there, then the others, each as soon as it is computed.

        Closing the iterator ends its threads after the tiles in work. Several may be open at a time.

        Raises:
            InputFault: the raster cannot be read, or was changed meanwhile.
            ModelFault: the graph fails.
            Cancelled: ``progress`` returned False.
        """
        missing, done = [], 0
        for tile in tiles:
            record = self._known(tile)
            if record is None:
                missing.append(tile)
                continue
            done += 1
            yield tile, record
            if not progress(done, len(tiles)):
                raise Cancelled()
        if not missing:
            return
        with closing(self._aligned.answers(self.model, missing, self._pixels.read_ahead)) as answers:
            for tile, _, answer in answers:
                record = self._record(tile, answer)
                self._check_unchanged()
                self._keep(tile, record)
                done += 1
                yield tile, record
                if not progress(done, len(tiles)):
                    raise Cancelled()

    def record(self, tile: TileNumber) -> np.ndarray:
        """The record of a tile, computed if it is not there; raises as ``compute``."""
        with closing(self.compute([tile])) as records:  # type: ignore[type-var]  # a generator
            return next(records)[1]

    def is_there(self, tile: TileNumber) -> bool:
        """Whether the record of a tile needs no computing; it may be read from the disk."""
        return self._known(tile) is not None

    def at(self, rows: np.ndarray, columns: np.ndarray, progress: Progress = lambda done, total: True) -> np.ndarray:
        """(N, D) float32 features at the middles of (N,) pixels, bilinear between places; missing tiles are computed.

        Raises:
            IndexError: a pixel lies outside the raster.
        """
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        height, width = self.layout.seen.shape
        if ((rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)).any():
            raise IndexError("a pixel lies outside the raster")
        inner, factor, margin = self._aligned.inner, self.features.factor, self.features.margin
        owner = rows // inner * self.shape[1] + columns // inner
        found = np.empty((len(rows), self.features.channels), np.float32)
        tiles = [(int(one) // self.shape[1], int(one) % self.shape[1]) for one in np.unique(owner)]
        for (row, column), record in self.compute(tiles, progress):
            here = np.flatnonzero(owner == row * self.shape[1] + column)
            down = (rows[here] - row * inner + 0.5) / factor - 0.5 + margin
            across = (columns[here] - column * inner + 0.5) / factor - 0.5 + margin
            found[here] = between(record, down, across)
        return found

    def valid(self, window: Window) -> np.ndarray:
        """(rows, columns) of a window: True where the raster holds data, False beyond its edges."""
        valid = np.zeros((window.height, window.width), bool)
        held = self.layout.seen.whole.intersection(window)
        if held:
            top, left = held.row - window.row, held.column - window.column
            valid[top : top + held.height, left : left + held.width] = self.layout.read(held)[1]
        return valid

    def cached_bytes(self) -> int:
        """Bytes of this raster's features on the disk."""
        return self._records.size() if self._records else 0

    def delete_cache(self) -> None:
        """Remove this raster's features from the disk; raises OSError if that cannot be done."""
        if self._records:
            self._records.delete()

    def complete_cache(self, keep_going: KeepGoing = lambda: True) -> bool:
        """Make one COG of the records on the disk, once all are there; whether there is one.

        Where it cannot be written the records stay, and ``trouble`` says why. Raises Cancelled if ``keep_going`` returned False.
        """
        if self._records is None or self.trouble:
            return False
        try:
            return self._records.complete(keep_going)
        except InputFault as fault:
            self.trouble, facts = fault.message, fault.message.fields
            if fault.message.kind == "disk_full":
                fields = {"where": facts["where"], "needed": facts["needed"], "free": facts["free"]}
                self.trouble = Message("cache_disk_full", fields)
            return False

    def close(self) -> None:
        """Release the raster."""
        if self._records:
            self._records.close()
        self.layout.source.close()

    def _known(self, tile: TileNumber) -> np.ndarray | None:
        with self._lock:
            record = self._kept.get(tile)
            if record is not None:
                self._kept.move_to_end(tile)
                return record
        record = self._records.read(tile) if self._records else None
        if record is not None:
            self._remember(tile, record)
        return record

    def _remember(self, tile: TileNumber, record: np.ndarray) -> None:
        with self._lock:
            self._kept[tile] = record
            while len(self._kept) > max(_MEMORY // record.nbytes, 1):
                self._kept.popitem(last=False)

    def _keep(self, tile: TileNumber, record: np.ndarray) -> None:
        """In memory, and on the disk as long as that can be written."""
        self._remember(tile, record)
        if self._records is None or self.trouble:
            return
        try:
            self._records.write(tile, record)
        except OSError as error:
            facts = {"where": self._records.folder, "reason": error.strerror or error}
            self.trouble = Message("cache_not_written", facts)

    def _record(self, tile: TileNumber, answer: np.ndarray | None) -> np.ndarray:
        if answer is None:
            return np.zeros(self._shape, np.uint8)
        factor, margin, side = self.features.factor, self.features.margin, self._shape[-1]
        first = self.features.border // factor - margin
        places = np.nan_to_num(answer[:, first : first + side, first : first + side], nan=128)
        record = places.astype(np.uint8)
        held = self.window(tile)
        rows, columns = (-(-length // factor) + 2 * margin for length in (held.height, held.width))
        record[:, rows:] = record[:, rows - 1 : rows]
        record[:, :, columns:] = record[:, :, columns - 1 : columns]
        return record

    def _check_unchanged(self) -> None:
        if _stamp(self._pixels.files) != self._stamp:
            raise InputFault("layer_changed", where=self._pixels.name)

    def _key(self) -> str:
        """Tells the features of this raster from those of any other, and from those of this one before it was changed."""
        source, pixels = self.layout.source, self._pixels
        digest = hashlib.sha256(self.features.key.encode())
        facts = (pixels.address, self._stamp, source.bands, self.layout.scale, self.layout.seen.shape)
        digest.update(repr((facts, source.gaps, source.conversion)).encode())
        windows = lattice(*pixels.grid.shape)[::_LOOKS] if pixels.sampled else []
        for window in windows:
            values, valid = source.read(window)
            digest.update(np.ascontiguousarray(values).tobytes() + np.packbits(valid).tobytes())
        return digest.hexdigest()


def between(record: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(N, D) float32 values of (D, rows, columns) at (N,) fractions of rows and columns, bilinear; 0 is a place's middle."""
    (top, below, down), (left, right, across) = (
        (np.clip(low, 0, last), np.clip(low + 1, 0, last), (at - low).astype(np.float32))
        for at, low, last in (
            (down, np.floor(down).astype(np.int64), record.shape[1] - 1),
            (across, np.floor(across).astype(np.int64), record.shape[2] - 1),
        )
    )
    one = np.float32(1)
    upper = record[:, top, left] * (one - across) + record[:, top, right] * across
    lower = record[:, below, left] * (one - across) + record[:, below, right] * across
    return (upper * (one - down) + lower * down).T


def _stamp(files: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """Size and time of change of the files that are there, but for statistics and overviews, which QGIS writes as it shows them."""
    stamps = []
    for file in (file for file in files if not file.lower().endswith(_BESIDE)):
        try:
            state = os.stat(file)
        except (OSError, ValueError):
            continue
        stamps.append((file, state.st_size, state.st_mtime_ns))
    return tuple(stamps)

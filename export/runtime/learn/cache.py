"""Features of layers on the disk: one record a tile while they are computed, one COG of them all when they are complete.

Each layer, with its features, has a folder of its own, named by the key of both. Records are written one by one under a
hidden name and then renamed: what is there is whole, an interrupted run continues, and two processes may share a folder.
In the COG neighbouring tiles share their margins, so it is made only of features that do not depend on the tile.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, InputFault
from ..infer.aligned import TileNumber
from ..infer.source import Pixels
from ..raster.window import Window
from ..results.vectors import KeepGoing
from ..results.writing import RasterWriter, explained

_VERSION = 1
_ABOUT, _COG = "about.json", "features.tif"
_HEADER = struct.Struct("<4s16sIII")  # "GAF1", the key, row and column of the tile, CRC-32 of what follows
_MAGIC = b"GAF1"


@dataclass(frozen=True)
class RecordPlaces:
    """Where records lie: the lattice of places of a layer, and how tiles divide it.

    Attributes:
        grid: of places, a ``Lattice``.
        channels: D.
        inner: places, along a side, that a tile answers for.
        margin: places around them.
        exact: whether a place is the same whatever tile computes it.
    """

    grid: Any
    channels: int
    inner: int
    margin: int
    exact: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a record."""
        side = self.inner + 2 * self.margin
        return self.channels, side, side

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.grid.height // self.inner), -(-self.grid.width // self.inner)

    def seen(self, tile: TileNumber) -> Window:
        """The places of a record: some lie beyond the grid."""
        side = self.inner + 2 * self.margin
        return Window(tile[0] * self.inner - self.margin, tile[1] * self.inner - self.margin, side, side)

    def own(self, tile: TileNumber) -> Window:
        """The places of a tile, with those around the grid where it lies at its edge."""
        ends = []
        for number, count, size in zip(tile, self.tiles, self.grid.shape):
            first = number * self.inner - (self.margin if number == 0 else 0)
            last = size + self.margin if number == count - 1 else (number + 1) * self.inner
            ends.append((first, last - first))
        (top, height), (left, width) = ends
        return Window(top, left, height, width)


class FeatureCache:
    """A folder with the features of any number of layers."""

    def __init__(
        self,
        folder: str | Path,
        writer: type[RasterWriter] | None = None,
        opened: Callable[[Path], Pixels] | None = None,
    ) -> None:
        """Use a folder, which need not be there; with a host's ``writer`` and reader (``opened``) COGs are made."""
        self.folder = Path(folder)
        self._host = (writer, opened) if writer and opened else None

    def records(self, key: str, places: RecordPlaces, name: str) -> Records:
        """Those of a layer, called ``name``, and its features."""
        return Records(self.folder / key[:32], key, places, name, self._host)

    def size(self) -> int:
        """Bytes of all layers."""
        return _size(self.folder)

    def delete(self) -> None:
        """Remove the features of all layers, and nothing else; raises OSError if a file cannot be removed."""
        for about in self.folder.glob(f"*/{_ABOUT}"):
            _remove(about.parent)


class Records:
    """The features of one layer; nothing is written before the first record."""

    def __init__(self, folder: Path, key: str, places: RecordPlaces, name: str, host: Any) -> None:
        self.folder, self.places, self._shape, self._name, self._host = folder, places, places.shape, name, host
        self._key, self._text = hashlib.sha256(key.encode()).digest()[:16], key
        self._begun = False
        self._cog: Pixels | None = None
        self._checks: list[list[int | None]] = []  # CRC-32 of the record of each tile, None of an empty one
        self._sought = False
        self._lock = threading.Lock()

    def read(self, tile: TileNumber) -> np.ndarray | None:
        """The uint8 record of a tile; None where there is none. A damaged one, or of another layer, counts as none."""
        record = self._of_file(tile)
        return self._of_cog(tile) if record is None else record

    def _of_file(self, tile: TileNumber) -> np.ndarray | None:
        try:
            data = self._path(tile).read_bytes()
            magic, key, row, column, check = _HEADER.unpack_from(data)
            packed = memoryview(data)[_HEADER.size :]
            if (magic, key, (row, column)) != (_MAGIC, self._key, tile) or zlib.crc32(packed) != check:
                return None
            return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._shape)
        except (OSError, ValueError, struct.error, zlib.error):
            return None

    def _of_cog(self, tile: TileNumber) -> np.ndarray | None:
        with self._lock:
            if not self._sought:
                self._sought = True
                self._find_cog()
        if self._cog is None:
            return None
        check = self._checks[tile[0]][tile[1]]
        if check is None:
            return np.zeros(self._shape, np.uint8)
        record = self._read_cog(self._cog, tile)
        return record if record is not None and zlib.crc32(record) == check else None

    def _read_cog(self, cog: Pixels, tile: TileNumber) -> np.ndarray | None:
        margin = self.places.margin
        seen = self.places.seen(tile).moved(margin, margin)
        held = seen.intersection(cog.grid.whole)
        try:
            values, _ = cog.read(range(1, self._shape[0] + 1), held or seen)
        except InputFault:  # damaged: computed anew
            return None
        beyond = [(0, size - there) for size, there in zip(self._shape, values.shape)]
        return np.ascontiguousarray(np.pad(values, beyond, mode="edge"))

    def _find_cog(self) -> None:
        """Open the COG, if it is there as it was made."""
        facts = _facts(self.folder / _ABOUT)
        try:
            if not self._host or {**facts, "cog": None} != {**self._stated(), "cog": None} or not facts["cog"]:
                return
            path = self.folder / _COG
            if path.stat().st_size != facts["cog"]["bytes"]:
                return
            cog = self._host[1](path)
        except (OSError, TypeError, KeyError, InputFault):
            return
        grid, margin = self.places.grid, self.places.margin
        checks = facts["cog"].get("checks")
        fits = (
            cog.grid.shape == (grid.height + 2 * margin, grid.width + 2 * margin) and len(cog.bands) == self._shape[0]
        )
        if fits and _shape_of(checks) == self.places.tiles:
            self._cog, self._checks = cog, checks
        else:
            cog.close()

    def complete(self, keep_going: KeepGoing) -> bool:
        """Make one COG of all records, which are removed then; whether there is one now.

        Raises:
            InputFault: it cannot be written; the records stay.
            Cancelled: ``keep_going`` returned False.
        """
        rows, columns = self.places.tiles
        tiles = [(row, column) for row in range(rows) for column in range(columns)]
        files = [tile for tile in tiles if self._path(tile).exists()]
        if len(files) < len(tiles):
            return self._of_cog((0, 0)) is not None
        if not (self._host and self.places.exact) or self.places.grid.wkt_beside:  # whose CRS a GeoTIFF does not hold
            return False
        grid, margin = self.places.grid, self.places.margin
        grid = grid.crop(Window(-margin, -margin, grid.height + 2 * margin, grid.width + 2 * margin))
        made, plain = (self.folder / f"{kind}-{os.getpid()}.tif" for kind in ("made", "plain"))
        names = [f"feature {number}" for number in range(1, self._shape[0] + 1)]
        empty: set[TileNumber] = set()
        try:
            needed = 4 * self._shape[0] * grid.height * grid.width
            with explained(self.folder / _COG, needed):
                writer = self._host[0](plain, grid, "uint8", 0, names)
                try:
                    for row in range(rows):
                        strip = self._strip(row, empty)
                        if strip is None:  # a damaged record: computed anew first
                            return False
                        writer.write(self.places.own((row, 0)).row + margin, strip)
                        if not keep_going():
                            raise Cancelled()
                    writer.to_cog(made, "AVERAGE", keep_going)
                finally:
                    writer.discard()
            return self._take(made, empty, keep_going)
        except OSError as error:
            raise InputFault("write_failed", where=self.folder / _COG, reason=error.strerror or error) from error
        finally:
            for path in (made, plain):
                with suppress(OSError):
                    path.unlink()

    def _take(self, made: Path, empty: set[TileNumber], keep_going: KeepGoing) -> bool:
        """The COG takes the place of the records, once it is read again."""
        (height, width), host = self.places.tiles, self._host
        with closing(host[1](made)) as cog:
            checks = []
            for row in range(height):
                checks.append([self._check(cog, (row, column), empty) for column in range(width)])
                if not keep_going():
                    raise Cancelled()
        self.close()
        os.replace(made, self.folder / _COG)
        facts = {"bytes": (self.folder / _COG).stat().st_size, "checks": checks}
        _put(self.folder / _ABOUT, json.dumps({**self._stated(), "cog": facts}).encode())
        for folder in self.folder.glob("row*"):
            _remove(folder)
        return True

    def _check(self, cog: Pixels, tile: TileNumber, empty: set[TileNumber]) -> int | None:
        record = None if tile in empty else self._read_cog(cog, tile)
        if record is None and tile not in empty:
            raise InputFault("incomplete", where=self.folder / _COG)
        return None if record is None else zlib.crc32(record)

    def _strip(self, row: int, empty: set[TileNumber]) -> np.ndarray | None:
        """(D, rows, columns) of the COG that a row of tiles fills; tiles that hold no data are noted in ``empty``.

        Of these only the margins of their neighbours are filled, who see them.
        """
        places, margin = self.places, self.places.margin
        first, columns = places.own((row, 0)), places.tiles[1]
        strip = np.zeros((self._shape[0], first.height, places.grid.width + 2 * margin), np.uint8)
        origin = first.row, -margin
        for column in range(columns):
            own = places.own((row, column))
            record = self._of_file((row, column))
            if record is None:
                return None
            if record.any():
                _paste(strip, origin, record, places.seen((row, column)), own)
                continue
            empty.add((row, column))
            around = ((row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1))
            for tile in around:
                inside = all(0 <= number < count for number, count in zip(tile, places.tiles))
                near = self._of_file(tile) if inside else None
                if near is not None and near.any():
                    _paste(strip, origin, near, places.seen(tile), own)
        return strip

    def close(self) -> None:
        """Release the COG."""
        with self._lock:
            if self._cog:
                self._cog.close()
            self._cog, self._sought = None, False

    def write(self, tile: TileNumber, record: np.ndarray) -> None:
        """Keep a record; raises OSError if it cannot be written, and leaves nothing of it."""
        path = self._path(tile)
        packed = zlib.compress(np.ascontiguousarray(record).tobytes(), 1)
        header = _HEADER.pack(_MAGIC, self._key, *tile, zlib.crc32(packed))
        if not self._begun:
            self._begin()
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, header + packed)

    def size(self) -> int:
        """Bytes on the disk."""
        return _size(self.folder)

    def delete(self) -> None:
        """Remove all of it; raises OSError if a file cannot be removed."""
        self._begun = False
        self.close()
        _remove(self.folder)

    def _stated(self) -> dict[str, Any]:
        """Whose features these are."""
        grid = [self.places.grid.height, self.places.grid.width]
        return {"version": _VERSION, "key": self._text, "layer": self._name, "record": [*self._shape], "places": grid}

    def _begin(self) -> None:
        """State whose features these are; those of others, which cannot be used, go."""
        about, facts = self.folder / _ABOUT, self._stated()
        found = _facts(about)
        if not isinstance(found, dict) or {**found, "cog": None} != {**facts, "cog": None}:
            _remove(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            _put(about, json.dumps({**facts, "cog": None}, indent=1).encode())
        self._begun = True

    def _path(self, tile: TileNumber) -> Path:
        return self.folder / f"row{tile[0]:05}" / f"{tile[1]:05}.gaf"


def _paste(strip: np.ndarray, origin: tuple[int, int], record: np.ndarray, seen: Window, own: Window) -> None:
    """Copy the places of a record, which lie at ``seen``, as far as they are in ``own``, into a strip that begins at ``origin``."""
    both = seen.intersection(own)
    if both:
        top, left = both.row - seen.row, both.column - seen.column
        part = record[:, top : top + both.height, left : left + both.width]
        top, left = both.row - origin[0], both.column - origin[1]
        strip[:, top : top + both.height, left : left + both.width] = part


def _shape_of(table: Any) -> tuple[int, int] | None:
    """Rows and columns of a list of lists; None of anything else."""
    rows = [len(row) for row in table if isinstance(row, list)] if isinstance(table, list) else []
    return (len(rows), rows[0]) if rows and len(rows) == len(table) and len({*rows}) == 1 else None


def _facts(about: Path) -> Any:
    try:
        return json.loads(about.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _put(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(made, "wb") as file:
            file.write(data)
        os.replace(made, path)
    except OSError:
        with suppress(OSError):
            made.unlink()
        raise


def _size(folder: Path) -> int:
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(top, name)).st_size
    return total


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)

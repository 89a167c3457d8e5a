"""Features of layers on the disk: one record a tile while they are computed, one COG of them all when they are complete.

Each layer, with its features, has a folder of its own, named by the key of both. Records are written one by one under a
hidden name and then renamed: what is there is whole, an interrupted run continues, and two processes may share a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..infer.aligned import TileNumber

_VERSION = 1
_ABOUT, _COG = "about.json", "features.tif"
_HEADER = struct.Struct("<4s16sIII")  # "GAF1", the key, row and column of the tile, CRC-32 of what follows
_MAGIC = b"GAF1"


class FeatureCache:
    """A folder with the features of any number of layers."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def records(self, key: str, shape: tuple[int, int, int], name: str) -> Records:
        """Those of a layer, called ``name``, and its features; ``shape`` is that of a record, (D, rows, columns)."""
        return Records(self.folder / key[:32], key, shape, name)

    def size(self) -> int:
        """Bytes of all layers."""
        return _size(self.folder)

    def delete(self) -> None:
        """Remove the features of all layers, and nothing else; raises OSError if a file cannot be removed."""
        for about in self.folder.glob(f"*/{_ABOUT}"):
            _remove(about.parent)


class Records:
    """The features of one layer; nothing is written before the first record."""

    def __init__(self, folder: Path, key: str, shape: tuple[int, int, int], name: str) -> None:
        self.folder, self._shape, self._name = folder, shape, name
        self._key, self._text = hashlib.sha256(key.encode()).digest()[:16], key
        self._begun = False

    def read(self, tile: TileNumber) -> np.ndarray | None:
        """The uint8 record of a tile; None where there is none. A damaged one, or of another layer, counts as none."""
        try:
            data = self._path(tile).read_bytes()
            magic, key, row, column, check = _HEADER.unpack_from(data)
            packed = memoryview(data)[_HEADER.size :]
            if (magic, key, (row, column)) != (_MAGIC, self._key, tile) or zlib.crc32(packed) != check:
                return None
            return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._shape)
        except (OSError, ValueError, struct.error, zlib.error):
            return None

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
        _remove(self.folder)

    def _begin(self) -> None:
        """State whose features these are; those of others, which cannot be used, go."""
        about = self.folder / _ABOUT
        facts = {"version": _VERSION, "key": self._text, "layer": self._name, "record": list(self._shape)}
        if _facts(about) != facts:
            _remove(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            _put(about, json.dumps(facts, indent=1).encode())
        self._begun = True

    def _path(self, tile: TileNumber) -> Path:
        return self.folder / f"row{tile[0]:05}" / f"{tile[1]:05}.gaf"


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

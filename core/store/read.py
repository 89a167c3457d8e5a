"""The chip store: fixed-size chips on disk, indexed by place and date.

    store.json               bands, unit, pixel size, classes, statistics, provenance
    index.parquet            GeoParquet 1.1, one row per image; images of a place together, by date
    boxes.parquet            objects: image (row of the index), xmin, ymin, xmax, ymax (px), label
    shards/N/chips.npy       (images, bands, rows, cols), the imagery's own data type
    shards/N/valid.npy       (images, rows, cols) bool, only where some pixel of the shard holds no data
    shards/N/labels.npy      (masks, rows, cols) uint8 class numbers, 255 = not labelled
    SHA256SUMS               of the files above, as sha256sum reads it

The index says where a chip lies: ``shard``, ``chip`` (its number in chips.npy and valid.npy) and ``mask``
(its number in labels.npy, -1 without). ``core.prepare`` makes stores.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import UserError
from export.runtime.raster.legend import LandClass

FORMAT = 2
UNLABELLED = 255
DTYPES = ("uint8", "uint16", "int16", "float32")
SPLITS = ("train", "val", "test", "margin")  # margin: too close to another side to be used
COLUMNS = "place place_number datetime lon lat split label shard chip mask row column source".split()  # noqa: SIM905
_OPEN_FILES = 256  # memory-mapped shards that stay open


@dataclass(frozen=True)
class StoreInfo:
    """What holds for all chips of a store.

    Attributes:
        dtype: of the pixels, one of ``DTYPES``.
        unit: what a pixel value means.
        gsd: pixel size in metres (at the equator for geographic grids), None where unknown.
        chip_size: rows = columns of a chip, px.
        classes: the legend; entry i is class number i in labels.npy, boxes.parquet and the index.
        background: number of the class that never names a chip (open sea, say), or None.
        provenance: origin of the chips, for people.
        license: of the imagery, as its source states it.
        mean, std: per band, of the pixels with data of the training places.
        value_range: lowest and highest value there.
    """

    bands: tuple[str, ...]
    dtype: str
    unit: str
    gsd: float | None
    chip_size: int
    classes: tuple[LandClass, ...] = ()
    background: int | None = None
    provenance: str = ""
    license: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    value_range: tuple[float, float] = (0.0, 0.0)
    format: int = FORMAT

    @classmethod
    def read(cls, path: Path) -> StoreInfo:
        """Read store.json."""
        fields = json.loads(path.read_text())
        for name in ("bands", "mean", "std", "value_range"):
            fields[name] = tuple(fields[name])
        fields["classes"] = tuple(LandClass(**entry) for entry in fields["classes"])
        return cls(**fields)


class ChipStore:
    """A finished store, read lazily: opening ten million chips takes milliseconds."""

    def __init__(self, path: str | Path) -> None:
        """Open a folder.

        Raises:
            UserError: it is no chip store, is corrupt, or was made by another version.
        """
        self.path = Path(path)
        if not (self.path / "store.json").is_file():
            raise UserError(f"{path}: no chip store there; make one with 'python -m core.prepare'")
        try:
            stated = json.loads((self.path / "store.json").read_text()).get("format", 1)
            if stated != FORMAT:
                raise UserError(
                    f"{path}: is a chip store of format {stated}, this version reads {FORMAT}; make it again with --overwrite"
                )
            self.info = StoreInfo.read(self.path / "store.json")
            self._index = pq.ParquetFile(self.path / "index.parquet", read_dictionary=["split"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise UserError(f"{path}: damaged chip store ({error}); make it again with --overwrite") from error
        self._columns: dict[str, np.ndarray] = {}
        # Chips are prefetched by threads, but Arrow's file and Python 3.11's parser, which reads array headers, are
        # not thread-safe.
        self._reading = threading.Lock()
        # Each memory map holds a file handle, and a store may have more shards than allowed handles.
        self._array: Callable[[int, str], np.ndarray | None] = lru_cache(_OPEN_FILES)(self._map)

    def __reduce__(self) -> tuple:
        """Reopen in another process, instead of pickling memory maps."""
        return ChipStore, (self.path,)

    def __len__(self) -> int:
        """Number of images."""
        return self._index.metadata.num_rows

    def column(self, name: str) -> np.ndarray:
        """One column of the index, (images,); for ``split``, indices into ``SPLITS``."""
        with self._reading:
            if name not in self._columns:
                values = self._index.read(columns=[name]).column(0).combine_chunks()
                if name == "split":
                    names = np.array([SPLITS.index(side) for side in values.dictionary.to_pylist()], np.int8)
                    self._columns[name] = names[values.indices.to_numpy()]
                else:
                    self._columns[name] = values.to_numpy(zero_copy_only=False)
            return self._columns[name]

    @cached_property
    def index(self) -> pd.DataFrame:
        """The index as a table, for small stores."""
        return self._index.read(columns=COLUMNS).to_pandas().astype({"split": str})

    @cached_property
    def places(self) -> pd.DataFrame:
        """One row per place: lon, lat, split, label, and its images: rows ``first`` to ``first + count - 1``."""
        number = self.column("place_number")
        first = np.flatnonzero(np.diff(number, prepend=-1))
        side = pd.Categorical.from_codes(self.column("split")[first], SPLITS)
        fields = {name: self.column(name)[first] for name in ("lon", "lat", "label")}
        count = np.diff(first, append=len(number))
        return pd.DataFrame({**fields, "split": side, "first": first, "count": count})

    def places_of(self, split: str) -> pd.DataFrame:
        """The places of one side of the split, or a ``UserError`` if there are none."""
        places = self.places[self.places["split"] == split]
        if places.empty:
            raise UserError(f"{self.path}: no place in the '{split}' split; use more imagery or smaller chips")
        return places

    def raw(self, rows: np.ndarray) -> np.ndarray:
        """Chips of these index rows as stored, (N, bands, size, size); pixels without data are 0."""
        return self._gather("chips", rows, "chip", 0, self.info.dtype, len(self.info.bands))

    def valid(self, rows: np.ndarray) -> np.ndarray:
        """Which pixels of these index rows hold data, (N, size, size) bool."""
        return self._gather("valid", rows, "chip", True, "bool")

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Chips of these index rows as (N, bands, size, size) float32; pixels without data are NaN."""
        pixels = self.raw(rows).astype(np.float32)
        valid = self.valid(rows)
        if not valid.all():
            np.copyto(pixels, np.nan, where=~valid[:, None])
        return pixels

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Class numbers of these index rows, (N, size, size) uint8; a ``UserError`` if the store has no label masks."""
        if not (self.column("mask") >= 0).any():
            raise UserError(f"{self.path}: has no label masks; make it with --labels")
        return self._gather("labels", rows, "mask", UNLABELLED, "uint8")

    def _gather(self, name: str, rows: np.ndarray, column: str, fill: int, dtype: str, *bands: int) -> np.ndarray:
        """Entries of a per-shard array by their numbers in ``column``; ``fill`` for -1, or without an array."""
        out = np.zeros((len(rows), *bands, self.info.chip_size, self.info.chip_size), dtype)
        if fill:
            out.fill(fill)
        shards, numbers = self.column("shard")[rows], self.column(column)[rows]
        for shard in np.unique(shards):
            array = self._array(int(shard), name)
            if array is None:
                continue
            chosen = np.flatnonzero((shards == shard) & (numbers >= 0))
            try:
                out[chosen] = array[numbers[chosen]]
            except (IndexError, ValueError) as error:
                raise UserError(
                    f"{self.path}: shard {shard} does not fit the index ({error}); see 'core.prepare check'"
                ) from error
        return out

    def _map(self, shard: int, name: str) -> np.ndarray | None:
        path = self.path / "shards" / f"{shard:05}" / f"{name}.npy"
        if name != "chips" and not path.exists():
            return None
        try:
            with self._reading:
                return np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: damaged ({error}); see 'python -m core.prepare check {self.path}'") from error


def images_of(places: pd.DataFrame) -> list[np.ndarray]:
    """Rows of the index by date, one array per place."""
    return [np.arange(first, first + count) for first, count in zip(places["first"], places["count"])]

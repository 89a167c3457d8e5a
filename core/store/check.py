"""``core.prepare check STORE``: whether a finished store is sound, or what is wrong with it and where.

The index is read a column or a batch at a time and DuckDB spills to disk, so that ten million images need no
more memory than a training run that opens the store.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from core.errors import UserError
from core.store.index import sha256
from core.store.read import COLUMNS, FORMAT, SPLITS, UNLABELLED, StoreInfo
from core.store.spill import connect, parquet

DTYPES = ("uint8", "uint16", "int16", "float32")
FIRST_PHOTOGRAPH = np.datetime64("1826-01-01")
_UNLISTED = ("SHA256SUMS", "made.json", "info.png")  # no checksum can stand for these
_READ_BYTES = 8 << 20  # of labels and valid pixels at a time; counting takes eight times as much
_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")])  # WKB, little-endian
_NO_PARQUET = (OSError, pa.ArrowException, duckdb.Error)
_BOXES = ("image", "xmin", "ymin", "xmax", "ymax", "label")


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


# What the columns of the index hold; the others hold whole numbers.
_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    **dict.fromkeys(("place", "split", "source"), _is_text),
    **dict.fromkeys(("lon", "lat"), pa.types.is_floating),
    "datetime": pa.types.is_timestamp,
    "bbox": pa.types.is_struct,
    "geometry": pa.types.is_binary,
}


@dataclass
class Findings:
    """What a check found: problems, one sentence each, and what is worth knowing besides."""

    problems: list[str] = field(default_factory=list)
    images: int = 0
    places: int = 0
    shards: int = 0
    undated: int = 0
    unlocated: int = 0
    missing: set[str] = field(default_factory=set)

    def add(self, file: object, what: str) -> None:
        """Note a problem of a file, named as in the store."""
        self.problems.append(f"{file}: {what}")

    def add_missing(self, file: str, what: str = "is missing") -> None:
        """Note once that a file is not there."""
        if file not in self.missing:
            self.missing.add(file)
            self.add(file, what)

    @contextmanager
    def readable(self, file: str, *errors: type[Exception]) -> Iterator[None]:
        """Note it as a problem when reading a file ends in one of these errors."""
        try:
            yield
        except errors as error:
            self.add(file, f"is damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})")


@dataclass(frozen=True)
class _Shard:
    """Lengths of a shard's arrays; ``masks`` is 0 without labels, None where they cannot be read."""

    chips: int
    masks: int | None


def add_parser(sources: Any) -> argparse.ArgumentParser:
    """Add ``check`` to the command line."""
    parser = sources.add_parser(
        "check",
        help="whether a store is sound",
        description="Check a store: checksums, shards, index, splits, dates, coordinates, labels and boxes.",
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the chip store")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Print every problem of a store, or that it is sound.

    Raises:
        UserError: there is no store, or it has problems.
    """
    found = inspect(arguments.store)
    for problem in found.problems:
        print(problem)
    if found.undated:
        print(f"without a date: {found.undated} of {found.images} images")
    if found.unlocated:
        print(f"without coordinates: {found.unlocated} of {found.images} images")
    if found.problems:
        count = len(found.problems)
        raise UserError(
            f"{arguments.store}: {count} problem{'s' if count > 1 else ''}, listed above; copy the files named there again "
            "from where the store came from, or make it again with --overwrite"
        )
    print(f"{found.images} images, {found.places} places, {found.shards} shards: sound")


def check(store_path: str | Path) -> list[str]:
    """Problems of a store, one sentence each; none when it is sound.

    Raises:
        UserError: there is no store.
    """
    return inspect(Path(store_path)).problems


def inspect(store: Path) -> Findings:
    """Check everything that can be checked of a store.

    Raises:
        UserError: there is no store.
    """
    if not any((store / name).is_file() for name in ("store.json", "index.parquet", "SHA256SUMS")):
        raise UserError(f"{store}: no chip store there; make one with 'python -m core.prepare'")
    found = Findings()
    _check_files(store, found)
    info = None
    with found.readable("store.json", OSError, ValueError, KeyError, TypeError, AttributeError):
        info = _read_info(store, found)
    if info is None:
        return found
    shards = _check_shards(store, info, found)
    found.shards = len(shards)
    with found.readable("index.parquet", *_NO_PARQUET):
        _Index(store, info, found).check(shards)
    if (store / "boxes.parquet").exists():
        with found.readable("boxes.parquet", *_NO_PARQUET):
            _check_boxes(store, info, found)
    return found


def _check_files(store: Path, found: Findings) -> None:
    """Files against their list and their checksums."""
    listed = _read_sums(store, found)
    sums = listed or {}
    there = {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}
    for name in sorted(set(sums) - there):
        found.add_missing(name)
    if listed is not None:
        for name in sorted(there - set(sums) - set(_UNLISTED)):
            found.add(name, "does not belong to the store: SHA256SUMS does not list it")
    present = sorted(set(sums) & there)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda name: _digest(store / name), present)
        for name, digest in zip(
            present, tqdm(digests, total=len(present), desc="checksums", unit="file", disable=None)
        ):
            if digest != sums[name]:
                found.add(name, "is damaged: its checksum is not that of SHA256SUMS")


def _read_sums(store: Path, found: Findings) -> dict[str, str] | None:
    if not (store / "SHA256SUMS").exists():
        found.add("SHA256SUMS", "is missing, so nothing shows whether the other files are whole")
        return None
    sums: dict[str, str] = {}
    with found.readable("SHA256SUMS", OSError, ValueError):
        for number, line in enumerate((store / "SHA256SUMS").read_text().splitlines(), start=1):
            digest, _, name = line.partition("  ")
            if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                found.add("SHA256SUMS", f"line {number} is no checksum of a file of the store")
            else:
                sums[name] = digest
    return sums


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        return f"unreadable ({error})"


def _read_info(store: Path, found: Findings) -> StoreInfo | None:
    """store.json; None where no more can be checked without it."""
    stated = json.loads((store / "store.json").read_text()).get("format", 1)
    if stated != FORMAT:
        found.add("store.json", f"is of format {stated}, this version checks format {FORMAT}")
        return None
    info = StoreInfo.read(store / "store.json")
    if not isinstance(info.chip_size, int) or info.chip_size < 1:
        found.add("store.json", f"chip_size {info.chip_size} is no number of pixels")
        return None
    if info.dtype not in DTYPES:
        found.add("store.json", f"dtype {info.dtype} is none of {', '.join(DTYPES)}")
        return None
    for problem in _problems_of(info):
        found.add("store.json", problem)
    return info


def _problems_of(info: StoreInfo) -> Iterator[str]:
    bands = len(info.bands)
    if not bands or not all(isinstance(name, str) for name in info.bands):
        yield f"bands {info.bands} are no names"
    if info.gsd is not None and not (_is_number(info.gsd) and info.gsd > 0):
        yield f"gsd {info.gsd} is no pixel size"
    if not _are_numbers(info.mean, bands):
        yield f"mean {info.mean} is not one finite number for each of {bands} bands"
    if not _are_numbers(info.std, bands) or any(value < 0 for value in info.std):
        yield f"std {info.std} is not one finite number, at least 0, a band"
    if not _are_numbers(info.value_range, 2) or info.value_range[0] > info.value_range[1]:
        yield f"value_range {info.value_range} is not a lowest and a highest value"
    if info.background is not None and info.background not in range(len(info.classes)):
        yield f"background {info.background} is none of the {len(info.classes)} classes"
    if len({entry.value for entry in info.classes}) < len(info.classes):
        yield "two classes have the same value"
    for entry in info.classes:
        if not entry.name or len(entry.color) != 6 or set(entry.color) - set("0123456789abcdefABCDEF"):
            yield f"class {entry.value} ('{entry.name}', '{entry.color}') lacks a name or a colour as RRGGBB"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _are_numbers(values: tuple, count: int) -> bool:
    return len(values) == count and all(_is_number(value) for value in values)


def _check_shards(store: Path, info: StoreInfo, found: Findings) -> dict[int, _Shard]:
    """Arrays of each shard by its number; those that cannot be read are left out."""
    shards = {}
    size = info.chip_size
    folders = sorted(path for path in (store / "shards").glob("*") if path.is_dir())
    for folder in tqdm(folders, desc="shards", unit="shard", disable=None):
        if not folder.name.isdecimal():
            found.add(f"shards/{folder.name}", "is no shard: their names are numbers")
            continue
        chips = _array(folder, "chips", (len(info.bands), size, size), info.dtype, found)
        valid = _array(folder, "valid", (size, size), "bool", found)
        labels = _array(folder, "labels", (size, size), "uint8", found)
        name = f"shards/{folder.name}"
        if chips is None:
            if not (folder / "chips.npy").exists():
                found.add_missing(f"{name}/chips.npy")
            continue
        if valid is not None and len(valid) != len(chips):
            found.add(f"{name}/valid.npy", f"holds {len(valid)} chips, chips.npy holds {len(chips)}")
        if valid is not None and max(part.view(np.uint8).max() for part in _parts(valid)) > 1:
            found.add(f"{name}/valid.npy", "holds other values than true and false")
        if labels is not None:
            _check_labels(f"{name}/labels.npy", labels, len(info.classes), found)
        unknown = None if (folder / "labels.npy").exists() else 0
        shards[int(folder.name)] = _Shard(len(chips), unknown if labels is None else len(labels))
    return shards


def _array(folder: Path, name: str, shape: tuple[int, ...], dtype: str, found: Findings) -> np.ndarray | None:
    """An array of a shard; None where there is none, or it is not what it must be."""
    file = f"shards/{folder.name}/{name}.npy"
    if not (folder / f"{name}.npy").exists():
        return None
    array = None
    with found.readable(file, OSError, ValueError, EOFError):
        array = np.load(folder / f"{name}.npy", mmap_mode="r")
    if array is None:
        return None
    if array.dtype != dtype or array.shape[1:] != shape or not len(array):
        stated = " x ".join(map(str, ("images", *shape)))
        found.add(file, f"holds {array.dtype} {array.shape}, not {dtype} {stated} as store.json says")
        return None
    return array


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _READ_BYTES // array[0].nbytes)
    return (np.asarray(array[first : first + step]) for first in range(0, len(array), step))


def _check_labels(file: str, labels: np.ndarray, classes: int, found: Findings) -> None:
    seen = np.zeros(256, bool)
    for part in _parts(labels):
        seen |= np.bincount(part.ravel(), minlength=256) > 0
    unknown = np.flatnonzero(seen[:UNLABELLED][classes:]) + classes
    if len(unknown):
        found.add(file, f"holds the class number {unknown[0]}, but the legend has {classes} classes")


class _Index:
    """Checks of index.parquet."""

    def __init__(self, store: Path, info: StoreInfo, found: Findings) -> None:
        self.path, self.info, self.found = store / "index.parquet", info, found
        self.file = pq.ParquetFile(self.path)

    def check(self, shards: dict[int, _Shard]) -> None:
        """Note every problem."""
        if not self._has_columns():
            return
        if b"geo" not in (self.file.schema_arrow.metadata or {}):
            self._add("has no GeoParquet metadata")
        self.found.images = self.file.metadata.num_rows
        if not self.found.images:
            self._add("has no rows")
            return
        with tempfile.TemporaryDirectory() as spill, connect(Path(spill)) as db:
            rows = parquet(self.path, "file_row_number=true")
            db.execute(f"CREATE VIEW rows AS SELECT *, file_row_number AS n FROM {rows}")
            if not self._has_nulls(db):
                self._check_places(db)
                self._check_shards(db, shards)
        number = self._column("place_number")
        self._check_order(number)
        self._check_labels()
        lon, lat = self._column("lon"), self._column("lat")
        self._check_coordinates(lon, lat)
        self._check_geometry(lon, lat)

    def _has_columns(self) -> bool:
        schema = self.file.schema_arrow
        for name in [*COLUMNS, "bbox", "geometry"]:
            if name not in schema.names:
                self._add(f"has no column '{name}'")
                return False
            if not _KINDS.get(name, pa.types.is_integer)(schema.field(name).type):
                self._add(f"column '{name}' is of type {schema.field(name).type}")
                return False
        return True

    def _add(self, what: str) -> None:
        self.found.add("index.parquet", what)

    def _column(self, name: str) -> np.ndarray:
        return self.file.read(columns=[name]).column(0).to_numpy()

    def _rows(self, wrong: np.ndarray, what: str) -> None:
        """Note rows (N,) bool that break a rule, with the first of them by name."""
        rows = np.flatnonzero(wrong)
        if len(rows):
            first = int(rows[0])
            more = f" ({len(rows)} rows)" if len(rows) > 1 else ""
            self._add(f"row {first} (place {self._place(first)}) {what}{more}")

    def _place(self, row: int) -> str:
        for group in range(self.file.num_row_groups):
            count = self.file.metadata.row_group(group).num_rows
            if row < count:
                return str(self.file.read_row_group(group, columns=["place"]).column(0)[row])
            row -= count
        raise IndexError(row)

    def _has_nulls(self, db: duckdb.DuckDBPyConnection) -> bool:
        names = [name for name in COLUMNS if name != "datetime"]
        counts = db.execute(
            f'SELECT {", ".join(f"""count(*) - count("{name}")""" for name in names)} FROM rows'
        ).fetchone()
        empty = [f"column '{name}' is empty in {count} rows" for name, count in zip(names, counts or ()) if count]
        for what in empty:
            self._add(what)
        return bool(empty)

    def _check_places(self, db: duckdb.DuckDBPyConnection) -> None:
        """Sides and numbers of places; their rows lie together."""
        known = ", ".join(f"'{side}'" for side in SPLITS)
        for side, count in db.execute(
            f"SELECT split, count(*) FROM rows WHERE split NOT IN ({known}) GROUP BY split ORDER BY split"
        ).fetchall():
            self._add(f"split '{side}' of {count} rows is none of {', '.join(SPLITS)}")
        db.execute(
            """CREATE TEMP TABLE places AS SELECT place, min(place_number) AS number, max(place_number) AS other,
            min(split) AS side, max(split) AS other_side, max(n) - min(n) + 1 - count(*) AS gaps FROM rows GROUP BY place"""
        )
        (self.found.places,) = db.execute("SELECT count(*) FROM places").fetchone() or (0,)
        for rule, what in (
            ("side <> other_side", "is on two sides of the split: {side} and {other_side}"),
            ("number <> other", "has two numbers: {number} and {other}"),
            ("gaps > 0", "has images in rows that do not lie together"),
        ):
            broken = db.execute(f"SELECT * FROM places WHERE {rule} ORDER BY place LIMIT 1").fetchone()
            if broken:
                (count,) = db.execute(f"SELECT count(*) FROM places WHERE {rule}").fetchone() or (0,)
                fields = dict(zip(("place", "number", "other", "side", "other_side"), broken))
                more = f" ({count} places)" if count > 1 else ""
                self._add(f"place {fields['place']} {what.format(**fields)}{more}")
        shared = db.execute(
            "SELECT number, min(place), max(place) FROM places GROUP BY number HAVING count(*) > 1 ORDER BY number LIMIT 1"
        ).fetchone()
        if shared:
            self._add(f"two places have the number {shared[0]}: {shared[1]} and {shared[2]}")

    def _check_shards(self, db: duckdb.DuckDBPyConnection, shards: dict[int, _Shard]) -> None:
        """Every chip of every shard exactly once, and every mask at least once."""
        rows = db.execute(
            """SELECT shard, count(*), count(DISTINCT chip), min(chip), max(chip), min(mask),
            max(mask), count(DISTINCT mask) FILTER (mask >= 0) FROM rows GROUP BY shard ORDER BY shard"""
        ).fetchall()
        for number, *counts in rows:
            name = f"shards/{number:05}"
            if number in shards:
                self._check_shard(db, number, shards[number], counts)
            elif not (self.path.parent / name / "chips.npy").exists():
                self.found.add_missing(f"{name}/chips.npy", f"is missing, but the index has {counts[0]} images there")
        for number in sorted(set(shards) - {row[0] for row in rows}):
            self.found.add(f"shards/{number:05}", "the index names none of its chips")

    def _check_shard(self, db: duckdb.DuckDBPyConnection, number: int, shard: _Shard, counts: list[int]) -> None:
        """The numbers of chips and masks in the index, against the lengths of the arrays."""
        name = f"shards/{number:05}"
        rows, chips, lowest, highest, mask_from, mask_to, masks = counts
        if lowest < 0 or highest >= shard.chips:
            wrong = lowest if lowest < 0 else highest
            self.found.add(name, f"the index names its chip {wrong}, but it holds {shard.chips}")
        if rows != chips:
            twice = self._twice(db, number)
            self.found.add(name, f"the index names {rows - chips} of its chips more than once{twice}")
        elif chips != shard.chips:
            self.found.add(name, f"holds {shard.chips} chips, the index names {chips} of them")
        if shard.masks is None:
            return
        if mask_from < -1 or mask_to >= shard.masks:
            wrong = mask_from if mask_from < -1 else mask_to
            self.found.add(f"{name}/labels.npy", f"the index names its mask {wrong}, but it holds {shard.masks}")
        elif masks != shard.masks:
            self.found.add(f"{name}/labels.npy", f"holds {shard.masks} masks, the index names {masks} of them")

    def _twice(self, db: duckdb.DuckDBPyConnection, shard: int) -> str:
        found = db.execute(
            "SELECT chip, min(n), max(n) FROM rows WHERE shard = ? GROUP BY chip HAVING count(*) > 1 ORDER BY chip LIMIT 1",
            [shard],
        ).fetchone()
        return f": chip {found[0]} in the rows {found[1]} and {found[2]}" if found else ""

    def _check_order(self, number: np.ndarray) -> None:
        """Places are numbered in the order of the rows; images of a place lie by date, those without one last."""
        date = self._column("datetime").astype("datetime64[us]")
        missing = np.isnat(date)
        self.found.undated = int(missing.sum())
        if number[0] != 0:
            self._add(f"the first place has the number {number[0]}, not 0")
        step = np.diff(number)
        self._rows(np.concatenate([[False], (step < 0) | (step > 1)]), "does not go on with the numbers of the places")
        earlier = (date[1:] < date[:-1]) | (missing[:-1] & ~missing[1:])  # NaT compares as false
        self._rows(
            np.concatenate([[False], (step == 0) & earlier]), "does not lie by date among the images of its place"
        )
        tomorrow = np.datetime64((datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None), "us")
        for wrong, what in ((date < FIRST_PHOTOGRAPH, "before any photograph"), (date > tomorrow, "in the future")):
            first = date[np.argmax(wrong)].astype("datetime64[s]")
            self._rows(wrong, f"has the date {first}, {what}")

    def _check_labels(self) -> None:
        label, count = self._column("label"), len(self.info.classes)
        wrong = (label < -1) | (label >= count)
        first = label[np.argmax(wrong)]
        self._rows(wrong, f"has the label {first}, but the legend has {count} classes")

    def _check_coordinates(self, lon: np.ndarray, lat: np.ndarray) -> None:
        self.found.unlocated = int((np.isnan(lon) | np.isnan(lat)).sum())
        for name, values, limit in (("lon", lon, 180), ("lat", lat, 90)):
            wrong = np.abs(values) > limit  # false for NaN: unknown
            self._rows(wrong, f"has {name} {values[np.argmax(wrong)]:g}, not within -{limit} and {limit}")
        self._rows(np.isnan(lon) != np.isnan(lat), "has only one of lon and lat")

    def _check_geometry(self, lon: np.ndarray, lat: np.ndarray) -> None:
        """Points and bounding boxes say the same as lon and lat."""
        agree = np.ones(len(lon), bool)
        first = 0
        for batch in self.file.iter_batches(100_000, columns=["geometry", "bbox"]):
            rows = slice(first, first + len(batch))
            agree[rows] = _points_agree(batch, lon[rows], lat[rows])
            first += len(batch)
        self._rows(~agree, "has a geometry or a bbox that is not its lon and lat")


def _points_agree(batch: pa.RecordBatch, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Which rows (N,) have the point and the bounding box that lon and lat ask for; neither where unknown."""
    known = np.isfinite(lon) & np.isfinite(lat)
    geometry = batch.column("geometry").to_pylist()
    agree = np.array([(point is not None and len(point) == _POINT.itemsize) for point in geometry]) == known
    both = known & agree
    points = np.frombuffer(b"".join(point for point, use in zip(geometry, both) if use), _POINT)
    agree[both] = (
        (points["order"] == 1) & (points["type"] == 1) & (points["x"] == lon[both]) & (points["y"] == lat[both])
    )
    box = batch.column("bbox").flatten()
    for side, expected in zip(box, (lon, lat, lon, lat)):
        values = side.to_numpy(zero_copy_only=False).astype(np.float64)
        agree &= np.where(known, values == expected, np.isnan(values))
    return agree


def _check_boxes(store: Path, info: StoreInfo, found: Findings) -> None:
    """Boxes lie inside chips that are there, and have a class of the legend."""
    first = 0
    broken: dict[str, tuple[int, int]] = {}
    file = pq.ParquetFile(store / "boxes.parquet")
    if not set(_BOXES) <= set(file.schema_arrow.names):
        found.add("boxes.parquet", f"does not have the columns {', '.join(_BOXES)}")
        return
    for batch in file.iter_batches(100_000, columns=_BOXES):
        image, xmin, ymin, xmax, ymax, label = (batch.column(name).to_numpy(zero_copy_only=False) for name in _BOXES)
        inside = (xmin >= 0) & (xmin < xmax) & (xmax <= info.chip_size)
        inside &= (ymin >= 0) & (ymin < ymax) & (ymax <= info.chip_size)
        for wrong, what in (
            (
                ~((image >= 0) & (image < found.images)),
                f"is of an image that is no row of the index (0 to {found.images - 1})",
            ),
            (~inside, f"does not lie inside a chip of {info.chip_size} px"),
            (
                ~((label >= 0) & (label < len(info.classes))),
                f"has no class of the legend (0 to {len(info.classes) - 1})",
            ),
        ):
            if wrong.any():
                row, count = broken.get(what, (first + int(np.argmax(wrong)), 0))
                broken[what] = row, count + int(wrong.sum())
        first += len(batch)
    for what, (row, count) in broken.items():
        found.add("boxes.parquet", f"row {row} {what}" + (f" ({count} rows)" if count > 1 else ""))

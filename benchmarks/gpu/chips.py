"""Chip stores without rasterio and DuckDB: made from arrays, and packed as pictures to travel.

``core.prepare`` makes stores from imagery; here are only its files, for machines that have none of its packages.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from core.files import sha256, write_json
from core.store.read import LandClass, StoreInfo

ACROSS = 64  # chips side by side in a picture; WebP allows 16,383 px
_COUNTED = ("label", "shard", "chip", "mask", "row", "column")
CLASSES = (LandClass(1, "forest", "05450A"), LandClass(2, "field", "C24F44"), LandClass(3, "water", "1C0DFF"))


def write_store(
    out: Path,
    chips: np.ndarray,
    splits: Sequence[str],
    labels: np.ndarray,
    classes: tuple[LandClass, ...],
    dates: int = 1,
    masks: np.ndarray | None = None,
) -> Path:
    """Write a store of one shard.

    Args:
        out: its folder.
        chips: (N, 3, size, size) uint8, the ``dates`` images of a place one after the other.
        splits: (N / dates,) side of each place.
        labels: (N / dates,) class number of each place.
        classes: the legend.
        dates: images of a place, a month apart.
        masks: (N, size, size) uint8 class numbers, or None.
    """
    count, bands, size, _ = chips.shape
    place = np.arange(count) // dates
    shard = out / "shards" / "00000"
    shard.mkdir(parents=True)
    np.save(shard / "chips.npy", chips)
    numbers = {"label": labels[place], "chip": np.arange(count), "mask": np.full(count, -1)}
    if masks is not None:
        np.save(shard / "labels.npy", masks)
        numbers["mask"] = np.arange(count)
    months = np.array("2024-01", "datetime64[M]") + np.arange(count) % dates
    columns = {
        "place": [f"place {number:07}" for number in place],
        "place_number": pa.array(place, pa.int32()),
        "datetime": pa.array(months.astype("datetime64[us]"), pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "lon": place * 7.123456 % 360 - 180,  # all over the Earth, none twice
        "lat": np.degrees(np.arcsin(place * 0.6180339887 % 1 * 2 - 1)),
        "split": pa.array([splits[number] for number in place]).dictionary_encode(),
        **{name: pa.array(numbers.get(name, np.zeros(count)), pa.int32(), safe=False) for name in _COUNTED},
        "source": [f"generated/{number}" for number in range(count)],
    }
    pq.write_table(pa.table(columns), out / "index.parquet")
    shown = chips[: 10 * ACROSS].transpose(1, 0, 2, 3).reshape(bands, -1)
    info = StoreInfo(
        bands=("red", "green", "blue"), dtype="uint8", unit="8-bit colour, 0 to 255", gsd=10.0, chip_size=size, classes=classes,
        provenance="generated", license="CC0-1.0", mean=tuple(shown.mean(axis=1).tolist()),
        std=tuple(shown.std(axis=1).tolist()), value_range=(0.0, 255.0),
    )  # fmt: skip
    write_json(out / "store.json", asdict(info))
    _write_sums(out)
    return out


def world(out: Path, places: int, size: int, dates: int = 2, seed: int = 0) -> Path:
    """A generated store that can be learned: places of three kinds of land, each with its colour, noise and a mask."""
    rng = np.random.default_rng(seed)
    colours = np.array([[60, 120, 40], [180, 150, 90], [40, 60, 160]], np.int16)
    kinds = rng.integers(0, len(colours), places)
    chips = np.empty((places * dates, 3, size, size), np.uint8)
    masks = np.empty((places * dates, size, size), np.uint8)
    halves = np.arange(size) < size // 2
    for number, kind in enumerate(kinds):
        other = rng.integers(0, len(colours))
        classes = np.broadcast_to(np.where(halves, kind, other)[:, None], (size, size))  # the left and the right
        for date in range(dates):
            noise = rng.integers(-24, 25, (3, size, size), np.int16) + rng.integers(-12, 13, dtype=np.int16)
            chips[number * dates + date] = (colours[classes].transpose(2, 0, 1) + noise).clip(1, 255)
            masks[number * dates + date] = classes
    splits = np.array(["train", "val", "test"])[rng.choice(3, places, p=[0.8, 0.1, 0.1])]
    splits[:3] = "train", "val", "test"
    return write_store(out, chips, splits.tolist(), kinds, CLASSES, dates, masks)


def pack(store: Path, out: Path, quality: int) -> int:
    """Copy a store of 8-bit colour chips as WebP pictures; its size in bytes."""
    for path in sorted(store.rglob("*")):
        target = out / path.relative_to(store)
        if path.is_dir() or path.name == "SHA256SUMS":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "chips.npy":
            _pack_chips(np.load(path, mmap_mode="r"), target.parent, quality)
        elif path.suffix == ".npy":
            np.savez_compressed(target.with_suffix(".npz"), np.load(path))
        elif path.suffix != ".gpkg":  # for QGIS alone
            shutil.copy(path, target)
    info = json.loads((out / "store.json").read_text())
    write_json(out / "store.json", info | {"provenance": f"{info['provenance']}; packed as WebP of quality {quality}"})
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def unpack(packed: Path, out: Path) -> Path:
    """The store of a packed one, with its own checksums."""
    for path in sorted(packed.rglob("*")):
        target = out / path.relative_to(packed)
        if path.is_dir() or path.suffix == ".webp":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "chips.json":
            np.save(target.with_name("chips.npy"), _unpack_chips(path))
        elif path.suffix == ".npz":
            np.save(target.with_suffix(".npy"), np.load(path)["arr_0"])
        else:
            shutil.copy(path, target)
    _write_sums(out)
    return out


def _pack_chips(chips: np.ndarray, folder: Path, quality: int) -> None:
    count, bands, size, _ = chips.shape
    if bands != 3 or chips.dtype != np.uint8:
        raise ValueError(f"{folder}: only 8-bit chips of three bands become pictures")
    per = ACROSS * min(ACROSS, 16_383 // size)
    for first in range(0, count, per):
        part = chips[first : first + per]
        rows = -(-len(part) // ACROSS)
        grid = np.zeros((rows * ACROSS, bands, size, size), np.uint8)
        grid[: len(part)] = part
        pixels = grid.reshape(rows, ACROSS, bands, size, size).transpose(0, 3, 1, 4, 2)
        picture = Image.fromarray(np.ascontiguousarray(pixels).reshape(rows * size, ACROSS * size, bands))
        picture.save(folder / f"{first:07}.webp", quality=quality, method=6)
    write_json(folder / "chips.json", {"count": count, "size": size})


def _unpack_chips(listing: Path) -> np.ndarray:
    told = json.loads(listing.read_text())
    size, parts = told["size"], []
    for path in sorted(listing.parent.glob("*.webp")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        rows = len(pixels) // size
        parts.append(pixels.reshape(rows, size, ACROSS, size, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size))
    return np.concatenate(parts)[: told["count"]]


def _write_sums(store: Path) -> None:
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{sha256(path)}  {path.relative_to(store).as_posix()}" for path in files]
    (store / "SHA256SUMS").write_text("\n".join(lines) + "\n")

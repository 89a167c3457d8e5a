"""Corrupt rasters: each gives a map or one error, never an incomplete file."""

from __future__ import annotations

import shutil
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from benchmarks.reliability.child import Answers, Ended, Predictor

SIDE = 150  # px
LIMIT = 60.0  # seconds for one; a header that lies may make a raster of 65535 px a side of one of 150
EXTREMES = (0, 1, 2, 3, 255, 65535, 2**16, 2**20, 2**31 - 1, 2**31, 2**32 - 1)
GEOTIFFS: dict[str, dict] = {
    "plain strips": {},
    "deflate tiles": {"compress": "deflate", "predictor": 2, "tiled": True, "blockxsize": 32, "blockysize": 32},
    "lzw strips": {"compress": "lzw", "blockysize": 7},
    "zstd bands": {"compress": "zstd", "interleave": "band", "tiled": True, "blockxsize": 64, "blockysize": 64},
    "packbits": {"compress": "packbits"},
    "jpeg tiles": {"compress": "jpeg", "tiled": True, "blockxsize": 64, "blockysize": 64},
    "lzma": {"compress": "lzma"},
    "webp": {"compress": "webp", "tiled": True, "blockxsize": 64, "blockysize": 64},
    "lerc": {"compress": "lerc"},
    "bigtiff": {"bigtiff": "YES", "compress": "deflate"},
}
COPIES = {
    "cog": ("COG", ".tif"),
    "imagine": ("HFA", ".img"),
    "png": ("PNG", ".png"),
    "jpeg2000": ("JP2OpenJPEG", ".jp2"),
    "envi": ("ENVI", ".bin"),
}


def read_many(folder: Path, model: Path, count: int, seed: int = 0) -> Answers:
    """Map so many damaged rasters, each as the command does."""
    good = good_rasters(folder / "good")
    answers: list[Ended] = []
    problems: list[str] = []
    with Predictor(LIMIT) as predict:
        for name, path in good.items():
            if predict(model, path, "--out", folder / "sound", "--threads", 1).code:
                problems.append(f"{name}: the sound file is not mapped")
        for what, path in damaged_rasters(good, folder / "damaged", count, seed):
            out = folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            answers.append(predict(model, path, "--out", out, "--threads", 1))
            problems += [f"{what}: {problem}" for problem in _problems(answers[-1], out)]
    return Answers.of(answers, problems)


def _problems(ended: Ended, out: Path) -> Iterator[str]:
    """Problems: faults, more or less than one sentence, incomplete files, leftovers."""
    left = sorted(path.name for path in out.iterdir()) if out.exists() else []
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if ended.fault:
        yield ended.fault
        return
    if any(not line.startswith(("error: ", "warning: ")) for line in lines):
        yield f"printed {lines}"
    if len(errors) != (ended.code != 0):
        yield f"exit code {ended.code} with {len(errors)} sentences"
    if ended.code and left:
        yield f"left {left}"
    if ended.code == 0:
        if "damaged.tif" not in left or any(name.startswith(".") for name in left):
            yield f"left {left}"
        else:
            with rasterio.open(out / "damaged.tif") as written:
                written.read()


def good_rasters(folder: Path) -> dict[str, Path]:
    """One small scene in many formats; a virtual raster too."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 235, (3, SIDE // 10, SIDE // 10))
    pixels = (coarse.repeat(10, axis=1).repeat(10, axis=2) + rng.integers(0, 9, (3, SIDE, SIDE))).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 10, 10)}
    made = {}
    for name, options in GEOTIFFS.items():
        made[name] = folder / f"{name.replace(' ', '_')}.tif"
        with rasterio.open(
            made[name], "w", driver="GTiff", height=SIDE, width=SIDE, count=3, dtype="uint8", **place, **options
        ) as target:
            target.write(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for name, (driver, suffix) in COPIES.items():
            made[name] = folder / f"{name}{suffix}"
            rasterio.shutil.copy(made["plain strips"], made[name], driver=driver)
    made["virtual"] = folder / "virtual.vrt"
    rasterio.shutil.copy(made["plain strips"], made["virtual"], driver="VRT")
    return made


def damaged_rasters(good: dict[str, Path], folder: Path, count: int, seed: int = 0) -> Iterator[tuple[str, Path]]:
    """Copies that are cut off, have bytes changed, or wrong header entries; one at a time, the previous one is removed.

    Yields:
        What was done, and the file; what belongs beside it (.aux.xml, .hdr) lies beside it.
    """
    rng = np.random.default_rng(seed)
    names = list(good)
    for number in range(count):
        name = names[number % len(names)]
        how = ("cut", "bytes", "header", "lies")[number // len(names) % 4]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path = folder / f"damaged{good[name].suffix}"
        for beside in good[name].parent.glob(good[name].stem + ".*"):
            shutil.copy(beside, folder / beside.name.replace(good[name].stem, "damaged", 1))
        data = good[name].read_bytes()
        path.write_bytes(_damage(data, how, rng))
        if name == "virtual":
            shutil.copy(good["plain strips"], folder / good["plain strips"].name)
        yield f"{name}, {how}", path


def _damage(data: bytes, how: str, rng: np.random.Generator) -> bytes:
    bad = bytearray(data)
    if how == "cut":
        return data[: rng.integers(len(data))]
    if how == "lies" and data[:2] == b"II":
        return _lie(bad, rng)
    reach = min(len(bad), 600) if how in ("header", "lies") else len(bad)
    for at in rng.integers(0, reach, rng.integers(1, 12)):
        bad[at] = rng.integers(256)
    return bytes(bad)


def _lie(tiff: bytearray, rng: np.random.Generator) -> bytes:
    """Change the values of some entries of a TIFF's first directory: sizes, offsets, compression, bits, counts."""
    big = struct.unpack_from("<H", tiff, 2)[0] == 43
    start = struct.unpack_from("<Q", tiff, 8)[0] if big else struct.unpack_from("<I", tiff, 4)[0]
    entries = struct.unpack_from("<Q", tiff, start)[0] if big else struct.unpack_from("<H", tiff, start)[0]
    first, step, value, count = (start + 8, 20, 12, 4) if big else (start + 2, 12, 8, 4)
    for entry in rng.integers(0, entries, rng.integers(1, 4)):
        at = first + step * int(entry) + (value if rng.random() < 0.8 else count)
        struct.pack_into("<I", tiff, at, EXTREMES[rng.integers(len(EXTREMES))])
    return bytes(tiff)

"""Long and large runs: many in one process, many rasters in one run, many polygons, files that change while they are read."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import pyogrio
import rasterio
import shapely
from rasterio.features import rasterize

from benchmarks.reliability.child import Predictor
from benchmarks.reliability.kills import make_rasters
from export import predict

GROWTH = 48 * 2**20  # bytes that a process may grow by after its first runs: what its libraries keep


@dataclass(frozen=True)
class Loaded:
    """What became of one kind of load: what was wrong, a sentence each, and what a sentence of the page tells."""

    problems: list[str]
    milliseconds: float = 0.0
    megabytes: float = 0.0


def _call(*words: object) -> tuple[int, str]:
    """Run the command in this process: exit code, and what it says."""
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["predict", *map(str, words)]),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        return predict.main(), said.getvalue()


def run_often(folder: Path, model: Path, count: int) -> Loaded:
    """So many runs in one process: memory and open files do not grow."""
    (scene,) = make_rasters(folder / "scenes", 1, 200)
    process, problems = psutil.Process(), []
    begun = memory = files = 0.0
    for number in range(count):
        if number == count // 5:
            begun, memory, files = time.perf_counter(), process.memory_info().rss, process.num_fds()
        code, said = _call(
            model, scene, "--out", folder / "out", "--confidence", "--polygons", "--areas", "--threads", 1
        )
        problems += [f"run {number}: {said}"] if code else []
    seconds = (time.perf_counter() - begun) / (count - count // 5)
    grown, more = process.memory_info().rss - memory, process.num_fds() - files
    problems += [f"{count} runs took {grown / 2**20:.0f} MB more"] if grown > GROWTH else []
    problems += [f"{count} runs left {more:.0f} files open"] if more > 0 else []
    return Loaded(problems, 1000 * seconds, max(grown, 0) / 2**20)


def map_many(folder: Path, model: Path, count: int) -> Loaded:
    """One run over so many small rasters: all are mapped, memory stays flat, and the next run skips all of them."""
    (scene,) = make_rasters(folder / "scenes", 1, 60)
    for number in range(1, count):
        shutil.copy(scene, scene.with_name(f"scene{number}.tif"))
    process = psutil.Process()
    words = (model, scene.parent, "--out", folder / "out", "--threads", 1)
    _call(model, scene, "--out", folder / "warm", "--block", 256)
    memory, begun = process.memory_info().rss, time.perf_counter()
    code, said = _call(*words)
    seconds, grown = time.perf_counter() - begun, process.memory_info().rss - memory
    problems = [said] if code or f"{count} mapped" not in said else []
    problems += [f"{count} rasters took {grown / 2**20:.0f} MB more"] if grown > GROWTH else []
    code, said = _call(*words)
    problems += [said] if code or f"{count} already mapped" not in said else []
    return Loaded(problems, 1000 * seconds / count, max(grown, 0) / 2**20)


def many_polygons(folder: Path, model: Path, count: int, corners: int) -> Loaded:
    """A mask of so many polygons, and one of so many corners: mapped is what GDAL's own rasterisation of them covers."""
    (scene,) = make_rasters(folder / "scenes", 1, 400)
    with rasterio.open(scene) as source:
        left, bottom, right, top = source.bounds
    rng, begun, problems = np.random.default_rng(0), time.perf_counter(), []
    centres = np.column_stack([rng.uniform(left, right, count), rng.uniform(bottom, top, count)])
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = 0.45 * (right - left) * (1 - 0.5 * rng.random(corners))
    star = np.column_stack([np.cos(angles) * reach + (left + right) / 2, np.sin(angles) * reach + (bottom + top) / 2])
    for name, shapes in (
        ("many", shapely.buffer(shapely.points(centres), 12)),
        ("star", np.array([shapely.polygons(star)])),
    ):
        mask, out = folder / f"{name}.gpkg", folder / name
        pyogrio.raw.write(
            mask, shapely.to_wkb(shapes), [], [], geometry_type="Polygon", crs="EPSG:32633", driver="GPKG"
        )
        code, said = _call(model, scene, "--out", out, "--mask", mask, "--threads", 1)
        if code:
            problems.append(f"{name}: {said}")
            continue
        with rasterio.open(out / "scene0.tif") as mapped:  # as large as the polygons
            valid = mapped.read(1) != mapped.nodata
            inside = rasterize(shapes, mapped.shape, transform=mapped.transform).astype(bool)
        if not np.array_equal(valid, inside):
            problems.append(f"{name}: {(valid != inside).sum()} px are not masked as the polygons say")
    return Loaded(problems, 1000 * (time.perf_counter() - begun))


def noise_polygons(folder: Path, model: Path, side: int) -> Loaded:
    """Polygons of noise, the most that a map can hold: drawn again they are the map."""
    scene = folder / "noise.tif"
    values = np.random.default_rng(0).integers(1, 255, (3, side, side), dtype=np.uint8)
    with rasterio.open(
        scene, "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as target:  # fmt: skip
        target.write(values)
    code, said = _call(model, scene, "--out", folder / "noise", "--polygons", "--threads", 1)
    if code:
        return Loaded([said])
    meta, _, shapes, columns = pyogrio.raw.read(folder / "noise" / "noise.gpkg", layer="land_cover")
    number = columns[list(meta["fields"]).index("class")]
    with rasterio.open(folder / "noise" / "noise.tif") as mapped:
        classes, transform = mapped.read(1), mapped.transform
        drawn = rasterize(zip(shapely.from_wkb(shapes), number), classes.shape, int(mapped.nodata), transform=transform)
    covered = shapely.area(shapely.from_wkb(shapes)).sum() / 100
    problems = (
        [] if np.array_equal(drawn, classes) else [f"{(drawn != classes).sum()} px of noise differ from their polygons"]
    )
    if covered != (classes != mapped.nodata).sum():
        problems.append(f"polygons cover {covered} px of {classes.size}")
    return Loaded(problems)


def change_while_read(folder: Path, model: Path, count: int) -> Loaded:
    """A raster that is replaced or cut while it is read gives a map or one sentence, and nothing else."""
    (scene,) = make_rasters(folder / "scenes", 1, 600)
    whole, problems = scene.read_bytes(), []
    rng = np.random.default_rng(0)
    with Predictor(120) as call:
        call(model, scene, "--out", folder / "warm", "--threads", 1)
        for number in range(count):
            scene.write_bytes(whole)
            out = folder / f"out{number}"
            with _later(scene, whole, float(rng.uniform(0.05, 0.5)), cut=number % 2 == 0):
                ended = call(model, scene, "--out", out, "--threads", 1)
            left = [path.name for path in out.iterdir()] if out.exists() else []
            if ended.fault or ended.code not in (0, 2):
                problems.append(f"{ended.code}: {ended.fault}")
            elif (ended.code == 2 and left) or any(name.startswith(".") for name in left):
                problems.append(f"exit code {ended.code}, and it left {left}")
    return Loaded(problems)


@contextlib.contextmanager
def _later(scene: Path, whole: bytes, seconds: float, *, cut: bool) -> Iterator[None]:
    """Within it a file is cut to half its length, or replaced by another, after so many seconds."""

    def change() -> None:
        if cut:
            with open(scene, "r+b") as file:
                file.truncate(len(whole) // 2)
        else:
            other = scene.with_name("other")
            other.write_bytes(whole[::-1])
            other.replace(scene)

    timer = threading.Timer(seconds, change)
    timer.start()
    try:
        yield
    finally:
        timer.join()

"""SIGKILL at random moments of a batch: no file under its final name is incomplete, and the next run finishes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from rasterio.transform import from_origin

from benchmarks.reliability.child import ONE_THREAD, ROOT
from export.runtime.files import PREFIX

OPTIONS = ("--confidence", "--areas", "--polygons", "--threads", "1")
KILLS_IN_A_ROW = 5  # before a run may finish
_TIMES = ("datetime", "created", "updated")  # of a STAC Item: they differ from run to run


@dataclass(frozen=True)
class Killed:
    """What many kills led to.

    Attributes:
        kills: runs that were killed while they worked.
        early: runs that had ended before their moment came.
        finished: runs that followed, and were left alone.
        problems: what was wrong, one sentence each; empty is good.
        hidden: folders of killed runs that were still there after a finished run, at most.
    """

    kills: int
    early: int
    finished: int
    problems: list[str]
    hidden: int


def make_rasters(folder: Path, count: int, side: int) -> list[Path]:
    """Scenes of random patches."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        patches = rng.integers(1, 255, (3, side // 20, side // 20), dtype=np.uint8)
        paths.append(folder / f"scene{number}.tif")
        with rasterio.open(
            paths[-1], "w", driver="GTiff", height=side // 20 * 20, width=side // 20 * 20, count=3, dtype="uint8", nodata=0,
            crs="EPSG:32633", transform=from_origin(500_000, 5_000_000, 10, 10), compress="deflate", tiled=True,
        ) as target:  # fmt: skip
            target.write(patches.repeat(20, axis=1).repeat(20, axis=2))
    return paths


def contents(folder: Path) -> dict[str, str]:
    """Checksum of every result, without timestamps of Items and GeoPackages."""
    checksums = {}
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.name.startswith((".", "manifest")) or path.is_dir():
            continue
        try:
            checksums[path.name] = hashlib.sha256(_without_times(path)).hexdigest()
        except Exception as error:  # half a file may fail in any way
            checksums[path.name] = f"cannot be read: {error}"
    return checksums


def _without_times(path: Path) -> bytes:
    if path.suffix == ".json":
        item = json.loads(path.read_text())
        for key in _TIMES:
            item.get("properties", {}).pop(key, None)
        for asset in item.get("assets", {}).values():
            if asset.get("href", "").endswith(".gpkg"):
                asset.pop("file:checksum")
        return json.dumps(item, sort_keys=True).encode()
    if path.suffix == ".gpkg":
        meta, _, shapes, columns = pyogrio.raw.read(
            path, layer=pyogrio.list_layers(path)[0][0]
        )  # the other one is its style
        return b"".join([str(meta["fields"]).encode(), *shapes, *(str(column.tolist()).encode() for column in columns)])
    return path.read_bytes()


def kill_many(folder: Path, model: Path, count: int, rasters: int = 6, side: int = 400, seed: int = 0) -> Killed:
    """Kill so many runs; after each few, let one finish.

    Args:
        folder: to work in.
        model: an ONNX file.
        count: kills.
        rasters: in the batch.
        side: of each, px.
        seed: of the moments.
    """
    scenes = make_rasters(folder / "scenes", rasters, side)
    start, out = time.perf_counter(), folder / "undisturbed"
    _run(model, scenes, out).wait()
    seconds, expected = time.perf_counter() - start, contents(out)
    rng = np.random.default_rng(seed)
    problems: list[str] = [] if len(expected) >= 8 * rasters else [f"the undisturbed run wrote {sorted(expected)}"]
    out = folder / "killed"
    kills = early = finished = hidden = 0
    while kills < count and early <= 2 * count:
        running = _run(model, scenes, out)
        time.sleep(rng.uniform(0.1, 1) * seconds)
        early += running.poll() is not None
        kills += running.poll() is None
        running.kill()
        running.wait()
        problems += _differences(contents(out), expected, whole=False)
        if kills == count or (kills + early) % KILLS_IN_A_ROW == 0:
            if _run(model, scenes, out).wait():
                problems.append("the run after the kills failed")
            problems += _differences(contents(out), expected, whole=True)
            finished += 1
            hidden = max(hidden, len(list(out.rglob(f"{PREFIX}*"))))
            shutil.rmtree(out)
    return Killed(kills, early, finished, problems, hidden)


def _run(model: Path, scenes: list[Path], out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "export.predict", model, *scenes, "--out", out, *OPTIONS]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=os.environ | ONE_THREAD, **quiet)


def _differences(checksums: dict[str, str], expected: dict[str, str], *, whole: bool) -> list[str]:
    wrong = [
        f"{name} is not what an undisturbed run writes ({digest[:60]})"
        for name, digest in checksums.items()
        if expected.get(name) != digest
    ]
    missing = sorted(set(expected) - set(checksums)) if whole else []
    return wrong + [f"{name} is missing after a finished run" for name in missing]

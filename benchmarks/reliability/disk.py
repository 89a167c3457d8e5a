"""Full disks: one error that states the space needed, and no files left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.reliability.child import Predictor
from benchmarks.reliability.kills import contents, make_rasters

OPTIONS = ("--probabilities", "--polygons", "--areas", "--threads", "1")


class NotPermitted(Exception):
    """Small disks cannot be mounted here."""


@dataclass(frozen=True)
class Filled:
    """What became of runs on small disks.

    Attributes:
        refused: runs that reported a full disk, and left nothing.
        done: runs that fitted.
        problems: what was wrong, one sentence each; empty is good.
    """

    refused: int
    done: int
    problems: list[str]


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk in memory.

    Raises:
        NotPermitted: mounting takes root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        raise NotPermitted("a small disk cannot be mounted here: that takes Linux and root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_many(folder: Path, model: Path, count: int, side: int = 600) -> Filled:
    """Run on so many disks, from nearly empty to large enough.

    Raises:
        NotPermitted: mounting takes root.
    """
    scene = make_rasters(folder / "scenes", 1, side)[0]
    refused = done = 0
    problems: list[str] = []
    with Predictor(120) as predict:
        if predict(model, scene, "--out", folder / "enough", *OPTIONS).code:
            return Filled(0, 0, ["the run on a large disk failed"])
        expected = contents(folder / "enough")
        largest = 3 * sum(path.stat().st_size for path in (folder / "enough").iterdir()) // 1000
        for kilobytes in np.geomspace(16, largest, count).astype(int).tolist():
            with small_disk(folder / "small", kilobytes) as disk:
                ended = predict(model, scene, "--out", disk, *OPTIONS)
                left = sorted(path.name for path in disk.iterdir())
                found = contents(disk)
            lines = [line for line in ended.stderr.splitlines() if line.strip()]
            if ended.code == 0:
                done += 1
                if found != expected:
                    problems.append(f"{kilobytes} kB: a run that called itself done left other files")
                continue
            refused += 1
            if ended.fault or not lines or "the disk is full: up to" not in lines[-1]:
                problems.append(f"{kilobytes} kB: {ended.fault or lines[-1:]}")
            if left:
                problems.append(f"{kilobytes} kB: left {left}")
    return Filled(refused, done, problems)

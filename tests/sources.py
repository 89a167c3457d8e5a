"""A source of chips that needs no files: tests start it in processes of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from core.store.build import Chip, Tally, build
from core.store.read import LandClass, StoreInfo

CLASSES = (LandClass(10, "forest", "00AA00"), LandClass(20, "water", "0000AA"))


def info(**changes) -> StoreInfo:
    fields = {"bands": ("red", "nir"), "dtype": "uint16", "unit": "counts", "gsd": 10.0, "chip_size": 8}
    return StoreInfo(**(fields | {"classes": CLASSES} | changes))


@dataclass(frozen=True)
class Ramp:
    """Places along a line of longitude, two dates each, ``per_task`` places a shard."""

    info: StoreInfo
    count: int = 6
    per_task: int = 5
    bad_tasks: tuple[int, ...] = field(default=(), repr=False)  # a file that can be mended
    pause: float = field(default=0.0, repr=False)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    @property
    def tasks(self) -> range:
        return range(self.count)

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        rng = np.random.default_rng(task)
        for number in range(task * self.per_task, (task + 1) * self.per_task):
            time.sleep(self.pause)
            if task in self.bad_tasks and number == task * self.per_task:
                tally.skip(f"file{task}.tif", "is broken")
                continue
            if number % 7 == 6:
                tally.drop("windows under a cloud", 2)
                continue
            mask = rng.integers(0, 2, (8, 8)).astype(np.uint8)
            for date in range(2):
                pixels = rng.integers(1, 60000, (2, 8, 8)).astype(self.info.dtype)
                valid = np.ones((8, 8), bool)
                valid[:, :date] = False
                yield Chip(
                    pixels=pixels,
                    valid=valid,
                    place=f"place {number:03}",
                    lon=-60 + number * 0.5,
                    lat=-9.0,
                    datetime=datetime(2020, 1 + date * 6, 1, tzinfo=UTC) + timedelta(hours=number),
                    source=f"scene{date}.tif",
                    label=number % 2,
                    mask=mask,
                )


@dataclass(frozen=True)
class Bare:
    """Forty places of two classes, two images each, without coordinates and dates."""

    info: StoreInfo
    tasks: tuple[int, ...] = (0,)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        rng = np.random.default_rng(0)
        shape = (len(self.info.bands), self.info.chip_size, self.info.chip_size)
        nowhere = float("nan")
        for number in range(80):
            pixels = rng.integers(0, 100 + 100 * (number // 2 % 2), shape).astype(self.info.dtype)
            valid = np.ones(shape[1:], bool)
            yield Chip(pixels, valid, f"place {number // 2}", nowhere, nowhere, None, "f.png", label=number // 2 % 2)


if __name__ == "__main__":
    out, workers, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    build(Ramp(info(), pause=pause), out, workers=workers)

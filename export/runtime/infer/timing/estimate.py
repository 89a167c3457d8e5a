"""How long a run takes, measured on its first tiles."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

import numpy as np

from ...errors import Cancelled
from ...raster.window import Window
from ..job import Job, tile_grid
from ..sweep import Progress

_MEASURED = 1.0  # seconds of inference that give the speed
_SEARCH = 20.0  # seconds to find a tile that has data


@dataclass
class Estimate:
    """What running the first tiles shows.

    Attributes:
        tiles: in all; 0 if unknown.
        seconds: expected time to open the model and run the tiles; None if unknown.
    """

    tiles: int = 0
    seconds: float | None = None


def estimated(job: Job, opening: float, keep_going: Callable[[], bool]) -> Estimate:
    """Run the first tiles of a job that took ``opening`` seconds to open; a service is not read.

    Raises:
        RuntimeFault: they cannot be run.
        Cancelled: ``keep_going`` returned False.
    """
    grid = tile_grid(job.layout, job.card, job.run)
    estimate = Estimate(len(grid) if grid else 0)
    if not job.source.sampled:
        return estimate
    progress = _timed(estimate, job, opening, keep_going)
    job.colours = 0  # tiles of one colour may lie first, and others after them
    try:
        if job.card.task == "detection":
            job.objects(progress)
        else:
            for _ in job.rows(progress):
                pass
    except Cancelled:
        if not keep_going():
            raise
    return estimate


def _timed(estimate: Estimate, job: Job, opening: float, keep_going: Callable[[], bool]) -> Progress:
    """Updates the estimate after each batch until enough is known.

    Tiles outside the polygons or without data are not run and take no time.
    """
    share, layout, whole = job.share_touched(), job.layout, estimate.tiles
    touches, read = layout.touches, layout.read
    has_data: list[bool] = []  # of each tile; known before its result is
    ran, first = 0, 0.0  # tiles that were run; time at which the first of them was read

    def recorded_touches(window: Window) -> bool:
        has_data.append(False)
        return touches(window)

    def recorded_read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        nonlocal first
        pixels, valid = read(window)
        if valid.any():
            has_data[-1] = True
            first = first or time.perf_counter()
        return pixels, valid

    layout.touches, layout.read = recorded_touches, recorded_read  # type: ignore[method-assign]
    start = time.perf_counter()

    def progress(done: int, total: int) -> bool:
        nonlocal ran
        now = time.perf_counter()
        ran += has_data[done - 1]
        estimate.tiles = whole if job.block else total
        if done == estimate.tiles:  # all tiles were run
            estimate.seconds = opening + now - start
        elif ran:
            estimate.seconds = opening + (now - first) / ran * max(estimate.tiles * share, ran)
        enough = now - first >= _MEASURED if ran else now - start >= _SEARCH
        return not enough and keep_going()

    return progress

"""Time and disk space of a run, estimated by running its first tiles."""

import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Callable, Optional

from ...gdal_io.job import RunPlan, open_job
from ...runtime.errors import Cancelled
from ...runtime.infer.job import Job
from ...runtime.infer.sweep import Progress
from ...runtime.results.writing import room_needed
from ...texts import words

_MEASURED = 1.0  # seconds of inference that give the speed
_SEARCH = 20.0  # seconds to find a tile that has data


@dataclass
class RunEstimate:
    """What is known before a run.

    Attributes:
        notes: sentences that the user should read.
        room: disk space in bytes that the results may need while they are made.
        tiles: number of tiles; 0 if unknown.
        seconds: expected time to open the model and run the tiles; None if unknown.
    """

    notes: list[str]
    room: float
    tiles: int = 0
    seconds: Optional[float] = None


def estimated(plan: RunPlan, roles: Collection[str], keep_going: Callable[[], bool]) -> RunEstimate:
    """Open model and layer, check a sample of the pixels, and run the first tiles; a service is not read.

    ``roles`` are those of the optional results; see ``Targets``.

    Raises:
        RuntimeFault: the plan cannot be run.
        Cancelled: ``keep_going`` returned False.
    """
    start = time.perf_counter()
    with closing(open_job(plan)) as job:
        opening = time.perf_counter() - start
        room = room_needed(job.grid, job.card, job.model.channels, roles)
        estimate = RunEstimate([words(note) for note in job.notes(measured=True)], room)
        if not job.source.pixels.sampled:
            return estimate
        progress = _timed(estimate, job, opening, keep_going)
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


def _timed(estimate: RunEstimate, job: Job, opening: float, keep_going: Callable[[], bool]) -> Progress:
    """Updates the estimate after each batch until enough is known.

    Tiles outside the polygons or without data are not run and take no time.
    """
    share, layout = job.share_touched(), job.layout
    touches, read = layout.touches, layout.read
    has_data: list[bool] = []  # of each tile; known before its result is
    ran, first = 0, 0.0  # tiles that were run; time at which the first of them was read

    def recorded_touches(window):
        has_data.append(False)
        return touches(window)

    def recorded_read(window):
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
        estimate.tiles = total
        if done == total:  # all tiles were run
            estimate.seconds = opening + now - start
        elif ran:
            estimate.seconds = opening + (now - first) / ran * max(total * share, ran)
        enough = now - first >= _MEASURED if ran else now - start >= _SEARCH
        return not enough and keep_going()

    return progress

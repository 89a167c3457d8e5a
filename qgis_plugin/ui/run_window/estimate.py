"""What is known before a run: what will be done and why, how long it takes, disk space."""

import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Callable, Optional

from ...gdal_io.job import RunPlan, open_job
from ...runtime.infer.explain import facts, said
from ...runtime.infer.timing.estimate import estimated
from ...runtime.results.writing import room_needed
from ...texts import words


@dataclass
class Preview:
    """What is known before a run.

    Attributes:
        notes: sentences that the user should read.
        facts: label, what will be done, and why.
        room: disk space in bytes that the results may need while they are made.
        tiles: number of tiles; 0 if unknown.
        seconds: expected time to open the model and run the tiles; None if unknown.
    """

    notes: list[str]
    facts: list[tuple[str, str, str]]
    room: float
    tiles: int = 0
    seconds: Optional[float] = None


def preview(plan: RunPlan, roles: Collection[str], files: Sequence[str], keep_going: Callable[[], bool]) -> Preview:
    """Open model and layer, check a sample of the pixels, and run the first tiles; a service is not read.

    ``roles`` are those of the optional results (see ``Targets``), ``files`` the names of all.

    Raises:
        RuntimeFault: the plan cannot be run.
        Cancelled: ``keep_going`` returned False.
    """
    start = time.perf_counter()
    with closing(open_job(plan)) as job:
        opening = time.perf_counter() - start
        notes = [*plan.remarks, *(words(note) for note in job.notes(measured=True))]
        estimate = estimated(job, opening, keep_going)
        room = room_needed(job.grid, job.card, job.model.channels, roles)
        found = said(facts(job, files, roles, estimate), words)
        return Preview(notes, found, room, estimate.tiles, estimate.seconds)

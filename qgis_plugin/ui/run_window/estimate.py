"""Time and disk space of a run, estimated by running its first tiles in the background."""

import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from typing import Optional

from qgis.core import QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ...gdal_io.job import RunPlan, open_job
from ...runtime.errors import Cancelled, RuntimeFault
from ...runtime.infer.job import Job
from ...runtime.infer.sweep import Progress
from ...runtime.results.writing import room_needed
from ...texts import tr, words

_MEASURED = 1.0  # seconds of inference that give the speed
_SEARCH = 20.0  # seconds to find a tile that has data


@dataclass
class Estimate:
    """What is known before a run.

    Attributes:
        plan: the plan of the run.
        notes: sentences that the user should read.
        fault: why it cannot run; empty if it can.
        tiles: number of tiles; 0 if unknown.
        seconds: expected time to open the model and run the tiles; None if unknown.
        room: disk space in bytes that the results may need while they are made.
    """

    plan: RunPlan
    notes: list[str] = field(default_factory=list)
    fault: str = ""
    tiles: int = 0
    seconds: Optional[float] = None
    room: float = 0.0


class _Watched:
    """Records which tiles of a job are run: those outside the polygons or without data take no time.

    Attributes:
        ran: for each tile, whether it is run; known before its result is.
        began: time at which the first tile with data was read; 0 before.
    """

    def __init__(self, job: Job) -> None:
        self.ran: list[bool] = []
        self.began = 0.0
        touches, read, layout = job.layout.touches, job.layout.read, job.layout

        def recorded_touches(window):
            self.ran.append(False)
            return touches(window)

        def recorded_read(window):
            pixels, valid = read(window)
            if valid.any():
                self.ran[-1] = True
                self.began = self.began or time.perf_counter()
            return pixels, valid

        layout.touches, layout.read = recorded_touches, recorded_read  # type: ignore[method-assign]


class Estimating(QgsTask):
    """Opens model and layer, checks a sample of the pixels, and runs the first tiles; a service is not read."""

    done = pyqtSignal(object)

    def __init__(self, plan: RunPlan, roles: Collection[str]) -> None:
        """For a plan and the roles of the optional results; see ``Targets``."""
        super().__init__(tr("GeoAware: estimating the run"), QgsTask.Flag.CanCancel)
        self._estimate, self._roles = Estimate(plan), roles

    def run(self) -> bool:
        """In a worker thread."""
        try:
            self._measure(self._estimate)
        except Cancelled:
            return not self.isCanceled()
        except RuntimeFault as fault:
            self._estimate.fault = words(fault)
        except (MemoryError, OSError) as error:
            self._estimate.fault = tr("The layer cannot be read ({error}).").format(error=error)
        return True

    def finished(self, fine: bool) -> None:
        """On the main thread."""
        if fine and not self.isCanceled():
            self.done.emit(self._estimate)

    def _measure(self, estimate: Estimate) -> None:
        start = time.perf_counter()
        with closing(open_job(estimate.plan)) as job:
            opening = time.perf_counter() - start
            estimate.notes = [words(note) for note in job.notes(measured=True)]
            estimate.room = room_needed(job.grid, job.card, job.model.channels, self._roles)
            if not job.source.pixels.sampled:
                return
            progress = self._timed(estimate, job, opening)
            try:
                if job.card.task == "detection":
                    job.objects(progress)
                else:
                    for _ in job.rows(progress):
                        pass
            except Cancelled:
                if self.isCanceled():
                    raise

    def _timed(self, estimate: Estimate, job: Job, opening: float) -> Progress:
        share, run, start, ran = job.share_touched(), _Watched(job), time.perf_counter(), 0

        def progress(done: int, total: int) -> bool:
            nonlocal ran
            now = time.perf_counter()
            ran += run.ran[done - 1]
            estimate.tiles = total
            if done == total:  # all tiles were run
                estimate.seconds = opening + now - start
            elif ran:
                to_run = max(total * share, ran)
                estimate.seconds = opening + (now - run.began) / ran * to_run
            enough = now - run.began >= _MEASURED if ran else now - start >= _SEARCH
            return not enough and not self.isCanceled()

        return progress

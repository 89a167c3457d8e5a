"""What a run will take, found by doing its first batch in the background."""

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Collection, List, Optional

from qgis.core import QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ...gdal_io.job import RunPlan, notes_of, open_job
from ...runtime.errors import Cancelled, RuntimeFault
from ...runtime.infer.job import Job
from ...runtime.infer.sweep import Progress
from ...runtime.results.writing import room_needed
from ...texts import tr, words

_LONG_ENOUGH = 1.0  # seconds: the speed is known by then
_SEARCH = 20.0  # seconds until a tile that is run must have come


@dataclass
class Estimate:
    """What is known before a run.

    Attributes:
        plan: of what.
        notes: sentences that the user should read.
        fault: why it cannot run; empty where it can.
        tiles: in all; 0 where unknown.
        seconds: that opening the model and running the tiles will take; None where unknown.
        room: bytes that may be needed on the disk while the results are made.
    """

    plan: RunPlan
    notes: List[str] = field(default_factory=list)
    fault: str = ""
    tiles: int = 0
    seconds: Optional[float] = None
    room: float = 0.0


class _Watched:
    """Notes which tiles of a job are really run: outside the polygons and without data they are not, and take no time.

    Attributes:
        ran: for each tile, whether it is run; known before its answer is.
        began: when the first of these was read; None before.
    """

    def __init__(self, job: Job) -> None:
        self.ran: List[bool] = []
        self.began: Optional[float] = None
        touches, read, layout = job.layout.touches, job.layout.read, job.layout

        def noted_touches(window):
            self.ran.append(False)
            return touches(window)

        def noted_read(window):
            pixels, valid = read(window)
            if valid.any():
                self.ran[-1] = True
                self.began = self.began or time.perf_counter()
            return pixels, valid

        layout.touches, layout.read = noted_touches, noted_read


class Estimating(QgsTask):
    """Opens model and layer, looks at a sample, and does the first batch; a service is not asked for pixels."""

    done = pyqtSignal(object)

    def __init__(self, plan: RunPlan, roles: Collection[str]) -> None:
        """Of the results of these roles: see ``Targets``."""
        super().__init__(tr("GeoAware: first look"), QgsTask.Flag.CanCancel)
        self._estimate, self._roles = Estimate(plan), roles

    def run(self) -> bool:
        """In a worker thread."""
        try:
            self._look(self._estimate)
        except Cancelled:
            return not self.isCanceled()
        except RuntimeFault as fault:
            self._estimate.fault = words(fault)
        except (MemoryError, OSError) as error:
            self._estimate.fault = tr("The layer cannot be looked at ({error}).").format(error=error)
        return True

    def finished(self, fine: bool) -> None:
        """On the main thread."""
        if fine and not self.isCanceled():
            self.done.emit(self._estimate)

    def _look(self, found: Estimate) -> None:
        start = time.perf_counter()
        with closing(open_job(found.plan)) as job:
            opening = time.perf_counter() - start
            found.notes = notes_of(job, measured=True)
            found.room = room_needed(job.grid, job.card, job.model.channels, self._roles)
            if not job.source.pixels.sampled:
                return
            progress = self._timed(found, job, opening)
            try:
                if job.card.task == "detection":
                    job.objects(progress)
                else:
                    for _ in job.rows(progress):
                        pass
            except Cancelled:
                if self.isCanceled():
                    raise

    def _timed(self, found: Estimate, job: Job, opening: float) -> Progress:
        share, run, start, ran = job.share_touched(), _Watched(job), time.perf_counter(), 0

        def progress(done: int, total: int) -> bool:
            nonlocal ran
            now = time.perf_counter()
            ran += run.ran[done - 1]
            found.tiles = total
            if done == total:  # nothing is left to be guessed
                found.seconds = opening + now - start
            elif ran:
                to_run = max(total * share, ran)
                found.seconds = opening + (now - run.began) / ran * to_run
            enough = now - run.began >= _LONG_ENOUGH if ran else now - start >= _SEARCH
            return not enough and not self.isCanceled()

        return progress

"""What a run will take, found by doing its first batch in the background."""

import time
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from qgis.core import QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ...gdal_io.job import OpenRun, Plan
from ...gdal_io.results import room_needed
from ...gdal_io.services import ServiceLayer
from ...runtime.errors import Cancelled, RuntimeFault
from ...runtime.infer.sweep import Progress
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

    plan: Plan
    notes: List[str] = field(default_factory=list)
    fault: str = ""
    tiles: int = 0
    seconds: Optional[float] = None
    room: float = 0.0


class _Timed(OpenRun):
    """Notes which tiles are really run: outside the polygons and without data they are not, and take no time.

    Attributes:
        ran: for each tile, whether it is run; known before its answer is.
        began: when the first of these was read; None before.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.ran: List[bool] = []
        self.began: Optional[float] = None

    def _place(self, progress: Progress):
        model, read, height, width, run, progress, touches = super()._place(progress)

        def noted_touches(window):
            self.ran.append(False)
            return touches(window)

        def noted_read(window):
            pixels, valid = read(window)
            if valid.any():
                self.ran[-1] = True
                self.began = self.began or time.perf_counter()
            return pixels, valid

        return model, noted_read, height, width, run, progress, noted_touches


class Estimating(QgsTask):
    """Opens model and layer, looks at a sample, and does the first batch; a service is not asked for pixels."""

    done = pyqtSignal(object)

    def __init__(self, plan: Plan, wanted: Dict[str, bool]) -> None:
        """Of the results that are ``wanted``: see ``room_needed``."""
        super().__init__(tr("GeoAware: first look"), QgsTask.Flag.CanCancel)
        self._estimate, self._wanted = Estimate(plan), wanted

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
        run = _Timed(found.plan)
        opening = time.perf_counter() - start
        try:
            found.notes = run.notes(measured=True)
            found.room = room_needed(run.layout.result, run.card, run.model.channels, **self._wanted)
            if isinstance(found.plan.layer, ServiceLayer):
                return
            try:
                progress = self._timed(found, run, opening)
                if run.card.task == "detection":
                    run.objects(progress)
                else:
                    for _ in run.rows(progress):
                        pass
            except Cancelled:
                if self.isCanceled():
                    raise
        finally:
            run.close()

    def _timed(self, found: Estimate, run: _Timed, opening: float) -> Progress:
        share, start, ran = run.share_touched(), time.perf_counter(), 0

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

"""What a process does with one unit of a batch, here or on another machine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from export.batch.join import join
from export.batch.manifest import Files, recorded, unchanged, with_times
from export.rasterio_io.run import Listener, Request, map_raster
from export.runtime.errors import Cancelled, RuntimeFault, first_line
from export.runtime.infer.sweep import Progress
from export.runtime.messages import Message
from export.runtime.model.card import ModelCard
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from export.wording import words


@dataclass(frozen=True)
class Job:
    """What all units of a run have in common; small, so that it can be sent with each.

    Attributes:
        model: file of the model.
        card: of the opened model, so that no process finds another tile size for itself.
        request: how rasters are mapped.
        out: folder for the results.
        merge: whether blocks become one file.
        provider: what runs the model.
        precision: of the provider.
        threads: tiles that a process runs side by side; None: as many as fit.
        output: of the model.
    """

    model: Path
    card: ModelCard
    request: Request
    out: Path
    merge: bool = False
    provider: str = "auto"
    precision: str | None = None
    threads: int | None = None
    output: str | None = None

    def open(self) -> Model:
        """The model, loaded."""
        return Model(self.model, self.provider, self.card, self.threads, self.precision, self.output)

    @property
    def block_request(self) -> Request:
        """Of a block: what is made from the whole map is left to the joining."""
        asked = self.request.beside
        confidence = ("confidence",) if {"confidence", "polygons"} & {*asked} else ()
        beside = confidence + (("probabilities",) if "probabilities" in asked else ())
        return replace(self.request, beside=beside, min_area=0.0, style=False)


@dataclass(frozen=True)
class Unit:
    """A piece of work with files of its own.

    Attributes:
        name: of its results: a path below the output folder, without a suffix.
        raster: what is read.
        checksum: of all that the results are made from.
        input: checksum of the raster.
        options: checksum of the options.
        files: that the raster consists of.
        block: of the map; None for all of it.
        parts: blocks to be joined, by name; then nothing is computed.
        of: name of the raster's own results, where this is a block.
    """

    name: str
    raster: str
    checksum: str
    input: str
    options: str
    files: tuple[str, ...] = ()
    block: Window | None = None
    parts: tuple[tuple[str, Window], ...] = ()
    of: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a unit; ``reason`` says why it failed, and is empty where it did not."""

    unit: Unit
    files: Files
    reason: str = ""
    notes: tuple[Message, ...] = ()
    provider: str = ""
    seconds: float = 0.0


def work(job: Job, unit: Unit, model: Callable[[], Model], progress: Progress | None = None) -> Outcome:
    """Do a unit, unless its files are there already: an earlier try may have ended before it could say so.

    Args:
        job: what the run is about.
        unit: what is to be done.
        model: gives the opened model.
        progress: called after each tile; False where nobody waits for the unit any more. None shows a bar.

    Raises:
        Cancelled: nobody waits.
    """
    found = recorded(job.out, unit.name, unit.checksum)
    if found and unchanged(job.out, found):
        return Outcome(unit, with_times(job.out, found))
    begun = time.monotonic()
    notes: list[Message] = []
    try:
        opened = model()
        _do(job, unit, opened, Listener(notes.append, progress))
        found = recorded(job.out, unit.name, unit.checksum) or {}
        return Outcome(
            unit, with_times(job.out, found), "", tuple(notes), opened.provider, round(time.monotonic() - begun, 3)
        )
    except Cancelled:
        raise
    except RuntimeFault as fault:
        reason = words(fault)
    except Exception as error:  # the other units must go on, whatever this one ran into
        logging.getLogger(__name__).debug("%s failed", unit.name, exc_info=True)
        reason = f"{unit.raster}: {type(error).__name__}: {first_line(error)}"
    return Outcome(unit, {}, reason, tuple(notes))


def _do(job: Job, unit: Unit, model: Model, listener: Listener) -> None:
    if unit.parts:
        join(job.out, unit.name, unit.raster, unit.checksum, unit.parts, job.request, model, job.model, job.merge)
        return
    folder, name = (job.out / unit.name).parent, Path(unit.name).name
    request = job.block_request if unit.block else job.request
    map_raster(
        model, job.model, unit.raster, folder, name, request, block=unit.block, unit=unit.checksum, listener=listener
    )


class Loaded:
    """The model of a process, loaded once, however many units and threads ask for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._model: Model | None = None

    def __call__(self, job: Job) -> Model:
        """The model of a job."""
        with self._lock:
            if self._model is None or self._job != job:
                self._model = None  # the former gives its memory back first
                self._model, self._job = job.open(), job
            return self._model

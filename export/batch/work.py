"""Runs one unit of a batch, in this process or on another machine."""

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
    """What all units of a run share; small, because it is sent with each.

    Attributes:
        model: file of the model.
        card: of the opened model, so that all processes use the same tile size.
        request: how rasters are mapped.
        out: folder for the results.
        merge: whether blocks are merged into one file.
        provider: ONNX Runtime execution provider.
        precision: numeric precision for inference.
        threads: tiles that a process runs in parallel; None: as many as fit.
        output: name of the model's output.
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
        """The request for a block; polygons, areas and legend are made after joining."""
        asked = self.request.beside
        confidence = ("confidence",) if {"confidence", "polygons"} & {*asked} else ()
        beside = confidence + (("probabilities",) if "probabilities" in asked else ())
        return replace(self.request, beside=beside, min_area=0.0, style=False)


@dataclass(frozen=True)
class Unit:
    """A piece of work with its own result files.

    Attributes:
        name: of its results: a path below the output folder, without a suffix.
        raster: GDAL name of the input.
        checksum: of input, model, options and block.
        input: checksum of the raster.
        options: checksum of the options.
        files: of the raster.
        block: window of the map; None for the whole map.
        parts: name and window of the blocks to join, for a unit that only joins.
        of: for a block, name of the whole map's results.
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
    """Result of a unit; ``reason`` is empty unless it failed."""

    unit: Unit
    files: Files
    reason: str = ""
    notes: tuple[Message, ...] = ()
    provider: str = ""
    seconds: float = 0.0


def work(job: Job, unit: Unit, model: Callable[[], Model], progress: Progress | None = None) -> Outcome:
    """Run a unit, unless its files are complete: an earlier worker may have died before it reported them.

    Args:
        job: of the run.
        unit: to run.
        model: returns the opened model.
        progress: called after each tile; False cancels. None shows a progress bar.

    Raises:
        Cancelled: ``progress`` returned False.
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
    except Exception as error:  # the other units must continue
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
    """The model of a process, loaded once for all its units and threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._model: Model | None = None

    def __call__(self, job: Job) -> Model:
        """The model of a job."""
        with self._lock:
            if self._model is None or self._job != job:
                self._model = None  # frees the memory of the previous model first
                self._model, self._job = job.open(), job
            return self._model

"""Runs the units of a batch: in this process, in several on this machine, or on a Dask cluster.

``here``, ``processes`` and ``cluster`` fetch a unit when they have room for it, None when there is none for now, and yield
outcomes as they come. Closing one stops what still runs, within a tile.
"""

from __future__ import annotations

import _thread
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from export.batch.join import join
from export.batch.manifest import holding, recorded, unchanged, with_times
from export.batch.units import Outcome, Settings, Unit
from export.rasterio_io.run import map_raster
from export.runtime.errors import Cancelled, InputFault, RuntimeFault, first_line
from export.runtime.files import undisturbed
from export.runtime.infer.sweep import Progress
from export.runtime.messages import Message
from export.runtime.model.providers import provider_of
from export.runtime.model.session import Model
from export.wording import words

TRIES = 2  # per unit whose process dies
PATIENCE = 10.0  # seconds that terminated processes get to finish their tiles
WAIT = 30  # seconds until the scheduler of a cluster must have answered
AHEAD = 2  # units submitted per thread of the cluster, so that none is idle
Units = Callable[[], "Unit | None"]
Workers = Callable[[Units], Generator[Outcome, None, None]]
_lock = threading.Lock()
_loaded: list[tuple[Settings, Model]] = []  # at most one


def here(settings: Settings, model: Model, units: Units) -> Generator[Outcome, None, None]:
    """Run units in this process, one after the other."""
    for unit in iter(units, None):
        yield work(settings, unit, lambda: model)


def processes(settings: Settings, count: int, units: Units) -> Generator[Outcome, None, None]:
    """Run units in processes of this machine, each with its own model. One that dies is replaced and its unit retried."""
    pool: dict[Connection, BaseProcess] = {}
    running: dict[Connection, Unit] = {}
    retried: list[Unit] = []
    deaths: Counter[str] = Counter()

    def forget(connection: Connection) -> None:
        connection.close()
        pool.pop(connection).join()

    try:
        while True:
            while len(running) < count and (unit := retried.pop() if retried else units()):
                connection = next((idle for idle in pool if idle not in running), None) or _start(settings, pool)
                try:
                    connection.send(unit)
                    running[connection] = unit
                except OSError:  # it died while idle
                    forget(connection)
                    retried.append(unit)
            if not running:
                return
            connection = next(ready for ready in wait([*running]) if isinstance(ready, Connection))
            unit = running.pop(connection)
            try:
                outcome = connection.recv()
            except (EOFError, OSError):
                forget(connection)
                deaths[unit.name] += 1
                if deaths[unit.name] < TRIES:
                    retried.append(unit)
                    continue
                reason = (
                    f"{unit.raster}: its process was killed {TRIES} times: by hand, or by the system for want of memory"
                )
                outcome = Outcome(unit, {}, reason)
            yield outcome
    finally:
        with undisturbed():
            _stop(pool, running)


def _stop(pool: dict[Connection, BaseProcess], running: dict[Connection, Unit]) -> None:
    """End all processes: those that run a unit after their tile, and by force what takes too long."""
    for connection, process in pool.items():
        if connection in running:
            process.terminate()
        if process.pid and process.is_alive() and hasattr(signal, "SIGCONT"):
            os.kill(process.pid, signal.SIGCONT)  # it may be stopped
        connection.close()
    end = time.monotonic() + PATIENCE
    for process in pool.values():
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _start(settings: Settings, pool: dict[Connection, BaseProcess]) -> Connection:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, settings), daemon=True)
    # Ctrl-C reaches every process of the group; the main process terminates the others itself
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.close()
    pool[ours] = process
    return ours


def _serve(connection: Connection, settings: Settings) -> None:
    """Run units until the main process closes the connection, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            unit = connection.recv()
            connection.send(work(settings, unit, lambda: _model(settings), lambda done, total: True))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: as SIGTERM does, then by force."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # nosec B101  # this process was started by one
    parent.join()
    _thread.interrupt_main(signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


def cluster(settings: Settings, address: str, units: Units) -> Generator[Outcome, None, None]:
    """Run units on a running cluster whose workers see the same files under the same paths.

    Dask reassigns the units of a lost worker.

    Raises:
        InputFault: the package is missing, the scheduler does not answer, or the workers cannot run GeoAware.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise InputFault.worded(
            "--dask needs the package distributed: pip install 'geoaware[dask]', here and on the workers"
        ) from error
    for name in ("distributed", "tornado"):  # errors are reported in our own messages
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputFault.worded(f"--dask {address}: no scheduler answers there") from error
    running: dict[Any, Unit] = {}
    finished = as_completed(loop=client.loop)
    try:
        if not client.nthreads():
            print(f"waiting for workers at {address}", file=sys.stderr, flush=True)
        try:
            client.submit(_ready, pure=False).result()
        except Exception as error:  # any error that a worker may return
            raise InputFault.worded(
                f"--dask {address}: its workers cannot run GeoAware ({error}); start them in its folder and environment"
            ) from error
        while True:
            room = AHEAD * max(sum(client.nthreads().values()), 1)
            while len(running) < room and (unit := units()):
                future = client.submit(_work, settings, unit, pure=False)
                running[future] = unit
                finished.add(future)
            if not running:
                return
            future = next(finished)
            unit, failure = running.pop(future), future.exception()
            if failure is None:
                yield future.result()
            elif type(failure).__name__ == "KilledWorker":
                yield Outcome(unit, {}, f"{unit.raster}: {_lost(failure)}")
            else:
                yield Outcome(unit, {}, f"{unit.raster}: {type(failure).__name__}: {first_line(failure)}")
    finally:
        client.cancel(list(running), force=True)
        client.close()


def _lost(failure: Any) -> str:
    """What a KilledWorker tells; the worker cannot say any more why it ended."""
    return (
        f"its workers were lost ({failure.allowed_failures + 1} in all): preempted, stopped, cut off or out of memory; their "
        "logs tell which. Run the same command to retry it, and raise Dask's distributed.scheduler.allowed-failures where "
        "workers are often preempted"
    )


def _ready() -> bool:
    """Succeeds on a worker that can import this module."""
    return True


def _work(settings: Settings, unit: Unit) -> Outcome:
    """Run a unit in a thread of a worker."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def alive(done: int, total: int) -> bool:
        task = worker.state.tasks.get(key)  # gone or cancelled when no client waits for it
        return task is not None and task.state == "executing"

    shared = replace(settings, threads=settings.threads or 1)  # Dask assumes one core per thread of a worker
    try:
        return work(settings, unit, lambda: _model(shared), alive)
    except Cancelled:
        return Outcome(unit, {}, "interrupted")


def _model(settings: Settings) -> Model:
    """The model of this process, loaded once for all its units and threads."""
    with _lock:
        if not _loaded or _loaded[0][0] != settings:
            _loaded.clear()  # frees the memory of the previous model first
            _loaded.append((settings, settings.open()))
        return _loaded[0][1]


def work(settings: Settings, unit: Unit, model: Callable[[], Model], progress: Progress | None = None) -> Outcome:
    """Run a unit, unless its files are complete: an earlier worker may have died before it reported them.

    ``model`` gives the opened model; ``progress`` is that of ``map_raster``.

    Raises:
        Cancelled: ``progress`` returned False.
    """
    out, name, begun = settings.out, unit.name, time.monotonic()
    files = recorded(out, name, unit.checksum)
    if files and unchanged(out, files):
        return Outcome(unit, with_times(out, files))
    notes: list[Message] = []
    try:
        opened = model()
        if unit.parts:
            join(settings, unit, opened)
        else:
            opened = opened.on(*provider_of(unit.runner)) if unit.runner else opened
            request, target = settings.block_request if unit.block else settings.request, out / name
            map_raster(
                opened, settings.model, unit.raster, target.parent, target.name, request,
                scenes=unit.scenes, block=unit.block, unit=unit.checksum, note=notes.append, progress=progress,
                moving=partial(holding, out, settings.run), why=unit.why,
            )  # fmt: skip
        files = with_times(out, recorded(out, name, unit.checksum) or {})
        return Outcome(unit, files, "", tuple(notes), unit.runner or opened.runner, round(time.monotonic() - begun, 3))
    except Cancelled:
        raise
    except RuntimeFault as fault:
        reason = words(fault)
    except Exception as error:  # the other units must continue
        logging.getLogger(__name__).debug("%s failed", name, exc_info=True)
        reason = f"{unit.raster}: {type(error).__name__}: {first_line(error)}"
    return Outcome(unit, {}, reason, tuple(notes))

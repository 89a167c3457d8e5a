"""Runs units on a running Dask cluster whose workers see the same files under the same paths."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import Any

from export.batch.work import Job, Loaded, Outcome, Unit, work
from export.runtime.errors import Cancelled, InputFault, first_line

WAIT = 30  # seconds until the scheduler must have answered
AHEAD = 2  # units submitted per thread of the cluster, so that none is idle
_loaded = Loaded()  # the model of this process, if it is a worker


class Cluster:
    """The workers of a scheduler. Dask reassigns the units of a lost worker."""

    def __init__(self, job: Job, address: str) -> None:
        """Connect.

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
        self._job = job
        try:
            self._client = Client(address, timeout=WAIT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputFault.worded(f"--dask {address}: no scheduler answers there") from error
        self._futures: dict[Any, Unit] = {}
        self._done = as_completed(loop=self._client.loop)
        self._check(address)

    def _check(self, address: str) -> None:
        if not self._client.nthreads():
            print(f"waiting for workers at {address}", file=sys.stderr, flush=True)
        try:
            self._client.submit(_ready, pure=False).result()
        except Exception as error:  # any error that a worker may return
            self.close()
            raise InputFault.worded(
                f"--dask {address}: its workers cannot run GeoAware ({error}); start them in its folder and environment"
            ) from error

    @property
    def room(self) -> bool:
        """Whether another unit may be submitted."""
        return len(self._futures) < AHEAD * max(sum(self._client.nthreads().values()), 1)

    @property
    def busy(self) -> int:
        """Number of units submitted and not yet taken."""
        return len(self._futures)

    def give(self, unit: Unit) -> None:
        """Submit a unit."""
        future = self._client.submit(_work, self._job, unit, pure=False)
        self._futures[future] = unit
        self._done.add(future)

    def take(self) -> Outcome:
        """Wait for the outcome of a unit; Dask may have given it up."""
        future = next(self._done)
        unit = self._futures.pop(future)
        error = future.exception()
        if error is None:
            outcome: Outcome = future.result()
            return outcome
        if type(error).__name__ == "KilledWorker":
            return Outcome(unit, {}, f"{unit.raster}: its workers were lost, possibly out of memory")
        return Outcome(unit, {}, f"{unit.raster}: {type(error).__name__}: {first_line(error)}")

    def close(self) -> None:
        """Cancel what is still running; workers stop within a tile."""
        self._client.cancel(list(self._futures), force=True)
        self._client.close()


def _ready() -> bool:
    """Succeeds on a worker that can import this module."""
    return True


def _work(job: Job, unit: Unit) -> Outcome:
    """Run a unit in a thread of a worker."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def alive(done: int, total: int) -> bool:
        task = worker.state.tasks.get(key)  # gone or cancelled when no client waits for it
        return task is not None and task.state == "executing"

    shared = replace(job, threads=job.threads or 1)  # Dask assumes one core per thread of a worker
    try:
        return work(job, unit, lambda: _loaded(shared), alive)
    except Cancelled:
        return Outcome(unit, {}, "interrupted")

"""Runs the units of a batch: in this process, or in several on this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from export.batch.work import Job, Loaded, Outcome, Unit, work
from export.runtime.errors import Cancelled
from export.runtime.model.session import Model

TRIES = 2  # per unit whose process dies
PATIENCE = 30.0  # seconds that a terminated process gets to finish its tile


class Workers(Protocol):
    """Runs units, possibly in parallel."""

    @property
    def room(self) -> bool:
        """Whether another unit may be submitted."""

    @property
    def busy(self) -> int:
        """Number of units submitted and not yet taken."""

    def give(self, unit: Unit) -> None:
        """Submit a unit."""

    def take(self) -> Outcome:
        """Wait for the outcome of a unit."""

    def close(self) -> None:
        """Stop what is still running, within a tile."""


class Here:
    """Runs units in this process, one after the other."""

    def __init__(self, job: Job, model: Model) -> None:
        self._job, self._model = job, model
        self._waiting: deque[Unit] = deque()

    @property
    def room(self) -> bool:
        """Whether another unit may be submitted."""
        return not self._waiting

    @property
    def busy(self) -> int:
        """Number of units submitted and not yet taken."""
        return len(self._waiting)

    def give(self, unit: Unit) -> None:
        """Queue a unit; ``take`` runs it."""
        self._waiting.append(unit)

    def take(self) -> Outcome:
        """Run the unit."""
        return work(self._job, self._waiting.popleft(), lambda: self._model)

    def close(self) -> None:
        """Nothing runs by itself."""


class Processes:
    """Processes of this machine, each with its own model. One that dies is replaced and its unit retried."""

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count
        self._idle: list[Connection] = []
        self._running: dict[Connection, Unit] = {}
        self._process: dict[Connection, Any] = {}
        self._died: Counter[str] = Counter()

    @property
    def room(self) -> bool:
        """Whether another unit may be submitted."""
        return len(self._running) < self._count

    @property
    def busy(self) -> int:
        """Number of units submitted and not yet taken."""
        return len(self._running)

    def give(self, unit: Unit) -> None:
        """Submit a unit to an idle process, or to a new one."""
        while True:
            connection = self._idle.pop() if self._idle else self._start()
            try:
                connection.send(unit)
            except OSError:  # it died while idle
                self._forget(connection)
                continue
            self._running[connection] = unit
            return

    def take(self) -> Outcome:
        """Wait for the outcome of a unit; one whose process died is retried."""
        while True:
            connection = wait(list(self._running))[0]
            assert isinstance(connection, Connection)  # nosec B101  # for mypy
            unit = self._running.pop(connection)
            try:
                outcome: Outcome = connection.recv()
            except (EOFError, OSError):
                self._forget(connection)
                self._died[unit.name] += 1
                if self._died[unit.name] < TRIES:
                    self.give(unit)
                    continue
                return Outcome(unit, {}, f"{unit.raster}: its process was killed {TRIES} times, possibly out of memory")
            self._idle.append(connection)
            return outcome

    def close(self) -> None:
        """Stop what is still running, within a tile."""
        for connection, process in self._process.items():
            if connection in self._running:
                process.terminate()
            connection.close()
        for process in self._process.values():
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._job), daemon=True)
        # Ctrl-C reaches every process of the group; the main process terminates the others itself
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()
        self._process[ours] = process
        return ours

    def _forget(self, connection: Connection) -> None:
        connection.close()
        self._process.pop(connection).join()


def _serve(connection: Connection, job: Job) -> None:
    """Run units until the main process closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loaded, parent = Loaded(), multiprocessing.parent_process()

    def alive(done: int, total: int) -> bool:
        return parent is None or parent.is_alive()

    try:
        while True:
            connection.send(work(job, connection.recv(), lambda: loaded(job), alive))
    except (EOFError, OSError, KeyboardInterrupt, Cancelled):
        return

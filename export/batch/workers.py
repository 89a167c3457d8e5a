"""Who does the units of a batch: this process, or several of this machine.

All have the same few words: ``room`` (more units may be given), ``busy``, ``give``, ``take`` (waits for one that is
done), ``close``.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from export.batch.work import Job, Loaded, Outcome, Unit, work
from export.runtime.errors import Cancelled
from export.runtime.model.session import Model

TRIES = 2  # of a unit whose process dies
PATIENCE = 30.0  # seconds that a stopped process gets for the tile that it is running


class Workers(Protocol):
    """Does units, some of them side by side."""

    @property
    def room(self) -> bool:
        """Whether another unit may be given."""

    @property
    def busy(self) -> int:
        """Units that were given and not yet taken."""

    def give(self, unit: Unit) -> None:
        """Begin a unit."""

    def take(self) -> Outcome:
        """Wait for a unit that is done."""

    def close(self) -> None:
        """Stop what is still running, within a tile, and leave nothing of it."""


class Here:
    """This process, one unit after the other."""

    def __init__(self, job: Job, model: Model) -> None:
        self._job, self._model = job, model
        self._waiting: deque[Unit] = deque()

    @property
    def room(self) -> bool:
        """Whether another unit may be given."""
        return not self._waiting

    @property
    def busy(self) -> int:
        """Units that were given and not yet taken."""
        return len(self._waiting)

    def give(self, unit: Unit) -> None:
        """Keep a unit until its outcome is asked for."""
        self._waiting.append(unit)

    def take(self) -> Outcome:
        """Do the unit."""
        return work(self._job, self._waiting.popleft(), lambda: self._model)

    def close(self) -> None:
        """Nothing runs by itself."""


class Processes:
    """Processes of this machine, each with its own model. One that dies is replaced, and its unit tried again."""

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count
        self._idle: list[Connection] = []
        self._running: dict[Connection, Unit] = {}
        self._process: dict[Connection, Any] = {}
        self._died: Counter[str] = Counter()

    @property
    def room(self) -> bool:
        """Whether another unit may be given."""
        return len(self._running) < self._count

    @property
    def busy(self) -> int:
        """Units that were given and not yet taken."""
        return len(self._running)

    def give(self, unit: Unit) -> None:
        """Begin a unit in a process that has none, or in a new one."""
        while True:
            connection = self._idle.pop() if self._idle else self._start()
            try:
                connection.send(unit)
            except OSError:  # it died while it had nothing to do
                self._forget(connection)
                continue
            self._running[connection] = unit
            return

    def take(self) -> Outcome:
        """Wait for a unit that is done, or that cost two processes their lives."""
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
                return Outcome(
                    unit, {}, f"{unit.raster}: the process that mapped it was killed {TRIES} times; is memory enough?"
                )
            self._idle.append(connection)
            return outcome

    def close(self) -> None:
        """Stop what is still running, within a tile, and leave nothing of it."""
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
        # a Ctrl-C in the terminal reaches every process of the group: the one that reads the keyboard tells the others
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
    """Do units until nobody sends any more."""
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

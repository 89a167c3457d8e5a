"""A thread that does jobs in small steps, always of the most urgent one. Knows nothing of layers or features."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Callable, Optional

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ....runtime.errors import Cancelled, RuntimeFault
from ....texts import tr, words

Steps = Iterator[None]  # work is done between two items
_NUMBERS = count(1)  # of threads


class Voice(QObject):
    """Carries what the thread has to say to the main thread."""

    # the number of the thread comes first: slots are methods of the listener and nothing else, since a function that holds
    # the thread may be collected with it while a signal is on its way, which ends QGIS
    said = pyqtSignal(int, str, object)  # what it is about, and the result
    failed = pyqtSignal(int, str)  # one sentence
    broke = pyqtSignal(object)  # a mistake of ours, an exception that the main thread must report


@dataclass
class _Job:
    name: str
    urgency: int
    begin: Callable[[], Steps]
    number: int
    steps: Optional[Steps] = field(default=None)


class StepThread:
    """Does the most urgent job one step at a time: a newer one waits for a step, not for a job.

    A job that is put again begins anew, and what was left of the old one is dropped. Steps run in the thread alone, so
    what only they touch needs no lock.
    """

    def __init__(self, name: str) -> None:
        self.voice, self.number = Voice(), next(_NUMBERS)
        self._jobs: dict[str, _Job] = {}
        self._dropped: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._count = 0
        self._at_end: list[Callable[[], None]] = []
        # a daemon: QGIS must be able to end while a step hangs in a file on a network
        self._thread = threading.Thread(target=self._run, name=f"GeoAware {name}", daemon=True)
        self._thread.start()

    def put(self, name: str, urgency: int, begin: Callable[[], Steps]) -> None:
        """Do a job, instead of one of the same name; the lowest ``urgency`` comes first, of equal ones the older."""
        with self._changed:
            self._count += 1
            self._drop(name)
            self._jobs[name] = _Job(name, urgency, begin, self._count)
            self._changed.notify()

    def say(self, what: str, result: object) -> None:
        """Tell the main thread something."""
        self.voice.said.emit(self.number, what, result)

    def fail(self, text: str) -> None:
        """Tell the main thread what went wrong, in one sentence."""
        self.voice.failed.emit(self.number, text)

    def drop(self, *names: str) -> None:
        """Leave jobs; the step that is being done is finished."""
        with self._changed:
            for name in names:
                self._drop(name)
            self._changed.notify()

    def busy(self, *names: str) -> bool:
        """Whether one of the jobs, or any, is not done."""
        with self._changed:
            return any(name in self._jobs for name in names) if names else bool(self._jobs)

    def wanted(self, name: str) -> bool:
        """Whether something else than a job is to be done: its long steps ask for it."""
        with self._changed:
            return self._closed or any(one != name for one in self._jobs)

    @property
    def closed(self) -> bool:
        """Whether the thread should end: long steps ask for it."""
        return self._closed

    def close(self, at_end: Callable[[], None] = lambda: None) -> None:
        """End after the present step; returns at once. ``at_end`` is called by the thread, last."""
        with self._changed:
            self._at_end.append(at_end)
            self._closed = True
            self._changed.notify()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of a closed thread; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _drop(self, name: str) -> None:
        job = self._jobs.pop(name, None)
        if job is not None and job.steps is not None:
            self._dropped.append(job)

    def _run(self) -> None:
        job: Optional[_Job] = None
        while True:
            with self._changed:
                while not (self._jobs or self._dropped or self._closed):
                    self._changed.wait()
                dropped, self._dropped = self._dropped, []
                if self._closed:
                    dropped += [one for one in self._jobs.values() if one.steps is not None]
                    self._jobs = {}
                job = min(self._jobs.values(), key=lambda one: (one.urgency, one.number), default=None)
            for one in dropped:
                self._end(one)
            if job is not None:
                self._step(job)
            elif self._closed:
                break
        for call in self._at_end:
            call()

    def _step(self, job: _Job) -> None:
        problem = ""
        try:
            if job.steps is None:
                job.steps = job.begin()
            next(job.steps)
            return
        except (StopIteration, Cancelled):
            pass
        except RuntimeFault as fault:
            problem = words(fault)
        except MemoryError:
            problem = tr("There is not enough memory.")
        except OSError as error:
            problem = tr("A file cannot be read or written ({error}).").format(error=error)
        except Exception as error:  # else the thread ends and the panel stands still without a word
            self.voice.broke.emit(error)
        finally:
            done = job.steps is None or problem or getattr(job.steps, "gi_frame", None) is None
            if done:
                with self._changed:
                    if self._jobs.get(job.name) is job:
                        del self._jobs[job.name]
        if problem and not self._closed:
            self.fail(problem)

    def _end(self, job: _Job) -> None:
        close = getattr(job.steps, "close", None)
        if close is not None:
            with suppress(RuntimeFault, OSError):  # of a job that nobody waits for
                close()

"""The points of a sample while they are labelled: which one is shown, what was answered, and that it reaches the file."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ...runtime.errors import RuntimeFault
from ...runtime.sampling.sample_file import Point, SampleFile, check_writable, read_sample, save_answers
from ...texts import tr
from ..widgets import Background

AGAIN_MS = 1500  # after which what could not be saved is tried again
_LAST_PATIENCE = 0.5  # seconds that another program may write while the panel closes


class Answers(QObject):
    """Holds a sample; what was answered is saved at once, in the background, and again until it could be.

    Attributes:
        sample: None before a file is opened.
        at: index of the point that is shown.
    """

    opened = pyqtSignal()
    moved = pyqtSignal()  # to another point, or its answer changed
    saved = pyqtSignal()  # nothing waits any more
    problem = pyqtSignal(str)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.sample: Optional[SampleFile] = None
        self.points: list[Point] = []
        self.at = 0
        self._waiting: dict[int, Point] = {}  # by fid: what the file does not hold yet
        self._task: Any = None  # that saves
        self._opening: Any = None
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(AGAIN_MS)
        self._again.timeout.connect(self._save)

    @property
    def point(self) -> Optional[Point]:
        """The one that is shown."""
        return self.points[self.at] if self.points else None

    @property
    def labelled(self) -> int:
        """Number of points that have a class."""
        return sum(bool(point.answer) for point in self.points)

    @property
    def complete(self) -> bool:
        """Whether every point was seen."""
        return all(point.seen for point in self.points)

    @property
    def waiting(self) -> int:
        """Number of points whose answers are not in the file yet."""
        return len(self._waiting)

    @property
    def unsaved(self) -> str:
        """The answers that are not in the file yet, as text."""
        points = sorted(self._waiting.values(), key=lambda point: point.number)
        return "; ".join(" ".join(filter(None, (str(one.number), one.answer, one.notes))) for one in points)

    def open(self, path: Path) -> None:
        """Read a file in the background; ``opened`` or ``problem`` follows."""

        def work(keep_going) -> SampleFile:
            found = read_sample(path)
            check_writable(path)
            return found

        unreadable = tr("The file cannot be read ({error}).")
        self._opening = Background(tr("GeoAware: open a sample"), work, unreadable).start(self._read)

    def answer(self, name: str) -> None:
        """The class of the point that is shown; the next one that nobody has seen follows."""
        self._set(answer=name, seen=True)
        self.forward()

    def skip(self) -> None:
        """Leave the point as it is; the next one that nobody has seen follows."""
        self._set(seen=True)
        self.forward()

    def note(self, text: str) -> None:
        """Write a note on the point that is shown."""
        point = self.point
        if point is not None and point.notes != text:
            self._set(notes=text)

    def forward(self) -> None:
        """Go to the next point that nobody has seen, from the first again after the last; to the next one if there is none."""
        count = len(self.points)
        order = [(self.at + step) % count for step in range(1, count + 1)] if count else []
        self.at = next((at for at in order if not self.points[at].seen), min(self.at + 1, count - 1))
        self.moved.emit()

    def back(self) -> None:
        """Go to the point before."""
        self.go(self.at - 1)

    def go(self, at: int) -> None:
        """Go to a point by its index."""
        if 0 <= at < len(self.points):
            self.at = at
            self.moved.emit()

    def close(self) -> bool:
        """Save what waits, now; returns whether all of it is in the file."""
        self._again.stop()
        if self._waiting and self.sample is not None:
            try:
                save_answers(self.sample.path, [*self._waiting.values()], _LAST_PATIENCE)
            except RuntimeFault:
                return False
            self._waiting = {}
        return True

    def _read(self, sample: Optional[SampleFile], problem: str) -> None:
        self._opening = None
        if sample is None:
            self.problem.emit(problem)
            return
        if not self.close():
            self.problem.emit(tr("The answers to the sample before could not be saved; it stays open."))
            return
        self.sample, self.points = sample, list(sample.points)
        self.at = next((at for at, point in enumerate(self.points) if not point.seen), 0)
        self.opened.emit()
        self.moved.emit()

    def _set(self, **changes: Any) -> None:
        if not self.points:
            return
        changed = self.points[self.at] = replace(self.points[self.at], **changes)
        self._waiting[changed.fid] = changed
        self._save()

    def _save(self) -> None:
        if self._task is not None or self.sample is None or not self._waiting:
            return
        path, points = self.sample.path, [*self._waiting.values()]

        def work(keep_going) -> "list[Point]":
            save_answers(path, points)
            return points

        unwritable = tr("The file cannot be written ({error}).")
        self._task = Background(tr("GeoAware: save answers"), work, unwritable).start(self._ended)

    def _ended(self, points: "Optional[list[Point]]", problem: str) -> None:
        self._task = None
        if points is None:
            text = tr("{problem}. {count} answers wait in this panel, and are saved as soon as that is possible.")
            self.problem.emit(text.format(problem=problem.rstrip("."), count=len(self._waiting)))
            self._again.start()
            return
        for point in points:
            if self._waiting.get(point.fid) is point:
                del self._waiting[point.fid]
        if self._waiting:
            self._save()
        else:
            self.saved.emit()

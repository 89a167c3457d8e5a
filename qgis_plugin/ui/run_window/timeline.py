"""A line of time with a mark for each layer of a series: how much of it holds data, is masked, or is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Optional

from qgis.PyQt.QtCore import QEvent, QRectF, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QPainter, QPen
from qgis.PyQt.QtWidgets import QSizePolicy, QToolTip, QWidget

from ...texts import number, tr

_HEIGHT, _BAR, _WIDE = 104, 50, 12  # px: of the widget, of a mark, and its width
_MARGIN, _TOP = 34, 18  # px beside the line of time, and above the marks
DATA, MASKED, GAPS, WRONG = QColor("#4a8f3c"), QColor("#7fb2e5"), QColor("#d9d9d9"), QColor("#c00000")
_TWICE = QColor("#e07b00")
_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240)  # months between the labels of the line


@dataclass(frozen=True)
class Look:
    """What a sample of a layer shows.

    Attributes:
        gaps: share of its area without data; None where no sample is read, of a service.
        masked: share that its mask band hides of what holds data otherwise.
        problem: why it could not be read; empty where it could.
    """

    gaps: Optional[float] = None
    masked: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Mark:
    """What is known of a layer of a series.

    Attributes:
        day: None where no date is known.
        gaps: share of its area without data, None before that is known.
        masked: share that its mask band drops, of all its area.
        problem: why it cannot be used; empty where it can.
    """

    title: str
    day: Optional[date] = None
    gaps: Optional[float] = None
    masked: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        """One line for people."""
        parts = [self.day.isoformat() if self.day else tr("no date"), self.title]
        if self.gaps is not None:
            parts.append(tr("no data {share} %").format(share=number(100 * self.gaps, ".0f")))
            if self.masked:
                parts.append(tr("masked {share} %").format(share=number(100 * self.masked, ".0f")))
        return " · ".join([*parts, *([self.problem] if self.problem else [])])


def twice(marks: Sequence[Mark]) -> set[date]:
    """Days that more than one layer has."""
    counts = Counter(mark.day for mark in marks if mark.day)
    return {day for day, count in counts.items() if count > 1}


class Timeline(QWidget):
    """Draws marks; a click on one picks it, its tool tip says what is known."""

    picked = pyqtSignal(int)  # place of the mark

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Mark] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def sizeHint(self):
        """As high as marks and labels need."""
        return QSize(320, _HEIGHT)

    def minimumSizeHint(self):
        """Half as wide."""
        return QSize(160, _HEIGHT)

    def show_marks(self, marks: Sequence[Mark]) -> None:
        """Draw other marks."""
        self.marks = list(marks)
        self.setAccessibleName(tr("Dates of the series"))
        self.setAccessibleDescription("\n".join(map(str, self.marks)))
        self.update()

    def places(self) -> list[QRectF]:
        """Where each mark is drawn; those without a date stand at the left, those of one day beside each other."""
        days = [mark.day for mark in self.marks if mark.day]
        first, last = (min(days), max(days)) if days else (date.today(), date.today())
        undated = sum(mark.day is None for mark in self.marks)
        left = _MARGIN + undated * (_WIDE + 3) + (12 if undated else 0)
        room, seen, unplaced = max(self.width() - left - _MARGIN, 1), Counter[Optional[date]](), 0
        counts, places = Counter(days), []
        for mark in self.marks:
            if mark.day is None:
                x = _MARGIN / 2 + unplaced * (_WIDE + 3)
                unplaced += 1
            else:
                share = (mark.day - first).days / max((last - first).days, 1) if last > first else 0.5
                x = left + share * room - counts[mark.day] * _WIDE / 2 + seen[mark.day] * _WIDE
                seen[mark.day] += 1
            places.append(QRectF(x, _TOP, _WIDE, _BAR))
        return places

    def mark_at(self, x: float, y: float) -> int:
        """Place of the mark under a pixel of the widget; -1 where there is none."""
        hit = [at for at, place in enumerate(self.places()) if place.adjusted(-2, -_TOP, 2, 6).contains(x, y)]
        return hit[-1] if hit else -1

    def paintEvent(self, event):
        """Draw the line of time, then the marks."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        places, doubled = self.places(), twice(self.marks)
        self._draw_line(painter, places)
        for mark, place in zip(self.marks, places):
            color = _TWICE if mark.day in doubled else WRONG if mark.day is None or mark.problem else None
            self._draw_mark(painter, mark, place, color)
        painter.end()

    def mouseReleaseEvent(self, event):
        """Pick the mark under the cursor."""
        at = self.mark_at(event.pos().x(), event.pos().y())
        if at >= 0:
            self.picked.emit(at)

    def event(self, event):
        """Show what is known of the mark under the cursor."""
        if event.type() == QEvent.Type.ToolTip:
            at = self.mark_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), str(self.marks[at]) if at >= 0 else "", self)
            return True
        return super().event(event)

    def _draw_mark(self, painter: QPainter, mark: Mark, place: QRectF, frame: Optional[QColor]) -> None:
        bar = place.adjusted(1.5, 0, -1.5, 0)
        if mark.gaps is not None:
            painter.fillRect(bar, GAPS)
            data, masked = 1 - mark.gaps - mark.masked, mark.masked
            low = bar.bottom() - bar.height() * max(data, 0)
            painter.fillRect(QRectF(bar.left(), low, bar.width(), bar.bottom() - low), DATA)
            painter.fillRect(
                QRectF(bar.left(), low - bar.height() * masked, bar.width(), bar.height() * masked), MASKED
            )
        painter.setPen(QPen(frame or self.palette().mid().color(), 2 if frame else 1))
        painter.drawRect(bar)
        if frame:
            painter.drawText(
                place.adjusted(-6, -_TOP, 6, -_BAR - 2), Qt.AlignmentFlag.AlignCenter, "?" if mark.day is None else "!"
            )

    def _draw_line(self, painter: QPainter, places: Sequence[QRectF]) -> None:
        y = _TOP + _BAR + 4
        painter.setPen(self.palette().windowText().color())
        dated = [(mark.day, place.center().x()) for mark, place in zip(self.marks, places) if mark.day]
        if not dated:
            return
        (first, start), (last, end) = min(dated), max(dated)
        painter.drawLine(int(start - _WIDE), y, int(end + _WIDE), y)
        for day, label in labels(first, last, max(int((end - start) / 64), 1)):
            share = (day - first).days / max((last - first).days, 1)
            x = start + share * (end - start)
            painter.drawLine(int(x), y, int(x), y + 4)
            painter.drawText(QRectF(x - 40, y + 5, 80, 20), Qt.AlignmentFlag.AlignCenter, label)


def labels(first: date, last: date, most: int) -> list[tuple[date, str]]:
    """At most so many days between two, and what is written at them: begins of months or years; at least the first day."""
    months = (last.year - first.year) * 12 + last.month - first.month
    step = next((step for step in _STEPS if months / step <= most), _STEPS[-1])
    found = []
    for count in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        day = date(count // 12, count % 12 + 1, 1)
        if count % step == 0 and first <= day <= last:
            found.append((day, str(day.year) if step >= 12 else f"{day.year}-{day.month:02d}"))
    if len(found) < 2:
        ends = [first] if last - first < timedelta(days=2) or most < 2 else [first, last]
        return [(day, day.isoformat()) for day in ends]
    return found

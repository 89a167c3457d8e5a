"""A plot of lines over dates, drawn with Qt alone, that tells the numbers under the cursor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Optional

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QPainter, QPen, QPixmap
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

from ...texts import number, tr

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b4ea3", "#8c564b", "#7f7f7f", "#b5bd00")
_NATURAL = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4", "nir": "#8c4b2f", "nir08": "#8c4b2f"}
_POINT, _PAD, _TICK = 3.0, 8, 4  # px: radius of a point, around texts, length of a tick
_MOST_READ = 8  # lines in the read-out, the highest ones
_ROWS = 3  # of the legend, at most
_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240)  # months between labels


@dataclass(frozen=True)
class PlotLine:
    """One line; ``numbers`` has one for each date, NaN where there is none."""

    title: str
    color: QColor
    numbers: Sequence[float]


@dataclass(frozen=True)
class PlotData:
    """What is drawn.

    Attributes:
        gaps: why a date has no numbers; empty where it has.
        span: lowest and highest number of the axis; None: those of the lines.
        spec: how numbers are formatted, ``%`` for shares.
    """

    title: str = ""
    days: Sequence[date] = ()
    lines: Sequence[PlotLine] = ()
    gaps: Sequence[str] = ()
    unit: str = ""
    span: Optional[tuple[float, float]] = None
    spec: str = ".4g"
    hint: str = field(default="", compare=False)  # shown where there is nothing to draw

    def text_of(self, value: float) -> str:
        """A number for people."""
        return f"{number(100 * value, '.0f')} %" if self.spec == "%" else number(value, self.spec)

    def reading(self, at: int) -> list[tuple[str, Optional[QColor]]]:
        """What is known of a date: lines of text with the colour of what they tell of, the highest numbers first."""
        found = [line for line in self.lines if not math.isnan(line.numbers[at])]
        found.sort(key=lambda line: -line.numbers[at])
        lines: list[tuple[str, Optional[QColor]]] = [(self.days[at].isoformat(), None)]
        lines += [(f"{line.title}  {self.text_of(line.numbers[at])}", line.color) for line in found[:_MOST_READ]]
        return lines if not self.gaps[at] else [*lines, (self.gaps[at], None)]


def band_color(name: str, at: int) -> QColor:
    """Of the line of a band: its own for visible ones, else one of a row that also tells for the colour-blind."""
    return QColor(_NATURAL.get(name.strip().lower(), _COLORS[at % len(_COLORS)]))


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """At most so many round numbers within a span, but at least its middle."""
    width = high - low
    if not width > 0 or not math.isfinite(width):
        return [low]
    power = 10.0 ** math.floor(math.log10(width / max(most, 1)))
    step = next((power * times for times in (1, 2, 5, 10) if width / (power * times) <= most), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [round(count * step, 12) for count in range(first, math.floor(high / step + 1e-9) + 1)] or [(low + high) / 2]


def date_ticks(first: date, last: date, most: int) -> list[tuple[date, str]]:
    """At most so many begins of months or years within a span, and how they are labelled; else its ends."""
    months = (last.year - first.year) * 12 + last.month - first.month
    step = next((step for step in _STEPS if months / step <= most), _STEPS[-1])
    found = []
    for count in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        day = date(count // 12, count % 12 + 1, 1)
        if count % step == 0 and first <= day <= last:
            found.append((day, str(day.year) if step >= 12 else f"{day.year}-{day.month:02d}"))
    if len(found) > 1:
        return found
    return [(day, day.isoformat()) for day in ([first, last] if last > first and most > 1 else [first])]


class CurvePlot(QWidget):
    """Draws lines over dates. A dashed part spans dates without numbers, which are crossed on the axis.

    Attributes:
        at: the date whose numbers are shown, by its place; -1 for none.
    """

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.data, self.at = PlotData(), -1
        self._measured: Optional[tuple[QRectF, tuple[float, float]]] = None  # frame and span
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(220, 130)
        self.setAccessibleName(tr("Season curve"))

    def sizeHint(self):
        """Wide and low, for a panel below the map."""
        return QSize(560, 230)

    def show_data(self, data: PlotData) -> None:
        """Draw something else; the date that is read stays."""
        self.data, self._measured = data, None
        self.at = self.at if self.at < len(data.days) else -1
        rows = [self.data.reading(at) for at in range(len(data.days))]
        self.setAccessibleDescription("\n".join("; ".join(text for text, _ in row) for row in rows))
        self.update()

    def picture(self) -> QPixmap:
        """The plot without the read-out, at twice the size for print."""
        scale = 2
        made = QPixmap(self.size() * scale)
        made.setDevicePixelRatio(scale)
        made.fill(QColor("#ffffff"))
        painter = QPainter(made)
        self._draw(painter, QColor("#202020"), -1)
        painter.end()
        return made

    # the place of things

    def resizeEvent(self, event):
        """Everything has another place."""
        super().resizeEvent(event)
        self._measured = None

    def changeEvent(self, event):
        """With another font too."""
        super().changeEvent(event)
        self._measured = None

    def frame(self) -> QRectF:
        """Where the lines are drawn."""
        return self._measure()[0]

    def _measure(self) -> tuple[QRectF, tuple[float, float]]:
        if self._measured is None:
            span = self._find_span()
            self._measured = self._find_frame(span), span
        return self._measured

    def _find_frame(self, span: tuple[float, float]) -> QRectF:
        metrics = self.fontMetrics()
        widest = max((metrics.horizontalAdvance(self.data.text_of(tick)) for tick in self._ticks(span)), default=20)
        top = _PAD + (len(self._legend()) + 1) * metrics.height()
        left = _PAD + widest + _TICK + 4
        below = metrics.height() + _TICK + 6
        return QRectF(left, top, max(self.width() - left - 3 * _PAD, 1), max(self.height() - top - below, 1))

    def x_of(self, day: date) -> float:
        """Of a date, in px."""
        frame, days = self.frame(), self.data.days
        inside = frame.adjusted(2 * _PAD, 0, -2 * _PAD, 0)
        length = (days[-1] - days[0]).days
        return inside.center().x() if not length else inside.left() + (day - days[0]).days / length * inside.width()

    def y_of(self, value: float) -> float:
        """Of a number, in px."""
        frame, (low, high) = self._measure()
        return frame.bottom() - (value - low) / (high - low) * frame.height()

    def _find_span(self) -> tuple[float, float]:
        if self.data.span:
            return self.data.span
        values = [one for line in self.data.lines for one in line.numbers if math.isfinite(one)]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
        return low - room, high + room

    def _ticks(self, span: tuple[float, float]) -> list[float]:
        most = max(int(self.height() / 3 / self.fontMetrics().height()), 2)
        return nice_ticks(*span, most) if self.data.lines else []

    def _legend(self) -> list[list[tuple[float, PlotLine]]]:
        """Rows of lines, each with its place from the left in px; those that reach highest come first where room is short."""
        metrics, rows = self.fontMetrics(), [[]]  # type: ignore[var-annotated]
        x = 0.0
        lines = list(self.data.lines) if len(self.data.lines) > 1 else []
        if len(lines) > _MOST_READ:
            lines.sort(key=lambda line: -max((one for one in line.numbers if math.isfinite(one)), default=-math.inf))
        for line in lines:
            width = 22 + metrics.horizontalAdvance(line.title) + 2 * _PAD
            if x and x + width > self.width() - 2 * _PAD:
                rows.append([])
                x = 0.0
            rows[-1].append((x, line))
            x += width
        return rows[:_ROWS] if rows[0] else []

    # drawing

    def paintEvent(self, event):
        """Called by Qt."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().base())
        self._draw(painter, self.palette().text().color(), self.at)
        painter.end()

    def _draw(self, painter: QPainter, ink: QColor, at: int) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.font())
        if not self.data.days:
            painter.setPen(ink)
            area = QRectF(self.rect()).adjusted(_PAD, _PAD, -_PAD, -_PAD)
            painter.drawText(area, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), self.data.hint)
            return
        self._draw_frame(painter, ink)
        for line in self.data.lines:
            self._draw_line(painter, line)
        if 0 <= at < len(self.data.days):
            self._draw_reading(painter, ink, at)

    def _draw_frame(self, painter: QPainter, ink: QColor) -> None:
        frame, metrics, faint = self.frame(), self.fontMetrics(), QColor(ink)
        faint.setAlpha(45)
        height = metrics.height()
        painter.setPen(ink)
        unit = f" ({self.data.unit})" if self.data.unit else ""
        title = metrics.elidedText(self.data.title + unit, Qt.TextElideMode.ElideRight, self.width() - 2 * _PAD)
        painter.drawText(QRectF(_PAD, 2, self.width() - 2 * _PAD, height), int(Qt.AlignmentFlag.AlignLeft), title)
        for row, entries in enumerate(self._legend(), start=1):
            for x, line in entries:
                y = 2 + row * height + height / 2
                painter.setPen(QPen(line.color, 2))
                painter.drawLine(QPointF(_PAD + x, y), QPointF(_PAD + x + 16, y))
                painter.setPen(ink)
                painter.drawText(QPointF(_PAD + x + 21, 2 + row * height + metrics.ascent()), line.title)
        for tick in self._ticks(self._measure()[1]):
            y = self.y_of(tick)
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(ink)
            text = QRectF(0, y - height / 2, frame.left() - _TICK - 2, height)
            painter.drawText(
                text, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), self.data.text_of(tick)
            )
        painter.drawLine(frame.bottomLeft(), frame.bottomRight())
        days = self.data.days
        widest = metrics.horizontalAdvance("2000-00-00") + _PAD
        for day, label in date_ticks(days[0], days[-1], max(int(frame.width() / widest) - 1, 1)):
            x = self.x_of(day)
            painter.drawLine(QPointF(x, frame.bottom()), QPointF(x, frame.bottom() + _TICK))
            text = QRectF(x - widest / 2, frame.bottom() + _TICK + 1, widest, height)
            painter.drawText(text, int(Qt.AlignmentFlag.AlignCenter), label)
        self._draw_gaps(painter, ink)

    def _draw_gaps(self, painter: QPainter, ink: QColor) -> None:
        """A cross on the axis for each date that has none."""
        y, size = self.frame().bottom(), _POINT + 0.5
        painter.setPen(QPen(QColor("#c00000"), 1.6))
        for day, gap in zip(self.data.days, self.data.gaps):
            if gap:
                x = self.x_of(day)
                painter.drawLine(QPointF(x - size, y - size), QPointF(x + size, y + size))
                painter.drawLine(QPointF(x - size, y + size), QPointF(x + size, y - size))
        painter.setPen(ink)

    def _draw_line(self, painter: QPainter, line: PlotLine) -> None:
        places = [
            (at, QPointF(self.x_of(day), self.y_of(value)))
            for at, (day, value) in enumerate(zip(self.data.days, line.numbers))
            if math.isfinite(value)
        ]
        painter.save()
        painter.setClipRect(self.frame().adjusted(-_POINT, -_POINT, _POINT, _POINT))
        for (before, start), (after, end) in zip(places, places[1:]):
            style = Qt.PenStyle.SolidLine if after == before + 1 else Qt.PenStyle.DashLine
            painter.setPen(QPen(line.color, 1.7 if after == before + 1 else 1.1, style))
            painter.drawLine(start, end)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(line.color)
        for at, point in places:
            radius = _POINT + (1.5 if at == self.at else 0)
            painter.drawEllipse(point, radius, radius)
        painter.restore()

    def _draw_reading(self, painter: QPainter, ink: QColor, at: int) -> None:
        frame, metrics = self.frame(), self.fontMetrics()
        x = self.x_of(self.data.days[at])
        painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))
        lines = self.data.reading(at)
        most = self.width() - 2 * _PAD - 20
        texts = [metrics.elidedText(text, Qt.TextElideMode.ElideRight, most) for text, _ in lines]
        width = max(map(metrics.horizontalAdvance, texts)) + 26
        height = len(lines) * metrics.height() + _PAD
        left = x + _PAD if x + _PAD + width < self.width() else max(x - _PAD - width, 0)
        box = QRectF(left, max(min(frame.top() + 2, self.height() - height - 2), 0), width, height)
        painter.setBrush(self.palette().toolTipBase())
        painter.setPen(QPen(self.palette().toolTipText().color(), 0.6))
        painter.drawRect(box)
        for row, (text, (_, color)) in enumerate(zip(texts, lines)):
            y = box.top() + _PAD / 2 + row * metrics.height()
            if color is not None:
                painter.fillRect(QRectF(box.left() + 6, y + metrics.height() / 2 - 4, 8, 8), color)
            painter.setPen(self.palette().toolTipText().color())
            painter.drawText(QPointF(box.left() + (20 if color is not None else 6), y + metrics.ascent()), text)

    # reading

    def mouseMoveEvent(self, event):
        """Read the date that is nearest to the cursor."""
        x, days = event.pos().x(), self.data.days
        self._read(min(range(len(days)), key=lambda at: abs(self.x_of(days[at]) - x)) if days else -1)

    def leaveEvent(self, event):
        """Read no date any more."""
        self._read(-1)

    def keyPressEvent(self, event):
        """Left and right read the date before and the next one."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() not in steps or not self.data.days:
            super().keyPressEvent(event)
            return
        last = len(self.data.days) - 1
        start = self.at if self.at >= 0 else -1 if steps[event.key()] > 0 else last + 1
        self._read(min(max(start + steps[event.key()], 0), last))

    def _read(self, at: int) -> None:
        if at != self.at:
            self.at = at
            self.update()

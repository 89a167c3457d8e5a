"""How a curve of the runtime is drawn: names and colours of its lines, span and format of its numbers."""

import math

from qgis.PyQt.QtGui import QColor

from ...runtime.curve import PROBABILITIES, SIMILARITY, VALUES, Curve
from ...texts import tr, words
from .plot import PlotData, PlotLine, band_color


def plotted(curve: Curve, title: str) -> PlotData:
    """A curve as it is drawn."""
    numbers = curve.numbers
    days = [one.day for one in curve.readings]
    gaps = [words(one.gap) if one.gap else "" for one in curve.readings]
    names = [tr("similarity to the mean of all dates")] if curve.kind == SIMILARITY else list(curve.lines)
    colors = [QColor(f"#{one}") for one in curve.colors] or [band_color(name, at) for at, name in enumerate(names)]
    lines = [PlotLine(name, color, numbers[:, at].tolist()) for at, (name, color) in enumerate(zip(names, colors))]
    if curve.kind == PROBABILITIES:
        most = max((one for line in lines for one in line.numbers if one == one), default=1.0)
        top = min(max(math.ceil(most * 10 + 0.2) / 10, 0.5), 1.0)  # models of many classes are seldom sure
        return PlotData(title, days, lines, gaps, tr("probability"), (0.0, top), "%")
    if curve.kind == SIMILARITY:
        return PlotData(title, days, lines, gaps, names[0], None, ".3f")
    return PlotData(title, days, lines, gaps, curve.unit if curve.kind == VALUES else "")

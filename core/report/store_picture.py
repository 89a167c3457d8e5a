"""The picture of a chip store: contact sheet, map, class counts, dates."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.files import write_whole
from core.imagery.land import land_mask
from core.report.canvas import DPI, EDGE, INK, MUTED, RULE, SPLIT_COLOURS, WIDTH, Canvas, page_style
from core.report.chip_pictures import class_colours
from core.report.sheet import Sheet, date_text
from core.store.read import SPLITS, ChipStore
from core.store.sphere import METRES_PER_DEGREE
from core.store.summary import Extent, Summary, counted, degrees, known_dates

_MAP = (7.3, 3.65)  # two to one, for the whole world
_AXIS = 0.5  # for tick labels
_MAP_BLOCK = _MAP[1] + 0.5  # with its title
_DATES_BLOCK = 1.5
_RIGHT = EDGE + _AXIS + _MAP[0] + 0.45  # left edge of the right column
_BARS = 20  # classes in the chart
_PITCH = 0.25  # distance of bars
_POINTS = 20_000  # places on the map
_SEA, _LAND, _PAPER = "#eef3f7", "#dcdcd3", "#f6f7f8"
_UNLABELLED_COLOUR = "#b4bcc4"


def write_picture(store: ChipStore, summary: Summary, path: Path) -> None:
    """Draw a store as a PNG; an existing file is replaced.

    Raises:
        UserError: a shard is corrupt.
        OSError: the picture cannot be written.
    """
    content = io.BytesIO()
    with page_style():
        draw_page(store, summary).savefig(content, format="png", dpi=DPI, facecolor="white")
    write_whole(path, content.getvalue())


def draw_page(store: ChipStore, summary: Summary) -> Figure:
    """Draw the page; its axes have the labels map, dates, and the name of each split for its class counts."""
    sheet, bars = Sheet.of(store), _Bars.of(store, summary)
    top = EDGE + 0.85 + sheet.height + 0.35
    # Below the sheet: places left, classes right, dates where they fit.
    places = _MAP_BLOCK if summary.extent is not None else 0.55
    dates_right = bars.height + 0.4 + _DATES_BLOCK <= places
    below = places if dates_right else places + _DATES_BLOCK + 0.3
    bare = summary.extent is None and summary.first is None
    height = top + (places + 0.1 + bars.height if bare else max(below, bars.height)) + 0.15
    page = Canvas(Figure(figsize=(WIDTH, height), dpi=DPI), height)
    _title(page, store, summary)
    sheet.draw(page, store, EDGE + 0.85)
    _draw_places(page, store, summary, top)
    if bare:
        bars.draw(page, EDGE, top + places + 0.1)
        return page.figure
    bars.draw(page, _RIGHT, top)
    if dates_right:
        _draw_dates(page, store, summary, _RIGHT, top + bars.height + 0.4, WIDTH - EDGE - _RIGHT)
    else:
        _draw_dates(page, store, summary, EDGE, top + places + 0.3, _AXIS + _MAP[0])
    return page.figure


def _title(page: Canvas, store: ChipStore, summary: Summary) -> None:
    info, room = store.info, WIDTH - 2 * EDGE
    page.text(EDGE, EDGE + 0.2, store.path.resolve().name, width=room, fontsize=17, weight="bold")
    facts = [f"{counted(summary.images, 'image')} of {counted(len(summary.dates), 'place')}"]
    if summary.first is not None:
        first, last = date_text(summary.first), date_text(summary.last)
        facts.append(first if first == last else f"{first} to {last}")
    size = f"{info.chip_size} px" + ("" if info.gsd is None else f" of {info.gsd:.4g} m")
    facts += [f"chips of {size}", f"{counted(len(info.bands), 'band')}, {info.dtype}"]
    if info.provenance:
        facts.append(info.provenance)
    page.text(EDGE, EDGE + 0.46, " · ".join(facts), width=room, fontsize=9, color=MUTED)


def _draw_places(page: Canvas, store: ChipStore, summary: Summary, top: float) -> None:
    """Draw the map; its title has the number of places of each side."""
    x = page.heading(EDGE, top, "Places") + 0.2
    for name, count in zip(SPLITS, summary.split_places):
        if count:
            page.swatch(x, top, SPLIT_COLOURS[name])
            x += 0.14 + page.width(page.text(x + 0.14, top, f"{name} {count:,}", color=MUTED)) + 0.2
    if summary.extent is None:
        dates = "; no dates" if summary.first is None else ""
        page.text(EDGE, top + 0.28, f"no coordinates: no map{dates}", color=MUTED)
        return
    axes = page.axes(EDGE + _AXIS, top + 0.15, *_MAP, "map")
    window = _window(summary.extent, store)
    axes.set(xlim=(window.west, window.east), ylim=(window.south, window.north), facecolor=_PAPER)
    _draw_land(axes, window)
    drawn = _draw_points(axes, store, summary.extent, window)
    _graticule(axes, window)
    remarks = [f"{drawn:,} drawn"] if drawn < len(summary.dates) - summary.unlocated else []
    remarks += [f"{summary.unlocated:,} without coordinates"] if summary.unlocated else []
    page.text(x + 0.05, top, "; ".join(remarks), color=MUTED)
    if window.east - window.west < 20:
        _scale(page, window, EDGE + _AXIS + _MAP[0], top)


def _stretched(south: float, north: float) -> float:
    """Degrees of longitude per degree of latitude of the same length, at the centre; 1 for maps of the world."""
    return 1.0 if north - south > 60 else 1 / max(0.1, float(np.cos(np.radians((south + north) / 2))))


def _window(extent: Extent, store: ChipStore) -> Extent:
    """Extent of the map: the places with a margin, in the aspect ratio of the panel."""
    chip = store.info.chip_size * (store.info.gsd or 10.0) / METRES_PER_DEGREE
    stretch = _stretched(extent.south, extent.north)
    height = max((extent.north - extent.south) * 1.12, 4 * chip)
    width = max((extent.east - extent.west) * 1.08, 4 * chip * stretch)
    height = min(180.0, max(height, width / stretch * _MAP[1] / _MAP[0]))
    width = min(360.0, height * stretch * _MAP[0] / _MAP[1])
    south = np.clip((extent.south + extent.north - height) / 2, -90, 90 - height)
    west = (extent.west + extent.east - width) / 2
    if extent.east <= 180:
        west = np.clip(west, -180, 180 - width)
    return Extent(float(west), float(south), float(west + width), float(south + height))


def _draw_land(axes: Axes, window: Extent) -> None:
    """Draw land and sea, repeated beyond 180 degrees."""
    if window.east - window.west <= 20:
        return
    picture = np.where(land_mask()[..., None], to_rgb(_LAND), to_rgb(_SEA))
    for turn in (-360, 0, 360):
        axes.imshow(picture, extent=(-180 + turn, 180 + turn, -90, 90), aspect="auto", interpolation="bilinear")
    axes.set(xlim=(window.west, window.east), ylim=(window.south, window.north), facecolor=_SEA)


def _draw_points(axes: Axes, store: ChipStore, extent: Extent, window: Extent) -> int:
    """Draw one square per place, or a sample of them; return their number."""
    places = store.places
    located = np.flatnonzero(np.isfinite(places["lon"]) & np.isfinite(places["lat"]))
    total = len(located)
    if total > _POINTS:
        located = np.sort(np.random.default_rng(0).choice(located, _POINTS, replace=False, shuffle=False))
    shown = places.iloc[located]
    # Size of a chip on the map, but large enough that neighbouring places nearly touch. In points.
    points_a_degree = _MAP[1] * 72 / (window.north - window.south)
    chip = store.info.chip_size * (store.info.gsd or 0.0) / METRES_PER_DEGREE * points_a_degree
    filled = [
        max(0.1, (extent.east - extent.west) / (window.east - window.west)),  # a line of places has a width
        max(0.1, (extent.north - extent.south) / (window.north - window.south)),
    ]
    spread = 0.8 * 72 * np.sqrt(np.prod(filled) * np.prod(_MAP) / total)
    side = max(min(0.92 * chip, 40.0), float(np.clip(spread, 1.6, 8.0)))
    sides, lon, lat = shown["split"].to_numpy(), extent.unwrap(shown["lon"].to_numpy()), shown["lat"].to_numpy()
    for name in reversed(SPLITS):
        these = sides == name
        edge = {"edgecolors": "white", "linewidths": 0.5} if side > 4 else {"linewidths": 0}
        axes.scatter(lon[these], lat[these], s=side**2, marker="s", color=SPLIT_COLOURS[name], zorder=3, **edge)
    return len(located)


def _graticule(axes: Axes, window: Extent) -> None:
    """Lines of longitude and latitude at round numbers, labelled in degrees."""
    steps = [1, 1.5, 2, 3, 5, 6, 10] if window.east - window.west > 20 else [1, 2, 5, 10]
    for axis, low, high, signs in (
        (axes.xaxis, window.west, window.east, ("W", "E")),
        (axes.yaxis, window.south, window.north, ("S", "N")),
    ):
        ticks = np.array([at for at in MaxNLocator(6, steps=steps).tick_values(low, high) if low <= at <= high])
        decimals = next((digits for digits in range(8) if np.allclose(ticks, ticks.round(digits), 0, 1e-9)), 8)
        axis.set_ticks(ticks, [degrees(at, *signs, decimals) for at in ticks])
    axes.tick_params(length=0, labelsize=7.5, pad=4)
    axes.grid(color="#8896a3", alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)


def _scale(page: Canvas, window: Extent, right: float, y: float) -> None:
    """Draw a scale bar of a round length with its right end at ``right``."""
    metres_an_inch = METRES_PER_DEGREE * (window.north - window.south) / _MAP[1]
    power = 10.0 ** np.floor(np.log10(metres_an_inch * 1.5))
    length = max(step * power for step in (1, 2, 5) if step * power <= metres_an_inch * 1.5)
    width = length / metres_an_inch
    bar = np.full((3, round(width * DPI), 3), 40, np.uint8)
    page.picture(right - width, y - 0.04, bar)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    page.text(right - width - 0.08, y, text, color=MUTED, ha="right")


def _draw_dates(page: Canvas, store: ChipStore, summary: Summary, x: float, top: float, width: float) -> None:
    """Draw the number of images per month, or per year if they span more than three years."""
    dates = known_dates(store)
    dates = dates[~np.isnat(dates)]
    if not len(dates):
        page.heading(x, top, "Dates", "no image has a date")
        return
    months = dates.astype("datetime64[M]")
    unit = "M" if (months.max() - months.min()).astype(int) < 36 else "Y"
    numbers = months.astype(f"datetime64[{unit}]").astype(int)
    counts = np.bincount(numbers - numbers.min())
    without = f"{summary.undated:,} without a date" if summary.undated else ""
    page.heading(x, top, "Images by month" if unit == "M" else "Images by year", without)
    axes = page.axes(x + _AXIS, top + 0.15, width - _AXIS, _DATES_BLOCK - 0.5, "dates")
    axes.bar(np.arange(len(counts)), counts, width=0.8, color="#4f7a9c")
    middle, half = (len(counts) - 1) / 2, max(len(counts) / 2, 6) + 0.1  # keeps a single bar narrow
    axes.set_xlim(middle - half, middle + half)
    written = 0.52 * 2 * half / (width - _AXIS)  # bars covered by one date label
    at = np.arange(0, len(counts), int(np.ceil(written)))
    axes.set_xticks(at, [str(date) for date in (at + numbers.min()).astype(f"datetime64[{unit}]")])
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


@dataclass(frozen=True, eq=False)
class _Bars:
    """Class counts, one column per side of the split.

    Attributes:
        heading: title and note.
        names: of the bars.
        colours: of the bars.
        counts: (splits, bars).
        sides: numbers of the splits that have places.
    """

    heading: tuple[str, str]
    names: tuple[str, ...]
    colours: tuple[Any, ...]
    counts: np.ndarray
    sides: tuple[int, ...]

    @classmethod
    def of(cls, store: ChipStore, summary: Summary) -> _Bars:
        """Choose the most frequent classes; unlabelled images come last."""
        counts = summary.split_images if summary.split_objects is None else summary.split_objects
        noun = "Images" if summary.split_objects is None else "Objects"
        sides = tuple(np.flatnonzero(summary.split_places).tolist())
        classes = store.info.classes
        if not classes:
            return cls((noun, "no classes"), ("all",), (_UNLABELLED_COLOUR,), counts, sides)
        order = np.argsort(-counts[:, :-1].sum(axis=0), kind="stable")
        shown, others = order[:_BARS], order[_BARS:]
        left_out = f"{len(others):,} more with {counts[:, others].sum():,}" if len(others) else ""
        names, colours = [classes[number].name for number in shown], [*(class_colours(classes)[shown] / 255)]
        if counts[:, -1].any():
            shown = np.append(shown, len(classes))
            names.append("not labelled")
            colours.append(np.array(to_rgb(_UNLABELLED_COLOUR)))
        return cls((f"{noun} by class", left_out), tuple(names), tuple(colours), counts[:, shown], sides)

    @property
    def height(self) -> float:
        """Height of the panel with its title."""
        return 0.5 + _PITCH * len(self.names)

    def draw(self, page: Canvas, left: float, top: float) -> None:
        """Draw the names, and one column of bars per side."""
        logarithmic = any(_is_wide(self.counts[side]) for side in self.sides)
        title, note = self.heading
        page.heading(left, top, title, ", ".join(filter(None, [note, "log scale" if logarithmic else ""])))
        written = []
        for number, name in enumerate(self.names):
            y = top + 0.45 + (number + 0.5) * _PITCH + 0.035
            written.append(page.text(left, y, name, width=1.4, fontsize=7.5))
        room = max(map(page.width, written)) + 0.1
        width = (WIDTH - EDGE - left - room) / len(self.sides)
        for column, side in enumerate(self.sides):
            x = left + room + column * width
            page.swatch(x, top + 0.34, SPLIT_COLOURS[SPLITS[side]])
            axes = page.axes(x, top + 0.45, width - 0.12, _PITCH * len(self.names), SPLITS[side])
            _draw_bars(axes, self.counts[side], self.colours, width - 0.12, logarithmic)
            page.text(x + 0.14, top + 0.34, SPLITS[side], color=MUTED)


def _short(number: float) -> str:
    """A count in at most six characters: 12,345 or 1.23M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= max(size, 1e5):
            return f"{number / size:.3g}{unit}"
    return f"{number:,.0f}"


def _is_wide(counts: np.ndarray) -> bool:
    """Whether some bars would be invisible on a linear scale."""
    some = counts[counts > 0]
    return len(some) > 0 and some.max() > 200 * some.min()


def _draw_bars(axes: Axes, counts: np.ndarray, colours: tuple[Any, ...], width: float, logarithmic: bool) -> None:
    """Draw bars with their counts."""
    at = np.arange(len(counts))
    axes.barh(at, counts, height=0.72, color=colours, edgecolor="#00000055", linewidth=0.4)
    some = counts[counts > 0]
    most, least = (int(some.max()), int(some.min())) if len(some) else (1, 1)
    numbers = [_short(count) for count in counts]
    room = width / (width - 0.08 - 0.062 * max(map(len, numbers)))  # for the counts right of the bars
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(0.5 * least, 0.5 * least * (2 * most / least) ** room)
    else:
        axes.set_xlim(0, most * room)
    for position, count, number in zip(at, counts, numbers):
        start = count or axes.get_xlim()[0]
        style: dict[str, Any] = {"va": "center", "fontsize": 7, "color": INK if count else "#a9b3bc"}
        axes.annotate(number, (start, position), (3, 0), textcoords="offset points", **style)
    axes.set(ylim=(len(counts) - 0.5, -0.5), yticks=[], xticks=[])
    axes.minorticks_off()
    axes.spines[["top", "right", "bottom"]].set_visible(False)

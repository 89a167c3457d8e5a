"""The picture of a chip store: contact sheet, map, class counts, dates."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from tqdm import tqdm

from core.files import write_whole
from core.imagery.land import land_mask
from core.report.pictures import (
    DPI,
    EDGE,
    INK,
    MUTED,
    RULE,
    SPLIT_COLOURS,
    WIDTH,
    Canvas,
    Painter,
    boxes_of,
    class_colours,
    page_style,
    shorten,
)
from core.store.read import SPLITS, ChipStore
from core.store.sphere import METRES_PER_DEGREE
from core.store.summary import Extent, Summary, counted, degrees, known_dates

_GAP = 0.06  # between chips; lengths in inches
_LABELS = 1.75  # width of the names left of the chips
_SHEET = 9.4  # approximate height of the sheet
_POOL = 2000  # places to choose from
_MOST_CHIPS = 8  # in a row
_MAP = (7.3, 3.65)  # approximately; two to one, for the whole world
_POINTS = 20_000  # places on the map
_BARS = 20  # classes in the chart
_SEA, _LAND, _PAPER = "#eef3f7", "#dcdcd3", "#f6f7f8"
_UNLABELLED_COLOUR = "#b4bcc4"
_NOTE: dict[str, Any] = {"x": 0, "ha": "left", "y": 0.02, "va": "bottom", "fontsize": 8, "color": MUTED}


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
    sheet, bars = Sheet.of(store), min(len(store.info.classes), _BARS)
    above = EDGE + 0.85 + sheet.height
    below = max(1.4 + 0.25 * bars, 2.2 if summary.extent is None else 6.2)
    height = above + below
    page = Canvas(Figure(figsize=(WIDTH, height), dpi=DPI), height)
    page.text(EDGE, EDGE + 0.2, store.path.resolve().name, width=WIDTH - 2 * EDGE, fontsize=17, weight="bold")
    page.text(EDGE, EDGE + 0.46, _facts(store, summary), width=WIDTH - 2 * EDGE, fontsize=9, color=MUTED)
    sheet.draw(page, store, EDGE + 0.85)
    parts = page.figure.subfigures(
        2, 4, squeeze=False, width_ratios=(EDGE, 8, WIDTH - 8 - 2 * EDGE, EDGE), height_ratios=(above, below)
    )
    left, right = parts[1, 1:3]
    box = {"right": 0.98, "bottom": 0.5 / below, "top": 1 - 0.6 / below}
    _draw_places_and_dates(left, store, summary, box | {"left": 0.06, "hspace": 0.25})
    _draw_bars(right, store, summary, box | {"left": 0.27})
    return page.figure


def _facts(store: ChipStore, summary: Summary) -> str:
    info = store.info
    facts = [f"{counted(summary.images, 'image')} of {counted(len(summary.dates), 'place')}"]
    if summary.first is not None:
        facts.append(" to ".join(dict.fromkeys((date_text(summary.first), date_text(summary.last)))))
    size = f"{info.chip_size} px" + ("" if info.gsd is None else f" of {info.gsd:.4g} m")
    facts += [f"chips of {size}", f"{counted(len(info.bands), 'band')}, {info.dtype}", info.provenance]
    return " · ".join(filter(None, facts))


def date_text(date: np.datetime64 | None) -> str:
    """A date as YYYY-MM-DD."""
    return "no date" if date is None or np.isnat(date) else str(date)[:10]


@dataclass(frozen=True)
class _Strip:
    """A row of chips with its labels."""

    name: str
    notes: tuple[tuple[str, Any], ...]  # lines below the name, each with the colour of a swatch, or None
    rows: tuple[int, ...]  # of the index, one per chip
    captions: tuple[str, ...]
    mask_row: int | None = None  # index row whose mask is drawn after the chips


@dataclass(frozen=True)
class Sheet:
    """The contact sheet: places as rows and their dates as columns, or images by class."""

    strips: tuple[_Strip, ...]
    across: int  # strips in a row
    side: float  # of a chip
    heading: str

    @classmethod
    def of(cls, store: ChipStore) -> Sheet:
        """Choose the places and dates to show."""
        dates = min(_MOST_CHIPS, math.ceil(np.percentile(store.places["count"], 90)))
        masks = bool((store.column("mask") >= 0).any())
        cells = min(_MOST_CHIPS, dates + masks) if dates > 1 else _MOST_CHIPS
        across = 3 if cells == 2 else 2 if cells <= 5 else 1
        side = min(1.95, ((WIDTH - 2 * EDGE) / across - _LABELS - 0.15) / cells - _GAP)
        if dates == 1:
            return cls(tuple(_strips_by_kind(store)), 1, side, "Images")
        chosen = choose_places(store.places, across * max(3, round(_SHEET / (side + 0.3))))
        names = _names(store, store.places["first"].to_numpy()[chosen])
        strips = tuple(_strip_of_place(store, place, name, cells, masks) for place, name in zip(chosen, names))
        return cls(strips, min(across, len(strips)), side, "Places by date")

    @property
    def line(self) -> float:
        """Height of a strip with captions."""
        return max(self.side + 0.27, 0.85)

    @property
    def height(self) -> float:
        """Height of the sheet with its title."""
        return 0.3 + self.line * -(-len(self.strips) // self.across)

    def draw(self, page: Canvas, store: ChipStore, top: float) -> None:
        """Draw the strips from ``top`` down."""
        painter = Painter.of(store)
        shown = ", ".join(store.info.bands[number] for number in painter.bands)
        as_grey = " as grey" if len(painter.bands) == 1 else ""
        page.text(EDGE, top, self.heading, fontsize=10.5, weight="bold")
        page.text(EDGE + _LABELS, top, f"bands: {shown}{as_grey}; same stretch for all", color=MUTED)
        for number, strip in enumerate(self.strips):
            row, column = divmod(number, self.across)
            x = EDGE + column * (WIDTH - 2 * EDGE) / self.across
            self._draw_strip(page, painter, strip, x, top + 0.18 + row * self.line)

    def _draw_strip(self, page: Canvas, painter: Painter, strip: _Strip, x: float, y: float) -> None:
        room, side = _LABELS - 0.2, round(self.side * DPI)
        page.text(x, y + 0.14, strip.name, width=room, fontsize=8.5, weight="bold")
        for number, (note, colour) in enumerate(strip.notes):
            below = y + 0.32 + 0.16 * number
            indent = 0.0 if colour is None else 0.14
            if colour is not None:
                page.swatch(x, below, colour)
            page.text(x + indent, below, note, width=room - indent, fontsize=7.5, color=MUTED)
        boxes = boxes_of(painter.store, np.array(strip.rows))
        pictures = [
            painter.chip(row, side, None if boxes is None else boxes[boxes["image"] == row]) for row in strip.rows
        ]
        if strip.mask_row is not None:
            pictures.append(painter.mask(strip.mask_row, side))
        for number, (picture, caption) in enumerate(zip(pictures, (*strip.captions, "labels"))):
            left = x + _LABELS + number * (self.side + _GAP)
            page.picture(left, y, picture)
            page.text(
                left + self.side / 2, y + self.side + 0.13, caption,
                width=self.side, fontsize=7, color=MUTED, ha="center",
            )  # fmt: skip


def choose_places(places: pd.DataFrame, count: int) -> np.ndarray:
    """Numbers of a few places that differ in class and side and have many dates; reproducible."""
    pool = places.reset_index(drop=True).sample(min(len(places), _POOL), random_state=0)
    pool = pool.sort_values("count", ascending=False, kind="stable", key=lambda dates: dates.clip(upper=_MOST_CHIPS))
    ranks = {name: pool.groupby(name, observed=True).cumcount() for name in ("label", "split")}
    chosen = pool.assign(**ranks).sort_values(["label", "split"], kind="stable").index[:count]
    return pool.loc[chosen].sort_index().sort_values("label", kind="stable").index.to_numpy()


def _strip_of_place(store: ChipStore, number: int, name: str, cells: int, masks: bool) -> _Strip:
    place, classes = store.places.iloc[number], store.info.classes
    label, side = int(place["label"]), str(place["split"])
    steps = np.linspace(0, place["count"] - 1, cells - masks).round().astype(int)
    rows = int(place["first"]) + np.unique(steps)
    captions = tuple(date_text(date) for date in known_dates(store)[rows])
    masked = rows[store.column("mask")[rows] >= 0]
    notes: list[tuple[str, Any]] = [(side, SPLIT_COLOURS[side]), (_position(place["lon"], place["lat"]), None)]
    if label >= 0:
        notes.insert(0, (classes[label].name, class_colours(classes)[label] / 255))
    if place["count"] > len(rows):
        notes.append((f"{len(rows)} of {place['count']:,} images", None))
    return _Strip(name, tuple(notes), tuple(rows.tolist()), captions, int(masked[-1]) if len(masked) else None)


def _strips_by_kind(store: ChipStore) -> Iterator[_Strip]:
    """For places with one image: one strip per class, the most frequent first; without classes, one per side."""
    places, classes = store.places, store.info.classes
    kinds = places["label"].to_numpy() if classes else places["split"].cat.codes.to_numpy()
    numbers, counts = np.unique(kinds, return_counts=True)
    order = np.lexsort((-counts, numbers < 0))[:6]  # unlabelled places last
    names = [entry.name for entry in classes] or SPLITS
    colours = [*class_colours(classes) / 255] or [*SPLIT_COLOURS.values()]
    for number, count in zip(numbers[order], counts[order]):
        members = np.flatnonzero(kinds == number)
        chosen = members[choose_places(places.iloc[members], _MOST_CHIPS * (1 if len(order) > 2 else 3))]
        rows = places["first"].to_numpy()[chosen]
        name, colour = (names[number], colours[number]) if number >= 0 else ("not labelled", None)
        notes: tuple[tuple[str, Any], ...] = ((counted(int(count), "place"), colour),)
        for start in range(0, len(rows), _MOST_CHIPS):
            part = rows[start : start + _MOST_CHIPS]
            yield _Strip(name, notes, tuple(part.tolist()), tuple(_captions_of_images(store, part)))
            name, notes = "", ()


def _captions_of_images(store: ChipStore, rows: np.ndarray) -> Iterator[str]:
    """Position of each image; if unknown, its date; if unknown, its name."""
    lon, lat = (store.column(name)[rows] for name in ("lon", "lat"))
    for name, x, y, date in zip(_names(store, rows), lon, lat, known_dates(store)[rows]):
        yield _position(x, y) if np.isfinite(x + y) else name if np.isnat(date) else date_text(date)


def _names(store: ChipStore, rows: np.ndarray) -> list[str]:
    """Names of the places of these index rows; reads only the row groups that contain them."""
    index = pq.ParquetFile(store.path / "index.parquet")
    sizes = [index.metadata.row_group(group).num_rows for group in range(index.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    groups = np.searchsorted(starts, rows, side="right") - 1
    columns = {group: index.read_row_group(int(group), columns=["place"]).column(0) for group in np.unique(groups)}
    return [columns[group][int(row - starts[group])].as_py() for group, row in zip(groups, rows)]


def _position(lon: float, lat: float) -> str:
    if not np.isfinite(lon + lat):
        return "no coordinates"
    return f"{degrees(lat, 'S', 'N')} {degrees(lon, 'W', 'E')}"


def _draw_places_and_dates(part: SubFigure, store: ChipStore, summary: Summary, box: dict[str, float]) -> None:
    """Draw the legend with the number of places of each side, the map, and the dates below it."""
    sides = [(name, count) for name, count in zip(SPLITS, summary.split_places) if count]
    handles = [Patch(color=SPLIT_COLOURS[name], label=f"{name} {count:,}") for name, count in sides]
    part.legend(
        handles=handles, loc="upper left", ncols=len(handles), frameon=False, handlelength=0.8, borderpad=0, borderaxespad=0.3,
        title="Places", alignment="left", title_fontproperties={"size": 10.5, "weight": "bold"},
    )  # fmt: skip
    heights = (0.01 if summary.extent is None else _MAP[1], 1.0)
    axes = part.subplot_mosaic([["map"], ["dates"]], height_ratios=heights, gridspec_kw=box)
    missing = []
    if summary.extent is not None:
        _draw_map(axes["map"], store, summary, summary.extent)
    else:
        axes["map"].remove()
        missing.append("no coordinates: no map")
    if summary.first is not None:
        _draw_dates(axes["dates"], known_dates(store), summary.undated)
    else:
        axes["dates"].remove()
        missing.append("no dates")
    part.supxlabel("; ".join(missing), **_NOTE)


def _draw_map(axes: Axes, store: ChipStore, summary: Summary, extent: Extent) -> None:
    window = _window(extent, store)
    wide = window.east - window.west > 20
    if wide:  # land and sea, repeated beyond 180 degrees
        picture = np.uint8(np.where(land_mask()[..., None], to_rgb(_LAND), to_rgb(_SEA)) * 255)
        for turn in (-360, 0, 360):
            axes.imshow(picture, extent=(-180 + turn, 180 + turn, -90, 90), interpolation="bilinear")
    axes.set(xlim=(window.west, window.east), ylim=(window.south, window.north), facecolor=_SEA if wide else _PAPER)
    axes.set_aspect(_stretch(extent), anchor="NW")
    drawn = _draw_points(axes, store, extent, window)
    remarks = [f"{drawn:,} drawn"] if drawn < len(summary.dates) - summary.unlocated else []
    remarks += [f"{summary.unlocated:,} without coordinates"] if summary.unlocated else []
    axes.set_title("; ".join(remarks), loc="left", color=MUTED, fontsize=8)
    _label_degrees(axes.xaxis, "W", "E")
    _label_degrees(axes.yaxis, "S", "N")
    axes.tick_params(length=0, labelsize=7.5, pad=4)
    axes.grid(color="#8896a3", alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    if not wide:
        _draw_scale(axes, METRES_PER_DEGREE / _stretch(extent), window.east - window.west)


def _label_degrees(axis: Axis, negative: str, positive: str) -> None:
    low, high = axis.get_view_interval()
    decimals = max(0, math.ceil(-math.log10((high - low) / 6)))  # as the steps of six ticks need
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 6, 10]))
    axis.set_major_formatter(lambda at, _: degrees(at, negative, positive, decimals))


def _stretch(extent: Extent) -> float:
    """Degrees of longitude per degree of latitude of the same length, at the centre; 1 for maps of the world."""
    south, north = extent.south, extent.north
    return 1.0 if north - south > 60 else 1 / max(0.1, math.cos(math.radians((south + north) / 2)))


def _window(extent: Extent, store: ChipStore) -> Extent:
    """Extent of the map: the places with a margin, in the aspect ratio of the panel."""
    chip = store.info.chip_size * (store.info.gsd or 10.0) / METRES_PER_DEGREE
    stretch, ratio = _stretch(extent), _MAP[0] / _MAP[1]
    height = max((extent.north - extent.south) * 1.12, 4 * chip)
    width = max((extent.east - extent.west) * 1.08, 4 * chip * stretch)
    height = min(180.0, max(height, width / stretch / ratio))
    width = min(360.0, height * stretch * ratio)
    south = np.clip((extent.south + extent.north - height) / 2, -90, 90 - height)
    west = (extent.west + extent.east - width) / 2
    if extent.east <= 180:
        west = np.clip(west, -180, 180 - width)
    return Extent(float(west), float(south), float(west + width), float(south + height))


def _draw_points(axes: Axes, store: ChipStore, extent: Extent, window: Extent) -> int:
    """Draw one square per place, or a sample of them; return their number."""
    places = store.places
    located = places[np.isfinite(places["lon"]) & np.isfinite(places["lat"])]
    shown = located.sample(min(len(located), _POINTS), random_state=0).sort_index()
    # Size of a chip on the map, but large enough that neighbouring places nearly touch. In points.
    points_a_degree = _MAP[1] * 72 / (window.north - window.south)
    chip = store.info.chip_size * (store.info.gsd or 0.0) / METRES_PER_DEGREE * points_a_degree
    spread = 0.45 * 72 * math.sqrt(_MAP[0] * _MAP[1] / len(located))
    side = max(min(0.92 * chip, 40.0), float(np.clip(spread, 1.6, 8.0)))
    edge = {"edgecolors": "white", "linewidths": 0.5} if side > 4 else {"linewidths": 0}
    colours = [SPLIT_COLOURS[name] for name in shown["split"]]
    lon = extent.unwrap(shown["lon"].to_numpy())
    axes.scatter(lon, shown["lat"], s=side**2, marker="s", color=colours, zorder=3, **edge)
    return len(shown)


def _draw_scale(axes: Axes, metres: float, width: float) -> None:
    """Draw a scale bar of a round length; ``width`` of the map is in degrees of longitude of that many metres."""
    most = metres * width / 5
    power = 10.0 ** math.floor(math.log10(most))
    length = max(step * power for step in (1, 2, 5) if step * power <= most)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.add_artist(AnchoredSizeBar(axes.transData, length / metres, text, "lower right"))


def _draw_dates(axes: Axes, dates: np.ndarray, undated: int) -> None:
    """Draw the number of images per month, or per year if they span more than three years."""
    months = dates[~np.isnat(dates)].astype("datetime64[M]")
    unit, name = ("M", "month") if np.ptp(months).astype(int) < 36 else ("Y", "year")
    numbers = months.astype(f"datetime64[{unit}]").astype(int)
    counts = np.bincount(numbers - numbers.min())
    at = numbers.min() + np.arange(len(counts))
    axes.bar(at, counts, width=0.9, color="#4f7a9c")
    middle, half = at.mean(), max(len(counts) / 2, 6) + 0.1  # keeps a single bar narrow
    axes.set_xlim(middle - half, middle + half)
    axes.set_title(f"Images by {name}", loc="left", fontsize=10.5, weight="bold")
    axes.set_title(f"{undated:,} without a date" if undated else "", loc="right", color=MUTED, fontsize=8)
    ticks = at[:: math.ceil(len(at) / 10)]
    axes.set_xticks(ticks, [str(date) for date in ticks.astype(f"datetime64[{unit}]")])
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_bars(part: SubFigure, store: ChipStore, summary: Summary, box: dict[str, float]) -> None:
    """Draw the counts of the most frequent classes, one column of bars per side; unlabelled images come last."""
    counts, noun = summary.split_images, "Images"
    if summary.split_objects is not None:
        counts, noun = summary.split_objects, "Objects"
    classes = store.info.classes
    order = np.argsort(-counts[:, :-1].sum(axis=0), kind="stable")
    shown, others = order[:_BARS], order[_BARS:]
    names = [classes[number].name for number in shown]
    if counts[:, -1].any() or not classes:
        shown, names = np.append(shown, len(classes)), [*names, "not labelled" if classes else "all"]
    colours = np.array([*class_colours(classes) / 255, to_rgb(_UNLABELLED_COLOUR)])[shown]
    some = counts[:, shown][counts[:, shown] > 0]
    logarithmic = len(some) > 0 and some.max() > 200 * some.min()  # else some bars would be invisible
    notes = [] if classes else ["no classes"]
    notes += [f"{len(others):,} more with {counts[:, others].sum():,}"] if len(others) else []
    notes += ["log scale"] if logarithmic else []
    part.suptitle(f"{noun} by class" if classes else noun, x=0, ha="left", fontsize=10.5, weight="bold")
    part.supxlabel("; ".join(notes), **_NOTE)
    sides = np.flatnonzero(summary.split_places)
    for axes, side in zip(part.subplots(1, len(sides), sharey=True, squeeze=False, gridspec_kw=box)[0], sides):
        at = np.arange(len(shown))
        bars = axes.barh(at, counts[side, shown], 0.72, color=colours, edgecolor="#00000055", linewidth=0.4)
        axes.bar_label(bars, [_short(count) for count in counts[side, shown]], padding=3, fontsize=7)
        axes.set_xscale("symlog" if logarithmic else "linear")
        axes.margins(x=0.4)  # for the counts
        axes.set_xlim(left=0)
        axes.set(ylim=(max(len(shown), 9) - 0.5, -0.5), xticks=[], label=SPLITS[side])
        axes.set_yticks(at, [shorten(name, 1.4, 7.5) for name in names])
        axes.set_title(SPLITS[side], loc="left", color=SPLIT_COLOURS[SPLITS[side]], fontsize=8, weight="bold")
        axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
        axes.minorticks_off()
        axes.spines[:].set_visible(False)


def _short(number: float) -> str:
    """A count in at most six characters: 12,345 or 1.23M."""
    return f"{number:,.0f}" if number < 1e5 else tqdm.format_sizeof(number)

"""The contact sheet: some places as rows, their dates as columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from core.report.canvas import DPI, EDGE, MUTED, SPLIT_COLOURS, WIDTH, Canvas
from core.report.chip_pictures import Painter, boxes_of, class_colours
from core.store.read import SPLITS, ChipStore
from core.store.sphere import unit_vectors
from core.store.summary import counted, degrees, known_dates

_POOL = 2000  # places to choose from
_GAP = 0.06  # between chips
_LABELS = 1.75  # width of the names left of the chips
_MOST_DATES = 8
_ACROSS = {1: 1, 2: 3, 3: 2, 4: 2, 5: 2}  # dates per place: places per row
_CELL = (0.6, 1.95)  # minimum and maximum side of a chip
_SHEET = 9.4  # approximate height of the sheet


def choose_places(places: pd.DataFrame, count: int, seed: int = 0) -> np.ndarray:
    """Numbers of a few places that differ in class, side and position, and have many dates; reproducible."""
    pool = np.arange(len(places))
    if len(pool) > _POOL:
        pool = np.sort(np.random.default_rng(seed).choice(len(pool), _POOL, replace=False, shuffle=False))
    table = places.iloc[pool]
    points = np.nan_to_num(unit_vectors(table[["lon", "lat"]].to_numpy()))
    points /= max(float(np.ptp(points, axis=0).max()), 1e-12)
    label, side = (np.unique(table[name], return_inverse=True)[1] for name in ("label", "split"))
    used_label, used_side = np.zeros(label.max() + 1), np.zeros(side.max() + 1)
    nearest = np.ones(len(pool))
    chance = 0.3 * np.random.default_rng(seed).random(len(pool))  # otherwise ties are taken in the order of the names
    repeated = np.minimum(table["count"].to_numpy(), 8) / 8
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        score = 2 / (1 + used_label[label]) + 0.7 / (1 + used_side[side]) + nearest + repeated + chance
        score[chosen] = -1
        best = int(score.argmax())
        chosen.append(best)
        used_label[label[best]] += 1
        used_side[side[best]] += 1
        nearest = np.minimum(nearest, np.linalg.norm(points - points[best], axis=1))
    return pool[sorted(chosen, key=lambda place: (label[place], place))]


def date_text(date: np.datetime64 | None) -> str:
    """A date as YYYY-MM-DD."""
    return "no date" if date is None or np.isnat(date) else str(date)[:10]


@dataclass(frozen=True)
class _Strip:
    """A row of chips with its labels.

    Attributes:
        name: in bold.
        notes: lines below the name, each with the colour of a swatch, or None.
        rows: index rows, one per chip.
        captions: one per chip.
        mask_row: index row whose mask is drawn after the chips, or None.
    """

    name: str
    notes: tuple[tuple[str, Any], ...]
    rows: tuple[int, ...]
    captions: tuple[str, ...]
    mask_row: int | None = None


@dataclass(frozen=True)
class Sheet:
    """The contact sheet: strips in one or more columns."""

    strips: tuple[_Strip, ...]
    across: int
    cells: int  # of the longest strip
    heading: str

    @classmethod
    def of(cls, store: ChipStore) -> Sheet:
        """Choose the places and dates to show."""
        counts = store.places["count"].to_numpy()
        dates = min(_MOST_DATES, int(np.ceil(np.percentile(counts, 90))))
        if dates == 1:
            return cls(tuple(_strips_by_kind(store)), 1, 8, "Images")
        masks = bool((store.column("mask") >= 0).any())
        dates = min(dates, _MOST_DATES - masks)
        cells = dates + masks
        across = _ACROSS.get(cells, 1)
        lines = round(_SHEET / (_cell(cells, across) + 0.3))
        chosen = choose_places(store.places, across * max(3, lines))
        names = _names(store, store.places["first"].to_numpy()[chosen])
        strips = tuple(_strip_of_place(store, place, name, dates, masks) for place, name in zip(chosen, names))
        return cls(strips, min(across, len(strips)) if len(strips) < 3 else across, cells, "Places by date")

    @property
    def side(self) -> float:
        """Side of a chip."""
        return _cell(self.cells, self.across)

    @property
    def line(self) -> float:
        """Height of a strip with captions."""
        return max(self.side + 0.27, 0.85)

    @property
    def height(self) -> float:
        """Height of the sheet with its title."""
        return 0.3 + self.line * -(-len(self.strips) // self.across)

    def draw(self, page: Canvas, store: ChipStore, top: float) -> None:
        """Draw the strips row by row, from ``top`` down."""
        painter = Painter.of(store)
        shown = ", ".join(store.info.bands[number] for number in painter.bands)
        as_grey = " as grey" if len(painter.bands) == 1 else ""
        page.heading(EDGE, top, self.heading, f"bands: {shown}{as_grey}; same stretch for all")
        width = (WIDTH - 2 * EDGE) / self.across
        for number, strip in enumerate(self.strips):
            x = EDGE + number % self.across * width
            self._draw_strip(page, store, painter, strip, x, top + 0.18 + number // self.across * self.line)

    def _draw_strip(self, page: Canvas, store: ChipStore, painter: Painter, strip: _Strip, x: float, y: float) -> None:
        room = _LABELS - 0.2
        page.text(x, y + 0.14, strip.name, width=room, fontsize=8.5, weight="bold")
        for number, (note, colour) in enumerate(strip.notes):
            below = y + 0.32 + 0.16 * number
            indent = 0.0 if colour is None else 0.14
            if colour is not None:
                page.swatch(x, below, colour)
            page.text(x + indent, below, note, width=room - indent, fontsize=7.5, color=MUTED)
        boxes = boxes_of(store, np.array(strip.rows))
        side = round(self.side * DPI)
        for number, (row, caption) in enumerate(zip(strip.rows, strip.captions)):
            left = x + _LABELS + number * (self.side + _GAP)
            page.picture(left, y, painter.chip(row, side, None if boxes is None else boxes[boxes["image"] == row]))
            self._caption(page, left, y, caption)
        if strip.mask_row is not None:
            left = x + _LABELS + len(strip.rows) * (self.side + _GAP)
            page.picture(left, y, painter.mask(strip.mask_row, side))
            self._caption(page, left, y, "labels")

    def _caption(self, page: Canvas, left: float, y: float, caption: str) -> None:
        middle = left + self.side / 2
        page.text(middle, y + self.side + 0.13, caption, width=self.side, fontsize=7, color=MUTED, ha="center")


def _cell(cells: int, across: int) -> float:
    """Side of a chip for strips that fill the page."""
    room = (WIDTH - 2 * EDGE) / across - _LABELS - (0.15 if across > 1 else 0)
    return float(np.clip(room / cells - _GAP, *_CELL))


def _strip_of_place(store: ChipStore, place: int, name: str, dates: int, masks: bool) -> _Strip:
    places = store.places.iloc[place]
    label = int(places["label"])
    classes = store.info.classes
    rows = int(places["first"]) + np.unique(np.linspace(0, places["count"] - 1, dates).round().astype(int))
    captions = tuple(date_text(date) for date in known_dates(store)[rows])
    masked = rows[store.column("mask")[rows] >= 0] if masks else rows[:0]
    side = str(places["split"])
    notes: list[tuple[str, Any]] = [(side, SPLIT_COLOURS[side]), (_position(places["lon"], places["lat"]), None)]
    if label >= 0:
        notes.insert(0, (classes[label].name, class_colours(classes)[label] / 255))
    if places["count"] > len(rows):
        notes.append((f"{len(rows)} of {places['count']:,} images", None))
    last = int(masked[-1]) if len(masked) else None
    return _Strip(name, tuple(notes), tuple(rows.tolist()), captions, last)


def _strips_by_kind(store: ChipStore) -> Iterator[_Strip]:
    """For places with one image: one strip per class, the most frequent first; without classes, one per side."""
    places, classes = store.places, store.info.classes
    kinds = places["label"].to_numpy() if classes else places["split"].cat.codes.to_numpy()
    numbers, counts = np.unique(kinds, return_counts=True)
    order = np.lexsort((-counts, numbers < 0))[:6]  # unlabelled places last
    for number, count in zip(numbers[order], counts[order]):
        members = np.flatnonzero(kinds == number)
        chosen = members[choose_places(places.iloc[members], 8 if len(order) > 2 else 24)]
        rows = places["first"].to_numpy()[chosen]
        labelled = bool(classes) and number >= 0
        name = classes[number].name if labelled else "not labelled" if classes else SPLITS[number]
        colour: Any = class_colours(classes)[number] / 255 if labelled else None
        if not classes:
            colour = SPLIT_COLOURS[name]
        note = counted(int(count), "place")
        for start in range(0, len(rows), 8):
            part = tuple(rows[start : start + 8].tolist())
            yield _Strip(
                name=name if start == 0 else "",
                notes=((note, colour),) if start == 0 else (),
                rows=part,
                captions=tuple(_captions_of_images(store, np.array(part))),
            )


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
    names = [""] * len(rows)
    for group in np.unique(groups):
        column = index.read_row_group(int(group), columns=["place"]).column(0)
        for at in np.flatnonzero(groups == group):
            names[at] = column[int(rows[at] - starts[group])].as_py()
    return names


def _position(lon: float, lat: float) -> str:
    if not np.isfinite(lon + lat):
        return "no coordinates"
    return f"{degrees(lat, 'S', 'N')} {degrees(lon, 'W', 'E')}"

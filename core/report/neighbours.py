"""A picture of the chips that an encoder finds most alike: six queries, and their own place at another date."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from core.evaluation.probe import ENCODERS, Probed
from core.evaluation.retrieval import SCALING_IMAGES, CosineScaling
from core.report.pictures import DPI, EDGE, INK, MUTED, WIDTH, Canvas, Painter, page_style
from core.report.store_picture import date_text
from core.store.read import ChipStore
from core.store.summary import known_dates

QUERIES, NEAREST = 6, 5
_GAP, _APART = 0.1, 0.3  # inches: between chips, and between the query and the two groups
_LINE, _HEAD = 0.14, 0.5
_LETTERS = 16  # of a class in a line below a chip
_FRAME = 6  # px
_OWN, _MISSED = "#0b8a4b", "#c8323c"
_TITLES = {"trained": "nearest by this encoder", "untrained": "nearest by the untrained network"}


@dataclass(frozen=True)
class Search:
    """Queries and what two encoders find for them, as index rows.

    Attributes:
        queries: (QUERIES,) or fewer.
        own: (queries,) the same places at another date; None where places have one date.
        found: of each encoder (queries, NEAREST), the nearest first.
        ranks: of each encoder the rank of ``own``, (queries,), 1 for the nearest.
        candidates: number of chips that were compared.
    """

    queries: np.ndarray
    own: np.ndarray | None
    found: dict[str, np.ndarray]
    ranks: dict[str, np.ndarray]
    candidates: int


def search(store: ChipStore, probed: Probed) -> Search:
    """Find the neighbours of random test places, of different classes if they have labels, in whitened features."""
    plan = probed.retrieval
    if plan is not None:
        asked, candidates, known = plan.queries[0], plan.answers[0], plan.scaling
    else:
        assert probed.protocol is not None
        asked = candidates = np.array([rows[0] for rows in probed.protocol.images["test"]])
        known = np.concatenate(probed.protocol.images["train"])[:SCALING_IMAGES]
    numbers = _varied(store.column("label")[asked])
    found, ranks = {}, {}
    for name in ENCODERS:
        features = probed.vectors[name]["last"]
        fitted = CosineScaling.fit(features[np.searchsorted(probed.rows, known)], "whitened")
        ask, answer = (fitted(features[np.searchsorted(probed.rows, rows)]) for rows in (asked[numbers], candidates))
        similarity = ask @ answer.T
        if plan is None:
            similarity[np.arange(len(numbers)), numbers] = -np.inf  # the query itself
        order = np.argsort(-similarity, axis=1, kind="stable")
        found[name] = candidates[order[:, : min(NEAREST, len(candidates) - (plan is None))]]
        ranks[name] = 1 + (order == numbers[:, None]).argmax(axis=1)
    own = None if plan is None else candidates[numbers]
    return Search(asked[numbers], own, found, ranks, len(candidates) - (plan is None))


def _varied(labels: np.ndarray) -> np.ndarray:
    """Numbers of ``QUERIES`` places at random, no class twice before each was there once."""
    order = np.random.default_rng(0).permutation(len(labels))
    turn = np.zeros(len(labels), int)  # how often a place's class came before it
    for label in np.unique(labels):
        same = order[labels[order] == label]
        turn[same] = np.arange(len(same))
    if (labels < 0).all():
        turn[:] = 0
    return order[np.argsort(turn[order], kind="stable")][:QUERIES]


def write_neighbours(path: Path, store: ChipStore, found: Search) -> None:
    """Draw a search as a PNG."""
    with page_style():
        draw(store, found).savefig(path, format="png", dpi=DPI, facecolor="white")


def draw(store: ChipStore, found: Search) -> Figure:
    """One row a query: the chip, its place at the other date, and what both encoders find; its own place has a green frame."""
    first = 1 + (found.own is not None)
    across = first + 2 * NEAREST
    side = (WIDTH - 2 * EDGE - (across - 3) * _GAP - 2 * _APART) / across
    step, row = side + _GAP, side + 4 * _LINE
    height = _HEAD + row * len(found.queries)
    page = Canvas(Figure(figsize=(WIDTH, height), dpi=DPI), height)
    group = EDGE + first * step - _GAP + _APART
    lefts = {"trained": group, "untrained": group + NEAREST * step - _GAP + _APART}
    for left, text in [(EDGE, "query"), *((lefts[name], _TITLES[name]) for name in ENCODERS)]:
        page.text(left, 0.35, text, fontsize=11, weight="bold")
    if found.own is not None:
        page.text(EDGE + step, 0.35, "another date", fontsize=11, weight="bold", color=_OWN)
    chips = _Chips(store, page, side)
    for number, query in enumerate(found.queries):
        top = _HEAD + number * row
        chips.draw(EDGE, top, query, [chips.date(query), *chips.label(query)], INK)
        if found.own is not None:
            chips.draw(EDGE + step, top, found.own[number], ["same place", chips.date(found.own[number])], _OWN)
        for name, left in lefts.items():
            for at, neighbour in enumerate(found.found[name][number]):
                own = found.own is not None and neighbour == found.own[number]
                lines, colour = (["same place"], _OWN) if own else (chips.label(neighbour), MUTED)
                chips.draw(left + at * step, top, neighbour, lines, colour, framed=own)
            if found.own is not None and found.own[number] not in found.found[name][number]:
                note = f"the same place is number {found.ranks[name][number]:,} of {found.candidates:,}"
                page.text(left, top + side + 3 * _LINE, note, fontsize=8, color=_MISSED)
    return page.figure


class _Chips:
    """Draws chips with lines of text below."""

    def __init__(self, store: ChipStore, page: Canvas, side: float) -> None:
        self.painter, self.page, self.side = Painter.of(store), page, side
        self.dates, self.labels = known_dates(store), store.column("label")
        self.names = [entry.name for entry in store.info.classes]

    def date(self, row: int) -> str:
        return date_text(self.dates[row])

    def label(self, row: int) -> list[str]:
        """The class in at most two lines; none without a label."""
        known = self.labels[row] >= 0
        return textwrap.wrap(self.names[self.labels[row]], _LETTERS, max_lines=2, placeholder="…") if known else []

    def draw(self, x: float, y: float, row: int, lines: list[str], colour: str, *, framed: bool = False) -> None:
        picture = self.painter.chip(row, round(self.side * DPI))
        if framed:
            inner = picture[_FRAME:-_FRAME, _FRAME:-_FRAME].copy()
            picture[:] = (np.array(to_rgb(_OWN)) * 255).round().astype(np.uint8)
            picture[_FRAME:-_FRAME, _FRAME:-_FRAME] = inner
        self.page.picture(x, y, picture)
        for number, line in enumerate(lines):
            self.page.text(
                x, y + self.side + _LINE * (number + 1), line, width=self.side + _GAP, fontsize=7.5, color=colour
            )

"""What changed: the from-to matrix as CSV, JSON and a page with pictures. Pure numpy, no files."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..messages import Message
from ..raster.legend import LandClass
from ..results.areas import NOTE, ClassArea
from .decision import Calibration, Threshold
from .pairs import PairCounts

SIDE = 480  # px of a picture, at most
_GAP = (255, 255, 255)
_TITLES = {
    "before": "before", "after": "after", "map": "change", "probability": "change probability, 0 (white) to 100 % (red)",
    "distance": "feature distance, white to red at twice the threshold",
}  # fmt: skip
_RED = np.array([194, 24, 91])


class Pictures:
    """Small pictures of large rasters: every n-th pixel of every n-th row.

    Attributes:
        step: n.
    """

    def __init__(self, height: int, width: int) -> None:
        self.step = -(-max(height, width) // SIDE)
        self._shape = -(-height // self.step), -(-width // self.step)
        self._of: dict[str, np.ndarray] = {}

    def add(self, role: str, top: int, rows: np.ndarray, colors: Mapping[int, tuple[int, int, int]] | None) -> None:
        """Take from rows of a raster of classes, or of numbers where there are no ``colors``."""
        first = -top % self.step
        if first >= len(rows):
            return
        taken = rows[first :: self.step, :: self.step]
        if colors is None:
            picture = self._of.setdefault(role, np.full(self._shape, np.nan, np.float32))
        else:
            table = np.full((max(65535, *colors) + 1 if rows.dtype == np.uint16 else 256, 3), _GAP, np.uint8)
            for value, color in colors.items():
                table[value] = color
            picture = self._of.setdefault(role, np.full((*self._shape, 3), 255, np.uint8))
            taken = table[taken]
        at = (top + first) // self.step
        picture[at : at + len(taken)] = taken

    def shown(self, most: Mapping[str, float]) -> dict[str, bytes]:
        """PNG files by role; numbers are white at 0 and red at their ``most``."""
        pictures = {}
        for role in (role for role in _TITLES if role in self._of):
            picture = self._of[role]
            if picture.ndim == 2:
                share = np.nan_to_num(np.clip(picture / max(most[role], 1e-9), 0, 1))[..., None]
                picture = np.rint(255 + share * (_RED - 255)).astype(np.uint8)
            pictures[role] = png(picture)
        return pictures


@dataclass(frozen=True)
class ChangeReport:
    """What was found.

    Attributes:
        model: its name.
        sources: before and after, in words.
        classes: K of the model, empty for features.
        legend: of the map.
        tally: pixels and areas.
        areas: of the classes of the map.
        decided: threshold of features, calibration of probabilities; None: not calibrated.
        sample: where its places come from; "" without one.
        crs: of the map, ``geographic`` whether its units are angles.
    """

    model: str
    sources: tuple[str, str]
    classes: tuple[LandClass, ...]
    legend: tuple[LandClass, ...]
    tally: PairCounts
    areas: tuple[ClassArea, ...]
    decided: Threshold | Calibration | None
    sample: str
    crs: str
    geographic: bool
    pictures: Pictures

    @property
    def threshold(self) -> float:
        """Distance from which on a place has changed; NaN for classes."""
        return self.decided.value if isinstance(self.decided, Threshold) else float("nan")

    @property
    def changed_m2(self) -> float:
        """Area of all that changed."""
        return float(self.tally.m2.sum() - np.trace(self.tally.m2)) if self.classes else float(self.tally.m2[0, 1])

    def side(self, role: str) -> tuple[ClassArea, ...]:
        """Areas of the classes before or after, where both dates hold data."""
        axis = 1 if role == "before" else 0
        pixels, m2 = self.tally.pixels.sum(axis=axis), self.tally.m2.sum(axis=axis)
        total = m2.sum()
        return tuple(
            ClassArea(entry.value, entry.name, int(count), float(area), float(100 * area / total))
            for entry, count, area in zip(self.classes, pixels, m2)
        )

    def notes(self) -> list[Message]:
        """How the change was decided, and what is left out."""
        notes, of = [], self.decided
        if of is None:
            notes.append(Message("change_not_calibrated"))
        elif isinstance(of, Calibration):
            facts = {"count": of.places, "sample": self.sample, "before": of.brier[0], "after": of.brier[1]}
            notes.append(Message("change_calibrated", facts))
        elif of.rule == "otsu":
            notes.append(Message("change_otsu", {"threshold": of.value, "share": of.separability}))
        elif of.rule == "recall":
            facts = {"threshold": of.value, "recall": of.recall, "alarms": of.false_alarms, "sample": self.sample}
            notes.append(Message("change_recall", facts))
        tally = self.tally
        gaps = tally.before_only + tally.after_only
        if gaps:
            facts = {"before": tally.before_only, "after": tally.after_only, "neither": tally.neither}
            notes.append(Message("change_gaps", facts))
        return notes

    def rows(self) -> list[list[str]]:
        """The matrix in hectares with its heads and sums: before down, after across."""
        if not self.classes:
            return [["change", "hectares"], *([row.name, f"{row.m2 / 1e4:.4f}"] for row in self.areas)]
        names, hectares = [entry.name for entry in self.classes], self.tally.m2 / 1e4
        table = [["from \\ to", *names, "total before"]]
        for name, row in zip(names, hectares):
            table.append([name, *(f"{value:.4f}" for value in row), f"{row.sum():.4f}"])
        table.append(["total after", *(f"{value:.4f}" for value in hectares.sum(axis=0)), f"{hectares.sum():.4f}"])
        return table

    def as_csv(self) -> str:
        """The matrix for a spreadsheet."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.rows())
        return text.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        tally = self.tally
        entries = {entry.value: entry for entry in self.legend}
        count = len(self.classes)
        listed = []
        for row in self.areas:
            listed.append({"value": row.value, "name": row.name, "color": entries[row.value].color})
            if count:
                former, latter = divmod(row.value - 1, count)
                listed[-1] |= {"from": self.classes[former].value, "to": self.classes[latter].value}
            changed = {"changed": former != latter if count else row.value == 2}
            listed[-1] |= {**changed, "pixels": row.pixels, "hectares": row.m2 / 1e4, "per_cent": row.percent}
        found: dict[str, Any] = {
            "model": self.model,
            "before": self.sources[0],
            "after": self.sources[1],
            "crs": self.crs,
            "method": "pixel areas on the ellipsoid"
            if self.geographic
            else "pixel areas in the plane of the projection",
            "note": NOTE,
            "changed_hectares": self.changed_m2 / 1e4,
            "classes": listed,
        }
        if count:
            found["matrix"] = {
                "rows": "before",
                "columns": "after",
                "classes": [{"value": entry.value, "name": entry.name} for entry in self.classes],
                "pixels": tally.pixels.tolist(),
                "hectares": (tally.m2 / 1e4).tolist(),
            }
        gaps = {"before_only": tally.before_only, "after_only": tally.after_only, "neither": tally.neither}
        return {**found, "pixels_without_data": gaps, "decision": self.decision()}

    def decision(self) -> dict[str, Any]:
        """How change was decided, for a program."""
        of = self.decided
        if isinstance(of, Calibration):
            ends = {"brier_before": of.brier[0], "brier_after_left_out": of.brier[1]}
            return {"calibrated": True, "method": "Platt", "slope": of.slope, "shift": of.shift,
                    "places": of.places, "sample": self.sample, **ends}  # fmt: skip
        if of is None:
            return {"calibrated": False}
        numbers = {"separability": of.separability, "recall": of.recall, "false_alarms": of.false_alarms}
        known = {name: value for name, value in numbers.items() if value == value}
        return {"threshold": of.value, "rule": of.rule, **({"sample": self.sample} if self.sample else {}), **known}

    def as_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def as_html(self, words: Callable[[Message], str] = str) -> str:
        """A page; ``words`` says the notes."""
        title = f"Change: {self.sources[0]} to {self.sources[1]}"
        total = self.tally.m2.sum()
        changed = f"{self.changed_m2 / 1e4:,.1f} ha of {total / 1e4:,.1f} ha changed ({self.changed_m2 / total:.2%})"
        notes = "".join(f"<p>{html.escape(words(note))}</p>" for note in (*self.notes(), NOTE_OF_AREAS))
        most = {"probability": 100.0, "distance": 2 * self.threshold}
        pictures = "".join(
            f'<figure><img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
            f"<figcaption>{_TITLES[role]}</figcaption></figure>"
            for role, data in self.pictures.shown(most).items()
        )
        areas = [["", "class", "hectares", "per cent"]]
        largest = sorted(self.areas, key=lambda row: -row.m2)
        colors = {entry.value: entry.color for entry in self.legend}
        areas += [[f"#{colors[row.value]}", row.name, f"{row.m2 / 1e4:,.1f}", f"{row.percent:.2f}"] for row in largest]
        style = (
            "body{font-family:sans-serif}td,th{padding:2px 10px;text-align:right}td:first-child,th{text-align:left}"
            "figure{display:inline-block;margin:0 16px 16px 0}img{max-width:480px;border:1px solid #ccc}"
        )
        matrix = f"<h2>From (rows) to (columns), hectares</h2>{_table(self.rows())}" if self.classes else ""
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f"<style>{style}</style></head><body><h1>{html.escape(title)}</h1>"
            f"<p>{html.escape(self.model)}: {changed}</p>{notes}{pictures}<h2>Classes of the map</h2>{_table(areas)}{matrix}"
            "</body></html>\n"
        )


NOTE_OF_AREAS = Message("worded", {"sentence": NOTE})


def png(picture: np.ndarray) -> bytes:
    """A PNG file of (rows, columns, 3) bytes."""
    height, width = picture.shape[:2]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table in HTML; a cell that is a colour is shown as such."""

    def cell(text: str) -> str:
        if text.startswith("#") and len(text) == 7:
            return f'<td style="background:{text}">&emsp;</td>'
        return f"<td>{html.escape(text)}</td>"

    return f"<table>{''.join('<tr>' + ''.join(map(cell, row)) + '</tr>' for row in rows)}</table>"

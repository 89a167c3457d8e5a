"""What is known of a model that was fitted on labels: tables for people, numbers for programs. Pure numpy, no files."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..messages import Message
from ..raster.legend import LandClass
from .assessment import as_columns, limited, with_limits


@dataclass(frozen=True)
class FitReport:
    """A model from a few labels, and how far it can be trusted.

    Attributes:
        title: of the model.
        features: what they are, in words.
        classes: K of them.
        labels: (K,) labels of each.
        confusion: (K, K) labels left out of the fit: their classes down, what they are taken for across.
        accuracy: (3,) share of them that get their class, with its 95 % limits; NaN where it is unknown.
        f1: (3, K) F1 score of each class, with the limits of its 95 % interval.
        blocks: spatial blocks that were left out in turn; 0: each label alone.
        unlike: raster and the share of it that is unlike anything labelled.
        notes: what the user should know.
    """

    title: str
    features: str
    classes: tuple[LandClass, ...]
    labels: np.ndarray
    confusion: np.ndarray
    accuracy: np.ndarray
    f1: np.ndarray
    blocks: int
    unlike: Mapping[str, float]
    notes: tuple[Message, ...]

    @property
    def method(self) -> str:
        """How the accuracy was measured."""
        how = (
            f"{self.blocks} spatial blocks of labels left out in turn" if self.blocks else "each label left out in turn"
        )
        return f"{how}; pixels of a label never serve for fit and test at once"

    def as_dict(self) -> dict[str, Any]:
        """For a program; what is unknown is None."""
        rows = [
            {
                "class": entry.value,
                "name": entry.name,
                "color": entry.color,
                "labels": int(self.labels[i]),
                **limited("f1", self.f1[:, i]),
            }
            for i, entry in enumerate(self.classes)
        ]
        return {
            "model": self.title,
            "features": self.features,
            "method": self.method,
            **limited("accuracy", self.accuracy),
            "classes": rows,
            "confusion": {"rows": "label", "columns": "map", "labels": np.round(self.confusion, 3).tolist()},
            "unlike_labels": {name: round(share, 4) for name, share in self.unlike.items()},
            "notes": [str(note) for note in self.notes],
        }

    def tables(self) -> dict[str, list[list[str]]]:
        """Title and rows of each table; the first row and the first column are heads."""
        names = [
            f"{entry.value} {entry.name}" if entry.name != str(entry.value) else entry.name for entry in self.classes
        ]
        values = [str(entry.value) for entry in self.classes]
        quality = [
            [name, str(int(count)), with_limits(self.f1[:, number], ".2f")]
            for number, (name, count) in enumerate(zip(names, self.labels))
        ]
        confusion = [[name, *(f"{share:.3g}" for share in row)] for name, row in zip(names, self.confusion)]
        tables = {
            f"accuracy {with_limits(self.accuracy, '.2f')} ({self.method})": [],
            "classes (in brackets: limits of 95 % confidence)": [["", "labels", "F1"], *quality],
            "labels left out (rows: labelled as, columns: mapped as)": [["", *values], *confusion],
        }
        if self.unlike:
            unlike = [[name, f"{share:.1%}"] for name, share in self.unlike.items()]
            tables["share of the raster that is unlike anything labelled"] = unlike
        return tables

    def as_text(self) -> str:
        """The tables in aligned columns."""
        return as_columns(self.tables())

    def as_html(self, words: Callable[[Message], str] = str) -> str:
        """A page; ``words`` says the notes."""
        notes = "".join(f"<p>{html.escape(words(note))}</p>" for note in self.notes)
        tables = "".join(
            f"<h2>{html.escape(title)}</h2><table>{''.join(map(_row, rows))}</table>"
            for title, rows in self.tables().items()
        )
        style = "body{font-family:sans-serif}td{padding:2px 10px;text-align:right}td:first-child{text-align:left}"
        swatches = "".join(
            f'<span style="background:#{entry.color}">&emsp;</span> {html.escape(entry.name)}&emsp;'
            for entry in self.classes
        )
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{style}</style></head><body><h1>{html.escape(self.title)}</h1><p>{html.escape(self.features)}</p>"
            f"<p>{swatches}</p>{notes}{tables}</body></html>\n"
        )


def _row(cells: list[str]) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"

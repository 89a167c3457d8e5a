"""The report of a probe: is the encoder worth using, what does it find alike, which classes does it separate."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from core.evaluation.intervals import Score
from core.evaluation.probe import FLOORS, Probed
from core.evaluation.protocol import DATES
from core.evaluation.words import class_rows, class_sentences, text_table, title, verdict
from core.report.neighbours import search, write_neighbours
from core.report.pictures import page_style
from core.report.webpage import class_cell, html_table, image, webpage
from core.store.read import ChipStore

PICTURE = "neighbours.png"
_MAX_ROWS = 200  # classes in the table
_OURS, _OTHER, _FLOOR = "#0b5d3b", "#c77c11", "#5b6875"


def write_encoder_report(out: Path, store: ChipStore, probed: Probed) -> Path:
    """Write neighbours.png and report.html into the folder of a probe, which holds probe.json."""
    write_neighbours(out / PICTURE, store, search(store, probed))
    path = out / "report.html"
    name = html.escape(store.path.resolve().name)
    body = [
        f"<h1>Is the encoder worth using?</h1><small>frozen features on {name}</small>",
        *encoder_sections(out, store),
    ]
    path.write_text(webpage("Is the encoder worth using?", body), encoding="utf-8")
    return path


def encoder_sections(folder: Path, store: ChipStore) -> list[str]:
    """HTML of the folder of a probe: verdict, scores, neighbours, classes, and all numbers."""
    result = json.loads((folder / "probe.json").read_text())
    judged = verdict(result)
    with page_style():
        scores = image(_scores(result))
    body = [f"<p><b>{html.escape(judged.headline)}</b></p>", _bullets(judged.sentences)]
    if judged.advice:
        body += ["<p>What to try:</p>", _bullets(judged.advice)]
    body += [
        scores,
        "<p><small>Test places only, which lie on another side of the split; bars: 95 % intervals over places. With location: a random "
        "forest on the features' principal components and the coordinates. Colours: a random forest on mean, standard deviation, minimum "
        "and maximum of each band.</small></p>",
        "<h2>Nearest neighbours</h2>",
        _picture(folder / PICTURE),
        f"<p><small>{html.escape(_about_neighbours(result))}</small></p>",
    ]
    if (rows := class_rows(result)) is not None:
        body += ["<h2>Classes that it separates</h2>", _bullets(class_sentences(result)), _class_table(rows, store)]
    return [*body, "<h2>All numbers</h2>", f"<pre>{html.escape(text_table(result))}</pre>"]


def _about_neighbours(result: dict[str, Any]) -> str:
    if "retrieval" in result:
        return (
            "Random test places, each at one date, and the chips most alike among all test places at another date, by the cosine of "
            "whitened features. Green frame: the same place at the other date."
        )
    return "Random test places and the most similar of the others, by the cosine of whitened features."


def _bullets(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _picture(path: Path) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'


def _class_table(rows: list[dict], store: ChipStore) -> str:
    colours = {entry.name: entry.color for entry in store.info.classes}
    names = ("trained", "untrained", "colour_statistics")
    cells = [
        [
            class_cell(row["class"], colours.get(row["class"], "")),
            f"{row['support']:,}",
            *("never said" if row["f1"][name] is None else f"{row['f1'][name]:.1%}" for name in names),
            f"{html.escape(row['taken_for'])} ({row['taken']:.0%})" if row["taken_for"] else "",
        ]
        for row in sorted(rows, key=lambda row: -row["support"])[:_MAX_ROWS]
    ]
    return html_table(("class", "test places", "F1, encoder", "untrained", "colours", "mostly taken for"), cells)


def _scores(result: dict[str, Any]) -> Figure:
    """Accuracies of the encoder and of the floors, one panel a use, and the recall at 1 of whitened features."""
    panels = {title(dates): _of_labels(result[dates]) for dates in DATES if dates in result}
    if "retrieval" in result:
        white = result["retrieval"]["whitened"]
        known = (
            ("colours", "colour_statistics", _FLOOR),
            ("untrained", "untrained", _OTHER),
            ("encoder", "trained", _OURS),
        )
        panels["the same place at another date"] = {
            name: (Score(**white[key]["last"]["recall_at_1"]), colour) for name, key, colour in known
        }
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    figure = Figure(figsize=(14, 0.32 * len(names) + 1.1), layout="constrained")
    for axes, (text, panel) in zip(np.atleast_1d(figure.subplots(1, len(panels), sharey=True)), panels.items()):
        for name, (score, colour) in panel.items():
            ends = [[100 * (score.value - score.low)], [100 * (score.high - score.value)]]
            axes.errorbar(
                100 * score.value, names.index(name), xerr=ends, fmt="o", color=colour, linewidth=2, markersize=6
            )
            at = (100 * score.value, names.index(name))
            axes.annotate(f"{at[0]:.1f}", at, (0, 5), textcoords="offset points", ha="center", fontsize=8)
        axes.set_title(text, loc="left", fontsize=10)
        axes.set_xlabel("% of the test places")
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_ylim(len(names) - 0.5, -0.7)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _of_labels(part: dict[str, Any]) -> dict[str, tuple[Score, str]]:
    """Accuracy and colour of each method with one use of the dates."""
    rows = {
        "colours" if name == "colour_statistics" else title(name): (part[name]["forest"], _FLOOR)
        for name in FLOORS
        if name in part
    }
    for name, key, colour in (("untrained", "untrained", _OTHER), ("encoder", "trained", _OURS)):
        rows[name] = (part[key][part["chosen"][key]], colour)
        if "forest_with_location" in part[key]:
            rows[f"{name}, with location"] = (part[key]["forest_with_location"], colour)
    return {name: (Score(**scores["accuracy"]), colour) for name, (scores, colour) in rows.items()}

"""The report of a fine-tuning run: numbers, learning curve, confusion matrix, examples."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from core.evaluation.scores import CONFIDENT
from core.report.chip_pictures import class_colours
from core.report.examples import draw_examples
from core.report.page import INK, MUTED, RULE, page_style
from core.report.webpage import image, tile, webpage
from core.store.read import ChipStore
from core.training.tasks import FineTuning

_MOST = 20  # classes in the confusion matrix
_ROWS = 200  # of the table
_TITLES = {
    "segmentation": "Semantic segmentation",
    "classification": "Scene classification",
    "sequence": "Sequence classification",
    "detection": "Object detection",
}
_COLUMNS = {"precision": "precision", "recall": "recall", "f1": "F1", "iou": "IoU", "ap50": "AP50"}
_COUNTED = {"segmentation": "pixels", "classification": "images", "sequence": "places", "detection": "objects"}


def write_run_report(
    out: Path, store: ChipStore, module: FineTuning, task: str, places: list[np.ndarray], result: dict
) -> Path:
    """Write report.html.

    Args:
        out: the run's folder, with its logs.
        store: what was learned from.
        module: what was learned.
        task: one of ``core.training.tasks.TASKS``.
        places: index rows of the test places.
        result: as in metrics.json; without scores where nothing could be tested.
    """
    body = [
        f"<h1>{_TITLES[task]}</h1><small>{html.escape(str(store.path.resolve().name))}: {result['labelled_images']:,} labelled "
        f"images of {result['labelled_places']:,} places to learn from, {len(places):,} test places</small>",
    ]
    with page_style():
        if places:
            body += ['<div class="big">', *_tiles(result), "</div>"]
            body += [
                "<h2>Examples from the test places</h2>",
                image(draw_examples(store, module, task, places), dpi=120),
            ]
        body += ["<h2>Learning</h2>", image(_curves(out, module.headline))]
        if places:
            body += ["<h2>Class by class</h2>", _table(store, task, result["per_class"])]
        if "confusion" in result:
            body += ["<h2>What was taken for what</h2>", image(_confusion(result))]
    path = out / "report.html"
    path.write_text(webpage(f"{_TITLES[task]}: {out.name}", body), encoding="utf-8")
    return path


def _tiles(result: dict) -> list[str]:
    if "ap50" in result:
        text = "AP50: mean over the classes of the average precision at IoU 0.5"
        return [tile(result["ap50"], f"{text}, {result['objects']:,} objects in {result['images']:,} images")]
    tiles = [
        tile(
            result["accuracy"],
            f"of the {_COUNTED[result['task']]} right; always the majority class: {result['majority_class']:.1%}",
        )
    ]
    if "top5_accuracy" in result:
        tiles.append(tile(result["top5_accuracy"], "top-5: the class is among the five most probable"))
    tiles.append(tile(result["macro_f1"], "macro-F1, the mean over the classes that occur"))
    return [*tiles, tile(result["mean_iou"], "mean IoU, likewise")] if result["task"] == "segmentation" else tiles


def _curves(out: Path, headline: str) -> Figure:
    """Loss, and what validation measured, over the steps; a resumed run has several logs."""
    parts = [pd.read_csv(path) for path in sorted(out.glob("logs*/metrics.csv"))]
    log = pd.concat(parts).sort_values("step", kind="stable") if parts else pd.DataFrame({"step": []})
    figure = Figure(figsize=(11, 2.9), layout="constrained")
    for axes, column, colour, title in zip(
        figure.subplots(1, 2), ("loss", f"val_{headline}"), ("#2f6db5", "#0b5d3b"),
        ("loss on training images", f"{headline.replace('ap50', 'AP50')} on validation places"),
    ):  # fmt: skip
        if column in log:
            series = log[["step", column]].dropna()
            marker = "o" if len(series) < 30 else None
            axes.plot(series["step"], series[column], color=colour, marker=marker, markersize=3.5, linewidth=1.4)
        axes.set_title(title, loc="left", fontsize=10, weight="bold")
        axes.set_xlabel("step", color=MUTED)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0)
        axes.set_ylim(bottom=0)
        axes.set_xlim(-0.5, max(log["step"], default=0) + 0.5)  # both alike, be there one validation only
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if column != "loss":
            axes.yaxis.set_major_formatter(PercentFormatter(1))  # as many digits as the ticks need
    return figure


def _table(store: ChipStore, task: str, rows: list[dict]) -> str:
    colours = class_colours(store.info.classes)
    order = sorted(range(len(rows)), key=lambda number: -rows[number]["support"])
    measures = [name for name in _COLUMNS if name in rows[0] and (name != "iou" or task == "segmentation")]
    cells = [f"<th>class</th><th>{_COUNTED[task]}</th>", *(f"<th>{_COLUMNS[name]}</th>" for name in measures)]
    lines = [f"<tr>{''.join(cells)}</tr>"]
    for number in order[:_ROWS]:
        row, colour = rows[number], "".join(f"{part:02x}" for part in colours[number])
        swatch = f'<span style="display:inline-block;width:.9em;height:.9em;background:#{colour};border:1px solid #999"></span>'
        numbers = ("-" if row[name] is None else f"{row[name]:.1%}" for name in measures)
        lines.append(
            f"<tr><td>{swatch} {html.escape(row['class'])}</td><td>{row['support']:,}</td>"
            f"{''.join(f'<td>{number}</td>' for number in numbers)}</tr>"
        )
    left = (
        f"<p><small>{len(order) - _ROWS:,} rarer classes are in metrics.json.</small></p>" if len(order) > _ROWS else ""
    )
    return f"<table>{''.join(lines)}</table>{left}"


def _confusion(result: dict) -> Figure:
    """Rows sum to one: what each class was taken for; of many classes the most frequent."""
    counts = np.array(result["confusion"], np.float64)
    names = [row["class"] for row in result["per_class"]]
    nothing = len(counts) > len(names)
    frequent = np.argsort(-(counts.sum(axis=0) + counts.sum(axis=1))[: len(names)], kind="stable")[:_MOST]
    shown = np.sort(frequent[(counts.sum(axis=0) + counts.sum(axis=1))[frequent] > 0])
    if nothing:
        shown = np.append(shown, len(names))
        names = [*names, "nothing"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    part = shares[np.ix_(shown, shown)]
    side = 0.42 * len(shown) + 0.6
    figure = Figure(figsize=(11, side + 1.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(part, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for row, column in np.argwhere(part >= 0.005):
        dark = part[row, column] > 0.55
        axes.text(
            column, row, f"{100 * part[row, column]:.0f}", ha="center", va="center", fontsize=8,
            color="white" if dark else INK,
        )  # fmt: skip
    labels = [names[number][:34] for number in shown]
    axes.set_xticks(range(len(shown)), labels, rotation=40, ha="left", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("truth", color=MUTED)
    note = "per cent of each row" + (f"; the {_MOST} most frequent classes" if len(names) > _MOST + nothing else "")
    if nothing:
        note += f"; detections with a score from {CONFIDENT:g}; row 'nothing': found where nothing is, column: missed"
    axes.set_xlabel(f"prediction ({note})", color=MUTED)
    return figure

"""The report of a fine-tuning run: metrics, training curves, confusion matrix, examples."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from core.evaluation.scores import CONFIDENT
from core.report.pictures import INK, MUTED, class_colours, page_style
from core.report.webpage import class_cell, curves, html_table, image, tile, webpage
from core.store.read import ChipStore
from core.training.example_pictures import draw_examples
from core.training.tasks import FineTuning

_MAX_CLASSES = 20  # in the confusion matrix
_MAX_ROWS = 200  # of the table
_TITLES = {
    "segmentation": "Semantic segmentation",
    "classification": "Scene classification",
    "sequence": "Sequence classification",
    "detection": "Object detection",
}
_METRICS = {"precision": "precision", "recall": "recall", "f1": "F1", "iou": "IoU", "ap50": "AP50"}
_COUNTED = {"segmentation": "pixels", "classification": "images", "sequence": "places", "detection": "objects"}


def write_run_report(
    out: Path, store: ChipStore, module: FineTuning, task: str, places: list[np.ndarray], result: dict
) -> Path:
    """Write report.html into a run's folder, from its logs.

    ``places`` has the index rows of each test place, ``result`` the content of metrics.json, without scores if there was
    nothing to test on.
    """
    body = [
        f"<h1>{_TITLES[task]}</h1><small>{html.escape(str(store.path.resolve().name))}: trained on "
        f"{result['labelled_images']:,} labelled images of {result['labelled_places']:,} places, "
        f"{len(places):,} test places</small>",
    ]
    with page_style():
        if places:
            body += ['<div class="big">', *_tiles(result), "</div>"]
            body += ["<h2>Examples from the test places</h2>"]
            body += [image(draw_examples(store, module, task, places), dpi=120)]
        body += ["<h2>Training</h2>", image(_curves(out, module.headline))]
        if places:
            body += ["<h2>Metrics per class</h2>", _class_table(store, task, result["per_class"])]
        if "confusion" in result:
            body += ["<h2>Confusion matrix</h2>", image(_confusion_matrix(result))]
    path = out / "report.html"
    path.write_text(webpage(f"{_TITLES[task]}: {out.name}", body), encoding="utf-8")
    return path


def _tiles(result: dict) -> list[str]:
    if "ap50" in result:
        text = "AP50: average precision at IoU 0.5, mean over the classes"
        return [tile(result["ap50"], f"{text}, {result['objects']:,} objects in {result['images']:,} images")]
    text = f"accuracy over {_COUNTED[result['task']]}; majority class: {result['majority_class']:.1%}"
    tiles = [tile(result["accuracy"], text)]
    if "top5_accuracy" in result:
        tiles.append(tile(result["top5_accuracy"], "top-5 accuracy"))
    tiles.append(tile(result["macro_f1"], "macro-F1, mean over the classes that occur"))
    if result["task"] == "segmentation":
        tiles.append(tile(result["mean_iou"], "mean IoU over the classes that occur"))
    return tiles


def _curves(out: Path, headline: str) -> Figure:
    """Training loss and validation metric over the steps; a resumed run has several logs."""
    parts = [pd.read_csv(path) for path in sorted(out.glob("logs*/metrics.csv"))]
    log = pd.concat(parts).sort_values("step", kind="stable") if parts else pd.DataFrame({"step": []})
    validation = f"{headline.replace('ap50', 'AP50')} on validation places"
    return curves([(log, ["loss"], "loss on training images"), (log, [f"val_{headline}"], validation)])


def _class_table(store: ChipStore, task: str, rows: list[dict]) -> str:
    colours = class_colours(store.info.classes)
    order = sorted(range(len(rows)), key=lambda number: -rows[number]["support"])
    metrics = [name for name in _METRICS if name in rows[0] and (name != "iou" or task == "segmentation")]
    cells = [
        [
            class_cell(rows[number]["class"], bytes(colours[number]).hex()),
            f"{rows[number]['support']:,}",
            *("-" if rows[number][name] is None else f"{rows[number][name]:.1%}" for name in metrics),
        ]
        for number in order[:_MAX_ROWS]
    ]
    table = html_table(["class", _COUNTED[task], *(_METRICS[name] for name in metrics)], cells)
    if len(order) > _MAX_ROWS:
        table += f"<p><small>{len(order) - _MAX_ROWS:,} rarer classes are in metrics.json.</small></p>"
    return table


def _confusion_matrix(result: dict) -> Figure:
    """Rows sum to one; of many classes the most frequent."""
    counts = np.array(result["confusion"], np.float64)
    names = [row["class"] for row in result["per_class"]]
    nothing = len(counts) > len(names)  # detections have a last row and column for no object
    totals = counts.sum(axis=0) + counts.sum(axis=1)
    frequent = np.argsort(-totals[: len(names)], kind="stable")[:_MAX_CLASSES]
    shown = np.sort(frequent[totals[frequent] > 0])
    if nothing:
        shown = np.append(shown, len(names))
        names = [*names, "nothing"]
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(shown, shown)]
    figure = Figure(figsize=(11, 0.42 * len(shown) + 2.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for row, column in np.argwhere(shares >= 0.005):
        colour = "white" if shares[row, column] > 0.55 else INK
        text = f"{100 * shares[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    labels = [names[number][:34] for number in shown]
    axes.set_xticks(range(len(shown)), labels, rotation=40, ha="left", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("truth", color=MUTED)
    note = "percent of each row"
    if len(names) > _MAX_CLASSES + nothing:
        note += f"; the {_MAX_CLASSES} most frequent classes"
    if nothing:
        note += f"; detections with score >= {CONFIDENT:g}; row 'nothing': false detections, column: missed objects"
    axes.set_xlabel(f"prediction ({note})", color=MUTED)
    return figure

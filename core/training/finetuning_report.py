"""The report of a fine-tuning run: metrics, examples, training curves, confusion matrix."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning.fabric.utilities import move_data_to_device
from matplotlib.figure import Figure

from core.evaluation.scores import CONFIDENT, Boxes, matched
from core.report.pictures import (
    DPI,
    EDGE,
    INK,
    MUTED,
    WIDTH,
    Canvas,
    Painter,
    class_colours,
    page_style,
    resize_nearest,
)
from core.report.store_picture import date_text
from core.report.webpage import class_cell, curves, html_table, image, tile, webpage
from core.store.read import ChipStore, LandClass
from core.store.summary import known_dates
from core.training.labelled import NO_BOXES, Labelled
from core.training.tasks import ClassifierModule, DetectorModule, FineTuning, as_boxes

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
_COLUMNS = {"segmentation": 6, "classification": 8, "sequence": 8, "detection": 4}  # pictures per row of examples
_POOL = 200  # test places from which examples are chosen
_CORRECT, _WRONG = "#0b5d3b", "#c8323c"
_GAP, _LINE = 0.1, 0.2  # inches, between pictures and between lines of text
_LEGEND = 7  # classes per row of the legend


def write_run_report(out: Path, module: FineTuning, train: Labelled, test: Labelled | None, result: dict) -> None:
    """Write report.html into a run's folder, from its logs.

    ``result`` is the content of metrics.json, without scores if there was nothing to test on.
    """
    store, task = train.store, train.task
    body = [
        f"<h1>{_TITLES[task]}</h1><small>{html.escape(str(store.path.resolve().name))}: trained on "
        f"{result['labelled_images']:,} labelled images of {result['labelled_places']:,} places, "
        f"{result['test_places']:,} test places{_series_text(result)}</small>",
    ]
    with page_style():
        if test is not None:
            tiles = [tile(value, f"{name}, {about}") for name, value, about in headlines(result)]
            body += ['<div class="big">', *tiles, "</div>", "<h2>Examples from the test places</h2>"]
            body += [image(_examples(test, module), dpi=DPI)]
        body += ["<h2>Training</h2>", image(_curves(out, module.headline))]
        if test is not None:
            body += ["<h2>Metrics per class</h2>", _class_table(store, task, result["per_class"])]
        if "confusion" in result:
            body += ["<h2>Confusion matrix</h2>", image(_confusion_matrix(result))]
    (out / "report.html").write_text(webpage(f"{_TITLES[task]}: {out.name}", body), encoding="utf-8")


def headlines(result: dict) -> list[tuple[str, float, str]]:
    """Name, value and explanation of the main metrics."""
    if "ap50" in result:
        counts = f"{result['objects']:,} objects in {result['images']:,} images"
        return [("AP50", result["ap50"], f"average precision at IoU 0.5, mean over the classes, {counts}")]
    task, classes = result["task"], "mean over the classes that occur"
    over = f"over {_COUNTED[task]}"
    top5 = [("top-5 accuracy", result["top5_accuracy"], over)] if "top5_accuracy" in result else []
    iou = [("mean IoU", result["mean_iou"], classes)] if task == "segmentation" else []
    accuracy = ("accuracy", result["accuracy"], f"{over}, majority class {result['majority_class']:.1%}")
    floor = []
    if "coordinates_alone" in result:
        about = f"accuracy {over} of gradient boosting that knows longitude and latitude and no pixel: what the model owes to its place"
        floor = [("coordinates alone", result["coordinates_alone"], about)]
    return [accuracy, *floor, *top5, ("macro-F1", result["macro_f1"], classes), *iou]


def _series_text(result: dict) -> str:
    if "dates" not in result:
        return ""
    more = ", longitude and latitude" if result["location"] else ""
    return f"; reads a series of dates ({result['temporal']}{more}), at most {result['dates']} in a training step, all in the test"


class _Example(NamedTuple):
    """Pictures side by side with a caption below each, and two lines of text below all."""

    pictures: list[np.ndarray]
    captions: list[str]
    title: str = ""
    result: str = ""
    colour: str = INK


def _examples(test: Labelled, module: FineTuning) -> Figure:
    """A reproducible page of examples from the test places; runs the module."""
    store, task = test.store, test.task
    others: dict[str, Callable[..., Iterator[_Example]]] = {"segmentation": _segmented, "detection": _detected}
    draw, painter = others.get(task, _classified), Painter.of(store)
    module.eval()
    with torch.inference_mode():
        examples = draw(test.some(_POOL), module, painter, round(_column(_COLUMNS[task]) * DPI))
        return _page(list(examples), painter, _COLUMNS[task], store.info.classes if task in others else ())


def _column(across: int) -> float:
    """Width of one of ``across`` columns, inches."""
    return (WIDTH - 2 * EDGE - (across - 1) * _GAP) / across


def _page(examples: list[_Example], painter: Painter, columns: int, legend: tuple[LandClass, ...]) -> Figure:
    """Draw the examples in rows of ``columns`` pictures, below the legend."""
    side, each = _column(columns), _column(_LEGEND)
    most = max(len(example.pictures) for example in examples)
    across, step = columns // most, side + _GAP
    lines = bool(examples[0].captions) + 2 * bool(examples[0].title)
    top, row = 0.05 + _LINE * -(-len(legend) // _LEGEND), side + 0.07 + _LINE * lines
    height = top + row * -(-len(examples) // across) + 0.05
    page = Canvas(Figure(figsize=(WIDTH, height), dpi=DPI), height)
    for number, entry in enumerate(legend):
        x, y = EDGE + number % _LEGEND * (each + _GAP), 0.15 + number // _LEGEND * _LINE
        page.swatch(x, y, painter.colours[number] / 255)
        page.text(x + 0.14, y, entry.name, width=each - 0.14, fontsize=10)
    for number, example in enumerate(examples):
        left, y, width = EDGE + number % across * most * step, top + number // across * row, most * step - _GAP
        for at, picture in enumerate(example.pictures):
            page.picture(left + at * step, y, picture)
        y += side + 0.16
        for at, caption in enumerate(example.captions):
            page.text(left + at * step + side / 2, y, caption, fontsize=10, color=MUTED, ha="center")
        y += _LINE * bool(example.captions)
        page.text(left, y, example.title, width=width, fontsize=10.5, weight="bold")
        page.text(left, y + _LINE, example.result, width=width, fontsize=10, color=example.colour)
    return page.figure


def _classified(data: Labelled, module: ClassifierModule, painter: Painter, side: int) -> Iterator[_Example]:
    """Images, or places at several dates, with their true and their predicted class."""
    truth = data.labels[[rows[0] for rows in data.items]]
    batches = (move_data_to_device(data.batch([rows]), module.device) for rows in data.items)
    certainty, predicted = torch.cat([module.logits(batch).softmax(dim=1) for batch in batches]).cpu().max(dim=1)
    correct, columns = predicted.numpy() == truth, _COLUMNS[data.task]
    dates = min(columns, max(map(len, data.items)))
    names, when = [entry.name for entry in data.store.info.classes], known_dates(data.store)
    for number in _mixed(truth, correct, (4 if dates == 1 else 8) * (columns // dates)):
        rows, title = data.items[number], names[truth[number]]
        result = "correct" if correct[number] else f"predicted: {names[predicted[number]]}"
        captions = []
        if dates > 1:
            title += f", {len(rows)} dates"
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, columns).round().astype(int))]
            captions = [date_text(when[row]) for row in rows]
        pictures = [painter.chip(int(row), side) for row in rows]
        colour = _CORRECT if correct[number] else _WRONG
        yield _Example(pictures, captions, title, f"{result}, {certainty[number]:.0%}", colour)


def _mixed(truth: np.ndarray, correct: np.ndarray, most: int) -> np.ndarray:
    """Numbers of some wrong examples, up to half, and some correct ones, spread over the classes."""
    rank = pd.DataFrame({"truth": truth, "correct": correct}).groupby(["truth", "correct"]).cumcount().to_numpy()
    order = np.argsort(rank, kind="stable")
    wrong = order[~correct[order]][: max(most // 2, most - int(correct.sum()))]
    return np.concatenate([wrong, order[correct[order]][: most - len(wrong)]])


def _segmented(data: Labelled, module: ClassifierModule, painter: Painter, side: int) -> Iterator[_Example]:
    """Image, truth and prediction of the images with most classes."""
    variety = [len(np.unique(data.store.masks(rows))) for rows in data.items]
    for number in np.argsort(variety, kind="stable")[::-1][:8]:
        row, batch = int(data.items[number][0]), data.batch([data.items[number]])
        classes = module.logits(move_data_to_device(batch, module.device)).argmax(dim=1)[0].cpu().numpy()
        predicted = painter.colours[resize_nearest(classes, side)]
        yield _Example([painter.chip(row, side), painter.mask(row, side), predicted], ["image", "truth", "prediction"])


def _detected(data: Labelled, module: DetectorModule, painter: Painter, side: int) -> Iterator[_Example]:
    """Truth and detections of images with objects, if there are any."""
    for rows in ([rows for rows in data.items if int(rows[0]) in data.boxes] or data.items)[:6]:
        every = as_boxes(module.model(data.batch([rows]).pixels.to(module.device))[0])
        detected = Boxes(*(part[every.scores >= CONFIDENT] for part in every))
        truth = data.boxes.get(int(rows[0]), NO_BOXES)
        match = matched(detected.corners, truth.corners)
        hits = int((truth.labels[match[match >= 0]] == detected.labels[match >= 0]).sum())
        caption = f"detected (score >= {CONFIDENT:g}): {len(detected.labels)}, correct: {hits}"
        tables = [
            pd.DataFrame(boxes.corners, columns=["xmin", "ymin", "xmax", "ymax"]).assign(label=boxes.labels)
            for boxes in (truth, detected)
        ]
        pictures = [painter.chip(int(rows[0]), side, table) for table in tables]
        yield _Example(pictures, [f"truth: {len(truth.labels)}", caption])


def _curves(out: Path, headline: str) -> Figure:
    """Training loss and validation metric over the steps; a resumed run has several logs."""
    parts = [pd.read_csv(path) for path in sorted(out.glob("logs*/metrics.csv"))]
    log = pd.concat(parts).sort_values("step", kind="stable") if parts else pd.DataFrame({"step": []})
    validation = f"{headline.replace('ap50', 'AP50')} on validation places"
    return curves([(log, ["loss"], "loss on training images"), (log, [f"val_{headline}"], validation)])


def _class_table(store: ChipStore, task: str, rows: list[dict]) -> str:
    colours = [bytes(colour).hex() for colour in class_colours(store.info.classes)]
    metrics = [name for name in _METRICS if name in rows[0] and (name != "iou" or task == "segmentation")]
    cells = [
        [class_cell(row["class"], colour), f"{row['support']:,}"]
        + ["-" if row[name] is None else f"{row[name]:.1%}" for name in metrics]
        for row, colour in sorted(zip(rows, colours), key=lambda pair: -pair[0]["support"])[:_MAX_ROWS]
    ]
    table = html_table(["class", _COUNTED[task], *(_METRICS[name] for name in metrics)], cells)
    if len(rows) > _MAX_ROWS:
        table += f"<p><small>{len(rows) - _MAX_ROWS:,} rarer classes are in metrics.json.</small></p>"
    return table


def _confusion_matrix(result: dict) -> Figure:
    """Rows sum to one; of many classes the most frequent."""
    counts = np.array(result["confusion"], np.float64)
    names = [row["class"] for row in result["per_class"]]
    totals = counts.sum(axis=0) + counts.sum(axis=1)
    frequent = np.argsort(-totals[: len(names)], kind="stable")[:_MAX_CLASSES]
    shown = np.sort(frequent[totals[frequent] > 0])
    note = "percent of each row"
    if len(names) > _MAX_CLASSES:
        note += f"; the {_MAX_CLASSES} most frequent classes"
    if len(counts) > len(names):  # detections have a last row and column for no object
        shown, names = np.append(shown, len(names)), [*names, "nothing"]
        note += f"; detections with score >= {CONFIDENT:g}; row 'nothing': false detections, column: missed objects"
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(shown, shown)]
    figure = Figure(figsize=(11, 0.42 * len(shown) + 2.2), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    axes.set(aspect="equal", ylim=(len(shown), 0))
    for row, column in np.argwhere(shares >= 0.005):
        colour = "white" if shares[row, column] > 0.55 else INK
        text = f"{100 * shares[row, column]:.0f}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=colour)
    labels = [names[number][:34] for number in shown]
    axes.set_xticks(np.arange(len(shown)) + 0.5, labels, rotation=40, ha="left", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(np.arange(len(shown)) + 0.5, labels, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("truth", color=MUTED)
    axes.set_xlabel(f"prediction ({note})", color=MUTED)
    return figure

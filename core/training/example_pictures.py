"""Pictures of test images with their true labels and the predictions of a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from core.evaluation.scores import CONFIDENT, Boxes, matched
from core.report.pictures import DPI, EDGE, MUTED, WIDTH, Canvas, Painter, resize_nearest
from core.report.store_picture import date_text
from core.store.read import ChipStore
from core.store.summary import known_dates
from core.training.labelled import NO_BOXES, Labelled
from core.training.tasks import ClassifierModule, DetectorModule, FineTuning, as_boxes

_POOL = 200  # test images to choose from
_CORRECT, _WRONG = "#0b5d3b", "#c8323c"
_GAP, _CAPTION = 0.08, 0.27  # inches, between pictures and below them
_MAX_DATES = 8  # of a sequence


def draw_examples(store: ChipStore, module: FineTuning, task: str, places: list[np.ndarray]) -> Figure:
    """A reproducible page of examples from test places, given by the index rows of each; runs the module."""
    order = np.random.default_rng(0).permutation(len(places))[:_POOL]
    groups = [places[number] if task == "sequence" else places[number][:1] for number in order]
    draw: dict[str, Callable[..., Figure]] = {
        "segmentation": _segmentations,
        "classification": _images,
        "sequence": _sequences,
        "detection": _detections,
    }
    module.eval()
    with torch.inference_mode():
        return draw[task](store, module, groups, Painter.of(store))


def _page(height: float) -> Canvas:
    return Canvas(Figure(figsize=(WIDTH, height), dpi=DPI), height)


def _column(across: int, gap: float = _GAP) -> float:
    """Width of one of ``across`` columns."""
    return (WIDTH - 2 * EDGE - (across - 1) * gap) / across


def _predictions(
    store: ChipStore, module: ClassifierModule, task: str, groups: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted class and its probability for each group."""
    data, parts = Labelled(store, groups, task), []
    for group in groups:
        batch = data.batch([group])
        owner = None if batch.owner is None else batch.owner.to(module.device)
        parts.append(module.logits(batch._replace(pixels=batch.pixels.to(module.device), owner=owner)).softmax(dim=1))
    best = torch.cat(parts).max(dim=1)
    return best.indices.cpu().numpy(), best.values.cpu().numpy()


def _mixed(truth: np.ndarray, correct: np.ndarray, most: int) -> np.ndarray:
    """Numbers of some wrong examples, up to half, and some correct ones, spread over the classes."""
    rank = pd.DataFrame({"truth": truth, "correct": correct}).groupby(["truth", "correct"]).cumcount().to_numpy()
    order = np.argsort(rank, kind="stable")
    wrong = order[~correct[order]][: max(most // 2, most - int(correct.sum()))]
    return np.concatenate([wrong, order[correct[order]][: most - len(wrong)]])


def _images(store: ChipStore, module: ClassifierModule, groups: list[np.ndarray], painter: Painter) -> Figure:
    """Images in a grid, each with its true and its predicted class."""
    across, truth = 8, store.column("label")[[group[0] for group in groups]]
    predicted, certainty = _predictions(store, module, "classification", groups)
    chosen = _mixed(truth, predicted == truth, 4 * across)
    side = _column(across)
    line = side + 2 * _CAPTION
    page = _page(line * -(-len(chosen) // across) + 0.1)
    for at, number in enumerate(chosen):
        x, y = EDGE + at % across * (side + _GAP), at // across * line + 0.05
        page.picture(x, y, painter.chip(int(groups[number][0]), round(side * DPI)))
        _caption(page, store, (x, y + side + 0.16), side, truth[number], predicted[number], certainty[number])
    return page.figure


def _caption(
    page: Canvas, store: ChipStore, at: tuple[float, float], width: float, truth: int, predicted: int, certainty: float
) -> None:
    names, (x, y), correct = [entry.name for entry in store.info.classes], at, truth == predicted
    page.text(x, y, names[truth], width=width, fontsize=10.5, weight="bold")
    text = f"correct, {certainty:.0%}" if correct else f"predicted: {names[predicted]}, {certainty:.0%}"
    page.text(x, y + 0.18, text, width=width, fontsize=10, color=_CORRECT if correct else _WRONG)


def _sequences(store: ChipStore, module: ClassifierModule, groups: list[np.ndarray], painter: Painter) -> Figure:
    """True and predicted class of each place beside its dates; one place per row, or two if there are few dates."""
    truth = store.column("label")[[group[0] for group in groups]]
    predicted, certainty = _predictions(store, module, "sequence", groups)
    names, most = 2.3, min(_MAX_DATES, max(map(len, groups)))
    across = 2 if most <= 4 else 1
    chosen, width = _mixed(truth, predicted == truth, 8 * across), _column(across, 0.2)
    side = min(1.6, (width - names) / most - _GAP)
    line = side + _CAPTION
    page, dates = _page(line * -(-len(chosen) // across) + 0.1), known_dates(store)
    for at, number in enumerate(chosen):
        rows, left, y = groups[number], EDGE + at % across * (width + 0.2), at // across * line + 0.05
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _MAX_DATES).round().astype(int))]
        _caption(page, store, (left, y + 0.3), names - 0.15, truth[number], predicted[number], certainty[number])
        page.text(left, y + 0.68, f"{len(groups[number])} dates", fontsize=10, color=MUTED)
        for column, row in enumerate(rows):
            x = left + names + column * (side + _GAP)
            page.picture(x, y, painter.chip(int(row), round(side * DPI)))
            page.text(x + side / 2, y + side + 0.16, date_text(dates[row]), fontsize=9, color=MUTED, ha="center")
    return page.figure


def _segmentations(store: ChipStore, module: ClassifierModule, groups: list[np.ndarray], painter: Painter) -> Figure:
    """Image, truth and prediction of the images with most classes."""
    variety = [len(np.unique(store.masks(group))) for group in groups]
    chosen = [groups[number] for number in np.argsort(variety, kind="stable")[::-1][:8]]
    data = Labelled(store, chosen, "segmentation")

    def draw(group: np.ndarray, side: int) -> dict[str, np.ndarray]:
        batch, row = data.batch([group]), int(group[0])
        numbers = module.logits(batch._replace(pixels=batch.pixels.to(module.device))).argmax(dim=1)[0].cpu().numpy()
        predicted = painter.colours[resize_nearest(numbers, side)]
        return {"image": painter.chip(row, side), "truth": painter.mask(row, side), "prediction": predicted}

    return _panels(store, painter, chosen, 3, draw)


def _detections(store: ChipStore, module: DetectorModule, groups: list[np.ndarray], painter: Painter) -> Figure:
    """Truth and detections of images with objects, if there are any."""
    data = Labelled(store, groups, "detection")
    chosen = ([group for group in groups if int(group[0]) in data.boxes] or groups)[:6]

    def draw(group: np.ndarray, side: int) -> dict[str, np.ndarray]:
        row = int(group[0])
        every = as_boxes(module.model(data.batch([group]).pixels.to(module.device))[0])
        detected = Boxes(*(part[every.scores >= CONFIDENT] for part in every))
        truth = data.boxes.get(row, NO_BOXES)
        match = matched(detected.corners, truth.corners)
        hits = int((truth.labels[match[match >= 0]] == detected.labels[match >= 0]).sum())
        caption = f"detected (score >= {CONFIDENT:g}): {len(detected.labels)}, correct: {hits}"
        boxes = {f"truth: {len(truth.labels)}": truth, caption: detected}
        return {text: painter.chip(row, side, _frame(objects)) for text, objects in boxes.items()}

    return _panels(store, painter, chosen, 2, draw)


def _panels(
    store: ChipStore, painter: Painter, groups: list[np.ndarray], each: int, draw: Callable[..., dict[str, np.ndarray]]
) -> Figure:
    """Captioned pictures of each image side by side, two images per row; the legend on top, seven classes per row."""
    side, width = _column(2 * each, 0.12), _column(7)
    line, top = side + _CAPTION, 0.15 + 0.2 * -(-len(store.info.classes) // 7)
    page = _page(top + line * -(-len(groups) // 2) + 0.05)
    for number, entry in enumerate(store.info.classes):
        x, y = EDGE + number % 7 * (width + _GAP), 0.15 + number // 7 * 0.2
        page.swatch(x, y, painter.colours[number] / 255)
        page.text(x + 0.14, y, entry.name, width=width - 0.14, fontsize=10)
    for at, group in enumerate(groups):
        for column, (caption, picture) in enumerate(draw(group, round(side * DPI)).items(), start=at % 2 * each):
            x, y = EDGE + column * (side + 0.12), top + at // 2 * line
            page.picture(x, y, picture)
            page.text(x + side / 2, y + side + 0.16, caption, fontsize=10, color=MUTED, ha="center")
    return page.figure


def _frame(boxes: Boxes) -> pd.DataFrame:
    """Objects in the columns of boxes.parquet."""
    table = pd.DataFrame(boxes.corners, columns=["xmin", "ymin", "xmax", "ymax"])
    return table.assign(label=boxes.labels)

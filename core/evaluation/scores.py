"""Metrics from confusion matrices, and average precision of detections. Does not import torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IOU = 0.5  # minimum overlap of a detection with an object
CONFIDENT = 0.3  # minimum score except for the average precision; focal loss keeps scores low


def scores(confusion: np.ndarray) -> dict[str, float]:
    """Accuracy, macro-F1 and mean IoU (both over classes that occur), fraction of the majority class.

    Rows of the (K, K) counts are the truth, columns the prediction.
    """
    hits, truth, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs = truth > 0
    if not occurs.any():
        return dict.fromkeys(("accuracy", "macro_f1", "mean_iou", "majority_class", "classes_used"), 0.0)
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        "macro_f1": float((2 * hits / np.maximum(truth + predicted, 1))[occurs].mean()),
        "mean_iou": float((hits / np.maximum(truth + predicted - hits, 1))[occurs].mean()),
        "majority_class": float(truth.max() / confusion.sum()),
        "classes_used": int((predicted > 0).sum()),
    }


def per_class(confusion: np.ndarray, names: list[str]) -> list[dict]:
    """One row per class: support, precision, recall, F1 and IoU; None if undefined.

    The counts are (K, K), or (K + 1, K + 1) with "nothing" last; rows are the truth, columns the prediction.
    """
    hits, truth, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)

    def ratio(part: int, whole: int) -> float | None:
        return float(part / whole) if whole else None

    return [
        {
            "class": name,
            "support": int(t),
            "precision": ratio(h, s),
            "recall": ratio(h, t),
            "f1": ratio(2 * h, t + s) if t else None,
            "iou": ratio(h, t + s - h) if t else None,
        }
        for name, h, t, s in zip(names, hits, truth, predicted)
    ]


class Boxes(NamedTuple):
    """Objects of one image."""

    corners: np.ndarray  # (N, 4) xmin, ymin, xmax, ymax, px
    labels: np.ndarray  # (N,) class numbers
    scores: np.ndarray  # (N,) 0 to 1; ones for the truth


def overlaps(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Intersection over union of (N, 4) and (M, 4) boxes, (N, M)."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (left, right)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12)


def matched(detected: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For (N, 4) detections, best first, the unmatched one of (M, 4) objects that each overlaps best, (N,).

    It is -1 if the overlap is below ``IOU``.
    """
    iou = overlaps(detected, truth)
    match = np.full(len(detected), -1)
    for row in range(len(detected) if len(truth) else 0):
        best = int(iou[row].argmax())
        if iou[row, best] >= IOU:
            match[row] = best
            iou[:, best] = -1
    return match


def average_precision(hit: np.ndarray, scores: np.ndarray, objects: int) -> float:
    """Area under the monotonic precision-recall curve; ``hit`` says whether each of (N,) detections matches an object.

    Source: as in the scorers of xView and Pascal VOC (2010 and later), at every recall.
    """
    order = np.argsort(-scores, kind="stable")
    hits = hit[order].cumsum()
    precision = hits / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(hits, prepend=0) * precision).sum() / objects)


def ap50(detected: list[Boxes], truth: list[Boxes], classes: int) -> np.ndarray:
    """Average precision at IoU 0.5 of each class over all images, (classes,); NaN for classes without objects."""
    result = np.full(classes, np.nan)
    for label in range(classes):
        objects = sum(int((boxes.labels == label).sum()) for boxes in truth)
        if not objects:
            continue
        hits, certainty = [np.empty(0, bool)], [np.empty(0)]
        for there, real in zip(detected, truth):
            mine = np.flatnonzero(there.labels == label)
            mine = mine[np.argsort(-there.scores[mine], kind="stable")]
            hits.append(matched(there.corners[mine], real.corners[real.labels == label]) >= 0)
            certainty.append(there.scores[mine])
        result[label] = average_precision(np.concatenate(hits), np.concatenate(certainty), objects)
    return result


def object_confusion(detected: list[Boxes], truth: list[Boxes], classes: int) -> np.ndarray:
    """Confusion matrix (classes + 1, classes + 1); the last row counts false detections, the last column missed objects.

    Only detections with a score of at least ``CONFIDENT`` count.
    """
    confusion = np.zeros((classes + 1, classes + 1), np.int64)
    for there, real in zip(detected, truth):
        sure = np.flatnonzero(there.scores >= CONFIDENT)
        sure = sure[np.argsort(-there.scores[sure], kind="stable")]
        match = matched(there.corners[sure], real.corners)
        label = np.append(real.labels, classes)[match]  # -1, the last: no object
        np.add.at(confusion, (label, there.labels[sure]), 1)
        missed = np.setdiff1d(np.arange(len(real.labels)), match)
        np.add.at(confusion, (real.labels[missed], classes), 1)
    return confusion

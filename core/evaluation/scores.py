"""Counts into numbers: confusion matrices, and average precision of detected objects. No torch here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IOU = 0.5  # a box is found when it is overlapped that well
CONFIDENT = 0.3  # detections below it count for the average precision only; focal loss keeps scores low


def scores(confusion: np.ndarray) -> dict[str, float]:
    """Accuracy, macro-F1 and mean IoU (both over classes that occur), share of the majority class.

    Args:
        confusion: (K, K) counts, rows the truth, columns the prediction.
    """
    hits, truth, said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs = truth > 0
    if not occurs.any():
        return dict.fromkeys(("accuracy", "macro_f1", "mean_iou", "majority_class", "classes_used"), 0.0)
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        "macro_f1": float((2 * hits / np.maximum(truth + said, 1))[occurs].mean()),
        "mean_iou": float((hits / np.maximum(truth + said - hits, 1))[occurs].mean()),
        "majority_class": float(truth.max() / confusion.sum()),
        "classes_used": int((said > 0).sum()),
    }


def per_class(confusion: np.ndarray, names: list[str]) -> list[dict]:
    """A row a class: support, precision, recall, F1 and IoU; None where a number has no meaning.

    Args:
        confusion: (K, K) counts, or (K + 1, K + 1) with "nothing" last, rows the truth, columns the prediction.
        names: of the K classes.
    """
    hits, truth, said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)

    def share(part: int, whole: int) -> float | None:
        return float(part / whole) if whole else None

    return [
        {
            "class": name,
            "support": int(t),
            "precision": share(h, s),
            "recall": share(h, t),
            "f1": share(2 * h, t + s) if t else None,
            "iou": share(h, t + s - h) if t else None,
        }
        for name, h, t, s in zip(names, hits, truth, said)
    ]


class Boxes(NamedTuple):
    """Objects of one image; ``scores`` is all ones for the truth.

    Attributes:
        corners: (N, 4) xmin, ymin, xmax, ymax, px.
        labels: (N,) class numbers.
        scores: (N,), 0 to 1.
    """

    corners: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def overlaps(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Intersection over union of (N, 4) and (M, 4) boxes, (N, M)."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (left, right)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12)


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which truth each found box takes: the one it overlaps best of those still free; -1 where below ``IOU``.

    Args:
        found: (N, 4) boxes, best score first.
        truth: (M, 4) boxes.
    """
    iou = overlaps(found, truth)
    taken = np.full(len(found), -1)
    for row in range(len(found) if len(truth) else 0):
        best = int(iou[row].argmax())
        if iou[row, best] >= IOU:
            taken[row] = best
            iou[:, best] = -1
    return taken


def average_precision(hit: np.ndarray, scores: np.ndarray, objects: int) -> float:
    """Area under the curve of precision over recall, precision made monotonic.

    Args:
        hit: (N,) whether each detection found an object.
        scores: (N,) its score.
        objects: how many there are to be found, above 0.

    Source: as xView's and Pascal VOC's (2010 and later) scorers count it, at every recall.
    """
    order = np.argsort(-scores, kind="stable")
    right = hit[order].cumsum()
    precision = right / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(right, prepend=0) * precision).sum() / objects)


def ap50(found: list[Boxes], truth: list[Boxes], classes: int) -> np.ndarray:
    """Average precision at IoU 0.5 of each class over all images, (classes,); NaN for classes without objects.

    Args:
        found: an entry an image.
        truth: likewise.
        classes: how many there are.
    """
    result = np.full(classes, np.nan)
    for label in range(classes):
        objects = sum(int((boxes.labels == label).sum()) for boxes in truth)
        if not objects:
            continue
        hits, certainty = [np.empty(0, bool)], [np.empty(0)]
        for there, real in zip(found, truth):
            mine = np.flatnonzero(there.labels == label)
            mine = mine[np.argsort(-there.scores[mine], kind="stable")]
            hits.append(matched(there.corners[mine], real.corners[real.labels == label]) >= 0)
            certainty.append(there.scores[mine])
        result[label] = average_precision(np.concatenate(hits), np.concatenate(certainty), objects)
    return result


def object_confusion(found: list[Boxes], truth: list[Boxes], classes: int) -> np.ndarray:
    """Which objects were taken for what, (classes + 1, classes + 1): the last row was not there, the last column missed.

    Detections count from a score of ``CONFIDENT`` on.
    """
    confusion = np.zeros((classes + 1, classes + 1), np.int64)
    for there, real in zip(found, truth):
        sure = np.flatnonzero(there.scores >= CONFIDENT)
        sure = sure[np.argsort(-there.scores[sure], kind="stable")]
        taken = matched(there.corners[sure], real.corners)
        meant = np.append(real.labels, classes)[taken]  # -1, the last: nothing was there
        np.add.at(confusion, (meant, there.labels[sure]), 1)
        missed = np.setdiff1d(np.arange(len(real.labels)), taken)
        np.add.at(confusion, (real.labels[missed], classes), 1)
    return confusion

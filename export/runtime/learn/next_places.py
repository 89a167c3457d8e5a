"""Where the next label helps most: places that are uncertain, unlike anything labelled, and different from each other."""

from __future__ import annotations

import numpy as np

COUNT = 10


def next_places(
    features: np.ndarray, probabilities: np.ndarray, index: np.ndarray, places: np.ndarray, count: int = COUNT
) -> np.ndarray:
    """Choose places to label next, the most useful first.

    Args:
        features: (N, D) of places that hold data and no label.
        probabilities: (N, K) of the head.
        index: (N,) dissimilarity to what is labelled, over its threshold: above 1 it is unlike anything labelled.
        places: (N, 2) rows and columns, px.
        count: how many.

    Returns:
        (count,) indices into N, fewer where there are fewer places.
    """
    if not len(features):
        return np.zeros(0, np.int64)
    best = np.sort(probabilities, axis=1)[:, -2:]
    doubt = 1 - (best[:, 1] - best[:, 0]) if best.shape[1] > 1 else np.ones(len(best))
    worth = (doubt + 0.05) * (np.minimum(index, 2.0) + 0.05)
    values = features.astype(np.float32)
    values /= np.maximum(values.std(axis=0), 1e-6)
    far = np.ones(len(values), np.float32)
    unit = np.float32(np.sqrt(2.0 * values.shape[1]))  # the usual distance of two places
    reach = max(float(np.ptp(places, axis=0).max()) / 10, 1.0)
    chosen: list[int] = []
    for _ in range(min(count, len(values))):
        best_one = int((worth * far).argmax())
        chosen.append(best_one)
        unlike = np.sqrt(((values - values[best_one]) ** 2).sum(axis=1)) / unit
        away = np.abs(places - places[best_one]).max(axis=1) / reach
        far = np.minimum(far, np.minimum(unlike, 1.0) * np.minimum(away, 1.0))
        far[chosen] = -1.0
    return np.array(chosen)

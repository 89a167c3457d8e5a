"""Which places look like those that somebody points at. Pure numpy.

Features are compared as directions from their mean: the cosine. They are whitened, so that all count alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEAN = 128.0  # of a whitened 8-bit feature
COUNT, APART = 100, 64.0  # best places, and px from one to the next at least
_AT_ONCE = 1 << 15  # places: what they need stays in the processor's cache


@dataclass(frozen=True)
class Similarity:
    """Compares places with examples.

    Attributes:
        directions: (1 or 2, D) float32 unit vectors: of the examples, and of the counter-examples if there are any.
    """

    directions: np.ndarray

    @classmethod
    def to(cls, positives: np.ndarray, negatives: np.ndarray | None = None) -> Similarity:
        """To (P, D) features of examples, and unlike (Q, D) features of counter-examples."""
        given = [examples for examples in (positives, negatives) if examples is not None and len(examples)]
        units = [_unit(np.asarray(examples, np.float32) - np.float32(MEAN)) for examples in given]
        return cls(_unit(np.stack([unit.mean(axis=0) for unit in units])))

    def of(self, features: np.ndarray) -> np.ndarray:
        """(...) float32 similarity, 0 to 1, of (D, ...) features of any number type; see ``similarity``."""
        flat = features.reshape(len(features), -1)
        scores = np.empty(flat.shape[1], np.float32)
        for start in range(0, len(scores), _AT_ONCE):
            piece = slice(start, start + _AT_ONCE)
            scores[piece] = self._scores(flat[:, piece])
        return scores.reshape(features.shape[1:])

    def _scores(self, features: np.ndarray) -> np.ndarray:
        """(N,) of (D, N)."""
        centred = features.astype(np.float32)
        centred -= np.float32(MEAN)
        cosines = np.einsum("kd,dn->kn", self.directions, centred)  # too small for the threads of a BLAS
        length = np.sqrt(np.einsum("dn,dn->n", centred, centred))
        cosines /= np.maximum(length, np.float32(1e-6))
        scores = np.clip(cosines[0], 0, 1)
        if len(cosines) > 1:
            near, far = 1 - np.minimum(cosines, 1)
            scores *= far / np.maximum(near + far, np.float32(1e-6))
        return scores


def similarity(features: np.ndarray, positives: np.ndarray, negatives: np.ndarray | None = None) -> np.ndarray:
    """How similar places are to examples: 1 at them, 0 at counter-examples and at whatever is unrelated.

    It is the cosine p with the mean direction of the examples, not below 0, times the relevance (1 - n) / ((1 - n) + (1 - p)),
    in which n is the cosine with the counter-examples' mean direction.

    Args:
        features: (N, D) of any number type, 1 to 255.
        positives: (P, D), one or more.
        negatives: (Q, D), which may be none.

    Returns:
        (N,) float32.

    Source of the relevance: Giacinto and Roli 2004, Instance-based relevance feedback for image retrieval, NIPS 17, here of
    the means instead of the nearest neighbours.
    """
    return Similarity.to(positives, negatives).of(np.asarray(features).T)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


@dataclass(frozen=True)
class BestPlaces:
    """Candidates for the best places, best first: (N,) float32 scores, and (N,) rows and columns in px of their middles."""

    scores: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def none(cls) -> BestPlaces:
        """No places."""
        return cls(np.zeros(0, np.float32), np.zeros(0), np.zeros(0))

    @classmethod
    def of_tile(cls, scores: np.ndarray, top: int, left: int, side: int) -> BestPlaces:
        """The candidates of a tile of (rows, columns) scores of places of ``side`` px, NaN where there are none.

        ``top`` and ``left`` are the tile's first row and column in px.
        """
        rows, columns = scores.shape
        cell = max(int(APART / side), 1)
        padded = np.full((-(-rows // cell) * cell, -(-columns // cell) * cell), -1, np.float32)
        padded[:rows, :columns] = np.nan_to_num(scores, nan=-1)
        tall, wide = (length // cell for length in padded.shape)
        cells = padded.reshape(tall, cell, wide, cell).transpose(0, 2, 1, 3).reshape(tall, wide, cell * cell)
        at, best = cells.argmax(axis=2), cells.max(axis=2)
        row = np.arange(tall)[:, None] * cell + at // cell
        column = np.arange(wide) * cell + at % cell
        there = best > 0
        middle = (side - 1) / 2
        return cls(best[there], top + row[there] * side + middle, left + column[there] * side + middle)

    def joined(self, others: BestPlaces, count: int = COUNT, apart: float = APART) -> BestPlaces:
        """The best of both, at most so many, each at least ``apart`` px from all better ones."""
        scores = np.concatenate([self.scores, others.scores])
        at = np.column_stack([np.concatenate([self.rows, others.rows]), np.concatenate([self.columns, others.columns])])
        kept: list[int] = []
        for number in np.lexsort((at[:, 1], at[:, 0], -scores)).tolist():
            if len(kept) == count:
                break
            if not kept or np.hypot(*(at[kept] - at[number]).T).min() >= apart:
                kept.append(number)
        return BestPlaces(scores[kept], at[kept, 0], at[kept, 1])

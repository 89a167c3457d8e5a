"""Cross-date retrieval: how well features identify the same place at another date, without labels.

Protocol: each image of one date is a query for its own place among all places of the test side at another date, by
cosine similarity of features that were standardised, or whitened, with training images. Dates are numbered within a place: in a round the query
of every place is its a-th image and the answer its b-th, with a and b drawn per round. Ties count as failures, so that
constant features retrieve nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
import torch
from sklearn.covariance import ledoit_wolf

from core.store.read import ChipStore, images_of

TOP = (1, 10)
ROUNDS = 30  # maximum number of pairs of dates
MAX_PLACES = 10_000  # of more, a random sample
SCALING_IMAGES = 2000  # training images used to standardise or whiten the features
SCALINGS = ("standardised", "whitened")
_BLOCK = 1024  # queries compared at once: memory is proportional to block x places


@dataclass(frozen=True)
class CosineScaling:
    """What makes features comparable by their cosine, fitted on training images."""

    mean: np.ndarray  # (D,)
    matrix: np.ndarray  # (D,), or (D, D) where directions are mixed

    @classmethod
    def fit(cls, known: np.ndarray, kind: str) -> CosineScaling:
        """Unit variance of each of (N, D) features, or, whitened, of every direction in their space."""
        known = known.astype(np.float64)
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        deviation[deviation < 1e-6 * max(float(deviation.max()), 1e-12)] = 1.0
        if kind == "standardised":
            return cls(mean, 1 / deviation)
        scaled = (known - mean) / deviation
        covariance, _ = ledoit_wolf(scaled, assume_centered=True)  # shrunk, the more the fewer the images
        variances, axes = np.linalg.eigh(covariance)
        return cls(mean, axes / (deviation[:, None] * np.sqrt(np.maximum(variances, 1e-12))))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Unit vectors (N, D) float32; features that are all alike give zeros."""
        scaled = (features - self.mean).astype(np.float32)
        matrix = self.matrix.astype(np.float32)
        scaled = scaled * matrix if matrix.ndim == 1 else scaled @ matrix
        return (scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)).astype(np.float32)


@dataclass(frozen=True)
class Retrieval:
    """Queries and answers, as index rows of a store."""

    queries: np.ndarray  # (rounds, places)
    answers: np.ndarray  # (rounds, places), the same places at another date
    scaling: np.ndarray  # (N,) training images

    @classmethod
    def plan(cls, store: ChipStore, seed: int, side: str = "test") -> Retrieval | None:
        """Draw places and dates; None if fewer than two places of the side have two dates."""
        places = store.places
        repeated = places[(places["split"] == side) & (places["count"] > 1)]
        if len(repeated) < 2:
            return None
        rng = np.random.default_rng(seed)
        repeated = repeated.sample(min(len(repeated), MAX_PLACES), random_state=rng).sort_index()
        rounds = _rounds(repeated, rng)
        known = places[places["split"] == "train"]
        scaling = np.concatenate(images_of(known if len(known) else repeated))
        scaling = np.sort(rng.permutation(scaling)[:SCALING_IMAGES])
        return cls(*rounds, scaling)

    @property
    def rows(self) -> np.ndarray:
        """Unique index rows whose features are needed, sorted."""
        return np.unique(np.concatenate([self.queries.ravel(), self.answers.ravel(), self.scaling]))

    @property
    def places(self) -> int:
        """Number of candidate places."""
        return self.queries.shape[1]

    def chance(self, top: int) -> float:
        """Recall of a random guess."""
        return min(1.0, top / self.places)

    def scaled(self, everything: np.ndarray, rows: np.ndarray, kind: str) -> np.ndarray:
        """Unit vectors (N, D) of (N, D) features of the index rows, by one of ``SCALINGS``."""
        return CosineScaling.fit(everything[np.searchsorted(rows, self.scaling)], kind)(everything)

    def recalls(
        self, everything: np.ndarray, rows: np.ndarray, device: torch.device, kind: str = SCALINGS[0]
    ) -> dict[int, np.ndarray]:
        """Fraction of the rounds in which each place was retrieved.

        Args:
            everything: (N, D) features.
            rows: (N,) their index rows, sorted; a superset of ``self.rows``.
            device: of the matrix products.
            kind: one of ``SCALINGS``.

        Returns:
            For each of ``TOP``, (places,) from 0 to 1.
        """
        vectors = torch.from_numpy(self.scaled(everything, rows, kind)).to(device)
        hits = {top: np.zeros(self.places) for top in TOP}
        for queries, answers in zip(self.queries, self.answers):
            rank = ranks(*(vectors[np.searchsorted(rows, chosen)] for chosen in (queries, answers)))
            for top in TOP:
                hits[top] += rank < top
        return {top: count / len(self.queries) for top, count in hits.items()}


def _rounds(places: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Index rows of queries and answers, (rounds, places) each."""
    first, count = places["first"].to_numpy(), places["count"].to_numpy()
    if count.min() == count.max() and count[0] * (count[0] - 1) <= ROUNDS:  # few dates: every ordered pair
        dates = np.array(list(permutations(range(count[0]), 2)))
        return first + dates[:, :1], first + dates[:, 1:]
    # One draw per round, scaled to each place's number of dates: equal numbers get equal dates.
    one, two = rng.random((2, ROUNDS, 1))
    query = np.floor(one * count).astype(int)
    step = 1 + np.floor(two * (count - 1)).astype(int)
    return first + query, first + (query + step) % count


def ranks(queries: torch.Tensor, answers: torch.Tensor) -> np.ndarray:
    """Number of other places at least as similar to each query as its own, (N,): 0 for the best.

    Row i of queries and answers, (N, D) unit vectors, is of the same place.
    """
    parts = []
    for start in range(0, len(queries), _BLOCK):
        similarity = queries[start : start + _BLOCK] @ answers.T  # block x N
        own = similarity[:, start : start + _BLOCK].diagonal().unsqueeze(1)
        parts.append((similarity >= own).sum(dim=1) - 1)
    return torch.cat(parts).cpu().numpy()

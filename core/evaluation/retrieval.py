"""Cross-date retrieval: how well features identify the same place at another date, without labels.

Protocol: each image of one date is a query for its own place among all places of the test side at another date, by
cosine similarity of features standardised with training images. Dates are numbered within a place: in a round the query
of every place is its a-th image and the answer its b-th, with a and b drawn per round. Ties count as failures, so that
constant features retrieve nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from core.store.read import ChipStore, images_of

TOP = (1, 10)
ROUNDS = 30  # maximum number of pairs of dates
MAX_PLACES = 10_000  # of more, a random sample
SCALING_IMAGES = 2000  # training images used to standardise the features
_BLOCK = 1024  # queries compared at once: memory is proportional to block x places


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

    def recalls(self, everything: np.ndarray, rows: np.ndarray, device: torch.device) -> dict[int, np.ndarray]:
        """Fraction of the rounds in which each place was retrieved.

        Args:
            everything: (N, D) features.
            rows: (N,) their index rows, sorted; a superset of ``self.rows``.
            device: of the matrix products.

        Returns:
            For each of ``TOP``, (places,) from 0 to 1.
        """
        known = everything[np.searchsorted(rows, self.scaling)]
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        deviation[deviation < 1e-6 * max(float(deviation.max()), 1e-12)] = 1.0

        def vectors(chosen: np.ndarray) -> torch.Tensor:
            scaled = (everything[np.searchsorted(rows, chosen)] - mean) / deviation
            return F.normalize(torch.from_numpy(scaled.astype(np.float32)).to(device), dim=1)

        hits = {top: np.zeros(self.places) for top in TOP}
        for queries, answers in zip(self.queries, self.answers):
            rank = ranks(vectors(queries), vectors(answers))
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

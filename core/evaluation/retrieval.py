"""Cross-date retrieval: how well do features know a place again at another date? Needs no labels.

Protocol: an image of one date asks for its own place among all places of a side (test) at another date,
by cosine similarity of features that are standardised with training images. Dates are counted within a
place: in a round every place asks with its a-th image and answers with its b-th, a and b drawn anew each
round; where all places have the same dates, these are two dates of the calendar. A place found as good as
another counts as not found, so that features that are all alike find nothing.
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
ROUNDS = 30  # pairs of dates, at most
MOST_PLACES = 10_000  # to choose from: beyond, a random sample
SCALING_IMAGES = 2000  # training images that the features are standardised with
_BLOCK = 1024  # queries compared at once: memory is block x places


@dataclass(frozen=True)
class Retrieval:
    """Which images are asked for, as index rows of a store.

    Attributes:
        queries: (rounds, places).
        answers: (rounds, places), the same place at another date.
        scaling: (N,) training images.
    """

    queries: np.ndarray
    answers: np.ndarray
    scaling: np.ndarray

    @classmethod
    def plan(cls, store: ChipStore, seed: int, side: str = "test") -> Retrieval | None:
        """Draw places and dates; None where fewer than two places of the side have two dates."""
        places = store.places
        several = places[(places["split"] == side) & (places["count"] > 1)]
        if len(several) < 2:
            return None
        rng = np.random.default_rng(seed)
        several = several.sample(min(len(several), MOST_PLACES), random_state=rng).sort_index()
        rounds = _rounds(several, rng)
        known = places[places["split"] == "train"]
        scaling = np.concatenate(images_of(known if len(known) else several))
        scaling = np.sort(rng.permutation(scaling)[:SCALING_IMAGES])
        return cls(*rounds, scaling)

    @property
    def rows(self) -> np.ndarray:
        """All index rows that features are needed of, sorted, each once."""
        return np.unique(np.concatenate([self.queries.ravel(), self.answers.ravel(), self.scaling]))

    @property
    def places(self) -> int:
        """How many places there are to choose from."""
        return self.queries.shape[1]

    def chance(self, top: int) -> float:
        """Recall of guessing."""
        return min(1.0, top / self.places)

    def recalls(self, everything: np.ndarray, rows: np.ndarray, device: torch.device) -> dict[int, np.ndarray]:
        """Share of the rounds in which each place was found.

        Args:
            everything: (N, D) features.
            rows: (N,) index rows that they belong to, sorted; all of ``self.rows`` among them.
            device: where the products are computed.

        Returns:
            For each of ``TOP``, (places,) from 0 to 1.
        """
        known = everything[np.searchsorted(rows, self.scaling)]
        mean, deviation = known.mean(axis=0), known.std(axis=0)
        deviation[deviation < 1e-6 * max(float(deviation.max()), 1e-12)] = 1.0

        def vectors(chosen: np.ndarray) -> torch.Tensor:
            scaled = (everything[np.searchsorted(rows, chosen)] - mean) / deviation
            return F.normalize(torch.from_numpy(scaled.astype(np.float32)).to(device), dim=1)

        found = {top: np.zeros(self.places) for top in TOP}
        for queries, answers in zip(self.queries, self.answers):
            rank = ranks(vectors(queries), vectors(answers))
            for top in TOP:
                found[top] += rank < top
        return {top: count / len(self.queries) for top, count in found.items()}


def _rounds(places: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Index rows of queries and answers, (rounds, places) each."""
    first, count = places["first"].to_numpy(), places["count"].to_numpy()
    if count.min() == count.max() and count[0] * (count[0] - 1) <= ROUNDS:  # few dates: every ordered pair of them
        dates = np.array(list(permutations(range(count[0]), 2)))
        return first + dates[:, :1], first + dates[:, 1:]
    # One draw a round, scaled to each place's number of dates: equal numbers get equal dates.
    one, two = rng.random((2, ROUNDS, 1))
    query = np.floor(one * count).astype(int)
    step = 1 + np.floor(two * (count - 1)).astype(int)
    return first + query, first + (query + step) % count


def ranks(queries: torch.Tensor, answers: torch.Tensor) -> np.ndarray:
    """How many other places answer at least as well as the query's own.

    Args:
        queries: (N, D) unit vectors.
        answers: (N, D) unit vectors, row i of the same place as query i.

    Returns:
        (N,) 0 for the best; computed in blocks of rows.
    """
    parts = []
    for start in range(0, len(queries), _BLOCK):
        similarity = queries[start : start + _BLOCK] @ answers.T  # block x N
        own = similarity[:, start : start + _BLOCK].diagonal().unsqueeze(1)
        parts.append((similarity >= own).sum(dim=1) - 1)
    return torch.cat(parts).cpu().numpy()

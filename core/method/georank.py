"""The loss of GeoRank: what is near on Earth is to be alike, in order (Burgert et al. 2026, arXiv 2601.02289).

Beside its source: ranks are made smooth by sums of sigmoids (Smooth-AP: Brown et al. 2020, arXiv 2007.12163) instead of
projections, and a query is compared with the keys of the batch instead of its queries, so that it is the same for any
number of processes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.store.sphere import EARTH_RADIUS_M

REACH_KM = 3000.0  # beyond it the order of places does not count, as in the source
SMOOTHNESS = 0.01  # difference of cosines at which one rank passes into another, as in Smooth-AP
MOST = 256  # keys that a query is compared with: memory grows with the square


def rank_loss(query: Tensor, key: Tensor, places: Tensor, first: int = 0) -> Tensor:
    """Squared difference between each key's rank by similarity to a query and its rank by distance on the sphere.

    Args:
        query: (n, D) unit vectors, rows ``first`` to ``first + n`` of the batch.
        key: (N, D) unit vectors of the whole batch, no gradient; of more than ``MOST`` the first ones are compared.
        places: (N, 3) unit vectors, where on the sphere each row of the batch lies.
        first: row of the first query.

    Returns:
        Scalar: mean over the queries of the mean over other rows within ``REACH_KM`` (0 without any), divided by the norm of the
        ranks 1 to N - 1, as in the source.
    """
    rows = torch.arange(first, first + len(query), device=query.device)
    key, others = key[:MOST], places[:MOST]
    own = rows[:, None] == torch.arange(len(key), device=query.device)
    similarity = (query @ key.T).masked_fill(own, -4.0)  # n x N; below all cosines, so that no rank counts it
    above = torch.sigmoid((similarity[:, None, :] - similarity[:, :, None]) / SMOOTHNESS)
    ranks = above.sum(dim=2) + 0.5  # of a key with itself the sigmoid is a half
    apart = torch.cdist(places[rows], others, compute_mode="donot_use_mm_for_euclid_dist")
    wanted = apart.masked_fill(own, 4.0).argsort(dim=1, stable=True).argsort(dim=1) + 1.0  # chords are up to 2
    counted = (apart <= 2 * math.sin(1000 * REACH_KM / EARTH_RADIUS_M / 2)) & ~own
    norm = torch.arange(1.0, len(key), device=query.device).norm().clamp(min=1.0)
    each = ((ranks - wanted).square() * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
    return each.mean() / norm

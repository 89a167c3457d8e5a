"""The method: momentum contrast on places, with temporal positives and the geo-location pretext.

He et al. 2020 (MoCo, arXiv 1911.05722), Chen et al. 2020 (MoCo v2, arXiv 2003.04297), Ayush et al. 2021
(Geography-Aware Self-Supervised Learning, arXiv 2011.09980). Names follow the papers: ``encoder_q`` is trained,
``encoder_k`` follows it slowly (momentum ``m``), the ``queue`` holds the last ``K`` keys as negatives, ``T`` is the
temperature. ``core.method.pairs`` chooses the two images of a pair, ``core.method.views`` augments them.

Shuffled batch norm (MoCo, section 3.3) is part of how ``core.method.pairs`` distributes a batch: each process encodes
keys of other queries than its own, and ``order`` restores their order. On one device the whole batch shares its
statistics, so no shuffling is needed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor, nn

from core.store.sphere import unit_vectors

VARIANTS = ("moco", "moco-geo", "moco-tp", "moco-geo-tp")
GEO_HEADS = ("projection", "trunk")
# Defaults for stores of thousands of images, here and in core.train pretrain; the paper's are in configs/paper.
QUEUE_LENGTH, MOMENTUM, TEMPERATURE = 4096, 0.99, 0.2
NO_PLACE = -1  # place of the random vectors that initialise the queue


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float, masked: Tensor | None = None) -> Tensor:
    """Contrast each query with its own key and with every key still in the queue.

    Args:
        query: (N, D) unit vectors from the query encoder.
        key: (N, D) unit vectors from the key encoder, no gradient; row i shows the same place as row i
            of ``query``, at another date under temporal positives.
        queue: (D, K) unit vectors of earlier batches: the negatives.
        temperature: divisor of the cosine similarities, > 0, no unit.
        masked: (N, K) bool, negatives to leave out for each query; None to use all.

    Returns:
        Scalar: mean over N of the cross-entropy at the positive, in nats.

    Raises:
        ValueError: N or D disagree, or ``temperature`` is not positive.

    Source: He et al. 2020 (MoCo), eq. 1; two dates as a pair, Ayush et al. 2021.
    """
    if query.shape != key.shape or query.shape[1] != queue.shape[0] or temperature <= 0:
        raise ValueError(f"query {query.shape}, key {key.shape}, queue {queue.shape}, temperature {temperature}")
    l_pos = (query * key).sum(dim=1, keepdim=True)  # N x 1
    l_neg = query @ queue  # N x K
    if masked is not None:
        l_neg = l_neg.masked_fill(masked, -torch.inf)
    logits = torch.cat([l_pos, l_neg], dim=1) / temperature  # N x (1 + K)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def fit_geo_clusters(lonlat: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Spherical k-means of (N, 2) places in degrees: (K, 3) unit vectors; K <= k, at most one per distinct position.

    No cluster is split at the antimeridian or at a pole.
    """
    points = np.unique(unit_vectors(lonlat).round(9), axis=0)
    centres = KMeans(min(k, len(points)), n_init=3, random_state=seed).fit(points).cluster_centers_
    return centres / np.linalg.norm(centres, axis=1, keepdims=True)


def assign_geo_clusters(lonlat: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N,) number of the nearest of (K, 3) centres, for (N, 2) places in degrees."""
    return (unit_vectors(lonlat) @ centres.T).argmax(axis=1)


def gathered(own: Tensor) -> Tensor:
    """Concatenate the (n, ...) rows of all processes to (N, ...), without gradient."""
    if not dist.is_initialized():
        return own
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)


@dataclass(frozen=True)
class Losses:
    """Losses and diagnostics of one step.

    Attributes:
        total: alpha * contrast + beta * geo.
        contrast: the InfoNCE loss, nats.
        geo: cross-entropy of the geo cluster, nats; 0 without a geo head.
        geo_accuracy: fraction of queries whose cluster is predicted; 0 without a geo head.
        feature_std: mean over D of the queries' standard deviation, times sqrt(D): about 1 for unit vectors spread
            evenly over the sphere, 0 for a collapsed representation.
    """

    total: Tensor
    contrast: Tensor
    geo: Tensor
    geo_accuracy: Tensor
    feature_std: Tensor


class MoCo(nn.Module):
    """Query encoder, momentum encoder, queue and geo head."""

    queue: Tensor
    queue_places: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        width: int,
        *,
        dim: int = 128,
        K: int = QUEUE_LENGTH,
        m: float = MOMENTUM,
        T: float = TEMPERATURE,
        clusters: int = 0,
        alpha: float = 1.0,
        beta: float = 1.0,
        geo_head: str = "projection",
        mask_same_place: bool = False,
    ) -> None:
        """Build both encoders from one trunk, raw pixels to features (N, width), with projections of width ``dim``, D.

        ``K``, ``m`` and ``T`` are those of the paper; ``K`` is at least the batch size. 0 ``clusters`` disable the
        geo-location pretext; ``alpha`` and ``beta`` weigh the contrastive and the geo-location loss. The geo head reads
        the un-normalised ``projection``, as in the authors' code, or the features of the ``trunk``, as in the paper's
        formula. ``mask_same_place`` leaves queued keys of the query's own place out of the negatives.
        """
        super().__init__()
        self.K, self.m, self.T, self.alpha, self.beta = K, m, T, alpha, beta
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, dim))
        self.encoder_q = nn.Sequential(trunk, head)
        self.encoder_k = copy.deepcopy(self.encoder_q).requires_grad_(False)
        self.geo_input, self.mask_same_place = geo_head, mask_same_place
        self.geo_head: nn.Module | None = None
        if clusters and geo_head == "trunk":
            self.geo_head = nn.Linear(width, clusters)
        elif clusters:
            self.geo_head = nn.Sequential(nn.ReLU(), nn.Linear(dim, clusters))
        self.register_buffer("queue", F.normalize(torch.randn(dim, K), dim=0))
        self.register_buffer("queue_places", torch.full((K,), NO_PLACE))
        self.register_buffer("queue_ptr", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def momentum_update(self) -> None:
        """Update the key encoder: k <- m k + (1 - m) q."""
        keys, queries = zip(*zip(self.encoder_k.parameters(), self.encoder_q.parameters()))
        torch._foreach_lerp_(keys, queries, 1 - self.m)

    @torch.no_grad()
    def enqueue(self, key: Tensor, places: Tensor | None = None) -> None:
        """Replace the oldest keys of the queue by (N, D) new ones of (N,) places, wrapping around at its end."""
        key = key[-self.K :]
        at = (self.queue_ptr + torch.arange(len(key), device=key.device)) % self.K
        self.queue[:, at] = key.T.to(self.queue.dtype)
        if places is not None:
            self.queue_places[at] = places[-self.K :]
        self.queue_ptr.copy_((self.queue_ptr + len(key)) % self.K)

    @torch.no_grad()
    def keys(self, im_k: Tensor, order: Tensor | None) -> Tensor:
        """Unit keys of all processes, (N, D), sorted so that row i belongs to query i."""
        k = gathered(F.normalize(self.encoder_k(im_k).float(), dim=1))
        return k if order is None else torch.empty_like(k).index_copy_(0, order, k)

    def forward(
        self, im_q: Tensor, im_k: Tensor, cluster: Tensor, places: Tensor | None = None, order: Tensor | None = None
    ) -> Losses:
        """Losses of one process's n queries of a batch of N; updates the key encoder and the queue.

        Args:
            im_q: (n, bands, rows, cols) raw pixels.
            im_k: (n, bands, rows, cols) raw pixels of other views of places of the same batch.
            cluster: (n,) geo cluster of each query; unused without a geo head.
            places: (N,) place number of each query of the batch; needed to mask keys of the same place.
            order: (N,) key i belongs to query ``order[i]`` of the batch; None if they are aligned.
        """
        trunk, head = self.encoder_q[0], self.encoder_q[1]
        features = trunk(im_q)  # n x width
        projection = head(features).float()  # n x D
        q = F.normalize(projection, dim=1)
        self.momentum_update()
        k = self.keys(im_k, order)  # N x D
        start = dist.get_rank() * len(q) if dist.is_initialized() else 0
        own = slice(start, start + len(q))
        masked = None
        if self.mask_same_place and places is not None:
            masked = places[own, None] == self.queue_places
        with torch.autocast(q.device.type, enabled=False):  # bf16 is too coarse at a temperature of 0.02
            contrast = info_nce(q, k[own], self.queue.clone(), self.T, masked)
        geo = accuracy = torch.zeros((), device=q.device)
        if self.geo_head is not None:
            logits = self.geo_head(features if self.geo_input == "trunk" else projection).float()
            geo = F.cross_entropy(logits, cluster)
            accuracy = (logits.argmax(dim=1) == cluster).float().mean()
        self.enqueue(k, places)
        spread = q.detach().std(dim=0).mean() * q.shape[1] ** 0.5
        return Losses(self.alpha * contrast + self.beta * geo, contrast.detach(), geo.detach(), accuracy, spread)

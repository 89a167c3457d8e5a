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

from core.method.georank import rank_loss
from core.store.sphere import unit_vectors

VARIANTS = ("moco", "moco-geo", "moco-tp", "moco-geo-tp")
GEO_HEADS = ("projection", "trunk")
GEO_LOSSES = ("clusters", "rank")
SEASONS = ("ignore", "keep", "both")
# Defaults for stores of thousands of images, here and in core.train pretrain; the paper's are in configs/paper.
QUEUE_LENGTH, MOMENTUM, TEMPERATURE = 4096, 0.99, 0.05
SEASON, IGNORE_WEIGHT = "both", 0.5
SOFTER = (
    2.0  # times the temperature for "keep" beside "ignore": finds places more often, and costs no labels (measured)
)
NO_PLACE = -1  # place of the random vectors that initialise the queue


def info_nce(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    temperature: float,
    masked: Tensor | None = None,
    against: Tensor | None = None,
    alone: Tensor | None = None,
) -> Tensor:
    """Contrast each query with its own key and with every key still in the queue.

    Args:
        query: (N, D) unit vectors from the query encoder.
        key: (N, D) unit vectors from the key encoder, no gradient; row i shows the same place as row i
            of ``query``, at another date under temporal positives.
        queue: (D, K) unit vectors of earlier batches: the negatives.
        temperature: divisor of the cosine similarities, > 0, no unit.
        masked: (N, K) bool, negatives to leave out for each query; None to use all.
        against: (N, D) unit vectors, one more negative for each query: the other date of its place where the season is
            kept; None for none.
        alone: (N,) bool, queries without such a negative; needed with ``against``.

    Returns:
        Scalar: mean over N of the cross-entropy at the positive, in nats.

    Raises:
        ValueError: N or D disagree, or ``temperature`` is not positive.

    Source: He et al. 2020 (MoCo), eq. 1; two dates as a pair, Ayush et al. 2021; the other date as a negative, Mañas et
    al. 2021 (SeCo, arXiv 2103.16607).
    """
    if query.shape != key.shape or query.shape[1] != queue.shape[0] or temperature <= 0:
        raise ValueError(f"query {query.shape}, key {key.shape}, queue {queue.shape}, temperature {temperature}")
    l_pos = (query * key).sum(dim=1, keepdim=True)  # N x 1
    l_neg = query @ queue  # N x K
    if masked is not None:
        l_neg = l_neg.masked_fill(masked, -torch.inf)
    parts = [l_pos, l_neg]
    if against is not None and alone is not None:
        parts.append((query * against).sum(dim=1).masked_fill(alone, -torch.inf)[:, None])  # N x 1
    logits = torch.cat(parts, dim=1) / temperature  # N x (1 + K), or one more
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
        contrast: the InfoNCE loss, nats; with two embeddings the weighted mean of both.
        geo: cross-entropy of the geo cluster, nats, or the loss of GeoRank; 0 without the geo-location pretext.
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
    """Query encoder, momentum encoder, one or two embeddings with a queue each, and geo head.

    Seasons as in SeCo (Mañas et al. 2021). "ignore": the other date of a place is the positive. "keep": another view of the
    same image is, and the other date is one more negative. "both": an embedding each on one trunk; ``queue`` and the second
    module of the encoders are those of "ignore", ``queue_keep``, ``keep_q`` and ``keep_k`` those of "keep", at ``SOFTER``
    times the temperature.
    """

    queue: Tensor
    queue_keep: Tensor
    queue_places: Tensor
    queue_ptr: Tensor
    where: Tensor | None

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
        season: str = SEASON,
        ignore_weight: float = IGNORE_WEIGHT,
        where: np.ndarray | None = None,
    ) -> None:
        """Build both encoders from one trunk, raw pixels to features (N, width), with projections of width ``dim``, D.

        ``K``, ``m`` and ``T`` are those of the paper; ``K`` is at least the batch size. 0 ``clusters`` disable the
        geo-location pretext; ``alpha`` and ``beta`` weigh the contrastive and the geo-location loss. The geo head reads
        the un-normalised ``projection``, as in the authors' code, or the features of the ``trunk``, as in the paper's
        formula; with two embeddings those of "keep". ``mask_same_place`` leaves queued keys of the
        query's own place out of the negatives, except where the season is kept. With two embeddings ``ignore_weight``, 0 to
        1, is the share of "ignore" in the contrastive loss. ``where``, (places, 2) degrees, asks for GeoRank's loss on the
        projection that the geo head reads.
        """
        super().__init__()
        self.K, self.m, self.T, self.alpha, self.beta = K, m, T, alpha, beta
        self.season, self.ignore_weight = season, ignore_weight
        points = None if where is None else torch.from_numpy(unit_vectors(where)).float()
        self.register_buffer("where", points, persistent=False)
        self.encoder_q = nn.Sequential(trunk, _head(width, dim))
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
        if season == "both":
            self.keep_q = _head(width, dim)
            self.keep_k = copy.deepcopy(self.keep_q).requires_grad_(False)
            self.register_buffer("queue_keep", F.normalize(torch.randn(dim, K), dim=0))

    def _heads(self, side: str) -> list[nn.Module]:
        """Embedding heads of the encoder ``q`` or ``k``: one, or "ignore" and "keep"."""
        both = [getattr(self, f"keep_{side}")] if self.season == "both" else []
        return [getattr(self, f"encoder_{side}")[1], *both]

    @torch.no_grad()
    def momentum_update(self) -> None:
        """Update the key encoder: k <- m k + (1 - m) q."""
        pairs = [*zip(self.encoder_k.parameters(), self.encoder_q.parameters())]
        if self.season == "both":
            pairs += zip(self.keep_k.parameters(), self.keep_q.parameters())
        keys, queries = zip(*pairs)
        torch._foreach_lerp_(keys, queries, 1 - self.m)

    @torch.no_grad()
    def enqueue(self, key: Tensor, places: Tensor | None = None, keep: Tensor | None = None) -> None:
        """Replace the oldest keys of the queue by (N, D) new ones of (N,) places, wrapping around at its end.

        ``keep`` are those of the second queue.
        """
        key = key[-self.K :]
        at = (self.queue_ptr + torch.arange(len(key), device=key.device)) % self.K
        self.queue[:, at] = key.T.to(self.queue.dtype)
        if keep is not None:
            self.queue_keep[:, at] = keep[-self.K :].T.to(self.queue.dtype)
        if places is not None:
            self.queue_places[at] = places[-self.K :]
        self.queue_ptr.copy_((self.queue_ptr + len(key)) % self.K)

    @torch.no_grad()
    def keys(self, im_k: Tensor, order: Tensor | None) -> list[Tensor]:
        """Unit keys of all processes in each embedding, (N, D), sorted so that row i belongs to query i."""
        features, sorted_keys = self.encoder_k[0](im_k), []
        for head in self._heads("k"):
            k = gathered(F.normalize(head(features).float(), dim=1))
            sorted_keys.append(k if order is None else torch.empty_like(k).index_copy_(0, order, k))
        return sorted_keys

    def forward(
        self,
        im_q: Tensor,
        im_k: Tensor,
        cluster: Tensor,
        places: Tensor | None = None,
        order: Tensor | None = None,
        im_again: Tensor | None = None,
        alone: Tensor | None = None,
        im_keep: Tensor | None = None,
    ) -> Losses:
        """Losses of one process's n queries of a batch of N; updates the key encoder and the queue.

        Args:
            im_q: (n, bands, rows, cols) raw pixels.
            im_k: (n, bands, rows, cols) raw pixels of other views of places of the same batch.
            cluster: (n,) geo cluster of each query; unused without a geo head.
            places: (N,) place number of each query of the batch; needed to mask keys of the same place, and for GeoRank.
            order: (N,) key i belongs to query ``order[i]`` of the batch; None if they are aligned.
            im_again: (n, bands, rows, cols) raw pixels of other views of the queries' own images, in the order of
                ``im_k``; needed where the season is kept.
            alone: (N,) bool, queries for which ``im_k`` shows the same image; None if there are none.
            im_keep: (n, bands, rows, cols) raw pixels of the queries' images as "keep" of "both" is to see them; None if
                ``im_q`` serves both embeddings.

        Raises:
            ValueError: the season is kept, and ``im_again`` is missing.
        """
        if (im_again is None) != (self.season == "ignore"):
            raise ValueError(f"season {self.season}: needs views of the same images if it is kept, and only then")
        features = [self.encoder_q[0](im_q)]  # n x width
        if self.season == "both":
            features.append(features[0] if im_keep is None else self.encoder_q[0](im_keep))
        projections = [head(part).float() for head, part in zip(self._heads("q"), features)]  # n x D
        q = [F.normalize(projection, dim=1) for projection in projections]
        self.momentum_update()
        k = self.keys(im_k, order)  # N x D
        again = self.keys(im_again, order) if im_again is not None else k
        start = dist.get_rank() * len(q[0]) if dist.is_initialized() else 0
        own = slice(start, start + len(q[0]))
        masked = None
        if self.mask_same_place and places is not None:
            masked = places[own, None] == self.queue_places
        losses = []
        with torch.autocast(im_q.device.type, enabled=False):  # bf16 is too coarse at a temperature of 0.02
            if self.season != "keep":
                losses.append(info_nce(q[0], k[0][own], self.queue.clone(), self.T, masked))
            if self.season != "ignore":
                queue = self.queue_keep if self.season == "both" else self.queue
                without = torch.zeros_like(cluster, dtype=torch.bool) if alone is None else alone[own]
                T = self.T * (SOFTER if self.season == "both" else 1.0)
                losses.append(info_nce(q[-1], again[-1][own], queue.clone(), T, None, k[-1][own], without))
        contrast = losses[0] if len(losses) == 1 else losses[1].lerp(losses[0], self.ignore_weight)
        geo = accuracy = torch.zeros((), device=im_q.device)
        if self.geo_head is not None:
            logits = self.geo_head(features[-1] if self.geo_input == "trunk" else projections[-1]).float()
            geo = F.cross_entropy(logits, cluster)
            accuracy = (logits.argmax(dim=1) == cluster).float().mean()
        if self.where is not None and places is not None:
            with torch.autocast(im_q.device.type, enabled=False):
                geo = rank_loss(q[-1], again[-1], self.where[places], start)
        self.enqueue((again if self.season == "keep" else k)[0], places, again[1] if self.season == "both" else None)
        spread = q[0].detach().std(dim=0).mean() * q[0].shape[1] ** 0.5
        return Losses(self.alpha * contrast + self.beta * geo, contrast.detach(), geo.detach(), accuracy, spread)


def _head(width: int, dim: int) -> nn.Sequential:
    """MLP from features (N, ``width``) to an embedding (N, ``dim``)."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, dim))

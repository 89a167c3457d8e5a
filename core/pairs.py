"""Which two images make a positive pair, read from the chip store in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from core.store import ChipStore

Batch = tuple[Tensor, Tensor, Tensor]


class Pairs(Dataset):
    """Pairs of chips: item i is image i and its partner.

    With temporal positives the partner is a uniformly random *other* image of the same place; a place
    with one image falls back to that image. Without, the partner is the image itself. The two are
    augmented later, on the device.
    """

    def __init__(self, store: ChipStore, places: pd.DataFrame, clusters: np.ndarray, temporal: bool, seed: int) -> None:
        """Set up.

        Args:
            store: the chips.
            places: the places to draw from, rows of ``store.places``.
            clusters: (places,) geo cluster of each.
            temporal: pair two dates of a place.
            seed: of the choice of partners.
        """
        self.store, self.temporal = store, temporal
        self.first, self.count = places["first"].to_numpy(), places["count"].to_numpy()
        self.place_of = np.repeat(np.arange(len(places), dtype=np.int32), self.count)
        self.start = np.cumsum(self.count) - self.count
        self.clusters = torch.from_numpy(clusters.astype(np.int64))
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.place_of)

    def partners(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index rows of the images and of their partners, (N,) each."""
        place = self.place_of[items]
        first, count, at = self.first[place], self.count[place], items - self.start[place]
        other = at
        if self.temporal:
            step = self.random.integers(1, np.maximum(count, 2))
            other = np.where(count > 1, (at + step) % count, at)
        return first + at, first + other

    def __getitems__(self, items: list[int]) -> Batch:
        """One batch: raw chips (N, bands, size, size) twice, and the geo clusters (N,)."""
        chosen = np.asarray(items)
        queries, keys = self.partners(chosen)
        im_q, im_k = (torch.from_numpy(self.store.pixels(rows)) for rows in (queries, keys))
        return im_q, im_k, self.clusters[self.place_of[chosen]]

    def loader(self, batch_size: int, seed: int) -> DataLoader:
        """Batches in random order, the last incomplete one left out."""
        order = torch.Generator().manual_seed(seed)
        return DataLoader(self, batch_size, shuffle=True, drop_last=True, generator=order, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    """Pairs makes whole batches: there is nothing to collate."""
    return batch

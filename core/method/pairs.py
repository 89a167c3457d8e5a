"""Chooses the two images of each positive pair and the order of the pairs, and reads them ahead from the chip store.

Every random choice is a function of the seed, the epoch and the image; no generator has a state. A run that is resumed
mid-epoch, or distributed over processes, therefore sees the same pairs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.errors import UserError
from core.store.read import ChipStore

ORDER, PARTNER, KEYS = range(3)  # purposes of random draws: part of the seed, so that draws are independent
SPAN = 1 << 37  # seconds reserved for each place on the common time axis: four thousand years
MAX_GAP_DAYS = SPAN // 2 // 86400
READERS, AHEAD = 2, 4  # reading threads, and batches read ahead


class PairBatch(NamedTuple):
    """One process's n of one step's N pairs.

    Keys are distributed over the processes in another order than queries (shuffled batch norm, He et al. 2020,
    section 3.3). Each process reads the chips it needs, so no images are sent between processes.

    Attributes:
        queries: (n, bands, rows, cols) chips as stored.
        keys: (n, bands, rows, cols) chips as stored, of places ``order[share]`` of the step.
        query_valid: (n, rows, cols) bool, pixels with data; None if all have data.
        key_valid: (n, rows, cols) bool, or None.
        cluster: (n,) geo cluster of each query.
        places: (N,) place number of each query of the whole step.
        order: (N,) key i of the step belongs to query ``order[i]``.
        alone: (N,) bool, queries of the step whose partner is the same image.
        again: (n, bands, rows, cols) chips as stored of the queries ``order[share]`` themselves, whose partners ``keys``
            are; None unless asked for.
        again_valid: (n, rows, cols) bool, or None.
        step: counted from the start of the run.
    """

    queries: Tensor
    keys: Tensor
    query_valid: Tensor | None
    key_valid: Tensor | None
    cluster: Tensor
    places: Tensor
    order: Tensor
    alone: Tensor
    again: Tensor | None
    again_valid: Tensor | None
    step: int


@dataclass(frozen=True)
class Gap:
    """Minimum and maximum days between the two dates of a temporal pair, both inclusive."""

    least: float = 0.0
    most: float | None = None


class Pairs:
    """Pairs of images: item i is image i and its partner.

    With temporal positives the partner is a uniformly random *other* image of the same place, or the image itself if
    there is none. Without them it is always the image itself. Both are augmented later, on the device.
    """

    def __init__(
        self,
        store: ChipStore,
        places: pd.DataFrame,
        clusters: np.ndarray,
        temporal: bool,
        seed: int,
        gap: Gap = Gap(),
    ) -> None:
        """Pair the images of ``places``, rows of ``store.places``, with the (places,) geo cluster of each."""
        self.store, self.temporal, self.seed = store, temporal, seed
        count = places["count"].to_numpy()
        self.end = np.cumsum(count)
        self.start = self.end - count
        self.place_of = np.repeat(np.arange(len(places), dtype=np.int32), count)
        self.rows = np.repeat(places["first"].to_numpy() - self.start, count) + np.arange(len(self.place_of))
        self.clusters = torch.from_numpy(clusters.astype(np.int64))
        self.has_nodata = any((store.path / "shards").glob("*/valid.npy"))
        self.gap = gap
        self._seconds = self._timeline() if temporal and gap != Gap() else None
        self._draws = lru_cache(2)(self._draw)  # batches of two epochs may be read at the same time

    def __len__(self) -> int:
        """Number of images."""
        return len(self.place_of)

    def _draw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, PARTNER]).random(len(self), np.float32)

    def _timeline(self) -> np.ndarray:
        """(images,) int64 seconds, ascending: each place has its own span, with undated images at its end.

        The store sorts the images of a place by date, undated ones last.
        """
        when = self.store.column("datetime")[self.rows].astype("datetime64[s]")
        unknown = np.isnat(when)
        seconds = when.astype(np.int64)
        first = seconds[~unknown].min() if not unknown.all() else 0
        return self.place_of * np.int64(SPAN) + np.where(unknown, SPAN - 1, seconds - first)

    def windows(self, items: np.ndarray) -> tuple[np.ndarray, ...]:
        """Possible partners of (N,) items: item numbers in [earlier, to) and [after, until), each (N,)."""
        place = self.place_of[items]
        start, end = self.start[place], self.end[place]
        if not self.temporal:
            return items, items, items, items
        if self._seconds is None:
            return start, items, items + 1, end
        now, base = self._seconds[items], place * np.int64(SPAN)
        least = round(self.gap.least * 86400)
        most = SPAN // 2 if self.gap.most is None else round(self.gap.most * 86400)
        # Bounds stay inside the place's span, and below its undated images.
        earlier = np.searchsorted(self._seconds, np.maximum(now - most, base), "left")
        to = np.minimum(np.searchsorted(self._seconds, now - least, "right"), items)
        after = np.maximum(np.searchsorted(self._seconds, now + least, "left"), items + 1)
        until = np.searchsorted(self._seconds, np.minimum(now + most, base + SPAN - 2), "right")
        undated = now == base + SPAN - 1
        ends = [np.where(undated, items, bound) for bound in (earlier, to, after, until)]
        return ends[0], np.maximum(ends[1], ends[0]), ends[2], np.maximum(ends[3], ends[2])

    def unpaired(self) -> int:
        """Number of images whose only partner is themselves."""
        earlier, to, after, until = self.windows(np.arange(len(self)))
        return int(((to - earlier) + (until - after) == 0).sum())

    def partners(self, items: np.ndarray, epoch: int = 0) -> np.ndarray:
        """(N,) partner of each of (N,) items in an epoch."""
        earlier, to, after, until = self.windows(items)
        before = to - earlier
        choices = before + until - after
        # In double precision the product of a float32 below 1 and a count stays below the count.
        chosen = (self._draws(epoch)[items].astype(np.float64) * choices).astype(np.int64)
        partner = np.where(chosen < before, earlier + chosen, after + chosen - before)
        return np.where(choices > 0, partner, items)

    def read(self, items: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Chips as stored (N, bands, size, size), and their pixels with data (N, size, size), None if all have data."""
        rows = self.rows[items]
        chips = torch.from_numpy(self.store.raw(rows))
        if not self.has_nodata:
            return chips, None
        valid = self.store.valid(rows)
        return chips, None if valid.all() else torch.from_numpy(valid)


class PairLoader:
    """Batches of pairs in random order, without the last incomplete one of an epoch, read ahead by threads.

    Each iteration is one epoch, or the rest of it: ``step`` counts the batches so far and is part of ``state_dict``.
    """

    def __init__(
        self,
        pairs: Pairs,
        batch_size: int,
        *,
        rank: int = 0,
        processes: int = 1,
        pinned: bool = False,
        again: bool = False,
    ) -> None:
        """Batches of ``batch_size`` pairs, a multiple of ``processes``.

        ``pinned`` memory can be copied while a GPU computes; ``again`` reads the queries a second time, as keys.
        """
        self.pairs, self.batch_size, self.pinned, self.again = pairs, batch_size, pinned, again
        share = batch_size // processes
        self.share = slice(rank * share, (rank + 1) * share)
        self.step = 0
        self.waited = self.busy = 0.0  # seconds: waiting for data here, and in the steps that used it

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.pairs) // self.batch_size

    @property
    def data_wait(self) -> float:
        """Fraction of the time of all steps so far spent waiting for data; 0 before the first step is done."""
        return self.waited / (self.waited + self.busy) if self.busy else 0.0

    def state_dict(self) -> dict[str, int]:
        """Position in the run, and everything that determines the order."""
        images, seed = len(self.pairs), self.pairs.seed
        return {"step": self.step, "images": images, "batch_size": self.batch_size, "seed": seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the position; ``UserError`` if the images would come in another order than in the run's first part."""
        now = self.state_dict()
        changed = [f"{name} {state[name]} is now {now[name]}" for name in list(now)[1:] if state[name] != now[name]]
        if changed:
            raise UserError(f"--resume: {', '.join(changed)}; resume with the original store and options")
        self.step = state["step"]

    def __iter__(self) -> Iterator[PairBatch]:
        """The rest of the epoch."""
        epoch, start = divmod(self.step, len(self))
        order = np.random.default_rng([self.pairs.seed, epoch, ORDER]).permutation(len(self.pairs))
        batches = order[: len(self) * self.batch_size].reshape(len(self), -1)
        with ThreadPoolExecutor(READERS) as readers:
            queue = deque(readers.submit(self._read, batches[i], epoch, i) for i in range(len(self))[start:][:AHEAD])
            for number in range(start, len(self)):
                requested = time.perf_counter()
                batch = queue.popleft().result()
                if number + AHEAD < len(self):
                    queue.append(readers.submit(self._read, batches[number + AHEAD], epoch, number + AHEAD))
                self.step += 1
                received = time.perf_counter()
                self.waited += received - requested
                yield batch
                self.busy += time.perf_counter() - received

    def _read(self, items: np.ndarray, epoch: int, number: int) -> PairBatch:
        """This process's share of a batch."""
        pairs, step = self.pairs, epoch * len(self) + number
        order = np.random.default_rng([pairs.seed, step, KEYS]).permutation(len(items))
        partners = pairs.partners(items, epoch)
        queries, query_valid = pairs.read(items[self.share])
        keys, key_valid = pairs.read(partners[order[self.share]])
        again, again_valid = pairs.read(items[order[self.share]]) if self.again else (None, None)
        places = torch.from_numpy(pairs.place_of[items].astype(np.int64))
        batch = PairBatch(
            queries=queries,
            keys=keys,
            query_valid=query_valid,
            key_valid=key_valid,
            cluster=pairs.clusters[places[self.share]],
            places=places,
            order=torch.from_numpy(order),
            alone=torch.from_numpy(partners == items),
            again=again,
            again_valid=again_valid,
            step=step,
        )
        if not self.pinned:
            return batch
        tensors = {name: part.pin_memory() for name, part in batch._asdict().items() if isinstance(part, Tensor)}
        return batch._replace(**tensors)  # type: ignore[arg-type]

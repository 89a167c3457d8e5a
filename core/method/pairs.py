"""Which two images make a positive pair, and in which order; read ahead from the chip store.

Everything random here is a function of the seed, the epoch and the image: no generator has a state, so a
run that goes on in the middle of an epoch, or that is shared among processes, sees the same pairs.
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

ORDER, PARTNER, KEYS = range(3)  # what a random number is for, so that no two draws are the same
SPAN = 1 << 37  # seconds set aside for each place: four thousand years
MOST_DAYS = SPAN // 2 // 86400  # of a gap
READERS, AHEAD = 2, 4  # threads that read, batches that are read before they are asked for


class Batch(NamedTuple):
    """What one process gets of one step's N pairs: n of them.

    The keys are dealt to the processes in another order than the queries: shuffling for batch norm, He et
    al. 2020, section 3.3. Each process reads what it needs, so that nothing is sent around for it.

    Attributes:
        queries: (n, bands, rows, cols) chips as stored.
        keys: likewise, for places ``order[share]`` of the step.
        query_valid: (n, rows, cols) bool, which pixels hold data; None where all do.
        key_valid: likewise.
        cluster: (n,) geo cluster of each query.
        places: (N,) number of each query's place, of the whole step.
        order: (N,) key i of the step belongs to query ``order[i]``.
        step: counted from the start of the run.
    """

    queries: Tensor
    keys: Tensor
    query_valid: Tensor | None
    key_valid: Tensor | None
    cluster: Tensor
    places: Tensor
    order: Tensor
    step: int


@dataclass(frozen=True)
class Gap:
    """Days between two dates that may be a temporal pair, both ends included."""

    least: float = 0.0
    most: float | None = None


class Pairs:
    """Pairs of images: item i is image i and its partner.

    With temporal positives the partner is a uniformly random *other* image of the same place; an image
    without such a partner is its own. Without, every image is. The two are augmented later, on the device.
    """

    def __init__(
        self,
        store: ChipStore,
        places: pd.DataFrame,
        clusters: np.ndarray,
        temporal: bool,
        seed: int,
        gap: Gap | None = None,
    ) -> None:
        """Set up.

        Args:
            store: the chips.
            places: the places to draw from, rows of ``store.places``.
            clusters: (places,) geo cluster of each.
            temporal: pair two dates of a place.
            seed: of the choice of partners.
            gap: only dates so far apart are partners; by default any.
        """
        self.store, self.temporal, self.seed = store, temporal, seed
        count = places["count"].to_numpy()
        self.end = np.cumsum(count)
        self.start = self.end - count
        self.place_of = np.repeat(np.arange(len(places), dtype=np.int32), count)
        self.rows = np.repeat(places["first"].to_numpy() - self.start, count) + np.arange(len(self.place_of))
        self.clusters = torch.from_numpy(clusters.astype(np.int64))
        self.holes = any((store.path / "shards").glob("*/valid.npy"))
        self.gap = gap if gap != Gap() else None
        self._seconds = self._timeline() if temporal and self.gap else None
        self._draws = lru_cache(2)(self._draw)  # two epochs: their batches may be read at the same time

    def __len__(self) -> int:
        """Number of images."""
        return len(self.place_of)

    def _draw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, PARTNER]).random(len(self), np.float32)

    def _timeline(self) -> np.ndarray:
        """Seconds of each image, each place in a span of its own: one ascending array, (images,) int64.

        Images of a place are sorted by date in the store, those without a date last.
        """
        when = self.store.column("datetime")[self.rows].astype("datetime64[s]")
        unknown = np.isnat(when)
        seconds = when.astype(np.int64)
        first = seconds[~unknown].min() if not unknown.all() else 0
        return self.place_of * np.int64(SPAN) + np.where(unknown, SPAN - 1, seconds - first)

    def windows(self, items: np.ndarray) -> tuple[np.ndarray, ...]:
        """The images that may be partners of these: [earlier, to) and [after, until), (N,) item numbers each."""
        place = self.place_of[items]
        start, end = self.start[place], self.end[place]
        if not self.temporal:
            return items, items, items, items
        if self._seconds is None or self.gap is None:
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

    def alone(self) -> int:
        """How many images have no partner but themselves."""
        earlier, to, after, until = self.windows(np.arange(len(self)))
        return int(((to - earlier) + (until - after) == 0).sum())

    def partners(self, items: np.ndarray, epoch: int = 0) -> np.ndarray:
        """The item that each of (N,) items is paired with in an epoch."""
        earlier, to, after, until = self.windows(items)
        before = to - earlier
        choices = before + until - after
        # In double precision the product of a float32 below 1 and a count stays below the count.
        chosen = (self._draws(epoch)[items].astype(np.float64) * choices).astype(np.int64)
        partner = np.where(chosen < before, earlier + chosen, after + chosen - before)
        return np.where(choices > 0, partner, items)

    def read(self, items: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Chips as stored (N, bands, size, size), and which pixels hold data (N, size, size), None if all do."""
        rows = self.rows[items]
        chips = torch.from_numpy(self.store.raw(rows))
        if not self.holes:
            return chips, None
        valid = self.store.valid(rows)
        return chips, None if valid.all() else torch.from_numpy(valid)


class Loader:
    """Batches of pairs in random order, the last incomplete one of an epoch left out, read ahead by threads.

    Each pass is one epoch, or what is left of it: ``step`` counts the batches handed over so far. Checkpoints
    keep ``state_dict``.
    """

    def __init__(
        self, pairs: Pairs, batch_size: int, *, rank: int = 0, processes: int = 1, pinned: bool = False
    ) -> None:
        """Set up.

        Args:
            pairs: what to read.
            batch_size: pairs in a step, of all processes together; a multiple of ``processes``.
            rank: of this process.
            processes: that share each step.
            pinned: hand over page-locked memory, which a GPU can fetch while it computes.
        """
        self.pairs, self.batch_size, self.pinned = pairs, batch_size, pinned
        share = batch_size // processes
        self.share = slice(rank * share, (rank + 1) * share)
        self.step = 0
        self.waited = self.busy = 0.0  # seconds: for data here, and in the steps that used it

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.pairs) // self.batch_size

    @property
    def data_wait(self) -> float:
        """Share of the steps' time so far that went by waiting for data, 0 to 1; 0 before the first step is done."""
        return self.waited / (self.waited + self.busy) if self.busy else 0.0

    def state_dict(self) -> dict[str, int]:
        """Where the run is, and what makes the order."""
        made_of = {"images": len(self.pairs), "batch_size": self.batch_size, "seed": self.pairs.seed}
        return {"step": self.step, **made_of}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there.

        Raises:
            UserError: the order of the images would not be that of the first part.
        """
        now = self.state_dict()
        changed = [f"{name} {state[name]} is now {now[name]}" for name in list(now)[1:] if state[name] != now[name]]
        if changed:
            raise UserError(f"--resume: {', '.join(changed)}; go on with the first part's store and options")
        self.step = state["step"]

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch."""
        epoch, start = divmod(self.step, len(self))
        order = np.random.default_rng([self.pairs.seed, epoch, ORDER]).permutation(len(self.pairs))
        batches = order[: len(self) * self.batch_size].reshape(len(self), -1)
        with ThreadPoolExecutor(READERS) as readers:
            reading = deque(readers.submit(self._read, batches[i], epoch, i) for i in range(len(self))[start:][:AHEAD])
            for number in range(start, len(self)):
                asked = time.perf_counter()
                batch = reading.popleft().result()
                if number + AHEAD < len(self):
                    reading.append(readers.submit(self._read, batches[number + AHEAD], epoch, number + AHEAD))
                self.step += 1
                given = time.perf_counter()
                self.waited += given - asked
                yield batch
                self.busy += time.perf_counter() - given

    def _read(self, items: np.ndarray, epoch: int, number: int) -> Batch:
        """One process's share of a batch."""
        pairs, step = self.pairs, epoch * len(self) + number
        order = np.random.default_rng([pairs.seed, step, KEYS]).permutation(len(items))
        own = items[self.share]
        queries, query_valid = pairs.read(own)
        keys, key_valid = pairs.read(pairs.partners(items[order[self.share]], epoch))
        places = torch.from_numpy(pairs.place_of[items].astype(np.int64))
        cluster = pairs.clusters[places[self.share]]
        batch = Batch(queries, keys, query_valid, key_valid, cluster, places, torch.from_numpy(order), step)
        if not self.pinned:
            return batch
        tensors = {name: part.pin_memory() for name, part in batch._asdict().items() if isinstance(part, Tensor)}
        return batch._replace(**tensors)  # type: ignore[arg-type]

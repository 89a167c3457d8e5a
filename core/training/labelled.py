"""Labelled images of a chip store as batches, one kind per task."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from core.errors import UserError
from core.evaluation.scores import Boxes
from core.store.read import UNLABELLED, ChipStore, images_of

TASKS = ("segmentation", "classification", "sequence", "detection")
MAX_DATES = 8  # of a place in a training step of a sequence, to limit memory; evaluation uses all dates
IGNORED = -100  # an unlabelled pixel; torch's ignore_index, since 255 can be a class number
NO_BOXES = Boxes(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))

# Class numbers, or one dictionary of objects per image.
Targets = TypeVar("Targets", Tensor, list[dict[str, Tensor]])


class Moments(NamedTuple):
    """What a series holds beside its pixels (N, T, bands, rows, cols).

    Attributes:
        valid: (N, T, rows, cols) bool, where a date holds data; dates that fill up a short series hold none.
        days: of the year, (N, T), 1 to 366.
        longitude: (N, rows, cols), degrees, of the centre of the place; None of a network without location.
        latitude: of the same place, (N, rows, cols), degrees.
    """

    valid: Tensor
    days: Tensor
    longitude: Tensor | None = None
    latitude: Tensor | None = None


class LabelledBatch(NamedTuple, Generic[Targets]):
    """Images with their labels.

    Attributes:
        pixels: (N, bands, size, size) raw values.
        targets: class numbers: (N, size, size) for masks, (N,) for images, (places,) for sequences; for detection one
            dictionary per image with ``boxes`` (M, 4) and ``labels`` (M,).
        owner: (N,) for sequences: number of the place of each image; otherwise None.
        moments: for series (``core.training.series``), whose pixels are (N, T, bands, size, size).
    """

    pixels: Tensor
    targets: Targets
    owner: Tensor | None = None
    moments: Moments | None = None


class Labelled:
    """Labelled images; an item holds the index row of an image, or those of a place for sequences."""

    def __init__(self, store: ChipStore, places: list[np.ndarray], task: str) -> None:
        self.store, self.task = store, task
        self.items = places if task == "sequence" else list(np.concatenate(places)[:, None])
        self.labels = store.column("label")
        self.boxes = read_objects(store) if task == "detection" else {}
        self.longest = max(map(len, self.items))
        self.most = MAX_DATES  # in a training step

    @property
    def images(self) -> int:
        """Of an item that the encoder reads in a training step, at most."""
        return min(self.most, self.longest)

    def thinned(self, rows: np.ndarray) -> np.ndarray:
        """The images of an item in a training step: of a long sequence a random subset."""
        return rows[torch.randperm(len(rows))[: self.most].numpy()]

    def batch(self, groups: list[np.ndarray]) -> LabelledBatch:
        """The images of these index rows, one array per item."""
        rows = np.concatenate(groups)
        pixels = torch.from_numpy(self.store.pixels(rows))
        if self.task == "detection":
            objects = [self.boxes.get(int(row), NO_BOXES) for row in rows]
            parts = [(torch.from_numpy(boxes.corners), torch.from_numpy(boxes.labels)) for boxes in objects]
            return LabelledBatch(pixels, [{"boxes": corners, "labels": labels} for corners, labels in parts])
        if self.task == "segmentation":
            masks = self.store.masks(rows).astype(np.int64)
            masks[masks == UNLABELLED] = IGNORED
            return LabelledBatch(pixels, torch.from_numpy(masks))
        targets = torch.from_numpy(self.labels[[group[0] for group in groups]].astype(np.int64))
        if self.task == "classification":
            return LabelledBatch(pixels, targets)
        owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        return LabelledBatch(pixels, targets, torch.from_numpy(owner))

    def some(self, most: int) -> Labelled:
        """The same with one item of each of this many places, at random but always the same."""
        numbers = self.store.column("place_number")[[rows[0] for rows in self.items]]
        first = np.unique(numbers, return_index=True)[1]
        chosen = copy.copy(self)
        chosen.items = [self.items[first[n]] for n in np.random.default_rng(0).permutation(len(first))[:most]]
        return chosen

    def loader(self, images: int) -> DataLoader:
        """All items in order, in batches of about that many images."""
        items: Any = self.items  # a list is a data set
        return DataLoader(items, max(1, images // self.longest), collate_fn=self.batch)


class ShuffledLoader:
    """Batches in random order, without the last incomplete one of an epoch; of a long sequence a random subset of dates.

    The order is a function of the seed and the epoch, so that a run can be resumed mid-epoch.
    """

    def __init__(self, data: Labelled, images: int, seed: int) -> None:
        """Batches of about that many images, and of at least two items for batch norm."""
        self.data, self.seed = data, seed
        self.items = data.items * 2 if len(data.items) == 1 else data.items
        self.size = min(max(2, images // data.images), len(self.items))
        self.step = 0  # batches since the start of the run

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.items) // self.size

    def __iter__(self) -> Iterator[LabelledBatch]:
        """The rest of the epoch."""
        epoch, start = divmod(self.step, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.items))
        for number in range(start, len(self)):
            self.step += 1
            groups = [self.items[item] for item in order[number * self.size : (number + 1) * self.size]]
            yield self.data.batch([self.data.thinned(rows) for rows in groups])

    def state_dict(self) -> dict[str, int]:
        """Position in the run, and the number of items."""
        return {"step": self.step, "items": len(self.items)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the position; ``UserError`` if the store has changed."""
        if state["items"] != len(self.items):
            raise UserError(
                f"--resume: {state['items']} labelled items are now {len(self.items)}; resume with the original store"
            )
        self.step = state["step"]


def read_objects(store: ChipStore) -> dict[int, Boxes]:
    """Objects by index row, without those of unknown class or no area."""
    table = pd.read_parquet(store.path / "boxes.parquet")
    table = table[(table["label"] >= 0) & (table["xmax"] > table["xmin"]) & (table["ymax"] > table["ymin"])]
    table = table.sort_values("image", kind="stable")
    rows, starts = np.unique(table["image"].to_numpy(), return_index=True)
    corners = np.split(np.array(table[["xmin", "ymin", "xmax", "ymax"]], np.float32), starts[1:])
    labels = np.split(np.array(table["label"], np.int64), starts[1:])
    return {int(r): Boxes(c, n, np.ones(len(n), np.float32)) for r, c, n in zip(rows, corners, labels)}


def labelled_places(store: ChipStore, side: str, task: str) -> list[np.ndarray]:
    """Index rows of the labelled images of each labelled place of a side; for detection all images and places."""
    if task == "detection" and not (store.path / "boxes.parquet").exists():
        raise UserError(f"{store.path}: has no boxes; make the store with 'core.prepare detections'")
    column = "mask" if task == "segmentation" else "label"
    known = np.ones(len(store), bool) if task == "detection" else store.column(column) >= 0
    places = store.places[store.places["split"] == side]
    return [rows[known[rows]] for rows in images_of(places) if known[rows].any()]


def rotated(batch: LabelledBatch[Targets], quarters: int, mirror: bool) -> LabelledBatch[Targets]:
    """Rotate a batch counter-clockwise by multiples of 90 degrees, then flip it horizontally, with masks or boxes."""

    def rotate(grid: Tensor) -> Tensor:
        grid = torch.rot90(grid, quarters, dims=(-2, -1))
        return grid.flip(-1) if mirror else grid

    pixels, targets = rotate(batch.pixels), batch.targets
    if isinstance(targets, list):
        size = pixels.shape[-1]
        targets = [target | {"boxes": _rotated_boxes(target["boxes"], quarters, mirror, size)} for target in targets]
    elif targets.ndim == 3:
        targets = rotate(targets)
    if batch.moments is not None:
        batch = batch._replace(moments=batch.moments._replace(valid=rotate(batch.moments.valid)))
    return batch._replace(pixels=pixels, targets=targets)


def _rotated_boxes(boxes: Tensor, quarters: int, mirror: bool, size: int) -> Tensor:
    left, top, right, bottom = boxes.unbind(dim=1)
    for _ in range(quarters):
        left, top, right, bottom = top, size - right, bottom, size - left
    if mirror:
        left, right = size - right, size - left
    return torch.stack([left, top, right, bottom], dim=1)

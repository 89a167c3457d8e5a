"""Labelled series of dates of a chip store as batches, the gaps they are trained with, and the floor of coordinates alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from core.errors import UserError
from core.evaluation.floors import coordinates
from core.method.views import Views, colour_jitter
from core.store.read import UNLABELLED, ChipStore, images_of
from core.training.labelled import IGNORED, Labelled, LabelledBatch, Moments, rotated

TASKS_OF_SERIES = ("segmentation", "classification")
THINNED = 0.5  # of the training series lose dates at random
GAPS = 0.2  # of their dates get a rectangle without data
CROPS = Views(scale=0.5, jitter=0)  # the same for all dates of a place


class LabelledSeries(Labelled):
    """Places with their dates; an item holds the index rows of a place.

    ``dates`` is the largest number of them in a training step; evaluation takes all. Of a ``composite`` the encoder reads one
    image.
    """

    def __init__(
        self,
        store: ChipStore,
        places: list[np.ndarray],
        task: str,
        dates: int,
        location: bool,
        composite: bool = False,
    ) -> None:
        super().__init__(store, places, "sequence")
        self.task, self.most, self.location = task, dates, location
        self.composite = composite
        self.numbers = store.column("place_number")
        self.days = pd.DatetimeIndex(store.column("datetime")).day_of_year.to_numpy()

    @property
    def images(self) -> int:
        """Of a place that the encoder reads in a training step."""
        return 1 if self.composite else super().images

    def thinned(self, rows: np.ndarray) -> np.ndarray:
        """At most ``dates`` of a place's dates, at random; of half the places fewer, down to one."""
        keep = min(self.most, len(rows))
        if torch.rand(()) < THINNED:
            keep = int(torch.randint(1, keep + 1, ()))
        return rows[torch.randperm(len(rows))[:keep].numpy()]

    def batch(self, groups: list[np.ndarray]) -> LabelledBatch:
        """The dates of these places; shorter series are filled up with dates without data."""
        longest, info = max(map(len, groups)), self.store.info
        size = info.chip_size
        pixels = np.full((len(groups), longest, len(info.bands), size, size), np.nan, np.float32)
        days = np.ones((len(groups), longest), np.float32)
        read = self.store.pixels(np.concatenate(groups))
        ends = np.cumsum([len(rows) for rows in groups])
        for number, (rows, end) in enumerate(zip(groups, ends)):
            pixels[number, : len(rows)] = read[end - len(rows) : end]
            days[number, : len(rows)] = self.days[rows]
        where: list[Tensor] = []
        if self.location:
            first = [rows[0] for rows in groups]
            where = [_everywhere(self.store.column(name)[first], size) for name in ("lon", "lat")]
        valid = ~np.isnan(pixels).any(axis=2)
        moments = Moments(torch.from_numpy(valid), torch.from_numpy(days), *where)
        return LabelledBatch(torch.from_numpy(pixels), torch.from_numpy(self.targets(groups)), moments=moments)

    def targets(self, groups: list[np.ndarray]) -> np.ndarray:
        """Classes of the places, whichever of their dates are in the batch."""
        places = [np.flatnonzero(self.numbers == self.numbers[rows[0]]) for rows in groups]
        if self.task == "classification":
            return np.array([self.labels[rows][self.labels[rows] >= 0][0] for rows in places], np.int64)
        return np.stack([_one_mask(self.store, rows) for rows in places])


def _everywhere(values: np.ndarray, size: int) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None].expand(-1, size, size)


def _one_mask(store: ChipStore, rows: np.ndarray) -> np.ndarray:
    """Classes (size, size) int64 of the dates of a place together; a pixel that they name differently is ``IGNORED``."""
    shards, numbers = store.column("shard")[rows], store.column("mask")[rows]
    known = numbers >= 0
    _, first = np.unique(np.stack([shards[known], numbers[known]]), axis=1, return_index=True)
    masks = store.masks(rows[known][first]).astype(np.int64)
    lowest = np.where(masks == UNLABELLED, 256, masks).min(axis=0)
    highest = np.where(masks == UNLABELLED, -1, masks).max(axis=0)
    return np.where(lowest == highest, lowest, IGNORED)


def series_places(store: ChipStore, side: str, task: str) -> list[np.ndarray]:
    """Index rows, by date, of the dated images of each place of a side that has a label."""
    known = store.column("mask" if task == "segmentation" else "label") >= 0
    dated = ~np.isnat(store.column("datetime"))
    places = store.places[store.places["split"] == side]
    return [rows[dated[rows]] for rows in images_of(places) if known[rows].any() and dated[rows].any()]


def check_series(store: ChipStore, *, location: bool) -> int:
    """The most dates that a place has.

    Raises:
        UserError: the store has no dates, at most one a place, or lacks coordinates that ``location`` needs.
    """
    when = store.column("datetime")
    if np.isnat(when).all():
        raise UserError(
            f"{store.path}: its images have no dates, which --dates needs; make the store from files with dates in their "
            "names or tags (--date-format), or leave --dates out"
        )
    days = pd.DataFrame({"place": store.column("place_number"), "day": when.astype("datetime64[D]")}).dropna()
    most = int(days.drop_duplicates()["place"].value_counts().max())
    if most < 2:
        raise UserError(
            f"{store.path}: has one date a place, so there is no series to learn; make the store with more dates of the "
            "same places, or leave --dates out"
        )
    missing = int((~np.isfinite(store.column("lon")) | ~np.isfinite(store.column("lat"))).sum())
    if location and missing:
        raise UserError(
            f"{store.path}: {missing:,} of {len(store):,} images have no coordinates, which --location needs; make the "
            "store with coordinates, or leave --location out"
        )
    return int(store.places["count"].max())


def augmented(batch: LabelledBatch[Tensor]) -> LabelledBatch[Tensor]:
    """The same flip, rotation and (for one class per place) crop of all dates of a place; jitter and gaps of each date."""
    pixels, moments = batch.pixels, batch.moments
    assert moments is not None
    if batch.targets.ndim == 1:
        pixels = CROPS(pixels.flatten(1, 2)).reshape(pixels.shape)
    else:
        batch = rotated(batch, int(torch.randint(0, 4, ())), bool(torch.randint(0, 2, ())))
        pixels = batch.pixels
    pixels = colour_jitter(pixels.flatten(0, 1), 0.1).reshape(pixels.shape)
    valid = ~pixels.isnan().any(dim=2) & ~_rectangles(pixels)
    return batch._replace(pixels=pixels, moments=moments._replace(valid=valid))


def _rectangles(pixels: Tensor) -> Tensor:
    """(N, T, rows, cols) bool: a random rectangle in ``GAPS`` of the dates, as clouds and edges of swaths leave them."""
    shape, device = pixels.shape[:2], pixels.device
    inside = torch.rand(shape, device=device)[..., None, None] < GAPS
    for axis, size in zip((-1, -2), (pixels.shape[-1], pixels.shape[-2])):
        ends = torch.rand(2, *shape, device=device) * size
        at = torch.arange(size, device=device)
        along = (at >= ends.amin(dim=0)[..., None]) & (at < ends.amax(dim=0)[..., None])
        inside = inside & (along[..., None, :] if axis == -1 else along[..., :, None])
    return inside


def coordinates_floor(data: LabelledSeries, test: LabelledSeries, classes: int, seed: int) -> float:
    """Accuracy over the test places' labels of gradient boosting that knows the coordinates of a place and nothing else."""
    known, counts = _coordinates(data), _counts(data, classes)
    place, label = np.nonzero(counts)
    model = HistGradientBoostingClassifier(max_iter=50, random_state=seed, early_stopping=False)
    model.fit(known[place], label, sample_weight=counts[place, label] / counts.max())
    truth = _counts(test, classes)
    said = model.predict(_coordinates(test))
    return float(truth[np.arange(len(truth)), said].sum() / truth.sum())


def _coordinates(data: LabelledSeries) -> np.ndarray:
    """What trees read of where each place lies, (N, 5)."""
    first = [rows[0] for rows in data.items]
    return coordinates(np.stack([data.store.column(name)[first] for name in ("lon", "lat")], axis=1))


def _counts(data: LabelledSeries, classes: int) -> np.ndarray:
    """Labelled pixels, or 1, of each class in each place, (N, classes)."""
    targets = data.targets(data.items).reshape(len(data.items), -1)
    return np.stack([np.bincount(part[part != IGNORED], minlength=classes) for part in targets])

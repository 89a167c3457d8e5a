"""Statistics of a chip store, for people: fractions of pixels are measured on a sample of images.

Reads columns of the index as numpy arrays, never the index as a table: ten million images take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from core.store.read import SPLITS, UNLABELLED, ChipStore

_SAMPLED = 1000  # images, at most, whose masks are read
_SAMPLED_BYTES = 64 << 20  # of those masks
_CELLS = 3600  # of longitude, a tenth of a degree each


@dataclass(frozen=True)
class Extent:
    """Bounding box of places, degrees; ``east`` is beyond 180 if it crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def of(cls, lon: np.ndarray, lat: np.ndarray) -> Extent | None:
        """The box around (N,) points, the short way round; None where no point has coordinates."""
        known = np.isfinite(lon) & np.isfinite(lat)
        if not known.any():
            return None
        lon, lat = lon[known], lat[known]
        taken = np.flatnonzero(np.bincount(((lon + 180) * (_CELLS / 360)).astype(int) % _CELLS, minlength=_CELLS))
        gaps = np.diff(taken)
        # A wide empty gap inside, and places on both sides of the antimeridian: the map is cut in that gap.
        if len(gaps) and gaps.max() >= _CELLS / 4 and gaps.max() > 3 * (taken[0] + _CELLS - taken[-1]):
            cut = taken[gaps.argmax() + 1] * (360 / _CELLS) - 180
            lon = np.where(lon < cut, lon + 360, lon)
        return cls(float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))

    def unwrap(self, lon: np.ndarray) -> np.ndarray:
        """Longitudes without the jump at the antimeridian, as the box counts them."""
        return np.where(lon < self.west, lon + 360, lon)


@dataclass(frozen=True, eq=False)
class Summary:
    """Counts of a store.

    Attributes:
        dates: (places,) different dates of each place; images without a date do not count.
        undated: images without a date.
        first, last: earliest and latest date, None where no image has one.
        extent: of the places, None where none has coordinates.
        unlocated: places without coordinates.
        split_places: (splits,) places of each side.
        split_images: (splits, classes + 1) images by side and class; the last column counts the unlabelled.
        sampled: images that the shares were measured on.
        with_data: share of their pixels that hold data.
        label_pixels: (classes + 1,) share of the pixels of their masks by class, the last one unlabelled;
            None for a store without masks.
        split_objects: (splits, classes + 1) boxes by side and class, the last column unlabelled; None for a store without boxes.
    """

    images: int
    dates: np.ndarray
    undated: int
    first: np.datetime64 | None
    last: np.datetime64 | None
    extent: Extent | None
    unlocated: int
    split_places: np.ndarray
    split_images: np.ndarray
    sampled: int
    with_data: float
    label_pixels: np.ndarray | None
    split_objects: np.ndarray | None
    bytes: int

    @classmethod
    def of(cls, store: ChipStore) -> Summary:
        """Count what is in a store."""
        dates = known_dates(store)
        undated = np.isnat(dates)
        places, classes = store.places, len(store.info.classes)
        located = np.isfinite(places["lon"]) & np.isfinite(places["lat"])
        label = store.column("label")
        cell = store.column("split") * np.int64(classes + 1) + np.where(label < 0, classes, label)
        rows = sample_rows(store, _SAMPLED, store.info.chip_size**2, _SAMPLED_BYTES)
        return cls(
            images=len(store),
            dates=_dates_of_places(store.column("place_number"), dates, len(places)),
            undated=int(undated.sum()),
            first=None if undated.all() else dates[~undated].min(),
            last=None if undated.all() else dates[~undated].max(),
            extent=Extent.of(places["lon"].to_numpy(), places["lat"].to_numpy()),
            unlocated=int((~located).sum()),
            split_places=np.bincount(places["split"].cat.codes, minlength=len(SPLITS)),
            split_images=np.bincount(cell, minlength=len(SPLITS) * (classes + 1)).reshape(len(SPLITS), -1),
            sampled=len(rows),
            with_data=float(store.valid(rows).mean()),
            label_pixels=_label_pixels(store, rows),
            split_objects=_split_objects(store),
            bytes=sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file()),
        )


def known_dates(store: ChipStore) -> np.ndarray:
    """Dates of all images, (images,) datetime64[us], UTC; NaT where unknown."""
    return store.column("datetime").astype("datetime64[us]")


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 place, 1,200 places."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def degrees(value: float, negative: str, positive: str, decimals: int = 3) -> str:
    """An angle with its direction; longitudes beyond 180 go on from the other side."""
    if negative == "W":
        value = (value + 180) % 360 - 180
    text = f"{abs(value):.{decimals}f}"
    plain = float(text) == 0 or np.isclose(abs(value), 180, rtol=0, atol=1e-9)  # neither side
    return f"{text}°" + ("" if plain else negative if value < 0 else positive)


def sample_rows(store: ChipStore, most: int, bytes_each: int, most_bytes: int) -> np.ndarray:
    """Rows of the index: all of a small store, of a large one a sample, always the same; at least 8."""
    count = min(most, max(8, most_bytes // bytes_each))
    if count >= len(store):
        return np.arange(len(store))
    return np.sort(np.random.default_rng(0).choice(len(store), count, replace=False, shuffle=False))


def _dates_of_places(number: np.ndarray, dates: np.ndarray, places: int) -> np.ndarray:
    """How many different dates each place has; images of a place lie together, by date."""
    new = ~np.isnat(dates)
    new[1:] &= (number[1:] != number[:-1]) | (dates[1:] != dates[:-1])
    return np.bincount(number[new], minlength=places)


def _label_pixels(store: ChipStore, rows: np.ndarray) -> np.ndarray | None:
    if not (store.column("mask") >= 0).any():
        return None
    counts = np.bincount(store.masks(rows).ravel(), minlength=256)
    classes = len(store.info.classes)
    return np.append(counts[:classes], counts[UNLABELLED]) / counts.sum()


def _split_objects(store: ChipStore) -> np.ndarray | None:
    path = store.path / "boxes.parquet"
    if not path.exists():
        return None
    classes = len(store.info.classes)
    counts = np.zeros(len(SPLITS) * (classes + 1), np.int64)
    for batch in pq.ParquetFile(path).iter_batches(columns=["image", "label"]):
        image, label = (column.to_numpy() for column in batch.columns)
        cell = store.column("split")[image] * np.int64(classes + 1) + np.where(label < 0, classes, label)
        counts += np.bincount(cell, minlength=len(counts))
    return counts.reshape(len(SPLITS), -1)

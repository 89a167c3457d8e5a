"""Which images represent a place in a probe, and which places are on which side of the split."""

from __future__ import annotations

import numpy as np

from core.errors import UserError
from core.store.read import ChipStore, images_of

DATES = ("one_date", "all_dates", "stacked")  # how a place is represented
MAX_STACKED = 50_000  # training images: more stacked features would take hours and gigabytes


class Protocol:
    """Which images represent a place, and which places are on which side of the split.

    ``rows`` are the index rows whose features are needed, sorted; ``dates`` those of ``DATES`` that are possible;
    ``located`` whether every place has coordinates; ``classes`` the names of the labels.
    """

    def __init__(self, store: ChipStore, seed: int) -> None:
        """Select places and images.

        Raises:
            UserError: a side has no labels, or the training side has one class only.
        """
        places = store.places[store.places["label"] >= 0]
        self.sides = {side: places[places["split"] == side] for side in ("train", "val", "test")}
        if any(side.empty for side in self.sides.values()):
            raise UserError(f"{store.path}: the probe needs labelled places in the splits train, val and test")
        if self.sides["train"]["label"].nunique() < 2:
            raise UserError(f"{store.path}: its training places have only one class; a probe needs two")
        self.classes = [entry.name for entry in store.info.classes]
        self.located = all(np.isfinite(self.lonlat(side)).all() for side in self.sides)
        self.images = {name: images_of(side) for name, side in self.sides.items()}
        self.rows = np.sort(np.concatenate([rows for images in self.images.values() for rows in images]))
        counts = {len(rows) for images in self.images.values() for rows in images}
        repeated = counts != {1}
        stackable = repeated and len(counts) == 1 and counts.pop() * len(self.images["train"]) <= MAX_STACKED
        self.dates = DATES[: 1 + repeated + stackable]
        self.random_rows = {
            name: [np.random.default_rng([seed, i]).choice(images, 1) for i, images in enumerate(places)]
            for name, places in self.images.items()
        }

    def vectors(self, everything: np.ndarray, side: str, dates: str) -> np.ndarray:
        """One vector per place from (len(rows), D) features: (places, D), or (places, dates x D) if stacked."""
        chosen = self.random_rows[side] if dates == "one_date" else self.images[side]
        each = [everything[np.searchsorted(self.rows, rows)] for rows in chosen]
        return np.stack([dated.ravel() if dates == "stacked" else dated.mean(axis=0) for dated in each])

    def labels(self, side: str) -> np.ndarray:
        """Class of each place of a side."""
        return self.sides[side]["label"].to_numpy()

    def lonlat(self, side: str) -> np.ndarray:
        """Longitude and latitude of each place of a side, (places, 2) degrees."""
        return self.sides[side][["lon", "lat"]].to_numpy()

"""Models that read a series of dates, as files: real series to compare with, and the same weights as a model of one date."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from core.networks.encoders import ModelSpec
from core.networks.series import SeriesNetwork
from core.store.read import ChipStore, images_of
from export.model_files.quantize import chips_in, mosaic
from export.runtime.model.guard import SERIES

SUMMER = 183  # day of the year: its middle
DATES = (1, 2)  # of the series that are compared, beside as many as there are


def input_names(spec: ModelSpec) -> list[str]:
    """Of the graph."""
    return [*SERIES][: 5 if spec.location else 3]


def real_series(store: ChipStore, spec: ModelSpec, tile: int) -> list[tuple[np.ndarray, ...]]:
    """The inputs of a network for series of one, of two and of all dates, of places of the store.

    A tile holds as many places as it has room for. Each gives its dates from the first one on; the days of the year are those
    of the place that has the most. Pixels without data are NaN.
    """
    places = store.places
    dates = images_of(places)
    most = int(places["count"].argmax())
    count = int(places["count"].iloc[most])
    chosen = [most, *np.random.default_rng(0).integers(0, len(places), chips_in(store, tile) - 1)]
    rows = np.array([np.resize(dates[number], count) for number in chosen]).T  # (dates, places)
    pixels = mosaic(store.pixels(rows.ravel()), tile)
    days = pd.DatetimeIndex(store.column("datetime")[rows[:, 0]]).day_of_year.to_numpy(np.float32)
    valid = mosaic(store.valid(rows.ravel())[:, None], tile)[:, 0]
    others: tuple[np.ndarray, ...] = (pixels, valid, np.nan_to_num(days, nan=SUMMER))
    where = places[["lon", "lat"]].iloc[most].fillna(0.0)
    slope = np.linspace(0, 0.1, tile, dtype=np.float32)  # degrees
    corner = [np.float32(where["lon"]) + slope[None], np.float32(where["lat"]) - slope[:, None]]
    place = [np.ascontiguousarray(np.broadcast_to(part, (tile, tile))) for part in corner] if spec.location else []
    return [
        tuple(np.ascontiguousarray(part[:number]) for part in others) + tuple(place)
        for number in sorted({*DATES, count})
    ]


class OneDate(nn.Module):
    """A network for series that is given images (N, bands, rows, columns) of one day of the year, all of them with data."""

    def __init__(self, network: SeriesNetwork, day: int) -> None:
        super().__init__()
        self.network, self.day = network, day

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, classes, ...)."""
        series = image.unsqueeze(1)
        valid = torch.ones_like(series[:, :, 0], dtype=torch.bool)
        return self.network.of_places(series, valid, torch.full_like(series[:, :, 0, 0, 0], float(self.day)))


def of_one_date(spec: ModelSpec, day: int) -> ModelSpec:
    """What such a network is."""
    what = f"one date of a model that reads a series of dates, for the day {day} of the year: less accurate than the series"
    return replace(spec, dates=0, location=False, description=f"{spec.description}; {what}".lstrip("; "))

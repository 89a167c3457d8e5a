"""Floors without an encoder, and heads on frozen features: (places,) bool of the test places each names rightly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

from core.networks.encoders import ModelSpec
from core.networks.heads import build
from core.networks.series import SeriesClassifier
from core.store.read import ChipStore, images_of

EPOCHS, BATCH, RATE, DECAY, DROPOUT = 12, 64, 2e-3, 0.05, 0.5
ONE, AVERAGED, MEAN, ATTENTION = (
    "one date",
    "mean of the dates' probabilities",
    "mean of the dates",
    "temporal attention",
)


class Places(NamedTuple):
    """Labelled places of the splits train and test with all their dates.

    Attributes:
        rows: of the index, (places, dates).
        labels: (places,).
        days: of the year, (places, dates).
        lonlat: degrees, (places, 2).
        test: (places,) bool.
    """

    rows: np.ndarray
    labels: np.ndarray
    days: np.ndarray
    lonlat: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, store: ChipStore) -> Places:
        """All of a store."""
        table = store.places[(store.places["label"] >= 0) & store.places["split"].isin(["train", "test"])]
        rows = np.stack(images_of(table))
        days = pd.DatetimeIndex(store.column("datetime")[rows.ravel()]).day_of_year.to_numpy().reshape(rows.shape)
        test = (table["split"] == "test").to_numpy()
        return cls(rows, table["label"].to_numpy(), days, table[["lon", "lat"]].to_numpy(), test)


def boosted(places: Places, vectors: np.ndarray, seed: int) -> np.ndarray:
    """Gradient boosting on vectors (places, D), as the probe's baseline."""
    model = HistGradientBoostingClassifier(random_state=seed, max_iter=100, early_stopping=False)
    model.fit(vectors[~places.test], places.labels[~places.test])
    return model.predict(vectors[places.test]) == places.labels[places.test]


def with_head(
    store: ChipStore, places: Places, features: np.ndarray, use: str, seed: int, *, location: bool
) -> np.ndarray:
    """A head on frozen features (places, dates, width)."""
    torch.manual_seed(seed)
    kind = "attention" if use == ATTENTION else "mean"
    spec = replace(ModelSpec.of_store(store, "resnet18"), task="classification", classes=store.info.classes)
    model = build(replace(spec, dates=features.shape[1], temporal=kind, location=location))
    assert isinstance(model, SeriesClassifier)
    model.head = nn.Sequential(nn.Dropout(DROPOUT), model.head)  # type: ignore[assignment]
    known = features[~places.test]
    scaled = torch.from_numpy((features - known.mean((0, 1))) / known.std((0, 1)).clip(1e-6))
    days, lonlat = torch.tensor(places.days).float(), torch.tensor(places.lonlat).float()
    dates = features.shape[1]
    train, test = (torch.from_numpy(np.flatnonzero(side)) for side in (~places.test, places.test))

    pixels = model.encoder.standardise(torch.from_numpy(store.pixels(places.rows.ravel()))).unflatten(
        0, places.rows.shape
    )

    def logits(chosen: Tensor, cover: Tensor) -> Tensor:
        months = None
        if model.months is not None:
            valid = (cover > 0)[..., None, None].expand(-1, -1, *pixels.shape[-2:])
            months = model.months(pixels[chosen], valid, days[chosen]).mean(dim=(2, 3))
        where = list(lonlat[chosen].T) if location else None
        return model.of_features(scaled[chosen], cover, days[chosen], months, where)

    _learn(model, logits, torch.tensor(places.labels).long(), train, dates, single=use in (ONE, AVERAGED))
    model.eval()
    with torch.inference_mode():
        if use in (ONE, AVERAGED):
            shares = torch.stack([logits(test, F.one_hot(torch.full((len(test),), date), dates).float()).softmax(1)
                                  for date in range(dates)], dim=1)  # fmt: skip
            drawn = torch.randint(dates, (len(test),))
            said = shares[torch.arange(len(test)), drawn] if use == ONE else shares.mean(dim=1)
        else:
            said = logits(test, torch.ones(len(test), dates))
    return said.argmax(dim=1).numpy() == places.labels[places.test]


def _learn(
    model: nn.Module,
    logits: Callable[[Tensor, Tensor], Tensor],
    labels: Tensor,
    train: Tensor,
    dates: int,
    *,
    single: bool,
) -> None:
    """Train all but the encoder; ``single`` with one date of a place a step, else with dates dropped from half the places."""
    parameters = [part for name, part in model.named_parameters() if not name.startswith("encoder")]
    epochs = EPOCHS * (2 if single else 1)
    steps = epochs * (len(train) // BATCH)
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(BATCH)[: len(train) // BATCH]:
            order = torch.rand(len(batch), dates).argsort(1).argsort(1)
            keep = torch.where(torch.rand(len(batch)) < 0.5, torch.randint(1, dates + 1, (len(batch),)), dates)
            cover = (order < (1 if single else keep[:, None])).float()
            loss = F.cross_entropy(logits(batch, cover), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()

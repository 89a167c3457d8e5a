"""What the method promises, on a generated world: classes are textures, dates change colour, light and haze."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.preprocessing import StandardScaler
from torch import nn

from core.geo import assign_geo_clusters, fit_geo_clusters
from core.moco import MoCo
from core.models import ModelSpec, Standardise, features
from core.pairs import Pairs
from core.prepare.build import Chip, Tally, build
from core.probe import knn_predict
from core.store import ChipStore, LandClass, StoreInfo
from core.views import Views

SIZE, PLACES, DATES, CLASSES = 32, 400, 4, 4
SEEDS, EPOCHS, BATCH = 3, 12, 64
SMOOTHING = ((0.6, 0.6), (2.5, 2.5), (0.5, 5.0), (1.3, 1.3))  # px, of noise; the last one is folded
AMP, HAZE, LIGHT, FOG, LR, T, WIDTH = 0.6, 0.15, (70, 110), (120, 200), 0.06, 0.2, 64


@dataclass(frozen=True)
class World:
    """Places with a texture each, whose dates differ in colour, light and haze.

    Attributes:
        info: of the store.
        regional: classes lie in regions of the map, else anywhere.
    """

    info: StoreInfo
    regional: bool
    tasks: tuple[int, ...] = (0,)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        rng = np.random.default_rng(7)
        for number in range(PLACES):
            label = number % CLASSES
            ground = _texture(label, rng)
            lon, lat = rng.uniform(-170, 170), rng.uniform(-60, 60)
            if self.regional:
                lon, lat = -160 + 16 * (label + CLASSES * rng.integers(0, 5)) + rng.uniform(0, 8), rng.uniform(-4, 4)
            side = ["train", "train", "test"][number // CLASSES % 3]
            for date in range(DATES):
                light, haze, fog = rng.uniform(*LIGHT, (3, 1, 1)), rng.uniform(0, HAZE), rng.uniform(*FOG, (3, 1, 1))
                seen = (1 - haze) * light * (1 + AMP * ground) + haze * fog + rng.normal(0, 1, (3, SIZE, SIZE))
                yield Chip(
                    pixels=seen.clip(1, 255).astype(np.uint8),
                    valid=np.ones((SIZE, SIZE), bool),
                    place=f"place {number:04}",
                    lon=float(lon),
                    lat=float(lat),
                    datetime=datetime(2020, 1 + date, 1, tzinfo=UTC),
                    source="generated",
                    label=label,
                    split=side,
                )


def _texture(kind: int, rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE) smoothed noise between -1 and 1, a little coarser or finer from place to place."""
    smooth = gaussian_filter(
        rng.normal(size=(SIZE, SIZE)), rng.uniform(0.85, 1.18) * np.array(SMOOTHING[kind]), mode="wrap"
    )
    smooth = -np.abs(smooth) if kind == 3 else smooth
    return np.tanh((smooth - smooth.mean()) / smooth.std())


def _trunk(store: ChipStore) -> nn.Sequential:
    """A small convolutional network, so that a run takes seconds."""

    def block(wide: int, wider: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(wide, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU(inplace=True)]

    layers = [*block(3, 32, 2), *block(32, 64, 1), *block(64, WIDTH, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(Standardise(ModelSpec.of_store(store, "resnet18")), *layers)


def learn(store: ChipStore, variant: str, seed: int) -> nn.Module:
    """A short pretraining with the project's method, pairs and views."""
    torch.manual_seed(seed)
    places, count = store.places_of("train"), 0
    clusters = np.zeros(len(places), int)
    if "geo" in variant:
        lonlat = places[["lon", "lat"]].to_numpy()
        centres = fit_geo_clusters(lonlat, 20, seed)
        clusters, count = assign_geo_clusters(lonlat, centres), len(centres)
    loader = Pairs(store, places, clusters, "tp" in variant, seed).loader(BATCH, seed)
    trunk, views = _trunk(store), Views()
    moco = MoCo(trunk, WIDTH, dim=32, K=8 * BATCH, m=0.99, T=T, clusters=count).train()
    optimizer = torch.optim.SGD([p for p in moco.parameters() if p.requires_grad], LR, 0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    for _ in range(EPOCHS):
        for im_q, im_k, cluster in loader:
            losses = moco(views(im_q), views(im_k), cluster)
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
            schedule.step()
    learn.last = losses
    return moco.encoder_q[0]


def named(encoder: nn.Module, store: ChipStore) -> np.ndarray:
    """Classes of the test places by kNN, one date each."""
    sides = [store.places_of(side) for side in ("train", "test")]
    known, queries = (features(encoder, store, side["first"].to_numpy(), torch.device("cpu")) for side in sides)
    scaler = StandardScaler().fit(known)
    return knn_predict((scaler.transform(known), sides[0]["label"].to_numpy()), scaler.transform(queries))


def make(folder, regional: bool) -> ChipStore:
    classes = tuple(LandClass(i, f"texture {i}", f"{i}{i}{i}{i}{i}{i}") for i in range(CLASSES))
    about = StoreInfo(("red", "green", "blue"), "uint8", "8-bit values, 0 to 255", 10.0, SIZE, classes)
    return build(World(about, regional), folder, workers=1)[0]

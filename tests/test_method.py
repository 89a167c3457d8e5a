"""What the method promises, on a generated world.

Classes are textures and lie in regions of the map; each date has its own colour, light and haze. Plain
moco tells images apart by their colour and has no need of the texture; two dates share nothing else, and
neither do the places of a region. One small world, three seeds, the same pairs, views and method as in
``core.train pretrain`` on a network that learns in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.preprocessing import StandardScaler
from torch import nn

from core.evaluation.classify import knn_predict
from core.evaluation.intervals import gain_score
from core.method.moco import MoCo, assign_geo_clusters, fit_geo_clusters
from core.method.pairs import PairLoader, Pairs
from core.method.views import Views, as_float
from core.networks.encoders import ModelSpec, Standardise, features
from core.store.build import Chip, Tally, build
from core.store.read import ChipStore, LandClass, StoreInfo

SIZE, PLACES, DATES, CLASSES, REGIONS = 24, 400, 4, 4, 2  # regions: of each class
SEEDS, EPOCHS, BATCH, WIDTH = 3, 14, 64, 64
SMOOTHING = ((0.6, 0.6), (2.5, 2.5), (0.5, 5.0), (1.3, 1.3))  # px, of noise; the last one is folded


@dataclass(frozen=True)
class World:
    """Places with a texture each, in regions of one class, whose dates differ in colour, light and haze."""

    info: StoreInfo
    tasks: tuple[int, ...] = (0,)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        rng = np.random.default_rng(7)
        for number in range(PLACES):
            label = number % CLASSES
            ground = _texture(label, rng)
            lon = -100 + 16 * (label + CLASSES * rng.integers(0, REGIONS)) + rng.uniform(0, 8)
            side = ["train", "train", "test"][number // CLASSES % 3]
            for date in range(DATES):
                light, fog = rng.uniform(50, 110, (3, 1, 1)), rng.uniform(120, 200, (3, 1, 1))
                haze = rng.uniform(0, 0.15)
                seen = (1 - haze) * light * (1 + 0.8 * ground) + haze * fog + rng.normal(0, 1, (3, SIZE, SIZE))
                yield Chip(
                    pixels=seen.clip(1, 255).astype(np.uint8),
                    valid=np.ones((SIZE, SIZE), bool),
                    place=f"place {number:04}",
                    lon=lon,
                    lat=rng.uniform(-4, 4),
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

    layers = [*block(3, 32, 2), *block(32, 48, 2), *block(48, WIDTH, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(Standardise(ModelSpec.of_store(store, "resnet18")), *layers)


def learn(store: ChipStore, variant: str, seed: int) -> nn.Module:
    """A short pretraining with the project's method, pairs and views."""
    torch.manual_seed(seed)
    places, count = store.places_of("train"), 0
    clusters = np.zeros(len(places), int)
    if "geo" in variant:
        lonlat = places[["lon", "lat"]].to_numpy()
        centres = fit_geo_clusters(lonlat, 3 * CLASSES * REGIONS, seed)
        clusters, count = assign_geo_clusters(lonlat, centres), len(centres)
    loader = PairLoader(Pairs(store, places, clusters, "tp" in variant, seed), BATCH)
    trunk, views = _trunk(store), Views()
    moco = MoCo(trunk, WIDTH, dim=32, K=8 * BATCH, m=0.99, T=0.1, clusters=count, season="ignore").train()
    optimizer = torch.optim.SGD([p for p in moco.parameters() if p.requires_grad], 0.15, 0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    for _ in range(EPOCHS):
        for batch in loader:
            im_q, im_k = (
                as_float(*side) for side in ((batch.queries, batch.query_valid), (batch.keys, batch.key_valid))
            )
            losses = moco(views(im_q), views(im_k), batch.cluster, order=batch.order)
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
            schedule.step()
    return moco.encoder_q[0]


def named(encoder: nn.Module, store: ChipStore) -> np.ndarray:
    """Classes of the test places by kNN, one date each."""
    sides = [store.places_of(side) for side in ("train", "test")]
    known, queries = (features(encoder, store, side["first"].to_numpy(), torch.device("cpu")) for side in sides)
    scaler = StandardScaler().fit(known)
    return knn_predict((scaler.transform(known), sides[0]["label"].to_numpy()), scaler.transform(queries))


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, np.ndarray]:
    """(seeds, places) classes that each variant's features give the test places, and the true ones."""
    classes = tuple(LandClass(i, f"texture {i}", f"{i}" * 6) for i in range(CLASSES))
    about = StoreInfo(("red", "green", "blue"), "uint8", "8-bit values, 0 to 255", 10.0, SIZE, classes)
    store, _ = build(World(about), tmp_path_factory.mktemp("world") / "store", workers=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is too small to share
    variants = ("moco", "moco-tp", "moco-geo")
    found = {name: np.stack([named(learn(store, name, seed), store) for seed in range(SEEDS)]) for name in variants}
    torch.set_num_threads(threads)
    return found | {"truth": store.places_of("test")["label"].to_numpy()}


@pytest.mark.parametrize("variant", ["moco-tp", "moco-geo"])
def test_what_the_paper_adds_finds_the_classes_that_moco_passes_over(said, variant):
    right, base = ((said[name] == said["truth"]).mean(axis=0) for name in (variant, "moco"))
    gain = gain_score(right - base)  # paired by place, of these seeds
    assert gain.low > 0
    assert gain.value > 0.08

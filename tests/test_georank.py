"""GeoRank's loss against ranks counted by hand, and in a pretraining run."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn

from core import train
from core.method import georank
from core.method.georank import REACH_KM, rank_loss
from core.method.moco import MoCo
from core.networks.weights import load_model
from core.store.sphere import unit_vectors
from tests.conftest import call

pytestmark = pytest.mark.usefixtures("one_thread")


def batch(count: int, spread: float, seed: int = 0):
    """Unit queries and keys, and places within some degrees."""
    random = np.random.default_rng(seed)
    query, key = (random.normal(size=(count, 16)) for _ in range(2))
    query, key = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (query, key))
    lonlat = np.stack(
        [random.uniform(179 - spread, 179 + spread, count), random.uniform(-spread, spread, count)], axis=1
    )
    return query, key, lonlat


def kilometres(lonlat: np.ndarray) -> np.ndarray:
    """Great-circle distances of all pairs by the haversine formula."""
    lon, lat = np.radians(lonlat).T
    half = (
        np.sin((lat[:, None] - lat) / 2) ** 2
        + np.cos(lat[:, None]) * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    )
    return 2 * 6371.0088 * np.arcsin(np.sqrt(half))


def test_it_is_the_squared_difference_of_ranks_of_near_places(monkeypatch):
    monkeypatch.setattr(georank, "SMOOTHNESS", 1e-6)  # as good as hard ranks
    query, key, lonlat = batch(20, 40)
    apart, similarity = kilometres(lonlat), query @ key.T
    means = []
    for row in range(20):
        others = np.delete(np.arange(20), row)
        by_look, by_place = rankdata(-similarity[row, others]), rankdata(apart[row, others])
        near = apart[row, others] <= REACH_KM
        means.append(np.square(by_look - by_place)[near].mean() if near.any() else 0.0)
    expected = np.mean(means) / np.linalg.norm(np.arange(1, 20))
    tensors = [torch.from_numpy(part).float() for part in (query, key, unit_vectors(lonlat))]
    assert 0.2 < np.mean(apart[0] <= REACH_KM) < 0.8
    assert float(rank_loss(*tensors)) == pytest.approx(expected, rel=1e-4)


def test_processes_have_the_mean_of_their_shares():
    query, key, places = (torch.from_numpy(part).float() for part in batch(20, 40))
    places = nn.functional.normalize(torch.randn(20, 3), dim=1)
    shares = [rank_loss(query[first : first + 10], key, places, first) for first in (0, 10)]
    torch.testing.assert_close(torch.stack(shares).mean(), rank_loss(query, key, places))


def test_descending_it_orders_features_as_places():
    query, _, lonlat = batch(24, 10)
    places = torch.from_numpy(unit_vectors(lonlat)).float()
    weights = torch.from_numpy(query).float().requires_grad_()
    optimizer = torch.optim.Adam([weights], 0.05)
    losses = []
    for _ in range(60):
        unit = nn.functional.normalize(weights, dim=1)
        loss = rank_loss(unit, unit.detach(), places)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_few_rows_and_far_places_give_no_loss_and_no_nan():
    query = nn.functional.normalize(torch.randn(2, 4), dim=1).requires_grad_()
    far = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])
    for rows in (1, 2):
        loss = rank_loss(query[:rows], query[:rows].detach(), far[:rows])
        assert float(loss.detach()) == 0
        (gradient,) = torch.autograd.grad(loss, query)
        assert not gradient.any()


def test_the_method_reads_where_each_place_lies():
    torch.manual_seed(0)
    lonlat = np.random.default_rng(0).uniform(-10, 10, (9, 2))
    moco = MoCo(nn.Sequential(nn.Flatten(), nn.Linear(12, 6)), 6, dim=4, K=8, where=lonlat, beta=0.5, season="ignore")
    places = torch.tensor([8, 0, 3, 5])
    images = torch.randn(4, 3, 2, 2)
    query = nn.functional.normalize(moco.encoder_q(images), dim=1)
    expected = rank_loss(query, query, torch.from_numpy(unit_vectors(lonlat)).float()[places])
    losses = moco(images, images, torch.zeros(4, dtype=torch.long), places)
    torch.testing.assert_close(losses.geo, expected.detach())
    torch.testing.assert_close(losses.total.detach(), losses.contrast + 0.5 * losses.geo)
    assert not any("where" in name for name in moco.state_dict())


def test_pretraining_with_it(store, tmp_path, capsys):
    options = ["pretrain", "--data", store.path, "--device", "cpu", "--precision", "32-true", "--batch-size", 64]
    options += ["--queue", 64, "--epochs", 1, "--geo-loss", "rank", "--out", tmp_path / "run"]
    assert call(train.main, *options, "--variant", "moco-tp") == 2
    assert "--geo-loss rank: --variant moco-tp has no geo-location pretext; omit this option" in capsys.readouterr().err
    assert call(train.main, *options) == 0
    assert load_model(tmp_path / "run" / "encoder.safetensors")[0].task == "embedding"
    assert not (tmp_path / "run" / "geo_clusters.npy").exists()

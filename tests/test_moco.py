"""The method against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from core.moco import MoCo, info_nce
from core.pairs import Pairs
from core.pretrain import COLLAPSED


def tiny(clusters: int = 0, **options) -> MoCo:
    torch.manual_seed(0)
    return MoCo(nn.Sequential(nn.Flatten(), nn.Linear(12, 6)), 6, dim=4, K=8, clusters=clusters, **options)


def test_the_loss_is_the_cross_entropy_at_the_positive():
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    key = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    queue = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # keys (0, 1) and (-1, 0)
    # first query: positive 1, negatives 0 and -1; second: positive 0, negatives 1 and 0; temperature 0.5
    first = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-2)))
    second = -math.log(1 / (1 + math.exp(2) + 1))
    assert info_nce(query, key, queue, 0.5).item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_the_loss_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="temperature"):
        info_nce(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 4), 0.0)
    with pytest.raises(ValueError, match="queue"):
        info_nce(torch.ones(2, 3), torch.ones(2, 3), torch.ones(4, 3), 0.1)


def test_the_key_encoder_starts_as_the_query_encoder_and_follows_it_with_momentum():
    moco = tiny(m=0.9)
    before = [p.clone() for p in moco.encoder_k.parameters()]
    for q, k in zip(moco.encoder_q.parameters(), before):
        assert torch.equal(q, k)
        q.data += 1.0
    moco.momentum_update()
    for old, k in zip(before, moco.encoder_k.parameters()):
        torch.testing.assert_close(k, old + 0.1)


def test_the_queue_drops_its_oldest_keys_first():
    moco = tiny()
    for number in range(3):  # three batches of four into a queue of eight
        moco.enqueue(torch.full((4, 4), float(number)))
    assert moco.queue[0].tolist() == [2.0] * 4 + [1.0] * 4
    assert int(moco.queue_ptr) == 4


def test_the_total_is_the_weighted_sum_and_no_gradient_reaches_the_keys():
    moco = tiny(clusters=3, alpha=2.0, beta=0.5)
    losses = moco(torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(losses.total.detach(), 2 * losses.contrast + 0.5 * losses.geo)
    losses.total.backward()
    assert all(p.grad is None for p in moco.encoder_k.parameters())
    assert all(p.grad is not None for p in moco.encoder_q.parameters())


def test_the_geo_head_reads_the_projection_before_it_is_normalised():
    moco = tiny(clusters=2)
    images = torch.randn(4, 3, 2, 2)
    cluster = torch.tensor([0, 1, 0, 1])
    expected = nn.functional.cross_entropy(moco.geo_head(moco.encoder_q(images)), cluster)
    torch.testing.assert_close(moco(images, images, cluster).geo, expected.detach())


def test_collapse_shows_in_the_spread_of_the_features():
    moco = tiny()
    same = torch.ones(4, 3, 2, 2)
    assert moco(same, same, torch.zeros(4, dtype=torch.long)).feature_std.item() == pytest.approx(0, abs=1e-5)
    assert (
        moco(torch.randn(64, 3, 2, 2), torch.randn(64, 3, 2, 2), torch.zeros(64, dtype=torch.long)).feature_std
        > 2 * COLLAPSED
    )


def test_a_temporal_partner_is_another_date_of_the_same_place(store):
    pairs = Pairs(store, store.places, np.zeros(len(store.places), int), temporal=True, seed=0)
    partners: dict[int, set[int]] = {}
    for _ in range(20):
        queries, keys = pairs.partners(np.arange(len(pairs)))
        assert (store.index["place"].to_numpy()[queries] == store.index["place"].to_numpy()[keys]).all()
        assert (queries != keys).all()
        for query, key in zip(queries, keys):
            partners.setdefault(query, set()).add(key)
    assert all(len(found) == 2 for found in partners.values())  # both other dates turn up


def test_without_temporal_positives_the_partner_is_the_image_itself(store):
    pairs = Pairs(store, store.places, np.zeros(len(store.places), int), temporal=False, seed=0)
    queries, keys = pairs.partners(np.arange(len(pairs)))
    assert (queries == keys).all()

"""The method against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from core.method.moco import NO_PLACE, SOFTER, MoCo, info_nce
from core.training.moco_module import COLLAPSED


def tiny(clusters: int = 0, **options) -> MoCo:
    torch.manual_seed(0)
    options = {"season": "ignore"} | options
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


@pytest.mark.parametrize("size", [3, 5, 8, 11])
def test_a_queue_holds_the_last_keys_whatever_the_batch_size(size):
    moco = tiny()
    for number in range(10):
        keys = torch.arange(number * size, (number + 1) * size)
        moco.enqueue(keys[:, None].expand(-1, 4).float(), keys)
    last = list(range(10 * size - 8, 10 * size))
    assert sorted(moco.queue_places.tolist()) == last
    assert torch.equal(moco.queue, moco.queue_places.float().expand(4, -1))
    oldest = int(moco.queue_ptr)
    assert torch.cat([moco.queue_places[oldest:], moco.queue_places[:oldest]]).tolist() == last


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


def test_keys_of_the_same_place_can_be_left_out_of_the_negatives():
    query, key = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    queue = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    masked = torch.tensor([[True, False], [False, True]])
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(-2)))
    second = -math.log(1 / (1 + math.exp(2)))
    assert info_nce(query, key, queue, 0.5, masked).item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_the_queue_remembers_the_places_of_its_keys():
    moco = tiny(mask_same_place=True)
    images, cluster = torch.randn(4, 3, 2, 2), torch.zeros(4, dtype=torch.long)
    places = torch.tensor([7, 8, 9, 7])
    moco(images, images, cluster, places)
    assert moco.queue_places.tolist() == [7, 8, 9, 7] + [NO_PLACE] * 4
    masked, plain = moco.eval(), tiny()
    plain.load_state_dict(masked.state_dict())
    elsewhere = torch.tensor([1, 2, 3, 4])
    states = [m.state_dict() for m in (masked, plain)]
    assert torch.equal(states[0]["queue"], states[1]["queue"])
    assert plain(images, images, cluster, places).contrast > masked(images, images, cluster, places).contrast
    moco, plain = tiny(mask_same_place=True), tiny()
    torch.testing.assert_close(
        moco(images, images, cluster, elsewhere).contrast, plain(images, images, cluster, elsewhere).contrast
    )


def test_the_geo_head_can_read_the_trunk():
    moco = tiny(clusters=2, geo_head="trunk")
    images, cluster = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 0, 1])
    expected = nn.functional.cross_entropy(moco.geo_head(moco.encoder_q[0](images)), cluster)
    torch.testing.assert_close(moco(images, images, cluster).geo, expected.detach())


def test_keys_are_put_back_beside_their_queries():
    images, order = torch.randn(4, 3, 2, 2), torch.tensor([2, 0, 3, 1])
    cluster = torch.zeros(4, dtype=torch.long)
    side_by_side, dealt = tiny(), tiny()
    expected = side_by_side(images, images, cluster).contrast
    torch.testing.assert_close(dealt(images, images[order], cluster, order=order).contrast, expected)
    torch.testing.assert_close(dealt.queue, side_by_side.queue)


def test_the_other_date_can_be_one_more_negative():
    query, key = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    queue, against = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    # first query: positive 1, negatives 0 and 0; second: positive 0, negative 1, its other date left out
    first = -math.log(math.exp(2) / (math.exp(2) + 2))
    second = -math.log(1 / (1 + math.exp(2)))
    alone = torch.tensor([False, True])
    found = info_nce(query, key, queue, 0.5, against=against, alone=alone).item()
    assert found == pytest.approx((first + second) / 2, abs=1e-6)


@pytest.mark.parametrize("season", ["ignore", "keep", "both"])
def test_each_embedding_has_its_own_positive_and_queue(season):
    moco = tiny(season=season)
    images, dates, views = torch.randn(3, 4, 3, 2, 2)
    order, alone = torch.tensor([2, 0, 3, 1]), torch.tensor([False, True, False, False])
    cluster = torch.zeros(4, dtype=torch.long)
    trunk, head = moco.encoder_q
    ignore = [nn.functional.normalize(head(trunk(part)), dim=1).detach() for part in (images, dates, views)]
    keep = ignore
    if season == "both":
        keep = [nn.functional.normalize(moco.keep_q(trunk(part)), dim=1).detach() for part in (images, dates, views)]
    queues = moco.queue.clone(), (moco.queue_keep if season == "both" else moco.queue).clone()
    ignored = info_nce(ignore[0], ignore[1], queues[0], moco.T)
    softer = SOFTER * moco.T if season == "both" else moco.T
    kept = info_nce(keep[0], keep[2], queues[1], softer, against=keep[1], alone=alone)
    expected = {"ignore": ignored, "keep": kept, "both": (ignored + kept) / 2}[season]
    again = None if season == "ignore" else views[order]
    losses = moco(images, dates[order], cluster, order=order, im_again=again, alone=alone)
    torch.testing.assert_close(losses.contrast, expected)
    first = ignore[2] if season == "keep" else ignore[1]
    torch.testing.assert_close(moco.queue[:, :4], first.T)
    if season == "both":
        torch.testing.assert_close(moco.queue_keep[:, :4], keep[2].T)
        torch.testing.assert_close(moco.queue_keep[:, 4:], queues[1][:, 4:])


def test_the_embedding_that_keeps_the_season_and_the_geo_head_read_a_view_of_their_own():
    moco = tiny(season="both", clusters=3, ignore_weight=0.25)
    whole, dates, again, crop = torch.randn(4, 4, 3, 2, 2)
    queues, geo_head, cluster = (moco.queue.clone(), moco.queue_keep.clone()), moco.geo_head, torch.arange(4) % 3
    trunk, head = moco.encoder_q

    def unit(embed, part):
        return nn.functional.normalize(embed(trunk(part)), dim=1).detach()

    ignored = info_nce(unit(head, whole), unit(head, dates), queues[0], moco.T)
    none = torch.zeros(4, dtype=torch.bool)
    keep = moco.keep_q
    kept = info_nce(
        unit(keep, crop), unit(keep, again), queues[1], SOFTER * moco.T, against=unit(keep, dates), alone=none
    )
    geo = nn.functional.cross_entropy(geo_head(keep(trunk(crop))), cluster).detach()
    losses = moco(whole, dates, cluster, im_again=again, im_keep=crop)
    torch.testing.assert_close(losses.contrast, 0.25 * ignored + 0.75 * kept)
    torch.testing.assert_close(losses.geo, geo)


def test_both_embeddings_learn_and_their_key_sides_follow():
    moco = tiny(season="both", m=0.9)
    before = [p.clone() for p in moco.keep_k.parameters()]
    moco.keep_q[0].weight.data += 1.0
    images = torch.randn(4, 3, 2, 2)
    moco(images, images, torch.zeros(4, dtype=torch.long), im_again=images).total.backward()
    torch.testing.assert_close(moco.keep_k[0].weight, before[0] + 0.1)
    assert all(p.grad is not None for p in [*moco.keep_q.parameters(), *moco.encoder_q.parameters()])
    assert all(p.grad is None for p in [*moco.keep_k.parameters(), *moco.encoder_k.parameters()])


@pytest.mark.parametrize(("season", "again"), [("ignore", True), ("keep", False), ("both", False)])
def test_views_of_the_same_images_are_needed_where_the_season_is_kept_and_only_there(season, again):
    images = torch.randn(4, 3, 2, 2)
    with pytest.raises(ValueError, match=f"season {season}"):
        tiny(season=season)(images, images, torch.zeros(4, dtype=torch.long), im_again=images if again else None)

"""Heads on a few labels, how they are judged, and where to label next."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from export.runtime.errors import Cancelled, InputFault
from export.runtime.learn.heads import few_of_each, fit
from export.runtime.learn.judge import Applicability, cross_validate
from export.runtime.learn.next_places import next_places
from export.runtime.learn.samples import Samples
from export.runtime.model.graph import Graph, HeadSession
from export.runtime.results.estimates import exact_limits

NAMES = ("water", "forest", "town")


def samples_at(centres, labels, pixels=20, spread=8.0, places=None, seed=0):
    """Polygons of some pixels around the centre of their class; polygons of a class differ too."""
    rng = np.random.default_rng(seed)
    count = np.broadcast_to(pixels, len(labels))
    polygons = np.repeat(np.arange(len(labels)), count)
    of_polygon = np.asarray(centres)[labels] + rng.normal(0, spread, (len(labels), len(centres[0])))
    values = of_polygon[polygons] + rng.normal(0, spread, (len(polygons), len(centres[0])))
    features = np.clip(np.rint(values), 1, 255).astype(np.float32)
    at = rng.uniform(0, 1000, (len(labels), 2)) if places is None else np.asarray(places, float)
    none = np.zeros(len(labels), np.int64)
    return Samples(
        features, np.asarray(labels)[polygons], polygons, at, none, np.arange(len(labels)), np.arange(len(labels))
    )


CENTRES = ((60, 60, 128, 40), (128, 190, 60, 90), (200, 90, 200, 128))


def test_head_is_scikit_learns_regression_on_features_and_products_with_polygons_weighing_the_same():
    samples = samples_at(CENTRES, [0, 1, 2, 0, 1, 2], pixels=[5, 40, 10, 20, 1, 30], spread=25)
    values = (samples.features - 128) / 12
    left, right = np.triu_indices(4)
    inputs = np.column_stack([values, 0.3 * values[:, left] * values[:, right]])
    peer = LogisticRegression(C=6 / 1.5, tol=1e-8, max_iter=10_000)
    peer.fit(inputs, samples.classes, sample_weight=samples.weights / 6)
    head = fit(samples, 3)
    np.testing.assert_allclose(head.probabilities(samples.features), peer.predict_proba(inputs), atol=2e-3)
    again = fit(samples, 3, start=head)
    np.testing.assert_allclose(again.probabilities(samples.features), head.probabilities(samples.features), atol=2e-3)


def test_many_features_are_taken_without_products():
    rng = np.random.default_rng(0)
    samples = samples_at(rng.uniform(40, 215, (3, 20)), [0, 1, 2, 0, 1, 2])
    head = fit(samples, 3)
    assert head.pairs.shape == (3, 0)
    assert (head.probabilities(samples.features).argmax(axis=1) == samples.classes).all()


@pytest.mark.parametrize("channels", [4, 20])
@pytest.mark.parametrize("factor", [1, 4])
def test_graph_answers_as_the_head(channels, factor):
    centres = np.random.default_rng(0).uniform(90, 160, (3, channels))
    samples = samples_at(centres, [0, 1, 2, 0, 1, 2], spread=20)
    head = fit(samples, 4)
    graph = Graph("features", ("batch", channels, "rows", "columns"))
    answer = head.add_to(graph, graph.input.name, factor)
    session = HeadSession(graph.to_bytes({"classes": (answer, ("batch", 4, "height", "width"))}))
    features = np.random.default_rng(1).integers(115, 142, (2, channels, 5, 6)).astype(np.float32)
    found = session(features)
    assert found.shape == (2, 4, 5 * factor, 6 * factor)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert not found[:, 3].any()
    if factor == 1:
        direct = head.probabilities(features.transpose(0, 2, 3, 1).reshape(-1, channels))
        np.testing.assert_allclose(found, direct.reshape(2, 5, 6, 4).transpose(0, 3, 1, 2), atol=1e-4)
    else:  # bilinear between the middles of places: pixel 10 is an eighth of the way from place 2 to place 3
        logits = np.log(head.probabilities(features[0, :, 2, 2:4].T)[:, :3])
        between = 0.875 * logits[0] + 0.125 * logits[1]
        rows = np.log(session(np.repeat(features[:1, :, 2:3], 5, axis=2))[0, :3, 10, 10])
        np.testing.assert_allclose(rows - rows[0], between - between[0], atol=1e-3)


def test_at_most_some_pixels_of_a_polygon_are_fitted():
    polygons = np.repeat([0, 1, 2], [1000, 3, 64])
    few = few_of_each(polygons, 64)
    assert np.bincount(polygons[few]).tolist() == [63, 3, 64]
    assert np.ptp(np.diff(few[:63])) == 0


def test_classes_without_labels_are_never_the_answer():
    samples = samples_at(CENTRES, [0, 2, 0, 2])
    found = fit(samples, 4).probabilities(samples.features)
    assert found.shape == (len(samples.features), 4)
    assert not found[:, [1, 3]].any()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_labels_of_one_class_are_refused():
    samples = samples_at(CENTRES, [1, 1, 1])
    for judge in (lambda: fit(samples, 3), lambda: cross_validate(samples, NAMES)):
        with pytest.raises(InputFault, match="at least two classes"):
            judge()


def test_whole_polygons_are_left_out():
    """Pixels of a polygon are alike, polygons of a class are not: its other pixels would give it away."""
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    polygons = np.repeat(np.arange(12), 30)
    features = (rng.uniform(20, 235, (12, 8))[polygons] + rng.normal(0, 1, (360, 8))).astype(np.float32)
    samples = Samples(
        features,
        labels[polygons],
        polygons,
        rng.uniform(0, 99, (12, 2)),
        np.zeros(12, np.int64),
        np.arange(12),
        np.arange(12),
    )
    assert (fit(samples, 2).probabilities(features).argmax(axis=1) == samples.classes).mean() > 0.9
    assert cross_validate(samples, NAMES[:2]).accuracy[0] < 0.8


def test_every_polygon_counts_as_one():
    samples = samples_at(CENTRES, [0, 1, 2] * 4, pixels=[100, 1, 7] * 4, spread=4)
    quality = cross_validate(samples, NAMES)
    np.testing.assert_allclose(quality.confusion, 4 * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(quality.accuracy, [1, exact_limits(12, 12)[0], 1], atol=1e-9)
    low = exact_limits(4, 4)[0]
    np.testing.assert_allclose(quality.f1, np.repeat([[1], [2 * low / (1 + low)], [1]], 3, axis=1), atol=1e-9)
    assert quality.blocks == 0
    assert [str(message) for message in quality.warnings] == [
        "fewer than 8 polygons are labelled water, forest, town: their accuracy is known only roughly"
    ]


def twins(pairs):
    """Pairs of neighbouring polygons that look the same and like no others; classes at random."""
    rng = np.random.default_rng(3)
    looks = np.clip(rng.normal(128, 24, (pairs, 16)), 1, 255).repeat(2, axis=0)
    labels = (rng.permutation(pairs) % 2).repeat(2)
    places = rng.uniform(0, 1000, (pairs, 2)).repeat(2, axis=0)
    places[1::2] += 0.01
    none = np.zeros(2 * pairs, np.int64)
    every = np.arange(2 * pairs)
    return Samples(looks.astype(np.float32), labels, every, places, none, every, every)


@pytest.mark.parametrize("pairs", [15, 40])
def test_labels_that_share_pixels_are_left_out_together(pairs):
    apart = twins(pairs)
    places = np.random.default_rng(1).uniform(0, 1000, (2 * pairs, 2))
    together = replace(apart, groups=apart.groups // 2 * 2, places=places)
    alone = cross_validate(replace(apart, places=places), NAMES[:2])
    assert alone.accuracy[0] > 0.9, "each twin gives the other's class away"
    assert cross_validate(together, NAMES[:2]).accuracy[0] < 0.75, "classes are random"
    threshold = Applicability.of(together)
    assert (threshold.index(apart.features) <= threshold.threshold).all()
    assert (threshold.reach > 2).all()


def test_many_polygons_are_left_out_in_spatial_blocks():
    few, many = cross_validate(twins(15), NAMES[:2]), cross_validate(twins(32), NAMES[:2])
    assert (few.blocks, many.blocks) == (0, 8)
    assert many.confusion.sum() == pytest.approx(64)
    assert few.accuracy[0] > 0.9  # each twin gives the other away
    assert many.accuracy[0] < 0.7


def test_labels_in_one_place_test_nothing():
    samples = samples_at(CENTRES, [0, 1, 1, 2, 2, 2])
    samples = replace(samples, groups=np.array([0, 1, 1, 3, 4, 5]))
    quality = cross_validate(samples, NAMES)
    assert np.isnan(quality.f1[0, :2]).all()
    assert any(str(note).startswith(f"all labels of {NAMES[1]} share pixels") for note in quality.warnings)


def test_a_class_that_would_be_lost_is_not_tested():
    places = [(0, 10 * number) for number in range(40)]
    labels = [2, 2] + [0, 1] * 19
    quality = cross_validate(samples_at(CENTRES, labels, places=places), (*NAMES, "ice"))
    assert np.isnan(quality.f1[:, 2]).all()
    assert quality.confusion[2].sum() == 0
    assert quality.polygons.tolist() == [19, 19, 2, 0]
    assert [message.kind for message in quality.warnings] == ["class_without_labels", "class_in_one_block"]
    single = cross_validate(samples_at(CENTRES, [0, 1, 2, 0, 1]), NAMES)
    assert [message.kind for message in single.warnings] == ["class_labelled_once", "class_labelled_rarely"]
    assert single.warnings[0].fields["classes"] == "town"


def test_judging_can_be_stopped():
    with pytest.raises(Cancelled):
        cross_validate(samples_at(CENTRES, [0, 1, 0, 1]), NAMES, progress=lambda done, total: done < 2)


def test_places_unlike_any_label_are_told():
    samples = samples_at(CENTRES, [0, 1, 2] * 4)
    applies = Applicability.of(samples)
    like = samples_at(CENTRES, [0, 1, 2] * 10, seed=1).features
    other = samples_at(((240, 240, 20, 240),), [0] * 10, seed=2).features
    assert (applies.index(like) > applies.threshold).mean() < 0.1
    assert (applies.index(other) > applies.threshold).mean() > 0.9
    away = np.sqrt(((like[:, None] - applies.references) ** 2).sum(axis=2))
    np.testing.assert_allclose(applies.index(like), (away / applies.reach).min(axis=1), atol=1e-3)


def test_a_single_label_tells_nothing_apart():
    samples = samples_at(CENTRES, [0])
    applies = Applicability.of(samples)
    assert not (applies.index(np.full((3, 4), 255.0)) > applies.threshold).any()


def test_next_places_are_uncertain_unlike_and_apart():
    rng = np.random.default_rng(0)
    features = rng.normal(128, 30, (500, 4)).astype(np.float32)
    likely = np.tile([0.98, 0.02], (500, 1))
    likely[100:140] = [0.5, 0.5]
    index = np.full(500, 0.5)
    places = np.stack(np.divmod(np.arange(500), 25), axis=1) * 40.0
    chosen = next_places(features, likely, index, places)
    assert len(chosen) == len(set(chosen.tolist())) == 10
    assert set(chosen[:3].tolist()) <= set(range(100, 140))
    index[300] = 2.0
    likely[300] = [0.5, 0.5]
    assert next_places(features, likely, index, places)[0] == 300
    features[100:140] = features[100]  # all alike: one of them is enough at first
    second = next_places(features, likely, index, places)[:3]
    assert len(set(second.tolist()) & set(range(100, 140))) == 1
    assert len(next_places(features[:3], likely[:3], index[:3], places[:3])) == 3
    assert len(next_places(features[:0], likely[:0], index[:0], places[:0])) == 0

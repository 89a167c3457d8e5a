"""Similarity of places to examples, and the best places apart from each other."""

import numpy as np
import pytest

from export.runtime.learn.similar import APART, BestPlaces, Similarity, similarity

RNG = np.random.default_rng(0)


def test_without_counter_examples_it_is_the_cosine_with_the_mean_direction():
    features, examples = RNG.integers(1, 256, (5000, 16)).astype(np.uint8), RNG.integers(1, 256, (3, 16))
    centred, directions = features - 128.0, examples - 128.0
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    mean = directions.mean(axis=0)
    expected = centred @ mean / np.linalg.norm(mean) / np.linalg.norm(centred, axis=1)
    np.testing.assert_allclose(similarity(features, examples), np.maximum(expected, 0), atol=1e-6)


def test_an_example_scores_one_a_counter_example_zero_and_between_them_it_falls():
    one, other = np.array([[228.0, 128, 128]]), np.array([[128.0, 228, 128]])
    way = np.linspace(0, 1, 6)[:, None]
    scores = similarity(one * (1 - way) + other * way, one, other)
    assert scores[0] == pytest.approx(1)
    assert scores[-1] == pytest.approx(0, abs=1e-6)
    assert (np.diff(scores) < 0).all()
    assert similarity(np.array([[28.0, 128, 128]]), one, other)[0] == 0
    assert similarity(np.array([[200.0, 170, 128]]), one)[0] > similarity(np.array([[200.0, 170, 128]]), one, other)[0]


def test_records_of_tiles_give_the_same_as_vectors():
    record = RNG.integers(1, 256, (16, 98, 98)).astype(np.uint8)
    examples = RNG.integers(1, 256, (2, 16))
    maps = Similarity.to(examples[:1], examples[1:]).of(record)
    vectors = similarity(record.reshape(16, -1).T, examples[:1], examples[1:])
    np.testing.assert_array_equal(maps.ravel(), vectors)


def test_the_best_places_are_the_best_ones_that_are_apart():
    scores = RNG.random((64, 96)).astype(np.float32)
    scores[:5] = np.nan
    found = BestPlaces.none()
    for top in range(0, 64, 32):
        for left in range(0, 96, 32):
            found = found.joined(BestPlaces.of_tile(scores[top : top + 32, left : left + 32], 4 * top, 4 * left, 4))
    at = np.column_stack([found.rows, found.columns])
    apart = np.hypot(*(at[:, None] - at).transpose(2, 0, 1)) + 1e9 * np.eye(len(at))
    assert apart.min() >= APART
    best = np.unravel_index(np.nanargmax(scores), scores.shape)
    assert (found.rows[0], found.columns[0]) == (4 * best[0] + 1.5, 4 * best[1] + 1.5)
    assert found.scores[0] == np.nanmax(scores)
    assert (np.diff(found.scores) <= 0).all()
    rows, columns = ((axis - 1.5) / 4 for axis in (found.rows, found.columns))
    np.testing.assert_array_equal(scores[rows.astype(int), columns.astype(int)], found.scores)
    assert len(found.scores) >= 10
    assert len(found.joined(BestPlaces.none(), count=3).scores) == 3

from dataclasses import asdict

import numpy as np
import pytest

from benchmarks import coverage
from core.evaluation.classify import knn_predict, logistic
from core.evaluation.floors import colour_statistics
from core.evaluation.intervals import (
    advantage,
    few_places,
    gain_score,
    macro_f1,
    mean_score,
    prediction_scores,
    share_score,
)
from core.evaluation.words import text_table


def test_knn_takes_the_majority_of_the_nearest_by_direction():
    known = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 5.0], [0.1, 9.0], [0.0, 1.0]])
    labels = np.array([0, 0, 1, 1, 1])
    assert knn_predict((known, labels), np.array([[7.0, 0.1], [0.01, 0.2]]), k=3).tolist() == [0, 1]


def test_a_tie_goes_to_the_nearer_neighbour():
    known, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0])
    assert knn_predict((known, labels), np.array([[1.0, 0.2]]), k=2).tolist() == [1]


def test_the_interval_holds_the_accuracy_and_narrows_with_more_places():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2000)
    predicted = np.where(rng.random(2000) < 0.7, labels, (labels + 1) % 3)
    wide, narrow = (prediction_scores(predicted[:n], labels[:n])["accuracy"] for n in (100, 2000))
    assert narrow.low < narrow.value < narrow.high
    assert narrow.value == pytest.approx(0.7, abs=0.03)
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2


def test_the_advantage_is_paired():
    labels = np.zeros(200, int)
    better = np.r_[np.zeros(150), np.ones(50)].astype(int)
    worse = np.r_[np.zeros(140), np.ones(60)].astype(int)
    gain = advantage(better, worse, labels)
    assert gain.value == pytest.approx(0.05)
    assert gain.low > 0  # ten places are better, none is worse


def test_over_seeds_a_gain_counts_where_all_seeds_bear_it_out():
    rng = np.random.default_rng(0)
    steady = rng.normal(0.05, 0.1, (5, 300))
    assert gain_score(steady).low > 0
    one_lucky_seed = np.zeros((5, 300))
    one_lucky_seed[2] = 0.25  # the same mean, carried by one seed
    assert gain_score(one_lucky_seed).low < 0


def test_many_queries_and_neighbours_give_the_same_as_one_by_one():
    rng = np.random.default_rng(0)
    known, labels, queries = rng.normal(size=(300, 6)), rng.integers(0, 4, 300), rng.normal(size=(1100, 6))
    together = knn_predict((known, labels), queries)
    assert together.tolist() == [knn_predict((known, labels), query[None])[0] for query in queries]


def test_colour_statistics_pass_over_missing_pixels():
    pixels = np.array([[[[1.0, 3.0], [np.nan, 2.0]]]])
    assert colour_statistics(pixels)[0].tolist() == pytest.approx([2.0, np.sqrt(2 / 3), 1.0, 3.0])


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 5, 300), rng.integers(0, 7, 300)
    expected = f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    assert macro_f1(predicted, labels) == pytest.approx(expected)


def test_features_of_many_dimensions_give_the_same_regression_as_spelled_out(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 200))
    labels = rng.integers(0, 3, 240)
    points = centres[labels] + rng.normal(0, 6, (240, 200))
    train, val, queries = (points[:60], labels[:60]), (points[60:120], labels[60:120]), points[120:]
    monkeypatch.setattr("core.evaluation.classify.PENALTIES", (0.01,))
    plain = LogisticRegression(C=0.01, max_iter=2000).fit(*train)
    assert 0.4 < (plain.predict(queries) == labels[120:]).mean() < 1
    assert (logistic(train, val, queries).test == plain.predict(queries)).mean() > 0.98


def test_of_places_that_are_right_or_wrong_the_limits_are_exact():
    from scipy.special import betaincinv

    for right, places in [(6, 8), (381, 630)]:
        score = mean_score(np.arange(places) < right)
        exact = betaincinv(right, places - right + 1, 0.025), betaincinv(right + 1, places - right, 0.975)
        assert (score.low, score.high) == pytest.approx(exact)
    assert mean_score(np.ones(8)).low == pytest.approx(0.025 ** (1 / 8))
    assert mean_score(np.ones(8)).high == 1
    assert share_score(np.zeros(8), np.full(8, 500)).high == pytest.approx(1 - 0.025 ** (1 / 8))


def test_pixels_of_a_place_are_not_independent_and_places_weigh_by_their_pixels():
    known = np.full(40, 1000)
    spread = np.where(np.arange(40) % 2, 500, 900)
    score = share_score(spread, known)
    error = np.sqrt(0.2**2 / 39)  # of the mean of 40 places that are 0.2 off
    assert score.high - score.low == pytest.approx(2 * 2.02 * error, rel=0.3)
    unequal = share_score(spread, np.where(np.arange(40) == 0, 1000, 100) * 10)
    assert unequal.high - unequal.low > 1.3 * (score.high - score.low)
    assert share_score(np.append(spread, 0), np.append(known, 0)) == score  # a place without labels says nothing


def test_methods_that_never_differ_may_still_differ_on_other_places():
    gain = gain_score(np.zeros(8))
    assert gain.value == 0
    assert gain.low == pytest.approx(-gain.high)
    assert 0.2 < gain.high < 0.4


@pytest.mark.parametrize(("places", "share", "alike"), [(8, 0.6, 0.3), (8, 0.98, 0.3), (12, 0.9, 0.1), (30, 0.9, 0.3)])
def test_intervals_hold_the_truth_with_few_places_of_unequal_size(places, share, alike):
    assert coverage.of_shares(places, share, alike, samples=400, seed=0) >= 0.94


def test_macro_f1_and_gains_hold_the_truth_with_few_places():
    assert coverage.of_macro_f1(8, 0.9, samples=200, seed=0) >= 0.94
    assert coverage.of_gains(8, 0.3, 0.1, samples=400, seed=0) >= 0.94
    assert coverage.of_seeds(12, 0.7, samples=200, seed=0) >= 0.94


def test_fewer_than_eight_places_are_said():
    assert few_places(8) is None
    scores = prediction_scores(np.array([0, 1, 1, 0, 1]), np.array([0, 1, 1, 0, 0]))
    kinds = {name: {key: asdict(score) for key, score in scores.items()} for name in ("knn", "forest")}
    none = asdict(gain_score(np.zeros(5)))
    part = dict.fromkeys(("untrained", "trained", "colour_statistics"), kinds)
    part |= {"advantage_over_untrained": {"knn": none}, "chosen": {"trained": "knn"}, "classes": []}
    part |= {"advantage": {"untrained": none, "colour_statistics": none}}
    result = {"test_places": 5, "majority_class": 0.6, "one_date": part}
    lines = text_table(result).splitlines()
    assert lines[1].startswith("warning: 5 test places: the 95 % intervals need 8 or more")

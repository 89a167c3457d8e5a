import numpy as np
import pytest

from core.evaluation.intervals import advantage, bootstrap, macro_f1, mean_score
from core.evaluation.probe import colour_statistics, knn_predict, logistic_predict


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
    wide, narrow = bootstrap(predicted[:100], labels[:100])["accuracy"], bootstrap(predicted, labels)["accuracy"]
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
    assert mean_score(steady).low > 0
    one_lucky_seed = np.zeros((5, 300))
    one_lucky_seed[2] = 0.25  # the same mean, carried by one seed
    assert mean_score(one_lucky_seed).low == 0


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
    monkeypatch.setattr("core.evaluation.probe.PENALTIES", (0.01,))
    plain = LogisticRegression(C=0.01, max_iter=2000).fit(*train)
    assert 0.4 < (plain.predict(queries) == labels[120:]).mean() < 1
    assert (logistic_predict(train, val, queries) == plain.predict(queries)).mean() > 0.98

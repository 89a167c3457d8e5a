"""When a model's answers on two providers agree."""

from dataclasses import replace

import numpy as np
import pytest

from export.runtime.infer.timing.agreement import PLACES, Agreement, SampleAnswers
from export.runtime.model.card import ModelCard
from export.runtime.raster.legend import LandClass
from tests.models import CLASSES

CARD = ModelCard(
    "m", "segmentation", ("r",), "", (0, 255), (0.0,), tuple(LandClass(*one) for one in CLASSES), 32, 0, None, "", ""
)
RNG = np.random.default_rng(0)


def compared(task: str, one: np.ndarray, other: np.ndarray) -> Agreement:
    """Of answers (tiles, K, N)."""
    of = []
    for answers in (one, other):
        of.append(SampleAnswers(replace(CARD, task=task)))
        for answer in np.asarray(answers, np.float32):
            of[-1].add(answer)
    return of[0].compared(of[1])


def test_values_are_compared_with_their_spread_in_the_worst_band():
    values = RNG.uniform(0, 1, (4, 2, 5000)) * np.array([1.0, 1000.0])[:, None]
    shift = np.array([0.001, 15.0])[:, None]
    found = compared("regression", values, values + shift)
    assert found.apart == pytest.approx(15 / 980, rel=0.02)
    assert found.holds()
    assert not found.holds(exact=True)
    assert not compared("regression", values, values + 2 * shift).holds()
    assert compared("regression", values, values * (1 + 1e-6)).holds(exact=True)
    assert not compared("regression", values + 1000, values + 1000 + 2 * shift).holds()  # an offset is no excuse


def test_constant_values_may_not_change():
    flat = np.full((2, 1, 100), 7.0)
    assert compared("regression", flat, flat).holds(exact=True)
    assert not compared("regression", flat, flat + 0.01).holds()


@pytest.mark.parametrize("task", ["segmentation", "regression", "embedding"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_agrees_with_nothing(task, number):
    answers = RNG.uniform(0, 1, (2, 3, 2 * PLACES))
    assert compared(task, answers, answers).holds(exact=True)
    broken = answers.copy()
    broken[1, 2, 1] = number  # one place of thousands, that is not among those whose features are compared
    for one, other in ((answers, broken), (broken, answers), (broken, broken)):
        assert not compared(task, one, other).holds()


def test_features_are_compared_by_the_angle_between_them():
    features = RNG.normal(0, 1, (4, 64, 900))
    noise = RNG.normal(0, 1, features.shape)
    assert compared("embedding", features, 3 * features).holds(exact=True)
    found = compared("embedding", features, features + 0.03 * noise)
    assert 0.03**2 / 2 < found.apart < 0.03**2  # the mean, and what 99 % do not exceed
    assert found.holds()
    assert not found.holds(exact=True)
    assert not compared("embedding", features, features + 0.06 * noise).holds()
    assert not compared("embedding", features, np.zeros_like(features)).holds()
    assert compared("embedding", np.zeros_like(features), np.zeros_like(features)).holds(exact=True)


def test_fewer_tiles_are_compared_with_the_first_ones():
    values = RNG.uniform(0, 1, (4, 1, 100))
    assert compared("regression", values, values[:2]).apart == 0


def test_each_task_is_told_its_own_quantity():
    said = {
        task: str(Agreement(task, 0.99951, 0.0004).said(16)) for task in ("classification", "regression", "embedding")
    }
    assert said == {
        "classification": "99.95% of the pixels equal on 16 sample tiles, 99% of the confidences up to 0.04% apart",
        "regression": "99% of the values differ by up to 0.04% of their spread on 16 sample tiles",
        "embedding": "99% of the feature vectors have a cosine similarity of 0.99960 or more on 16 sample tiles",
    }

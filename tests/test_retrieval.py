import json

import numpy as np
import pytest
import torch

from core import train
from core.evaluation.retrieval import SCALINGS, CosineScaling, Retrieval, ranks
from core.networks.encoders import Encoder, ModelSpec
from core.networks.weights import save_model
from core.store.build import build
from core.store.read import ChipStore
from tests.conftest import call
from tests.sources import Bare, info

CPU = torch.device("cpu")


def test_a_place_is_found_where_its_own_answer_is_the_nearest():
    queries, answers = torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 0.1, 0.9], [0, 0.2, 0.8]])
    assert ranks(queries, answers).tolist() == [0, 1, 1]


def test_features_that_are_all_alike_find_nothing(store):
    plan = Retrieval.plan(store, 0)
    assert plan.recalls(np.ones((len(plan.rows), 4)), plan.rows, CPU)[1].max() == 0


def test_features_that_name_the_place_find_it_and_noise_finds_it_by_chance(store):
    plan = Retrieval.plan(store, 0)
    number = store.column("place_number")[plan.rows]
    found = plan.recalls(np.eye(number.max() + 1)[number], plan.rows, CPU)
    assert found[1].min() == 1
    noise = plan.recalls(np.random.default_rng(0).normal(size=(len(number), 8)), plan.rows, CPU)
    assert noise[1].mean() == pytest.approx(plan.chance(1), abs=0.05)
    assert noise[10].mean() == pytest.approx(plan.chance(10), abs=0.1)


def test_whitening_finds_what_a_direction_common_to_all_features_hides(store):
    plan = Retrieval.plan(store, 0)
    rng, number = np.random.default_rng(0), store.column("place_number")[plan.rows]
    place, date = rng.normal(size=(number.max() + 1, 32))[number], rng.normal(size=(len(number), 1))
    vectors = place + 20 * date  # the same in all features: the cosine sees little else
    plain, white = (plan.recalls(vectors, plan.rows, CPU, kind)[1].mean() for kind in SCALINGS)
    assert plain < 0.7
    assert white > plain + 0.2


def test_whitened_features_are_those_of_scikit_learn_where_images_are_many():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    known = rng.normal(size=(20_000, 6)) @ rng.normal(size=(6, 6)) + 3
    ours = CosineScaling.fit(known, "whitened")(known[:50])
    whole = PCA(whiten=True).fit(known / known.std(axis=0)).transform(known[:50] / known.std(axis=0))
    theirs = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=0.02)  # but for turns and flips of the axes


def test_blocks_change_nothing(store, monkeypatch):
    plan = Retrieval.plan(store, 0)
    vectors = np.random.default_rng(0).normal(size=(len(plan.rows), 8))
    whole = plan.recalls(vectors, plan.rows, CPU)
    monkeypatch.setattr("core.evaluation.retrieval._BLOCK", 7)
    assert np.array_equal(plan.recalls(vectors, plan.rows, CPU)[1], whole[1])


def test_all_places_ask_at_one_date_and_answer_at_another(store):
    plan = Retrieval.plan(store, 0)
    assert len(plan.queries) == 6  # ordered pairs of three dates
    dates, number = store.column("datetime"), store.column("place_number")
    for queries, answers in zip(plan.queries, plan.answers):
        assert (number[queries] == number[answers]).all()
        assert len(np.unique(dates[queries])) == len(np.unique(dates[answers])) == 1
        assert dates[queries][0] != dates[answers][0]


def test_places_of_unlike_numbers_of_dates_never_answer_with_the_query(store, monkeypatch):
    places = store.places.assign(count=2 + np.arange(len(store.places)) % 2)
    monkeypatch.setitem(store.__dict__, "places", places)
    plan = Retrieval.plan(store, 0)
    assert (plan.queries != plan.answers).all()
    number = store.column("place_number")
    assert (number[plan.queries] == number[plan.answers]).all()


@pytest.fixture(scope="module")
def encoder(store, tmp_path_factory):
    spec = ModelSpec.of_store(store, "resnet18")
    save_model(tmp_path_factory.mktemp("encoder") / "encoder.safetensors", spec, Encoder(spec))
    return tmp_path_factory.getbasetemp() / "encoder0" / "encoder.safetensors"


def test_a_store_without_labels_is_measured_by_retrieval_alone(world, encoder, tmp_path, capsys):
    from core.prepare import main

    call(main, "rasters", *world[0], "--size", 32, "--out", tmp_path / "s")
    assert call(train.main, "probe", "--data", tmp_path / "s", "--encoder", encoder, "--out", tmp_path / "p") == 0
    result = json.loads((tmp_path / "p" / "probe.json").read_text())
    assert set(result) == {"retrieval"}
    found = result["retrieval"]
    assert found["chance"]["recall_at_1"] == pytest.approx(1 / found["places"])
    score = found["whitened"]["trained"]["third"]["recall_at_10"]
    assert score["low"] <= score["value"] <= score["high"]
    page = (tmp_path / "p" / "report.html").read_text()
    assert "Is the encoder worth using?" in page
    assert page.count("data:image/png;base64") == 2
    printed = capsys.readouterr().out
    assert "no labels" in printed
    assert "retrieval, chance" in printed


def test_one_date_a_place_is_said_and_labels_are_still_measured(world, encoder, tmp_path, capsys):
    from core.prepare import main

    paths, labels = world
    call(main, "rasters", paths[0], "--size", 32, "--labels", labels, "--out", tmp_path / "s")
    assert call(train.main, "probe", "--data", tmp_path / "s", "--encoder", encoder, "--out", tmp_path / "p") == 0
    assert "no retrieval across dates: fewer than two test places have two dates" in capsys.readouterr().out
    result = json.loads((tmp_path / "p" / "probe.json").read_text())
    assert "one_date" in result
    assert "all_dates" not in result  # it would say the same again


def test_neither_labels_nor_dates_is_an_error(world, encoder, tmp_path, capsys):
    from core.prepare import main

    call(main, "rasters", world[0][0], "--size", 32, "--out", tmp_path / "s")
    assert call(train.main, "probe", "--data", tmp_path / "s", "--encoder", encoder) == 2
    assert "neither labels nor test places with two dates" in capsys.readouterr().err


def test_split_files_and_no_coordinates_are_enough(encoder, tmp_path):
    about = info(chip_size=32, bands=("red", "green", "blue"), dtype="uint8", unit="8-bit values, 0 to 255")
    build(Bare(about), tmp_path / "s", workers=1)
    assert np.isnan(ChipStore(tmp_path / "s").places["lon"]).all()
    assert call(train.main, "probe", "--data", tmp_path / "s", "--encoder", encoder, "--out", tmp_path / "p") == 0
    assert json.loads((tmp_path / "p" / "probe.json").read_text())["test_places"] > 0

"""The words and the picture about an encoder, from measurements whose answer is known."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from core.errors import UserError
from core.evaluation.classify import forest, logistic
from core.evaluation.floors import coordinates
from core.evaluation.intervals import gain_score, prediction_scores
from core.evaluation.probe import answers_of, floor_of, measure, predict, questions, with_location
from core.evaluation.protocol import Protocol
from core.evaluation.stages import stage_features
from core.evaluation.words import class_sentences, verdict
from core.networks.encoders import Encoder, ModelSpec, features
from core.networks.weights import save_model
from core.report.encoder_report import encoder_sections, write_encoder_report
from core.report.neighbours import QUERIES, search
from core.report.pictures import DPI, WIDTH
from core.runs import pick_device
from core.training.probe import probe


def scored(share: float) -> dict:
    labels = np.zeros(200, int)
    said = (np.arange(200) >= round(share * 200)).astype(int)
    return {name: asdict(score) for name, score in prediction_scores(said, labels).items()}


def gained(points: float) -> dict:
    return asdict(gain_score(np.resize([1.0, 0.0, 0.0, 0.0], 400) * 0.04 + points / 100))


def part(against: dict[str, float], located: dict[str, float]) -> dict:
    both = {"knn": scored(0.8), "logistic": scored(0.7), "forest_with_location": scored(0.9)}
    return {
        "trained": both,
        "untrained": both,
        "chosen": {"trained": "knn", "untrained": "knn"},
        "advantage": {name: gained(points) for name, points in against.items()},
        "advantage_with_location": {name: gained(points) for name, points in located.items()},
        "advantage_over_untrained": {},
        "classes": [],
    }


BETTER = {"untrained": 20, "colour_statistics": 10, "coordinates": 5, "colours_and_coordinates": -5}
LOCATED = {"untrained": 20, "coordinates": 10, "colours_and_coordinates": 6}


def test_an_encoder_that_beats_every_floor_is_worth_using():
    judged = verdict({"one_date": part(BETTER, LOCATED)})
    assert judged.worth == ["one_date"]
    assert judged.headline == "Worth using: better than every floor in everything that was measured."
    assert not judged.advice
    assert "80.0 % of the test places are right; better than an untrained network (+21.0 points)" in judged.sentences[0]
    assert "worse than colours and coordinates (-4.0 points)" in judged.sentences[0]


@pytest.mark.parametrize(
    ("against", "located", "advice"),
    [
        (BETTER | {"untrained": 0}, LOCATED, "has learned nothing"),
        (BETTER | {"colour_statistics": -3}, LOCATED, "fine-tune the whole encoder"),
        (BETTER, LOCATED | {"colours_and_coordinates": -3}, "--location"),
    ],
)
def test_one_floor_that_is_not_beaten_is_said_with_what_to_try(against, located, advice):
    against = {name: points - 1 for name, points in against.items()}
    judged = verdict({"one_date": part(against, located), "all_dates": part(BETTER, LOCATED)})
    assert judged.worth == ["all_dates"]
    assert judged.headline.startswith(
        "Worth using for labels from the mean of all dates; not shown to be for labels from one date"
    )
    assert any(advice in line for line in judged.advice)
    alone = verdict({"one_date": part(against, located)})
    assert alone.headline.startswith("Not shown to be worth using")


def test_lost_retrieval_names_the_stage_that_finds_more():
    stages = {"last": 0.3, "third": 0.5, "first_three": 0.4}
    white = {"trained": {stage: {"recall_at_1": {"value": value}} for stage, value in stages.items()}}
    white["advantage"] = {"untrained": {"recall_at_1": gained(-10)}, "colour_statistics": {"recall_at_1": gained(5)}}
    judged = verdict({"retrieval": {"places": 100, "whitened": white}})
    assert any("third stage: 50.0 % at the first try, the last stage 30.0 %" in line for line in judged.advice)


RUN = {"variant": "moco-geo-tp", "epochs": 20, "optimizer": "sgd", "pair_views": "independent", "season": "ignore"}
OURS = RUN | {"optimizer": "adamw", "pair_views": "shared", "season": "both"}
LOST = {name: -5 for name in BETTER}
WHITE = {"trained": {"last": {"recall_at_1": {"value": 0.3}}}, "advantage": {"untrained": {"recall_at_1": gained(-10)}}}


@pytest.mark.parametrize(
    ("pretraining", "dates", "named"),
    [
        (RUN, 2, {"--epochs, now 20", "--optimizer adamw", "--pair-views whole", "--season both"}),
        (RUN | {"variant": "moco-geo"}, 2, {"--epochs, now 20", "--optimizer adamw", "--variant moco-geo-tp"}),
        (RUN | {"variant": "moco"}, 1, {"--epochs, now 20", "--optimizer adamw", "more dates of each place"}),
        (OURS | {"ignore_weight": 0.5}, 2, {"--epochs, now 20", "--ignore-weight 0.2"}),
        (OURS | {"ignore_weight": 0.2}, 2, {"--epochs, now 20"}),
        (OURS | {"season": "keep", "ignore_weight": 0.5}, 2, {"--epochs, now 20"}),
        (None, 2, {"(--epochs)"}),
    ],
)
def test_what_to_try_are_options_that_the_run_did_not_use_and_its_dates_allow(pretraining, dates, named):
    result = {"one_date": part(LOST, LOCATED)}
    if dates == 2:
        result |= {"all_dates": part(LOST, LOCATED), "retrieval": {"places": 100, "whitened": WHITE}}
    if pretraining:
        result["pretraining"] = pretraining
    advice = " ".join(verdict(result).advice)
    every = {"--optimizer", "--pair-views", "--season", "--ignore-weight", "--variant", "more dates"}
    assert all(name in advice for name in named)
    assert {name for name in every if name in advice} == {name for name in every if any(name in one for one in named)}


def test_a_probe_tells_the_options_of_the_pretraining(store, probed, tmp_path, monkeypatch):
    monkeypatch.setattr("core.training.probe.measure", lambda *_: probed)
    spec = ModelSpec.of_store(store, "resnet18")
    for name, config in (("run", "variant: moco\nepochs: 7\nlr: 0.1"), ("other", "name: mine")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(config)
        save_model(tmp_path / name / "encoder.safetensors", spec, Encoder(spec))
    assert "pretraining" not in probe(store.path, str(tmp_path / "other" / "encoder.safetensors"))
    found = probe(store.path, str(tmp_path / "run" / "encoder.safetensors"))
    assert found.pop("pretraining") == {"variant": "moco", "epochs": 7}
    (tmp_path / "run" / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"config.yaml: is not readable as YAML"):
        probe(store.path, str(tmp_path / "run" / "encoder.safetensors"))


def test_classes_are_told_apart_or_not():
    rows = [
        {"class": "water", "f1": {"trained": 0.95}, "recall": 0.9, "taken_for": "ice", "taken": 0.1},
        {"class": "moor", "f1": {"trained": None}, "recall": 0.0, "taken_for": "heath", "taken": 0.6},
        {"class": "heath", "f1": {"trained": 0.5}, "recall": 0.5, "taken_for": "moor", "taken": 0.5},
    ]
    assert class_sentences({"one_date": {"classes": rows}}) == [
        "Separates well, by F1: water (95.0 %).",
        "Hardly: moor (0.0 %, mostly taken for heath).",
    ]


@pytest.fixture(scope="module")
def probed(store, one_thread):
    spec = ModelSpec.of_store(store, "resnet18")
    return measure(store, spec, Encoder(spec), questions(store, 0), 0, pick_device("cpu"))


def test_stages_end_with_the_features_of_the_encoder(store):
    spec, rows, device = ModelSpec.of_store(store, "resnet18"), np.arange(20), pick_device("cpu")
    encoder = Encoder(spec)
    stages = stage_features(encoder, store, rows, device)
    assert {name: part.shape[1] for name, part in stages.items()} == {"last": 512, "third": 256, "first_three": 448}
    assert np.allclose(stages["last"], features(encoder, store, rows, device), atol=1e-4)
    assert np.array_equal(stages["third"], stages["first_three"][:, -256:])


def test_floors_are_forests_on_what_they_are_named_after(store):
    protocol, rng = Protocol(store, 0), np.random.default_rng(0)
    statistics = rng.normal(size=(len(protocol.rows), 3)) + store.column("label")[protocol.rows, None]
    sides = ("train", "val", "test")
    colours = {side: protocol.vectors(statistics, side, "all_dates") for side in sides}
    where = {side: coordinates(protocol.lonlat(side)) for side in sides}
    both = {side: np.hstack([colours[side], where[side]]) for side in sides}
    for table, given, located in ((colours, statistics, False), (where, None, True), (both, statistics, True)):
        known, unknown = ((table[side], protocol.labels(side)) for side in ("train", "val"))
        expected = forest(known, unknown, table["test"], 0).test
        assert np.array_equal(floor_of(given, protocol, "all_dates", 0, located=located).test, expected)


def test_encoders_answered_side_by_side_say_what_each_says_alone(store):
    protocol, rng = Protocol(store, 0), np.random.default_rng(0)
    labels = store.column("label")[protocol.rows, None]
    stages = {
        name: rng.normal(size=(len(labels), 8)) + labels * weight
        for name, weight in (("untrained", 0.2), ("trained", 1.0))
    }
    vectors = {name: {"last": part, "third": part[:, :4]} for name, part in stages.items()}
    said = answers_of(vectors | {"colour_statistics": {"last": labels}}, protocol, "all_dates", 0)
    for name, part in stages.items():
        alone = predict(part, protocol, "all_dates") | {
            "forest_with_location": with_location(part, protocol, "all_dates", 0)
        }
        alone["knn_third_stage"] = predict(part[:, :4], protocol, "all_dates")["knn"]
        assert said[name].keys() == alone.keys()
        for kind, answer in alone.items():
            assert np.array_equal(said[name][kind].test, answer.test)
            assert said[name][kind].validated == answer.validated


def test_location_beside_features_tells_what_only_the_location_knows(store, monkeypatch):
    protocol = Protocol(store, 0)
    east = {side: (protocol.lonlat(side)[:, 0] > np.median(store.places["lon"])).astype(int) for side in protocol.sides}
    monkeypatch.setattr(protocol, "labels", lambda side: east[side])
    noise = np.random.default_rng(0).normal(size=(len(protocol.rows), 4))
    assert (with_location(noise, protocol, "one_date", 0).test == east["test"]).mean() > 0.85


def test_warm_starts_in_single_precision_give_the_same_answers_as_each_fit_alone(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    points = rng.normal(size=(4, 30))[labels] + rng.normal(0, 2, (600, 30))
    train, val, queries = (points[:300], labels[:300]), (points[300:400], labels[300:400]), points[400:]
    fits = [LogisticRegression(C=penalty, max_iter=2000).fit(*train) for penalty in (0.0001, 0.001, 0.01, 0.1)]
    best = max(fits, key=lambda fit: fit.score(*val))
    answer = logistic(train, val, queries)
    assert answer.validated == pytest.approx(best.score(*val), abs=0.02)
    assert (answer.test == best.predict(queries)).mean() > 0.97


def test_queries_are_of_all_classes_and_their_own_place_is_found_at_another_date(store, probed):
    found = search(store, probed)
    place = store.column("place_number")
    assert len(found.queries) == QUERIES
    assert len(set(store.column("label")[found.queries])) == 3
    assert (place[found.own] == place[found.queries]).all()
    assert (found.own != found.queries).all()
    for name, nearest in found.found.items():
        at_first = place[nearest[:, 0]] == place[found.queries]
        assert np.array_equal(at_first, found.ranks[name] == 1)


def test_the_report_holds_verdict_picture_and_classes(store, probed, tmp_path):
    (tmp_path / "probe.json").write_text(json.dumps(probed.result))
    page = write_encoder_report(tmp_path, store, probed).read_text()
    assert verdict(probed.result).headline in page
    assert "Classes that it separates" in page
    with Image.open(tmp_path / "neighbours.png") as picture:
        assert picture.width == round(WIDTH * DPI)
    assert all(part in page for part in encoder_sections(tmp_path, store)[:2])

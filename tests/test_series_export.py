"""From the weights of a network that reads series to its ONNX files: what they say, answer and refuse."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from core.networks.encoders import Encoder, ModelSpec
from core.networks.heads import build
from core.networks.series import DatePooling, DateWeights
from core.networks.weights import load_model, save_model
from export import fit, predict, to_onnx
from export.model_files.series import real_series
from export.runtime.model.session import Model
from tests.conftest import call
from tests.deepness import in_deepness, in_its_onnxruntime
from tests.stac_schemas import check_model_item

pytestmark = pytest.mark.usefixtures("one_thread")

TILE = 64
KINDS = [("segmentation", False), ("segmentation", True), ("classification", True), ("classification", False)]


def weights(store, folder, task="segmentation", location=False, dates=3, **more):
    """A network that has not learnt anything, whose attention is far from even."""
    torch.manual_seed(0)
    spec = replace(ModelSpec.of_store(store, "resnet18"), task=task, classes=store.info.classes, dates=dates, **more)
    spec = replace(spec, location=location)
    network = build(spec)
    for part in network.modules():
        if isinstance(part, DateWeights):
            torch.nn.init.normal_(part.queries.weight, std=1.0)
        if isinstance(part, DatePooling) and part.day is not None:
            torch.nn.init.normal_(part.day.weight, std=0.5)
    path = folder / "model.safetensors"
    save_model(path, spec, network)
    return path


def probabilities(network, *inputs):
    with torch.inference_mode():
        return network.eval()(*map(torch.from_numpy, inputs)).softmax(dim=1)[0].numpy()


def gaps(inputs):
    """The same series with holes, and something wild in them."""
    pixels, valid, *others = inputs
    valid = valid & (np.random.default_rng(1).random((len(valid), 8, 8)) < 0.7).repeat(TILE // 8, 1).repeat(
        TILE // 8, 2
    )
    return (np.where(valid[:, None], pixels, 1e6).astype(np.float32), valid, *others)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}{'-location' * kind[1]}")
def exported(request, store, tmp_path_factory):
    """The task, whether with location, the weights and the file made of them."""
    task, location = request.param
    folder = tmp_path_factory.mktemp("series")
    source, out = weights(store, folder, task, location), folder / "series.onnx"
    assert call(to_onnx.main, source, "--data", store.path, "--tile-size", TILE, "--out", out) == 0
    return task, location, source, out


@pytest.mark.parametrize("dates", [1, 2, 3])
def test_the_file_answers_as_the_network(store, exported, dates):
    task, location, source, out = exported
    spec, network = load_model(source)
    model = Model(out)
    assert (model.card.dates, model.card.location, model.card.task) == (3, location, task)
    inputs = real_series(store, spec, TILE)[dates - 1]
    assert len(inputs[0]) == len(inputs[2]) == dates
    for given in (inputs, gaps(inputs)):
        pixels, valid, days, *place = given
        answer = model.run_series(pixels, valid, days, np.stack(place) if place else None)
        np.testing.assert_allclose(answer, probabilities(network, *given), atol=1e-4)
    if dates > 1:  # so the days count
        assert not np.allclose(
            model.run_series(pixels, valid, days[::-1] + 50, np.stack(place) if place else None), answer
        )


def test_the_card_describes_every_input(exported):
    task, location, _, out = exported
    item = json.loads(out.with_suffix(".mlm.json").read_text())
    check_model_item(item)
    inputs = {one["name"]: one["input"] for one in item["properties"]["mlm:input"]}
    graph = onnx.load(out)
    assert (graph.opset_import[0].version, graph.ir_version) == (17, 8)
    assert [*inputs] == [one.name for one in graph.graph.input]
    assert [*inputs] == ["pixels", "valid", "day_of_year", *(["longitude", "latitude"] if location else [])]
    assert inputs["pixels"] == {
        "shape": [-1, 3, TILE, TILE], "dim_order": ["time", "bands", "height", "width"], "data_type": "float32",
    }  # fmt: skip
    assert inputs["valid"]["dim_order"] == ["time", "height", "width"]
    (result,) = (one["result"] for one in item["properties"]["mlm:output"])
    assert result["shape"] == ([1, 3, TILE, TILE] if task == "segmentation" else [1, 3])
    settings = item["properties"]["mlm:hyperparameters"]
    assert (settings["dates"], settings["temporal"], settings["location"]) == (3, "attention", location)
    # Deepness would feed one image
    assert {one.key for one in graph.metadata_props} == {"mlm"}


def test_the_file_runs_in_the_oldest_onnxruntime_in_use(store, exported, tmp_path):
    _, location, source, out = exported
    pixels, valid, days, *place = inputs = gaps(real_series(store, load_model(source)[0], TILE)[-1])
    names = ["pixels", "valid", "day_of_year", "longitude", "latitude"]
    answer = in_its_onnxruntime(out, dict(zip(names, inputs)), tmp_path)[0]
    ours = Model(out).run_series(pixels, valid, days, np.stack(place) if location else None)
    np.testing.assert_allclose(answer, ours, atol=1e-4)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("temporal", ["attention", "mean"])
def test_the_same_weights_make_a_model_of_one_date(store, task, temporal, tmp_path):
    source, out, one = weights(store, tmp_path, task, temporal=temporal), tmp_path / "m.onnx", tmp_path / "one.onnx"
    arguments = (source, "--data", store.path, "--tile-size", TILE, "--out", out, "--single-date", one)
    assert call(to_onnx.main, *arguments, "--day-of-year", 40, "--name", "Land") == 0
    item = json.loads(one.with_suffix(".mlm.json").read_text())
    check_model_item(item)
    spec, network = load_model(source)
    pixels, valid, _ = real_series(store, spec, TILE)[0]
    model = Model(one)
    assert (model.card.dates, model.card.name) == (0, "Land, one date")
    assert "one date of a model that reads a series of dates, for the day 40 of the year" in model.card.description
    expected = probabilities(network, pixels, np.ones_like(valid), np.array([40.0], np.float32))
    np.testing.assert_allclose(model.run(pixels)[0], expected, atol=1e-4)
    assert model.run(np.concatenate([pixels] * 2)).shape[0] == 2
    keys, answer = in_deepness(one, pixels[0])
    assert keys["model_type"] == ("Segmentor" if task == "segmentation" else "Recognition")
    np.testing.assert_allclose(answer, expected.argmax(axis=0) if task == "segmentation" else expected, atol=1e-4)


def test_without_a_day_it_is_made_for_the_middle_of_the_year(store, tmp_path):
    source, one = weights(store, tmp_path), tmp_path / "one.onnx"
    call(
        to_onnx.main,
        source,
        "--data",
        store.path,
        "--tile-size",
        TILE,
        "--out",
        tmp_path / "m.onnx",
        "--single-date",
        one,
    )
    assert "for the day 183 of the year" in Model(one).card.description


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        (["--int8"], {}, "--int8: not supported for models that read a series of dates; export in fp32"),
        (["--dense"], {}, "is a segmentation model; only an encoder has a feature map"),
        (["--single-date", "one.onnx"], {"location": True}, "takes the longitude and latitude of each pixel"),
        (["--single-date", "one.onnx"], {"dates": 0}, "is a model of one date already"),
        (["--single-date", "one.tif"], {}, "--single-date one.tif: must end in .onnx"),
        (["--single-date", "m.onnx"], {}, "is --out too"),
        (["--day-of-year", 3], {}, "--day-of-year requires --single-date"),
        (["--single-date", "one.onnx", "--day-of-year", 0], {}, "must be 1 to 366"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    store, tmp_path, monkeypatch, capsys, options, more, said
):
    source = weights(store, tmp_path, **more)
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.iterdir()}
    assert call(to_onnx.main, source, "--data", store.path, "--tile-size", TILE, "--out", "m.onnx", *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert {*tmp_path.iterdir()} == before


def test_its_encoder_is_exported_as_any_other(store, tmp_path):
    source, out = weights(store, tmp_path, location=True), tmp_path / "encoder.onnx"
    assert call(to_onnx.main, source, "--task", "embedding", "--data", store.path, "--out", out) == 0
    model, encoder = Model(out), load_model(source)[1].encoder
    assert isinstance(encoder, Encoder)
    assert (model.card.task, model.card.dates) == ("embedding", 0)
    tiles = store.pixels(np.arange(2))
    with torch.inference_mode():
        np.testing.assert_allclose(model.run(tiles), encoder.eval()(torch.from_numpy(tiles)).numpy(), atol=1e-3)


def test_what_maps_a_single_raster_refuses_a_model_of_a_series(world, exported, tmp_path, capsys):
    task, _, _, out = exported
    (raster, *_), _ = world
    assert call(predict.main, out, raster, "--out", tmp_path / "map") == 2
    error = capsys.readouterr().err
    assert "series" in error or "dates" in error
    assert error.count("\n") == 1
    labels = tmp_path / "labels.geojson"
    square = [[[0, 0], [400, 0], [400, -400], [0, -400], [0, 0]]]
    features = [
        {"type": "Feature", "properties": {"class": name}, "geometry": {"type": "Polygon", "coordinates": square}}
        for name in "ab"
    ]
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert (
        call(fit.main, raster, "--labels", labels, "--field", "class", "--encoder", out, "--out", tmp_path / "f.onnx")
        == 2
    )
    error = capsys.readouterr().err
    assert f"is a {task} model" in error
    assert not (tmp_path / "f.onnx").exists()
    assert not [*tmp_path.rglob("*.tif")]

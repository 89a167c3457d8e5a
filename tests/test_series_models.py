"""Models that read a series of dates: which files are taken, and what they answer."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.runtime.errors import ModelFault
from export.runtime.model.session import Model
from tests.models import card_item, series_answer, series_item, write_given, write_series, write_strongest_band

TILE = 16


def series_of(dates: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Raw pixels, valid, days of the year, and longitude and latitude, with gaps and something in each gap."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (dates, 3, TILE, TILE)).astype(np.uint8)
    valid = rng.random((dates, TILE, TILE)) < 0.6
    valid[:, 3, 4] = False
    lonlat = np.stack(np.meshgrid(np.linspace(10, 11, TILE), np.linspace(48, 47, TILE)))
    return pixels, valid, rng.permutation(360)[:dates] + 1.0, lonlat


@pytest.mark.parametrize("location", [False, True])
@pytest.mark.parametrize("task", ["semantic-segmentation", "scene-classification"])
@pytest.mark.parametrize("dates", [1, 2, 7])
def test_any_number_of_dates_is_answered(tmp_path, location, task, dates):
    model = Model(write_series(tmp_path / "m.onnx", location, tile_size=TILE, task=task, overlap=4, dates=5))
    once = task == "scene-classification"
    assert (model.card.dates, model.card.location, model.dense, model.channels) == (5, location, not once, 3)
    pixels, valid, days, lonlat = series_of(dates)
    answer = model.run_series(pixels, valid, days, lonlat if location else None)
    expected = series_answer(pixels, valid, days, lonlat if location else None, once)
    assert answer.dtype == np.float32
    seen = valid.any(axis=0)
    np.testing.assert_allclose(answer if once else answer[:, seen], expected if once else expected[:, seen], atol=1e-5)


def test_what_lies_in_gaps_does_not_matter(tmp_path):
    model = Model(write_series(tmp_path / "m.onnx", tile_size=TILE))
    pixels, valid, days, _ = series_of(4)
    holed = np.where(valid[:, None], pixels, np.float32(np.nan))
    np.testing.assert_array_equal(model.run_series(pixels, valid, days), model.run_series(holed, valid, days))


def test_locations_are_asked_for_and_else_ignored(tmp_path):
    pixels, valid, days, lonlat = series_of(2)
    without = Model(write_series(tmp_path / "without.onnx", tile_size=TILE))
    answers = [without.run_series(pixels, valid, days, where) for where in (None, lonlat)]
    np.testing.assert_array_equal(*answers)
    model = Model(write_series(tmp_path / "with.onnx", True, tile_size=TILE))
    with pytest.raises(ModelFault, match=r"with\.onnx: the model 'tiny colours' also needs the longitude and latitude"):
        model.run_series(pixels, valid, days)


def test_a_single_date_and_a_series_are_not_taken_for_each_other(tmp_path):
    pixels, valid, days, _ = series_of(2)
    series = Model(write_series(tmp_path / "series.onnx", tile_size=TILE))
    single = Model(write_strongest_band(tmp_path / "single.onnx", tile_size=TILE))
    for run in (series.run, series.outputs):
        with pytest.raises(ModelFault, match=r"series\.onnx: the model 'tiny colours' reads a series of dates"):
            run(pixels)
    with pytest.raises(ModelFault, match=r"single\.onnx: the model 'tiny colours' reads a single date, not a series"):
        single.run_series(pixels, valid, days)


def test_threads_shrink_with_the_dates_that_memory_must_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("export.runtime.model.session.cores", lambda: 64)
    monkeypatch.setattr("export.runtime.model.session.free_memory", lambda: 2 * TILE**2 * (1024 + 256 * 12) * 20)
    model = Model(write_series(tmp_path / "m.onnx", tile_size=TILE, dates=12))
    assert (model.threads, model.for_dates(12).threads, model.for_dates(100).threads) == (20, 20, 3)
    assert model.for_dates(10**6).threads == 1
    assert model.for_dates(1).threads == 64
    asked = Model(write_series(tmp_path / "m.onnx", tile_size=TILE), threads=7)
    assert (asked.threads, asked.for_dates(10**6).threads) == (7, 7)
    single = Model(write_strongest_band(tmp_path / "single.onnx"))
    assert single.for_dates(9) is single


def test_an_output_that_states_no_shape_is_tried_with_a_series(tmp_path):
    path = write_series(tmp_path / "m.onnx", True, tile_size=TILE)
    graph = onnx.load(path)
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None))
    onnx.save(graph, path)
    assert Model(path).channels == 3


def changed(path, change):
    graph = onnx.load(path)
    change({one.name: one for one in graph.graph.input}, graph.graph)
    onnx.save(graph, path)


def fixed_dates(inputs, graph):
    for name in ("pixels", "valid", "day_of_year"):
        inputs[name].type.tensor_type.shape.dim[0].dim_value = 4


def integer_days(inputs, graph):
    inputs["day_of_year"].type.tensor_type.elem_type = TensorProto.INT64


def longitude_alone(inputs, graph):
    graph.input.remove(inputs["latitude"])


def oblong(inputs, graph):
    inputs["valid"].type.tensor_type.shape.dim[2].dim_value = 8


def free_tiles(inputs, graph):
    for name in ("pixels", "valid"):
        for dim in inputs[name].type.tensor_type.shape.dim[-2:]:
            dim.dim_param = "side"


def one_more(inputs, graph):
    graph.input.append(helper.make_tensor_value_info("clouds", TensorProto.FLOAT, ["dates"]))


@pytest.mark.parametrize("change", [fixed_dates, integer_days, longitude_alone, oblong, free_tiles, one_more])
def test_other_inputs_than_those_of_a_series_are_refused_in_one_sentence(tmp_path, change):
    path = write_series(tmp_path / "m.onnx", True, tile_size=TILE)
    changed(path, change)
    sentence = "needs exactly one image input" if change is one_more else "must take pixels .*found pixels"
    with pytest.raises(ModelFault, match=sentence) as caught:
        Model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("item", "location", "said"),
    [
        (card_item(tile_size=TILE), False, "dates: 0 and location: false"),
        (series_item(tile_size=TILE), True, "dates: 12 and location: false"),
        (series_item(tile_size=TILE, location=True), False, "dates: 12 and location: true"),
    ],
)
def test_a_card_that_tells_another_kind_of_model_is_refused(tmp_path, item, location, said):
    path = write_series(tmp_path / "m.onnx", location, item)
    with pytest.raises(ModelFault, match=f"its inputs are pixels, valid, day_of_year.* does not fit {said}"):
        Model(path)


def test_a_single_date_that_calls_itself_a_series_is_refused(tmp_path):
    path = write_strongest_band(tmp_path / "m.onnx", tile_size=TILE)
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"mlm": json.dumps(series_item(tile_size=TILE))})
    onnx.save(graph, path)
    with pytest.raises(ModelFault, match="its inputs are image, which does not fit dates: 12"):
        Model(path)


@pytest.mark.parametrize(
    "card", [{"dates": -1}, {"dates": 10**9}, {"location": True}, {"dates": 3, "task": "regression"}]
)
def test_a_given_card_of_impossible_dates_is_refused(tmp_path, card):
    path = write_given(write_series(tmp_path / "m.onnx", tile_size=TILE), **card)
    with pytest.raises(ModelFault, match="dates must be 0 to 1000, and go with segmentation or classification only"):
        Model(path)


def test_a_series_can_be_described_by_a_card_beside_it(tmp_path):
    path = write_series(tmp_path / "m.onnx", True, tile_size=TILE)
    write_given(path, dates=4, location=True, tile_size=TILE, overlap=4)
    model = Model(path)
    assert (model.card.source, model.card.dates, model.card.location) == ("given", 4, True)
    series = series_of(3)
    seen = series[1].any(axis=0)
    np.testing.assert_allclose(model.run_series(*series)[:, seen], series_answer(*series)[:, seen], atol=1e-5)

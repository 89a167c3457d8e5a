"""The season curve of a place, against numpy and onnxruntime by themselves."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import rasterio
from onnx import TensorProto
from rasterio.transform import from_origin

from export.rasterio_io.pixels import RasterPixels
from export.runtime.curve import AnswerCurve, BandCurve, Curve, DateReading, PlaceTable, SeriesCurve, similarity
from export.runtime.errors import Cancelled, InputFault, RuntimeFault
from export.runtime.infer.inputs.series import Dated, Series
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Options
from export.runtime.infer.sweep import Sweep
from export.runtime.messages import Message
from export.runtime.model.session import Model
from tests.models import card_item, series_answer, write_graph, write_model, write_series, write_strongest_band

WEST, NORTH, PIXEL = 500_000.0, 5_000_000.0, 10.0
DAYS = [date(2024, month, 15) for month in (1, 4, 7, 10)]


def write(path: Path, pixels: np.ndarray, names: tuple = ("red", "green", "blue"), **changes) -> Path:
    options = {
        "photometric": "minisblack",
        "crs": "EPSG:32633",
        "transform": from_origin(WEST, NORTH, PIXEL, PIXEL),
        "nodata": 0,
    } | changes
    scales, offsets, tags = (options.pop(key, None) for key in ("scales", "offsets", "tags"))
    bands, rows, columns = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=rows, width=columns, dtype=pixels.dtype, **options
    ) as out:
        out.write(pixels)
        out.descriptions = names
        if scales:
            out.scales, out.offsets = scales, offsets
        if tags:
            out.update_tags(**tags)
    return path


def opened(paths: list[Path]) -> list[RasterPixels]:
    return [RasterPixels(path) for path in paths]


def middle(row: int, column: int) -> tuple[float, float]:
    return WEST + (column + 0.5) * PIXEL, NORTH - (row + 0.5) * PIXEL


def scenes(count: int = 4, shape: tuple = (3, 70, 90), seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 255, shape).astype(np.uint8) for _ in range(count)]


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    return [write(tmp_path / f"scene{n}.tif", pixels) for n, pixels in enumerate(scenes())]


def test_values_are_those_of_the_pixel_and_gaps_say_why(paths, tmp_path):
    pixels = scenes()
    pixels[1][:, 20, 30] = 0
    write(paths[1], pixels[1])
    write(paths[2], pixels[2], transform=from_origin(WEST + 10_000, NORTH, PIXEL, PIXEL))
    curve = BandCurve(DAYS, opened(paths))
    found = list(curve.at([middle(20, 30)] * 4))
    assert curve.curve.lines == ("red", "green", "blue")
    assert [one.day for one in found] == DAYS
    for at in (0, 3):
        np.testing.assert_array_equal(found[at].values, pixels[at][:, 20, 30])
    assert [one.gap and one.gap.kind for one in found] == [None, "no_data", "place_outside", None]
    assert [one.gap and one.gap.kind for one in curve.at([None] * 4)] == ["place_outside"] * 4
    for x, y in ((WEST - 0.01, NORTH - 5), (WEST + 900.01, NORTH - 5), (np.inf, NORTH - 5), (np.nan, np.nan)):
        assert {one.gap.kind for one in curve.at([(x, y)] * 4)} == {"place_outside"}


def test_dates_come_in_order_and_of_two_tiles_of_a_day_the_one_with_data_tells(paths):
    days = [date(2024, 5, 1), date(2024, 3, 1), date(2024, 5, 1), date(2024, 4, 1)]
    places = [None, middle(5, 6), middle(5, 6), middle(5, 6)]
    found = list(BandCurve(days, opened(paths)).at(places))
    assert [(one.day.month, one.raster) for one in found] == [(3, 1), (4, 3), (5, 2)]
    np.testing.assert_array_equal(found[2].values, scenes()[2][:, 5, 6])


def test_bands_in_another_order_are_found_by_name_and_a_raster_without_them_is_a_gap(tmp_path):
    one, two = scenes(2)
    three = scenes(1, (2, 70, 90), 9)[0]
    paths = [
        write(tmp_path / "a.tif", one),
        write(tmp_path / "b.tif", two[::-1], ("blue", "green", "red")),
        write(tmp_path / "c.tif", three, ("red", "green")),
    ]
    found = list(BandCurve(DAYS[:3], opened(paths)).at([middle(9, 9)] * 3))
    np.testing.assert_array_equal(found[1].values, two[:, 9, 9])
    assert found[2].values is None
    assert "c.tif" in str(found[2].gap)


def test_scale_and_offset_of_the_file_are_applied(tmp_path):
    pixels = scenes(1, (3, 20, 20))[0].astype(np.uint16) * 100
    path = write(tmp_path / "lst.tif", pixels, scales=(0.02, 1.0, 0.5), offsets=(-3.0, 0.0, 1.0))
    (found,) = BandCurve(DAYS[:1], opened([path])).at([middle(4, 7)])
    np.testing.assert_allclose(found.values, pixels[:, 4, 7] * [0.02, 1, 0.5] + [-3, 0, 1], rtol=1e-6)


def test_sentinel2_before_and_after_its_offset_is_one_curve(tmp_path):
    truth = np.full((3, 20, 20), 1500, np.uint16)
    paths = [
        write(tmp_path / "before.tif", truth, ("B04", "B03", "B02"), tags={"PROCESSING_BASELINE": "03.01"}),
        write(tmp_path / "after.tif", truth + 1000, ("B04", "B03", "B02"), tags={"PROCESSING_BASELINE": "04.00"}),
    ]
    curve = BandCurve(DAYS[:2], opened(paths))
    assert curve.curve.unit == "reflectance x 10000"
    assert [note.kind for note in curve.notes()] == ["offset_of_baseline"]
    assert [one.values.tolist() for one in curve.at([middle(3, 3)] * 2)] == [[1500.0] * 3] * 2


def test_unnamed_bands_are_numbered_and_another_pixel_size_is_read_on_its_own_grid(tmp_path):
    coarse = scenes(1, (3, 35, 45), 3)[0]
    paths = [
        write(tmp_path / "a.tif", scenes(1)[0], (None,) * 3),
        write(tmp_path / "b.tif", coarse, (None,) * 3, transform=from_origin(WEST, NORTH, 20, 20)),
    ]
    curve = BandCurve(DAYS[:2], opened(paths))
    assert curve.curve.lines == ("band 1", "band 2", "band 3")
    np.testing.assert_array_equal(list(curve.at([middle(13, 31)] * 2))[1].values, coarse[:, 6, 15])


@pytest.mark.parametrize("place", [(40, 45), (0, 0), (69, 89)])
def test_probabilities_are_those_of_the_map_and_of_onnxruntime(tmp_path, paths, place):
    kernel = np.random.default_rng(1).normal(0, 0.01, (3, 3, 5, 5))
    path = write_model(tmp_path / "m.onnx", kernel, card_item(tile_size=32, overlap=16))
    model = Model(path, "cpu", threads=1)
    curve = AnswerCurve(model, DAYS, opened(paths))
    found = list(curve.at([middle(*place)] * 4))
    assert (curve.curve.lines, curve.curve.colors) == (
        ("red land", "green land", "blue water"),
        ("C03020", "30A040", "2040C0"),
    )
    for at, pixels in enumerate(opened(paths)):
        rows = list(Job(model, pixels, Options(run=Sweep(probabilities=True))).rows(lambda done, total: True))
        whole = np.concatenate([part.values for part in rows], axis=1)
        np.testing.assert_array_equal(found[at].values, whole[:, place[0], place[1]])
    if place == (40, 45):  # a tile around the place sees all that the network sees
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        tile = scenes()[2][None, :, 24:56, 29:61].astype(np.float32)
        (answer,) = session.run(None, {"image": tile})
        np.testing.assert_allclose(found[2].values, answer[0, :, 16, 16], atol=1e-6)


def test_a_model_of_larger_pixels_answers_as_in_its_map(tmp_path, paths):
    model = Model(write_strongest_band(tmp_path / "m.onnx", gsd=20.0), "cpu", threads=1)
    curve = AnswerCurve(model, DAYS[:1], opened(paths[:1]))
    found = list(curve.at([middle(33, 71)]))
    assert [note.kind for note in curve.notes()] == ["resampled"]
    rows = Job(model, opened(paths)[0], Options(run=Sweep(probabilities=True))).rows(lambda done, total: True)
    whole = np.concatenate([part.values for part in rows], axis=1)
    np.testing.assert_array_equal(found[0].values, whole[:, 33, 71])


def encoder(path: Path, dense: bool = True) -> Model:
    """Eight features: of each 4 x 4 px, or of a whole tile."""
    rng = np.random.default_rng(4)
    weights = {"kernel": rng.normal(0, 0.05, (8, 3, 4, 4)).astype(np.float32)}
    nodes = [("Conv", ["image", "kernel"], ["map"], {"strides": [4, 4]})]
    shape = ["batch", 8, 8, 8]
    if not dense:
        nodes += [("GlobalAveragePool", ["map"], ["mean"], {}), ("Flatten", ["mean"], ["flat"], {})]
        shape = ["batch", 8]
    card = card_item(task="similarity-search", classes=(), overlap=0)
    output = {("map" if dense else "flat"): (TensorProto.FLOAT, shape)}
    write_graph(path, nodes, output, weights, metadata={"mlm": json.dumps(card)})
    return Model(path, "cpu", threads=1)


@pytest.mark.parametrize("dense", [True, False])
def test_similarity_is_the_cosine_to_the_mean_direction(tmp_path, paths, dense):
    model = encoder(tmp_path / "encoder.onnx", dense)
    curve = AnswerCurve(model, DAYS, opened(paths))
    found = Curve(curve.curve.kind, curve.curve.lines, readings=tuple(curve.at([middle(10, 21)] * 4)))
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"])
    vectors = []
    for pixels in scenes():
        (answer,) = session.run(None, {"image": pixels[None, :, :32, :32].astype(np.float32)})
        vectors.append(answer[0, :, 2, 5] if dense else answer[0])
    units = np.array(vectors, np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    mean = units.mean(axis=0)
    np.testing.assert_allclose(found.numbers[:, 0], units @ mean / np.linalg.norm(mean), atol=1e-6)


def test_similarity_without_direction_is_no_error():
    found = similarity([np.array([1.0, 0]), None, np.zeros(2), np.array([-2.0, 0])])
    assert np.isnan(found[[1, 2]]).all()
    assert found[[0, 3]].tolist() == [0, 0]
    assert np.isnan(similarity([None, None])).all()


def test_a_raster_that_cannot_be_read_is_named_and_the_others_are_there(tmp_path, paths):
    broken = InputFault("not_readable", where="gone.tif", reason="no such file")
    rasters = [opened(paths)[0], broken]
    model = Model(write_strongest_band(tmp_path / "m.onnx"), "cpu", threads=1)
    for curve in (BandCurve(DAYS[:2], rasters), AnswerCurve(model, DAYS[:2], rasters)):
        first, second = curve.at([middle(5, 5)] * 2)
        assert first.values is not None
        assert str(second.gap) == "gone.tif: cannot be read (no such file)"
    with pytest.raises(InputFault, match=r"gone\.tif"):
        BandCurve(DAYS[:1], [broken])
    with pytest.raises(RuntimeFault, match="no rasters with dates"):
        BandCurve([], [])


def test_a_raster_that_does_not_fit_the_model_is_a_gap(tmp_path, paths):
    few = write(tmp_path / "few.tif", scenes(1, (2, 40, 40))[0], ("red", "green"))
    model = Model(write_strongest_band(tmp_path / "m.onnx"), "cpu", threads=1)
    first, second = AnswerCurve(model, DAYS[:2], opened([paths[0], few])).at([middle(5, 5)] * 2)
    assert first.values is not None
    assert "few.tif" in str(second.gap)


def test_it_can_be_cancelled_between_two_dates(paths):
    seen = []
    readings = BandCurve(DAYS, opened(paths)).at([middle(1, 1)] * 4, lambda: len(seen) < 2)
    with pytest.raises(Cancelled):
        seen.extend(iter_into(seen, readings))


def iter_into(seen: list, readings):
    for one in readings:
        seen.append(one)
    return []


def test_csv_has_a_row_for_each_date(paths):
    readings = (
        DateReading(DAYS[0], 0, np.array([1.5, 2.0])),
        DateReading(DAYS[1], 1, None, Message("no_data").about("cloudy, half.tif")),
    )
    values = Curve("value", ("red", "nir"), readings=readings)
    said = Curve("probability", ("maïs",), readings=(DateReading(DAYS[0], 0, np.array([0.25])), readings[1]))
    text = PlaceTable(12.5, -3.25, "EPSG:4326", ["a.tif", "cloudy, half.tif"], [values, said]).csv_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["date", "x", "y", "crs", "layer", "value red", "value nir", "probability maïs", "gap"]
    assert list(rows[0].values()) == ["2024-01-15", "12.5", "-3.25", "EPSG:4326", "a.tif", "1.5", "2", "0.25", ""]
    assert list(rows[1].values())[4:] == ["cloudy, half.tif", "", "", "", "cloudy, half.tif: holds no data there"]


def test_models_of_objects_have_no_curve(tmp_path, paths):
    model = Model(write_strongest_band(tmp_path / "m.onnx"), "cpu", threads=1)
    model.card = replace(model.card, task="detection")
    with pytest.raises(InputFault, match="finds objects"):
        AnswerCurve(model, DAYS, opened(paths))


def test_a_model_of_series_says_what_it_knows_with_all_dates_up_to_each(tmp_path, paths):
    pixels = scenes()
    pixels[2][:, 33, 41] = 0
    write(paths[2], pixels[2])
    model = Model(write_series(tmp_path / "series.onnx"), "cpu", threads=1)
    broken = InputFault("not_readable", where="gone.tif", reason="no such file")
    order = [2, 0, 3, 1]  # as they come
    days = [*(DAYS[at] for at in order), date(2024, 12, 1), date(2023, 12, 1)]
    rasters = [*opened([paths[at] for at in order]), broken, broken]
    curve = SeriesCurve(model, days, rasters)
    found = list(curve.at([middle(33, 41)] * 6))
    assert [one.day for one in found] == [date(2023, 12, 1), *DAYS, date(2024, 12, 1)]
    stack = np.stack([one[:, 33, 41] for one in pixels])[..., None, None]
    valid = np.array([True, True, False, True])[:, None, None]
    numbers = np.array([day.timetuple().tm_yday for day in DAYS])
    for at in range(4):
        expected = series_answer(stack[: at + 1], valid[: at + 1], numbers[: at + 1])
        np.testing.assert_allclose(found[at + 1].values, expected[:, 0, 0], atol=1e-5)
    assert [one.gap and one.gap.kind for one in found] == ["not_readable", None, None, "no_data", None, "not_readable"]
    assert found[0].values is None
    series = Series([Dated(day, one) for day, one in zip(DAYS, opened(paths))])
    rows = Job(model, series, Options(run=Sweep(probabilities=True))).rows(lambda done, total: True)
    np.testing.assert_array_equal(found[-1].values, np.concatenate([r.values for r in rows], axis=1)[:, 33, 41])
    assert {one.gap.kind for one in curve.at([None] * 6)} >= {"place_outside"}

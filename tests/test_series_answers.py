"""Models that read a series of dates, run over rasters: every pixel's answer is known."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta

import numpy as np
import pyproj
import pytest
import rasterio
from onnx import TensorProto
from rasterio.enums import Resampling

from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.vectors import PyogrioVectors
from export.runtime.errors import InputFault
from export.runtime.infer.inputs.series import Dated, Series
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice
from export.runtime.infer.sweep import Sweep, tile_bytes, waiting
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from export.runtime.results.writing import Results, Targets
from tests.models import series_answer, write_given, write_graph, write_series
from tests.test_runtime_scenes import scene_model
from tests.test_series_grid import NORTH, write
from tests.test_series_run import FIRST, run, same, scenes, series_of

NAMED = Choice(("1", "2", "3"))
DAYS = np.array([(FIRST + timedelta(30 * n)).timetuple().tm_yday for n in range(4)])


def answered(values: np.ndarray, held: np.ndarray, lonlat: np.ndarray | None = None) -> np.ndarray:
    return series_answer(values.astype(float), held, DAYS[: len(values)], lonlat)


def lonlat_of(grid) -> np.ndarray:
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    move = pyproj.Transformer.from_crs(grid.crs.to_wkt(), "OGC:CRS84", always_xy=True).transform
    return np.stack(move(*(grid.transform * (columns, rows))))


@pytest.mark.parametrize("location", [False, True])
@pytest.mark.parametrize("tta", [False, True])
def test_every_pixel_is_answered_from_the_dates_that_hold_data_there(tmp_path, location, tta):
    paths, values, held = scenes(tmp_path)
    model = Model(write_series(tmp_path / "m.onnx", location), "cpu", threads=2)
    series = series_of(paths)
    lonlat = lonlat_of(series.grid) if location else None
    found = run(model, series, Options(NAMED, run=Sweep(probabilities=True, tta=tta)))
    seen = held.any(axis=0)
    np.testing.assert_array_equal(found["valid"], seen)
    np.testing.assert_array_equal(found["dates"], held.sum(axis=0))
    assert np.abs(found["values"] - answered(values, held, lonlat))[:, seen].max() < 1e-4
    assert (found["classes"][~seen] == 255).all()
    for block in (Window(0, 0, 30, 40), Window(30, 40, 40, 50)):
        where = (..., slice(block.row, block.row + block.height), slice(block.column, block.column + block.width))
        options = Options(NAMED, run=Sweep(probabilities=True, tta=tta))
        assert same(found, run(Model(tmp_path / "m.onnx", "cpu", threads=1), series_of(paths), options, block), where)


def test_a_date_that_is_empty_in_a_tile_is_not_run_and_days_go_with_their_pixels(tmp_path, monkeypatch):
    paths, _, _ = scenes(tmp_path, shape=(40, 120))
    model = Model(write_series(tmp_path / "m.onnx"), "cpu", threads=1)
    asked: list[list[int]] = []
    plain = Model.run_series

    def recorded(self, pixels, valid, days, lonlat=None):
        assert valid.any(axis=(1, 2)).all()
        asked.append(days.astype(int).tolist())
        return plain(self, pixels, valid, days, lonlat)

    monkeypatch.setattr(Model, "run_series", recorded)
    run(model, series_of(paths))
    rest = [DAYS[0], *DAYS[2:]]  # the second date ends at column 33
    assert list(DAYS) in asked
    assert rest in asked
    assert all(days in (list(DAYS), rest) for days in asked)


def test_a_class_for_each_place_counts_the_dates_of_its_cell(tmp_path):
    paths, values, held = scenes(tmp_path, shape=(64, 96))
    model = Model(write_series(tmp_path / "m.onnx", task="scene-classification", overlap=0), "cpu")
    found = run(model, series_of(paths))
    assert found["classes"].shape == (2, 3)
    cells = held.reshape(4, 2, 32, 3, 32)
    np.testing.assert_array_equal(found["dates"], cells.any(axis=(2, 4)).sum(axis=0))
    for row in range(2):
        for column in range(3):
            part = (..., slice(row * 32, row * 32 + 32), slice(column * 32, column * 32 + 32))
            expected = series_answer(values[part].astype(float), held[part], DAYS, once=True)
            np.testing.assert_allclose(found["values"][:, row, column], expected, atol=1e-5)
    half = run(model, series_of(paths), Options(NAMED, run=Sweep(probabilities=True, stride=16)))
    assert half["classes"].shape == (4, 6)
    np.testing.assert_array_equal(half["dates"], held.reshape(4, 4, 16, 6, 16).any(axis=(2, 4)).sum(axis=0))


def test_each_date_is_brought_to_the_pixel_size_of_the_model(tmp_path):
    """Fields of 20 x 20 px of one colour, at a model's pixels twice as large: their inner parts are answered as they are."""
    rng = np.random.default_rng(3)
    values = rng.integers(20, 250, (4, 3, 5, 6)).astype(np.uint8).repeat(20, axis=2).repeat(20, axis=3)
    held = np.ones((4, 100, 120), bool)
    held[0, :50], held[1, 70:, 90:] = False, False
    values = np.where(held[:, None], values, 0).astype(np.uint8)
    paths = [write(tmp_path / f"{number}.tif", one, nodata=0) for number, one in enumerate(values)]
    model = Model(write_series(tmp_path / "m.onnx", gsd=20.0), "cpu")
    found = run(model, series_of(paths))
    np.testing.assert_array_equal(found["dates"], held.sum(axis=0))
    inner = np.zeros(held.shape[1:], bool)
    inner.reshape(5, 20, 6, 20)[:, 4:16, :, 4:16] = True
    inner[46:54] = False  # the first date begins within a field
    inner[66:74, 86:], inner[66:, 86:94] = False, False
    assert np.abs(found["values"] - answered(values, held))[:, inner].max() < 1e-3
    coarse = run(model, series_of(paths), Options(NAMED, run=Sweep(probabilities=True), model_grid=True))
    assert coarse["dates"].shape == (50, 60)
    np.testing.assert_array_equal(coarse["dates"][inner[::2, ::2]], held.sum(axis=0)[::2, ::2][inner[::2, ::2]])


def test_a_series_model_needs_dates_of_which_one_is_enough(tmp_path):
    paths, values, held = (part[:1] for part in scenes(tmp_path, 2))
    model = Model(write_series(tmp_path / "m.onnx"), "cpu")
    with closing(RasterPixels(paths[0])) as pixels, pytest.raises(InputFault, match="reads a series of dates"):
        Job(model, pixels, Options(NAMED))
    found = run(model, Series([Dated(date(2024, 12, 31), RasterPixels(paths[0]))]))  # day 366
    expected = series_answer(values.astype(float), held, np.array([366]))
    assert np.abs(found["values"] - expected)[:, held[0]].max() < 1e-4


def test_bands_are_found_by_their_names_in_each_raster(tmp_path):
    paths, values, held = scenes(tmp_path, 2)
    for path, order in zip(paths, ((0, 1, 2), (2, 0, 1))):
        with rasterio.open(path, "r+") as file:
            stored = file.read()
            file.write(stored[list(order)])
            file.descriptions = [("red", "green", "blue")[number] for number in order]
    model = Model(write_series(tmp_path / "m.onnx"), "cpu")
    found = run(model, series_of(paths), Options(run=Sweep(probabilities=True)))
    assert np.abs(found["values"] - answered(values, held))[:, held.any(axis=0)].max() < 1e-4


def test_what_no_date_shows_is_told_before_the_run(tmp_path):
    paths, _, _ = scenes(tmp_path, share=0.0)
    with closing(Job(Model(write_series(tmp_path / "m.onnx"), "cpu"), series_of(paths), Options(NAMED))) as job:
        told = [str(note) for note in job.notes(measured=False)]
    assert any("2% of it hold no data at any date" in note for note in told), told  # 100 of 6,300 px
    full = write(tmp_path / "full.tif", np.full((3, 70, 90), 99, np.uint8), NORTH)
    with closing(Job(Model(tmp_path / "m.onnx", "cpu"), series_of([*paths, full]), Options(NAMED))) as job:
        assert not any("any date" in str(note) for note in job.notes(measured=False))


def test_scene_classes_of_a_model_of_one_date_weigh_each_date_by_its_share_of_data(tmp_path):
    paths, values, held = scenes(tmp_path, shape=(64, 96))
    found = run(scene_model(tmp_path / "m.onnx", fill=[100.0] * 3), series_of(paths))
    filled = np.where(held[:, None], values, 100).reshape(4, 3, 2, 32, 3, 32).astype(float)
    means = filled.mean(axis=(3, 5))
    shares = means / means.sum(axis=1, keepdims=True)
    weights = held.reshape(4, 1, 2, 32, 3, 32).mean(axis=(3, 5))
    expected = (shares * weights).sum(axis=0) / weights.sum(axis=0)
    np.testing.assert_allclose(found["values"], expected, atol=1e-5)


def test_maps_of_features_are_means_over_the_dates_of_each_place(tmp_path):
    paths, values, held = scenes(tmp_path, shape=(64, 96))
    nodes = [("AveragePool", ["image"], ["out"], {"kernel_shape": [8, 8], "strides": [8, 8]})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (TensorProto.FLOAT, ["batch", 3, 4, 4])})
    write_given(path, task="embedding", classes=None, overlap=0, fill=[100.0] * 3)
    found = run(Model(path, "cpu"), series_of(paths))
    filled = np.where(held[:, None], values, 100).astype(float)
    means = filled.reshape(4, 3, 8, 8, 12, 8).mean(axis=(3, 5))
    places = held.reshape(4, 1, 8, 8, 12, 8)
    weights = places.mean(axis=(3, 5))
    assert found["values"].shape == (3, 8, 12)
    np.testing.assert_allclose(found["values"], (means * weights).sum(axis=0) / weights.sum(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(found["dates"], places.any(axis=(3, 5)).sum(axis=0)[0])


def test_the_number_of_valid_dates_is_a_raster_beside_the_map(tmp_path):
    paths, _, held = scenes(tmp_path)
    targets = Targets({"map": tmp_path / "map.tif", "dates": tmp_path / "map_dates.tif"})
    with (
        closing(Job(Model(write_series(tmp_path / "m.onnx"), "cpu"), series_of(paths), Options(NAMED))) as job,
        Results(targets, job.grid, job.card, RasterioWriter, PyogrioVectors()) as results,
    ):
        job.write(results, lambda done, total: True, lambda: True)
        assert results.finish(lambda: True).keys() >= {"map", "dates"}
        results.commit()
    with rasterio.open(tmp_path / "map_dates.tif") as file:
        assert (file.nodata, file.dtypes, file.descriptions) == (0, ("uint8",), ("valid dates",))
        np.testing.assert_array_equal(file.read(1), held.sum(axis=0))


def test_tiles_in_memory_do_not_grow_with_the_raster_and_are_bounded(tmp_path):
    """Of 12 dates no more tiles are held than those that run and one more on either side, however large the raster."""
    paths, _, _ = scenes(tmp_path, 2)
    model = Model(write_series(tmp_path / "m.onnx", tile_size=256, overlap=64), "cpu", threads=2)
    tile = tile_bytes(model, 12)
    assert tile == 12 * (3 * 4 + 1) * 256**2
    assert waiting(model, Sweep(), 12) == (1, 1)
    assert waiting(model, Sweep(read_ahead=0), 12) == (0, 1)
    assert waiting(model, Sweep(), 0) == (4, 8)
    with closing(Job(model, series_of(paths), Options(NAMED))) as job:
        held = tile_bytes(model, 2)
        assert job.layout.bytes_needed(job.model, job.run) > 4 * held


def test_overviews_on_a_server_are_read_where_they_are_fine_enough(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    values = rng.integers(20, 250, (2, 3, 8, 10)).astype(np.uint8).repeat(32, axis=2).repeat(32, axis=3)
    paths = [write(tmp_path / f"{number}.tif", one) for number, one in enumerate(values)]
    for path in paths:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], Resampling.average)
    model = Model(write_series(tmp_path / "m.onnx", gsd=40.0), "cpu")
    near = run(model, series_of(paths))
    monkeypatch.setattr("export.rasterio_io.pixels.is_far", lambda where: True)
    with closing(Job(model, series_of(paths), Options(NAMED))) as job:
        assert job.layout.overview == 40
    far = run(model, series_of(paths))
    np.testing.assert_array_equal(far["dates"], near["dates"])
    inner = np.zeros((256, 320), bool)
    inner.reshape(8, 32, 10, 32)[:, 8:24, :, 8:24] = True
    assert np.abs(far["values"] - near["values"])[:, inner].max() < 1e-3

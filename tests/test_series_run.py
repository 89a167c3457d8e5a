"""Runs over several dates: of a model of one date, whose probabilities are averaged, and of models of series."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault
from export.runtime.infer.inputs.series import Dated, Series
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice
from export.runtime.infer.sweep import Sweep
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from tests.models import write_model
from tests.test_runtime import one_shot
from tests.test_series_grid import NORTH, write

KERNEL = np.random.default_rng(1).normal(0, 0.02, (3, 3, 5, 5))
FIRST = date(2023, 1, 10)


def scenes(
    folder: Path, count: int = 4, shape: tuple[int, int] = (70, 90), share: float = 0.3
) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Rasters of one grid with gaps; their values (dates, bands, rows, columns) and where they hold data."""
    rng = np.random.default_rng(5)
    values = rng.integers(1, 255, (count, 3, *shape)).astype(np.uint8)
    held = rng.random((count, *shape)) > share
    held[:, 20:30, 40:50] = False  # never seen
    held[1, :, 33:] = False
    values = np.where(held[:, None], values, 0).astype(np.uint8)
    paths = [write(folder / f"{number}.tif", one, nodata=0) for number, one in enumerate(values)]
    return paths, values, held


def series_of(paths: list[Path], grid=None) -> Series:
    return Series([Dated(FIRST + timedelta(30 * n), RasterPixels(path)) for n, path in enumerate(paths)], grid)


def run(model: Model, raster, options: Options | None = None, block: Window | None = None) -> dict[str, np.ndarray]:
    """All layers of a result."""
    options = options or Options(Choice(("1", "2", "3")), run=Sweep(probabilities=True))
    with closing(Job(model, raster, options, block)) as job:
        parts = list(job.rows(lambda done, total: True))
    assert [part.top for part in parts] == list(np.cumsum([0, *(len(part.valid) for part in parts[:-1])]))
    return {name: np.concatenate([part.layers[name] for part in parts], axis=-2) for name in parts[0].layers}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], where=...) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and np.array_equal(one[name][where], other[name], equal_nan=one[name].dtype.kind == "f")
        for name in one
    )


@pytest.fixture
def model(tmp_path) -> Model:
    return Model(write_model(tmp_path / "m.onnx", KERNEL), "cpu", threads=2)


def mean_of(values: np.ndarray, held: np.ndarray) -> np.ndarray:
    """What ``model`` answers for each date, averaged over those that hold data."""
    filled = np.where(held[:, None], values, 100)
    answers = np.stack([one_shot(KERNEL, one.astype(np.float32)) for one in filled])
    with np.errstate(invalid="ignore"):
        return (answers * held[:, None]).sum(axis=0) / held.sum(axis=0)


def test_a_model_of_one_date_gives_the_mean_of_its_probabilities_over_valid_dates(tmp_path, model):
    paths, values, held = scenes(tmp_path)
    found = run(model, series_of(paths))
    np.testing.assert_array_equal(found["dates"], held.sum(axis=0))
    np.testing.assert_array_equal(found["valid"], held.any(axis=0))
    expected = mean_of(values, held)
    seen = held.any(axis=0)
    inside = np.zeros_like(seen)
    inside[2:-2, 2:-2] = True  # at the edges the raster's pixels are repeated, not zeros
    assert np.abs(found["values"] - expected)[:, seen & inside].max() < 1e-4
    assert np.isnan(found["values"][:, ~seen]).all()
    assert (found["classes"][~seen] == 255).all()
    assert found["dates"].dtype == np.uint8


def test_neither_order_nor_threads_nor_blocks_change_a_bit(tmp_path, model):
    paths, _, _ = scenes(tmp_path)
    whole = run(model, series_of(paths))
    dated = series_of(paths).dated
    other = Model(tmp_path / "m.onnx", "cpu", threads=1)
    options = Options(Choice(("1", "2", "3")), run=Sweep(probabilities=True, read_ahead=0))
    assert same(whole, run(other, Series(dated[::-1]), options))
    for block in (Window(0, 0, 30, 40), Window(30, 40, 40, 50), Window(24, 0, 5, 90)):
        where = (..., slice(block.row, block.row + block.height), slice(block.column, block.column + block.width))
        assert same(whole, run(model, series_of(paths), None, block), where)


def test_one_date_is_the_map_of_that_date(tmp_path, model):
    paths, _, _ = scenes(tmp_path)
    found = run(model, series_of(paths[:1]))
    assert found.pop("dates").max() == 1
    alone = run(model, RasterPixels(paths[0]))
    np.testing.assert_allclose(found.pop("values"), alone.pop("values"), rtol=1e-6)
    assert same(found, alone)


def test_rasters_of_one_day_are_one_date_of_which_the_first_counts(tmp_path, model):
    left, right = np.full((3, 40, 60), 50, np.uint8), np.full((3, 40, 60), 90, np.uint8)
    left[:, :, 35:], right[:, :, :25] = 0, 0
    left[0], right[1] = 200 * (left[0] > 0), 200 * (right[1] > 0)
    paths = [write(tmp_path / "l.tif", left, nodata=0), write(tmp_path / "r.tif", right, nodata=0)]
    paths.append(write(tmp_path / "whole.tif", np.where(left > 0, left, right), nodata=0))
    one, other, whole = map(RasterPixels, paths)
    found = run(model, Series([Dated(FIRST, one), Dated(FIRST, other)]))
    assert same(found, run(model, Series([Dated(FIRST, whole)])))
    assert (found["dates"] == 1).all()


def test_rasters_of_two_zones_and_pixel_sizes_are_one_map(tmp_path, model):
    """A field of two colours, seen from two UTM zones and in pixels of two sizes, is mapped as from one."""

    def field(x, y):
        return np.stack([np.where(x < 500_400, 220, 40), np.where(x < 500_400, 40, 220), np.full(x.shape, 90)]).astype(
            np.uint8
        )

    import pyproj

    paths = []
    places = [
        ("EPSG:32633", NORTH, (60, 80)),
        ("EPSG:32633", NORTH * Affine.scale(0.5), (120, 160)),
        ("EPSG:32633", NORTH * Affine.translation(-5, 3), (60, 80)),
        ("EPSG:32634", Affine(10, 0, 27_000, 0, -10, 5_018_000), (200, 200)),
    ]
    for number, (crs, transform, shape) in enumerate(places):
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        x, y = pyproj.Transformer.from_crs(crs, "EPSG:32633", always_xy=True).transform(*(transform * (columns, rows)))
        paths.append(write(tmp_path / f"{number}.tif", field(x, y), transform, crs))
    series = series_of(paths)
    assert series.grid.crs.to_epsg() == 32633
    found = run(Model(write_model(tmp_path / "c.onnx", np.eye(3).reshape(3, 3, 1, 1) * 0.1), "cpu"), series)
    rows, columns = np.mgrid[: series.grid.height, : series.grid.width] + 0.5
    x, _ = series.grid.transform * (columns, rows)
    sure = found["valid"] & (np.abs(x - 500_400) > 11)
    expected = np.where(x < 500_400, 3, 7)
    np.testing.assert_array_equal(found["classes"][sure], expected[sure])
    assert found["dates"].max() == 4
    assert set(np.unique(found["dates"])) >= {0, 1, 2, 4}
    with closing(Job(model, series_of(paths), Options(Choice(("1", "2", "3"))))) as job:
        told = [str(note) for note in job.notes(measured=False)]
    assert any("2 of 4 rasters of the series lie on another grid" in note for note in told), told


def test_a_note_of_all_rasters_is_told_once(tmp_path, model):
    values = np.full((3, 40, 40), 250, np.uint8)
    values[:, :20] = 0
    paths = [write(tmp_path / f"{number}.tif", values) for number in range(3)]
    with closing(Job(model, series_of(paths), Options(Choice(("1", "2", "3"))))) as job:
        told = [str(note) for note in job.notes(measured=False)]
    (note,) = [note for note in told if "no nodata value is declared" in note]
    assert note.startswith(str(paths[0]))
    assert note.endswith("(and 2 more of the series alike)")


def test_a_series_that_no_model_reads_is_refused(tmp_path):
    paths, _, _ = scenes(tmp_path, 2)
    from onnx import TensorProto

    from tests.models import write_given, write_graph

    boxes = {
        "boxes": (TensorProto.FLOAT, [1, 4]),
        "scores": (TensorProto.FLOAT, [1]),
        "labels": (TensorProto.INT64, [1]),
    }
    nodes = [("Identity", [f"{name}_0"], [name], {}) for name in boxes]
    weights = {
        "boxes_0": np.zeros((1, 4), np.float32),
        "scores_0": np.zeros(1, np.float32),
        "labels_0": np.zeros(1, np.int64),
    }
    write_given(write_graph(tmp_path / "d.onnx", nodes, boxes, weights), task="detection")
    with pytest.raises(InputFault, match="is a detection model, which reads one date at a time"):
        Job(Model(tmp_path / "d.onnx", "cpu"), series_of(paths), Options())


def test_a_date_whose_values_are_taken_for_others_is_refused(tmp_path, model):
    """Dark values of one date do not look like Sentinel-2 as delivered: its part of the map would be wrong."""
    bright, dark, bytes_ = (
        np.full((3, 40, 40), 2500, np.uint16),
        np.full((3, 40, 40), 120, np.uint16),
        np.full((3, 40, 40), 9, np.uint8),
    )
    paths = [write(tmp_path / f"{number}.tif", one) for number, one in enumerate((bright, bright, dark, bytes_))]
    with pytest.raises(InputFault, match=r"not taken for the same .*0\.tif: s2-l2a, .*2\.tif: raw"):
        Job(model, series_of(paths[:3]), Options(Choice(("1", "2", "3"))))
    Job(model, series_of([*paths[:2], paths[3]]), Options(Choice(("1", "2", "3")))).close()  # of another type
    Job(model, series_of(paths[:3]), Options(Choice(("1", "2", "3"), kind="s2-l2a"))).close()


def test_a_raster_from_which_no_way_leads_is_named(tmp_path):
    site = 'ENGCRS["site",EDATUM["stone"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    values = np.ones((3, 40, 40), np.uint8)
    paths = [
        write(tmp_path / "a.tif", values),
        write(tmp_path / "b.tif", values),
        write(tmp_path / "c.tif", values, crs=site),
    ]
    with pytest.raises(InputFault, match=r"c\.tif: no way is known from WGS 84 / UTM zone 33N to site"):
        series_of(paths)

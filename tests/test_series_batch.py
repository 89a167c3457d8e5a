"""A series in parts: blocks, processes, machines and a restart give the bits of one run, also where dates are warped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from export import predict
from tests.conftest import call
from tests.models import write_series
from tests.test_batch import dask_workers
from tests.test_series_grid import NORTH, write
from tests.test_series_inputs import read

LAYERS = ("", "_confidence", "_probabilities", "_dates")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[object]]:
    """A folder with the map made in one piece, and the words for it but ``--out``: dates of two zones, a model of places."""
    folder = tmp_path_factory.mktemp("series")
    (folder / "scenes").mkdir()
    places = [
        ("EPSG:32633", NORTH, (320, 560)),
        ("EPSG:32633", NORTH * Affine.translation(40, -7), (320, 560)),
        ("EPSG:32633", NORTH * Affine.scale(2), (160, 280)),
        ("EPSG:32634", Affine(10, 0, 27_000, 0, -10, 5_018_000), (400, 600)),
    ]
    rng = np.random.default_rng(8)
    for month, (crs, transform, shape) in enumerate(places, start=1):
        values = rng.integers(1, 255, (3, shape[0] // 20, shape[1] // 20)).astype(np.uint8)
        values = values.repeat(20, axis=1).repeat(20, axis=2)
        values[:, rng.random(shape) < 0.1] = 0
        write(folder / "scenes" / f"s_2023-0{month}-05.tif", values, transform, crs, nodata=0)
    model = write_series(folder / "m.onnx", location=True, tile_size=64, overlap=16, gsd=15.0)
    asked = ("--probabilities", "--confidence", "--date-count", "--polygons", "--areas")
    words = [model, "--series", folder / "scenes", "--name", "map", "--bands", "1", "2", "3", *asked]
    assert call(predict.main, *words, "--out", folder / "one") == 0
    return folder, words


def same_bits(one: Path, other: Path, suffix: str) -> bool:
    return all(
        np.array_equal(read(one / f"map{layer}.tif"), read(other / f"map{layer}{suffix}"), equal_nan=True)
        for layer in LAYERS
    )


def test_the_map_is_one_of_data(made):
    counts = read(made[0] / "one" / "map_dates.tif")
    assert set(np.unique(counts)) == {0, 1, 2, 3, 4}
    assert len(np.unique(read(made[0] / "one" / "map.tif"))) == 4  # three classes and no data


@pytest.mark.parametrize("options", [("--block", 256), ("--block", 256, "--workers", 2, "--merge")])
def test_blocks_and_processes(made, tmp_path, options):
    folder, words = made
    out = tmp_path / "out"
    assert call(predict.main, *words, "--out", out, *options) == 0
    assert same_bits(folder / "one", out, ".tif" if "--merge" in options else ".vrt")
    assert (out / "map_areas.csv").read_text() == (folder / "one" / "map_areas.csv").read_text()


def test_a_run_that_lost_a_block_makes_only_that_one_again(made, tmp_path, capsys):
    folder, words = made
    out = tmp_path / "out"
    assert call(predict.main, *words, "--out", out, "--block", 256) == 0
    blocks = sorted((out / "map_blocks").glob("*_dates.tif"))
    times = {path: path.stat().st_mtime_ns for path in blocks}
    blocks[1].unlink()
    assert call(predict.main, *words, "--out", out, "--block", 256) == 0
    assert [path for path in blocks if path.stat().st_mtime_ns != times[path]] == [blocks[1]]
    assert same_bits(folder / "one", out, ".vrt")
    assert call(predict.main, *words, "--out", out, "--block", 256) == 0
    assert "1 already mapped" in capsys.readouterr().err


def test_machines(made, tmp_path):
    pytest.importorskip("distributed")
    folder, words = made
    out = tmp_path / "out"
    with dask_workers(tmp_path) as (address, _):
        assert call(predict.main, *words, "--out", out, "--block", 256, "--dask", address) == 0
    assert same_bits(folder / "one", out, ".vrt")

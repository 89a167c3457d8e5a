"""The benchmark of speed: its rasters, its labels, and what it says of them, on few small chips."""

from argparse import Namespace

import numpy as np
import pytest
import rasterio

from benchmarks.few_labels import speed
from benchmarks.starter.recipes import _eurosat
from benchmarks.starter.steps import Steps
from core.store.read import ChipStore
from export import plugin
from export.rasterio_io.pixels import RasterPixels
from tests.test_benchmarks import make_eurosat

MODEL = plugin.MODELS / "embedding_sentinel2.onnx"


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chips")
    return ChipStore(_eurosat(Steps(folder / "work"), make_eurosat(folder / "eurosat")))


def test_rasters_are_chips_side_by_side_and_labels_lie_in_the_middle_of_theirs(chips, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "LABELLED", 4)
    placed = speed.write_mosaic(tmp_path / "m.tif", chips, 200, 260)
    with rasterio.open(tmp_path / "m.tif") as raster:
        pixels = raster.read()
    assert placed.shape == (4, 5)
    np.testing.assert_array_equal(pixels[:, 64:128, 128:192], chips.raw(placed[1:2, 2])[0])
    opened = RasterPixels(tmp_path / "m.tif")
    labels, classes = speed.labels_on(opened, placed, chips)
    assert (len(labels), len(classes)) == (4, 2)
    for label in labels:
        inside = label.shape.inside(opened.grid, opened.grid.whole)
        rows, columns = np.nonzero(inside)
        assert inside.sum() == 40 * 40
        chip = placed[rows.min() // 64, columns.min() // 64]
        assert (rows.min() % 64, columns.min() % 64) == (12, 12)
        assert (chips.column("label")[chip] == chips.column("label")[placed].min()) == (label.class_index == 0)


@pytest.mark.skipif(not MODEL.is_file(), reason="models/ is empty here: 'make starter-models' fills it")
def test_every_part_is_measured_and_told(chips, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "VIEW", (200, 260))
    monkeypatch.setattr(speed, "VECTORS", 1000)
    given = Namespace(chips=chips.path, model=MODEL, side=0)
    found = {part: speed.PARTS[part](given, tmp_path) for part in ("view", "similarity")}
    assert found["view"]["classes"] == 2
    text = speed.page(found, 0)
    assert "features of a view" in text
    assert "bare encoder" not in text

    times = {"learn": [1, 1], "features": [20, 10], "bare": [19, 9], "map": [4, 2]}
    tile = {**times, "tiles": 16, "memory": 1000, "memory_map": 1100, "bytes": 0.8}
    text = speed.page(found | {"tile": tile}, 1300)
    assert "at 0.95 times the speed of the bare encoder in onnxruntime (0.90 by" in text
    assert "0.8 bytes a pixel" in text

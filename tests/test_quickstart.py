"""The whole path on two real months, with few steps; its model serves the plugin's tests too."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from core import train
from core.quickstart import map_agreement
from core.sources.sample import IGBP
from core.store.read import ChipStore
from export.runtime.model.session import Model
from tests.conftest import call

OUT = Path(__file__).parents[1] / "build" / "test-quickstart"  # the Makefile names it to the plugin's tests


@pytest.fixture(scope="module")
def quickstart(real, tmp_path_factory):
    sample = tmp_path_factory.mktemp("sample")
    (sample / "bluemarble_monthly_2004").mkdir()
    for month in ("06", "10"):
        (sample / "bluemarble_monthly_2004" / f"2004{month}.jpg").symlink_to(
            real / "bluemarble_monthly_2004" / f"2004{month}.jpg"
        )
    (sample / "labels_mcd12c1").symlink_to(real / "labels_mcd12c1")
    shutil.rmtree(OUT, ignore_errors=True)
    arguments = ["quickstart", "--data", sample, "--pretrain-epochs", 1, "--finetune-epochs", 3, "--out", OUT]
    assert call(train.main, *arguments) == 0
    june = np.array(Image.open(sample / "bluemarble_monthly_2004" / "200406.jpg"))
    europe = june[500:900, 2600:3100].transpose(2, 0, 1)
    place = {"crs": "EPSG:4326", "transform": from_origin(-180 + 2600 / 15, 90 - 500 / 15, 1 / 15, 1 / 15)}
    with rasterio.open(
        OUT / "europe.tif", "w", driver="GTiff", height=400, width=500, count=3, dtype="uint8", **place
    ) as out:
        out.write(europe)
    return OUT


def test_the_quickstart_writes_all_that_it_promises(quickstart):
    names = "encoder.safetensors landcover_series.onnx landcover.onnx landcover.mlm.json landcover.tif landcover.qml"
    for name in [*names.split(), "metrics.json", "report.html"]:
        assert (quickstart / name).stat().st_size > 0
    page = (quickstart / "report.html").read_text()
    assert "10 months are missing" in page
    assert "June and October" in page
    assert page.count("data:image/png;base64") == 4
    assert "python -m export.predict" in page
    assert len(re.findall(r"python -m [^\n]+  # \d+:\d\d\b", page)) == 7
    assert "Predicted from 2 months" in page


def test_the_map_is_made_by_a_model_of_series_and_the_plugin_gets_one_of_a_date(quickstart):
    series, single = (Model(quickstart / f"landcover{name}.onnx").card for name in ("_series", ""))
    assert (series.dates, single.dates) == (2, 0)
    assert [entry.value for entry in series.classes] == [entry.value for entry in single.classes]


def test_the_map_is_the_whole_world_in_igbp_numbers(quickstart):
    with rasterio.open(quickstart / "landcover.tif") as result:
        assert (result.crs.to_epsg(), result.width, result.height) == (4326, 5400, 2700)
        assert result.bounds == pytest.approx((-180, -90, 180, 90))
        assert result.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        values = np.unique(result.read(1))
    assert set(values) <= {entry.value for entry in IGBP}
    assert len(values) > 3


def test_the_metrics_are_those_of_the_map(quickstart):
    metrics = json.loads((quickstart / "metrics.json").read_text())
    store = ChipStore(quickstart / "store-map")
    assert map_agreement(quickstart / "landcover.tif", store) == metrics["map"]
    steps = metrics["steps"]
    assert [*steps] == ["chip store", "chip store for the map", "pretrain", "probe", "finetune", "export", "map"]
    assert sum(steps.values()) <= metrics["seconds"] + 1
    assert metrics["map"]["all_pixels"]["accuracy"] > metrics["map"]["all_pixels"]["majority_class"]


def test_agreement_is_counted_on_test_places_alone(quickstart, tmp_path):
    store = ChipStore(quickstart / "store-map")
    perfect = np.full((2700, 5400), 255, np.uint8)
    values = np.array([entry.value for entry in IGBP], np.uint8)
    for image in store.places_of("test")["first"]:
        row = store.index.iloc[image]
        window = np.s_[row["row"] : row["row"] + 64, row["column"] : row["column"] + 64]
        perfect[window] = values[store.masks(np.array([image]))[0]]
    place = {"crs": "EPSG:4326", "transform": from_origin(-180, 90, 1 / 15, 1 / 15)}
    with rasterio.open(
        tmp_path / "m.tif", "w", driver="GTiff", height=2700, width=5400, count=1, dtype="uint8", **place
    ) as out:
        out.write(perfect, 1)
    assert map_agreement(tmp_path / "m.tif", store)["all_pixels"]["accuracy"] == 1.0

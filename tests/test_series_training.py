"""``core.train finetune --dates``: from a store with dates to a model that reads a series."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from core import train
from core.networks.encoders import Encoder, ModelSpec
from core.networks.weights import load_model, save_model
from core.store.build import Chip, build
from core.store.read import ChipStore
from core.training.labelled import IGNORED
from core.training.series import LabelledSeries, augmented, series_places
from tests.conftest import call, make_world
from tests.sources import Bare, Ramp, info

SEASONS = 4


class Seasons(Ramp):
    """Places whose class is seen in the order of their seasons alone: one greens in spring, the other in autumn."""

    def chips(self, task, tally):
        rng = np.random.default_rng(task)
        for number in range(task * self.per_task, (task + 1) * self.per_task):
            kind = number % 2
            for date in range(SEASONS):
                green = date == (1 if kind == 0 else 3)
                pixels = rng.normal(200 if green else 100, 8, (2, 32, 32)).clip(1).astype(np.uint16)
                valid = np.ones((32, 32), bool)
                valid[:8] = date != 2
                yield Chip(
                    pixels=pixels, valid=valid, place=f"place {number:03}", lon=-60 + number * 0.5, lat=-9.0,
                    datetime=datetime(2020, 1 + date * 3, 15, tzinfo=UTC), source=f"scene{date}.tif", label=kind,
                    mask=np.full((32, 32), kind, np.uint8),
                )  # fmt: skip


class Moving(Seasons):
    def chips(self, task, tally):
        for chip in super().chips(task, tally):
            mask = chip.mask.copy()
            mask[0, 0] = chip.datetime.month == 1
            mask[0, 1] = 255 if chip.datetime.month == 1 else mask[0, 1]
            yield Chip(**{**vars(chip), "mask": mask})


class Once(Seasons):
    def chips(self, task, tally):
        return (chip for chip in super().chips(task, tally) if chip.datetime.month == 1)


class Nowhere(Seasons):
    def chips(self, task, tally):
        return (Chip(**{**vars(chip), "lon": np.nan, "lat": np.nan}) for chip in super().chips(task, tally))


@pytest.fixture(scope="module")
def seasons(tmp_path_factory):
    out = tmp_path_factory.mktemp("stores") / "seasons"
    return build(Seasons(info(chip_size=32), count=16, per_task=8), out, workers=1)[0]


@pytest.fixture(scope="module")
def encoder(seasons, tmp_path_factory):
    torch.manual_seed(0)
    spec = ModelSpec.of_store(seasons, "resnet18")
    path = tmp_path_factory.mktemp("runs") / "encoder.safetensors"
    save_model(path, spec, Encoder(spec))
    return path


def tune(store, encoder, out, *more) -> int:
    arguments = ["--data", store.path, "--encoder", encoder, "--out", out, "--precision", "32-true", "--device", "cpu"]
    return call(train.main, "finetune", *arguments, *more)


@pytest.mark.parametrize("temporal", ["attention", "composite"])
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_classes_that_only_the_order_of_dates_tells_apart_are_learned(
    task, temporal, seasons, encoder, tmp_path, capsys
):
    out, images = tmp_path / "run", 32 if temporal == "attention" else 8
    options = ("--task", task, "--dates", 9, "--temporal", temporal, "--epochs", 8, "--batch-size", images)
    assert tune(seasons, encoder, out, *options) == 0
    assert "have at most 4 images; training uses 4" in capsys.readouterr().out
    result = json.loads((out / "metrics.json").read_text())
    assert result["accuracy"] > 0.9
    assert (result["dates"], result["temporal"], result["location"]) == (4, temporal, False)
    assert f"reads a series of dates ({temporal})" in (out / "report.html").read_text()
    spec, network = load_model(out / "model.safetensors")
    assert (spec.task, spec.dates) == (task, 4)
    data = LabelledSeries(seasons, series_places(seasons, "test", task), task, 4, False)
    batch = data.batch(data.items[:1])
    shuffled = batch.moments._replace(
        days=batch.moments.days[:, [0, 3, 2, 1]]
    )  # spring is seen in autumn: the other class
    with torch.inference_mode():
        said, other = (network.of_places(batch.pixels, *part).flatten(2).mean(-1) if task == "segmentation" else
                       network.of_places(batch.pixels, *part) for part in (batch.moments, shuffled))  # fmt: skip
    assert said.argmax() != other.argmax()


def test_location_stands_beside_the_accuracy_of_coordinates_alone(seasons, encoder, tmp_path, capsys):
    out = tmp_path / "run"
    options = ("--task", "segmentation", "--dates", 4, "--location", "--temporal", "mean", "--epochs", 1)
    assert tune(seasons, encoder, out, *options) == 0
    result = json.loads((out / "metrics.json").read_text())
    assert 0 <= result["coordinates_alone"] <= 1
    said = f"coordinates alone {result['coordinates_alone']:.1%}"
    assert said in capsys.readouterr().out
    assert "coordinates alone" in (out / "report.html").read_text()
    assert load_model(out / "model.safetensors")[0].location


def test_batches_hold_every_date_its_gaps_its_day_and_its_place(seasons):
    data = LabelledSeries(seasons, series_places(seasons, "train", "segmentation"), "segmentation", 3, True)
    batch = data.batch([data.items[0], data.items[1][:2]])
    assert batch.pixels.shape == (2, 4, 2, 32, 32)
    assert batch.moments.days[0].tolist() == [15, 106, 197, 289]
    assert batch.moments.valid[0].flatten(1).float().mean(1).tolist() == [1, 1, 0.75, 1]
    assert not batch.moments.valid[1, 2:].any()
    np.testing.assert_array_equal(batch.pixels[0].numpy(), seasons.pixels(data.items[0]))
    row = seasons.index.iloc[data.items[1][0]]
    assert batch.moments.longitude[1].unique().tolist() == [pytest.approx(row["lon"])]
    assert batch.targets[1].unique().tolist() == [row["label"]]
    torch.manual_seed(0)
    counts = [len(data.thinned(data.items[0])) for _ in range(200)]
    assert set(counts) == {1, 2, 3}
    assert counts.count(3) > 100


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_dates_of_a_place_are_turned_together_and_get_gaps(seasons, task):
    data = LabelledSeries(seasons, series_places(seasons, "train", task), task, 4, False)
    batch = data.batch(data.items[:8])
    torch.manual_seed(0)
    changed = augmented(batch)
    valid = changed.moments.valid
    assert valid.shape == batch.moments.valid.shape
    assert valid.float().mean() < batch.moments.valid.float().mean()
    assert (valid[:, [0, 1, 3]].flatten(2).float().mean(2) == 1).float().mean() > 0.5
    assert torch.isfinite(changed.pixels.movedim(2, -1)[valid]).all()


def test_masks_that_differ_between_dates_are_not_learned(tmp_path):
    store = build(Moving(info(chip_size=32), count=4, per_task=8), tmp_path / "store", workers=1)[0]
    data = LabelledSeries(store, series_places(store, "train", "segmentation"), "segmentation", 4, False)
    rows = data.items[0]
    targets = data.batch([rows[1:2]]).targets[0]
    assert targets[0, 0] == IGNORED if data.labels[rows[0]] == 0 else targets[0, 0] == 1
    assert targets[0, 1] == data.labels[rows[0]]


def test_few_polygons_label_a_series(encoder, tmp_path):
    """Polygons name a part of each chip; the rest is not learned from."""
    import geopandas as gpd
    from shapely.geometry import box

    from core import prepare

    (tmp_path / "world").mkdir()
    scenes, _ = make_world(tmp_path / "world", dates=3, rows=256, columns=256)
    import rasterio

    with rasterio.open(scenes[0]) as source:
        crs, transform = source.crs, source.transform
    with rasterio.open(tmp_path / "world" / "labels.tif") as source:
        classes = source.read(1)
    shapes, names = [], []
    for row in range(4, 256, 32):
        for column in range(4, 256, 32):
            west, north = transform * (column, row)
            east, south = transform * (column + 12, row + 12)
            shapes.append(box(west, south, east, north))
            names.append(f"kind {classes[row, column]}")
    polygons = tmp_path / "polygons.gpkg"
    gpd.GeoDataFrame({"class": names}, geometry=shapes, crs=crs).to_file(polygons)
    store = tmp_path / "store"
    assert (
        call(
            prepare.main,
            "rasters",
            *scenes,
            "--size",
            32,
            "--labels",
            polygons,
            "--class-field",
            "class",
            "--out",
            store,
        )
        == 0
    )
    opened = ChipStore(store)
    places = series_places(opened, "train", "segmentation")
    data = LabelledSeries(opened, places, "segmentation", 3, False)
    batch = data.batch(data.items[:4])
    share = (batch.targets != IGNORED).float().mean()
    assert 0 < share < 0.5
    torch.manual_seed(0)
    spec = ModelSpec.of_store(opened, "resnet18")
    save_model(tmp_path / "encoder.safetensors", spec, Encoder(spec))
    options = ("--task", "segmentation", "--dates", 3, "--epochs", 10, "--batch-size", 24)
    assert tune(opened, tmp_path / "encoder.safetensors", tmp_path / "run", *options) == 0
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert result["accuracy"] > result["majority_class"] + 0.1


def test_what_no_series_can_be_learned_from_gets_one_sentence(seasons, encoder, tmp_path, capsys):
    bare = build(Bare(info()), tmp_path / "bare", workers=1)[0]

    once = build(Once(info(chip_size=32), count=8, per_task=8), tmp_path / "once", workers=1)[0]
    nowhere = build(Nowhere(info(chip_size=32), count=8, per_task=8), tmp_path / "nowhere", workers=1)[0]
    cases = [
        ("--dates 1: a series has at least 2 dates", seasons, ("--dates", 1)),
        ("--dates 4: the task detection has no series", seasons, ("--dates", 4, "--task", "detection")),
        ("--location: is of models that read a series; add --dates", seasons, ("--location",)),
        ("--temporal mean: is of models that read a series; add --dates", seasons, ("--temporal", "mean")),
        ("--temporal max: choose one of composite, attention, mean", seasons, ("--dates", 4, "--temporal", "max")),
        (f"{bare.path}: its images have no dates", bare, ("--dates", 4, "--task", "classification")),
        (f"{once.path}: has one date a place", once, ("--dates", 4)),
        (f"{nowhere.path}: 256 of 256 images have no coordinates", nowhere, ("--dates", 4, "--location")),
    ]
    for message, store, options in cases:
        assert tune(store, encoder, tmp_path / "x", *options) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"error: {message}")
        assert not (tmp_path / "x").exists()

"""The starter models: what lies in models/ is small, described and runs; the recipe makes such models and goes on."""

import json

import numpy as np
import pytest
import rasterio

from benchmarks.starter import cards, recipes, steps
from benchmarks.starter.recipes import Effort
from core.errors import UserError
from core.evaluation.intervals import share_score
from export import plugin, predict
from export.model_files import quantize
from export.runtime.model.item import multihash
from export.runtime.model.session import Model
from tests.conftest import call, make_small_sample, write_raster
from tests.test_benchmarks import make_eurosat

MODELS = sorted(plugin.MODELS.glob("*.onnx"))
there = pytest.mark.skipif(not MODELS, reason="models/ is empty here: 'make starter-models' fills it")
every = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)


def item_of(path):
    return json.loads(path.with_suffix(".mlm.json").read_text())


def test_models_are_small_together():
    assert sum(path.stat().st_size for path in plugin.MODELS.glob("*")) <= cards.MOST_BYTES


@there
def test_there_is_a_model_of_each_kind():
    assert {Model(path, "cpu", threads=1).card.task for path in MODELS} == {
        "segmentation",
        "classification",
        "embedding",
    }


@there
@every
def test_a_starter_model_says_how_right_it_is_what_made_it_and_its_licence(path):
    card, item = Model(path, "cpu", threads=1).card, item_of(path)
    measured = item["properties"]["geoaware:accuracy"]
    assert 0 < measured["low"] < measured["value"] < measured["high"] < 1
    assert card.accuracy in (plugin.MODELS / "README.md").read_text()
    assert card.license == item["properties"]["license"] == "MIT"
    assert item["properties"]["geoaware:made_with"][0].startswith("make starter-models")
    assert any("core.train finetune" in line for line in item["properties"]["geoaware:made_with"])
    assert item["assets"]["model"]["file:checksum"] == multihash(path)


@there
def test_land_use_is_named_rightly_in_97_of_100_test_images():
    assert item_of(plugin.MODELS / "landuse_sentinel2.onnx")["properties"]["geoaware:accuracy"]["value"] >= 0.97


@there
def test_the_starter_embedding_has_features_of_every_place():
    path = plugin.MODELS / "embedding_sentinel2.onnx"
    model, properties = Model(path, "cpu", threads=1), item_of(path)["properties"]
    assert (model.dense, model.factor, model.card.tile_size) == (True, 4, 512)
    assert [one["stage"] for one in properties["geoaware:channels"]] == [2, 4, 8, 16]
    assert sum(one["count"] for one in properties["geoaware:channels"]) == model.channels
    assert properties["geoaware:receptive_field"] + 4 <= properties["geoaware:border"]


@there
@every
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # Blue Marble is a bare picture
def test_a_starter_model_maps_a_real_image(path, real, tmp_path):
    if "bluemarble" in path.stem:  # Europe
        with rasterio.open(real / "bluemarble_monthly_2004" / "200406.jpg") as world:
            pixels = world.read(window=((450, 850), (2550, 3150)))
        place = {"crs": "EPSG:4326", "origin": (-10, 60), "pixel": 1 / 15}
        raster = write_raster(tmp_path / "europe.tif", pixels, **place)
    else:
        raster = sorted((real / "terramind_s2_lulc" / "S2RGB").glob("*.tif*"))[0]
    assert call(predict.main, path, raster, "--out", tmp_path / "out", "--threads", 1) == 0
    with rasterio.open(next((tmp_path / "out").glob("*.tif"))) as result:
        assert result.dataset_mask().any()


@pytest.fixture
def quick(monkeypatch):
    """A tiny network, few tiles, few rounds."""
    monkeypatch.setattr(recipes, "ARCH", "mobilenetv3_small_050")
    monkeypatch.setattr(quantize, "_CALIBRATION", 4)
    monkeypatch.setattr(quantize, "_ROUNDS", 2)
    monkeypatch.setattr(cards, "MAX_LOSS", 1.0)  # what has learned nothing may lose anything
    return Effort(pretrain=1, finetune=1)


def nothing_more(monkeypatch):
    """From here on whatever trains, exports or cuts chips fails."""
    monkeypatch.setattr(steps, "_TRAIN", {})
    for name in ("export_onnx", "prepare"):
        monkeypatch.setattr(steps, name, None)


def test_the_land_use_recipe_makes_two_models_and_skips_what_is_done(quick, tmp_path, monkeypatch):
    work, out = tmp_path / "work", tmp_path / "models"
    made = recipes.land_use(work, make_eurosat(tmp_path / "eurosat"), "cpu", quick)
    cards.publish(made, out)
    names = ["embedding_sentinel2", "landuse_sentinel2"]
    assert sorted(path.name for path in out.iterdir()) == ["README.md"] + sorted(
        name + end for name in names for end in (".mlm.json", ".onnx")
    )
    for name in names:
        card, item = Model(out / f"{name}.onnx", "cpu", threads=1).card, item_of(out / f"{name}.onnx")
        assert card.accuracy.endswith(item["properties"]["geoaware:accuracy"]["of"])
        assert "20 test images" in card.accuracy
        assert (card.license, card.gsd, card.bands) == ("MIT", 10, ("red", "green", "blue"))
        assert "tells neither dates nor places" in card.description
        commands = "\n".join(item["properties"]["geoaware:made_with"])
        assert "core.train pretrain --data build/starter/eurosat" in commands
        assert "--views.size 32" in commands
        assert str(tmp_path) not in commands
        assert item["assets"]["model"]["file:checksum"] == multihash(out / f"{name}.onnx")
        assert card.accuracy in (out / "README.md").read_text()
    assert [entry.name for entry in card.classes] == [name for _, name, _ in recipes.EUROSAT]
    features = item_of(out / "embedding_sentinel2.onnx")["properties"]
    assert "--task embedding --dense" in features["geoaware:made_with"][-1]
    assert Model(out / "embedding_sentinel2.onnx", "cpu", threads=1).factor == 4

    nothing_more(monkeypatch)
    assert [one.score for one in recipes.land_use(work, None, "cpu", quick)] == [one.score for one in made]


def test_a_step_is_done_again_when_its_command_changed_or_what_it_is_made_from_is_newer(tmp_path, monkeypatch):
    done = []

    def write(data, out, **options):
        done.append(out.name)
        out.mkdir(exist_ok=True)
        for name in ("encoder.safetensors", "model.safetensors"):
            (out / name).write_text(str(options))

    monkeypatch.setattr(steps, "_TRAIN", {"pretrain": write, "finetune": write})

    def recipe(epochs):
        done.clear()
        run = steps.Steps(tmp_path)
        run.train("pretrain", tmp_path, "a", epochs=1)
        run.train("finetune", tmp_path, "b", epochs=epochs)
        return list(done)

    assert recipe(1) == ["a", "b"]
    assert recipe(1) == []
    assert recipe(2) == ["b"]
    (tmp_path / "a" / "encoder.safetensors").unlink()
    assert recipe(2) == ["a", "b"]


def test_the_land_cover_recipe_makes_a_map_model(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("GEOAWARE_SAMPLE", str(make_small_sample(tmp_path / "sample", months=2)))
    (made,) = recipes.land_cover(tmp_path / "work", "cpu", quick)
    cards.publish([made], tmp_path / "models")
    card = Model(tmp_path / "models" / "landcover_bluemarble.onnx", "cpu", threads=1).card
    assert len(card.classes) == 17
    assert "places in strips of longitude never learned from" in card.accuracy


def test_a_model_that_is_not_right_enough_is_not_published(tmp_path):
    poor = recipes.Made(tmp_path / "m.onnx", share_score(np.array([96, 97]), np.array([100, 100])), "", "", (), 0.97)
    with pytest.raises(UserError, match=r"not published, 96.5 % .* at least 97 % are wanted"):
        cards.publish([poor], tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


def test_a_share_is_drawn_by_places_not_by_pixels():
    right, known = np.array([0, 1000, 10]), np.array([10, 1000, 20])
    score = share_score(right, known)
    assert score.value == pytest.approx(1010 / 1030)
    assert score.low < 0.5 < score.high  # one large place decides

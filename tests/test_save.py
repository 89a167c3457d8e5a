"""Saved models: one file with its card, that gives the map of the fit wherever models run."""

import json
import os
from contextlib import closing
from dataclasses import replace

import numpy as np
import onnx
import pytest
import rasterio
from onnx import TensorProto

from export import predict
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault, ModelFault
from export.runtime.learn.features import FeatureChoice
from export.runtime.learn.fitting import Featured, fit_model
from export.runtime.learn.samples import Label
from export.runtime.learn.save import save_model
from export.runtime.model.session import Model
from export.runtime.raster.legend import LandClass
from tests.conftest import call, write_raster
from tests.deepness import in_deepness
from tests.models import write_given, write_graph
from tests.stac_schemas import check_model_item

CLASSES = (
    LandClass(3, "Wald & Wiese", "1b6b2e"),
    LandClass(5, "rough", "C03020"),
    LandClass(9, "never seen", "2040C0"),
)
FLOAT = TensorProto.FLOAT


def halves(rows, columns, bands=3, dtype="uint8"):
    """Smooth at the left, rough at the right."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(columns) < columns // 2, 3, 30)
    return np.clip(128 + rng.normal(size=(bands, rows, columns)) * spread, 1, 255).astype(dtype)


def labels(rows, columns, count=4):
    """Points in both halves of a raster of 10 m, as ``write_raster`` places it."""
    rng = np.random.default_rng(1)
    found = []
    for half in (0, 1):
        for _ in range(count):
            row, column = rng.uniform(40, rows - 40), rng.uniform(0.1, 0.4) * columns + half * columns / 2
            found.append(Label(len(found), half, (500_000 + 10 * column, 5_000_000 - 10 * row)))
    return found


def fitted(raster, choice, rows, columns):
    featured = Featured.of([RasterPixels(raster)], choice)
    return fit_model(featured, [labels(rows, columns)], CLASSES, "labels")


def save(path, model, name="My fields (test)"):
    featured = model.featured
    save_model(path, featured.features, model.head, model.classes, name, model.quality, featured.described)
    return path


def mapped(path, raster, out, *options):
    assert call(predict.main, path, raster, "--out", out, "--threads", 1, *options) == 0
    with rasterio.open(out / f"{raster.stem}.tif") as source:
        return source.read(1)


def of_records(model):
    """(K, rows, columns) probabilities of a whole raster from its records, as the panel and the job of a fit make them."""
    (raster,) = model.featured.rasters
    with closing(model.job(raster, probabilities=True)) as job:
        return np.concatenate([part.values for part in job.rows(lambda done, total: True)], axis=1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", halves(420, 600))


@pytest.fixture(scope="module")
def texture(scene):
    return fitted(scene, FeatureChoice("texture"), 420, 600)


def test_the_saved_model_gives_the_map_of_the_fit(scene, texture, tmp_path):
    path = save(tmp_path / "m.onnx", texture)
    expected = of_records(texture)
    found = mapped(path, scene, tmp_path / "out", "--probabilities")
    with rasterio.open(tmp_path / "out" / "scene_probabilities.tif") as source:
        np.testing.assert_allclose(source.read()[:2], expected[:2], atol=1e-4)
    assert (found == np.array([3, 5, 9])[expected.argmax(axis=0)]).mean() > 0.9999
    assert (found[:, :280] == 3).mean() > 0.9
    assert (found[:, 320:] == 5).mean() > 0.9


def test_its_card_says_what_it_is_and_how_well_it_was_judged(texture, tmp_path):
    path = save(tmp_path / "m.onnx", texture)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    keys = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    check_model_item(keys["mlm"])
    features = texture.featured.features
    assert keys["class_names"] == {"0": "Wald & Wiese", "1": "rough", "2": "never seen"}
    assert (keys["model_type"], keys["tile_size"], keys["resolution"]) == ("Segmentor", features.tile, 1000.0)
    assert keys["tiles_overlap"] >= 200 * features.border / features.tile
    card = Model(path, "cpu").card
    assert (card.name, card.task, card.border, card.overlap) == (
        "My fields (test)", "segmentation", features.border, 2 * features.border,
    )  # fmt: skip
    assert [(c.value, c.name, c.color) for c in card.classes] == [(c.value, c.name, c.color.upper()) for c in CLASSES]
    assert card.description.startswith(
        "Fitted to 8 labels (Wald & Wiese 4, rough 4, never seen 0). Features: bands and"
    )
    value, low, high = texture.quality.accuracy
    assert card.accuracy == (
        f"{100 * value:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f}) of 8 labels, each left out of the fit"
    )
    assert keys["mlm"]["properties"]["mlm:hyperparameters"]["labels.5"] == 4


def test_it_runs_in_deepness(scene, texture, tmp_path):
    path, side = save(tmp_path / "m.onnx", texture), texture.featured.features.tile
    with rasterio.open(scene) as source:
        tile = np.pad(source.read(), ((0, 0), (0, max(side - 420, 0)), (0, 0)), mode="edge")[:, :side, :side]
    keys, answer = in_deepness(path, tile)
    assert keys["class_names"]["1"] == "rough"
    ours = Model(path, "cpu").run(tile[None])[0].argmax(axis=0)
    assert (answer == ours).mean() > 0.9999


def encoder(path, kind="float32", opset=17, ir=8, batch="batch", side=96, **card):
    """Two outputs and weights with names like those that are added; features at 4 px."""
    rng = np.random.default_rng(3)
    weights = {
        "added/constant_1": rng.normal(0, 0.4, (6, 3, 3, 3)).astype(np.float32),
        "added/Conv_2": rng.normal(0, 0.4, (7, 6, 3, 3)).astype(np.float32),
    }
    nodes = [
        ("Cast", ["image"], ["real"], {"to": FLOAT}),
        ("GlobalAveragePool", ["real"], ["mean"], {}),
        ("Conv", ["real", "added/constant_1"], ["probabilities"], {"pads": [1] * 4, "strides": [2, 2]}),
        ("Relu", ["probabilities"], ["features"], {}),
        ("Conv", ["features", "added/Conv_2"], ["map"], {"pads": [1] * 4, "strides": [2, 2]}),
    ]
    cells = side // 4 if isinstance(side, int) else "cells"
    outputs = {"mean": (FLOAT, [batch, 3, 1, 1]), "map": (FLOAT, [batch, 7, cells, cells])}
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    path = write_graph(path, nodes, outputs, weights, image=(batch, 3, side, side), kind=number)
    model = onnx.load(path)
    model.opset_import[0].version, model.ir_version = opset, ir
    onnx.save(model, path)
    given = {
        "task": "embedding",
        "classes": None,
        "tile_size": 96,
        "overlap": 24,
        "output": "map",
        "license": "CC BY 4.0",
    }
    return write_given(path, **given | card)


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"border": 16, "overlap": 32},
        {"scale": {"divisor": 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}},
        {"kind": "uint8"},
        {"kind": "float16", "scale": {"divisor": 255}},
        {"opset": 13, "ir": 4},
        {"opset": 20, "ir": 10},
        {"batch": 1},
        {"side": "px"},
        {"gsd": 16.0},
        {"gsd": 6.0},
    ],
    ids=[
        "plain",
        "border",
        "scale",
        "uint8",
        "float16",
        "opset 13",
        "opset 20",
        "one tile",
        "free",
        "coarser",
        "finer",
    ],
)
def test_encoders_of_all_kinds_survive(tmp_path, card):
    raster = write_raster(tmp_path / "scene.tif", halves(300, 340))
    model = fitted(raster, FeatureChoice("encoder", encoder(tmp_path / "encoder.onnx", **card)), 300, 340)
    path = save(tmp_path / "m.onnx", model)
    expected = of_records(model)
    found = mapped(path, raster, tmp_path / "out")
    assert (found == np.array([3, 5, 9])[expected.argmax(axis=0)]).mean() > 0.9999
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    assert [one.name for one in written.graph.output] == ["probabilities_"]
    properties = json.loads(written.metadata_props[0].value)["properties"]
    assert (properties["license"], properties["geoaware:license"]) == ("other", "CC BY 4.0")
    _, answer = in_deepness(path, halves(96, 96))
    assert answer.shape == (96, 96)


def test_filters_beside_a_newer_encoder_are_written_as_it_has_them(tmp_path):
    raster = write_raster(tmp_path / "scene.tif", halves(300, 340))
    path = encoder(tmp_path / "encoder.onnx", opset=21, ir=10, side=256, tile_size=256, overlap=64)
    model = fitted(raster, FeatureChoice("both", path), 300, 340)
    found = mapped(save(tmp_path / "m.onnx", model), raster, tmp_path / "out")
    expected = np.array([3, 5, 9])[of_records(model).argmax(axis=0)]
    assert (found == expected).mean() > 0.9999
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)


def test_blocks_of_a_batch_have_the_bits_of_one_pass(scene, texture, tmp_path):
    path = save(tmp_path / "m.onnx", texture)
    whole = mapped(path, scene, tmp_path / "one")
    assert call(predict.main, path, scene, "--out", tmp_path / "many", "--block", 256, "--workers", 2, "--merge") == 0
    with rasterio.open(tmp_path / "many" / "scene.tif") as source:
        np.testing.assert_array_equal(source.read(1), whole)


def test_what_a_known_product_calls_no_data_stays_no_data(tmp_path):
    values = halves(300, 340, bands=64).astype(np.int16) - 128
    values[:, 100:140, 50:90] = -128
    values[:5, 200:210, 200:210] = -128  # a number like others where not all bands have it
    raster = write_raster(tmp_path / "scene.tif", values.astype(np.int8))
    model = fitted(raster, FeatureChoice("raster"), 300, 340)
    assert model.featured.features.nodata == -128
    found = mapped(save(tmp_path / "m.onnx", model), raster, tmp_path / "out")
    gap = np.zeros(found.shape, bool)
    gap[100:140, 50:90] = True
    np.testing.assert_array_equal(found == 255, gap)


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(texture, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"older")

    def full(self, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(InputFault, match=r"m\.onnx: cannot be written \(No space left on device\)"):
            save(path, texture)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"older", ["m.onnx"])
    save(path, texture)
    assert Model(path, "cpu").card.name == "My fields (test)"
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_what_does_not_run_is_not_kept(texture, tmp_path):
    head = replace(texture.head, weights=np.zeros((3, 5), np.float32), pairs=np.zeros((3, 0), np.float32))
    with pytest.raises(ModelFault, match="onnxruntime"):
        save(tmp_path / "m.onnx", replace(texture, head=head))
    assert os.listdir(tmp_path) == []


def test_a_card_beside_the_file_would_count_and_is_named(texture, tmp_path):
    (tmp_path / "m.card.json").write_text("{}")
    with pytest.raises(InputFault, match=r"m\.onnx: the card m\.card\.json beside it would count instead of its own"):
        save(tmp_path / "m.onnx", texture)
    assert os.listdir(tmp_path) == ["m.card.json"]

"""Models in 8-bit integers: what they say, what they cost, when they are refused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from core import prepare as prepare
from core.networks.encoders import ModelSpec
from core.networks.heads import build
from core.networks.weights import load_model, save_model
from core.store.read import ChipStore
from export import to_onnx
from export.model_files import quantize
from export.model_files.quantize import Comparison, mosaic, padded, real_tiles
from export.runtime.model.item import multihash
from export.runtime.model.session import Model
from tests.conftest import call
from tests.deepness import in_deepness
from tests.stac_schemas import check_model_item


def weights(store, folder, task: str, arch: str = "resnet18"):
    """A network that has not learnt anything: its outputs are numbers like any others."""
    torch.manual_seed(0)
    spec = replace(ModelSpec.of_store(store, arch), task=task, classes=store.info.classes)
    path = folder / f"{task}.safetensors"
    save_model(path, spec, build(spec))
    return path


@pytest.fixture(scope="module", autouse=True)
def short():
    """Few tiles and few rounds: what is tested here is not how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "_CALIBRATION", 8)
        patch.setattr(quantize, "_ROUNDS", 3)
        yield


@pytest.fixture(scope="module")
def int8(store, tmp_path_factory):
    """Weights of a segmentation with one of timm's encoders, and the model in 8-bit integers made of them."""
    folder = tmp_path_factory.mktemp("int8")
    source, small = weights(store, folder, "segmentation", "mobilenetv3_small_050"), folder / "int8.onnx"
    options = ["--data", store.path, "--tile-size", 64, "--int8", "--force"]
    assert call(to_onnx.main, source, "--out", small, *options) == 0
    return source, small


def test_an_int8_model_outputs_nearly_as_in_fp32_and_says_what_it_is(int8, store):
    source, small = int8
    tiles = real_tiles(store, 64)
    with torch.inference_mode():
        expected = load_model(source)[1](torch.from_numpy(tiles)).softmax(dim=1).numpy()
    difference = np.abs(Model(small, "cpu", threads=1).run(tiles) - expected)
    assert difference.max() > 0
    assert difference.mean() < 0.02
    assert small.stat().st_size < source.stat().st_size / 3

    graph = onnx.load(small)
    assert (graph.ir_version, [(o.domain, o.version) for o in graph.opset_import]) == (8, [("", 17)])
    scales = [node for node in graph.graph.node if node.op_type == "DequantizeLinear" and len(node.attribute)]
    assert scales  # an axis: channel by channel
    item = json.loads(small.with_suffix(".mlm.json").read_text())
    check_model_item(item)
    assert item["properties"]["geoaware:precision"] == "int8"
    assert item["properties"]["geoaware:int8"]["speed_ratio"] > 0
    assert item["assets"]["model"]["file:checksum"] == multihash(small)
    inside = json.loads(next(p.value for p in graph.metadata_props if p.key == "mlm"))
    assert inside["properties"] == item["properties"]


def test_an_int8_model_runs_in_deepness(int8, store):
    tile = real_tiles(store, 64, count=1)
    keys, classes = in_deepness(int8[1], tile[0])
    answer = Model(int8[1], "cpu", threads=1).run(tile)[0]
    least, most = np.sort(answer, axis=0)[-2:]
    clear = most - least > 0.05  # versions of onnxruntime round some of its integers differently
    assert keys["model_type"] == "Segmentor"
    assert clear.mean() > 0.5
    assert np.array_equal(classes[clear], answer.argmax(axis=0)[clear])


def test_int8_that_does_not_pay_is_refused(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quantize, "MIN_SPEEDUP", 1000)
    out = tmp_path / "int8.onnx"
    source = weights(store, tmp_path, "classification")
    assert call(to_onnx.main, source, "--out", out, "--data", store.path, "--int8") == 2
    said = capsys.readouterr()
    assert "of the images correct" in said.out
    assert "not written" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["classification.safetensors"]


@pytest.mark.parametrize(
    ("before", "after", "ratio", "pays"),
    [(0.8, 0.795, 2.1, True), (0.8, 0.82, 2.0, True), (0.8, 0.78, 3.0, False), (0.8, 0.8, 1.9, False)],
)
def test_int8_pays_at_twice_the_speed_and_one_point_of_loss(before, after, ratio, pays):
    assert Comparison(before, after, ratio, 1000, "pixels").pays_off is pays


def test_the_encoder_of_a_model_is_judged_by_its_neighbours_in_int8(store, tmp_path, capsys):
    source, small = weights(store, tmp_path, "classification", "mobilenetv3_small_050"), tmp_path / "encoder.onnx"
    options = ["--task", "embedding", "--data", store.path, "--int8", "--force"]
    assert call(to_onnx.main, source, "--out", small, *options) == 0
    assert "by 5 nearest neighbours" in capsys.readouterr().out

    tiles = real_tiles(store, store.info.chip_size)
    with torch.inference_mode():
        expected = load_model(source)[1].encoder(torch.from_numpy(tiles)).numpy()
    model = Model(small, "cpu", threads=1)
    assert model.card.task == "embedding"
    assert model.card.classes == ()
    difference = np.abs(model.run(tiles) - expected).mean() / np.abs(expected).mean()
    assert 0 < difference < 0.5

    item = json.loads(small.with_suffix(".mlm.json").read_text())
    assert item["properties"]["geoaware:int8"]["of"] == "images, by 5 nearest neighbours,"
    assert small.stat().st_size < 2 * item["properties"]["mlm:total_parameters"]  # its last layer too is in eight bits


def test_an_encoder_without_labels_to_judge_it_by_stays_in_fp32(world, tmp_path, capsys):
    bare = tmp_path / "store"
    assert call(prepare.main, "rasters", world[0][0], "--size", 32, "--out", bare) == 0
    source = weights(ChipStore(bare), tmp_path, "embedding")
    assert call(to_onnx.main, source, "--out", tmp_path / "m.onnx", "--data", bare, "--int8") == 2
    assert "no place of the 'test' split has a label" in capsys.readouterr().err


def test_a_detector_stays_in_fp32(store, tmp_path, capsys):
    source = weights(store, tmp_path, "detection")
    assert call(to_onnx.main, source, "--out", tmp_path / "m.onnx", "--data", store.path, "--int8") == 2
    assert "not supported for detectors" in capsys.readouterr().err


def test_force_alone_means_nothing(store, tmp_path, capsys):
    assert call(to_onnx.main, tmp_path / "m.safetensors", "--out", tmp_path / "m.onnx", "--force") == 2
    assert "--force requires --int8" in capsys.readouterr().err


def test_chips_lie_in_tiles_row_by_row():
    chips = np.arange(8 * 2 * 2).reshape(8, 1, 2, 2)
    assert mosaic(chips, 3).tolist()[1] == [[[16, 17, 20], [18, 19, 22], [24, 25, 28]]]
    assert padded(chips, 3).tolist()[0] == [[[0, 1, 1], [2, 3, 3], [2, 3, 3]]]
    assert padded(chips, 1).tolist()[1] == [[[4]]]

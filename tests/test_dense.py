"""The multi-stage form of encoders: what its channels are, how wide it sees, and that the rest is left out."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F

from core.networks.encoders import Encoder, ModelSpec
from core.networks.heads import build
from core.networks.weights import load_model, save_model
from export import to_onnx
from export.model_files import quantize
from export.model_files.dense import FACTOR, TILE, DenseFeatures, border_of
from export.model_files.quantize import real_tiles, training_tiles
from export.runtime.model.session import Model
from tests.conftest import call
from tests.stac_schemas import check_model_item

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTS = [64, 64, 128, 256]  # channels of a ResNet-18 at strides 2, 4, 8 and 16


def weights(store, folder, task="embedding", arch="resnet18"):
    """A network that has not learnt anything, whose residual branches count nevertheless."""
    torch.manual_seed(0)
    classes = () if task == "embedding" else store.info.classes
    spec = replace(ModelSpec.of_store(store, arch), task=task, classes=classes)
    network = Encoder(spec) if task == "embedding" else build(spec)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    path = folder / f"{task}.safetensors"
    save_model(path, spec, network)
    return path


def untrained(arch):
    """An encoder of three bands in double precision, whose residual branches count."""
    torch.manual_seed(0)
    encoder = Encoder(ModelSpec("embedding", arch, ("a", "b", "c"), "", (0, 1), (0.5,) * 3, (0.3,) * 3, None, 64))
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return DenseFeatures(encoder).eval()


@pytest.fixture(scope="module")
def dense(store, tmp_path_factory):
    """Weights, and the file made of them for tiles of 128 px."""
    folder = tmp_path_factory.mktemp("dense")
    source, out = weights(store, folder), folder / "m.onnx"
    assert call(to_onnx.main, source, "--dense", "--data", store.path, "--tile-size", 128, "--out", out) == 0
    return source, out


def properties(out):
    return json.loads(out.with_suffix(".mlm.json").read_text())["properties"]


def test_the_features_are_the_standardised_stages_at_stride_4(store, dense):
    source, out = dense
    encoder = load_model(source)[1]
    tiles, learned = real_tiles(store, 128), torch.from_numpy(training_tiles(store))
    with torch.inference_mode():
        known, maps = encoder.pyramid(learned)[1:5], encoder.pyramid(torch.from_numpy(tiles))[1:5]
    expected = []
    for number, (stage, values) in enumerate(zip(known, maps)):
        if number == 0:
            stage, values = F.avg_pool2d(stage, 2), F.avg_pool2d(values, 2)
        mean = stage.mean(dim=(0, 2, 3), keepdim=True)
        std = stage.std(dim=(0, 2, 3), keepdim=True, correction=0)
        std = std.clamp(min=0.05 * float(std.square().mean().sqrt()))
        values = (values - mean) / std / values.shape[1] ** 0.5
        expected.append(F.interpolate(values, (32, 32), mode="bilinear", align_corners=False))
    answer = Model(out).run(tiles)
    assert answer.shape == (2, sum(COUNTS), 32, 32)
    np.testing.assert_allclose(answer, torch.cat(expected, dim=1).numpy(), atol=2e-4)


def test_the_card_says_which_channels_come_from_which_stage(store, dense):
    out = dense[1]
    item = json.loads(out.with_suffix(".mlm.json").read_text())
    check_model_item(item)
    graph = onnx.load(out)
    assert [one.name for one in graph.graph.output] == ["features"]
    assert (graph.opset_import[0].version, graph.ir_version) == (17, 8)
    listed = item["properties"]["geoaware:channels"]
    assert [(one["stage"], one["count"]) for one in listed] == list(zip((2, 4, 8, 16), COUNTS))
    assert item["properties"]["mlm:output"][0]["result"]["shape"] == [-1, sum(COUNTS), 32, 32]
    assert json.loads({p.key: p.value for p in graph.metadata_props}["mlm"])["properties"] == item["properties"]

    # the tensors that it names hold these channels, at their own stride
    graph.graph.output.extend(onnx.ValueInfoProto(name=one["tensor"]) for one in listed)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    features, *stages = session.run(None, {"image": real_tiles(store, 128, count=1)})
    for one, values in zip(listed, stages):
        assert values.shape == (1, one["count"], 128 // one["stride"], 128 // one["stride"])
        size = torch.Size((32, 32))
        wide = F.interpolate(torch.from_numpy(values), size, mode="bilinear", align_corners=False).numpy()
        np.testing.assert_allclose(features[:, one["first"] : one["first"] + one["count"]], wide, atol=1e-5)


def test_no_stage_dominates(store):
    model = DenseFeatures(Encoder(ModelSpec.of_store(store, "resnet18"))).eval()
    tiles = training_tiles(store)
    model.learn(tiles)
    with torch.inference_mode():
        maps = model(torch.from_numpy(tiles))[1:]
    for values in maps:
        total = float(values.var(dim=(0, 2, 3), correction=0).sum())
        assert 0.9 < total < 1.001  # quiet channels have less than their share
        assert float(values.mean(dim=(0, 2, 3)).abs().max()) < 1e-3


def test_channels_that_say_nothing_are_not_amplified(store):
    encoder = Encoder(ModelSpec.of_store(store, "resnet18"))
    with torch.no_grad():
        encoder.trunk.conv1.weight[0] *= 1e-6
    encoder.trunk.bn1 = torch.nn.Identity()
    model = DenseFeatures(encoder.eval())
    model.learn(training_tiles(store)[:2])
    deviations = 1 / model.scales[0].flatten() / 64**0.5  # as they are taken to be
    usual = float(deviations[1:].square().sum() / 64) ** 0.5
    assert float(deviations[0]) == pytest.approx(0.05 * usual, rel=1e-3)


def test_the_last_stage_is_not_in_the_file(dense):
    source, out = dense
    encoder = load_model(source)[1]
    used = sum(w.numel() for name, w in encoder.named_parameters() if not name.startswith("trunk.layer4"))
    assert properties(out)["mlm:total_parameters"] == used
    assert out.stat().st_size < 4.1 * used + 100_000
    convolutions = [node for node in onnx.load(out).graph.node if node.op_type == "Conv"]
    assert len(convolutions) == sum(
        isinstance(m, torch.nn.Conv2d) for n, m in encoder.named_modules() if "layer4" not in n
    )


@pytest.mark.parametrize(
    ("arch", "tile", "reach"), [("resnet18", 512, 120), ("resnet10t", 512, 72), ("resnet18", 256, 120)]
)
def test_what_lies_beyond_the_border_changes_nothing(arch, tile, reach):
    model = untrained(arch)
    # ResNet-18: stem 5, strides of 4: 16, of 8: 28, of 16: 56; and 15 to the far edge of the neighbour for interpolation
    assert model.reach(tile) == reach
    model = model.double()
    half, rng = tile // 2, np.random.default_rng(0)
    tall = rng.random((1, 3, tile, 32))
    other = tall.copy()
    other[:, :, :half] = rng.random((1, 3, half, 32))
    with torch.inference_mode():
        one, two = (model(torch.from_numpy(pixels))[0].numpy() for pixels in (tall, other))
    changed = np.flatnonzero(np.abs(one - two).max(axis=(0, 1, 3)) > 0)
    assert changed.max() * FACTOR + FACTOR - half <= reach  # nothing beyond it
    assert changed.max() * FACTOR + FACTOR - half > reach - 16  # and it is not far too wide


def test_tiles_without_their_borders_join_without_seams():
    model, tile = untrained("resnet10t"), 256
    border = border_of(model.reach(tile), tile + 128)
    pixels = torch.rand(1, 3, tile, tile + 96)
    with torch.inference_mode():
        whole, part = model(pixels)[0], model(pixels[..., 96:])[0]
    first, last = border // FACTOR, (tile - border) // FACTOR
    same = slice(first + 24, last + 24)
    difference = (whole[..., same] - part[..., first:last]).abs().max()
    assert float(difference) < 1e-5 * float(whole.abs().max())


def test_the_border_is_a_whole_number_of_steps_or_an_eighth_of_the_tile():
    assert border_of(51, 512) == 64
    assert border_of(72, 512) == 80
    assert border_of(124, 512) == 128  # with a place of 4 px to interpolate from
    assert border_of(125, 512) == 64  # more than half of the tile would be lost
    assert border_of(None, 256) == 32


@pytest.mark.parametrize("arch", ["regnety_002", "swin_tiny_patch4_window7_224", "mobilenetv3_small_050"])
def test_attention_and_global_gates_have_no_end(arch):
    assert untrained(arch).reach(128) is None


def test_networks_that_start_at_stride_4_have_three_stages(store, tmp_path):
    source, out = weights(store, tmp_path, arch="convnext_atto"), tmp_path / "m.onnx"
    assert call(to_onnx.main, source, "--dense", "--data", store.path, "--tile-size", 96, "--out", out) == 0
    listed = properties(out)["geoaware:channels"]
    assert [(one["stage"], one["first"], one["count"]) for one in listed] == [(4, 0, 40), (8, 40, 80), (16, 120, 160)]
    assert Model(out).run(real_tiles(store, 96)).shape == (2, 280, 24, 24)


def test_the_encoder_of_a_task_in_eight_bits(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quantize, "_CALIBRATION", 4)
    monkeypatch.setattr(quantize, "_ROUNDS", 2)
    source, small = weights(store, tmp_path, "classification", "resnet10t"), tmp_path / "int8.onnx"
    options = ["--task", "embedding", "--data", store.path, "--tile-size", 96, "--dense"]
    assert call(to_onnx.main, source, "--out", small, *options, "--int8", "--force") == 0
    assert "by 5 nearest neighbours" in capsys.readouterr().out
    assert call(to_onnx.main, source, "--out", tmp_path / "full.onnx", *options) == 0
    tiles = real_tiles(store, 96)
    exact, rough = (Model(path).run(tiles) for path in (tmp_path / "full.onnx", small))
    assert 0 < np.abs(exact - rough).mean() / np.abs(exact).mean() < 0.5
    assert properties(small)["geoaware:precision"] == "int8"
    assert small.stat().st_size < 0.5 * (tmp_path / "full.onnx").stat().st_size
    # each stage is standardised and enlarged in fp32
    graph = onnx.load(small).graph
    made = {name: node for node in graph.node for name in node.output}
    joined = next(node for node in graph.node if node.op_type == "Concat" and node.output[0] == "features")
    assert all(made[name].op_type in ("Add", "Resize", "AveragePool") for name in joined.input)


def test_each_image_of_a_tile_has_its_own_mean(store, dense):
    model, rows = Model(dense[1]), np.arange(20)
    means = quantize.outputs(model, store, rows, "testing")
    assert means.shape == (20, sum(COUNTS))
    size = store.info.chip_size
    first = real_tile(store, rows[: (128 // size) ** 2], size)
    answer = model.run(first)[0]
    cells = size // FACTOR
    np.testing.assert_allclose(means[1], answer[:, :cells, cells : 2 * cells].mean(axis=(1, 2)), atol=1e-6)


def real_tile(store, rows, size):
    across = 128 // size
    lines = [np.concatenate(list(store.pixels(line)), axis=2) for line in rows.reshape(across, across)]
    return np.ascontiguousarray(np.concatenate(lines, axis=1)[None])


def test_a_dense_map_of_a_task_is_refused(store, tmp_path, capsys):
    source = weights(store, tmp_path, "classification")
    assert call(to_onnx.main, source, "--dense", "--data", store.path, "--out", tmp_path / "m.onnx") == 2
    assert "only an encoder has a feature map" in capsys.readouterr().err


def test_the_usual_tile_is_large(store, dense, tmp_path):
    assert to_onnx._tile_size(load_model(dense[0])[0], None, dense=True) == TILE == 512

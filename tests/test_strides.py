"""Encoders of a smaller stride for small chips: what they are, and that nothing takes them for those of stride 32."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from core import train
from core.errors import UserError
from core.networks import encoders, small_maps
from core.networks.decoders import DECODERS
from core.networks.encoders import LAYOUTS, Encoder, ModelSpec, stride_for
from core.networks.heads import build, encoder_of
from core.networks.weights import load_encoder, load_model, read_safetensors, save_model
from core.store.read import LandClass
from core.training.trainer import pick_precision
from export import to_onnx
from export.model_files.dense import DenseFeatures
from export.runtime.model.session import Model
from tests.conftest import call
from tests.test_series_networks import network, series

pytestmark = pytest.mark.usefixtures("one_thread")

# Where an encoder of stride 16 may keep resolution: the max-pool's place, or a stage's.
POSSIBLE = [(2, 1, 2, 2, 2), (2, 2, 1, 2, 2)]
CLASSES = tuple(LandClass(value, f"class {value}", "000000") for value in (1, 2))


@pytest.fixture(params=POSSIBLE, ids=str)
def layout(request, monkeypatch):
    monkeypatch.setitem(LAYOUTS, 16, request.param)
    return request.param


def spec_of(stride=16, arch="resnet18", task="embedding", **more) -> ModelSpec:
    torch.manual_seed(0)
    plain = ModelSpec(task, arch, ("a", "b", "c"), "counts", (0, 1), (0.0,) * 3, (1.0,) * 3, 10.0, 32, stride=stride)
    return replace(plain, **({} if task == "embedding" else {"classes": CLASSES}), **more)


def file_of(store, path, stride=16, task="embedding", **more):
    """A network that has not learnt anything, as a file."""
    torch.manual_seed(0)
    spec = replace(ModelSpec.of_store(store, "resnet18", stride), task=task, **more)
    spec = spec if task == "embedding" else replace(spec, classes=store.info.classes)
    save_model(path, spec, build(spec))
    return path


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_features_are_those_of_torchvisions_network_with_the_same_weights(arch, layout):
    encoder = Encoder(spec_of(arch=arch)).eval()
    plain = getattr(torchvision.models, arch)().eval()
    plain.fc = nn.Identity()
    plain.maxpool = nn.MaxPool2d(3, 2, 1) if layout[1] == 2 else nn.Identity()
    for stage, stride in zip((plain.layer2, plain.layer3, plain.layer4), layout[2:]):
        (stage[0].conv1 if arch == "resnet18" else stage[0].conv2).stride = stride
        stage[0].downsample[0].stride = stride
    plain.load_state_dict(encoder.trunk.state_dict())
    pixels = torch.rand(2, 3, 32, 48)
    with torch.inference_mode():
        maps, expected = encoder.pyramid(pixels), plain(pixels)
        torch.testing.assert_close(encoder(pixels), expected, rtol=1e-4, atol=1e-5)
    assert [32 // part.shape[2] for part in maps] == [48 // part.shape[3] for part in maps] == encoder.strides
    assert [part.shape[1] for part in maps] == encoder.channels
    assert encoder.stride == encoder.strides[-1] == 16


@pytest.mark.parametrize("stride", LAYOUTS)
def test_each_layout_has_its_stride_and_the_same_weights(stride):
    encoder = Encoder(spec_of(stride))
    assert encoder.stride == stride
    shapes = {name: values.shape for name, values in encoder.state_dict().items()}
    assert shapes == {name: values.shape for name, values in Encoder(spec_of(32)).state_dict().items()}


def test_small_maps_give_the_same_gradients(layout, monkeypatch):
    encoder, pixels = Encoder(spec_of()), torch.rand(4, 3, 32, 32)
    for module in encoder.modules():
        if hasattr(module, "relu"):
            module.relu = nn.Softplus()  # smooth: rounding may turn ReLU the other way
    sides = []
    for pays in (small_maps.pays, lambda maps: False):
        monkeypatch.setattr(small_maps, "pays", pays)
        encoder.zero_grad()
        features = encoder(pixels)
        features.square().mean().backward()
        sides.append([features.detach(), *(weight.grad.clone() for weight in encoder.parameters())])
    for own, expected in zip(*sides):
        assert float((own - expected).norm() / expected.norm()) < 1e-3


def test_a_stride_is_kept_by_files(store, tmp_path):
    path = file_of(store, tmp_path / "e.safetensors")
    for spec, encoder in (load_model(path), load_encoder(path, store)):
        assert spec.stride == encoder.stride == 16
    weights, metadata = read_safetensors(path)
    fields = json.loads(metadata["geoaware"])
    del fields["stride"]  # a file of an older version
    save_file(weights, tmp_path / "old.safetensors", metadata={"geoaware": json.dumps(fields)})
    assert load_encoder(tmp_path / "old.safetensors", store)[1].stride == 32
    for fields["stride"], fields["arch"], said in (
        (12, "resnet18", "resnet18 takes 32, 16, 8"),
        (16, "convnext_atto", "convnext_atto has 32; leave it out"),
    ):
        save_file(weights, tmp_path / "x.safetensors", metadata={"geoaware": json.dumps(fields)})
        with pytest.raises(UserError, match=rf"x\.safetensors: .*--stride {fields['stride']}: {said}"):
            load_model(tmp_path / "x.safetensors")


def test_pretraining_records_the_stride_and_resumes_with_no_other(store, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    options = ["pretrain", "--data", store.path, "--out", out, "--device", "cpu", "--precision", "32-true"]
    options += ["--variant", "moco", "--batch-size", 64, "--queue", 64, "--views.size", 16]
    monkeypatch.setattr(encoders, "SMALL_CHIPS", {16: 8, 64: 16})
    assert [stride_for("resnet18", size) for size in (8, 16, 17, 64, 65)] == [8, 8, 16, 16, 32]
    assert stride_for("convnext_atto", 16) == 32
    assert call(train.main, *options, "--epochs", 1) == 0
    assert load_model(out / "encoder.safetensors")[0].stride == 8
    assert call(train.main, *options, "--epochs", 2, "--resume", "--stride", 16) == 2
    assert "--stride 8 is now 16; resume with the original options" in capsys.readouterr().err
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("stride: 8\n", ""))  # of an older version, so that it was 32
    assert call(train.main, *options, "--epochs", 2, "--resume") == 2
    assert "--stride 32 is now 8" in capsys.readouterr().err
    for bad, said in (("12", "--stride 12: resnet18 takes 32, 16, 8"), ("16", "--stride 16: convnext_atto has 32")):
        arch = ["--arch", "convnext_atto"] if "convnext" in said else []
        assert call(train.main, *options, "--overwrite", "--stride", bad, *arch) == 2
        assert said in capsys.readouterr().err
    assert (out / "encoder.safetensors").is_file()


def test_a_map_learned_on_it_fits_its_pixels_and_is_exported(store, tmp_path, capsys):
    encoder, out, onnx = file_of(store, tmp_path / "e.safetensors"), tmp_path / "run", tmp_path / "m.onnx"
    options = ["finetune", "--data", store.path, "--encoder", encoder, "--out", out]
    options += ["--device", "cpu", "--precision", "32-true"]
    assert call(train.main, *options, "--epochs", 2, "--batch-size", 16, "--labels-fraction", 0.6) == 0
    result = json.loads((out / "metrics.json").read_text())
    assert result["accuracy"] > result["majority_class"] + 0.2
    assert load_model(out / "model.safetensors")[0].stride == 16
    assert call(to_onnx.main, out, "--out", onnx, "--tile-size", 40) == 2
    assert "--tile-size 40: must be a multiple of 16, the network's stride" in capsys.readouterr().err
    assert call(to_onnx.main, out, "--out", onnx, "--tile-size", 80) == 0  # compares both on real chips
    card = json.loads(onnx.with_suffix(".mlm.json").read_text())["properties"]
    assert card["mlm:architecture"] == "U-Net resnet18, stride 16"
    assert card["mlm:hyperparameters"]["stride"] == 16
    # a border between two kinds of land at pixel 36, at the edge of no place of a map
    flat = np.nanmean(store.pixels(np.arange(60)), axis=(2, 3))
    one, other = flat[flat[:, 2].argmin()], flat[flat[:, 2].argmax()]
    tile = np.broadcast_to(one[None, :, None, None], (1, 3, 80, 80)).astype(np.float32)
    tile = np.where(np.arange(80) < 36, tile, other[None, :, None, None].astype(np.float32))
    answer = Model(onnx).run(tile)[0].argmax(axis=0)
    assert answer.shape == (80, 80)
    inner = answer[24:56]
    left, right = inner[0, 8], inner[0, 70]
    assert left != right
    # Half a place would be 8 px; single rows differ by a pixel or two with the threads of the training.
    apart = np.abs((inner == right).argmax(axis=1) - 36)
    assert np.median(apart) <= 1
    assert apart.max() <= 2


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_gives_a_class_per_pixel_that_lies_around_it(decoder, layout, store, tmp_path):
    centres = []
    for stride in (32, 16):
        model = build(spec_of(stride, task="segmentation", decoder=decoder)).eval()
        with torch.inference_mode():
            assert model(torch.rand(1, 3, 50, 71)).shape == (1, 2, 50, 71)
        for part in model.modules():
            if isinstance(part, nn.ReLU):
                part.inplace = False
        pixels = torch.rand(1, 3, 64, 64, requires_grad=True)
        model(pixels)[0, :, 16:48, 16:48].sum().backward()  # the middle of these is at 31.5
        weight = pixels.grad.abs().sum(dim=(0, 1))
        middle = torch.arange(64.0)
        centres.append([float((weight.sum(dim=axis) * middle).sum() / weight.sum()) for axis in (0, 1)])
    standard, small = np.abs(np.array(centres) - 31.5).max(axis=1)
    assert small < standard + 0.5  # untrained, every decoder sees a little more of one side
    path, out = file_of(store, tmp_path / "m.safetensors", task="segmentation", decoder=decoder), tmp_path / "m.onnx"
    assert to_onnx.export_onnx(path, out, store.path, tile_size=48) < 1e-3
    assert Model(out).run(np.full((1, 3, 48, 48), 100, np.float32)).shape == (1, 3, 48, 48)


@pytest.mark.parametrize("temporal", ["attention", "composite"])
@torch.inference_mode()
def test_series_are_pooled_at_its_levels(temporal, layout):
    for task, shape in (("segmentation", (1, 3, 48, 48)), ("classification", (1, 3))):
        model = network(task, stride=16, temporal=temporal)
        pixels, valid, days = series(3, size=48)
        answer = model(pixels, valid, days)
        assert answer.shape == shape
        alone = model(pixels[1:], valid[1:], days[1:])
        valid[0] = False  # what no date holds does not count
        torch.testing.assert_close(model(pixels, valid, days), alone, atol=2e-4, rtol=1e-3)
        assert not torch.allclose(answer, alone, atol=2e-4)


def test_objects_are_found_by_anchors_of_its_maps(layout, store, tmp_path):
    spec = spec_of(task="detection")
    model = build(spec).eval()
    strides = [*encoder_of(model).strides[3:], 32, 64]
    assert [sizes[0] for sizes in model.anchor_generator.sizes] == [2 * stride for stride in strides]
    assert [sizes[0] for sizes in build(spec_of(32, task="detection")).anchor_generator.sizes] == [16, 32, 64, 128, 256]
    images = model.transform(torch.rand(1, 3, 40, 40))[0]
    assert images.tensors.shape[-2:] == (48, 48)
    maps = [*model.backbone(images.tensors).values()]
    assert [48 // part.shape[-1] for part in maps[:3]] == strides[:3]
    path, out = file_of(store, tmp_path / "m.safetensors", task="detection"), tmp_path / "m.onnx"
    assert to_onnx.export_onnx(path, out, store.path, tile_size=48) < 1e-3


def test_dense_features_are_the_first_four_maps(layout, store, tmp_path):
    path, out = file_of(store, tmp_path / "e.safetensors"), tmp_path / "m.onnx"
    assert to_onnx.export_onnx(path, out, store.path, tile_size=80, dense=True) < 1e-3
    card = json.loads(out.with_suffix(".mlm.json").read_text())["properties"]
    encoder = load_model(path)[1]
    assert [one["stage"] for one in card["geoaware:channels"]] == encoder.strides[1:5]
    assert len({one["tensor"] for one in card["geoaware:channels"]}) == 4
    assert Model(out).run(np.full((1, 3, 80, 80), 100, np.float32)).shape == (1, 512, 20, 20)
    narrow, wide = (DenseFeatures(Encoder(spec_of(stride)).eval()).reach(256) for stride in (16, 32))
    assert narrow < wide


def test_finetuning_resumes_with_no_encoder_of_another_stride(store, tmp_path, capsys):
    encoder, out = file_of(store, tmp_path / "e.safetensors", stride=32), tmp_path / "run"
    options = ["finetune", "--data", store.path, "--encoder", encoder, "--out", out, "--task", "classification"]
    options += ["--labels-fraction", 0.2, "--device", "cpu", "--precision", "32-true"]
    assert call(train.main, *options, "--epochs", 1) == 0
    file_of(store, encoder)
    assert call(train.main, *options, "--epochs", 1, "--resume") == 2
    assert "its encoder has a stride of 32 px, but that of this run 16" in capsys.readouterr().err


def test_bf16_is_refused_on_a_cpu_below_half_the_stride():
    with pytest.raises(UserError, match="images of up to 8 px"):
        pick_precision("bf16-mixed", torch.device("cpu"), 8, 16)
    assert pick_precision("bf16-mixed", torch.device("cpu"), 9, 16) == "bf16-mixed"


def test_the_specification_is_written_with_its_stride():
    spec = spec_of(8)
    assert ModelSpec.from_json(json.dumps(asdict(spec))) == spec

"""The networks of the tasks on every kind of encoder, and the files they are kept in."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import UserError
from core.networks.decoders import DECODERS
from core.networks.encoders import ModelSpec
from core.networks.heads import Detector, build
from core.networks.weights import load_model, read_safetensors, save_model
from core.store.build import build as build_store
from export.runtime.model.session import Model
from export.to_onnx import export_onnx
from tests.sources import Bare, info

SIZE = 40  # no multiple of 32
# A ConvNet that begins with stride 4, one with depthwise and one with grouped convolutions.
SMALL = ("convnext_atto", "efficientnet_lite0", "regnetx_002")
SHAPES = {"classification": (1, 2), "segmentation": (1, 2, 64, 64)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    source = Bare(info(chip_size=SIZE, bands=("red", "green", "blue"), dtype="uint8"))
    return build_store(source, tmp_path_factory.mktemp("bare") / "store", workers=1)[0]


def spec_of(store, arch: str, task: str, decoder: str = "unet") -> ModelSpec:
    return replace(ModelSpec.of_store(store, arch), task=task, decoder=decoder, classes=store.info.classes)


def self_assured(detector: Detector) -> Detector:
    """Untrained, but with scores that are not all below the threshold, and not all alike."""
    head = detector.head.classification_head.cls_logits
    torch.nn.init.normal_(head.weight, std=0.1)
    torch.nn.init.constant_(head.bias, -2.0)
    return detector


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize(
    ("task", "decoder"), [("classification", "unet"), *(("segmentation", name) for name in DECODERS)]
)
def test_a_timm_encoder_serves_and_is_exported(store, tmp_path, arch, task, decoder):
    torch.manual_seed(0)
    spec = spec_of(store, arch, task, decoder)
    weights, out = tmp_path / "model.safetensors", tmp_path / "m.onnx"
    save_model(weights, spec, build(spec))
    assert export_onnx(weights, out, store.path, tile_size=64) < 1e-3  # torch's answer and onnxruntime's
    assert Model(out).run(np.full((1, 3, 64, 64), 100, np.float32)).shape == SHAPES[task]


@pytest.mark.parametrize("arch", SMALL)
def test_a_detector_on_chips_of_an_odd_size_is_exported(store, tmp_path, arch):
    torch.manual_seed(0)
    spec = spec_of(store, arch, "detection")
    weights, out = tmp_path / "model.safetensors", tmp_path / "m.onnx"
    save_model(weights, spec, self_assured(build(spec)))
    assert export_onnx(weights, out, store.path) < 1e-3
    boxes, scores, labels = Model(out).outputs(store.pixels(np.array([0])))
    assert len(boxes) == len(scores) == len(labels) > 0
    assert boxes.min() >= 0
    assert boxes.max() <= SIZE


def test_what_a_detector_fills_up_is_no_data(store):
    torch.manual_seed(0)
    model = self_assured(build(spec_of(store, "resnet18", "detection"))).eval()
    pixels = torch.from_numpy(store.pixels(np.array([0])))
    filled = torch.full((1, 3, 64, 64), torch.nan)
    filled[..., :SIZE, :SIZE] = pixels
    with torch.inference_mode():
        own, meant = model.backbone(model.transform(pixels)[0].tensors), model.backbone(filled)
    assert own.keys() == meant.keys()
    for level, maps in own.items():
        torch.testing.assert_close(maps, meant[level])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("task", "captioning", "task 'captioning' is not one of embedding, classification"),
        ("decoder", "psanet", "decoder 'psanet' is not one of unet, deeplabv3plus, fpn"),
        ("arch", "resnet19", "--arch resnet19"),
    ],
)
def test_a_file_of_an_unknown_kind_is_refused_by_name(store, tmp_path, field, value, message):
    spec = spec_of(store, "resnet18", "segmentation")
    path = tmp_path / "model.safetensors"
    save_model(path, spec, build(spec))
    weights, metadata = read_safetensors(path)
    fields = json.loads(metadata["geoaware"]) | {field: value}
    save_file(weights, path, metadata={"geoaware": json.dumps(fields)})
    with pytest.raises(UserError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)

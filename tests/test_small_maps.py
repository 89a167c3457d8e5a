"""Convolutions on small maps against torch's own, and the encoders that use them."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from core.networks import small_maps
from core.networks.decoders import decoder_of
from core.networks.encoders import Encoder, ModelSpec

# Of values and gradients, relative to their norm; torch's own convolutions reach 3e-6 against double precision.
TOLERANCE = 2e-5
DEEP = 1e-3  # through the layers of an encoder, where batch norm divides by deviations of few values


def spec(arch="resnet18", bands=3):
    names = tuple(f"band {number}" for number in range(bands))
    return ModelSpec("embedding", arch, names, "", (0, 1), (0.0,) * bands, (1.0,) * bands, None, 32)


def plain(arch, encoder):
    """Torchvision's own network with the same weights."""
    network = getattr(torchvision.models, arch)()
    network.conv1 = nn.Conv2d(encoder.channels[0], 64, 7, stride=2, padding=3, bias=False)
    network.fc = nn.Identity()
    network.load_state_dict(encoder.trunk.state_dict())
    return network


def difference(values, expected):
    values, expected = values.detach().double(), expected.detach().double()
    return float((values - expected).norm() / expected.norm())


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("layout", ["arranged", "channels_last", "contiguous"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (8, 8), (16, 16), (1, 2), (4, 7)])
def test_a_convolution_and_its_gradients_are_those_of_torch(size, stride, layout):
    maps, weight = torch.randn(5, 6, *size), torch.randn(7, 6, 3, 3)
    if layout == "channels_last":
        maps, weight = (part.to(memory_format=torch.channels_last) for part in (maps, weight))
    elif layout == "arranged":
        maps = small_maps.arranged(maps)
    own = small_maps.Conv2d(6, 7, 3, stride, 1, bias=False)
    own.weight = nn.Parameter(weight)
    maps = maps.requires_grad_()
    assert small_maps.pays(maps)
    exact = [part.detach().double().requires_grad_() for part in (maps, weight)]
    expected = F.conv2d(*exact, stride=stride, padding=1)
    result = own(maps)
    assert result.shape == expected.shape
    assert difference(result, expected) < TOLERANCE
    gradient = torch.randn_like(result)
    for part, wanted in zip(
        torch.autograd.grad(result, (maps, own.weight), gradient),
        torch.autograd.grad(expected, exact, gradient.double()),
    ):
        assert part.shape == wanted.shape
        assert difference(part, wanted) < TOLERANCE


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_of_one_pixel_kernel(stride):
    maps, own = torch.randn(3, 6, 5, 5), small_maps.Conv2d(6, 7, 1, stride, bias=False)
    assert difference(own(maps), F.conv2d(maps.double(), own.weight.double(), stride=stride)) < TOLERANCE


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 32), ("resnet18", 48), ("resnet50", 32)])
def test_an_encoder_gives_torchvisions_features_and_gradients(arch, size):
    encoder = Encoder(spec(arch)).to(memory_format=torch.channels_last)
    network, pixels = plain(arch, encoder).double(), torch.randn(6, 3, size, size)
    for module in [*encoder.modules(), *network.modules()]:  # smooth: rounding may turn ReLU or a maximum the other way
        if hasattr(module, "relu"):
            module.relu = nn.Softplus()
        if hasattr(module, "maxpool"):
            module.maxpool = nn.AvgPool2d(3, 2, 1)
    assert [*encoder.trunk.state_dict()] == [*network.state_dict()]
    features, expected = encoder(pixels), network(pixels.double())
    assert difference(features, expected) < DEEP
    direction = torch.randn_like(features)
    (features * direction).sum().backward()
    (expected * direction).sum().backward()
    for (name, own), its in zip(encoder.trunk.named_parameters(), network.parameters()):
        assert difference(own.grad, its.grad) < DEEP, name
        if own.ndim == 4 and own.shape[-1] > 1:
            assert own.grad.stride() == own.stride(), name  # otherwise each step copies it
    for (name, own), its in zip(encoder.trunk.named_buffers(), network.buffers()):
        assert torch.allclose(own.double(), its.double(), rtol=1e-4, atol=1e-5), name
    assert difference(encoder.eval()(pixels), network.eval()(pixels.double())) < TOLERANCE


def test_the_pyramid_is_that_of_the_plain_convolutions(monkeypatch):
    encoder, pixels = Encoder(spec()).eval(), torch.randn(4, 3, 64, 96)
    with torch.inference_mode():
        own = encoder.pyramid(pixels)
        monkeypatch.setattr(small_maps, "pays", lambda maps: False)
        expected = encoder.pyramid(pixels)
    for part, wanted in zip(own, expected, strict=True):
        assert part.shape == wanted.shape
        assert difference(part, wanted) < TOLERANCE


def test_the_decoder_is_that_of_the_plain_convolutions(monkeypatch):
    encoder = Encoder(spec())
    decoder, channels = decoder_of("unet", encoder)[0], encoder.channels
    assert sum(type(module) is small_maps.Conv2d for module in decoder.modules()) == 10
    for module in [*decoder.modules()]:  # smooth, as above
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.ReLU):
            module[-1] = nn.Softplus()
    maps = [torch.randn(4, width, 64 >> level, 64 >> level) for level, width in enumerate(channels)]
    maps[2:] = [small_maps.arranged(part) for part in maps[2:]]
    results = []
    for pays in (small_maps.pays, lambda maps: False):
        monkeypatch.setattr(small_maps, "pays", pays)
        given = [part.clone().requires_grad_() for part in maps[1:]]
        decoded = decoder.train()([maps[0], *given])
        wanted = torch.linspace(-1, 1, decoded.numel()).view_as(decoded)
        results.append([decoded, *torch.autograd.grad((decoded * wanted).sum(), [*given, *decoder.parameters()])])
    for own, plain_one in zip(*results, strict=True):
        assert difference(own, plain_one) < DEEP


def test_gradients_after_features_without_gradients():
    """Constant matrices of the first use, under inference mode, serve training."""
    small_maps._plan.cache_clear()
    encoder, pixels = Encoder(spec()), torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        encoder(pixels)
    encoder(pixels).sum().backward()
    assert encoder.trunk.layer4[1].conv2.weight.grad.isfinite().all()


def test_bf16_and_large_maps_are_torchs():
    maps = torch.zeros(1, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert not small_maps.pays(maps)
    assert not small_maps.pays(maps.bfloat16())
    assert not small_maps.pays(torch.zeros(1, 1, 4, small_maps.LARGEST + 1))
    assert small_maps.pays(maps)

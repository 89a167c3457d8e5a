"""Encoders and their specification. Scaling is their first layer: every network takes raw pixel values."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from operator import mul
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from core.errors import UserError
from core.networks import small_maps, torchgeo_swins
from core.store.read import ChipStore, LandClass

ARCHS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # torchvision's; timm has the others
STRIDE = 32  # px of the image in a pixel of the last map: of every network, unless a ResNet is made for small chips
# Strides of a ResNet's first convolution, max-pool and stages 2 to 4, by the total: where resolution is kept for small chips.
LAYOUTS = {32: (2, 2, 2, 2, 2), 16: (2, 1, 2, 2, 2), 8: (2, 1, 1, 2, 2)}
SMALL = 32  # px: on a CPU images up to this size are faster in fp32
SMALL_CHIPS: dict[int, int] = {}  # largest image, px, and the stride that a ResNet for it gets; larger ones ``STRIDE``


@dataclass(frozen=True)
class ModelSpec:
    """What the weights of a network need to be used again; the imagery is described as in ``StoreInfo``.

    Attributes:
        task: embedding, classification, sequence, segmentation or detection.
        arch: one of ``ARCHS``, the name of a timm model, or ``torchgeo:`` and one of ``torchgeo_swins.SWINS``.
        value_range: lowest and highest value seen in training.
        chip_size: rows = columns seen in training, px.
        classes: in the order of the output; empty for an embedding.
        description: training method and data.
        decoder: for segmentation: unet, deeplabv3plus or fpn.
        dates: 0 for a model of one date; of a model that reads a series the most dates seen in training.
        temporal: how a series is read: attention, composite or mean.
        location: whether a series' longitude and latitude are read too.
        stride: px of the image in a pixel of the last map; one of ``LAYOUTS`` for a ResNet, else ``STRIDE``. The weights
            are the same for each, so they mean nothing without it.
    """

    task: str
    arch: str
    bands: tuple[str, ...]
    unit: str
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gsd: float | None
    chip_size: int
    classes: tuple[LandClass, ...] = ()
    description: str = ""
    license: str = ""
    decoder: str = "unet"
    dates: int = 0
    temporal: str = "attention"
    location: bool = False
    stride: int = STRIDE

    @classmethod
    def of_store(cls, store: ChipStore, arch: str, stride: int = STRIDE) -> ModelSpec:
        """Specification of an encoder for the imagery of a store, scaled by the statistics of its training places."""
        check_arch(arch, stride)
        same = ("bands", "unit", "value_range", "mean", "std", "gsd", "chip_size", "license")
        return cls("embedding", arch, **{name: getattr(store.info, name) for name in same}, stride=stride)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what ``asdict`` wrote."""
        fields = json.loads(text)
        for name in ("bands", "value_range", "mean", "std"):
            fields[name] = tuple(fields[name])
        fields["classes"] = tuple(LandClass(**entry) for entry in fields["classes"])
        return cls(**fields)


def stride_for(arch: str, size: int) -> int:
    """The stride of a new network for images of ``size`` = rows = columns, px."""
    fitting = [stride for largest, stride in sorted(SMALL_CHIPS.items()) if size <= largest]
    return fitting[0] if fitting and arch in ARCHS else STRIDE


def check_arch(arch: str, stride: int = STRIDE) -> None:
    """Raise ``UserError`` unless it is one of ``ARCHS`` or a timm model with a feature pyramid, of such a stride."""
    if stride not in (LAYOUTS if arch in ARCHS else (STRIDE,)):
        known = (
            f"{arch} takes {', '.join(map(str, LAYOUTS))}" if arch in ARCHS else f"{arch} has {STRIDE}; leave it out"
        )
        raise UserError(f"--stride {stride}: {known}")
    if arch in ARCHS:
        return
    if arch.startswith(torchgeo_swins.PREFIX):
        torchgeo_swins.check_name(arch)
        return
    import timm  # slow to import, and ResNets do without

    if not timm.is_model(arch):
        similar = difflib.get_close_matches(arch, timm.list_models(), cutoff=0.5)
        hint = f"; similar names: {', '.join(similar)}" if similar else ""
        raise UserError(
            f"--arch {arch}: choose {', '.join(ARCHS)}, torchgeo:NAME or a timm model with a feature pyramid{hint}"
        )
    strides = [64 // size for size in _map_sizes(arch, 3, 64) or []]
    if strides != [1, 2, 4, 8, 16, 32]:  # plain transformers have one stride, others one image size
        raise UserError(
            f"--arch {arch}: has no feature maps at strides 4, 8, 16 and 32 for chips of any size; choose another model"
        )


def check_size(arch: str, bands: int, size: int) -> None:
    """Raise ``UserError`` if images of this size are too small for an architecture; a ResNet accepts any."""
    if arch not in ARCHS and _map_sizes(arch, bands, size) is None:
        raise UserError(
            f"--arch {arch}: does not accept images of {size} px; use chips or views of 32 px or more, or a ResNet"
        )


def _map_sizes(arch: str, bands: int, size: int) -> list[int] | None:
    """Columns of each feature map of a network for square images; None if it does not accept them."""
    try:
        with torch.device("meta"), torch.inference_mode():  # shapes only: no memory, no time
            return [part.shape[-1] for part in _trunk(arch, bands).eval()(torch.zeros(1, bands, size, size))]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
        return None


class Standardise(nn.Module):
    """Raw pixel values to zero mean and unit variance per band; NaN (no data) becomes the mean."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Scale (N, bands, rows, cols)."""
        scaled = (pixels - self.mean) / self.std
        return torch.where(torch.isnan(scaled), 0.0, scaled)


class Encoder(nn.Module):
    """A backbone without head: raw pixels (N, bands, rows, cols) to features (N, ``width``) after average pooling.

    ``channels`` and ``strides``, px, are those of each map of ``pyramid``; ``stride`` is the last.
    """

    channels: list[int]
    strides: list[int]

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.standardise = Standardise(spec)
        bands = len(spec.bands)
        if spec.arch in ARCHS:
            self.trunk = getattr(torchvision.models, spec.arch)()
            self.trunk.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
            width = self.trunk.fc.in_features
            self.trunk.fc = nn.Identity()
            stem, pool, *others = LAYOUTS[spec.stride]
            if pool == 1:
                self.trunk.maxpool = nn.Identity()
            for stage, stride in zip(self._stages()[1:], others):
                _begin_with_stride(stage, stride)
            for stage in self._stages():
                small_maps.convert(stage)
            self.channels = [bands, 64, *(width // 2**n for n in (3, 2, 1, 0))]
            self.strides = [1, *accumulate((stem, pool, *others), mul)]
        else:
            self.trunk = _trunk(spec.arch, bands)
            self.channels = list(self.trunk.out_channels)
            self.strides = [2**level for level in range(6)]
        self.is_resnet = spec.arch in ARCHS
        self.width, self.stride = self.channels[-1], self.strides[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, width)."""
        last = self.pyramid(pixels)[-1]
        return self.trunk.avgpool(last).flatten(1) if self.is_resnet else last.mean(dim=(2, 3))

    def pyramid(self, pixels: Tensor) -> list[Tensor]:
        """The standardised input, then maps at ``strides``: 2, 4, 8, 16, 32, or less for small chips.

        ``pixels`` are (N, bands, rows, cols), rows and cols multiples of ``stride``. Networks that start at stride 4 return a map
        of 0 channels at stride 2; VGGs return their own first map instead of the input.
        """
        scaled = self.standardise(pixels)
        if not self.is_resnet:
            return self.trunk(scaled)
        trunk = self.trunk
        stem = trunk.relu(trunk.bn1(trunk.conv1(scaled)))
        part = trunk.maxpool(stem)
        if small_maps.pays(part):
            part = small_maps.arranged(part)
        maps = [scaled, stem]
        for stage in self._stages():
            part = stage(part)
            maps.append(part)
        return maps

    def _stages(self) -> list[nn.Module]:
        return [self.trunk.layer1, self.trunk.layer2, self.trunk.layer3, self.trunk.layer4]


def _begin_with_stride(stage: nn.Module, stride: int) -> None:
    """Set the stride of a ResNet's stage 2, 3 or 4, which lies in its first block."""
    block = stage[0]  # type: ignore[index]
    strided = block.conv2 if hasattr(block, "conv3") else block.conv1
    strided.stride = block.downsample[0].stride = (stride, stride)


def _trunk(arch: str, bands: int) -> nn.Module:
    """An untrained model of timm or torchgeo that returns the feature maps of ``Encoder.pyramid``."""
    if arch.startswith(torchgeo_swins.PREFIX):
        return torchgeo_swins.SwinTrunk(arch, bands)
    import segmentation_models_pytorch as smp  # slow to import, and ResNets do without

    options = {"dynamic_img_size": True} if arch.startswith("swin") else {}
    return smp.encoders.TimmUniversalEncoder(arch, pretrained=False, in_channels=bands, **options)


@cache
def faster_in_bf16(device: torch.device, size: int) -> bool:
    """Whether bf16 is faster for images of ``size`` = rows = columns, px.

    A GPU reports its support. A CPU needs AMX or AVX-512 BF16, and images above ``SMALL``: the convolutions of
    ``small_maps`` are fp32, and with AMX a training step of a ResNet-18 at 32 px takes 2.3 times as long in bf16.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    cpuinfo = Path("/proc/cpuinfo")  # Linux only; elsewhere fp32
    flags = cpuinfo.read_text() if device.type == "cpu" and size > SMALL and cpuinfo.exists() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags


@torch.inference_mode()
def features(
    model: nn.Module, store: ChipStore, rows: np.ndarray, device: torch.device, batch_size: int = 512
) -> np.ndarray:
    """(N, D) float32 features of the images of (N,) index rows."""
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    reduced = faster_in_bf16(device, store.info.chip_size)
    parts = []
    for start in range(0, len(rows), batch_size):
        pixels = torch.from_numpy(store.pixels(rows[start : start + batch_size])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            parts.append(model(pixels).float().cpu().numpy())
    return np.concatenate(parts)

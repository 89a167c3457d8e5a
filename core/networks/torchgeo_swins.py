"""torchgeo's encoders that have a feature pyramid, the Swin transformers: ``torchgeo:NAME`` as architecture.

Its ResNets are those of ``core.networks.encoders``; its other models have one stride, one image size or other inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError, first_line

PREFIX = "torchgeo:"
SWINS = ("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_b")


def check_name(arch: str) -> None:
    """Raise ``UserError`` unless it names one of ``SWINS`` and torchgeo can be imported."""
    if arch.removeprefix(PREFIX) not in SWINS:
        raise UserError(
            f"--arch {arch}: choose one of torchgeo's {', '.join(PREFIX + name for name in SWINS)}; its ResNets are resnet18, "
            "resnet50 and resnet152 here, and its other models have no feature maps at strides 4, 8, 16 and 32"
        )
    try:
        import torchgeo.models  # noqa: F401 - slow to import, and others do without
    except ImportError as error:
        raise UserError(f"--arch {arch}: needs torchgeo ({first_line(error)}); pip install torchgeo") from error


class SwinTrunk(nn.Module):
    """An untrained Swin transformer of torchgeo for any number of bands, with the maps of ``Encoder.pyramid``.

    As in SatlasPretrain and in timm the maps are those of the stages, without the layer norm before the classifier.
    """

    def __init__(self, arch: str, bands: int) -> None:
        from torchgeo.models import get_model  # slow to import, and others do without

        super().__init__()
        layers: Any = get_model(arch.removeprefix(PREFIX)).features
        first = layers[0][0]
        width = first.out_channels
        layers[0][0] = nn.Conv2d(bands, width, first.kernel_size, first.stride)
        self.features: nn.Sequential = layers
        self.out_channels = [bands, 0, *(width * 2**stage for stage in range(4))]

    def forward(self, scaled: Tensor) -> list[Tensor]:
        """The input (N, bands, rows, cols), a map of 0 channels at stride 2, and maps at strides 4, 8, 16, 32."""
        count, _, rows, columns = scaled.shape
        maps, part = [scaled, torch.empty(count, 0, rows // 2, columns // 2, device=scaled.device)], scaled
        for number, layer in enumerate(self.features):  # stages at odd places, merging of patches between them
            part = layer(part)
            if number % 2:
                maps.append(part.permute(0, 3, 1, 2))
        return maps

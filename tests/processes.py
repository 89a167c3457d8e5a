"""``core.train`` with a small smooth encoder, for comparing several processes with one.

In a deep ReLU network the rounding of a sum grows a hundredfold a step, so that nothing could be compared
after the third.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core import train
from core.method.moco import MoCo
from core.networks.encoders import ModelSpec, Standardise
from core.training import pretrain


class SmoothEncoder(nn.Module):
    width = 16

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        layers = [nn.Conv2d(len(spec.bands), 16, 3, stride=2), nn.BatchNorm2d(16), nn.Tanh()]
        layers += [nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.layers = nn.Sequential(Standardise(spec), *layers)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)


class GroupedBatchNorm(nn.BatchNorm2d):
    """Batch norm over each half of a batch, as two processes have it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(GroupedBatchNorm, self).forward(half) for half in x.chunk(2)])


class GroupedMoCo(MoCo):
    """MoCo with the batch norm of two processes, in one."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        for module in list(self.modules()):
            if type(module) is nn.BatchNorm2d:
                module.__class__ = GroupedBatchNorm


if __name__ == "__main__":
    torch.set_num_threads(1)
    pretrain.Encoder = SmoothEncoder
    raise SystemExit(train.main())

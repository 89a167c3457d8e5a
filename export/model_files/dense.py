"""The multi-stage form of an encoder: maps of its stages, each of equal weight, side by side at one stride.

A place of the map is ``FACTOR`` px wide. Each stage is standardised by the statistics of its channels on chips of the store
and divided by the root of their number, so that the features of every stage together have a variance of 1. Deeper stages
reach ``FACTOR`` by bilinear interpolation; those of stride 2 by averages. The encoder's last stage, at stride 32, is left out:
it has most of the weights, says least about a place, and its receptive field is the widest. The stages of an encoder for small
chips have strides of 2 to 8.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.networks.encoders import Encoder

FACTOR = 4
LEVELS = range(1, 5)  # of the encoder's pyramid: the stages that are used
TILE = 512  # px, unless one is asked for
_STEP = 32  # px; sides of tiles are multiples of it
_LEAST_SPREAD = 0.05  # of a stage's usual deviation: channels that say next to nothing are not amplified further
_BORDER_STEP = 16  # px: the deepest stage's stride, or a multiple of it
_UNBOUNDED = 8  # a tile over this is the border where the receptive field is unbounded or too wide


@dataclass(frozen=True)
class EncoderStage:
    """Channels of the features that come from one stage, as the card lists them.

    Attributes:
        tensor: its name inside the graph: standardised (N, count, tile / stride, tile / stride), not yet at ``FACTOR``.
        stride: px; of a stage at stride 2, whose tensor is averaged already, ``FACTOR``.
        first: the stage's first channel in the features.
        count: number of its channels.
        stage: stride of the encoder's own map, px.
    """

    tensor: str
    stride: int
    first: int
    count: int
    stage: int


class DenseFeatures(nn.Module):
    """Raw pixels (N, bands, T, T), T a multiple of the encoder's stride, to (N, D, T / 4, T / 4), and the tensors of ``stages``."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        # Networks that start at stride 4 have no channels at stride 2.
        self.levels = [level for level in LEVELS if encoder.channels[level]]
        self.stages: list[EncoderStage] = []
        first = 0
        for level in self.levels:
            count, stage = encoder.channels[level], encoder.strides[level]
            self.stages.append(EncoderStage(f"map_{level}", max(stage, FACTOR), first, count, stage))
            first += count
        self.scales = [torch.ones(stage.count, 1, 1) for stage in self.stages]
        self.shifts = [torch.zeros(stage.count, 1, 1) for stage in self.stages]

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        """The map of each stage, as it is."""
        pyramid = self.encoder.pyramid(pixels)
        return [_averaged(pyramid[level], stage) for level, stage in zip(self.levels, self.stages)]

    def learn(self, tiles: np.ndarray) -> None:
        """Standardise by the statistics of raw (N, bands, rows, columns)."""
        sums = [torch.zeros(2, stage.count, dtype=torch.float64) for stage in self.stages]
        places = np.zeros(len(sums))
        for tile in tiles:
            with torch.inference_mode():
                maps = self._maps(torch.from_numpy(tile[None]))
            for number, values in enumerate(maps):
                flat = values.double().flatten(2)[0]
                sums[number] += torch.stack([flat.sum(dim=1), (flat**2).sum(dim=1)])
                places[number] += flat.shape[1]
        for number, (total, squares) in enumerate(sums):
            mean = total / places[number]
            deviation = (squares / places[number] - mean**2).clamp(min=0).sqrt()
            usual = float((deviation**2).mean().sqrt()) or 1.0
            weight = 1 / (deviation.clamp(min=_LEAST_SPREAD * usual) * len(mean) ** 0.5)
            self.scales[number] = weight.float()[:, None, None]
            self.shifts[number] = (-mean * weight).float()[:, None, None]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The features, then the tensor of each stage."""
        maps = [values * scale + shift for values, scale, shift in zip(self._maps(pixels), self.scales, self.shifts)]
        wide = [_enlarged(values, stage) for values, stage in zip(maps, self.stages)]
        return torch.cat(wide, dim=1), *maps

    def parameters_used(self) -> int:
        """Number of the encoder's weights that take part."""
        side = 64
        pixels = torch.zeros(1, len(self.encoder.standardise.mean), side, side)
        with torch.enable_grad():
            total = self.forward(pixels)[0].sum()
            weights = list(self.encoder.parameters())
            found = torch.autograd.grad(total, weights, allow_unused=True)
        return sum(weight.numel() for weight, gradient in zip(weights, found) if gradient is not None)

    def reach(self, tile: int) -> int | None:
        """How many px beyond its tile a place at an edge sees; None if without end, or more than half a tile.

        Found by trial on a strip: what is not a number at one side of a line spreads to all that depends on it.
        """
        exact = deepcopy(self).double()  # in double precision torch computes convolutions place by place
        exact.encoder.standardise = nn.Identity()  # type: ignore[assignment]  # which would replace what is not a number
        bands, length = len(self.encoder.standardise.mean), max(tile, 4 * _STEP)
        line = length // (2 * _STEP) * _STEP
        widest = 0
        for axis in (2, 3):
            for side in (slice(None, line), slice(line, None)):
                strip = torch.zeros(1, bands, length, 2 * _STEP, dtype=torch.float64)
                strip[:, :, side] = torch.nan
                with torch.inference_mode():
                    spread = exact(strip.transpose(axis, 2))[0].isnan().any(dim=1).any(dim=4 - axis)[0]
                if bool(spread.all()):
                    return None
                unknown = int(strip[0, 0, :, 0].isnan().sum())
                widest = max(widest, int(spread.sum()) * FACTOR - unknown)
        return widest


def border_of(reach: int | None, tile: int) -> int:
    """Px at each edge of a tile of which the host makes no use, in whole steps of ``_BORDER_STEP``.

    They hold the receptive field, and one place more, so that hosts may interpolate between places of a tile alone. An
    eighth of the tile where more than half of it would be lost, or where the field has no end.
    """
    step = _BORDER_STEP
    exact = -(-(reach + FACTOR) // step) * step if reach is not None else tile
    return exact if exact <= tile // 4 else tile // _UNBOUNDED // step * step


def properties(dense: DenseFeatures, tile: int) -> dict[str, Any]:
    """What the card says of the form."""
    reach = dense.reach(tile)
    border = border_of(reach, tile)
    return {
        "geoaware:border": border,
        "geoaware:overlap": 2 * border,  # of neighbouring tiles, for hosts that blend or crop by it
        "geoaware:receptive_field": reach,
        "geoaware:channels": [asdict(stage) for stage in dense.stages],
    }


def drop_stages(graph: onnx.ModelProto) -> None:
    """Make the features the only output; the tensors of the stages keep their names inside the graph."""
    del graph.graph.output[1:]


def _averaged(values: Tensor, stage: EncoderStage) -> Tensor:
    return F.avg_pool2d(values, FACTOR // stage.stage) if stage.stage < FACTOR else values


def _enlarged(values: Tensor, stage: EncoderStage) -> Tensor:
    if stage.stride == FACTOR:
        return values
    return F.interpolate(values, scale_factor=stage.stride // FACTOR, mode="bilinear", align_corners=False)

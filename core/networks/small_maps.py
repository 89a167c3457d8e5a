"""Convolutions of ResNets and of U-Net's decoder on small maps, computed on a CPU with fewer products; weights and results are those of torch.

On a chip of 32 px the stages of a ResNet see maps of 8, 4, 2 and 1 px. There a 3 x 3 kernel falls mostly on padding, and the
convolutions of oneDNN spend most of their time on zeros, above all in the backward pass. Here each axis of a map is cut into
tiles, and a tile is computed with the fewest products: of a map of one pixel only the centre of the kernel counts, two pixels
take 3 products where the kernel has 6, four take 6 where it has 12 (Winograd 1980; Lavin and Gray 2016,
https://arxiv.org/abs/1509.09308). What remains are products of matrices, forward and backward. Values differ from torch's by
rounding only (about 3e-6 of their norm in fp32), and the parameters and their names do not change.

Maps are arranged as (rows, cols, N, channels), so that a row of tiles is one piece of memory; to the outside they remain
(N, channels, rows, cols), with other strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 16  # rows or columns of a map; above, torch's convolutions are as fast
_KERNEL = 3


@dataclass(frozen=True)
class _Tile:
    """``outputs`` neighbouring values of a convolution with 3 taps w of d: ``A @ ((G @ w) * (B @ d))``.

    ``d`` begins one pixel before the first output's own.
    """

    outputs: int
    B: np.ndarray
    G: np.ndarray
    A: np.ndarray


# One pixel alone, between zeros.
_ONE = _Tile(1, np.array([[0, 1, 0]]), np.array([[0, 1, 0]]), np.array([[1]]))
# Two alone: a Toeplitz matrix of 2 x 2 in 3 products.
_TWO = _Tile(
    2,
    np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 1, 0, 0]]),
    np.array([[0, 1, 0], [0, -1, 1], [1, -1, 0]]),
    np.array([[1, 1, 0], [1, 0, 1]]),
)
# Four anywhere: Lavin and Gray's F(4, 3).
_FOUR = _Tile(
    4,
    np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    ),
    np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
)
# Stride 2, one pixel out of two alone.
_HALF = _Tile(1, np.array([[0, 1, 0], [0, 0, 1]]), np.array([[0, 1, 0], [0, 0, 1]]), np.array([[1, 1]]))
# Stride 2, two anywhere: the centre's tap on even pixels, and F(2, 2) with the outer taps on odd ones.
_HALVES = _Tile(
    2,
    np.array([[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, -1]]),
    np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]]),
    np.array([[1, 0, 1, 1, 0], [0, 1, 0, 1, -1]]),
)


def _tile(size: int, stride: int) -> _Tile:
    """The tile for an axis of that many pixels."""
    if stride == 2:
        return _HALF if size <= 2 else _HALVES
    return {1: _ONE, 2: _TWO}.get(size, _FOUR)


@dataclass(frozen=True)
class _Row:
    """A row of tiles: input rows ``start`` to ``stop``, output rows ``first`` to ``last``, and their matrices B and A."""

    start: int
    stop: int
    first: int
    last: int
    B: Tensor
    A: Tensor


@dataclass(frozen=True)
class _Plan:
    """How a map of one size is computed: matrices of rows and of columns, and the taps of the kernel that count.

    ``products`` are those of a tile along rows and along columns; ``B`` (products x tiles, cols) and ``A`` (out columns,
    products x tiles) are of all columns at once; ``G`` (products of both axes, taps that count).
    """

    products: tuple[int, int]
    tiles: int
    rows: list[_Row]
    B: Tensor
    A: Tensor
    G: Tensor
    taps: tuple[slice, slice]
    out: tuple[int, int]


def _pieces(size: int, stride: int) -> list[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """Of each tile of an axis: its input, its output, B and A, without what lies beyond the map."""
    tile, found = _tile(size, stride), []
    for first in range(0, -(-size // stride), tile.outputs):
        last, begin = min(first + tile.outputs, -(-size // stride)), first * stride - 1
        start, stop = max(begin, 0), min(begin + tile.B.shape[1], size)
        pieces = slice(start, stop), slice(first, last)
        found.append((*pieces, tile.B[:, start - begin : stop - begin], tile.A[: last - first]))
    return found


@cache
def _plan(rows: int, columns: int, stride: int) -> _Plan:
    def tensor(values: np.ndarray) -> Tensor:
        return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)

    down, across = _tile(rows, stride), _tile(columns, stride)
    pieces, outs = _pieces(columns, stride), (-(-rows // stride), -(-columns // stride))
    b = np.zeros((len(across.B), len(pieces), columns))
    a = np.zeros((outs[1], len(across.B), len(pieces)))
    for number, (taken, given, into, back) in enumerate(pieces):
        b[:, number, taken], a[given, :, number] = into, back
    counts = [np.flatnonzero(tile.G.any(axis=0)) for tile in (down, across)]
    with torch.inference_mode(False):  # the matrices are kept, and gradients are computed with them
        return _Plan(
            (len(down.B), len(across.B)),
            len(pieces),
            [
                _Row(taken.start, taken.stop, given.start, given.stop, tensor(into), tensor(back))
                for taken, given, into, back in _pieces(rows, stride)
            ],
            tensor(b.reshape(-1, columns)),
            tensor(a.reshape(outs[1], -1)),
            tensor(np.kron(down.G[:, counts[0]], across.G[:, counts[1]])),
            (slice(counts[0][0], counts[0][-1] + 1), slice(counts[1][0], counts[1][-1] + 1)),
            outs,
        )


def _blank(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for maps (N, channels, rows, cols), arranged; not a view, so that ReLU may work in place."""
    images, channels, _, columns = shape
    return torch.empty_strided(
        shape, (channels, 1, columns * images * channels, images * channels), dtype=like.dtype, device=like.device
    )


def _in_rows(maps: Tensor) -> Tensor:
    """Maps (N, channels, rows, cols) as (rows, cols, N, channels): a view if they are arranged."""
    return maps.permute(2, 3, 0, 1).contiguous()


class _Arrange(torch.autograd.Function):
    """Between torch's channels_last and here."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return _blank(maps.shape, maps).copy_(maps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    """3 x 3 with padding 1 of (N, channels, rows, cols) with a kernel (out channels, channels, 3, 3)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int) -> Tensor:
        images, channels, rows, columns = maps.shape
        plan, width, maps = _plan(rows, columns, stride), len(weight), _in_rows(maps)
        (down, across), tiles = plan.products, plan.tiles
        kernel = weight.permute(2, 3, 0, 1)[plan.taps].reshape(-1, width * channels)
        if kernel.shape[0] > 1:
            kernel = plan.G @ kernel
        kernel = kernel.view(-1, width, channels)
        result, kept = _blank((images, width, *plan.out), maps), []
        out = _in_rows(result)
        for row in plan.rows:
            part = (row.B @ maps[row.start : row.stop].view(row.stop - row.start, -1)).view(down, columns, -1)
            part = torch.bmm(plan.B.expand(down, -1, -1), part).view(down * across, tiles * images, channels)
            kept.append(part)
            part = torch.bmm(part, kernel.transpose(1, 2)).view(down, across * tiles, -1)
            part = torch.bmm(plan.A.expand(down, -1, -1), part).view(down, -1)
            torch.mm(row.A, part, out=out[row.first : row.last].view(row.last - row.first, -1))
        ctx.save_for_backward(kernel, *kept)
        ctx.plan, ctx.size = plan, (images, channels, rows, columns)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (kernel, *kept), plan = ctx.saved_tensors, ctx.plan
        images, channels = ctx.size[:2]
        width, ((down, across), tiles) = kernel.shape[1], (plan.products, plan.tiles)
        out, of_kernel = _in_rows(gradients[0]), torch.empty_like(kernel)
        result = _blank(ctx.size, out)
        of_maps = _in_rows(result.zero_())
        for number, (row, part) in enumerate(zip(plan.rows, kept)):
            up = (row.A.T @ out[row.first : row.last].view(row.last - row.first, -1)).view(down, plan.out[1], -1)
            up = torch.bmm(plan.A.T.expand(down, -1, -1), up).view(down * across, tiles * images, width)
            of_kernel.baddbmm_(up.transpose(1, 2), part, beta=min(number, 1))  # the first one sets it
            up = torch.bmm(up, kernel).view(down, across * tiles, -1)
            up = torch.bmm(plan.B.T.expand(down, -1, -1), up).view(down, -1)
            of_maps[row.start : row.stop].view(row.stop - row.start, -1).addmm_(row.B.T, up)
        taps = plan.G.T @ of_kernel.view(len(plan.G), -1)
        of_weight = out.new_zeros(width, _KERNEL, _KERNEL, channels)  # as channels_last weights lie in memory
        part = of_weight[:, plan.taps[0], plan.taps[1]]
        part.copy_(taps.view(*part.shape[1:3], width, channels).permute(2, 0, 1, 3))
        return result, of_weight.permute(0, 3, 1, 2), None


class _BatchNorm(torch.autograd.Function):
    """Torch's own, to which arranged maps are one image in channels_last memory."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        result, maps = _blank(maps.shape, maps), _one_image(maps)
        saved = torch.empty(2, len(weight) if training else 0)
        torch.native_batch_norm(
            maps, weight, bias, mean, variance, training, momentum, eps, out=(_one_image(result), *saved)
        )
        ctx.save_for_backward(maps, weight, mean, variance, saved)
        ctx.training, ctx.eps, ctx.size = training, eps, result.shape
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, variance, saved = ctx.saved_tensors
        result = _blank(ctx.size, maps)
        into = (_one_image(result), torch.empty_like(weight), torch.empty_like(weight))
        torch.ops.aten.native_batch_norm_backward.out(
            _one_image(gradients[0]), maps, weight, mean, variance, *saved, ctx.training, ctx.eps, [True] * 3,
            out0=into[0], out1=into[1], out2=into[2],
        )  # fmt: skip
        return result, *into[1:], None, None, None, None, None


def _one_image(maps: Tensor) -> Tensor:
    """Maps (N, channels, rows, cols) as (1, channels, rows x cols, N)."""
    return _in_rows(maps).flatten(0, 1)[None].permute(0, 3, 1, 2)


def pays(maps: Tensor) -> bool:
    """Whether maps (N, channels, rows, cols) are computed here: small, fp32, on a CPU, neither exported nor compiled."""
    return (
        maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and max(maps.shape[2:]) <= LARGEST
        and not torch.is_autocast_enabled("cpu")
        and not torch.onnx.is_in_onnx_export()
        and not torch.compiler.is_compiling()
    )


def arranged(maps: Tensor) -> Tensor:
    """The same (N, channels, rows, cols), in memory as (rows, cols, N, channels)."""
    return _Arrange.apply(maps)


class Conv2d(nn.Conv2d):
    """A convolution of 3 x 3 with padding 1, or 1 x 1, stride 1 or 2, no bias."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, out channels, rows, cols)."""
        if not pays(input):
            return super().forward(input)
        stride = self.stride[0]
        if self.kernel_size == (3, 3):
            return _Convolution.apply(input, self.weight, stride)
        return F.linear(_in_rows(input)[::stride, ::stride], self.weight.flatten(1)).permute(2, 3, 0, 1)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that takes maps as they are arranged: torch's would rearrange them."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, rows, cols)."""
        if not pays(input):
            return super().forward(input)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return _BatchNorm.apply(
            input, self.weight, self.bias, self.running_mean, self.running_var, self.training, self.momentum, self.eps
        )


def convert(module: nn.Module) -> None:
    """Replace the convolutions and batch norms of a network that are computed here; parameters remain."""
    for name, child in module.named_children():
        other: nn.Module | None = None
        if type(child) is nn.BatchNorm2d:
            other = BatchNorm2d(child.num_features, child.eps, child.momentum, device="meta")
        elif type(child) is nn.Conv2d and _fits(child):
            size, stride, padding = child.kernel_size[0], child.stride[0], child.padding[0]
            other = Conv2d(child.in_channels, child.out_channels, size, stride, padding, bias=False, device="meta")
        if other is None:
            convert(child)
            continue
        for key, values in (*child.named_parameters(), *child.named_buffers()):
            setattr(other, key, values)
        setattr(module, name, other)


def _fits(convolution: nn.Conv2d) -> bool:
    """Whether it is what ``Conv2d`` computes."""
    shape = convolution.kernel_size, convolution.padding
    plain = convolution.groups == 1 and convolution.dilation == (1, 1) and convolution.bias is None
    return plain and shape in (((3, 3), (1, 1)), ((1, 1), (0, 0))) and convolution.stride in ((1, 1), (2, 2))

"""Which tiles a graph takes whose input is of any size: strides, patches and windows of a network must divide them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional

BYTES_PER_PIXEL = 1024  # of a tile while it runs: about as much as a U-Net ResNet-18 in fp32 needs
LARGEST = 2048  # px: larger tiles no longer gain accuracy at their borders
_SMALLEST = 256  # px: of the choice, however little memory there is
# Tiles may grow by these px; together they are multiples of every number up to 20, and of the patches in use beyond it.
_STEPS = (32, 48, 56, 40, 36, 60, 64, 44, 52, 68, 72, 76, 80, 96, 100, 112, 128, 192, 224, 256)
_LEAST = (64, 256)  # px: where the search begins; some networks take no small tiles
_ALONE = (224, 256, 384, 512, 448, 518, 480, 336, 128, 64, 320, 640, 768, 1024)  # px: of networks that take one size

Shape = tuple[int, ...]
Answer = Callable[[int], Optional[Shape]]  # shape (K,) or (K, rows, columns) for a tile of so many px; None if it fails


@dataclass(frozen=True)
class Sizes:
    """The sizes of a tile that a graph takes: ``least`` px, and more in steps of ``step`` px; 0: none but that."""

    least: int
    step: int

    @property
    def tried(self) -> tuple[int, ...]:
        """Sizes that were run."""
        return (self.least, self.least + self.step) if self.step else (self.least,)

    def up_to(self, size: int) -> int:
        """The largest that is no larger, but at least the least."""
        return max(size // self.step * self.step, self.least) if self.step else self.least

    def over(self, size: int) -> int:
        """The smallest that holds so many px, if any does."""
        return max(-(-size // self.step) * self.step, self.least) if self.step else self.least


def find(answer: Answer) -> Sizes | None:
    """Search the sizes by running tiles; None if none of them runs.

    Two neighbouring multiples of a step that run show that its multiples do.
    """

    def taken(*sizes: int) -> bool:
        sides: dict[int, int] = {}
        for size in sizes:
            shape = answer(size)
            if not shape or 0 in shape:
                return False
            if len(shape) == 3:
                sides[size] = shape[1]
        return geometry(sides) is not None

    for start in _LEAST:
        for step in _STEPS:
            least = -(-start // step) * step
            if taken(least, least + step):
                return Sizes(least, step)
    return next((Sizes(size, 0) for size in _ALONE if taken(size)), None)


def geometry(sides: Mapping[int, int]) -> tuple[int, int] | None:
    """The border that a map leaves out at each edge of a tile, and the px of a tile per cell of it, along a side.

    ``sides`` gives the rows of the answer for each size of a tile. None if they are neither an integer fraction of the
    tile nor the tile without a border, the same for all sizes. One size alone may allow both: the fraction counts.
    """
    if all(size % side == 0 for size, side in sides.items()):
        factors = {size // side for size, side in sides.items()} or {1}
        if len(factors) == 1:
            return 0, factors.pop()
    lost = {size - side for size, side in sides.items()}
    border, odd = divmod(lost.pop(), 2)
    return (border, 1) if not lost and not odd and border > 0 else None


def largest_for(memory: int) -> int:
    """The side of a tile that runs in so many bytes."""
    size = LARGEST
    while size > _SMALLEST and size**2 * BYTES_PER_PIXEL > memory:
        size //= 2
    return size

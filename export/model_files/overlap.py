"""How far the tiles of a map must overlap for no seam to be seen: measured on mosaics of the training imagery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.runtime.infer.blend import Axis
from export.runtime.infer.timing.agreement import Agreement

OVERLAPS = (32, 64, 96, 128, 192, 256)  # px; multiples of every network's stride
SEAM = 8  # px to either side of where two tiles meet, in which maps are compared
Inputs = tuple[np.ndarray, ...]
Run = Callable[[Inputs], np.ndarray]


@dataclass(frozen=True)
class Seams:
    """How a map of 2 x 2 tiles differs from one run over all of it, within ``SEAM`` px of where tiles meet.

    Attributes:
        overlap: of the tiles, px.
        found: of classes and confidence.
        largest: difference of a probability, 0 to 1.
    """

    overlap: int
    found: Agreement
    largest: float

    @property
    def seen(self) -> bool:
        """Whether more differs than two providers of a model may."""
        return not self.found.holds()

    def __str__(self) -> str:
        """One line for users."""
        return (
            f"tiles overlap by {self.overlap} px: where they meet, {self.found.equal:.2%} of the pixels get the same class as in one "
            f"run over all of them, and probabilities differ by at most {self.largest:.3f}"
            + ("; larger tiles leave less: --tile-size" if self.seen and self.overlap < OVERLAPS[-1] else "")
        )

    def as_json(self) -> dict[str, Any]:
        """For the Item."""
        names = ("pixels_equal", "confidence_difference", "largest_difference")
        return dict(zip(names, (self.found.equal, self.found.apart, self.largest)))


def least_overlap(run: Run, mosaic: Inputs, tile: int) -> Seams | None:
    """The smallest overlap that leaves no seams, or the largest that is tried; None where a tile is too small for any.

    Tiles begin at multiples of the network's stride here: what differs comes from their borders alone.

    Args:
        run: gives probabilities (classes, rows, columns) for one place.
        mosaic: what ``run`` takes, of 2 x ``tile`` rows and columns, which are the last axes of all inputs but vectors.
        tile: rows = columns of the model's input, px.
    """
    whole, found = run(mosaic), None
    for overlap in (px for px in OVERLAPS if 2 * px <= tile):
        found = _compared(run, mosaic, whole, tile, overlap)
        if not found.seen:
            break
    return found


def _compared(run: Run, mosaic: Inputs, whole: np.ndarray, tile: int, overlap: int) -> Seams:
    """With one run over the mosaic, in the first ``tile`` rows and columns: far from where the last tiles end."""
    axis = Axis([0, tile - overlap], tile, overlap, 2 * tile - overlap)
    tiled = np.zeros((len(whole), axis.length, axis.length), np.float32)
    for top in axis.starts:
        for left in axis.starts:
            answer = run(_cut(mosaic, top, left, tile))
            (row, _, bottom), (column, _, right) = axis.span(top), axis.span(left)
            own = answer[:, row - top : bottom - top, column - left : right - left]
            tiled[:, row:bottom, column:right] += own * axis.weights(top)[:, None] * axis.weights(left)
    beside = np.abs(np.arange(tile) + 0.5 - (tile - overlap / 2)) <= SEAM
    near = beside[:, None] | beside
    one, other = whole[:, :tile, :tile][:, near], tiled[:, :tile, :tile][:, near]
    equal, apart = one.argmax(axis=0) == other.argmax(axis=0), np.abs(one.max(axis=0) - other.max(axis=0))
    found = Agreement("segmentation", float(equal.mean()), float(np.percentile(apart, 99)))
    return Seams(overlap, found, float(np.abs(one - other).max()))


def _cut(inputs: Inputs, top: int, left: int, side: int) -> Inputs:
    own = (..., slice(top, top + side), slice(left, left + side))
    return tuple(np.ascontiguousarray(part[own]) if part.ndim > 1 else part for part in inputs)

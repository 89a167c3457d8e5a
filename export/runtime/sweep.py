"""Runs a segmentation model over a raster of any height in one pass, tiles blended.

Neighbouring tiles overlap. In an overlap the outer quarter of each tile is not used, because there the
network has seen padding instead of the neighbourhood; over the middle half the probabilities fade from
one tile to the next along a Hann ramp. The weights of all tiles sum to one at every pixel but for the
last tile of a row or column, which lies closer: so they are divided by their sum. Memory grows with
width x tile x classes, never with the height.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, List, Tuple

import numpy as np

from .card import NODATA
from .errors import Cancelled, InputFault
from .grid import TileGrid, Window
from .session import Model

# (bands, rows, columns) raw pixels, and (rows, columns) True where they hold data
Read = Callable[[Window], Tuple[np.ndarray, np.ndarray]]
Progress = Callable[[int, int], bool]


@dataclass(frozen=True)
class Rows:
    """Finished rows of the result.

    Attributes:
        top: first row in the raster.
        classes: (rows, width) uint8 class values of the card, ``NODATA`` where the raster holds none.
        confidence: (rows, width) uint8, probability of that class in per cent, ``NODATA`` likewise.
    """

    top: int
    classes: np.ndarray
    confidence: np.ndarray


def go_on(done: int, total: int) -> bool:
    """Progress of a host that never cancels."""
    return True


def segment(
    model: Model, read: Read, height: int, width: int, progress: Progress = go_on, batch_size: int = 4
) -> Iterator[Rows]:
    """Yield the classes of a raster from top to bottom, each row once.

    Args:
        model: a segmentation model.
        read: gives the pixels of a window that lies inside the raster.
        height: rows of the raster.
        width: columns of the raster.
        progress: called after each batch with tiles done and tiles in all; False cancels.
        batch_size: tiles that run at once.

    Raises:
        InputFault: the model is no segmentation.
        Cancelled: ``progress`` returned False.
    """
    if model.card.task != "segmentation":
        raise InputFault(f"the model '{model.card.name}' is a {model.card.task} model; a segmentation model is needed")
    grid = TileGrid(height, width, model.card.tile_size, model.card.overlap)
    blend = _Blend(grid, model)
    tops, done = grid.tops, 0
    for index, top in enumerate(tops):
        for lefts in _chunks(grid.lefts, batch_size):
            blend.add(top, lefts, read)
            done += len(lefts)
            if not progress(done, len(grid)):
                raise Cancelled("cancelled")
        finished = tops[index + 1] if index + 1 < len(tops) else height
        yield blend.pop(top, finished - top)


def _chunks(values: list, size: int) -> Iterator[list]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


class _Blend:
    """The strip of blended probabilities that later tiles can still change."""

    def __init__(self, grid: TileGrid, model: Model) -> None:
        tile = grid.tile_size
        self.grid, self.model = grid, model
        self.values = np.array([entry.value for entry in model.card.classes], np.uint8)
        self.fill = np.array(model.card.fill, np.float32)[:, None, None]
        self.sum = np.zeros((len(self.values), tile, grid.width), np.float32)
        self.weight = np.zeros((tile, grid.width), np.float32)
        self.valid = np.zeros((tile, grid.width), bool)

    def add(self, top: int, lefts: list, read: Read) -> None:
        """Run the tiles of one row of tiles that begin at these columns."""
        tile = self.grid.tile_size
        columns: List[int] = []
        tiles = np.empty((len(lefts), len(self.fill), tile, tile), np.float32)
        for left in lefts:
            window = Window(top, left, min(tile, self.grid.height - top), min(tile, self.grid.width - left))
            pixels, valid = read(window)
            self.valid[: window.height, left : left + window.width] |= valid
            if valid.any():  # an empty tile has nothing to say
                tiles[len(columns)] = _padded(pixels, valid, self.fill, tile)
                columns.append(left)
        if not columns:
            return
        row_weight = _taper(self.grid.tops, top, tile, self.grid.height, self.grid.overlap)
        for left, answer in zip(columns, self.model.run(tiles[: len(columns)])):
            column_weight = _taper(self.grid.lefts, left, tile, self.grid.width, self.grid.overlap)
            weight = row_weight[:, None] * column_weight[None, :]
            right = left + len(column_weight)
            self.sum[:, : len(row_weight), left:right] += answer[:, : len(row_weight), : len(column_weight)] * weight
            self.weight[: len(row_weight), left:right] += weight

    def pop(self, top: int, rows: int) -> Rows:
        """Take the uppermost rows, which no later tile reaches, and move the others up."""
        total, valid = self.sum[:, :rows], self.valid[:rows] & (self.weight[:rows] > 0)
        best = total.argmax(axis=0)
        classes = np.where(valid, self.values[best], np.uint8(NODATA))
        share = np.take_along_axis(total, best[None], axis=0)[0] / np.where(valid, self.weight[:rows], 1)
        confidence = np.where(valid, np.rint(np.clip(share, 0, 1) * 100), NODATA).astype(np.uint8)
        for strip in (self.sum, self.weight, self.valid):
            axis = strip.ndim - 2
            keep = strip.shape[axis] - rows
            upper = (slice(None),) * axis + (slice(0, keep),)
            strip[upper] = strip[(slice(None),) * axis + (slice(rows, None),)].copy()
            strip[(slice(None),) * axis + (slice(keep, None),)] = 0
        return Rows(top, classes, confidence)


def _padded(pixels: np.ndarray, valid: np.ndarray, fill: np.ndarray, tile: int) -> np.ndarray:
    """(bands, tile, tile) float32: pixels without data replaced, edges repeated up to a whole tile."""
    clean = np.where(valid[None], pixels, fill).astype(np.float32)
    rows, columns = tile - clean.shape[1], tile - clean.shape[2]
    return np.pad(clean, ((0, 0), (0, rows), (0, columns)), mode="edge") if rows or columns else clean


def _taper(starts: list, start: int, tile: int, length: int, overlap: int) -> np.ndarray:
    """Weights along one axis of a tile, one a pixel inside the raster; 1 at the raster's own edges."""
    weight = np.ones(min(tile, length - start), np.float32)
    ramp = _hann_ramp(overlap)
    if overlap and start != starts[0]:
        weight[:overlap] *= ramp
    if overlap and start != starts[-1]:
        weight[-overlap:] *= ramp[::-1]
    return weight


def _hann_ramp(overlap: int) -> np.ndarray:
    """Rise from 0 to 1 over the middle half of the overlap; ramp + its mirror image = 1 everywhere."""
    at = (np.arange(overlap) + 0.5) / max(overlap, 1)
    return np.sin(np.pi / 2 * np.clip((at - 0.25) * 2, 0, 1)) ** 2

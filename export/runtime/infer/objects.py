"""Finds objects over a whole raster with a detector that sees one tile at a time.

Neighbouring tiles overlap, so an object near a border is detected twice, whole or cut. Two boxes of neighbouring
tiles are one object where, in the part of the raster that both tiles saw, they agree. Of these the box that no
border cuts is kept; where all are cut, their hull.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ..errors import InputFault, ModelFault
from ..raster.shapes.patches import components
from ..raster.window import TileGrid, Window
from ..results.rows import Objects
from .inputs.tile import Tile, padded
from .sweep import Scan, ahead, mapped, tile_overlap

AGREE = 0.5  # intersection over union, in the part that both tiles saw
_CUT = 2.0  # px: a box that ends so near to a tile's border is taken to go on beyond it
_NONE = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), np.zeros(0, bool))


@dataclass(frozen=True)
class TileBoxes:
    """Boxes (M, 4) of one tile in px of the raster, and whether a border of the tile cuts them."""

    tile: Window
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    cut: np.ndarray


def detect(scan: Scan) -> Objects:
    """Find the objects of a raster; with ``area`` those whose middle lies in it.

    Raises:
        InputFault: the model is no detection, or the overlap does not fit.
        ModelFault: the model fails, or answers with something else than boxes, scores and labels.
        Cancelled: ``progress`` returned False.
    """
    model, options = scan.model, scan.options
    if model.card.task != "detection":
        raise InputFault("wrong_task", name=model.card.name, task=model.card.task, needed="detection")
    tile = model.card.tile_size
    grid = TileGrid(scan.height, scan.width, tile, tile_overlap(model.card, options))
    area = options.area or Window(0, 0, scan.height, scan.width)
    # a margin of one tile: an object whose middle lies inside may have been merged with a part outside
    near = Window(area.row - tile, area.column - tile, area.height + 2 * tile, area.width + 2 * tile)
    windows = [window for window in scan.windows(grid.tops, grid.lefts, tile) if window.intersection(near)]
    merged = _Merged()
    with closing(scan.counted(boxes_of(scan, windows), len(windows))) as counted:
        for boxes in counted:
            merged.add(boxes)
    return _result(scan, merged, area)


def boxes_of(scan: Scan, windows: list[Window]) -> Generator[TileBoxes, None, None]:
    """Read and run the tiles with a detector; yield the boxes of each, in order."""
    tiles = ahead(map(scan.tile, windows), scan.options.read_ahead)
    return mapped(lambda tile: _in_tile(scan, tile), tiles, scan.model.threads)


def _in_tile(scan: Scan, tile: Tile) -> TileBoxes:
    """Boxes of one tile, those over pixels without data left out."""
    inner, model = tile.inner, scan.model
    if tile.pixels is None:
        return TileBoxes(inner, *_NONE)
    image = padded(tile, model.card)
    boxes, scores, labels = model.outputs(image[None])[:3]
    shaped = boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) == len(scores) == len(labels)
    if not shaped or np.isnan(boxes).any() or np.isnan(scores).any():  # a network may overflow in few bits
        raise ModelFault("detection_answer", name=model.card.name)
    low, high = np.zeros(4, np.float32), np.array([inner.width, inner.height] * 2, np.float32)
    boxes = np.clip(boxes.astype(np.float32), low, high)
    middle = np.minimum((boxes[:, :2] + boxes[:, 2:]) / 2, high[:2] - 1).astype(int)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & tile.valid[middle[:, 1], middle[:, 0]]
    boxes = boxes[keep]
    begins = np.array([inner.column > 0, inner.row > 0])  # borders with more raster beyond them
    ends = np.array([inner.column + inner.width < scan.width, inner.row + inner.height < scan.height])
    cut = ((boxes[:, :2] < _CUT) & begins).any(axis=1) | ((boxes[:, 2:] > high[2:] - _CUT) & ends).any(axis=1)
    boxes = boxes + np.array([inner.column, inner.row] * 2, np.float32)
    return TileBoxes(inner, boxes, scores[keep].astype(np.float32), labels[keep].astype(int), cut)


class _Merged:
    """Boxes of all tiles so far, and which of them are one object."""

    def __init__(self) -> None:
        self.tiles = [TileBoxes(Window(0, 0, 0, 0), *_NONE)]
        self.count = 0
        self.near: list[tuple[int, TileBoxes]] = []  # number of the first box, and tiles that later ones may overlap
        self.same: list[tuple[int, int]] = []  # pairs of boxes that are one object

    def add(self, new: TileBoxes) -> None:
        """Compare a tile's boxes with those of the tiles before it that it overlaps."""
        self.near = [(at, old) for at, old in self.near if old.tile.row + old.tile.height > new.tile.row]
        for at, old in self.near:
            both = old.tile.intersection(new.tile)
            if both is not None and len(old.boxes) and len(new.boxes):
                self.same += [(at + one, self.count + other) for one, other in pairs(old, new, both)]
        self.near.append((self.count, new))
        self.tiles.append(new)
        self.count += len(new.boxes)

    def objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, scores and labels, each object once: the best whole box, or the hull where all are cut."""
        boxes, scores, labels, cut = (
            np.concatenate([getattr(tile, name) for tile in self.tiles])
            for name in ("boxes", "scores", "labels", "cut")
        )
        groups: dict[int, list[int]] = {}
        pairs = np.array(self.same, int).reshape(-1, 2)
        for box, first in enumerate(components(len(boxes), pairs).tolist()):
            groups.setdefault(first, []).append(box)
        kept = np.array(sorted(groups), int)
        merged, best = boxes[kept], scores[kept]
        for number, first in enumerate(kept.tolist()):
            members = np.array(groups[first])
            best[number] = scores[members].max()
            whole = members[~cut[members]]
            if len(whole):
                merged[number] = boxes[whole[scores[whole].argmax()]]
            else:
                merged[number, :2], merged[number, 2:] = boxes[members, :2].min(axis=0), boxes[members, 2:].max(axis=0)
        return merged, best, labels[kept]


def pairs(old: TileBoxes, new: TileBoxes, both: Window, least: float = AGREE) -> Iterator[tuple[int, int]]:
    """Boxes of two tiles that agree in the part that both saw, the best pairs first, each box once."""
    agree = _iou(_clipped(old.boxes, both), _clipped(new.boxes, both))
    agree[old.labels[:, None] != new.labels[None]] = 0
    used, taken = set(), set()
    for flat in np.argsort(-agree, axis=None, kind="stable"):
        one, other = divmod(int(flat), agree.shape[1])
        if agree[one, other] < least:
            return
        if one not in used and other not in taken:
            used.add(one)
            taken.add(other)
            yield one, other


def _result(scan: Scan, merged: _Merged, area: Window) -> Objects:
    boxes, scores, labels = merged.objects()
    model, threshold = scan.model, scan.options.threshold or 0.0
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(model.card.classes):
        raise ModelFault("detection_class", name=model.card.name)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    corner, size = np.array([area.column, area.row]), np.array([area.width, area.height])
    keep = ((middle >= corner) & (middle < corner + size)).all(axis=1) & (scores >= threshold)
    order = np.lexsort((boxes[:, 0], boxes[:, 1], -scores))
    order = order[keep[order]]
    values = np.array([entry.value for entry in model.card.classes], model.card.class_dtype)
    return Objects(boxes[order], scores[order], values[labels[order]])


def _clipped(boxes: np.ndarray, to: Window) -> np.ndarray:
    low = np.array([to.column, to.row] * 2, np.float32)
    high = low + np.array([to.width, to.height] * 2, np.float32)
    return np.clip(boxes, low, high)


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(M, N) intersection over union of boxes (M, 4) and (N, 4); 0 where a box is empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    sizes = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1) for boxes in (first, second)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.where(shared > 0, shared / np.where(union > 0, union, 1), 0)

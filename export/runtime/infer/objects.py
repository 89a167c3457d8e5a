"""Finds objects over a whole raster with a detector that sees one tile at a time.

Neighbouring tiles overlap, so an object near a border is found twice, whole or cut. Two boxes of neighbouring
tiles are one object where, in the part of the raster that both tiles saw, they agree. Of these the box that no
border cuts is kept; where all are cut, their hull.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import Cancelled, InputFault, ModelFault
from ..model.session import Model
from ..raster.window import Read, TileGrid, Window
from ..results.rows import Objects
from .flow import ahead, mapped
from .sweep import AS_CARD, Progress, Sweep, Tile, Touches, always, go_on, padded, read_tile

AGREE = 0.5  # intersection over union, in the part that both tiles saw
_CUT = 2.0  # px: a box that ends so near to a tile's border is taken to go on beyond it


@dataclass(frozen=True)
class _Found:
    """Boxes of one tile in px of the raster."""

    tile: Window
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    cut: np.ndarray


def detect(
    model: Model,
    read: Read,
    height: int,
    width: int,
    options: Sweep = AS_CARD,
    progress: Progress = go_on,
    touches: Touches = always,
) -> Objects:
    """Find the objects of a raster.

    Args:
        model: a detection model.
        read: gives the pixels of a window that lies inside the raster; called by one thread at a time.
        height: rows of the raster.
        width: columns of the raster.
        options: of the run; a card without an overlap gets a quarter of a tile. With ``area`` only objects whose
            middle lies in it are given.
        progress: called after each tile with tiles done and tiles in all; False cancels.
        touches: tiles that it refuses are neither read nor run.

    Raises:
        InputFault: the model is no detection, or the overlap does not fit.
        ModelFault: the model fails, or answers with something else than boxes, scores and labels.
        Cancelled: ``progress`` returned False.
    """
    if model.card.task != "detection":
        raise InputFault("wrong_task", name=model.card.name, task=model.card.task, needed="detection")
    tile = model.card.tile_size
    overlap = options.overlap if options.overlap is not None else model.card.overlap or tile // 4
    if not 0 <= overlap < tile:
        raise InputFault("bad_overlap", overlap=overlap, tile=tile)
    grid = TileGrid(height, width, tile, overlap)
    area = options.area or Window(0, 0, height, width)
    # a margin of one tile: an object whose middle lies inside may have been merged with a part outside
    near = Window(area.row - tile, area.column - tile, area.height + 2 * tile, area.width + 2 * tile)
    windows = [
        window
        for window in (Window(t, x, min(tile, height - t), min(tile, width - x)) for t in grid.tops for x in grid.lefts)
        if window.intersection(near)
    ]
    merged = _Merged()
    tiles = ahead((read_tile(model, read, (height, width), window, touches) for window in windows), options.read_ahead)
    answers = mapped(lambda one: _find(model, one, (height, width)), tiles, model.threads)
    try:
        for done, found in enumerate(answers, start=1):
            merged.add(found)
            if not progress(done, len(windows)):
                raise Cancelled()
    finally:
        answers.close()
    return _result(model, merged, area, options.threshold or 0.0)


def _find(model: Model, tile: Tile, shape: tuple[int, int]) -> _Found:
    """Boxes of one tile, those over pixels without data left out."""
    inner = tile.inner
    if tile.pixels is None:
        return _Found(inner, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), np.zeros(0, bool))
    fill = np.array(model.card.fill, np.float32)[:, None, None]
    image = padded(tile.pixels, tile.mask, tile.offset, fill, model.card.tile_size)
    boxes, scores, labels = model.outputs(image[None])[:3]
    if boxes.ndim != 2 or boxes.shape[1:] != (4,) or not len(boxes) == len(scores) == len(labels):
        raise ModelFault("detection_answer", name=model.card.name)
    low, high = np.zeros(4, np.float32), np.array([inner.width, inner.height] * 2, np.float32)
    boxes = np.clip(boxes.astype(np.float32), low, high)
    middle = np.minimum((boxes[:, :2] + boxes[:, 2:]) / 2, high[:2] - 1).astype(int)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & tile.valid[middle[:, 1], middle[:, 0]]
    boxes = boxes[keep]
    begins = np.array([inner.column > 0, inner.row > 0])  # borders with more raster beyond them
    ends = np.array([inner.column + inner.width < shape[1], inner.row + inner.height < shape[0]])
    cut = ((boxes[:, :2] < _CUT) & begins).any(axis=1) | ((boxes[:, 2:] > high[2:] - _CUT) & ends).any(axis=1)
    boxes = boxes + np.array([inner.column, inner.row] * 2, np.float32)
    return _Found(inner, boxes, scores[keep].astype(np.float32), labels[keep].astype(int), cut)


class _Merged:
    """Boxes of all tiles so far, and which of them are one object."""

    def __init__(self) -> None:
        self.found: list[_Found] = []
        self.near: list[tuple[int, _Found]] = []  # number of the first box, and tiles that later ones may overlap
        self.same: list[int] = []  # for each box one that is the same object and came no later

    def add(self, new: _Found) -> None:
        """Compare a tile's boxes with those of the tiles before it that it overlaps."""
        first = len(self.same)
        self.same.extend(range(first, first + len(new.boxes)))
        self.near = [(at, old) for at, old in self.near if old.tile.row + old.tile.height > new.tile.row]
        for at, old in self.near:
            both = old.tile.intersection(new.tile)
            if both is not None and len(old.boxes) and len(new.boxes):
                for mine, other in _pairs(old, new, both):
                    self._join(at + mine, first + other)
        self.near.append((first, new))
        self.found.append(new)

    def objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, scores and labels, each object once: the best whole box, or the hull where all are cut."""
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in self.found)])
        scores = np.concatenate([np.zeros(0, np.float32), *(one.scores for one in self.found)])
        labels = np.concatenate([np.zeros(0, int), *(one.labels for one in self.found)])
        cut = np.concatenate([np.zeros(0, bool), *(one.cut for one in self.found)])
        groups: dict[int, list[int]] = {}
        for box in range(len(boxes)):
            groups.setdefault(self._root(box), []).append(box)
        kept = np.array(sorted(groups), int)
        merged, best = boxes[kept], scores[kept]
        for number, root in enumerate(kept):
            members = np.array(groups[int(root)])
            best[number] = scores[members].max()
            whole = members[~cut[members]]
            if len(whole):
                merged[number] = boxes[whole[scores[whole].argmax()]]
            else:
                merged[number, :2], merged[number, 2:] = boxes[members, :2].min(axis=0), boxes[members, 2:].max(axis=0)
        return merged, best, labels[kept]

    def _root(self, box: int) -> int:
        while self.same[box] != box:
            box = self.same[box]
        return box

    def _join(self, first: int, second: int) -> None:
        one, other = sorted((self._root(first), self._root(second)))
        self.same[other] = one


def _pairs(old: _Found, new: _Found, both: Window) -> Iterator[tuple[int, int]]:
    """Boxes of two tiles that agree in the part that both saw, the best pairs first, each box once."""
    agree = _iou(_clipped(old.boxes, both), _clipped(new.boxes, both))
    agree[old.labels[:, None] != new.labels[None]] = 0
    used, gone = set(), set()
    for flat in np.argsort(-agree, axis=None, kind="stable"):
        mine, other = divmod(int(flat), agree.shape[1])
        if agree[mine, other] < AGREE:
            return
        if mine not in used and other not in gone:
            used.add(mine)
            gone.add(other)
            yield mine, other


def _result(model: Model, merged: _Merged, area: Window, threshold: float) -> Objects:
    boxes, scores, labels = merged.objects()
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

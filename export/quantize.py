"""An exported model in 8-bit integers: calibrated, measured against itself in fp32, and judged.

Weights are signed and scaled channel by channel, activations unsigned: the pair that onnxruntime has quick kernels for
on x86. Weights use seven of their eight bits: processors without VNNI add products in 16 bits, which would overflow
without a word. What stands before the first convolution (the scaling) and from the last layer on (the classes) stays in
fp32; of an encoder, what comes after the last layer. Quantised are pairs of QuantizeLinear and DequantizeLinear, which every provider reads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from tqdm import tqdm

from core.errors import UserError
from core.evaluation.probe import K_NEIGHBOURS, knn_right
from core.store.read import UNLABELLED, ChipStore
from core.training.finetune import labelled_places
from export.runtime.model.session import Model
from export.tiles import answers, chips_in, filled, mosaic

LEAST_SPEED, LARGEST_LOSS = 2.0, 0.01  # times fp32, and share of what is named right
TASKS = ("segmentation", "classification", "sequence", "embedding")
_CALIBRATION = 100  # tiles
_OF = {"segmentation": "pixels", "embedding": f"images, by {K_NEIGHBOURS} nearest neighbours,"}  # else "images"
_IMAGES, _PIXELS = 1000, 2**24  # that are held against the truth, at most
_NEIGHBOURS = 4000  # training images among which an encoder looks for neighbours, at most
_ROUNDS = 20
_LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Comparison:
    """The quantised model beside the one in fp32.

    Attributes:
        before: share of the held-out pixels or images that fp32 names right.
        after: the same of int8.
        ratio: seconds of fp32 by seconds of int8, one tile, one thread.
        images: held-out chips.
        of: "pixels" or "images", or how images are named by an encoder.
    """

    before: float
    after: float
    ratio: float
    images: int
    of: str

    @property
    def pays(self) -> bool:
        """Whether it is quick enough, and right often enough."""
        return self.ratio >= LEAST_SPEED and self.before - self.after <= LARGEST_LOSS

    def __str__(self) -> str:
        """For people."""
        return (
            f"int8 on {self.images} held-out chips: {self.after:.1%} of the {self.of} right, fp32 {self.before:.1%}; "
            f"{self.ratio:.2f} times as fast on this CPU, one thread each"
        )

    def as_json(self) -> dict[str, Any]:
        """For the card."""
        return {
            "accuracy_fp32": round(self.before, 4), "accuracy_int8": round(self.after, 4), "of": self.of,
            "held_out_chips": self.images, "speed_ratio": round(self.ratio, 2),
        }  # fmt: skip


def check_task(task: str) -> None:
    """Refuse models whose loss cannot be told in points of accuracy.

    Raises:
        UserError: likewise.
    """
    if task not in TASKS:
        raise UserError(
            "--int8: a detector computes its boxes inside the graph, which eight bits break; export it in fp32"
        )


def quantize(model: Path, store: ChipStore, task: str) -> tuple[onnx.ModelProto, Comparison]:
    """Quantise an exported model and compare both; an encoder names images by their nearest neighbours.

    Args:
        model: the ONNX file in fp32, with its card.
        store: what it was trained on: training places calibrate, test places judge.
        task: one of ``TASKS``.

    Returns:
        The graph with the old card, and the comparison.

    Raises:
        UserError: there is nothing to calibrate or to judge with.
    """
    check_task(task)
    held_out = _labelled(store, "test", task)
    known = _labelled(store, "train", task) if task == "embedding" else held_out
    full = Model(model, "cpu", threads=1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        with _silent_logging():  # it advises, on the root logger, a step that this graph does not need
            quantize_static(
                model,
                path,
                _Calibration(store, full.card.tile_size),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=_in_fp32(onnx.load(model), task),
            )
        small = Model(path, "cpu", threads=1)
        if task == "embedding":
            before, after, images = _by_neighbours((full, small), store, known, held_out)
        else:
            before, after, images = _accuracy((full, small), store, held_out, task)
        ratio = _ratio(full, small, _tiles(store, _rows(store, full.card.tile_size, 1), full.card.tile_size, task))
        graph = onnx.load(path)
    return graph, Comparison(before, after, ratio, images, _OF.get(task, "images"))


def _labelled(store: ChipStore, side: str, task: str) -> np.ndarray:
    """Index rows of a side that have a label.

    Raises:
        UserError: there is none.
    """
    places = labelled_places(store, side, "classification" if task == "embedding" else task)
    if not places:
        raise UserError(
            f"{store.path}: no place of the '{side}' split has a label, so int8 cannot be judged; export in fp32"
        )
    return np.concatenate(places)


@contextmanager
def _silent_logging() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _in_fp32(graph: onnx.ModelProto, task: str) -> list[str]:
    """Nodes before the first layer, and from the last one on; an encoder's last layer is its largest, and quantised."""
    nodes = list(graph.graph.node)
    layers = [number for number, node in enumerate(nodes) if node.op_type in _LAYERS]
    return [node.name for node in nodes[: layers[0]] + nodes[layers[-1] + (task == "embedding") :]]


class _Calibration(CalibrationDataReader):
    """Tiles of training places, one after the other."""

    def __init__(self, store: ChipStore, tile: int) -> None:
        rows = _rows(store, tile, _CALIBRATION).reshape(-1, chips_in(store, tile))
        self._tiles = (mosaic(store.pixels(group), tile) for group in tqdm(rows, "calibrating", disable=None))

    def get_next(self) -> dict[str, np.ndarray] | None:
        tile = next(self._tiles, None)
        return None if tile is None else {"image": np.ascontiguousarray(tile)}


def _rows(store: ChipStore, tile: int, tiles: int) -> np.ndarray:
    """Random images of training places, as many as make so many tiles."""
    places = store.places_of("train")
    rows = np.concatenate([np.arange(first, first + count) for first, count in zip(places["first"], places["count"])])
    return np.random.default_rng(0).choice(rows, tiles * chips_in(store, tile))


def _tiles(store: ChipStore, rows: np.ndarray, tile: int, task: str) -> np.ndarray:
    """Pixels of these images: in mosaics where every pixel has a class, else one image a tile."""
    arrange = mosaic if task == "segmentation" else filled
    return np.ascontiguousarray(arrange(store.pixels(rows), tile))


def _truth(store: ChipStore, rows: np.ndarray, tile: int, task: str) -> np.ndarray:
    """Class numbers beside ``_tiles``; ``UNLABELLED`` (or below 0) where unknown."""
    if task == "segmentation":
        return mosaic(store.masks(rows)[:, None], tile)[:, 0]
    return store.column("label")[rows]


def _accuracy(models: tuple[Model, Model], store: ChipStore, rows: np.ndarray, task: str) -> tuple[float, float, int]:
    """Share of right names of both, and how many images were looked at."""
    tile = models[0].card.tile_size
    together = chips_in(store, tile) if task == "segmentation" else 1
    count = min(len(rows), _IMAGES, max(_PIXELS // tile**2, 1) * together)
    count = max(count // together, 1) * together
    chosen = np.resize(np.random.default_rng(0).permutation(rows), count)  # repeated where too few for one tile
    right, known = np.zeros(2), 0
    for group in tqdm(chosen.reshape(-1, together), "comparing", disable=None):
        tiles, truth = _tiles(store, group, tile, task), _truth(store, group, tile, task)
        labelled = (truth >= 0) & (truth != UNLABELLED) if task == "segmentation" else truth >= 0
        right += [(model.run(tiles).argmax(axis=1) == truth)[labelled].sum() for model in models]
        known += int(labelled.sum())
    before, after = (right / max(known, 1)).tolist()
    return before, after, len(np.unique(chosen))


def _by_neighbours(
    models: tuple[Model, Model], store: ChipStore, known: np.ndarray, rows: np.ndarray
) -> tuple[float, float, int]:
    """Share of images whose nearest training images name them rightly, by each model's own features."""
    rng, labels = np.random.default_rng(0), store.column("label")
    known, chosen = rng.permutation(known)[:_NEIGHBOURS], rng.permutation(rows)[:_IMAGES]
    before, after = (
        float(knn_right(*((answers(model, store, side, "comparing"), labels[side]) for side in (known, chosen))).mean())
        for model in models
    )
    return before, after, len(chosen)


def _ratio(full: Model, small: Model, tile: np.ndarray) -> float:
    """How many times as fast the small one runs a tile: of the time that the processor gives to this thread alone.

    Both take turns, so that whatever else runs here slows both; the quickest call of each counts.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS + 1):
        for model, times in zip((full, small), seconds):
            start = time.thread_time()
            model.outputs(tile)
            times.append(time.thread_time() - start)
    return min(seconds[0][1:]) / min(seconds[1][1:])

"""Post-training quantisation of an exported model to 8-bit integers, compared with fp32 on held-out chips.

Weights are signed with one scale per channel, activations unsigned: the combination with fast kernels in onnxruntime on
x86. Weights use seven of their eight bits, because processors without VNNI add products in 16 bits, which would overflow
silently. Nodes before the first convolution (the scaling) and from the last layer on (the classes) stay in fp32; for an
encoder, nodes that no layer depends on. The format is pairs of QuantizeLinear and DequantizeLinear, which every execution
provider supports.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from tqdm import tqdm

from core.errors import UserError
from core.evaluation.classify import K_NEIGHBOURS, knn_correct
from core.store.read import UNLABELLED, ChipStore, images_of
from core.training.labelled import labelled_places
from export.runtime.model.session import Model

MIN_SPEEDUP, MAX_LOSS = 2.0, 0.01  # relative to fp32, and in accuracy
_CALIBRATION, _CALIBRATION_LARGE = 100, 8  # tiles, and of more than 256 px
_STATISTICS, _STATISTICS_TILE = 16, 256  # tiles of training chips that scale dense features, and their side in px
_OF = {"segmentation": "pixels", "embedding": f"images, by {K_NEIGHBOURS} nearest neighbours,"}  # else "images"
_IMAGES, _PIXELS = 1000, 2**24  # maximum, for the accuracy
_NEIGHBOURS = 4000  # maximum number of training images to search for neighbours of an encoder's features
_ROUNDS = 20
_LAYERS = ("Conv", "Gemm", "MatMul")
_BLOCK = 256  # images read at once


@dataclass(frozen=True)
class Comparison:
    """Comparison of the quantised model with the one in fp32.

    Attributes:
        before: accuracy of fp32 on held-out pixels or images, 0 to 1.
        after: accuracy of int8.
        ratio: seconds of fp32 divided by seconds of int8, one tile, one thread.
        images: number of held-out chips.
        of: "pixels" or "images", with the classifier for an encoder.
    """

    before: float
    after: float
    ratio: float
    images: int
    of: str

    @property
    def pays_off(self) -> bool:
        """Whether int8 is fast and accurate enough."""
        return self.ratio >= MIN_SPEEDUP and self.before - self.after <= MAX_LOSS

    def __str__(self) -> str:
        """One line for the terminal."""
        return (
            f"int8 on {self.images} held-out chips: {self.after:.1%} of the {self.of} correct, fp32 {self.before:.1%}; "
            f"{self.ratio:.2f} times as fast on this CPU, one thread each"
        )

    def as_json(self) -> dict[str, Any]:
        """For the card."""
        return {
            "accuracy_fp32": round(self.before, 4), "accuracy_int8": round(self.after, 4), "of": self.of,
            "held_out_chips": self.images, "speed_ratio": round(self.ratio, 2),
        }  # fmt: skip


def quantize(model: Path, store: ChipStore, task: str) -> tuple[onnx.ModelProto, Comparison]:
    """Quantise an exported model for any task but detection, and compare both; an encoder is evaluated with kNN.

    Training places of the store calibrate, its test places compare. The graph keeps the card of fp32.

    Raises:
        UserError: there are no labels to compare with.
    """
    held_out = _labelled(store, "test", task)
    known = _labelled(store, "train", task) if task == "embedding" else held_out
    full = Model(model, "cpu", threads=1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        disabled = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it recommends, on the root logger, a step that this graph does not need
        try:
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
        finally:
            logging.disable(disabled)
        small = Model(path, "cpu", threads=1)
        if task == "embedding":
            before, after, images = _by_neighbours((full, small), store, known, held_out)
        else:
            before, after, images = _accuracy((full, small), store, held_out, task)
        ratio = _ratio(full, small, _tiles(store, _rows(store, full.card.tile_size, 1), full.card.tile_size, task))
        graph = onnx.load(path)
    return graph, Comparison(before, after, ratio, images, _OF.get(task, "images"))


def _labelled(store: ChipStore, side: str, task: str) -> np.ndarray:
    """Index rows of the labelled images of a side; ``UserError`` if there are none."""
    places = labelled_places(store, side, "classification" if task == "embedding" else task)
    if not places:
        raise UserError(
            f"{store.path}: no place of the '{side}' split has a label to evaluate int8 with; export in fp32"
        )
    return np.concatenate(places)


def _in_fp32(graph: onnx.ModelProto, task: str) -> list[str]:
    """Nodes before the first layer, and from the last one on.

    The last layer of an encoder, its largest, is quantised; what no layer depends on, such as its pooling, is not.
    """
    nodes = list(graph.graph.node)
    layers = [number for number, node in enumerate(nodes) if node.op_type in _LAYERS]
    before = nodes[: layers[0]]
    if task != "embedding":
        return [node.name for node in before + nodes[layers[-1] :]]
    needed: set[str] = set()
    after = []
    for node in reversed(nodes):
        if node.op_type in _LAYERS or needed & set(node.output):
            needed |= set(node.input)
        else:
            after.append(node)
    return [node.name for node in before + after[::-1]]


class _Calibration(CalibrationDataReader):
    """Tiles of training places."""

    def __init__(self, store: ChipStore, tile: int) -> None:
        tiles = _CALIBRATION if tile <= _STATISTICS_TILE else min(_CALIBRATION, _CALIBRATION_LARGE)
        rows = _rows(store, tile, tiles).reshape(-1, chips_in(store, tile))
        self._tiles = (mosaic(store.pixels(group), tile) for group in tqdm(rows, "calibrating", disable=None))

    def get_next(self) -> dict[str, np.ndarray] | None:
        tile = next(self._tiles, None)
        return None if tile is None else {"image": np.ascontiguousarray(tile)}


def _rows(store: ChipStore, tile: int, tiles: int) -> np.ndarray:
    """Random images of training places that fill ``tiles`` tiles."""
    rows = np.concatenate(images_of(store.places_of("train")))
    return np.random.default_rng(0).choice(rows, tiles * chips_in(store, tile))


def _tiles(store: ChipStore, rows: np.ndarray, tile: int, task: str) -> np.ndarray:
    """Pixels of these images: as mosaics for segmentation, else one image per tile."""
    arrange = mosaic if task == "segmentation" else padded
    return np.ascontiguousarray(arrange(store.pixels(rows), tile))


def _truth(store: ChipStore, rows: np.ndarray, tile: int, task: str) -> np.ndarray:
    """Class numbers for ``_tiles``; ``UNLABELLED`` or negative if unknown."""
    if task == "segmentation":
        return mosaic(store.masks(rows)[:, None], tile)[:, 0]
    return store.column("label")[rows]


def _accuracy(models: tuple[Model, Model], store: ChipStore, rows: np.ndarray, task: str) -> tuple[float, float, int]:
    """Accuracy of both models, and the number of images."""
    tile = models[0].card.tile_size
    together = chips_in(store, tile) if task == "segmentation" else 1
    count = min(len(rows), _IMAGES, max(_PIXELS // tile**2, 1) * together)
    count = max(count // together, 1) * together
    chosen = np.resize(np.random.default_rng(0).permutation(rows), count)  # repeated if too few for one tile
    correct, known = np.zeros(2), 0
    for group in tqdm(chosen.reshape(-1, together), "comparing", disable=None):
        tiles, truth = _tiles(store, group, tile, task), _truth(store, group, tile, task)
        labelled = (truth >= 0) & (truth != UNLABELLED) if task == "segmentation" else truth >= 0
        correct += [(model.run(tiles).argmax(axis=1) == truth)[labelled].sum() for model in models]
        known += int(labelled.sum())
    before, after = (correct / max(known, 1)).tolist()
    return before, after, len(np.unique(chosen))


def _by_neighbours(
    models: tuple[Model, Model], store: ChipStore, known: np.ndarray, rows: np.ndarray
) -> tuple[float, float, int]:
    """KNN accuracy of both models on their own features, and the number of images."""
    rng, labels = np.random.default_rng(0), store.column("label")
    known, chosen = rng.permutation(known)[:_NEIGHBOURS], rng.permutation(rows)[:_IMAGES]

    def accuracy(model: Model) -> float:
        train, queries = ((outputs(model, store, side, "comparing"), labels[side]) for side in (known, chosen))
        return float(knn_correct(train, queries).mean())

    return accuracy(models[0]), accuracy(models[1]), len(chosen)


def _ratio(full: Model, small: Model, tile: np.ndarray) -> float:
    """Speed-up of the quantised model on one tile, in CPU time of this thread.

    Calls alternate, so that other load slows both models; the fastest call of each counts.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS + 1):
        for model, times in zip((full, small), seconds):
            start = time.thread_time()
            model.outputs(tile)
            times.append(time.thread_time() - start)
    return min(seconds[0][1:]) / min(seconds[1][1:])


def real_tiles(store: ChipStore, tile: int, count: int = 2) -> np.ndarray:
    """Mosaics of random chips of the store, (count, bands, tile, tile) float32."""
    rows = np.random.default_rng(0).integers(0, len(store), count * chips_in(store, tile))
    return np.ascontiguousarray(mosaic(store.pixels(rows), tile))


def training_tiles(store: ChipStore) -> np.ndarray:
    """Mosaics of random chips of training places, (N, bands, size, size) float32."""
    chips = store.pixels(_rows(store, _STATISTICS_TILE, _STATISTICS))
    return np.ascontiguousarray(mosaic(chips, _STATISTICS_TILE))


def chips_in(store: ChipStore, tile: int) -> int:
    """Number of chips that cover a tile of this size."""
    return (-(-tile // store.info.chip_size)) ** 2


def mosaic(chips: np.ndarray, tile: int) -> np.ndarray:
    """Join chips to tiles: (N, layers, size, size) to (N / chips per tile, layers, tile, tile)."""
    _, layers, size, _ = chips.shape
    across = -(-tile // size)
    grid = chips.reshape(-1, across, across, layers, size, size).transpose(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, layers, across * size, across * size)[..., :tile, :tile]


def padded(chips: np.ndarray, tile: int) -> np.ndarray:
    """One chip per tile, cropped or padded by its edge values: (N, layers, size, size) to (N, layers, tile, tile)."""
    short = max(tile - chips.shape[-1], 0)
    return np.pad(chips, ((0, 0), (0, 0), (0, short), (0, short)), mode="edge")[..., :tile, :tile]


def outputs(model: Model, store: ChipStore, rows: np.ndarray, title: str) -> np.ndarray:
    """Run a scene classifier or an encoder on each image separately; one with a map of features on several a tile.

    Returns:
        (N, K) probabilities or features; the mean of a feature map over each image.
    """
    if model.dense:
        return _means(model, store, rows, title)
    parts = []
    with tqdm(total=len(rows), desc=title, unit="image", disable=None) as progress:
        for start in range(0, len(rows), _BLOCK):
            images = store.pixels(rows[start : start + _BLOCK])
            parts.append(model.run(np.ascontiguousarray(padded(images, model.card.tile_size))))
            progress.update(len(images))
    return np.concatenate(parts)


def _means(model: Model, store: ChipStore, rows: np.ndarray, title: str) -> np.ndarray:
    """(N, D) mean of the features over each image; as many images as a tile holds lie side by side in it."""
    tile, size = model.card.tile_size, store.info.chip_size
    across = max(tile // size, 1)
    filled = np.resize(rows, -(-len(rows) // across**2) * across**2)
    cells = min(size, tile) // model.factor
    parts = []
    with tqdm(total=len(rows), desc=title, unit="image", disable=None) as progress:
        for group in filled.reshape(-1, across**2):
            chips = padded(store.pixels(group), min(size, tile))
            answer = model.run(np.ascontiguousarray(padded(mosaic(chips, across * chips.shape[-1]), tile)))[0]
            for number in range(across**2):
                top, left = (place * size // model.factor for place in divmod(number, across))
                parts.append(answer[:, top : top + cells, left : left + cells].mean(axis=(1, 2)))
            progress.update(len(group))
    return np.stack(parts[: len(rows)])

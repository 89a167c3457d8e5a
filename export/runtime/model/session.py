"""Opens a checked ONNX file in onnxruntime and runs tiles through it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelFault
from ..files import free_memory, trim_memory
from ..messages import Message
from .answers import canonical, kind_of, with_channels
from .card import ModelCard
from .devices.openvino import OPENVINO, OpenVinoSession, is_openvino
from .guard import read_header
from .providers import BATCHED, CPU, called, checked_precision, chosen, cores, runner_of, start
from .read_card import card_of, card_of_metadata, with_tile
from .tiles import BYTES_PER_PIXEL, Sizes, find, geometry, largest_for

# Element types of onnx.proto that an image input may have.
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 10: "float16"}
_DTYPES[11] = "float64"
_BYTES_PER_DATE = 256  # of a pixel of a tile, for each date of a series beside the one that the encoder is at
_LARGEST_BATCH = 256  # largest batch that a graph may require
Feed = dict[str, np.ndarray]  # the graph's inputs by name
_LARGEST_ANSWER = 2**30  # bytes for one tile; 256 classes of 1024 x 1024 px reach it


class Model:
    """A model ready to run.

    Attributes:
        file: its path, or its content.
        card: completed from the graph.
        provider: what runs it: a name of onnxruntime, or OpenVINO; ``precision`` is what that calculates in.
        undecided: whether another provider may be taken, if it proves to be faster on a raster (``infer.timing.trial``).
        output: name of the graph's output that is used.
        channels: classes, values or features in the output; 0 for a detection.
        dense: whether the output of a tile is a map, not one vector.
        border: px at each edge of a tile that its output leaves out.
        factor: px of a tile, along a side, per cell of its map.
        batch: tiles per call of onnxruntime, always the same.
        threads: calls that may run in parallel; ``for_dates`` where they read series.
        sizes: of tiles, if neither card nor graph state one; else None.
    """

    def __init__(
        self,
        path: str | Path | bytes,
        provider: str | None = "auto",
        card: ModelCard | None = None,
        threads: int | None = None,
        precision: str | None = None,
        output: str | None = None,
    ) -> None:
        """Check and open an ONNX file.

        Args:
            path: of the file; or its content.
            provider: one of ``providers.PROVIDERS``, or onnxruntime's own name of a provider; "auto" is the CPU until
                ``infer.timing.trial`` has decided.
            card: by default ``<model>.card.json`` beside the file, else the one inside it.
            threads: on the CPU; by default as many as cores and memory allow.
            precision: "fp32", "fp16" or "bf16", if the provider supports it.
            output: by default the card's, else the first.

        Raises:
            ModelFault: the file or its card is refused, or the provider is not available.
        """
        inside = isinstance(path, bytes)
        self.file, self._where = path, (card.name if card else "") if inside else str(path)
        self._header = header = read_header(path, self._where)
        card = card or (
            card_of_metadata(header.metadata, "", header.input_shape) if inside else card_of(self._where, header)
        )
        if header.input_kind not in _DTYPES:
            raise ModelFault("input_type", where=self._where)
        if (header.input_shape[0] or 1) > _LARGEST_BATCH:
            raise ModelFault("batch_too_large", where=self._where, count=header.input_shape[0], limit=_LARGEST_BATCH)
        self._dtype = np.dtype(_DTYPES[header.input_kind])
        self.sizes: Sizes | None = None
        self.card = with_tile(card, header, self._where)
        self.output = self._named(output)
        self._check_size(self._stated(self.output))  # before anything runs
        name, self.undecided = chosen(provider or CPU), provider == "auto"
        self._sessions: dict[tuple[str, str], Any] = {}  # the one that is open, of this model and its copies
        self._opening, self._small = threading.Lock(), False
        self._threads = threads
        later = is_openvino(name)  # once onnxruntime has run a tile
        self._start(CPU if later else name, None if later else precision)
        self._use(self.output)
        if later:
            self._start(name, precision)

    def choose(self, output: str | None, threshold: float | None = None) -> Model:
        """This model, answering with another of the graph's outputs, or with another threshold; None leaves it.

        Raises:
            ModelFault: there is no such output, or it does not fit the card.
        """
        other = copy.copy(self)
        if threshold is not None:
            other.card = replace(self.card, threshold=threshold)
        if output not in (None, self.output):
            other._use(self._named(output))
        return other

    def on(self, provider: str, precision: str = "fp32", tried: bool = False) -> Model:
        """This model, run by another provider, by its full name; itself, decided, if that runs it.

        ``tried`` says that onnxruntime is known to run a tile of it within its limit of memory: it does not run one again.

        Raises:
            ModelFault: the provider does not start.
        """
        other = copy.copy(self)
        other.undecided = False
        if (provider, precision) != (self.provider, self.precision):
            other._start(provider, precision, tried)
        return other

    @property
    def runner(self) -> str:
        """What runs it, as a user reads it; see ``providers.provider_of``."""
        return runner_of(self.provider, self.precision)

    @property
    def loops(self) -> bool:
        """Whether the graph has loops, which OpenVINO would not stop in time."""
        return self._header.loops

    def for_dates(self, count: int) -> Model:
        """This model with as many threads as memory allows for series of so many dates; itself if it maps one date."""
        if not self.card.dates:
            return self
        other = copy.copy(self)
        other.threads = self._threads_for(self._threads, count)
        return other

    def _threads_for(self, asked: int | None, dates: int) -> int:
        """Calls at a time, by default as many as the memory for each allows."""
        each = self.batch * self.card.tile_size**2 * (BYTES_PER_PIXEL + _BYTES_PER_DATE * dates)
        on_cores = self.provider in (CPU, OPENVINO)
        return asked or (max(1, min(cores(), int(free_memory() / 2 / each))) if on_cores else 1)

    def _batch(self, provider: str) -> int:
        """Tiles per call; a series is a call of its own."""
        return 1 if self.card.dates else self._header.input_shape[0] or BATCHED.get(provider, 1)

    @property
    def answer_bytes(self) -> int:
        """Size of the output of one call in bytes: probabilities of a batch at the tile's own size."""
        side = self._shape[-1] * self.factor if self.dense else 1
        return 4 * self.batch * max(self.channels, 1) * side**2

    def run(self, tiles: np.ndarray) -> np.ndarray:
        """Run tiles (N, bands, tile_size, tile_size) of raw pixel values of any number type.

        Returns:
            float32: (N, K, rows, cols) probabilities of a segmentation, or values of a regression, for the tile
            without ``border`` (but with the card's) and divided by ``factor``; (N, K) of a scene classification; (N, D) or
            (N, D, rows, cols) of an embedding. A tile's output does not depend on the others.

        Raises:
            ModelFault: it is a detection; onnxruntime fails; or the output has another shape than before.
        """
        if self.card.task == "detection":
            raise ModelFault("detection_tile", where=self._where)
        if self.card.dates:
            raise ModelFault("needs_series", where=self._where, name=self.card.name)
        parts: list[np.ndarray] = []
        for first in range(0, len(tiles), self.batch):
            parts.append(self._canonical(self._answer(tiles[first : first + self.batch])))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def run_series(
        self, pixels: np.ndarray, valid: np.ndarray, days: np.ndarray, lonlat: np.ndarray | None = None
    ) -> np.ndarray:
        """Run one tile of a series of T dates, in any order.

        Args:
            pixels: (T, bands, tile_size, tile_size) raw values of any number type; where a date is not valid, of any value.
            valid: (T, tile_size, tile_size), whether a date holds data at a pixel.
            days: (T,) days of the year, 1 to 366.
            lonlat: (2, tile_size, tile_size) longitude and latitude in degrees (WGS 84); needed if the card's
                ``location`` is set, else ignored.

        Returns:
            float32: (K, rows, cols) probabilities, of a tile as ``run`` answers for it; (K,) of a scene classification. They
            mean nothing where no date is valid.

        Raises:
            ModelFault: it is a model of one date; a location is missing; or as for ``run``.
        """
        if not self.card.dates:
            raise ModelFault("needs_one_date", where=self._where, name=self.card.name)
        if self.card.location and lonlat is None:
            raise ModelFault("needs_location", where=self._where, name=self.card.name)
        fill = np.array(self.card.fill, np.float32)[:, None, None]
        pixels = np.where(np.asarray(valid, bool)[:, None], pixels, fill)
        others = (valid, days, *([] if lonlat is None else lonlat))
        return self._canonical(self._of_feed(self._feed(pixels, *others)))[0]

    def _canonical(self, answer: np.ndarray) -> np.ndarray:
        """The graph's answer as ``run`` gives it; raises ModelFault if its shape is not the one of before."""
        if answer.shape[1:] != self._shape:
            shape, before = list(answer.shape[1:]), list(self._shape)
            raise ModelFault("output_changed", where=self._where, shape=shape, before=before)
        return canonical(answer, self.card, self._where)

    def outputs(self, tiles: np.ndarray) -> list[np.ndarray]:
        """Every output of the graph for raw (N, bands, tile_size, tile_size), unchanged.

        A detection takes one tile and returns boxes (M, 4) as xmin, ymin, xmax, ymax in px, scores (M,), best first, and class numbers (M,).
        """
        if self.card.dates:
            raise ModelFault("needs_series", where=self._where, name=self.card.name)
        return self._call(None, self._feed(tiles))

    def _answer(self, tiles: np.ndarray) -> np.ndarray:
        """The chosen output for at most ``batch`` tiles; a smaller batch is padded, its output cut."""
        count = len(tiles)
        if count < self.batch:
            tiles = np.concatenate([tiles, np.repeat(tiles[-1:], self.batch - count, axis=0)])
        return self._of_feed(self._feed(tiles))[:count]

    def _of_feed(self, feed: Feed, last: bool = False) -> np.ndarray:
        return with_channels(self._call([self.output], feed, last)[0], self.card.task)

    def _feed(self, tiles: np.ndarray, *others: np.ndarray) -> Feed:
        """The graph's inputs: raw tiles, and what goes with those of a series, in the order of ``guard.SERIES``."""
        feed = {self._header.input_name: self.card.scaled(tiles, self._dtype)}
        for name, values in zip(self._header.others, others):
            feed[name] = np.ascontiguousarray(values, bool if name == "valid" else np.float32)
        return feed

    def _trial(self, count: int, size: int = 0) -> Feed:
        """The graph's inputs for so many tiles of noise; of a series for ``trial_dates``."""
        tile, dates = self._sample(size), self.trial_dates
        if not dates:
            return self._feed(np.repeat(tile, count, axis=0))
        place = np.zeros((2, *tile.shape[2:]))
        seen = np.ones((dates, *tile.shape[2:]))
        return self._feed(np.repeat(tile, dates, axis=0), seen, np.linspace(1, 365, dates), *place)

    @property
    def trial_dates(self) -> int:
        """Dates of a series of noise: as many as in training, at most a year's months; 0 of a model of one date."""
        return min(self.card.dates, 12)

    def on_noise(self) -> Callable[[], object]:
        """A call for one batch of tiles of noise, the same each time, that runs the model as on a raster: to be timed."""
        feed = self._trial(self.batch)
        if self.card.task == "detection":
            return lambda: self._call(None, feed)
        return lambda: self._canonical(self._of_feed(feed))

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest raw value that the graph's input can hold in every band."""
        return self.card.limits(self._dtype)

    @property
    def whole_numbers(self) -> bool:
        """Whether the graph takes nothing else."""
        return self._dtype.kind in "iu"

    def _call(self, names: Sequence[str] | None, feed: Feed, last: bool = False) -> list[np.ndarray]:
        with self._opening:
            key = self.provider, self.precision
            if key not in self._sessions:
                self._sessions[key] = self._opened()
            session = self._sessions[key]
        self._small = last
        return called(session, names, feed, self._where, self._header.loops, last)

    def rest(self) -> None:
        """Close the session, which has run a tile, and give back its memory; the next call opens another one."""
        if not self._small:
            self._call(None, self._trial(self.batch), last=True)
        self._sessions.clear()
        trim_memory()

    def _start(self, provider: str, precision: str | None, tried: bool = False) -> None:
        """Have a provider run it. The first one, which is not OpenVINO, finds the tile size if none is stated."""
        checked_precision(precision)
        key = provider, precision or "fp32"
        if is_openvino(provider) and self._header.loops:
            raise ModelFault("openvino_loops", where=self._where)
        if is_openvino(provider) and self._sessions and key not in self._sessions and not tried:
            self.rest()  # its tile has run within onnxruntime's limit of memory
        (self.provider, self.precision), self.batch = key, self._batch(provider)
        if key not in self._sessions:
            self._sessions.clear()
            self._sessions[key] = self._opened()
        if not self.card.tile_size:
            self._find_tile()
        self.threads = self._threads_for(self._threads, self.card.dates)

    def _opened(self) -> Any:
        if not is_openvino(self.provider):
            return start(self.file, self.provider, self.precision, self._where)
        shapes = {name: list(values.shape) for name, values in self._trial(self.batch).items()}
        for name in ("pixels", "valid", "day_of_year") if self.card.dates else ():
            shapes[name][0] = -1  # each tile has as many dates as hold data there
        if self.sizes:
            shapes[self._header.input_name][2:] = [-1, -1]
        streams = self._threads_for(self._threads, self.card.dates)
        return OpenVinoSession(self.file, shapes, (self.provider, self.precision), streams, self._where)

    def _find_tile(self) -> None:
        """Find which tiles the graph takes, and choose the largest that memory allows."""
        failures: list[ModelFault] = []

        def answer(size: int) -> tuple[int, ...] | None:
            tiles = np.repeat(self._sample(size), self._header.input_shape[0] or 1, axis=0)
            try:
                first = self._call([self.output], self._feed(tiles))[0]
            except ModelFault as fault:
                if fault.message.kind != "onnxruntime_failed":
                    raise
                failures.append(fault)
                return None
            return (1,) if self.card.task == "detection" else with_channels(first, self.card.task).shape[1:]

        self.sizes = find(answer)
        if self.sizes is None:
            reason = failures[0].message.fields["reason"] if failures else Message("empty_output")
            raise ModelFault("no_tile_size", where=self._where, reason=reason)
        size = self.sizes.up_to(largest_for(free_memory() // 2 // cores()))
        step, quarter = self.sizes.step or size, min(size // 4, 128)
        overlap = self.card.overlap or quarter // step * step or quarter  # so the same patches lie in every tile
        self.card = replace(self.card, tile_size=size, overlap=min(overlap, size - 1))

    def _sample(self, size: int = 0) -> np.ndarray:
        """One tile of noise within the range of values, the same each time; (1, bands, size, size)."""
        size = size or self.card.tile_size
        low, high = self.card.value_range
        noise = np.random.default_rng(0).random((1, len(self.card.bands), size, size), np.float32)
        return noise * np.float32(high - low) + np.float32(low)

    def _named(self, output: str | None) -> str:
        """The output to use: this one, else the card's, else the first."""
        names = [one.name for one in self._header.outputs]
        name = output or self.card.output or names[0]
        if name not in names:
            raise ModelFault("no_such_output", where=self._where, output=name, outputs=", ".join(names))
        return name

    def _stated(self, output: str) -> tuple[int, ...]:
        """The shape of an output without its batch, as the file states it: 0 where free, empty if it does not."""
        shape = next(one.shape for one in self._header.outputs if one.name == output)
        return tuple(count or 0 for count in shape[1:])

    def _check_size(self, shape: Sequence[int]) -> None:
        """Refuse an output that is too large, as far as its shape is known."""
        size = 4 * int(np.prod([count for count in shape if count], dtype=object))
        if size > _LARGEST_ANSWER:
            raise ModelFault("output_too_large", where=self._where, size=size)

    def _use(self, output: str) -> None:
        """Find what the output holds: from the file if it states all, else by running tiles."""
        self._check_size(self._stated(output))
        self.output = output
        self.channels, self.dense, self.border, self.factor = 0, False, 0, 1
        self._shape: tuple[int, ...] = ()
        if self.card.task == "detection":
            if len(self._header.outputs) < 3:
                raise ModelFault("detection_outputs", where=self._where)
            return
        tile, shape = self.card.tile_size, self._stated(output)
        told = bool(shape) and 0 not in shape and self.card.activation is not None
        if told and not (self.sizes and len(shape) > 1):
            blank = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1, *shape), (0,) * (len(shape) + 1))
            self._fit({tile: with_channels(blank, self.card.task).shape[1:]})
            return
        answers = {size: self._tried(size) for size in (self.sizes.tried if self.sizes else (tile,))}
        if self.card.activation is None and self.card.task in ("segmentation", "classification"):
            self.card = replace(self.card, activation=kind_of(next(iter(answers.values()))))
        self._fit({size: answer.shape[1:] for size, answer in answers.items()})

    def _tried(self, size: int) -> np.ndarray:
        """The output for one tile of noise."""
        try:
            answer = self._of_feed(self._trial(self.batch, size), last=True)[:1]
        except ModelFault as fault:
            if fault.message.kind != "onnxruntime_failed" or any(self._header.input_shape[2:]):
                raise
            raise ModelFault("tile_size", where=self._where, side=size, reason=fault.message.fields["reason"]) from None
        if not answer.size:
            raise ModelFault("empty_output", where=self._where)
        return answer

    def _fit(self, shapes: dict[int, tuple[int, ...]]) -> None:
        """Check the answer's shape (K,) or (K, rows, columns) for each size of a tile, and derive the geometry."""
        ranks = {"segmentation": (3,), "classification": (1,)}.get(self.card.task, (1, 3))
        for shape in shapes.values():
            self._check_size(shape)
            if len(shape) not in ranks or 0 in shape or len(set(shape[1:])) > 1:
                raise ModelFault("output_shape", where=self._where, shape=["N", *shape], task=self.card.task)
        size, shape = next(iter(shapes.items()))
        self.channels, self.dense = shape[0], len(shape) == 3
        if self.dense:
            found = geometry({size: shape[1] for size, shape in shapes.items()})
            if found is None:
                raise ModelFault("output_rows", where=self._where, rows=shape[1], tile=size)
            self.border, self.factor = found
        if not self._fits_border():
            border, rows = self.card.border, shape[-1]
            raise ModelFault("border", where=self._where, border=border, rows=rows, tile=self.card.tile_size)
        self.card = self.card.with_outputs(self.channels, self._where)
        if self.card.activation == "classes" and self.card.classes:
            self.channels = len(self.card.classes)  # votes
        self._shape = self._shape_for(self.card.tile_size, shape[0])

    def _fits_border(self) -> bool:
        """Whether the card's border leaves a part of the map, of whole cells."""
        tile, border, factor = self.card.tile_size, self.card.border, self.factor
        fits = self.dense and not self.border and 2 * border < tile and not border % factor and not tile % factor
        return fits or not border

    def _shape_for(self, tile: int, channels: int) -> tuple[int, ...]:
        """The answer's shape for a tile of so many px."""
        side = (tile - 2 * self.border) // self.factor
        return (channels, side, side) if self.dense else (channels,)

    def sized(self, side: int) -> Model:
        """This model for the smallest tiles that hold ``side`` px, if nobody states a size; else itself."""
        sizes = None if self.card.border else self.sizes  # so every tile begins where others would
        size = sizes.over(side + 2 * self.border) if sizes else self.card.tile_size
        if size >= self.card.tile_size:
            return self
        other = copy.copy(self)
        other.card = replace(self.card, tile_size=size, overlap=min(self.card.overlap, size // 2))
        other._shape = self._shape_for(size, self._shape[0])
        return other

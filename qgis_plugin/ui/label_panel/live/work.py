"""What the worker thread of the panel does: features, the fit, and maps of the view. It touches no layer of QGIS."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from .... import onnxruntime_help
from ....gdal_io.cache import feature_cache
from ....gdal_io.grid import LayerGrid
from ....gdal_io.job import Layer
from ....gdal_io.labels import labels_on
from ....runtime.errors import Cancelled, InputFault
from ....runtime.infer.inputs.tile import any_valid
from ....runtime.infer.layout import Options
from ....runtime.learn.features import FeatureChoice
from ....runtime.learn.fitting import Featured, that_count
from ....runtime.learn.heads import Head, fit
from ....runtime.learn.judge import Applicability
from ....runtime.learn.mapping import head_session
from ....runtime.learn.place import FeatureRaster
from ....runtime.learn.samples import Label, Samples, samples_of
from ....runtime.learn.similar import BestPlaces, Similarity
from ....runtime.messages import Message
from ....runtime.raster.window import Window, lattice
from ....texts import tr, words
from .files import hatched, write_map
from .view import Bounds, LayerView, Maps, Tile, ViewFeatures
from .worker import Steps, StepThread

# How urgent the jobs are; the lowest number comes first.
OPEN, FIT, PAINT, VIEW, SCORE, BEST, REST = range(7)
_REPAINT_S = 0.4  # at the shortest, while the features of a view come in
_CANDIDATES = 64  # places of a tile from which the next ones to label are chosen
_PICTURE = 64  # px a side of the picture of a similar place
_TELL_S = 2.0  # between two reports on similar places
_LOOK_S = 3.0  # between two looks at the size of the cache


@dataclass(frozen=True)
class Given:
    """All that opening a layer takes, copied on the main thread."""

    layer: Layer
    name: str
    choice: FeatureChoice
    folder: Optional[Path]
    transforms: Any
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Marks:
    """The labels of the panel: (number, class index, geometry) in one CRS, and the names of the classes."""

    marks: Sequence[tuple[int, int, Any]] = ()
    crs: Any = None
    names: tuple[str, ...] = ()

    @property
    def labelled(self) -> int:
        """How many classes have labels."""
        return len({index for _, index, _ in self.marks})


@dataclass(frozen=True)
class LiveLayer:
    """What is known of a layer once its features can be computed."""

    seen: LayerGrid
    factor: int
    tiles: int
    notes: tuple[Message, ...]


@dataclass(frozen=True)
class LiveFit:
    """A head and what it was fitted on."""

    head: Head
    samples: Samples
    names: tuple[str, ...]
    notes: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Candidates:
    """Places all over the layer: (N, D) features and (N, 2) rows and columns in px."""

    features: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class LikePlaces:
    """The best places of the layer; ``pictures`` are (rows, columns, 3) uint8 of each, none before all were compared."""

    places: BestPlaces
    pictures: tuple[np.ndarray, ...] = ()

    @classmethod
    def none(cls) -> "LikePlaces":
        """No places."""
        return cls(BestPlaces.none())


class Work:
    """The state of the worker thread. All methods but ``__init__`` are called by it, most of them as jobs in steps."""

    def __init__(self, thread: StepThread, given: Given) -> None:
        self._thread, self._given = thread, given
        self.raster: Optional[FeatureRaster] = None
        self.fitted: Optional[LiveFit] = None
        self._view: Optional[ViewFeatures] = None
        self._bounds: Optional[Bounds] = None
        self._cell_px = 1.0
        self._run: Any = None
        self._placed: dict[bytes, Label] = {}
        self._applicability: Optional[Applicability] = None
        self._unlike_wanted = False
        self._sought: Optional[Similarity] = None
        self._sampled: dict[Tile, tuple[np.ndarray, np.ndarray]] = {}
        self._painted, self._paint_s = 0.0, 0.0
        self._looked, self._told = 0.0, False

    def open(self) -> Steps:
        """Open the layer and learn its features."""
        problem = onnxruntime_help.problem()
        if problem:
            raise InputFault.worded(onnxruntime_help.sentence(problem))
        self._say("state", tr("Looking at the layer…"))
        pixels = self._given.layer.open()
        yield
        given = self._given
        try:
            cache = feature_cache(given.folder) if given.folder else None
            featured = Featured.of([pixels], given.choice, given.options, cache, progress=self._keep_going)
        except BaseException:
            pixels.close()
            raise
        (self.raster,) = featured.rasters
        rows, columns = self.raster.shape
        factor, notes = featured.features.factor, tuple(featured.notes)
        self._say("opened", LiveLayer(self.raster.layout.seen, factor, rows * columns, notes))

    def close(self) -> None:
        """Release the files."""
        if self.raster is not None:
            self.raster.close()

    def view(self, bounds: Bounds, across: int) -> Steps:
        """Show a part of the layer, ``across`` px wide on the screen: paint what is there, compute what is missing."""
        raster = self._opened()
        view = LayerView.of(raster.layout.seen, raster.features.factor, bounds)
        self._bounds = bounds
        if view is None:
            self._view = None
            self._say("state", tr("The map shows no part of the layer."))
            return
        self._cell_px = view.coarse / view.window.width * across
        held = ViewFeatures(view, raster.features.tile - 2 * raster.features.border, raster.features.margin)
        self._view = held
        self._painted = time.monotonic()  # what is on the disk is there before the first repaint
        tiles = raster.tiles(view.window.intersection(raster.layout.seen.whole))
        self._say("view", (0, len(tiles)))
        for tile, record in raster.compute(tiles, self._keep_going):
            held.add(tile, record, self._valid(tile))
            self._sample(tile, record)
            self._say("view", (len(held), len(tiles)))
            last = len(held) == len(tiles)
            if last or time.monotonic() - self._painted > max(_REPAINT_S, 3 * self._paint_s):
                self._repaint()
            yield

    def rest(self) -> Steps:
        """Compute the features of the whole layer."""
        raster = self._opened()
        if not raster.source.pixels.sampled:  # a service is asked for what is looked at alone
            self._say("progress", (0, 0))
            return
        tiles = raster.tiles()
        for done, (tile, record) in enumerate(raster.compute(tiles, self._keep_going), start=1):
            self._sample(tile, record)
            self._say("progress", (done, len(tiles)))
            self._tell_now_and_then()
            yield
        done = self._thread.closed
        while not done:  # again, where something more urgent came in between
            try:
                raster.complete_cache(self._undisturbed)
                done = True
            except Cancelled:
                yield
                done = self._thread.closed
        self._looked = 0.0
        self._tell_now_and_then()

    def fit(self, marks: Marks) -> Steps:
        """Fit the head to the labels and map the view with it."""
        raster, began = self._opened(), time.monotonic()
        if marks.labelled < 2:
            self.fitted = self._run = self._applicability = None
            self._say("unfitted", None)
            return
        labels = self._labels(marks)
        yield
        samples = samples_of([raster], [labels])
        yield
        notes = that_count(samples, self._given.name, marks.names, self._given.name)
        head = fit(samples, len(marks.names))
        self.fitted, self._applicability = LiveFit(head, samples, marks.names, tuple(notes)), None
        self._run = head_session(head, raster.features.channels, raster.features.factor)
        yield
        self._say("fitted", self.fitted)
        yield from self.paint(began)

    def paint(self, began: float) -> Steps:
        """Map the view with the head that there is."""
        view, fitted, start = self._view, self.fitted, time.monotonic()
        if view is None or fitted is None:
            return
        maps: Maps = yield from view.classified(fitted.head, self._run)
        seen = self._opened().layout.seen
        classes = write_map(seen, maps.view, maps.classes, 0)
        sure = write_map(seen, maps.view, maps.confidence, 255)
        self._painted = time.monotonic()
        self._paint_s = self._painted - start
        self._say("painted", (maps, {"classes": classes, "confidence": sure}, self._painted - began))
        if self._unlike_wanted:
            self._thread.put("unlike", SCORE, self.unlike)
        if self._sought is not None:
            self._thread.put("similar", SCORE, self._score_similar)

    def want_unlike(self, wanted: bool) -> Steps:
        """Say from now on what is unlike anything labelled, or no longer."""
        self._unlike_wanted = wanted
        if wanted:
            yield from self.unlike()

    def unlike(self) -> Steps:
        """Find what of the view is unlike anything labelled."""
        view, fitted = self._view, self.fitted
        if view is None or fitted is None:
            return
        area = self._applicability = self._applicability or Applicability.of(fitted.samples)
        yield
        index = yield from view.scored(lambda features: area.index(features.T))
        known = np.isfinite(index)
        unlike = known & (np.nan_to_num(index) > area.threshold)
        share = float(unlike.sum() / max(known.sum(), 1))
        seen = self._opened().layout.seen
        path = write_map(seen, view.view, hatched(view.view, unlike, self._cell_px), 0)
        self._say("unlike", (path, share))

    def seek(self, positives: np.ndarray, negatives: np.ndarray) -> Steps:
        """Find places similar to (P, 2) and unlike (Q, 2) rows and columns of px: in the view, then in the layer.

        Those without data, whose features mean nothing, are refused.
        """
        raster = self._opened()
        if not len(positives):
            self._sought = None
            return
        places = np.concatenate([positives, negatives]).astype(np.int64)
        for row, column in places.tolist():
            if not raster.valid(Window(row, column, 1, 1)).all():
                x, y = raster.layout.seen.at(column + 0.5, row + 0.5)
                raise InputFault("place_without_data", where=self._given.name, x=x, y=y)
        features = raster.at(places[:, 0], places[:, 1])
        self._sought = Similarity.to(features[: len(positives)], features[len(positives) :])
        self._thread.put("best", BEST, self.best)
        yield
        yield from self._score_similar()

    def _score_similar(self) -> Steps:
        view, sought = self._view, self._sought
        if view is None or sought is None:
            return
        scores = yield from view.scored(sought.of)
        scores *= np.float32(100)
        if not view.view.step:  # so that it ends with the layer
            scores = scores.repeat(view.view.factor, axis=0).repeat(view.view.factor, axis=1)
        path = write_map(self._opened().layout.seen, view.view, scores, float("nan"))
        self._say("similar", path)

    def best(self) -> Steps:
        """Find the places of the layer that are most similar, and cut out their pictures."""
        raster, sought, best, told = self._opened(), self._sought, BestPlaces.none(), time.monotonic()
        if sought is None:
            return
        factor, margin = raster.features.factor, raster.features.margin
        tiles = raster.tiles() if raster.source.pixels.sampled else list(self._sampled)
        for tile, record in raster.compute(tiles, self._keep_going):
            inner = record[:, margin : record.shape[1] - margin, margin : record.shape[2] - margin]
            window, valid = raster.window(tile), any_valid(self._valid(tile), (factor, factor))
            if valid.any():
                scores = np.where(valid, sought.of(inner), np.float32(np.nan))
                best = best.joined(BestPlaces.of_tile(scores, window.row, window.column, factor))
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                self._say("best", LikePlaces(best))
            yield
        pictures, ends = [], self._ends()
        for row, column in zip(best.rows, best.columns):
            pictures.append(self._picture(int(row), int(column), *ends))
            yield
        self._say("best", LikePlaces(best, tuple(pictures)))

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """(3,) darkest and brightest values of the bands that are drawn, of a sample of the layer."""
        read, seen = self._opened().layout.read, self._opened().layout.seen
        looks = [read(window) for window in lattice(*seen.shape)]
        values = np.concatenate([_drawn(pixels)[:, valid] for pixels, valid in looks], axis=1)
        low, high = np.percentile(values, (2, 98), axis=1) if values.size else (np.zeros(3), np.ones(3))
        return low, np.maximum(high, low + 1e-6)

    def _picture(self, row: int, column: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """What is around a pixel: (rows, columns, 3) uint8."""
        layout, half = self._opened().layout, _PICTURE // 2
        window = Window(row - half, column - half, _PICTURE, _PICTURE).intersection(layout.seen.whole)
        pixels, valid = layout.read(window or layout.seen.whole)
        shown = (np.moveaxis(_drawn(pixels), 0, -1) - low) * 255 / (high - low)
        return np.where(valid[..., None], np.clip(np.nan_to_num(shown), 0, 255), 0).astype(np.uint8)

    def give_candidates(self) -> Steps:
        """Places all over what has been computed so far."""
        parts = list(self._sampled.values())
        if not parts:
            raise InputFault.worded(tr("There are no features yet: wait a moment."))
        self._say("candidates", Candidates(*(np.concatenate(part) for part in zip(*parts))))
        yield

    def delete_cache(self) -> Steps:
        """Delete what is kept on disk of this layer."""
        self._opened().delete_cache()
        self._tell_size()
        yield

    def _tell_size(self) -> None:
        self._say("cache", self._opened().cached_bytes())

    def _labels(self, marks: Marks) -> list[Label]:
        """On the raster's grid; those that were there at the last fit are not moved again."""
        keys = [bytes(shape.asWkb()) for _, _, shape in marks.marks]
        new = [(at, 0, marks.marks[at][2]) for at, key in enumerate(keys) if key not in self._placed]
        grid = self._opened().source.grid
        for label in labels_on(new, marks.crs, grid, self._given.transforms, self._given.name):
            self._placed[keys[label.number]] = label
        self._placed = {key: self._placed[key] for key in keys if key in self._placed}
        return [
            replace(self._placed[key], number=number, class_index=index)
            for key, (number, index, _) in zip(keys, marks.marks)
            if key in self._placed
        ]

    def _valid(self, tile: Tile) -> np.ndarray:
        """Where the px of a tile's answer hold data, (side, side): nowhere beyond the raster."""
        raster = self._opened()
        side, window = raster.features.tile - 2 * raster.features.border, raster.window(tile)
        valid = raster.valid(window)
        return np.pad(valid, ((0, side - valid.shape[0]), (0, side - valid.shape[1])))

    def _sample(self, tile: Tile, record: np.ndarray) -> None:
        """Keep some places of a tile, always the same ones."""
        if tile in self._sampled or not record.any():
            return
        raster = self._opened()
        factor, margin, window = raster.features.factor, raster.features.margin, raster.window(tile)
        rng = np.random.default_rng(np.array(tile, np.uint32))
        rows, columns = (rng.integers(0, size, _CANDIDATES) for size in (window.height, window.width))
        valid = raster.valid(window)[rows, columns]
        rows, columns = rows[valid], columns[valid]
        features = record[:, margin + rows // factor, margin + columns // factor].T.astype(np.float32)
        self._sampled[tile] = features, np.column_stack([window.row + rows, window.column + columns])

    def _repaint(self) -> None:
        self._painted = time.monotonic()
        self._thread.put("paint", PAINT, lambda: self.paint(time.monotonic()))
        if self.fitted is None and self._sought is not None:
            self._thread.put("similar", SCORE, self._score_similar)

    def _opened(self) -> FeatureRaster:
        if self.raster is None:
            raise InputFault.worded(tr("The layer has not been opened."))
        return self.raster

    def _tell_now_and_then(self) -> None:
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        self._tell_size()
        trouble = self._opened().trouble
        if trouble is not None and not self._told:
            self._told = True
            self._thread.fail(words(trouble))

    def _keep_going(self, *_: int) -> bool:
        return not self._thread.closed

    def _undisturbed(self) -> bool:
        return not self._thread.wanted("rest")

    def _say(self, what: str, result: Any) -> None:
        if not self._thread.closed:
            self._thread.say(what, result)


def _drawn(pixels: np.ndarray) -> np.ndarray:
    """The three bands that are drawn of (bands, rows, columns): the first ones, of a single one three times that."""
    return pixels[[min(band, len(pixels) - 1) for band in range(3)]]

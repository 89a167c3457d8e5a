"""From open rasters and their labels to a fitted model: the steps that the command line, Processing and the panel share.

The host opens the rasters, reads the labels and writes the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from ..errors import InputFault
from ..infer.holding import holding_of
from ..infer.layout import Limits, Options
from ..infer.source import Pixels
from ..infer.sweep import Progress
from ..messages import Message
from ..raster.legend import LandClass
from ..results.fit_report import FitReport
from ..results.vectors import KeepGoing
from .cache import FeatureCache
from .features import FeatureChoice, FeatureSet, learn_features
from .heads import Head, fit
from .judge import Applicability, Quality, cross_validate
from .mapping import MapJob
from .place import FeatureRaster
from .samples import Label, Samples, samples_of
from .save import save_model

Steps = Callable[[str], Progress]  # the name of a step, "labels" or "accuracy", gives what counts its parts
_TILES, _PLACES = 12, 24  # of a raster that are compared with the labels; places a side of each


def choice_of(kind: str, model: str | Path | None, pixels: Pixels) -> FeatureChoice:
    """The features that a user asks for, one of ``KINDS`` or "auto".

    "auto" is the encoder if one is given, else the raster itself if it is known to hold features, else bands and texture.

    Raises:
        InputFault: an encoder is needed and none is given.
    """
    if kind == "auto":
        kind = "encoder" if model else "raster" if holding_of(pixels).known else "texture"
    if kind in ("encoder", "both") and not model:
        raise InputFault("no_encoder")
    return FeatureChoice(kind, model if kind in ("encoder", "both") else None)


@dataclass(frozen=True)
class Featured:
    """Rasters with their features.

    Attributes:
        choice: where the features come from.
        features: learned on all of them.
        rasters: in the order in which they were given.
    """

    choice: FeatureChoice
    features: FeatureSet
    rasters: tuple[FeatureRaster, ...]

    @classmethod
    def of(
        cls,
        pixels: Sequence[Pixels],
        choice: FeatureChoice,
        options: Options | None = None,
        cache: FeatureCache | None = None,
        provider: str = "cpu",
        progress: Progress = lambda done, total: True,
    ) -> Featured:
        """Learn the features of open rasters; nothing else is computed yet.

        Raises:
            RuntimeFault: see ``learn_features``.
        """
        features = learn_features(choice, pixels, options, progress, provider)
        rasters = tuple(FeatureRaster(one, features, cache, options, provider) for one in pixels)
        for raster in rasters:
            raster.source.look()
        return cls(choice, features, rasters)

    @property
    def notes(self) -> list[Message]:
        """What the user should know of the rasters and their features."""
        return [*self.features.notes, *self.warnings]

    @property
    def warnings(self) -> list[Message]:
        """What may be wrong with the rasters, as ``Job.notes`` says it of a run."""
        return [
            *(note for one in self.rasters for note in one.source.notes),
            *(note.about(one.source.where) for one in self.rasters for note in one.layout.notes(False)),
        ]

    @property
    def described(self) -> str:
        """What the features are, for a report."""
        of = {"texture": "bands and texture", "raster": "the bands of the raster"}
        name = Path(self.choice.model).name if self.choice.model else ""
        what = of.get(self.choice.kind, name + (" with bands and texture" if self.choice.kind == "both" else ""))
        bands = ", ".join(self.features.card.bands[:20])
        return f"{what} ({bands}): {self.features.channels} features, one place in {self.features.factor} px"

    def complete(self, keep_going: KeepGoing = lambda: True) -> None:
        """Make one COG of the cached features of each raster whose tiles are all there; see ``complete_cache``."""
        for raster in self.rasters:
            raster.complete_cache(keep_going)

    @property
    def troubles(self) -> list[Message]:
        """What went wrong with the cache, on which nothing depends."""
        return [raster.trouble for raster in self.rasters if raster.trouble]


@dataclass(frozen=True)
class Fitted:
    """A model, and how far it can be trusted.

    Attributes:
        featured: the rasters that it was fitted on.
        classes: K of them.
        unlike: raster and the share of it that is unlike anything labelled.
        notes: on the labels.
    """

    featured: Featured
    classes: tuple[LandClass, ...]
    samples: Samples
    head: Head
    quality: Quality
    applicability: Applicability
    unlike: dict[str, float]
    notes: tuple[Message, ...]

    def job(
        self, raster: FeatureRaster, limits: Limits | None = None, probabilities: bool = False, name: str = ""
    ) -> MapJob:
        """The map of one of the rasters; see ``MapJob``."""
        return MapJob(raster, self.head, self.classes, limits, probabilities, name)

    def save(self, path: Path, title: str) -> None:
        """Write the model, with its features and its card, into one ONNX file.

        Raises:
            RuntimeFault: it cannot be written.
        """
        features = self.featured
        save_model(path, features.features, self.head, self.classes, title, self.quality, features.described)

    def report(self, title: str) -> FitReport:
        """For people and programs."""
        quality = self.quality
        return FitReport(
            title, self.featured.described, self.classes, np.bincount(self.samples.labels, minlength=len(self.classes)), quality.confusion,
            quality.accuracy, quality.f1, quality.blocks, self.unlike, (*self.notes, *quality.warnings),
        )  # fmt: skip


def fit_model(
    featured: Featured,
    labels: Sequence[Sequence[Label]],
    classes: Sequence[LandClass],
    where: str,
    steps: Steps = lambda step: lambda done, total: True,
) -> Fitted:
    """Fit and judge a model.

    Args:
        featured: rasters with their features.
        labels: ``labels[i]`` lie on raster i.
        classes: what their class indices mean.
        where: the files or layers of the labels, for messages.
        steps: gives the progress of each step.

    Raises:
        InputFault: no label lies on the data of a raster, or those that do are of one class.
        Cancelled: a progress returned False.
    """
    samples = samples_of(featured.rasters, labels, steps("labels"))
    names = ", ".join(raster.source.where for raster in featured.rasters)
    notes = that_count(samples, names, [entry.name for entry in classes], where)
    accuracy = steps("accuracy")
    quality = cross_validate(samples, [entry.name for entry in classes], accuracy)
    head, applicability = fit(samples, len(classes)), Applicability.of(samples)
    rasters = featured.rasters
    unlike = {one.source.where: share_unlike(one, applicability, lambda *_: accuracy(1, 1)) for one in rasters}
    return Fitted(featured, tuple(classes), samples, head, quality, applicability, unlike, tuple(notes))


def without_class(where: str, index: Sequence[np.ndarray]) -> list[Message]:
    """A note on labels that have no class, -1 in the (N,) class indices of each file."""
    count, total = sum(int((one < 0).sum()) for one in index), sum(map(len, index))
    return [Message("labels_without_class", {"count": count, "total": total}).about(where)] if count else []


def that_count(samples: Samples, rasters: str, names: Sequence[str], where: str) -> list[Message]:
    """Notes on labels that do not count; ``rasters`` and the ``names`` of the classes are for the sentences.

    Raises:
        InputFault: no label lies on the data of a raster, or those that do are of one class.
    """
    outside, empty, used = len(samples.outside), len(samples.empty), len(samples.numbers)
    total = outside + empty + used
    if not used and not empty:
        raise InputFault("labels_outside", where=where, rasters=rasters)
    if not used:
        raise InputFault("labels_empty", where=where, rasters=rasters)
    present = np.unique(samples.labels)
    if len(present) < 2:
        raise InputFault("labels_of_one_class", where=where, name=names[int(present[0])], rasters=rasters)
    notes = []
    if outside:
        notes.append(Message("labels_partly_outside", {"count": outside, "total": total}).about(where))
    if empty:
        notes.append(Message("labels_partly_empty", {"count": empty, "total": total}).about(where))
    return notes


def share_unlike(
    raster: FeatureRaster, applicability: Applicability, progress: Progress = lambda done, total: True
) -> float:
    """Share of a raster's data that is unlike anything labelled, from places all over it; NaN where they hold no data.

    Raises:
        Cancelled: ``progress``, which counts tiles, returned False.
    """
    tiles = sorted(raster.tiles())
    tiles = tiles[:: -(-len(tiles) // _TILES)]
    margin, factor = raster.features.margin, raster.features.factor
    unlike, places = 0, 0
    with closing(raster.compute(tiles, progress)) as records:  # type: ignore[type-var]  # a generator
        for tile, record in records:
            window = raster.window(tile)
            rows, columns = (
                np.unique(np.linspace(0, (length - 1) // factor, _PLACES).astype(np.int64))
                for length in (window.height, window.width)
            )
            valid = raster.valid(window)
            middles = [
                np.minimum(axis * factor + factor // 2, length - 1)
                for axis, length in zip((rows, columns), valid.shape)
            ]
            there = valid[np.ix_(*middles)]
            vectors = record[:, rows[:, None] + margin, columns + margin][:, there].T.astype(np.float32)
            unlike += int((applicability.index(vectors) > applicability.threshold).sum())
            places += len(vectors)
    return unlike / places if places else float("nan")

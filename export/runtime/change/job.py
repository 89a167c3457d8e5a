"""Runs a model over both dates of an area, in one pass, and compares what it says pixel by pixel.

Each side is one run of ``infer.job.Job`` on the same grid: its classes are, bit for bit, those of a map of that side alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputFault
from ..files import free_memory
from ..infer.inputs.series import Series
from ..infer.job import Job
from ..infer.layout import Options
from ..infer.source import Pixels
from ..infer.sweep import Progress
from ..infer.timing.trial import decided
from ..messages import Message
from ..model.answers import cosine_distance, decide
from ..model.card import ModelCard
from ..model.providers import CPU
from ..model.session import Model
from ..raster.window import Window
from ..results.rows import Rows

TASKS = ("segmentation", "classification", "embedding")


@dataclass(frozen=True)
class ChangeRows:
    """Finished rows of both sides, compared.

    Attributes:
        top: first row in the grid.
        before: (rows, width) bool: where the date before holds data.
        after: (rows, width) bool: where the date after does.
        inside: (rows, width) bool: what was asked for.
        former: (rows, width) positions of the classes before in the legend, ``latter`` after; None for features.
        change: (rows, width) float32: of classes the probability that they differ, of features their cosine distance, 0 to
            2; NaN where either side holds no data.
    """

    top: int
    before: np.ndarray
    after: np.ndarray
    inside: np.ndarray
    change: np.ndarray
    former: np.ndarray | None = None
    latter: np.ndarray | None = None

    @property
    def valid(self) -> np.ndarray:
        """Where both sides hold data."""
        return self.before & self.after


class ChangeJob:
    """Both runs, opened.

    Attributes:
        card: of the model.
        grid: of the result.
        features: whether the model is an encoder, whose features are compared; else its classes are.
    """

    def __init__(self, model: Model, before: Pixels | Series, after: Pixels | Series, options: Options) -> None:
        """Prepare; ``close`` releases both. Each side is a raster, or a series of them; they lie on one grid.

        Raises:
            RuntimeFault: model, rasters and options do not fit.
        """
        if model.card.task not in TASKS:
            raise InputFault("wrong_task", name=model.card.name, task=model.card.task, needed=" / ".join(TASKS))
        one, other = before.grid, after.grid
        if (one.crs, tuple(one.transform), one.shape) != (other.crs, tuple(other.transform), other.shape):
            raise InputFault("change_grids", where=after.name, other=before.name)
        options = replace(options, run=replace(options.run, probabilities=True))
        sides = Job(model, before, options), Job(model, after, options)
        self.before, self.after = (decided(side) for side in sides)
        if self.before.model.runner != self.after.model.runner:
            against = {str(note): note for job in self.sides for note in job.against}.values()
            self.before, self.after = (side.run_by(model.on(CPU), Message("trial_sides"), against) for side in sides)
        self.options, self.card, self.grid = options, self.before.card, self.before.grid
        self.features = self.card.task == "embedding"
        if not self.features:
            exclusive(np.zeros((self.before.model.channels, 1, 1), np.float32), self.card)
        self._check_memory()

    @property
    def sides(self) -> tuple[Job, Job]:
        """Before and after."""
        return self.before, self.after

    def notes(self) -> list[Message]:
        """What the user should know before a long run."""
        return list({str(note): note for job in self.sides for note in job.notes(True)}.values())

    def rows(self, progress: Progress) -> Iterator[ChangeRows]:
        """Finished rows of ``grid``, from top to bottom.

        Raises:
            RuntimeFault: a raster cannot be read, the model fails, or ``progress`` returned False.
        """
        counts = [(0, 0), (0, 0)]

        def of_side(number: int) -> Progress:
            def count(done: int, total: int) -> bool:
                counts[number] = done, total
                other = counts[1 - number][1] or total
                return progress(counts[0][0] + counts[1][0], total + other)

            return count

        before, after = (job.rows(of_side(number)) for number, job in enumerate(self.sides))
        with closing(before), closing(after):  # type: ignore[type-var]  # generators
            for one, other in together(before, after):
                yield self._compared(one, other)

    def close(self) -> None:
        """Release the rasters."""
        for job in self.sides:
            job.close()

    def _compared(self, one: Rows, other: Rows) -> ChangeRows:
        assert one.values is not None  # nosec B101  # asked for
        assert other.values is not None  # nosec B101
        mask, inside = self.options.limits.mask, np.ones_like(one.valid)
        if mask:
            inside = mask.inside(self.grid, Window(one.top, 0, *one.valid.shape))
        there = one.valid & other.valid
        if self.features:
            distance = np.where(there, cosine_distance(one.values, other.values), np.float32(np.nan))
            return ChangeRows(one.top, one.valid, other.valid, inside, distance)
        former, latter = decide(one.values, self.card)[0], decide(other.values, self.card)[0]
        same = (exclusive(one.values, self.card) * exclusive(other.values, self.card)).sum(axis=0)
        change = np.where(there, np.clip(1 - same, 0, 1), np.float32(np.nan))
        return ChangeRows(one.top, one.valid, other.valid, inside, change, former, latter)

    def _check_memory(self) -> None:
        """Both runs must fit together."""
        needed = sum(job.layout.bytes_needed(job.model, job.run) for job in self.sides)
        free = free_memory()
        if needed > free:
            name, width = self.before.source.where, self.before.layout.seen.width
            raise InputFault("too_wide", where=name, width=width, needed=needed, free=free)


def exclusive(share: np.ndarray, card: ModelCard) -> np.ndarray:
    """Probabilities (K, rows, columns) of the K classes of a legend, which exclude each other, from a model's (N, ...).

    Raises:
        InputFault: the classes are independent of each other.
    """
    if len(share) == 1 and len(card.classes) == 2:
        return np.concatenate([1 - share, share])
    if len(share) != len(card.classes) or card.activation == "sigmoid":
        raise InputFault("change_independent", name=card.name)
    return share


def together(before: Iterator[Rows], after: Iterator[Rows]) -> Iterator[tuple[Rows, Rows]]:
    """The same rows of two runs over one grid, which may hand them out in different pieces."""
    one, other = next(before, None), next(after, None)
    while one is not None and other is not None:
        count = min(len(one.valid), len(other.valid))
        yield _cut(one, 0, count), _cut(other, 0, count)
        one = _cut(one, count) if len(one.valid) > count else next(before, None)
        other = _cut(other, count) if len(other.valid) > count else next(after, None)


def _cut(part: Rows, first: int, last: int | None = None) -> Rows:
    layers = {name: layer[..., first:last, :] for name, layer in part.layers.items()}
    return Rows(part.top + first, **layers)

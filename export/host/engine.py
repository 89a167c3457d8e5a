"""The runtime's sweep, as the host calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from export.runtime.card import NODATA
from export.runtime.errors import InputFault
from export.runtime.grid import Window
from export.runtime.session import Model
from export.runtime.sweep import Progress, Read, go_on, segment


@dataclass(frozen=True)
class Rows:
    """Finished rows of the result: ``valid``, ``classes``, ``confidence`` (rows, width), ``values`` (K, rows, width)."""

    top: int
    valid: np.ndarray
    classes: np.ndarray | None
    confidence: np.ndarray | None
    values: np.ndarray | None


@dataclass(frozen=True)
class Sweep:
    """Options of a run."""

    overlap: int | None = None
    tta: bool = False
    probabilities: bool = False
    stride: int | None = None
    output: str | None = None


def sweep(
    model: Model,
    read: Read,
    height: int,
    width: int,
    options: Sweep,
    progress: Progress = go_on,
    touches: Callable[[Window], bool] | None = None,
) -> Iterator[Rows]:
    """Yield finished rows from top to bottom; tiles that ``touches`` refuses are neither read nor inferred."""
    if options != Sweep():
        raise InputFault("this runtime has no --overlap, --tta, --probabilities or --stride")
    bands = len(model.card.bands)

    def read_touched(window: Window) -> tuple[np.ndarray, np.ndarray]:
        if touches is None or touches(window):
            return read(window)
        shape = (window.height, window.width)
        return np.zeros((bands, *shape), np.uint8), np.zeros(shape, bool)

    for part in segment(model, read_touched, height, width, progress):
        yield Rows(part.top, part.classes != NODATA, part.classes, part.confidence, None)

"""How much of each layer of a series holds data, and how much its mask band hides: from a sample, in the background."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Callable, Optional

import numpy as np
from qgis.PyQt.QtCore import QObject

from ...gdal_io.job import Layer, masked, snapshot
from ...runtime.errors import Cancelled, RuntimeFault
from ...runtime.infer.source import Choice, Source
from ...runtime.model.card import ModelCard
from ...runtime.raster.mask_band import MaskBand
from ...runtime.raster.window import lattice
from ...texts import tr, words
from ..widgets import Background
from .timeline import Look


def look(
    layer: Layer, card: ModelCard, bands: Sequence[int], hides: Optional[MaskBand], keep_going: Callable[[], bool]
) -> Look:
    """Read a sample of a layer as a model would; in a worker thread.

    Raises:
        RuntimeFault: it cannot be read, or lacks bands.
        Cancelled: ``keep_going`` returned False.
    """
    with closing(layer.open()) as pixels:
        if not pixels.sampled:
            return Look()
        choice = Choice(tuple(bands))
        whole, shown = Source(pixels, card, choice), Source(masked(pixels, hides), card, choice)
        total = held = left = 0
        for window in lattice(*pixels.grid.shape):
            if not keep_going():
                raise Cancelled()
            there = whole.read(window)[1]
            total, held = total + there.size, held + int(np.count_nonzero(there))
            left += int(np.count_nonzero(shown.read(window)[1] if hides else there))
    return Look(1 - held / total, (held - left) / total)


class Looking(QObject):
    """Looks at the layers of a box one after the other and shows each there as soon as it is known."""

    def __init__(self, box) -> None:
        super().__init__(box)
        self._box = box
        self._task: Optional[Background] = None
        self._as: Optional[tuple[ModelCard, Sequence[int], Optional[MaskBand]]] = None  # how the layers are read

    def start(self, card: ModelCard, bands: Sequence[int]) -> None:
        """Look at what was not looked at yet; at all anew where they are read in another way."""
        asked = card, bands, self._box.hides()
        if asked != self._as:
            self.stop()
            self._box.forget_looks()
            self._as = asked
        if self._task is None:
            self._next(*asked)

    def _next(self, card: ModelCard, bands: Sequence[int], hides: Optional[MaskBand]) -> None:
        waiting = self._box.unlooked()
        if not waiting:
            return
        layer = waiting[0]
        try:
            copy = snapshot(layer)
        except RuntimeFault as fault:
            self._box.show_looks({layer.id(): Look(problem=words(fault))})
            self._next(card, bands, hides)
            return
        work = partial(look, copy, card, bands, hides)
        task = Background(tr("GeoAware: looking at the dates"), work, tr("The layer cannot be read ({error})."))
        self._task = task
        key = layer.id()
        task.start(lambda found, problem: self._ended(task, key, found or Look(problem=problem)))

    def stop(self) -> None:
        """Cancel."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()

    @property
    def busy(self) -> bool:
        """Whether a layer is being looked at."""
        return self._task is not None

    def _ended(self, task: Background, key: str, found: Look) -> None:
        if task is not self._task or self._as is None:  # it was cancelled
            return
        self._task = None
        self._box.show_looks({key: found})
        self._next(*self._as)

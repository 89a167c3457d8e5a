"""What the worker thread of the season curve does: it opens layers and models, and reads a place of them date by date."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Optional, Union

from qgis.core import QgsRasterLayer

from ...gdal_io.job import Layer, snapshot
from ...gdal_io.services import ServiceLayer
from ...runtime.curve import AnswerCurve, BandCurve, Curve, Place, SeriesCurve
from ...runtime.errors import Cancelled, InputFault, RuntimeFault
from ...runtime.infer.inputs.days import check_days
from ...runtime.infer.inputs.views import Masked, SomeBands
from ...runtime.infer.source import Pixels
from ...runtime.messages import Message
from ...runtime.model.session import Model
from ...runtime.raster.mask_band import MaskBand
from ...texts import tr
from ..label_panel.live.worker import Steps, StepThread

OPEN, READ = range(2)  # how urgent the jobs are
BANDS = ""  # the source of a curve that is no model


@dataclass(frozen=True)
class ChosenLayer:
    """A layer and its day; ``bands`` are those of that day in a layer of several, empty for all."""

    layer: QgsRasterLayer
    day: date
    bands: tuple[int, ...] = ()


@dataclass(frozen=True)
class LayerCopy:
    """The same for a worker: a copy of the layer, or why there is none."""

    day: date
    layer: Union[Layer, RuntimeFault]
    bands: tuple[int, ...] = ()
    mask: Optional[MaskBand] = None

    @classmethod
    def of(cls, chosen: ChosenLayer, mask: Optional[MaskBand]) -> "LayerCopy":
        """Copy a layer, on its thread."""
        try:
            return cls(chosen.day, snapshot(chosen.layer), chosen.bands, mask)
        except RuntimeFault as fault:
            return cls(chosen.day, fault, chosen.bands, mask)


@dataclass(frozen=True)
class Asked:
    """A question of the main thread.

    Attributes:
        number: grows with each question; the answer repeats it.
        source: ``BANDS``, or the file of a model.
        places: of the click, in the CRS of each layer.
    """

    number: int
    source: str
    places: Sequence[Place]


@dataclass(frozen=True)
class Told:
    """What is known so far: a curve, which grows, the number of days that it will have, and what to read with it."""

    asked: Asked
    curve: Curve
    days: int
    notes: Sequence[Message] = ()

    @property
    def is_whole(self) -> bool:
        """Whether no day is missing."""
        return len(self.curve.readings) == self.days


class CurveWork:
    """The state of the worker thread. All methods but ``__init__`` and ``want`` are called by it, as jobs in steps."""

    def __init__(self, thread: StepThread, layers: Sequence[LayerCopy]) -> None:
        self._thread, self._layers = thread, layers
        self._opened: list[Union[Pixels, RuntimeFault]] = []
        self._curves: dict[str, Any] = {}
        self._fault: Optional[InputFault] = None  # why nothing can be read
        self._wanted = 0

    def want(self, number: int) -> None:
        """Answer this question and drop those before; called by the main thread."""
        self._wanted = number

    def open(self) -> Steps:
        """Open the layers; one that cannot be read is a gap."""
        for one in self._layers:
            self._opened.append(_opened(one))
            yield
        pairs = zip(self._layers, self._opened)
        try:
            check_days((one.day, pixels) for one, pixels in pairs if not isinstance(pixels, RuntimeFault))
        except InputFault as fault:
            self._fault = fault

    def read(self, asked: Asked) -> Steps:
        """Say a ``Told`` for each day; raises RuntimeFault where nothing can be told."""
        if self._fault:
            raise self._fault
        if asked.source not in self._curves:
            if asked.source:
                self._thread.say("state", tr("Opening the model…"))
                yield
            self._curves[asked.source] = self._begun(asked.source)
            yield
        source, found = self._curves[asked.source], []  # type: tuple[Any, list]
        days = len({one.day for one in self._layers})
        for reading in source.at(asked.places, lambda: self._is_wanted(asked)):
            found.append(reading)
            lines = source.curve
            curve = Curve(lines.kind, lines.lines, lines.colors, lines.unit, tuple(found))
            self._thread.say("curve", Told(asked, curve, days, source.notes()))
            yield
            if not self._is_wanted(asked):
                raise Cancelled()

    def close(self) -> None:
        """Release the files; the thread's last act."""
        self._curves = {}
        for pixels in self._opened:
            if not isinstance(pixels, RuntimeFault):
                with suppress(RuntimeFault):
                    pixels.close()
        self._opened = []

    def _begun(self, source: str) -> Any:
        days = [one.day for one in self._layers]
        if not source:
            return BandCurve(days, self._opened)
        model = Model(source, "cpu")
        return (SeriesCurve if model.card.dates else AnswerCurve)(model, days, self._opened)

    def _is_wanted(self, asked: Asked) -> bool:
        return asked.number == self._wanted and not self._thread.closed


def _opened(dated: LayerCopy) -> Union[Pixels, RuntimeFault]:
    layer = dated.layer
    try:
        if isinstance(layer, RuntimeFault):
            return layer
        if isinstance(layer, ServiceLayer) and layer.own_grid() is None:
            text = tr("'{name}' comes from a service without pixels of its own: it has no curve.")
            raise InputFault.worded(text.format(name=layer.name))
        pixels: Pixels = layer.open()
        if dated.bands:
            return SomeBands(pixels, dated.bands)
        return _masked(pixels, dated.mask) if dated.mask else pixels
    except RuntimeFault as fault:
        return fault


def _masked(pixels: Pixels, mask: MaskBand) -> Pixels:
    """Seen through a mask band, which is no band of values any more."""
    hidden = mask.number(pixels.bands)
    return SomeBands(Masked(pixels, mask), [one for one in range(1, len(pixels.bands) + 1) if one != hidden])


def whole(told: Optional[Told]) -> bool:
    """Whether there is an answer for all days."""
    return told is not None and told.is_whole

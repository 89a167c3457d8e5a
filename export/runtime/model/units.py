"""Converts the values of a raster to those that a model learned from. Pure numpy.

Everything goes through reflectance x 10,000: a unit is how much of it one step holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..errors import InputFault
from ..messages import Message
from ..raster.sentinel2 import offset_of
from .card import ModelCard

INPUTS = ("auto", "raw", "s2-l2a", "s2-l1c", "tci")
TCI_RANGE = 3558  # reflectance x 10,000 of ESA's true-colour image at 255: Sentinel-2 L2A product definition
EUROSAT_RANGE = 2750  # of the EuroSAT pictures
_PIXELS = (10, 20, 60)  # metres: Sentinel-2's
_TRUE_COLOUR = re.compile(r"_TCI(_\d\dm)?\.[^/\\]*$", re.IGNORECASE)  # as products name that file
_STRETCH = re.compile(r"\b0\s*(?:-|to|\.\.)\s*([1-9]\d{3,4})\b")  # "reflectance x 10000 of 0-2750 as 0 to 255"


@dataclass(frozen=True)
class Conversion:
    """value x factor + offset, clipped to ``limits`` if there are any; ``note`` is for the user."""

    factor: float = 1.0
    offset: float = 0.0
    limits: tuple[float, float] | None = None
    note: Message | None = None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels as they are where nothing changes, float32 otherwise."""
        if (self.factor, self.offset) == (1.0, 0.0) and self.limits is None:
            return pixels
        changed = pixels.astype(np.float32)
        changed *= np.float32(self.factor)
        changed += np.float32(self.offset)
        return np.clip(changed, *self.limits, out=changed) if self.limits else changed


def may_be_sentinel2(dtype: str, metres: float, card: ModelCard) -> bool:
    """Whether a raster may hold Sentinel-2's numbers as delivered, which a model of 8-bit colours cannot take."""
    sized = any(abs(metres - size) < size / 20 for size in _PIXELS)
    return dtype in ("uint16", "int16") and sized and card.value_range == (0, 255)


@dataclass(frozen=True)
class Recognised:
    """What a raster seems to hold: one of ``INPUTS`` but "auto", its darkest values, a note for the user."""

    kind: str = "raw"
    darkest: float | None = None
    note: Message | None = None


def recognised_name(name: str, card: ModelCard) -> Recognised:
    """What a raster of this name holds, where a model learned from 8-bit colours."""
    if card.value_range != (0, 255) or not _TRUE_COLOUR.search(name):
        return Recognised()
    return Recognised("tci", None, Message("taken_for_true_colour"))


def recognised(pixels: np.ndarray) -> Recognised:
    """What a raster holds that may be Sentinel-2's, by a sample of its stored values."""
    pixels = pixels[pixels > 0]
    if not pixels.size or pixels.max() <= 2 * 255:
        return Recognised()
    note = Message("taken_for_sentinel2", {"most": float(pixels.max())})
    return Recognised("s2-l2a", float(np.percentile(pixels, 1)), note)


def conversion(
    kind: str,
    card: ModelCard,
    baseline: float | None,
    stored: float | None,
    darkest: float | None = None,
    factor: float = 1.0,
) -> Conversion:
    """How to turn what a raster holds (``kind``, one of ``INPUTS`` but "auto") into what a model learned from.

    ``stored`` is the offset, where the file or the user states it; ``baseline`` and ``darkest`` are as in ``offset_of``;
    ``factor`` turns stored values of bands, with the offset added, into reflectance x 10000.

    Raises:
        InputFault: the model's unit is not one that Sentinel-2 values can be turned into.
    """
    if kind == "raw":
        return Conversion()
    step = _reflectance_per_step(card)
    limits = (0.0, 255.0) if step != 1 else None
    if kind == "tci":
        own = TCI_RANGE / 255
        note = Message("read_as_true_colour", {"input": kind})
        return Conversion() if step == own else Conversion(own / step, 0.0, limits, note)
    offset, note = _offset(kind, baseline, stored, darkest)
    if factor != 1:
        note = Message("scale_stated", {"input": kind, "factor": factor, "offset": factor * offset})
    return Conversion(factor / step, factor * offset / step, limits, note)


def _offset(kind: str, baseline: float | None, stored: float | None, darkest: float | None) -> tuple[float, Message]:
    """What is to be added to the stored values, and a note on why."""
    offset, evidence = offset_of(baseline, stored, darkest)
    release = "" if baseline is None else f"{baseline:05.2f}"
    facts = {"input": kind, "offset": offset, "darkest": darkest, "baseline": release}
    if evidence == "stated":
        return offset, Message("offset_stated", facts)
    if evidence == "dark pixels":
        return offset, Message("offset_by_dark_pixels", facts)
    if evidence == "assumed":
        return offset, Message("offset_assumed", facts)
    return offset, Message("offset_of_baseline", facts)


def _reflectance_per_step(card: ModelCard) -> float:
    """Of the model's own unit, read off what the card says."""
    unit = card.unit.lower().replace(",", "")
    stretch = _STRETCH.search(unit)
    if "eurosat" in unit or (stretch and "255" in unit):
        return float(stretch.group(1) if stretch else EUROSAT_RANGE) / 255
    if "reflectance" in unit and "10000" in unit:
        return 1.0
    if "8-bit" in unit or card.value_range == (0, 255):
        return TCI_RANGE / 255
    raise InputFault("no_unit", name=card.name, unit=card.unit)


def doubt(pixels: np.ndarray, card: ModelCard) -> Message | None:
    """A note when (N,) values, a sample in the model's unit, cannot be what the model learned from."""
    if not pixels.size:
        return None
    low, high = card.value_range
    least, most = float(pixels.min()), float(pixels.max())
    too_high, too_small = most > 2 * high, high > 10 and 0 < most <= 1.5
    too_low = least < low - max(abs(low), high - low)
    if not (too_high or too_small or too_low):
        return None
    facts = {"least": least, "most": most, "low": low, "high": high, "unit": card.unit}
    if too_low:
        return Message("values_low", facts)
    return Message("values_maybe_sentinel2" if too_high and high <= 255 and most <= 20_000 else "values_high", facts)

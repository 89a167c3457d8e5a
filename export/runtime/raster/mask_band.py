"""Bands that say what a pixel shows, such as clouds: which of their values hide it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputFault
from .band_names import BandFacts


@dataclass(frozen=True)
class MaskBand:
    """Which pixels a mask band hides.

    Attributes:
        name: of the band: what it is called, or its number from 1.
        drop: ranges of values, both ends included, that hide a pixel.
        bits: numbers, from 0, of bits that hide a pixel where one of them is set.
        called: other names of such a band, in letters and digits only; the first is how files are named.
        known: the lowest and the highest value of such a band; others show that it is another one.
        share: values from 0 to 1 where the band holds real numbers, of which 100 is whole.
    """

    name: str
    drop: tuple[tuple[float, float], ...] = ()
    bits: tuple[int, ...] = ()
    called: tuple[str, ...] = ()
    known: tuple[float, float] | None = None
    share: bool = False

    def hides(self, stored: np.ndarray, where: str = "") -> np.ndarray:
        """Where values of the band hide pixels: bool, of the same shape. What is not finite hides them too.

        Raises:
            InputFault: a value is beyond what such a band can hold, or a mean of classes; ``where`` names the raster.
        """
        real = stored.dtype.kind == "f"
        hidden = ~np.isfinite(stored) if real else np.zeros(stored.shape, bool)
        values = stored * np.float64(100) if real and self.share else stored
        if self.known:
            low, high = self.known
            beyond = values[~hidden & ((values < low) | (values > high))]
            if beyond.size:
                value = float(beyond.flat[0]) / (100 if real and self.share else 1)
                raise InputFault("mask_beyond", where=where, name=self.name, value=value, low=low, high=high)
        if real and not self.share and (self.bits or self.known):
            mixed = values[~hidden & (values != np.rint(values))]
            if mixed.size:
                raise InputFault("mask_mixed", where=where, name=self.name, value=float(mixed.flat[0]))
        for low, high in self.drop:
            hidden |= (values >= low) & (values <= high)
        if self.bits:
            whole = np.where(hidden, 0, stored).astype(np.int64)
            hidden |= (whole & sum(1 << bit for bit in self.bits)) != 0
        return hidden

    def number(self, bands: Sequence[BandFacts]) -> int | None:
        """Number, from 1, of the band among those of a raster; None where it has none of the name."""
        plain = [_plain(band.name) for band in bands]
        for name in (_plain(self.name), *self.called):
            if name in plain:
                return plain.index(name) + 1
        given = int(self.name) if self.name.isdigit() else 0
        return given if 1 <= given <= len(bands) else None

    def is_named(self, text: str) -> bool:
        """Whether a text, such as the key of an Item's asset, is the name of such a band."""
        return _plain(text) in (_plain(self.name), *self.called)

    @property
    def said(self) -> str:
        """The values and bits that hide a pixel, as a user writes them."""
        ranges = [f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in self.drop]
        return ", ".join([*ranges, *(f"bit{bit}" for bit in self.bits)])


# Values of Sentinel-2's scene classification: 0 no data, 1 saturated, 3 cloud shadow, 8 and 9 clouds, 10 thin cirrus; not 2 dark
# area, 4 vegetation, 5 bare, 6 water, 7 unclassified, 11 snow. Source: ESA, Sen2Cor.
# Bits of Landsat's quality band: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow; not 5 snow, 6 clear, 7 water.
# Source: USGS, Landsat Collection 2.
# s2cloudless gives a probability, in per cent of whole numbers; 40 is its own threshold. Source: sentinel-hub.
MASKS: dict[str, MaskBand] = {
    "scl": MaskBand("SCL", ((0, 1), (3, 3), (8, 10)), (), ("scl", "sceneclassification", "sceneclassificationmap"), (0, 11)),
    "qa_pixel": MaskBand("QA_PIXEL", (), (0, 1, 2, 3, 4), ("qapixel",), (0, 65535)),
    "s2cloudless": MaskBand(
        "s2cloudless", ((40, 100),), (), ("s2cloudless", "cloudprobability", "cloudprob", "probability", "cldprb", "mskcldprb"),
        (0, 100), share=True,
    ),
}  # fmt: skip


def mask_band(name: str, values: Sequence[str] = ()) -> MaskBand:
    """The mask band that a user names: a preset of ``MASKS``, or any band whose values to drop are given.

    ``values`` are numbers, ranges (``8-10``) and bits (``bit3``); they replace those of a preset.

    Raises:
        InputFault: a value cannot be read, or a band that is no preset comes without values.
    """
    preset = MASKS.get(re.sub(r"[\W]", "_", name.strip().lower()))
    if not values:
        if preset is None:
            raise InputFault("mask_unknown", name=name, known=", ".join(MASKS))
        return preset
    drop, bits = [], []
    for text in (part for value in values for part in str(value).split(",") if part.strip()):
        bit = re.fullmatch(r"\s*bit[ _:]?(\d{1,2})\s*", text, re.IGNORECASE)
        both = re.fullmatch(r"\s*([-+]?\d+(?:\.\d+)?)(?:\s*(?:-|\.\.)\s*([-+]?\d+(?:\.\d+)?))?\s*", text)
        if bit:
            bits.append(int(bit[1]))
        elif both and float(both[1]) <= float(both[2] or both[1]):
            drop.append((float(both[1]), float(both[2] or both[1])))
        else:
            raise InputFault("mask_values", text=text.strip())
    return replace(preset or MaskBand(name), drop=tuple(drop), bits=tuple(bits))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())

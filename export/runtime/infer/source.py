"""A raster as a model reads it: its bands, its gaps, its unit, and a sample of it. Nothing is resampled here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import InputFault
from ..messages import Message
from ..model.card import ModelCard
from ..model.units import (
    Conversion,
    Recognised,
    conversion,
    doubt,
    may_be_sentinel2,
    recognised,
    recognised_name,
)
from ..raster.band_names import BandFacts, BandNames, sensors_of
from ..raster.bands import choose_bands
from ..raster.gaps import SOME_SHARE, holds_data, is_alpha, magnitude, nodata_of, single
from ..raster.sentinel2 import baseline_of, stated_factor, stated_offset
from ..raster.shapes.footprint import Way
from ..raster.window import LOOKED_AT, Window, lattice

_REFLECTS = 2.0  # real numbers up to this, as Sentinel-2 values, are reflectance itself: snow and clouds exceed 1
_KINDS = "iufc"  # of numpy's types: integers, real and complex numbers
# Of the sample; a fifth of the raster should be reported, but a sample errs by several points: Landsat scenes, empty at
# their corners, show 22 % where it is 17 %.
EMPTY_SHARE = 0.1


class Pixels(Protocol):
    """An open raster, as a library gives it: stored values at their place.

    Attributes:
        name: for messages.
        address: path or URL, whose parts may name a Sentinel-2 product.
        grid: where its pixels lie, a ``Lattice``.
        bands: what the file says of each band.
        tags: the file's own metadata.
        usable: numbers, from 1, of the bands that the file does not call an alpha channel.
        notes: on how the file was opened.
        sampled: whether a sample may be read before a run; a slow service is asked for none.
        sized: whether the pixels already have the size that the model needs.
        read_ahead: tiles that another thread may read in advance.
    """

    name: str
    address: str
    grid: Any
    bands: list[BandFacts]
    tags: dict[str, str]
    usable: list[int]
    notes: list[Message]
    files: list[str]
    sampled: bool
    sized: bool
    read_ahead: int

    def dtype(self, band: int) -> str:
        """Numpy's name of the type of a band's values; "" where it is unknown before they are read."""

    def stored_as(self, band: int) -> tuple[float | None, float | None]:
        """Scale and offset that the file states of a band, None where it does not."""

    def nodata(self, band: int) -> float | None:
        """The value that the file states for no data in a band, unless the user switched it off."""

    def masked(self, bands: Sequence[int]) -> bool:
        """Whether a mask of the file, or value ranges of the user, say which pixels are empty."""

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Stored values (bands, rows, columns), and (rows, columns) False where a mask or the user's ranges hide them.

        The masks are those of the bands or of the file, not what GDAL makes of nodata values and alpha bands.

        Raises:
            InputFault: they cannot be read.
        """

    def overview(self, bands: Sequence[int], factor: float) -> Pixels | None:
        """A coarser copy of the raster with pixels of at most so many of its own, where that is quicker to read."""

    def way_from(self, grid: Any | None) -> Way:
        """Between the CRS of another grid, or WGS 84 longitude and latitude in degrees where None, and the raster's own.

        Raises:
            InputFault: no way is known.
        """

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True)
class Choice:
    """What a user states about a raster.

    Attributes:
        bands: names (texts) or numbers from 1 (integers, or texts that are no name), in the model's order; empty: by
            their names, else in their order.
        nodata: a value that means no data, for rasters that declare none.
        kind: one of ``units.INPUTS``.
        offset: added to Sentinel-2 values, where the file does not state it.
        rule: one of ``gaps.RULES``.
    """

    bands: tuple[str | int, ...] = ()
    nodata: float | None = None
    kind: str = "auto"
    offset: float | None = None
    rule: str = "any"


class Source:
    """An open raster, in a model's bands and unit.

    Attributes:
        grid: where its pixels lie.
        bands: numbers of the bands that are read, from 1.
        matched: how the bands were chosen.
        notes: that the user should read before a long run.
        kind: what its values are, one of ``units.INPUTS``, once that is settled.
    """

    def __init__(self, pixels: Pixels, card: ModelCard, choice: Choice) -> None:
        """Check what can be checked without reading pixels, but for a sample of bands that the file calls alpha.

        Raises:
            InputFault: bands are missing or of a strange type, or the unit cannot be converted to the model's.
        """
        self.pixels, self.grid, self.where = pixels, pixels.grid, pixels.name
        self.nodata = choice.nodata
        self.notes = [note.about(self.where) for note in pixels.notes]
        self._card, self._choice = card, choice
        self._alphas: list[int] = []
        numbered = any(isinstance(band, int) for band in choice.bands)  # then a name like "3" is not meant
        bands = [BandFacts()] * len(pixels.bands) if numbered else pixels.bands
        names = BandNames(bands, sensors_of(pixels.address, pixels.tags))
        asked = [str(band) for band in choice.bands]
        alphas, others = alpha_bands(pixels)
        chosen = choose_bands(self.where, names, sorted([*pixels.usable, *others]), card.bands, asked)
        self.bands, self.matched = chosen.numbers, chosen.how
        for number in () if asked else others:
            self._note(Message("no_alpha", {"band": number}))
        self._note(chosen.how if chosen.doubtful else None)
        self._alphas = [number for number in alphas if number not in self.bands]
        self._dtypes = [pixels.dtype(band) for band in self.bands]
        kinds = {np.dtype(dtype).kind: dtype for dtype in self._dtypes if dtype}
        for kind in kinds.keys() - {*_KINDS}:
            raise InputFault("pixel_type", where=self.where, dtype=kinds[kind])
        self._note(Message("complex") if "c" in kinds else None)
        stated = zip(map(pixels.nodata, self.bands), self._dtypes)
        self._nodata = [nodata_of(*one) for one in stated]
        self._masked = bool(self._alphas or pixels.masked(self.bands) or set(self._nodata) != {None})
        self._overviews: list[Pixels] = []
        self.kind = "raw"
        self._convert = Conversion()
        if choice.kind != "auto":
            self._take_as(Recognised(choice.kind))

    def settle(self) -> None:
        """Find out what the values are, where the user left that open; may read a sample.

        Raises:
            InputFault: the sample cannot be read.
        """
        if self._choice.kind != "auto" or not self.pixels.sampled:
            return
        held = Recognised()
        if may_be_sentinel2(self._dtypes[0], self.grid.pixel_size_m[0], self._card):
            shown = self._looked_at(self.bands)
            held = recognised(shown[:, self._hold_data(shown)])
        self._take_as(recognised_name(self.pixels.address, self._card) if held.kind == "raw" else held)
        offsets = {stated_offset(*self.pixels.stored_as(band)) or 0.0 for band in self.bands} - {0.0}
        if offsets and not self._convert.note:
            texts = ", ".join(f"{offset:+g}" for offset in sorted(offsets))
            self._note(Message("offset_not_added", {"offsets": texts}))

    def look(self) -> None:
        """Note what looks wrong in a sample; reading all of a large raster would take too long."""
        if not self.pixels.sampled:
            return
        shown = self._looked_at(self.bands)
        valid = self._hold_data(shown)
        pixels = magnitude(shown[:, valid])
        if self._choice.rule == "any":
            share = float((self._hold_data(shown, "all") & ~valid).sum() / max(valid.size, 1))
            if share >= SOME_SHARE:
                self._note(Message("nodata_in_some", {"share": share}))
        if not self.declared:
            value, share = constant(pixels)
            if share >= EMPTY_SHARE:
                self._note(Message("no_nodata", {"share": share, "value": value}))
        self._note(doubt(self._convert(pixels).ravel(), self._card))

    @property
    def conversion(self) -> Conversion:
        """From stored values to the model's unit."""
        return self._convert

    @property
    def gaps(self) -> list[Message]:
        """What makes a pixel a gap."""
        stated = ", ".join(f"{value:g}" for value in dict.fromkeys(self._nodata) if value is not None)
        rule = Message("gaps_in_any_band" if self._choice.rule == "any" else "gaps_in_all_bands")
        gaps = [Message("gaps_of_file", {"values": stated, "rule": rule})] if stated else []
        if self.nodata is not None:
            values = {"value": self.nodata, "rule": rule}
            told = self._choice.nodata is not None
            gaps.append(Message("gaps_stated", values) if told else Message("gaps_of_sentinel2", values))
        band = getattr(self.pixels, "rule", None)  # of a raster that is seen through a mask band
        if band:
            gaps.append(Message("gaps_of_mask_band", {"name": band.name, "values": band.said}))
        elif self.pixels.masked(self.bands):
            gaps.append(Message("gaps_of_mask"))
        gaps += [Message("gaps_of_alpha", {"band": number}) for number in self._alphas]
        real = any(np.dtype(dtype).kind == "f" for dtype in self._dtypes if dtype)
        return [*gaps, Message("gaps_not_finite")] if real else gaps

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and the highest value that the raster's type can hold, in the model's unit."""
        if self._convert.limits:
            return self._convert.limits
        whole = [np.iinfo(dtype) for dtype in self._dtypes if dtype and np.dtype(dtype).kind in "iu"]
        if len(whole) < len(self._dtypes):
            return -np.inf, np.inf
        ends = (min(one.min for one in whole), max(one.max for one in whole))
        low, high = (end * self._convert.factor + self._convert.offset for end in ends)
        return low, high

    @property
    def declared(self) -> bool:
        """Whether pixels without data are known."""
        return self._masked or self.nodata is not None

    def read(self, window: Window, pixels: Pixels | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, columns) in the model's unit, and where all bands hold data (rows, columns).

        They are those of ``pixels``, a coarser copy, if given.
        """
        stored, valid = self._stored(pixels or self.pixels, window)
        return self._convert(stored), valid

    def valid(self, window: Window) -> np.ndarray:
        """(rows, columns) True where all bands hold data."""
        if not self.declared and all(dtype and np.dtype(dtype).kind in "iu" for dtype in self._dtypes):
            return np.ones((window.height, window.width), bool)
        return self._stored(self.pixels, window)[1]

    @property
    def dates(self) -> tuple[Source, ...]:
        """Itself: one date."""
        return (self,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Itself: one raster."""
        return (self,)

    @property
    def sampled(self) -> bool:
        """Whether a sample may be read before a run."""
        return self.pixels.sampled

    @property
    def sized(self) -> bool:
        """Whether the pixels already have the size that the model needs."""
        return self.pixels.sized

    @property
    def read_ahead(self) -> int:
        """Tiles that another thread may read in advance."""
        return self.pixels.read_ahead

    def overview(self, factor: float) -> Pixels | None:
        """A coarser copy with pixels of at most so many of its own; None where the raster itself is to be read.

        Where the raster does not declare its gaps its overviews have them mixed in.
        """
        pixels = None if self.nodata is not None else self.pixels.overview(self.bands, factor)
        if pixels:
            self._overviews.append(pixels)
        return pixels

    def close(self) -> None:
        """Release the files."""
        for pixels in (*self._overviews, self.pixels):
            pixels.close()

    def _looked_at(self, bands: Sequence[int]) -> np.ndarray:
        """(bands, N) stored values all over the raster that no mask hides."""
        return _sample(self.pixels, bands, self._shown, self.nodata is None)

    def _take_as(self, held: Recognised) -> None:
        if self.nodata is None and not self._masked and held.kind != "raw":
            self.nodata = 0.0  # Sentinel-2's own value for it
        self.kind = held.kind
        self._note(held.note)
        factor, offset = 1.0, None
        note = None
        if held.kind in ("s2-l2a", "s2-l1c"):
            factor, offset = self._as_stated()
            most = self._most() if factor == 1 and not offset else np.inf
            if most <= _REFLECTS:
                factor, offset, note = 1e4, 0.0, Message("real_reflectance", {"input": held.kind, "most": most})
        if self._choice.offset is not None:
            offset = self._choice.offset
        baseline = baseline_of(self.pixels.address, self.pixels.tags.get("PROCESSING_BASELINE", ""))
        self._convert = conversion(held.kind, self._card, baseline, offset, held.darkest, factor)
        self._note(note or self._convert.note)

    def _most(self) -> float:
        """The highest value in a sample of real numbers, infinite where there is none."""
        if not self.pixels.sampled or any(np.dtype(dtype).kind != "f" for dtype in self._dtypes if dtype):
            return np.inf
        shown = self._looked_at(self.bands)
        return float(shown[:, self._hold_data(shown)].max(initial=-np.inf)) if shown.size else np.inf

    def _as_stated(self) -> tuple[float, float | None]:
        """Factor and offset of stored values as the file states them of all bands alike; see ``units.conversion``."""
        stored = [self.pixels.stored_as(band) for band in self.bands]
        factors, offsets = [stated_factor(scale) for scale, _ in stored], [stated_offset(*one) for one in stored]
        if len(set(factors)) > 1:
            raise InputFault("scales_differ", where=self.where, scales=", ".join(f"{scale:g}" for scale, _ in stored))
        if len(set(offsets)) > 1 and self._choice.offset is None:
            texts = ", ".join("?" if offset is None else f"{offset:+g}" for offset in offsets)
            raise InputFault("offsets_differ", where=self.where, offsets=texts)
        return factors[0], offsets[0]

    def _note(self, note: Message | None) -> None:
        if note:
            self.notes.append(note.about(self.where))

    def _stored(self, source: Pixels, window: Window) -> tuple[np.ndarray, np.ndarray]:
        pixels, valid = self._shown(source, self.bands, window)
        valid = valid & self._hold_data(pixels)
        return single(pixels, valid)

    def _shown(self, source: Pixels, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Stored values, and where no mask and no alpha channel hides them."""
        pixels, valid = source.read(bands, window)
        for number in self._alphas:
            alpha, there = source.read([number], window)
            valid &= there & (alpha[0] > 0)
        return pixels, valid

    def _hold_data(self, pixels: np.ndarray, rule: str | None = None) -> np.ndarray:
        """Where values are no nodata values, be they declared or the user's: these say it in all bands alike."""
        rule = rule or self._choice.rule
        valid = holds_data(pixels, self._nodata, rule)
        if self.nodata is not None:
            valid &= holds_data(pixels, [self.nodata] * len(self.bands), rule)
        return valid


def alpha_bands(pixels: Pixels) -> tuple[list[int], list[int]]:
    """Numbers of the bands that a file calls alpha: those that are, by a sample of their values, and those that are not."""
    mask = getattr(pixels, "set_aside", 0)  # of a raster that is seen through a band of its own
    called = [number for number in range(1, len(pixels.bands) + 1) if number not in (mask, *pixels.usable)]
    alphas = [
        number for number in called if is_alpha(_sample(pixels, [number], lambda one, *which: one.read(*which))[0])
    ]
    return alphas, [number for number in called if number not in alphas]


def _sample(
    pixels: Pixels,
    bands: Sequence[int],
    shown: Callable[[Pixels, Sequence[int], Window], tuple[np.ndarray, np.ndarray]],
    overviews: bool = True,
) -> np.ndarray:
    """(bands, N) stored values all over a raster, or a coarser copy of it, of those that are ``shown``."""
    coarse = pixels.overview(bands, max(pixels.grid.shape) / LOOKED_AT) if overviews else None
    parts = [shown(coarse or pixels, bands, window) for window in lattice(*(coarse or pixels).grid.shape)]
    if coarse:
        coarse.close()
    return np.concatenate([values[:, there] for values, there in parts], axis=1)


def constant(pixels: np.ndarray) -> tuple[float, float]:
    """The value that most pixels hold in all bands alike, and their share."""
    alike = pixels[0][(pixels == pixels[:1]).all(axis=0)]
    if not alike.size:
        return 0.0, 0.0
    values, counts = np.unique(alike, return_counts=True)
    return float(values[counts.argmax()]), float(counts.max() / pixels.shape[1])

"""A raster as a model reads it: its bands, its gaps, its unit, and a sample of it. Nothing is resampled here."""

from __future__ import annotations

from collections.abc import Sequence
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
from ..raster.bands import choose_bands
from ..raster.sentinel2 import baseline_of, stated_offset
from ..raster.window import Window

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
# Of the sample; a fifth of the raster should be reported, but a sample errs by several points: Landsat scenes, empty at
# their corners, show 22 % where it is 17 %.
EMPTY_SHARE = 0.1
_LATTICE, _SAMPLE = 6, 64  # windows a side, and their side in px, that are looked at
LOOKED_AT = _LATTICE * _SAMPLE  # px a side: all of a raster that is not larger


class Pixels(Protocol):
    """An open raster, as a library gives it: stored values at their place.

    Attributes:
        name: for messages.
        address: path or URL, whose parts may name a Sentinel-2 product.
        grid: where its pixels lie, a ``Lattice``.
        names: of the bands, "" where they have none.
        usable: numbers, from 1, of the bands that are no alpha channel.
        baseline: what the file's tag ``PROCESSING_BASELINE`` says, else "".
        sampled: whether a sample may be read before a run; a slow service is asked for none.
        sized: whether the pixels already have the size that the model needs.
        read_ahead: tiles that another thread may read in advance.
    """

    name: str
    address: str
    grid: Any
    names: list[str]
    usable: list[int]
    baseline: str
    files: list[str]
    sampled: bool
    sized: bool
    read_ahead: int

    def dtype(self, band: int) -> str:
        """Numpy's name of the type of a band's values; "" where it is unknown before they are read."""

    def stored_as(self, band: int) -> tuple[float | None, float | None]:
        """Scale and offset that the file states of a band, None where it does not."""

    def masked(self, bands: Sequence[int]) -> bool:
        """Whether the file or the user says which pixels are empty."""

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Stored values (bands, rows, columns), and (rows, columns) True where all bands hold data.

        Raises:
            InputFault: they cannot be read.
        """

    def overview(self, bands: Sequence[int], factor: float) -> Pixels | None:
        """A coarser copy of the raster with pixels of at most so many of its own, where that is quicker to read."""

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
    """

    bands: tuple[str | int, ...] = ()
    nodata: float | None = None
    kind: str = "auto"
    offset: float | None = None


class Source:
    """An open raster, in a model's bands and unit.

    Attributes:
        grid: where its pixels lie.
        bands: numbers of the bands that are read, from 1.
        matched: how the bands were chosen.
        notes: that the user should read before a long run.
    """

    def __init__(self, pixels: Pixels, card: ModelCard, choice: Choice) -> None:
        """Check what can be checked without reading pixels.

        Raises:
            InputFault: bands are missing or of a strange type, or the unit cannot be converted to the model's.
        """
        self.pixels, self.grid, self.where = pixels, pixels.grid, pixels.name
        self.nodata = choice.nodata
        self.notes: list[Message] = []
        self._card, self._choice = card, choice
        numbered = any(isinstance(band, int) for band in choice.bands)  # then a name like "3" is not meant
        names = [""] * len(pixels.names) if numbered else pixels.names
        asked = [str(band) for band in choice.bands]
        self.bands, note = choose_bands(self.where, names, pixels.usable, card.bands, asked)
        self.matched = Message("bands_stated") if asked else note or Message("bands_by_name")
        self._note(note)
        self._dtypes = [pixels.dtype(band) for band in self.bands]
        strange = [dtype for dtype in self._dtypes if dtype and dtype not in _DTYPES]
        if strange:
            raise InputFault("pixel_type", where=self.where, dtype=strange[0])
        self._masked = pixels.masked(self.bands)
        self._overviews: list[Pixels] = []
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
            held = recognised(self._sample())
        self._take_as(recognised_name(self.pixels.address, self._card) if held.kind == "raw" else held)

    def look(self) -> None:
        """Note what looks wrong in a sample; reading all of a large raster would take too long."""
        if not self.pixels.sampled:
            return
        pixels = self._sample()
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
        gaps = [Message("gaps_of_file")] if self._masked else []
        gaps += [] if self.nodata is None else [Message("gaps_of_value", {"value": self.nodata})]
        real = any(np.dtype(dtype).kind == "f" for dtype in self._dtypes if dtype)
        return [*gaps, Message("gaps_not_finite")] if real else gaps

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

    def _sample(self) -> np.ndarray:
        """(bands, N) stored values all over the raster that hold data in all bands."""
        pixels = self.overview(max(self.grid.shape) / LOOKED_AT) or self.pixels
        parts = [self._stored(pixels, window) for window in lattice(*pixels.grid.shape)]
        return np.concatenate([values[:, valid] for values, valid in parts], axis=1)

    def _take_as(self, held: Recognised) -> None:
        if self.nodata is None and not self._masked and held.kind != "raw":
            self.nodata = 0.0  # Sentinel-2's own value for it
        self._note(held.note)
        offset = self._choice.offset
        if offset is None and held.kind in ("s2-l2a", "s2-l1c"):
            offset = self._stated_offset()
        baseline = baseline_of(self.pixels.address, self.pixels.baseline)
        self._convert = conversion(held.kind, self._card, baseline, offset, held.darkest)
        self._note(self._convert.note)

    def _stated_offset(self) -> float | None:
        stated = [stated_offset(*self.pixels.stored_as(band)) for band in self.bands]
        if len(set(stated)) > 1:
            offsets = ", ".join("?" if offset is None else f"{offset:+g}" for offset in stated)
            raise InputFault("offsets_differ", where=self.where, offsets=offsets)
        return stated[0]

    def _note(self, note: Message | None) -> None:
        if note:
            self.notes.append(note.about(self.where))

    def _stored(self, source: Pixels, window: Window) -> tuple[np.ndarray, np.ndarray]:
        pixels, valid = source.read(self.bands, window)
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
            pixels = pixels.astype(np.float32, copy=False)
        if self.nodata is not None:
            valid &= (pixels != self.nodata).all(axis=0)
        return pixels, valid


def lattice(height: int, width: int) -> list[Window]:
    """Windows all over a raster; those of a small one cover it without meeting twice."""
    rows, columns = _starts(height), _starts(width)
    return [Window(row, column, tall, wide) for row, tall in rows for column, wide in columns]


def _starts(length: int) -> list[tuple[int, int]]:
    if length <= LOOKED_AT:
        return [(0, length)]
    return [(int(share * (length - _SAMPLE)), _SAMPLE) for share in np.linspace(0, 1, _LATTICE)]


def constant(pixels: np.ndarray) -> tuple[float, float]:
    """The value that most pixels hold in all bands alike, and their share."""
    alike = pixels[0][(pixels == pixels[:1]).all(axis=0)]
    if not alike.size:
        return 0.0, 0.0
    values, counts = np.unique(alike, return_counts=True)
    return float(values[counts.argmax()]), float(counts.max() / pixels.shape[1])

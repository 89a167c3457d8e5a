"""Open rasters seen through something: a band that says which of their pixels count, or some of their bands alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import InputFault
from ...raster.mask_band import MaskBand
from ...raster.shapes.footprint import Way
from ...raster.window import Read, Window
from ..source import Pixels
from .onto import box_on, onto


class _View:
    """``Pixels`` that are those of another raster; what differs is overridden."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.name, self.address, self.grid = pixels.name, pixels.address, pixels.grid
        self.bands, self.tags, self.usable = pixels.bands, pixels.tags, pixels.usable
        self.notes, self.files = pixels.notes, pixels.files
        self.sampled, self.sized, self.read_ahead = pixels.sampled, pixels.sized, pixels.read_ahead

    def dtype(self, band: int) -> str:
        """See ``Pixels``."""
        return self.pixels.dtype(band)

    def stored_as(self, band: int) -> tuple[float | None, float | None]:
        """See ``Pixels``."""
        return self.pixels.stored_as(band)

    def nodata(self, band: int) -> float | None:
        """See ``Pixels``."""
        return self.pixels.nodata(band)

    def masked(self, bands: Sequence[int]) -> bool:
        """See ``Pixels``."""
        return self.pixels.masked(bands)

    def way_from(self, grid: Any) -> Way:
        """See ``Pixels``."""
        return self.pixels.way_from(grid)

    def bytes_under(self, bands: Sequence[int], rows: float) -> float:
        """See ``rasterio_io.pixels``, for hosts whose rasters know it."""
        return float(self.pixels.bytes_under(bands, rows))  # type: ignore[attr-defined]

    def members(self) -> Iterator[str]:
        """The files that it is made of; for hosts whose rasters know them."""
        yield from self.pixels.members()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Release the file."""
        self.pixels.close()


class Masked(_View):
    """A raster of which a mask band hides pixels: one of its own, or of another raster, whose pixels may have another size."""

    def __init__(self, pixels: Pixels, rule: MaskBand, of: Pixels | None = None) -> None:
        """See ``pixels`` through ``rule``, a band of the raster ``of``, else of their own.

        Pixels beyond the other raster, and those that it calls empty, are hidden too. Of one band alone the name does not matter.

        Raises:
            InputFault: there is no such band, the mask lies elsewhere, or no way leads from one raster to the other.
        """
        super().__init__(pixels)
        self.rule, self.of = rule, of
        bands = (of or pixels).bands
        number = rule.number(bands) or (1 if of and len(bands) == 1 else None)
        if number is None:
            shown = ", ".join(band.shown or str(place) for place, band in enumerate(bands[:20], start=1))
            raise InputFault("mask_missing", where=(of or pixels).name, name=rule.name, bands=shown)
        if of is None:  # neither a band that a model reads nor an alpha channel
            self.set_aside, self.usable = number, [one for one in pixels.usable if one != number]
        self._number, self._nodata = number, (of or pixels).nodata(number)
        self._mask: Read = self._own if of is None else onto(self._own, of, pixels.grid, nearest=True)
        if of:
            self.files = [*pixels.files, *of.files]
            left, top, right, bottom = box_on(of, pixels.grid)
            if left >= pixels.grid.width or top >= pixels.grid.height or right <= 0 or bottom <= 0:
                raise InputFault("mask_apart", where=of.name, other=pixels.name)

    def masked(self, bands: Sequence[int]) -> bool:
        """Always."""
        return True

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """See ``Pixels``."""
        pixels, valid = self.pixels.read(bands, window)
        mask, there = self._mask(window)
        return pixels, valid & there & ~self.rule.hides(np.where(there, mask[0], self._shown(mask)), self.name)

    def _shown(self, mask: np.ndarray) -> np.generic:
        """A value that stands where the mask has none: one that it may hold."""
        return mask.dtype.type(self.rule.known[0] if self.rule.known else 0)

    def _own(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        values, valid = (self.of or self.pixels).read([self._number], window)
        return values, valid if self._nodata is None else valid & (values[0] != self._nodata)

    def overview(self, bands: Sequence[int], factor: float) -> Pixels | None:
        """A coarser copy, where the mask is another raster: in an overview the values of a mask may be mixed."""
        coarse = self.pixels.overview(bands, factor) if self.of else None
        return _Coarse(coarse, self.rule, self.of) if coarse else None

    def members(self) -> Iterator[str]:
        """The files that both are made of."""
        yield from super().members()
        if self.of:
            yield from self.of.members()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Release the files."""
        super().close()
        if self.of:
            self.of.close()


class _Coarse(Masked):
    """A coarser copy of a raster through the mask of the raster itself, which stays open."""

    def close(self) -> None:
        """Release the copy."""
        self.pixels.close()


class SomeBands(_View):
    """A raster of which only some bands are there, such as those of one date in a stack of several dates."""

    def __init__(self, pixels: Pixels, numbers: Sequence[int]) -> None:
        """``numbers`` are those of the bands, from 1.

        Raises:
            InputFault: the raster has no such band.
        """
        super().__init__(pixels)
        for number in numbers:
            if not 1 <= number <= len(pixels.bands):
                raise InputFault("no_such_band", where=pixels.name, band=number, bands=f"1 to {len(pixels.bands)}")
        self.numbers = list(numbers)
        self.bands = [pixels.bands[number - 1] for number in numbers]
        self.usable = [place for place, number in enumerate(numbers, start=1) if number in pixels.usable]

    def dtype(self, band: int) -> str:
        """See ``Pixels``."""
        return self.pixels.dtype(self.numbers[band - 1])

    def stored_as(self, band: int) -> tuple[float | None, float | None]:
        """See ``Pixels``."""
        return self.pixels.stored_as(self.numbers[band - 1])

    def nodata(self, band: int) -> float | None:
        """See ``Pixels``."""
        return self.pixels.nodata(self.numbers[band - 1])

    def masked(self, bands: Sequence[int]) -> bool:
        """See ``Pixels``."""
        return self.pixels.masked(self._of(bands))

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """See ``Pixels``."""
        return self.pixels.read(self._of(bands), window)

    def overview(self, bands: Sequence[int], factor: float) -> Pixels | None:
        """See ``Pixels``."""
        coarse = self.pixels.overview(self._of(bands), factor)
        return SomeBands(coarse, self.numbers) if coarse else None

    def bytes_under(self, bands: Sequence[int], rows: float) -> float:
        """See ``Pixels``."""
        return super().bytes_under(self._of(bands), rows)

    def _of(self, bands: Sequence[int]) -> list[int]:
        return [self.numbers[band - 1] for band in bands]

"""A layer that a model will read: its bands, its gaps, its unit. Nothing is resampled here."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from qgis.core import QgsCoordinateReferenceSystem

from ..runtime.errors import InputFault
from ..runtime.infer.look import look, recognise
from ..runtime.messages import Message
from ..runtime.model.card import ModelCard
from ..runtime.model.units import Conversion, Recognised, baseline_of, conversion, stored_offset
from ..runtime.raster.bands import choose_bands
from ..runtime.raster.window import Window
from ..texts import tr
from .files import FileLayer, FilePixels
from .services import ServiceLayer, ServicePixels

Layer = Union[FileLayer, ServiceLayer]
Pixels = Union[FilePixels, ServicePixels]


def snapshot(layer) -> Layer:
    """Copy from a raster layer all that a worker needs, on the layer's thread.

    Raises:
        InputFault: the layer is broken or has no CRS.
    """
    if layer is None or not layer.isValid():
        raise InputFault(tr("The raster layer cannot be read."))
    if not layer.crs().isValid():
        text = tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
        raise InputFault(text.format(name=layer.name()))
    crs = layer.crs().toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL)
    return (FileLayer if layer.providerType() == "gdal" else ServiceLayer).of(layer, crs)


@dataclass(frozen=True)
class Choice:
    """What a user says of a layer.

    Attributes:
        bands: numbers in the model's order; empty: by their names, else in their order.
        nodata: a value that means no data, where the layer declares none.
        kind: one of ``units.INPUTS``.
        offset: to be added to Sentinel-2's numbers, where the file does not say it.
    """

    bands: Tuple[int, ...] = ()
    nodata: Optional[float] = None
    kind: str = "auto"
    offset: Optional[float] = None


class Source:
    """An open layer, in a model's bands and unit.

    Attributes:
        grid: where its pixels lie.
        bands: numbers of the bands that are read, from 1.
        notes: that the user should read before a long run.
    """

    def __init__(self, pixels: Pixels, card: ModelCard, choice: Choice) -> None:
        """Check what fits.

        Raises:
            InputFault: bands are missing, or the unit cannot be turned into the model's.
        """
        self.pixels, self.grid, self.where = pixels, pixels.grid, pixels.layer.name
        self.notes: List[Message] = []
        asked = [str(band) for band in choice.bands]
        names = _numbered(pixels.names, asked)
        self.bands, note = choose_bands(self.where, names, pixels.usable, card.bands, asked)
        self._masked = pixels.masked(self.bands)
        self._note(note)
        self.nodata, self._convert = choice.nodata, Conversion()
        if choice.kind != "auto":
            self._take_as(Recognised(choice.kind), choice.offset, card)

    def settle(self, card: ModelCard, choice: Choice) -> None:
        """Find out what the numbers are, where that was left to us; reads a sample, so not on the main thread."""
        if choice.kind != "auto" or isinstance(self.pixels, ServicePixels):
            return
        dtype, metres = self.pixels.dtype(self.bands[0]), self.grid.pixel_size_m[0]
        seen = (self._stored, self.grid.shape)
        self._take_as(recognise(self.pixels.layer.uri, dtype, metres, card, lambda: seen), choice.offset, card)

    def _take_as(self, held: Recognised, offset: Optional[float], card: ModelCard) -> None:
        if self.nodata is None and not self._masked and held.kind != "raw":
            self.nodata = 0.0  # Sentinel-2's own number for it
        if offset is None:
            offset = stored_offset(*self.pixels.stored_as(self.bands[0]))
        self._convert = conversion(held.kind, card, baseline_of(*self.pixels.product), offset, held.darkest)
        self._note(held.note)
        self._note(self._convert.note)

    def _note(self, note: Optional[Message]) -> None:
        if note:
            self.notes.append(note)

    def look(self, card: ModelCard) -> List[Message]:
        """Notes on what looks wrong in a sample; a service is not asked for one, it is slow."""
        if isinstance(self.pixels, ServicePixels):
            return []
        return look(self._stored, self.grid.shape, self._convert, card, self._masked or self.nodata is not None)

    def read(self, window: Window) -> Tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, columns) in the model's unit, and where all bands hold data (rows, columns)."""
        pixels, valid = self._stored(window)
        return self._convert(pixels), valid

    def valid(self, window: Window) -> np.ndarray:
        """(rows, columns) True where all bands hold data."""
        return self._stored(window)[1]

    def _stored(self, window: Window) -> Tuple[np.ndarray, np.ndarray]:
        pixels, valid = self.pixels.read(self.bands, window)
        if pixels.dtype.kind not in "uif":
            raise InputFault(tr("The layer '{name}' holds no whole or real numbers.").format(name=self.where))
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
            pixels = pixels.astype(np.float32, copy=False)
        if self.nodata is not None:
            valid &= (pixels != self.nodata).all(axis=0)
        return pixels, valid

    def close(self) -> None:
        """Give the file back."""
        self.pixels.close()


def _numbered(names: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
    """Names, but not where they could be taken for the numbers that were asked for."""
    return [""] * len(names) if asked else names

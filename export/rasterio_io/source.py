"""A raster that a model will read: its bands, its gaps, its unit. Nothing is resampled here."""

from __future__ import annotations

import copy
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.transform import from_bounds
from rasterio.windows import Window as RasterWindow

from export.rasterio_io.grid import Grid, crs_of
from export.rasterio_io.hooks import undecodable_messages_ignored
from export.rasterio_io.names import is_far, is_path
from export.runtime.errors import InputFault
from export.runtime.infer.look import LOOKED_AT, look, recognise
from export.runtime.messages import Message
from export.runtime.model.card import ModelCard
from export.runtime.model.units import Conversion, Recognised, baseline_of, conversion, stored_offset
from export.runtime.raster.bands import choose_bands
from export.runtime.raster.lattice import Bounds, check_bounds
from export.runtime.raster.window import Read, Window

# SystemError is rasterio's where GDAL fails without a word.
RASTER_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError, MemoryError, SystemError)
_DTYPES = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"}


@dataclass(frozen=True)
class Placement:
    """Coordinates for a file that has none: a CRS and (west, south, east, north) in its units."""

    crs: str
    bounds: Bounds


@dataclass(frozen=True)
class Choice:
    """What a user says of a raster.

    Attributes:
        bands: names or numbers in the model's order; None: by their names, else in their order.
        nodata: a value that means no data, for files that declare none.
        kind: one of ``units.INPUTS``.
        offset: to be added to Sentinel-2's numbers, where the file does not say it.
        placement: coordinates, where the file has none.
    """

    bands: tuple[str, ...] | None = None
    nodata: float | None = None
    kind: str = "auto"
    offset: float | None = None
    placement: Placement | None = None


class Source:
    """An open raster.

    Attributes:
        grid: where its pixels lie.
        bands: numbers of the bands that are read, from 1.
        notes: that the user should read before a long run.
    """

    def __init__(
        self, where: str | Path, card: ModelCard, choice: Choice | None = None, *, sample: bool = True
    ) -> None:
        """Open and check.

        Args:
            where: a path, a URL, or another name that GDAL opens.
            card: of the model.
            choice: what the user says of it.
            sample: whether to note what looks wrong in a sample of the pixels.

        Raises:
            InputFault: it cannot be read, has other bands, no coordinates, or values of a strange type.
        """
        choice = choice or Choice()
        self.where = str(where)
        self.notes: list[Message] = []
        self.dataset = _open(self.where)
        self._overviews: list[Source] = []
        self._lock = threading.Lock()  # GDAL reads a file in one thread at a time
        self.grid = self._place(choice.placement)
        names = _band_names(self.dataset)
        usable = [i for i, color in enumerate(self.dataset.colorinterp, start=1) if color != ColorInterp.alpha]
        self.bands, note = choose_bands(self.where, names, usable, card.bands, choice.bands)
        self._note(note)
        self._check_types()
        flags = [self.dataset.mask_flag_enums[band - 1] for band in self.bands]
        self._masked = any(MaskFlags.all_valid not in flag for flag in flags)
        self.nodata = choice.nodata
        found = self._recognised(card) if choice.kind == "auto" else Recognised(choice.kind)
        if self.nodata is None and not self._masked and found.kind != "raw":
            self.nodata = 0.0  # Sentinel-2's own number for it
        self._note(found.note)
        self._convert = self._conversion(found, choice.offset, card)
        if sample:
            seen = self.overview(max(self.shape) / LOOKED_AT) or self
            for seems in look(seen._stored, seen.shape, self._convert, card, self._masked or self.nodata is not None):
                self._note(seems)

    def _note(self, note: Message | None) -> None:
        if note:
            self.notes.append(note.about(self.where))

    def _place(self, placement: Placement | None) -> Grid:
        dataset = self.dataset
        if dataset.crs is not None and not dataset.transform.is_identity:
            grid = Grid(dataset.crs, dataset.transform, *dataset.shape)
            if not (np.isfinite(list(grid.transform)[:6]).all() and grid.transform.determinant):
                raise InputFault(f"{self.where}: its coordinates make no sense; set them again with gdal_edit")
            try:
                grid.pixel_size_m  # noqa: B018  # asks the CRS for its unit of length
            except (CRSError, KeyError, TypeError) as error:
                raise InputFault(f"{self.where}: its CRS has no unit of length; set another with gdal_edit") from error
            return grid
        if placement is None:
            raise InputFault(
                f"{self.where}: has no CRS, so its map could not be placed; give --crs and --bounds, or set it with gdal_edit"
            )
        check_bounds(placement.bounds)
        transform = from_bounds(*placement.bounds, dataset.width, dataset.height)
        grid = Grid(crs_of(placement.crs), transform, *dataset.shape)
        if not grid.lies_on_earth:
            bounds = " ".join(f"{value:.10g}" for value in placement.bounds)
            raise InputFault(f"{self.where}: --bounds {bounds} reach beyond the Earth in {placement.crs}; check both")
        return grid

    def _check_types(self) -> None:
        strange = {self.dataset.dtypes[band - 1] for band in self.bands} - _DTYPES
        if strange:
            raise InputFault(f"{self.where}: its pixels are {strange.pop()}; a model reads whole or real numbers")

    def _recognised(self, card: ModelCard) -> Recognised:
        def seen() -> tuple[Read, tuple[int, int]]:
            source = self.overview(max(self.shape) / LOOKED_AT) or self
            return source._stored, source.shape

        dtype, metres = self.dataset.dtypes[self.bands[0] - 1], self.grid.pixel_size_m[0]
        return recognise(self.where, dtype, metres, card, seen)

    def _conversion(self, held: Recognised, stored: float | None, card: ModelCard) -> Conversion:
        baseline = baseline_of(self.where, self.dataset.tags().get("PROCESSING_BASELINE", ""))
        if stored is None:
            stored = stored_offset(self.dataset.scales[self.bands[0] - 1], self.dataset.offsets[self.bands[0] - 1])
        found = conversion(held.kind, card, baseline, stored, held.darkest)
        self._note(found.note)
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.shape

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, columns) in the model's unit, and where all bands hold data (rows, columns).

        Raises:
            InputFault: the file is damaged.
        """
        pixels, valid = self._stored(window)
        return self._convert(pixels), valid

    def valid(self, window: Window) -> np.ndarray:
        """(rows, columns) True where all bands hold data."""
        if not self._masked and self.nodata is None and self._is_whole:
            return np.ones((window.height, window.width), bool)
        return self._stored(window)[1]

    @property
    def _is_whole(self) -> bool:
        """Whether the type of the pixels knows no NaN."""
        return all(np.dtype(self.dataset.dtypes[band - 1]).kind in "iu" for band in self.bands)

    def overview(self, factor: float) -> Source | None:
        """The coarsest copy that a raster on a server holds of itself, with pixels of at most so many of its own.

        On a disk all pixels are read: nobody knows how overviews were made, and there they save little. Where the file
        does not declare its gaps its overviews have them mixed in.
        """
        far = is_far(self.where) and self.nodata is None
        levels = self.dataset.overviews(self.bands[0]) if far else []
        fitting = [number for number, level in enumerate(levels) if level <= factor * (1 + 1e-6)]
        if not fitting:
            return None
        coarse = copy.copy(self)
        coarse.dataset = _open(self.where, OVERVIEW_LEVEL=max(fitting, key=levels.__getitem__))
        height, width = coarse.dataset.shape
        coarse.grid = replace(
            self.grid.scaled(self.shape[0] / height, self.shape[1] / width), height=height, width=width
        )
        self._overviews.append(coarse)
        return coarse

    def _stored(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        where = RasterWindow(window.column, window.row, window.width, window.height)
        try:
            with self._lock:
                pixels = self.dataset.read(self.bands, window=where)
                masks = self.dataset.read_masks(self.bands, window=where) if self._masked else None
        except RASTER_ERRORS as error:
            raise InputFault(f"{self.where}: damaged, it cannot be read to its end ({_plain(error)})") from error
        valid = np.ones(pixels.shape[1:], bool) if masks is None else masks.all(axis=0)
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
            pixels = pixels.astype(np.float32, copy=False)
        if self.nodata is not None:
            valid &= (pixels != self.nodata).all(axis=0)
        return pixels, valid

    def bytes_under(self, rows: float) -> float:
        """Decoded blocks under so many rows from side to side, where blocks are as wide as the raster; else 0."""
        dataset = self.dataset
        tall, wide = dataset.block_shapes[self.bands[0] - 1]
        if wide < dataset.width:
            return 0.0
        pixel = sum(np.dtype(dataset.dtypes[band - 1]).itemsize for band in self.bands)
        if dataset.interleaving and dataset.interleaving.value == "PIXEL":
            pixel = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
        return float((rows + 2 * tall) * wide * pixel)

    def close(self) -> None:
        """Give the file back."""
        for one in (self, *self._overviews):
            one.dataset.close()


def _open(where: str, **options: object) -> rasterio.DatasetReader:
    if is_path(where) and not Path(where).exists():
        raise InputFault(f"{where}: no such file")
    try:
        with warnings.catch_warnings(), undecodable_messages_ignored():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said later in our own words
            dataset = rasterio.open(where, **options)
            dataset.transform  # noqa: B018  # GDAL reads it late
    except RASTER_ERRORS as error:
        raise InputFault(f"{where}: cannot be read as a raster ({_plain(error)})") from error
    if not dataset.count:
        inside = ", ".join(dataset.subdatasets[:20])
        raise InputFault(
            f"{where}: " + (f"contains several rasters, {inside}; name one of them" if inside else "contains no raster")
        )
    return dataset


def _band_names(dataset: rasterio.DatasetReader) -> list[str]:
    """As described in the file, else by colour."""
    colors = ("red", "green", "blue", "alpha")
    found = []
    for number, (text, color) in enumerate(zip(dataset.descriptions, dataset.colorinterp), start=1):
        name = text or dataset.tags(number).get("BANDNAME") or (color.name if color.name in colors else "")
        found.append(name)
    return found


def _plain(error: BaseException) -> str:
    """First line of what GDAL says; rasterio hides it behind a sentence that says nothing."""
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(error).__name__])[0]

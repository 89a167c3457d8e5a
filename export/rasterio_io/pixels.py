"""An open raster in rasterio: stored values at their place."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT

from export.rasterio_io.grid import Grid, crs_of, raster_window
from export.rasterio_io.vectors import Area
from export.rasterio_io.vrt import container, files_of
from export.runtime.errors import InputFault, first_line
from export.runtime.files import with_members
from export.runtime.infer.source import Pixels
from export.runtime.messages import Message
from export.runtime.raster.band_names import BandFacts
from export.runtime.raster.gaps import is_mask
from export.runtime.raster.lattice import eastwards
from export.runtime.raster.names import is_far, is_path
from export.runtime.raster.window import Window

# rasterio raises SystemError where GDAL fails without a message, ValueError for a file it cannot open.
RASTER_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError, MemoryError, SystemError)
_hooks_lock = threading.Lock()
_hooks_users = 0
_restore: Callable[[], None]


class RasterPixels:
    """A raster that rasterio opened; see ``export.runtime.infer.source.Pixels``."""

    sampled, sized, read_ahead = True, False, 4

    def __init__(self, where: str | Path, area: Area | None = None) -> None:
        """Open what GDAL knows by this name.

        A raster without coordinates is placed at the bounds of an area that states their CRS.

        Raises:
            InputFault: it cannot be read, or has no coordinates.
        """
        self.name = self.address = str(where)
        self._lock = threading.Lock()  # GDAL reads a file in one thread at a time
        self.notes: list[Message] = []
        opened = _open(self.name)
        self.dataset, self.tags = self._on_grid(opened), opened.tags()
        self.files = files_of(self.dataset)
        if opened.name.startswith("<"):  # the text of a virtual raster
            self.files = [self.name]
            self.notes.append(Message("container", {"names": ", ".join(opened.descriptions[:20])}))
        self.grid = self._place(area)
        self.bands = _band_facts(self.dataset)
        colors = enumerate(self.dataset.colorinterp, start=1)
        self.usable = [number for number, color in colors if color != ColorInterp.alpha]

    def _on_grid(self, dataset: rasterio.DatasetReader) -> rasterio.DatasetReader:
        """The raster itself, or warped where it lies on control points instead of a grid."""
        points, crs = dataset.gcps
        if dataset.crs is not None or not points or crs is None:
            return dataset
        self.notes.append(Message("control_points", {"count": len(points)}))
        try:
            return WarpedVRT(dataset, add_alpha=dataset.nodata is None)
        except RASTER_ERRORS as error:
            raise InputFault("bad_coordinates", where=self.name) from error

    def _place(self, area: Area | None) -> Grid:
        dataset = self.dataset
        if dataset.crs is not None and not dataset.transform.is_identity:
            grid = Grid(dataset.crs, dataset.transform, *dataset.shape)
            if not (np.isfinite(list(grid.transform)[:6]).all() and grid.transform.determinant):
                raise InputFault("bad_coordinates", where=self.name)
            try:
                known = grid.units.size > 0
            except CRSError:
                known = False
            if not known:
                raise InputFault.worded(f"{self.name}: its CRS has no unit of length; set another with gdal_edit")
            return grid
        if dataset.rpcs and not (area and area.crs and area.bounds):
            raise InputFault.worded(f"{self.name}: lies on RPCs instead of a grid; warp it to one with gdalwarp -rpc")
        if not (area and area.crs and area.bounds):
            raise InputFault.worded(
                f"{self.name}: has no CRS, so its map could not be placed; give --crs and --bounds, or set it with gdal_edit"
            )
        grid = Grid(crs_of(area.crs), dataset.transform, *dataset.shape)
        grid = replace(grid, transform=from_bounds(*eastwards(area.bounds, grid.units.turn), *dataset.shape[::-1]))
        if not grid.lies_on_earth:
            bounds = " ".join(f"{value:.10g}" for value in area.bounds)
            raise InputFault.worded(f"{self.name}: --bounds {bounds} reach beyond the Earth in {area.crs}; check both")
        return grid

    def dtype(self, band: int) -> str:
        """Numpy's name of the type of a band's values."""
        name = str(self.dataset.dtypes[band - 1])
        return "complex64" if name.startswith("complex_int") else name

    def stored_as(self, band: int) -> tuple[float, float]:
        """Scale and offset of a band."""
        return self.dataset.scales[band - 1], self.dataset.offsets[band - 1]

    def nodata(self, band: int) -> float | None:
        """The value that the file states for no data in a band."""
        value = self.dataset.nodatavals[band - 1]
        if value is None and MaskFlags.nodata in self.dataset.mask_flag_enums[band - 1]:
            return int(np.iinfo(self.dtype(band)).max)  # rasterio drops the highest number of 64 bits
        return None if value is None else float(value)

    def masked(self, bands: Sequence[int]) -> bool:
        """Whether a mask of the file says which pixels are empty."""
        return bool(masked_bands(self.dataset, bands))

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Stored values (bands, rows, columns), and (rows, columns) False where a mask of the file hides them."""
        where, bands = raster_window(window), list(bands)
        try:
            with self._lock:
                pixels = self.dataset.read(bands, window=where)
                masked = masked_bands(self.dataset, bands)
                masks = self.dataset.read_masks(masked, window=where) if masked else np.ones_like(pixels[:1])
        except RASTER_ERRORS as error:
            raise InputFault("corrupt", where=self.name, reason=_reason(error)) from error
        return pixels, masks.all(axis=0)

    def overview(self, bands: Sequence[int], factor: float) -> Pixels | None:
        """The coarsest copy that a raster on a server holds of itself, with pixels of at most so many of its own.

        On a disk all pixels are read: how overviews were made is unknown, and there they save little.
        """
        levels = self.dataset.overviews(bands[0]) if is_far(self.name) else []
        fitting = [number for number, level in enumerate(levels) if level <= factor * (1 + 1e-6)]
        if not fitting:
            return None
        dataset = _open(self.name, OVERVIEW_LEVEL=max(fitting, key=levels.__getitem__))
        return _Overview(self, dataset)

    def bytes_under(self, bands: Sequence[int], rows: float) -> float:
        """Decoded blocks under so many rows from side to side, where blocks are as wide as the raster; else 0."""
        dataset = self.dataset
        tall, wide = dataset.block_shapes[bands[0] - 1]
        if wide < dataset.width:
            return 0.0
        pixel = sum(np.dtype(self.dtype(band)).itemsize for band in bands)
        if dataset.interleaving and dataset.interleaving.value == "PIXEL":
            pixel = sum(np.dtype(self.dtype(band)).itemsize for band in dataset.indexes)
        return float((rows + 2 * tall) * wide * pixel)

    def members(self) -> Iterator[str]:
        """The files that it is made of, those of virtual rasters in virtual rasters included."""
        return with_members(self.files, _files)

    def close(self) -> None:
        """Release the file."""
        self.dataset.close()


class _Overview(RasterPixels):
    """A coarser copy inside a file."""

    def __init__(self, whole: RasterPixels, dataset: rasterio.DatasetReader) -> None:
        self.__dict__.update(whole.__dict__, dataset=dataset)
        (height, width), (tall, wide) = dataset.shape, whole.grid.shape
        self.grid = replace(whole.grid.scaled(tall / height, wide / width), height=height, width=width)


def masked_bands(dataset: rasterio.DatasetReader, bands: Sequence[int]) -> list[int]:
    """Those with a mask of their own or of the file."""
    return [band for band in bands if is_mask(sum(dataset.mask_flag_enums[band - 1]))]


def _files(where: str) -> list[str]:
    try:
        with closing(_open(where)) as dataset:
            return list(dataset.files)
    except InputFault:  # which is reported where its pixels are read
        return []


def _open(where: str, **options: object) -> rasterio.DatasetReader:
    if is_path(where) and not Path(where).exists():
        raise InputFault("no_such_file", where=where)
    try:
        with warnings.catch_warnings(), undecodable_messages_ignored():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # _place reports it
            dataset = rasterio.open(where, **options)
            if not dataset.count and dataset.subdatasets:
                dataset = rasterio.open(container(dataset.subdatasets) or where, **options)
            dataset.transform  # noqa: B018  # GDAL reads it late
    except RASTER_ERRORS as error:
        raise InputFault.worded(f"{where}: cannot be read as a raster ({_reason(error)})") from error
    if not dataset.count:
        inside = ", ".join(dataset.subdatasets[:20])
        raise InputFault.worded(
            f"{where}: " + (f"contains several rasters, {inside}; name one of them" if inside else "contains no raster")
        )
    return dataset


def _band_facts(dataset: rasterio.DatasetReader) -> list[BandFacts]:
    bands = zip(dataset.indexes, dataset.descriptions, dataset.colorinterp)
    return [
        BandFacts.of(text or "", color.name, {**dataset.tags(number), **dataset.tags(number, ns="IMAGERY")})
        for number, text, color in bands
    ]


def _reason(error: BaseException) -> str:
    """First line of GDAL's own message, which rasterio's hides."""
    return first_line(error.__cause__ or error)


@contextmanager
def undecodable_messages_ignored() -> Iterator[None]:
    """Within it rasterio prints nothing about a GDAL message that it cannot decode.

    GDAL quotes bytes of a corrupt file. rasterio 1.4 decodes its messages as UTF-8 in a C callback; where that
    fails, Cython prints the error through both hooks of ``sys`` and continues. All threads share one filter: the first
    installs it, the last removes it. Everything else still reaches the former hooks.
    """
    global _hooks_users, _restore
    with _hooks_lock:
        if not _hooks_users:
            _restore = _install()
        _hooks_users += 1
    try:
        yield
    finally:
        with _hooks_lock:
            _hooks_users -= 1
            if not _hooks_users:
                _restore()


def _install() -> Callable[[], None]:
    excepthook, unraisablehook = sys.excepthook, sys.unraisablehook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if kind is not UnicodeDecodeError or trace is not None:  # one raised in Python has a traceback
            excepthook(kind, error, trace)

    def show_unraisable(unraisable: Any) -> None:
        if unraisable.exc_type is not UnicodeDecodeError or "rasterio" not in str(unraisable.object):
            unraisablehook(unraisable)

    def restore() -> None:
        if sys.excepthook is show:  # else somebody else took over meanwhile
            sys.excepthook = excepthook
        if sys.unraisablehook is show_unraisable:
            sys.unraisablehook = unraisablehook

    sys.excepthook, sys.unraisablehook = show, show_unraisable
    return restore

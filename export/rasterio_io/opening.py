"""Rasters as rasterio opens them, and what it says of their bands: what predictions and chip stores share."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from export.rasterio_io.vrt import container, values_alone
from export.runtime.errors import InputFault, first_line
from export.runtime.raster.gaps import is_mask
from export.runtime.raster.names import is_path

# rasterio raises SystemError where GDAL fails without a message, ValueError for a file it cannot open.
RASTER_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError, MemoryError, SystemError)
_hooks_lock = threading.Lock()
_hooks_users = 0
_restore: Callable[[], None]


def open_dataset(where: str, **options: object) -> rasterio.DatasetReader:
    """Open what GDAL knows by this name; a file of several rasters on one grid as a virtual raster of them.

    Raises:
        InputFault: it cannot be read, or holds no raster, or several on different grids.
    """
    if is_path(where) and not Path(where).exists():
        raise InputFault("no_such_file", where=where)
    try:
        with warnings.catch_warnings(), undecodable_messages_ignored():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # callers that need a place report it
            dataset = rasterio.open(where, **options)
            if not dataset.count and dataset.subdatasets:
                dataset = rasterio.open(container(dataset.subdatasets) or where, **options)
            dataset.transform  # noqa: B018  # GDAL reads it late
    except RASTER_ERRORS as error:
        raise InputFault.worded(f"{where}: cannot be read as a raster ({reason_of(error)})") from error
    if not dataset.count:
        inside = ", ".join(dataset.subdatasets[:20])
        raise InputFault.worded(
            f"{where}: " + (f"contains several rasters, {inside}; name one of them" if inside else "contains no raster")
        )
    return dataset


def on_grid(dataset: rasterio.DatasetReader) -> rasterio.DatasetReader:
    """The raster itself, or warped where it lies on control points instead of a grid.

    Then all stored values are warped, those of gaps and of an alpha band too, and the mask into one more band.

    Raises:
        InputFault: the points give no grid.
    """
    points, crs = dataset.gcps
    if dataset.crs is not None or not points or crs is None:
        return dataset
    try:
        return WarpedVRT(rasterio.open(values_alone(dataset)), add_alpha=True)
    except RASTER_ERRORS as error:
        raise InputFault("bad_coordinates", where=dataset.name) from error


def dtype_of(dataset: rasterio.DatasetReader, band: int) -> str:
    """Numpy's name of the type of a band's values."""
    name = str(dataset.dtypes[band - 1])
    return "complex64" if name.startswith("complex_int") else name


def stated_nodata(dataset: rasterio.DatasetReader, band: int) -> float | None:
    """The value that a file states for no data in a band."""
    value = dataset.nodatavals[band - 1]
    if value is None and MaskFlags.nodata in dataset.mask_flag_enums[band - 1]:
        return int(np.iinfo(dtype_of(dataset, band)).max)  # rasterio drops the highest number of 64 bits
    return None if value is None else float(value)


def read_bands(dataset: rasterio.DatasetReader, bands: Sequence[int], window: Window) -> np.ndarray:
    """Stored values of a window, (bands, rows, columns), in the common type of the bands."""
    bands = list(bands)
    if len({dataset.dtypes[band - 1] for band in bands}) == 1:
        return dataset.read(bands, window=window)
    return np.stack([dataset.read(band, window=window) for band in bands])  # rasterio reads one type at a time


def masked_bands(dataset: rasterio.DatasetReader, bands: Sequence[int]) -> list[int]:
    """Those with a mask of their own or of the file."""
    flags = dataset.mask_flag_enums  # of all bands, made anew at every look
    return [band for band in bands if is_mask(sum(flags[band - 1]))]


def reason_of(error: BaseException) -> str:
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

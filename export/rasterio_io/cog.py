"""Writes rows of pixels as Cloud-Optimized GeoTIFFs."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from export.rasterio_io.grid import Grid, raster_window
from export.runtime.errors import InputFault, first_line
from export.runtime.model.providers import cores
from export.runtime.raster.window import Window
from export.runtime.results.vectors import KeepGoing
from export.runtime.results.writing import MADE_BY

BLOCK = 512  # px: side of a block of the result
# What rasterio raises when a file cannot be written; a ValueError there is a mistake in the call.
WRITE_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around calls of rasterio that write: their failure is a fault "write_failed"."""
    try:
        yield
    except WRITE_ERRORS as error:
        raise InputFault("write_failed", where=path.name, reason=first_line(error)) from error


def cog_options(dtype: str, overviews: str) -> dict[str, object]:
    """How a COG is written; ``overviews`` is GDAL's name of the resampling: MODE for classes, AVERAGE for numbers."""
    options = {"compress": "DEFLATE", "blocksize": BLOCK, "overview_resampling": overviews, "bigtiff": "IF_SAFER"}
    options |= {"num_threads": str(cores())}  # the same bytes
    return options | ({"predictor": "FLOATING_POINT"} if dtype.startswith("float") else {})


class RasterioWriter:
    """A plain GeoTIFF that is filled from top to bottom, then turned into a COG; see ``writing.RasterWriter``."""

    def __init__(
        self,
        path: Path,
        grid: Grid,
        dtype: str,
        nodata: float,
        names: Sequence[str],
        colors: Mapping[int, tuple[int, int, int]] | None = None,
        rgb: bool = False,
    ) -> None:
        """Begin it; see ``writing.RasterWriter``."""
        self.path, self.grid, self.dtype, self._names = path, grid, dtype, names
        profile = {
            "driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(names), "dtype": dtype,
            "nodata": nodata, "crs": None if grid.wkt_beside else grid.crs, "transform": grid.transform, "compress": "DEFLATE",
            "zlevel": 1,  # read again and compressed well a moment later
            "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "bigtiff": "IF_SAFER", "interleave": "band",
        }  # fmt: skip
        self._sums = [0] * len(names)  # CRC-32 of each band's rows: a full disk may lose blocks silently
        with writing(path):
            self._file = rasterio.open(path, "w+", **profile)
            self._file.update_tags(TIFFTAG_SOFTWARE=MADE_BY)
            for number, name in enumerate(names, start=1):
                self._file.set_band_description(number, name)
            if colors:
                self._file.write_colormap(1, {value: (*color, 255) for value, color in colors.items()})
            if rgb:
                self._file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]

    def write(self, top: int, rows: np.ndarray) -> None:
        """Write (rows, width) or (bands, rows, width)."""
        layers = rows if rows.ndim == 3 else rows[None]
        with writing(self.path):
            self._file.write(layers, window=raster_window(Window(top, 0, layers.shape[1], self.grid.width)))
        self._sums = [zlib.crc32(np.ascontiguousarray(layer), before) for layer, before in zip(layers, self._sums)]

    def read(self, top: int, rows: int) -> np.ndarray:
        """(bands, rows, width) of what was written."""
        with writing(self.path):
            return self._file.read(window=raster_window(Window(top, 0, rows, self.grid.width)))

    def close(self) -> None:
        """Write everything to the disk."""
        with writing(self.path):
            self._file.close()

    def discard(self) -> None:
        """Release the file, whatever state it is in."""
        try:
            self._file.close()
        except WRITE_ERRORS:  # the file is removed anyway; what went wrong was raised before
            logging.getLogger(__name__).debug("closing failed", exc_info=True)

    def to_cog(self, out: Path, overviews: str, keep_going: KeepGoing) -> None:
        """Copy it into a COG, compare that with what was written, and remove the plain file."""
        self.close()
        with writing(self.path):
            rasterio.shutil.copy(self.path, out, driver="COG", **cog_options(self.dtype, overviews))
            self.path.unlink()
            with rasterio.open(out) as written:
                shape = (*written.shape, written.count)
            if shape != (*self.grid.shape, len(self._names)) or checksums(out) != self._sums:
                raise InputFault("incomplete", where=out.name)


def checksums(path: Path) -> list[int]:
    """CRC-32 of each band's rows."""
    sums = []
    with rasterio.open(path) as source:
        for number in range(1, source.count + 1):
            value = 0
            for strip in Window(0, 0, *source.shape).strips(BLOCK):
                value = zlib.crc32(np.ascontiguousarray(source.read(number, window=raster_window(strip))), value)
            sums.append(value)
    return sums

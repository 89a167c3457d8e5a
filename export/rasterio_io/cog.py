"""Writes rows of pixels as Cloud-Optimized GeoTIFFs."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterWindow

from export.rasterio_io.grid import Grid
from export.runtime.errors import InputFault

BLOCK = 512  # px: side of a block of the result


def cog_options(dtype: str, overviews: str) -> dict[str, object]:
    """How a COG is written.

    Args:
        dtype: of its pixels.
        overviews: GDAL's name of the resampling: MODE for classes, AVERAGE for numbers.
    """
    options = {"compress": "DEFLATE", "blocksize": BLOCK, "overview_resampling": overviews, "bigtiff": "IF_SAFER"}
    return options | ({"predictor": "FLOATING_POINT"} if dtype.startswith("float") else {})


class RowWriter:
    """A plain GeoTIFF that is filled from top to bottom, then turned into a COG.

    A COG's overviews stand before its pixels, so it cannot be written in one go.
    """

    def __init__(self, path: Path, grid: Grid, dtype: str, nodata: float, names: list[str]) -> None:
        self.path, self.grid, self.names = path, grid, names
        profile = {
            "driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(names), "dtype": dtype,
            "nodata": nodata, "crs": grid.crs, "transform": grid.transform, "compress": "DEFLATE",
            "zlevel": 1,  # read again and compressed well a moment later
            "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "bigtiff": "IF_SAFER", "interleave": "band",
        }  # fmt: skip
        self._file = rasterio.open(path, "w", **profile)
        self._sums = [0] * len(names)  # CRC-32 of each band's rows: a full disk may lose blocks without a word
        for number, name in enumerate(names, start=1):
            self._file.set_band_description(number, name)

    def color(self, colors: dict[int, tuple[int, int, int, int]]) -> None:
        """Give the only band a colour table."""
        self._file.write_colormap(1, colors)

    def write(self, top: int, rows: np.ndarray) -> None:
        """Write (rows, width) or (bands, rows, width)."""
        layers = rows if rows.ndim == 3 else rows[None]
        self._file.write(layers, window=RasterWindow(0, top, self.grid.width, layers.shape[1]))
        self._sums = [zlib.crc32(np.ascontiguousarray(layer), before) for layer, before in zip(layers, self._sums)]

    def close(self) -> None:
        """Bring everything to the disk."""
        self._file.close()

    def to_cog(self, out: Path, overviews: str) -> None:
        """Copy it into a COG and read that back.

        Args:
            out: file to write.
            overviews: GDAL's name of the resampling: MODE for classes, AVERAGE for numbers.
        """
        self.close()
        rasterio.shutil.copy(self.path, out, driver="COG", **cog_options(self._file.dtypes[0], overviews))
        self.path.unlink()
        self._check(out)

    def _check(self, path: Path) -> None:
        """Read back what was written.

        Raises:
            InputFault: it is not the same.
        """
        with rasterio.open(path) as written:
            for number, expected in enumerate(self._sums, start=1):
                found = 0
                for top in range(0, written.height, BLOCK):
                    window = RasterWindow(0, top, written.width, min(BLOCK, written.height - top))
                    found = zlib.crc32(written.read(number, window=window), found)
                if (written.shape, written.count, found) != (self.grid.shape, len(self.names), expected):
                    raise InputFault(f"{path.name}: could not be written whole")

"""Writes rows of pixels as Cloud-Optimized GeoTIFFs."""

import zlib
from pathlib import Path
from typing import Callable, Dict, Sequence, Tuple

import numpy as np
from osgeo import gdal, osr

from ..runtime.errors import Cancelled, InputFault
from ..texts import tr
from .calls import ask
from .grid import Grid

BLOCK = 512  # px: side of a block of the result
GoOn = Callable[[], bool]
_TYPES = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "int32": gdal.GDT_Int32, "float32": gdal.GDT_Float32}


class RowWriter:
    """A plain GeoTIFF that is filled from top to bottom, then turned into a COG.

    A COG's overviews stand before its pixels, so it cannot be written in one go.
    """

    def __init__(self, path: Path, grid: Grid, dtype: str, nodata: float, names: Sequence[str]) -> None:
        self.path, self.grid, self.dtype, self.names = path, grid, dtype, list(names)
        self._failed = tr("The result cannot be written")
        self._file = create(path, grid, dtype, len(self.names), nodata)
        for number, name in enumerate(self.names, start=1):
            self._file.GetRasterBand(number).SetDescription(name)
        self._sums = [0] * len(self.names)  # CRC-32 of each band's rows: a full disk may lose blocks without a word

    def color(self, colors: Dict[int, Tuple[int, int, int, int]]) -> None:
        """Give the first band a colour table."""
        table = gdal.ColorTable()
        for value, color in colors.items():
            table.SetColorEntry(value, color)
        self._file.GetRasterBand(1).SetColorTable(table)

    def as_picture(self) -> None:
        """Say that the three bands are red, green and blue."""
        for number, color in enumerate((gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand), start=1):
            self._file.GetRasterBand(number).SetColorInterpretation(color)

    def write(self, top: int, rows: np.ndarray) -> None:
        """Write (rows, width) or (bands, rows, width)."""
        layers = rows if rows.ndim == 3 else rows[None]
        for number, layer in enumerate(layers, start=1):
            layer = np.ascontiguousarray(layer)
            ask(self._failed, self._file.GetRasterBand(number).WriteArray, layer, 0, top)
            self._sums[number - 1] = zlib.crc32(layer, self._sums[number - 1])

    def read(self, top: int, rows: int) -> np.ndarray:
        """(bands, rows, width) of what was written."""
        values = ask(self._failed, self._file.ReadAsArray, 0, top, self.grid.width, rows)
        return values.reshape(len(self.names), rows, self.grid.width)

    def flush(self) -> Path:
        """Bring everything to the disk; the file can then be opened by others too."""
        ask(self._failed, self._file.FlushCache)
        return self.path

    def close(self) -> None:
        """Let go of the file, which Windows wants before it can be removed."""
        self._file = None

    def to_cog(self, out: Path, overviews: str, go_on: GoOn) -> None:
        """Copy it into a COG and read that back.

        Args:
            out: file to write.
            overviews: GDAL's name of the resampling: MODE for classes, AVERAGE for numbers.
            go_on: False cancels.

        Raises:
            InputFault: it cannot be written whole.
            Cancelled: ``go_on`` returned False.
        """
        self.flush()
        options = ["COMPRESS=DEFLATE", f"BLOCKSIZE={BLOCK}", f"OVERVIEW_RESAMPLING={overviews}", "BIGTIFF=IF_SAFER"]
        if self.dtype.startswith("float"):
            options.append("PREDICTOR=FLOATING_POINT")
        driver = gdal.GetDriverByName("COG")
        try:
            copy = ask(self._failed, driver.CreateCopy, str(out), self._file, 0, options, lambda *_: int(go_on()))
        except InputFault:
            if go_on():
                raise
            raise Cancelled("cancelled") from None
        if copy is None:
            raise Cancelled("cancelled") if not go_on() else InputFault(self._failed)
        copy = None
        self.close()
        self.path.unlink()
        self._check(out)

    def _check(self, path: Path) -> None:
        """Read back what was written: a file cut off in the middle opens well and reads as empty."""
        broken = tr("{name}: could not be written whole").format(name=path.name)
        written = ask(broken, gdal.Open, str(path))
        for number, expected in enumerate(self._sums, start=1):
            found = 0
            for top in range(0, written.RasterYSize, BLOCK):
                box = (0, top, written.RasterXSize, min(BLOCK, written.RasterYSize - top))
                found = zlib.crc32(
                    np.ascontiguousarray(ask(broken, written.GetRasterBand(number).ReadAsArray, *box)), found
                )
            size = (written.RasterYSize, written.RasterXSize, written.RasterCount)
            if (*size, found) != (*self.grid.shape, len(self.names), expected):
                raise InputFault(broken)


def create(path: Path, grid: Grid, dtype: str, bands: int, nodata: float):
    """A GeoTIFF for the moment, quickly compressed: it is read again soon."""
    options = [
        "TILED=YES", f"BLOCKXSIZE={BLOCK}", f"BLOCKYSIZE={BLOCK}", "COMPRESS=DEFLATE", "ZLEVEL=1", "INTERLEAVE=BAND",
        "BIGTIFF=IF_SAFER",
    ]  # fmt: skip
    driver, failed = gdal.GetDriverByName("GTiff"), tr("The result cannot be written")
    target = ask(failed, driver.Create, str(path), grid.width, grid.height, bands, _TYPES[dtype], options)
    target.SetSpatialRef(osr.SpatialReference(grid.crs))
    target.SetGeoTransform(grid.geotransform)
    for number in range(1, bands + 1):
        target.GetRasterBand(number).SetNoDataValue(nodata)
    return target

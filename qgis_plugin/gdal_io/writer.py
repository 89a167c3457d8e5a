"""Writes rows of pixels as Cloud-Optimized GeoTIFFs."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

import numpy as np
from osgeo import gdal, osr

from ..runtime.errors import InputFault
from ..runtime.results.vectors import KeepGoing
from ..runtime.results.writing import MADE_BY
from .calls import ask, cancellable
from .grid import LayerGrid

BLOCK = 512  # px: side of a block of the result
_TYPES = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "int32": gdal.GDT_Int32, "float32": gdal.GDT_Float32}
_RGB = (gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand)


class GdalWriter:
    """A plain GeoTIFF that is filled from top to bottom, then turned into a COG; see ``writing.RasterWriter``."""

    def __init__(
        self,
        path: Path,
        grid: LayerGrid,
        dtype: str,
        nodata: float,
        names: Sequence[str],
        colors: Optional[Mapping[int, tuple[int, int, int]]] = None,
        rgb: bool = False,
    ) -> None:
        self.path, self.grid, self.dtype = path, grid, dtype
        self._sums = [0] * len(names)  # CRC-32 of each band's rows: a full disk may lose blocks silently
        options = [
            "TILED=YES", f"BLOCKXSIZE={BLOCK}", f"BLOCKYSIZE={BLOCK}", "COMPRESS=DEFLATE", "INTERLEAVE=BAND",
            "ZLEVEL=1",  # read again and compressed well a moment later
            "BIGTIFF=IF_SAFER",
        ]  # fmt: skip
        size = (grid.width, grid.height, len(names), _TYPES[dtype], options)
        self._file = self._do(gdal.GetDriverByName("GTiff").Create, str(path), *size)
        if not grid.wkt_beside:
            self._file.SetSpatialRef(osr.SpatialReference(grid.crs))
        self._file.SetGeoTransform(grid.geotransform)
        self._file.SetMetadataItem("TIFFTAG_SOFTWARE", MADE_BY)
        for number, name in enumerate(names, start=1):
            band = self._file.GetRasterBand(number)
            band.SetNoDataValue(nodata)
            band.SetDescription(name)
            if rgb:
                band.SetColorInterpretation(_RGB[number - 1])
        if colors:
            table = gdal.ColorTable()
            for value, color in colors.items():
                table.SetColorEntry(value, (*color, 255))
            self._file.GetRasterBand(1).SetColorTable(table)

    def write(self, top: int, rows: np.ndarray) -> None:
        layers = rows if rows.ndim == 3 else rows[None]
        for number, layer in enumerate(layers):
            layer = np.ascontiguousarray(layer)
            self._do(self._file.GetRasterBand(number + 1).WriteArray, layer, 0, top)
            self._sums[number] = zlib.crc32(layer, self._sums[number])

    def read(self, top: int, rows: int) -> np.ndarray:
        values = self._do(self._file.ReadAsArray, 0, top, self.grid.width, rows)
        return values.reshape(len(self._sums), rows, self.grid.width)

    def close(self) -> None:
        if self._file is not None:
            self._do(self._file.FlushCache)
        self._file = None

    def discard(self) -> None:
        """Release the file, which Windows wants before it can be removed."""
        self._file = None

    def to_cog(self, out: Path, overviews: str, keep_going: KeepGoing) -> None:
        self._do(self._file.FlushCache)
        options = ["COMPRESS=DEFLATE", f"BLOCKSIZE={BLOCK}", f"OVERVIEW_RESAMPLING={overviews}", "BIGTIFF=IF_SAFER"]
        options.append("NUM_THREADS=ALL_CPUS")  # the same bytes
        if self.dtype.startswith("float"):
            options.append("PREDICTOR=FLOATING_POINT")
        create = gdal.GetDriverByName("COG").CreateCopy
        copy = cancellable(keep_going, "write_failed", out.name, create, str(out), self._file, 0, options)
        if copy is None:
            raise InputFault("incomplete", where=out.name)
        copy = None
        self.discard()
        self.path.unlink()
        self._check(out)

    def _check(self, path: Path) -> None:
        """Read back what was written: a file cut off in the middle opens well and reads as empty."""
        written = ask("write_failed", path.name, gdal.Open, str(path))
        if (written.RasterYSize, written.RasterXSize, written.RasterCount) != (*self.grid.shape, len(self._sums)):
            raise InputFault("incomplete", where=path.name)
        for number, expected in enumerate(self._sums, start=1):
            value = 0
            for strip in self.grid.whole.strips(BLOCK):
                box = (0, strip.row, strip.width, strip.height)
                rows = ask("write_failed", path.name, written.GetRasterBand(number).ReadAsArray, *box)
                value = zlib.crc32(np.ascontiguousarray(rows), value)
            if value != expected:
                raise InputFault("incomplete", where=path.name)

    def _do(self, call, *arguments):
        return ask("write_failed", self.path.name, call, *arguments)

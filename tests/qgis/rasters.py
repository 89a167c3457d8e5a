"""Small rasters for the tests, written and read with GDAL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from osgeo import gdal, osr

UTM = 32633
TRANSFORM = (500_000, 10, 0, 5_000_000, 0, -10)
TYPES = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "int16": gdal.GDT_Int16, "float32": gdal.GDT_Float32}


def write(
    path: Path,
    pixels: np.ndarray,
    nodata: float | None = None,
    epsg: int | None = UTM,
    names: tuple | None = None,
    transform: tuple = TRANSFORM,
    alpha: bool = False,
) -> Path:
    """Write (bands, rows, columns) as a GeoTIFF; three bands are named red, green and blue by default."""
    bands, rows, columns = pixels.shape
    if names is None and bands == 3:
        names = ("red", "green", "blue")
    target = gdal.GetDriverByName("GTiff").Create(
        str(path), columns, rows, bands, TYPES[pixels.dtype.name], ["PHOTOMETRIC=MINISBLACK", "ALPHA=NO"]
    )
    if epsg:
        srs = osr.SpatialReference()
        srs.ImportFromEPSG(epsg)
        target.SetProjection(srs.ExportToWkt())
        target.SetGeoTransform(transform)
    for number in range(1, bands + 1):
        band = target.GetRasterBand(number)
        band.WriteArray(pixels[number - 1])
        if nodata is not None:
            band.SetNoDataValue(nodata)
        if names:
            band.SetDescription(names[number - 1])
    if alpha:
        target.GetRasterBand(bands).SetColorInterpretation(gdal.GCI_AlphaBand)
    target.FlushCache()
    return path


def band(path: Path, number: int = 1) -> np.ndarray:
    """One band as (rows, columns)."""
    dataset = gdal.Open(str(path))  # kept: a band dies with its dataset
    return dataset.GetRasterBand(number).ReadAsArray()

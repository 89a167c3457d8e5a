"""Maps of a view as rasters in memory, each under a name of its own: QGIS may still draw the one before."""

import uuid
from math import ceil
from typing import Optional

import numpy as np
from osgeo import gdal, osr

from ....gdal_io.calls import ask
from ....gdal_io.grid import LayerGrid
from .view import LayerView

HATCH_PX = 9  # of the screen, from one line of the hatch to the next
_TYPES = {"uint8": gdal.GDT_Byte, "float32": gdal.GDT_Float32}


def write_map(seen: LayerGrid, view: LayerView, values: np.ndarray, nodata: Optional[float]) -> str:
    """Write (rows, columns) uint8 or float32 that cover a view, as far as the layer reaches; the path in GDAL's memory."""
    path, window = f"/vsimem/geoaware-{uuid.uuid4().hex}.tif", view.window
    cell = window.height / len(values)
    rows = min(values.shape[0], ceil((seen.height - window.row) / cell))
    columns = min(values.shape[1], ceil((seen.width - window.column) / cell))
    values = np.ascontiguousarray(values[:rows, :columns])
    grid = seen.crop(window).scaled(cell, cell)
    create = gdal.GetDriverByName("GTiff").Create
    raster = ask("write_failed", path, create, path, columns, rows, 1, _TYPES[values.dtype.name], ["TILED=YES"])
    raster.SetSpatialRef(osr.SpatialReference(grid.crs))
    raster.SetGeoTransform(grid.geotransform)
    if nodata is not None:
        raster.GetRasterBand(1).SetNoDataValue(nodata)
    ask("write_failed", path, raster.GetRasterBand(1).WriteArray, values)
    ask("write_failed", path, raster.FlushCache)
    return path


def remove(path: str) -> None:
    """Free the memory of a map; one that is still drawn is kept by GDAL until then."""
    for file in (path, f"{path}.aux.xml"):  # in which QGIS keeps statistics
        if gdal.VSIStatL(file) is not None:
            gdal.Unlink(file)


def hatched(view: LayerView, unlike: np.ndarray, cell_px: float) -> np.ndarray:
    """Lines across what is ``unlike``, (rows, columns) bool of places: 1 on a line, 0 elsewhere.

    ``cell_px`` is the size of a cell on the screen. Lines are of the raster, so that they stay when the view moves.
    """
    parts = 1 if view.step else view.factor  # px, so that the lines end with the layer
    times = parts * max(1, min(8, round(cell_px / parts / 2)))  # cells larger than lines are cut into smaller ones
    spacing = max(3, round(HATCH_PX * times / max(cell_px, 0.1)))
    unlike = unlike.repeat(times, axis=0).repeat(times, axis=1)
    top, left = (start // view.coarse * times for start in (view.window.row, view.window.column))
    rows, columns = top + np.arange(unlike.shape[0]), left + np.arange(unlike.shape[1])
    line = np.add.outer(rows, columns) % spacing < max(1, spacing // 4)
    return (unlike & line).astype(np.uint8)

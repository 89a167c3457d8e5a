"""The patches of a map as polygons in a GeoPackage, along the edges of the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.features import shapes
from rasterio.windows import Window as RasterWindow

from export.rasterio_io.grid import Grid
from export.runtime.errors import InputFault
from export.runtime.raster.legend import LandClass
from export.runtime.raster.patches import Patches, Runs, find_patches, row_blocks
from export.runtime.results.gpkg_style import add_style

BATCH = 20_000  # polygons written at once
LAYER = "land_cover"
_FIELDS = ["class", "name", "pixels", "area_m2", "confidence"]


def write_polygons(
    out: Path, classes: Path, confidence: Path, grid: Grid, legend: tuple[LandClass, ...], nodata: int, least: float
) -> int:
    """Trace a map.

    Args:
        out: GeoPackage to write.
        classes: raster of classes.
        confidence: raster of per cent, on the same grid.
        grid: of both.
        legend: names of the classes.
        nodata: of the classes.
        least: square metres; smaller patches go to their largest neighbour.

    Returns:
        Number of polygons.

    Raises:
        InputFault: what was written is not whole.
    """
    patches = find_patches(Runs.of(_blocks(classes, confidence, grid.height), nodata), grid.row_areas, least)
    names = {entry.value: entry.name for entry in legend}
    numbers = out.with_name(f"{out.stem}-patches.tif")
    _write_numbers(numbers, patches, grid)
    count = 0
    try:
        with rasterio.open(numbers) as source:
            outlines = shapes(rasterio.band(source, 1), connectivity=4, transform=grid.transform)
            traced = ((shape, int(number) - 1) for shape, number in outlines if number > 0)
            while batch := list(islice(traced, BATCH)):
                _write_batch(out, batch, patches, names, grid, append=count > 0)
                count += len(batch)
    finally:
        numbers.unlink(missing_ok=True)
    if not count:
        _write_batch(out, [], patches, names, grid, append=False)
    if count != len(patches.value) or pyogrio.read_info(out, layer=LAYER)["features"] != count:
        raise InputFault(f"{out.name}: could not be written whole")
    add_style(out, LAYER, legend)
    return count


def _blocks(classes: Path, confidence: Path, height: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with rasterio.open(classes) as one, rasterio.open(confidence) as other:
        for top, rows in row_blocks(height):
            window = RasterWindow(0, top, one.width, rows)
            yield one.read(1, window=window), other.read(1, window=window)


def _write_numbers(path: Path, patches: Patches, grid: Grid) -> None:
    profile = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": "int32", "nodata": 0,
        "compress": "DEFLATE", "zlevel": 1, "bigtiff": "IF_SAFER", "crs": grid.crs, "transform": grid.transform,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for top, rows in row_blocks(grid.height):
            target.write(patches.rows(top, rows), 1, window=RasterWindow(0, top, grid.width, rows))


def _write_batch(out: Path, batch: list, patches: Patches, names: dict[int, str], grid: Grid, append: bool) -> None:
    numbers = np.array([number for _, number in batch], np.int64)
    outlines = np.array([shapely.Polygon(s["coordinates"][0], s["coordinates"][1:]) for s, _ in batch], object)
    # A ring that meets itself at a corner is no valid polygon: there the patch has a hole, or another part.
    outlines = np.where(shapely.is_valid(outlines), outlines, shapely.make_valid(outlines)) if batch else outlines
    values = patches.value[numbers].astype(np.int32)
    columns = [
        values,
        np.array([names.get(value, str(value)) for value in values.tolist()], object),
        patches.pixels[numbers],
        patches.area[numbers],
        np.round(patches.confidence[numbers], 2),
    ]
    pyogrio.raw.write(
        out, shapely.to_wkb(outlines), columns, _FIELDS, geometry_type="MultiPolygon", promote_to_multi=True,
        crs=grid.crs.to_wkt(), driver="GPKG", layer=LAYER, append=append,
    )  # fmt: skip

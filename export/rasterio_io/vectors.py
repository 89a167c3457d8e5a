"""Polygons and points: limits of a run, shapes of a file, and polygons traced with rasterio and written with pyogrio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import shapely
from rasterio.features import shapes as outlines_of

from export.rasterio_io.cog import writing
from export.rasterio_io.grid import Grid, crs_of
from export.rasterio_io.polygons import polygons_on, read_features, turn_of, vector_library
from export.runtime.errors import InputFault, first_line
from export.runtime.infer.layout import Limits
from export.runtime.raster.lattice import Bounds, eastwards
from export.runtime.raster.shapes.polygons import Polygons
from export.runtime.results.vectors import Batch, KeepGoing


@dataclass(frozen=True)
class Area:
    """An area as a user gives it, before the raster is known.

    Attributes:
        crs: of the bounds; the raster's own when None.
        mask: file of polygons.
    """

    bounds: Bounds | None = None
    crs: str | None = None
    mask: Path | None = None

    def on(self, grid: Grid, where: str) -> Limits:
        """The same area in the CRS of a raster.

        Raises:
            InputFault: it cannot be brought there, or the polygons cannot be read.
        """
        mask = read_mask(self.mask, grid) if self.mask else None
        if not self.bounds:
            return Limits(None, mask)
        crs = crs_of(self.crs) if self.crs else grid.crs
        own = pyproj.CRS.from_wkt(crs.to_wkt())
        bounds = eastwards(self.bounds, turn_of(own))
        if crs == grid.crs and not own.is_geographic:
            return Limits(bounds, mask)
        return Limits.of(polygons_on(np.array([shapely.box(*bounds)]), own, grid), mask, where)


def read_mask(path: Path, grid: Grid) -> Polygons:
    """The polygons of a file, in any CRS, on a grid.

    Raises:
        InputFault: it cannot be read, has no CRS, or holds no polygon.
    """
    state = path.stat() if path.exists() else None
    return _mask(path, grid, state and (state.st_size, state.st_mtime_ns))


@lru_cache(2)  # each block of a raster asks for it
def _mask(path: Path, grid: Grid, state: tuple[int, int] | None) -> Polygons:
    features = read_features(path, columns=[])
    if not (shapely.get_dimensions(features.shapes) == 2).any():
        raise InputFault.worded(f"{path}: holds no polygons")
    return polygons_on(features.shapes, features.crs, grid)


class PyogrioVectors:
    """See ``export.runtime.results.vectors.VectorOut``."""

    def trace(self, numbers: Path, grid: Grid, keep_going: KeepGoing) -> Iterator[tuple[Any, int]]:
        """Outlines of the connected pixels of one number in a raster, and that number; 0 is left out."""
        with writing(numbers), rasterio.open(numbers) as source:
            for shape, number in outlines_of(rasterio.band(source, 1), connectivity=4, transform=grid.transform):
                if number > 0:
                    rings = shape["coordinates"]
                    yield shapely.Polygon(rings[0], rings[1:]), int(number)

    def boxes(self, corners: np.ndarray) -> Any:
        """Polygons with four corners each, (N, 4, 2) x and y."""
        return shapely.polygons(corners) if len(corners) else np.zeros(0, object)

    def points(self, places: np.ndarray) -> Any:
        """Points at (N, 2) x and y."""
        return shapely.points(places) if len(places) else np.zeros(0, object)

    def write(
        self, out: Path, layer: str, kind: str, grid: Grid, columns: dict[str, str], batches: Iterable[Batch]
    ) -> int:
        """Write features into a new GeoPackage and count them there."""
        multi = {"promote_to_multi": True} if kind.startswith("Multi") else {}
        append = False
        pyogrio, errors = vector_library()
        for shapes_, values in batches:
            outlines = np.array(shapes_, object)
            if len(outlines):  # a ring that meets itself at a corner is no valid polygon: there the patch has a hole
                valid = shapely.is_valid(outlines)
                outlines = np.where(valid, outlines, shapely.make_valid(outlines))
            try:
                pyogrio.raw.write(
                    out, shapely.to_wkb(outlines), list(values), list(columns), geometry_type=kind,
                    crs=grid.crs.to_wkt(), driver="GPKG", layer=layer, append=append, **multi,
                )  # fmt: skip
            except errors as error:
                raise InputFault("write_failed", where=out.name, reason=first_line(error)) from error
            append = True
        return int(pyogrio.read_info(out, layer=layer)["features"])

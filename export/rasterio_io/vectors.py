"""Traces polygons with rasterio and writes them with pyogrio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from rasterio.features import shapes

from export.rasterio_io.cog import writing
from export.rasterio_io.grid import Grid
from export.runtime.errors import InputFault, first_line
from export.runtime.results.vectors import Batch, KeepGoing

PYOGRIO_ERRORS = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, OSError)


class PyogrioVectors:
    """See ``export.runtime.results.vectors.VectorOut``."""

    def trace(self, numbers: Path, grid: Grid, keep_going: KeepGoing) -> Iterator[tuple[Any, int]]:
        """Outlines of the connected pixels of one number in a raster, and that number; 0 is left out."""
        with writing(numbers), rasterio.open(numbers) as source:
            for shape, number in shapes(rasterio.band(source, 1), connectivity=4, transform=grid.transform):
                if number > 0:
                    rings = shape["coordinates"]
                    yield shapely.Polygon(rings[0], rings[1:]), int(number)

    def boxes(self, corners: np.ndarray) -> Any:
        """Polygons with four corners each, (N, 4, 2) x and y."""
        return shapely.polygons(corners) if len(corners) else np.zeros(0, object)

    def write(
        self, out: Path, layer: str, kind: str, grid: Grid, columns: dict[str, str], batches: Iterable[Batch]
    ) -> int:
        """Write features into a new GeoPackage and count them there."""
        multi = {"promote_to_multi": True} if kind.startswith("Multi") else {}
        append = False
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
            except PYOGRIO_ERRORS as error:
                raise InputFault("write_failed", where=out.name, reason=first_line(error)) from error
            append = True
        return int(pyogrio.read_info(out, layer=layer)["features"])

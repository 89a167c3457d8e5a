"""Traces polygons and writes them into GeoPackages with GDAL."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, ogr, osr

from ..runtime.errors import InputFault
from ..runtime.results.vectors import Batch, KeepGoing
from .calls import ask, cancellable
from .grid import LayerGrid, same_crs

_KINDS = {"Point": ogr.wkbPoint, "Polygon": ogr.wkbPolygon, "MultiPolygon": ogr.wkbMultiPolygon}
_TYPES = {"int32": ogr.OFTInteger, "int64": ogr.OFTInteger64, "float64": ogr.OFTReal, "str": ogr.OFTString}


class GdalVectors:
    """See ``runtime.results.vectors.VectorOut``."""

    def trace(self, numbers: Path, grid: LayerGrid, keep_going: KeepGoing) -> Iterator[tuple[Any, int]]:
        memory = memory_vectors()
        outlines = memory.CreateLayer("patches", osr.SpatialReference(grid.crs), ogr.wkbPolygon)
        outlines.CreateField(ogr.FieldDefn("patch", ogr.OFTInteger))
        raster = ask("write_failed", numbers.name, gdal.Open, str(numbers))
        band = raster.GetRasterBand(1)
        arguments = (band, band.GetMaskBand(), outlines, 0, [])  # type: tuple
        cancellable(keep_going, "write_failed", numbers.name, gdal.Polygonize, *arguments)
        for feature in outlines:
            yield feature.GetGeometryRef().Clone(), feature.GetField(0)

    def boxes(self, corners: np.ndarray) -> list[Any]:
        rings = (", ".join(f"{x!r} {y!r}" for x, y in (*ring, ring[0])) for ring in corners.tolist())
        return [ogr.CreateGeometryFromWkt(f"POLYGON (({ring}))") for ring in rings]

    def points(self, places: np.ndarray) -> list[Any]:
        return [ogr.CreateGeometryFromWkt(f"POINT ({x!r} {y!r})") for x, y in places.tolist()]

    def write(
        self, out: Path, layer: str, kind: str, grid: LayerGrid, columns: dict[str, str], batches: Iterable[Batch]
    ) -> int:
        """Write features into a new GeoPackage and count them there."""

        def do(call, *arguments):
            return ask("write_failed", out.name, call, *arguments)

        file = do(ogr.GetDriverByName("GPKG").CreateDataSource, str(out))
        srs = osr.SpatialReference(grid.crs)
        try:
            target = do(file.CreateLayer, layer, srs, _KINDS[kind], ["GEOMETRY_NAME=geom"])
        except InputFault:  # GDAL 3.6 writes a derived CRS as WKT 2, and complains that WKT 1 cannot hold it
            target = file.GetLayerByName(layer)
            if target is None or not same_crs(target.GetSpatialRef(), srs):
                raise
        for name, of in columns.items():
            target.CreateField(ogr.FieldDefn(name, _TYPES[of]))
        definition, count = target.GetLayerDefn(), 0
        for shapes, values in batches:
            file.StartTransaction()
            for shape, *row in zip(shapes, *(column.tolist() for column in values)):
                feature = ogr.Feature(definition)
                feature.SetGeometryDirectly(_valid(shape, kind))
                for number, value in enumerate(row):
                    feature.SetField(number, value)
                do(target.CreateFeature, feature)
                count += 1
            do(file.CommitTransaction)
        if target.GetFeatureCount() != count:
            raise InputFault("incomplete", where=out.name)
        target = file = None  # closes the file
        return count


def memory_vectors():
    """A vector dataset in memory; its driver has another name in older GDAL."""
    driver = ogr.GetDriverByName("MEM") or ogr.GetDriverByName("Memory")
    if driver.GetMetadataItem(gdal.DCAP_VECTOR) != "YES":  # GDAL before 3.11: MEM holds rasters only
        driver = ogr.GetDriverByName("Memory")
    return driver.CreateDataSource("")


def _valid(shape, kind: str):
    """A ring that meets itself at a corner is no valid polygon: there the patch has a hole, or another part."""
    shape = shape.Clone() if shape.IsValid() else shape.MakeValid()
    return ogr.ForceToMultiPolygon(shape) if kind == "MultiPolygon" else shape

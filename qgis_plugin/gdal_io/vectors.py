"""Patches of a map and found objects as polygons in a GeoPackage."""

from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

import numpy as np
from osgeo import gdal, ogr, osr

from ..runtime.errors import Cancelled, InputFault
from ..runtime.raster.legend import LandClass
from ..runtime.raster.patches import Patches, Runs, find_patches, row_blocks
from ..runtime.results.gpkg_style import add_style
from ..runtime.results.rows import Objects
from ..texts import tr
from .calls import ask
from .grid import Grid
from .mask import Mask, memory_vectors
from .writer import GoOn, RowWriter, create

PATCHES, OBJECTS = "land_cover", "objects"
_BATCH = 20_000  # features written in one transaction
_PATCH_FIELDS = {
    "class": ogr.OFTInteger, "name": ogr.OFTString, "pixels": ogr.OFTInteger64, "area_m2": ogr.OFTReal,
    "confidence": ogr.OFTReal,
}  # fmt: skip
_OBJECT_FIELDS = {"class": ogr.OFTInteger, "name": ogr.OFTString, "score": ogr.OFTReal}


def write_patches(
    out: Path, classes: RowWriter, confidence: RowWriter, legend: Tuple[LandClass, ...], nodata: int, least: float,
    go_on: GoOn,
) -> int:  # fmt: skip
    """Trace a map along the edges of its pixels.

    Args:
        out: GeoPackage to write.
        classes: written rows of classes.
        confidence: written rows of per cent, on the same grid.
        legend: names and colours of the classes.
        nodata: of the classes.
        least: square metres; smaller patches go to their largest neighbour.
        go_on: False cancels.

    Returns:
        Number of polygons.

    Raises:
        InputFault: what was written is not whole.
        Cancelled: ``go_on`` returned False.
    """
    grid = classes.grid
    patches = find_patches(Runs.of(_blocks(classes, confidence), nodata), grid.row_areas, least)
    if not go_on():
        raise Cancelled("cancelled")
    names = {entry.value: entry.name for entry in legend}
    traced = memory_vectors()
    outlines = traced.CreateLayer("patches", osr.SpatialReference(grid.crs), ogr.wkbPolygon)
    outlines.CreateField(ogr.FieldDefn("patch", ogr.OFTInteger))
    _trace(out.with_name(f"{out.stem}-patches.tif"), patches, grid, outlines, go_on)

    def rows() -> Iterator[tuple]:
        for feature in outlines:
            number = feature.GetField(0) - 1
            value = int(patches.value[number])
            said = (
                int(patches.pixels[number]),
                float(patches.area[number]),
                round(float(patches.confidence[number]), 2),
            )
            yield _multi(feature.GetGeometryRef()), (value, names.get(value, str(value)), *said)

    count = _write(out, PATCHES, grid.crs, ogr.wkbMultiPolygon, _PATCH_FIELDS, rows(), go_on)
    if count != len(patches.value):
        raise InputFault(tr("{name}: could not be written whole").format(name=out.name))
    add_style(out, PATCHES, legend)
    return count


def write_objects(
    out: Path,
    found: Objects,
    grid: Grid,
    legend: Tuple[LandClass, ...],
    mask: Optional[Mask],
    go_on: GoOn,
) -> int:
    """Write boxes with class, name and score, best first.

    Args:
        out: GeoPackage to write.
        found: boxes in pixels of ``grid``.
        grid: that the model saw.
        legend: names and colours of the classes.
        mask: only objects whose middle lies in it are kept.
        go_on: False cancels.

    Returns:
        Number of boxes.
    """
    names = {entry.value: entry.name for entry in legend}

    def rows() -> Iterator[tuple]:
        for box, value, score in zip(found.boxes.astype(np.float64), found.classes.tolist(), found.scores.tolist()):
            left, top, right, bottom = box.tolist()
            if mask and not mask.holds(*grid.at((left + right) / 2, (top + bottom) / 2)):
                continue
            ring = ogr.Geometry(ogr.wkbLinearRing)
            for corner in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top)):
                ring.AddPoint_2D(*grid.at(*corner))
            polygon = ogr.Geometry(ogr.wkbPolygon)
            polygon.AddGeometry(ring)
            yield polygon, (value, names[value], round(score, 4))

    count = _write(out, OBJECTS, grid.crs, ogr.wkbPolygon, _OBJECT_FIELDS, rows(), go_on)
    add_style(out, OBJECTS, legend, outlines=True)
    return count


def _blocks(classes: RowWriter, confidence: RowWriter) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    for top, rows in row_blocks(classes.grid.height):
        yield classes.read(top, rows)[0], confidence.read(top, rows)[0]


def _trace(path: Path, patches: Patches, grid: Grid, outlines, go_on: GoOn) -> None:
    """Number the pixels of each patch in a raster, and let GDAL go round them."""
    failed = tr("The polygons cannot be made")
    numbers = create(path, grid, "int32", 1, 0)
    try:
        band = numbers.GetRasterBand(1)
        for top, rows in row_blocks(grid.height):
            ask(failed, band.WriteArray, patches.rows(top, rows), 0, top)
        ask(failed, gdal.Polygonize, band, band.GetMaskBand(), outlines, 0, [], lambda *_: int(go_on()))
    except InputFault:
        if go_on():
            raise
        raise Cancelled("cancelled") from None
    finally:
        band = numbers = None
        path.unlink()


def _multi(shape):
    """A ring that meets itself at a corner is no valid polygon: there the patch has a hole, or another part."""
    shape = shape.Clone() if shape.IsValid() else shape.MakeValid()
    return ogr.ForceToMultiPolygon(shape)


def _write(
    out: Path, layer_name: str, crs: str, kind: int, fields: Dict[str, int], rows: Iterator[tuple], go_on: GoOn
) -> int:
    """Write shapes and their values into a new GeoPackage, and count them there."""
    broken = tr("{name}: could not be written whole").format(name=out.name)
    target = ask(broken, ogr.GetDriverByName("GPKG").CreateDataSource, str(out))
    layer = ask(broken, target.CreateLayer, layer_name, osr.SpatialReference(crs), kind, ["GEOMETRY_NAME=geom"])
    for name, of in fields.items():
        layer.CreateField(ogr.FieldDefn(name, of))
    definition, count = layer.GetLayerDefn(), 0
    target.StartTransaction()
    for shape, values in rows:
        feature = ogr.Feature(definition)
        feature.SetGeometryDirectly(shape)
        for number, value in enumerate(values):
            feature.SetField(number, value)
        ask(broken, layer.CreateFeature, feature)
        count += 1
        if count % _BATCH == 0:
            if not go_on():
                raise Cancelled("cancelled")
            ask(broken, target.CommitTransaction)
            target.StartTransaction()
    ask(broken, target.CommitTransaction)
    if layer.GetFeatureCount() != count:
        raise InputFault(broken)
    layer = target = None  # closes the file
    return count

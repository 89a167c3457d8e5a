"""The GeoPackage of the labels of a raster: layer ``labels`` with the polygons, table ``classes`` with all classes.

Each change is one transaction: after a failure (a full disk, a folder that is read-only) the file holds what it held.
"""

import os
import re
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from osgeo import gdal, ogr, osr
from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry

from ...gdal_io.calls import ask
from ...runtime.errors import InputFault
from ...runtime.raster.legend import LandClass, palette
from ...texts import tr

LABELS, CLASSES = "labels", "classes"
_WKT = QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL  # type: ignore[attr-defined]  # not in qgis-stubs
_ABOUT = "geoaware_raster"  # metadata: the raster that the labels are of
_COUNTED = "SELECT 1 * fid AS number, class FROM labels WHERE class IS NOT NULL AND geom IS NOT NULL"  # as read() does


@dataclass(frozen=True)
class PaintedLabel:
    """Polygons of one class, in the CRS of the label layer."""

    value: int
    shape: QgsGeometry


@dataclass(frozen=True)
class LabelState:
    """All labels by their number, and all classes in their order."""

    labels: "dict[int, PaintedLabel]" = field(default_factory=dict)
    classes: "tuple[LandClass, ...]" = ()


class LabelsMoved(InputFault):
    """Somebody else has changed the labels in the file."""


def create(path: Path, crs: QgsCoordinateReferenceSystem, raster: str) -> None:
    """Make an empty file; ``raster`` is the source of the raster layer.

    Raises:
        InputFault: it cannot be written.
    """
    part = path.with_name(f".{path.stem}.part.gpkg")  # the whole file or none
    srs = osr.SpatialReference(crs.toWkt(_WKT))
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(_new_file(srs, raster))
        os.replace(part, path)
    except OSError as error:
        raise InputFault("write_failed", where=str(path), reason=str(error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _new_file(srs: osr.SpatialReference, raster: str) -> bytes:
    """An empty file, made in memory: on a disk SQLite would wait for each of its many steps."""
    path = f"/vsimem/{uuid.uuid4().hex}.gpkg"
    file = _ask(path, gdal.GetDriverByName("GPKG").Create, path, 0, 0, 0, gdal.GDT_Unknown)
    named = {"geom_type": ogr.wkbMultiPolygon, "options": ["GEOMETRY_NAME=geom"]}
    for table in (
        _ask(path, file.CreateLayer, LABELS, srs, **named),
        _ask(path, file.CreateLayer, CLASSES, None, geom_type=ogr.wkbNone),
    ):
        for name, kind in (("class", ogr.OFTInteger), ("name", ogr.OFTString), ("color", ogr.OFTString)):
            _ask(path, table.CreateField, ogr.FieldDefn(name, kind))
    _ask(path, file.SetMetadataItem, _ABOUT, raster)
    _ask(path, file.FlushCache)
    table = file = None
    made = gdal.VSIFOpenL(path, "rb")
    data = bytes(gdal.VSIFReadL(1, gdal.VSIStatL(path).size, made))
    gdal.VSIFCloseL(made)
    gdal.Unlink(path)
    return data


def raster_of(path: Path) -> str:
    """Source of the raster layer that a file is about; empty if it is another kind of file."""
    file = _opened(path)
    return (file.GetMetadataItem(_ABOUT) or "") if file.GetLayerByName(LABELS) and file.GetLayerByName(CLASSES) else ""


def read(path: Path) -> LabelState:
    """All labels and classes of a file.

    Raises:
        InputFault: it cannot be read, or is another kind of file.
    """
    file = _opened(path)
    tables = file.GetLayerByName(LABELS), file.GetLayerByName(CLASSES)
    if None in tables:
        raise InputFault.worded(tr("{name}: not a file of labels that this panel made.").format(name=path.name))
    labels, classes = {}, []
    for row in tables[1]:
        classes.append(LandClass(row["class"], row["name"] or str(row["class"]), _color(row)))
    for row in tables[0]:
        part = row.GetGeometryRef()
        shape = QgsGeometry()
        if part is not None and row["class"] is not None:
            shape.fromWkb(bytes(part.ExportToWkb()))
            labels[row.GetFID()] = PaintedLabel(row["class"], shape)
            if all(one.value != row["class"] for one in classes):  # labelled in another program
                classes.append(LandClass(row["class"], _free_name(row, classes), _color(row)))
    return LabelState(labels, tuple(classes))


def last_number(path: Path) -> int:
    """The highest number of a row, also of one that is no label because it has no class."""
    return max((row[0] for row in _rows(_opened(path), "SELECT MAX(fid) FROM labels") if row[0]), default=0)


def agrees(path: Path) -> bool:
    """Whether all labels have the name and the colour of their class, which is the one of their number."""
    odd = """SELECT 1 FROM labels a LEFT JOIN classes b ON a.class = b.class
        WHERE a.class IS NOT NULL AND (a.name IS NOT b.name OR a.color IS NOT b.color) LIMIT 1"""
    return not _rows(_opened(path), odd)


def _free_name(row: ogr.Feature, classes: "list[LandClass]") -> str:
    """Its name, or its number where another class has that name."""
    used = {one.name.casefold() for one in classes}
    name = row["name"] or ""
    return name if name and name.casefold() not in used else str(row["class"])


def _color(row: ogr.Feature) -> str:
    """Its colour as six digits; another one where somebody wrote anything else."""
    color = (row["color"] or "").lstrip("#")
    return color if re.fullmatch("[0-9A-Fa-f]{6}", color) else palette(row["class"])


def _rows(file: gdal.Dataset, query: str) -> "list[tuple]":
    table = ask("not_readable", file.GetDescription(), file.ExecuteSQL, query)
    found = [tuple(row[at] for at in range(row.GetFieldCount())) for row in table]
    file.ReleaseResultSet(table)
    return found


def write(path: Path, before: LabelState, after: LabelState) -> None:
    """Change a file from one state to the next, all of it or nothing.

    Raises:
        LabelsMoved: it does not hold ``before``.
        InputFault: it cannot be written; it holds ``before``.
    """
    with _changing(path) as file:
        labels, classes = file.GetLayerByName(LABELS), file.GetLayerByName(CLASSES)
        there = dict(_rows(file, _COUNTED))
        if there != {number: label.value for number, label in before.labels.items()}:
            raise LabelsMoved.worded(tr("{name}: another program has changed the labels.").format(name=path.name))
        named = {one.value: one for one in after.classes}
        changed_classes = {one.value for one in set(after.classes) ^ set(before.classes)}
        for number in before.labels.keys() - after.labels.keys():
            _ask(path, labels.DeleteFeature, number)
        for number, label in after.labels.items():
            old = before.labels.get(number)
            if old is label and label.value not in changed_classes:
                continue
            row = ogr.Feature(labels.GetLayerDefn())
            row.SetFID(number)
            _fill(row, named[label.value])
            row.SetGeometryDirectly(ogr.CreateGeometryFromWkb(bytes(label.shape.asWkb())))
            _ask(path, labels.SetFeature if old else labels.CreateFeature, row)
        if before.classes != after.classes:
            for number in [row.GetFID() for row in classes]:
                _ask(path, classes.DeleteFeature, number)
            for number, one in enumerate(after.classes, 1):
                row = ogr.Feature(classes.GetLayerDefn())
                row.SetFID(number)
                _fill(row, one)
                _ask(path, classes.CreateFeature, row)


def _fill(row: ogr.Feature, one: LandClass) -> None:
    row.SetField("class", one.value)
    row.SetField("name", one.name)
    row.SetField("color", f"#{one.color}")


@contextmanager
def _changing(path: Path):
    """The file within a transaction that is undone if anything fails."""
    file = _opened(path, gdal.OF_UPDATE)
    _ask(path, file.StartTransaction)
    try:
        yield file
        _ask(path, file.FlushCache)  # what closing the file would write, in a transaction of its own
        _ask(path, file.CommitTransaction)
    except BaseException:
        with suppress(InputFault):  # SQLite may have undone it itself
            _ask(path, file.RollbackTransaction)
        raise
    finally:
        file = None


def _opened(path: Path, flags: int = 0):
    if not path.is_file():
        raise InputFault.worded(tr("{name}: the file with the labels is gone.").format(name=path))
    return ask("not_readable", str(path), gdal.OpenEx, str(path), gdal.OF_VECTOR | flags, ["GPKG"])


def _ask(path: "Path | str", call, *arguments, **options):
    return ask("write_failed", str(path), call, *arguments, **options)

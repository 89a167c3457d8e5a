"""Polygons of a layer, in any CRS, on the grid of a raster."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Optional

import numpy as np
from osgeo import gdal, ogr, osr
from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeatureRequest,
    QgsGeometry,
    QgsLineString,
    QgsPoint,
    QgsProcessingFeatureSource,
    QgsRectangle,
)

from ..runtime.errors import InputFault
from ..runtime.infer.class_map import Shape
from ..runtime.raster.lattice import Bounds, Units
from ..runtime.raster.shapes import footprint
from ..runtime.raster.shapes.footprint import Move, Way
from ..runtime.raster.shapes.polygons import Polygons
from ..texts import tr
from .calls import ask
from .grid import LayerGrid
from .vectors import memory_vectors

_WKT = QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL  # type: ignore[attr-defined]  # not in qgis-stubs
_LONG = 10_000  # bytes of a polygon that is cut to a window before it is burnt


def read_mask(
    source: QgsProcessingFeatureSource, grid: LayerGrid, context: QgsCoordinateTransformContext, exact: float = 0.0
) -> Polygons:
    """The polygons of a feature source on a grid; ``exact`` as in ``Way``.

    Raises:
        InputFault: there is none.
    """
    name = source.sourceName()
    shapes = [polygons_of(feature.geometry(), name) for feature in features_of(source)]
    if not any(shapes):
        raise InputFault.worded(tr("'{name}' holds no polygons.").format(name=name))
    return polygons_on(shapes, source.sourceCrs(), grid, context, exact)


def read_sample(
    source: QgsProcessingFeatureSource, grid: LayerGrid, context: QgsCoordinateTransformContext, field: int
) -> tuple[list[Shape], list[Any]]:
    """The points and polygons of a feature source that are not empty, on a grid, and their values of a field.

    Raises:
        InputFault: one cannot be read.
    """
    features = [one for one in features_of(source) if not (one.geometry().isNull() or one.geometry().isEmpty())]
    shapes = [feature.geometry() for feature in features]
    units = units_on(shapes, source.sourceCrs(), grid, context, source.sourceName())
    return units, [feature.attributes()[field] for feature in features]


def units_on(
    shapes: Sequence[QgsGeometry],
    crs: QgsCoordinateReferenceSystem,
    grid: LayerGrid,
    context: QgsCoordinateTransformContext,
    name: str,
) -> list[Shape]:
    """Points and polygons of a CRS on a grid, none of them empty; ``name`` is that of their layer.

    Raises:
        InputFault: one cannot be read.
    """
    polygons = polygons_on((polygons_of(one, name) for one in shapes), crs, grid, context)
    middles = np.array([(at.x(), at.y()) for at in (one.centroid().asPoint() for one in shapes)]).reshape(-1, 2)
    points = footprint.placed(middles, grid, polygons.way).tolist()
    dimensions = [one.constGet().dimension() for one in shapes]
    return [
        Shape(None, polygons.only(number)) if dimension else Shape((x, y), polygons)
        for number, (dimension, (x, y)) in enumerate(zip(dimensions, points))
    ]


def features_of(source: QgsProcessingFeatureSource):
    """Its features, broken shapes too: ``polygons_of`` mends them, while Processing would stop, and QGIS 3.22 end, at one."""
    flag = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks  # type: ignore[attr-defined]  # not in qgis-stubs
    return source.getFeatures(QgsFeatureRequest(), flag)


def polygons_of(shape: QgsGeometry, name: str) -> list[QgsGeometry]:
    """The valid polygons of a shape one by one, of collections and curves too.

    Part by part: of polygons that overlap, making them valid together would cut the overlap out.

    Raises:
        InputFault: it cannot be read; ``name`` is that of its layer.
    """
    if shape.isNull() or shape.isEmpty():
        return []
    whole = ask("not_readable", name, ogr.CreateGeometryFromWkb, bytes(shape.asWkb()))
    whole.FlattenTo2D()
    if whole.HasCurveGeometry():
        whole = whole.GetLinearGeometry()
    parts = list(_singles(whole))
    if len(parts) != max(whole.GetGeometryCount(), 1) or not _is_valid(whole):
        union = ogr.Geometry(ogr.wkbMultiPolygon)
        for part in parts:
            for polygon in _singles(part if _is_valid(part) else part.MakeValid()):
                union.AddGeometry(polygon)
        parts = list(_singles(union.UnionCascaded())) if union.GetGeometryCount() else []
    return [_of_wkb(bytes(part.ExportToIsoWkb())) for part in parts]


def _singles(shape: ogr.Geometry) -> Iterator[ogr.Geometry]:
    """The polygons of a shape, of collections within collections too."""
    kind = ogr.GT_Flatten(shape.GetGeometryType())
    if kind == ogr.wkbTriangle:
        shape, kind = ogr.ForceToPolygon(shape.Clone()), ogr.wkbPolygon
    if kind == ogr.wkbPolygon:
        yield shape
    elif kind not in (ogr.wkbPoint, ogr.wkbLineString):
        for number in range(shape.GetGeometryCount()):
            yield from _singles(shape.GetGeometryRef(number).Clone())


def _is_valid(shape: ogr.Geometry) -> bool:
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # else it prints why not
    try:
        return shape.IsValid()
    except RuntimeError:  # a TIN, where GDAL raises exceptions and lacks SFCGAL
        return False
    finally:
        gdal.PopErrorHandler()


def _of_wkb(wkb: bytes) -> QgsGeometry:
    shape = QgsGeometry()
    shape.fromWkb(wkb)
    return shape


def way(own: QgsCoordinateReferenceSystem, grid: LayerGrid, context: QgsCoordinateTransformContext, exact=0.0) -> Way:
    """Between a CRS and a grid's, as the project transforms them."""
    target = QgsCoordinateReferenceSystem.fromWkt(grid.crs)
    there, back = _move(own, target, context), _move(target, own, context)
    alike = not any(osr.SpatialReference(one.toWkt(_WKT)).IsDerivedGeographic() for one in (own, target))
    return Way(there, back, turn_of(own), turn_of(target), alike, exact, own == target)


def way_of_crs(wkt: str, grid: LayerGrid) -> Way:
    """Between a CRS, or WGS 84 longitude and latitude where "", and a grid's, by the usual transformations."""
    own = QgsCoordinateReferenceSystem.fromWkt(wkt) if wkt else QgsCoordinateReferenceSystem("EPSG:4326")
    return way(own, grid, QgsCoordinateTransformContext())


def turn_of(crs: QgsCoordinateReferenceSystem) -> float:
    """Units of a full turn of longitude; 0 of a projected CRS."""
    return Units.of(True, osr.SpatialReference(crs.toWkt(_WKT)).GetAngularUnits()).turn if crs.isGeographic() else 0.0


def _move(own: QgsCoordinateReferenceSystem, target: QgsCoordinateReferenceSystem, context) -> Move:
    transform = QgsCoordinateTransform(own, target, context)

    def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
        line = _of_wkb(struct.pack("<BII", 1, 2, len(points)) + points.astype("<f8").tobytes()).asQPolygonF()
        with suppress(QgsCsException):  # those that have no place there become infinite; the others are moved
            transform.transformPolygon(line)
        moved = np.frombuffer(bytes(QgsLineString.fromQPolygonF(line).asWkb()), "<f8", offset=9).reshape(-1, 2)
        return moved[:, 0].copy(), moved[:, 1].copy()

    return move


def polygons_on(
    shapes: Iterable[Sequence[QgsGeometry]],
    crs: QgsCoordinateReferenceSystem,
    grid: LayerGrid,
    context: QgsCoordinateTransformContext,
    exact: float = 0.0,
) -> Polygons:
    """Shapes of a CRS, the polygons of each, on a grid; see ``Polygons``."""
    pairs = [(polygon, number) for number, polygons in enumerate(shapes) for polygon in polygons]
    own = LayerPolygons([polygon for polygon, _ in pairs], np.array([number for _, number in pairs], int))
    return Polygons(own, grid, way(crs, grid, context, exact))


class _Boxed:
    """Polygons one by one, with their boxes; ``numbers``, ascending, are those of the shapes they are parts of."""

    def __init__(self, shapes: Sequence[QgsGeometry], numbers: np.ndarray) -> None:
        self.shapes, self.numbers = shapes, numbers
        boxes = [shape.boundingBox() for shape in shapes]
        self.boxes = np.array([(b.xMinimum(), b.yMinimum(), b.xMaximum(), b.yMaximum()) for b in boxes]).reshape(-1, 4)

    @property
    def bounds(self) -> Bounds:
        west, south = self.boxes[:, :2].min(axis=0, initial=np.inf).tolist()
        east, north = self.boxes[:, 2:].max(axis=0, initial=-np.inf).tolist()
        return west, south, east, north

    def near(self, area: QgsGeometry) -> list[int]:
        """Places of those that meet an area."""
        box, boxes = area.boundingBox(), self.boxes
        meet = (boxes[:, 0] <= box.xMaximum()) & (boxes[:, 2] >= box.xMinimum())
        meet &= (boxes[:, 1] <= box.yMaximum()) & (boxes[:, 3] >= box.yMinimum())
        engine = _engine(area)
        return [at for at in np.flatnonzero(meet).tolist() if engine.intersects(self.shapes[at].constGet())]


class LayerPolygons(_Boxed):
    """See ``runtime.raster.shapes.polygons.Own``."""

    def cut(self, frame: np.ndarray, grid: LayerGrid, way: Way) -> Optional["LayerPieces"]:
        outline = _polygon([np.vstack([frame, frame[:1]])])
        if not outline.isGeosValid():
            return None
        pieces: list[QgsGeometry] = []
        numbers: list[int] = []
        west, _, east, _ = self.bounds
        for turn in footprint.turns(frame, west, east, way) if len(self.numbers) else ():
            area = QgsGeometry(outline)
            area.translate(-turn, 0)
            engine = _engine(area)
            for at in self.near(area):
                whole = engine.contains(self.shapes[at].constGet())
                parts = [self.shapes[at]] if whole else _polygons_in(self.shapes[at].intersection(area))
                for part in map(QgsGeometry, parts):
                    part.translate(turn, 0)
                    pieces.append(part)
                    numbers.append(int(self.numbers[at]))
        order = np.argsort(numbers, kind="stable")
        moved = _moved([pieces[at] for at in order], grid, way)
        return None if moved is None else LayerPieces(moved, np.array(numbers, int)[order])

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places, numbers = [np.zeros(0, int)], [np.zeros(0, int)]
        for shape, number, (west, south, east, north) in zip(self.shapes, self.numbers, self.boxes.tolist()):
            inside = (points[:, 0] >= west) & (points[:, 0] <= east) & (points[:, 1] >= south) & (points[:, 1] <= north)
            near = np.flatnonzero(inside)
            if len(near):
                engine = _engine(shape)
                held = [
                    at for at, x, y in zip(near.tolist(), *points[near].T.tolist()) if engine.contains(QgsPoint(x, y))
                ]
                places.append(np.array(held, int))
                numbers.append(np.full(len(held), number))
        return np.concatenate(places), np.concatenate(numbers)


class LayerPieces(_Boxed):
    """See ``runtime.raster.shapes.polygons.Pieces``."""

    @property
    def surface_point(self) -> tuple[float, float]:
        point = self.shapes[0].pointOnSurface().asPoint()
        return point.x(), point.y()

    def only(self, number: int) -> "LayerPieces":
        first, last = np.searchsorted(self.numbers, [number, number + 1])
        return LayerPieces(self.shapes[first:last], self.numbers[first:last])

    def touch(self, part: LayerGrid) -> bool:
        return bool(self.near(_outline(part)))

    def burn(self, part: LayerGrid) -> np.ndarray:
        near = self.near(_outline(part))
        if not near:
            return np.full(part.shape, -1, np.int32)
        (west, south, east, north), side = part.bounds, 2 * float(np.sqrt(part.pixel_area))
        window = QgsRectangle(west - side, south - side, east + side, north + side)
        target = gdal.GetDriverByName("MEM").Create("", part.width, part.height, 1, gdal.GDT_Int32)
        target.SetGeoTransform(part.geotransform)
        vectors = memory_vectors()
        layer = vectors.CreateLayer("polygons")
        layer.CreateField(ogr.FieldDefn("number", ogr.OFTInteger))
        for at in near:
            shape = self.shapes[at]
            if shape.constGet().wkbSize() > _LONG:
                shape = shape.clipped(window)
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetField(0, int(self.numbers[at]) + 1)
            feature.SetGeometryDirectly(ogr.CreateGeometryFromWkb(bytes(shape.asWkb())))
            layer.CreateFeature(feature)
        ask("not_readable", tr("polygons"), gdal.RasterizeLayer, target, [1], layer, options=["ATTRIBUTE=number"])
        return target.GetRasterBand(1).ReadAsArray() - 1


def _engine(shape: QgsGeometry):
    """GEOS with the shape prepared, which lives as long as the shape."""
    engine = QgsGeometry.createGeometryEngine(shape.constGet())
    engine.prepareGeometry()
    return engine


def _polygons_in(shape: QgsGeometry) -> list[QgsGeometry]:
    return [part for part in shape.asGeometryCollection() if part.constGet().dimension() == 2]


def _outline(part: LayerGrid) -> QgsGeometry:
    corners = part.outline()
    return _polygon([np.array([*corners, corners[0]])])


def _polygon(rings: Sequence[np.ndarray]) -> QgsGeometry:
    """From closed rings, (N, 2) each."""
    parts = [struct.pack("<BII", 1, 3, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), np.ascontiguousarray(ring, "<f8").tobytes()]
    return _of_wkb(b"".join(parts))


def _rings(polygon: QgsGeometry) -> list[np.ndarray]:
    """Closed rings of a flat polygon, (N, 2) each."""
    wkb, at, rings = bytes(polygon.asWkb()), 9, []
    for _ in range(struct.unpack_from("<I", wkb, 5)[0]):
        (count,) = struct.unpack_from("<I", wkb, at)
        rings.append(np.frombuffer(wkb, "<f8", 2 * count, at + 4).reshape(-1, 2))
        at += 4 + 16 * count
    return rings


def _moved(polygons: Sequence[QgsGeometry], grid: LayerGrid, way: Way) -> Optional[list[QgsGeometry]]:
    """Polygons in the grid's CRS; None where one cannot be moved truly."""
    if not polygons:
        return []
    rings = [_rings(polygon) for polygon in polygons]
    lengths = [len(ring) for polygon in rings for ring in polygon]
    ring = np.repeat(np.arange(len(lengths)), lengths)
    bent = footprint.bent(np.concatenate([one for polygon in rings for one in polygon]), ring, grid, way)
    if bent is None:
        return None
    points, ring = bent
    ends = iter(np.split(points, np.searchsorted(ring, np.arange(1, len(lengths)))))
    shapes = [_polygon([next(ends) for _ in polygon]) for polygon in rings]
    return [shape if shape.isGeosValid() else shape.makeValid() for shape in shapes]

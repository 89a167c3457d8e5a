"""Polygons to which a run is limited, in the CRS of a grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

import numpy as np
from osgeo import gdal, ogr
from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeatureRequest,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingFeatureSource,
    QgsWkbTypes,
)

from ..runtime.errors import InputFault
from ..runtime.raster.lattice import Bounds
from ..runtime.raster.window import Window
from ..texts import tr
from .calls import ask
from .grid import LayerGrid
from .vectors import memory_vectors

_POLYGON = QgsWkbTypes.GeometryType.PolygonGeometry  # type: ignore[attr-defined]  # not in qgis-stubs
_PARTS = 100  # pieces that the longest side is cut into before it is transformed


class LayerMask:
    """Polygons, copied from their layer; see ``runtime.results.vectors.Polygons``."""

    def __init__(self, polygons: list[QgsGeometry]) -> None:
        self.polygons = polygons
        boxes = [polygon.boundingBox() for polygon in polygons]
        self._boxes = np.array([(b.xMinimum(), b.yMinimum(), b.xMaximum(), b.yMaximum()) for b in boxes])

    @classmethod
    def of(cls, source, crs: QgsCoordinateReferenceSystem, context: QgsCoordinateTransformContext) -> "LayerMask":
        """Copy the polygons of a feature source into a CRS.

        Raises:
            InputFault: there is none.
        """
        geometries = (feature.geometry() for feature in features_of(source))
        shapes = transformed(geometries, source.sourceCrs(), crs, context)
        polygons = [one for one in shapes if one.type() == _POLYGON]
        if not polygons:
            raise InputFault.worded(tr("'{name}' holds no polygons.").format(name=source.sourceName()))
        return cls(polygons)

    @property
    def bounds(self) -> Bounds:
        west, south = self._boxes[:, :2].min(axis=0).tolist()
        east, north = self._boxes[:, 2:].max(axis=0).tolist()
        return west, south, east, north

    def touches(self, grid: LayerGrid, window: Window) -> bool:
        return bool(self._near(grid.crop(window)))

    def holds(self, x: float, y: float) -> bool:
        point = QgsGeometry.fromPointXY(QgsPointXY(x, y))
        return any(polygon.intersects(point) for polygon in self._around((x, y, x, y)))

    def inside(self, grid: LayerGrid, window: Window) -> np.ndarray:
        part = grid.crop(window)
        return pixels_inside(self._near(part), part)

    def _around(self, box: Bounds) -> list[QgsGeometry]:
        west, south, east, north = box
        boxes = self._boxes
        meet = (boxes[:, 0] <= east) & (boxes[:, 2] >= west) & (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
        return [self.polygons[number] for number in np.flatnonzero(meet)]

    def _near(self, part: LayerGrid) -> list[QgsGeometry]:
        outline = QgsGeometry.fromPolygonXY([[QgsPointXY(*corner) for corner in part.outline()]])
        engine = QgsGeometry.createGeometryEngine(outline.constGet())
        engine.prepareGeometry()
        return [one for one in self._around(part.bounds) if engine.intersects(one.constGet())]


def features_of(source: QgsProcessingFeatureSource):
    """Its features, broken shapes too: ``transformed`` mends them, while Processing would stop, and QGIS 3.22 end, at one."""
    flag = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks  # type: ignore[attr-defined]  # not in qgis-stubs
    return source.getFeatures(QgsFeatureRequest(), flag)


def transformed(
    shapes: Iterable[QgsGeometry],
    own: QgsCoordinateReferenceSystem,
    crs: QgsCoordinateReferenceSystem,
    context: QgsCoordinateTransformContext,
) -> list[QgsGeometry]:
    """Valid shapes in another CRS; long straight sides get corners first, since they are not straight there."""
    move = QgsCoordinateTransform(own, crs, context)
    placed = []
    for shape in shapes:
        if shape.isNull() or shape.isEmpty():
            continue
        shape = shape if shape.isGeosValid() else shape.makeValid()
        if shape.isNull():  # beyond repair
            continue
        if QgsWkbTypes.flatType(shape.wkbType()) == QgsWkbTypes.Type.GeometryCollection:
            polygons = QgsGeometry(shape)
            polygons.convertGeometryCollectionToSubclass(_POLYGON)  # drops the line that a spike has become
            shape = shape if polygons.isEmpty() else polygons
        if not move.isShortCircuited():
            box = shape.boundingBox()
            longest = max(box.width(), box.height())
            shape = shape.densifyByDistance(longest / _PARTS) if longest > 0 else QgsGeometry(shape)
            try:
                shape.transform(move)
            except QgsCsException:  # lies where the CRS is not defined
                continue
        placed.append(shape)
    return placed


def pixels_inside(polygons: list[QgsGeometry], part: LayerGrid) -> np.ndarray:
    """(rows, columns) True where the middle of a pixel lies in a polygon."""
    if not polygons:
        return np.zeros(part.shape, bool)
    target = gdal.GetDriverByName("MEM").Create("", part.width, part.height, 1, gdal.GDT_Byte)
    target.SetGeoTransform(part.geotransform)
    shapes = memory_vectors()
    layer = shapes.CreateLayer("polygons")
    for polygon in polygons:
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometryDirectly(ogr.CreateGeometryFromWkb(bytes(polygon.asWkb())))
        layer.CreateFeature(feature)
    ask("not_readable", tr("polygons"), gdal.RasterizeLayer, target, [1], layer, burn_values=[1])
    return target.GetRasterBand(1).ReadAsArray().astype(bool)


@dataclass(frozen=True)
class LayerShape:
    """See ``runtime.infer.class_map.Shape``."""

    geometry: QgsGeometry

    @property
    def point(self) -> Optional[tuple[float, float]]:
        return _place(self.geometry.centroid()) if self.geometry.constGet().dimension() == 0 else None

    @property
    def bounds(self) -> Bounds:
        box = self.geometry.boundingBox()
        return box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()

    @property
    def surface_point(self) -> tuple[float, float]:
        return _place(self.geometry.pointOnSurface())

    def inside(self, grid: LayerGrid) -> np.ndarray:
        return pixels_inside([self.geometry], grid)


def _place(point: QgsGeometry) -> tuple[float, float]:
    return point.asPoint().x(), point.asPoint().y()

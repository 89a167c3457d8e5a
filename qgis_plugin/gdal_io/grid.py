"""The grid of a raster in GDAL's terms: the CRS is its WKT."""

from dataclasses import dataclass
from functools import cached_property

from osgeo import osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsDistanceArea,
    QgsGeometry,
    QgsPointXY,
)

from ..runtime.raster.lattice import Lattice, Transform, Units


@dataclass(frozen=True)
class LayerGrid(Lattice):
    """Rows and columns with a CRS."""

    crs: str
    transform: Transform

    @cached_property
    def units(self) -> Units:
        """Of the CRS."""
        srs = osr.SpatialReference(self.crs)
        geographic = bool(srs.IsGeographic())
        return Units(geographic, srs.GetLinearUnits(), (srs.GetSemiMajor(), srs.GetSemiMinor()))

    @property
    def crs_text(self) -> str:
        """The CRS as an authority's code where it has one, else as WKT."""
        return QgsCoordinateReferenceSystem.fromWkt(self.crs).authid() or self.crs

    @property
    def crs_name(self) -> str:
        """The CRS for people: its name and, where it has one, its code."""
        system = QgsCoordinateReferenceSystem.fromWkt(self.crs)
        return f"{system.description()} ({system.authid()})" if system.authid() else system.description()

    @property
    def geotransform(self):
        """The six numbers in GDAL's order."""
        a, b, c, d, e, f = self.transform
        return c, a, b, f, d, e

    @property
    def area_distortion(self) -> float:
        """How many times the projection's area is the true one, at the middle; 1 for a geographic CRS."""
        if self.units.geographic:
            return 1.0
        x, y = self.at(self.width / 2, self.height / 2)
        half = 50 / self.units.metres
        corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
        square = QgsGeometry.fromPolygonXY([[QgsPointXY(*corner) for corner in corners]])
        true = ellipsoidal(self.crs).measureArea(square)
        return 10_000 / true if 0 < true < float("inf") else 1.0


def ellipsoidal(crs: str) -> QgsDistanceArea:
    """Measures in metres on the ellipsoid of a CRS."""
    system = QgsCoordinateReferenceSystem.fromWkt(crs)
    measure = QgsDistanceArea()
    measure.setSourceCrs(system, QgsCoordinateTransformContext())
    measure.setEllipsoid(system.ellipsoidAcronym() or "EPSG:7030")
    return measure


def transform_of(geotransform) -> Transform:
    """From six numbers in GDAL's order."""
    x, a, b, y, d, e = geotransform
    return Transform(a, b, x, d, e, y)

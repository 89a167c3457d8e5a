"""The grid of a raster in GDAL's terms: the CRS is its WKT."""

import uuid
from dataclasses import dataclass
from functools import cached_property

from osgeo import gdal, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsDistanceArea,
    QgsGeometry,
    QgsPointXY,
)

from ..runtime.raster.lattice import Lattice, Transform, Units
from .calls import ask


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
        if not geographic:  # a site's own grid has no ellipsoid
            return Units.of(False, srs.GetLinearUnits())
        return Units.of(True, srs.GetAngularUnits(), (srs.GetSemiMajor(), srs.GetSemiMinor()))

    @cached_property
    def wkt_beside(self) -> str:
        """See ``Lattice``; found out with a file of one pixel."""
        srs, path = osr.SpatialReference(self.crs), f"/vsimem/{uuid.uuid4().hex}.tif"
        one = ask("write_failed", path, gdal.GetDriverByName("GTiff").Create, path, 1, 1)
        one.SetSpatialRef(srs)
        one.SetGeoTransform(self.geotransform)
        one = None
        if gdal.VSIStatL(f"{path}.aux.xml"):
            gdal.Unlink(f"{path}.aux.xml")
        written = ask("not_readable", path, gdal.Open, path).GetSpatialRef()
        gdal.Unlink(path)
        kept = written is not None and same_crs(written, srs)
        return "" if kept else srs.ExportToWkt(["FORMAT=WKT2_2019"])

    @property
    def crs_text(self) -> str:
        """The CRS as an authority's code where it has one, else as WKT."""
        srs = osr.SpatialReference(self.crs)
        code = srs.GetAuthorityCode(None)
        return f"{srs.GetAuthorityName(None)}:{code}" if code else self.crs

    @property
    def crs_name(self) -> str:
        """The CRS for people: its name and, where it has one, its code."""
        name, code = osr.SpatialReference(self.crs).GetName(), self.crs_text
        return name if code == self.crs else f"{name} ({code})"

    @property
    def geotransform(self):
        """The six numbers in GDAL's order."""
        a, b, c, d, e, f = self.transform
        return c, a, b, f, d, e

    @property
    def area_distortion(self) -> float:
        """How many times the projection's area is the true one, at the middle; 1 for a geographic CRS."""
        if self.units.geographic or not osr.SpatialReference(self.crs).IsProjected():  # a site's own grid
            return 1.0
        x, y = self.at(self.width / 2, self.height / 2)
        half = 50 / self.units.metres
        corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
        square = QgsGeometry.fromPolygonXY([[QgsPointXY(*corner) for corner in corners]])
        true = ellipsoidal(self.crs).measureArea(square)
        return 10_000 / true if 0 < true < float("inf") else 1.0


def same_crs(one: osr.SpatialReference, other: osr.SpatialReference) -> bool:
    """Whether they are one CRS; the order of its axes in data is a library's affair."""
    return bool(one.IsSame(other, ["IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES"]))


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

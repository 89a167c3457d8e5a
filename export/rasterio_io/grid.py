"""The grid of a raster in rasterio's terms. Holds no pixels, reads no files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
import pyproj.exceptions
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from export.runtime.errors import InputFault
from export.runtime.raster.lattice import Lattice, Units
from export.runtime.raster.window import Window


@dataclass(frozen=True)
class Grid(Lattice):
    """Rows and columns with a CRS; ``transform`` takes (column, row) of a pixel corner to (x, y)."""

    crs: CRS
    transform: Affine

    @cached_property
    def units(self) -> Units:  # type: ignore[override]
        """Of the CRS, which may be a site's own (an engineering CRS)."""
        crs = pyproj.CRS.from_wkt(self.crs.to_wkt())
        ellipsoid, factors = crs.ellipsoid, [axis.unit_conversion_factor for axis in crs.axis_info]
        axes = (ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre) if ellipsoid else (0.0, 0.0)
        return Units.of(crs.is_geographic, factors[0] if factors else 0.0, axes)

    @cached_property
    def wkt_beside(self) -> str:  # type: ignore[override]
        """See ``Lattice``; found out with a file of one pixel."""
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
            one = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "dtype": "uint8"}
            with memory.open(**one, crs=self.crs, transform=self.transform):
                pass
            with memory.open() as written:
                kept = written.crs == self.crs
        return "" if kept else str(self.crs.to_wkt(version="WKT2_2019"))

    @property
    def crs_text(self) -> str:
        """The CRS as an authority's code where it has one, else as WKT."""
        return f"EPSG:{self.epsg}" if self.epsg else str(self.crs.to_wkt(version="WKT2_2019"))

    @cached_property
    def epsg(self) -> int | None:
        """Code of exactly this CRS: rasterio's own answer may be one that is only like it."""
        code = self.crs.to_epsg()
        return code if code and CRS.from_epsg(code) == self.crs else None

    @property
    def crs_name(self) -> str:
        """The CRS for people: its name and, where it has one, its code."""
        name = pyproj.CRS.from_wkt(self.crs.to_wkt(version="WKT2_2019")).name
        return f"{name} (EPSG:{self.epsg})" if self.epsg else name

    @property
    def area_distortion(self) -> float:
        """How many times the projection's area is the true one, at the middle; 1 for a geographic CRS."""
        projection = self._projection
        middle = self._degrees(0.5, 0.5)
        if projection is None or not np.isfinite(middle).all():
            return 1.0
        return float(projection.get_factors(*middle).areal_scale)

    @property
    def lies_on_earth(self) -> bool:
        """Whether its middle and its four sides do; the corners of a map of the world need not, a site's own grid is not asked."""
        places = [self._degrees(*at) for at in ((0.5, 0.5), (0.01, 0.5), (0.99, 0.5), (0.5, 0.01), (0.5, 0.99))]
        return bool(np.isfinite(places).all()) and all(abs(latitude) <= 90 for _, latitude in places)

    def _degrees(self, column: float, row: float) -> tuple[float, float]:
        """Longitude and latitude of a place, column and row from 0 to 1; infinite where the projection has none."""
        place = self.at(column * self.width, row * self.height)
        if self.units.geographic:
            return place[0] * self.units.size, place[1] * self.units.size
        if self._projection is None:
            return 0.0, 0.0
        longitude, latitude = self._projection(*place, inverse=True)
        return float(longitude), float(latitude)

    @cached_property
    def _projection(self) -> pyproj.Proj | None:
        """None for angles, and for a CRS that is no plain projection: a site's own, a derived one."""
        try:
            return None if self.units.geographic else pyproj.Proj(self.crs.to_wkt())
        except pyproj.exceptions.CRSError:
            return None


def raster_window(window: Window) -> RasterWindow:
    """A window in rasterio's terms."""
    return RasterWindow(window.column, window.row, window.width, window.height)


def crs_of(text: str) -> CRS:
    """Read a CRS as a user writes it.

    Raises:
        InputFault: it is not a CRS.
    """
    try:
        return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:  # rasterio's own, and int's of "EPSG:x"
        raise InputFault.worded(f"--crs {text}: not a CRS, write one like EPSG:32633") from error

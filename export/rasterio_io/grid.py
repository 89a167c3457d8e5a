"""The grid of a raster in rasterio's terms. Holds no pixels, reads no files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
from rasterio.crs import CRS
from rasterio.errors import CRSError
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
        """Of the CRS."""
        if not self.crs.is_geographic:
            return Units(False, self.crs.linear_units_factor[1], (0.0, 0.0))
        ellipsoid = pyproj.CRS.from_wkt(self.crs.to_wkt()).ellipsoid
        assert ellipsoid is not None  # nosec B101  # every CRS of latitudes has one
        return Units(True, 0.0, (ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre))

    @property
    def crs_text(self) -> str:
        """The CRS as an authority's code where it has one, else as WKT."""
        return str(self.crs.to_string())

    @property
    def crs_name(self) -> str:
        """The CRS for people: its name and, where it has one, its code."""
        name, code = pyproj.CRS.from_wkt(self.crs.to_wkt()).name, self.crs_text
        return f"{name} ({code})" if ":" in code and len(code) < 20 else name

    @property
    def area_distortion(self) -> float:
        """How many times the projection's area is the true one, at the middle; 1 for a geographic CRS."""
        if self.crs.is_geographic:
            return 1.0
        middle = self._degrees(0.5, 0.5)
        if not np.isfinite(middle).all():
            return 1.0
        return float(pyproj.Proj(self.crs.to_wkt()).get_factors(*middle).areal_scale)

    @property
    def lies_on_earth(self) -> bool:
        """Whether its middle and its four sides do; the corners of a map of the world need not."""
        places = [self._degrees(*at) for at in ((0.5, 0.5), (0.01, 0.5), (0.99, 0.5), (0.5, 0.01), (0.5, 0.99))]
        return bool(np.isfinite(places).all()) and all(abs(latitude) <= 90 for _, latitude in places)

    def _degrees(self, column: float, row: float) -> tuple[float, float]:
        """Longitude and latitude of a place, column and row from 0 to 1; infinite where the projection has none."""
        crs, place = pyproj.CRS.from_wkt(self.crs.to_wkt()), self.at(column * self.width, row * self.height)
        longitude, latitude = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(*place)
        return float(longitude), float(latitude)


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

"""The grid of a raster: where its pixels lie and how large they are. Holds no pixels, reads no files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyproj
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from export.runtime.errors import InputFault
from export.runtime.grid import Window

METRES_PER_DEGREE = 111_195.0  # mean radius of the Earth
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Rows and columns with a CRS; ``transform`` takes (column, row) of a pixel corner to (x, y)."""

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def whole(self) -> Window:
        """All of it."""
        return Window(0, 0, self.height, self.width)

    def _metres(self, length: float) -> float:
        return length * (METRES_PER_DEGREE if self.crs.is_geographic else self.crs.linear_units_factor[1])

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """Height and width of a pixel in metres; in degrees both are measured along a meridian."""
        a, b, _, d, e, _ = self.transform[:6]
        return self._metres(float(np.hypot(b, e))), self._metres(float(np.hypot(a, d)))

    def crop(self, window: Window) -> Grid:
        """The part of the grid inside a window."""
        moved = self.transform @ Affine.translation(window.column, window.row)
        return Grid(self.crs, moved, window.height, window.width)

    def scaled(self, rows: float, columns: float) -> Grid:
        """The grid whose pixels are ``rows`` times as high and ``columns`` times as wide, from the same corner."""
        return Grid(
            self.crs,
            self.transform @ Affine.scale(columns, rows),
            max(1, int(np.ceil(self.height / rows - 1e-6))),
            max(1, int(np.ceil(self.width / columns - 1e-6))),
        )

    def outline(self) -> list[tuple[float, float]]:
        """Corners (x, y) from the upper left, in the order of the hands of a clock."""
        corners = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [self.transform * corner for corner in corners]

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of the corners."""
        xs, ys = zip(*self.outline())
        return min(xs), min(ys), max(xs), max(ys)

    def window_of(self, bounds: Bounds, crs: CRS) -> Window | None:
        """Smallest window of whole pixels that holds an area; None where they do not meet."""
        if crs != self.crs:
            bounds = transform_bounds(crs, self.crs, *bounds, densify_pts=21)
        west, south, east, north = bounds
        inverse = ~self.transform
        corners = [inverse * corner for corner in ((west, north), (east, north), (east, south), (west, south))]
        columns, rows = (np.array(axis) for axis in zip(*corners))
        if not np.isfinite([*columns, *rows]).all():
            return None
        margin = 1e-6  # px: an area that ends at a pixel's edge does not take the next pixel
        left, right = np.floor(columns.min() + margin), np.ceil(columns.max() - margin)
        top, bottom = np.floor(rows.min() + margin), np.ceil(rows.max() - margin)
        left, top = max(0, int(left)), max(0, int(top))
        right, bottom = min(self.width, int(right)), min(self.height, int(bottom))
        return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None

    @cached_property
    def row_areas(self) -> np.ndarray:
        """(height,) area of one pixel of each row in square metres.

        On the ellipsoid for a geographic CRS, exact where rows run along parallels; in the plane of the
        projection otherwise.
        """
        if not self.crs.is_geographic:
            factor = self.crs.linear_units_factor[1]
            return np.full(self.height, abs(self.transform.determinant) * factor**2)
        a, b, _, d, e, f = self.transform[:6]
        middle = self.width / 2
        latitudes = np.clip(f + e * np.arange(self.height + 1) + d * middle, -90, 90)
        height = abs(e) if d or b else 1.0
        degrees = abs(self.transform.determinant) / height if d or b else abs(a)  # a leaning pixel keeps its area
        strips = zone_area(latitudes, pyproj.CRS.from_wkt(self.crs.to_wkt()).ellipsoid)
        return np.abs(np.diff(strips)) * np.radians(degrees)

    @property
    def area_distortion(self) -> float:
        """How many times the projection's area is the true one, at the middle; 1 for a geographic CRS."""
        if self.crs.is_geographic:
            return 1.0
        crs = pyproj.CRS.from_wkt(self.crs.to_wkt())
        middle = self.transform * (self.width / 2, self.height / 2)
        degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(*middle)
        if not np.isfinite(degrees).all():
            return 1.0
        return float(pyproj.Proj(crs).get_factors(*degrees).areal_scale)


def zone_area(latitudes: np.ndarray, ellipsoid: object) -> np.ndarray:
    """Area between the equator and a latitude, for one radian of longitude, in square metres.

    Args:
        latitudes: degrees, negative in the south.
        ellipsoid: with ``semi_major_metre`` and ``semi_minor_metre``.

    Source: Snyder 1987, Map Projections: A Working Manual, eq. 3-12 (the authalic latitude's q).
    """
    a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre  # type: ignore[attr-defined]
    e = np.sqrt(max(0.0, 1 - (b / a) ** 2))
    sine = np.sin(np.radians(latitudes))
    if e < 1e-9:
        return a**2 * sine
    return b**2 / 2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)


def crs_of(text: str, option: str = "--crs") -> CRS:
    """Read a CRS as a user writes it.

    Raises:
        InputFault: it is none.
    """
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise InputFault(f"{option} {text}: not a CRS, write one like EPSG:32633") from error


def check_bounds(bounds: Bounds) -> None:
    """Raises InputFault unless they are west, south, east, north."""
    west, south, east, north = bounds
    if not (west < east and south < north):
        raise InputFault(f"--bounds {west:g} {south:g} {east:g} {north:g}: must be west, south, east, north")


def placed(grid: Grid, crs: CRS, transform: Affine) -> Grid:
    """The same rows and columns, elsewhere."""
    return replace(grid, crs=crs, transform=transform)

"""Where a raster's pixels lie and how large they are. Holds no pixels, knows no CRS library: the host names the units."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import InputFault
from .window import Window

METRES_PER_DEGREE = 111_195.0  # mean radius of the Earth
Bounds = tuple[float, float, float, float]  # west, south, east, north
Own = TypeVar("Own", bound="Lattice")


class Transform(NamedTuple):
    """Takes (column, row) of a pixel corner to x = a column + b row + c, y = d column + e row + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float


@dataclass(frozen=True)
class Placement:
    """Coordinates for a file that has none: a CRS and (west, south, east, north) in its units."""

    crs: str
    bounds: Bounds


@dataclass(frozen=True)
class Units:
    """Of the coordinates.

    Attributes:
        geographic: whether they are angles, in degrees or in another unit such as grads.
        size: degrees of an angular unit, metres of a unit of length.
        axes: semi-axes of the ellipsoid in metres, for angles.
    """

    geographic: bool
    size: float
    axes: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, geographic: bool, factor: float, axes: tuple[float, float] = (0.0, 0.0)) -> Units:
        """From radians or metres of a unit, as CRS libraries state it."""
        return cls(True, round(math.degrees(factor), 12), axes) if geographic else cls(False, factor)

    @property
    def turn(self) -> float:
        """Units of a full turn of longitude; 0 of a length."""
        return round(360 / self.size, 9) if self.geographic else 0.0

    @property
    def metres(self) -> float:
        """Of a unit; of an angle along a meridian."""
        return self.size * METRES_PER_DEGREE if self.geographic else self.size


@dataclass(frozen=True)
class Lattice:
    """Rows and columns on the ground; a host's own class adds its kind of CRS and says ``units``.

    ``transform`` is a ``Transform``, or another sequence that begins with its six numbers and is made from them.
    """

    crs: Any
    transform: Any
    height: int
    width: int

    @property
    def units(self) -> Units:
        """Of the CRS."""
        raise NotImplementedError

    @property
    def wkt_beside(self) -> str:
        """WKT of the CRS, to be kept beside a GeoTIFF whose keys cannot hold it; "" where they do."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def whole(self) -> Window:
        """All of it."""
        return Window(0, 0, self.height, self.width)

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """Height and width of a pixel in metres; of angles both are measured along a meridian."""
        return pixel_sides(self.transform, self.units.metres)

    @property
    def pixel_area(self) -> float:
        """Of a pixel, in square units of the CRS."""
        a, b, _, d, e, _ = self.transform[:6]
        return abs(a * e - b * d)

    def at(self, column: float, row: float) -> tuple[float, float]:
        """The coordinates (x, y) of a pixel corner."""
        a, b, c, d, e, f = self.transform[:6]
        return a * column + b * row + c, d * column + e * row + f

    def pixel_at(self, x: float, y: float) -> tuple[float, float]:
        """The column and row of coordinates."""
        a, b, c, d, e, f = self.transform[:6]
        turned = 1.0 / (a * e - b * d)
        ra, rb, rd, re = e * turned, -b * turned, -d * turned, a * turned
        return x * ra + y * rb + (-c * ra - f * rb), x * rd + y * re + (-c * rd - f * re)

    def crop(self: Own, window: Window) -> Own:
        """The part of the grid inside a window."""
        a, b, _, d, e, _ = self.transform[:6]
        x, y = self.at(window.column, window.row)
        moved = type(self.transform)(a, b, x, d, e, y)
        return replace(self, transform=moved, height=window.height, width=window.width)

    def scaled(self: Own, rows: float, columns: float) -> Own:
        """The grid whose pixels are ``rows`` times as high and ``columns`` times as wide, from the same corner."""
        a, b, c, d, e, f = self.transform[:6]
        return replace(
            self,
            transform=type(self.transform)(a * columns, b * rows, c, d * columns, e * rows, f),
            height=max(1, int(np.ceil(self.height / rows - 1e-6))),
            width=max(1, int(np.ceil(self.width / columns - 1e-6))),
        )

    def outline(self) -> list[tuple[float, float]]:
        """Corners (x, y) from the upper left, in the order of the hands of a clock."""
        corners = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [self.at(*corner) for corner in corners]

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of the corners."""
        xs, ys = zip(*self.outline())
        return min(xs), min(ys), max(xs), max(ys)

    def window_inside(self, bounds: Bounds) -> Window | None:
        """Smallest window of whole pixels that holds an area, given in the grid's CRS; None where they do not meet."""
        west, south, east, north = bounds
        corners = [self.pixel_at(*corner) for corner in ((west, north), (east, north), (east, south), (west, south))]
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
        units = self.units
        if not units.geographic:
            return np.full(self.height, self.pixel_area * units.metres**2)
        a, b, _, d, e, f = (units.size * value for value in self.transform[:6])
        middle = self.width / 2
        latitudes = np.clip(f + e * np.arange(self.height + 1) + d * middle, -90, 90)
        height = abs(e) if d or b else 1.0
        degrees = abs(a * e - b * d) / height if d or b else abs(a)  # a leaning pixel keeps its area
        return np.abs(np.diff(zone_area(latitudes, units.axes))) * np.radians(degrees)


def pixel_sides(transform: Any, unit: float) -> tuple[float, float]:
    """Height and width of a pixel in metres, of which a unit of the CRS holds ``unit``."""
    a, b, _, d, e, _ = transform[:6]
    return float(np.hypot(b, e)) * unit, float(np.hypot(a, d)) * unit


def stated_size(sides: tuple[float, float]) -> float:
    """The one number that chip stores, model cards (``gsd``) and notes state for a pixel: its longer side."""
    return max(sides)


def zone_area(latitudes: np.ndarray, axes: tuple[float, float]) -> np.ndarray:
    """Area between the equator and latitudes in degrees, for one radian of longitude, in square metres.

    Source: Snyder 1987, Map Projections: A Working Manual, eq. 3-12 (the authalic latitude's q).
    """
    a, b = axes
    e = np.sqrt(max(0.0, 1 - (b / a) ** 2))
    sine = np.sin(np.radians(latitudes))
    if e < 1e-9:
        return a**2 * sine
    return b**2 / 2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)


def eastwards(bounds: Bounds, turn: float = 0.0) -> Bounds:
    """West, south, east, north; of longitudes, of which a full ``turn`` is given, west may be 178 and east -179.

    Raises:
        InputFault: they are in another order.
    """
    west, south, east, north = bounds
    if west - east > turn / 2 > 0:  # across the antimeridian, the shorter way around
        east += turn
    if not (west < east and south < north):
        raise InputFault("bounds_order", west=west, south=south, east=east, north=north)
    return west, south, east, north

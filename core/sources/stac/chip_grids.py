"""The pixels of a chip on the ground."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from affine import Affine
from pyproj import Transformer

from core.store.read import StoreInfo

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox


def chip_crs(lon: float, lat: float) -> str:
    """The local UTM zone, or beyond 84 N and 80 S the polar stereographic grid."""
    if lat > 84:
        return "EPSG:32661"
    if lat < -80:
        return "EPSG:32761"
    zone = math.floor((lon + 180) / 6) % 60 + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


def chip_grid(lon: float, lat: float, info: StoreInfo) -> GeoBox:
    """The pixels of a chip: north-up in the local UTM zone, centred on the place to half a pixel.

    Edges are whole multiples of the pixel size, as those of Sentinel-2, whose pixels are then not resampled.
    """
    from odc.geo.geobox import GeoBox

    crs, size, pixel = chip_crs(lon, lat), info.chip_size, info.gsd or 1.0
    x, y = _transformer("EPSG:4326", crs).transform(lon, lat)
    left, top = (round((middle + side * size * pixel / 2) / pixel) * pixel for middle, side in ((x, -1), (y, 1)))
    return GeoBox((size, size), Affine(pixel, 0, left, 0, -pixel, top), crs)


def centre(grid: GeoBox) -> tuple[float, float]:
    """Longitude and latitude of the middle of a grid, degrees."""
    rows, columns = grid.shape
    x, y = grid.transform @ (columns / 2, rows / 2)
    lon, lat = _transformer(str(grid.crs), "EPSG:4326").transform(x, y)
    return float(lon), float(lat)


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)

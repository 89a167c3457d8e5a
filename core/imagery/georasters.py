"""Georeferenced rasters: opened and checked, warped to a common grid, read with their masks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyproj
import rasterio
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.transform import Affine, from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from core.errors import UserError, first_line
from core.store.read import DTYPES
from core.store.sphere import EARTH_RADIUS_M, unit_vectors
from export.runtime.raster.lattice import Placement, Units, pixel_sides, stated_size

Raster: TypeAlias = rasterio.DatasetReader | WarpedVRT


def pixel_size_m(source: Raster) -> float:
    """Pixel size in metres: the longer side, of a geographic grid measured along a meridian."""
    return stated_size(pixel_sides(source.transform, _units(source.crs.to_wkt()).metres))


@lru_cache(32)
def _units(wkt: str) -> Units:
    crs = pyproj.CRS.from_wkt(wkt)
    return Units.of(crs.is_geographic, crs.axis_info[0].unit_conversion_factor)


def open_plain(dataset: str | Path) -> rasterio.DatasetReader:
    """Open a raster, georeferenced or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # callers that need coordinates ask is_located
        return rasterio.open(dataset)


def is_located(source: Raster) -> bool:
    """Whether it has a CRS and a geotransform."""
    return source.crs is not None and not source.transform.is_identity


class Ground(NamedTuple):
    """Centres of windows, (N,) degrees WGS 84, and the lengths of their longest diagonals, (N,) metres; NaN where unknown."""

    lon: np.ndarray
    lat: np.ndarray
    reach_m: np.ndarray


def ground(source: Raster, rows: np.ndarray, columns: np.ndarray, side: float) -> Ground:
    """Where windows lie on Earth; NaN where a window reaches beyond the domain of the CRS.

    Upper left corners are given as (N,) rows and columns, and the windows' side, all in px.
    """
    down = np.add.outer(np.array([0.5, 0, 0, 1, 1]) * side, rows)  # centre, upper left, upper right, lower left, ...
    across = np.add.outer(np.array([0.5, 0, 1, 0, 1]) * side, columns)
    x, y = source.transform @ (across.ravel(), down.ravel())
    lon, lat = (part.reshape(down.shape) for part in _to_lonlat(source.crs.to_wkt()).transform(x, y))
    known = np.isfinite(lon + lat).all(axis=0) & (np.abs(lat) <= 90).all(axis=0)
    lon, lat = (np.where(known, part, np.nan) for part in (lon, lat))
    corners = unit_vectors(np.stack([lon[1:].ravel(), lat[1:].ravel()], axis=1)).reshape(4, -1, 3)
    chords = [np.linalg.norm(corners[one] - corners[other], axis=1) for one, other in ((0, 3), (1, 2))]
    reach = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(np.maximum(*chords) / 2, 1))
    return Ground(lon[0], lat[0], reach)


def known_ground(source: Raster, rows: np.ndarray, columns: np.ndarray, side: float) -> Ground:
    """Where windows lie on Earth; a ``UserError`` without a georeference, or with one outside the domain of its CRS."""
    if not is_located(source):
        raise UserError("has no georeference")
    where = ground(source, rows, columns, side)
    if np.isnan(where.reach_m).any():
        raise UserError("its georeference cannot be converted to longitude and latitude")
    return where


@lru_cache(32)
def _to_lonlat(wkt: str) -> Transformer:
    return Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)


def overlap(one: Raster, other: Raster) -> bool:
    """Whether two rasters overlap: by points, since bounding boxes break at the antimeridian and the poles."""
    return _lies_in(one, other) or _lies_in(other, one)


def _lies_in(one: Raster, other: Raster) -> bool:
    """Whether one of 33 x 33 points of a raster lies in another one."""
    rows, columns = (np.linspace(0, side, 33) for side in one.shape)
    x, y = one.transform @ tuple(part.ravel() for part in np.meshgrid(columns, rows))
    x, y = Transformer.from_crs(one.crs, other.crs, always_xy=True).transform(x, y)
    whole = 360 / _units(other.crs.to_wkt()).size
    for turn in (-whole, 0, whole) if other.crs.is_geographic else (0,):
        column, row = ~other.transform @ (x + turn, y)
        if ((column > 0) & (column < other.width) & (row > 0) & (row < other.height)).any():
            return True
    return False


@contextmanager
def open_raster(dataset: str | Path, placement: Placement | None = None, name: str | None = None) -> Iterator[Raster]:
    """Open a raster with its own coordinates, or with those of ``placement`` where it has none.

    Raises:
        UserError: it cannot be read, has no coordinates, or coordinates that do not fit its CRS.
    """
    name = name or Path(str(dataset)).name
    with ExitStack() as stack:
        try:
            source = stack.enter_context(open_plain(dataset))
        except RasterioIOError as error:
            raise UserError(f"{name}: cannot be read as a raster ({first_line(error)})") from error
        if placement is not None and source.crs is None:
            source = stack.enter_context(_placed(source, placement))
        if not is_located(source):
            other = "control points" if source.gcps[0] else "RPCs" if source.rpcs else ""
            if other:
                raise UserError(f"{name}: lies on {other} instead of a grid; warp it to one with gdalwarp -dstalpha")
            raise UserError(f"{name}: has no coordinates; give them with --crs and --bounds")
        check_dtype(source, name)
        _check_crs(source, name)
        yield source


def _placed(source: rasterio.DatasetReader, placement: Placement) -> WarpedVRT:
    crs, grid = CRS.from_user_input(placement.crs), from_bounds(*placement.bounds, source.width, source.height)
    return WarpedVRT(
        source, src_crs=crs, src_transform=grid, crs=crs, transform=grid,
        width=source.width, height=source.height, add_alpha=_needs_alpha(source),
    )  # fmt: skip


def _check_crs(source: Raster, name: str) -> None:
    """Refuse a CRS without place on Earth, and coordinates that do not fit it: metres for degrees, or degrees for metres."""
    crs = pyproj.CRS.from_wkt(source.crs.to_wkt())
    if crs.geodetic_crs is None or crs.is_geocentric:
        raise UserError(
            f"{name}: its CRS, {crs.name}, does not say where it lies on Earth, and places are known by longitude and "
            "latitude; set another with gdal_edit.py -a_srs"
        )
    corners = [source.transform @ (x, y) for x in (0, source.width) for y in (0, source.height)]
    x, y = (np.abs(side) for side in zip(*corners))
    unit, size = "", _units(source.crs.to_wkt()).size
    if source.crs.is_geographic and (x.max() * size > 540 or y.max() * size > 90.01 + abs(source.transform.e) * size):
        unit = "degrees"
    if source.crs.is_projected and x.max() <= 360 and y.max() <= 90 and pixel_size_m(source) < 0.01:
        unit = "metres"
    if unit:
        raise UserError(
            f"{name}: its coordinates ({corners[0][0]:g}, {corners[0][1]:g}) do not fit its CRS, {source.crs}, which is in "
            f"{unit}; set the right one with gdal_edit.py -a_srs"
        )


@contextmanager
def on_grid(
    source: rasterio.DatasetReader, grid: rasterio.DatasetReader, resampling: Resampling = Resampling.bilinear
) -> Iterator[Raster]:
    """A raster on the grid of another one: itself if it has that grid, else warped."""
    if (source.width, source.height) == (grid.width, grid.height) and source.crs == grid.crs:
        shift = ~grid.transform @ source.transform  # in pixels, whatever the unit of the CRS
        if shift.almost_equals(Affine.identity(), 1e-3 / max(source.width, source.height)):
            yield source
            return
    with WarpedVRT(
        source, crs=grid.crs, transform=grid.transform, width=grid.width, height=grid.height,
        resampling=resampling, add_alpha=_needs_alpha(source),
    ) as warped:  # fmt: skip
        yield warped


def _needs_alpha(source: Raster) -> bool:
    """A warped source without nodata needs an alpha band, else what it does not cover reads as valid zeros."""
    return source.nodata is None and all(color.name != "alpha" for color in source.colorinterp)


def read(
    source: Raster,
    window: Window,
    *,
    bands: list[int] | None = None,
    shape: tuple[int, int] | None = None,
    resampling: Resampling = Resampling.nearest,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (bands, rows, cols) of a window, scaled to ``shape``, and where all bands hold data (rows, cols).

    Bands count from 1; all but alpha are read by default. An alpha band that is asked for counts as data, and missing
    pixels are then marked by the nodata value alone.
    """
    data = data_bands(source)
    bands = bands or data
    out_shape = (len(bands), *shape) if shape else None
    pixels = source.read(bands, window=window, out_shape=out_shape, resampling=resampling)
    by_nodata = not set(bands) <= set(data)  # without a nodata value all pixels differ from it
    masks = pixels != source.nodata if by_nodata else source.read_masks(bands, window=window, out_shape=out_shape)
    valid = masks.all(axis=0)
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels).all(axis=0)
    return pixels, valid


def check_dtype(source: Raster, name: object) -> None:
    """Refuse pixels that a store cannot hold."""
    dtypes = {source.dtypes[band - 1] for band in data_bands(source)}
    if len(dtypes) > 1:
        raise UserError(f"{name}: its bands have different types ({', '.join(sorted(dtypes))}); convert them to one")
    if not dtypes <= set(DTYPES):
        raise UserError(f"{name}: pixels of type {dtypes.pop()} are not supported; convert to {', '.join(DTYPES)}")


def check_alpha(source: Raster) -> None:
    """Refuse an alpha band that holds something else, such as near infrared: it would become the mask.

    GDAL takes the fourth of four 8-bit bands for alpha by default. True alpha is 0 or 255 nearly everywhere;
    five samples of 256 x 256 px are looked at.
    """
    if len(data_bands(source)) == source.count:
        return
    band = next(number for number in source.indexes if number not in data_bands(source))
    height, width = (min(side, 256) for side in source.shape)
    parts = [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)]
    windows = [Window((source.width - width) * x, (source.height - height) * y, width, height) for y, x in parts]
    values = np.stack([source.read(band, window=window) for window in windows])
    between = ((values > 0) & (values < np.iinfo(values.dtype).max)).mean() if values.dtype.kind in "ui" else 0.0
    if between > 0.1:
        raise UserError(
            f"{Path(source.name).name}: its band {band} is marked as alpha, but {between:.0%} of its pixels are neither 0 nor "
            f"255; if it is a data band, mark it so with gdal_edit.py -colorinterp_{band} undefined"
        )


def data_bands(source: Raster) -> list[int]:
    """Numbers of the bands that are not alpha, from 1."""
    return [number for number, color in enumerate(source.colorinterp, start=1) if color.name != "alpha"]


def band_names(source: Raster) -> tuple[str, ...]:
    """Descriptions of the bands where they differ, else their colours, else their numbers."""
    bands = data_bands(source)
    described = [source.descriptions[band - 1] for band in bands]
    colors = [source.colorinterp[band - 1].name for band in bands]
    default = [color if color in ("red", "green", "blue") else f"band {band}" for band, color in zip(bands, colors)]
    names = described if len(set(described)) == len(described) else default
    return tuple(name or other for name, other in zip(names, default))

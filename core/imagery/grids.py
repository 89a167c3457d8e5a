"""Rasters with coordinates: opened, checked, brought to one grid, read with their masks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
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
from core.store.sphere import EARTH_RADIUS_M, METRES_PER_DEGREE, unit_vectors


@dataclass(frozen=True)
class Placement:
    """Coordinates for files that carry none: a CRS and (west, south, east, north) in its units."""

    crs: str
    bounds: tuple[float, float, float, float]


def pixel_size_m(source: rasterio.DatasetReader | WarpedVRT) -> float:
    """Longer side of a pixel in metres; of a geographic grid as at the equator."""
    grid = source.transform
    side = float(max(np.hypot(grid.a, grid.d), np.hypot(grid.b, grid.e)))
    return side * (METRES_PER_DEGREE if source.crs.is_geographic else source.crs.linear_units_factor[1])


def open_plain(dataset: str | Path) -> rasterio.DatasetReader:
    """Open a raster that may have no coordinates.

    Raises:
        RasterioIOError: it cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # who needs coordinates asks is_located
        return rasterio.open(dataset)


def is_located(source: rasterio.DatasetReader | WarpedVRT) -> bool:
    """Whether it knows where on Earth it lies."""
    return source.crs is not None and not source.transform.is_identity


class Ground(NamedTuple):
    """Where windows lie on Earth: (N,) degrees of their centres, WGS 84, and their longest diagonals in metres.

    NaN where a window reaches beyond what the CRS can mean.
    """

    lon: np.ndarray
    lat: np.ndarray
    reach_m: np.ndarray


def ground(source: rasterio.DatasetReader | WarpedVRT, rows: np.ndarray, columns: np.ndarray, side: float) -> Ground:
    """Place windows on Earth.

    Args:
        source: a raster that is located.
        rows: (N,) px, of the windows' upper left corners.
        columns: (N,) likewise.
        side: rows = columns of a window, px.
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


@lru_cache(32)
def _to_lonlat(wkt: str) -> Transformer:
    return Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)


def overlap(one: rasterio.DatasetReader | WarpedVRT, other: rasterio.DatasetReader | WarpedVRT) -> bool:
    """Whether two rasters share ground: by points, since boxes break at the antimeridian and the poles."""
    return _lies_in(one, other) or _lies_in(other, one)


def _lies_in(one: rasterio.DatasetReader | WarpedVRT, other: rasterio.DatasetReader | WarpedVRT) -> bool:
    """Whether one of 33 x 33 points of a raster lies in another one."""
    rows, columns = (np.linspace(0, side, 33) for side in one.shape)
    x, y = one.transform @ tuple(part.ravel() for part in np.meshgrid(columns, rows))
    x, y = Transformer.from_crs(one.crs, other.crs, always_xy=True).transform(x, y)
    turns = (-360, 0, 360) if other.crs.is_geographic else (0,)
    for turn in turns:
        column, row = ~other.transform @ (x + turn, y)
        if ((column > 0) & (column < other.width) & (row > 0) & (row < other.height)).any():
            return True
    return False


@contextmanager
def open_raster(
    dataset: str | Path, placement: Placement | None = None, name: str | None = None
) -> Iterator[rasterio.DatasetReader | WarpedVRT]:
    """Open a raster with coordinates: its own, or those of ``placement``.

    Raises:
        UserError: it cannot be read, has no coordinates, or coordinates that its CRS cannot mean.
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


def _check_crs(source: rasterio.DatasetReader | WarpedVRT, name: str) -> None:
    """Refuse coordinates that the CRS cannot mean: metres called degrees, or degrees called metres."""
    if not (source.crs.is_geographic or source.crs.is_projected):
        raise UserError(f"{name}: its CRS is neither geographic nor projected; give it one (gdal_edit.py -a_srs)")
    corners = [source.transform @ (x, y) for x in (0, source.width) for y in (0, source.height)]
    x, y = (np.abs(side) for side in zip(*corners))
    advice = f"its coordinates ({corners[0][0]:g}, {corners[0][1]:g}) are not those of its CRS"
    if source.crs.is_geographic and (x.max() > 540 or y.max() > 90.01 + abs(source.transform.e)):
        raise UserError(
            f"{name}: {advice}, {source.crs}, which has degrees; give it the right one (gdal_edit.py -a_srs)"
        )
    if source.crs.is_projected and x.max() <= 360 and y.max() <= 90 and pixel_size_m(source) < 0.01:
        raise UserError(
            f"{name}: {advice}, {source.crs}, which has metres; give it the right one (gdal_edit.py -a_srs)"
        )


@contextmanager
def on_grid(
    source: rasterio.DatasetReader, grid: rasterio.DatasetReader, how: Resampling = Resampling.bilinear
) -> Iterator[rasterio.DatasetReader | WarpedVRT]:
    """A raster on the grid of another one: itself where it lies there already, else warped."""
    if (source.width, source.height) == (grid.width, grid.height) and source.crs == grid.crs:
        shift = ~grid.transform @ source.transform  # in pixels, whatever the unit of the CRS
        if shift.almost_equals(Affine.identity(), 1e-3 / max(source.width, source.height)):
            yield source
            return
    with WarpedVRT(
        source, crs=grid.crs, transform=grid.transform, width=grid.width, height=grid.height,
        resampling=how, add_alpha=_needs_alpha(source),
    ) as warped:  # fmt: skip
        yield warped


def _needs_alpha(source: rasterio.DatasetReader | WarpedVRT) -> bool:
    """A warped source without nodata needs an alpha band, else what it does not cover reads as valid zeros."""
    return source.nodata is None and all(color.name != "alpha" for color in source.colorinterp)


def read(
    source: rasterio.DatasetReader | WarpedVRT,
    window: Window,
    *,
    bands: list[int] | None = None,
    shape: tuple[int, int] | None = None,
    how: Resampling = Resampling.nearest,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (bands, rows, cols) and where all bands hold data (rows, cols).

    Args:
        source: of any kind.
        window: part of it.
        bands: numbers from 1; all but alpha by default. A band called alpha that is asked for counts as data:
            then the nodata value alone tells what holds none.
        shape: rows and columns to scale to; as they are by default.
        how: the scaling of pixels.
    """
    data = data_bands(source)
    bands = bands or data
    out_shape = (len(bands), *shape) if shape else None
    pixels = source.read(bands, window=window, out_shape=out_shape, resampling=how)
    by_nodata = not set(bands) <= set(data)  # where there is none, all pixels differ from it
    masks = pixels != source.nodata if by_nodata else source.read_masks(bands, window=window, out_shape=out_shape)
    valid = masks.all(axis=0)
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels).all(axis=0)
    return pixels, valid


def check_dtype(source: rasterio.DatasetReader | WarpedVRT, name: object) -> None:
    """Refuse pixels that a store cannot hold."""
    dtypes = {source.dtypes[band - 1] for band in data_bands(source)}
    if len(dtypes) > 1:
        raise UserError(f"{name}: its bands have different types ({', '.join(sorted(dtypes))}); convert them to one")
    if not dtypes <= set(DTYPES):
        raise UserError(f"{name}: pixels of type {dtypes.pop()} are not supported; convert to {', '.join(DTYPES)}")


def check_alpha(source: rasterio.DatasetReader | WarpedVRT) -> None:
    """Refuse a fourth band that is called alpha and is none: near infrared, say, which would become the mask.

    GDAL calls the fourth of four 8-bit bands alpha unless it is told otherwise. True alpha is 0 or 255 nearly
    everywhere; five samples of 256 x 256 px are looked at.
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
            f"{Path(source.name).name}: its band {band} is called alpha, but {between:.0%} of its pixels are neither 0 nor 255; "
            f"if it is a band like the others, say so with gdal_edit.py -colorinterp_{band} undefined"
        )


def data_bands(source: rasterio.DatasetReader | WarpedVRT) -> list[int]:
    """Numbers of the bands, from 1; alpha is none."""
    return [number for number, color in enumerate(source.colorinterp, start=1) if color.name != "alpha"]


def band_names(source: rasterio.DatasetReader | WarpedVRT) -> tuple[str, ...]:
    """Names as the file says them where they differ, else colours, else numbers."""
    bands = data_bands(source)
    said = [source.descriptions[band - 1] for band in bands]
    colors = [source.colorinterp[band - 1].name for band in bands]
    plain = [color if color in ("red", "green", "blue") else f"band {band}" for band, color in zip(bands, colors)]
    names = said if len(set(said)) == len(said) else plain
    return tuple(name or other for name, other in zip(names, plain))

"""Pixels of rasters and where they hold data: as they are, on another raster's grid, or scaled. Always of full resolution.

How overviews were made is unknown: those of a class mask may hold classes that do not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import rasterio.warp
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.windows import Window, transform

from core.imagery.georasters import GeoRaster, full_turn
from export.rasterio_io.opening import dtype_of, masked_bands, read_bands, stated_nodata
from export.runtime.messages import Message
from export.runtime.raster.gaps import RULES, SOME_SHARE, holds_data, nodata_of, single
from export.runtime.raster.resample import STRIP, Scale, resampled
from export.runtime.raster.window import Window as Part
from export.runtime.raster.window import lattice

_SAMPLED = 33  # rows and columns of points at which a window is looked for in another CRS
_MOST = 1 << 26  # px of a source that are warped at once


def read(
    source: GeoRaster, window: Window, *, bands: Sequence[int] = (), rule: str = "any"
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (bands, rows, cols) of a window, and where they hold data (rows, cols).

    Bands count from 1; all but alpha are read by default, in the type of a store (``source.type_of``). Nodata values (by one
    of ``gaps.RULES``), masks and alpha bands that are not read count together.
    """
    bands = list(bands) or source.bands
    pixels = read_bands(source.dataset, bands, window)
    stated = ((stated_nodata(source.stated, band), dtype_of(source.stated, band)) for band in bands)
    valid = holds_data(pixels, [nodata_of(*one) for one in stated], rule)
    pixels, valid = single(pixels, valid)
    pixels = pixels.astype(source.type_of(bands), copy=False)
    if source.covers:
        valid &= source.read(source.covers, window=window) > 0
    elif masked := masked_bands(source.dataset, bands):
        valid &= source.read_masks(masked, window=window).all(axis=0)
    for number in source.alphas:
        if number not in bands:
            valid &= source.read(number, window=window) > 0
    return pixels, valid


def stored_as(source: GeoRaster) -> str:
    """What becomes of values that no store holds as they are, for their user; "" where it holds them."""
    kinds = {dtype_of(source.stated, band) for band in source.bands}
    if kinds == {source.dtype}:
        return ""
    exact = all(np.can_cast(kind, source.dtype) for kind in kinds)
    size = "their magnitudes are " if any(np.dtype(kind).kind == "c" for kind in kinds) else ""
    return f"its pixels are {' and '.join(sorted(kinds))}: {size}stored as {source.dtype}" + (
        "" if exact else ", which keeps seven digits"
    )


def assumed(source: GeoRaster, rule: str) -> list[str]:
    """What is assumed about the pixels without data of a raster, for its user."""
    called = [number for number, color in enumerate(source.colorinterp, start=1) if color.name == "alpha"]
    notes = [stored_as(source)] if stored_as(source) else []
    notes += [str(Message("no_alpha", {"band": number})) for number in called if number not in source.alphas]
    share = _share_in_some(source) if rule == "any" and len(source.bands) > 1 else 0.0
    if share >= SOME_SHARE:
        notes.append(f"{Message('nodata_in_some', {'share': share})}; see --nodata-rule")
    return notes


def _share_in_some(source: GeoRaster) -> float:
    """Share of a sample that is at nodata values in some bands and not in all."""
    windows = [Window(part.column, part.row, part.width, part.height) for part in lattice(*source.shape)]
    valid, whole = (np.concatenate([read(source, at, rule=rule)[1].ravel() for at in windows]) for rule in RULES)
    return float((whole & ~valid).mean())


def read_on_grid(
    source: GeoRaster,
    grid: GeoRaster,
    window: Window,
    resampling: Resampling = Resampling.bilinear,
    rule: str = "any",
    bands: Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a window of the grid of another raster, and where they hold data: warped unless it is the same grid.

    Bands count from 1; all but alpha by default. Pixels without data are no part of others, and what the raster does not
    cover is no data, whatever its type.
    """
    bands = list(bands) or source.bands
    if _same_grid(source, grid):
        return read(source, window, bands=bands, rule=rule)
    height, width = int(window.height), int(window.width)
    parts = list(_parts_under(source, grid, window))
    if sum(part.height * part.width for part in parts) > _MOST and height * width > 1:
        down, across = (height // 2, 0) if height >= width else (0, width // 2)
        first = Window(window.col_off, window.row_off, across or width, down or height)
        rest = Window(window.col_off + across, window.row_off + down, width - across, height - down)
        halves = [read_on_grid(source, grid, half, resampling, rule, bands) for half in (first, rest)]
        pixels, valid = (np.concatenate(pair, axis=-2 if down else -1) for pair in zip(*halves))
        return pixels, valid
    scales = _scales(source, grid, window)
    pixels = np.full((len(bands), height, width), np.nan, np.float32)
    for part in parts:
        values, valid = read(source, part, bands=bands, rule=rule)
        for number, layer in enumerate(values):
            warped = np.full((height, width), np.nan, np.float32)
            rasterio.warp.reproject(
                np.where(valid, layer, np.float32(np.nan)).astype(np.float32), warped,
                src_crs=source.crs, src_transform=transform(part, source.transform), src_nodata=np.nan,
                dst_crs=grid.crs, dst_transform=transform(window, grid.transform), dst_nodata=np.nan,
                resampling=resampling, **scales,
            )  # fmt: skip
            pixels[number] = np.where(np.isfinite(warped), warped, pixels[number])
    covered = np.isfinite(pixels).all(axis=0)
    return _stored(pixels, covered, source.type_of(bands)), covered


def read_scaled(
    source: GeoRaster,
    row: float,
    column: float,
    side: float,
    size: int,
    *,
    bands: Sequence[int] = (),
    rule: str = "any",
) -> tuple[np.ndarray, np.ndarray]:
    """A square scaled to ``size`` px, averaged where it shrinks, bilinear where it grows."""

    def whole(part: Part) -> tuple[np.ndarray, np.ndarray]:
        return read(source, Window(part.column, part.row, part.width, part.height), bands=bands, rule=rule)

    if side == size and row == int(row) and column == int(column):
        return whole(Part(int(row), int(column), size, size))
    scale = Scale(side / size, side / size)
    scaled = resampled(whole, source.height, source.width, scale, corner=(row, column), plain=True)
    pixels, valid = scaled(Part(0, 0, size, size))
    return _stored(pixels, valid, source.type_of(bands or source.bands)), valid


def read_nearest(
    source: GeoRaster, row: int, column: int, side: int, size: int, *, bands: Sequence[int], rule: str = "any"
) -> tuple[np.ndarray, np.ndarray]:
    """A square of classes scaled to ``size`` px: each the pixel at its middle."""
    at = ((np.arange(size) + 0.5) * side / size).astype(np.int64)
    pixels, valid = [], []
    step = max(1, STRIP * size // side)
    for rows in (at[top : top + step] for top in range(0, size, step)):
        strip = Window(column, row + rows[0], side, rows[-1] - rows[0] + 1)
        values, known = read(source, strip, bands=bands, rule=rule)
        pixels.append(values[:, rows - rows[0]][:, :, at])
        valid.append(known[rows - rows[0]][:, at])
    return np.concatenate(pixels, axis=1), np.concatenate(valid)


def _stored(pixels: np.ndarray, valid: np.ndarray, dtype: str) -> np.ndarray:
    """Interpolated values in the data type of the file."""
    pixels = np.where(valid, pixels, 0)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        pixels = np.rint(pixels).clip(limits.min, limits.max)
    return pixels.astype(dtype)


def _same_grid(source: GeoRaster, grid: GeoRaster) -> bool:
    if source.shape != grid.shape or source.crs != grid.crs:
        return False
    shift = ~grid.transform @ source.transform  # in pixels, whatever the unit of the CRS
    return bool(shift.almost_equals(Affine.identity(), 1e-3 / max(source.shape)))


def _scales(source: GeoRaster, grid: GeoRaster, window: Window) -> dict[str, float]:
    """Pixels of the grid for a pixel of the source, which else GDAL judges by the part that it is given."""
    middle = np.array([window.col_off + window.width / 2, window.row_off + window.height / 2])
    x, y = grid.transform @ tuple((middle + [[0, 0], [1, 0], [0, 1]]).T)
    x, y = Transformer.from_crs(grid.crs, source.crs, always_xy=True).transform(x, y)
    x = _together(x, full_turn(source.crs))
    steps = [np.hypot(*(at[1:] - at[0])) for at in ~source.transform @ (x, y)]
    return dict(zip(("XSCALE", "YSCALE"), (1 / np.array(steps)).tolist())) if np.isfinite(steps).all() else {}


def _together(x: np.ndarray, whole: float) -> np.ndarray:
    """Longitudes without a jump at the antimeridian, where ``whole`` is a full turn; all else as it is."""
    return x[0] + (x - x[0] + whole / 2) % whole - whole / 2 if whole else x


def _parts_under(source: GeoRaster, grid: GeoRaster, window: Window) -> Iterator[Window]:
    """Windows of a raster that hold what a window of a grid is made of: two where it lies on both ends of a world map."""
    rows, columns = (np.linspace(0, side, _SAMPLED) for side in (window.height, window.width))
    x, y = transform(window, grid.transform) @ tuple(part.ravel() for part in np.meshgrid(columns, rows))
    x, y = Transformer.from_crs(grid.crs, source.crs, always_xy=True).transform(x, y)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return
    x, y = x[known], y[known]
    whole = full_turn(source.crs)
    x = _together(x, whole)
    for turn in (-whole, 0, whole) if whole else (0,):
        column, row = ~source.transform @ (x + turn, y)
        # What lies between the points, and what is interpolated.
        around = [
            np.ptp(at) / (_SAMPLED - 1) + 2 * np.ptp(at) / side + 8
            for at, side in ((row, window.height), (column, window.width))
        ]
        top, left = (max(0, int(at.min() - more)) for at, more in zip((row, column), around))
        bottom, right = (
            min(length, int(at.max() + more) + 1) for at, more, length in zip((row, column), around, source.shape)
        )
        if top < bottom and left < right:
            yield Window(left, top, right - left, bottom - top)

"""Rasters on one grid: which one that is, and how each is read on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import InputFault
from ...raster.shapes.footprint import frame, outline
from ...raster.warp import Exact, Mesh, shift_of, shifted, warped
from ...raster.window import Read
from ..source import Pixels

_TOLERANCE = 0.05  # px: so far off, at most, a pixel is looked up in another raster
_DEGREES = 1e-5  # of longitude and latitude: a metre
EDGE = 0.01  # px: a raster that reaches so little into a pixel does not hold it
_SAME_SIZE = 1e-6  # part of a pixel's size by which equal ones may differ
_FAR_NORTH = 85.0  # degrees of latitude, beyond which longitudes change too fast to be interpolated


def onto(read: Read, pixels: Pixels, grid: Any, nearest: bool = False) -> Read:
    """Read a raster in pixels of another grid: as they are where these are its own, else warped (see ``warp``).

    Args:
        read: gives the raster's pixels, in its own rows and columns.
        pixels: the raster.
        grid: of the same library as the raster's.
        nearest: for values that stand for something, which no mean does.

    Raises:
        InputFault: no way leads from the grid to the raster.
    """
    exact = _looked_up(pixels, grid)
    shift = shift_of(exact, grid.shape)
    if shift is not None:
        return read if shift == (0, 0) and pixels.grid.shape == grid.shape else shifted(read, pixels.grid.shape, shift)
    return warped(read, pixels.grid.shape, Mesh(exact, grid.shape, _TOLERANCE), _size_of_pixel(exact, grid), nearest)


def is_shifted(pixels: Pixels, grid: Any) -> bool:
    """Whether each pixel of a grid is one of a raster's own, or lies beyond it."""
    return shift_of(_looked_up(pixels, grid), grid.shape) is not None


def _looked_up(pixels: Pixels, grid: Any) -> Exact:
    """From column and row of a grid to those of a raster."""
    way, own = pixels.way_from(grid), pixels.grid
    middle = own.at(own.width / 2, own.height / 2)[0]

    def exact(columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = grid.at(columns, rows)
        if not way.same:
            x, y = way.there(x, y)
        if way.grid_turn:
            with np.errstate(invalid="ignore"):
                x = x + way.grid_turn * np.rint((middle - x) / way.grid_turn)
        with np.errstate(invalid="ignore"):
            return own.pixel_at(x, y)

    return exact


def _size_of_pixel(exact: Exact, grid: Any) -> float:
    """Side of a pixel of a grid in a raster's own, where they meet."""
    columns, rows = (
        axis.ravel() for axis in np.meshgrid(*(np.linspace(0.5, length - 0.5, 9) for length in grid.shape[::-1]))
    )
    corner = np.stack(exact(columns, rows))
    sides = [np.hypot(*(np.stack(exact(columns + right, rows + down)) - corner)) for right, down in ((1, 0), (0, 1))]
    known = [side[np.isfinite(side)] for side in sides]
    return float(np.sqrt(np.prod([np.median(side) if side.size else 1.0 for side in known])))


def degrees_of(pixels: Pixels, grid: Any) -> Mesh:
    """Longitude and latitude (WGS 84) of each pixel's middle of a grid; ``pixels`` knows the ways of its library."""
    way, to_degrees = pixels.way_from(grid), pixels.way_from(None)

    def exact(columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = grid.at(columns, rows)
        longitude, latitude = to_degrees.back(*(x, y) if way.same else way.there(x, y))
        return longitude, latitude

    mesh = Mesh(exact, grid.shape, _DEGREES, turn=360.0)
    around = np.abs(exact(*(axis.ravel() for axis in _everywhere(grid)))[1])
    if not (around <= _FAR_NORTH).all():
        mesh.step = 1
    return mesh


def _everywhere(grid: Any) -> tuple[np.ndarray, ...]:
    return np.meshgrid(*(np.linspace(0.5, length - 0.5, 33) for length in grid.shape[::-1]))


def common_grid(rasters: Sequence[Pixels]) -> Any:
    """The grid of the CRS, pixel size and pixel edges that most rasters have, over all of them.

    Of as many the finest counts, then the first.

    Raises:
        InputFault: one of them cannot be brought onto it.
    """
    like = [next(n for n, other in enumerate(rasters) if _alike(raster, other)) for raster in rasters]
    counts = Counter(like)
    best = min(counts, key=lambda n: (-counts[n], max(rasters[n].grid.pixel_size_m), n))
    members = [raster for raster, of in zip(rasters, like) if of == best]
    edges = [next(n for n, other in enumerate(members) if is_shifted(raster, other.grid)) for raster in members]
    reference = members[Counter(edges).most_common(1)[0][0]].grid  # of as many, the first
    boxes = np.array([box_on(raster, reference) for raster in rasters])
    left, top = np.floor(boxes[:, :2].min(axis=0) + EDGE).astype(int).tolist()
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0) - EDGE).astype(int).tolist()
    a, b, _, d, e, _ = reference.transform[:6]
    x, y = reference.at(left, top)
    return replace(
        reference, transform=type(reference.transform)(a, b, x, d, e, y), height=bottom - top, width=right - left
    )


def _alike(one: Pixels, other: Pixels) -> bool:
    """Whether two rasters have one CRS and pixels of one size."""
    ours, theirs = (np.array([*raster.grid.transform[:2], *raster.grid.transform[3:5]]) for raster in (one, other))
    return one is other or (
        bool(np.abs(ours - theirs).max() <= _SAME_SIZE * np.abs(theirs).max()) and one.way_from(other.grid).same
    )


def box_on(pixels: Pixels, grid: Any) -> tuple[float, float, float, float]:
    """First column and row, last column and row of a grid that a raster reaches to, which may lie beyond it.

    Raises:
        InputFault: parts of it have no place there.
    """
    way = pixels.way_from(grid)
    ring = np.column_stack(outline(pixels.grid)) if way.same else frame(pixels.grid, way)
    if ring is None:
        raise InputFault("not_on_grid", where=pixels.name, crs=grid.crs_name)
    x, y = ring.T
    if way.own_turn:
        middle, own = grid.at(grid.width / 2, grid.height / 2)[0], (x.min() + x.max()) / 2
        x = x + way.own_turn * np.rint((middle - own) / way.own_turn)
    columns, rows = grid.pixel_at(x, y)
    return float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())

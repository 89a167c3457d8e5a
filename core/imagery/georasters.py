"""Georeferenced rasters: opened and checked; their bands, and where they lie."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import rasterio
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.transform import from_bounds
from rasterio.windows import Window

from core.errors import InputFault, UserError, first_line
from core.files import stamp
from core.store.read import DTYPES
from core.store.sphere import EARTH_RADIUS_M, unit_vectors, wrapped
from export.rasterio_io.opening import dtype_of, on_grid
from export.rasterio_io.vrt import container
from export.runtime.messages import Message
from export.runtime.raster.gaps import is_alpha
from export.runtime.raster.lattice import Placement, Units, pixel_sides, stated_size
from export.runtime.raster.names import split
from export.runtime.raster.window import lattice

# What a raster says of its bands; all else is of the grid.
_STATED = {
    "colorinterp",
    "count",
    "descriptions",
    "dtypes",
    "gcps",
    "indexes",
    "offsets",
    "rpcs",
    "scales",
    "subdatasets",
    "tags",
}


class GeoRaster:
    """An open raster with the attributes of rasterio's dataset, at its own place or at one that a user states."""

    def __init__(
        self,
        dataset: rasterio.DatasetReader,
        placement: Placement | None = None,
        stated: rasterio.DatasetReader | None = None,
    ) -> None:
        """``stated`` is the image itself, of one that was warped to a grid: what it says of its bands counts.

        Attribute ``covers`` then is the number of the band that says where the image lies, else 0.
        """
        self.stated, self.covers = stated or dataset, dataset.count if stated else 0
        self.dataset, self.crs, self.transform = dataset, dataset.crs, dataset.transform
        self.name, self.notes = dataset.name, list[str]()  # what is to be said of it before it is used
        if placement:
            self.crs = CRS.from_user_input(placement.crs)
            self.transform = from_bounds(*placement.bounds, dataset.width, dataset.height)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stated if name in _STATED else self.dataset, name)

    @cached_property
    def alphas(self) -> list[int]:
        """Numbers of the alpha bands, from 1: those that the file calls so, but for those that hold data."""
        called = [number for number, color in enumerate(self.stated.colorinterp, start=1) if color.name == "alpha"]
        return [number for number in called if is_alpha(self._sample(number))]

    @property
    def bands(self) -> list[int]:
        """Numbers of the other bands."""
        return [number for number in self.stated.indexes if number not in self.alphas]

    def type_of(self, bands: Sequence[int]) -> str:
        """The type in which bands are read, see ``stored_type``."""
        return stored_type([dtype_of(self.stated, band) for band in bands])

    @property
    def dtype(self) -> str:
        """That of all bands but alpha."""
        return self.type_of(self.bands)

    def _sample(self, band: int) -> np.ndarray:
        where = [Window(at.column, at.row, at.width, at.height) for at in lattice(*self.dataset.shape)]
        return np.concatenate([self.dataset.read(band, window=window).ravel() for window in where])


def stored_type(kinds: Sequence[str]) -> str:
    """The type of a store that holds values of several types: the smallest that holds all exactly, else float32."""
    return next((name for name in DTYPES if all(np.can_cast(kind, name) for kind in kinds)), DTYPES[-1])


def pixel_size_m(source: GeoRaster) -> float:
    """Pixel size in metres: the longer side, of a geographic grid measured along a meridian."""
    return stated_size(pixel_sides(source.transform, _units(source.crs.to_wkt()).metres))


@lru_cache(32)
def _units(wkt: str) -> Units:
    crs = pyproj.CRS.from_wkt(wkt)
    return Units.of(crs.is_geographic, crs.axis_info[0].unit_conversion_factor)


def stamp_of(where: str | Path) -> tuple[int, int]:
    """Size and time of the file in a name that GDAL opens; zeros where there is none on a disk."""
    file = Path(split(str(where))[1])
    return stamp([file]) if file.is_file() else (0, 0)


@contextmanager
def open_plain(dataset: str | Path, placement: Placement | None = None) -> Iterator[GeoRaster]:
    """Open a raster, georeferenced or not; without a CRS it lies where ``placement`` says, if given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # callers that need coordinates ask is_located
        opened = rasterio.open(dataset)
        opened.transform  # noqa: B018  # GDAL reads it late
    with opened:
        yield GeoRaster(opened, placement if opened.crs is None else None)


def is_located(source: GeoRaster) -> bool:
    """Whether it has a CRS and a geotransform."""
    return source.crs is not None and not source.transform.is_identity


class Ground(NamedTuple):
    """Centres of windows, (N,) degrees WGS 84, and the lengths of their longest diagonals, (N,) metres; NaN where unknown."""

    lon: np.ndarray
    lat: np.ndarray
    reach_m: np.ndarray


def ground(source: GeoRaster, rows: np.ndarray, columns: np.ndarray, side: float) -> Ground:
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
    return Ground(wrapped(lon[0]), lat[0], reach)


def known_ground(source: GeoRaster, rows: np.ndarray, columns: np.ndarray, side: float) -> Ground:
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


def full_turn(crs: CRS) -> float:
    """Units of a full turn of longitude; 0 of a projected CRS."""
    return _units(crs.to_wkt()).turn


def overlap(one: GeoRaster, other: GeoRaster) -> bool:
    """Whether two rasters overlap: by points, since bounding boxes break at the antimeridian and the poles."""
    return _lies_in(one, other) or _lies_in(other, one)


def _lies_in(one: GeoRaster, other: GeoRaster) -> bool:
    """Whether one of 33 x 33 points of a raster lies in another one."""
    rows, columns = (np.linspace(0, side, 33) for side in one.shape)
    x, y = one.transform @ tuple(part.ravel() for part in np.meshgrid(columns, rows))
    x, y = Transformer.from_crs(one.crs, other.crs, always_xy=True).transform(x, y)
    whole = full_turn(other.crs)
    for turn in (-whole, 0, whole) if whole else (0,):
        column, row = ~other.transform @ (x + turn, y)
        if ((column > 0) & (column < other.width) & (row > 0) & (row < other.height)).any():
            return True
    return False


@contextmanager
def open_raster(
    dataset: str | Path, placement: Placement | None = None, name: str | None = None
) -> Iterator[GeoRaster]:
    """Open a raster with its own coordinates, or with those of ``placement`` where it has none.

    Raises:
        UserError: it cannot be read, has no coordinates, or coordinates that do not fit its CRS.
    """
    name = name or Path(str(dataset)).name
    with ExitStack() as stack:
        try:
            source = stack.enter_context(open_plain(dataset, placement))
            if stacked := "" if source.count else _stacked(source.subdatasets):
                source = stack.enter_context(open_plain(stacked))
                source.notes = [str(Message("container", {"names": ", ".join(source.descriptions[:20])}))]
            gridded = on_grid(source.dataset)
        except RasterioIOError as error:
            raise UserError(f"{name}: cannot be read as a raster ({first_line(error)})") from error
        except InputFault as error:
            raise UserError(f"{name}: {error}") from error
        if not source.count:
            inside = ", ".join(source.subdatasets[:20])
            raise UserError(f"{name}: contains " + (f"several rasters, {inside}; name one" if inside else "no raster"))
        if gridded is not source.dataset:
            note = Message("control_points", {"count": len(source.gcps[0])})
            source, notes = GeoRaster(stack.enter_context(gridded), stated=source.dataset), source.notes
            source.notes = [*notes, str(note)]
        source.name = name
        if not is_located(source):
            if source.rpcs:
                raise UserError(f"{name}: {Message('rpcs')}")
            raise UserError(f"{name}: has no coordinates; give them with --crs and --bounds")
        _check_crs(source, name)
        yield source


def _stacked(names: Sequence[str]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # such rasters are left out
        return container(names)


def _check_crs(source: GeoRaster, name: str) -> None:
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


def band_names(source: GeoRaster) -> tuple[str, ...]:
    """Descriptions of the bands where they differ, else their colours, else their numbers."""
    bands = source.bands
    described = [source.descriptions[band - 1] for band in bands]
    colors = [source.colorinterp[band - 1].name for band in bands]
    default = [color if color in ("red", "green", "blue") else f"band {band}" for band, color in zip(bands, colors)]
    names = described if len(set(described)) == len(described) else default
    return tuple(name or other for name, other in zip(names, default))

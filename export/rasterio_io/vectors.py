"""Polygons and points: limits of a run, shapes of a file, and polygons traced with rasterio and written with pyogrio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import rasterio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj.exceptions import CRSError, ProjError
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.features import shapes as outlines_of
from rasterio.warp import transform_bounds

from export.rasterio_io.cog import writing
from export.rasterio_io.grid import Grid, crs_of
from export.runtime.errors import InputFault, first_line
from export.runtime.infer.layout import Limits
from export.runtime.raster.lattice import Bounds, check_bounds
from export.runtime.raster.window import Window
from export.runtime.results.vectors import Batch, KeepGoing

PYOGRIO_ERRORS = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, OSError)
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_PARTS = 100  # pieces that the longest side is cut into before it is transformed to another CRS


@dataclass(frozen=True)
class Area:
    """An area as a user gives it, before the raster is known.

    Attributes:
        crs: of the bounds; the raster's own when None.
        mask: file of polygons.
    """

    bounds: Bounds | None = None
    crs: str | None = None
    mask: Path | None = None

    def on(self, grid: Grid, where: str) -> Limits:
        """The same area in the CRS of a raster.

        Raises:
            InputFault: it cannot be brought there, or the polygons cannot be read.
        """
        mask, bounds = Mask(self.mask, grid) if self.mask else None, self.bounds
        if bounds:
            check_bounds(bounds)
            crs = crs_of(self.crs) if self.crs else grid.crs
            if crs != grid.crs:
                try:
                    bounds = transform_bounds(crs, grid.crs, *bounds, densify_pts=21)
                except RasterioError as error:
                    raise InputFault.worded(f"--bounds: they cannot be transformed to the CRS of {where}") from error
        return Limits(bounds, mask)


class Mask:
    """Polygons in the CRS of a raster."""

    def __init__(self, path: Path, grid: Grid) -> None:
        """Read a file of polygons, in any CRS.

        Raises:
            InputFault: it cannot be read, has no CRS, or holds no polygon.
        """
        shapes = read_shapes(path, grid)[0]
        self.polygons = shapes[np.isin(shapely.get_type_id(shapes), _POLYGONS)]
        if not len(self.polygons):
            raise InputFault.worded(f"{path}: holds no polygons")
        self._tree = shapely.STRtree(self.polygons)

    @property
    def bounds(self) -> Bounds:
        """Of all polygons together."""
        west, south, east, north = shapely.total_bounds(self.polygons).tolist()
        return west, south, east, north

    def touches(self, grid: Grid, window: Window) -> bool:
        """Whether a polygon reaches into a window of a grid."""
        return self._near(grid.crop(window)).size > 0

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in a polygon."""
        return self._tree.query(shapely.Point(x, y), predicate="intersects").size > 0

    def inside(self, grid: Grid, window: Window) -> np.ndarray:
        """(rows, columns) True where the middle of a pixel lies in a polygon."""
        part = grid.crop(window)
        near = self.polygons[self._near(part)]
        if not len(near):
            return np.zeros(part.shape, bool)
        return rasterize(near, out_shape=part.shape, transform=part.transform, dtype="uint8").astype(bool)

    def _near(self, grid: Grid) -> np.ndarray:
        return self._tree.query(shapely.Polygon(grid.outline()), predicate="intersects")


def read_shapes(path: Path, grid: Grid, layer: str | None = None) -> tuple[np.ndarray, list[str], list[np.ndarray]]:
    """Shapes of a file in the CRS of a grid, with their attributes.

    Raises:
        InputFault: it cannot be read, or has no CRS.
    """
    if not Path(path).exists():
        raise InputFault("no_such_file", where=path)
    try:
        meta, _, wkb, columns = pyogrio.raw.read(path, layer=layer or _first_layer(path))
        if wkb is None:
            raise InputFault.worded(f"{path}: holds a table without shapes")
        shapes = shapely.from_wkb(wkb)
        if meta["crs"] is None:
            raise InputFault.worded(f"{path}: has no CRS; set it, so that its shapes can be placed")
        usable = shapely.is_valid_input(shapes) & ~shapely.is_empty(shapes)
        shapes = _transformed(_made_valid(shapes[usable]), meta["crs"], grid)
    except (*PYOGRIO_ERRORS, CRSError, ProjError) as error:
        raise InputFault.worded(f"{path}: cannot be read as points or polygons ({first_line(error)})") from error
    except shapely.errors.ShapelyError as error:
        raise InputFault.worded(f"{path}: holds invalid shapes ({first_line(error)})") from error
    return shapes, list(meta["fields"]), [column[usable] for column in columns]


def _first_layer(path: Path) -> str | None:
    """First layer with shapes: QGIS keeps styles as another layer of a GeoPackage."""
    return next((str(name) for name, kind in pyogrio.list_layers(path) if kind is not None), None)


def _made_valid(shapes: np.ndarray) -> np.ndarray:
    """Valid shapes; a spike of a polygon becomes a line beside it, which is left out."""
    shapes = shapely.make_valid(shapes)
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    for number in np.flatnonzero(mixed & (shapely.get_dimensions(shapes) == 2)):
        parts = shapely.get_parts(shapely.get_parts(shapes[number]))
        shapes[number] = shapely.multipolygons(parts[shapely.get_dimensions(parts) == 2])
    return shapes


def _transformed(shapes: np.ndarray, crs: str, grid: Grid) -> np.ndarray:
    """In the grid's CRS; long straight sides get corners first, since they are not straight there."""
    own, target = pyproj.CRS.from_user_input(crs), pyproj.CRS.from_wkt(grid.crs.to_wkt())
    if not len(shapes) or own == target:
        return shapes
    west, south, east, north = shapely.total_bounds(shapes)
    longest = max(east - west, north - south)
    cut = shapely.segmentize(shapes, longest / _PARTS) if longest > 0 else shapes
    transformer = pyproj.Transformer.from_crs(own, target, always_xy=True)
    moved = shapely.transform(cut, lambda at: np.column_stack(transformer.transform(at[:, 0], at[:, 1])))
    return moved[np.isfinite(shapely.bounds(moved)).all(axis=1)]


class PyogrioVectors:
    """See ``export.runtime.results.vectors.VectorOut``."""

    def trace(self, numbers: Path, grid: Grid, keep_going: KeepGoing) -> Iterator[tuple[Any, int]]:
        """Outlines of the connected pixels of one number in a raster, and that number; 0 is left out."""
        with writing(numbers), rasterio.open(numbers) as source:
            for shape, number in outlines_of(rasterio.band(source, 1), connectivity=4, transform=grid.transform):
                if number > 0:
                    rings = shape["coordinates"]
                    yield shapely.Polygon(rings[0], rings[1:]), int(number)

    def boxes(self, corners: np.ndarray) -> Any:
        """Polygons with four corners each, (N, 4, 2) x and y."""
        return shapely.polygons(corners) if len(corners) else np.zeros(0, object)

    def write(
        self, out: Path, layer: str, kind: str, grid: Grid, columns: dict[str, str], batches: Iterable[Batch]
    ) -> int:
        """Write features into a new GeoPackage and count them there."""
        multi = {"promote_to_multi": True} if kind.startswith("Multi") else {}
        append = False
        for shapes_, values in batches:
            outlines = np.array(shapes_, object)
            if len(outlines):  # a ring that meets itself at a corner is no valid polygon: there the patch has a hole
                valid = shapely.is_valid(outlines)
                outlines = np.where(valid, outlines, shapely.make_valid(outlines))
            try:
                pyogrio.raw.write(
                    out, shapely.to_wkb(outlines), list(values), list(columns), geometry_type=kind,
                    crs=grid.crs.to_wkt(), driver="GPKG", layer=layer, append=append, **multi,
                )  # fmt: skip
            except PYOGRIO_ERRORS as error:
                raise InputFault("write_failed", where=out.name, reason=first_line(error)) from error
            append = True
        return int(pyogrio.read_info(out, layer=layer)["features"])

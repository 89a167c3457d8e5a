"""Shapes of a vector file, and polygons in any CRS on the grid of a raster: for masks, labels and samples alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyproj
import shapely
from pyproj.exceptions import CRSError, ProjError
from rasterio.features import rasterize

from export.rasterio_io.grid import Grid
from export.runtime.errors import InputFault, first_line
from export.runtime.raster.lattice import Bounds, Units
from export.runtime.raster.shapes import footprint
from export.runtime.raster.shapes.footprint import Move, Way
from export.runtime.raster.shapes.polygons import Polygons

_SIDES = 1000  # pieces of a ring, at least, that is moved to degrees
_LONG = 1000  # corners of a polygon that is cut to a window before it is burnt
# Codes of WKB (polyhedral surface, TIN, triangle, polygon) and those as which shapely knows the same.
_SURFACES = {15: 6, 16: 6, 17: 3, 3: 3}


class Features(NamedTuple):
    """Valid shapes of a file in its own CRS, and their attributes: names and columns."""

    shapes: np.ndarray
    crs: pyproj.CRS
    fields: list[str]
    columns: list[np.ndarray]


def vector_library() -> tuple[Any, tuple[type[Exception], ...]]:
    """Pyogrio and its errors. Imported here: it takes geopandas with it where that is installed, for half a second."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

    return pyogrio, (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, OSError)


def read_features(path: Path, layer: str | None = None, columns: Sequence[str] | None = None) -> Features:
    """The shapes of a file that are neither missing nor empty, with all their attributes or those named.

    Raises:
        InputFault: it cannot be read, or has no CRS.
    """
    if not Path(path).exists():
        raise InputFault("no_such_file", where=path)
    pyogrio, library_errors = vector_library()
    errors: tuple[type[Exception], ...] = (*library_errors, CRSError)
    try:
        meta, _, wkb, values = pyogrio.raw.read(path, layer=layer or _first_layer(path), columns=columns)
        if wkb is None:
            raise InputFault.worded(f"{path}: holds a table without shapes")
        if meta["crs"] is None:
            raise InputFault.worded(
                f"{path}: has no CRS (a shapefile's .prj file); set it, so that its shapes can be placed"
            )
        shapes = shapely.from_wkb([one and _known(one) for one in wkb])
        usable = shapely.is_valid_input(shapes) & ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        crs = pyproj.CRS.from_user_input(meta["crs"])
        return Features(_made_valid(shapes[usable]), crs, list(meta["fields"]), [column[usable] for column in values])
    except errors as error:
        raise InputFault.worded(f"{path}: cannot be read as points or polygons ({first_line(error)})") from error
    except shapely.errors.ShapelyError as error:
        raise InputFault.worded(f"{path}: holds invalid shapes ({first_line(error)})") from error


def _first_layer(path: Path) -> str | None:
    """First layer with shapes: QGIS keeps styles as another layer of a GeoPackage."""
    layers = vector_library()[0].list_layers(path)
    return next((str(name) for name, kind in layers if kind is not None), None)


def _known(wkb: bytes) -> bytes:
    """The same surface as polygons, where shapely does not know its kind; as bytes they differ by their codes alone."""
    order: Literal["little", "big"] = "little" if wkb[0] else "big"
    known, made = bytearray(wkb), int.from_bytes(wkb[1:5], order) % 1000
    dimensions = int.from_bytes(wkb[1:5], order) // 1000  # 0: x y, 1: with z, 2: with m, 3: with both

    def number(at: int) -> int:
        return int.from_bytes(wkb[at : at + 4], order)

    def name(at: int) -> None:
        known[at + 1 : at + 5] = (dimensions * 1000 + _SURFACES[number(at + 1) % 1000]).to_bytes(4, order)

    if made in _SURFACES:
        name(0)
    if made in (15, 16):
        at = 9
        for _ in range(number(5)):
            name(at)
            rings, at = number(at + 5), at + 9
            for _ in range(rings):
                at += 4 + number(at) * 8 * (2, 3, 3, 4)[dimensions]
    return bytes(known)


def _made_valid(shapes: np.ndarray) -> np.ndarray:
    """Valid shapes; of a collection with polygons only they are kept, such as beside the line that a spike becomes."""
    wrong = ~shapely.is_valid(shapes) | (shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for number in np.flatnonzero(wrong):
        shapes[number] = _mended(shapes[number])
    return shapes


def mended(shapes: np.ndarray) -> np.ndarray:
    """Valid polygons of shapes, without those that are missing, empty, points or lines."""
    shapes = _made_valid(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
    return shapes[shapely.get_dimensions(shapes) == 2]


def _mended(shape: shapely.Geometry) -> shapely.Geometry:
    """Part by part: of polygons that overlap, making them valid together would cut the overlap out."""
    parts = shapely.make_valid(_parts(shape))
    polygons = _parts(parts)
    polygons = polygons[shapely.get_dimensions(polygons) == 2]
    return shapely.union_all(polygons if len(polygons) else parts)


def _parts(shapes: np.ndarray | shapely.Geometry) -> np.ndarray:
    """Of shapes, those of collections within collections too."""
    parts = shapely.get_parts(shapes)
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():
        parts = shapely.get_parts(parts)
    return parts


def way(own: pyproj.CRS, grid: Grid) -> Way:
    """Between a CRS and a grid's.

    Raises:
        InputFault: no way is known.
    """
    target = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    if own == target:  # a site's own grid too, from which no way leads elsewhere
        return Way(_same, _same, turn_of(own), turn_of(own), same=True)
    try:
        there = pyproj.Transformer.from_crs(own, target, always_xy=True).transform
        back = pyproj.Transformer.from_crs(target, own, always_xy=True).transform
    except ProjError as error:
        raise InputFault.worded(
            f"no way is known from {own.name} to {target.name}; transform one of them first"
        ) from error
    return Way(there, back, turn_of(own), turn_of(target), not (own.is_derived or target.is_derived))


def _same(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x, y


def turn_of(crs: pyproj.CRS) -> float:
    """Units of a full turn of longitude; 0 of a projected CRS."""
    return Units.of(True, crs.axis_info[0].unit_conversion_factor).turn if crs.is_geographic else 0.0


def placed(points: np.ndarray, crs: pyproj.CRS, grid: Grid) -> np.ndarray:
    """(N, 2) points in a grid's CRS, at the longitudes that it counts; not finite where it has no such place."""
    return footprint.placed(shapely.get_coordinates(points), grid, way(crs, grid))


def polygons_on(shapes: np.ndarray, crs: pyproj.CRS, grid: Grid) -> Polygons:
    """Valid shapes of a CRS on a grid; those that are no polygons lie nowhere.

    Raises:
        InputFault: no way is known between the CRSs.
    """
    numbers = np.flatnonzero(shapely.get_dimensions(shapes) == 2)
    return Polygons(ShapelyPolygons(*_parted(shapes[numbers], numbers)), grid, way(crs, grid))


def cut_at_antimeridian(shape: shapely.Geometry) -> shapely.Geometry:
    """An area in degrees of any longitude, within -180 to 180."""
    west, _, east, _ = shape.bounds
    parts = []
    for turn in range(360 * int((west + 180) // 360), 360 * int((east + 180) // 360) + 1, 360):
        part = shapely.intersection(shape, shapely.box(turn - 180, -90, turn + 180, 90))
        parts.append(shapely.transform(part, lambda at: at - [turn, 0]))  # noqa: B023  # called at once
    return shapely.union_all([part for part in parts if part.area > 0])


def around(polygon: shapely.Polygon) -> shapely.Geometry:
    """A polygon in degrees whose sides run the shorter way around the Earth, within -180 to 180.

    A ring around a pole, which then does not close, is led along the pole of its hemisphere.
    """
    rings = [footprint.unrolled(np.array(ring.coords)[:, :2], 360.0) for ring in (polygon.exterior, *polygon.interiors)]
    for ring in rings:
        ring[:, 0] += 360 * np.rint((rings[0][0, 0] - ring[0, 0]) / 360)
    shells: list[shapely.Geometry] = []
    holes: list[shapely.Geometry] = []
    for number, ring in enumerate(rings):
        if abs(ring[-1, 0] - ring[0, 0]) > 180:
            pole = np.copysign(90, ring[:, 1].mean())
            ring = np.vstack([ring, [[ring[-1, 0], pole], [ring[0, 0], pole]]])
        (holes if number else shells).append(cut_at_antimeridian(shapely.make_valid(shapely.Polygon(ring))))
    return shapely.difference(shells[0], shapely.union_all(holes)) if holes else shells[0]


def in_degrees(shapes: np.ndarray, crs: pyproj.CRS) -> np.ndarray:
    """Polygons of a CRS in longitude and latitude, WGS 84, within -180 to 180; those of one shape together.

    Raises:
        InputFault: one lies where the CRS has no place on Earth.
    """
    degrees = pyproj.CRS.from_user_input("OGC:CRS84")
    move, made = pyproj.Transformer.from_crs(crs, degrees, always_xy=True).transform, []
    for shape in shapes:
        parts = _parts(shape)
        if crs.is_geographic:
            moved = [_transformed(part, move) for part in parts]
            made.append(shapely.union_all([cut_at_antimeridian(shapely.make_valid(part)) for part in moved]))
        else:
            bent = [shapely.segmentize(part, max(part.length / _SIDES, 1e-9)) for part in parts]
            made.append(shapely.union_all([around(_transformed(part, move)) for part in bent]))
    return np.array(made, object)


def _transformed(shape: shapely.Geometry, move: Move) -> shapely.Geometry:
    moved = shapely.transform(shape, lambda at: np.column_stack(move(at[:, 0], at[:, 1])))
    if not np.isfinite(shapely.bounds(moved)).all():
        raise InputFault.worded("a polygon lies where its CRS has no place on Earth")
    return moved


class ShapelyPolygons:
    """See ``export.runtime.raster.shapes.polygons.Own``; polygons and, ascending, the numbers of those they are parts of."""

    def __init__(self, shapes: np.ndarray, numbers: np.ndarray) -> None:
        self.shapes, self.numbers, self._tree = shapes, numbers, shapely.STRtree(shapes)

    @property
    def bounds(self) -> Bounds:
        """See ``Own``."""
        west, south, east, north = shapely.total_bounds(self.shapes).tolist()
        return west, south, east, north

    def cut(self, frame: np.ndarray, grid: Grid, way: Way) -> ShapelyPieces | None:
        """See ``Own``."""
        outline = shapely.Polygon(frame)
        if not outline.is_valid:
            return None
        pieces, numbers = [self.shapes[:0]], [self.numbers[:0]]
        for turn in footprint.turns(frame, self.bounds[0], self.bounds[2], way) if len(self.shapes) else ():
            area = shapely.transform(outline, lambda at: at - [turn, 0])  # noqa: B023
            near = np.sort(self._tree.query(area, predicate="intersects"))
            shapely.prepare(area)
            whole = shapely.contains_properly(area, self.shapes[near])
            cut = self.shapes[near]
            cut[~whole] = shapely.intersection(cut[~whole], area)
            parts, of = _parted(cut, self.numbers[near])
            pieces.append(shapely.transform(parts, lambda at: at + [turn, 0]))  # noqa: B023
            numbers.append(of)
        number = np.concatenate(numbers)
        order = np.argsort(number, kind="stable")
        moved = _moved(np.concatenate(pieces)[order], grid, way)
        return None if moved is None else ShapelyPieces(moved, number[order])

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See ``Own``."""
        place, polygon = self._tree.query(shapely.points(points), predicate="within")
        return place, self.numbers[polygon]


class ShapelyPieces:
    """See ``export.runtime.raster.shapes.polygons.Pieces``."""

    def __init__(self, shapes: np.ndarray, numbers: np.ndarray) -> None:
        self.boxes = shapely.bounds(shapes)
        self.shapes, self.numbers, self._tree = shapes, numbers, shapely.STRtree(shapes)

    @property
    def surface_point(self) -> tuple[float, float]:
        """See ``Pieces``."""
        point = shapely.point_on_surface(self.shapes[0])
        return point.x, point.y

    def only(self, number: int) -> ShapelyPieces:
        """See ``Pieces``."""
        alone = slice(*np.searchsorted(self.numbers, [number, number + 1]))
        return ShapelyPieces(self.shapes[alone], self.numbers[alone])

    def touch(self, part: Grid) -> bool:
        """See ``Pieces``."""
        return len(self._near(part)) > 0

    def burn(self, part: Grid) -> np.ndarray:
        """See ``Pieces``."""
        near = np.sort(self._near(part))
        if not len(near):
            return np.full(part.shape, -1, np.int32)
        shapes, long = self.shapes[near], shapely.get_num_coordinates(self.shapes[near]) > _LONG
        if long.any():
            (west, south, east, north), side = part.bounds, 2 * np.sqrt(part.pixel_area)
            shapes[long] = shapely.clip_by_rect(shapes[long], west - side, south - side, east + side, north + side)
        pairs = zip(shapes, (self.numbers[near] + 1).tolist())
        return rasterize(pairs, part.shape, 0, transform=part.transform, dtype="int32") - 1

    def _near(self, part: Grid) -> np.ndarray:
        return self._tree.query(shapely.Polygon(part.outline()), predicate="intersects")


def _parted(shapes: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Their polygons one by one, and the numbers of the shapes they are parts of."""
    parts, of = shapely.get_parts(shapes, return_index=True)
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        of = of[inner]
    surfaces = shapely.get_dimensions(parts) == 2
    return parts[surfaces], numbers[of[surfaces]]


def _moved(own: np.ndarray, grid: Grid, way: Way) -> np.ndarray | None:
    """Polygons in the grid's CRS; None where one cannot be moved truly."""
    if not len(own):
        return own
    kind, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(own)
    moved = footprint.bent(points[:, :2], np.repeat(np.arange(len(ring_ends) - 1), np.diff(ring_ends)), grid, way)
    if moved is None:
        return None
    points, ring = moved
    ends = np.searchsorted(ring, np.arange(len(ring_ends)))
    shapes = shapely.from_ragged_array(kind, points, (ends, polygon_ends))
    wrong = ~shapely.is_valid(shapes)
    shapes[wrong] = shapely.make_valid(shapes[wrong])
    return shapes

"""Legends, and land-cover labels of rasters: a raster of class values, or polygons."""

from __future__ import annotations

import colorsys
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyogrio
from pyogrio.errors import DataSourceError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from core.errors import InputFault, UserError, first_line
from core.files import read_csv, stamp
from core.imagery.georasters import GeoRaster, open_plain, open_raster, overlap, stamp_of
from core.imagery.pixels import read, read_on_grid
from core.store.read import UNLABELLED, LandClass
from export.rasterio_io.grid import Grid
from export.rasterio_io.polygons import polygons_on, read_features
from export.runtime.raster.lattice import Placement
from export.runtime.raster.names import is_path
from export.runtime.raster.shapes.polygons import Polygons
from export.runtime.raster.window import Window as RuntimeWindow


def legend_of(names: Mapping[int, str]) -> tuple[LandClass, ...]:
    """Classes by value, in made-up colours."""
    return tuple(
        LandClass(value, names[value], color) for value, color in zip(sorted(names), made_up_colors(len(names)))
    )


def made_up_colors(count: int) -> list[str]:
    """So many colours as ``RRGGBB``, different for up to 62 classes."""
    # Steps of the golden section never meet on the circle of hues; saturation and brightness alternate.
    shades = ((i * 0.618034 % 1, (0.9, 0.55)[i % 2], (0.95, 0.7, 0.5)[i % 3]) for i in range(count))
    return ["".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(*shade)) for shade in shades]


def numbers_of(classes: tuple[LandClass, ...]) -> dict[str, int]:
    """Class numbers by name and, for tables that hold class values, by value as text; a name takes precedence."""
    numbers = {str(entry.value): number for number, entry in enumerate(classes)}
    return numbers | {entry.name: number for number, entry in enumerate(classes)}


def read_legend(table: Path) -> tuple[LandClass, ...]:
    """Read a CSV with the columns ``value``, ``name`` and ``color`` (RRGGBB)."""
    try:
        rows = [LandClass(int(r["value"]), r["name"], r["color"].lstrip("#").upper()) for r in read_csv(table)]
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{table}: needs the columns value, name and color ({error})") from error
    if not rows or any(not re.fullmatch("[0-9A-F]{6}", row.color) for row in rows):
        raise UserError(f"{table}: colours must look like 1C6330")
    values = [row.value for row in rows]
    if len(set(values)) < len(values) or not 0 <= min(values) <= max(values) < UNLABELLED:
        raise UserError(f"{table}: class values must differ and lie within 0 to 254")
    return tuple(rows)


def open_labels(
    where: str | Path | None, class_field: str | None, legend: tuple[LandClass, ...] | None, placement: Placement | None
) -> LabelRaster | LabelPolygons | None:
    """The labels that a command line names; a ``UserError`` if the options do not fit the kind of the file."""
    if where is None:
        if class_field:
            raise UserError("--class-field needs --labels with the polygons")
        return None
    path = Path(where)
    if is_path(str(where)) and not path.exists():
        raise UserError(f"{path}: no such file")
    if class_field:
        return LabelPolygons(path, class_field, legend or _classes_of_polygons(path, class_field))
    try:
        pyogrio.read_info(where)
    except DataSourceError:  # no vector file: a raster
        return LabelRaster(where, placement, legend or _classes_of_raster(where))
    raise UserError(f"{path}: holds polygons; name the field of their class with --class-field NAME")


@dataclass(frozen=True)
class LabelRaster:
    """A raster of class values of any type, whole numbers from 0 to 254, put on the grid by nearest neighbour."""

    path: str | Path
    placement: Placement | None
    classes: tuple[LandClass, ...]
    stamp: tuple[int, int] = dataclasses.field(init=False)  # a changed file of the same name makes another store

    def __post_init__(self) -> None:
        object.__setattr__(self, "stamp", stamp_of(self.path))

    def check(self, grid: GeoRaster) -> None:
        """Refuse complex numbers, and labels that lie elsewhere."""
        with open_raster(self.path, self.placement) as source:
            _check_one_band(source, self.path)
            if source.dtypes[0].startswith("complex"):
                raise UserError(f"{self.path}: holds complex numbers, which are no classes")
            if not overlap(source, grid):
                raise UserError(f"{self.path}: does not overlap {grid.name}; are the CRSs right?")

    def numbers(self, grid: GeoRaster, window: Window) -> np.ndarray:
        """Class numbers of a window of the grid, (rows, cols) uint8, ``UNLABELLED`` where unknown."""
        try:
            with open_raster(self.path, self.placement) as source:
                values, valid = read_on_grid(source, grid, window, Resampling.nearest)
        except RasterioError as error:
            raise UserError(f"{self.path}: corrupt or truncated file ({first_line(error)})") from error
        numbers, unknown = class_numbers(values[0], valid, [entry.value for entry in self.classes])
        other = unknown[unknown != UNLABELLED]
        if len(other):
            raise UserError(f"{self.path}: holds the value {as_text(other[0])}, which is not in the legend")
        return numbers


def class_numbers(values: np.ndarray, valid: np.ndarray, known: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the classes that have these ``known`` values, uint8, ``UNLABELLED`` elsewhere; the valid values of no class."""
    order = np.argsort(known)
    ranked = np.array(known)[order]
    at = np.searchsorted(ranked, values).clip(max=len(ranked) - 1)
    found = valid & (ranked[at] == values)
    return np.where(found, order[at], UNLABELLED).astype(np.uint8), values[valid & ~found]


@dataclass(frozen=True)
class LabelPolygons:
    """Polygons with a class each; where they overlap the later one counts, outside them pixels are unlabelled."""

    path: Path
    field: str
    classes: tuple[LandClass, ...]
    stamp: tuple[int, int] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        parts = [self.path.with_suffix(suffix) for suffix in (".dbf", ".prj", ".cpg") if self.path.suffix == ".shp"]
        object.__setattr__(self, "stamp", stamp([self.path, *(part for part in parts if part.exists())]))

    def check(self, grid: GeoRaster) -> None:
        """Refuse polygons that all lie elsewhere."""
        placed, _ = _placed(self, _grid_of(grid))
        if not placed.touches(placed.grid, placed.grid.whole):
            raise UserError(f"{self.path}: none of its polygons lies on {grid.name}; are the CRSs right?")

    def numbers(self, grid: GeoRaster, window: Window) -> np.ndarray:
        """Class numbers of a window of the grid, (rows, cols) uint8, ``UNLABELLED`` where unknown."""
        placed, classes = _placed(self, _grid_of(grid))
        area = RuntimeWindow(*map(int, (window.row_off, window.col_off, window.height, window.width)))
        return classes[placed.last(placed.grid.crop(area))]


def _grid_of(source: GeoRaster) -> Grid:
    return Grid(source.crs, source.transform, *source.shape)


@lru_cache(2)
def _placed(labels: LabelPolygons, grid: Grid) -> tuple[Polygons, np.ndarray]:
    """The polygons that have a class and a shape, on a grid; their class numbers, and last that of no polygon."""
    number_of = numbers_of(labels.classes)
    try:
        features = read_features(labels.path, columns=[labels.field])
        values = features.columns[0].tolist()
        known = [number for number, value in enumerate(values) if value is not None and value == value]
        unknown = next((values[number] for number in known if as_text(values[number]) not in number_of), None)
        if unknown is not None:
            raise UserError(f"{labels.path}: holds the class {unknown}, which is not in the legend")
        classes = [*(number_of[as_text(values[number])] for number in known), UNLABELLED]
        return polygons_on(features.shapes[known], features.crs, grid), np.array(classes, np.uint8)
    except InputFault as error:
        raise UserError(str(error)) from error


def as_text(value: object) -> str:
    """A class as text; whole numbers without a decimal point, however the file stores them."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return str(value)
    return str(int(value)) if float(value).is_integer() else str(value)


def _classes_of_polygons(path: Path, field: str) -> tuple[LandClass, ...]:
    """The values of the field, sorted: numbers keep their value, names are numbered."""
    try:
        info = pyogrio.read_info(path)
        if field not in info["fields"]:
            raise UserError(f"{path}: has no field {field}; it has {', '.join(info['fields']) or 'none'}")
        if re.search("Point|LineString", str(info["geometry_type"])):
            raise UserError(f"{path}: holds geometries of type {info['geometry_type']}, not polygons")
        values = pyogrio.read_dataframe(path, columns=[field], read_geometry=False)[field].dropna().unique()
    except DataSourceError as error:
        raise UserError(f"{path}: cannot be read as polygons ({first_line(error)})") from error
    names = sorted(
        {as_text(value) for value in values},
        key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name),
    )
    if not names:
        raise UserError(f"{path}: its field {field} holds no class")
    numeric = all(name.isdigit() and int(name) < UNLABELLED for name in names)
    if len(names) >= UNLABELLED:
        raise UserError(f"{path}: its field {field} holds {len(names)} classes; at most {UNLABELLED - 1} are possible")
    return legend_of({int(n) if numeric else i: f"class {n}" if numeric else n for i, n in enumerate(names)})


def _check_one_band(source: GeoRaster, path: str | Path) -> None:
    if len(source.bands) != 1:
        inside = f"; name one of {', '.join(source.subdatasets[:20])}" if source.subdatasets else ""
        raise UserError(f"{path}: has {len(source.bands)} bands, but classes are the values of one{inside}")


def _classes_of_raster(path: str | Path) -> tuple[LandClass, ...]:
    """Classes of a label raster, named by value, in its own colours or in made-up ones."""
    try:
        with open_plain(path) as source:
            _check_one_band(source, path)
            present: set[float] = set()
            for _, window in source.block_windows(1):
                values, valid = read(source, window, bands=[1])
                present.update(np.unique(values[0][valid]).tolist())
                other = [value for value in present if value not in range(UNLABELLED + 1)]
                if other:
                    raise UserError(
                        f"{path}: holds the value {as_text(other[0])}, but classes are whole numbers from 0 to {UNLABELLED - 1}; "
                        "state what is no class as nodata"
                    )
            names = {int(value): f"class {int(value)}" for value in sorted(present - {UNLABELLED})}
            try:
                table = source.colormap(1)
            except ValueError:
                return legend_of(names)
            return tuple(LandClass(v, name, "{:02X}{:02X}{:02X}".format(*table[v][:3])) for v, name in names.items())
    except RasterioError as error:
        raise UserError(f"{path}: cannot be read as labels ({first_line(error)})") from error

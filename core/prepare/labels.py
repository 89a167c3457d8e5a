"""Classes of the ground: a raster of class numbers, or an analyst's polygons."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import pyogrio
import rasterio
from pyogrio.errors import DataSourceError
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from rasterio.windows import transform as transform_of

from core.errors import UserError, first_line
from core.prepare.grids import Placement, on_grid, open_raster, read
from core.prepare.tables import legend_of, made_up_colors
from core.store import UNLABELLED, LandClass

Grid: TypeAlias = rasterio.DatasetReader | WarpedVRT


class Labels(Protocol):
    """Where class numbers come from; it can be pickled."""

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """The legend."""

    def check(self, grid: Grid) -> None:
        """Raise ``UserError`` where the labels do not fit the grid."""

    def numbers(self, grid: Grid, window: Window) -> np.ndarray:
        """Class numbers of a window of the grid, (rows, cols) uint8, ``UNLABELLED`` where unknown."""


def find(
    path: Path | None, class_field: str | None, legend: tuple[LandClass, ...] | None, placement: Placement | None
) -> Labels | None:
    """The labels that a command line names.

    Raises:
        UserError: the file cannot be read, or is of the other kind than the options say.
    """
    if path is None:
        if class_field:
            raise UserError("--class-field needs --labels, the file of the polygons")
        return None
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if class_field:
        return LabelPolygons(path, class_field, legend or _classes_of_polygons(path, class_field))
    try:
        pyogrio.read_info(path)
    except DataSourceError:  # no vector file: a raster
        return LabelRaster(path, placement, legend or _classes_of_raster(path))
    raise UserError(f"{path}: holds polygons; name the field with their class: --class-field NAME")


@dataclass(frozen=True)
class LabelRaster:
    """A raster of class numbers (uint8), put on the grid by nearest neighbour."""

    path: Path
    placement: Placement | None
    classes: tuple[LandClass, ...]

    def check(self, grid: Grid) -> None:
        """Refuse other data types."""
        with open_raster(self.path, self.placement) as source:
            if source.dtypes[0] != "uint8":
                raise UserError(f"{self.path}: class numbers must be uint8, these are {source.dtypes[0]}")

    def numbers(self, grid: Grid, window: Window) -> np.ndarray:
        """Read a window."""
        with open_raster(self.path, self.placement) as source, on_grid(source, grid, Resampling.nearest) as aligned:
            values, valid = read(aligned, window)
        table = np.full(256, UNLABELLED, np.uint8)
        table[[entry.value for entry in self.classes]] = np.arange(len(self.classes))
        numbers = np.where(valid, table[values[0]], np.uint8(UNLABELLED))
        unexplained = valid & (numbers == UNLABELLED) & (values[0] != UNLABELLED)
        if unexplained.any():
            value = values[0][unexplained][0]
            raise UserError(f"{self.path}: holds the value {value}, which the legend does not explain")
        return numbers


@dataclass(frozen=True)
class LabelPolygons:
    """Polygons with a class each; where they overlap the later one counts, outside them nothing is known."""

    path: Path
    field: str
    classes: tuple[LandClass, ...]

    def check(self, grid: Grid) -> None:
        """Refuse polygons that all lie elsewhere."""
        if (self.numbers(grid, Window(0, 0, grid.width, grid.height), 256) == UNLABELLED).all():
            raise UserError(f"{self.path}: none of its polygons lies on {Path(grid.name).name}; are the CRSs right?")

    def numbers(self, grid: Grid, window: Window, at_most: int | None = None) -> np.ndarray:
        """Rasterise the polygons that touch a window.

        Args:
            grid: of the chips.
            window: part of it.
            at_most: rows and columns; a larger window is looked at more coarsely, and every pixel touched counts.
        """
        import geopandas as gpd

        place = transform_of(window, grid.transform)
        shape = (int(window.height), int(window.width))
        if at_most:
            coarse = (min(shape[0], at_most), min(shape[1], at_most))
            place, shape = place @ place.scale(shape[1] / coarse[1], shape[0] / coarse[0]), coarse
        table = gpd.read_file(self.path, columns=[self.field])
        table = table[table.geometry.notna() & ~table.geometry.is_empty & table[self.field].notna()].to_crs(grid.crs)
        # A class is named by its name or, in files that number them, by its value.
        number_of = {str(entry.value): i for i, entry in enumerate(self.classes)}
        number_of |= {entry.name: i for i, entry in enumerate(self.classes)}
        shapes = []
        for geometry, value in zip(table.geometry, table[self.field]):
            number = number_of.get(_plain(value))
            if number is None:
                raise UserError(f"{self.path}: holds the class {value}, which the legend does not explain")
            shapes.append((geometry, number))
        if not shapes:
            return np.full(shape, UNLABELLED, np.uint8)
        return rasterize(
            shapes, shape, fill=UNLABELLED, transform=place, dtype="uint8", all_touched=at_most is not None
        )


def _plain(value: object) -> str:
    """A class as text; whole numbers without a decimal point, however the file stores them."""
    return str(int(value)) if isinstance(value, (int, float, np.number)) and float(value).is_integer() else str(value)


def _classes_of_polygons(path: Path, field: str) -> tuple[LandClass, ...]:
    """The values of the field, sorted: numbers keep their value, names are numbered."""
    try:
        info = pyogrio.read_info(path)
        if field not in info["fields"]:
            raise UserError(f"{path}: has no field {field}; it has {', '.join(info['fields']) or 'none'}")
        if "Polygon" not in str(info["geometry_type"]) and info["geometry_type"] not in (None, "Unknown"):
            raise UserError(f"{path}: holds {info['geometry_type']}s, not polygons")
        values = pyogrio.read_dataframe(path, columns=[field], read_geometry=False)[field].dropna().unique()
    except DataSourceError as error:
        raise UserError(f"{path}: cannot be read as polygons ({first_line(error)})") from error
    names = sorted(
        {_plain(value) for value in values},
        key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name),
    )
    if not names:
        raise UserError(f"{path}: its field {field} holds no class")
    numeric = all(name.isdigit() and int(name) < UNLABELLED for name in names)
    if len(names) >= UNLABELLED:
        raise UserError(f"{path}: its field {field} holds {len(names)} classes; at most {UNLABELLED - 1} are possible")
    return legend_of({int(n) if numeric else i: f"class {n}" if numeric else n for i, n in enumerate(names)})


def _classes_of_raster(path: Path) -> tuple[LandClass, ...]:
    """Classes found in a label raster, named by number, in its own colours or in made-up ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            source = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            raise UserError(f"{path}: cannot be read as labels ({first_line(error)})") from error
    with source:
        found: set[int] = set()
        for _, window in source.block_windows(1):
            found.update(np.unique(source.read(1, window=window, masked=True).compressed()).tolist())
        values = sorted(found - {UNLABELLED})
        try:
            own = {value: "{:02X}{:02X}{:02X}".format(*rgba[:3]) for value, rgba in source.colormap(1).items()}
        except ValueError:  # no colour table
            own = dict(zip(values, made_up_colors(len(values))))
    return tuple(LandClass(value, f"class {value}", own[value]) for value in values)

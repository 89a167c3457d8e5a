"""``python -m export.assess``: how right a map is, and how much each class really covers. Needs no torch."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.windows import Window as RasterWindow

from export.rasterio_io.grid import Grid
from export.rasterio_io.limits import read_shapes
from export.rasterio_io.pixels import RASTER_ERRORS
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.files import Staging
from export.runtime.raster.patches import row_blocks
from export.runtime.results.assessment import Report, class_numbers, compare, most_common, true_field
from export.wording import words

DESCRIPTION = """Compares a map with reference points or polygons: confusion matrix, user's and producer's accuracy and
the area of each class, with 95 %% confidence intervals, by stratified estimation (Olofsson et al. 2014): each
map class is a stratum, and counts become proportions of the mapped area before anything is computed. The sample
must be random within each map class (or over the whole map) and must not have served for training. A polygon
counts as one unit: its map class is the one that most of its pixels have."""


@dataclass(frozen=True)
class MapClasses:
    """A map of classes: its grid, its legend, how much each class covers."""

    path: Path
    grid: Grid
    names: dict[int, str]
    square_metres: dict[int, float]

    @classmethod
    def read(cls, path: Path) -> MapClasses:
        """Measure a map, block by block.

        Raises:
            InputFault: it cannot be read, is no map of classes, or has no coordinates.
        """
        if not path.exists():
            raise InputFault(f"{path}: no such file")
        try:
            with rasterio.open(path) as source:
                if source.crs is None:
                    raise InputFault(f"{path}: has no CRS, so nothing can be found on it")
                if not source.dtypes[0].startswith("uint"):
                    raise InputFault(f"{path}: holds {source.dtypes[0]}, no class numbers")
                grid = Grid(source.crs, source.transform, *source.shape)
                covered: dict[int, float] = {}
                for top, rows in row_blocks(grid.height, 256):
                    _measure(source, top, rows, grid, covered)
        except RASTER_ERRORS as error:
            raise InputFault(f"{path}: cannot be read as a raster ({error})") from error
        if not covered:
            raise InputFault(f"{path}: holds no data at all")
        return cls(path, grid, _category_names(path), dict(sorted(covered.items())))

    def at(self, shapes: np.ndarray) -> np.ndarray:
        """(N,) class of each point or polygon, -1 outside the map or on nodata."""
        with rasterio.open(self.path) as source:
            return np.array([self._class_of(source, shape) for shape in shapes], np.int64)

    def _class_of(self, source: rasterio.DatasetReader, shape: shapely.Geometry) -> int:
        window = self.grid.window_inside(shape.bounds)
        if shape.geom_type in ("Point", "MultiPoint"):
            column, row = (int(np.floor(v)) for v in ~self.grid.transform * shape.centroid.coords[0])
            if not (0 <= row < self.grid.height and 0 <= column < self.grid.width):
                return -1
            where, inside = RasterWindow(column, row, 1, 1), np.ones((1, 1), bool)
        elif window is None:
            return -1
        else:
            part = self.grid.crop(window)
            where = RasterWindow(window.column, window.row, window.width, window.height)
            inside = geometry_mask([shape], part.shape, part.transform, invert=True)
            if not inside.any():  # smaller than a pixel
                return self._class_of(source, shape.representative_point())
        return most_common(source.read(1, window=where)[inside & (source.read_masks(1, window=where) > 0)])


def _measure(source: rasterio.DatasetReader, top: int, rows: int, grid: Grid, covered: dict[int, float]) -> None:
    window = RasterWindow(0, top, grid.width, rows)
    classes, valid = source.read(1, window=window), source.read_masks(1, window=window) > 0
    for value in np.unique(classes[valid]).tolist():
        pixels = ((classes == value) & valid).sum(axis=1)
        covered[value] = covered.get(value, 0.0) + float(grid.row_areas[top : top + rows] @ pixels)


def _category_names(path: Path) -> dict[int, str]:
    """Of the ``.aux.xml`` beside the map."""
    from xml.etree import ElementTree  # nosec B405  # only texts are read; no entity leads anywhere

    beside = path.with_name(path.name + ".aux.xml")
    if not beside.is_file():
        return {}
    try:
        categories = ElementTree.parse(beside).getroot().findall(".//CategoryNames/Category")  # nosec B314
    except ElementTree.ParseError:
        return {}
    return {number: entry.text for number, entry in enumerate(categories) if entry.text}


def assess(path: Path, reference: Path, field: str | None = None, layer: str | None = None) -> Report:
    """Compare a map with a sample.

    Args:
        path: a raster of classes.
        reference: points or polygons in any CRS.
        field: attribute with the true class, a number or a name of the map; found when None.
        layer: of the reference; the first by default.

    Raises:
        InputFault: a file cannot be read, or the sample says nothing about the map.
    """
    found = MapClasses.read(path)
    shapes, fields, columns = read_shapes(reference, found.grid, layer)
    at = true_field(str(reference), fields, field)
    truth = class_numbers(str(reference), fields[at], columns[at], found.names)
    return compare(found.at(shapes), truth, found.square_metres, found.names, str(reference))


def main() -> int:
    """Parse the command line and compare; 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m export.assess", description=DESCRIPTION)
    parser.add_argument("map", type=Path, metavar="MAP", help="raster of classes, as export.predict writes it")
    parser.add_argument("--reference", type=Path, required=True, metavar="FILE", help="points or polygons, in any CRS")
    parser.add_argument("--field", help="attribute with the true class, number or name (default: class)")
    parser.add_argument("--layer", help="layer of the reference (default: the first)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the numbers to a file too")
    arguments = parser.parse_args()
    logging.getLogger("rasterio").addHandler(logging.NullHandler())
    try:
        report = assess(arguments.map, arguments.reference, arguments.field, arguments.layer)
        for note in report.notes:
            print(f"warning: {words(note)}", file=sys.stderr)
        print(report.as_text())
        if arguments.out:
            with Staging(arguments.out.parent) as staging:
                staging.keep(arguments.out.name).write_text(json.dumps(report.as_dict(), indent=2) + "\n", "utf-8")
                staging.commit()
    except RuntimeFault as fault:
        print(f"error: {words(fault)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

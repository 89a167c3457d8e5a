"""Labels of vector files: points and polygons, the classes that they name, and their place on a raster."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # nosec B405  # only texts are read; no entity leads anywhere

import numpy as np
import shapely

from export.rasterio_io.grid import Grid
from export.rasterio_io.polygons import Features, placed, polygons_on, read_features
from export.runtime.errors import InputFault
from export.runtime.learn.samples import Label
from export.runtime.raster.legend import LandClass, class_name, classes_of
from export.runtime.results.assessment import true_field

_VALUE_FIELD, _COLOR_FIELDS = "class", ("color", "colour")  # beside the name of a class


@dataclass(frozen=True)
class FileLabels:
    """The labels of a file.

    Attributes:
        features: their shapes, and all attributes.
        at: number of the attribute that holds the class.
        styled: colours of its values, as the file's style has them.
    """

    where: str
    features: Features
    at: int
    styled: dict[str, str]

    @property
    def field(self) -> str:
        """Name of that attribute."""
        return self.features.fields[self.at]

    def beside(self, *names: str) -> list[Any]:
        """What another attribute of one of these names holds, None where there is none."""
        for number, name in enumerate(self.features.fields):
            if name.lower() in names and number != self.at:
                return list(self.features.columns[number])
        return [None] * len(self.features.shapes)


def read_labels(path: Path, field: str | None = None, layer: str | None = None) -> FileLabels:
    """The points and polygons of a file; ``field`` is found when None.

    Raises:
        InputFault: it cannot be read, has no CRS or no such attribute, or holds other shapes.
    """
    features = read_features(path, layer)
    check_shapes(path, features.shapes)
    at = true_field(str(path), features.fields, field)
    return FileLabels(str(path), features, at, _styled(path, layer, features.fields[at]))


def check_shapes(path: Path, shapes: np.ndarray) -> None:
    """Raise InputFault unless a file holds single points and polygons, and nothing else."""
    if not len(shapes):
        raise InputFault.worded(f"{path}: holds no points or polygons")
    dimensions, parts = shapely.get_dimensions(shapes), shapely.get_num_geometries(shapes)
    if (dimensions == 1).any():
        raise InputFault.worded(f"{path}: holds lines; labels are points or polygons")
    if ((dimensions == 0) & (parts > 1)).any():
        raise InputFault.worded(f"{path}: holds several points in one feature; split them (Multipart to Singleparts)")


def classes_in(files: Sequence[FileLabels]) -> tuple[tuple[LandClass, ...], list[np.ndarray]]:
    """The classes of files together, and of each file the index of every label's class, -1 where it has none.

    Raises:
        InputFault: see ``legend.classes_of``.
    """
    where, field = ", ".join(file.where for file in files), files[0].field
    values = [value for file in files for value in file.features.columns[file.at]]
    numbers = [value for file in files for value in file.beside(_VALUE_FIELD)]
    colors = [value for file in files for value in file.beside(*_COLOR_FIELDS)]
    styled = {name: color for file in files[::-1] for name, color in file.styled.items()}
    classes, index = classes_of(where, field, values, numbers, colors, styled)
    ends = np.cumsum([len(file.features.shapes) for file in files])
    return classes, np.split(index, ends[:-1])


def labels_on(files: Sequence[FileLabels], index: Sequence[np.ndarray], grid: Grid) -> list[Label]:
    """Labels with a class on the grid of a raster; they are numbered through all files.

    Raises:
        InputFault: no way is known from a file's CRS to the grid's.
    """
    labels, first = [], 0
    for file, classes in zip(files, index):
        shapes, crs = file.features.shapes, file.features.crs
        points = placed(shapely.centroid(shapes), crs, grid).tolist()
        polygons = polygons_on(shapes, crs, grid)
        flat = (shapely.get_dimensions(shapes) == 2).tolist()
        for number, (kind, is_polygon) in enumerate(zip(classes.tolist(), flat)):
            if kind >= 0:
                x, y = points[number]
                labels.append(Label(first + number, kind, polygons.only(number) if is_polygon else (x, y)))
        first += len(shapes)
    return labels


def _styled(path: Path, layer: str | None, field: str) -> dict[str, str]:
    """Colours of the values of a field, from QGIS's style in a GeoPackage or beside the file."""
    for text in (_style_inside(path, layer), _style_beside(path)):
        colors = _colors(text, field) if text else {}
        if colors:
            return colors
    return {}


def _style_beside(path: Path) -> str:
    try:
        return path.with_suffix(".qml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _style_inside(path: Path, layer: str | None) -> str:
    if path.suffix.lower() != ".gpkg":
        return ""
    query = "SELECT styleQML FROM layer_styles WHERE ? IN ('', f_table_name) ORDER BY useAsDefault DESC LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute(query, (layer or "",)).fetchone()
    except sqlite3.Error:  # without styles
        return ""
    return str(row[0]) if row and row[0] else ""


def _colors(qml: str, field: str) -> dict[str, str]:
    try:
        renderer = ElementTree.fromstring(qml).find(".//renderer-v2[@type='categorizedSymbol']")  # nosec B314
    except ElementTree.ParseError:
        return {}
    if renderer is None or renderer.get("attr", "").strip('"') != field:
        return {}
    drawn = {}
    for symbol in renderer.iterfind("symbols/symbol"):
        old, new = symbol.find("layer/prop[@k='color']"), symbol.find("layer/Option/Option[@name='color']")
        found = old.get("v") if old is not None else new.get("value") if new is not None else None
        drawn[symbol.get("name")] = found or ""
    categories = renderer.iterfind("categories/category")
    return {class_name(one.get("value")): drawn.get(one.get("symbol"), "") for one in categories if one.get("value")}

"""``python -m export.assess``: how right a map is, and how much each class really covers. Needs no torch."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.windows import Window as RasterWindow

from export.host.grid import Grid
from export.host.limits import read_shapes
from export.host.source import RASTER_ERRORS
from export.runtime.accuracy import Estimate, estimate
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.files import Staging
from export.runtime.patches import row_blocks

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
        window = self.grid.window_of(shape.bounds, self.grid.crs)
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
        values = source.read(1, window=where)[inside & (source.read_masks(1, window=where) > 0)]
        return int(np.bincount(values).argmax()) if values.size else -1


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


@dataclass(frozen=True)
class Report:
    """A comparison of a map with a sample."""

    classes: list[int]
    names: dict[int, str]
    counts: np.ndarray
    mapped: np.ndarray
    result: Estimate
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For a program; square metres become hectares, what cannot be said None."""
        overall, margin = self.result.overall
        rows = []
        for i, value in enumerate(self.classes):
            row: dict[str, Any] = {"class": value, "name": self.names.get(value, str(value))}
            row |= {"mapped_ha": self.mapped[i] / 1e4, "sampled": int(self.counts[i].sum())}
            row |= dict(zip(("area_ha", "area_ha_margin"), _said(self.result.areas[:, i] / 1e4)))
            row |= dict(zip(("users", "users_margin"), _said(self.result.users[:, i])))
            row |= dict(zip(("producers", "producers_margin"), _said(self.result.producers[:, i])))
            rows.append(row)
        return {
            "method": "stratified estimation, Olofsson et al. 2014; margins are half-widths of 95 % confidence intervals",
            "overall": _said([overall, margin])[0],
            "overall_margin": _said([overall, margin])[1],
            "classes": rows,
            "confusion": {"rows": "map", "columns": "reference", "counts": self.counts.tolist()},
            "notes": self.notes,
        }

    def as_text(self) -> str:
        """For people."""
        names = [f"{value} {self.names.get(value, '')}".strip() for value in self.classes]
        wide = max(9, *map(len, names))
        lines = ["sample units (rows: map, columns: reference)"]
        lines.append(" " * (wide + 2) + "".join(f"{value:>8}" for value in self.classes))
        for name, row in zip(names, self.counts):
            lines.append(f"{name:<{wide}}  " + "".join(f"{count:>8}" for count in row))
        lines += ["", f"{'':<{wide}}  {'mapped ha':>14} {'estimated ha':>26} {'users':>15} {'producers':>15}"]
        for i, name in enumerate(names):
            area = _plus_minus(self.result.areas[:, i] / 1e4, "{:,.1f}")
            users, producers = (
                _plus_minus(part[:, i], "{:.2f}") for part in (self.result.users, self.result.producers)
            )
            lines.append(f"{name:<{wide}}  {self.mapped[i] / 1e4:>14,.1f} {area:>26} {users:>15} {producers:>15}")
        lines += ["", f"overall accuracy {_plus_minus(np.array(self.result.overall), '{:.2f}')} (95 % confidence)"]
        return "\n".join(lines)


def _said(numbers: Sequence[float] | np.ndarray) -> list[float | None]:
    return [float(number) if np.isfinite(number) else None for number in numbers]


def _plus_minus(pair: np.ndarray, pattern: str) -> str:
    value, margin = ("-" if not np.isfinite(number) else pattern.format(number) for number in pair)
    return f"{value} ± {margin}"


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
    truth, notes = _truth(reference, fields, columns, field, found), []
    said = found.at(shapes)
    outside = int((said < 0).sum())
    if outside == len(said):
        raise InputFault(f"{reference}: no point or polygon lies on the data of {path}")
    if outside:
        notes.append(f"{outside} of {len(said)} units lie outside the map or on nodata and do not count")
    said, truth = said[said >= 0], truth[said >= 0]
    classes = sorted({*found.square_metres, *truth.tolist()})
    number = {value: i for i, value in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, ([number[v] for v in said.tolist()], [number[v] for v in truth.tolist()]), 1)
    mapped = np.array([found.square_metres.get(value, 0.0) for value in classes])
    weighed = _weighed(counts, mapped, [found.names.get(v, str(v)) for v in classes], notes)
    return Report(classes, found.names, counts, mapped, estimate(counts, weighed), notes)


def _weighed(counts: np.ndarray, mapped: np.ndarray, names: list[str], notes: list[str]) -> np.ndarray:
    """Mapped areas without the classes that were never sampled."""
    sampled = counts.sum(axis=1)
    bare = (sampled == 0) & (mapped > 0)
    if bare.any():
        missed = ", ".join(name for name, is_bare in zip(names, bare) if is_bare)
        share = mapped[bare].sum() / mapped.sum()
        notes.append(f"no unit lies on {missed}: {share:.1%} of the map is left out of all estimates")
    if ((sampled == 1) & (mapped > 0)).any():
        few = ", ".join(name for name, n in zip(names, sampled) if n == 1)
        notes.append(f"one unit alone lies on {few}: a margin needs two or more")
    return np.where(bare, 0.0, mapped)


def _truth(
    path: Path, fields: list[str], columns: list[np.ndarray], wanted: str | None, found: MapClasses
) -> np.ndarray:
    """(N,) class numbers of the reference."""
    guesses = [wanted] if wanted else ["class", "reference", "label", "value", "name"]
    lower = {field.lower(): number for number, field in enumerate(fields)}
    field = next((name for name in guesses if name.lower() in lower), None)
    if field is None and len(fields) == 1 and not wanted:
        field = fields[0]
    if field is None:
        has = ", ".join(fields) or "none"
        raise InputFault(f"{path}: has no attribute '{wanted or 'class'}'; it has {has}: name it with --field")
    by_name = {name.lower(): value for value, name in found.names.items()}
    return np.array([_class_number(path, field, value, by_name) for value in columns[lower[field.lower()]]], np.int64)


def _class_number(path: Path, field: str, value: Any, by_name: dict[str, int]) -> int:
    text = str(value).strip()
    if text.lower() in by_name:
        return by_name[text.lower()]
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not np.isfinite(number) or number < 0 or number != int(number):
        raise InputFault(f"{path}: '{text}' in '{field}' is neither a class number nor a class name of the map")
    return int(number)


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
            print(f"warning: {note}", file=sys.stderr)
        print(report.as_text())
        if arguments.out:
            with Staging(arguments.out.parent) as staging:
                staging.keep(arguments.out.name).write_text(json.dumps(report.as_dict(), indent=2) + "\n", "utf-8")
                staging.commit()
    except (RuntimeFault, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

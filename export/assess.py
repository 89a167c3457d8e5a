"""``python -m export.assess``: how right a map is, and how much each class really covers. Needs no torch."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree  # nosec B405  # only texts are read; no entity leads anywhere

import shapely

from export.rasterio_io.grid import Grid
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.polygons import Features, placed, polygons_on, read_features
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.files import Staging
from export.runtime.infer.class_map import ClassMap, Shape
from export.runtime.infer.layout import Limits
from export.runtime.results.assessment import Report, class_numbers, compare, true_field
from export.runtime.sampling.assessing import assess_sample
from export.runtime.sampling.sample_file import POINTS, is_sample, read_sample
from export.wording import words

DESCRIPTION = """Compares a map with reference points or polygons: confusion matrix, user's and producer's accuracy and
the area of each class, with 95 %% confidence intervals, by stratified estimation (Olofsson et al. 2014): each
map class is a stratum, and counts become proportions of the mapped area before anything is computed. The limits
allow for what a small sample can miss: 50 of 50 units right give 0.93 to 1. The sample must be random within each map
class (or over the whole map) and must not have served for training. A polygon
counts as one unit: its map class is the one that most of its pixels have. A file that export.sample drew holds its own
strata and the areas of its map: then MAP may be left out, or be another map of the same area (Stehman 2014)."""


def _shapes(reference: Path, features: Features, grid: Grid) -> list[Shape]:
    dimensions = shapely.get_dimensions(features.shapes)
    if (dimensions == 1).any():
        raise InputFault.worded(f"{reference}: holds lines; a reference consists of points or polygons")
    points = placed(shapely.centroid(features.shapes), features.crs, grid).tolist()
    polygons = polygons_on(features.shapes, features.crs, grid)
    return [
        Shape(None, polygons.only(number)) if dimension else Shape((x, y), polygons)
        for number, (dimension, (x, y)) in enumerate(zip(dimensions, points))
    ]


def category_names(path: Path, files: Sequence[str]) -> dict[int, str]:
    """Of a raster, or those that all its sources share: ``gdalbuildvrt`` does not copy names. ``files`` are all of them."""
    own = _names_in(path)
    if own:
        return own
    of_sources = [names for names in map(_names_in, map(Path, files)) if names]
    return of_sources[0] if of_sources and all(names == of_sources[0] for names in of_sources) else {}


def _names_in(path: Path) -> dict[int, str]:
    """The category names of band 1, from a VRT itself or from the ``.aux.xml`` beside another raster."""
    described = path if path.suffix.lower() == ".vrt" else path.with_name(path.name + ".aux.xml")
    try:
        band = ElementTree.parse(described).getroot().find(".//*[CategoryNames]")  # nosec B314
    except (OSError, ElementTree.ParseError):
        return {}
    categories = [] if band is None else band.findall("CategoryNames/Category")
    return {number: entry.text for number, entry in enumerate(categories) if entry.text}


def assess(path: Path | None, reference: Path, field: str | None = None, layer: str | None = None) -> Report:
    """Compare a raster of classes with points or polygons in any CRS.

    ``field`` is the attribute with the true class, a number or a name of the map: found when None. A sample that
    ``export.sample`` drew needs no raster.

    Raises:
        InputFault: a file cannot be read, or the sample says nothing about the map.
    """
    drawn = read_sample(reference) if path is None or is_sample(reference) else None
    if drawn and path is None:
        return assess_sample(drawn)
    assert path is not None  # nosec B101  # else the reference is a sample
    with closing(RasterPixels(path)) as pixels:
        classes = ClassMap(pixels, category_names(path, pixels.files))
        mapped = {row.value: row.m2 for row in classes.areas(Limits(), lambda *_: True)}
        features = read_features(reference, POINTS if drawn else layer)
        if drawn:
            places = placed(shapely.points([(one.x, one.y) for one in drawn.points]), features.crs, pixels.grid)
            nowhere = polygons_on(features.shapes[:0], features.crs, pixels.grid)
            return assess_sample(drawn, classes.at([Shape((x, y), nowhere) for x, y in places.tolist()]), mapped)
        at = true_field(str(reference), features.fields, field)
        truth = class_numbers(str(reference), features.fields[at], features.columns[at], classes.names)
        found = classes.at(_shapes(reference, features, pixels.grid))
        return compare(found, truth, mapped, classes.names, str(reference))


def main() -> int:
    """Parse the command line and compare; 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m export.assess", description=DESCRIPTION)
    parser.add_argument(
        "map",
        type=Path,
        nargs="?",
        metavar="MAP",
        help="raster of classes, as export.predict or export.change writes it",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        metavar="FILE",
        help="points or polygons, in any CRS; or a labelled sample",
    )
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
    except (RuntimeFault, OSError) as error:
        print(f"error: {words(error) if isinstance(error, RuntimeFault) else error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

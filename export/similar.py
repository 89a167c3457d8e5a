"""``python -m export.similar``: where a raster looks like the places that are named. Needs no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyproj
import shapely
from tqdm import tqdm

from export.fit import add_features, featured, kind_of, opened, run, steps, warn
from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.grid import Grid, crs_of
from export.rasterio_io.labels import check_shapes
from export.rasterio_io.polygons import placed, read_features
from export.rasterio_io.run import shown_on
from export.rasterio_io.vectors import PyogrioVectors
from export.runtime.errors import InputFault
from export.runtime.files import clear_leftovers
from export.runtime.learn.mapping import SimilarJob, examples
from export.runtime.learn.similar import Similarity
from export.runtime.results.vectors import write_places
from export.runtime.results.writing import Results, Targets

DESCRIPTION = """Compares every place of a raster with examples, and unlike counter-examples, by the features of an encoder or of bands
and texture: 1 at the examples, 0 at counter-examples and at whatever is unrelated."""
EPILOG = """Writes OUT.tif (Cloud-Optimized GeoTIFF, 0 to 1, one pixel per place of the features) and OUT.gpkg (the best hundred
places, at least 64 px apart, with rank and score). Exit code: 0 done, 2 invalid input, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export.similar", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("raster", metavar="RASTER", help="file, URL or GDAL name")
    add("--at", nargs="+", default=[], metavar="X,Y", help="examples (--at=-5.1,40 where x is negative)")
    add("--not", dest="unlike", nargs="+", default=[], metavar="X,Y", help="counter-examples")
    add("--crs", help="CRS of --at and --not, e.g. EPSG:4326 (default: the raster's)")
    add("--points", type=Path, metavar="FILE", help="examples as points or polygons (a place inside each), in any CRS")
    add("--out", type=Path, required=True, metavar="OUT.tif", help="raster to write")
    add_features(parser)
    return parser


def similar(arguments: argparse.Namespace, kind: str) -> None:
    """Search, as the command line says.

    Raises:
        RuntimeFault: nothing was written.
    """
    out: Path = arguments.out
    points = out.with_suffix(".gpkg")
    targets = Targets({"map": out}, style=False)
    with opened([arguments.raster]) as (pixels,), steps() as bars:
        read = [str(path) for path in (arguments.points, arguments.encoder) if path]
        both = Targets({"map": out, "points": points}, style=False)
        both.check([*read, *pixels.members()])
        at, unlike = (_places(texts, arguments.crs, pixels.grid) for texts in (arguments.at, arguments.unlike))
        if arguments.points:
            at = np.concatenate([at, _points_of(arguments.points, pixels.grid)])
        made = featured([pixels], arguments, kind, bars("features"))
        (raster,) = made.rasters
        to = Similarity.to(examples(raster, at, bars("examples")), examples(raster, unlike, bars("counter-examples")))
        job = SimilarJob(raster, to)
        clear_leftovers(out.parent)
        with (
            Results(targets, job.grid, job.card, RasterioWriter, PyogrioVectors()) as results,
            tqdm(desc=out.stem, unit="tile", disable=None) as bar,
        ):
            job.write(results, shown_on(bar), lambda: True)
            results.finish(lambda: True)
            count = write_places(results.keep(points), job.best.scores, job.places, job.grid, PyogrioVectors())
            results.commit()
        made.complete()
        for trouble in made.troubles:
            warn(trouble)
    print(f"similarity: {out}\nbest places: {points} ({count})")


def _places(texts: list[str], crs: str | None, grid: Grid) -> np.ndarray:
    """(N, 2) x and y in the CRS of a grid from texts like "500000,4649776"."""
    places = []
    for text in texts:
        try:
            x, y = (float(number) for number in text.split(","))
        except ValueError as error:
            raise InputFault.worded(f"{text}: is no place; write x,y such as 500000,4649776") from error
        places.append((x, y))
    at = np.array(places, float).reshape(-1, 2)
    own = pyproj.CRS.from_wkt((crs_of(crs) if crs else grid.crs).to_wkt())
    return placed(shapely.points(at), own, grid) if crs and len(at) else at


def _points_of(path: Path, grid: Grid) -> np.ndarray:
    """A place inside each shape of a file, in the CRS of a grid."""
    features = read_features(path, columns=[])
    check_shapes(path, features.shapes)
    return placed(shapely.point_on_surface(features.shapes), features.crs, grid)


def main() -> int:
    """Parse the command line and search; 2 after bad input."""
    parser = _parser()
    arguments = parser.parse_args()
    kind = kind_of(arguments, parser)
    if not (arguments.at or arguments.points):
        parser.error("--at or --points is required")
    if arguments.out.suffix.lower() not in (".tif", ".tiff"):
        parser.error(f"--out {arguments.out}: must end with .tif")
    return run(lambda: similar(arguments, kind))


if __name__ == "__main__":
    raise SystemExit(main())

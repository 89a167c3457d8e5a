"""``python -m core.prepare``: imagery in, chip store out."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from rasterio.crs import CRS
from rasterio.errors import CRSError

from core.errors import UserError, run_command
from core.rasters import Cut, Placement, Tally, cut_rasters
from core.sample import find_sample, make_store
from core.store import ChipStore
from core.tables import parse_date, read_dates, read_legend


def main() -> int:
    """Parse the command line and run the source that it names."""
    arguments = _parser().parse_args()
    return run_command(lambda: _report(*arguments.make(arguments)))


def _report(store: ChipStore, tally: Tally) -> None:
    dates = store.index.groupby("place")["datetime"].nunique()
    sides = store.places["split"].value_counts()
    print(tally)
    print(
        f"{len(dates)} places, {(dates > 1).sum()} of them with more than one date; splits by spatial block: {sides.to_dict()}"
    )
    print(f"chip store: {store.path}")


def _sample(arguments: argparse.Namespace) -> tuple[ChipStore, Tally]:
    sample = find_sample(arguments.data)
    print(f"sample: {len(sample.months)} months, from {sample.origin}")
    return make_store(sample, arguments.out, map_windows=arguments.map, overwrite=arguments.overwrite)


def _rasters(arguments: argparse.Namespace) -> tuple[ChipStore, Tally]:
    if (arguments.crs is None) != (arguments.bounds is None):
        raise UserError("--crs and --bounds go together: both, or none")
    if not 0 <= arguments.min_valid <= 1:
        raise UserError(f"--min-valid {arguments.min_valid}: must lie within 0 and 1")
    if arguments.size < 8:
        raise UserError(f"--size {arguments.size}: a chip needs at least 8 pixels a side")
    legend = read_legend(arguments.legend) if arguments.legend else None
    if arguments.background is not None and legend is None:
        raise UserError("--background needs --legend, which names the classes")
    if legend and arguments.background is not None and arguments.background not in {c.value for c in legend}:
        raise UserError(f"--background {arguments.background}: the legend {arguments.legend} has no such class")
    return cut_rasters(
        _dated(arguments),
        arguments.out,
        Cut(
            arguments.size,
            arguments.min_valid,
            arguments.max_abs_lat,
            legend,
            arguments.background,
            arguments.keep_background,
        ),
        placement=_placement(arguments),
        labels=arguments.labels,
        unit=arguments.unit,
        overwrite=arguments.overwrite,
    )


def _placement(arguments: argparse.Namespace) -> Placement | None:
    if arguments.crs is None:
        return None
    west, south, east, north = arguments.bounds
    if not (west < east and south < north):
        raise UserError(f"--bounds {west:g} {south:g} {east:g} {north:g}: must be west, south, east, north")
    try:
        CRS.from_user_input(arguments.crs)
    except CRSError as error:
        raise UserError(f"--crs {arguments.crs}: not a CRS ({error})") from error
    return Placement(arguments.crs, (west, south, east, north))


def _dated(arguments: argparse.Namespace) -> list[tuple[Path, datetime]]:
    for path in arguments.paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if not arguments.dates:
        return [(path, parse_date(path, arguments.date_format)) for path in arguments.paths]
    dates = read_dates(arguments.dates)
    missing = [path for path in arguments.paths if path.name not in dates]
    if missing:
        raise UserError(f"{missing[0]}: {arguments.dates} has no row for {missing[0].name}")
    return [(path, dates[path.name]) for path in arguments.paths]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.prepare",
        description="Make a chip store: fixed-size chips on disk, indexed by place and date.",
    )
    sources = parser.add_subparsers(required=True, metavar="SOURCE")

    sample = sources.add_parser("sample", help="the quickstart's sample: Blue Marble months and MODIS land cover")
    sample.add_argument(
        "--data", type=Path, help="a local copy (default: $GEOAWARE_SAMPLE, else fetched into the cache)"
    )
    sample.add_argument(
        "--map", action="store_true", help="larger windows with some sea and ice, to fine-tune a map model on"
    )
    sample.set_defaults(make=_sample)

    rasters = sources.add_parser("rasters", help="dated rasters over one area; the first gives the grid")
    rasters.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="raster files, any format that GDAL reads")
    rasters.add_argument(
        "--size", type=int, required=True, help="rows = columns of a chip, in pixels of the first raster"
    )
    dates = rasters.add_mutually_exclusive_group()
    dates.add_argument(
        "--date-format", default="%Y%m%d", help="strptime format of the date in the file names (default %%Y%%m%%d)"
    )
    dates.add_argument("--dates", type=Path, metavar="TABLE", help="CSV with the columns file and date (2024-06-30)")
    rasters.add_argument("--crs", help="CRS of files without coordinates, e.g. EPSG:4326")
    rasters.add_argument(
        "--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"), help="their bounds, in units of --crs"
    )
    rasters.add_argument("--labels", type=Path, metavar="RASTER", help="class numbers (uint8), put on the same grid")
    rasters.add_argument(
        "--legend", type=Path, metavar="CSV", help="columns value, name, color (RRGGBB) of the label classes"
    )
    rasters.add_argument(
        "--background",
        type=int,
        metavar="VALUE",
        help="a class that fills space, such as open sea: windows of mostly it are dropped",
    )
    rasters.add_argument("--keep-background", type=int, default=0, metavar="N", help="of those windows keep every N-th")
    rasters.add_argument(
        "--min-valid", type=float, default=0.5, help="least share of pixels with data (default %(default)s)"
    )
    rasters.add_argument("--max-abs-lat", type=float, default=90.0, help="drop windows beyond this latitude")
    rasters.add_argument("--unit", help="what a pixel value means, e.g. 'reflectance x 10000'")
    rasters.set_defaults(make=_rasters)

    for source in (sample, rasters):
        source.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder of the chip store")
        source.add_argument("--overwrite", action="store_true", help="replace an existing store")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

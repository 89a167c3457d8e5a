"""``python -m export.predict``: maps from rasters. Needs no torch."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from export.host.results import Wanted
from export.host.run import Options, map_raster
from export.host.source import Choice, Placement
from export.host.view import Limits
from export.runtime.card import ModelCard
from export.runtime.errors import RuntimeFault
from export.runtime.providers import PRECISIONS, PROVIDERS
from export.runtime.session import Model
from export.runtime.sweep import Sweep
from export.runtime.units import INPUTS


def stem(raster: str) -> str:
    """Name of a raster's results: the file's name without its suffix."""
    path = raster.split("?")[0] if "://" in raster else raster
    return PurePosixPath(path).stem if "://" in path or path.startswith("/vsi") else Path(path).stem


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.predict",
        description="Maps from rasters, with a model in one ONNX file.",
        epilog="Writes NAME.tif (Cloud-Optimized GeoTIFF), its colours (NAME.tif.aux.xml, NAME.qml) and NAME.stac.json "
        "for each raster. Exit code: 0 all mapped, 1 some failed, 2 none mapped or bad options.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.onnx")
    add("rasters", nargs="+", metavar="RASTER", help="file, URL (http://...), or another name that GDAL opens")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results, each named after its raster")
    add("--name", help="name of the results, for one raster (default: the raster's)")
    _add_input(parser.add_argument_group("what the raster holds"))
    _add_area(parser.add_argument_group("area and grid"))
    _add_outputs(parser.add_argument_group("results beside the map"))
    _add_run(parser.add_argument_group("how the model runs"))
    return parser


def _add_input(group: Any) -> None:
    group.add_argument(
        "--bands", nargs="+", metavar="BAND", help="names or numbers (from 1) of the bands, in the model's order"
    )
    group.add_argument(
        "--nodata", type=float, metavar="V", help="value that means no data, where the file declares none"
    )
    group.add_argument(
        "--input", choices=INPUTS, default="raw",
        help="what the numbers are: Sentinel-2 L2A or L1C as delivered, its true-colour image, or the model's own unit (raw, the default)",
    )  # fmt: skip
    group.add_argument(
        "--offset", type=float, metavar="V",
        help="added to Sentinel-2's numbers; by default what the file says, else -1000 (since baseline 04.00)",
    )  # fmt: skip


def _add_area(group: Any) -> None:
    group.add_argument(
        "--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"),
        help="map only this area; for a raster without coordinates: where its edges lie",
    )  # fmt: skip
    group.add_argument("--crs", help="CRS of --bounds, e.g. EPSG:4326 (default: the raster's)")
    group.add_argument(
        "--mask", type=Path, metavar="FILE", help="map only inside these polygons; tiles that touch none are never read"
    )
    group.add_argument(
        "--grid", choices=("source", "model"), default="source",
        help="pixels of the map: the raster's (default) or of the size that the model learned from",
    )  # fmt: skip
    group.add_argument(
        "--no-resample", action="store_true", help="feed pixels as they are, whatever size the model learned from"
    )


def _add_outputs(group: Any) -> None:
    group.add_argument(
        "--confidence", action="store_true", help="NAME_confidence.tif: probability of the class, per cent"
    )
    group.add_argument("--probabilities", action="store_true", help="NAME_probabilities.tif: a band a class, 0 to 1")
    group.add_argument("--polygons", action="store_true", help="NAME.gpkg: the patches, along the edges of the pixels")
    group.add_argument(
        "--min-area", type=float, default=0.0, metavar="M2",
        help="smaller polygons, in square metres, are merged into their largest neighbour",
    )  # fmt: skip
    group.add_argument(
        "--areas", action="store_true", help="NAME_areas.csv and .json: pixels, hectares and per cent of each class"
    )


def _add_run(group: Any) -> None:
    group.add_argument(
        "--overlap", type=int, metavar="PX", help="px that neighbouring tiles share (default: the model's)"
    )
    group.add_argument("--tta", action="store_true", help="average over flips and quarter turns: eight times the time")
    group.add_argument(
        "--stride", type=int, metavar="PX", help="scene classifiers: step of the window (default: the tile)"
    )
    group.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="JSON that describes the model (default: MODEL.card.json, else the one inside it)",
    )
    group.add_argument(
        "--provider",
        choices=("auto", *PROVIDERS),
        default="auto",
        help="what runs the model (default: the quickest here)",
    )
    group.add_argument("--precision", choices=tuple(PRECISIONS), help="numbers that the provider calculates with")
    group.add_argument(
        "--threads", type=int, metavar="N", help="tiles run side by side on the CPU (default: as many as fit)"
    )
    group.add_argument("--output", metavar="NAME", help="which output of the model, where it has several")


def _options(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Options:
    bounds = tuple(arguments.bounds) if arguments.bounds else None
    if arguments.crs and not bounds:
        parser.error("--crs is the CRS of --bounds: give both")
    if arguments.min_area and not arguments.polygons:
        parser.error("--min-area goes with --polygons")
    if arguments.min_area < 0:
        parser.error("--min-area must not be negative")
    bands = tuple(name.strip() for text in arguments.bands or () for name in text.split(",") if name.strip())
    return Options(
        Choice(
            bands=bands or None, nodata=arguments.nodata, kind=arguments.input, offset=arguments.offset,
            placement=Placement(arguments.crs, bounds) if arguments.crs and bounds else None,
        ),
        Limits(bounds, arguments.crs, arguments.mask),
        Wanted(
            confidence=arguments.confidence, probabilities=arguments.probabilities, polygons=arguments.polygons,
            min_area=arguments.min_area, areas=arguments.areas,
        ),
        Sweep(
            overlap=arguments.overlap, tta=arguments.tta, probabilities=arguments.probabilities, stride=arguments.stride,
            output=arguments.output,
        ),
        resample=not arguments.no_resample,
        model_grid=arguments.grid == "model",
    )  # fmt: skip


def _names(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    if arguments.name is not None:
        if len(arguments.rasters) > 1 or not arguments.name or Path(arguments.name).name != arguments.name:
            parser.error("--name is one plain name, for one raster")
        return [arguments.name]
    names = [stem(raster) for raster in arguments.rasters]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        parser.error(f"several rasters are called {doubled.pop()}: their maps would have one name; run them one by one")
    return names


def main() -> int:
    """Parse the command line and predict; 2 after bad input, 1 when only some rasters failed."""
    parser = _parser()
    arguments = parser.parse_args()
    options, names = _options(arguments, parser), _names(arguments, parser)
    logging.getLogger("rasterio").addHandler(logging.NullHandler())  # what GDAL says is part of our own sentences
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _predict_all(arguments, names, options)
    except RuntimeFault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing unfinished was left behind", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _predict_all(arguments: argparse.Namespace, names: list[str], options: Options) -> int:
    card = ModelCard.from_file(arguments.card) if arguments.card else None
    model = Model(
        arguments.model, arguments.provider, card, arguments.threads, arguments.precision, output=arguments.output
    )
    failed = 0
    for note in model.notes:
        print(note, file=sys.stderr)
    for raster, name in zip(arguments.rasters, names):
        try:
            files = map_raster(model, arguments.model, raster, arguments.out, name, options)
            role, path = next(iter(files.items()))
            print(f"{role}: {path} ({model.provider})")
        except RuntimeFault as fault:
            failed += 1
            print(f"error: {fault}", file=sys.stderr)
    if not failed:
        return 0
    return 2 if failed == len(names) else 1


if __name__ == "__main__":
    raise SystemExit(main())

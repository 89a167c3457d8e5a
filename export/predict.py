"""``python -m export.predict``: maps from rasters. Needs no torch."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.batch.blocks import SIDE
from export.batch.cluster import Cluster
from export.batch.inputs import is_file_name, is_one, rasters
from export.batch.manifest import Manifest
from export.batch.plan import Plan
from export.batch.run import Batch, said_at_the_end
from export.batch.work import Job
from export.batch.workers import Here, Processes, Workers
from export.rasterio_io.names import absolute, stem
from export.rasterio_io.results import Wanted
from export.rasterio_io.run import Options, map_raster
from export.rasterio_io.source import Choice, Placement
from export.rasterio_io.view import Limits
from export.runtime.errors import RuntimeFault
from export.runtime.files import clear_leftovers
from export.runtime.infer.sweep import Sweep
from export.runtime.model.providers import PRECISIONS, PROVIDERS
from export.runtime.model.read_card import card_of_file
from export.runtime.model.session import Model
from export.runtime.model.units import INPUTS
from export.wording import words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.predict",
        description="Maps from rasters, with a model in one ONNX file.",
        epilog="Writes NAME.tif (Cloud-Optimized GeoTIFF), its colours (NAME.tif.aux.xml, NAME.qml) and NAME.stac.json "
        "for each raster. Many rasters: DIR/manifest.jsonl keeps what is done, and the same command goes on from there "
        "(docs/scale.md). Exit code: 0 all mapped, 1 some failed, 2 none mapped or bad options, 130 stopped.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.onnx")
    add(
        "rasters", nargs="+", metavar="RASTER",
        help="file, folder, pattern in quotes ('scenes/**/*.tif'), list of files (.txt), STAC Item or ItemCollection "
        "(.json), URL (http://...), or GDAL name, such as one raster of a container (netcdf:cube.nc:ndvi)",
    )  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results, each named after its raster")
    add("--name", help="name of the results, for one raster (default: the raster's)")
    _add_input(parser.add_argument_group("what the raster holds"))
    _add_area(parser.add_argument_group("area and grid"))
    _add_outputs(parser.add_argument_group("results beside the map"))
    _add_run(parser.add_argument_group("how the model runs"))
    _add_batch(parser.add_argument_group("many rasters, many machines"))
    return parser


def _add_input(group: Any) -> None:
    group.add_argument(
        "--bands", nargs="+", metavar="BAND", help="names or numbers (from 1) of the bands, in the model's order"
    )
    group.add_argument(
        "--nodata", type=float, metavar="V", help="value that means no data, where the file declares none"
    )
    group.add_argument(
        "--input", choices=INPUTS, default="auto",
        help="what the numbers are: Sentinel-2 L2A or L1C as delivered, its true-colour image, or the model's own unit (raw); "
        "auto (the default) is raw, but L2A where 16-bit numbers in pixels of 10, 20 or 60 m are too large for a model of "
        "8-bit colours",
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
    group.add_argument(
        "--threshold", type=float, metavar="P",
        help="0 to 1: probability from which an independent class counts, or lowest score of an object (default: the model's)",
    )  # fmt: skip
    group.add_argument("--output", metavar="NAME", help="which output of the model, where it has several")


def _add_batch(group: Any) -> None:
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes on this machine that share the rasters, and its cores"
    )
    group.add_argument(
        "--dask", metavar="ADDRESS", help="scheduler of a Dask cluster that does the work, e.g. tcp://HOST:8786"
    )
    group.add_argument(
        "--block", type=int, metavar="PX",
        help=f"side of the blocks that larger rasters are cut into (default: {SIDE} where there are many rasters, "
        "--workers or --dask); NAME.vrt joins them",
    )  # fmt: skip
    group.add_argument("--merge", action="store_true", help="one NAME.tif instead of NAME.vrt and its blocks")


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
            output=arguments.output, threshold=arguments.threshold,
        ),
        resample=not arguments.no_resample,
        model_grid=arguments.grid == "model",
    )  # fmt: skip


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    name = arguments.name
    if name is not None and _is_batch(arguments.rasters):
        parser.error("--name is for one raster; results of several are named after their rasters")
    if name is not None and not is_file_name(name):
        parser.error(f"--name {name}: is no file name; give one without folders, such as landcover")
    if arguments.workers is not None and arguments.dask:
        parser.error("--workers are processes of this machine, --dask is a cluster: give one of them")
    for option in ("workers", "threads", "stride"):
        if getattr(arguments, option) is not None and getattr(arguments, option) < 1:
            parser.error(f"--{option} must be 1 or more")
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        parser.error("--threshold must be from 0 to 1")
    if arguments.block is not None and arguments.block < 256:
        parser.error("--block must be 256 px or more")


def _is_batch(words: list[str]) -> bool:
    return len(words) > 1 or not is_one(words[0])


def main() -> int:
    """Parse the command line and predict; 2 after bad input, 1 when only some rasters failed."""
    parser = _parser()
    arguments = parser.parse_args()
    options = _options(arguments, parser)
    _check(arguments, parser)
    logging.getLogger("rasterio").addHandler(logging.NullHandler())  # what GDAL says is part of our own sentences
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    many = _is_batch(arguments.rasters) or arguments.merge
    many = many or any(given is not None for given in (arguments.workers, arguments.dask, arguments.block))
    try:
        return _predict_many(arguments, options) if many else _predict_one(arguments, options)
    except RuntimeFault as fault:
        print(f"error: {words(fault)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        how = "; what is done is in manifest.jsonl: the same command goes on from there" if many else ""
        print(f"stopped; nothing unfinished was left behind{how}", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _open(arguments: argparse.Namespace, provider: str) -> Model:
    card = card_of_file(arguments.card) if arguments.card else None
    precision = arguments.precision if provider == arguments.provider else None
    model = Model(arguments.model, provider, card, arguments.threads, precision, output=arguments.output)
    for note in model.notes:
        print(words(note), file=sys.stderr)
    return model


def _predict_one(arguments: argparse.Namespace, options: Options) -> int:
    """Map one raster in this process."""
    model, (raster,) = _open(arguments, arguments.provider), arguments.rasters
    clear_leftovers(arguments.out)
    files = map_raster(model, arguments.model, raster, arguments.out, arguments.name or stem(raster), options)
    role, path = next(iter(files.items()))
    print(f"{role}: {path} ({model.provider})")
    return 0


def _predict_many(arguments: argparse.Namespace, options: Options) -> int:
    """Map what is not done yet, by whoever does the work."""
    if arguments.dask:  # other machines work in other folders
        arguments.model, arguments.out = arguments.model.absolute(), arguments.out.absolute()
        if options.limits.mask:
            options = replace(options, limits=replace(options.limits, mask=options.limits.mask.absolute()))
    model = _open(arguments, "cpu" if arguments.dask else arguments.provider)
    inputs = rasters(arguments.rasters, options.choice.bands or model.card.bands, arguments.out)
    if arguments.name:
        inputs = [replace(inputs[0], name=arguments.name)]
    if arguments.dask:
        inputs = [replace(raster, where=absolute(raster.where)) for raster in inputs]
    job = Job(
        arguments.model, model.card, options, arguments.out, arguments.merge,
        arguments.provider if arguments.dask else model.provider, arguments.precision, arguments.threads, arguments.output,
    )  # fmt: skip
    manifest = Manifest(arguments.out)
    try:
        plan = Plan(job, model, manifest, arguments.block or SIDE)
        batch = Batch(inputs, plan, _workers(arguments, job, model), manifest)
        batch.run()
    finally:
        manifest.close()
    for line in said_at_the_end(batch.report, arguments.out):
        print(line, file=sys.stderr)
    if not batch.report.failed:
        return 0
    return 1 if batch.report.made + batch.report.skipped else 2


def _workers(arguments: argparse.Namespace, job: Job, model: Model) -> Workers:
    if arguments.dask:
        return Cluster(job, arguments.dask)
    count = arguments.workers or 1
    if count == 1:
        return Here(job, model)
    return Processes(replace(job, threads=max(1, (arguments.threads or model.threads) // count)), count)


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m export.predict``: run a model over rasters. Needs no torch."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # before seconds of imports, and again when all is done: there is nothing to clean up
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

import argparse
import logging
import math
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from export.batch.apart import check_apart
from export.batch.explain import explained, text_of
from export.batch.inputs import Raster, is_file_name, is_one, rasters
from export.batch.manifest import Manifest
from export.batch.run import SIDE, Batch, Plan
from export.batch.series import DateRules, maps_of, masked, series_of
from export.batch.units import Settings
from export.batch.workers import Workers, cluster, here, processes
from export.rasterio_io.run import BESIDE, Request, map_raster
from export.rasterio_io.vectors import Area
from export.runtime.amounts import size_text
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.files import clear_leftovers, free_memory
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice, Source
from export.runtime.infer.sweep import Sweep
from export.runtime.model.providers import PRECISIONS, PROVIDERS
from export.runtime.model.read_card import card_of_file
from export.runtime.model.session import Model
from export.runtime.model.units import INPUTS
from export.runtime.raster.gaps import RULES
from export.runtime.raster.mask_band import MaskBand, mask_band
from export.runtime.raster.names import stem
from export.wording import words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.predict",
        description="Map rasters with a model in one ONNX file.",
        epilog="Writes NAME.tif (Cloud-Optimized GeoTIFF), its legend (NAME.tif.aux.xml, NAME.qml) and NAME.stac.json "
        "for each raster. Several rasters: finished maps are listed in DIR/manifest.jsonl, and the same command resumes an "
        "interrupted run (docs/scale.md). Exit code: 0 all mapped, 1 some failed or were left out, 2 none mapped or invalid options, "
        "130 interrupted.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.onnx", help="ONNX model with a model card (docs/models.md)")
    add(
        "rasters", nargs="+", metavar="RASTER",
        help="file, folder, quoted pattern ('scenes/**/*.tif'), list of rasters (.txt), STAC Item or ItemCollection (.json), "
        "URL, or GDAL name such as netcdf:cube.nc:ndvi",
    )  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="output folder (not needed with --explain)")
    add("--name", help="file name of the results without suffix, for a single raster (default: the raster's)")
    add("--explain", action="store_true", help="print what would be done with each raster and why; nothing is written")
    _add_input(parser)
    _add_inference(parser)
    return parser


def _add_input(parser: argparse.ArgumentParser) -> None:
    """Options of what is read and which part is mapped."""
    add = parser.add_argument_group("input values").add_argument
    add("--bands", nargs="+", metavar="BAND", help="band names or numbers (from 1), in the model's order")
    add("--nodata", type=float, metavar="V", help="nodata value, if the file does not declare one")
    add(
        "--nodata-rule", choices=RULES, default="any",
        help="a pixel is empty where any of the bands that are read holds its nodata value, or only where all do "
        "(default: any, as QGIS shows it)",
    )  # fmt: skip
    add(
        "--input", choices=INPUTS, default="auto",
        help="pixel values: Sentinel-2 L2A or L1C as delivered, Sentinel-2 true colour (tci), or the model's own unit (raw); "
        "default: auto, which is raw unless 16-bit values in 10, 20 or 60 m pixels exceed the range of an 8-bit model (s2-l2a) "
        "or the file is named as a true-colour image (tci)",
    )  # fmt: skip
    add(
        "--offset", type=float, metavar="V",
        help="added to Sentinel-2 values (default: from the file; -1000 from processing baseline 04.00 on)",
    )  # fmt: skip
    add = parser.add_argument_group("area and grid").add_argument
    add(
        "--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"),
        help="map only this area; for a raster without coordinates: the coordinates of its edges",
    )  # fmt: skip
    add("--crs", help="CRS of --bounds, e.g. EPSG:4326 (default: the raster's)")
    add("--mask", type=Path, metavar="FILE", help="map only inside these polygons; other tiles are not read")
    add(
        "--grid", choices=("source", "model"), default="source",
        help="pixel grid of the map: the raster's (default), or one with the model's pixel size",
    )  # fmt: skip
    add("--no-resample", action="store_true", help="do not resample the raster to the model's pixel size")
    add = parser.add_argument_group("several dates, clouds (docs/series.md)").add_argument
    add(
        "--series", action="store_true",
        help="the rasters are dates of one area: one map for a model of series; else one per date, NAME_2024-06-30.tif",
    )  # fmt: skip
    add(
        "--dates", nargs="+", metavar="DATE|TABLE",
        help="CSV with the columns file and date (2024-06-30), or the dates in the order of the rasters or of the bands of a "
        "stack (default: from the STAC Item, the file's name, its metadata or a file beside it)",
    )  # fmt: skip
    add("--date-format", metavar="FORM", help="how file names hold their date: a strptime format, such as '*_%%Y_*'")
    add(
        "--combine", choices=("mean",),
        help="of a model of one date: one map of the mean of the dates' class probabilities",
    )  # fmt: skip
    add("--date-count", action="store_true", help="NAME_dates.tif: how many dates hold data at each pixel")
    add("--skip-bad", action="store_true", help="leave out rasters that cannot be read or dated; exit code 1 then")
    add(
        "--mask-band", metavar="BAND",
        help="band that hides pixels, such as clouds: a preset (scl, qa_pixel, s2cloudless), or name or number of a band with "
        "--mask-values; of the raster, of its STAC Item, or a file beside it, such as NAME_SCL.tif",
    )  # fmt: skip
    add(
        "--mask-values", nargs="+", metavar="V",
        help="values of it that hide a pixel: numbers, ranges and bits, such as 3 8-10 bit4 (default: the preset's)",
    )  # fmt: skip


def _add_inference(parser: argparse.ArgumentParser) -> None:
    """Options of what is made, how, and by whom."""
    add = parser.add_argument_group("additional results").add_argument
    add("--confidence", action="store_true", help="NAME_confidence.tif: probability of the class in per cent")
    add("--probabilities", action="store_true", help="NAME_probabilities.tif: one band per class, 0 to 1")
    add("--polygons", action="store_true", help="NAME.gpkg: the map as polygons")
    add(
        "--min-area", type=float, default=0.0, metavar="M2",
        help="merge polygons below this area, in square metres, into their largest neighbour",
    )  # fmt: skip
    add("--areas", action="store_true", help="NAME_areas.csv and .json: pixels, hectares and per cent per class")
    add = parser.add_argument_group("inference").add_argument
    add("--overlap", type=int, metavar="PX", help="overlap of neighbouring tiles (default: the model's)")
    add(
        "--tta", action="store_true", help="test-time augmentation: average over 8 flips and rotations (8 times slower)"
    )
    add("--stride", type=int, metavar="PX", help="step between windows, for scene classifiers (default: the tile size)")
    add(
        "--card", type=Path, metavar="FILE",
        help="model card as JSON (default: MODEL.card.json, else the card inside the model)",
    )  # fmt: skip
    add(
        "--provider", choices=("auto", *PROVIDERS), default="auto",
        help="what runs the model: OpenVINO or an execution provider of ONNX Runtime; auto takes the fastest that agrees with "
        "ONNX Runtime on the CPU on tiles of the raster: in classes, values, features or boxes (default: auto)",
    )  # fmt: skip
    add(
        "--exact", dest="provider", action="store_const", const="cpu",
        help="the same as --provider cpu: ONNX Runtime on the CPU, in the precision of the model",
    )  # fmt: skip
    add("--precision", choices=tuple(PRECISIONS), help="numeric precision for inference")
    add(
        "--threads", type=int, metavar="N", help="tiles run in parallel on the CPU (default: as cores and memory allow)"
    )
    add(
        "--threshold", type=float, metavar="P",
        help="minimum probability of a class (models of independent classes) or score of an object, 0 to 1 (default: the model's)",
    )  # fmt: skip
    add("--output", metavar="NAME", help="output of the model to use, if it has several")
    add = parser.add_argument_group("large jobs").add_argument
    add("--workers", type=int, metavar="N", help="number of processes on this machine")
    add("--dask", metavar="ADDRESS", help="run on a Dask cluster; address of its scheduler, e.g. tcp://HOST:8786")
    add(
        "--block", type=int, metavar="PX",
        help=f"split larger rasters into blocks of this side, joined by NAME.vrt (default: {SIDE} with several rasters, "
        "--workers or --dask; less where memory is short, as for a single raster too wide for it)",
    )  # fmt: skip
    add("--merge", action="store_true", help="merge blocks into one NAME.tif")


def _request(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Request:
    bounds = tuple(arguments.bounds) if arguments.bounds else None
    if arguments.crs and not bounds:
        parser.error("--crs requires --bounds")
    if arguments.min_area and not arguments.polygons:
        parser.error("--min-area requires --polygons")
    if arguments.min_area < 0:
        parser.error("--min-area must not be negative")
    bands = tuple(name.strip() for text in arguments.bands or () for name in text.split(",") if name.strip())
    options = Options(
        Choice(bands, arguments.nodata, arguments.input, arguments.offset, arguments.nodata_rule),
        run=Sweep(
            overlap=arguments.overlap, tta=arguments.tta, probabilities=arguments.probabilities, stride=arguments.stride,
            output=arguments.output, threshold=arguments.threshold,
        ),
        resample=not arguments.no_resample,
        model_grid=arguments.grid == "model",
    )  # fmt: skip
    beside = tuple(role for role in BESIDE if getattr(arguments, "date_count" if role == "dates" else role))
    return Request(options, Area(bounds, arguments.crs, arguments.mask), beside, arguments.min_area)


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    name = arguments.name
    if arguments.out is None and not arguments.explain:
        parser.error("--out is required")
    if name is not None and _is_batch(arguments.rasters) and not arguments.series:
        parser.error("--name is for one raster; results of several are named after their rasters")
    if name is not None and not is_file_name(name):
        parser.error(f"--name {name}: is no file name; give one without folders, such as landcover")
    if arguments.workers is not None and arguments.dask:
        parser.error("--workers and --dask exclude each other")
    for option in ("workers", "threads", "stride"):
        if getattr(arguments, option) is not None and getattr(arguments, option) < 1:
            parser.error(f"--{option} must be 1 or more")
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        parser.error("--threshold must be from 0 to 1")
    for option in ("dates", "date_format", "combine", "date_count", "skip_bad"):
        if getattr(arguments, option) and not arguments.series:
            parser.error(f"--{option.replace('_', '-')} requires --series")
    if arguments.mask_values and not arguments.mask_band:
        parser.error("--mask-values requires --mask-band")
    if arguments.block is not None and arguments.block < 256:
        parser.error("--block must be 256 px or more")


def _is_batch(words: list[str]) -> bool:
    return len(words) > 1 or not is_one(words[0])


def main(line: list[str] | None = None) -> int:
    """Parse the command line and predict; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(line)
    request = _request(arguments, parser)
    _check(arguments, parser)
    logging.getLogger("rasterio").addHandler(logging.NullHandler())  # GDAL's errors are in our own messages
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    many = _is_batch(arguments.rasters) or arguments.merge or arguments.series or bool(arguments.mask_band)
    many = many or any(given is not None for given in (arguments.workers, arguments.dask, arguments.block))
    try:
        if arguments.explain:
            return _explain(arguments, request, many)
        return _predict_many(arguments, request) if many else _predict_one(arguments, request)
    except RuntimeFault as fault:
        print(f"error: {words(fault)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        for number in signals:  # another one would only hide what is said here
            signal.signal(number, signal.SIG_IGN)
        how = "; run the same command to resume" if many else ""
        print(f"interrupted; no incomplete files were left{how}", file=sys.stderr)
        return 130
    finally:
        for number, handler in zip(signals, before):
            signal.signal(number, handler)


def _open(arguments: argparse.Namespace, provider: str) -> Model:
    card = card_of_file(arguments.card) if arguments.card else None
    precision = arguments.precision if provider == arguments.provider else None
    return Model(arguments.model, provider, card, arguments.threads, precision, output=arguments.output)


def _explain(arguments: argparse.Namespace, request: Request, many: bool) -> int:
    """Print what a run would do."""
    begun = time.perf_counter()
    model, out = _open(arguments, "cpu" if arguments.dask else arguments.provider), arguments.out or Path()
    opening, refused = time.perf_counter() - begun, 0
    inputs, bad = _inputs(arguments, request, model, out)
    for raster in inputs:
        try:
            side = arguments.block or (0 if many else None)
            try:
                lines, notes = explained(model, raster, request, out, side, opening)
            except InputFault as fault:
                print(f"warning: {_cut(fault, raster.name)}", file=sys.stderr)
                lines, notes = explained(model, raster, request, out, 0, opening)
        except RuntimeFault as fault:
            refused += 1
            print(f"error: {words(fault)}", file=sys.stderr)
            continue
        print(text_of(raster.where, lines))
        for note in notes:
            print(f"warning: {words(note)}", file=sys.stderr)
    return (2 if refused == len(inputs) else 1) if refused or bad else 0


def _inputs(arguments: argparse.Namespace, request: Request, model: Model, out: Path) -> tuple[list[Raster], int]:
    """The rasters that the command line names, or the series; and how many of its files are left out."""
    bands = [str(band) for band in request.options.choice.bands] or [*model.card.bands]
    mask = mask_band(arguments.mask_band, arguments.mask_values or ()) if arguments.mask_band else None
    if arguments.series:
        return _series(arguments, request, model, out, bands, mask)
    inputs = rasters(arguments.rasters, bands, out)
    inputs = masked(inputs, mask, request.area) if mask else inputs
    return ([replace(inputs[0], name=arguments.name)] if arguments.name else inputs), 0


def _series(
    arguments: argparse.Namespace, request: Request, model: Model, out: Path, bands: list[str], mask: MaskBand | None
) -> tuple[list[Raster], int]:
    """The maps of a series; what the user should know of its dates is said."""
    card, rules = model.card, DateRules.of(arguments.dates or (), arguments.date_format)
    if card.dates and arguments.combine:
        raise InputFault.worded("--combine: the model reads all dates itself; leave it out")
    choice = request.options.choice
    fits = partial(Source, card=card, choice=choice)
    found = series_of(arguments.rasters, bands, out, rules, mask, arguments.skip_bad, request.area, fits)
    days = sorted({one.date.date() for one in found.rasters})
    notes = [words(note) for note in found.notes] + [f"left out: {reason}" for reason in found.bad]
    if card.dates and len(days) == 1:
        notes.append(f"all rasters are of {days[0]}: the model learned from {card.dates} dates and sees one")
    if not card.dates and not arguments.combine:
        notes.append("the model reads one date: one map is made of each; --combine mean makes one of all")
        if arguments.date_count:
            raise InputFault.worded("--date-count: each map is of one date; give --combine mean, or leave it out")
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    together = bool(card.dates or arguments.combine)
    return maps_of(found, arguments.rasters, arguments.name, together), len(found.bad)


def _predict_one(arguments: argparse.Namespace, request: Request) -> int:
    """Map one raster in this process."""
    model, (raster,) = _open(arguments, arguments.provider), arguments.rasters
    name = arguments.name or stem(raster)
    request.targets(arguments.out / name, model.card.task).check(_read(arguments))
    clear_leftovers(arguments.out)
    try:
        files = map_raster(model, arguments.model, raster, arguments.out, name, request)
    except InputFault as fault:
        print(f"warning: {_cut(fault, name)}", file=sys.stderr)
        return _predict_many(arguments, request, model)
    role, path = next(iter(files.items()))
    print(f"{role}: {path}")
    return 0


def _cut(fault: InputFault, name: str) -> str:
    """What is done with a raster that is too wide for the memory; any other fault is raised again."""
    if fault.message.kind != "too_wide":
        raise fault
    width, needed, free = (fault.message.fields[key] for key in ("width", "needed", "free"))
    return (
        f"{fault.message.fields['where']}: {width} px are too wide for one piece ({size_text(needed)} of memory are needed and "
        f"{size_text(free)} are free): it is cut into blocks, joined by {name}.vrt"
    )


def _predict_many(arguments: argparse.Namespace, request: Request, model: Model | None = None) -> int:
    """Map what is not done yet, by whoever does the work."""
    if arguments.dask:  # other machines work in other folders
        arguments.model, arguments.out = arguments.model.absolute(), arguments.out.absolute()
        if request.area.mask:
            request = replace(request, area=replace(request.area, mask=request.area.mask.absolute()))
    model = model or _open(arguments, "cpu" if arguments.dask else arguments.provider)
    inputs, bad = _inputs(arguments, request, model, arguments.out)
    if arguments.dask:
        inputs = [raster.elsewhere() for raster in inputs]
    with closing(Manifest(arguments.out)) as manifest:
        settings = Settings(
            arguments.model, model.card, request, arguments.out, manifest.run, arguments.merge,
            arguments.provider if arguments.dask else model.provider, arguments.precision, arguments.threads,
        )  # fmt: skip
        memory = math.inf if arguments.dask else free_memory() / (arguments.workers or 1)
        plan = Plan(settings, model, manifest, arguments.block, memory)
        check_apart(inputs, plan, _read(arguments))
        batch = Batch(inputs, plan, _workers(arguments, settings, model))
        batch.run()
    for line in batch.summary():
        print(line, file=sys.stderr)
    if not batch.failed:
        return 1 if bad else 0
    return 1 if batch.made + batch.skipped else 2


def _read(arguments: argparse.Namespace) -> list[str]:
    """The files that the command line names, whatever they are."""
    named = [arguments.model, arguments.model.with_suffix(".card.json"), arguments.card, arguments.mask]
    return [str(name) for name in (*named, *arguments.rasters) if name]


def _workers(arguments: argparse.Namespace, settings: Settings, model: Model) -> Workers:
    """Whoever does the work."""
    count = arguments.workers or 1
    if arguments.dask:
        return partial(cluster, settings, arguments.dask)
    if count == 1:
        return partial(here, settings, model)
    threads = max(1, (arguments.threads or model.threads) // count)
    return partial(processes, replace(settings, threads=threads), count)


if __name__ == "__main__":
    raise SystemExit(main())

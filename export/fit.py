"""``python -m export.fit``: from a few labels to a land-cover model in one ONNX file, and its map. Needs no torch."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path

import rasterio
from tqdm import tqdm

from export.batch.inputs import Raster, rasters
from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.labels import classes_in, labels_on, read_labels
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.run import BESIDE, Request, reading, room_for_blocks, shown_on, written
from export.rasterio_io.vectors import Area
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.files import Staging, clear_leftovers, taken
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice
from export.runtime.infer.sweep import Progress
from export.runtime.learn.cache import FeatureCache
from export.runtime.learn.fitting import Featured, Fitted, Steps, choice_of, fit_model, without_class
from export.runtime.messages import Message
from export.runtime.results.writing import write_text
from export.wording import words

DESCRIPTION = """Fits a land-cover model on labelled points and polygons, and writes it with its encoder into one ONNX file for
export.predict, QGIS and Deepness. Every label counts the same, whatever its size. The accuracy is measured by leaving out
whole labels (above 30: spatial blocks)."""
_ROWS = 1024  # of a raster, at least those under a tile of features
EPILOG = """Writes OUT.onnx, OUT_report.html and OUT_report.json; with --map a map of each raster as export.predict does. Exit code: 0
done, 2 invalid input (nothing is written), 130 interrupted; the same command with the same --cache resumes."""


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    made = argparse.ArgumentParser(prog="python -m export.fit", description=DESCRIPTION, epilog=EPILOG)
    add = made.add_argument
    add("rasters", nargs="+", metavar="RASTER", help="rasters of one kind: file, folder, or quoted pattern")
    add("--labels", nargs="+", type=Path, required=True, metavar="FILE", help="points or polygons, in any CRS")
    add("--field", help="attribute with the class, name or number (default: class)")
    add("--layer", help="layer of the label files (default: the first)")
    add("--out", type=Path, required=True, metavar="OUT.onnx", help="model to write")
    add_features(made)
    add = made.add_argument_group("map").add_argument
    add("--map", type=Path, metavar="DIR", help="map the rasters into this folder")
    add("--confidence", action="store_true", help="NAME_confidence.tif: probability of the class in per cent")
    add("--probabilities", action="store_true", help="NAME_probabilities.tif: one band per class, 0 to 1")
    add("--polygons", action="store_true", help="NAME.gpkg: the map as polygons")
    add("--areas", action="store_true", help="NAME_areas.csv and .json: pixels, hectares and per cent per class")
    add("--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"), help="map only this area")
    add("--crs", help="CRS of --bounds, e.g. EPSG:4326 (default: the raster's)")
    add("--mask", type=Path, metavar="FILE", help="map only inside these polygons")
    return made


def add_features(made: argparse.ArgumentParser) -> None:
    """Options of the features, which fitting and searching share."""
    add = made.add_argument_group("features").add_argument
    add("--encoder", type=Path, metavar="MODEL.onnx", help="encoder whose answer is a map (docs/models.md)")
    add(
        "--texture",
        action="store_true",
        help="bands and texture at several scales, alone or beside --encoder (the default)",
    )
    add(
        "--holds-features", action="store_true",
        help="the raster's bands are features already; outputs of embedding models, AlphaEarth and TESSERA are recognised",
    )  # fmt: skip
    add("--cache", type=Path, metavar="DIR", help="keep computed features in this folder, for the next run")
    add("--bands", nargs="+", metavar="BAND", help="band names or numbers (from 1), in the model's order")
    add("--nodata", type=float, metavar="V", help="nodata value, if the file does not declare one")


def kind_of(arguments: argparse.Namespace, made: argparse.ArgumentParser) -> str:
    """Which features are asked for; see ``choice_of``."""
    if arguments.holds_features:
        if arguments.encoder or arguments.texture:
            made.error("--holds-features excludes --encoder and --texture")
        return "raster"
    if arguments.texture:
        return "both" if arguments.encoder else "texture"
    return "auto"


def options_of(arguments: argparse.Namespace) -> Options:
    """How rasters are read."""
    bands = tuple(name.strip() for text in arguments.bands or () for name in text.split(",") if name.strip())
    return Options(Choice(bands, arguments.nodata))


@contextmanager
def steps() -> Iterator[Steps]:
    """A bar for each step."""
    bars: list[tqdm] = []

    def begin(step: str) -> Progress:
        for bar in bars:
            bar.close()
        bars.append(tqdm(desc=step, disable=None))
        return shown_on(bars[-1])

    try:
        yield begin
    finally:
        for bar in bars:
            bar.close()


@contextmanager
def opened(names: Sequence[str]) -> Iterator[list[RasterPixels]]:
    """Rasters while they are read."""
    with ExitStack() as stack:
        stack.enter_context(reading(names[0]))
        pixels = [stack.enter_context(closing(RasterPixels(name))) for name in names]
        under = max(one.bytes_under(one.usable, _ROWS) for one in pixels)
        stack.enter_context(rasterio.Env(**room_for_blocks(under)))
        yield pixels


def featured(pixels: Sequence[RasterPixels], arguments: argparse.Namespace, kind: str, progress: Progress) -> Featured:
    """Learn the features that the command line asks for.

    Raises:
        RuntimeFault: they do not fit the rasters.
    """
    choice = choice_of(kind, arguments.encoder and str(arguments.encoder), pixels[0])
    cache = FeatureCache(arguments.cache, RasterioWriter, RasterPixels) if arguments.cache else None
    made = Featured.of(pixels, choice, options_of(arguments), cache, "cpu", progress)
    for note in made.features.notes:
        print(words(note), file=sys.stderr)
    for note in made.warnings:
        warn(note)
    return made


def warn(note: Message) -> None:
    """Print what the user should read."""
    print(f"warning: {words(note)}", file=sys.stderr)


def fit(arguments: argparse.Namespace, kind: str) -> None:
    """Fit, report, save and map, as the command line says.

    Raises:
        RuntimeFault: nothing was written, or no more than the model and some maps.
    """
    out: Path = arguments.out
    inputs = _inputs(arguments)
    for raster in inputs:
        if raster.parts:
            raise InputFault.worded(f"{raster.where}: is a STAC Item; make one raster of its files, with gdalbuildvrt")
    if len({path.resolve() for path in arguments.labels}) < len(arguments.labels):
        raise InputFault.worded(f"{', '.join(map(str, arguments.labels))}: a file of labels is named twice")
    files = [read_labels(path, arguments.field, arguments.layer) for path in arguments.labels]
    classes, index = classes_in(files)
    with opened([raster.where for raster in inputs]) as pixels, steps() as bars:
        request = _request(arguments)
        reports = [out.with_name(f"{out.stem}_report{suffix}") for suffix in (".html", ".json")]
        read = [*map(str, arguments.labels), *([str(arguments.encoder)] if arguments.encoder else [])]
        sources = [*read, *chain.from_iterable(request.sources(one) for one in pixels)]
        _check_apart([out, *reports], sources)
        _check_folders(out, arguments.map)
        targets = [request.targets(arguments.map / raster.name, "segmentation") for raster in inputs if arguments.map]
        for target in targets:
            target.check([*sources, str(out)])
        limits = [request.on(one).limits for one in pixels] if arguments.map else []
        for one, limit in zip(pixels, limits):
            limit.window(one.grid, one.name)  # bounds outside are said before anything is computed
        where = ", ".join(map(str, arguments.labels))
        for note in without_class(where, index):
            warn(note)
        labels = [labels_on(files, index, one.grid) for one in pixels]
        made = featured(pixels, arguments, kind, bars("features"))
        fitted = fit_model(made, labels, classes, where, bars)
        _save(fitted, out, reports)
        for raster, on, target, limit in zip(inputs, made.rasters, targets, limits):
            job = fitted.job(on, limit, "probabilities" in request.beside, out.stem)
            for note in job.notes("areas" in request.beside, "polygons" in request.beside):
                warn(note)
            print(f"map: {written(job, target, out, raster.where, request)['map']}")
        made.complete()
        for trouble in made.troubles:
            warn(trouble)


def _inputs(arguments: argparse.Namespace) -> list[Raster]:
    """The rasters that the command line names; without maps they may have the same names in different folders."""
    if arguments.map:
        return rasters(arguments.rasters, [], arguments.map)
    found = (raster for word in arguments.rasters for raster in rasters([word], [], arguments.out))
    return list({raster.where: raster for raster in found}.values())


def _request(arguments: argparse.Namespace) -> Request:
    bounds = tuple(arguments.bounds) if arguments.bounds else None
    beside = tuple(role for role in BESIDE if getattr(arguments, role, False))  # dates are of series alone
    return Request(options_of(arguments), Area(bounds, arguments.crs, arguments.mask), beside)


def _check_apart(results: Sequence[Path], sources: Sequence[str]) -> None:
    meeting = taken(results, sources)
    if meeting:
        raise InputFault("overwrites_input", where=meeting[0], source=meeting[1])


def _check_folders(out: Path, maps: Path | None) -> None:
    """Say what cannot be written before anything is computed."""
    if out.is_dir():
        raise InputFault.worded(f"--out {out}: is a folder; name a file in it")
    for folder in (out.parent, *([maps] if maps else [])):
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not there.is_dir():
            raise InputFault.worded(f"{there}: is a file and no folder; write the model and the maps elsewhere")


def _save(fitted: Fitted, out: Path, reports: Sequence[Path]) -> None:
    """Print the report, and write it with the model."""
    report = fitted.report(out.stem)
    for note in report.notes:
        warn(note)
    print(report.as_text())
    clear_leftovers(out.parent)
    with Staging(out.parent) as staging:
        write_text(staging.keep(reports[0].name), report.as_html(words))
        write_text(staging.keep(reports[1].name), json.dumps(report.as_dict(), indent=2) + "\n")
        fitted.save(out, out.stem)
        staging.commit()
    print(f"model: {out}")


def main() -> int:
    """Parse the command line and fit; 2 after bad input."""
    made = parser()
    arguments = made.parse_args()
    kind = kind_of(arguments, made)
    if arguments.out.suffix.lower() != ".onnx":
        made.error(f"--out {arguments.out}: must end with .onnx")
    mapped = ("confidence", "probabilities", "polygons", "areas", "bounds", "mask")
    if not arguments.map and any(getattr(arguments, name) for name in mapped):
        made.error("--confidence, --probabilities, --polygons, --areas, --bounds and --mask require --map")
    if arguments.crs and not arguments.bounds:
        made.error("--crs requires --bounds")
    return run(lambda: fit(arguments, kind))


def run(work: Callable[[], None]) -> int:
    """Do it; an error of the user becomes one sentence. Returns the exit code."""
    logging.getLogger("rasterio").addHandler(logging.NullHandler())  # GDAL's errors are in our own messages
    try:
        work()
    except (RuntimeFault, OSError) as error:
        print(f"error: {words(error) if isinstance(error, RuntimeFault) else error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("error: the memory is not enough; map parts with --bounds", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; no incomplete files were left", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m export.predict``: maps from rasters. Needs no torch."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import rasterio
from tqdm import tqdm

from export.host.engine import Sweep, sweep
from export.host.files import Staging, free_bytes, size_text
from export.host.limits import VECTOR_ERRORS
from export.host.results import Results, Wanted
from export.host.source import RASTER_ERRORS, Choice, Placement, Source
from export.host.units import INPUTS
from export.host.view import Limits, View
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.session import Model

CACHE = 64 * 2**20  # bytes of decoded blocks that GDAL keeps: a row of tiles needs no more
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # beside a file on a server, nothing is searched
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}


@dataclass(frozen=True)
class Options:
    """How rasters are mapped; every part has defaults.

    Attributes:
        choice: what the user says of the rasters.
        limits: of the area.
        wanted: files beside the map.
        run: of the sweep.
        resample: whether pixels are brought to the model's size.
        model_grid: whether the map keeps that size.
    """

    choice: Choice = field(default_factory=Choice)
    limits: Limits = field(default_factory=Limits)
    wanted: Wanted = field(default_factory=Wanted)
    run: Sweep = field(default_factory=Sweep)
    resample: bool = True
    model_grid: bool = False


def predict(
    model: Model, model_path: Path, raster: str, folder: Path, name: str, options: Options | None = None
) -> dict[str, Path]:
    """Write the map of one raster.

    Args:
        model: an opened model.
        model_path: its file.
        raster: a path, a URL, or another name that GDAL opens.
        folder: for the results.
        name: of the results, without a suffix.
        options: how.

    Returns:
        Role and file of each result.

    Raises:
        RuntimeFault: the raster does not fit the model, or cannot be read or written.
    """
    options = options or Options()
    out = folder / f"{name}.tif"
    if out.exists() and Path(raster).exists() and out.samefile(raster):
        raise InputFault(f"{out}: is the raster itself; choose another --out")
    cache = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": CACHE}
    with rasterio.Env(**cache, **(GDAL_OPTIONS if "://" in raster else {})):
        source = Source(raster, model.card, options.choice)
        try:
            view = View(source, model.card, options.limits, resample=options.resample, model_grid=options.model_grid)
            _say(source, view, model, options)
            _check_memory(view, model)
            return _write(model, model_path, raster, view, folder, name, options)
        finally:
            source.close()


def _write(
    model: Model, model_path: Path, raster: str, view: View, folder: Path, name: str, options: Options
) -> dict[str, Path]:
    with Staging(folder) as staging, tqdm(desc=name, unit="tile", disable=None) as bar:
        results = Results(staging, name, view.result, model.card, options.wanted)

        def progress(done: int, total: int) -> bool:
            bar.total = total
            bar.update(done - bar.n)
            return True

        try:
            rows = sweep(model, view.read, *view.seen.shape, options.run, progress, view.touches)
            for part in view.finish(rows):
                results.add(part)
            return results.finish(model_path, raster, _as_json(options))
        except (InputFault, *RASTER_ERRORS, *VECTOR_ERRORS) as error:
            _raise_plainly(error, folder / f"{name}.tif", results)
            raise
        finally:
            _quietly(results.close)


def _raise_plainly(error: Exception, out: Path, results: Results) -> None:
    """Say what stopped a run; a full disk shows in many ways."""
    if isinstance(error, InputFault) and "written whole" not in str(error):
        return
    free, needed = free_bytes(out.parent), results.bytes_needed()
    if free < needed or "No space" in str(error):
        raise InputFault(
            f"{out}: the disk is full: up to {size_text(needed)} are needed while it is made; make room or choose another --out"
        ) from error
    if isinstance(error, MemoryError):
        raise InputFault(f"{out}: memory is not enough for it; map parts of it with --bounds") from error
    raise InputFault(f"{out}: cannot be written ({(str(error).splitlines() or [type(error).__name__])[0]})") from error


def _quietly(close: Any) -> None:
    try:
        close()
    except RASTER_ERRORS:  # the files are removed anyway; what went wrong was said
        logging.getLogger(__name__).debug("closing failed", exc_info=True)


def _say(source: Source, view: View, model: Model, options: Options) -> None:
    notes = list(source.notes)
    height, _ = view.source.grid.pixel_size_m
    gsd = model.card.gsd
    if view.scale:
        notes.append(
            f"{source.where}: its pixels are {height:.4g} m, the model learned from {gsd:.4g} m: resampled on the way in"
        )
    elif gsd and not 0.5 <= height / gsd <= 2:
        notes.append(
            f"{source.where}: its pixels are {height:.4g} m, the model learned from {gsd:.4g} m: fed as they are"
        )
    distortion = view.result.area_distortion if options.wanted.areas or options.wanted.polygons else 1.0
    if not 0.98 <= distortion <= 1.02:
        notes.append(
            f"{source.where}: areas are measured in its projection, which shows {distortion:.3g} times the true area at its middle"
        )
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)


def _check_memory(view: View, model: Model) -> None:
    """Refuse what cannot fit before the system ends the run without a word."""
    needed = view.seen.width * model.card.tile_size * (len(model.card.classes) + 2) * 4
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.8 * there:
        raise InputFault(
            f"{view.source.where}: is {view.seen.width} px wide, which takes {size_text(needed)} of memory; map parts of it with --bounds"
        )


def _as_json(options: Options) -> dict[str, Any]:
    """What differs from the defaults of a run, for the record."""
    choice, limits, run = options.choice, options.limits, options.run
    said: dict[str, Any] = {
        "bands": choice.bands, "nodata": choice.nodata, "input": choice.kind, "offset": choice.offset,
        "bounds": limits.bounds, "bounds_crs": limits.crs, "mask": limits.mask and limits.mask.name,
        "grid": "model" if options.model_grid else "source", "resample": options.resample,
        "overlap": run.overlap, "tta": run.tta, "stride": run.stride, "min_area_m2": options.wanted.min_area,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}


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
    model, failed = Model(arguments.model), 0
    for raster, name in zip(arguments.rasters, names):
        try:
            files = predict(model, arguments.model, raster, arguments.out, name, options)
            print(f"map: {files['map']} ({model.provider})")
        except RuntimeFault as fault:
            failed += 1
            print(f"error: {fault}", file=sys.stderr)
    if not failed:
        return 0
    return 2 if failed == len(names) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""One raster from beginning to end: open it, run the model, write the results."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rasterio
from tqdm import tqdm

from export.rasterio_io.boxes import write_boxes
from export.rasterio_io.grid import Grid
from export.rasterio_io.limits import VECTOR_ERRORS
from export.rasterio_io.names import is_far
from export.rasterio_io.results import Results, Wanted
from export.rasterio_io.source import RASTER_ERRORS, Choice, Source
from export.rasterio_io.view import Limits, View, check_apart
from export.runtime.errors import InputFault
from export.runtime.files import Staging, free_bytes, free_memory, size_text
from export.runtime.infer.objects import detect
from export.runtime.infer.scenes import cell_size, windows
from export.runtime.infer.sweep import Progress, Sweep, sweep
from export.runtime.messages import Message
from export.runtime.model.session import Model
from export.runtime.raster.patches import BYTES, BYTES_MERGING
from export.runtime.raster.window import Window
from export.wording import words

CACHE = 64 * 2**20, 512 * 2**20  # bytes of decoded blocks that GDAL keeps: at least and at most
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


def reading(raster: str) -> rasterio.Env:
    """Within it a raster on a server is read with patience that ends."""
    return rasterio.Env(**(GDAL_OPTIONS if is_far(raster) else {}))


def _warn(note: Message) -> None:
    print(f"warning: {words(note)}", file=sys.stderr)


@dataclass(frozen=True)
class Listener:
    """Who hears of a run: by default a user at a terminal.

    Attributes:
        note: takes what the user should read.
        progress: called after each tile with tiles done and tiles in all, False cancels; None shows a bar.
    """

    note: Callable[[Message], None] = _warn
    progress: Progress | None = None


def map_raster(
    model: Model,
    model_path: Path,
    raster: str,
    folder: Path,
    name: str,
    options: Options | None = None,
    *,
    block: Window | None = None,
    unit: str = "",
    listener: Listener | None = None,
) -> dict[str, Path]:
    """Write what a model says of one raster.

    Args:
        model: an opened model.
        model_path: its file.
        raster: a path, a URL, or another name that GDAL opens.
        folder: for the results.
        name: of the results, without a suffix.
        options: how.
        block: of the map's grid, the only part that is written; it has the same bits as in the whole map.
        unit: checksum of what the files are made from, for the record beside them.
        listener: who hears of it.

    Returns:
        Role and file of each result.

    Raises:
        RuntimeFault: the raster does not fit the model, or cannot be read or written; or the listener cancelled.
    """
    options, listener = options or Options(), listener or Listener()
    with reading(raster):
        source = Source(raster, model.card, options.choice)
        try:
            check_apart(folder / name, options.wanted.suffixes(model.card.task), source, options.limits)
            model = model.choose(options.run.output)
            view = view_of(source, model, options)
            for note in _notes(source, view, model, options):
                listener.note(note)
            run = replace(options.run, area=view.area_of(block)) if block else options.run
            _check_memory(view, model, run)
            with (
                rasterio.Env(**_cache(view, model)),
                Staging(folder) as staging,
                tqdm(desc=name, unit="tile", disable=None if listener.progress is None else True) as bar,
            ):
                results = Results(
                    staging, name, view.result.crop(block) if block else view.result, model.card, options.wanted
                )
                with plainly(folder / f"{name}.tif", results.bytes_needed()), closing_quietly(results):
                    _run(model, view, results, run, block, listener.progress or _shown_on(bar))
                    return results.finish(model_path, raster, as_json(options), unit)
        except MemoryError as error:
            raise InputFault(f"{raster}: memory is not enough for it; map parts of it with --bounds") from error
        finally:
            source.close()


def view_of(source: Source, model: Model, options: Options) -> View:
    """A raster as a model sees it.

    Raises:
        InputFault: what is wanted lies outside.
    """
    return View(
        source,
        model.card,
        options.limits,
        resample=options.resample,
        model_grid=options.model_grid,
        cell=_cell(model, options.run),
    )


def _cache(view: View, model: Model) -> dict[str, int]:
    """Room for the blocks under a row of tiles, so that none is decoded for each tile again."""
    if "GDAL_CACHEMAX" in os.environ:
        return {}
    rows = model.card.tile_size * (view.scale.rows if view.scale else 1)
    return {"GDAL_CACHEMAX": int(min(max(1.25 * view.source.bytes_under(rows), CACHE[0]), CACHE[1]))}


def _cell(model: Model, run: Sweep) -> int:
    """Side of a pixel of the answer, in pixels that the model sees."""
    return cell_size(model, run) if model.card.task in ("classification", "embedding") else 1


@contextmanager
def plainly(out: Path, needed: int) -> Iterator[None]:
    """Turn what can go wrong with a file that takes so many bytes into sentences."""
    try:
        yield
    except (InputFault, sqlite3.Error, *RASTER_ERRORS, *VECTOR_ERRORS) as error:
        _raise_plainly(error, out, needed)
        raise


def _run(model: Model, view: View, results: Results, run: Sweep, block: Window | None, progress: Progress) -> None:
    """Let the model answer, and hand its answer on as it comes."""
    place = (model, view.read, *view.seen.shape, run, progress, view.touches)
    if model.card.task == "detection":
        write_boxes(results.boxes(), detect(*place), view.seen, model.card, view.mask)
        return
    answer = windows if model.card.task in ("classification", "embedding") else sweep
    for part in view.finish(answer(*place), block):
        results.add(part)


def _shown_on(bar: Any) -> Progress:
    def progress(done: int, total: int) -> bool:
        bar.total = total
        bar.update(done - bar.n)
        return True

    return progress


def _raise_plainly(error: Exception, out: Path, needed: int) -> None:
    """Say what stopped a run; a full disk shows in many ways."""
    if isinstance(error, InputFault) and "written whole" not in str(error):
        return
    free = free_bytes(out.parent)
    if free < needed or "No space" in str(error):
        raise InputFault(
            f"{out}: the disk is full: up to {size_text(needed)} are needed while it is made; make room or choose another --out"
        ) from error
    if isinstance(error, MemoryError):
        raise InputFault(f"{out}: memory is not enough for it; map parts of it with --bounds") from error
    raise InputFault(f"{out}: cannot be written ({(str(error).splitlines() or [type(error).__name__])[0]})") from error


@contextmanager
def closing_quietly(results: Results) -> Iterator[None]:
    """Give the files back in any case."""
    try:
        yield
    finally:
        try:
            results.close()
        except RASTER_ERRORS:  # the files are removed anyway; what went wrong was said
            logging.getLogger(__name__).debug("closing failed", exc_info=True)


def _notes(source: Source, view: View, model: Model, options: Options) -> list[Message]:
    notes = view.notes(model.card.gsd, options.wanted.areas or options.wanted.polygons)
    if options.wanted.polygons and model.card.task != "detection":
        notes += _polygon_notes(view.result, merging=options.wanted.min_area > 0)
    return [*source.notes, *(note.about(source.where) for note in notes), *_left_out(model, options)]


def _left_out(model: Model, options: Options) -> list[Message]:
    """A note on the options that do not apply to such a model."""
    wanted, task = options.wanted, model.card.task
    classes = task in ("segmentation", "classification")
    independent = task == "detection" or (classes and len(model.card.classes) > model.channels)
    asked = {
        "--confidence": wanted.confidence and not classes,
        "--probabilities": wanted.probabilities and not classes,
        "--polygons": wanted.polygons and not classes,
        "--areas": wanted.areas and not classes,
        "--threshold": options.run.threshold is not None and not independent,
        "--stride": options.run.stride is not None and task not in ("classification", "embedding"),
    }
    names = [name for name, useless in asked.items() if useless]
    sentence = f"{', '.join(names)}: ignored, does not apply to this {task} model"
    return [Message("worded", {"sentence": sentence})] if names else []


def _polygon_notes(grid: Grid, *, merging: bool) -> list[Message]:
    """What is to be known of the memory that polygons take; how much it will be, the map alone can tell."""
    most, free = grid.height * grid.width * (BYTES_MERGING if merging else BYTES), free_memory()
    if most <= free:
        return []
    return [Message("polygons_may_not_fit", {"most": most, "free": free})]


def _check_memory(view: View, model: Model, run: Sweep) -> None:
    """Refuse what cannot fit before the system ends the run without a word."""
    if not hasattr(os, "sysconf"):  # Windows does not tell
        return
    needed = view.bytes_needed(model, run)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.8 * there:
        raise InputFault(
            f"{view.source.where}: is so wide that it takes {size_text(needed)} of memory; map it in parts with --block or --bounds"
        )


def as_json(options: Options) -> dict[str, Any]:
    """What differs from the defaults of a run, for the record."""
    choice, limits, run = options.choice, options.limits, options.run
    said: dict[str, Any] = {
        "bands": choice.bands, "nodata": choice.nodata, "input": choice.kind, "offset": choice.offset,
        "bounds": limits.bounds, "bounds_crs": limits.crs, "mask": limits.mask and limits.mask.name,
        "grid": "model" if options.model_grid else "source", "resample": options.resample,
        "overlap": run.overlap, "tta": run.tta, "stride": run.stride, "threshold": run.threshold, "min_area_m2": options.wanted.min_area,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}

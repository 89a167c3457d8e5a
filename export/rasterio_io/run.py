"""One raster from beginning to end: open it, run the model, write the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import rasterio
from tqdm import tqdm

from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.dated import SceneFile, members_of, open_input
from export.rasterio_io.stac import Inputs, write_item
from export.rasterio_io.vectors import Area, PyogrioVectors
from export.runtime.errors import InputFault
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Options
from export.runtime.infer.sweep import Progress
from export.runtime.infer.timing.trial import decided, told
from export.runtime.learn.mapping import MapJob
from export.runtime.messages import Message
from export.runtime.model.session import Model
from export.runtime.raster.gaps import RULES
from export.runtime.raster.names import is_far
from export.runtime.raster.window import Window
from export.runtime.results.writing import Results, Targets
from export.wording import words

CACHE = 64 * 2**20, 512 * 2**20  # bytes of decoded blocks that GDAL keeps: at least and at most
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # beside a file on a server, nothing is searched
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
SUFFIXES = {
    "map": ".tif", "confidence": "_confidence.tif", "probabilities": "_probabilities.tif", "dates": "_dates.tif",
    "polygons": ".gpkg", "areas": "_areas.csv",
}  # fmt: skip
BESIDE = tuple(SUFFIXES)[1:]  # roles of results that are made only when asked for


@dataclass(frozen=True)
class Request:
    """What a user asks for, before any raster is opened; every part has defaults.

    Attributes:
        options: of the run, but for its limits.
        area: to which it is limited; with a CRS, also where a raster without coordinates lies.
        beside: roles of the results beside the map, of ``BESIDE``.
        min_area: of a polygon, square metres.
        style: whether names and colours are written beside the map.
    """

    options: Options = field(default_factory=Options)
    area: Area = field(default_factory=Area)
    beside: tuple[str, ...] = ()
    min_area: float = 0.0
    style: bool = True

    def on(self, pixels: Any) -> Options:
        """The options on an opened raster or series.

        Raises:
            InputFault: the area cannot be brought into its CRS.
        """
        return replace(self.options, limits=self.area.on(pixels.grid, pixels.name))

    def targets(self, stem: Path, task: str, suffix: str = ".tif") -> Targets:
        """Files of a run; ``stem`` is their folder and name, ``suffix`` that of rasters."""
        item = stem.with_name(f"{stem.name}.stac.json")
        if task == "detection":
            return Targets({"objects": stem.with_name(f"{stem.name}.gpkg")}, item=item)
        asked = self.beside if task in ("segmentation", "classification") else {"dates"} & {*self.beside}
        names = {role: SUFFIXES[role] for role in ("map", *BESIDE) if role in ("map", *asked)}
        files = {role: stem.with_name(stem.name + end.replace(".tif", suffix)) for role, end in names.items()}
        return Targets(files, self.min_area, self.style, item)

    def sources(self, pixels: Any) -> Iterator[str]:
        """The files that a run reads, of an opened raster or series."""
        if self.area.mask:
            yield str(self.area.mask)
        yield from members_of(pixels)


def reading(*rasters: str) -> rasterio.Env:
    """Within it rasters on a server are read with patience that ends; what lies beside a file on a disk counts."""
    return rasterio.Env(**(GDAL_OPTIONS if rasters and all(map(is_far, rasters)) else {}))


def _warn(note: Message) -> None:
    print(f"warning: {words(note)}", file=sys.stderr)


def map_raster(
    model: Model,
    model_path: Path,
    raster: str,
    folder: Path,
    name: str,
    request: Request | None = None,
    *,
    scenes: Sequence[SceneFile] = (),
    block: Window | None = None,
    unit: str = "",
    note: Callable[[Message], None] = _warn,
    progress: Progress | None = None,
    moving: Callable[[], AbstractContextManager[None]] = nullcontext,
    why: Message | None = None,
) -> dict[str, Path]:
    """Map one raster, or only ``block`` of its map, which has the same bits as in the whole map.

    ``scenes`` are the files of a series, which ``raster`` then only names, or the raster with its mask.
    ``name`` is that of the results, without a suffix; ``unit`` a checksum of what they are made from, for the STAC Item.
    ``note`` takes what the user should read. ``progress`` is called after each tile with tiles done and tiles in all, and
    again while files are made; False cancels; None shows a bar. The files take their names within ``moving``. ``why`` is recorded
    of what runs the model, where that was decided before.

    Returns:
        Role and file of each result.

    Raises:
        RuntimeFault: the raster does not fit the model, or cannot be read or written; or ``progress`` cancelled.
    """
    request = request or Request()
    try:
        files = [scene.where for scene in scenes] or [raster]
        with reading(*files), closing(open_input(raster, scenes, request.area)) as pixels:
            targets = request.targets(folder / name, model.card.task)
            targets.check(chain([str(model_path)], request.sources(pixels)))
            with closing(Job(model, pixels, request.on(pixels), block)) as job:
                job = decided(job)
                for message in told(job):
                    print(words(message), file=sys.stderr)
                job.why = job.why or why
                for message in notes_of(job, request):
                    note(message)
                rows = job.card.tile_size * (job.layout.scale.rows if job.layout.scale else 1)
                with rasterio.Env(**room_for_blocks(_bytes_under(job, rows))):
                    return written(job, targets, model_path, raster, request, unit, progress, moving, scenes)
    except MemoryError as error:
        raise InputFault.worded(f"{raster}: memory is not enough for it; map parts of it with --bounds") from error


def written(
    job: Job | MapJob,
    targets: Targets,
    model_path: Path,
    raster: str,
    request: Request,
    unit: str = "",
    progress: Progress | None = None,
    moving: Callable[[], AbstractContextManager[None]] = nullcontext,
    scenes: Sequence[SceneFile] = (),
) -> dict[str, Path]:
    """Run a job and write its results; see ``map_raster``, also for what is returned and raised."""
    name = targets.item.name[: -len(".stac.json")]
    with (
        Results(targets, job.grid, job.card, RasterioWriter, PyogrioVectors()) as results,
        tqdm(desc=name, unit="tile", disable=True if progress else None) as bar,
    ):
        item = results.keep(targets.item)  # first: it takes its place last
        job.write(results, progress or shown_on(bar), lambda: True)
        files = results.finish(lambda: progress is None or progress(1, 1))
        by = run_by(job.model.runner, job.why) if isinstance(job, Job) else {}
        write_item(item, job.grid, job.card, model_path, inputs_of(raster, scenes), files, as_json(request), unit, by)
        with moving():
            results.commit()
    return {role: targets.item.parent / path.name for role, path in {**files, "stac": item}.items()}


def run_by(runner: str, why: Message | None) -> dict[str, str]:
    """What ran the model, for the record."""
    return {"provider": runner} | ({"chosen": words(why)} if why else {})


def _bytes_under(job: Job, rows: float) -> float:
    """Decoded blocks under a row of tiles, of all rasters of a series."""
    return float(sum(source.pixels.bytes_under(source.bands, rows) for source in job.source.sources))  # type: ignore[attr-defined]


def inputs_of(raster: str, scenes: Sequence[SceneFile]) -> Inputs:
    """What a map is made from, for the record."""
    dates = [scene.date for scene in scenes if scene.date]
    files = tuple((f"{scene.date:%Y-%m-%d}" if scene.date else "", scene.name or scene.where) for scene in scenes)
    mask = next((f"{one.mask.rule.name}: {one.mask.rule.said}" for one in scenes if one.mask), "")
    return Inputs(raster, files if dates else (), (min(dates), max(dates)) if dates else None, mask)


def room_for_blocks(under: float) -> dict[str, int]:
    """GDAL's option for the blocks under a row of tiles, ``under`` bytes: none is decoded for each tile again.

    By itself GDAL keeps blocks of up to a twentieth of the computer's memory.
    """
    if "GDAL_CACHEMAX" in os.environ:
        return {}
    return {"GDAL_CACHEMAX": int(min(max(1.25 * under, CACHE[0]), CACHE[1]))}


def shown_on(bar: Any) -> Progress:
    """Progress as a bar."""

    def progress(done: int, total: int) -> bool:
        bar.total = total
        bar.update(done - bar.n)
        return True

    return progress


def notes_of(job: Job, request: Request) -> list[Message]:
    """What the user should know before a long run, and which options do not apply to the model."""
    card, run, polygons = job.card, request.options.run, "polygons" in request.beside
    notes = job.notes(polygons or "areas" in request.beside, polygons, request.min_area > 0)
    classes = card.task in ("segmentation", "classification")
    independent = card.task == "detection" or (classes and len(card.classes) > job.model.channels)
    names = [] if classes else [f"--{role}" for role in BESIDE if role in request.beside and role != "dates"]
    if run.threshold is not None and not independent:
        names.append("--threshold")
    if run.stride is not None and card.task not in ("classification", "embedding"):
        names.append("--stride")
    sentence = f"{', '.join(names)}: ignored, does not apply to this {card.task} model"
    return [*notes, Message("worded", {"sentence": sentence})] if names else notes


def as_json(request: Request) -> dict[str, Any]:
    """What differs from the defaults of a run, for the record."""
    choice, area, run = request.options.choice, request.area, request.options.run
    given: dict[str, Any] = {
        "bands": choice.bands or None, "nodata": choice.nodata, "input": choice.kind, "offset": choice.offset,
        "nodata_rule": None if choice.rule == RULES[0] else choice.rule,
        "bounds": area.bounds, "bounds_crs": area.crs, "mask": area.mask and area.mask.name,
        "grid": "model" if request.options.model_grid else "source", "resample": request.options.resample,
        "overlap": run.overlap, "tta": run.tta, "stride": run.stride, "threshold": run.threshold,
        "min_area_m2": request.min_area,
    }  # fmt: skip
    return {key: value for key, value in given.items() if value is not None}

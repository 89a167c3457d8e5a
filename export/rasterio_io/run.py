"""One raster from beginning to end: open it, run the model, write the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rasterio
from tqdm import tqdm

from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.limits import Area
from export.rasterio_io.names import is_far
from export.rasterio_io.pixels import Placement, RasterPixels
from export.rasterio_io.stac import item_text
from export.rasterio_io.vectors import PyogrioVectors
from export.runtime.errors import InputFault
from export.runtime.infer.job import Job, Options
from export.runtime.infer.sweep import Progress
from export.runtime.messages import Message
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from export.runtime.results.writing import Results, Targets, write_text
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
    "map": ".tif", "confidence": "_confidence.tif", "probabilities": "_probabilities.tif", "polygons": ".gpkg",
    "areas": "_areas.csv",
}  # fmt: skip
BESIDE = tuple(SUFFIXES)[1:]  # roles of results that are made only when asked for


@dataclass(frozen=True)
class Request:
    """What a user asks for, before any raster is opened; every part has defaults.

    Attributes:
        options: of the run, but for its limits.
        area: to which it is limited.
        placement: coordinates, for rasters that have none.
        beside: roles of the results beside the map, of ``BESIDE``.
        min_area: of a polygon, square metres.
        style: whether names and colours are written beside the map.
    """

    options: Options = field(default_factory=Options)
    area: Area = field(default_factory=Area)
    placement: Placement | None = None
    beside: tuple[str, ...] = ()
    min_area: float = 0.0
    style: bool = True

    def on(self, pixels: RasterPixels) -> Options:
        """The options on an opened raster.

        Raises:
            InputFault: the area cannot be brought into its CRS.
        """
        return replace(self.options, limits=self.area.on(pixels.grid, pixels.name))

    def targets(self, stem: Path, task: str, suffix: str = ".tif") -> Targets:
        """Files of a run.

        Args:
            stem: folder and name of the results.
            task: of the model.
            suffix: of the rasters: ".vrt" where blocks are joined.
        """
        if task == "detection":
            return Targets({"objects": stem.with_name(f"{stem.name}.gpkg")})
        asked = self.beside if task in ("segmentation", "classification") else ()
        names = {role: SUFFIXES[role] for role in ("map", *BESIDE) if role in ("map", *asked)}
        files = {role: stem.with_name(stem.name + end.replace(".tif", suffix)) for role, end in names.items()}
        return Targets(files, self.min_area, self.style)

    def sources(self, pixels: RasterPixels) -> list[str]:
        """The files that a run reads."""
        return [*pixels.files, *([str(self.area.mask)] if self.area.mask else [])]


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
    request: Request | None = None,
    *,
    block: Window | None = None,
    unit: str = "",
    listener: Listener | None = None,
) -> dict[str, Path]:
    """Map one raster.

    Args:
        model: an opened model.
        model_path: its file.
        raster: a path, a URL, or another name that GDAL opens.
        folder: for the results.
        name: of the results, without a suffix.
        request: how.
        block: of the map's grid, the only part that is written; it has the same bits as in the whole map.
        unit: checksum of what the files are made from, for the record beside them.
        listener: who hears of it.

    Returns:
        Role and file of each result.

    Raises:
        RuntimeFault: the raster does not fit the model, or cannot be read or written; or the listener cancelled.
    """
    request, listener = request or Request(), listener or Listener()
    try:
        with reading(raster), closing(RasterPixels(raster, request.placement)) as pixels:
            targets = request.targets(folder / name, model.card.task)
            targets.check(request.sources(pixels))
            with closing(Job(model, pixels, request.on(pixels), block)) as job:
                for note in [*job.notes(*_measured(request)), *_ignored(job.model, request)]:
                    listener.note(note)
                return _write(
                    job,
                    targets,
                    name,
                    listener.progress,
                    lambda files: item_text(
                        name, job.grid, job.card, model_path, raster, files, as_json(request), unit
                    ),
                )
    except MemoryError as error:
        raise InputFault.worded(f"{raster}: memory is not enough for it; map parts of it with --bounds") from error


def _write(
    job: Job, targets: Targets, name: str, progress: Progress | None, described: Callable[[dict[str, Path]], str]
) -> dict[str, Path]:
    """Run a job and give every file its final name, the STAC Item among them."""
    with (
        rasterio.Env(**_cache(job)),
        Results(targets, job.grid, job.card, RasterioWriter, PyogrioVectors()) as results,
        tqdm(desc=name, unit="tile", disable=None if progress is None else True) as bar,
    ):
        job.write(results, progress or _shown_on(bar), _always)
        files = results.finish(_always)
        item = next(iter(targets.files.values())).with_name(f"{name}.stac.json")
        text = described(files)
        files["stac"] = results.keep(item)
        write_text(files["stac"], text)
        results.commit()
    return {role: item.with_name(path.name) for role, path in files.items()}


def _always() -> bool:
    return True


def _cache(job: Job) -> dict[str, int]:
    """Room for the blocks under a row of tiles, so that none is decoded for each tile again."""
    if "GDAL_CACHEMAX" in os.environ or not isinstance(job.source.pixels, RasterPixels):
        return {}
    rows = job.card.tile_size * (job.layout.scale.rows if job.layout.scale else 1)
    return {
        "GDAL_CACHEMAX": int(min(max(1.25 * job.source.pixels.bytes_under(job.source.bands, rows), CACHE[0]), CACHE[1]))
    }


def _shown_on(bar: Any) -> Progress:
    def progress(done: int, total: int) -> bool:
        bar.total = total
        bar.update(done - bar.n)
        return True

    return progress


def _measured(request: Request) -> tuple[bool, bool, bool]:
    """Whether areas are measured, patches are outlined, and small ones merged."""
    polygons = "polygons" in request.beside
    return "areas" in request.beside or polygons, polygons, request.min_area > 0


def _ignored(model: Model, request: Request) -> list[Message]:
    """A note on the options that do not apply to such a model."""
    task, run = model.card.task, request.options.run
    classes = task in ("segmentation", "classification")
    independent = task == "detection" or (classes and len(model.card.classes) > model.channels)
    names = [] if classes else [f"--{role}" for role in BESIDE if role in request.beside]
    if run.threshold is not None and not independent:
        names.append("--threshold")
    if run.stride is not None and task not in ("classification", "embedding"):
        names.append("--stride")
    sentence = f"{', '.join(names)}: ignored, does not apply to this {task} model"
    return [Message("worded", {"sentence": sentence})] if names else []


def as_json(request: Request) -> dict[str, Any]:
    """What differs from the defaults of a run, for the record."""
    choice, area, run = request.options.choice, request.area, request.options.run
    given: dict[str, Any] = {
        "bands": choice.bands or None, "nodata": choice.nodata, "input": choice.kind, "offset": choice.offset,
        "bounds": area.bounds, "bounds_crs": area.crs, "mask": area.mask and area.mask.name,
        "grid": "model" if request.options.model_grid else "source", "resample": request.options.resample,
        "overlap": run.overlap, "tta": run.tta, "stride": run.stride, "threshold": run.threshold,
        "min_area_m2": request.min_area,
    }  # fmt: skip
    return {key: value for key, value in given.items() if value is not None}

"""Splits rasters into units and skips those that the manifest lists as done."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import rasterio

from export.batch.blocks import blocks
from export.batch.inputs import Raster
from export.batch.join import block_name, blocks_folder
from export.batch.manifest import Manifest, checksum, file_checksum, input_checksum, unchanged
from export.batch.work import Job, Unit
from export.rasterio_io.grid import Grid
from export.rasterio_io.names import absolute
from export.rasterio_io.pixels import RASTER_ERRORS, RasterPixels
from export.rasterio_io.run import GDAL_OPTIONS, Request, reading
from export.rasterio_io.stac import model_hash
from export.rasterio_io.vrt import stacked
from export.runtime.errors import InputFault, first_line
from export.runtime.infer.job import cell_of, lay_out
from export.runtime.infer.source import Source
from export.runtime.model.session import Model
from export.runtime.raster.window import Window


@dataclass
class Whole:
    """A raster whose blocks are being computed.

    Attributes:
        join: what is to be done when all are there.
        left: names of the blocks that are not.
        reasons: why blocks failed.
    """

    join: Unit
    left: set[str]
    reasons: list[str] = field(default_factory=list)


class Plan:
    """The units of a run, planned raster by raster.

    Attributes:
        model: checksum of the model and its card.
        cut: rasters whose blocks are being made, by name.
    """

    def __init__(self, job: Job, model: Model, manifest: Manifest, side: int) -> None:
        """Prepare.

        Args:
            job: what the run is about.
            model: opened here, to know its tiles.
            manifest: what is done.
            side: of a block, px.

        Raises:
            InputFault: the polygons of ``--mask`` cannot be read.
        """
        self.job, self.manifest, self.side = job, manifest, side
        self._opened = model
        self.model = checksum(model_hash(job.model), job.card, job.precision, job.output)
        self._one, self._block = request_checksum(job.request), request_checksum(job.block_request)
        self._cut = checksum(self._one, side, job.merge)
        self.cut: dict[str, Whole] = {}

    def is_done(self, raster: Raster) -> bool:
        """Whether a raster's map is up to date and complete.

        The raster itself is not opened for that.
        """
        entry = self.manifest.entries.get(raster.name, {})
        try:
            return (
                entry.get("state") == "done"
                and entry["model"] == self.model
                and entry["options"] in (self._one, self._cut)
                and entry["input"] == input_checksum(entry["files"])
                and unchanged(self.job.out, entry["outputs"])
            )
        except (KeyError, TypeError, ValueError, OSError):  # a line that somebody changed
            return False

    def _is_made(self, block: Unit) -> bool:
        entry = self.manifest.entries.get(block.name, {})
        try:
            made = entry.get("state") == "done" and entry["checksum"] == block.checksum
            return made and unchanged(self.job.out, entry["outputs"])
        except (KeyError, TypeError, ValueError, OSError):
            return False

    def units(self, raster: Raster) -> list[Unit]:
        """The units left for a raster: itself, or its missing blocks, with the raster in ``cut``.

        Raises:
            RuntimeFault: it cannot be read, or does not fit the model.
        """
        where = self._stacked(raster) if raster.parts else raster.where
        request, model = self.job.request, self._opened
        with reading(where), closing(RasterPixels(where, request.placement)) as pixels:
            options = request.on(pixels)
            with closing(Source(pixels, model.card, options.choice)) as source:
                layout = lay_out(source, model.card, options, cell_of(model, options.run))
                cut = blocks(model, layout, options.run, self.side)
            suffix = ".vrt" if cut and not self.job.merge else ".tif"
            request.targets(self.job.out / raster.name, model.card.task, suffix).check(request.sources(pixels))
            files = tuple(pixels.files) or (where,)
        whole = self._unit(raster.name, where, files, self._cut if cut else self._one)
        return self._blocks(whole, cut) if cut else [whole]

    def _blocks(self, whole: Unit, cut: list[Window]) -> list[Unit]:
        folder = blocks_folder(Path(whole.name)).as_posix()
        named = tuple((f"{folder}/{block_name(block)}", block) for block in cut)
        units = [
            replace(self._unit(name, whole.raster, whole.files, self._block, block), block=block, of=whole.name)
            for name, block in named
        ]
        units = [unit for unit in units if not self._is_made(unit)]
        self.cut[whole.name] = Whole(replace(whole, parts=named), {unit.name for unit in units})
        return units

    def _unit(self, name: str, where: str, files: tuple[str, ...], options: str, block: Window | None = None) -> Unit:
        found = input_checksum(list(files))
        return Unit(name, where, checksum(found, self.model, options, block), found, options, files)

    def _stacked(self, raster: Raster) -> str:
        """Write a virtual raster of an Item's bands beside its results; the same text is not written again."""
        datasets, path = [], (self.job.out / raster.name).with_name(f"{raster.name}_input.vrt")
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                for _, where in raster.parts:
                    datasets.append(rasterio.open(where))
                finest = max(datasets, key=lambda dataset: dataset.width)
                if any(
                    dataset.crs != finest.crs or not _same_place(dataset.bounds, finest.bounds, finest.res)
                    for dataset in datasets
                ):
                    raise InputFault.worded(f"{raster.where}: its bands cover different areas")
                grid = Grid(finest.crs, finest.transform, *finest.shape)
                named = [(band, _gdal_name(where)) for band, where in raster.parts]
                text = stacked(grid, [(*pair, one) for pair, one in zip(named, datasets)], raster.baseline)
            if not (path.exists() and path.read_text("utf-8") == text):
                path.write_text(text, "utf-8")
        except RASTER_ERRORS as error:
            raise InputFault("not_readable", where=raster.where, reason=first_line(error)) from error
        finally:
            for dataset in datasets:
                dataset.close()
        return str(path)


def request_checksum(request: Request) -> str:
    """Checksum of all options that change a result.

    Raises:
        InputFault: the polygons cannot be read.
    """
    mask = request.area.mask
    try:
        drawn = file_checksum(mask) if mask else None
    except OSError as error:
        raise InputFault("not_readable", where=f"--mask {mask}", reason=error.strerror) from error
    return checksum(replace(request, area=replace(request.area, mask=None)), drawn)


def _same_place(one: tuple, other: tuple, pixel: tuple[float, float]) -> bool:
    return all(abs(mine - its) <= max(pixel) for mine, its in zip(one, other))


def _gdal_name(where: str) -> str:
    """GDAL's own name of a file; relative paths in a virtual raster would count from the virtual raster."""
    if where.startswith(("http://", "https://")):
        return f"/vsicurl/{where}"
    return f"/vsis3/{where[5:]}" if where.startswith("s3://") else absolute(where)

"""Joins the blocks of a map, and makes polygons, areas and STAC Item from the whole map."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from export.rasterio_io.cog import RasterioWriter, checksums, cog_options, writing
from export.rasterio_io.grid import Grid, raster_window
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.run import Request, as_json, reading
from export.rasterio_io.stac import item_text
from export.rasterio_io.vectors import PyogrioVectors
from export.rasterio_io.vrt import joined
from export.runtime.errors import InputFault
from export.runtime.files import Staging
from export.runtime.infer.job import cell_of, lay_out
from export.runtime.infer.source import Source
from export.runtime.model.card import ModelCard
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from export.runtime.results.areas import Areas
from export.runtime.results.rows import Rows
from export.runtime.results.vectors import STEP, write_patches
from export.runtime.results.writing import Targets, explained, write_beside, write_text

_BLOCK = re.compile(r"\d{7}_\d{7}")
ROLES = {"map": "", "confidence": "_confidence", "probabilities": "_probabilities"}  # what a block's files end in


def join(
    out: Path,
    name: str,
    raster: str,
    checksum: str,
    parts: Sequence[tuple[str, Window]],
    request: Request,
    model: Model,
    model_path: Path,
    merge: bool,
) -> None:
    """Join the blocks of a map.

    Args:
        out: folder for the results.
        name: of the map: a path below it, without a suffix.
        raster: that was mapped.
        checksum: of all that the map is made from.
        parts: name and place of each block.
        request: of the whole map.
        model: that made them.
        model_path: its file.
        merge: write one Cloud-Optimized GeoTIFF and remove the blocks; else a virtual raster over them.

    Raises:
        InputFault: a block cannot be read, or a file not be written.
    """
    model = model.choose(request.options.run.output)
    with reading(raster), closing(RasterPixels(raster, request.placement)) as pixels:
        options = request.on(pixels)
        with closing(Source(pixels, model.card, options.choice)) as source:
            grid = lay_out(source, model.card, options, cell_of(model, options.run)).result
    target = out / name
    targets = request.targets(target, model.card.task, ".tif" if merge else ".vrt")
    placed = [(window, out / part) for part, window in parts]
    with Staging(target.parent) as staging, explained(targets.files["map"], _bytes(out, parts) * merge):
        files = _Joining(staging, targets, grid, placed, model.card).files(merge)
        described = staging.keep(f"{target.name}.stac.json")
        text = item_text(target.name, grid, model.card, model_path, raster, files, as_json(request), checksum)
        write_text(described, text)
        staging.commit()
    _tidy(target, set() if merge else {Path(part).name for part, _ in parts})


class _Joining:
    """Joins the rasters of one map."""

    def __init__(
        self, staging: Staging, targets: Targets, grid: Grid, parts: list[tuple[Window, Path]], card: ModelCard
    ) -> None:
        self.staging, self.targets, self.grid, self.parts, self.card = staging, targets, grid, parts, card

    def files(self, merge: bool) -> dict[str, Path]:
        """Write every requested file; path by role."""
        whole = {role: self._virtual(role) for role in ROLES if self._path(0, role).exists()}
        files = {}
        for role in ROLES:
            if role in whole and role in self.targets.files:
                files[role] = self._merged(role, whole[role]) if merge else self._kept(role)
        if not self._is_classes():
            return files
        areas = Areas(self.card.classes, self.grid.height)
        if "areas" in self.targets.files or merge:  # the attribute table of a merged map counts its pixels
            for strip, classes, _ in _strips(whole["map"], whole["map"]):
                areas.add(Rows(strip.row, classes != self.card.nodata, classes))

        def trace(out: Path) -> None:
            blocks = ((classes, sure) for _, classes, sure in _strips(whole["map"], whole["confidence"]))
            place = (
                self.grid,
                self.card.classes,
                self.card.nodata,
                self.targets.min_area,
                RasterioWriter,
                PyogrioVectors(),
            )
            write_patches(out, blocks, *place, lambda: True)

        return files | write_beside(
            self.targets,
            self.grid,
            self.card,
            areas,
            lambda path: self.staging.keep(path.name),
            trace,
            virtual=not merge,
        )

    def _is_classes(self) -> bool:
        return self.card.task in ("segmentation", "classification")

    def _path(self, number: int, role: str) -> Path:
        path = self.parts[number][1]
        return path.with_name(f"{path.name}{ROLES[role]}.tif")

    def _text(self, role: str, folder: Path | None) -> str:
        """A virtual raster whose sources are relative to a folder, or absolute."""
        paths = [self._path(number, role) for number in range(len(self.parts))]
        names = [path.relative_to(folder).as_posix() if folder else os.path.abspath(path) for path in paths]
        legend = self.card.classes if role == "map" and self._is_classes() else ()
        places = [(window, path) for (window, _), path in zip(self.parts, paths)]
        return joined(self.grid, places, names, legend)

    def _virtual(self, role: str) -> Path:
        """A temporary virtual raster."""
        path = self.staging / f"whole-{role}.vrt"
        write_text(path, self._text(role, None))
        return path

    def _kept(self, role: str) -> Path:
        target = self.targets.files[role]
        path = self.staging.keep(target.name)
        write_text(path, self._text(role, target.parent))
        return path

    def _merged(self, role: str, whole: Path) -> Path:
        """One COG, read back."""
        path = self.staging.keep(self.targets.files[role].name)
        overviews = "MODE" if role == "map" and self._is_classes() else "AVERAGE"
        with writing(path):
            with rasterio.open(whole) as source:
                options = cog_options(source.dtypes[0], overviews)
            rasterio.shutil.copy(whole, path, driver="COG", **options)
            if checksums(path) != checksums(whole):
                raise InputFault("incomplete", where=path.name)
        return path


def _strips(*paths: Path) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """Strips of two rasters of one grid, and the first bands of both there."""
    with rasterio.open(paths[0]) as first, rasterio.open(paths[1]) as second:
        for strip in Window(0, 0, *first.shape).strips(STEP):
            window = raster_window(strip)
            yield strip, first.read(1, window=window), second.read(1, window=window)


def _bytes(out: Path, parts: Sequence[tuple[str, Window]]) -> int:
    """Disk space that the merged files may need, in bytes."""
    first = [(out / name).with_name(f"{Path(name).name}{end}.tif") for name, _ in parts for end in ROLES.values()]
    return int(1.4 * sum(path.stat().st_size for path in first if path.exists()))


def blocks_folder(target: Path) -> Path:
    """Folder for the blocks of a map."""
    return target.with_name(f"{target.name}_blocks")


def block_name(block: Window) -> str:
    """First row and column of a block in the map."""
    return f"{block.row:07d}_{block.column:07d}"


def _tidy(target: Path, keep: set[str]) -> None:
    """Remove unused blocks: all after merging, else those of an earlier block size."""
    folder = blocks_folder(target)
    for path in list(folder.iterdir()):
        block = _BLOCK.match(path.name)
        if block and block[0] not in keep:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
        for end in ROLES.values():  # of an earlier run: they would name blocks that are gone
            virtual = target.with_name(f"{target.name}{end}.vrt")
            if virtual.exists() and f"{folder.name}/" in virtual.read_text("utf-8"):
                virtual.unlink()

"""Joins the blocks of a map, and makes polygons, areas and STAC Item from the whole map."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from export.batch.manifest import holding
from export.batch.units import Settings, Unit, blocks_folder
from export.rasterio_io.cog import RasterioWriter, checksums, cog_options, writing
from export.rasterio_io.dated import open_input
from export.rasterio_io.grid import Grid, raster_window
from export.rasterio_io.run import as_json, inputs_of, reading, run_by
from export.rasterio_io.stac import write_item
from export.rasterio_io.vectors import PyogrioVectors
from export.rasterio_io.vrt import joined
from export.runtime.errors import InputFault
from export.runtime.files import Staging, undisturbed
from export.runtime.infer.inputs.series import opened
from export.runtime.infer.layout import Layout
from export.runtime.infer.scenes import cell_size
from export.runtime.model.card import ModelCard
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from export.runtime.results.areas import Areas
from export.runtime.results.rows import Rows
from export.runtime.results.vectors import STEP, write_patches
from export.runtime.results.writing import Targets, explained, write_beside, write_text

BLOCK = re.compile(r"\d{7}_\d{7}")  # what the files of a block begin with
ROLES = {
    "map": "",
    "confidence": "_confidence",
    "probabilities": "_probabilities",
    "dates": "_dates",
}  # what a block's files end in


def join(settings: Settings, unit: Unit, model: Model) -> None:
    """Join blocks into Cloud-Optimized GeoTIFFs and remove them, or into virtual rasters.

    Raises:
        InputFault: a block cannot be read, or a file not be written.
    """
    request, merge, target = settings.request, settings.merge, settings.out / unit.name
    model = model.choose(request.options.run.output)
    read = [scene.where for scene in unit.scenes] or [unit.raster]
    with reading(*read), closing(open_input(unit.raster, unit.scenes, request.area)) as pixels:
        options = request.on(pixels)
        with closing(opened(pixels, model.card, options.choice)) as source:
            grid = Layout(source, model.card, options, cell_size(model, options.run)).result
    targets = request.targets(target, model.card.task, ".tif" if merge else ".vrt")
    blocks = [(window, settings.out / part) for part, window in unit.parts]
    size = sum(path.stat().st_size for role in ROLES for _, path in _paths(blocks, role) if path.exists())
    with Staging(target.parent) as staging, explained(targets.files["map"], int(1.4 * size) * merge):
        item = staging.keep(targets.item.name)  # first: it takes its place last
        files = _Joining(staging, targets, grid, blocks, model.card, merge).files()
        inputs, by = inputs_of(unit.raster, unit.scenes), run_by(unit.runner or model.runner, unit.why)
        write_item(item, grid, model.card, settings.model, inputs, files, as_json(request), unit.checksum, by)
        with holding(settings.out, settings.run), undisturbed():
            staging.commit()
            _tidy(target, set() if merge else {path.name for _, path in blocks})


def _paths(blocks: list[tuple[Window, Path]], role: str) -> list[tuple[Window, Path]]:
    """Files of the blocks, for one role."""
    return [(window, path.with_name(f"{path.name}{ROLES[role]}.tif")) for window, path in blocks]


@dataclass(frozen=True)
class _Joining:
    """Joins the rasters of one map."""

    staging: Staging
    targets: Targets
    grid: Grid
    blocks: list[tuple[Window, Path]]
    card: ModelCard
    merge: bool

    def files(self) -> dict[str, Path]:
        """Write every requested file; path by role."""
        roles = [role for role in ROLES if _paths(self.blocks, role)[0][1].exists()]
        whole = {role: self._virtual(role, self.staging / f"whole-{role}.vrt", None) for role in roles}
        areas = Areas(self.card.classes, self.grid.height) if self._is_classes else None
        if areas:
            for top, (classes,) in _strips(whole["map"]):
                areas.add(Rows(top, classes != self.card.nodata, classes))
        files = {}
        for role, target in self.targets.files.items():
            if role in whole:
                files[role] = path = self.staging.keep(target.name)
                if self.merge:
                    self._copy(role, whole[role], path)
                else:
                    self._virtual(role, path, target.parent, areas)
        if areas and "polygons" in self.targets.files:
            files["polygons"] = self.staging.keep(self.targets.files["polygons"].name)
            rows = ((classes, confidence) for _, (classes, confidence) in _strips(whole["map"], whole["confidence"]))
            place = (self.grid, self.card.classes, self.card.nodata, self.targets.min_area)
            write_patches(files["polygons"], rows, *place, RasterioWriter, PyogrioVectors(), lambda: True)

        def keep(path: Path) -> Path:
            return self.staging.keep(path.name)

        return files | write_beside(self.targets, self.grid, self.card, areas, keep, virtual=not self.merge)

    @property
    def _is_classes(self) -> bool:
        return self.card.task in ("segmentation", "classification")

    def _virtual(self, role: str, path: Path, folder: Path | None, areas: Areas | None = None) -> Path:
        """Write a virtual raster whose sources are relative to a folder, or absolute."""
        legend = self.card.classes if role == "map" and self._is_classes else ()
        table = areas.table(self.grid.row_areas) if areas and legend else []
        write_text(path, joined(self.grid, _paths(self.blocks, role), folder, legend, table))
        return path

    def _copy(self, role: str, whole: Path, path: Path) -> None:
        """Write one COG and compare it with the blocks."""
        overviews = "MODE" if role == "map" and self._is_classes else "AVERAGE"
        with writing(path):
            with rasterio.open(whole) as source:
                options = cog_options(source.dtypes[0], overviews)
            rasterio.shutil.copy(whole, path, driver="COG", **options)
            if checksums(path) != checksums(whole):
                raise InputFault("incomplete", where=path.name)


def _strips(*paths: Path) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Strips of rasters of one grid: first row, and the first band of each, (rows, columns)."""
    with ExitStack() as opened:
        sources = [opened.enter_context(rasterio.open(path)) for path in paths]
        for strip in Window(0, 0, *sources[0].shape).strips(STEP):
            yield strip.row, [source.read(1, window=raster_window(strip)) for source in sources]


def _tidy(target: Path, keep: set[str]) -> None:
    """Remove unused blocks: all after merging, else those of an earlier block size."""
    folder = blocks_folder(target)
    for path in list(folder.iterdir()):
        block = BLOCK.match(path.name)
        if block and block[0] not in keep:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
        for path in _virtual_of(target):  # of an earlier run
            path.unlink()


def withdraw(target: Path) -> None:
    """Remove a joined map whose blocks will change, its Item first: it would show old and new ones side by side."""
    item = target.with_name(f"{target.name}.stac.json")
    paths = _virtual_of(target)
    for path in [item, *paths] if paths else []:
        path.unlink(missing_ok=True)


def _virtual_of(target: Path) -> list[Path]:
    """The virtual rasters of a map that name its blocks."""
    paths = [target.with_name(f"{target.name}{end}.vrt") for end in ROLES.values()]
    return [path for path in paths if path.exists() and f"{blocks_folder(target).name}/" in path.read_text("utf-8")]

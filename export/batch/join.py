"""Makes one map of its blocks, and from that map what belongs to all of it: polygons, areas, the STAC Item."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterWindow

from export.rasterio_io.cog import BLOCK, cog_options
from export.rasterio_io.grid import Grid
from export.rasterio_io.results import write_beside
from export.rasterio_io.run import Options, as_json, plainly, reading, view_of
from export.rasterio_io.source import Source
from export.rasterio_io.stac import item_text
from export.rasterio_io.vrt import joined
from export.runtime.errors import InputFault
from export.runtime.files import Staging
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from export.runtime.results.areas import Areas
from export.runtime.results.rows import Rows

_BLOCK = re.compile(r"\d{7}_\d{7}")
ROLES = {"map": "", "confidence": "_confidence", "probabilities": "_probabilities"}  # what a block's files end in


def join(
    out: Path,
    name: str,
    raster: str,
    checksum: str,
    parts: Sequence[tuple[str, Window]],
    options: Options,
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
        options: of the whole map.
        model: that made them.
        model_path: its file.
        merge: write one Cloud-Optimized GeoTIFF and remove the blocks; else a virtual raster over them.

    Raises:
        InputFault: a block cannot be read, or a file not be written.
    """
    model = model.choose(options.run.output)
    with reading(raster), closing(Source(raster, model.card, options.choice, sample=False)) as source:
        grid = view_of(source, model, options).result
    target = out / name
    with Staging(target.parent) as staging, plainly(target.with_name(f"{target.name}.vrt"), _bytes(out, parts) * merge):
        files = _Joining(staging, target, grid, [(window, out / part) for part, window in parts], model).files(
            options, merge
        )
        described = staging.keep(f"{target.name}.stac.json")
        text = item_text(target.name, grid, model.card, model_path, raster, files, as_json(options), checksum)
        described.write_text(text, "utf-8")
        staging.commit()
    _tidy(target, set() if merge else {Path(part).name for part, _ in parts})


class _Joining:
    """The rasters of a map that is being joined."""

    def __init__(
        self, staging: Staging, target: Path, grid: Grid, parts: list[tuple[Window, Path]], model: Model
    ) -> None:
        self.staging, self.target, self.grid, self.parts, self.card = staging, target, grid, parts, model.card

    def files(self, options: Options, merge: bool) -> dict[str, Path]:
        """Make every file that is wanted; role and place of each."""
        wanted = options.wanted
        roles = ["map"] + ["confidence"] * wanted.confidence + ["probabilities"] * wanted.probabilities
        whole = {role: self._virtual(role) for role in ROLES if self._path(0, role).exists()}
        files = {}
        for role in roles:
            if role in whole:
                files[role] = self._merged(role, whole[role]) if merge else self._kept(role)
        if not self._is_classes():
            return files
        areas = Areas(self.card.classes, self.grid.height)
        if wanted.areas or merge:  # the attribute table of a merged map counts its pixels
            for rows in self._rows(whole["map"]):
                areas.add(rows)
        confidence = whole.get("confidence", whole["map"])
        place = (self.staging, self.target.name, whole["map"], confidence, areas, self.grid, self.card, wanted)
        return files | write_beside(*place, virtual=not merge)

    def _is_classes(self) -> bool:
        return self.card.task in ("segmentation", "classification")

    def _path(self, number: int, role: str) -> Path:
        path = self.parts[number][1]
        return path.with_name(f"{path.name}{ROLES[role]}.tif")

    def _text(self, role: str, folder: Path | None) -> str:
        """A virtual raster that names its parts from a folder, or in full."""
        paths = [self._path(number, role) for number in range(len(self.parts))]
        names = [path.relative_to(folder).as_posix() if folder else os.path.abspath(path) for path in paths]
        legend = self.card.classes if role == "map" and self._is_classes() else ()
        places = [(window, path) for (window, _), path in zip(self.parts, paths)]
        return joined(self.grid, places, names, legend)

    def _virtual(self, role: str) -> Path:
        """To be read here and now."""
        path = self.staging / f"whole-{role}.vrt"
        path.write_text(self._text(role, None), "utf-8")
        return path

    def _kept(self, role: str) -> Path:
        path = self.staging.keep(f"{self.target.name}{ROLES[role]}.vrt")
        path.write_text(self._text(role, self.target.parent), "utf-8")
        return path

    def _merged(self, role: str, whole: Path) -> Path:
        """One file, read back."""
        path = self.staging.keep(f"{self.target.name}{ROLES[role]}.tif")
        overviews = "MODE" if role == "map" and self._is_classes() else "AVERAGE"
        with rasterio.open(whole) as source:
            options = cog_options(source.dtypes[0], overviews)
        rasterio.shutil.copy(whole, path, driver="COG", **options)
        if _sums(path) != _sums(whole):
            raise InputFault(f"{path.name}: could not be written whole")
        return path

    def _rows(self, path: Path) -> Iterator[Rows]:
        with rasterio.open(path) as source:
            for top in range(0, source.height, BLOCK):
                rows = min(BLOCK, source.height - top)
                classes = source.read(1, window=RasterWindow(0, top, source.width, rows))
                yield Rows(top, classes != self.card.nodata, classes)


def _sums(path: Path) -> list[int]:
    """CRC-32 of each band's rows."""
    found = []
    with rasterio.open(path) as source:
        for number in range(1, source.count + 1):
            value = 0
            for top in range(0, source.height, BLOCK):
                window = RasterWindow(0, top, source.width, min(BLOCK, source.height - top))
                value = zlib.crc32(np.ascontiguousarray(source.read(number, window=window)), value)
            found.append(value)
    return found


def _bytes(out: Path, parts: Sequence[tuple[str, Window]]) -> int:
    """Room that one file of all blocks may take."""
    first = [(out / name).with_name(f"{Path(name).name}{end}.tif") for name, _ in parts for end in ROLES.values()]
    return int(1.4 * sum(path.stat().st_size for path in first if path.exists()))


def blocks_folder(target: Path) -> Path:
    """Where the blocks of a map lie."""
    return target.with_name(f"{target.name}_blocks")


def block_name(block: Window) -> str:
    """First row and column of a block in the map."""
    return f"{block.row:07d}_{block.column:07d}"


def _tidy(target: Path, keep: set[str]) -> None:
    """Remove blocks that the map does not need: all of a merged one, those of another size."""
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

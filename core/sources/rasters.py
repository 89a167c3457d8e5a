"""``core.prepare rasters``: dated rasters over one area, cut into places and chips.

The first raster gives the grid; the others are warped to it. Each window of the grid is a place, and each
raster with enough data there gives it a chip. The grid is processed in areas that are whole blocks of the files
wherever possible, so that each block is read once.
"""

from __future__ import annotations

import argparse
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window as RasterWindow

from core.errors import InputFault, UserError, first_line
from core.imagery.crops import guess_unit, majority
from core.imagery.dates import date_in_table, parse_date, read_dates
from core.imagery.georasters import band_names, full_turn, ground, open_raster, pixel_size_m, stored_type
from core.imagery.labels import LabelPolygons, LabelRaster, open_labels, read_legend
from core.imagery.pixels import read_on_grid
from core.imagery.safe_products import DEFAULT_BANDS, read_product
from core.sources.options import add_options, check_range, check_size
from core.sources.scenes import Scene, fitting
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.read import UNLABELLED, StoreInfo
from export.runtime.raster.lattice import Placement, eastwards
from export.runtime.raster.names import absolute, is_path
from export.runtime.raster.window import Window

_LARGEST_AREA = 4096  # px per side, to align with whole blocks


@dataclass(frozen=True)
class Cut:
    """How to cut.

    Attributes:
        size: rows = columns of a chip, px of the reference grid.
        min_valid: minimum fraction of valid pixels.
        max_abs_lat: degrees; windows whose centre lies beyond are left out.
        background: value of the class that never names a chip (open sea, say); of the windows with more than half of it
            one in ``keep_background`` is kept, so that a map model learns the class, or none where that is 0.
        nodata_rule: one of ``gaps.RULES``.
    """

    size: int
    min_valid: float = 0.5
    max_abs_lat: float = 90.0
    background: int | None = None
    keep_background: int = 0
    nodata_rule: str = "any"


class Task(NamedTuple):
    """An area of the grid, whole chips, and the scenes to cut there: from ``first`` up to, not including, ``end``."""

    area: Window
    first: int
    end: int


@dataclass(frozen=True)
class Rasters:
    """The source; the first scene gives the grid, ``placement`` the coordinates of files that have none."""

    info: StoreInfo
    cut: Cut
    scenes: tuple[Scene, ...]
    placement: Placement | None
    labels: LabelRaster | LabelPolygons | None
    tasks: tuple[Task, ...]
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    @classmethod
    def plan(
        cls,
        scenes: Sequence[Scene],
        cut: Cut,
        *,
        placement: Placement | None = None,
        labels: LabelRaster | LabelPolygons | None = None,
        unit: str | None = None,
        provenance: str = "",
        license: str = "",
        bad: Sequence[tuple[str, str]] = (),
    ) -> Rasters:
        """Check the files and divide the grid; the unit is guessed from the data type where nothing states it.

        Raises:
            UserError: no file can be used, or the grid is smaller than a chip.
        """
        usable, bad = fitting(scenes, placement, cut.nodata_rule, bool(unit), bad)
        first = usable[0]
        with open_raster(first.dataset, placement) as grid:
            if min(grid.shape) < cut.size:
                have = f"{grid.width} x {grid.height} pixels"
                raise UserError(f"{first.name}: {have} are too few for chips of {cut.size}; give a smaller --size")
            bands, dtype = band_names(grid), stored_type([scene.dtype for scene in usable])
            info = StoreInfo(
                bands=bands,
                dtype=dtype,
                unit=unit or first.unit or guess_unit(dtype),
                gsd=pixel_size_m(grid),
                chip_size=cut.size,
                classes=labels.classes if labels else (),
                background=None
                if cut.background is None or not labels
                else [entry.value for entry in labels.classes].index(cut.background),
                provenance=provenance or ", ".join(scene.name for scene in usable),
                license=license,
            )
            if labels:
                labels.check(grid)
            shard_pixels = SHARD_BYTES // (len(bands) * np.dtype(info.dtype).itemsize)
            areas = divide(grid.shape, grid.block_shapes[0], cut.size, max(1, shard_pixels // len(usable)))
        tasks = []
        for area in areas:  # where its blocks are too large to take all scenes into one shard, some at a time
            step = max(1, shard_pixels // (area.height * area.width))
            tasks += [Task(area, first, min(first + step, len(usable))) for first in range(0, len(usable), step)]
        return cls(info, cut, tuple(usable), placement, labels, tuple(tasks), tuple(bad))

    def chips(self, task: Task, tally: Tally) -> Iterator[Chip]:
        """Cut one area out of some scenes."""
        window = _rasterio_window(task.area)
        with open_raster(self.scenes[0].dataset, self.placement) as grid:
            # What is left out of the grid is counted once, not for each group of scenes.
            places = list(self._places(task.area, grid, tally if task.first == 0 else Tally()))
            for scene in self.scenes[task.first : task.end]:
                if not places:
                    return
                try:
                    with open_raster(scene.dataset, self.placement) as source:
                        pixels, valid = read_on_grid(source, grid, window, rule=self.cut.nodata_rule, bands=scene.bands)
                except (RasterioError, UserError, OSError) as error:
                    tally.skip(scene.name, f"corrupt or truncated file ({first_line(error)})")
                    continue
                pixels = pixels.astype(self.info.dtype, copy=False)
                yield from self._cut(scene, task.area, places, pixels, valid, tally)

    def _cut(
        self, scene: Scene, area: Window, places: list[dict], pixels: np.ndarray, valid: np.ndarray, tally: Tally
    ) -> Iterator[Chip]:
        for place in places:
            top, left = place["row"] - area.row, place["column"] - area.column
            seen = np.s_[..., top : top + self.cut.size, left : left + self.cut.size]
            if valid[seen].mean() < self.cut.min_valid:
                tally.drop(f"with less than {self.cut.min_valid:.0%} of valid pixels")
            else:
                yield Chip(pixels[seen], valid[seen], datetime=scene.date, source=scene.name, **place)

    def _places(self, area: Window, grid: rasterio.DatasetReader, tally: Tally) -> Iterator[dict[str, Any]]:
        """What the chips of a place have in common, as fields of ``Chip``."""
        size, limit = self.cut.size, self.cut.max_abs_lat
        numbers = self.labels.numbers(grid, _rasterio_window(area)) if self.labels else None
        rows, columns = np.mgrid[0 : area.height : size, 0 : area.width : size].reshape(2, -1)
        where = ground(grid, area.row + rows, area.column + columns, size)
        for row, column, lon, lat, reach_m in zip(rows.tolist(), columns.tolist(), *(part.tolist() for part in where)):
            name = f"r{area.row + row}c{area.column + column}"
            if math.isnan(lon):
                tally.drop("windows outside the domain of the CRS")
                continue
            if abs(lat) > limit:
                tally.drop(f"windows beyond latitude {limit:g}")
                continue
            label, mask = -1, None
            if numbers is not None:
                mask = numbers[row : row + size, column : column + size].copy()
                label = majority(mask, aside=self.info.background)
                if self._is_spare(mask, name):
                    tally.drop("windows of mostly background")
                    continue
            yield {
                "place": name, "row": area.row + row, "column": area.column + column, "lon": lon, "lat": lat,
                "reach_m": reach_m, "label": label, "mask": None if mask is None or (mask == UNLABELLED).all() else mask,
            }  # fmt: skip

    def _is_spare(self, mask: np.ndarray, name: str) -> bool:
        if self.info.background is None or (mask == self.info.background).mean() <= 0.5:
            return False
        # Drawn by name, not by counting: areas are cut in parallel.
        return not self.cut.keep_background or zlib.crc32(name.encode()) % self.cut.keep_background != 0


def _rasterio_window(window: Window) -> RasterWindow:
    return RasterWindow(window.column, window.row, window.width, window.height)


def divide(shape: tuple[int, int], block: tuple[int, int], size: int, pixels: int) -> list[Window]:
    """Divide a grid into areas of about so many pixels, aligned with the blocks of the file where possible.

    ``shape`` of the grid and ``block`` of the file are (rows, columns). Areas hold whole chips of ``size`` px and follow
    row by row; less than a chip remains at the right and lower edge.
    """
    across, down = shape[1] // size * size, shape[0] // size * size
    step_down, step_across = (_common_step(size, side) for side in block)
    columns = across  # of strips every block crosses the whole grid
    if block[1] < shape[1]:
        columns = max(1, round(math.sqrt(pixels) / step_across)) * step_across
    rows = max(1, pixels // (columns * step_down)) * step_down
    return [
        Window(row, column, min(rows, down - row), min(columns, across - column))
        for row in range(0, down, rows)
        for column in range(0, across, columns)
    ]


def _common_step(size: int, block: int) -> int:
    """Pixels after which edges of chips and blocks coincide; if that is too far, chips about as long as a block."""
    common = math.lcm(size, block)
    return common if common <= _LARGEST_AREA else max(1, round(min(block, _LARGEST_AREA) / size)) * size


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The command line of this source."""
    parser = sources.add_parser(
        "rasters",
        help="dated rasters over one area, Sentinel-2 .SAFE folders too",
        description="Cut dated rasters over one area into chips. The first raster gives the grid, the others are warped to it.",
    )
    add = parser.add_argument
    add(
        "paths", nargs="+", metavar="PATH",
        help="raster files that GDAL reads, one raster of a file (netcdf:cube.nc:ndvi), or Sentinel-2 .SAFE folders",
    )  # fmt: skip
    add_options(parser, "--size", help="rows = columns of a chip, in pixels of the first raster")
    dates = parser.add_mutually_exclusive_group()
    dates.add_argument(
        "--date-format",
        help="how file names hold their date: a strptime format, with * for any other text, e.g. 'tile_*_%%Y_*' (default: the "
        "only whole date, or the acquisition date of known products; a year alone is not taken)",
    )
    dates.add_argument("--dates", type=Path, metavar="TABLE", help="CSV with the columns file and date (2024-06-30)")
    add(
        "--bands", nargs="+", default=list(DEFAULT_BANDS), metavar="NAME",
        help=f"bands of Sentinel-2 folders, or TCI for the true-colour image (default: {' '.join(DEFAULT_BANDS)})",
    )  # fmt: skip
    add("--crs", help="CRS of files without coordinates, e.g. EPSG:4326")
    add("--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"), help="their bounds, in units of --crs")
    add(
        "--labels", metavar="FILE",
        help="label raster (class values from 0 to 254), or polygons in any vector format with --class-field; "
        "pixels outside the polygons are unlabelled, not background",
    )  # fmt: skip
    add("--class-field", metavar="NAME", help="field of the polygons that holds their class")
    add_options(parser, "--legend")
    add("--background", type=int, metavar="VALUE", help="background class, e.g. open sea: drop windows of mostly it")
    add(
        "--keep-background", type=int, default=0, metavar="N", help="keep one in N background windows (default 0: none)"
    )
    add_options(parser, "--min-valid", "--nodata-rule")
    add("--max-abs-lat", type=float, default=90.0, metavar="DEG", help="drop windows beyond this latitude")
    add_options(parser, "--unit")
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> Rasters:
    """The source that a command line describes.

    Raises:
        UserError: an option or a file cannot be used.
    """
    if (arguments.crs is None) != (arguments.bounds is None):
        raise UserError("--crs and --bounds go together: give both, or none")
    check_range(arguments, "min_valid", 0, 1)
    check_size(arguments)
    legend, background = read_legend(arguments.legend) if arguments.legend else None, arguments.background
    if background is not None and legend is None:
        raise UserError("--background needs --legend")
    if background is not None and background not in {entry.value for entry in legend or ()}:
        raise UserError(f"--background {background}: the legend {arguments.legend} has no such class")
    placement = _placement(arguments) if arguments.crs else None
    labels = open_labels(arguments.labels, arguments.class_field, legend, placement)
    scenes, bad = _scenes(arguments)
    cut = Cut(
        arguments.size, arguments.min_valid, arguments.max_abs_lat, background, arguments.keep_background,
        arguments.nodata_rule,
    )  # fmt: skip
    return Rasters.plan(scenes, cut, placement=placement, labels=labels, unit=arguments.unit, bad=bad)


def _placement(arguments: argparse.Namespace) -> Placement:
    try:
        crs = CRS.from_user_input(arguments.crs)
        bounds = eastwards(tuple(arguments.bounds), full_turn(crs))
    except InputFault as error:
        raise UserError(f"--bounds: {error}") from error
    except CRSError as error:
        raise UserError(f"--crs {arguments.crs}: not a CRS ({error})") from error
    return Placement(arguments.crs, bounds)


def _scenes(arguments: argparse.Namespace) -> tuple[list[Scene], list[tuple[str, str]]]:
    """The scenes in the order of the command line, and the files that cannot be used with the reason."""
    dates = read_dates(arguments.dates) if arguments.dates else None
    scenes: list[Scene] = []
    bad: list[tuple[str, str]] = []
    seen: set[str] = set()
    for where in arguments.paths:
        path, before = Path(where), len(seen)
        if is_path(where) and not path.exists():
            raise UserError(f"{path}: no such file")
        try:
            seen.add(os.path.realpath(where) if is_path(where) else absolute(where))
            if len(seen) == before:  # two "dates" with the same pixels would teach nothing
                raise UserError(f"{path}: is given twice")
            if path.is_dir():
                product = read_product(path, tuple(arguments.bands))
                scenes.append(Scene(path.name, **vars(product)))
            elif dates is None:
                scenes.append(Scene.of_file(where, parse_date(path, arguments.date_format)))
            elif date := date_in_table(path, dates):
                scenes.append(Scene.of_file(where, date))
            else:
                raise UserError(f"{path}: {arguments.dates} has no row for {path.name}")
        except UserError as error:
            bad.append((path.name, str(error).removeprefix(f"{path}: ").replace(f"{path}/", "")))
    if not scenes:
        raise UserError(": ".join(bad[0]))
    units = {str(scene.unit) for scene in scenes}
    if len(units) > 1:
        raise UserError(f"the scenes have different units: {', '.join(sorted(units))}; make a store of each")
    return scenes, bad

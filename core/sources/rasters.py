"""``core.prepare rasters``: dated rasters over one area, cut into places and chips.

The first raster gives the grid; the others are warped to it. Each window of the grid is a place, each
raster that holds enough data there gives it a chip. The grid is worked through in areas that are whole
blocks of the files wherever that is possible, so that each block is read once.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window

from core.errors import UserError, first_line
from core.imagery import labels as label_sources
from core.imagery import safe as sentinel2
from core.imagery.grids import (
    Placement,
    band_names,
    check_alpha,
    ground,
    on_grid,
    open_raster,
    overlap,
    pixel_size_m,
    read,
)
from core.imagery.labels import Labels
from core.imagery.squares import guess_unit, majority
from core.imagery.tables import check_size, parse_date, read_dates, read_legend
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.read import UNLABELLED, LandClass, StoreInfo

_LARGEST_AREA = 4096  # px a side, to meet whole blocks


@dataclass(frozen=True)
class Scene:
    """One dated raster.

    Attributes:
        name: of the file, for people.
        date: UTC, with its zone.
        dataset: what GDAL opens: a path, or a virtual raster as XML.
        stamp: size and time of the file: another file of the same name makes another store.
        unit: what a pixel value means, where the file's format says it.
    """

    name: str
    date: datetime
    dataset: str
    stamp: tuple[int, int]
    unit: str | None = None

    @classmethod
    def of_file(cls, path: Path, date: datetime) -> Scene:
        """A raster file."""
        stat = path.stat()
        return cls(path.name, date, str(path), (stat.st_size, stat.st_mtime_ns))


@dataclass(frozen=True)
class Cut:
    """How to cut.

    Attributes:
        size: rows = columns of a chip, px of the reference grid.
        min_valid: least share of pixels that hold data.
        max_abs_lat: windows whose centre lies beyond this latitude are left out.
        background: value of the class that never names a chip (open sea, say); windows with more than
            half of it are left out.
        keep_background: of those windows keep one in so many, so that a map model learns the class; 0 for none.
    """

    size: int
    min_valid: float = 0.5
    max_abs_lat: float = 90.0
    background: int | None = None
    keep_background: int = 0


class Area(NamedTuple):
    """A part of the grid, px; rows and columns are multiples of a chip."""

    row: int
    column: int
    rows: int
    columns: int


class Task(NamedTuple):
    """An area, and which scenes are cut there: from ``first`` up to, not including, ``end``."""

    area: Area
    first: int
    end: int


class _Place(NamedTuple):
    row: int
    column: int
    lon: float
    lat: float
    reach_m: float
    label: int
    mask: np.ndarray | None

    @property
    def name(self) -> str:
        return f"r{self.row}c{self.column}"


@dataclass(frozen=True)
class Rasters:
    """The source.

    Attributes:
        info: what holds for all chips.
        cut: size and limits.
        scenes: the first gives the grid.
        placement: for files without coordinates.
        labels: classes of the ground, or None.
        tasks: areas of the grid and their scenes, a shard each.
        bad: files that were left out.
        dropped: nothing else is left out before the cutting.
    """

    info: StoreInfo
    cut: Cut
    scenes: tuple[Scene, ...]
    placement: Placement | None
    labels: Labels | None
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
        labels: Labels | None = None,
        unit: str | None = None,
        provenance: str = "",
        license: str = "",
        bad: Sequence[tuple[str, str]] = (),
    ) -> Rasters:
        """Check the files and divide the grid.

        Args:
            scenes: at least one.
            cut: size and limits.
            placement: for files without coordinates.
            labels: classes of the ground.
            unit: what a pixel value means; guessed from the data type when None.
            provenance: where the imagery comes from.
            license: of the imagery.
            bad: files left out already.

        Raises:
            UserError: no file can be used, or the grid is smaller than a chip.
        """
        sound, bad = _sound(scenes, placement, list(bad))
        with open_raster(sound[0].dataset, placement) as grid:
            if min(grid.height, grid.width) < cut.size:
                raise UserError(
                    f"{sound[0].name}: {grid.width} x {grid.height} pixels are too few for chips of {cut.size}; give a smaller --size"
                )
            bands = band_names(grid)
            info = StoreInfo(
                bands=bands,
                dtype=grid.dtypes[0],
                unit=unit or sound[0].unit or guess_unit(grid.dtypes[0]),
                gsd=pixel_size_m(grid),
                chip_size=cut.size,
                classes=labels.classes if labels else (),
                background=_number_of(cut.background, labels),
                provenance=provenance or ", ".join(scene.name for scene in sound),
                license=license,
            )
            if labels:
                labels.check(grid)
            bytes_per_pixel = len(bands) * np.dtype(info.dtype).itemsize
            areas = divide(
                grid.shape, grid.block_shapes[0], cut.size, max(1, SHARD_BYTES // bytes_per_pixel // len(sound))
            )
        tasks = tuple(task for area in areas for task in _tasks(area, len(sound), bytes_per_pixel))
        return cls(info, cut, tuple(sound), placement, labels, tasks, tuple(bad))

    def chips(self, task: Task, tally: Tally) -> Iterator[Chip]:
        """Cut one area out of some scenes."""
        area = task.area
        with ExitStack() as stack:
            grid = stack.enter_context(open_raster(self.scenes[0].dataset, self.placement))
            # What is left out of the grid is told once, not for each group of scenes.
            places = list(self._places(area, grid, tally if task.first == 0 else Tally()))
            for scene in self.scenes[task.first : task.end]:
                if not places:
                    return
                try:
                    with open_raster(scene.dataset, self.placement) as source, on_grid(source, grid) as aligned:
                        pixels, valid = read(aligned, Window(area.column, area.row, area.columns, area.rows))
                except (RasterioError, UserError, OSError) as error:
                    tally.skip(scene.name, f"damaged, it cannot be read to its end ({first_line(error)})")
                    continue
                yield from self._cut(scene, area, places, pixels, valid, tally)

    def _cut(
        self, scene: Scene, area: Area, places: list[_Place], pixels: np.ndarray, valid: np.ndarray, tally: Tally
    ) -> Iterator[Chip]:
        for place in places:
            top, left = place.row - area.row, place.column - area.column
            window = np.s_[top : top + self.cut.size, left : left + self.cut.size]
            good = valid[window]
            if good.mean() < self.cut.min_valid:
                tally.drop(f"with less than {self.cut.min_valid:.0%} of valid pixels")
                continue
            yield Chip(
                pixels=pixels[(slice(None), *window)],
                valid=good,
                place=place.name,
                lon=place.lon,
                lat=place.lat,
                reach_m=place.reach_m,
                datetime=scene.date,
                source=scene.name,
                row=place.row,
                column=place.column,
                label=place.label,
                mask=place.mask,
            )

    def _places(self, area: Area, grid: rasterio.DatasetReader, tally: Tally) -> Iterator[_Place]:
        size, cut = self.cut.size, self.cut
        numbers = (
            self.labels.numbers(grid, Window(area.column, area.row, area.columns, area.rows)) if self.labels else None
        )
        rows, columns = np.mgrid[
            area.row : area.row + area.rows : size, area.column : area.column + area.columns : size
        ]
        where = ground(grid, rows.ravel(), columns.ravel(), size)
        for row, column, lon, lat, reach in zip(rows.ravel().tolist(), columns.ravel().tolist(), *where):
            if np.isnan(lon):
                tally.drop("windows off the Earth")
                continue
            if abs(lat) > cut.max_abs_lat:
                tally.drop(f"windows beyond latitude {cut.max_abs_lat:g}")
                continue
            place = _Place(row, column, float(lon), float(lat), float(reach), -1, None)
            if numbers is not None:
                mask = numbers[row - area.row :, column - area.column :][:size, :size].copy()
                place = place._replace(
                    label=majority(mask, aside=self.info.background), mask=mask if (mask != UNLABELLED).any() else None
                )
            if self._is_spare(place):
                tally.drop("windows of mostly background")
                continue
            yield place

    def _is_spare(self, place: _Place) -> bool:
        if self.info.background is None or place.mask is None or (place.mask == self.info.background).mean() <= 0.5:
            return False
        # By the name, not by counting: the areas are cut side by side.
        return not self.cut.keep_background or zlib.crc32(place.name.encode()) % self.cut.keep_background != 0


def _number_of(value: int | None, labels: Labels | None) -> int | None:
    """The class number of a value of the legend."""
    if value is None or labels is None:
        return None
    return [entry.value for entry in labels.classes].index(value)


def divide(shape: tuple[int, int], block: tuple[int, int], size: int, pixels: int) -> list[Area]:
    """Divide a grid into areas of about so many pixels, along the blocks of the file where that is possible.

    Args:
        shape: rows and columns of the grid.
        block: rows and columns of the file's blocks.
        size: of a chip, px.
        pixels: of an area, about.

    Returns:
        Areas, row by row; what is left over at the right and lower edge is less than a chip.
    """
    across, down = shape[1] // size * size, shape[0] // size * size
    step_down, step_across = (_meeting(size, side) for side in block)
    if block[1] >= shape[1]:  # strips: every block crosses the whole grid
        columns = across
        rows = max(1, pixels // (columns * step_down)) * step_down
    else:
        columns = max(1, round(math.sqrt(pixels) / step_across)) * step_across
        rows = max(1, pixels // (columns * step_down)) * step_down
    return [
        Area(row, column, min(rows, down - row), min(columns, across - column))
        for row in range(0, down, rows)
        for column in range(0, across, columns)
    ]


def _tasks(area: Area, scenes: int, bytes_per_pixel: int) -> Iterator[Task]:
    """Divide the scenes of an area, where its blocks are too large to take all of them into one shard."""
    step = max(1, SHARD_BYTES // (area.rows * area.columns * bytes_per_pixel))
    for first in range(0, scenes, step):
        yield Task(area, first, min(first + step, scenes))


def _meeting(size: int, block: int) -> int:
    """Length after which chips and blocks meet; where that is far off, chips as long as a block."""
    common = math.lcm(size, block)
    return common if common <= _LARGEST_AREA else max(1, round(min(block, _LARGEST_AREA) / size)) * size


def _sound(
    scenes: Sequence[Scene], placement: Placement | None, bad: list[tuple[str, str]]
) -> tuple[list[Scene], list[tuple[str, str]]]:
    """The scenes that fit the first one, and the others with the reason."""
    sound: list[Scene] = []
    with ExitStack() as stack:
        grid = None
        for scene in scenes:
            try:
                with ExitStack() as opened:
                    source = opened.enter_context(open_raster(scene.dataset, placement, scene.name))
                    check_alpha(source)
                    if grid is not None:
                        _check_fit(source, grid, sound[0].name)
                    if grid is None:
                        grid = source
                        stack.push(opened.pop_all())
                sound.append(scene)
            except UserError as error:
                bad.append((scene.name, str(error).removeprefix(f"{scene.name}: ")))
    if not sound:
        raise UserError(": ".join(bad[0]))
    return sound, bad


def _check_fit(source: rasterio.DatasetReader, grid: rasterio.DatasetReader, first: str) -> None:
    bands, wanted = band_names(source), band_names(grid)
    if len(bands) != len(wanted):
        raise UserError(f"has {len(bands)} bands, but {first} has {len(wanted)}")
    if bands != wanted and sorted(bands) == sorted(wanted):
        raise UserError(
            f"its bands are in the order {', '.join(bands)}, those of {first} in {', '.join(wanted)}; reorder them"
        )
    if source.dtypes[0] != grid.dtypes[0]:
        raise UserError(f"its pixels are {source.dtypes[0]}, but those of {first} are {grid.dtypes[0]}")
    if not overlap(source, grid):
        raise UserError(f"does not overlap {first}, whose grid all rasters are put on")


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The command line of this source."""
    parser = sources.add_parser(
        "rasters",
        help="dated rasters over one area, Sentinel-2 folders too; the first gives the grid",
        description="Cut dated rasters over one area into chips. The first raster gives the grid, the others are warped to it.",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="raster files that GDAL reads, or Sentinel-2 .SAFE folders"
    )
    parser.add_argument(
        "--size", type=int, required=True, help="rows = columns of a chip, in pixels of the first raster"
    )
    dates = parser.add_mutually_exclusive_group()
    dates.add_argument(
        "--date-format",
        help="strptime format of the date in the file names, e.g. %%Y%%m%%d (default: the usual ones are recognised; "
        "Sentinel-2 folders say their date themselves)",
    )
    dates.add_argument("--dates", type=Path, metavar="TABLE", help="CSV with the columns file and date (2024-06-30)")
    parser.add_argument(
        "--bands", nargs="+", default=list(sentinel2.DEFAULT_BANDS), metavar="NAME",
        help=f"bands of Sentinel-2 folders, or TCI for the true-colour image (default: {' '.join(sentinel2.DEFAULT_BANDS)})",
    )  # fmt: skip
    parser.add_argument("--crs", help="CRS of files without coordinates, e.g. EPSG:4326")
    parser.add_argument(
        "--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"), help="their bounds, in units of --crs"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="class numbers as a raster (uint8), or polygons in any vector format with --class-field; "
        "what lies outside the polygons is unlabelled, not background",
    )  # fmt: skip
    parser.add_argument("--class-field", metavar="NAME", help="field of the polygons that holds their class")
    parser.add_argument("--legend", type=Path, metavar="CSV", help="columns value, name, color (RRGGBB) of the classes")
    parser.add_argument(
        "--background", type=int, metavar="VALUE",
        help="a class that fills space, such as open sea: windows of mostly it are dropped",
    )  # fmt: skip
    parser.add_argument("--keep-background", type=int, default=0, metavar="N", help="of those windows keep one in N")
    parser.add_argument(
        "--min-valid", type=float, default=0.5, help="least share of pixels with data (default %(default)s)"
    )
    parser.add_argument("--max-abs-lat", type=float, default=90.0, help="drop windows beyond this latitude")
    parser.add_argument("--unit", help="what a pixel value means, e.g. 'reflectance x 10000'")
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> Rasters:
    """The source that a command line asks for."""
    if (arguments.crs is None) != (arguments.bounds is None):
        raise UserError("--crs and --bounds go together: both, or none")
    if not 0 <= arguments.min_valid <= 1:
        raise UserError(f"--min-valid {arguments.min_valid}: must lie within 0 and 1")
    check_size(arguments.size)
    legend = read_legend(arguments.legend) if arguments.legend else None
    _check_background(arguments, legend)
    placement = _placement(arguments)
    labels = label_sources.find(arguments.labels, arguments.class_field, legend, placement)
    scenes, bad = _scenes(arguments)
    cut = Cut(
        arguments.size, arguments.min_valid, arguments.max_abs_lat, arguments.background, arguments.keep_background
    )
    return Rasters.plan(scenes, cut, placement=placement, labels=labels, unit=arguments.unit, bad=bad)


def _check_background(arguments: argparse.Namespace, legend: tuple[LandClass, ...] | None) -> None:
    if arguments.background is None:
        return
    if legend is None:
        raise UserError("--background needs --legend, which names the classes")
    if arguments.background not in {entry.value for entry in legend}:
        raise UserError(f"--background {arguments.background}: the legend {arguments.legend} has no such class")


def _placement(arguments: argparse.Namespace) -> Placement | None:
    if arguments.crs is None:
        return None
    west, south, east, north = arguments.bounds
    if not (west < east and south < north):
        raise UserError(f"--bounds {west:g} {south:g} {east:g} {north:g}: must be west, south, east, north")
    try:
        CRS.from_user_input(arguments.crs)
    except CRSError as error:
        raise UserError(f"--crs {arguments.crs}: not a CRS ({error})") from error
    return Placement(arguments.crs, (west, south, east, north))


def _scenes(arguments: argparse.Namespace) -> tuple[list[Scene], list[tuple[str, str]]]:
    """The scenes of the command line by date of mention, and the files without a date or a sound format."""
    dates = read_dates(arguments.dates) if arguments.dates else None
    scenes: list[Scene] = []
    bad: list[tuple[str, str]] = []
    seen: set[Path] = set()
    for path in arguments.paths:
        if not path.exists():
            raise UserError(f"{path}: no such file")
        try:
            if path.resolve() in seen:  # two "dates" with the same pixels would teach nothing
                raise UserError(f"{path}: is named twice")
            seen.add(path.resolve())
            if path.is_dir():
                product = sentinel2.read_product(path, tuple(arguments.bands))
                scenes.append(Scene(path.name, product.date, product.vrt, product.stamp, product.unit))
            elif dates is None:
                scenes.append(Scene.of_file(path, parse_date(path, arguments.date_format)))
            elif path.name in dates:
                scenes.append(Scene.of_file(path, dates[path.name]))
            else:
                raise UserError(f"{path}: {arguments.dates} has no row for {path.name}")
        except UserError as error:
            bad.append((path.name, str(error).removeprefix(f"{path}: ").replace(f"{path}/", "")))
    if not scenes:
        raise UserError(": ".join(bad[0]))
    units = {scene.unit for scene in scenes}
    if len(units) > 1:
        raise UserError(
            f"the scenes have different units: {', '.join(sorted(str(unit) for unit in units))}; make a store of each"
        )
    return scenes, bad

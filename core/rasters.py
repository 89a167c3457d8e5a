"""Cuts dated rasters over one area into places and chips."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.transform import Affine, from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from tqdm import tqdm

from core.errors import UserError
from core.geo import METRES_PER_DEGREE, spatial_split
from core.store import UNLABELLED, ChipStore, LandClass, StoreInfo, StoreWriter


@dataclass(frozen=True)
class Placement:
    """Coordinates for files that carry none: a CRS and (west, south, east, north) in its units."""

    crs: str
    bounds: tuple[float, float, float, float]


@dataclass
class Tally:
    """What was kept, and what was dropped and why."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line for the user."""
        reasons = "; ".join(f"{count} {why}" for why, count in self.dropped.most_common())
        return f"kept {self.kept} chips; dropped: {reasons or 'none'}"


@dataclass(frozen=True)
class Cut:
    """How to cut.

    Attributes:
        size: rows = columns of a chip, px of the reference grid.
        min_valid: least share of pixels that hold data.
        max_abs_lat: windows whose centre lies beyond this latitude are left out.
        legend: the classes of the label raster; None takes the values found, with colours made up.
        background: value of the class that never names a chip (open sea, say); windows with more than
            half of it are left out.
        keep_background: of those windows keep every n-th, so that a map model learns the class; 0 for none.
        block_deg: extent of the blocks of the spatial split, see ``core.geo.spatial_split``.
    """

    size: int
    min_valid: float = 0.5
    max_abs_lat: float = 90.0
    legend: tuple[LandClass, ...] | None = None
    background: int | None = None
    keep_background: int = 0
    block_deg: tuple[float, float] | None = None


def cut_rasters(
    dated: Sequence[tuple[Path, datetime]],
    out: Path,
    cut: Cut,
    *,
    placement: Placement | None = None,
    labels: Path | None = None,
    unit: str | None = None,
    provenance: str = "",
    license: str = "",
    overwrite: bool = False,
) -> tuple[ChipStore, Tally]:
    """Make a chip store from dated rasters.

    The first raster gives the grid; the others are warped to it. Each window of the grid is a place,
    each raster that holds enough data there gives it a chip.

    Args:
        dated: files with their dates.
        out: folder of the store.
        cut: size and limits.
        placement: for files without coordinates.
        labels: a raster of class numbers, warped to the grid (nearest neighbour).
        unit: what a pixel value means; guessed from the data type when None.
        provenance: where the imagery comes from.
        license: of the imagery.
        overwrite: replace an existing store.

    Raises:
        UserError: a file cannot be read, does not overlap the first, or has other bands; the labels
            have values that the legend lacks; the store exists; no chip is left.
    """
    writer = StoreWriter(out, overwrite)
    try:
        with ExitStack() as stack:
            sources = _open_all([path for path, _ in dated], placement, stack)
            reference = sources[0]
            legend = cut.legend
            label_source = None
            if labels is not None:
                label_source = _open_labels(labels, reference, placement, stack)
                legend = legend or _legend_of(labels)
            cutter = _Cutter(cut, legend or (), writer, Tally(), reference)
            for strip in tqdm(cutter.strips(), desc="cutting chips", unit="row"):
                cutter.cut_strip(strip, sources, dated, label_source)
            info = StoreInfo(
                bands=_band_names(reference),
                unit=unit or _guess_unit(reference.dtypes[0]),
                gsd=pixel_size_m(reference),
                chip_size=cut.size,
                classes=legend or (),
                background=cutter.background,
                provenance=provenance or ", ".join(path.name for path, _ in dated),
                license=license,
            )
            return writer.finish(info, cutter.split()), cutter.tally
    finally:
        writer.abort()


def pixel_size_m(source: rasterio.DatasetReader | WarpedVRT) -> float:
    """Longer side of a pixel in metres; of a geographic grid as at the equator."""
    grid = source.transform
    side = float(max(np.hypot(grid.a, grid.d), np.hypot(grid.b, grid.e)))
    return side * (METRES_PER_DEGREE if source.crs.is_geographic else source.crs.linear_units_factor[1])


class _Cutter:
    """Cuts strips of windows, top to bottom."""

    def __init__(
        self, cut: Cut, legend: tuple[LandClass, ...], writer: StoreWriter, tally: Tally, reference: WarpedVRT
    ) -> None:
        self.cut, self.legend, self.writer, self.tally, self.reference = cut, legend, writer, tally, reference
        self.numbers = np.full(256, UNLABELLED, np.uint8)
        for number, entry in enumerate(legend):
            self.numbers[entry.value] = number
        self.background = None if cut.background is None else int(self.numbers[cut.background])
        self.background_seen = 0
        self.to_lonlat = Transformer.from_crs(reference.crs, "EPSG:4326", always_xy=True)
        self.lonlat: dict[str, tuple[float, float]] = {}

    def strips(self) -> range:
        """First rows of the strips."""
        size = self.cut.size
        if min(self.reference.height, self.reference.width) < size:
            raise UserError(
                f"{self.reference.name}: {self.reference.width} x {self.reference.height} pixels are too few for "
                f"chips of {size}; give a smaller --size"
            )
        return range(0, self.reference.height - size + 1, size)

    def cut_strip(
        self, top: int, sources: list, dated: Sequence[tuple[Path, datetime]], label_source: WarpedVRT | None
    ) -> None:
        """Cut the windows of one strip out of every raster that covers it."""
        size = self.cut.size
        window = Window(0, top, self.reference.width, size)
        places = list(self._places(top, label_source, window))
        for source, (path, date) in zip(sources, dated):
            if not places:
                return
            pixels, valid = _read(source, window, path)
            for left, place, lon, lat, label, mask in places:
                chip, good = pixels[:, :, left : left + size], valid[:, left : left + size]
                if good.mean() < self.cut.min_valid:
                    self.tally.dropped[f"with less than {self.cut.min_valid:.0%} of valid pixels"] += 1
                    continue
                self.tally.kept += 1
                self.lonlat[place] = (lon, lat)
                self.writer.add(
                    np.where(good[None], chip, chip.dtype.type(0)),
                    good,
                    place=place,
                    datetime=date,
                    lon=lon,
                    lat=lat,
                    label=label,
                    mask=mask,
                    row=top,
                    column=left,
                    source=path.name,
                )

    def _places(self, top: int, label_source: WarpedVRT | None, window: Window) -> Iterator[tuple]:
        size = self.cut.size
        numbers = None if label_source is None else self._label_numbers(label_source, window)
        for left in range(0, self.reference.width - size + 1, size):
            x, y = self.reference.transform @ (left + size / 2, top + size / 2)
            lon, lat = self.to_lonlat.transform(x, y)
            if abs(lat) > self.cut.max_abs_lat:
                self.tally.dropped[f"windows beyond latitude {self.cut.max_abs_lat:g}"] += 1
                continue
            label, mask = -1, -1
            if numbers is not None:
                chip_numbers = numbers[:, left : left + size]
                if self._is_spare_background(chip_numbers):
                    self.tally.dropped["windows of mostly background"] += 1
                    continue
                label = self._majority(chip_numbers)
                if (chip_numbers != UNLABELLED).any():
                    mask = self.writer.add_mask(chip_numbers)
            yield left, f"r{top}c{left}", lon, lat, label, mask

    def _is_spare_background(self, numbers: np.ndarray) -> bool:
        if self.background is None or (numbers == self.background).mean() <= 0.5:
            return False
        self.background_seen += 1
        return not self.cut.keep_background or self.background_seen % self.cut.keep_background != 0

    def _label_numbers(self, label_source: WarpedVRT, window: Window) -> np.ndarray:
        values, valid = _read(label_source, window, Path(label_source.name))
        values = values[0]
        valid &= values != UNLABELLED
        outside = ~np.isin(values, [entry.value for entry in self.legend]) & valid
        if outside.any():
            raise UserError(
                f"{label_source.name}: holds the value {values[outside][0]}, which the legend does not explain"
            )
        numbers = self.numbers[np.where(valid, values, 0).astype(np.uint8)]
        return np.where(valid, numbers, np.uint8(UNLABELLED))

    def _majority(self, numbers: np.ndarray) -> int:
        """Most frequent class of a window, the background aside; -1 where nothing is labelled."""
        counts = np.bincount(numbers.ravel(), minlength=256)[: len(self.legend)]
        if self.background is not None:
            counts[self.background] = 0
        return int(counts.argmax()) if counts.any() else -1

    def split(self) -> dict[str, str]:
        """Side of each place that has a chip."""
        if not self.lonlat:
            raise UserError(f"no chip was kept ({self.tally})")
        names = list(self.lonlat)
        margin = 1.5 * self.cut.size * pixel_size_m(self.reference)  # windows that touch, corners included
        sides = spatial_split(np.array([self.lonlat[name] for name in names]), margin, self.cut.block_deg)
        return dict(zip(names, sides.tolist()))


def _open_all(paths: Sequence[Path], placement: Placement | None, stack: ExitStack) -> list:
    sources = [stack.enter_context(open_raster(path, placement)) for path in paths]
    reference = sources[0]
    for path, source in zip(paths, sources):
        if source.count != reference.count:
            raise UserError(f"{path}: has {source.count} bands, but {paths[0]} has {reference.count}")
        if source.dtypes[0] != reference.dtypes[0]:
            raise UserError(
                f"{path}: its pixels are {source.dtypes[0]}, but those of {paths[0]} are {reference.dtypes[0]}"
            )
        _check_overlap(path, source, reference)
    return [reference, *(_on_grid(source, reference, Resampling.bilinear, stack) for source in sources[1:])]


@contextmanager
def open_raster(path: Path, placement: Placement | None = None) -> Iterator[rasterio.DatasetReader | WarpedVRT]:
    """Open a raster with coordinates: its own, or those of ``placement``.

    Raises:
        UserError: it cannot be read, or has no coordinates.
    """
    with ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said below in our own words
                source = stack.enter_context(rasterio.open(path))
        except RasterioIOError as error:
            raise UserError(f"{path}: cannot be read as a raster ({error})") from error
        if placement is not None and source.crs is None:
            source = stack.enter_context(
                WarpedVRT(
                    source,
                    src_crs=CRS.from_user_input(placement.crs),
                    src_transform=from_bounds(*placement.bounds, source.width, source.height),
                    crs=CRS.from_user_input(placement.crs),
                    transform=from_bounds(*placement.bounds, source.width, source.height),
                    width=source.width,
                    height=source.height,
                    add_alpha=_needs_alpha(source),
                )
            )
        if source.crs is None or source.transform.is_identity:
            raise UserError(f"{path}: has no coordinates; give them with --crs and --bounds")
        if source.dtypes[0] not in ("uint8", "uint16", "int16", "float32"):
            raise UserError(
                f"{path}: pixels of type {source.dtypes[0]} are not supported; convert to uint8, uint16, int16 or float32"
            )
        yield source


def _check_overlap(path: Path, source: rasterio.DatasetReader, reference: rasterio.DatasetReader) -> None:
    west, south, east, north = transform_bounds(source.crs, reference.crs, *source.bounds)
    (left, right), (bottom, top) = (sorted(side) for side in (reference.bounds[::2], reference.bounds[1::2]))
    south, north = sorted((south, north))  # south-up rasters exist
    if west >= right or east <= left or south >= top or north <= bottom:
        raise UserError(f"{path}: does not overlap {reference.name}, whose grid all rasters are put on")


def _on_grid(
    source: rasterio.DatasetReader, reference: rasterio.DatasetReader, how: Resampling, stack: ExitStack
) -> rasterio.DatasetReader | WarpedVRT:
    same_shape = (source.width, source.height) == (reference.width, reference.height)
    if same_shape and source.crs == reference.crs:
        shift = ~reference.transform @ source.transform  # in pixels, whatever the unit of the CRS
        if shift.almost_equals(Affine.identity(), 1e-3 / max(source.width, source.height)):
            return source
    return stack.enter_context(
        WarpedVRT(
            source,
            crs=reference.crs,
            transform=reference.transform,
            width=reference.width,
            height=reference.height,
            resampling=how,
            add_alpha=_needs_alpha(source),
        )
    )


def _needs_alpha(source: rasterio.DatasetReader | WarpedVRT) -> bool:
    """A warped source without nodata needs an alpha band, else what it does not cover reads as valid zeros."""
    return source.nodata is None and all(color.name != "alpha" for color in source.colorinterp)


def _open_labels(
    labels: Path, reference: rasterio.DatasetReader, placement: Placement | None, stack: ExitStack
) -> rasterio.DatasetReader | WarpedVRT:
    source = stack.enter_context(open_raster(labels, placement))
    if source.dtypes[0] != "uint8":
        raise UserError(f"{labels}: class numbers must be uint8, these are {source.dtypes[0]}")
    _check_overlap(labels, source, reference)
    return _on_grid(source, reference, Resampling.nearest, stack)


def _legend_of(labels: Path) -> tuple[LandClass, ...]:
    """Classes found in a label raster, named by number, in its own colours or in made-up ones."""
    with rasterio.open(labels) as source:
        found: set[int] = set()
        for _, window in source.block_windows(1):
            band = source.read(1, window=window, masked=True)
            found.update(int(value) for value in np.unique(band.compressed()))
        try:
            colors = {value: "{:02X}{:02X}{:02X}".format(*rgba[:3]) for value, rgba in source.colormap(1).items()}
        except ValueError:  # no colour table
            from matplotlib import colormaps

            tab20 = (colormaps["tab20"](np.arange(20)) * 255).astype(int)
            colors = {value: "{:02X}{:02X}{:02X}".format(*tab20[i % 20]) for i, value in enumerate(sorted(found))}
    return tuple(LandClass(value, f"class {value}", colors[value]) for value in sorted(found - {UNLABELLED}))


def _read(source: rasterio.DatasetReader, window: Window, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (bands, rows, cols) and where all bands hold data (rows, cols)."""
    count = len([i for i in source.colorinterp if i.name != "alpha"]) or source.count
    try:
        pixels = source.read(list(range(1, count + 1)), window=window)
        valid = source.read_masks(list(range(1, count + 1)), window=window).all(axis=0)
    except RasterioIOError as error:
        raise UserError(f"{path}: damaged, it cannot be read to its end ({error})") from error
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels).all(axis=0)
    return pixels, valid


def _band_names(source: rasterio.DatasetReader) -> tuple[str, ...]:
    names = []
    for number, (description, color) in enumerate(zip(source.descriptions, source.colorinterp), start=1):
        if color.name == "alpha":
            continue
        names.append(description or (color.name if color.name in ("red", "green", "blue") else f"band {number}"))
    return tuple(names)


def _guess_unit(dtype: str) -> str:
    return "8-bit values, 0 to 255" if dtype == "uint8" else f"digital numbers of type {dtype}"

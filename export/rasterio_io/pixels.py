"""An open raster in rasterio: stored values at their place."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp
from rasterio.transform import from_bounds

from export.rasterio_io.grid import Grid, crs_of, raster_window
from export.rasterio_io.opening import (
    RASTER_ERRORS,
    dtype_of,
    masked_bands,
    on_grid,
    open_dataset,
    read_bands,
    reason_of,
    stated_nodata,
)
from export.rasterio_io.polygons import way
from export.rasterio_io.vectors import Area
from export.rasterio_io.vrt import files_of
from export.runtime.errors import InputFault
from export.runtime.files import with_members
from export.runtime.infer.source import Pixels
from export.runtime.messages import Message
from export.runtime.raster.band_names import BandFacts
from export.runtime.raster.lattice import eastwards
from export.runtime.raster.names import is_far
from export.runtime.raster.shapes.footprint import Way
from export.runtime.raster.window import Window

_DEGREES = pyproj.CRS.from_user_input("OGC:CRS84")


class RasterPixels:
    """A raster that rasterio opened; see ``export.runtime.infer.source.Pixels``."""

    sampled, sized, read_ahead = True, False, 4

    def __init__(self, where: str | Path, area: Area | None = None) -> None:
        """Open what GDAL knows by this name.

        A raster without coordinates is placed at the bounds of an area that states their CRS.

        Raises:
            InputFault: it cannot be read, or has no coordinates.
        """
        self.name = self.address = str(where)
        self._lock = threading.Lock()  # GDAL reads a file in one thread at a time
        self.notes: list[Message] = []
        opened = open_dataset(self.name)
        self.dataset, self._stated, self.tags = on_grid(opened), opened, opened.tags()
        self._covers = 0  # number of the band that says where an image warped to a grid lies
        if self.dataset is not opened:
            self._covers = self.dataset.count
            self.notes.append(Message("control_points", {"count": len(opened.gcps[0])}))
        self.files = files_of(opened)
        if opened.name.startswith("<"):  # the text of a virtual raster
            self.files = [self.name]
            self.notes.append(Message("container", {"names": ", ".join(opened.descriptions[:20])}))
        self.grid = self._place(area)
        self.bands = _band_facts(opened)
        colors = enumerate(opened.colorinterp, start=1)
        self.usable = [number for number, color in colors if color != ColorInterp.alpha]

    def _place(self, area: Area | None) -> Grid:
        dataset = self.dataset
        if dataset.crs is not None and not dataset.transform.is_identity:
            grid = Grid(dataset.crs, dataset.transform, *dataset.shape)
            if not (np.isfinite(list(grid.transform)[:6]).all() and grid.transform.determinant):
                raise InputFault("bad_coordinates", where=self.name)
            try:
                known = grid.units.size > 0
            except CRSError:
                known = False
            if not known:
                raise InputFault.worded(f"{self.name}: its CRS has no unit of length; set another with gdal_edit")
            return grid
        if dataset.rpcs and not (area and area.crs and area.bounds):
            raise InputFault("rpcs", where=self.name)
        if not (area and area.crs and area.bounds):
            way = "set it with gdal_edit" if area is None else "give --crs and --bounds, or set it with gdal_edit"
            raise InputFault.worded(f"{self.name}: has no CRS, so its map could not be placed; {way}")
        grid = Grid(crs_of(area.crs), dataset.transform, *dataset.shape)
        grid = replace(grid, transform=from_bounds(*eastwards(area.bounds, grid.units.turn), *dataset.shape[::-1]))
        if not grid.lies_on_earth:
            bounds = " ".join(f"{value:.10g}" for value in area.bounds)
            raise InputFault.worded(f"{self.name}: --bounds {bounds} reach beyond the Earth in {area.crs}; check both")
        return grid

    def dtype(self, band: int) -> str:
        """Numpy's name of the type of a band's values."""
        return dtype_of(self._stated, band)

    def stored_as(self, band: int) -> tuple[float, float]:
        """Scale and offset of a band."""
        return self._stated.scales[band - 1], self._stated.offsets[band - 1]

    def nodata(self, band: int) -> float | None:
        """The value that the file states for no data in a band."""
        return stated_nodata(self._stated, band)

    def masked(self, bands: Sequence[int]) -> bool:
        """Whether a mask of the file says which pixels are empty."""
        return bool(self._covers or masked_bands(self.dataset, bands))

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Stored values (bands, rows, columns), and (rows, columns) False where a mask of the file hides them."""
        where, bands = raster_window(window), list(bands)
        try:
            with self._lock:
                pixels = read_bands(self.dataset, bands, where)
                if self._covers:
                    return pixels, self.dataset.read(self._covers, window=where) > 0
                masked = masked_bands(self.dataset, bands)
                masks: Any = self.dataset.read_masks(masked, window=where) if masked else np.ones_like(pixels[:1])
        except RASTER_ERRORS as error:
            row, column = window.row + 1, window.column + 1
            raise InputFault("corrupt", where=self.name, reason=reason_of(error), row=row, column=column) from error
        return pixels, masks.all(axis=0)

    def overview(self, bands: Sequence[int], factor: float) -> Pixels | None:
        """The coarsest copy that a raster on a server holds of itself, with pixels of at most so many of its own.

        On a disk all pixels are read: how overviews were made is unknown, and there they save little.
        """
        levels = self.dataset.overviews(bands[0]) if is_far(self.name) and not self._covers else []
        fitting = [number for number, level in enumerate(levels) if level <= factor * (1 + 1e-6)]
        if not fitting:
            return None
        dataset = open_dataset(self.name, OVERVIEW_LEVEL=max(fitting, key=levels.__getitem__))
        return _Overview(self, dataset)

    def bytes_under(self, bands: Sequence[int], rows: float) -> float:
        """Decoded blocks under so many rows from side to side, where blocks are as wide as the raster; else 0."""
        dataset = self.dataset
        tall, wide = dataset.block_shapes[bands[0] - 1]
        if wide < dataset.width:
            return 0.0
        pixel = sum(np.dtype(self.dtype(band)).itemsize for band in bands)
        if dataset.interleaving and dataset.interleaving.value == "PIXEL":
            pixel = sum(np.dtype(self.dtype(band)).itemsize for band in dataset.indexes)
        return float((rows + 2 * tall) * wide * pixel)

    def way_from(self, grid: Grid | None) -> Way:
        """Between the CRS of another grid, or WGS 84 longitude and latitude where None, and the raster's own.

        Raises:
            InputFault: no way is known.
        """
        try:
            return way(pyproj.CRS.from_wkt(grid.crs.to_wkt()) if grid else _DEGREES, self.grid)
        except InputFault as fault:
            raise InputFault.worded(f"{self.name}: {fault}") from fault

    def members(self) -> Iterator[str]:
        """The files that it is made of, those of virtual rasters in virtual rasters included."""
        return with_members(self.files, _files)

    def close(self) -> None:
        """Release the file."""
        self.dataset.close()


class _Overview(RasterPixels):
    """A coarser copy inside a file."""

    def __init__(self, whole: RasterPixels, dataset: rasterio.DatasetReader) -> None:
        self.__dict__.update(whole.__dict__, dataset=dataset)
        (height, width), (tall, wide) = dataset.shape, whole.grid.shape
        self.grid = replace(whole.grid.scaled(tall / height, wide / width), height=height, width=width)


def _files(where: str) -> list[str]:
    try:
        with closing(open_dataset(where)) as dataset:
            return list(dataset.files)
    except InputFault:  # which is reported where its pixels are read
        return []


def _band_facts(dataset: rasterio.DatasetReader) -> list[BandFacts]:
    bands = zip(dataset.indexes, dataset.descriptions, dataset.colorinterp)
    return [
        BandFacts.of(text or "", color.name, {**dataset.tags(number), **dataset.tags(number, ns="IMAGERY")})
        for number, text, color in bands
    ]

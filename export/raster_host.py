"""The runtime's host for batch inference: reads and writes rasters with rasterio."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.transform import Affine, from_bounds
from rasterio.windows import Window as RasterWindow

from export.runtime.card import NODATA, ModelCard
from export.runtime.errors import InputFault
from export.runtime.grid import Window
from export.runtime.style import pam_xml, qml
from export.runtime.sweep import Rows

METRES_PER_DEGREE = 111_195.0  # mean radius of the Earth


@dataclass(frozen=True)
class Placement:
    """Coordinates for a file that has none: a CRS and (west, south, east, north) in its units."""

    crs: str
    bounds: tuple[float, float, float, float]


class SourceRaster:
    """A raster that the model will read."""

    def __init__(self, path: Path, card: ModelCard, placement: Placement | None = None) -> None:
        """Open and check.

        Raises:
            InputFault: it cannot be read, has another number of bands, or no CRS.
        """
        if not path.exists() and "://" not in str(path):
            raise InputFault(f"{path}: no such file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said below in our own words
                self.dataset = rasterio.open(path)
        except RasterioIOError as error:
            raise InputFault(f"{path}: cannot be read as a raster ({error})") from error
        self.path = path
        self.crs, self.transform = self._place(placement)
        colors = [color.name for color in self.dataset.colorinterp]
        self.bands = [number for number, color in enumerate(colors, start=1) if color != "alpha"]
        if len(self.bands) != len(card.bands):
            raise InputFault(
                f"{path}: has {len(self.bands)} bands, but the model needs {len(card.bands)} ({', '.join(card.bands)})"
            )

    def _place(self, placement: Placement | None) -> tuple[CRS, Affine]:
        if placement is not None and self.dataset.crs is None:
            west, south, east, north = placement.bounds
            if not (west < east and south < north):
                raise InputFault(f"--bounds {west:g} {south:g} {east:g} {north:g}: must be west, south, east, north")
            try:
                crs = CRS.from_user_input(placement.crs)
            except CRSError as error:
                raise InputFault(f"--crs {placement.crs}: not a CRS ({error})") from error
            return crs, from_bounds(*placement.bounds, self.dataset.width, self.dataset.height)
        if self.dataset.crs is None:
            raise InputFault(
                f"{self.path}: has no CRS, so its map could not be placed; give --crs and --bounds, or set it with gdal_edit"
            )
        return self.dataset.crs, self.dataset.transform

    @property
    def pixel_size_m(self) -> float:
        """Height of a pixel in metres."""
        height = float(np.hypot(self.transform.b, self.transform.e))
        return height * (METRES_PER_DEGREE if self.crs.is_geographic else self.crs.linear_units_factor[1])

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, columns) and where all bands hold data (rows, columns)."""
        where = RasterWindow(window.column, window.row, window.width, window.height)
        try:
            pixels = self.dataset.read(self.bands, window=where)
            valid = self.dataset.read_masks(self.bands, window=where).all(axis=0)
        except RasterioIOError as error:
            raise InputFault(f"{self.path}: damaged, it cannot be read to its end ({error})") from error
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return pixels, valid

    def warnings_for(self, card: ModelCard) -> list[str]:
        """What a user should know before a long run: pixel size and range of values."""
        found = []
        if card.gsd and not 0.5 <= self.pixel_size_m / card.gsd <= 2:
            found.append(
                f"{self.path}: its pixels are {self.pixel_size_m:.4g} m, the model learned from {card.gsd:.4g} m"
            )
        low, high = card.value_range
        highest = self._highest_value()
        if highest > 2 * high or (high > 10 and 0 < highest <= 1.5):
            found.append(
                f"{self.path}: its values reach {highest:.4g}, the model learned from {low:g} to {high:g} ({card.unit})"
            )
        return found

    def _highest_value(self) -> float:
        """Of a few windows along the diagonal: reading all of a large raster would take too long."""
        rows, columns = self.dataset.shape
        highest = 0.0
        for share in np.linspace(0, 1, 8):
            size = min(128, rows), min(128, columns)
            window = Window(int(share * (rows - size[0])), int(share * (columns - size[1])), *size)
            pixels, valid = self.read(window)
            highest = max(highest, float(np.where(valid, pixels, 0).max()))
        return highest


def write_map(rows: Iterable[Rows], source: SourceRaster, card: ModelCard, out: Path, confidence: bool) -> None:
    """Write finished rows as a Cloud-Optimized GeoTIFF with names and colours, and its QGIS style.

    Nothing has its final name before it is whole and was read back.

    Raises:
        InputFault: it cannot be written.
    """
    plain, cog = (out.with_name(f".{out.stem}.{os.getpid()}.{kind}.tif") for kind in ("plain", "cog"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write_rows(rows, source, plain, card, bands=2 if confidence else 1)
        rasterio.shutil.copy(
            plain, cog, driver="COG", compress="DEFLATE", overview_resampling="MODE", bigtiff="IF_SAFER"
        )
        with rasterio.open(cog) as written:
            if written.shape != source.dataset.shape:
                raise InputFault(f"{out}: could not be written whole")
            written.checksum(1)  # reads every block
        _write_text(out.with_name(out.name + ".aux.xml"), pam_xml(card.classes, 2 if confidence else 1))
        _write_text(out.with_suffix(".qml"), qml(card.classes))
        cog.replace(out)
    except (RasterioError, OSError) as error:
        raise InputFault(f"{out}: cannot be written ({error})") from error
    finally:
        for leftover in out.parent.glob(f".{out.stem}.{os.getpid()}.*"):
            leftover.unlink(missing_ok=True)


def _write_rows(rows: Iterable[Rows], source: SourceRaster, path: Path, card: ModelCard, bands: int) -> None:
    height, width = source.dataset.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": bands,
        "dtype": "uint8",
        "nodata": NODATA,
        "crs": source.crs,
        "transform": source.transform,
        "compress": "DEFLATE",
        "zlevel": 1,  # read again and compressed well a moment later
        "tiled": True,
        "bigtiff": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as target:
        if bands == 1:  # with a second band a colour table would be no valid TIFF: the .aux.xml has it
            target.write_colormap(1, {entry.value: (*entry.rgb, 255) for entry in card.classes})
        for part in rows:
            where = RasterWindow(0, part.top, width, len(part.classes))
            target.write(part.classes, 1, window=where)
            if bands == 2:
                target.write(part.confidence, 2, window=where)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)

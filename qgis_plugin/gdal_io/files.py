"""Pixels of files, read by GDAL itself: the stored values, at the file's own place."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
from osgeo import gdal
from qgis.core import QgsProviderRegistry

from ..runtime.errors import InputFault
from ..runtime.messages import Message
from ..runtime.raster.band_names import BandFacts
from ..runtime.raster.gaps import is_mask
from ..runtime.raster.lattice import Bounds
from ..runtime.raster.shapes.footprint import Way
from ..runtime.raster.window import Window
from .calls import ask
from .grid import LayerGrid, transform_of
from .mask import way_of_crs

# warps all stored values, those of gaps and of an alpha band too, and the mask into one more band
_VALUES_ALONE = ("-srcnodata", "None", "-nosrcalpha", "-dstalpha")
Ranges = dict[int, list[tuple[float, float]]]


@dataclass(frozen=True)
class FileLayer:
    """What a worker must know of a layer, copied so that it never touches the layer.

    Attributes:
        crs: WKT of the CRS that the user has set; "": the file's own, of which QGIS drops heights.
        empty: for each band, (lowest, highest) of the value ranges that the user declared empty.
        ignored: bands whose own nodata value the user switched off.
    """

    name: str
    crs: str
    uri: str
    options: tuple[str, ...]
    empty: Ranges
    ignored: tuple[int, ...]

    @classmethod
    def of(cls, layer, crs: str) -> "FileLayer":
        """Copy it from a layer of the provider "gdal", on the layer's thread."""
        provider = layer.dataProvider()
        parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
        bands = range(1, layer.bandCount() + 1)
        known = [band for band in bands if provider.sourceHasNoDataValue(band)]  # others cannot be switched off
        return cls(
            layer.name(),
            "" if layer.crs() == provider.crs() else crs,
            layer.source().split("|option:")[0],
            tuple(parts.get("openOptions") or ()),
            empty_ranges(provider, bands),
            tuple(band for band in known if not provider.useSourceNoDataValue(band)),
        )

    def open(self, gsd: Optional[float] = None, bounds: Optional[Bounds] = None) -> "FilePixels":
        """Open the file; its pixels are as they are, whatever the model's size.

        Raises:
            InputFault: GDAL cannot.
        """
        return FilePixels(self)


def empty_ranges(provider, bands: Sequence[int]) -> Ranges:
    """Value ranges that the user declared empty."""
    return {band: [(one.min(), one.max()) for one in provider.userNoDataValues(band)] for band in bands}


class FilePixels:
    """An open file; see ``runtime.infer.source.Pixels``."""

    sampled, sized, read_ahead = True, False, 4

    def __init__(self, layer: FileLayer) -> None:
        self.layer, self.name, self.address = layer, layer.name, layer.uri
        self._lock = threading.Lock()  # GDAL reads a file in one thread at a time
        flags = gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR
        failed = ("not_readable", layer.uri)
        self._dataset = ask(*failed, gdal.OpenEx, layer.uri, flags, open_options=list(layer.options))
        self.notes: list[Message] = []
        self._stated = dataset = self._dataset
        self._covers = 0  # number of the band that says where an image warped to a grid lies
        if dataset.GetGeoTransform(can_return_null=True) is None:
            if dataset.GetMetadata("RPC"):
                raise InputFault("rpcs", where=layer.name)
            if points := dataset.GetGCPCount():
                self.notes.append(Message("control_points", {"count": points}))
                self._dataset = ask(*failed, gdal.Warp, "", dataset, format="VRT", options=list(_VALUES_ALONE))
                self._covers = dataset.RasterCount + 1
                dataset = self._dataset
        # without coordinates QGIS lays pixels downwards from the origin
        place = dataset.GetGeoTransform(can_return_null=True) or (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
        srs = dataset.GetSpatialRef()
        crs = layer.crs or (srs.ExportToWkt(["FORMAT=WKT2_2019"]) if srs else "")
        self.grid = LayerGrid(crs, transform_of(place), dataset.RasterYSize, dataset.RasterXSize)
        if not (np.isfinite(place).all() and self.grid.pixel_area):
            raise InputFault("bad_coordinates", where=layer.name)
        numbers = range(1, self._stated.RasterCount + 1)
        self.bands = [self._facts(number) for number in numbers]
        self.usable = [n for n in numbers if self._band(n).GetColorInterpretation() != gdal.GCI_AlphaBand]
        self.tags: dict[str, str] = self._stated.GetMetadata() or {}
        self.files = self._stated.GetFileList() or []

    def stored_as(self, number: int) -> tuple[Optional[float], Optional[float]]:
        return self._band(number).GetScale(), self._band(number).GetOffset()

    def dtype(self, number: int) -> str:
        name = gdal.GetDataTypeName(self._band(number).DataType).lower()
        if name[0] == "c":  # complex, of integers too
            return "complex128" if name == "cfloat64" else "complex64"
        if name == "byte":  # before GDAL 3.7 a signed one too
            signed = self._band(number).GetMetadataItem("PIXELTYPE", "IMAGE_STRUCTURE") == "SIGNEDBYTE"
            return "int8" if signed else "uint8"
        return name

    def nodata(self, number: int) -> Optional[float]:
        return None if number in self.layer.ignored else self._band(number).GetNoDataValue()

    def masked(self, bands: Sequence[int]) -> bool:
        return bool(self._covers) or any(self._has_mask(band) or self.layer.empty.get(band) for band in bands)

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self._read(bands, window)
        except InputFault as fault:
            row, column, reason = window.row + 1, window.column + 1, fault.message.fields["reason"]
            raise InputFault("corrupt", where=self.layer.uri, reason=reason, row=row, column=column) from fault

    def _read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        box = (window.column, window.row, window.width, window.height)
        corrupt = ("not_readable", self.layer.uri)
        pixels, valid = [], np.ones((window.height, window.width), bool)
        with self._lock:
            for number in bands:
                pixels.append(ask(*corrupt, self._dataset.GetRasterBand(number).ReadAsArray, *box))
                if self._has_mask(number):
                    valid &= ask(*corrupt, self._band(number).GetMaskBand().ReadAsArray, *box) != 0
            if self._covers:
                valid &= ask(*corrupt, self._dataset.GetRasterBand(self._covers).ReadAsArray, *box) != 0
        for number, values in zip(bands, pixels):
            if self.layer.empty.get(number):
                cut_out(self._shown(number, values), self.layer.empty[number], valid)
        return np.stack(pixels), valid

    def overview(self, bands: Sequence[int], factor: float) -> None:
        """None: all pixels of a file are read."""

    def way_from(self, grid: Optional[LayerGrid]) -> Way:
        """Between the CRS of another grid, or WGS 84 longitude and latitude where None, and the layer's own."""
        return way_of_crs(grid.crs if grid else "", self.grid)

    def close(self) -> None:
        """Release the file."""
        self._dataset = self._stated = None

    def _band(self, number: int):
        """Of the file, whose values those of a warped image are."""
        return self._stated.GetRasterBand(number)

    def _shown(self, number: int, values: np.ndarray) -> np.ndarray:
        """Stored values as QGIS shows them, in which the user declares some empty."""
        scale, offset = self._band(number).GetScale(), self._band(number).GetOffset()
        if scale in (None, 1.0) and not offset:
            return values
        return (values * (1.0 if scale is None else scale) + (offset or 0.0)).astype(np.float32)

    def _facts(self, number: int) -> BandFacts:
        band = self._band(number)
        color = gdal.GetColorInterpretationName(band.GetColorInterpretation()) or ""
        tags = {**(band.GetMetadata() or {}), **(band.GetMetadata("IMAGERY") or {})}
        return BandFacts.of(band.GetDescription(), color, tags)

    def _has_mask(self, number: int) -> bool:
        """Whether a band has a mask that is neither its own nodata value nor an alpha band."""
        if self._covers:
            return False
        flags = self._band(number).GetMaskFlags()
        ignored = flags & gdal.GMF_NODATA and number in self.layer.ignored
        return is_mask(flags) and not ignored


def cut_out(values: np.ndarray, ranges: Sequence[tuple[float, float]], valid: np.ndarray) -> None:
    """Take from ``valid`` what the user declared empty."""
    for low, high in ranges:
        valid &= ~((values >= low) & (values <= high))


def files_of(where: str) -> list[str]:
    """The files that a raster is made of; none where it cannot be read."""
    try:
        return (
            ask("not_readable", where, gdal.OpenEx, where, gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR).GetFileList() or []
        )
    except InputFault:
        return []


def category_names(where: str) -> dict[int, str]:
    """Names of the classes of band 1 by their values, as a file states them; none where it states none."""
    raster = ask("not_readable", where, gdal.OpenEx, where, gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR)
    names = raster.GetRasterBand(1).GetCategoryNames() or []
    return {value: name for value, name in enumerate(names) if name}

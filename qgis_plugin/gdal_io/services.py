"""Pixels of layers without a file (WMS, XYZ tiles, WCS, virtual rasters), read through a clone of their provider."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

import numpy as np
from qgis.core import (
    Qgis,
    QgsNetworkAccessManager,
    QgsNetworkReplyContent,
    QgsPointXY,
    QgsRasterBlockFeedback,
    QgsRasterDataProvider,
    QgsRectangle,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest

from ..runtime.errors import Cancelled, InputFault
from ..runtime.messages import Message
from ..runtime.raster.band_names import BandFacts
from ..runtime.raster.lattice import Bounds, Transform
from ..runtime.raster.shapes.footprint import Way
from ..runtime.raster.window import Window
from ..texts import tr
from .files import Ranges, cut_out, empty_ranges
from .grid import LayerGrid, ellipsoidal
from .mask import way_of_crs

_PICTURE = ("red", "green", "blue")
_DTYPES = {
    Qgis.DataType.Byte: "u1", Qgis.DataType.UInt16: "u2", Qgis.DataType.Int16: "i2", Qgis.DataType.UInt32: "u4",
    Qgis.DataType.Int32: "i4", Qgis.DataType.Float32: "f4", Qgis.DataType.Float64: "f8",
}  # fmt: skip
_COARSE = 1024  # columns and rows that stand for the pixels of a service without any
_NOT_THERE = (204, 404)  # status of a tile of which there is none
_PICTURES = (Qgis.DataType.ARGB32, Qgis.DataType.ARGB32_Premultiplied)


def band_count(provider: QgsRasterDataProvider) -> int:
    """Bands that are read of a provider: three of a picture, which QGIS counts as one."""
    return len(_PICTURE) if _is_picture(provider) else provider.bandCount()


def _is_picture(provider: QgsRasterDataProvider) -> bool:
    return provider.bandCount() == 1 and provider.dataType(1) in _PICTURES


@dataclass(frozen=True)
class ServiceLayer:
    """A clone of a layer's provider, which lives on when the layer is removed.

    Attributes:
        crs: WKT.
        empty: for each band, value ranges that the user declared empty.
    """

    name: str
    crs: str
    provider: QgsRasterDataProvider
    empty: Ranges
    extent: Bounds

    @classmethod
    def of(cls, layer, crs: str) -> "ServiceLayer":
        """Clone a layer's provider, on the layer's thread."""
        provider = layer.dataProvider().clone()
        box = layer.extent()
        extent = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        return cls(layer.name(), crs, provider, empty_ranges(provider, range(1, provider.bandCount() + 1)), extent)

    def open(self, gsd: Optional[float] = None, bounds: Optional[Bounds] = None) -> "ServicePixels":
        """Lay a grid with pixels of ``gsd`` metres on the ground over ``bounds`` where the service has no pixels.

        Raises:
            InputFault: such a service needs both.
        """
        return ServicePixels(self, self.own_grid() or self._grid(gsd, bounds))

    def own_grid(self) -> Optional[LayerGrid]:
        """Of its pixels; None where it has none of its own."""
        width, height = self.provider.xSize(), self.provider.ySize()
        return self._divided(width, height) if min(width, height) > 0 else None

    def coarse_grid(self) -> LayerGrid:
        """Over all of it."""
        return self._divided(_COARSE, _COARSE)

    def _divided(self, width: int, height: int) -> LayerGrid:
        west, south, east, north = self.extent
        place = Transform((east - west) / width, 0.0, west, 0.0, -(north - south) / height, north)
        return LayerGrid(self.crs, place, height, width)

    def _grid(self, gsd: Optional[float], bounds: Optional[Bounds]) -> LayerGrid:
        if not gsd:
            text = tr("The layer '{name}' has no pixels of its own and the model does not say which size it needs.")
            raise InputFault.worded(text.format(name=self.name))
        if bounds is None:
            text = tr("The layer '{name}' comes from a service: choose an extent or polygons.")
            raise InputFault.worded(text.format(name=self.name))
        west, south = max(bounds[0], self.extent[0]), max(bounds[1], self.extent[1])
        east, north = min(bounds[2], self.extent[2]), min(bounds[3], self.extent[3])
        if not (west < east and south < north):
            extent = ", ".join(f"{side:.10g}" for side in self.extent)
            raise InputFault("bounds_outside", where=self.name, extent=extent)
        middle = QgsPointXY((west + east) / 2, (south + north) / 2)
        measure, step = ellipsoidal(self.crs), (east - west) / 1000
        metres = measure.measureLine(middle, QgsPointXY(middle.x() + step, middle.y())) / step
        down = measure.measureLine(middle, QgsPointXY(middle.x(), middle.y() + step)) / step
        across, along = gsd / metres, gsd / down
        height, width = max(1, round((north - south) / along)), max(1, round((east - west) / across))
        return LayerGrid(self.crs, Transform(across, 0.0, west, 0.0, -along, north), height, width)


class ServicePixels:
    """A provider on a grid; see ``FilePixels`` for the attributes. Its requests are made by the thread that reads."""

    sampled, read_ahead = False, 0

    def __init__(self, layer: ServiceLayer, grid: LayerGrid) -> None:
        self.layer, self.grid, self.name, self.address = layer, grid, layer.name, layer.name
        self._provider = layer.provider
        self.sized = self._provider.xSize() < 1
        self.picture = _is_picture(self._provider)
        numbers = range(1, band_count(self._provider) + 1)
        self.bands = [BandFacts(name) for name in (_PICTURE if self.picture else map(self._name, numbers))]
        self.tags: dict[str, str] = {}
        self.usable = list(range(1, len(self.bands) + 1))
        self.files: list[str] = []
        self.notes: list[Message] = []
        self.feedback = QgsRasterBlockFeedback()  # cancelling it ends a request that is under way

    def dtype(self, number: int) -> str:
        """Unknown before pixels are read."""
        return ""

    def stored_as(self, number: int) -> tuple[Optional[float], Optional[float]]:
        """Nothing: a provider has applied scale and offset."""
        return None, None

    def nodata(self, number: int) -> Optional[float]:
        provider = self._provider
        if self.picture or not (provider.sourceHasNoDataValue(number) and provider.useSourceNoDataValue(number)):
            return None
        return provider.sourceNoDataValue(number)

    def masked(self, bands: Sequence[int]) -> bool:
        return self.picture or any(self.layer.empty.get(band) for band in bands)

    def read(self, bands: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Request them; ends with ``Cancelled`` when ``feedback`` is cancelled."""
        part = self.grid.crop(window)
        extent = QgsRectangle(*part.bounds)
        if self.picture:
            color = self._block(1, extent, part)
            picture = np.stack([(color >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)])
            return picture[[band - 1 for band in bands]], color >> 24 > 0
        layers, valid = [], np.ones(part.shape, bool)
        for band in bands:
            values = self._block(band, extent, part)
            cut_out(values, self.layer.empty.get(band, ()), valid)
            layers.append(values)
        return np.stack(layers), valid

    def overview(self, bands: Sequence[int], factor: float) -> None:
        """None: a service has none that it names."""

    def way_from(self, grid: Optional[LayerGrid]) -> Way:
        """Between the CRS of another grid, or WGS 84 longitude and latitude where None, and the layer's own."""
        return way_of_crs(grid.crs if grid else "", self.grid)

    def close(self) -> None:
        """Nothing to release: the provider goes with its snapshot."""

    def _block(self, band: int, extent: QgsRectangle, part: LayerGrid) -> np.ndarray:
        with failed_requests() as failed:
            block = self._provider.block(band, extent, part.width, part.height, self.feedback)
        if self.feedback.isCanceled():
            raise Cancelled("cancelled")
        errors = [*self.feedback.errors(), *failed.values()]
        if errors or not block.isValid() or block.isEmpty():
            text = tr("The service of the layer '{name}' did not answer ({reason}); try again later.")
            reason = errors[0].splitlines()[0] if errors and errors[0] else tr("no data came")
            raise InputFault.worded(text.format(name=self.layer.name, reason=reason))
        dtype = "u4" if block.dataType() in _PICTURES else _DTYPES.get(block.dataType())
        if dtype is None:
            text = tr("The layer '{name}' holds no whole or real numbers.")
            raise InputFault.worded(text.format(name=self.layer.name))
        return np.frombuffer(bytes(block.data()), dtype).reshape(part.shape)

    def _name(self, number: int) -> str:
        shown = self._provider.generateBandName(number)
        return shown.split(": ", 1)[1] if ": " in shown else ""


@contextmanager
def failed_requests() -> Iterator[dict[str, str]]:
    """What requests of this thread failed: address and reason.

    Providers of tiles give transparent pixels instead of an error, which would become gaps in a map. A tile that is
    not there (404) is such a gap; one that came in a second try did not fail.
    """
    failed: dict[str, str] = {}

    def look(reply) -> None:
        address = reply.request().url().toString()
        status = reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute)
        if reply.error() != QNetworkReply.NetworkError.NoError and status not in _NOT_THERE:
            # without the address, which is long and may hold a key
            failed[address] = tr("status {number}").format(number=status) if status else tr("no connection")
        else:
            failed.pop(address, None)

    signal = QgsNetworkAccessManager.instance().finished[QgsNetworkReplyContent]
    signal.connect(look, Qt.ConnectionType.DirectConnection)  # type: ignore[call-arg]  # qgis-stubs: no second argument
    try:
        yield failed
    finally:
        signal.disconnect(look)

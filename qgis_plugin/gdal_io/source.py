"""Copies of raster layers that a worker thread can open."""

from typing import Union

from qgis.core import QgsCoordinateReferenceSystem

from ..runtime.errors import InputFault
from ..texts import tr
from .files import FileLayer
from .services import ServiceLayer

Layer = Union[FileLayer, ServiceLayer]


def snapshot(layer) -> Layer:
    """Copy from a raster layer all that a worker needs, on the layer's thread.

    Raises:
        InputFault: the layer is broken or has no CRS.
    """
    if layer is None or not layer.isValid():
        raise InputFault.worded(tr("The raster layer cannot be read."))
    if not layer.crs().isValid():
        text = tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
        raise InputFault.worded(text.format(name=layer.name()))
    crs = layer.crs().toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL)  # type: ignore[attr-defined]  # not in qgis-stubs
    return (FileLayer if layer.providerType() == "gdal" else ServiceLayer).of(layer, crs)

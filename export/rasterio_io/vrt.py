"""Virtual rasters (GDAL's VRT): rasters side by side, and one raster per band."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree  # nosec B405: only builds trees, nothing is parsed

import numpy as np
import rasterio

from export.rasterio_io.grid import Grid
from export.runtime.raster.legend import LandClass
from export.runtime.raster.window import Window

_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "int32": "Int32", "uint32": "UInt32"}
_TYPES |= {"int8": "Int8", "float32": "Float32", "float64": "Float64"}


def joined(grid: Grid, parts: Sequence[tuple[Window, Path]], names: Sequence[str], legend: Sequence[LandClass]) -> str:
    """A virtual raster of parts that have the same data type, nodata and bands.

    Args:
        grid: of the whole.
        parts: window in the grid and file of each part.
        names: what the VRT calls the files, in the same order: absolute, or relative to where the VRT will be.
        legend: of a raster of classes, else empty.
    """
    with rasterio.open(parts[0][1]) as first:
        dtype, nodata, descriptions = first.dtypes[0], first.nodata, first.descriptions
        block = first.block_shapes[0]
    root = _root(grid)
    for number, description in enumerate(descriptions, start=1):
        band = _band(root, number, dtype, nodata, description or "")
        if legend and np.dtype(dtype) == np.uint8:
            _add(band, "ColorInterp", "Palette")
            _add_colors(band, legend)
        if legend:
            _add_categories(band, legend)
        for (window, _), name in zip(parts, names):
            source = _add_source(band, name, number, dtype, block, (window.height, window.width), window)
            source[0].set("relativeToVRT", "0" if os.path.isabs(name) else "1")
    return ElementTree.tostring(root, "unicode") + "\n"


def stacked(grid: Grid, bands: Sequence[tuple[str, str, rasterio.DatasetReader]], baseline: str = "") -> str:
    """A virtual raster whose bands are the first bands of other rasters that cover the same area.

    Args:
        grid: of the whole; coarser bands are interpolated (bilinear).
        bands: name, absolute GDAL name and open raster of each band.
        baseline: Sentinel-2 processing baseline, kept as a tag.
    """
    root = _root(grid)
    if baseline:
        _add(_add(root, "Metadata"), "MDI", baseline, key="PROCESSING_BASELINE")
    for number, (name, where, dataset) in enumerate(bands, start=1):
        band = _band(root, number, dataset.dtypes[0], dataset.nodata, name)
        _add(band, "Offset", repr(float(dataset.offsets[0])))
        _add(band, "Scale", repr(float(dataset.scales[0])))
        shape = dataset.shape
        source = _add_source(band, where, 1, dataset.dtypes[0], dataset.block_shapes[0], shape, grid.whole)
        if shape != grid.shape:
            source.set("resampling", "bilinear")
    return ElementTree.tostring(root, "unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: object) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
    element.text = text
    return element


def _root(grid: Grid) -> ElementTree.Element:
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    _add(root, "SRS", grid.crs.to_wkt())
    _add(root, "GeoTransform", ", ".join(repr(float(v)) for v in grid.transform.to_gdal()))
    return root


def _band(root: ElementTree.Element, number: int, dtype: str, nodata: float | None, name: str) -> ElementTree.Element:
    band = _add(root, "VRTRasterBand", dataType=_TYPES[dtype], band=number)
    if name:
        _add(band, "Description", name)
    if nodata is not None:
        _add(band, "NoDataValue", f"{nodata:.17g}")
    return band


def _add_colors(band: ElementTree.Element, legend: Sequence[LandClass]) -> None:
    table, colors = _add(band, "ColorTable"), {entry.value: entry.rgb for entry in legend}
    for value in range(256):
        red, green, blue = colors.get(value, (0, 0, 0))
        _add(table, "Entry", c1=red, c2=green, c3=blue, c4=255)


def _add_categories(band: ElementTree.Element, legend: Sequence[LandClass]) -> None:
    names, listed = {entry.value: entry.name for entry in legend}, _add(band, "CategoryNames")
    for value in range(max(names) + 1):
        _add(listed, "Category", names.get(value, ""))


def _add_source(
    band: ElementTree.Element,
    name: str,
    number: int,
    dtype: str,
    block: tuple[int, int],
    shape: tuple[int, int],
    target: Window,
) -> ElementTree.Element:
    """Add a whole band of a file, (rows, columns) px, at a window of the VRT."""
    source, (height, width) = _add(band, "SimpleSource"), shape
    _add(source, "SourceFilename", name, relativeToVRT=0)
    _add(source, "SourceBand", str(number))
    _add(
        source, "SourceProperties", RasterXSize=width, RasterYSize=height, DataType=_TYPES[dtype],
        BlockXSize=block[1], BlockYSize=block[0],
    )  # fmt: skip
    _add(source, "SrcRect", xOff=0, yOff=0, xSize=width, ySize=height)
    _add(source, "DstRect", xOff=target.column, yOff=target.row, xSize=target.width, ySize=target.height)
    return source

"""Joins rasters that lie side by side into one virtual raster (GDAL's VRT)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree  # nosec B405: only builds trees, nothing is parsed

import numpy as np
import rasterio

from export.rasterio_io.grid import Grid
from export.runtime.model.card import LandClass
from export.runtime.raster.window import Window

_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "int32": "Int32", "uint32": "UInt32"}
_TYPES |= {"int8": "Int8", "float32": "Float32", "float64": "Float64"}


def joined(grid: Grid, parts: Sequence[tuple[Window, Path]], names: Sequence[str], legend: Sequence[LandClass]) -> str:
    """A virtual raster of parts that share their type, nodata and bands.

    Args:
        grid: of the whole.
        parts: place in the grid and file of each; relative paths count from where the text will lie.
        names: file names of the parts as the text shall call them, in the same order.
        legend: of a raster of classes, else empty.
    """
    with rasterio.open(parts[0][1]) as first:
        dtype, nodata, count, said = first.dtypes[0], first.nodata, first.count, first.descriptions
        block = first.block_shapes[0]
    root = _root(grid)
    for number in range(1, count + 1):
        band = _band(root, number, dtype, nodata, said[number - 1] or "")
        if legend and np.dtype(dtype) == np.uint8:
            ElementTree.SubElement(band, "ColorInterp").text = "Palette"
            _colors(band, legend)
        if legend:
            _categories(band, legend)
        for (window, _), name in zip(parts, names):
            _source(band, name, number, dtype, block, (window.height, window.width), window)
    return ElementTree.tostring(root, "unicode") + "\n"


def stacked(grid: Grid, bands: Sequence[tuple[str, str, rasterio.DatasetReader]], baseline: str = "") -> str:
    """A virtual raster whose bands are the first bands of other rasters of the same place.

    Args:
        grid: of the whole; coarser bands are interpolated (bilinear).
        bands: name, file and the open raster of each.
        baseline: Sentinel-2's, for whoever reads the numbers.
    """
    root = _root(grid)
    if baseline:
        metadata = ElementTree.SubElement(root, "Metadata")
        ElementTree.SubElement(metadata, "MDI", key="PROCESSING_BASELINE").text = baseline
    for number, (name, where, dataset) in enumerate(bands, start=1):
        band = _band(root, number, dataset.dtypes[0], dataset.nodata, name)
        ElementTree.SubElement(band, "Offset").text = repr(float(dataset.offsets[0]))
        ElementTree.SubElement(band, "Scale").text = repr(float(dataset.scales[0]))
        shape = dataset.shape
        source = _source(band, where, 1, dataset.dtypes[0], dataset.block_shapes[0], shape, grid.whole)
        if shape != grid.shape:
            source.set("resampling", "bilinear")
    return ElementTree.tostring(root, "unicode") + "\n"


def _root(grid: Grid) -> ElementTree.Element:
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    ElementTree.SubElement(root, "SRS").text = grid.crs.to_wkt()
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(float(v)) for v in grid.transform.to_gdal())
    return root


def _band(root: ElementTree.Element, number: int, dtype: str, nodata: float | None, name: str) -> ElementTree.Element:
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType=_TYPES[dtype], band=str(number))
    if name:
        ElementTree.SubElement(band, "Description").text = name
    if nodata is not None:
        ElementTree.SubElement(band, "NoDataValue").text = f"{nodata:.17g}"
    return band


def _colors(band: ElementTree.Element, legend: Sequence[LandClass]) -> None:
    table = ElementTree.SubElement(band, "ColorTable")
    of = {entry.value: entry.rgb for entry in legend}
    for value in range(256):
        red, green, blue = of.get(value, (0, 0, 0))
        ElementTree.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")


def _categories(band: ElementTree.Element, legend: Sequence[LandClass]) -> None:
    names = {entry.value: entry.name for entry in legend}
    listed = ElementTree.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        ElementTree.SubElement(listed, "Category").text = names.get(value, "")


def _source(
    band: ElementTree.Element,
    name: str,
    number: int,
    dtype: str,
    block: tuple[int, int],
    shape: tuple[int, int],
    target: Window,
) -> ElementTree.Element:
    """Put all of a file's band, of so many rows and columns, into a window of the whole."""
    source = ElementTree.SubElement(band, "SimpleSource")
    relative = "0" if "://" in name or name.startswith("/") else "1"
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT=relative).text = name
    ElementTree.SubElement(source, "SourceBand").text = str(number)
    height, width = shape
    ElementTree.SubElement(
        source, "SourceProperties", RasterXSize=str(width), RasterYSize=str(height), DataType=_TYPES[dtype],
        BlockXSize=str(block[1]), BlockYSize=str(block[0]),
    )  # fmt: skip
    ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=str(width), ySize=str(height))
    ElementTree.SubElement(
        source, "DstRect", xOff=str(target.column), yOff=str(target.row), xSize=str(target.width),
        ySize=str(target.height),
    )  # fmt: skip
    return source

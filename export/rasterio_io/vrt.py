"""Virtual rasters (GDAL's VRT): rasters side by side, and one raster or several per band."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree  # nosec B405: only builds trees, nothing is parsed
from xml.sax.saxutils import escape, unescape  # nosec B406: nothing is parsed

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from export.rasterio_io.grid import Grid
from export.runtime.raster.gaps import is_mask, nodata_of
from export.runtime.raster.legend import LandClass
from export.runtime.raster.names import absolute, variable
from export.runtime.raster.window import Window
from export.runtime.results.areas import ClassArea
from export.runtime.results.style import attribute_table

_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "int32": "Int32", "uint32": "UInt32"}
_TYPES |= {"int8": "Int8", "int64": "Int64", "uint64": "UInt64", "complex64": "CFloat32", "complex128": "CFloat64"}
_TYPES |= {"float16": "Float16", "float32": "Float32", "float64": "Float64", "complex_int16": "CInt16"}


def joined(
    grid: Grid,
    parts: Sequence[tuple[Window, Path]],
    folder: Path | None,
    legend: tuple[LandClass, ...] = (),
    areas: Sequence[ClassArea] = (),
) -> str:
    """A virtual raster of parts that have the same data type, nodata and bands, each with its window in the grid.

    ``folder`` is where the VRT will lie, for relative names of the files; None: absolute names. A raster of classes has a
    ``legend``, and ``areas`` for its attribute table.
    """
    root = _root(grid)
    names = [path.relative_to(folder).as_posix() if folder else os.path.abspath(path) for _, path in parts]
    with rasterio.open(parts[0][1]) as first:
        if made_by := first.tags().get("TIFFTAG_SOFTWARE"):
            _add(_add(root, "Metadata"), "MDI", made_by, key="TIFFTAG_SOFTWARE")
        for number, description in enumerate(first.descriptions, start=1):
            band = _band(root, number, first, number, description or "")
            if legend and np.dtype(first.dtypes[0]) == np.uint8:
                _add(band, "ColorInterp", "Palette")
                table, colors = _add(band, "ColorTable"), {entry.value: entry.rgb for entry in legend}
                for value in range(256):
                    red, green, blue = colors.get(value, (0, 0, 0))
                    _add(table, "Entry", c1=red, c2=green, c3=blue, c4=255)
            if legend:
                texts, listed = {entry.value: entry.name for entry in legend}, _add(band, "CategoryNames")
                for value in range(max(texts) + 1):
                    _add(listed, "Category", texts.get(value, ""))
            if areas:
                band.append(attribute_table(legend, areas))
            for (window, _), name in zip(parts, names):
                _add_source(band, name, number, first, (window.height, window.width), window, relative=bool(folder))
    return ElementTree.tostring(root, "unicode") + "\n"


class Stated(NamedTuple):
    """What a catalogue states of a band of a file: its name, scale and offset, the value of no data; else "" and None."""

    name: str = ""
    stored_as: tuple[float, float] | None = None
    nodata: float | None = None


class Layer(NamedTuple):
    """A band of an open raster: the name that it gets, GDAL's absolute name of the raster, and what is stated of it."""

    name: str
    where: str
    dataset: rasterio.DatasetReader
    number: int
    stated: Stated = Stated()


def stacked(grid: Grid, bands: Sequence[Layer], baseline: str = "") -> str:
    """A virtual raster of bands of rasters that cover the same area; coarser ones are interpolated (bilinear).

    Masks and alpha bands of the rasters come along. The Sentinel-2 processing ``baseline`` is kept as a tag.
    """
    root = _root(grid)
    if baseline:
        _add(_add(root, "Metadata"), "MDI", baseline, key="PROCESSING_BASELINE")
    alphas: dict[tuple[str, int], rasterio.DatasetReader] = {}
    for number, (name, where, dataset, of, stated) in enumerate(bands, start=1):
        band = _band(root, number, dataset, of, name)
        scale, offset = stated.stored_as or (dataset.scales[of - 1], dataset.offsets[of - 1])
        _add(band, "Offset", repr(float(offset)))
        _add(band, "Scale", repr(float(scale)))
        source, nodata = (where, of), _nodata(dataset, of, stated.nodata)
        if nodata is None and baseline and dataset.nodatavals[of - 1] is None:  # as JPEG 2000 cannot state
            nodata = 0
        if nodata is not None:  # interpolation must know it
            _add(band, "NoDataValue", _written(nodata))
            source = _with_nodata(dataset, where, of, nodata), 1
        coarse = dataset.shape != grid.shape
        resampling = "bilinear" if coarse and _knows_its_gaps(dataset, of, nodata is not None) else ""
        _add_source(band, *source, dataset, dataset.shape, grid.whole, resampling=resampling)
        if is_mask(sum(dataset.mask_flag_enums[of - 1])):
            mask = _add(_add(band, "MaskBand"), "VRTRasterBand", dataType="Byte")
            _add_source(mask, where, of, dataset, dataset.shape, grid.whole, mask=True)
        alphas |= {(where, alpha): dataset for alpha in _alphas(dataset) if alpha != of}
    for number, ((where, of), dataset) in enumerate(alphas.items(), start=len(bands) + 1):
        band = _band(root, number, dataset, of, "")
        _add(band, "ColorInterp", "Alpha")
        _add_source(band, where, of, dataset, dataset.shape, grid.whole)
    return ElementTree.tostring(root, "unicode") + "\n"


def _alphas(dataset: rasterio.DatasetReader) -> list[int]:
    """Numbers, from 1, of the bands that a file calls alpha."""
    return [number for number, color in enumerate(dataset.colorinterp, start=1) if color == ColorInterp.alpha]


def _nodata(dataset: rasterio.DatasetReader, of: int, stated: float | None) -> float | None:
    """The value that a catalogue states for no data, where the file states none and can hold it."""
    return nodata_of(stated, dataset.dtypes[of - 1]) if dataset.nodatavals[of - 1] is None else None


def _written(nodata: float) -> str:
    return str(nodata) if isinstance(nodata, int) else f"{nodata:.17g}"


def _knows_its_gaps(dataset: rasterio.DatasetReader, of: int, with_nodata: bool) -> bool:
    """Whether GDAL leaves all of a band's gaps out of what it interpolates: it heeds one kind of them only."""
    alphas = [number for number in _alphas(dataset) if number != of]
    stated = dataset.nodatavals[of - 1] is not None or with_nodata
    kinds = [stated, is_mask(sum(dataset.mask_flag_enums[of - 1])), bool(alphas)]
    return sum(kinds) < 2 and all(dataset.dtypes[number - 1] in ("uint8", "uint16") for number in alphas)


def _with_nodata(dataset: rasterio.DatasetReader, where: str, of: int, nodata: float) -> str:
    """A virtual raster of a band of a file that does not state its value of no data."""
    height, width = dataset.shape
    root = ElementTree.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    band = _band(root, 1, dataset, of, "")
    _add(band, "NoDataValue", _written(nodata))
    _add_source(band, where, of, dataset, dataset.shape, Window(0, 0, height, width))
    return ElementTree.tostring(root, "unicode")


def files_of(dataset: rasterio.DatasetReader) -> list[str]:
    """Its files, also those inside virtual rasters that are sources themselves."""
    inner = re.compile("<SourceFilename[^>]*>(.*?)</SourceFilename>")
    return [
        unescape(path)
        for name in dataset.files
        for path in (inner.findall(name) if name.startswith("<VRTDataset") else [escape(name)])
    ]


def described(dataset: rasterio.DatasetReader, where: str, baseline: str, stated: Sequence[Stated]) -> str:
    """A virtual raster of a whole raster with its masks, and what an Item states of it; ``where`` is an absolute name.

    What is ``stated`` of one band alone counts for all. Names are those of rasters that name no band themselves.
    """
    alphas, bands = _alphas(dataset), list(dataset.indexes)
    of_each = list(stated) * len(bands) if len(stated) == 1 else [*stated, *[Stated()] * len(bands)]
    named = len(stated) in (len(bands), len(bands) - len(alphas)) and not any(dataset.descriptions)
    with MemoryFile(ext=".vrt") as memory:
        copy(where, memory.name, driver="VRT")
        with rasterio.open(memory.name, "r+") as virtual:
            own = zip(of_each, dataset.scales, dataset.offsets)
            virtual.scales, virtual.offsets = zip(*(one.stored_as or (scale, offset) for one, scale, offset in own))
            if named:
                virtual.descriptions = [one.name for one, _ in zip(of_each, bands)]
            if baseline:
                virtual.update_tags(PROCESSING_BASELINE=baseline)
        memory.seek(0)
        text = memory.read().decode()
    for number, one in zip(bands, of_each):  # GDAL sets it for all bands alike
        if (nodata := _nodata(dataset, number, one.nodata)) is not None:
            begins = re.search(f'<VRTRasterBand[^>]* band="{number}"[^>]*>', text)
            text = (
                text.replace(begins[0], f"{begins[0]}<NoDataValue>{_written(nodata)}</NoDataValue>") if begins else text
            )
    return text


def values_alone(dataset: rasterio.DatasetReader) -> str:
    """A virtual raster on a raster's control points, of which no value and no band, but only a mask, says what is empty."""
    height, width = dataset.shape
    whole = Window(0, 0, height, width)
    root = ElementTree.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    points, crs = dataset.gcps
    listed = _add(root, "GCPList", Projection=crs.to_wkt())
    for number, point in enumerate(points):
        place = {"X": point.x, "Y": point.y, "Z": point.z or 0.0}
        _add(listed, "GCP", Id=number, Pixel=repr(point.col), Line=repr(point.row), **place)
    for number, dtype in zip(dataset.indexes, dataset.dtypes):
        band = _add(root, "VRTRasterBand", dataType=_TYPES[dtype], band=number)
        _add_source(band, absolute(dataset.name), number, dataset, dataset.shape, whole)
    if is_mask(sum(dataset.mask_flag_enums[0])):
        band = _add(_add(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _add_source(band, absolute(dataset.name), 1, dataset, dataset.shape, whole, mask=True)
    return ElementTree.tostring(root, "unicode")


def without_hidden(dataset: rasterio.DatasetReader) -> str:
    """A virtual raster of a whole raster as real numbers: NaN where its masks, alpha band or nodata values hide pixels."""
    text, grid = "", Grid(dataset.crs, dataset.transform, *dataset.shape)
    nodata = {value for value in dataset.nodatavals if value is not None and not np.isnan(value)}
    for stated in (False, True)[: 1 + bool(nodata)]:  # GDAL heeds one of both in a source
        root = _root(grid)
        for number in dataset.indexes:
            band = _add(root, "VRTRasterBand", dataType="Float32", band=number)
            _add(band, "NoDataValue", "nan")
            source = _add(band, "ComplexSource")
            _add(source, "SourceFilename", text or dataset.files[0], relativeToVRT=0)
            _add(source, "SourceBand", str(number))
            value = dataset.nodatavals[number - 1]
            if not stated:
                _add(source, "UseMaskBand", "true")
            elif value is not None:
                _add(source, "NODATA", _written(value))
        text = ElementTree.tostring(root, "unicode")
    return text


def container(names: Sequence[str]) -> str:
    """A virtual raster of the rasters that a file holds, by GDAL's names; "" unless they lie on one grid.

    Those without coordinates, such as the bounds of a netCDF file's cells, do not count. A band has the name of its raster.
    """
    with ExitStack() as opened:
        datasets = [opened.enter_context(rasterio.open(name)) for name in names]
        placed = [one for one in zip(names, datasets) if one[1].crs is not None and not one[1].transform.is_identity]
        if not placed:
            return ""
        first = placed[0][1]
        grid = Grid(first.crs, first.transform, *first.shape)
        if any(Grid(one.crs, one.transform, *one.shape) != grid for _, one in placed):
            return ""
        layers = [
            Layer(variable(name) + (f" {number}" if one.count > 1 else ""), absolute(name), one, number)
            for name, one in placed
            for number in one.indexes
            if number not in _alphas(one)
        ]
        return stacked(grid, layers)


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: object) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
    element.text = text
    return element


def _root(grid: Grid) -> ElementTree.Element:
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    _add(root, "SRS", grid.crs.to_wkt())
    _add(root, "GeoTransform", ", ".join(repr(float(v)) for v in grid.transform.to_gdal()))
    return root


def _band(
    root: ElementTree.Element, number: int, dataset: rasterio.DatasetReader, of: int, name: str
) -> ElementTree.Element:
    """Add a band with the type and nodata value of a band of a file."""
    band = _add(root, "VRTRasterBand", dataType=_TYPES[dataset.dtypes[of - 1]], band=number)
    if name:
        _add(band, "Description", name)
    nodata, whole = dataset.nodatavals[of - 1], np.issubdtype(dataset.dtypes[of - 1], np.integer)
    if nodata is not None:
        _add(band, "NoDataValue", _written(int(nodata) if whole else nodata))
    return band


def _add_source(
    band: ElementTree.Element,
    name: str,
    number: int,
    dataset: rasterio.DatasetReader,
    shape: tuple[int, int],
    target: Window,
    *,
    relative: bool = False,
    mask: bool = False,
    resampling: str = "",
) -> None:
    """Add a whole band of a file or its mask, (rows, columns) px, at a window of the VRT.

    ``dataset`` has its type and blocks.
    """
    (height, width), how = shape, {"resampling": resampling} if resampling else {}
    source = _add(band, "SimpleSource", **how)
    block, dtype = dataset.block_shapes[number - 1], _TYPES[dataset.dtypes[number - 1]]
    _add(source, "SourceFilename", name, relativeToVRT=int(relative))
    _add(source, "SourceBand", f"mask,{number}" if mask else str(number))
    if not mask:
        _add(
            source, "SourceProperties", RasterXSize=width, RasterYSize=height, DataType=dtype,
            BlockXSize=block[1], BlockYSize=block[0],
        )  # fmt: skip
    _add(source, "SrcRect", xOff=0, yOff=0, xSize=width, ySize=height)
    _add(source, "DstRect", xOff=target.column, yOff=target.row, xSize=target.width, ySize=target.height)

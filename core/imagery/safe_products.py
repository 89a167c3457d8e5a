"""Sentinel-2 products as users have them: .SAFE folders of JPEG 2000 files, L1C or L2A.

A product becomes one virtual raster: bands of all resolutions on the finest grid, with the offset that the
product states, so that scenes before and after processing baseline 04.00 have the same unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from rasterio.errors import RasterioIOError

from core.errors import UserError, first_line
from core.files import stamp
from core.imagery.dates import iso_date
from core.imagery.georasters import is_located, open_plain
from export.runtime.raster.band_names import S2
from export.runtime.raster.bands import meant
from export.runtime.raster.sentinel2 import BANDS, COMMON_NAMES, REFLECTANCE

DEFAULT_BANDS = ("B02", "B03", "B04", "B08")
_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16"}
NODATA = -32768  # dark water is below zero once the offset is added: 0 is a value, not a gap


@dataclass(frozen=True)
class Product:
    """What a raster source needs: ``dataset`` is a virtual raster as XML, or the file of the true-colour image."""

    date: datetime
    dataset: str
    unit: str
    stamp: tuple[int, int]


def read_product(folder: Path, bands: tuple[str, ...]) -> Product:
    """Read a .SAFE folder: bands such as B04, or TCI alone; a ``UserError`` if a band or metadata are missing."""
    metadata = next(iter(sorted(folder.glob("MTD_MSIL*.xml"))), None)
    if metadata is None:
        raise UserError(f"{folder}: is a folder, but no Sentinel-2 product (no MTD_MSIL1C.xml or MTD_MSIL2A.xml in it)")
    try:
        tree = ElementTree.parse(metadata).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{metadata}: cannot be read ({error}); download the product again") from error
    date = _date(tree, metadata)
    if bands == ("TCI",):
        colour = _band_file(folder, "TCI")
        return Product(date, str(colour), "8-bit colour, 0 to 255", stamp([colour]))
    by_name = {name: band for band, name in COMMON_NAMES.items()}
    bands = tuple(band if band in BANDS else by_name.get(meant([band], S2)[0], band) for band in bands)
    unknown = [band for band in bands if band not in BANDS]
    if unknown:
        raise UserError(f"--bands {unknown[0]}: Sentinel-2 has {', '.join(BANDS)}, or TCI alone")
    offsets = _offsets(tree, metadata)
    files = [_band_file(folder, band) for band in bands]
    return Product(date, _vrt(files, bands, [offsets.get(band, 0) for band in bands]), REFLECTANCE, stamp(files))


def _date(tree: ElementTree.Element, metadata: Path) -> datetime:
    text = tree.findtext(".//PRODUCT_START_TIME")
    if text is None:
        raise UserError(f"{metadata}: has no PRODUCT_START_TIME; download the product again")
    try:
        return iso_date(text)
    except ValueError as error:
        raise UserError(f"{metadata}: its PRODUCT_START_TIME {text} is no date; download the product again") from error


def _offsets(tree: ElementTree.Element, metadata: Path) -> dict[str, int]:
    """What the product states is to be added to each band's values; it states nothing before baseline 04.00."""
    offsets = {}
    for element in (*tree.iter("BOA_ADD_OFFSET"), *tree.iter("RADIO_ADD_OFFSET")):
        number, offset = element.get("band_id", ""), element.text or ""
        try:
            offsets[dict(enumerate(BANDS))[int(number)]] = int(offset)
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{metadata}: its {element.tag} '{offset}' of band_id '{number}' is invalid; download the product again"
            ) from error
    return offsets


def _band_file(folder: Path, band: str) -> Path:
    """The finest file of a band: L2A keeps a folder for each resolution, L1C one for all."""
    pattern = re.compile(rf"_{band}(_\d\dm)?\.jp2$")
    files = [path for path in folder.glob("GRANULE/*/IMG_DATA/**/*.jp2") if pattern.search(path.name)]
    if not files:
        raise UserError(f"{folder}: has no file of the band {band} in GRANULE/*/IMG_DATA; choose others with --bands")
    return min(files, key=lambda path: (path.stem[-3:], path.name))


def _vrt(files: list[Path], bands: tuple[str, ...], offsets: list[int]) -> str:
    """A virtual raster with the bands on the grid of the finest file."""
    shapes = []
    for file in files:
        try:
            with open_plain(file) as source:
                if not is_located(source):
                    raise UserError(f"{file}: has no coordinates; download the product again")
                crs, transform = source.crs.to_wkt(), source.transform.to_gdal()
                shapes.append((source.width, source.height, crs, transform, source.block_shapes[0], source.dtypes[0]))
        except RasterioIOError as error:
            raise UserError(f"{file}: cannot be read as a raster ({first_line(error)})") from error
    width, height, crs, transform, block, _ = max(shapes)
    layers = "".join(
        # rasters are read by blocks
        f'<VRTRasterBand dataType="Int16" band="{number}" blockXSize="{block[1]}" blockYSize="{block[0]}">'
        f"<Description>{band}</Description><NoDataValue>{NODATA}</NoDataValue>"
        f'<ComplexSource resampling="bilinear"><SourceFilename relativeToVRT="0">{escape(_with_nodata(file, shape))}'
        f'</SourceFilename><SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="{shape[0]}" ySize="{shape[1]}" />'
        f'<DstRect xOff="0" yOff="0" xSize="{width}" ySize="{height}" /><ScaleOffset>{offset}</ScaleOffset>'
        "<ScaleRatio>1</ScaleRatio><NODATA>0</NODATA></ComplexSource></VRTRasterBand>"
        for number, (file, band, offset, shape) in enumerate(zip(files, bands, offsets, shapes), start=1)
    )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(crs)}</SRS>'
        f"<GeoTransform>{', '.join(map(repr, transform))}</GeoTransform>{layers}</VRTDataset>"
    )


def _with_nodata(file: Path, shape: tuple[Any, ...]) -> str:
    """A virtual raster that states a file's nodata value, which JPEG 2000 cannot: interpolation then leaves it out.

    The one that a source of a virtual raster states itself is looked for in what was interpolated.
    """
    width, height, *_, (tall, wide), dtype = shape
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><VRTRasterBand dataType="{_TYPES[dtype]}" band="1" '
        f'blockXSize="{wide}" blockYSize="{tall}"><NoDataValue>0</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{escape(str(file.resolve()))}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )

"""Square crops of image files, scaled to chips: photographs are read by Pillow, rasters by GDAL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from core.errors import UserError
from core.imagery.georasters import band_names, open_plain, stored_type
from core.imagery.labels import as_text, class_numbers
from core.imagery.pixels import read_nearest, read_scaled, stored_as
from core.store.read import UNLABELLED, StoreInfo
from export.runtime.raster.names import is_path

FITS = ("resize", "cut")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


class Square(NamedTuple):
    """A square of an image, px."""

    row: int
    column: int
    side: int


class Crop(NamedTuple):
    """A square scaled to a chip: (bands, size, size) pixels and where they hold data, (size, size) bool."""

    square: Square
    pixels: np.ndarray
    valid: np.ndarray


def guess_unit(dtype: str) -> str:
    """What a pixel value means where nothing states it."""
    return "8-bit values, 0 to 255" if dtype == "uint8" else f"digital numbers of type {dtype}"


def majority(mask: np.ndarray, default: int = -1, aside: int | None = None) -> int:
    """Most frequent class number of a mask, not counting ``aside``; the default where nothing else is labelled."""
    counts = np.bincount(mask.ravel(), minlength=256)[:UNLABELLED]
    if aside is not None:
        counts[aside] = 0
    return int(counts.argmax()) if counts.any() else default


class Kind(NamedTuple):
    """Data type and band names of an image, and a note about its values for the user, or ""."""

    dtype: str
    bands: tuple[str, ...]
    note: str = ""


def kind_of(path: str | Path, band_files: tuple[str, ...]) -> Kind:
    """What the chips of an image are made of."""
    if not band_files and is_photo(path):
        with _photo(path):
            return Kind("uint8", ("red", "green", "blue"))
    names: list[str] = []
    dtypes, notes = [], []
    for file in files_of(path, band_files):
        with open_plain(file) as source:
            dtypes.append(source.dtype)
            notes.append(stored_as(source))
            names += [Path(file).stem] if band_files and source.count == 1 else band_names(source)
    return Kind(stored_type(dtypes), tuple(names), next(filter(None, notes), ""))


def is_photo(path: str | Path) -> bool:
    """Whether Pillow reads it, always as 8-bit RGB; an ``OSError`` if it does not exist."""
    if not is_path(str(path)):
        return False
    path = Path(path)
    if path.suffix.lower() != ".png":
        return path.suffix.lower() in PHOTOS
    with path.open("rb") as file:
        return file.read(25)[24:] != b"\x10"  # bits per sample; of 16, Pillow keeps 8


def _photo(path: str | Path) -> Image.Image:
    # Pillow refuses images of 180 million pixels as attacks; fMoW has airports of 16,000 x 16,000 px.
    Image.MAX_IMAGE_PIXELS = 1 << 29
    return Image.open(path)


def _orientation(photo: Image.Image) -> int:
    """EXIF orientation: 1 is upright, from 5 on rows and columns are exchanged."""
    return photo.getexif().get(ExifTags.Base.Orientation, 1)


def is_turned(path: str | Path) -> bool:
    """Whether a photograph must be rotated to be upright."""
    with _photo(path) as photo:
        return _orientation(photo) in range(2, 9)


def files_of(path: str | Path, band_files: tuple[str, ...]) -> list[str]:
    """The image itself, or the files in its folder."""
    return [str(Path(path, name)) for name in band_files] if band_files else [str(path)]


def shape_of(path: str | Path, band_files: tuple[str, ...] = ()) -> tuple[int, int]:
    """Rows and columns, upright; of the first file where there are several."""
    if not band_files and is_photo(path):
        with _photo(path) as photo:
            rotated = _orientation(photo) in range(5, 9)
            return (photo.width, photo.height) if rotated else (photo.height, photo.width)
    with open_plain(files_of(path, band_files)[0]) as source:
        return source.shape


def squares_of(height: int, width: int, size: int, fit: str) -> list[Square]:
    """The squares that become chips; a ``UserError`` if the image must be cut but is smaller than a chip."""
    if fit == "resize":
        side = min(height, width)
        return [Square((height - side) // 2, (width - side) // 2, side)]
    if min(height, width) < size:
        raise UserError(f"{width} x {height} pixels are too few to cut chips of {size}")
    rows, columns = range(0, height - size + 1, size), range(0, width - size + 1, size)
    return [Square(row, column, size) for row in rows for column in columns]


def read_squares(
    path: str | Path, squares: list[Square], info: StoreInfo, band_files: tuple[str, ...] = (), rule: str = "any"
) -> Iterator[Crop]:
    """Read squares of an image, or of the stacked ``band_files`` of its folder, and scale them to chips.

    Which pixels of a raster hold no data depends on one of ``gaps.RULES``.

    Raises:
        UserError: it has other bands or another data type.
        OSError: it cannot be read.
        RasterioError: GDAL cannot read it.
        SyntaxError: Pillow cannot read it, a corrupt PNG.
    """
    if not band_files and is_photo(path):
        return _read_photo(path, squares, info)
    return _read_raster(files_of(path, band_files), squares, info, rule)


def _read_photo(path: str | Path, squares: list[Square], info: StoreInfo) -> Iterator[Crop]:
    _check_kind("uint8", 3, info)
    target = (info.chip_size, info.chip_size)
    with _photo(path) as opened:
        width = opened.width
        if len(squares) == 1:
            opened.draft("RGB", (info.chip_size * 2, info.chip_size * 2))  # JPEG: decode no more than is needed
        shrunk = opened.width / width
        image, alpha = ImageOps.exif_transpose(opened), None
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = image.getchannel("A")
        image = image.convert("RGB")
    for square in squares:
        corners = (square.column, square.row, square.column + square.side, square.row + square.side)
        left, upper, right, lower = (min(at * shrunk, end) for at, end in zip(corners, image.size * 2))
        box = (left, upper, right, lower)
        pixels = np.asarray(image.resize(target, Image.Resampling.BICUBIC, box)).transpose(2, 0, 1)
        valid = np.ones(target, bool)
        if alpha is not None:
            valid = np.asarray(alpha.resize(target, Image.Resampling.NEAREST, box)) > 0
        yield Crop(square, pixels, valid)


def _read_raster(files: list[str], squares: list[Square], info: StoreInfo, rule: str) -> Iterator[Crop]:
    with ExitStack() as stack:
        sources = [stack.enter_context(open_plain(file)) for file in files]
        bands = [list(s.indexes) if s.count == len(info.bands) else s.bands for s in sources]
        _check_kind(stored_type([source.dtype for source in sources]), sum(map(len, bands)), info)
        names = tuple(name for source in sources for name in band_names(source))
        if names != info.bands and sorted(names) == sorted(info.bands):
            raise UserError(f"its bands are in another order ({', '.join(names)}), not {', '.join(info.bands)}")
        for square in squares:
            layers = []
            for source, numbers in zip(sources, bands):
                scale = source.height / sources[0].height  # squares are of the first file's grid
                place = (square.row * scale, square.column * scale, square.side * scale)
                layers.append(read_scaled(source, *place, info.chip_size, bands=numbers, rule=rule))
            pixels, valid = zip(*layers)
            yield Crop(square, np.concatenate(pixels).astype(info.dtype, copy=False), np.logical_and.reduce(valid))


def _check_kind(dtype: str, bands: int, info: StoreInfo) -> None:
    """Refuse another data type or number of bands than the store has."""
    if dtype != info.dtype:
        raise UserError(f"its pixels are {dtype}, not {info.dtype} as in the other images")
    if bands != len(info.bands):
        raise UserError(f"has {bands} bands, not {len(info.bands)} as the other images")


def read_masks(
    path: str | Path, squares: list[Square], info: StoreInfo, unlabelled: tuple[int, ...] = ()
) -> Iterator[np.ndarray]:
    """Class numbers of a label image: one band of the legend's values, or its colours as RGB.

    (size, size) uint8 for each square, whose pixels are those of the image itself, not of its overviews. Nodata pixels, the
    value 255, and black where the legend has no black are unlabelled.

    Raises:
        UserError: it holds a value or a colour that is not in the legend.
        RasterioError: it cannot be read.
    """
    with open_plain(path) as source:
        colored = source.count >= 3
        known = [int(entry.color, 16) if colored else entry.value for entry in info.classes]
        bands = [1, 2, 3] if colored else [1]
        for square in squares:
            values, valid = read_nearest(source, *square, info.chip_size, bands=bands, rule="all")
            if colored:
                red, green, blue = values.astype(np.int64)
                values = (red << 16) + (green << 8) + blue
            numbers, unknown = class_numbers(values if colored else values[0], valid, known)
            other = unknown[~np.isin(unknown, [0 if colored else UNLABELLED, *unlabelled])]
            if len(other):
                name = f"colour {other[0]:06X}" if colored else f"value {as_text(other[0])}"
                raise UserError(f"its mask {Path(path).name} holds the {name}, which is not in the legend")
            yield numbers

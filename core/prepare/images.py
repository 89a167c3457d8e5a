"""Chips from lists of images: what a table, fMoW and patch datasets have in common.

A listing is a Parquet file with one row an image, sorted by place and date, so that a list of any length
is read a row group at a time. Each row group becomes a shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from PIL import Image, ImageOps
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from core.errors import UserError, first_line
from core.prepare.build import SHARD_BYTES, Chip, Tally
from core.prepare.grids import band_names, data_bands, is_located, open_plain
from core.prepare.index import sha256
from core.prepare.spill import connect, parquet
from core.store import UNLABELLED, LandClass, StoreInfo

# path and mask: relative to the root, '/' between folders; label: number into the classes, -1 unknown;
# split: train, val, test or null.
LISTING = pa.schema(
    {
        "path": pa.string(),
        "place": pa.string(),
        "datetime": pa.timestamp("us", tz="UTC"),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "label": pa.int32(),
        "split": pa.string(),
        "mask": pa.string(),
    }
)
FITS = ("resize", "cut")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


class Square(NamedTuple):
    """A square of an image, px."""

    row: int
    column: int
    side: int


class Cutting(NamedTuple):
    """A square that was read: (bands, size, size), (size, size) bool, and lon/lat where the file knows it."""

    square: Square
    pixels: np.ndarray
    valid: np.ndarray
    lonlat: tuple[float, float] | None


@dataclass(frozen=True)
class ImageList:
    """The source: images of any size, resized or cut to chips.

    Attributes:
        info: what holds for all chips.
        digest: checksum of the listing: it stands for the listing in the fingerprint.
        fit: resize (the largest centred square, scaled to a chip) or cut (chips side by side, in full size).
        locate: take lon/lat from the files' own georeference instead of the listing.
        band_files: files inside an image's folder, one a band or several, stacked in this order; empty where
            an image is one file.
        root: folder that paths are relative to.
        listing: the Parquet file, see ``LISTING``.
        bad: rows left out while listing.
        dropped: what else was left out.
    """

    info: StoreInfo
    digest: str
    fit: str
    locate: bool
    band_files: tuple[str, ...]
    root: Path = field(repr=False)
    listing: Path = field(repr=False)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of_rows(
        cls,
        rows: Iterable[dict[str, Any]],
        scratch: Path,
        root: Path,
        *,
        size: int,
        unit: str | None = None,
        classes: tuple[LandClass, ...] = (),
        bands: tuple[str, ...] = (),
        gsd: float | None = None,
        fit: str = "resize",
        locate: bool = False,
        band_files: tuple[str, ...] = (),
        provenance: str = "",
        license: str = "",
        bad: Iterable[tuple[str, str]] = (),
        dropped: Mapping[str, int] | None = None,
    ) -> ImageList:
        """List images; band names and data type are those of the first image that can be read.

        Args:
            rows: fields of ``LISTING``; those that are missing are unknown. In any order, any number.
            scratch: an empty folder on a disk with room for the listing.
            root: folder that paths are relative to.
            size: rows = columns of a chip, px.
            unit: what a pixel value means; guessed from the data type when None.
            classes: the legend.
            bands: names; the files' own when empty.
            gsd: pixel size of a chip in metres.
            fit: see the class.
            locate: see the class.
            band_files: see the class.
            provenance: for people.
            license: of the imagery.
            bad: files left out while listing; may grow as the rows are drawn.
            dropped: what else is left out, likewise.

        Raises:
            UserError: there is no image, or none of the first hundred can be read.
        """
        unsorted = scratch / "rows.parquet"
        with pq.ParquetWriter(unsorted, LISTING) as writer:
            for batch in _batches(rows, 50_000):
                writer.write_table(pa.Table.from_pylist([_complete(row) for row in batch], LISTING))
        return cls.of_listing(
            unsorted, scratch, root, size=size, unit=unit, classes=classes, bands=bands, gsd=gsd, fit=fit, locate=locate,
            band_files=band_files, provenance=provenance, license=license, bad=bad, dropped=dropped or {},
        )  # fmt: skip

    @classmethod
    def of_listing(
        cls,
        unsorted: Path,
        scratch: Path,
        root: Path,
        *,
        size: int,
        unit: str | None,
        classes: tuple[LandClass, ...],
        bands: tuple[str, ...],
        gsd: float | None,
        fit: str,
        locate: bool,
        band_files: tuple[str, ...],
        provenance: str,
        license: str,
        bad: Iterable[tuple[str, str]],
        dropped: Mapping[str, int],
    ) -> ImageList:
        """Likewise, of a listing that is a Parquet file already, in any order."""
        first = pq.ParquetFile(unsorted)
        if not first.metadata.num_rows:
            raise UserError(f"{root}: no image to read was found there")
        names = next(first.iter_batches(100, columns=["path"])).column(0).to_pylist()
        dtype, found, shape = _probe([root / name for name in names], band_files)
        info = StoreInfo(
            bands=bands or found, dtype=dtype, unit=unit or guess_unit(dtype), gsd=gsd, chip_size=size,
            classes=classes, provenance=provenance, license=license,
        )  # fmt: skip
        per_shard = max(1, SHARD_BYTES // (size * size * len(info.bands) * np.dtype(dtype).itemsize))
        if fit == "cut":  # how many chips each image gives is not known yet: assume as many as the first
            per_shard = max(1, per_shard // max(1, (shape[0] // size) * (shape[1] // size)))
        listing = scratch / "listing.parquet"
        _sort(unsorted, listing, per_shard)
        return cls(
            info,
            sha256(listing),
            fit,
            locate,
            band_files,
            root,
            listing,
            tuple(sorted(bad)),
            tuple(sorted(dropped.items())),
        )

    @property
    def tasks(self) -> range:
        """Numbers of the row groups."""
        return range(pq.ParquetFile(self.listing).metadata.num_row_groups)

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        """Read the images of one row group."""
        for row in pq.ParquetFile(self.listing).read_row_group(task).to_pylist():
            try:
                yield from self._chips_of(row, tally)
            except (OSError, ValueError, RasterioError, Image.DecompressionBombError, UserError) as error:
                tally.skip(row["path"], f"cannot be used ({first_line(error)})")

    def _chips_of(self, row: dict[str, Any], tally: Tally) -> list[Chip]:
        """All chips of an image, or an error: never half an image."""
        cuttings = read_squares(self.root / row["path"], self.info, self.fit, self.band_files)
        masks: list[np.ndarray | None] = [None] * len(cuttings)
        if row["mask"] is not None:
            masks = list(self._masks(row, [cutting.square for cutting in cuttings]))
        chips = []
        for cutting, mask in zip(cuttings, masks):
            if not cutting.valid.any():
                tally.drop("without any pixel that holds data")
            else:
                chips.append(self._chip(row, cutting, mask))
        return chips

    def _masks(self, row: dict[str, Any], squares: list[Square]) -> Iterable[np.ndarray]:
        """Class numbers (size, size) of each square; sources whose labels are no plain rasters override this."""
        image, mask = (_shape(self.root / row[name]) for name in ("path", "mask"))
        if image != mask:
            raise UserError(
                f"its mask {row['mask']} has {mask[1]} x {mask[0]} pixels, the image {image[1]} x {image[0]}"
            )
        return read_masks(self.root / row["mask"], squares, self.info)

    def _chip(self, row: dict[str, Any], cutting: Cutting, mask: np.ndarray | None) -> Chip:
        square, lonlat = cutting.square, (row["lon"], row["lat"])
        if self.locate:
            if cutting.lonlat is None:
                raise UserError("has no georeference")
            lonlat = cutting.lonlat
        place = row["place"]
        if self.fit == "cut":
            place = f"{place} r{square.row}c{square.column}"
        return Chip(
            pixels=cutting.pixels,
            valid=cutting.valid,
            place=place,
            lon=lonlat[0],
            lat=lonlat[1],
            datetime=row["datetime"],
            source=row["path"],
            row=square.row,
            column=square.column,
            label=row["label"] if mask is None else majority(mask, row["label"]),
            split=row["split"],
            group=row["place"],
            mask=mask if mask is not None and (mask != UNLABELLED).any() else None,
        )


def guess_unit(dtype: str) -> str:
    """What a pixel value means where nobody says it."""
    return "8-bit values, 0 to 255" if dtype == "uint8" else f"digital numbers of type {dtype}"


def majority(mask: np.ndarray, default: int = -1) -> int:
    """Most frequent class number of a mask; the default where nothing is labelled."""
    counts = np.bincount(mask.ravel(), minlength=256)[:UNLABELLED]
    return int(counts.argmax()) if counts.any() else default


def _complete(row: dict[str, Any]) -> dict[str, Any]:
    unknown = {"place": row["path"], "lon": float("nan"), "lat": float("nan"), "label": -1}
    return unknown | {name: value for name, value in row.items() if value is not None}


def _batches(rows: Iterable[dict], size: int) -> Iterator[list[dict]]:
    batch: list[dict] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _sort(unsorted: Path, listing: Path, per_group: int) -> None:
    """By place and date, so that a place lies in one shard, or in neighbouring ones."""
    with connect(listing.parent / "spill") as db:
        rows: Any = db.sql(
            "SELECT * REPLACE (coalesce(lon, 'NaN') AS lon, coalesce(lat, 'NaN') AS lat) "
            f"FROM {parquet(unsorted)} ORDER BY place, datetime NULLS LAST, path"
        )
        with pq.ParquetWriter(listing, LISTING) as writer:
            held: list[pa.Table] = []
            for batch in rows.to_arrow_reader(100_000):
                held.append(pa.table(batch).cast(LISTING))
                ready = pa.concat_tables(held)
                whole = len(ready) // per_group * per_group
                if whole:
                    writer.write_table(ready.slice(0, whole), row_group_size=per_group)
                held = [ready.slice(whole)]
            if len(held[0]):
                writer.write_table(held[0], row_group_size=per_group)


def _probe(paths: list[Path], band_files: tuple[str, ...]) -> tuple[str, tuple[str, ...], tuple[int, int]]:
    """Data type, band names and (rows, columns) of the first image that can be read."""
    reasons = []
    for path in paths:
        try:
            if is_photo(path) and not band_files:
                with _photo(path) as photo:
                    return "uint8", ("red", "green", "blue"), (photo.height, photo.width)
            names: list[str] = []
            for file in _files(path, band_files):
                with open_plain(file) as source:
                    dtype, shape = source.dtypes[0], (source.height, source.width)
                    names += [file.stem] if band_files and source.count == 1 else band_names(source)
        except (RasterioError, OSError) as error:
            reasons.append(f"{path}: {first_line(error)}")
            continue
        if dtype not in ("uint8", "uint16", "int16", "float32"):
            raise UserError(
                f"{path}: pixels of type {dtype} are not supported; convert to uint8, uint16, int16 or float32"
            )
        return dtype, tuple(names), shape
    raise UserError(f"none of the first {len(paths)} images can be read, for instance {reasons[0]}")


def is_photo(path: Path) -> bool:
    """Whether Pillow reads it, always as 8-bit RGB: photographs need no GDAL."""
    return path.suffix.lower() in PHOTOS


def _photo(path: Path) -> Image.Image:
    # Pillow takes images of 180 million pixels for an attack; fMoW has airports of 16,000 x 16,000 px.
    Image.MAX_IMAGE_PIXELS = 1 << 29
    return Image.open(path)


def _files(path: Path, band_files: tuple[str, ...]) -> list[Path]:
    return [path / name for name in band_files] if band_files else [path]


def _shape(path: Path) -> tuple[int, int]:
    """Rows and columns."""
    if is_photo(path):
        with _photo(path) as photo:
            return photo.height, photo.width
    with open_plain(path) as source:
        return source.shape


def squares_of(height: int, width: int, size: int, fit: str) -> list[Square]:
    """The squares that become chips.

    Raises:
        UserError: the image is smaller than a chip and must be cut.
    """
    if fit == "resize":
        side = min(height, width)
        return [Square((height - side) // 2, (width - side) // 2, side)]
    if min(height, width) < size:
        raise UserError(f"{width} x {height} pixels are too few to cut chips of {size}")
    rows, columns = range(0, height - size + 1, size), range(0, width - size + 1, size)
    return [Square(row, column, size) for row in rows for column in columns]


def read_squares(path: Path, info: StoreInfo, fit: str, band_files: tuple[str, ...] = ()) -> list[Cutting]:
    """Read an image and make its chips.

    Args:
        path: of the image, or of its folder where there are ``band_files``.
        info: chip size, number of bands and data type to meet.
        fit: resize or cut.
        band_files: files inside the folder, stacked.

    Raises:
        UserError: it has other bands or another data type, or is too small.
        OSError: it cannot be read.
        RasterioError: likewise.
    """
    if is_photo(path) and not band_files:
        return _read_photo(path, info, fit)
    return _read_raster(_files(path, band_files), info, fit)


def _read_photo(path: Path, info: StoreInfo, fit: str) -> list[Cutting]:
    with _photo(path) as opened:
        width = opened.width
        if fit == "resize":
            opened.draft("RGB", (info.chip_size * 2, info.chip_size * 2))  # JPEG: decode no more than is needed
        shrunk = opened.width / width
        upright = ImageOps.exif_transpose(opened)
        alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
        image = upright.convert("RGB")
    cuttings = []
    height, width = round(image.height / shrunk), round(image.width / shrunk)
    for square in squares_of(height, width, info.chip_size, fit):
        corners = (square.column, square.row, square.column + square.side, square.row + square.side)
        left, upper, right, lower = (min(at * shrunk, end) for at, end in zip(corners, image.size * 2))
        box = (left, upper, right, lower)
        target = (info.chip_size, info.chip_size)
        pixels = np.asarray(image.resize(target, Image.Resampling.BICUBIC, box)).transpose(2, 0, 1)
        valid = np.ones(target, bool)
        if alpha is not None:
            valid = np.asarray(alpha.resize(target, Image.Resampling.NEAREST, box)) > 0
        cuttings.append(Cutting(square, pixels, valid, None))
    return cuttings


def _read_raster(files: list[Path], info: StoreInfo, fit: str) -> list[Cutting]:
    layers: dict[Square, list[tuple[np.ndarray, np.ndarray]]] = {}
    places: dict[Square, tuple[float, float] | None] = {}
    height, width = 0, 0
    for file in files:
        with open_plain(file) as source:
            height, width = (height, width) if height else source.shape
            scale = source.height / height  # bands of other pixel sizes are brought to the first file's grid
            if source.dtypes[0] != info.dtype:
                raise UserError(f"{file.name}: pixels are {source.dtypes[0]}, not {info.dtype} as in the other images")
            for square in squares_of(height, width, info.chip_size, fit):
                layers.setdefault(square, []).append(_read_window(source, square, info, scale))
                if square not in places:
                    places[square] = _lonlat(source, square)
    cuttings = []
    for square, parts in layers.items():
        pixels = np.concatenate([part for part, _ in parts])
        if len(pixels) != len(info.bands):
            raise UserError(f"has {len(pixels)} bands, not {len(info.bands)} as the other images")
        cuttings.append(Cutting(square, pixels, np.logical_and.reduce([valid for _, valid in parts]), places[square]))
    return cuttings


def _read_window(
    source: rasterio.DatasetReader, square: Square, info: StoreInfo, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    size = info.chip_size
    bands = data_bands(source)
    # GDAL calls the fourth of four 8-bit bands alpha unless told otherwise, near infrared too.
    misnamed = len(bands) < source.count == len(info.bands)
    if misnamed:
        bands = list(source.indexes)
    side = square.side * scale
    window = Window(square.column * scale, square.row * scale, side, side)
    how = Resampling.average if side > size else Resampling.bilinear
    pixels = source.read(bands, window=window, out_shape=(len(bands), size, size), resampling=how)
    if misnamed:  # then GDAL's masks are that band, and a nodata value is all that can be gone by
        valid = np.ones((size, size), bool) if source.nodata is None else (pixels != source.nodata).all(axis=0)
    else:
        valid = source.read_masks(bands, window=window, out_shape=(len(bands), size, size)).all(axis=0)
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels).all(axis=0)
    return pixels, valid


def _lonlat(source: rasterio.DatasetReader, square: Square) -> tuple[float, float] | None:
    """Of the square's centre."""
    if not is_located(source):
        return None
    x, y = source.transform @ (square.column + square.side / 2, square.row + square.side / 2)
    lon, lat = _to_degrees(source.crs.to_wkt()).transform(x, y)
    return float(lon), float(lat)


@lru_cache(32)
def _to_degrees(wkt: str) -> Transformer:
    return Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)


def read_masks(path: Path, squares: list[Square], info: StoreInfo) -> Iterator[np.ndarray]:
    """Class numbers of a label image: one band of the legend's values, or its colours as RGB.

    Not labelled is what the file declares as nodata, the value 255, and black where the legend has no black.

    Args:
        path: of the label image, as large as the image.
        squares: parts of it.
        info: chip size and legend.

    Yields:
        (size, size) uint8 for each square.

    Raises:
        UserError: it holds a value or a colour that the legend does not explain.
        RasterioError: it cannot be read.
    """
    with open_plain(path) as source:
        colored = source.count >= 3
        known = [int(entry.color, 16) if colored else entry.value for entry in info.classes]
        shape = (source.count, info.chip_size, info.chip_size)
        for square in squares:
            window = Window(square.column, square.row, square.side, square.side)
            values = source.read(window=window, out_shape=shape, resampling=Resampling.nearest).astype(np.int64)
            valid = source.read_masks(1, window=window, out_shape=shape[1:]) > 0
            values = (values[0] << 16) + (values[1] << 8) + values[2] if colored else values[0]
            mask = np.full(values.shape, UNLABELLED, np.uint8)
            for number, value in enumerate(known):
                mask[valid & (values == value)] = number
            unexplained = valid & (mask == UNLABELLED) & (values != (0 if colored else UNLABELLED))
            if unexplained.any():
                value = values[unexplained][0]
                said = f"colour {value:06X}" if colored else f"value {value}"
                raise UserError(f"its mask {path.name} holds the {said}, which the legend does not explain")
            yield mask

"""Chips from lists of images: what the sources table, fmow and torchgeo have in common.

A listing is a Parquet file with one row per image, sorted by place and date, so that a list of any length
is read one row group at a time. Each row group becomes a shard.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError
from tqdm import tqdm

from core.errors import UserError, first_line
from core.files import sha256
from core.imagery.crops import (
    Crop,
    Square,
    files_of,
    guess_unit,
    is_photo,
    is_turned,
    majority,
    read_masks,
    read_squares,
    shape_of,
    squares_of,
    type_and_bands,
)
from core.imagery.georasters import Ground, known_ground, open_plain
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.index import connect, parquet
from core.store.read import UNLABELLED, LandClass, StoreInfo

# path and mask: relative to the root, '/' between folders; label: number into the classes, -1 unknown;
# split: train, val, test or null; reach_m: longest diagonal of what the image shows, metres, or null.
LISTING = pa.schema(
    {
        "path": pa.string(),
        "place": pa.string(),
        "datetime": pa.timestamp("us", tz="UTC"),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "reach_m": pa.float64(),
        "label": pa.int32(),
        "split": pa.string(),
        "mask": pa.string(),
    }
)
# What libraries raise for files that they cannot read; SyntaxError is Pillow's, of broken PNG files.
_UNREADABLE = (OSError, ValueError, SyntaxError, RasterioError, ProjError, Image.DecompressionBombError, UserError)
_Self = TypeVar("_Self", bound="ImageList")


@dataclass(frozen=True)
class Images:
    """What all images of a list share.

    Attributes:
        size: rows = columns of a chip, px.
        unit: what a pixel value means; guessed from the data type when None.
        classes: the legend.
        bands: names; those of the files when empty.
        gsd: pixel size of a chip in metres.
        fit: resize (the largest centred square, scaled to a chip) or cut (chips side by side, at full resolution).
        locate: take lon/lat from the files' own georeference instead of the listing.
        band_files: files inside an image's folder, of one band or several each, stacked in this order; empty where
            an image is one file.
        provenance: for people.
        license: of the imagery.
    """

    size: int
    unit: str | None = None
    classes: tuple[LandClass, ...] = ()
    bands: tuple[str, ...] = ()
    gsd: float | None = None
    fit: str = "resize"
    locate: bool = False
    band_files: tuple[str, ...] = ()
    provenance: str = ""
    license: str = ""


@dataclass(frozen=True)
class ImageList:
    """The source: images of any size, resized or cut to chips.

    Attributes:
        info: what holds for all chips.
        digest: checksum of the listing: it stands for the listing in the fingerprint.
        fit: see ``Images``.
        locate: see ``Images``.
        band_files: see ``Images``.
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
    root: Path
    listing: Path = field(repr=False)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of_rows(
        cls: type[_Self],
        rows: Iterable[dict[str, Any]],
        scratch: Path,
        root: Path,
        images: Images,
        *,
        bad: Sequence[tuple[str, str]] = (),
        dropped: Mapping[str, int] | None = None,
    ) -> _Self:
        """List images; band names and data type are those of the first image, by place, that can be read.

        Args:
            rows: fields of ``LISTING``; those that are missing are unknown. In any order, any number.
            scratch: an empty folder on a disk with room for the listing.
            root: folder that paths are relative to.
            images: what they share.
            bad: files left out while listing; may grow while the rows are consumed.
            dropped: what else is left out, by reason; may grow while the rows are consumed.

        Raises:
            UserError: there is no image, or none can be read.
        """
        unsorted, rows = scratch / "rows.parquet", iter(rows)
        with pq.ParquetWriter(unsorted, LISTING) as writer:
            while batch := list(islice(rows, 50_000)):
                writer.write_table(pa.Table.from_pylist([_complete(row) for row in batch], LISTING))
        return cls.of_listing(unsorted, scratch, root, images, bad=bad, dropped=dropped)

    @classmethod
    def of_listing(
        cls: type[_Self],
        unsorted: Path,
        scratch: Path,
        root: Path,
        images: Images,
        *,
        bad: Sequence[tuple[str, str]] = (),
        dropped: Mapping[str, int] | None = None,
    ) -> _Self:
        """List images as ``of_rows`` does, from a listing that is a Parquet file already, in any order."""
        if not pq.ParquetFile(unsorted).metadata.num_rows:
            why = f"; {len(bad)} were left out, for instance {bad[0][0]}: {bad[0][1]}" if bad else ""
            raise UserError(f"{root}: no usable image{why}")
        ordered, listing = scratch / "ordered.parquet", scratch / "listing.parquet"
        _sort(unsorted, ordered)
        dtype, names = _probe((root / path for path in _paths(ordered)), images.band_files)
        info = StoreInfo(
            bands=images.bands or names, dtype=dtype, unit=images.unit or guess_unit(dtype), gsd=images.gsd,
            chip_size=images.size, classes=images.classes, provenance=images.provenance, license=images.license,
        )  # fmt: skip
        _group(ordered, listing, _chips_a_shard(info), lambda path: _count(root / path, images))
        return cls(
            info, sha256(listing), images.fit, images.locate, images.band_files, root.resolve(), listing,
            bad=tuple(sorted(bad)), dropped=tuple(sorted((dropped or {}).items())),
        )  # fmt: skip

    @property
    def tasks(self) -> range:
        """Numbers of the row groups."""
        return range(pq.ParquetFile(self.listing).metadata.num_row_groups)

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        """Read the images of one row group."""
        for row in pq.ParquetFile(self.listing).read_row_group(task).to_pylist():
            try:
                chips = self._all_or_none(row, tally)
            except _UNREADABLE as error:
                tally.skip(row["path"], f"cannot be used ({first_line(error)})")
                continue
            yield from chips

    def _all_or_none(self, row: dict[str, Any], tally: Tally) -> Iterable[Chip]:
        """The chips of an image, or an error: never half an image."""
        shape, counts = shape_of(self.root / row["path"], self.band_files), Tally()
        if len(squares_of(*shape, self.info.chip_size, self.fit)) > _chips_a_shard(self.info):
            for _ in self._chips_of(row, shape, Tally()):  # too many to hold: read all of it first, then again
                pass
            return self._chips_of(row, shape, tally)
        chips = list(self._chips_of(row, shape, counts))
        tally.add(counts)
        return chips

    def _chips_of(self, row: dict[str, Any], shape: tuple[int, int], tally: Tally) -> Iterator[Chip]:
        path, squares = self.root / row["path"], squares_of(*shape, self.info.chip_size, self.fit)
        if self.fit == "cut" and any(side % self.info.chip_size for side in shape):
            tally.drop("images whose right or lower edge, narrower than a chip, is left out")
        places = self._ground(row, squares, math.hypot(*shape))
        masks: Iterable[np.ndarray | None] = [None] * len(squares)
        if row["mask"] is not None:
            masks = self._masks(row, squares)
        crops = read_squares(path, squares, self.info, self.band_files)
        for crop, mask, *place in zip(crops, masks, *(part.tolist() for part in places)):
            if not crop.valid.any():
                tally.drop("without any valid pixel")
            else:
                yield self._chip(row, crop, mask, *place)

    def _ground(self, row: dict[str, Any], squares: list[Square], diagonal: float) -> Ground:
        """Where the squares of an image of that diagonal (px) lie."""
        if self.locate:
            rows, columns, sides = np.array(squares).T
            with open_plain(files_of(self.root / row["path"], self.band_files)[0]) as source:
                return known_ground(source, rows, columns, sides[0])
        reach = row["reach_m"]
        if reach is None:  # a cut chip lies somewhere in the image, of which only the centre is known
            shown = diagonal if self.fit == "cut" else self.info.chip_size * math.sqrt(2)
            reach = shown * (self.info.gsd or math.nan)
        return Ground(*(np.full(len(squares), value) for value in (row["lon"], row["lat"], reach)))

    def _masks(self, row: dict[str, Any], squares: list[Square]) -> Iterable[np.ndarray]:
        """Class numbers (size, size) of each square; sources with other labels than label images override this."""
        path = self.root / row["path"]
        if not self.band_files and is_photo(path) and is_turned(path):
            raise UserError(f"is rotated by its EXIF orientation, but its mask {row['mask']} is not; rotate its pixels")
        image, mask = shape_of(path, self.band_files), shape_of(self.root / row["mask"])
        if image != mask:
            raise UserError(
                f"its mask {row['mask']} has {mask[1]} x {mask[0]} pixels, the image {image[1]} x {image[0]}"
            )
        return read_masks(self.root / row["mask"], squares, self.info)

    def _chip(
        self, row: dict[str, Any], crop: Crop, mask: np.ndarray | None, lon: float, lat: float, reach_m: float
    ) -> Chip:
        square, place = crop.square, row["place"]
        if self.fit == "cut":
            place = f"{place} r{square.row}c{square.column}"
        return Chip(
            pixels=crop.pixels, valid=crop.valid, place=place, lon=lon, lat=lat, reach_m=reach_m, datetime=row["datetime"],
            source=row["path"], row=square.row, column=square.column, split=row["split"], group=row["place"],
            label=row["label"] if mask is None else majority(mask, row["label"]),
            mask=mask if mask is not None and (mask != UNLABELLED).any() else None,
        )  # fmt: skip


def _complete(row: dict[str, Any]) -> dict[str, Any]:
    unknown = {"place": row["path"], "lon": float("nan"), "lat": float("nan"), "label": -1}
    return unknown | {name: value for name, value in row.items() if value is not None}


def _sort(unsorted: Path, ordered: Path) -> None:
    """By place and date, so that a place lies in one shard, or in neighbouring ones."""
    with connect(ordered.parent / "spill") as db, pq.ParquetWriter(ordered, LISTING) as writer:
        rows: Any = db.sql(
            "SELECT * REPLACE (coalesce(lon, 'NaN') AS lon, coalesce(lat, 'NaN') AS lat) "
            f"FROM {parquet(unsorted)} ORDER BY place, datetime NULLS LAST, path"
        )
        for batch in rows.to_arrow_reader(100_000):
            writer.write_table(pa.table(batch).cast(LISTING))


def _paths(listing: Path) -> Iterator[str]:
    for batch in pq.ParquetFile(listing).iter_batches(1000, columns=["path"]):
        yield from batch.column(0).to_pylist()


def _chips_a_shard(info: StoreInfo) -> int:
    return max(1, SHARD_BYTES // (info.chip_size**2 * len(info.bands) * np.dtype(info.dtype).itemsize))


def _group(ordered: Path, listing: Path, per_shard: int, count: Callable[[str], int]) -> None:
    """Write a listing in row groups of at most so many chips, or of a single image; count: an image's chips."""
    held: list[pa.Table] = []
    filled = 0
    total = pq.ParquetFile(ordered).metadata.num_rows
    with (
        pq.ParquetWriter(listing, LISTING) as writer,
        tqdm(total=total, desc="sizes", unit="image", delay=2) as progress,
    ):
        for batch in pq.ParquetFile(ordered).iter_batches(10_000):
            table, start = pa.Table.from_batches([batch]), 0
            for number, path in enumerate(batch.column("path").to_pylist()):
                chips = count(path)
                if filled and filled + chips > per_shard:
                    writer.write_table(pa.concat_tables([*held, table.slice(start, number - start)]))
                    held, filled, start = [], 0, number
                filled += chips
                progress.update()
            held.append(table.slice(start))
        writer.write_table(pa.concat_tables(held))


def _count(path: Path, images: Images) -> int:
    """Chips of an image, by its header where it is cut; one of an image that will turn out to be bad."""
    if images.fit == "resize":
        return 1
    try:
        return len(squares_of(*shape_of(path, images.band_files), images.size, images.fit))
    except _UNREADABLE:
        return 1


def _probe(paths: Iterable[Path], band_files: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Data type and band names of the first image that can be read."""
    failed, first = 0, ""
    for path in paths:
        try:
            return type_and_bands(path, band_files)
        except (RasterioError, OSError) as error:
            failed, first = failed + 1, first or f"{path}: {first_line(error)}"
    raise UserError(f"none of {failed} images can be read, for instance {first}")

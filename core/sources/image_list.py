"""Chips from lists of images: what the sources table, fmow, torchgeo and detections have in common.

A listing is a Parquet file, read one row group at a time, so that it may be of any length. Each row group becomes
a shard. That of an ``ImageList`` has one row per image, sorted by place and date.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pyproj.exceptions import ProjError
from rasterio.errors import CRSError, RasterioError
from tqdm import tqdm

from core.errors import UserError, first_line
from core.files import sha256
from core.imagery.crops import (
    Kind,
    Square,
    files_of,
    guess_unit,
    is_photo,
    is_turned,
    kind_of,
    majority,
    read_masks,
    read_squares,
    shape_of,
    squares_of,
)
from core.imagery.georasters import Ground, known_ground, open_plain
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.index import connect, parquet
from core.store.read import UNLABELLED, StoreInfo
from export.runtime.raster.names import below

# path and mask: relative to the root, '/' between folders, or GDAL's names; label: number into the classes, -1 unknown;
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
_Self = TypeVar("_Self", bound="ImageList")


class Listed:
    """Base of the sources whose images stand in a Parquet file, with the column ``path`` below ``root``."""

    # What libraries raise for files that they cannot read.
    unreadable: ClassVar[tuple[type[Exception], ...]] = (OSError, RasterioError, CRSError, ProjError, UserError)

    root: Path
    listing: Path

    @property
    def tasks(self) -> range:
        """Numbers of the row groups."""
        return range(pq.ParquetFile(self.listing).metadata.num_row_groups)

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        """Cut the images of one row group, each of them completely or not at all."""
        for row in pq.ParquetFile(self.listing).read_row_group(task).to_pylist():
            counts = Tally()
            try:
                chips = self.read_image(row, counts)
            except self.unreadable as error:
                tally.skip(row["path"], f"cannot be used ({first_line(error)})")
                continue
            tally.add(counts)
            yield from chips

    def read_image(self, row: dict[str, Any], tally: Tally) -> Iterable[Chip]:
        """The chips of a row; raises, if at all, before the first chip."""
        raise NotImplementedError


@dataclass(frozen=True)
class ImageList(Listed):
    """The source: images of any size, resized or cut to chips.

    Attributes:
        digest: checksum of the listing, which it represents in the fingerprint.
        fit: resize (the largest centred square, scaled to a chip) or cut (chips side by side, at full resolution).
        locate: take lon/lat from the files' own georeference instead of the listing.
        band_files: files inside an image's folder, of one band or several each, stacked in this order; empty where
            an image is one file.
        listing: see ``LISTING``.
        nodata_rule: one of ``gaps.RULES``.
    """

    # Pillow's too; SyntaxError is that of broken PNG files.
    unreadable = (*Listed.unreadable, ValueError, SyntaxError, Image.DecompressionBombError)
    unlabelled: ClassVar[tuple[int, ...]] = ()  # values of label images beside UNLABELLED

    info: StoreInfo
    digest: str
    fit: str
    locate: bool
    band_files: tuple[str, ...]
    root: Path
    listing: Path = field(repr=False)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    nodata_rule: str = "any"

    @classmethod
    def of_rows(
        cls: type[_Self],
        rows: Iterable[dict[str, Any]],
        scratch: Path,
        root: Path,
        info: StoreInfo,
        tally: Tally,
        **how: Any,
    ) -> _Self:
        """List images as ``of_listing`` does.

        The rows hold fields of ``LISTING``, unknown where they are missing. While they are consumed, ``tally`` may grow.
        """
        unsorted, rows = scratch / "rows.parquet", iter(rows)
        with pq.ParquetWriter(unsorted, LISTING) as writer:
            while batch := list(islice(rows, 50_000)):
                writer.write_table(pa.Table.from_pylist(batch, LISTING))
        return cls.of_listing(unsorted, scratch, root, info, tally, **how)

    @classmethod
    def of_listing(
        cls: type[_Self],
        unsorted: Path,
        scratch: Path,
        root: Path,
        info: StoreInfo,
        tally: Tally,
        *,
        fit: str = "resize",
        locate: bool = False,
        band_files: tuple[str, ...] = (),
        nodata_rule: str = "any",
    ) -> _Self:
        """List images from a Parquet file of ``LISTING``, in any order.

        The first image, by place, that can be read gives the data type; also the names of the bands and the unit where
        ``info`` leaves them empty. ``scratch`` is an empty folder on a disk with room for the listing, ``tally`` holds what
        was left out.

        Raises:
            UserError: there is no image, or none can be read.
        """
        if not pq.ParquetFile(unsorted).metadata.num_rows:
            bad = tally.bad
            why = f"; {len(bad)} were left out, for instance {bad[0][0]}: {bad[0][1]}" if bad else ""
            raise UserError(f"{root}: no usable image{why}")
        ordered, listing = scratch / "ordered.parquet", scratch / "listing.parquet"
        _sort(unsorted, ordered)
        dtype, names, note = _probe(ordered, root, band_files)
        if note:
            print(note, flush=True)
        info = replace(info, bands=info.bands or names, dtype=dtype, unit=info.unit or guess_unit(dtype))
        size = info.chip_size

        def count(path: str) -> int:
            try:
                return 1 if fit == "resize" else len(squares_of(*shape_of(below(path, root), band_files), size, fit))
            except cls.unreadable:  # it will turn out to be bad
                return 1

        _group(ordered, listing, _chips_per_shard(info), count)
        return cls(
            info, sha256(listing), fit, locate, band_files, root.resolve(), listing,
            bad=tuple(sorted(tally.bad)), dropped=tuple(sorted(tally.dropped.items())), nodata_rule=nodata_rule,
        )  # fmt: skip

    def read_image(self, row: dict[str, Any], tally: Tally) -> Iterable[Chip]:
        """The chips of a row of ``LISTING``."""
        shape = shape_of(below(row["path"], self.root), self.band_files)
        squares = squares_of(*shape, self.info.chip_size, self.fit)
        if len(squares) <= _chips_per_shard(self.info):
            return list(self._cut(row, shape, squares, tally))
        for _ in self._cut(row, shape, squares, tally):  # too many to hold: read all of it first, then again
            pass
        return self._cut(row, shape, squares, Tally())

    def _cut(self, row: dict[str, Any], shape: tuple[int, int], squares: list[Square], tally: Tally) -> Iterator[Chip]:
        if self.fit == "cut" and any(side % self.info.chip_size for side in shape):
            tally.drop("images whose right or lower edge, narrower than a chip, is left out")
        places = self._ground(row, squares, math.hypot(*shape))
        masks: Iterable[np.ndarray | None] = [None] * len(squares)
        if row["mask"] is not None:
            masks = self._masks(row, squares)
        crops = read_squares(below(row["path"], self.root), squares, self.info, self.band_files, self.nodata_rule)
        for (square, pixels, valid), mask, lon, lat, reach_m in zip(crops, masks, *(part.tolist() for part in places)):
            if not valid.any():
                tally.drop("without any valid pixel")
                continue
            yield Chip(
                pixels, valid, row["place"] + (f" r{square.row}c{square.column}" if self.fit == "cut" else ""),
                lon, lat, row["datetime"], row["path"], square.row, square.column, reach_m, group=row["place"],
                label=row["label"] if mask is None else majority(mask, row["label"]), split=row["split"],
                mask=mask if mask is not None and (mask != UNLABELLED).any() else None,
            )  # fmt: skip

    def _ground(self, row: dict[str, Any], squares: list[Square], diagonal: float) -> Ground:
        """Where the squares of an image of that diagonal (px) lie."""
        if self.locate:
            rows, columns, sides = np.array(squares).T
            with open_plain(files_of(below(row["path"], self.root), self.band_files)[0]) as source:
                return known_ground(source, rows, columns, sides[0])
        reach = row["reach_m"]
        if reach is None:  # a cut chip lies somewhere in the image, of which only the centre is known
            shown = diagonal if self.fit == "cut" else self.info.chip_size * math.sqrt(2)
            reach = shown * (self.info.gsd or math.nan)
        return Ground(*(np.full(len(squares), value) for value in (row["lon"], row["lat"], reach)))

    def _masks(self, row: dict[str, Any], squares: list[Square]) -> Iterable[np.ndarray]:
        """Class numbers (size, size) of each square; sources with other labels than label images override this."""
        path = below(row["path"], self.root)
        if not self.band_files and is_photo(path) and is_turned(path):
            raise UserError(f"is rotated by its EXIF orientation, but its mask {row['mask']} is not; rotate its pixels")
        image, mask = shape_of(path, self.band_files), shape_of(below(row["mask"], self.root))
        if image != mask:
            raise UserError(
                f"its mask {row['mask']} has {mask[1]} x {mask[0]} pixels, the image {image[1]} x {image[0]}"
            )
        return read_masks(below(row["mask"], self.root), squares, self.info, self.unlabelled)


def subfolders(folder: Path) -> Iterator[str]:
    """Their names, in any order."""
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.is_dir())


def _sort(unsorted: Path, ordered: Path) -> None:
    """Fill in what is unknown; sort by place and date, so that a place lies in one shard or in neighbouring ones."""
    with connect(ordered.parent / "spill") as db, pq.ParquetWriter(ordered, LISTING) as writer:
        rows: Any = db.sql(
            "SELECT * REPLACE (coalesce(place, path) AS place, coalesce(lon, 'NaN') AS lon, coalesce(lat, 'NaN') AS lat, "
            f"coalesce(label, -1) AS label) FROM {parquet(unsorted)} ORDER BY place, datetime NULLS LAST, path"
        )
        for batch in rows.to_arrow_reader(100_000):
            writer.write_table(pa.table(batch).cast(LISTING))


def _chips_per_shard(info: StoreInfo) -> int:
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


def _probe(listing: Path, root: Path, band_files: tuple[str, ...]) -> Kind:
    """That of the first image that can be read."""
    failed, first = 0, ""
    for batch in pq.ParquetFile(listing).iter_batches(1000, columns=["path"]):
        for path in batch.column(0).to_pylist():
            try:
                kind = kind_of(below(path, root), band_files)
                return kind._replace(note=kind.note and f"{path}: {kind.note}")
            except (RasterioError, OSError) as error:
                failed, first = failed + 1, first or f"{below(path, root)}: {first_line(error)}"
    raise UserError(f"none of {failed} images can be read, for instance {first}")

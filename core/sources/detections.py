"""``core.prepare detections``: images with boxes of objects, COCO JSON or xView's GeoJSON.

The labels are read once and reduced to a listing, a Parquet file with one row per image (or per part of an image
that would fill a shard by itself) and its boxes; each row group becomes a shard. Boxes are in pixels, x to the
right and y down, as in both formats.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window
from tqdm import tqdm

from core.errors import UserError, first_line
from core.files import sha256
from core.imagery.crops import PHOTOS, guess_unit, is_photo
from core.imagery.georasters import (
    Ground,
    band_names,
    is_located,
    known_ground,
    open_plain,
    pixel_size_m,
)
from core.imagery.pixels import read, stored_as
from core.sources.annotations import ObjectLabels, read_labels
from core.sources.image_list import Listed
from core.sources.options import add_options, check_range, check_size
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.read import StoreInfo
from core.store.sphere import METRES_PER_DEGREE

IMAGES = (*PHOTOS, ".tif", ".tiff", ".jp2")
# Strips are rows of windows, from first_strip up to, not including, end_strip. line: lon of pixel column 0 and its
# step, lat of pixel row 0 and its step, for files without a georeference. boxes: five numbers each, as in Chip.
PARTS = pa.schema(
    {
        "path": pa.string(),
        "datetime": pa.timestamp("us", tz="UTC"),
        "first_strip": pa.int32(),
        "end_strip": pa.int32(),
        "line": pa.list_(pa.float64()),
        "boxes": pa.list_(pa.float64()),
    }
)


class _Header(NamedTuple):
    """Header of an image; gsd in metres, None without georeference."""

    height: int
    width: int
    bands: tuple[str, ...]
    dtype: str
    gsd: float | None
    note: str  # about its values, for the user


@dataclass(frozen=True)
class Tiling:
    """How images become chips.

    Attributes:
        size: rows = columns of a chip, px.
        overlap: px shared by neighbouring chips; more by the last ones, which are shifted inward.
        min_remain: fraction of a box's area that must lie in a chip for the chip to have the box.
        skip_empty: leave out chips without boxes.
    """

    size: int
    overlap: int = 0
    min_remain: float = 0.3
    skip_empty: bool = False

    def starts(self, length: int) -> np.ndarray:
        """Where windows begin along a side of ``length`` px, which they cover completely."""
        if length <= self.size:
            return np.array([0])
        return np.array([*range(0, length - self.size, self.size - self.overlap), length - self.size])


@dataclass(frozen=True)
class Detections(Listed):
    """The source: chips cut from images of any size, with the boxes that they show.

    Attributes:
        digest: checksum of the listing, which it represents in the fingerprint.
        listing: see ``PARTS``.
    """

    info: StoreInfo
    digest: str
    tiling: Tiling
    root: Path
    listing: Path = field(repr=False)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    def read_image(self, row: dict[str, Any], tally: Tally) -> list[Chip]:
        """The chips of a row of ``PARTS``."""
        path, size = row["path"], self.tiling.size
        boxes = np.array(row["boxes"], np.float64).reshape(-1, 5)
        chips = []
        with open_plain(self.root / path) as source:
            tops, lefts = self.tiling.starts(source.height), self.tiling.starts(source.width)
            if row["first_strip"] == 0:
                self._count_unseen(boxes, source.shape, tally)
            for top, pixels, valid in self._strips(source, tops[row["first_strip"] : row["end_strip"]]):
                places = _ground(source, row["line"], np.full(len(lefts), top), lefts, size)
                for left, lon, lat, reach_m in zip(lefts.tolist(), *(known.tolist() for known in places)):
                    seen = np.s_[..., left : left + size]
                    if not valid[seen].any():
                        tally.drop("without any valid pixel")
                        continue
                    shown = self._shown(boxes, top, left, valid[seen].shape, tally)
                    if self.tiling.skip_empty and not len(shown):
                        tally.drop("without boxes")
                        continue
                    chips.append(
                        Chip(
                            self._padded(pixels[seen]), self._padded(valid[seen]), f"{path} r{top}c{left}", lon, lat,
                            row["datetime"], path, top, left, reach_m,
                            group=path, boxes=shown,  # chips of one image overlap
                        )
                    )  # fmt: skip
        return chips

    def _strips(self, source: rasterio.DatasetReader, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Row number, pixels and validity of full-width strips; rows shared by two strips are read once."""
        end, pixels, valid = int(rows[0]), np.empty(0), np.empty(0)
        for row in rows.tolist():
            window = Window(0, end, source.width, min(row + self.tiling.size, source.height) - end)
            more, known = read(source, window)
            more = _colours(source, more) if len(more) != len(self.info.bands) else more
            shared = end - row
            pixels = np.concatenate([pixels[:, -shared:], more], axis=1) if shared else more
            valid = np.concatenate([valid[-shared:], known]) if shared else known
            end = row + len(valid)
            yield row, pixels, valid

    def _padded(self, array: np.ndarray) -> np.ndarray:
        """Fill up to a chip with zeros: pixels without data."""
        missing = [(0, 0)] * (array.ndim - 2) + [(0, self.tiling.size - length) for length in array.shape[-2:]]
        return np.pad(array, missing)

    def _shown(self, boxes: np.ndarray, row: int, column: int, shape: tuple[int, ...], tally: Tally) -> np.ndarray:
        """Those of (N, 5) boxes of which enough lies in a window of (rows, columns), clipped to it, in its pixels."""
        clipped = np.clip(boxes[:, :4] - (column, row, column, row), 0, (*shape[::-1], *shape[::-1]))
        remains = _areas(clipped)
        enough = (remains > 0) & (remains >= self.tiling.min_remain * _areas(boxes))
        small = int(((remains > 0) & ~enough).sum())
        if small:
            tally.drop(f"parts of boxes at chip edges, under {self.tiling.min_remain:g} of the box's area", small)
        return np.column_stack([clipped[enough], boxes[enough, 4]])

    def _count_unseen(self, boxes: np.ndarray, shape: tuple[int, int], tally: Tally) -> None:
        """Count the boxes that are in no chip at all, whatever part of the image is read."""
        best = np.ones(len(boxes))
        inside = np.ones(len(boxes), bool)
        for low, high, length in ((0, 2, shape[1]), (1, 3, shape[0])):
            inside &= (boxes[:, high] > 0) & (boxes[:, low] < length)
            starts = self.tiling.starts(length)[:, None]
            ends = np.minimum(starts + self.tiling.size, length)
            seen = np.minimum(boxes[:, high], ends) - np.maximum(boxes[:, low], starts)
            best *= seen.max(axis=0).clip(0) / (boxes[:, high] - boxes[:, low])
        for why, count in (
            ("boxes outside their image", (~inside).sum()),
            ("boxes too large for any chip", (inside & (best < self.tiling.min_remain)).sum()),
        ):
            if count:
                tally.drop(why, int(count))


def add_parser(sources: Any) -> argparse.ArgumentParser:
    """Add ``detections`` to the command line."""
    parser = sources.add_parser(
        "detections",
        help="images with boxes of objects: COCO JSON or xView's GeoJSON",
        description="Cut images into chips, with the boxes of the objects in each chip. Images with coordinates are split by "
        "spatial blocks; without them all chips of an image are on one side.",
    )
    add = parser.add_argument
    add(
        "--images", type=Path, required=True, metavar="DIR", help="folder that file names in the labels are relative to"
    )
    add("--labels", type=Path, required=True, metavar="FILE", help="COCO JSON, or xView's GeoJSON")
    add_options(parser, "--size")
    add("--overlap", type=int, default=0, metavar="PX", help="pixels shared by neighbouring chips (default 0)")
    add(
        "--min-remain", type=float, default=0.3, metavar="F",
        help="minimum fraction of a box's area inside a chip for the chip to have the box (default %(default)s)",
    )  # fmt: skip
    add("--skip-empty", action="store_true", help="leave out chips without boxes")
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> Detections:
    """Read the labels and the headers of the images, and list what to cut.

    Raises:
        UserError: an option is invalid; the labels are neither COCO nor xView, or lack a key; no image can be used.
    """
    check_size(arguments)
    check_range(arguments, "overlap", 0, arguments.size - 1)
    check_range(arguments, "min_remain", 0, 1)
    tiling = Tiling(arguments.size, arguments.overlap, arguments.min_remain, arguments.skip_empty)
    if not arguments.images.is_dir():
        raise UserError(f"--images {arguments.images}: no such folder")
    tally = Tally()
    labels = read_labels(arguments.labels, tally)
    headers = _read_headers(arguments.images, labels, tally)
    named = {arguments.images / image.path for image in labels.images.values()}
    files = (path for path in arguments.images.rglob("*") if path.suffix.lower() in IMAGES)
    unnamed = sum(path not in named for path in files)
    if unnamed:
        tally.drop("images in the folder that are not in the labels", unnamed)
    if not headers:
        why = f", for instance {tally.bad[0][0]}: {tally.bad[0][1]}" if tally.bad else ""
        raise UserError(
            f"{arguments.images}: none of the {len(labels.images)} images that {arguments.labels} names can be used{why}"
        )
    info = _info(headers, labels, tiling.size)
    listing = scratch / "listing.parquet"
    _write_listing(listing, headers, labels, info, tiling, tally)
    dropped = tuple(sorted(tally.dropped.items()))
    return Detections(info, sha256(listing), tiling, arguments.images.resolve(), listing, tuple(tally.bad), dropped)


def _read_headers(root: Path, labels: ObjectLabels, tally: Tally) -> dict[Hashable, _Header]:
    """Headers of the images that can be used, by path: those with the bands and the data type of most images."""
    headers: dict[Hashable, _Header] = {}
    by_path = sorted(labels.images, key=lambda key: labels.images[key].path)
    for key in tqdm(by_path, desc="image headers", unit="image", disable=None):
        path, _, shape = labels.images[key]
        try:
            header = _read_header(root / path)
        except (OSError, RasterioError, CRSError) as error:
            exists = (root / path).is_file()
            tally.skip(path, f"cannot be read ({first_line(error)})" if exists else "is in the labels, but missing")
        else:
            if shape and shape != header[:2]:
                size = f"{header.width} x {header.height} px"
                tally.skip(path, f"is {size}, but the labels were made on {shape[1]} x {shape[0]}")
            else:
                headers[key] = header
    kinds = {key: f"{len(header.bands)} bands of {header.dtype}" for key, header in headers.items()}
    usual = Counter(kinds.values()).most_common(1)
    for key, kind in kinds.items():
        if kind != usual[0][0]:
            tally.skip(labels.images[key].path, f"has {kind}, most images have {usual[0][0]}")
            del headers[key]
    return headers


def _read_header(path: Path) -> _Header:
    with open_plain(path) as source:
        names = list(band_names(source))
        if len(names) == 1 and is_photo(path) and source.dtype == "uint8":
            names = ["red", "green", "blue"]  # gray photographs among coloured ones
        gsd = pixel_size_m(source) if is_located(source) else None
        return _Header(source.height, source.width, tuple(names), source.dtype, gsd, stored_as(source))


def _info(headers: dict[Hashable, _Header], labels: ObjectLabels, size: int) -> StoreInfo:
    key, first = next(iter(headers.items()))
    if first.note:
        print(f"{labels.images[key].path}: {first.note}", flush=True)
    sizes = [header.gsd for header in headers.values() if header.gsd]
    gsd = labels.gsd
    if sizes:  # none for all where they differ
        gsd = float(f"{np.median(sizes):.6g}") if max(sizes) < 1.5 * min(sizes) else None
    return StoreInfo(
        bands=first.bands, dtype=first.dtype, unit=guess_unit(first.dtype), gsd=gsd, chip_size=size,
        classes=labels.classes, provenance=labels.provenance, license=labels.license,
    )  # fmt: skip


def _write_listing(
    path: Path, headers: dict[Hashable, _Header], labels: ObjectLabels, info: StoreInfo, tiling: Tiling, tally: Tally
) -> None:
    """Images by path, in row groups of about ``SHARD_BYTES`` of chips."""
    lines = {key: _line(labels, key) for key, header in headers.items() if header.gsd is None}
    nowhere = sum(line is None for line in lines.values())
    if 0 < nowhere < len(headers):
        tally.drop("images without coordinates, so all images are split by name, not by blocks", nowhere)
    chip_bytes = tiling.size**2 * len(info.bands) * np.dtype(info.dtype).itemsize
    parts: list[dict] = []
    filled = 0
    with pq.ParquetWriter(path, PARTS) as writer:
        for key, header in headers.items():
            image, boxes = labels.images[key], labels.objects.get(key, np.empty((0, 7)))[:, :5]
            strips, strip_bytes = len(tiling.starts(header.height)), len(tiling.starts(header.width)) * chip_bytes
            step = max(1, SHARD_BYTES // strip_bytes)
            for first in range(0, strips, step):
                end = min(first + step, strips)
                if parts and filled + (end - first) * strip_bytes > SHARD_BYTES:
                    writer.write_table(pa.Table.from_pylist(parts, PARTS))
                    parts, filled = [], 0
                filled += (end - first) * strip_bytes
                strip = {"first_strip": first, "end_strip": end, "line": lines.get(key), "boxes": boxes.ravel()}
                parts.append({"path": image.path, "datetime": image.datetime, **strip})
        writer.write_table(pa.Table.from_pylist(parts, PARTS))


def _line(labels: ObjectLabels, key: Hashable) -> tuple[float, float, float, float] | None:
    """Locate an image by its features: lon of pixel column 0 and its step, lat of row 0 and its step.

    Lines through the medians of the outer thirds (Tukey 1977), which outliers do not affect; where the
    features are too close together for that, the nominal pixel size of the dataset.
    """
    objects = labels.objects.get(key, np.empty((0, 7)))
    objects = objects[np.isfinite(objects[:, 5:]).all(axis=1)]
    if not len(objects) or labels.gsd is None:
        return None
    xmin, ymin, xmax, ymax, _, lon, lat = objects.T
    step = labels.gsd / METRES_PER_DEGREE
    narrowing = max(math.cos(math.radians(float(np.median(lat)))), 1e-6)
    return *_resistant_line((xmin + xmax) / 2, lon, step / narrowing), *_resistant_line((ymin + ymax) / 2, lat, -step)


def _resistant_line(at: np.ndarray, values: np.ndarray, slope: float) -> tuple[float, float]:
    """Value at 0, and slope; the given slope if less than 200 px lie between the thirds."""
    order = np.argsort(at, kind="stable")
    third = max(1, len(at) // 3)
    low, high = order[:third], order[-third:]
    run = np.median(at[high]) - np.median(at[low])
    if run >= 200:
        slope = float((np.median(values[high]) - np.median(values[low])) / run)
    return float(np.median(values - slope * at)), slope


def _colours(source: rasterio.DatasetReader, gray: np.ndarray) -> np.ndarray:
    """Red, green and blue of a photograph with one band, gray or with a palette."""
    if source.colorinterp[0].name != "palette":
        return np.repeat(gray, 3, axis=0)
    palette = np.zeros((256, 3), np.uint8)
    for value, color in source.colormap(1).items():
        palette[value] = color[:3]
    return palette[gray[0]].transpose(2, 0, 1)


def _ground(
    source: rasterio.DatasetReader, line: list[float] | None, rows: np.ndarray, columns: np.ndarray, size: int
) -> Ground:
    """Where windows lie: by the georeference, or by the line through the features, or unknown."""
    if is_located(source):
        return known_ground(source, rows, columns, size)
    if line:
        lon, lat = line[0] + line[1] * (columns + size / 2), line[2] + line[3] * (rows + size / 2)
        lat = np.where(np.abs(lat) <= 90, lat, math.nan)
        sides = np.hypot(line[1] * np.cos(np.radians(lat)), line[3])
        if np.isnan(lat).any():
            raise UserError("the coordinates of its features are beyond the poles")
        return Ground(lon, lat, size * METRES_PER_DEGREE * sides)
    return Ground(*np.full((3, len(rows)), math.nan))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

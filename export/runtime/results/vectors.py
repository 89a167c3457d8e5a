"""The patches of a map and the objects of a detection, as polygons in a GeoPackage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Protocol

import numpy as np

from ..errors import Cancelled, InputFault
from ..model.card import LandClass
from ..raster.shapes.patches import Patches, Runs, find_patches
from ..raster.shapes.polygons import Polygons
from .rows import Objects
from .style import add_style

PATCHES, OBJECTS, PLACES = "land_cover", "objects", "best_places"  # names of layers
BATCH = 20_000  # features written at once
STEP = 512  # rows read or written at once
KeepGoing = Callable[[], bool]  # False cancels
Batch = tuple[Sequence[Any], Sequence[np.ndarray]]  # shapes, and their values in the order of the columns
_PATCH_COLUMNS = {"class": "int32", "name": "str", "pixels": "int64", "area_m2": "float64", "confidence": "float64"}
_PLACE_COLUMNS = {"rank": "int32", "score": "float64"}
_OBJECT_COLUMNS = {"class": "int32", "name": "str", "score": "float64"}


class VectorOut(Protocol):
    """Writes vector files with one library."""

    def trace(self, numbers: Path, grid: Any, keep_going: KeepGoing) -> Iterator[tuple[Any, int]]:
        """Outlines of the connected pixels of one number in a raster, and that number; 0 is left out."""

    def boxes(self, corners: np.ndarray) -> Any:
        """Sequence of polygons with four corners each, (N, 4, 2) x and y."""

    def points(self, places: np.ndarray) -> Any:
        """Sequence of points at (N, 2) x and y."""

    def write(
        self, out: Path, layer: str, kind: str, grid: Any, columns: dict[str, str], batches: Iterable[Batch]
    ) -> int:
        """Write features into a new GeoPackage, and count those that it holds.

        ``kind`` is "Point", "Polygon" or "MultiPolygon"; shapes that are no valid polygon are repaired. A column's type is "int32",
        "int64", "float64" or "str". There is at least one batch, which may be empty.

        Raises:
            InputFault: "write_failed", the library's reason.
        """


def write_patches(
    out: Path,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    grid: Any,
    legend: tuple[LandClass, ...],
    nodata: int,
    least: float,
    create: Callable[..., Any],
    vector: VectorOut,
    keep_going: KeepGoing,
) -> int:
    """Trace a map along the edges of its pixels, and count its polygons.

    ``blocks`` are whole rows of classes and confidence in per cent, (rows, width) each, from top to bottom. Patches below
    ``least`` square metres are merged into their largest neighbour. ``create`` makes a ``writing.RasterWriter``.

    Raises:
        InputFault: they are too many, or the file could not be written completely.
        Cancelled: ``keep_going`` returned False.
    """
    patches = find_patches(Runs.of(blocks, nodata), grid.row_areas, least)
    numbers = out.with_name(f"{out.stem}-patches.tif")
    raster = create(numbers, grid, "int32", 0, [""])
    try:
        for strip in grid.whole.strips(STEP):
            raster.write(strip.row, patches.rows(strip.row, strip.height))
        raster.close()
        batches = _patch_batches(vector.trace(numbers, grid, keep_going), patches, legend, keep_going)
        count = vector.write(out, PATCHES, "MultiPolygon", grid, _PATCH_COLUMNS, batches)
    finally:
        raster.discard()
        numbers.unlink(missing_ok=True)
    if count != len(patches.value):
        raise InputFault("incomplete", where=out.name)
    add_style(out, PATCHES, legend)
    return count


def write_objects(
    out: Path,
    objects: Objects,
    grid: Any,
    legend: tuple[LandClass, ...],
    mask: Polygons | None,
    vector: VectorOut,
    keep_going: KeepGoing,
) -> int:
    """Write boxes with class, name and score, best first, and count them.

    Boxes are in pixels of ``grid``; with a ``mask`` only objects whose middle lies in it are kept.

    Raises:
        InputFault: the file could not be written completely.
        Cancelled: ``keep_going`` returned False.
    """
    left, top, right, bottom = objects.boxes.astype(np.float64).T
    keep = np.ones(len(left), bool)
    if mask:
        xs, ys = grid.at((left + right) / 2, (top + bottom) / 2)
        keep[:] = [mask.holds(x, y) for x, y in zip(xs.tolist(), ys.tolist())]
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 4, 2)[keep]
    values = objects.classes[keep].astype(np.int32)
    columns = [values, _named(values, legend), np.round(objects.scores[keep].astype(np.float64), 4)]
    shapes = vector.boxes(np.stack(grid.at(corners[..., 0], corners[..., 1]), axis=-1))
    parts = [slice(first, first + BATCH) for first in range(0, max(len(values), 1), BATCH)]
    batches = ((shapes[part], [column[part] for column in columns]) for part in parts if _going(keep_going))
    if vector.write(out, OBJECTS, "Polygon", grid, _OBJECT_COLUMNS, batches) != len(values):
        raise InputFault("incomplete", where=out.name)
    add_style(out, OBJECTS, legend, outlines=True)
    return len(values)


def _patch_batches(
    traced: Iterator[tuple[Any, int]], patches: Patches, legend: tuple[LandClass, ...], keep_going: KeepGoing
) -> Iterator[Batch]:
    """The outlines with the values of their patches; one empty batch where there are none."""
    batch = list(islice(traced, BATCH))
    while True:
        _going(keep_going)
        numbers = np.array([number for _, number in batch], np.int64) - 1
        values = patches.value[numbers].astype(np.int32)
        confidence = np.round(patches.confidence[numbers], 2)
        columns = [values, _named(values, legend), patches.pixels[numbers], patches.area[numbers], confidence]
        yield [shape for shape, _ in batch], columns
        batch = list(islice(traced, BATCH))
        if not batch:
            return


def write_places(out: Path, scores: np.ndarray, places: np.ndarray, grid: Any, vector: VectorOut) -> int:
    """Write (N, 2) places x and y, best first, with rank and score, and count them.

    Raises:
        InputFault: the file could not be written completely.
    """
    ranks = np.arange(1, len(scores) + 1, dtype=np.int32)
    columns: list[np.ndarray] = [ranks, np.round(scores.astype(np.float64), 4)]
    count = vector.write(out, PLACES, "Point", grid, _PLACE_COLUMNS, [(vector.points(places), columns)])
    if count != len(scores):
        raise InputFault("incomplete", where=out.name)
    return count


def _named(values: np.ndarray, legend: tuple[LandClass, ...]) -> np.ndarray:
    names = {entry.value: entry.name for entry in legend}
    return np.array([names.get(value, str(value)) for value in values.tolist()], object)


def _going(keep_going: KeepGoing) -> bool:
    if not keep_going():
        raise Cancelled()
    return True

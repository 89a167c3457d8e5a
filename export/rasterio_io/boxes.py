"""The objects of a detection as boxes in a GeoPackage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import shapely

from export.rasterio_io.grid import Grid
from export.rasterio_io.limits import Mask
from export.runtime.errors import InputFault
from export.runtime.model.card import ModelCard
from export.runtime.results.rows import Objects

LAYER = "objects"


def write_boxes(out: Path, found: Objects, grid: Grid, card: ModelCard, mask: Mask | None) -> int:
    """Write boxes with class, name and score, best first.

    Args:
        out: GeoPackage to write.
        found: boxes in pixels of ``grid``.
        grid: that the model saw.
        card: of the model, for the names.
        mask: only objects whose middle lies in it are kept.

    Returns:
        Number of boxes.

    Raises:
        InputFault: what was written is not whole.
    """
    left, top, right, bottom = found.boxes.astype(np.float64).T
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 4, 2)
    shapes = shapely.polygons(_placed(corners, grid)) if len(corners) else np.zeros(0, object)
    keep = np.ones(len(shapes), bool)
    if mask:
        keep[:] = [mask.holds(shape.centroid) for shape in shapes]
    names = {entry.value: entry.name for entry in card.classes}
    values = found.classes[keep].astype(np.int32)
    columns = [
        values,
        np.array([names[value] for value in values.tolist()], object),
        np.round(found.scores[keep].astype(np.float64), 4),
    ]
    pyogrio.raw.write(
        out, shapely.to_wkb(shapes[keep]), columns, ["class", "name", "score"], geometry_type="Polygon",
        crs=grid.crs.to_wkt(), driver="GPKG", layer=LAYER,
    )  # fmt: skip
    if pyogrio.read_info(out, layer=LAYER)["features"] != keep.sum():
        raise InputFault(f"{out.name}: could not be written whole")
    return int(keep.sum())


def _placed(corners: np.ndarray, grid: Grid) -> np.ndarray:
    """(N, 4, 2) columns and rows as (N, 4, 2) x and y."""
    a, b, c, d, e, f = grid.transform[:6]
    columns, rows = corners[..., 0], corners[..., 1]
    return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=-1)

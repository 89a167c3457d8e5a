"""Describes a map as a STAC Item: footprint, files, model, options."""

from __future__ import annotations

import functools
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds, transform_geom

from export.rasterio_io.grid import Grid
from export.rasterio_io.names import short
from export.runtime.model.card import ModelCard
from export.runtime.results.writing import write_text

FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    FILE_EXTENSION,
)
UNIT = "geoaware:unit"
MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".gpkg": "application/geopackage+sqlite3",
    ".csv": "text/csv",
    ".json": "application/json",
    **dict.fromkeys((".qml", ".xml", ".vrt"), "application/xml"),
}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def multihash(path: Path) -> str:
    """SHA-256 of a file as the STAC file extension writes it."""
    return f"1220{sha256(path)}"


def model_hash(path: Path) -> str:
    """``multihash`` of a model file, cached."""
    state = path.stat()
    return _cached_hash(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _cached_hash(path: Path, size: int, mtime: int) -> str:
    return multihash(path)


def write_item(
    path: Path,
    grid: Grid,
    card: ModelCard,
    model: Path,
    raster: str,
    files: dict[str, Path],
    options: dict[str, Any],
    unit: str = "",
) -> None:
    """Write the Item of a map to NAME.stac.json; NAME is its id.

    ``files`` are the results by role ("map", "confidence", ...), beside the Item; ``unit`` is the checksum of all that
    they are made from, by which ``export.batch`` recognises a finished unit.
    """
    (box, outline), made = _footprint(grid), now()
    name = path.name.removesuffix(".stac.json")
    properties: dict[str, Any] = {
        "datetime": made,  # of the map; rasters do not state when they were taken
        "created": made,
        "title": f"{card.name}: {name}",
        "proj:shape": list(grid.shape),
        "proj:transform": [*list(grid.transform)[:6], 0, 0, 1],
        "geoaware:model": {"name": card.name, "file": model.name, "file:checksum": model_hash(model)},
        "geoaware:raster": short(raster),
        "geoaware:options": options,
    }
    if unit:
        properties[UNIT] = unit
    properties |= {"proj:code" if grid.epsg else "proj:wkt2": grid.crs_text}
    if card.license:
        properties["license"] = card.license
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": name,
        "geometry": outline,
        "properties": properties,
        "links": [],
        "assets": {role: _asset(role, file, card) for role, file in files.items()},
    }
    if box:
        item["bbox"] = box
    write_text(path, json.dumps(item, indent=2) + "\n")


def _footprint(grid: Grid) -> tuple[list[float] | None, dict[str, Any] | None]:
    ring = [*grid.outline(), grid.outline()[0]]
    try:
        box = [round(v, 9) for v in transform_bounds(grid.crs, "EPSG:4326", *grid.bounds, densify_pts=21)]
        shape = {"type": "Polygon", "coordinates": [ring[::-1]]}
        outline = transform_geom(grid.crs, "EPSG:4326", shape, precision=9)
    except (RasterioError, CPLE_BaseError, SystemError):  # corners off the Earth, as those of a map of the world may be
        return None, None
    return (box, outline) if np.isfinite(box).all() else (None, None)


def _asset(role: str, path: Path, card: ModelCard) -> dict[str, Any]:
    data = path.suffix in (".tif", ".vrt", ".gpkg")
    asset: dict[str, Any] = {
        "href": f"./{path.name}",
        "type": MEDIA[path.suffix],
        "title": role,
        "roles": ["data"] if data else ["metadata"],
        "file:checksum": multihash(path),
        "file:size": path.stat().st_size,
    }
    if role == "map" and card.classes:
        asset["classification:classes"] = [
            {"value": c.value, "name": _slug(c.name), "description": c.name, "color_hint": c.color}
            for c in card.classes
        ]
    return asset


def _slug(name: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name)

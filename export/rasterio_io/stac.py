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

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
UNIT = "geoaware:unit"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA = {
    ".tif": _COG,
    ".gpkg": "application/geopackage+sqlite3",
    ".csv": "text/csv",
    ".json": "application/json",
    ".qml": "application/xml",
    ".xml": "application/xml",
    ".vrt": "application/xml",
}


def multihash(path: Path) -> str:
    """SHA-256 of a file as the STAC file extension writes it."""
    with open(path, "rb") as file:
        return "1220" + hashlib.file_digest(file, "sha256").hexdigest()


def model_hash(path: Path) -> str:
    """``multihash`` of a model file, cached."""
    found = path.stat()
    return _known_hash(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _known_hash(path: Path, size: int, mtime: int) -> str:
    return multihash(path)


def item_text(
    name: str,
    grid: Grid,
    card: ModelCard,
    model: Path,
    raster: str,
    files: dict[str, Path],
    options: dict[str, Any],
    unit: str = "",
) -> str:
    """The Item as JSON.

    Args:
        name: of the map, its id.
        grid: of the map.
        card: of the model.
        model: file of the model.
        raster: what was mapped.
        files: role of each file ("map", "confidence", ...) and where it lies now; it will lie beside the Item.
        options: how the model was run.
        unit: checksum of all that the map is made from; ``export.batch`` knows a finished unit by it.
    """
    box, outline = _footprint(grid)
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
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
    code = grid.crs.to_epsg()
    properties |= {"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": grid.crs.to_wkt(version="WKT2_2019")}
    if card.license:
        properties["license"] = card.license
    assets = {role: _asset(role, path, card) for role, path in files.items()}
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": name,
        "geometry": outline,
        "properties": properties,
        "links": [],
        "assets": assets,
    }
    if box:
        item["bbox"] = box
    return json.dumps(item, indent=2) + "\n"


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

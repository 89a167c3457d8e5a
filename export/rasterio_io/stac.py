"""Describes a map as a STAC Item: footprint, files, model, options."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import shapely
from shapely.geometry.polygon import orient

from export.rasterio_io.grid import Grid
from export.rasterio_io.polygons import cut_at_antimeridian, way
from export.runtime.errors import InputFault
from export.runtime.model.card import ModelCard
from export.runtime.model.item import FILE_EXTENSION, multihash
from export.runtime.raster.names import short
from export.runtime.raster.shapes import footprint
from export.runtime.raster.shapes.footprint import Way
from export.runtime.results.writing import write_text

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    FILE_EXTENSION,
)
UNIT = "geoaware:unit"
_DEGREES = pyproj.CRS.from_user_input("OGC:CRS84")
_SIMPLE = 10_000  # an outline may differ from the true one by so small a part of its extent
_TINY = 1e-9  # degrees
_GAP = 5.0  # degrees of longitude without a sample, at least, where a raster does not reach around the Earth
MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".gpkg": "application/geopackage+sqlite3",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    **dict.fromkeys((".qml", ".xml", ".vrt"), "application/xml"),
}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def model_hash(path: Path) -> str:
    """``multihash`` of a model file, cached."""
    state = path.stat()
    return _cached_hash(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _cached_hash(path: Path, size: int, mtime: int) -> str:
    return multihash(path)


class Inputs(NamedTuple):
    """What a map is made from: GDAL's name of the raster, or of a series each date and raster, the first date and the last.

    ``mask`` is the band that hides pixels, and its values.
    """

    raster: str
    dated: tuple[tuple[str, str], ...] = ()
    period: tuple[datetime, datetime] | None = None
    mask: str = ""

    def properties(self, made: str) -> dict[str, Any]:
        """Of the Item of a map that was made at this time."""
        mask = {"geoaware:mask": self.mask} if self.mask else {}
        if not self.period:  # rasters do not state when they were taken
            return {"datetime": made, "geoaware:raster": short(self.raster), **mask}
        first, last = (day.isoformat(timespec="seconds").replace("+00:00", "Z") for day in self.period)
        series = [{"date": day, "raster": short(where)} for day, where in self.dated]
        return {"datetime": None, "start_datetime": first, "end_datetime": last, "geoaware:series": series, **mask}


def write_item(
    path: Path,
    grid: Grid,
    card: ModelCard,
    model: Path,
    inputs: Inputs,
    files: dict[str, Path],
    options: dict[str, Any],
    unit: str = "",
    run_by: Mapping[str, str] | None = None,
) -> None:
    """Write the Item of a map to NAME.stac.json; NAME is its id.

    ``files`` are the results by role ("map", "confidence", ...), beside the Item; ``unit`` is the checksum of all that
    they are made from, by which ``export.batch`` recognises a finished unit; ``run_by`` what ran the model.
    """
    (box, outline), made = _footprint(grid), now()
    name = path.name.removesuffix(".stac.json")
    properties: dict[str, Any] = {
        **inputs.properties(made),
        "created": made,
        "title": f"{card.name}: {name}",
        "proj:shape": list(grid.shape),
        "proj:transform": [*list(grid.transform)[:6], 0, 0, 1],
        "geoaware:model": {"name": card.name, "file": model.name, "file:checksum": model_hash(model)},
        "geoaware:options": options,
    }
    if run_by:
        properties["geoaware:run_by"] = dict(run_by)
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
    """Bounding box and outline in longitude and latitude as GeoJSON has them (RFC 7946); None where none is known.

    Outlines are cut at the antimeridian; a box across it has its west side east of its east side.
    """
    try:
        to_grid = way(_DEGREES, grid)
    except InputFault:  # a site's own grid, another planet
        return None, None
    ring = footprint.frame(grid, to_grid)
    area = _samples(grid, to_grid) if ring is None else shapely.make_valid(shapely.Polygon(ring))
    if area is None:
        return None, None
    area = shapely.intersection(area, shapely.box(-1e4, -90, 1e4, 90))
    west, south, east, north = area.bounds
    outline = shapely.simplify(area, max(east - west, north - south) / _SIMPLE)
    outline = shapely.set_precision(outline, 1e-9)
    outline = cut_at_antimeridian(outline)
    turn = 360 * ((west + 180) // 360)
    west, east = west - turn, east - turn
    if east - west > 360 - _TINY:
        west, east = -180.0, 180.0
    elif east > 180 + _TINY:
        east -= 360
    polygons = [orient(part) for part in shapely.get_parts(outline) if part.geom_type == "Polygon"]
    shape = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    return [round(side, 9) for side in (west, south, east, north)], shapely.geometry.mapping(shape)


def _samples(grid: Any, to_grid: Way) -> shapely.Geometry | None:
    """About what a grid shows whose outline leaves its projection: a box around those of its places that are on Earth."""
    columns, rows = np.meshgrid(np.linspace(0, grid.width, 257), np.linspace(0, grid.height, 257))
    longitudes, latitudes = to_grid.back(*grid.at(columns.ravel(), rows.ravel()))
    known = np.isfinite(longitudes + latitudes)
    if not known.any():
        return None
    around = np.unique(longitudes[known] % 360)
    gaps = np.diff(around, append=around[0] + 360)
    start = around[(gaps.argmax() + 1) % len(around)]  # east of the widest gap
    poles = footprint.poles_inside(grid, to_grid)
    west, east = (-180, 180) if poles or gaps.max() < _GAP else (start, start + 360 - gaps.max())
    latitudes = np.append(latitudes[known], poles)
    return shapely.box(west, latitudes.min(), east, latitudes.max())


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

"""Places to fetch imagery of: points that the user gives, or points drawn at random within polygons."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from core.errors import InputFault, UserError, first_line
from core.store.sphere import wrapped
from export.rasterio_io.polygons import in_degrees, mended

LISTING = pa.schema({"place": pa.string(), "lon": pa.float64(), "lat": pa.float64()})
_EDGE_DEG = 0.25  # longest piece of a polygon's edge: straight in degrees, and nearly so when projected
_DRAWS = 1024


class Places(NamedTuple):
    """A table of place, lon, lat (degrees WGS 84) with different names; rows that cannot be used, with the reason."""

    table: pd.DataFrame
    bad: tuple[tuple[str, str], ...] = ()


def read_places(file: Path) -> Places:
    """Read points from a CSV with lon and lat, or a vector file; a field ``place`` in either names them.

    Lines and polygons give a point that lies on them.
    """
    table = _read_csv(file) if file.suffix.lower() == ".csv" else _read_vector(file)
    table = table.reset_index(drop=True)
    numbers = pd.Series([f"{number:06}" for number in range(1, len(table) + 1)], dtype=object)
    named = table["place"].astype(object) if "place" in table else numbers
    table["place"] = named.where(named.notna(), numbers).astype(str)
    twice = table["place"][table["place"].duplicated()]
    if len(twice):
        raise UserError(f"{file}: names the place '{twice.iloc[0]}' twice; place names must differ")
    lon, lat = table["lon"], table["lat"]
    usable = lon.between(-360, 360) & lat.between(-90, 90)
    bad = [
        (f"{file}, place {row.place}", f"lon {row.lon}, lat {row.lat} is out of range")
        for row in table[~usable].itertuples()
    ]
    if not usable.any():
        raise UserError(f"{file}: holds no point with lon within -360 to 360 and lat within -90 to 90")
    table["lon"] = wrapped(lon)
    return Places(table.loc[usable, LISTING.names].reset_index(drop=True), tuple(bad))


def sample_places(file: Path, count: int, seed: int) -> Places:
    """Draw points at random within the polygons of a vector file, uniform on the sphere; overlaps count once."""
    polygons = shapely.get_parts(shapely.union_all(_read_polygons(file)))
    # Lambert's cylindrical projection, x = lon, y = sin(lat), keeps areas: uniform there is uniform on the sphere.
    flat = shapely.transform(shapely.segmentize(polygons, _EDGE_DEG), _to_equal_area)
    areas = shapely.area(flat)
    if not areas.sum() > 0:
        raise UserError(f"{file}: holds no polygon to draw places in")
    random = np.random.default_rng(seed)
    drawn = random.multinomial(count, areas / areas.sum())
    points = np.concatenate([_draw(polygon, number, random) for polygon, number in zip(flat, drawn) if number])
    lonlat = np.stack([points[:, 0], np.degrees(np.arcsin(points[:, 1]))], axis=1)[random.permutation(count)]
    names = [f"{number:06}" for number in range(1, count + 1)]
    return Places(pd.DataFrame({"place": names, "lon": lonlat[:, 0], "lat": lonlat[:, 1]}))


def _to_equal_area(lonlat: np.ndarray) -> np.ndarray:
    return np.stack([lonlat[:, 0], np.sin(np.radians(lonlat[:, 1].clip(-90, 90)))], axis=1)


def _draw(polygon: shapely.Geometry, count: int, random: np.random.Generator) -> np.ndarray:
    """(count, 2) points inside, uniform in the plane."""
    west, south, east, north = polygon.bounds
    shapely.prepare(polygon)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count:
        points = random.uniform((west, south), (east, north), (_DRAWS, 2))
        parts.append(points[shapely.contains_xy(polygon, points)])
    return np.concatenate(parts)[:count]


def _read_csv(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, encoding="utf-8-sig", dtype={"place": str})
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as CSV ({first_line(error)})") from error
    missing = [name for name in ("lon", "lat") if name not in table]
    if missing:
        raise UserError(f"{file}: has no column '{missing[0]}'; needs lon and lat in degrees, and optionally place")
    for name in ("lon", "lat"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def _read_vector(file: Path) -> pd.DataFrame:
    frame = _read_features(file)
    points = gpd.GeoSeries(shapely.point_on_surface(frame.geometry.to_numpy()), crs=frame.crs).to_crs("EPSG:4326")
    # A missing or empty geometry has no point: NaN, and so a bad row.
    table = pd.DataFrame(
        {"lon": shapely.get_x(points.to_numpy()), "lat": shapely.get_y(points.to_numpy())}, dtype=float
    )
    if "place" in frame:
        table["place"] = frame["place"].to_numpy()
    return table


def _read_polygons(file: Path) -> np.ndarray:
    """Polygons in longitude and latitude."""
    frame = _read_features(file)
    try:
        return in_degrees(mended(frame.geometry.to_numpy()), frame.crs)
    except InputFault as error:
        raise UserError(f"{file}: {error}") from error


def _read_features(file: Path) -> gpd.GeoDataFrame:
    """Features, in their own CRS."""
    if not file.is_file() and not file.is_dir():  # a folder may be a file geodatabase
        raise UserError(f"{file}: no such file")
    try:
        frame = gpd.read_parquet(file) if file.suffix.lower() == ".parquet" else gpd.read_file(file)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{file}: cannot be read as a vector file ({first_line(error)})") from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise UserError(f"{file}: holds no features")
    if frame.crs is None:
        raise UserError(f"{file}: has no CRS; assign one, such as EPSG:4326")
    return frame

"""The side of the split of each place: as stated by the source, by spatial blocks, or by name."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from core.errors import UserError
from core.store.read import SPLITS
from core.store.sphere import DEAL, EARTH_RADIUS_M, spatial_split

_UNKNOWN_REACH_M = 1000.0
_BATCH = 100_000


@dataclass(frozen=True)
class Split:
    """How places are split.

    Attributes:
        kind: spatial (by blocks), place (at random, by name) or source (as stated); by default source if it
            states sides, else spatial if there are coordinates, else place.
        margin_m: minimum distance between sides of the spatial split, metres; by default 1.1 times the longest
            diagonal of a chip on the ground, so that chips of two sides do not touch, or 1 km if it is unknown.
        block_deg: of the spatial split, see ``core.store.sphere.spatial_split``.
    """

    kind: str | None = None
    margin_m: float | None = None
    block_deg: tuple[float, float] | None = None


def deal_places(db: duckdb.DuckDBPyConnection, split: Split) -> pa.Table:
    """The places of the view ``rows`` (``core.store.index.ROWS``), numbered by name, with their sides.

    Raises:
        UserError: a place has two stated sides or distant images, or lacks a stated side or coordinates.
    """
    places: Any = db.sql(
        """SELECT place, min(party) AS party, arg_min(lon, (shard, chip)) AS lon, arg_min(lat, (shard, chip)) AS lat,
        min(stated_split) AS stated FROM rows GROUP BY place ORDER BY place"""
    ).to_arrow_table()
    located = bool(np.isfinite(places["lon"].to_numpy() + places["lat"].to_numpy()).all())
    stated = places["stated"].null_count < len(places)
    kind = split.kind or ("source" if stated else "spatial" if located else "place")
    if kind == "source":
        sides = _stated(db, places)
    elif kind == "spatial":
        if not located:
            raise UserError("--split spatial: some places have no coordinates; use --split place")
        sides = _spatial(db, places, split)
    else:
        sides = _by_name(places["party"])
    number = np.arange(len(places), dtype=np.int32)
    return pa.table({"place": places["place"], "place_number": number, "split": sides})


def _stated(db: duckdb.DuckDBPyConnection, places: pa.Table) -> pa.ChunkedArray:
    if places["stated"].null_count:
        raise UserError("--split source: the source states no side for some places; use --split place or spatial")
    torn = db.sql(
        """SELECT place, string_agg(DISTINCT coalesce(stated_split, 'none'), ', ' ORDER BY coalesce(stated_split, 'none'))
        FROM rows GROUP BY place HAVING count(DISTINCT coalesce(stated_split, 'none')) > 1 ORDER BY place LIMIT 1"""
    ).fetchall()
    if torn:
        raise UserError(f"place {torn[0][0]}: the source states two sides ({torn[0][1]}); use --split place or spatial")
    return places["stated"]


def _spatial(db: duckdb.DuckDBPyConnection, places: pa.Table, split: Split) -> pa.DictionaryArray:
    margin = _default_margin(db) if split.margin_m is None else split.margin_m
    apart = db.sql(
        f"""WITH points AS (SELECT place, cos(radians(lat)) * cos(radians(lon)) AS x,
            cos(radians(lat)) * sin(radians(lon)) AS y, sin(radians(lat)) AS z FROM rows)
        SELECT place, {EARTH_RADIUS_M} * sqrt((max(x) - min(x))^2 + (max(y) - min(y))^2 + (max(z) - min(z))^2) AS metres
        FROM points GROUP BY place HAVING metres > {max(margin, 1.0)} ORDER BY place LIMIT 1"""
    ).fetchall()
    if apart:
        place, metres = apart[0]
        raise UserError(
            f"place {place}: its images are up to {metres:,.0f} m apart, but places of two sides only {margin:,.0f} m; "
            "raise --margin, use --split place, or give them different place names"
        )
    lonlat = np.stack([places[name].to_numpy() for name in ("lon", "lat")], axis=1)
    return _encoded(spatial_split(lonlat, margin, split.block_deg))


def _default_margin(db: duckdb.DuckDBPyConnection) -> float:
    reach, unknown = db.sql(
        "SELECT max(reach_m) FILTER (NOT isnan(reach_m)), coalesce(bool_or(isnan(reach_m)), false) FROM rows"
    ).fetchall()[0]
    return max(1.1 * (reach or 0.0), _UNKNOWN_REACH_M if unknown else 0.0)


def _by_name(parties: pa.ChunkedArray) -> pa.DictionaryArray:
    """Sides by name alone: the same in every store and on every machine."""
    batches = (parties.slice(start, _BATCH).to_pylist() for start in range(0, len(parties), _BATCH))
    numbers = (zlib.crc32(name.encode()) % len(DEAL) for batch in batches for name in batch)
    return _encoded(DEAL[np.fromiter(numbers, int, len(parties))])


def _encoded(sides: np.ndarray) -> pa.DictionaryArray:
    """Sides as a dictionary array: text would take much memory for millions of places."""
    codes = np.select([sides == side for side in SPLITS], range(len(SPLITS))).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(SPLITS))

"""The last step of a store: splits, statistics, the index and the checksums, from the parts of the shards.

DuckDB joins and sorts, and spills to disk where memory ends; pyarrow writes the GeoParquet in pieces.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj

from core.errors import UserError
from core.files import write_json, write_whole
from core.geo import deal, spatial_split
from core.prepare.spill import connect, parquet, parts
from core.store import StoreInfo

# Of a shard; they go when the store is whole.
WORKING_FILES = ("rows.parquet", "boxes.parquet", "tally.json", "sums.json")
ROWS = pa.schema(
    {
        "place": pa.string(),
        "datetime": pa.timestamp("us", tz="UTC"),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "stated_split": pa.string(),
        "party": pa.string(),
        "label": pa.int32(),
        "shard": pa.int32(),
        "chip": pa.int32(),
        "mask": pa.int32(),
        "row": pa.int32(),
        "column": pa.int32(),
        "source": pa.string(),
        "valid_pixels": pa.int64(),
        "sums": pa.list_(pa.float64()),
        "squares": pa.list_(pa.float64()),
        "lowest": pa.float64(),
        "highest": pa.float64(),
    }
)
BOXES = pa.schema(
    {
        "chip": pa.int64(),
        **{side: pa.float64() for side in ("xmin", "ymin", "xmax", "ymax")},
        "label": pa.float64(),
    }
)
_INDEX = pa.schema(
    [
        ROWS.field("place"),
        pa.field("place_number", pa.int32()),
        *(ROWS.field(name) for name in ("datetime", "lon", "lat")),
        pa.field("split", pa.dictionary(pa.int32(), pa.string())),
        *(ROWS.field(name) for name in ("label", "shard", "chip", "mask", "row", "column", "source")),
        pa.field("bbox", pa.struct({side: pa.float64() for side in ("xmin", "ymin", "xmax", "ymax")})),
        pa.field("geometry", pa.binary()),
    ]
)
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Point"],
            "crs": pyproj.CRS("EPSG:4326").to_json_dict(),
            "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
        }
    },
}
_ROW_GROUP = 100_000


def write_index(
    folder: Path, info: StoreInfo, split: str | None, margin_m: float, block_deg: tuple[float, float] | None
) -> None:
    """Write index.parquet, boxes.parquet, store.json and SHA256SUMS.

    Args:
        folder: of the store, with the parts of the shards.
        info: what holds for all chips.
        split: as in ``core.prepare.build.build``.
        margin_m: of the spatial split, metres.
        block_deg: of the spatial split.

    Raises:
        UserError: a place is stated to be on two sides, or the sides asked for are not stated.
    """
    with connect(folder / "spill") as db:
        db.execute(f"CREATE VIEW rows AS FROM {parts(folder, 'shards/*/rows.parquet')}")
        sides = _sides(db, split, margin_m, block_deg)
        db.register("sides", sides)
        _write_rows(db, folder / "index.parquet")
        _write_boxes(db, folder)
        write_json(folder / "store.json", asdict(_with_statistics(db, info)))
    sums: dict[str, str] = {}
    for part in sorted((folder / "shards").glob("*/sums.json")):
        sums |= json.loads(part.read_text())
    for name in ("boxes.parquet", "index.parquet", "store.json"):
        if (folder / name).exists():
            sums[name] = sha256(folder / name)
    write_whole(folder / "SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sides(
    db: duckdb.DuckDBPyConnection, split: str | None, margin_m: float, block_deg: tuple[float, float] | None
) -> pa.Table:
    """Number and side of each place, in the order of their names."""
    places: Any = db.sql(
        """SELECT place, min(party) AS party, arg_min(lon, (shard, chip)) AS lon, arg_min(lat, (shard, chip)) AS lat,
        min(stated_split) AS stated, max(stated_split) AS other FROM rows GROUP BY place ORDER BY place"""
    ).to_arrow_table()
    torn: Any = db.execute(
        "SELECT place, min(stated_split), max(stated_split) FROM rows GROUP BY place "
        "HAVING count(DISTINCT coalesce(stated_split, '-')) > 1 ORDER BY place LIMIT 1"
    ).fetchall()
    lonlat = np.stack([places[name].to_numpy() for name in ("lon", "lat")], axis=1)
    located = bool(np.isfinite(lonlat).all())
    stated = places["stated"]
    if split is None:
        split = "source" if stated.null_count < len(stated) else "spatial" if located else "place"
    if split == "source":
        if torn:
            raise UserError(
                f"place {torn[0][0]}: the source puts it on two sides ({torn[0][1]}, {torn[0][2]}); use --split place or spatial"
            )
        if stated.null_count:
            raise UserError("--split source: the source states no side for some places; use --split place or spatial")
        sides = np.array(stated.to_pylist())
    elif split == "spatial":
        if not located:
            raise UserError("--split spatial: some places have no coordinates; use --split place")
        sides = spatial_split(lonlat, margin_m, block_deg)
    else:
        sides = np.array([deal(name) for name in places["party"].to_pylist()])
    return pa.table(
        {"place": places["place"], "place_number": np.arange(len(places), dtype=np.int32), "split": sides.astype(str)}
    )


def _write_rows(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    query = "SELECT rows.*, sides.place_number, sides.split FROM rows JOIN sides USING (place) "
    query += "ORDER BY place_number, datetime NULLS LAST, shard, chip"
    schema = _INDEX.with_metadata({"geo": json.dumps(_GEO)})
    with pq.ParquetWriter(path, schema, use_dictionary=["split", "source"]) as writer:
        for batch in db.sql(query).to_arrow_reader(_ROW_GROUP):
            writer.write_table(_located(pa.table(batch)), row_group_size=_ROW_GROUP)


def _located(table: pa.Table) -> pa.Table:
    """Add the points as WKB, and their bounding boxes."""
    lon, lat = (table[name].to_numpy() for name in ("lon", "lat"))
    wkb = np.zeros(len(table), np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")]))
    wkb["order"], wkb["type"], wkb["x"], wkb["y"] = 1, 1, lon, lat
    offsets = np.arange(len(table) + 1, dtype=np.int32) * wkb.dtype.itemsize
    unknown = ~np.isfinite(lon + lat)
    points = pa.Array.from_buffers(pa.binary(), len(table), [None, pa.py_buffer(offsets), pa.py_buffer(wkb.tobytes())])
    points = pa.compute.if_else(pa.array(unknown), pa.scalar(None, pa.binary()), points)
    corners = [pa.array(values, mask=unknown) for values in (lon, lat, lon, lat)]
    box = pa.StructArray.from_arrays(corners, fields=list(_INDEX.field("bbox").type))
    table = table.append_column("geometry", points).append_column("bbox", box)
    return table.select(_INDEX.names).cast(_INDEX)


def _write_boxes(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Boxes of all shards, by the row that their image has in the index."""
    if not any((folder / "shards").glob("*/boxes.parquet")):
        return
    query = f"""SELECT i.file_row_number AS image, xmin, ymin, xmax, ymax, CAST(b.label AS INTEGER) AS label
        FROM {parts(folder, "shards/*/boxes.parquet", "filename=true")} b
        JOIN {parquet(folder / "index.parquet", "file_row_number=true")} i
        ON b.chip = i.chip AND CAST(parse_path(b.filename)[-2] AS INTEGER) = i.shard ORDER BY ALL"""
    pq.write_table(db.sql(query).to_arrow_table(), folder / "boxes.parquet")


def _with_statistics(db: duckdb.DuckDBPyConnection, info: StoreInfo) -> StoreInfo:
    """Mean and deviation of each band over the pixels with data of the training places (of all, if none trains)."""
    bands = range(1, len(info.bands) + 1)
    totals = ", ".join(f"sum(sums[{b}]), sum(squares[{b}])" for b in bands)
    query = f"SELECT sum(valid_pixels), min(lowest), max(highest), {totals} FROM rows JOIN sides USING (place)"
    found = db.sql(query + " WHERE split = 'train'").fetchall()[0]
    if not found[0]:
        found = db.sql(query).fetchall()[0]
    count, lowest, highest, *sums = (float(value) for value in found)
    mean = np.array(sums[::2]) / max(count, 1)
    std = np.sqrt(np.maximum(np.array(sums[1::2]) / max(count, 1) - mean**2, 1e-12))

    def rounded(values: np.ndarray) -> tuple[float, ...]:
        return tuple(float(f"{value:.9g}") for value in values)  # the order of the sums shows no more

    return replace(info, mean=rounded(mean), std=rounded(std), value_range=(lowest, highest))

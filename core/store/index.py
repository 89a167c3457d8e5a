"""The index: made with splits, statistics and checksums from the parts of the shards, and written as a GeoPackage.

DuckDB joins and sorts, and spills to disk; pyarrow writes the GeoParquet in batches. The GeoPackage is for QGIS builds
that cannot read Parquet.
"""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj

from core.errors import UserError
from core.files import sha256, write_json, write_whole
from core.store.read import ChipStore, StoreInfo
from core.store.splits import Split, deal_places
from core.store.summary import counted

# Of a shard; removed when the store is complete.
WORKING_FILES = ("rows.parquet", "boxes.parquet", "tally.json", "sums.json")
ROWS = pa.schema(
    {
        "place": pa.string(),
        "datetime": pa.timestamp("us", tz="UTC"),
        **dict.fromkeys(("lon", "lat"), pa.float64()),
        **dict.fromkeys(("stated_split", "party"), pa.string()),
        "reach_m": pa.float64(),
        **dict.fromkeys(("label", "shard", "chip", "mask", "row", "column"), pa.int32()),
        "source": pa.string(),
        "valid_pixels": pa.int64(),
        "means": pa.list_(pa.float64()),  # of each band
        "spreads": pa.list_(pa.float64()),  # sums of squared deviations from it
        "lowest": pa.float64(),
        "highest": pa.float64(),
    }
)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
BOXES = pa.schema({"chip": pa.int64(), **dict.fromkeys((*_CORNERS, "label"), pa.float64())})
_INDEX = pa.schema(
    [
        ROWS.field("place"),
        pa.field("place_number", pa.int32()),
        *(ROWS.field(name) for name in ("datetime", "lon", "lat")),
        pa.field("split", pa.dictionary(pa.int32(), pa.string())),
        *(ROWS.field(name) for name in ("label", "shard", "chip", "mask", "row", "column", "source")),
        pa.field("bbox", pa.struct(dict.fromkeys(_CORNERS, pa.float64()))),
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
            "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
        }
    },
}
_ROW_GROUP = 100_000
_LAYER_BATCH = 50_000  # images of a GeoPackage that are written at a time
_MEMORY = "1GB"  # of DuckDB


def connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory, with times in UTC; what does not fit goes to a temporary folder ``spill``."""
    db = duckdb.connect()
    db.execute(f"SET memory_limit='{_MEMORY}'; SET TimeZone='UTC'; SET preserve_insertion_order=false")
    db.execute(f"SET temp_directory={literal(spill)}; SET enable_progress_bar=false")  # it would mix with our output
    return db


def parquet(path: Path, *options: str, below: str = "") -> str:
    """DuckDB's read_parquet of a file, with any characters in its name, or of the pattern ``below`` a folder."""
    return f"read_parquet({', '.join([literal(glob.escape(str(path)) + below), *options])})"


def literal(text: object) -> str:
    """Text in SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def write_index(folder: Path, info: StoreInfo, split: Split) -> None:
    """Write index.parquet, boxes.parquet, store.json and SHA256SUMS of a folder that holds the parts of the shards."""
    spill = folder / "spill"
    shutil.rmtree(spill, ignore_errors=True)  # of a run that was killed
    with connect(spill) as db:
        db.execute(f"CREATE VIEW rows AS FROM {parquet(folder, below='/shards/*/rows.parquet')}")
        db.register("sides", deal_places(db, split))
        _write_rows(db, folder / "index.parquet")
        _write_boxes(db, folder)
        write_json(folder / "store.json", asdict(_with_statistics(db, info)))
    shutil.rmtree(spill, ignore_errors=True)
    sums: dict[str, str] = {}
    for part in sorted((folder / "shards").glob("*/sums.json")):
        sums |= json.loads(part.read_text())
    for name in ("boxes.parquet", "index.parquet", "store.json"):
        if (folder / name).exists():
            sums[name] = sha256(folder / name)
    write_whole(folder / "SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())


def in_groups(rows: pa.RecordBatchReader, size: int) -> Iterator[pa.Table]:
    """Tables of exactly so many rows except the last: DuckDB's own batches depend on its threads."""
    held: list[pa.Table] = []
    for batch in rows:
        held.append(pa.table(batch))
        ready = pa.concat_tables(held)
        whole = len(ready) // size * size
        for start in range(0, whole, size):
            yield ready.slice(start, size)
        held = [ready.slice(whole)]
    if held and len(held[0]):
        yield held[0]


def _write_rows(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    query = "SELECT rows.*, sides.place_number, sides.split FROM rows JOIN sides USING (place) "
    query += "ORDER BY place_number, datetime NULLS LAST, shard, chip"
    schema = _INDEX.with_metadata({"geo": json.dumps(_GEO)})
    with pq.ParquetWriter(path, schema, use_dictionary=["split", "source"]) as writer:
        for group in in_groups(db.sql(query).to_arrow_reader(_ROW_GROUP), _ROW_GROUP):
            writer.write_table(_located(group), row_group_size=_ROW_GROUP)


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
        FROM {parquet(folder, "filename=true", below="/shards/*/boxes.parquet")} b
        JOIN {parquet(folder / "index.parquet", "file_row_number=true")} i
        ON b.chip = i.chip AND CAST(parse_path(b.filename)[-2] AS INTEGER) = i.shard ORDER BY ALL"""
    pq.write_table(db.sql(query).to_arrow_table(), folder / "boxes.parquet")


def _with_statistics(db: duckdb.DuckDBPyConnection, info: StoreInfo) -> StoreInfo:
    """Mean and standard deviation of each band over valid pixels of the training places (of all, if there are none).

    Deviations from the mean are combined pairwise (Chan et al. 1983): sums of squares would lose a small
    spread around a large mean.
    """
    query = "SELECT valid_pixels, lowest, highest, means, spreads FROM rows JOIN sides USING (place) {} ORDER BY shard, chip"
    trained = db.sql("SELECT count(*) FROM sides WHERE split = 'train'").fetchall()[0][0]
    rows = db.sql(query.format("WHERE split = 'train'" if trained else "")).to_arrow_reader(_ROW_GROUP)
    bands = len(info.bands)
    count, mean, spread, lowest, highest = 0.0, np.zeros(bands), np.zeros(bands), np.inf, -np.inf
    for group in in_groups(rows, _ROW_GROUP):
        number = group["valid_pixels"].to_numpy().astype(np.float64)
        means, spreads = (
            group[name].combine_chunks().flatten().to_numpy().reshape(-1, bands) for name in ("means", "spreads")
        )
        more = max(number.sum(), 1)
        centre = number @ means / more
        spread += spreads.sum(axis=0) + number @ (means - centre) ** 2
        spread += (centre - mean) ** 2 * count * more / (count + more)
        mean += (centre - mean) * more / (count + more)
        count += more
        lowest, highest = min(lowest, group["lowest"].to_numpy().min()), max(highest, group["highest"].to_numpy().max())
    std = np.sqrt(np.maximum(spread / max(count, 1), 1e-12))
    return replace(
        info, mean=tuple(mean.tolist()), std=tuple(std.tolist()), value_range=(float(lowest), float(highest))
    )


def check_gpkg(store: ChipStore, path: Path, overwrite: bool) -> None:
    """Refuse what ``write_gpkg`` cannot write, before anything else is done."""
    if path.suffix.lower() != ".gpkg":
        raise UserError(f"{path}: a GeoPackage must be named .gpkg")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists; choose another --gpkg, or add --overwrite to replace it")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; create it, or choose another --gpkg")
    unlocated = int((~np.isfinite(store.column("lon")) | ~np.isfinite(store.column("lat"))).sum())
    if unlocated:
        raise UserError(
            f"{store.path}: {counted(unlocated, 'image')} of {len(store):,} without coordinates, "
            "so no point layer can be written; leave out --gpkg"
        )


def write_gpkg(store: ChipStore, path: Path, *, overwrite: bool = False) -> None:
    """Write the index as the layer ``images`` of a GeoPackage: points in EPSG:4326, all columns, class names.

    The file gets its name when it is complete. A ``UserError`` if ``check_gpkg`` refuses it, or the disk is full.
    """
    from pyogrio import read_info, write_arrow

    check_gpkg(store, path, overwrite)
    index = pq.ParquetFile(store.path / "index.parquet")
    partial = path.with_name(f".{path.stem}.partial.gpkg")
    partial.unlink(missing_ok=True)
    try:
        batches = _layer_batches(index, [entry.name for entry in store.info.classes])
        first = next(batches)
        reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
        write_arrow(
            reader, partial, layer="images", driver="GPKG", geometry_name="geometry", geometry_type="Point",
            crs="EPSG:4326",
        )  # fmt: skip
        written = read_info(partial, layer="images")["features"]
        if written != len(store):
            raise UserError(f"{path}: only {written} of {len(store)} images could be written; is the disk full?")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _layer_batches(index: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the index in types that a GeoPackage supports."""
    columns = [name for name in index.schema_arrow.names if name != "bbox"]
    known = pa.array([*names, None], pa.string())
    for batch in index.iter_batches(_LAYER_BATCH, columns=columns):
        label = batch.column("label").to_numpy()
        fields = {name: batch.column(name) for name in columns}
        fields["split"] = fields["split"].cast(pa.string())
        fields["class"] = known.take(pa.array(np.where(label < 0, len(names), label)))
        fields["geometry"] = fields.pop("geometry")  # last, as layers have it
        yield pa.record_batch(fields)

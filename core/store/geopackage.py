"""The index as a GeoPackage, for QGIS builds that cannot read Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import UserError
from core.store.read import ChipStore
from core.store.summary import counted

_BATCH = 50_000  # images that are written at a time


def check_gpkg(store: ChipStore, path: Path, overwrite: bool) -> None:
    """Refuse what ``write_gpkg`` cannot write, before anything else is done.

    Raises:
        UserError: the file exists, its folder does not, or an image has no coordinates.
    """
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

    The file gets its name when it is complete.

    Raises:
        UserError: see ``check_gpkg``; or the disk is full.
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
    for batch in index.iter_batches(_BATCH, columns=columns):
        label = batch.column("label").to_numpy()
        fields = {name: batch.column(name) for name in columns}
        fields["split"] = fields["split"].cast(pa.string())
        fields["class"] = known.take(pa.array(np.where(label < 0, len(names), label)))
        fields["geometry"] = fields.pop("geometry")  # last, as layers have it
        yield pa.record_batch(fields)

"""DuckDB with bounded memory, spilling to a folder on the store's disk."""

from __future__ import annotations

import glob
from pathlib import Path

import duckdb

MEMORY = "1GB"


def connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory, with times in UTC.

    Args:
        spill: folder for data that does not fit in memory; created and removed as needed.
    """
    db = duckdb.connect()
    db.execute(f"SET memory_limit='{MEMORY}'; SET TimeZone='UTC'; SET preserve_insertion_order=false")
    db.execute(f"SET temp_directory={literal(spill)}; SET enable_progress_bar=false")  # it would mix with our output
    return db


def parquet(path: Path | str, *options: str) -> str:
    """A Parquet file in SQL, with any characters in its name.

    Args:
        path: of the file.
        options: of DuckDB's read_parquet, such as ``filename=true``.
    """
    return _call(glob.escape(str(path)), options)


def parts(folder: Path, pattern: str, *options: str) -> str:
    """All Parquet files that match a pattern below a folder, in SQL."""
    return _call(f"{glob.escape(str(folder))}/{pattern}", options)


def _call(path: str, options: tuple[str, ...]) -> str:
    return f"read_parquet({', '.join([literal(path), *options])})"


def literal(text: object) -> str:
    """Text in SQL."""
    return "'" + str(text).replace("'", "''") + "'"

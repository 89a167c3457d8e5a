"""Reading small files; writing files completely or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> None:
    """Write bytes under a temporary name first; an earlier file of that name stays until the new one is complete."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    flush(partial)
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write as indented JSON, whole or not at all, as ``write_whole`` does."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def flush(path: Path) -> None:
    """Wait until a file is on the disk, so that a power cut after its renaming leaves no empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(files: Iterable[Path]) -> tuple[int, int]:
    """Total size in bytes and time of the last change in ns: they tell whether files were exchanged."""
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV with a header."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)

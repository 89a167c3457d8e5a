"""Writes files whole or not at all: under a temporary name in the same folder first."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> None:
    """Write bytes; an earlier file of that name stays until the new one is complete."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    flush(partial)
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write as indented JSON, likewise."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def flush(path: Path) -> None:
    """Wait until a file is on the disk, so that a power cut after its renaming leaves no empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())

"""The manifest: a file of JSON lines, one per unit. Later lines win; an incomplete last line is ignored."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.rasterio_io.stac import UNIT, now, sha256
from export.runtime.errors import InputFault
from export.runtime.files import locked

NAME = "manifest.jsonl"
# QGIS changes these when it shows a map: it keeps statistics and styles in them.
_CHANGED_BY_QGIS = {".xml", ".qml", ".gpkg"}
Files = dict[str, list]  # name below the output folder: SHA-256, size in bytes, time of change in ns


class Manifest:
    """The manifest of an output folder, locked for this process."""

    def __init__(self, folder: Path) -> None:
        """Open, lock and read it.

        Raises:
            InputFault: another run holds it, or it cannot be written.
        """
        self.path = folder / NAME
        self.entries: dict[str, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115  # see close
        except OSError as error:
            raise InputFault.worded(f"{self.path}: cannot be written ({error.strerror or error})") from error
        if not locked(self._file):
            self._file.close()
            raise InputFault.worded(f"{folder}: in use by another run; wait for it or choose another --out")
        self._file.seek(0)
        text = self._file.read()
        for line in text.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):  # incomplete, or no entry
                entry = json.loads(line)
                self.entries[entry["unit"]] = entry
        if text and not text.endswith("\n"):
            self._write("\n")

    def add(self, unit: str, state: str, **facts: object) -> None:
        """Record the outcome of a unit.

        Raises:
            InputFault: the disk is full.
        """
        self.entries[unit] = {"unit": unit, "state": state, **facts, "time": now()}
        self._write(json.dumps(self.entries[unit]) + "\n")

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise InputFault.worded(
                f"{self.path}: cannot be written ({error.strerror or error}); make room, then run the same command to resume"
            ) from error

    def close(self) -> None:
        """Release it for other runs."""
        with contextlib.suppress(OSError):  # of a full disk, which was reported
            self._file.close()


def checksum(*parts: object) -> str:
    """SHA-256 of values as JSON, or as ``repr`` where JSON cannot express them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def input_checksum(files: Sequence[str]) -> str:
    """Checksum of a raster: name, size and modification time of its files, as make and rsync compare them.

    Reading every pixel would take as long as a fast model takes to map them. A remote file counts as unchanged under
    the same URL.
    """
    states = []
    for file in files:
        try:
            state = Path(file).stat()
            states.append((Path(file).name, state.st_size, state.st_mtime_ns))
        except OSError:
            states.append((file, 0, 0))
    return checksum(states)


def unchanged(folder: Path, files: Files) -> bool:
    """Whether results are as they were written; read only where size or modification time differ."""
    return all(_same(folder / name, *known) for name, known in files.items())


def _same(path: Path, expected: str, size: int, changed: int) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    if path.suffix in _CHANGED_BY_QGIS:
        return state.st_size >= size or path.suffix != ".gpkg"
    if state.st_size != size:
        return False
    return state.st_mtime_ns == changed or sha256(path) == expected


def recorded(folder: Path, name: str, unit: str) -> Files | None:
    """Files of a unit according to its STAC Item; None without an Item for this checksum.

    The Item takes its place after the files; they may have changed since: check with ``unchanged``.
    """
    item_path = (folder / name).with_name(f"{Path(name).name}.stac.json")
    try:
        item = json.loads(item_path.read_text("utf-8"))
        if item["properties"].get(UNIT) != unit:
            return None
        beside = Path(name).parent
        files: Files = {
            (beside / asset["href"]).as_posix(): [asset["file:checksum"][4:], asset["file:size"], 0]
            for asset in item["assets"].values()
        }
        files[item_path.relative_to(folder).as_posix()] = [sha256(item_path), item_path.stat().st_size, 0]
        return files
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def with_times(folder: Path, files: Files) -> Files:
    """The same files with their current modification times."""
    return {name: [known, size, (folder / name).stat().st_mtime_ns] for name, (known, size, _) in files.items()}

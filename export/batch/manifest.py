"""The manifest: a file of JSON lines, one per unit. Later lines win; an incomplete last line is ignored."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from export.rasterio_io.stac import UNIT, now
from export.runtime.errors import InputFault
from export.runtime.files import locked, sha256

NAME = "manifest.jsonl"
RUN = ".geoaware-lock"  # file with the id of the run that may give results their names
_PATIENCE = 10.0  # seconds for workers of a killed run to move a unit's files
# QGIS changes these when it shows a map: it keeps statistics and styles in them.
_CHANGED_BY_QGIS = {".xml", ".qml", ".gpkg"}
Files = dict[str, list]  # name below the output folder: SHA-256, size in bytes, time of change in ns


class Manifest:
    """The manifest of an output folder, locked for this process; ``run`` is the id of its run."""

    def __init__(self, folder: Path) -> None:
        """Open, lock and read it.

        Raises:
            InputFault: another run holds it, or it cannot be written.
        """
        self.path, self.run = folder / NAME, uuid.uuid4().hex
        self.entries: dict[str, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115  # see close
            free = locked(self._file) and self._take(self.run)
        except OSError as error:
            raise InputFault.worded(f"{self.path}: cannot be written ({error.strerror or error})") from error
        if not free:
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

    def provider_in(self, folder: str) -> str:
        """What ran the model for the units of a folder, empty where that is not recorded."""
        entries = (entry for unit, entry in self.entries.items() if unit.startswith(f"{folder}/"))
        return next((entry["provider"] for entry in entries if entry.get("provider")), "")

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise InputFault.worded(
                f"{self.path}: cannot be written ({error.strerror or error}); make room, then run the same command to resume"
            ) from error

    def _take(self, run: str) -> bool:
        """Say whose the folder is, between two units that are given their names; False where one takes too long."""
        end = time.monotonic() + _PATIENCE
        with open(self.path.with_name(RUN), "a+") as file:
            while not locked(file):
                if time.monotonic() > end:
                    return False
                time.sleep(0.05)
            file.truncate(0)
            file.write(run)
            return True

    def close(self) -> None:
        """Release it for other runs; whoever still works for this one can no longer give results their names."""
        with contextlib.suppress(OSError):  # of a full disk, which was reported
            self._take("")
            self.path.with_name(RUN).unlink()
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def holding(folder: Path, run: str) -> Iterator[None]:
    """Within it a unit's files may take their names: the folder is the run's, and no other run can take it meanwhile.

    A worker may outlive its run for as long as a tile takes.

    Raises:
        InputFault: the folder is no longer the run's.
    """
    lost = f"{folder}: is no longer this run's: {RUN} was removed, or another run began"
    try:
        file = open(folder / RUN, "r+")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputFault.worded(lost) from error
    with file:
        if not locked(file, shared=True) or file.read() != run:
            raise InputFault.worded(lost)
        yield


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

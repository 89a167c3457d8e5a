"""Files that have their final names only when they are whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from .errors import InputFault


class Staging:
    """A hidden folder in the target folder: results are made in it and moved out when all are sound.

    Leaving the ``with`` block removes the folder and whatever was not moved.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder.

        Raises:
            InputFault: nothing can be written there.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._inside = Path(tempfile.mkdtemp(prefix=f".geoaware-{os.getpid()}-", dir=folder))
        except OSError as error:
            raise InputFault(f"{folder}: cannot be written to ({error.strerror or error})") from error
        self._kept: list[str] = []

    def __truediv__(self, name: str) -> Path:
        """Where a file is made that stays behind."""
        return self._inside / name

    def keep(self, name: str) -> Path:
        """Where a file is made that ``commit`` will move to the target folder."""
        self._kept.append(name)
        return self._inside / name

    def commit(self) -> None:
        """Move the kept files, the last one named first in ``keep``: it says that the others are there."""
        for name in reversed(self._kept):
            with open(self._inside / name, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._inside / name, self.folder / name)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._inside, ignore_errors=True)


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder."""
    return shutil.disk_usage(folder).free


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

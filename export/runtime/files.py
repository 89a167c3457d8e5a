"""Files that get their final names only when they are complete; free room on the disk and in memory."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO

from .errors import InputFault

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = ".geoaware-run-"
_LOCK = "lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of a disk that knows none


def taken(results: Iterable[Path], sources: Iterable[str]) -> tuple[Path, str] | None:
    """The first result that would take the place of a file that is read, and that file; None where none does."""
    there = {identity(result): result for result in results if os.path.exists(result)}
    for source in sources if there else ():
        if identity(source) in there:
            return there[identity(source)], source
    return None


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def identity(file: str | Path) -> tuple[int, int] | str:
    """What tells a file that is there from all others, by whatever name; the name of one that is not there."""
    try:
        state = os.stat(file)
    except (OSError, ValueError):
        return str(file)
    return state.st_dev, state.st_ino


def place(path: Path) -> str:
    """What tells the places of two files apart, whether they are there or not: their names, on some disks in any case."""
    text = os.path.abspath(path)
    return unicodedata.normalize("NFC", text).casefold() if _ignores_case(os.path.dirname(text)) else text


@lru_cache(maxsize=1024)
def _ignores_case(folder: str) -> bool:
    above, name = os.path.split(folder)
    other = os.path.join(above, name.swapcase())
    if other == folder or not os.path.exists(folder):  # no letters, or not made yet: it will be as the one above
        return above != folder and _ignores_case(above)
    return os.path.exists(other) and os.path.samefile(folder, other)


def with_members(files: Iterable[str], files_of: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """The files of a raster, and those that the virtual rasters among them are made of."""
    waiting, seen = deque(files), set()
    first = waiting[0] if waiting else ""  # itself, with its files beside it
    while waiting:
        file = waiting.popleft()
        if file not in seen:
            seen.add(file)
            yield file
            if file != first and file.lower().endswith(".vrt"):
                waiting.extend(files_of(file))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it Ctrl-C and SIGTERM wait; they act when it ends. Only the main thread is ever interrupted by them."""
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not None:  # else it belongs to a library, and cannot be given back
                before[number] = signal.signal(number, lambda caught, frame: came.append(caught))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


class Staging:
    """A hidden folder in the target folder: results are made in it and moved out when all are sound.

    Leaving the ``with`` block removes the folder and whatever was not moved, and the target folder if it was made for
    nothing. A process that is killed leaves the
    folder: ``clear_leftovers`` knows it by its lock, which ends with the process.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder; raises InputFault if nothing can be written there."""
        self.folder, self._made = folder, _not_there(folder)
        try:
            self._inside, self._lock = _locked_folder(folder)
        except OSError as error:
            raise InputFault("not_writable", where=folder, reason=error.strerror or error) from error
        self.kept: list[str] = []

    def __truediv__(self, name: str) -> Path:
        """Where a file is made that stays behind."""
        return self._inside / name

    def keep(self, name: str) -> Path:
        """Where a file is made that ``commit`` will move to the target folder."""
        self.kept.append(name)
        return self / name

    def commit(self) -> None:
        """Move the kept files to the target folder; see ``commit``."""
        commit([self])

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with undisturbed():
            shutil.rmtree(self._inside, ignore_errors=True)
            self._lock.close()
            with suppress(OSError):  # something is in it, or another process was quicker
                for folder in self._made:
                    folder.rmdir()


def commit(stagings: Iterable[Staging]) -> None:
    """Give all kept files their final names, or none of them.

    The file that was kept first says that the others are there: it takes its place last, and the one that it replaces goes
    first. Ctrl-C waits; whatever else goes wrong, the former files come back.

    Raises:
        InputFault: a file cannot take its place.
    """
    moves = [_Move(staging, name) for staging in stagings for name in staging.kept]
    for move in moves:
        with open(move.made, "rb") as file:
            os.fsync(file.fileno())
    target = moves[0].target
    with undisturbed():
        try:
            moves[0].set_aside(copy=False)
            for move in reversed(moves):
                target = move.target
                move.set_aside(copy=True)
                os.replace(move.made, target)
            for target in {Path(f"{move.target}.aux.xml") for move in moves} - {move.target for move in moves}:
                target.unlink(missing_ok=True)  # GDAL kept it beside an older file, which it describes
        except BaseException as error:
            for move in moves:
                move.undo()
            if isinstance(error, OSError):
                raise InputFault("not_writable", where=target, reason=error.strerror or error) from error
            raise


class _Move:
    """A file that is to take its place, where another one may be."""

    def __init__(self, staging: Staging, name: str) -> None:
        self.made, self.target, self._former = staging / name, staging.folder / name, staging / f".former-{name}"

    def set_aside(self, *, copy: bool) -> None:
        """Keep what is in its place: a second name of it where ``copy`` and the disk allow that, else the only one."""
        if not os.path.lexists(self.target):
            return
        if self.target.is_dir() and not self.target.is_symlink():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")
        if copy:
            with suppress(OSError, NotImplementedError):
                os.link(self.target, self._former, follow_symlinks=False)
                return
        os.replace(self.target, self._former)

    def undo(self) -> None:
        """Put things back as they were, however far they came."""
        with suppress(OSError):
            if not self.made.exists():
                os.replace(self.target, self.made)
            if os.path.lexists(self._former) and not os.path.lexists(self.target):
                os.replace(self._former, self.target)


def _not_there(folder: Path) -> list[Path]:
    """The folders that are missing, the innermost first."""
    return [one for one in (folder, *folder.parents) if not os.path.lexists(one)]


def _locked_folder(folder: Path) -> tuple[Path, IO[str]]:
    """A new folder and its lock; again, where another process took it for a leftover, or ``folder`` for one that it made in vain."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            inside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
            lock = open(inside / _LOCK, "w")  # noqa: SIM115  # closed with the folder
        except FileNotFoundError:
            continue
        locked(lock)
        if (inside / _LOCK).exists():
            return inside, lock
        lock.close()


def locked(file: IO[str], *, shared: bool = False) -> bool:
    """Lock an open file for this process, or share it with others who do; False where another process holds it.

    Where the disk knows no locks everything counts as locked.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS
    return True


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder; what a living one works in is locked and stays."""
    if fcntl is None:
        return
    for leftover in folder.glob(f"{PREFIX}*"):
        try:
            with open(leftover / _LOCK, "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:  # killed before it could lock
            shutil.rmtree(leftover, ignore_errors=True)
        except OSError:  # alive, or on a disk that cannot tell
            continue


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder."""
    return shutil.disk_usage(folder).free


def trim_memory() -> None:
    """Give memory that is free in this process back to the system, where the C library keeps it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> int:
    """Bytes that can be taken without harm, as far as the system tells; 4 GB where it does not."""
    limits: list[int] = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        limits += [int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable")]
        most, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        stat = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").splitlines()
        cache = sum(int(line.split()[1]) for line in stat if line.startswith(("active_file ", "inactive_file ")))
        limits += [int(most) - int(used) + cache]  # what files are cached in is given back
    except (OSError, ValueError):  # no Linux, or a container without a limit ("max")
        pass
    if not limits and hasattr(os, "sysconf"):
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    return max(min(limits, default=4 * 1024**3), 256 * 1024**2)

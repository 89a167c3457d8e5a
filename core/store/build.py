"""Makes a chip store out of any source: shards in parallel, restartable, equal whatever interrupts it.

A source divides its work into tasks; each task becomes one shard, made in a folder of its own and renamed
when it is whole. So a run that was cut off, even by SIGKILL, goes on with the shards that are missing, and
the result depends neither on the number of workers nor on interruptions. Nothing here holds more than a
shard in memory; the index is sorted by DuckDB, which spills to disk.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from core.errors import UserError
from core.files import flush, write_json
from core.store.index import BOXES, ROWS, WORKING_FILES, sha256, write_index
from core.store.read import ChipStore, StoreInfo
from core.store.splits import Split

SHARD_BYTES = 64 << 20  # of pixels: small enough to lose without regret, large enough to be few
_HEADER_BYTES = 256  # a .npy header of fixed length can be written last


@dataclass(frozen=True, eq=False)
class Chip:
    """One image of one place at one date, as a source hands it over.

    Attributes:
        pixels: (bands, size, size), the store's data type.
        valid: (size, size) bool, where all bands hold data; what lies elsewhere is stored as 0.
        place: name of the place; images of one place share it, to the letter.
        lon: degrees, WGS 84, of the chip's centre; NaN where unknown.
        lat: likewise.
        reach_m: longest diagonal of what it shows, metres on the ground; NaN where unknown. Sides of the spatial
            split lie farther apart than the longest of them.
        datetime: UTC, with its zone; None where unknown.
        source: the file it comes from, for people.
        row: of its upper left corner in the source, px.
        column: likewise.
        group: what stays on one side where places are dealt by name (an image whose parts are places, say);
            the place itself when None.
        label: number into the store's classes, -1 where unknown.
        split: the side that the source states: train, val or test; None where it states none.
        mask: (size, size) uint8 class numbers, ``UNLABELLED`` where unknown; chips that pass the same array
            share one copy on disk.
        boxes: (N, 5) xmin, ymin, xmax, ymax in px of the chip, and class number.
    """

    pixels: np.ndarray
    valid: np.ndarray
    place: str
    lon: float
    lat: float
    datetime: datetime | None
    source: str
    row: int = 0
    column: int = 0
    reach_m: float = float("nan")
    group: str | None = None
    label: int = -1
    split: str | None = None
    mask: np.ndarray | None = None
    boxes: np.ndarray | None = None


@dataclass
class Tally:
    """What was kept; what was dropped and why; which files could not be used and why."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, why: str, count: int = 1) -> None:
        """Leave out something that is sound but not wanted; ``why`` reads on after a number."""
        self.dropped[why] += count

    def skip(self, file: object, why: str) -> None:
        """Leave out a file that cannot be used; ``--max-bad`` says how many may be."""
        self.bad.append((str(file), why))

    def add(self, other: Tally) -> None:
        """Add the counts of a shard."""
        self.kept += other.kept
        self.dropped += other.dropped
        reasons = dict(self.bad)
        for file, why in other.bad:  # a raster may fail in several shards, which come in any order
            reasons[file] = min(why, reasons.get(file, why))
        self.bad = list(reasons.items())

    def __str__(self) -> str:
        """A line for the user, and one for each bad file (the first ten)."""
        reasons = "; ".join(f"{count} {why}" for why, count in self.dropped.most_common())
        lines = [f"kept {self.kept} chips; dropped: {reasons or 'none'}"]
        lines += [f"left out {file}: {why}" for file, why in self.bad[:10]]
        if len(self.bad) > 10:
            lines.append(f"and {len(self.bad) - 10} more files, named in made.json")
        return "\n".join(lines)


class Source(Protocol):
    """Where chips come from. A frozen dataclass that can be pickled; no open files in it.

    Its ``repr`` is the fingerprint of the store: whatever changes the chips must stand in it, and nothing
    else (temporary paths, say: ``field(repr=False)``).
    """

    @property
    def info(self) -> StoreInfo:
        """What holds for all chips."""

    @property
    def bad(self) -> tuple[tuple[str, str], ...]:
        """Files that the planning had to leave out, and why."""

    @property
    def dropped(self) -> tuple[tuple[str, int], ...]:
        """What else it left out: a reason that reads on after a number, and the number."""

    @property
    def tasks(self) -> Sequence[Any]:
        """The work, one entry a shard, each of about ``SHARD_BYTES`` of pixels, always in the same order."""

    def chips(self, task: Any, tally: Tally) -> Iterator[Chip]:
        """Make the chips of one task, always the same ones; say in ``tally`` what was dropped or skipped."""


def build(
    source: Source,
    out: Path,
    *,
    split: Split = Split(),  # noqa: B008 - frozen
    max_bad: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
) -> tuple[ChipStore, Tally]:
    """Make a store, or go on with one that was cut off.

    Args:
        source: of the chips.
        out: folder of the store.
        split: how places are dealt to sides.
        max_bad: files that may be left out.
        workers: processes; one a core by default.
        overwrite: replace an existing store.

    Raises:
        UserError: the store exists; an unfinished one of another source is there; too many files are bad;
            no chip is left.
    """
    fingerprint = hashlib.sha256(repr(source).encode()).hexdigest()
    check_out(out, overwrite)
    _check_bad(Tally(bad=list(source.bad)), max_bad)
    partial = _open_partial(out, fingerprint, overwrite)
    made = {"fingerprint": fingerprint, "split": repr(split)}  # sides are dealt at the end: they may change
    tally = _read_tally(partial / "made.json", made)
    if tally is None:
        tally = Tally(0, Counter(dict(source.dropped)), list(source.bad))
        progress = tqdm(_shards(source, partial, workers), total=len(source.tasks), desc="shards", unit="shard")
        for shard in progress:
            tally.add(shard)
            _check_bad(tally, max_bad)
        if not tally.kept:
            shutil.rmtree(partial)
            raise UserError(f"no chip was kept, so there is no store: {tally}")
        write_index(partial, source.info, split)
        _write_tally(partial / "made.json", tally, made)
    _finish(partial, out)
    return ChipStore(out), tally


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder that may not be replaced; asked for before hours of listing, too.

    Raises:
        UserError: it exists, or is no chip store.
    """
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists already; choose another --out, or add --overwrite to replace it")
    if out.exists() and not (out / "store.json").exists() and any(out.iterdir()):
        raise UserError(f"{out}: is not a chip store, so --overwrite leaves it alone; choose another --out")


def _open_partial(out: Path, fingerprint: str, overwrite: bool) -> Path:
    """The folder of the unfinished store: a new one, or that of the same source cut off."""
    partial = out.with_name(out.name + ".partial")
    found = _read_json(partial / "made.json")
    if found.get("fingerprint") == fingerprint:
        print(f"{partial}: going on where an earlier run of this command stopped", flush=True)
    elif found and not overwrite:
        raise UserError(
            f"{partial}: holds an unfinished store of other options or input; finish that, or add --overwrite to drop it"
        )
    else:
        shutil.rmtree(partial, ignore_errors=True)
    for left_over in (partial / "shards").glob(".*"):
        shutil.rmtree(left_over)
    (partial / "shards").mkdir(parents=True, exist_ok=True)
    if found.get("fingerprint") != fingerprint:
        write_json(partial / "made.json", {"fingerprint": fingerprint})
    return partial


def _check_bad(tally: Tally, max_bad: int) -> None:
    if len(tally.bad) > max_bad:
        file, why = tally.bad[max_bad]
        raise UserError(
            f"{file}: {why} ({len(tally.bad)} bad, --max-bad {max_bad}); mend it, or raise --max-bad and go on with what is "
            "made already"
        )


def _shards(source: Source, partial: Path, workers: int | None) -> Iterator[Tally]:
    """Tallies of the shards, those that are there first."""
    todo = []
    for number in range(len(source.tasks)):
        folder = partial / "shards" / f"{number:05}"
        done = _read_tally(folder / "tally.json", {})
        if done is not None and not done.bad:
            yield done
            continue
        shutil.rmtree(folder, ignore_errors=True)  # its bad files may have been mended by now
        todo.append(number)
    workers = min(workers or os.cpu_count() or 1, len(todo))
    if workers <= 1:
        for number in todo:
            yield _make_shard(source, source.tasks[number], partial, number)
        return
    # Started afresh, not forked: GDAL and Arrow keep threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        waiting = iter(todo)
        pending: set[Future[Tally]] = set()
        try:
            for _ in range(2 * workers):
                pending |= _submit(pool, source, partial, waiting)
            while pending:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
                    pending |= _submit(pool, source, partial, waiting)
        except BrokenProcessPool as error:
            raise UserError(
                f"{partial}: a worker was ended from outside, for lack of memory perhaps; the same command with fewer "
                "--workers goes on where it stopped"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, source: Source, partial: Path, waiting: Iterator[int]) -> set:
    return {
        pool.submit(_make_shard, source, source.tasks[n], partial, n) for n in [next(waiting, None)] if n is not None
    }


def _end_with_parent() -> None:
    """End a worker when the main process is killed, which could not tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=[parent.sentinel], daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)


def _write_tally(path: Path, tally: Tally, made: dict[str, str]) -> None:
    content = {"kept": tally.kept, "dropped": dict(sorted(tally.dropped.items())), "bad": sorted(tally.bad)}
    write_json(path, made | content)


def _read_tally(path: Path, made: dict[str, str]) -> Tally | None:
    """What was kept and dropped; None where the work is not done, or was another."""
    found = _read_json(path)
    if "kept" not in found or any(found.get(name) != value for name, value in made.items()):
        return None
    return Tally(found["kept"], Counter(found["dropped"]), [(file, why) for file, why in found["bad"]])


def _read_json(path: Path) -> dict[str, Any]:
    """Content of a file; nothing where there is none, or one that a power cut left empty."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _make_shard(source: Source, task: Any, partial: Path, number: int) -> Tally:
    folder = partial / "shards" / f".{number:05}.{os.getpid()}"
    folder.mkdir()
    tally = Tally()
    with closing(_ShardWriter(folder, source.info, number)) as writer:
        for chip in source.chips(task, tally):
            writer.add(chip)
            tally.kept += 1
        writer.finish()
    for path in folder.iterdir():
        flush(path)
    _write_tally(folder / "tally.json", tally, {})
    target = partial / "shards" / f"{number:05}"
    if _read_tally(target / "tally.json", {}) is None:
        folder.rename(target)
    else:  # a worker of a run that was killed had just finished the same shard
        shutil.rmtree(folder)
    return tally


def _finish(partial: Path, out: Path) -> None:
    """What only the making needed goes; the store gets its name, and an old one goes last."""
    for shard in sorted((partial / "shards").iterdir()):
        for name in WORKING_FILES:
            (shard / name).unlink(missing_ok=True)
        if not any(shard.iterdir()):
            shard.rmdir()
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


class _ShardWriter:
    """Writes the arrays of one shard, and its part of the index."""

    def __init__(self, folder: Path, info: StoreInfo, number: int) -> None:
        self.folder, self.info, self.number = folder, info, number
        self.files: dict[str, IO[bytes]] = {}
        self.rows: list[dict[str, Any]] = []
        self.boxes: list[tuple] = []
        self.masks: dict[int, tuple[np.ndarray, int]] = {}  # by identity; kept, so that no other takes its place
        self.shape = (len(info.bands), info.chip_size, info.chip_size)
        self.all_valid = True

    def add(self, chip: Chip) -> None:
        """Append a chip."""
        if chip.pixels.shape != self.shape or chip.pixels.dtype != self.info.dtype:
            raise ValueError(
                f"{chip.source}: {chip.pixels.dtype} {chip.pixels.shape}, not {self.info.dtype} {self.shape}"
            )
        flat = chip.pixels.reshape(len(chip.pixels), -1) if chip.valid.all() else chip.pixels[:, chip.valid]
        known = flat.astype(np.float64)
        mean = known.sum(axis=1) / max(known.shape[1], 1)
        self._append("chips", np.where(chip.valid, chip.pixels, chip.pixels.dtype.type(0)))
        self._append("valid", chip.valid)
        self.all_valid &= bool(chip.valid.all())
        number = len(self.rows)
        if chip.boxes is not None:
            self.boxes += [(number, *box) for box in np.asarray(chip.boxes, np.float64)]
        self.rows.append(
            {
                "place": chip.place,
                "datetime": chip.datetime,
                "lon": (chip.lon + 180) % 360 - 180,  # beyond the antimeridian, places go on from the other side
                "lat": chip.lat,
                "stated_split": chip.split,
                "party": chip.group or chip.place,
                "reach_m": chip.reach_m,
                "label": chip.label,
                "shard": self.number,
                "chip": number,
                "mask": -1 if chip.mask is None else self._mask(chip.mask),
                "row": chip.row,
                "column": chip.column,
                "source": chip.source,
                "valid_pixels": known.shape[1],
                "means": mean,
                "spreads": np.einsum("ij,ij->i", known - mean[:, None], known - mean[:, None]),
                "lowest": known.min(initial=np.inf),
                "highest": known.max(initial=-np.inf),
            }
        )

    def _mask(self, mask: np.ndarray) -> int:
        if id(mask) not in self.masks:
            self._append("labels", mask)
            self.masks[id(mask)] = (mask, len(self.masks))
        return self.masks[id(mask)][1]

    def _append(self, name: str, array: np.ndarray) -> None:
        if name not in self.files:
            self.files[name] = (self.folder / f"{name}.npy").open("wb")
            self.files[name].write(b" " * _HEADER_BYTES)
        self.files[name].write(np.ascontiguousarray(array).tobytes())

    def finish(self) -> None:
        """Write headers, the part of the index, and checksums."""
        count, size = len(self.rows), self.info.chip_size
        self._head("chips", np.dtype(self.info.dtype), (count, *self.shape))
        self._head("valid", np.dtype(bool), (count, size, size))
        self._head("labels", np.dtype(np.uint8), (len(self.masks), size, size))
        if self.all_valid:
            (self.folder / "valid.npy").unlink(missing_ok=True)
        if self.rows:
            pq.write_table(pa.Table.from_pylist(self.rows, ROWS), self.folder / "rows.parquet")
        if self.boxes:
            pq.write_table(
                pa.Table.from_arrays([pa.array(column) for column in zip(*self.boxes)], schema=BOXES),
                self.folder / "boxes.parquet",
            )
        sums = {f"shards/{self.number:05}/{path.name}": sha256(path) for path in sorted(self.folder.glob("*.npy"))}
        write_json(self.folder / "sums.json", sums)

    def _head(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        if name in self.files:
            self.files[name].seek(0)
            self.files[name].write(_npy_header(dtype, shape))
            self.files.pop(name).close()

    def close(self) -> None:
        """Close what an error left open."""
        for file in self.files.values():
            file.close()


def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Header of numpy's format 1.0, padded to a fixed length."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    start = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.encode().ljust(_HEADER_BYTES - 11) + b"\n"

"""Builds a chip store from any source: shards in parallel, restartable, with the same result after interruptions.

A source divides its work into tasks; each task becomes one shard, written to a folder of its own that is renamed
when complete. An interrupted run, even by SIGKILL, resumes with the missing shards, and the result depends
neither on the number of workers nor on interruptions. At most one shard per worker is in memory; the index is sorted
by DuckDB, which spills to disk.
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
from concurrent.futures import ProcessPoolExecutor, as_completed
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
from core.files import flush, sha256, write_json
from core.store.index import BOXES, ROWS, WORKING_FILES, write_index
from core.store.read import ChipStore, StoreInfo
from core.store.splits import Split

SHARD_BYTES = 64 << 20  # of pixels: little is lost with a shard, and shards are few
_HEADER_BYTES = 256  # a .npy header of fixed length can be written last


@dataclass(frozen=True, eq=False)
class Chip:
    """One image of one place at one date, as a source yields it.

    Attributes:
        pixels: (bands, size, size), the store's data type.
        valid: (size, size) bool, where all bands hold data; other pixels are stored as 0.
        place: its name, the same for all its images.
        lon, lat: of the chip's centre, degrees WGS 84; NaN where unknown.
        datetime: UTC, with its zone; None where unknown.
        source: the file it is cut from, for people.
        row, column: its upper left corner in the source, px.
        reach_m: its longest diagonal on the ground, metres; NaN where unknown. Sides of the spatial split are
            farther apart than the longest of them.
        group: places of one group are on the same side when places are split by name (an image whose parts are
            places, say); the place itself when None.
        label: class number, -1 where unknown.
        split: side stated by the source: train, val or test; None where it states none.
        mask: (size, size) uint8 class numbers, ``UNLABELLED`` where unknown; chips with the same array share one
            copy on disk.
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
    """Counts of chips kept and of what was dropped, by reason; files that could not be used, with the reason."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, why: str, count: int = 1) -> None:
        """Count something usable that is left out; ``why`` follows a number in sentences."""
        self.dropped[why] += count

    def skip(self, file: object, why: str) -> None:
        """Note a file that cannot be used; ``--max-bad`` limits their number."""
        self.bad.append((str(file), why))

    def add(self, other: Tally) -> None:
        """Add the counts of a shard."""
        self.kept += other.kept
        self.dropped += other.dropped
        reasons = dict(self.bad)
        for file, why in other.bad:  # a raster may fail in several shards, which finish in any order
            reasons[file] = min(why, reasons.get(file, why))
        self.bad = list(reasons.items())

    def __str__(self) -> str:
        """A summary for the user, and one line for each of the first ten bad files."""
        reasons = "; ".join(f"{count} {why}" for why, count in self.dropped.most_common())
        lines = [f"kept {self.kept} chips; dropped: {reasons or 'none'}"]
        lines += [f"left out {file}: {why}" for file, why in self.bad[:10]]
        if len(self.bad) > 10:
            lines.append(f"and {len(self.bad) - 10} more files, named in made.json")
        return "\n".join(lines)


class ChipSource(Protocol):
    """Where chips come from: a frozen dataclass that can be pickled, without open files.

    Its ``repr`` is the fingerprint of the store: it must contain whatever affects the chips, and nothing else
    (no temporary paths, for instance: ``field(repr=False)``).
    """

    @property
    def info(self) -> StoreInfo:
        """What holds for all chips."""

    @property
    def bad(self) -> tuple[tuple[str, str], ...]:
        """Files left out while planning, and why."""

    @property
    def dropped(self) -> tuple[tuple[str, int], ...]:
        """What else was left out while planning: the reason, see ``Tally.drop``, and the number."""

    @property
    def tasks(self) -> Sequence[Any]:
        """The work, one entry per shard of about ``SHARD_BYTES`` of pixels, always in the same order."""

    def chips(self, task: Any, tally: Tally) -> Iterator[Chip]:
        """Make the chips of one task, always the same ones; count in ``tally`` what was dropped or skipped."""


def build(
    source: ChipSource,
    out: Path,
    *,
    split: Split = Split(),  # noqa: B008 - frozen
    max_bad: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
) -> tuple[ChipStore, Tally]:
    """Build a store, or resume an interrupted build.

    ``max_bad`` unreadable files are skipped before it stops; ``workers`` is one per core by default.

    Raises:
        UserError: the store exists, or an unfinished one of another source; too many files are bad; no chip was kept.
    """
    fingerprint = hashlib.sha256(repr(source).encode()).hexdigest()
    check_out(out, overwrite)
    _check_bad(Tally(bad=list(source.bad)), max_bad)
    partial = _open_partial(out, fingerprint, overwrite)
    made = {"fingerprint": fingerprint, "split": repr(split)}  # sides are assigned last, so the split may change
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
    """Refuse a folder that may not be replaced; also called before a long listing."""
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists; choose another --out, or add --overwrite to replace it")
    if out.exists() and not (out / "store.json").exists() and any(out.iterdir()):
        raise UserError(f"{out}: is not a chip store, so --overwrite does not replace it; choose another --out")


def _open_partial(out: Path, fingerprint: str, overwrite: bool) -> Path:
    """The folder of the unfinished store: a new one, or that of an interrupted build of the same source."""
    partial = out.with_name(out.name + ".partial")
    made = _read_json(partial / "made.json")
    if made.get("fingerprint") == fingerprint:
        print(f"{partial}: resuming an earlier run of this command", flush=True)
    elif made and not overwrite:
        raise UserError(f"{partial}: is an unfinished store of other options or input; finish it, or add --overwrite")
    else:
        shutil.rmtree(partial, ignore_errors=True)
    for left_over in (partial / "shards").glob(".*"):
        shutil.rmtree(left_over)
    (partial / "shards").mkdir(parents=True, exist_ok=True)
    if made.get("fingerprint") != fingerprint:
        write_json(partial / "made.json", {"fingerprint": fingerprint})
    return partial


def _check_bad(tally: Tally, max_bad: int) -> None:
    if len(tally.bad) > max_bad:
        file, why = tally.bad[max_bad]
        raise UserError(
            f"{file}: {why} ({len(tally.bad)} bad, --max-bad {max_bad}); repair it, or raise --max-bad and rerun to resume"
        )


def _shards(source: ChipSource, partial: Path, workers: int | None) -> Iterator[Tally]:
    """Tallies of the shards, finished ones first."""
    todo = []
    for number in range(len(source.tasks)):
        folder = partial / "shards" / f"{number:05}"
        done = _read_tally(folder / "tally.json", {})
        if done is not None and not done.bad:
            yield done
            continue
        shutil.rmtree(folder, ignore_errors=True)  # its bad files may have been repaired
        todo.append(number)
    tasks, workers = source.tasks, min(workers or os.cpu_count() or 1, len(todo))
    if workers <= 1:
        yield from (_make_shard(source, tasks[number], partial, number) for number in todo)
        return
    # Spawned, not forked: GDAL and Arrow have threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(_make_shard, source, tasks[number], partial, number) for number in todo}
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{partial}: a worker was killed, possibly for lack of memory; rerun with fewer --workers to resume"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """End a worker when the main process is killed."""

    def end() -> None:
        if parent := multiprocessing.parent_process():
            wait_for([parent.sentinel])
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _write_tally(path: Path, tally: Tally, made: dict[str, str]) -> None:
    content = {"kept": tally.kept, "dropped": dict(sorted(tally.dropped.items())), "bad": sorted(tally.bad)}
    write_json(path, made | content)


def _read_tally(path: Path, made: dict[str, str]) -> Tally | None:
    """The tally of finished work; None if it is unfinished or of another source."""
    content = _read_json(path)
    if "kept" not in content or any(content.get(name) != value for name, value in made.items()):
        return None
    return Tally(content["kept"], Counter(content["dropped"]), [(file, why) for file, why in content["bad"]])


def _read_json(path: Path) -> dict[str, Any]:
    """Content of a file; empty if there is none, or one that a power cut left empty."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _make_shard(source: ChipSource, task: Any, partial: Path, number: int) -> Tally:
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
    else:  # a worker of a killed run has just finished the same shard
        shutil.rmtree(folder)
    return tally


def _finish(partial: Path, out: Path) -> None:
    """Remove working files and rename the store; an old store is removed last."""
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
        self.masks: dict[int, tuple[np.ndarray, int]] = {}  # by identity; kept alive, so that identities stay unique
        self.shape = (len(info.bands), info.chip_size, info.chip_size)
        self.all_valid = True

    def add(self, chip: Chip) -> None:
        """Append a chip."""
        kind = f"{chip.pixels.dtype} {chip.pixels.shape}"
        if kind != f"{self.info.dtype} {self.shape}":
            raise ValueError(f"{chip.source}: {kind}, not {self.info.dtype} {self.shape}")
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
                "lon": (chip.lon + 180) % 360 - 180,  # wrapped at the antimeridian
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
        shapes = {"chips": (count, *self.shape), "valid": (count, size, size), "labels": (len(self.masks), size, size)}
        dtypes = {"chips": self.info.dtype, "valid": "bool", "labels": "uint8"}
        for name, file in self.files.items():
            file.seek(0)
            file.write(_npy_header(np.dtype(dtypes[name]), shapes[name]))
            file.close()
        if self.all_valid:
            (self.folder / "valid.npy").unlink(missing_ok=True)
        if self.rows:
            pq.write_table(pa.Table.from_pylist(self.rows, ROWS), self.folder / "rows.parquet")
        if self.boxes:
            boxes = pa.Table.from_arrays([pa.array(column) for column in zip(*self.boxes)], schema=BOXES)
            pq.write_table(boxes, self.folder / "boxes.parquet")
        sums = {f"shards/{self.number:05}/{path.name}": sha256(path) for path in sorted(self.folder.glob("*.npy"))}
        write_json(self.folder / "sums.json", sums)

    def close(self) -> None:
        """Close files that an error left open."""
        for file in self.files.values():
            file.close()


def _npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Header of numpy's format 1.0, padded to a fixed length."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    start = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.encode().ljust(_HEADER_BYTES - 11) + b"\n"

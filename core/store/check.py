"""``core.prepare check STORE``: whether the files of a store are complete and intact, and fit together.

Checksums cover every file; what they cannot show is whether a file was edited or exchanged together with its
checksum, so the arrays are compared with store.json and the index, and the sides of the split with each other.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from core.errors import UserError, first_line
from core.files import sha256
from core.store.read import SPLITS, ChipStore

_NO_CHECKSUM = ("SHA256SUMS", "made.json", "info.png")


def add_parser(sources: Any) -> argparse.ArgumentParser:
    """Add ``check`` to the command line."""
    parser = sources.add_parser(
        "check",
        help="verify a store",
        description="Verify a store: checksums, missing and unknown files, arrays against the index, the split.",
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the chip store")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Print every problem of a store, or a summary of an intact one."""
    problems = check(arguments.store)
    for problem in problems:
        print(problem)
    if problems:
        raise UserError(
            f"{arguments.store}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, listed above; copy these files "
            "again from where the store came from, or make it again with --overwrite"
        )
    store = ChipStore(arguments.store)
    for what, column in (("a date", "datetime"), ("coordinates", "lon")):
        if missing := int(pd.isna(store.column(column)).sum()):
            print(f"without {what}: {missing} of {len(store)} images")
    shards = len(np.unique(store.column("shard")))
    print(f"{len(store)} images, {len(store.places)} places, {shards} shards: no problems")


def check(store: str | Path) -> list[str]:
    """Problems of a store, one sentence each; an intact store has none. A ``UserError`` if there is no store."""
    store = Path(store)
    if not any((store / name).is_file() for name in ("store.json", "index.parquet", "SHA256SUMS")):
        raise UserError(f"{store}: is no chip store; make one with 'python -m core.prepare'")
    problems = dict.fromkeys(_check_files(store))
    try:
        problems |= dict.fromkeys(_check_index(ChipStore(store)))
    except UserError as error:
        problems[str(error)] = None
    return list(problems)


def _check_files(store: Path) -> Iterator[str]:
    """Compare the files with their list and their checksums."""
    if not (store / "SHA256SUMS").exists():
        yield "SHA256SUMS: is missing, so the other files cannot be verified"
        return
    sums: dict[str, str] = {}
    for number, line in enumerate((store / "SHA256SUMS").read_text(errors="replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield f"SHA256SUMS: line {number} is not the checksum of a file of the store"
        else:
            sums[name] = digest
    present = {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}
    yield from (f"{name}: is missing" for name in sorted(set(sums) - present))
    yield from (f"{name}: is not listed in SHA256SUMS" for name in sorted(present - set(sums) - set(_NO_CHECKSUM)))
    listed = sorted(set(sums) & present)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = tqdm(
            pool.map(lambda name: _digest(store / name), listed), total=len(listed), desc="checksums", disable=None
        )
        yield from (
            f"{name}: corrupt or truncated file (its checksum differs from SHA256SUMS)"
            for name, digest in zip(listed, digests)
            if digest != sums[name]
        )


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        return f"unreadable ({error})"


def _check_index(store: ChipStore) -> Iterator[str]:
    """Compare the index with the arrays of the shards; no place may be on two sides of the split."""
    place, side = store.column("place_number"), store.column("split")
    torn = np.flatnonzero((place[1:] == place[:-1]) & (side[1:] != side[:-1]))
    if len(torn):
        name = store.index["place"].iloc[torn[0]]
        sides = " and ".join(SPLITS[side[row]] for row in (torn[0], torn[0] + 1))
        yield f"index.parquet: place {name} is on two sides of the split: {sides}"
    shards = pd.DataFrame({name: store.column(name) for name in ("shard", "chip", "mask")}).groupby("shard")
    indexed = {f"{number:05}" for number in np.unique(store.column("shard"))}
    for name in sorted({path.name for path in (store.path / "shards").glob("*")} - indexed):
        yield f"shards/{name}: is not in the index"
    for number, rows in shards:
        yield from _check_shard(store, f"shards/{number:05}", np.sort(rows["chip"]), int(rows["mask"].max()) + 1)


def _check_shard(store: ChipStore, shard: str, chip: np.ndarray, masks: int) -> Iterator[str]:
    """Compare the arrays of a shard with store.json and with the chips and the number of masks in the index."""
    info, size = store.info, store.info.chip_size
    kinds = {
        "chips": ((len(chip), len(info.bands), size, size), info.dtype),
        "valid": ((len(chip), size, size), "bool"),
        "labels": ((masks, size, size), "uint8"),
    }
    for name, (shape, dtype) in kinds.items():
        path = store.path / shard / f"{name}.npy"
        if not path.exists():
            if name == "chips" or (name == "labels" and masks):
                yield f"{shard}/{name}.npy: is missing"
            continue
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            yield f"{shard}/{name}.npy: cannot be read ({first_line(error)})"
            continue
        if array.dtype != dtype or array.shape != shape:
            yield f"{shard}/{name}.npy: holds {array.dtype} {array.shape}, not {dtype} {shape} as store.json and the index say"
    if not np.array_equal(chip, np.arange(len(chip))):
        yield f"{shard}: the index does not name each of its {len(chip)} chips once"

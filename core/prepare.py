"""``python -m core.prepare``: turns imagery into a chip store, describes a store, or verifies it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import UserError, run_command
from core.imagery.land import swapped_axes
from core.report import store_info as info
from core.sources import detections, fmow, rasters, sample, table
from core.sources import torchgeo_datasets as torchgeo
from core.sources.options import check_range
from core.sources.stac import fetch as stac
from core.store import check
from core.store.build import Tally, build, check_out
from core.store.read import ChipStore
from core.store.splits import Split

SOURCES = (rasters, table, stac, fmow, torchgeo, detections, sample)


def main() -> int:
    """Parse the command line and run the source that it names."""
    arguments = _parser().parse_args()
    return run_command(lambda: arguments.run(arguments))


def _make(arguments: argparse.Namespace) -> None:
    for name, least in (("max_bad", 0), ("workers", 1), ("margin", 0)):
        check_range(arguments, name, least)
    out = arguments.out.resolve()
    check_out(out, arguments.overwrite)
    with _scratch(out) as scratch:
        store, tally = build(
            arguments.make(arguments, scratch),
            out,
            split=Split(arguments.split, arguments.margin, getattr(arguments, "block_deg", None)),
            max_bad=arguments.max_bad,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
        )
    _report(store, tally, arguments.out)


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """An empty folder on the store's disk, for one run at a time; the folder of a killed run is reused."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{out}: another run is building this store; wait for it, or choose another --out") from error
    folder = out.with_name(f".{out.name}.scratch")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _report(store: ChipStore, tally: Tally, out: Path) -> None:
    places = store.places
    several = (places["count"] > 1).sum()
    sides = {side: count for side, count in places["split"].value_counts(sort=False).items() if count}
    print(tally)
    print(f"{len(places)} places, {several} of them with more than one image; places by side: {sides}")
    if not several:
        print("warning: no place has two images, so temporal positives can only be views of the same image")
    if warning := swapped_axes(places[["lon", "lat"]].to_numpy()):
        print(f"warning: {warning}")
    print(f"chip store: {out} (describe it with 'python -m core.prepare info {out}')")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.prepare",
        description="Make a chip store (fixed-size chips on disk, indexed by place and date), describe it, or verify it.",
    )
    sources = parser.add_subparsers(required=True, metavar="SOURCE")
    for source in SOURCES:
        _add_common(source.add_parser(sources))
    for module in (info, check):
        module.add_parser(sources)
    return parser


def _add_common(source: argparse.ArgumentParser) -> None:
    source.set_defaults(run=_make)
    group = source.add_argument_group("the store")
    group.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder of the chip store")
    group.add_argument("--overwrite", action="store_true", help="replace an existing store")
    group.add_argument(
        "--max-bad", type=int, default=0, metavar="N",
        help="unreadable files to skip before stopping (default 0; rerun to continue)",
    )  # fmt: skip
    group.add_argument("--workers", type=int, metavar="N", help="number of worker processes (default: one per core)")
    group.add_argument(
        "--split", choices=("spatial", "place", "source"),
        help="how places are split into train, val and test: by spatial blocks with a margin, by place at random, or as in the "
        "source (default: source if it states sides, else spatial if there are coordinates, else place)",
    )  # fmt: skip
    group.add_argument(
        "--margin", type=float, metavar="METRES",
        help="minimum distance between places of two sides (default: 1.1 times the longest diagonal of a chip; 1 km if unknown)",
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m core.prepare``: imagery in, chip store out."""

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
        value = getattr(arguments, name)
        if value is not None and not value >= least:  # "not", for a margin of NaN
            raise UserError(f"--{name.replace('_', '-')} {value}: must not be below {least}")
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
    """An empty folder on the store's disk, for one run at a time; that of a run that was killed is taken over."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{out}: another run is making this store; wait for it, or choose another --out") from error
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
        print("warning: no place has two images, so a temporal positive can only be another view of the same image")
    if warning := swapped_axes(places[["lon", "lat"]].to_numpy()):
        print(f"warning: {warning}")
    print(f"chip store: {out} (look at it with 'python -m core.prepare info {out}')")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.prepare",
        description="Make a chip store (fixed-size chips on disk, indexed by place and date), look into one, or check it.",
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
        help="files that may be left out because they cannot be used; beyond, it stops, and goes on later (default 0)",
    )  # fmt: skip
    group.add_argument("--workers", type=int, metavar="N", help="processes at work (default: one a core)")
    group.add_argument(
        "--split", choices=("spatial", "place", "source"),
        help="how places are dealt to train, val and test: by blocks of longitude and latitude with a margin, one by one, "
        "or as the source says (default: the source's sides where it states them, else spatial where there are coordinates)",
    )  # fmt: skip
    group.add_argument(
        "--margin", type=float, metavar="METRES",
        help="places of two sides lie farther apart than this (default: a little more than the longest diagonal of a chip on "
        "the ground; 1 km where that is unknown)",
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m core.prepare``: imagery in, chip store out."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError, run_command
from core.prepare import check, detections, fmow, info, rasters, sample, stac, table, torchgeo
from core.prepare.build import Tally, build
from core.prepare.land import swapped_axes
from core.store import ChipStore

SOURCES = (rasters, table, stac, fmow, torchgeo, detections, sample)


def main() -> int:
    """Parse the command line and run the source that it names."""
    arguments = _parser().parse_args()
    return run_command(lambda: arguments.run(arguments))


def _make(arguments: argparse.Namespace) -> None:
    for name in ("max_bad", "workers", "margin"):
        if (value := getattr(arguments, name)) is not None and value < (name == "workers"):
            raise UserError(f"--{name.replace('_', '-')} {value}: must not be below {int(name == 'workers')}")
    with _scratch(arguments.out) as scratch:
        source = arguments.make(arguments, scratch)
        store, tally = build(
            source,
            arguments.out,
            split=arguments.split,
            margin_m=arguments.margin,
            block_deg=getattr(arguments, "block_deg", None),
            max_bad=arguments.max_bad,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
        )
    _report(store, tally)


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """An empty folder on the store's disk; that of a run that was killed is taken over."""
    folder = out.with_name(f".{out.name}.scratch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _report(store: ChipStore, tally: Tally) -> None:
    places = store.places
    several = (places["count"] > 1).sum()
    sides = {side: count for side, count in places["split"].value_counts(sort=False).items() if count}
    print(tally)
    print(f"{len(places)} places, {several} of them with more than one image; places by side: {sides}")
    if not several:
        print("warning: no place has two images, so a temporal positive can only be another view of the same image")
    if warning := swapped_axes(places[["lon", "lat"]].to_numpy()):
        print(f"warning: {warning}")
    print(f"chip store: {store.path} (look at it with 'python -m core.prepare info {store.path}')")


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
        help="places of two sides lie farther apart than this (default: one and a half chips; 1 km where the pixel size is unknown)",
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())

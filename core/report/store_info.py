"""``core.prepare info STORE``: describes a chip store as text, as a picture and as a layer for QGIS."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.store.index import check_gpkg, write_gpkg
from core.store.read import SPLITS, ChipStore
from core.store.summary import Summary, counted, degrees
from export.runtime.amounts import size_text

_LISTED = 30  # classes in the text's table
_BAR = 24  # characters


def add_parser(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command to ``core.prepare``."""
    parser = sources.add_parser(
        "info",
        help="describe a store: text, a picture, a layer for QGIS",
        description="Describe a chip store in text and in a picture: places by date, a map, class counts.",
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the chip store")
    parser.add_argument("--out", type=Path, metavar="PNG", help="the picture (default: info.png in the store)")
    parser.add_argument("--gpkg", type=Path, metavar="FILE", help="also write the index as a GeoPackage for QGIS")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing GeoPackage")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Print, draw, and write the GeoPackage if requested.

    Raises:
        UserError: no such store, a corrupt one, or a file cannot be written.
    """
    store = ChipStore(arguments.store)
    picture = arguments.out or store.path / "info.png"
    if picture.suffix.lower() != ".png":
        raise UserError(f"{picture}: the picture is a PNG; name it .png")
    if arguments.gpkg is not None:
        check_gpkg(store, arguments.gpkg, arguments.overwrite)
    summary = Summary.of(store)
    encoding = sys.stdout.encoding or "utf-8"  # characters that the terminal lacks become question marks
    print(describe(store, summary).encode(encoding, "replace").decode(encoding), flush=True)

    from core.report.store_picture import write_picture  # matplotlib takes a second to load

    try:
        write_picture(store, summary, picture)
    except OSError as error:
        raise UserError(f"{picture}: cannot be written ({error.strerror}); choose another place with --out") from error
    print(f"picture         {picture}")
    if arguments.gpkg is not None:
        write_gpkg(store, arguments.gpkg, overwrite=arguments.overwrite)
        print(f"GeoPackage      {arguments.gpkg}")


def describe(store: ChipStore, summary: Summary) -> str:
    """Description of the store, one property per line, and tables of bands, splits and classes."""
    info, made = store.info, _made(store)
    gsd = "pixel size unknown" if info.gsd is None else f"{info.gsd:.4g} m per pixel"
    sample = "" if summary.sampled == summary.images else f" (of {summary.sampled:,} randomly sampled images)"
    facts = {
        "store": f"{store.path}, {size_text(summary.bytes)}",
        "images": f"{summary.images:,} of {counted(len(summary.dates), 'place')}",
        "repeated": f"{counted(int((summary.dates > 1).sum()), 'place')} with more than one date",
        "dates per place": "",
        "dates": "none",
        "chips": f"{info.chip_size} x {info.chip_size} px, {gsd}",
        "bands": f"{len(info.bands)}: {', '.join(info.bands)}",
        "pixels": f"{info.dtype}, {info.unit or 'of unknown unit'}, {info.value_range[0]:g} to {info.value_range[1]:g}",
        "with data": f"{summary.with_data:.1%} of the pixels{sample}",
        "located": "no place has coordinates",
        "provenance": info.provenance or "not stated",
        "licence": info.license or "not stated",
        "kept": made,
    }
    if summary.first is not None:
        without = f"; {counted(summary.undated, 'image')} without" if summary.undated else ""
        least, middle, most = summary.dates.min(), np.median(summary.dates), summary.dates.max()
        facts["dates per place"] = f"{least}" if least == most else f"{least} to {most}, median {middle:g}"
        facts["dates"] = f"{str(summary.first)[:10]} to {str(summary.last)[:10]}{without}"
    if (box := summary.extent) is not None:
        without = f"; {counted(summary.unlocated, 'place')} without coordinates" if summary.unlocated else ""
        west, east = (degrees(value, "W", "E") for value in (box.west, box.east))
        south, north = (degrees(value, "S", "N") for value in (box.south, box.north))
        facts["located"] = f"{west} to {east}, {south} to {north}{without}"
    lines = [f"{name:<15} {text}" for name, text in facts.items() if text]
    return "\n\n".join(["\n".join(lines), _band_table(store), _split_table(summary), _class_table(store, summary)])


def _made(store: ChipStore) -> str:
    """Numbers of chips kept and dropped when the store was made."""
    path = store.path / "made.json"
    if not path.exists():
        return ""
    try:
        made = json.loads(path.read_text())
        dropped = "; ".join(f"{count:,} {why}" for why, count in made["dropped"].items())
        bad = [f"\n{'left out':<15} {file}: {why}" for file, why in made["bad"]]
        more = f"\n{'':<15} and {len(bad) - 10} more files, see made.json" if len(bad) > 10 else ""
        return f"{counted(made['kept'], 'chip')}; dropped: {dropped or 'none'}" + "".join(bad[:10]) + more
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: corrupt ({error}); remove it, or make the store again with --overwrite") from error


def _band_table(store: ChipStore) -> str:
    info = store.info
    width = max(map(len, ("band", *info.bands)))
    rows = [f"{name:<{width}} {mean:>12.5g} {std:>12.5g}" for name, mean, std in zip(info.bands, info.mean, info.std)]
    return "\n".join([f"{'band':<{width}} {'mean':>12} {'std':>12}  of the training places", *rows])


def _split_table(summary: Summary) -> str:
    images = summary.split_images.sum(axis=1)
    rows = [
        f"{name:<15} {places:>12,} {count:>12,}"
        for name, places, count in zip(SPLITS, summary.split_places, images)
        if places
    ]
    return "\n".join([f"{'split':<15} {'places':>12} {'images':>12}", *rows])


def _class_table(store: ChipStore, summary: Summary) -> str:
    """Images of each class, the most frequent first, with fractions of mask pixels and numbers of objects if any."""
    names = [*(entry.name for entry in store.info.classes), "not labelled"]
    images = summary.split_images.sum(axis=0)
    objects = None if summary.split_objects is None else summary.split_objects.sum(axis=0)
    shown = images if objects is None else objects
    if len(names) == 1:
        return "no labels" if objects is None else f"{counted(int(objects[0]), 'object')} without a class"
    order = np.argsort(-shown[:-1], kind="stable")
    width = max(map(len, names))
    head = f"{'class':<{width}} {'images':>12}"
    head += "" if summary.label_pixels is None else f"{'mask pixels':>13}"
    head += "" if objects is None else f"{'objects':>12}"

    def row(number: int, bar: str) -> str:
        share = "" if summary.label_pixels is None else f"{summary.label_pixels[number]:>13.1%}"
        boxes = "" if objects is None else f"{objects[number]:>12,}"
        return f"{names[number]:<{width}} {images[number]:>12,}{share}{boxes}  {bar}".rstrip()

    # Block characters if the terminal supports them.
    ink = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    longest = max(1, shown[:-1].max())
    lines = [head, *(row(number, ink * round(_BAR * shown[number] / longest)) for number in order[:_LISTED])]
    if len(order) > _LISTED:
        lines.append(f"and {len(order) - _LISTED} more classes, {shown[order[_LISTED:]].sum():,} in all")
    return "\n".join([*lines, row(-1, "")])

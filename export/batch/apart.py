"""Keeps the files that a run writes apart from each other, and from all that it reads, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from export.batch.inputs import Raster
from export.batch.join import BLOCK
from export.batch.run import Plan
from export.batch.units import blocks_folder
from export.runtime.errors import InputFault, RuntimeFault
from export.runtime.files import identity, place


def check_apart(rasters: Sequence[Raster], plan: Plan, read: Iterable[str]) -> None:
    """Refuse a run of which a file would take the place of another one, or of a file that is read.

    ``read`` names what is read beside the rasters. A raster is opened only where files with the names of results are
    there: a virtual one may be made of them.

    Raises:
        InputFault: two files would meet.
    """
    out = plan.settings.out
    written: dict[str, tuple[Path, Raster]] = {}
    for raster in rasters:
        for path in _written(raster, plan):
            other = written.setdefault(place(path), (path, raster))[1]
            if other is not raster:
                raise _meeting(path, raster, other)
    folders = {place(blocks_folder(out / raster.name)): raster for raster in rasters}
    for path, raster in written.values():
        block_of = folders.get(place(path.parent)) if BLOCK.match(path.name) else None
        above = [written[key][1] for key in (place(out / folder) for folder in _folders(raster)) if key in written]
        for owner in [*above, block_of]:
            if owner and owner is not raster:
                raise _meeting(path, raster, owner)
    standing = dict(_standing(written, folders))
    for source in _read(rasters, plan, read) if standing else ():
        for path, raster in [standing[identity(source)]] if identity(source) in standing else []:
            if not plan.is_done(raster) and _is_written(path, raster, plan):
                raise InputFault("overwrites_input", where=path, source=source)


def _meeting(path: Path, one: Raster, other: Raster) -> InputFault:
    return InputFault.worded(
        f"{path}: would be a result of {one.where} and of {other.where}; rename one of them, or use two output folders"
    )


def _written(raster: Raster, plan: Plan) -> Iterator[Path]:
    """Every file that the results of a raster may have, in one piece or joined."""
    settings, target = plan.settings, plan.settings.out / raster.name
    yield from plan.all_stacked(raster)
    for suffix in (".tif",) if settings.merge else (".tif", ".vrt"):
        yield from settings.request.targets(target, settings.card.task, suffix).paths


def _standing(
    written: dict[str, tuple[Path, Raster]], folders: dict[str, Raster]
) -> Iterator[tuple[tuple[int, int] | str, tuple[Path, Raster]]]:
    """The files that are there under the names of results: what tells each from others, its path and its raster."""
    for folder in {path.parent for path, _ in written.values()}:
        for path in _entries(folder):
            block_of = folders.get(place(path))
            if place(path) in written:
                yield identity(path), written[place(path)]
            for block in _entries(path) if block_of else ():
                if block_of and BLOCK.match(block.name):
                    yield identity(block), (block, block_of)


def _folders(raster: Raster) -> list[Path]:
    """The folders that a raster's results lie in, below the output folder."""
    return list(Path(raster.name).parents)[:-1]


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _read(rasters: Sequence[Raster], plan: Plan, read: Iterable[str]) -> Iterator[str]:
    """The files that a run reads; those that are not there do not matter."""
    yield from read
    for raster in rasters:
        yield from plan.files(raster)


def _is_written(path: Path, raster: Raster, plan: Plan) -> bool:
    """Whether a raster that is to be mapped writes this file: virtual rasters and blocks only where it is cut."""
    settings, target = plan.settings, plan.settings.out / raster.name
    try:
        cut = plan.is_cut(raster)
    except RuntimeFault:  # which is reported when its turn comes
        return False
    suffix = ".vrt" if cut and not settings.merge else ".tif"
    paths = settings.request.targets(target, settings.card.task, suffix).paths
    return path in (*paths, *plan.all_stacked(raster)) or (cut and path.parent == blocks_folder(target))

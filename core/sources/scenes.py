"""Dated rasters over one area: which fit together, in which order their bands are read, and what is assumed about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.imagery.georasters import GeoRaster, band_names, open_raster, overlap, stamp_of, stored_type
from core.imagery.pixels import assumed
from export.rasterio_io.opening import dtype_of
from export.runtime.raster.bands import meant
from export.runtime.raster.lattice import Placement
from export.runtime.raster.sentinel2 import baseline_of, offset_of, stated_offset


@dataclass(frozen=True)
class Scene:
    """One dated raster; its unit, where the file's format states it.

    Attributes:
        date: UTC, with its zone.
        dataset: what GDAL opens: a path, or a virtual raster as XML.
        stamp: size and time of the file: a changed file of the same name makes another store.
        bands: numbers of its bands in the order of the first scene's; empty where it is their own.
        dtype: of a store that holds its values.
    """

    name: str
    date: datetime
    dataset: str
    stamp: tuple[int, int]
    unit: str | None = None
    bands: tuple[int, ...] = ()
    dtype: str = ""

    @classmethod
    def of_file(cls, where: str | Path, date: datetime) -> Scene:
        """A raster, by the name of its file or GDAL's own."""
        return cls(Path(where).name, date, str(where), stamp_of(where))


def fitting(
    scenes: Sequence[Scene],
    placement: Placement | None,
    rule: str,
    one_unit: bool,
    bad: Sequence[tuple[str, str]],
) -> tuple[list[Scene], list[tuple[str, str]]]:
    """The scenes that fit the first usable one, and the others with the reason; what is assumed is printed.

    ``rule`` is one of ``gaps.RULES``; ``one_unit``: the user states the unit of all.
    """
    usable: list[Scene] = []
    bad = list(bad)
    notes: dict[str, list[str]] = {}
    for scene in scenes:
        try:
            with open_raster(scene.dataset, placement, scene.name) as source:
                bands: tuple[int, ...] = ()
                said = [*source.notes, *(() if usable else assumed(source, rule))]
                if usable:
                    with open_raster(usable[0].dataset, placement, usable[0].name) as grid:
                        bands, order = _check_fit(source, grid, one_unit)
                        said += [order] if order else []
                        _check_stored(_scaling(scene, source), _scaling(usable[0], grid), usable[0].name)
                usable.append(replace(scene, bands=bands, dtype=source.dtype))
            for note in said:
                notes.setdefault(note, []).append(scene.name)
        except UserError as error:
            bad.append((scene.name, str(error).removeprefix(f"{scene.name}: ")))
    if not usable:
        raise UserError(": ".join(bad[0]))
    for note, (name, *others) in notes.items():
        print(f"{name}{f' and {len(others)} more' if others else ''}: {note}", flush=True)
    dtypes = sorted({scene.dtype for scene in usable})
    if len(dtypes) > 1:
        print(
            f"the pixels of the scenes are {' and '.join(dtypes)}: all are stored as {stored_type(dtypes)}", flush=True
        )
    return usable, bad


def _check_fit(source: GeoRaster, grid: GeoRaster, one_unit: bool) -> tuple[tuple[int, ...], str]:
    """Refuse a scene that cannot be mixed with the first one; the order of its bands, and what is to be said of it."""
    bands, expected = band_names(source), band_names(grid)
    if len(bands) != len(expected):
        raise UserError(f"has {len(bands)} bands, but {grid.name} has {len(expected)}")
    kinds, known = (" and ".join(sorted({dtype_of(one.stated, band) for band in one.bands})) for one in (source, grid))
    if _family(source) != _family(grid) and not one_unit:
        raise UserError(
            f"its pixels are {kinds}, but those of {grid.name} are {known}, and such values often differ in unit; convert "
            "them, or state the unit of all with --unit"
        )
    if not overlap(source, grid):
        raise UserError(f"does not overlap {grid.name}, which gives the grid")
    own, its = ", ".join(bands), ", ".join(expected)
    meanings = meant(bands), meant(expected)  # B4 is red
    if sorted(bands) == sorted(expected):
        order = [bands.index(name) for name in expected]
    elif all(meanings[0]) and all(meanings[1]):
        if sorted(meanings[0]) != sorted(meanings[1]):
            raise UserError(f"its bands are {own}, those of {grid.name} {its}; give the same bands")
        order = [meanings[0].index(name) for name in meanings[1]]
    else:
        return (), f"its bands {own} are taken in their order for those of {grid.name}, {its}"
    if order == sorted(order):
        return (), ""
    return tuple(source.bands[at] for at in order), f"its bands {own} are read in the order of {grid.name}, {its}"


def _family(source: GeoRaster) -> str:
    """8-bit pictures, whole numbers and measures are seldom in one unit."""
    kinds = {np.dtype(dtype_of(source.stated, band)) for band in source.bands}
    if kinds == {np.dtype("uint8")}:
        return "picture"
    return "measure" if any(kind.kind in "fc" for kind in kinds) else "number"


def _scaling(scene: Scene, source: GeoRaster) -> tuple[float | None, float | None]:
    """Scale of the values, and what is to be added to them; None where it is unknown."""
    if scene.unit:  # as product folders state it, and done
        return None, None
    scale, stated = source.scales[0], stated_offset(source.scales[0], source.offsets[0])
    baseline = baseline_of(scene.name, source.tags().get("PROCESSING_BASELINE", ""))
    if stated is None and baseline is not None:
        stated = offset_of(baseline)[0]
    return None if scale == 1 else scale, stated


def _check_stored(
    own: tuple[float | None, float | None], expected: tuple[float | None, float | None], first: str
) -> None:
    """Refuse values of another scale or offset: as stored, they would be mixed."""
    for what, mine, its in zip(("scale", "offset"), own, expected):
        if None not in (mine, its) and mine != its:
            raise UserError(
                f"its values have the {what} {mine:g}, those of {first} {its:g}, so they cannot be mixed; "
                "convert them, and state the new scale and offset with gdal_edit.py -scale -offset"
            )

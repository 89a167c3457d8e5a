"""The rasters that a command line names: files, folders, patterns, lists, STAC Items."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from export.rasterio_io.dated import MaskFile
from export.rasterio_io.vrt import Stated
from export.runtime.errors import InputFault
from export.runtime.raster.band_names import BandFacts, BandNames, sensors_of
from export.runtime.raster.bands import find_band
from export.runtime.raster.dates import date_of_item
from export.runtime.raster.mask_band import MASKS
from export.runtime.raster.names import absolute, beside, is_path, stem
from export.runtime.raster.sentinel2 import band_fields, item_baseline, item_offset, item_scale

SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".img"}  # of the rasters in a folder
LONGEST_NAME = 200  # bytes: a file system allows 255, and suffixes follow
_IMAGE_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")
_NO_DATA_ROLES = {"thumbnail", "overview", "metadata"}


class Part(NamedTuple):
    """A band of an Item, from 1 in its file; 0: all bands of the file, ``band`` is then empty.

    ``stated`` is what the Item states of each band of the file that it lists, of one at least.
    """

    band: str
    where: str
    number: int = 1
    stated: tuple[Stated, ...] = (Stated(),)


@dataclass(frozen=True)
class Raster:
    """One raster to map, or a series of several dates.

    Attributes:
        name: of its results: a path below the output folder, without a suffix.
        where: a path, a URL, or another name that GDAL opens.
        parts: of a STAC Item with one file per band, or that states something of its only file; ``where`` then names
            the Item.
        baseline: Sentinel-2 processing baseline from the Item, else empty.
        date: that its Item states.
        assets: key and address of the Item's images, among which its mask may be.
        mask: what hides pixels of it.
        dates: of a series, its rasters in the order of their dates; ``where`` then only names it.
    """

    name: str
    where: str
    parts: tuple[Part, ...] = ()
    baseline: str = ""
    date: datetime | None = None
    assets: tuple[tuple[str, str], ...] = ()
    mask: MaskFile | None = None
    dates: tuple[DatedRaster, ...] = ()

    @property
    def read(self) -> list[str]:
        """Every file or address that it names."""
        own = [part.where for part in self.parts] or ([] if self.dates else [self.where])
        masks = [mask.where for mask in (self.mask, *(one.mask for one in self.dates)) if mask and mask.where]
        return [*own, *(where for one in self.dates for where in one.raster.read), *masks]

    def elsewhere(self) -> Raster:
        """The same for a process that runs in another folder."""
        dates = tuple(
            replace(one, raster=one.raster.elsewhere(), mask=one.mask and one.mask.elsewhere()) for one in self.dates
        )
        return replace(self, where=absolute(self.where), dates=dates, mask=self.mask and self.mask.elsewhere())


@dataclass(frozen=True)
class DatedRaster:
    """A raster of a series: its date, in UTC, the numbers of its bands in a stack (empty: all), and what masks it."""

    date: datetime
    raster: Raster
    bands: tuple[int, ...] = ()
    mask: MaskFile | None = None


def is_file_name(name: str) -> bool:
    """Whether results can be called this: one name, no folders, not too long."""
    plain = Path(name).name == name and name.strip() not in ("", "..")
    return plain and len(os.fsencode(name)) <= LONGEST_NAME


def is_one(word: str) -> bool:
    """Whether an argument of the command line names one raster, not several."""
    return not (Path(word).is_dir() or _is_pattern(word) or _is(word, ".txt") or _is(word, ".json"))


def rasters(words: Sequence[str], bands: Sequence[str], out: Path) -> list[Raster]:
    """Expand the arguments of the command line to rasters, in order.

    ``bands`` are those of the model, for Items with one file per band; rasters in the folder ``out`` are not inputs.

    Raises:
        InputFault: an argument matches nothing, a list or an Item cannot be read, or two rasters would have results
            of the same name.
    """
    by_name: dict[str, Raster] = {}
    for raster in (raster for word in words for raster in expanded(word, bands, out)):
        other = by_name.setdefault(raster.name, raster)
        if other.where != raster.where:
            raise InputFault.worded(
                f"{raster.where} and {other.where}: both maps would be named {raster.name}; give the folder that "
                "contains them (sub-folders are kept), or use two output folders"
            )
    return list(by_name.values())


def expanded(word: str, bands: Sequence[str], out: Path) -> Iterator[Raster]:
    """The rasters that one argument of the command line names; see ``rasters``."""
    if Path(word).is_dir():
        yield from _of_folder(Path(word), Path(word), out)
    elif _is(word, ".txt"):
        for line in _lines(Path(word)):
            yield from expanded(line, bands, out)
    elif _is(word, ".json"):
        yield from _of_stac(Path(word), bands)
    elif _is_pattern(word):
        yield from _of_pattern(word, out)
    else:
        yield Raster(stem(word), word)


def _is(word: str, suffix: str) -> bool:
    return word.lower().endswith(suffix) and Path(word).is_file()


def _is_pattern(word: str) -> bool:
    return is_path(word) and glob.has_magic(word) and not os.path.lexists(word)


def _of_folder(folder: Path, base: Path, out: Path) -> Iterator[Raster]:
    if out.exists() and out.samefile(folder):
        raise InputFault.worded(f"{folder}: is also --out; choose another folder for the maps")
    folders = _folders(folder, {os.path.realpath(out)})
    files = [path for one in folders for path in _entries(one) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    if not files:
        raise InputFault.worded(f"{folder}: contains no rasters ({', '.join(sorted(SUFFIXES))})")
    for path in files:
        yield _below(path, base)


def _below(path: Path, base: Path) -> Raster:
    return Raster(path.relative_to(base).with_suffix("").as_posix(), str(path))


def _folders(folder: Path, visited: set[str]) -> Iterator[Path]:
    """A folder and its sub-folders, not hidden; each real folder once, however many links lead to it."""
    visited.add(os.path.realpath(folder))
    yield folder
    below = [path for path in _entries(folder) if path.is_dir()]
    for path in sorted(below, key=Path.is_symlink):  # a link gives way to the folder itself
        if os.path.realpath(path) not in visited:
            yield from _folders(path, visited)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputFault("not_readable", where=folder, reason=error.strerror) from error


def _of_pattern(pattern: str, out: Path) -> Iterator[Raster]:
    """Rasters that match a pattern; their names keep the folders from the first wildcard on."""
    parts = Path(pattern).parts
    wildcard = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:wildcard])
    paths = [Path(path) for path in _matches(parts)]
    if not paths:
        raise InputFault.worded(f"{pattern}: matches no file")
    for path in paths:
        if not path.is_dir():
            yield _below(path, base)
        elif "**" not in pattern:  # which matches the files in the folder too
            yield from _of_folder(path, base, out)


def _matches(parts: tuple[str, ...]) -> list[str]:
    """Paths that match a pattern, sorted; unlike ``glob``, ``**`` visits each real folder once."""
    if "**" not in parts:
        return sorted(glob.glob(str(Path(*parts))))
    first = parts.index("**")
    rest = parts[first + 1 :] or ("*",)
    starts = map(Path, glob.glob(str(Path(*parts[:first])))) if first else [Path()]
    folders = [folder for start in starts if start.is_dir() for folder in _folders(start, set())]
    return sorted({path for folder in folders for path in _matches((*Path(glob.escape(str(folder))).parts, *rest))})


def _lines(path: Path) -> list[str]:
    """Rasters of a list; a relative path counts from here, else from the list."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputFault.worded(f"{path}: cannot be read as a list of rasters ({error})") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise InputFault.worded(f"{path}: names no rasters")
    if any(_is(name, ".txt") for name in names):
        raise InputFault.worded(f"{path}: names another list; name rasters")
    return [beside(name, path.parent) for name in names]


def _of_stac(path: Path, bands: Sequence[str]) -> Iterator[Raster]:
    try:
        document = json.loads(path.read_text("utf-8"))
        items = document["features"] if document.get("type") == "FeatureCollection" else [document]
        read = [_of_item(item, path, bands) for item in items]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputFault.worded(f"{path}: is neither a STAC Item nor an ItemCollection ({error!r})") from error
    if not read:
        raise InputFault.worded(f"{path}: contains no Items")
    yield from read


def _of_item(item: dict[str, Any], path: Path, bands: Sequence[str]) -> Raster:
    """The raster of an Item: its only image, or one image per band of the model."""
    name = str(item["id"]).replace("/", "_")
    if not is_file_name(name):
        raise InputFault.worded(f"{path}: the Item id {name!r} cannot be the name of a file")
    every = {key: asset for key, asset in item["assets"].items() if _is_image(asset)}
    images = {key: asset for key, asset in every.items() if not any(mask.is_named(key) for mask in MASKS.values())}
    images = images or every
    if not images:
        raise InputFault.worded(f"{path}: the Item {name} has no image")
    known = item_baseline(item)
    baseline, label = "" if known is None else f"{known:05.2f}", f"{path}: {name}"
    rest = date_of_item(item), tuple((key, _href(asset["href"], path)) for key, asset in every.items())
    if len(images) == 1:
        (asset,) = images.values()
        return Raster(name, *_whole(item, asset, path, label, baseline), *rest)
    found = _by_band(item, images, bands, path)
    missing = [band for band, asset in zip(bands, found) if asset is None]
    several = {key: asset for key, asset in images.items() if len(_listed(asset)) > 1 and "visual" not in _roles(asset)}
    if missing and len(several) == 1:
        (asset,) = several.values()
        return Raster(name, *_whole(item, asset, path, label, baseline), *rest)
    if missing:
        raise InputFault.worded(
            f"{path}: the Item {name} has {len(images)} images ({', '.join(images)}) and none for {', '.join(missing)}; "
            "name its bands with --bands"
        )
    assets = [asset for asset in found if asset]
    parts = (Part(band, _href(asset["href"], path), 1, _stated(item, asset)) for band, asset in zip(bands, assets))
    return Raster(name, label, tuple(parts), baseline, *rest)


def _whole(
    item: dict[str, Any], asset: dict[str, Any], path: Path, label: str, baseline: str
) -> tuple[str, tuple[Part, ...], str]:
    """What to open of an asset that holds all bands: itself, or with what the Item states of it."""
    whole = Part("", _href(asset["href"], path), 0, _stated(item, asset))
    return (label, (whole,), baseline) if baseline or any(map(any, whole.stated)) else (whole.where, (), "")


def _by_band(
    item: dict[str, Any], images: dict[str, dict], bands: Sequence[str], path: Path
) -> list[dict[str, Any] | None]:
    """The image of each band among those of one band: by the keys of the Item, else by the bands' names."""
    single = {key: asset for key, asset in images.items() if len(_listed(asset)) < 2}
    described = [next(iter(_listed(asset)), {}) for asset in single.values()]
    texts = " / ".join(str(item["properties"].get(key, "")) for key in ("platform", "constellation"))
    sensors = sensors_of(f"{texts} / {item.get('collection')} / {item['id']}", {"PLATFORM": texts})
    calls = [
        list(single),
        [str(band.get("name", "")) for band in described],
        [str(band.get("eo:common_name") or band.get("common_name") or "") for band in described],
    ]
    lights = [band.get("eo:center_wavelength") or band.get("center_wavelength") for band in described]
    found: list[dict[str, Any] | None] = []
    for band in bands:
        number = 0
        for names in calls:
            facts = [BandFacts(name, "", 1000 * light if light else None) for name, light in zip(names, lights)]
            number = number or find_band(str(path), BandNames(facts, sensors), band)
        found.append(list(single.values())[number - 1] if number else None)
    return found


def _stated(item: dict[str, Any], asset: dict[str, Any]) -> tuple[Stated, ...]:
    listed = _listed(asset)
    count = max(1, len(listed), len(asset.get("raster:bands") or ()))
    names = [_name(band) for band in listed] + [""] * count
    fields = [band_fields(asset, number) for number in range(1, count + 1)]
    return tuple(Stated(name, _stored_as(item, one), _nodata(one)) for name, one in zip(names, fields))


def _name(band: dict[str, Any]) -> str:
    """What an Item calls a band: its common name, else its name, else its light."""
    light = band.get("eo:center_wavelength") or band.get("center_wavelength")
    name = band.get("eo:common_name") or band.get("common_name") or band.get("name")
    return str(name or (f"{1000 * light:g} nm" if light else ""))


def _stored_as(item: dict[str, Any], fields: dict[str, Any]) -> tuple[float, float] | None:
    """Scale, and offset in reflectance, that an Item states of a band."""
    offset, scale = item_offset(item, fields), item_scale(fields)
    return None if offset is None else (scale, offset * scale)


def _nodata(fields: dict[str, Any]) -> float | None:
    """The value that an Item states for no data, which may be the text "nan"; JSON has no such number."""
    try:
        return float(fields["nodata"])
    except (KeyError, TypeError, ValueError):
        return None


def _is_image(asset: dict[str, Any]) -> bool:
    kind, path = str(asset.get("type", "")), asset["href"].split("?")[0]
    if _NO_DATA_ROLES & _roles(asset):
        return False
    return kind.startswith(_IMAGE_TYPES) or (not kind and PurePosixPath(path).suffix.lower() in SUFFIXES)


def _listed(asset: dict[str, Any]) -> list[dict[str, Any]]:
    """What an Item says of the bands of an asset, in STAC 1.1 or before."""
    return asset.get("bands") or asset.get("eo:bands") or []


def _roles(asset: dict[str, Any]) -> set[str]:
    return set(asset.get("roles") or ())


def _href(href: str, path: Path) -> str:
    return beside(href, path.parent) if not is_path(href) else str(path.parent / href)

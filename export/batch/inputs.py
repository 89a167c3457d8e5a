"""What a user names on the command line, as rasters: files, folders, patterns, lists, STAC Items."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from export.runtime.errors import InputFault
from export.runtime.raster.bands import common_name

SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".img"}  # that are taken out of a folder
_IMAGE_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")
_NO_DATA_ROLES = {"thumbnail", "overview", "metadata"}


@dataclass(frozen=True)
class Raster:
    """One raster to be mapped.

    Attributes:
        name: of its results: a path below the output folder, without a suffix.
        where: a path, a URL, or another name that GDAL opens.
        parts: (band, where) of an Item whose bands are files of their own; ``where`` is the Item then.
        baseline: Sentinel-2's processing baseline, where an Item says it.
    """

    name: str
    where: str
    parts: tuple[tuple[str, str], ...] = ()
    baseline: str = ""


def stem(raster: str) -> str:
    """Name of a raster's results: the file's name without its suffix."""
    path = raster.split("?")[0] if "://" in raster else raster
    return PurePosixPath(path).stem if "://" in path or path.startswith("/vsi") else Path(path).stem


def is_one(word: str) -> bool:
    """Whether a word of the command line names one raster, not several."""
    return not (Path(word).is_dir() or _is_pattern(word) or _is(word, ".txt") or _is(word, ".json"))


def rasters(words: Sequence[str], bands: Sequence[str], out: Path) -> list[Raster]:
    """Every raster that the words stand for, in their order.

    Args:
        words: of the command line.
        bands: names of the bands that the model reads, for Items with a file a band.
        out: folder for the results; rasters in it are results, not input.

    Raises:
        InputFault: a word stands for nothing, a list or an Item cannot be read, or two rasters would get one name.
    """
    found: dict[str, Raster] = {}
    for raster in (raster for word in words for raster in _expand(word, bands, out)):
        other = found.setdefault(raster.name, raster)
        if other.where == raster.where:
            continue
        raise InputFault(
            f"{raster.where} and {other.where}: their maps would both be called {raster.name}; give the folder that "
            "holds them (sub-folders are kept), or map them into two folders"
        )
    return list(found.values())


def _expand(word: str, bands: Sequence[str], out: Path) -> Iterator[Raster]:
    if Path(word).is_dir():
        yield from _of_folder(Path(word), Path(word), out)
    elif _is(word, ".txt"):
        for line in _lines(Path(word)):
            yield from _expand(line, bands, out)
    elif _is(word, ".json"):
        yield from _of_stac(Path(word), bands)
    elif _is_pattern(word):
        yield from _of_pattern(word, out)
    else:
        yield Raster(stem(word), word)


def _is(word: str, suffix: str) -> bool:
    return word.lower().endswith(suffix) and Path(word).is_file()


def _is_pattern(word: str) -> bool:
    local = "://" not in word and not word.startswith("/vsi")
    return local and glob.has_magic(word) and not os.path.lexists(word)


def _of_folder(folder: Path, base: Path, out: Path) -> Iterator[Raster]:
    if out.exists() and out.samefile(folder):
        raise InputFault(f"{folder}: is --out too; choose another folder for the maps")
    found = [path for path in _below(folder, out) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise InputFault(f"{folder}: holds no rasters ({', '.join(sorted(SUFFIXES))})")
    for path in found:
        yield Raster(path.relative_to(base).with_suffix("").as_posix(), str(path))


def _below(folder: Path, out: Path) -> Iterator[Path]:
    """Files in a folder and its sub-folders, by name; neither hidden ones nor results."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif not (out.exists() and out.samefile(path)):
            yield from _below(path, out)


def _of_pattern(pattern: str, out: Path) -> Iterator[Raster]:
    """What a pattern finds; the folders from its first wildcard on are kept in the names."""
    parts = Path(pattern).parts
    plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:plain])
    found = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
    if not found:
        raise InputFault(f"{pattern}: finds no file")
    for path in found:
        if not path.is_dir():
            yield Raster(path.relative_to(base).with_suffix("").as_posix(), str(path))
        elif "**" not in pattern:  # which finds what is in the folder too
            yield from _of_folder(path, base, out)


def _lines(path: Path) -> list[str]:
    """Lines of a list; a relative path counts from here, else from the list."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputFault(f"{path}: cannot be read as a list of rasters ({error})") from error
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise InputFault(f"{path}: names no rasters")
    if any(_is(line, ".txt") for line in named):
        raise InputFault(f"{path}: names another list; name rasters")
    beside = [path.parent / line for line in named]
    return [
        str(other) if "://" not in line and not os.path.lexists(line) and os.path.lexists(other) else line
        for line, other in zip(named, beside)
    ]


def _of_stac(path: Path, bands: Sequence[str]) -> Iterator[Raster]:
    try:
        document = json.loads(path.read_text("utf-8"))
        items = document["features"] if document.get("type") == "FeatureCollection" else [document]
        found = [_of_item(item, path, bands) for item in items]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputFault(f"{path}: is neither a STAC Item nor an ItemCollection ({error!r})") from error
    if not found:
        raise InputFault(f"{path}: holds no Items")
    yield from found


def _of_item(item: dict[str, Any], path: Path, bands: Sequence[str]) -> Raster:
    """The raster of an Item: its only image, or one image for each band that the model reads."""
    name = str(item["id"]).replace("/", "_")
    images = {key: asset for key, asset in item["assets"].items() if _is_image(asset)}
    if not images:
        raise InputFault(f"{path}: the Item {name} has no image")
    if len(images) == 1:
        (asset,) = images.values()
        return Raster(name, _href(asset["href"], path))
    by_band = {common_name(band): asset for key, asset in images.items() for band in _bands(key, asset)}
    missing = [band for band in bands if common_name(band) not in by_band]
    if missing:
        raise InputFault(
            f"{path}: the Item {name} has {len(images)} images ({', '.join(images)}) and none for {', '.join(missing)}; "
            "name its bands with --bands"
        )
    parts = tuple((band, _href(by_band[common_name(band)]["href"], path)) for band in bands)
    if len({where for _, where in parts}) == 1 and len(parts) > 1:
        return Raster(name, parts[0][1])
    return Raster(name, f"{path}: {name}", parts, str(item["properties"].get("s2:processing_baseline", "")))


def _is_image(asset: dict[str, Any]) -> bool:
    kind, path = str(asset.get("type", "")), asset["href"].split("?")[0]
    if _NO_DATA_ROLES & set(asset.get("roles") or ()):
        return False
    return kind.startswith(_IMAGE_TYPES) or (not kind and PurePosixPath(path).suffix.lower() in SUFFIXES)


def _bands(key: str, asset: dict[str, Any]) -> Iterator[str]:
    """Names by which an asset's band may be asked for; the asset's own key goes last and so counts most."""
    described = [*(asset.get("eo:bands") or ()), *(asset.get("bands") or ())]
    for band in described:
        for field in ("name", "common_name", "eo:common_name"):
            if band.get(field):
                yield band[field]
    yield key


def _href(href: str, path: Path) -> str:
    if "://" in href or href.startswith("/"):
        return href
    return str(path.parent / href)

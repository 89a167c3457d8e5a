"""Names that GDAL opens as rasters: paths, URLs, and one raster of a file that holds several (``netcdf:two.nc:a``)."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

ON_SERVERS = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift")  # GDAL's file systems
_DRIVER = re.compile(r"[A-Za-z]\w+:(?!//)")  # C: is a drive of Windows, https:// a URL


def split(name: str, folder: Path = Path()) -> tuple[str, str, str]:
    """Find the path in a name: ``NETCDF:"two.nc":a`` gives ``NETCDF:"``, ``two.nc`` and ``":a``.

    A path or URL alone has nothing around it; a subdataset whose file is unknown gives an empty path. Relative paths
    count from ``folder``.
    """
    if not _DRIVER.match(name) or os.path.lexists(folder / name):
        return "", name, ""
    quoted = re.fullmatch(r'([^"]*")([^"]+)(".*)', name)
    if quoted:
        return quoted[1], quoted[2], quoted[3]
    colons = [number for number, letter in enumerate(name) if letter == ":"]
    parts = [(first + 1, end) for first in colons for end in [*colons, len(name)] if first + 1 < end]
    paths = [(a, b) for a, b in parts if name[a:b].startswith("/vsi") or os.path.lexists(folder / name[a:b])]
    first, end = max(paths, key=lambda part: part[1] - part[0], default=(len(name), len(name)))
    return name[:first], name[first:end], name[end:]


def is_far(name: str) -> bool:
    """Whether a raster lies on a server."""
    path = split(name)[1]
    return "://" in path or path.startswith(ON_SERVERS)


def is_path(name: str, folder: Path = Path()) -> bool:
    """Whether a name is that of a file or folder on a disk, and nothing else. Relative paths count from ``folder``."""
    before, path, _ = split(name, folder)
    return not before and "://" not in path and not path.startswith("/vsi")


def absolute(name: str) -> str:
    """The same name for a process that runs in another folder."""
    before, path, after = split(name)
    return f"{before}{os.path.abspath(path) if os.path.exists(path) else path}{after}"


def beside(name: str, folder: Path) -> str:
    """A name from a list in a folder: a relative path counts from here, else from that folder."""
    before, path, after = split(name, folder)
    here = os.path.lexists(split(name)[1])
    return f"{before}{folder / path}{after}" if path and not here and os.path.lexists(folder / path) else name


def below(name: str, folder: Path) -> str:
    """A name from a table whose relative paths all count from a folder, also those of archives (``/vsizip/all.zip/a.tif``)."""
    before, path, after = split(name, folder)
    archive = re.match(r"/vsi(?:zip|tar|gzip|7z|rar)/(?!/|\{|vsi)", path)
    if archive:
        before, path = before + archive[0], path[archive.end() :]
    return name if not path or "://" in path or path.startswith("/vsi") else f"{before}{folder / path}{after}"


def short(name: str) -> str:
    """The name without the folders of a local path, for records that others read."""
    before, path, after = split(name)
    return name if "://" in path else f"{before}{Path(path).name}{after}"


def variable(name: str) -> str:
    """What one raster of a file is called there."""
    return (re.findall(r"[\w-]+", split(name)[2]) or [""])[-1]


def stem(name: str) -> str:
    """What results are called: the file's name without its suffix, then what names one raster in it."""
    before, path, after = split(name)
    path = path.split("?")[0] if "://" in path else path
    inside = re.findall(r"[\w-]+", before.partition(":")[2] + after)
    file = PurePosixPath(path).stem if "://" in path or path.startswith("/vsi") else Path(path).stem
    return "_".join(part for part in (file, *inside) if part)

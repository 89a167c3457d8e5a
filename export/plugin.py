"""Stages the QGIS plugin and packs it: ``python -m export.plugin``.

What lies in the zip is what the tests load: text, and the starter models. Two builds of the same sources give the same
bytes.
"""

from __future__ import annotations

import argparse
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from core.version import ROOT, version

NAME = "geoaware"
MODELS = ROOT / "models"
TEXT_SUFFIXES = (".py", ".svg", ".md", ".html", ".ts")  # nothing else of the sources goes into the plugin
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: builds do not differ by their hour


def stage(folder: Path) -> Path:
    """Copy everything that ships into ``folder``, which is emptied first.

    Raises:
        ValueError: the folder has another name than ``geoaware``, by which QGIS imports the plugin, or holds something
            that is no staged plugin.
    """
    if folder.name != NAME:
        raise ValueError(f"{folder}: the plugin folder must be named '{NAME}'")
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "metadata.txt").is_file():
            raise ValueError(f"{folder}: exists and is no staged plugin; nothing was removed")
        shutil.rmtree(folder)
    for part, into in ((ROOT / "qgis_plugin", folder), (ROOT / "export" / "runtime", folder / "runtime")):
        for source in part.rglob("*"):
            if not source.is_file() or source.suffix not in TEXT_SUFFIXES:
                continue
            target = into / source.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (folder / "models").mkdir()
    for source in [*MODELS.glob("*.onnx"), *MODELS.glob("README.md")]:  # the card of a model lies inside it
        shutil.copyfile(source, folder / "models" / source.name)
    for name in ("metadata.txt", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(dist: Path) -> Path:
    """Stage the plugin into ``build/plugin`` and zip it as ``geoaware-<version>.zip`` in ``dist``."""
    staged = stage(ROOT / "build" / "plugin" / NAME)
    dist.mkdir(parents=True, exist_ok=True)
    target = dist / f"{NAME}-{version()}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in staged.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(staged.parent).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16  # rw-r--r-- whatever the umask of this machine
            archive.writestr(entry, path.read_bytes())
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m export.plugin", description="Build the zip of the QGIS plugin.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    folder = parser.parse_args(arguments).out
    if not (ROOT / "qgis_plugin").is_dir():
        parser.error("an installed package has no plugin sources: run this in a checkout of GeoAware")
    target = build(folder)
    print(f"{target}\nInstall it in QGIS: Plugins > Manage and Install Plugins > Install from ZIP")


if __name__ == "__main__":
    main()

"""The chip stores, made by the project's own commands."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd

from benchmarks.learning.buildings import write_coco

ROOT = Path(__file__).parents[2]


def prepare(*arguments: object) -> None:
    """Run ``core.prepare`` as a user would."""
    subprocess.run([sys.executable, "-m", "core.prepare", *map(str, arguments)], cwd=ROOT, check=True)


def make_store(name: str, source: Path | None, work: Path) -> None:
    """Make the store of a dataset in the work folder, if it is not there yet.

    Args:
        name: of the dataset.
        source: folder of its files; the quickstart's sample is found without one.
        work: folder of the stores.
    """
    out = work.resolve() / name
    if out.exists():
        return
    if name in ("bluemarble", "map"):  # the quickstart's two
        larger = ["--map"] if name == "map" else []
        prepare("sample", *larger, *(["--data", source.resolve()] if source else []), "--out", out)
        return
    if source is None:
        raise ValueError(f"{name} has no folder")
    {"peru": peru, "eurosat": eurosat, "eurosat-spatial": eurosat_spatial, "dubai": dubai}[name](source.resolve(), out)


def peru(folder: Path, out: Path) -> None:
    """Dated scenes, cut at 32 px."""
    prepare("rasters", *sorted(folder.glob("*.tif")), "--size", 32, "--date-format", "%Y", "--out", out)


SPLITS = {"train": "split_train", "val": "split_valid", "test": "split_test"}  # at random
SPATIAL = {side: f"eurosat-spatial-{side}" for side in ("train", "val", "test")}  # by longitude; torchgeo's


def eurosat(folder: Path, out: Path) -> None:
    """The tar with its split files, as a table of images."""
    _eurosat(folder, out, SPLITS)


def eurosat_spatial(folder: Path, out: Path) -> None:
    """The same images, the sides apart on the ground."""
    _eurosat(folder, out, SPATIAL)


def _eurosat(folder: Path, out: Path, splits: dict[str, str]) -> None:
    table, root = eurosat_table(folder, out.with_name("eurosat-files"), splits)
    prepare("table", table, "--root", root, "--size", 64, "--coordinates", "none", "--out", out)


def eurosat_table(folder: Path, files: Path, splits: dict[str, str] = SPLITS) -> tuple[Path, Path]:
    """Unpack EuroSAT, and list its images with class and side: a CSV, and the folder that its paths start from.

    The lists of a split name files, with or without the folder of their class.
    """
    with tarfile.open(next(folder.glob("*.tar"))) as archive:
        archive.extractall(files, filter="data")
    root = next(path for path in sorted(files.iterdir()) if path.is_dir())
    rows = [
        {"path": f"{label}/{name.split('/')[-1]}", "label": label, "split": side}
        for side, file in splits.items()
        for name in (folder / f"{file}.txt").read_text().split()
        for label in [name.split("/")[0] if "/" in name else name.rsplit("_", 1)[0]]
    ]
    table = files / f"{splits['train']}.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table, root


def dubai(folder: Path, out: Path) -> None:
    """Boxes around the buildings of the masks, in chips of 128 px that hold at least one."""
    labels = write_coco(folder, out.with_name("dubai-boxes.json"))
    prepare("detections", "--images", folder, "--labels", labels, "--size", 128, "--skip-empty", "--out", out)

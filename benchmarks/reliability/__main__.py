"""Runs all failure tests: ``python -m benchmarks.reliability [kills|disk|rasters|models|load]``; writes docs/reliability.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import rasterio

from benchmarks.reliability.child import ROOT
from benchmarks.reliability.disk import NotPermitted, fill_many
from benchmarks.reliability.kills import kill_many
from benchmarks.reliability.load import change_while_read, many_polygons, map_many, noise_polygons, run_often
from benchmarks.reliability.models import good_model, open_many
from benchmarks.reliability.rasters import COPIES, GEOTIFFS, read_many

PAGE = ROOT / "docs" / "reliability.md"
KILLS, DISKS, RASTERS, MUTANTS = 50, 20, 300, 200
RUNS, SMALL, POLYGONS, CORNERS, NOISE, CHANGES = 300, 3000, 100_000, 200_000, 1000, 50


def _model(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(good_model().SerializeToString())
    return path


def kills(folder: Path) -> tuple[str, list[str]]:
    """SIGKILL."""
    found = kill_many(folder, _model(folder), KILLS)
    return (
        f"{found.kills} runs over six rasters (map, confidence, areas, polygons, Item) were killed at random moments; after every "
        f"fifth one, {found.finished} times in all, a run was left to finish. Compared by checksum with an undisturbed run, no file "
        f"under its final name was incomplete, and every following run finished with identical files. Hidden folders of killed runs "
        f"left after a finished run: at most {found.hidden}.\n\n"
        "Not compared: dates in the Items and inside the GeoPackages (their geometries and attributes are compared)."
    ), found.problems


def disk(folder: Path) -> tuple[str, list[str]]:
    """Small disks."""
    try:
        found = fill_many(folder, _model(folder), DISKS)
    except NotPermitted as reason:
        return f"Not run: {reason}.", []
    return (
        f"{DISKS} memory disks, from 16 kB to three times the size of the results: {found.refused} runs reported that the disk is full "
        f"and how much is needed, and left nothing; {found.done} fitted, with the same files as on a large disk."
    ), found.problems


def rasters(folder: Path) -> tuple[str, list[str]]:
    """Damaged rasters."""
    found = read_many(folder, _model(folder), RASTERS)
    kinds = ", ".join([*(f"GeoTIFF {name}" for name in GEOTIFFS), *COPIES, "virtual"])
    return (
        f"{RASTERS} damaged copies of a small scene in {len(GEOTIFFS) + len(COPIES) + 1} formats ({kinds}): truncated, with bytes "
        f"changed anywhere or in the header, or with wrong entries in the TIFF directory. {found.mapped} gave a map that reads back, "
        f"{found.refused} one sentence; no traceback, no crash, none took longer than a minute, no incomplete file.\n\n"
        "A damaged file that can still be read gives a map of what is read: formats without checksums cannot detect it."
    ), found.problems


def models(folder: Path) -> tuple[str, list[str]]:
    """Untrusted ONNX."""
    mutated, harmful = open_many(folder, MUTANTS)
    return (
        f"{MUTANTS} mutants of a small network (bytes changed or lost; wrong attributes, shapes, types, operators, connections and "
        f"versions): {mutated.mapped} ran, {mutated.refused} were refused in one sentence.\n\n"
        f"{harmful.refused} files made to do harm, all refused: weights in other files (`..`, absolute, symbolic and hard links, a "
        "device), operators of unknown domains (in the graph, in branches, in functions, behind a second graph), precompiled nodes, "
        "outputs and intermediate results larger than the memory, endless loops, thousands of tiles at once, empty and circular graphs, "
        "recursive functions, weights smaller than their shape, files of other kinds, a renamed zip.\n\n"
        "The guard (`export/runtime/model/guard.py`) reads the protobuf before onnxruntime does, and never opens a second file; "
        "onnxruntime's memory is limited; a graph with loops is stopped after 30 s over one tile."
    ), mutated.problems + harmful.problems


def load(folder: Path) -> tuple[str, list[str]]:
    """Long and large runs."""
    model = _model(folder)
    names = ("often", "many", "polygons", "noise", "changes")
    often, many, polygons, noise, changes = (folder / name for name in names)
    for part in (often, many, polygons, noise, changes):
        part.mkdir()
    runs, small = run_often(often, model, RUNS), map_many(many, model, SMALL)
    others = [
        many_polygons(polygons, model, POLYGONS, CORNERS),
        noise_polygons(noise, model, NOISE),
        change_while_read(changes, model, CHANGES),
    ]
    return (
        f"{RUNS} runs in one process, with confidence, polygons and areas: {runs.megabytes:.0f} MB more than after the first "
        f"{RUNS // 5}, no file left open. {SMALL} small rasters in one run: {small.milliseconds:.0f} ms each, {small.megabytes:.0f} MB "
        "more; a second run skips all of them.\n\n"
        f"A mask of {POLYGONS:,} polygons and one of a polygon of {CORNERS:,} corners: mapped is what GDAL's own rasterisation of them "
        f"covers. Polygons of {NOISE} x {NOISE} px of noise, drawn again, are the map.\n\n"
        f"{CHANGES} runs whose raster was cut or replaced while it was read: each gave a map or one sentence, no traceback, no crash."
    ), [problem for part in (runs, small, *others) for problem in part.problems]


SECTIONS: dict[str, tuple[str, Callable[[Path], tuple[str, list[str]]]]] = {
    "kills": ("Killed", kills),
    "disk": ("Disk full", disk),
    "rasters": ("Damaged rasters", rasters),
    "models": ("Untrusted models", models),
    "load": ("Long and large runs", load),
}
NOT_COVERED = """## Not covered

- Power loss: files are flushed before they get their names, folders are not.
- Results on network disks; SIGKILL of a machine that another one waits for.
- Crashes of GDAL or onnxruntime. Neither runs in a process of its own, so a crash ends the command, or QGIS. One is known:
  certain integer arithmetic in a graph ends the process in onnxruntime 1.31.1, and the guard does not detect such a graph.
  Run models from people you do not know in `export.predict`, not in QGIS.
- Models that give wrong results on purpose. The guard keeps a file from reading other files and running other code; it cannot
  judge what the numbers mean.
- Raster formats that are not listed, and servers that send wrong data.
- Ctrl-C and SIGTERM have tests of their own (`tests/`).
"""


def main() -> int:
    """Run the parts named on the command line, or all; the page keeps its other parts. 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*SECTIONS, []], metavar="PART", help="default: all")
    known = {}
    if PAGE.exists():
        for part in PAGE.read_text().split("\n## ")[1:]:
            known[part.partition("\n")[0]] = part.partition("\n\n")[2].strip()
    failed = False
    for name in parser.parse_args().parts or SECTIONS:
        title, run = SECTIONS[name]
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            text, problems = run(Path(folder))
        seconds = time.perf_counter() - start
        known[title] = f"`python -m benchmarks.reliability {name}` ({seconds:.0f} s)\n\n{text}"
        print(f"## {title}\n\n{known[title]}\n", *problems, sep="\n", flush=True)
        failed |= bool(problems)
    if failed:
        print("problems found: the page was not written", file=sys.stderr)
        return 1
    head = (
        "# What happens when things go wrong\n\n"
        f"Made by `make reliability` (GDAL {rasterio.__gdal_version__}, onnxruntime {onnxruntime.__version__}, {os.cpu_count()} CPU cores). "
        "The tests run a tenth of each count through the same functions.\n"
    )
    parts = [f"## {title}\n\n{known[title]}\n" for title, _ in SECTIONS.values() if title in known]
    PAGE.write_text("\n".join([head, *parts, NOT_COVERED]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The full counts: ``python -m benchmarks.reliability [kills|disk|rasters|models]``; writes docs/reliability.md."""

from __future__ import annotations

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
from benchmarks.reliability.models import good_model, open_many
from benchmarks.reliability.rasters import COPIES, GEOTIFFS, read_many

PAGE = ROOT / "docs" / "reliability.md"
KILLS, DISKS, RASTERS, MUTANTS = 50, 20, 300, 200


def _model(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(good_model().SerializeToString())
    return path


def kills(folder: Path) -> tuple[str, list[str]]:
    """SIGKILL."""
    found = kill_many(folder, _model(folder), KILLS)
    return (
        f"{found.kills} runs over six rasters (map, confidence, areas, polygons, Item) were killed at random moments; after each "
        f"five, {found.finished} times in all, a run was left to finish. Compared by checksum with an undisturbed run, no file "
        f"under its final name was incomplete, every following run finished, and its files were equal. Hidden folders of killed runs "
        f"that were still there after a finished run: at most {found.hidden}.\n\n"
        "Not compared: dates in the Items and inside the GeoPackages, whose shapes and attributes are."
    ), found.problems


def disk(folder: Path) -> tuple[str, list[str]]:
    """Small disks."""
    try:
        found = fill_many(folder, _model(folder), DISKS)
    except NotPermitted as reason:
        return f"Not run: {reason}.", []
    return (
        f"{DISKS} disks in memory, from 16 kB to three times the results: {found.refused} runs said that the disk is full and how "
        f"much is needed, and left nothing; {found.done} fitted, with the same files as on a large disk."
    ), found.problems


def rasters(folder: Path) -> tuple[str, list[str]]:
    """Damaged rasters."""
    found = read_many(folder, _model(folder), RASTERS)
    kinds = ", ".join([*(f"GeoTIFF {name}" for name in GEOTIFFS), *COPIES, "virtual"])
    return (
        f"{RASTERS} copies, cut off, with bytes changed anywhere or in the header, or with lying entries in the TIFF directory, of "
        f"a small scene in {len(GEOTIFFS) + len(COPIES) + 1} formats ({kinds}): {found.mapped} gave a map that reads back, "
        f"{found.refused} one sentence; no traceback, no crash, none took longer than a minute, no half file.\n\n"
        "A damaged file that still reads gives a map of what it reads: formats without checksums cannot tell."
    ), found.problems


def models(folder: Path) -> tuple[str, list[str]]:
    """Untrusted ONNX."""
    mutated, harmful = open_many(folder, MUTANTS)
    return (
        f"{MUTANTS} mutants of a small network (bytes changed or lost; attributes, shapes, types, operators, wires and versions that "
        f"lie): {mutated.mapped} ran, {mutated.refused} were refused in one sentence.\n\n"
        f"{harmful.refused} files made to do harm, all refused: weights in other files (`..`, absolute, symbolic and hard links, a "
        "device), operators of strangers (in the open, in branches, in functions, behind a second graph), precompiled nodes, "
        "answers and intermediate results larger than the memory, endless loops, thousands of tiles at once, empty and circular graphs, "
        "functions that call themselves, weights smaller than their shape, files of other kinds, a renamed zip.\n\n"
        "The guard (`export/runtime/model/guard.py`) reads the protobuf before onnxruntime does, and never opens a second file; onnxruntime's "
        "memory is bounded; a graph with loops is stopped after 30 s over one tile."
    ), mutated.problems + harmful.problems


SECTIONS: dict[str, tuple[str, Callable[[Path], tuple[str, list[str]]]]] = {
    "kills": ("Killed", kills),
    "disk": ("Disk full", disk),
    "rasters": ("Damaged rasters", rasters),
    "models": ("Untrusted models", models),
}
NOT_COVERED = """## Not covered

- Power loss: files are flushed before they get their names, folders are not.
- Results on network disks; SIGKILL of a machine that another one waits for.
- Crashes of GDAL or onnxruntime that these files did not find. Neither runs in a process of its own, so such a crash would
  end the command, or QGIS. One is known: onnxruntime 1.31 dies (SIGFPE) of a graph that divides the lowest 64-bit integer
  by -1, or takes its remainder (`Mod`, 32-bit too), which only a file written for that does. Run models of strangers in `export.predict`, not in QGIS.
- Models whose answers are wrong on purpose. The guard keeps a file from reading and from starting other things; it cannot judge
  what the numbers mean.
- Formats of rasters that are not listed, and servers that lie.
- Ctrl-C and SIGTERM have tests of their own (`tests/`).
"""


def main() -> int:
    """Run the parts named on the command line, or all; the page keeps its other parts. 1 when something was wrong."""
    known = {}
    if PAGE.exists():
        for part in PAGE.read_text().split("\n## ")[1:]:
            known[part.partition("\n")[0]] = part.partition("\n\n")[2].strip()
    failed = False
    for name in sys.argv[1:] or SECTIONS:
        title, run = SECTIONS[name]
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            said, problems = run(Path(folder))
        seconds = time.perf_counter() - start
        known[title] = f"`python -m benchmarks.reliability {name}` ({seconds:.0f} s)\n\n{said}"
        print(f"## {title}\n\n{known[title]}\n", *problems, sep="\n", flush=True)
        failed |= bool(problems)
    if failed:
        print("something was wrong: the page was not written", file=sys.stderr)
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

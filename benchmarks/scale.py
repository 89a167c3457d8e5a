"""Benchmark of several processes: ``python -m benchmarks.scale``; writes the table in docs/scale.md.

Maps the same raster in the same blocks with one single-threaded process, several, and the workers of a local Dask
cluster, in turns, so that the ratios do not depend on the load of the machine. Only the text between the two marks in
docs/scale.md is replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.inference import CLASSES, OVERLAP, ROOT, TILE, run, write_raster

PAGE = ROOT / "docs" / "scale.md"
MARKS = "<!-- measured by benchmarks/scale.py -->", "<!-- end of what was measured -->"


def main() -> None:
    """Measure, and put the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="How a batch scales here.")
    parser.add_argument("--side", type=int, default=8192, help="rows and columns of the raster (default: 8192)")
    parser.add_argument("--block", type=int, default=2048, help="side of its blocks, px (default: 2048)")
    parser.add_argument(
        "--most", type=int, default=os.cpu_count() or 1, help="largest number of processes (default: number of cores)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--dask", action="store_true", help="also measure a Dask cluster with as many workers")
    parser.add_argument("--model", type=Path, help="ONNX file (default: a U-Net ResNet-18 without training)")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = _measure(Path(name), arguments)
    print(table)
    _fill(arguments.page, table)


def _measure(folder: Path, arguments: argparse.Namespace) -> str:
    model = arguments.model or folder / "unet.onnx"
    if not arguments.model:  # torch stays out of this process
        run(["-m", "benchmarks.inference", "--child", "model", folder])
    raster = write_raster(folder / "raster.tif", arguments.side)
    counts = sorted({1, *(2**power for power in range(1, 11) if 2**power <= arguments.most), arguments.most})
    kinds = ["one pass", *map(str, counts), *(["dask"] if arguments.dask else [])]
    seconds: dict[str, list[float]] = {kind: [] for kind in ("help", *kinds)}
    for number in range(arguments.rounds):
        seconds["help"].append(run(["-m", "export.predict", "--help"])[0])
        for kind in kinds:
            out = folder / f"{kind}-{number}"
            command = ["-m", "export.predict", model, raster, "--out", out]
            if kind == "dask":
                with _cluster(folder, arguments.most) as address:
                    options = ["--block", arguments.block, "--threads", 1, "--dask", address]
                    seconds[kind].append(run([*command, *options])[0])
            elif kind == "one pass":
                seconds[kind].append(run([*command, "--threads", 1])[0])
            else:
                options = ["--block", arguments.block, "--workers", kind, "--threads", kind]
                seconds[kind].append(run([*command, *options])[0])
            subprocess.run(["rm", "-rf", out], check=True)
    return _table(arguments, kinds, {kind: median(taken) for kind, taken in seconds.items()})


def _table(arguments: argparse.Namespace, kinds: list[str], seconds: dict[str, float]) -> str:
    start = seconds.pop("help")
    one = seconds["1"] - start
    tiles = f"U-Net ResNet-18, {CLASSES} classes, {TILE} px tiles, {OVERLAP} px overlap"
    lines = [
        f"Made by `python -m benchmarks.scale {shlex.join(sys.argv[1:])}`: {arguments.side} x {arguments.side} px in blocks of "
        f"{arguments.block}, {arguments.model.name if arguments.model else tiles}, one thread a process, {os.cpu_count()} cores; "
        f"medians of {arguments.rounds} interleaved rounds, less what `--help` takes ({start:.1f} s). `--workers 1` starts no "
        "other process.",
        "",
        "| who | seconds | speed | of the ideal |",
        "|---|---|---|---|",
    ]
    for kind in kinds:
        took = seconds[kind] - start
        share = arguments.most if kind == "dask" else 1 if kind == "one pass" else int(kind)
        who = {"one pass": "one pass, no blocks", "dask": f"Dask, {share} workers"}.get(kind, f"`--workers {kind}`")
        lines.append(f"| {who} | {took:.1f} | {one / took:.2f} | {one / took / share:.0%} |")
    return "\n".join(lines)


@contextmanager
def _cluster(folder: Path, count: int) -> Iterator[str]:
    """A scheduler and workers of one thread each; its address."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    place = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    processes = [subprocess.Popen([*dask, "scheduler", *place], **quiet)]  # type: ignore[call-overload]
    try:
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        worker = [*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        worker += ["--local-directory", str(folder / "dask")]
        processes += [subprocess.Popen(worker, **quiet) for _ in range(count)]  # type: ignore[call-overload]
        from distributed import Client

        with Client(address) as client:
            client.wait_for_workers(count)
        yield address
    finally:
        for process in processes:
            process.kill()  # a worker that loses its scheduler takes minutes to end by itself
        for process in processes:
            process.wait()


def _fill(page: Path, table: str) -> None:
    """Put the table between the marks."""
    text = page.read_text("utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}", "utf-8")


if __name__ == "__main__":
    main()

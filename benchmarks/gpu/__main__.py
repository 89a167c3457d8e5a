"""``python -m benchmarks.gpu OUT``: every part in its own process with a time limit, in order of worth.

OUT/PART.json and OUT/PART.log are there when a part ends, OUT/summary.md is rewritten after each. With ``--bundle`` a second
folder gets the same in few files of at most 15 MB, for machines that give back no more.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.gpu.notes import DONE, Setup, end, read, run_part, write_summary

ROOT = Path(__file__).parents[2]
PARTS = {"suite": 65, "speed": 125, "real": 165, "inference": 65, "processes": 45}  # limits in s
SMALL = dict.fromkeys(PARTS, 240)
TOTAL = 490  # s from here on; run.sh installs for twice 25 s at most: nine minutes
GRACE = 5  # s between asking a process to stop and ending it
PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "onnxruntime",
    "onnx",
    "numpy",
    "timm",
    "jsonargparse",
    "lightly",
    "torchgeo",
    "rasterio",
)
ROOMY = 40 * 2**30  # bytes
PIECE = 15_000_000  # bytes of a file in the bundle


def machine() -> list[str]:
    """What the machine is: lines of the summary."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    code = "import onnxruntime as o, torch; print(', '.join(o.get_available_providers())); print(torch.version.cuda, torch.cuda.device_count())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    smi = shutil.which("nvidia-smi")
    query = ["--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm", "--format=csv,noheader"]
    cards = (
        subprocess.run([smi, *query], capture_output=True, text=True).stdout.split("\n") if smi else ["no nvidia-smi"]
    )
    return [
        f"- {platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPU cores",
        *(f"- {card.strip()}" for card in cards if card.strip()),
        f"- {'; '.join(found)}",
        f"- providers of onnxruntime, then CUDA of torch and its devices: {'; '.join((asked.stdout or asked.stderr).split(chr(10)))}",
    ]  # fmt: skip


def _memory() -> str | None:
    """A folder in memory, where there is much of it: writing gigabytes of chips to a disk would take a part's time."""
    there = Path("/dev/shm")
    return str(there) if there.is_dir() and shutil.disk_usage(there).free > ROOMY else None


def ran(name: str, options: argparse.Namespace, limit: float) -> None:
    """Run a part in a process of its own, and complete its record."""
    command = [sys.executable, "-m", "benchmarks.gpu", str(options.out), "--part", name, "--limit", f"{limit:.0f}"]
    command += ["--small"] if options.small else []
    command += ["--stage", str(options.stage)] if options.stage else []
    command += ["--device", options.device]
    began, code = time.monotonic(), None
    with open(options.out / f"{name}.log", "wb") as log:
        child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            for sent in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(child.pid, sent)
                try:
                    child.wait(GRACE)
                    break
                except subprocess.TimeoutExpired:
                    continue
    end(options.out, name, code, time.monotonic() - began)


def bundle(out: Path, folder: Path) -> None:
    """The summary, all records and logs in one archive, and the encoder in pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(out / "summary.md", folder)
    with zipfile.ZipFile(folder / "results.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted([*out.glob("*.json"), *out.glob("*.log"), *out.glob("*.xml")]):
            archive.write(path, path.name)
    for path in out.glob("encoder*.safetensors"):
        content = path.read_bytes()
        for number, first in enumerate(range(0, len(content), PIECE)):
            (folder / f"{path.name}.{number}").write_bytes(content[first : first + PIECE])


def main() -> int:
    """Run all parts, or one of them in this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("out", type=Path, metavar="OUT")
    add("--small", action="store_true", help="tiny networks and few steps, as a test without a GPU")
    add("--device", default="", help="cuda or cpu (default: cuda, with --small cpu)")
    add("--stage", type=Path, help="folder that benchmarks.gpu.stage made")
    add("--bundle", type=Path, help="second folder for the results, in few files")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--part", choices=PARTS, help=argparse.SUPPRESS)
    add("--limit", type=float, default=0, help="s for each part, instead of its own")
    options = parser.parse_args()
    options.out, options.device = options.out.resolve(), options.device or ("cpu" if options.small else "cuda")
    options.stage = options.stage.resolve() if options.stage else None
    limits = SMALL if options.small else PARTS
    if options.part:
        limit = options.limit or limits[options.part]
        measure = importlib.import_module(f"benchmarks.gpu.{options.part}").measure
        with tempfile.TemporaryDirectory(prefix="geoaware-gpu-", dir=_memory()) as work:
            setup = Setup(options.out, Path(work), options.stage, options.small, options.device, limit)
            return not run_part(measure, options.part, setup)
    options.out.mkdir(parents=True, exist_ok=True)
    began, head = time.monotonic(), machine()
    print("\n".join(head), flush=True)
    for name in options.parts:
        left = TOTAL - (time.monotonic() - began) - 2 * GRACE
        ran(name, options, options.limit or (limits[name] if options.small else min(limits[name], max(left, 1))))
        write_summary(options.out, options.parts, head)
        if options.bundle:
            bundle(options.out, options.bundle)
        record = read(options.out, name)
        print(f"{name}: {record['state']} after {record['seconds']} s, {len(record['failures'])} failures", flush=True)
    print((options.out / "summary.md").read_text())
    return 0 if all(read(options.out, name)["state"] == DONE for name in options.parts) else 1


if __name__ == "__main__":
    raise SystemExit(main())

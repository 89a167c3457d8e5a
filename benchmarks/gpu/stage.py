"""``python -m benchmarks.gpu.stage FOLDER``: what travels to a machine with a GPU and no network, within a limit of size.

    wheels/       packages that such a machine lacks, and names.txt; run.sh installs those that are missing
    eurosat/      EuroSAT's spatial split as a chip store, its chips as WebP pictures
    bluemarble/   the quickstart's twelve months, likewise

With ``--onnxruntime-cuda`` FOLDER gets instead parts of onnxruntime's build for CUDA that hold the kernels of one kind of GPU:
it is too large to travel at once. All of them in one folder, ONNXRUNTIME_CUDA=folder before run.sh joins and uses them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.chips import pack
from benchmarks.gpu.kernels import onnxruntime_for_cuda
from benchmarks.learning.stores import make_store

# Without their own needs: those are there with torch and lightning, or are in this list.
WHEELS = (
    "jsonargparse", "docstring-parser", "typeshed-client", "segmentation-models-pytorch", "safetensors", "lightly", "lightly-utils",
    "stac-model", "pystac", "pystac-core", "pystac-ext-classification", "pystac-ext-raster", "pydantic", "pydantic-core",
    "annotated-types", "typing-inspection", "shapely",
)  # fmt: skip
PLATFORMS = ("2_28", "2_27", "2_24", "2_17", "2_5")  # manylinux; pip takes each by name alone
QUALITY = 90  # of WebP
STORES = {"eurosat": ("eurosat-spatial", "eurosat_rgb"), "bluemarble": ("bluemarble", "")}


def download(names: Sequence[str], pythons: Sequence[str], out: Path) -> None:
    """Wheels of these packages for Linux on x86-64 and each Python version, such as 3.12."""
    out.mkdir(parents=True, exist_ok=True)
    for python in pythons:
        options = ["--only-binary=:all:", "--no-deps", "--implementation", "cp", "--python-version", python]
        for name in (*PLATFORMS, "2014", "1"):
            options += ["--platform", f"manylinux{'_' if '_' in name else ''}{name}_x86_64"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            *options,
            "-d",
            str(out),
        ]
        subprocess.run([*command, *names], check=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(part.stat().st_size for part in ([path] if path.is_file() else path.rglob("*")) if part.is_file())


def main() -> int:
    """Make the folder, and say how large each part is."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.stage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER")
    add("--python", nargs="+", default=["3.12"], help="versions of Python to get wheels for (default: 3.12)")
    add("--data", type=Path, help="folder with eurosat_rgb and bluemarble_monthly_2004; without it no stores are made")
    add("--work", type=Path, default=Path("build/gpu"), help="where stores are made; kept")
    add("--quality", type=int, default=QUALITY, help="of the pictures (default: %(default)s)")
    add(
        "--limit",
        type=float,
        default=38.0,
        help="most MiB that travel at once; exit code 1 beyond (default: %(default)s)",
    )
    add("--onnxruntime-cuda", metavar="VERSION", help="make the parts of that version of onnxruntime-gpu")
    add("--arch", default="90", help="kernels to keep, by the compute capability of the GPU (default: 90)")
    options = parser.parse_args()
    if options.folder.exists():
        shutil.rmtree(options.folder)
    if options.onnxruntime_cuda:
        with tempfile.TemporaryDirectory() as work:
            download([f"onnxruntime-gpu=={options.onnxruntime_cuda}"], options.python[:1], Path(work))
            wheel = next(Path(work).glob("*.whl"))
            onnxruntime_for_cuda(wheel, options.folder, int(options.arch), int(options.limit * 2**20))
    else:
        download(WHEELS, options.python, options.folder / "wheels")
        (options.folder / "wheels" / "names.txt").write_text("\n".join(WHEELS) + "\n")
        for name, (store, source) in STORES.items() if options.data else ():
            options.work.mkdir(parents=True, exist_ok=True)
            make_store(store, options.data / source, options.work)
            pack(options.work / store, options.folder / name, options.quality)
    parts = sorted(options.folder.iterdir())
    for part in parts:
        print(f"{size_of(part) / 2**20:6.1f} MiB  {part}")
    whole = size_of(options.folder) / 2**20
    most = max(map(size_of, parts)) / 2**20 if options.onnxruntime_cuda else whole
    print(f"{whole:6.1f} MiB in all; at most {options.limit:g} MiB may travel at once")
    return int(most > options.limit)


if __name__ == "__main__":
    raise SystemExit(main())

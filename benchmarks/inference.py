"""Batch prediction against the bare model: ``python -m benchmarks.inference [MODEL.onnx]``.

One run measures both on the same tiles: what ``export.predict`` adds to onnxruntime's own time (reading,
blending, writing), and whether its memory grows with the raster.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from export.runtime.grid import TileGrid
from export.runtime.session import Model

ROOT = Path(__file__).parents[1]
DEFAULT_MODEL = ROOT / "outputs" / "quickstart" / "landcover.onnx"
PAGE = ROOT / "docs" / "benchmarks" / "inference.md"


def _raster(folder: Path, height: int, width: int, bands: int) -> Path:
    path = folder / f"raster_{height}.tif"
    pixels = np.random.default_rng(0).integers(1, 255, (bands, 512, width), dtype=np.uint8)
    profile = {
        "driver": "GTiff",
        "count": bands,
        "dtype": "uint8",
        "height": height,
        "width": width,
        "tiled": True,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", crs="EPSG:32633", transform=from_origin(0, 0, 10, 10), **profile) as target:
        for top in range(0, height, 512):
            target.write(pixels, window=rasterio.windows.Window(0, top, width, 512))
    return path


def _predict(model: Path, raster: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak memory (MB) of the whole command."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "export.predict", model, raster, "--out", out],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("export.predict failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and write the page."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_MODEL
    model = Model(path)
    tile, overlap, bands = model.card.tile_size, model.card.overlap, len(model.card.bands)
    lines = [
        "| raster | tiles | export.predict | onnxruntime alone | ratio | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for height in (1024, 4096):
            raster = _raster(folder, height, 1024, bands)
            tiles = len(TileGrid(height, 1024, tile, overlap))
            batch = np.random.default_rng(0).integers(1, 255, (4, bands, tile, tile)).astype(np.float32)
            model.run(batch)
            start = time.perf_counter()
            for _ in range(tiles // 4):
                model.run(batch)
            bare = time.perf_counter() - start
            seconds, memory = _predict(path, raster, folder / "out")
            lines.append(
                f"| {height} x 1024 | {tiles} | {seconds:.1f} s | {bare:.1f} s | {seconds / bare:.2f} | {memory:.0f} MB |"
            )
    text = "\n".join(lines)
    print(text)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(
        "# Batch prediction\n\nMade by `make benchmark` (after `make quickstart`): the quickstart's U-Net ResNet-18, "
        f"17 classes, {tile} px tiles with {overlap} px overlap, onnxruntime on {os.cpu_count()} CPU cores, whole process with start.\n\n{text}\n"
    )


if __name__ == "__main__":
    main()

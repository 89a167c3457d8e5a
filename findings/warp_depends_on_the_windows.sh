#!/usr/bin/env bash
# One would guess: reading a WarpedVRT window by window and joining the windows gives the pixels of reading it at once.
# What happens (rasterio 1.4.4, GDAL 3.10.3): with bilinear or cubic and a coarser grid it does not. GDAL takes the width of the
# kernel from the source area of each window. Between neighbouring UTM zones, at a ratio of 2.5, 87 % of the pixels of a
# random image differ, by up to 0.35 (bilinear) or 0.42 (cubic) of its standard deviation. Nearest and average agree, and
# so do these two once XSCALE and YSCALE (pixels of the target per pixel of the source) are passed as options.
# Who meets it: tiled prediction, tile servers and tests that compare a tile with the whole: seams, and scores that
# depend on the size of the tiles.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6" "affine==3.0.1"
cat > probe.py <<'PY'
import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
side, ratio = 1024, 2.5
place = {"driver": "GTiff", "count": 1, "dtype": "float32", "width": side, "height": side, "crs": "EPSG:32633"}
with rasterio.open("scene.tif", "w", transform=from_origin(500_000, 5_000_000, 10, 10), **place) as target:
    target.write(np.random.default_rng(0).normal(100, 30, (side, side)).astype("float32"), 1)


def difference(resampling, **options):
    """The largest difference in pixels, and the share of pixels that differ, between windows of 64 px and the whole."""
    with rasterio.open("scene.tif") as source:
        transform, width, height = calculate_default_transform(source.crs, "EPSG:32634", side, side, *source.bounds)
        grid = {"crs": "EPSG:32634", "transform": transform @ Affine.scale(ratio)}
        grid.update(width=int(width / ratio), height=int(height / ratio), resampling=resampling, **options)
        with WarpedVRT(source, **grid) as vrt:
            whole = vrt.read(1)
        parts = np.zeros_like(whole)
        with WarpedVRT(source, **grid) as vrt:
            for row in range(0, vrt.height, 64):
                for column in range(0, vrt.width, 64):
                    window = Window(column, row, min(64, vrt.width - column), min(64, vrt.height - row))
                    parts[row : row + window.height, column : column + window.width] = vrt.read(1, window=window)
    gap = np.abs(whole - parts)
    return float(gap.max()), float((gap > 0.01).mean())


for resampling in (Resampling.nearest, Resampling.average, Resampling.bilinear, Resampling.cubic):
    scales = {"XSCALE": str(1 / ratio), "YSCALE": str(1 / ratio)}
    (gap, share), (fixed_gap, _) = difference(resampling), difference(resampling, **scales)
    print(
        f"{resampling.name}: up to {gap:.2f}, {share:.0%} of the pixels; with XSCALE and YSCALE up to {fixed_gap:.2f}"
    )
    assert fixed_gap == 0
    if resampling in (Resampling.nearest, Resampling.average):
        assert gap == 0
    else:
        assert gap > 5 and share > 0.5
PY
venv/bin/python probe.py

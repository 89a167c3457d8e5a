#!/usr/bin/env bash
# One would guess: colorinterp of a GeoTIFF that is open for writing can be set before or after the pixels are written, since
# reading it back from the open dataset gives what was set.
# What happens (rasterio 1.4.4, GDAL 3.10.3): in a compressed file, alpha that is set after the first pixels is not saved. The
# open dataset says alpha, the closed file says undefined, there is no .aux.xml, no warning and no error. So dataset_mask()
# is 255 everywhere and the transparent pixels count as data. Set before the pixels, or in a file without compression, or by
# opening the closed file again with "r+", it is kept.
# Who meets it: writers that learn what the last band is only while they write, or set all metadata at the end.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6"
cat > probe.py <<'PY'
import os

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
colors = (ColorInterp.gray, ColorInterp.alpha)
place = {"driver": "GTiff", "count": 2, "dtype": "uint8", "width": 64, "height": 64, "crs": "EPSG:32633"}
place["transform"] = from_origin(500_000, 5_000_000, 10, 10)
pixels = np.zeros((2, 64, 64), "uint8")  # the second band is 0: transparent everywhere
kept = {}
for compress in ("none", "deflate", "lzw"):
    for moment in ("before", "after", "reopened"):
        name = f"{compress}_{moment}.tif"
        with rasterio.open(name, "w", compress=compress, **place) as target:
            if moment == "before":
                target.colorinterp = colors
            target.write(pixels)
            if moment == "after":
                target.colorinterp = colors
                assert target.colorinterp == colors
        if moment == "reopened":
            with rasterio.open(name, "r+") as target:
                target.colorinterp = colors
        with rasterio.open(name) as dataset:
            last, valid = dataset.colorinterp[-1].name, int((dataset.dataset_mask() > 0).sum())
        print(f"compression {compress}, set {moment}: the last band is {last}, {valid} px are valid")
        assert not os.path.exists(f"{name}.aux.xml")
        assert (last, valid) in {("alpha", 0), ("undefined", 4096)}
        kept[compress, moment] = last == "alpha"
assert {case for case, is_kept in kept.items() if not is_kept} == {("deflate", "after"), ("lzw", "after")}
PY
venv/bin/python probe.py

#!/usr/bin/env bash
# One would guess: OVERVIEW_LEVEL="NONE" opens the same raster at full resolution and only hides its overviews.
# What happens (rasterio 1.4.4, GDAL 3.10.3): the descriptions of the bands are gone too: dataset.descriptions is
# (None, None) instead of ('red', 'nir'), without a warning. Size, nodata, units, scales, offsets, colours and tags stay.
# Who meets it: whoever opens files this way, so that a coarse read takes the pixels and not the overviews, and finds bands
# by name. Read the descriptions from a second dataset that is opened without the option.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6"
cat > probe.py <<'PY'
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
place = {
    "driver": "GTiff",
    "count": 2,
    "dtype": "int16",
    "width": 512,
    "height": 512,
    "crs": "EPSG:32633",
    "nodata": -1,
}
with rasterio.open("bands.tif", "w", transform=from_origin(500_000, 5_000_000, 10, 10), **place) as target:
    target.write(np.ones((2, 512, 512), "int16"))
    target.descriptions = ("red", "nir")
    target.units = ("W", "W")
    target.scales, target.offsets = (0.5, 0.5), (1, 1)
    target.update_tags(1, sensor="A")
with rasterio.open("bands.tif", "r+") as target:
    target.build_overviews([2], Resampling.nearest)
seen = []
for options in ({}, {"OVERVIEW_LEVEL": "NONE"}):
    with rasterio.open("bands.tif", **options) as dataset:
        rest = (
            dataset.shape,
            dataset.nodata,
            dataset.units,
            dataset.scales,
            dataset.offsets,
            dataset.colorinterp,
            dataset.tags(1),
        )
        print(
            f"{options}: descriptions {dataset.descriptions}, overviews {dataset.overviews(1)}, tags {dataset.tags(1)}"
        )
        seen.append((dataset.descriptions, dataset.overviews(1), rest))
assert seen[0][:2] == (("red", "nir"), [2])
assert seen[1][:2] == ((None, None), [])
assert seen[0][2] == seen[1][2]
PY
venv/bin/python probe.py

#!/usr/bin/env bash
# One would guess: dataset_mask() of a rasterio WarpedVRT opened with add_alpha=True is 0 outside the source for every data
# type, since the VRT gets a band whose colour interpretation is alpha.
# What happens (rasterio 1.4.4, GDAL 3.10.3): for int16, int32, uint32 and float32 the alpha band is there, is marked as
# alpha, and is 0 outside the source, but mask_flag_enums says all_valid and dataset_mask() is 255 everywhere; only for
# uint8 and uint16 is it used as the mask. So the zeros that fill the outside count as data.
# Who meets it: whoever puts scenes of signed integers (temperature, elevation, radar in dB) or of float32 on a common grid
# and trusts the mask. Reading the alpha band itself gives the right answer: 0 means outside.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'CODE'
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
place = {"crs": "EPSG:32633", "height": 64}
seen = {}
for dtype in ("uint8", "uint16", "int16", "uint32", "int32", "float32"):
    with rasterio.open(
        f"{dtype}.tif", "w", driver="GTiff", count=1, dtype=dtype, width=64, transform=from_origin(500_000, 5_000_000, 10, 10), **place
    ) as target:
        target.write(np.full((1, 64, 64), 7, dtype))
    # The left half of the VRT lies outside the source.
    grid = {"width": 128, "transform": from_origin(499_360, 5_000_000, 10, 10), **place}
    with rasterio.open(f"{dtype}.tif") as source, WarpedVRT(source, add_alpha=True, **grid) as vrt:
        masked = int((vrt.dataset_mask() == 0).sum())
        outside = int((vrt.read(2) == 0).sum())
        flags = [flag.name for flag in vrt.mask_flag_enums[0]]
        print(f"{dtype}: band 2 is {vrt.colorinterp[1].name}, 0 in {outside} px; mask flags {flags}; dataset_mask() is 0 in {masked} px")
        seen[dtype] = outside, masked
assert seen == {
    dtype: (4096, 4096 if dtype in ("uint8", "uint16") else 0) for dtype in ("uint8", "uint16", "int16", "uint32", "int32", "float32")
}, seen
CODE
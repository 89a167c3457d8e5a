#!/usr/bin/env bash
# One would guess: WarpedVRT takes tolerance=0, which its documentation gives as a distance in pixels, wherever it takes 0.125,
# and warps exactly then, as gdalwarp -et 0 does.
# What happens (rasterio 1.4.4, GDAL 3.10.3): with a target grid (transform, width and height) tolerance=0 ends in
# ObjectNullError "Pointer 'hDS' is NULL in 'GDALSetProjection'", after GDAL says that it was given no transformer. The same
# call works with 0.01, with no tolerance (which approximates), and with 0 where no grid is given. The message names neither
# the argument nor a remedy.
# Who meets it: whoever brings rasters onto one grid and wants pixels that do not depend on the window that is read (see
# warp_depends_on_the_windows.sh, which an exact transformer avoids).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6"
cat > probe.py <<'PY'
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
side = {"width": 64, "height": 64}
with rasterio.open(
    "scene.tif", "w", driver="GTiff", count=1, dtype="float32", crs="EPSG:32633",
    transform=from_origin(500_000, 5_000_000, 10, 10), **side,
) as target:
    target.write(np.arange(4096, dtype="float32").reshape(1, 64, 64))
zone = {"crs": "EPSG:32634"}
grid = {**zone, **side, "transform": from_origin(28_000, 5_014_000, 10, 10)}
made = {}
with rasterio.open("scene.tif") as scene:
    for name, target in (("no grid", zone), ("a grid", grid)):
        for tolerance in (None, 0.125, 0.01, 0):
            options = {} if tolerance is None else {"tolerance": tolerance}
            try:
                WarpedVRT(scene, **target, **options).close()
                made[name, tolerance] = "made"
            except Exception as error:
                made[name, tolerance] = f"{type(error).__name__}: {error}"
            print(f"{name}, tolerance {tolerance}: {made[name, tolerance]}")
refused = {case for case, what in made.items() if what != "made"}
assert refused == {("a grid", 0)}, refused
assert "GDALSetProjection" in made["a grid", 0]
PY
venv/bin/python probe.py

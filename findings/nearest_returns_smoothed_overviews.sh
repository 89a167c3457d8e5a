#!/usr/bin/env bash
# One would guess: odc.stac.load(resampling="nearest"), or "mode", returns only values that the pixels of the file have.
# What happens (odc-stac 0.5.3, odc-loader 0.6.5, GDAL 3.10.3): at a coarser resolution it reads the file's overviews, and the
# COG driver makes those with cubic by default, also for integers. A map of the classes 10, 40 and 90 saved by
# rasterio.shutil.copy(driver="COG") gives about ninety classes, without a warning. A coarse read of rasterio itself, nearest
# too, does the same.
# Who meets it: whoever reads land cover or labels coarser than they are stored. Pass use_overviews=False to load, or write
# the file with overview_resampling="nearest" (or "mode").
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6" "odc-stac==0.5.3" \
    "odc-loader==0.6.5" "odc-geo==0.5.3" "pystac==1.15.2" "xarray==2026.9.0" "dask==2026.8.0"
cat > probe.py <<'PY'
import datetime
import os
from importlib.metadata import version

import numpy as np
import odc.stac
import pystac
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

print(
    ", ".join(f"{name} {version(name)}" for name in ("odc-stac", "odc-loader", "rasterio")),
    f"GDAL {rasterio.__gdal_version__}",
)
classes = np.random.default_rng(0).choice(np.uint8([10, 40, 90]), size=(1024, 1024))
place = {
    "driver": "GTiff",
    "count": 1,
    "dtype": "uint8",
    "width": 1024,
    "height": 1024,
    "crs": "EPSG:32633",
    "nodata": 0,
}
with rasterio.open("classes.tif", "w", transform=from_origin(500_000, 5_000_000, 10, 10), **place) as target:
    target.write(classes, 1)
grid = GeoBox.from_bbox((500_000, 4_989_760, 510_240, 5_000_000), crs="EPSG:32633", resolution=20)
for name, options in (("by default", {}), ("nearest", {"overview_resampling": "nearest"})):
    rasterio.shutil.copy("classes.tif", "cog.tif", driver="COG", **options)
    item = pystac.Item("map", None, None, datetime.datetime(2020, 1, 1), {})
    box = [15.0, 45.0, 15.2, 45.2]
    ring = [[15.0, 45.0], [15.2, 45.0], [15.2, 45.2], [15.0, 45.2], [15.0, 45.0]]
    item.geometry, item.bbox = {"type": "Polygon", "coordinates": [ring]}, box
    item.add_asset("classes", pystac.Asset(os.path.abspath("cog.tif"), media_type=pystac.MediaType.COG, roles=["data"]))
    with rasterio.open("cog.tif") as dataset:
        coarse = np.unique(dataset.read(1, out_shape=(512, 512)))
    for resampling in ("nearest", "mode"):
        for use_overviews in (None, False):
            how = {} if use_overviews is None else {"use_overviews": use_overviews}
            loaded = odc.stac.load(
                [item], bands=["classes"], geobox=grid, dtype="uint8", nodata=0, resampling=resampling, **how
            )
            found = np.unique(loaded.classes.values).tolist()
            print(
                f"overviews {name}, {resampling} {how}: {len(found)} values, from {found[:4]}; rasterio: {len(coarse)}"
            )
            if name == "by default" and use_overviews is None:
                assert len(found) > 50 and len(coarse) > 50
            else:
                assert found == [10, 40, 90]
PY
venv/bin/python probe.py

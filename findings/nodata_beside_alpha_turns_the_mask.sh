#!/usr/bin/env bash
# One would guess: where a GeoTIFF has both an alpha band and a nodata value, dataset_mask() of rasterio is 0 where either says
# so, or follows alpha, which its documentation names first.
# What happens (rasterio 1.4.4, GDAL 3.10.3): it depends on the number of bands. With three colours and alpha it is the mask of
# the alpha band, which is made by comparing alpha with nodata: with nodata 0 transparent pixels are masked and nodata
# pixels not; with nodata 255 it is upside down: opaque pixels are masked and transparent ones valid. With one band and
# alpha and nodata 1 nothing is masked at all. A NodataShadowWarning comes only with three colours.
# Who meets it: aerial images that were cut to a shape with alpha and had white (255) declared as nodata. The alpha band
# itself and the masks of the colour bands are right; combine them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6"
cat > probe.py <<'PY'
import warnings

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NodataShadowWarning
from rasterio.transform import from_origin

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
place = {
    "driver": "GTiff",
    "width": 3,
    "height": 1,
    "crs": "EPSG:32633",
    "transform": from_origin(500_000, 5_000_000, 10, 10),
}
rgb = ColorInterp.red, ColorInterp.green, ColorInterp.blue
cases = (
    (rgb, "uint8", 0, [255, 255, 0]),
    (rgb, "uint8", 255, [0, 0, 255]),
    ((ColorInterp.gray,), "uint8", 1, [255, 255, 255]),
)
for colors, dtype, nodata, expected in cases:
    # Three pixels: data, nodata in every colour, transparent.
    pixels = np.full((len(colors) + 1, 1, 3), 100, dtype)
    pixels[:-1, 0, 1] = nodata
    pixels[-1, 0] = 255, 255, 0
    with rasterio.open("image.tif", "w", count=len(pixels), dtype=dtype, nodata=nodata, **place) as target:
        target.colorinterp = (*colors, ColorInterp.alpha)
        target.write(pixels)
    with rasterio.open("image.tif") as dataset, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert dataset.colorinterp[-1] == ColorInterp.alpha
        alpha, first = dataset.read(len(pixels))[0].tolist(), dataset.read_masks(1)[0].tolist()
        mask = dataset.dataset_mask()[0].tolist()
    warned = any(issubclass(one.category, NodataShadowWarning) for one in caught)
    print(
        f"{len(colors)} + alpha, nodata {nodata}: alpha {alpha}, mask of band 1 {first}, dataset_mask {mask}, warned {warned}"
    )
    assert (alpha, first, mask) == ([255, 255, 0], [255, 0, 255], expected)
    assert warned == (colors == rgb)
PY
venv/bin/python probe.py

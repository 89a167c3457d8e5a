#!/usr/bin/env bash
# One would guess: an area that a projection cannot express makes both rasterio.warp.transform_bounds and
# rasterio.warp.transform_geom raise an error derived from RasterioError.
# What happens (rasterio 1.4.4, GDAL 3.10.3): transform_bounds raises nothing and returns (inf, inf, -inf, inf);
# transform_geom raises a bare SystemError ("Unknown GDAL Error") for one area, and CPLE_AppDefinedError, which is no
# RasterioError either, for another. So `except RasterioError` lets both through, and code that only catches errors
# goes on with infinite bounds.
# Who meets it: footprints (STAC Items), windows and masks of rasters in UTM, Mollweide or sinusoidal projections
# whose corners lie off the Earth.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4"
cat > probe.py <<'PY'
import math

import rasterio
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds, transform_geom


def corners(west, south, east, north):
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return {"type": "Polygon", "coordinates": [ring]}


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return error


print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
cases = {
    "Mollweide, the north-west corner of its rectangle": ("ESRI:54009", (-18e6, 8e6, -16e6, 9e6), "SystemError"),
    "UTM 33N, ten times too wide": ("EPSG:32633", (0, 0, 1e8, 1e7), "CPLE_AppDefinedError"),
}
for name, (crs, box, expected) in cases.items():
    bounds = outcome(transform_bounds, crs, "EPSG:4326", *box)
    error = outcome(transform_geom, crs, "EPSG:4326", corners(*box))
    print(f"{name}: transform_bounds gives {bounds}, transform_geom {type(error).__name__}: {error}")
    assert not isinstance(bounds, Exception)
    assert type(error).__name__ == expected
    assert not isinstance(error, RasterioError)
    if expected == "SystemError":
        assert all(math.isinf(number) for number in bounds)
PY
venv/bin/python probe.py

#!/usr/bin/env bash
# One would guess: CRS.to_string() and to_epsg() of rasterio give a code of EPSG only for a CRS that equals it, so a CRS that
# carries its own shift to WGS 84 (+towgs84) keeps it in its text.
# What happens (rasterio 1.4.4, GDAL 3.10.3): a shift does not rule a code out; the same ellipsoid and projection are enough.
# +ellps=intl in UTM 32 with the shifts -112,-77,-145, 0,0,0 and 500,0,0 is always "EPSG:23032" (European Datum 1950).
# None of them equals the CRS made from that text, and the same coordinates lie 26, 91 and 253 m off. For the same
# definitions, pyproj 3.7.2 finds no code.
# Who meets it: whoever stores the CRS as text or code (sidecar files, STAC, caches), or tells systems apart by code. Keep
# to_wkt(), or test CRS.from_epsg(code) == crs first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "pyproj==3.7.2"
cat > probe.py <<'PY'
import math

import pyproj
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}, pyproj {pyproj.__version__}")


def on_wgs84(crs):
    (east,), (north,) = transform(crs, "EPSG:32632", [500_000], [4_000_000])
    return east, north


for shift, expected in (("-112,-77,-145", 26), ("0,0,0", 91), ("500,0,0", 253)):
    text = f"+proj=utm +zone=32 +ellps=intl +towgs84={shift} +units=m +no_defs +type=crs"
    crs = CRS.from_string(text)
    again = CRS.from_string(crs.to_string())
    metres = math.dist(on_wgs84(crs), on_wgs84(again))
    code = pyproj.CRS(text).to_epsg()
    print(
        f"shift {shift}: {crs.to_string()}, to_epsg {crs.to_epsg()}, equal {crs == again}, {metres:.1f} m off; pyproj: {code}"
    )
    assert (crs.to_string(), crs.to_epsg(), crs == again, round(metres), code) == (
        "EPSG:23032",
        23032,
        False,
        expected,
        None,
    )
    assert CRS.from_wkt(crs.to_wkt()) == crs
PY
venv/bin/python probe.py

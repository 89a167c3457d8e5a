#!/usr/bin/env bash
# One would guess: a local coordinate system (ENGCRS, LOCAL_CS) that GeoTIFF's keys cannot express is kept in an .aux.xml
# beside the file, or writing fails.
# What happens (rasterio 1.4.4, GDAL 3.10.3): only its name and its unit are kept. The datum is gone, and axes that point
# south and west are read back as "Easting", EAST and "Northing", NORTH. There is no error, no warning and no .aux.xml. A PNG
# of the same pixels keeps all in its .aux.xml.
# Who meets it: site grids, mine grids and scans in coordinates of their own. Two grids that differ in datum or axes only are
# equal once they have been written, and a check for the same CRS lets them through.
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
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")


def grid(datum, *axes):
    axes = ",".join(
        f'AXIS["site {axis}",{axis},ORDER[{order}],LENGTHUNIT["metre",1]]' for order, axis in enumerate(axes, start=1)
    )
    return CRS.from_wkt(f'ENGCRS["Site grid",EDATUM["{datum}"],CS[Cartesian,2],{axes}]')


def roundtrip(crs, number):
    place = {"driver": "GTiff", "count": 1, "dtype": "uint8", "width": 8, "height": 8, "crs": crs}
    with rasterio.open(f"{number}.tif", "w", transform=from_origin(0, 80, 10, 10), **place) as target:
        target.write(np.zeros((1, 8, 8), "uint8"))
    assert not os.path.exists(f"{number}.tif.aux.xml")
    with rasterio.open(f"{number}.tif") as dataset:
        return dataset.crs


first, second = grid("Pillar 7", "east", "north"), grid("Tower", "south", "west")
read = [roundtrip(crs, number) for number, crs in enumerate((first, second))]
for written, back in zip((first, second), read):
    print(f"written {written.to_wkt()}\n   read {back.to_wkt()}")
    assert "LOCAL_DATUM" in written.to_wkt() and "LOCAL_DATUM" not in back.to_wkt()
    assert written != back
assert 'AXIS["Site south",SOUTH]' in second.to_wkt()
assert 'AXIS["Easting",EAST]' in read[1].to_wkt()
print("equal before:", first == second, "and after:", read[0] == read[1])
assert first != second and read[0] == read[1]

with rasterio.open("1.tif") as dataset, WarpedVRT(dataset, src_crs=second, crs=second) as vrt:
    rasterio.shutil.copy(vrt, "1.png", driver="PNG")
with rasterio.open("1.png") as dataset:
    print("in the PNG:", dataset.crs.to_wkt())
    assert dataset.crs == second
PY
venv/bin/python probe.py

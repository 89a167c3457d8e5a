#!/usr/bin/env bash
# One would guess: rasterio writes and reads the nodata value of an int64 GeoTIFF as the integer that it is, as pixels are.
# What happens (rasterio 1.4.4, GDAL 3.10.3): the value passes through a float. -2**63 is written as text with an exponent,
# which GDAL reads as an integer up to the point: nodata becomes -9. -10**18 becomes -1. 2**53 + 1 becomes 2**53. No error
# and no warning; the nodata pixels count as data, and pixels of -9 or -1 as nodata. 2**63 - 1 is refused when writing;
# where a file of another writer declares it, nodata is None, although mask_flag_enums and dataset_mask() know it.
# Who meets it: labels and counts in int64 (numpy's default) with the smallest integer as nodata. Small values are safe.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "rasterio==1.4.4" "numpy==2.4.6"
cat > probe.py <<'PY'
import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
place = {"driver": "GTiff", "width": 3, "height": 1, "count": 1, "crs": "EPSG:32633", "dtype": "int64"}
place["transform"] = from_origin(500_000, 5_000_000, 10, 10)
expected = {-9999: -9999, -(2**63): -9, -(10**18): -1, 2**53 + 1: 2**53}
for nodata, read in expected.items():
    with rasterio.open("numbers.tif", "w", nodata=nodata, **place) as target:
        target.write(np.array([[[nodata, read, 7]]], "int64"))
    with rasterio.open("numbers.tif") as source:
        mask = source.dataset_mask()[0].tolist()
        print(f"written with nodata {nodata}: read {source.nodata}, pixels {source.read(1)[0].tolist()}, mask {mask}")
        assert source.nodata == read
        assert int(source.read(1)[0, 0]) == nodata
        assert mask == ([0, 0, 255] if nodata == read else [255, 0, 255])

largest = 2**63 - 1
try:
    rasterio.open("numbers.tif", "w", nodata=largest, **place)
except ValueError as error:
    print(f"written with nodata {largest}: {error}")
else:
    raise SystemExit("no error was raised")

# GDAL itself writes such a value in full.
with rasterio.open("numbers.tif", "w", **place) as target:
    target.write(np.array([[[largest, 0, 7]]], "int64"))
with open("declared.vrt", "w") as file:
    file.write(
        f'<VRTDataset rasterXSize="3" rasterYSize="1"><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>'
        f'<VRTRasterBand dataType="Int64" band="1"><NoDataValue>{largest}</NoDataValue><SimpleSource><SourceFilename '
        f'relativeToVRT="1">numbers.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
rasterio.shutil.copy("declared.vrt", "declared.tif", driver="GTiff")
with open("declared.tif", "rb") as file:
    assert str(largest).encode() in file.read()
with rasterio.open("declared.tif") as source:
    flags, mask = [flag.name for flag in source.mask_flag_enums[0]], source.dataset_mask()[0].tolist()
    print(f"declared by GDAL {largest}: nodatavals {source.nodatavals}, mask flags {flags}, mask {mask}")
    assert (source.nodatavals, flags, mask) == ((None,), ["nodata"], [0, 255, 255])
PY
venv/bin/python probe.py

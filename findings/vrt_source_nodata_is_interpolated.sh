#!/usr/bin/env bash
# One would guess: <NODATA> of a VRT's ComplexSource keeps that value out of the resampling which the same source asks for
# (resampling="bilinear"), as the nodata value of the source file itself does.
# What happens (rasterio 1.4.4, GDAL 3.10.3): the value is compared only after the pixels have been interpolated. Where 100
# borders on -9999, valid pixels of -7474 and -2425 arise; cubic even makes values above 100 and below -9999, average
# -4950. They differ from nodata, so they are valid in the mask. If the source states the value itself, or lies in a VRT of
# its own that adds <NoDataValue>, the edges are right.
# Who meets it: whoever mosaics or resamples files that do not declare their nodata, by stating it in the VRT instead.
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

print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
place = {"driver": "GTiff", "count": 1, "dtype": "int16", "width": 8, "height": 8, "crs": "EPSG:32633"}
place["transform"] = from_origin(500_000, 5_000_000, 10, 10)
pixels = np.full((8, 8), 100, "int16")
pixels[:, 5:] = -9999
for name, nodata in (("silent.tif", None), ("stated.tif", -9999)):
    with rasterio.open(name, "w", nodata=nodata, **place) as target:
        target.write(pixels, 1)


def write_vrt(name, source, size, element="SimpleSource", resampling="nearest", nodata=""):
    with open(name, "w") as file:
        file.write(
            f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">'
            f"<GeoTransform>500000, {80 / size}, 0, 5000000, 0, {-80 / size}</GeoTransform>"
            f'<VRTRasterBand dataType="Int16" band="1"><NoDataValue>-9999</NoDataValue>'
            f'<{element} resampling="{resampling}"><SourceFilename relativeToVRT="1">{source}</SourceFilename>'
            f'<SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/><DstRect xOff="0" yOff="0" xSize="{size}" ySize="{size}"/>'
            f"{nodata}</{element}></VRTRasterBand></VRTDataset>"
        )


write_vrt("nested.vrt", "silent.tif", 8)
for resampling, size in (("bilinear", 16), ("cubic", 16), ("average", 4)):
    for source in ("silent.tif", "stated.tif", "nested.vrt"):
        write_vrt("out.vrt", source, size, "ComplexSource", resampling, "<NODATA>-9999</NODATA>")
        with rasterio.open("out.vrt") as dataset:
            valid = np.unique(dataset.read(1, masked=True).compressed()).tolist()
        print(f"{resampling}, source {source}: valid values {valid}")
        assert (valid == [100]) == (source != "silent.tif")
        if source == "silent.tif":
            assert min(valid) < -1000
        if (source, resampling) == ("silent.tif", "bilinear"):
            assert valid == [-7474, -2425, 100]
PY
venv/bin/python probe.py

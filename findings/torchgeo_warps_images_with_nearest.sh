#!/usr/bin/env bash
# One would guess: torchgeo's RasterDataset reads images with the resampling that it states, bilinear for float32 (its default for images),
# wherever pixels of another grid are needed, and so also where a file has another CRS than the dataset.
# What happens (torchgeo 0.8.1, rasterio 1.4.4): the file is first warped to the dataset's CRS by a WarpedVRT that is given no resampling, so by
# nearest; the stated one serves only the step after it, which cuts out the query. Of a file in the neighbouring UTM zone every pixel is a pixel of
# the file, up to half a pixel from its place, and a subclass that states cubic gives the same pixels. The same file in the dataset's own CRS,
# read half a pixel off its grid, does get interpolated values.
# Who meets it: datasets whose scenes lie in several UTM zones, and images & masks, where the images are warped to the CRS of the masks: differences
# of two dates and gradients of elevation show the steps of nearest, in some files of a dataset and not in others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "torchgeo==0.8.1" "rasterio==1.4.4" "torch==2.15.0" "torchvision==0.29.2" "requests==2.34.2"
cat > probe.py <<'PY'
from pathlib import Path

import numpy as np
import rasterio
import torchgeo
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from torchgeo.datasets import RasterDataset


class Cubic(RasterDataset):
    resampling = Resampling.cubic


def image(dataset, x, y):
    return dataset[x[0] : x[1], y[0] : y[1]]["image"][0].numpy()


def between(pixels):
    return np.mean((pixels > 1000) & (pixels < 3000))


print(f"torchgeo {torchgeo.__version__}, rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}")
written = np.where(np.arange(200) // 5 % 2, 3000, 1000).astype("uint16") * np.ones((200, 1), "uint16")  # fields, 5 pixels wide
folder = Path("scenes")
folder.mkdir()
with rasterio.open(
    folder / "scene.tif", "w", driver="GTiff", width=200, height=200, count=1, dtype="uint16",
    crs="EPSG:32632", transform=from_origin(280000, 5330000, 100, 100),
) as file:  # fmt: skip
    file.write(written, 1)

same = RasterDataset(folder)
print("resampling of the dataset:", same.resampling.name)
off = image(same, (284050, 290050), (5314050, 5320050))
print(f"own CRS, half a pixel off the grid: {between(off):.1%} of the pixels lie between the two values of the file")
zone = CRS.from_epsg(32631)
inside = (slice(20, -20), slice(20, -20))
warped, cubic = (
    image(dataset, *((axis.start, axis.stop) for axis in dataset.bounds[:2]))[inside]
    for dataset in (RasterDataset(folder, crs=zone), Cubic(folder, crs=zone))
)
print(f"neighbouring zone: {between(warped):.1%}")
print("a subclass with cubic gives the same pixels:", np.array_equal(warped, cubic))
with rasterio.open(folder / "scene.tif") as file, WarpedVRT(file, crs=zone, resampling=Resampling.bilinear) as vrt:
    wanted = vrt.read(1)[inside]
print(f"a bilinear warp to the same grid: {between(wanted):.1%}; {np.mean(np.abs(wanted - warped) > 200):.1%} of the pixels are more than 200 off it")
assert same.resampling == Resampling.bilinear
assert between(off) > 0.1
assert between(warped) == 0
assert np.array_equal(warped, cubic)
assert between(wanted) > 0.1
PY
venv/bin/python -W ignore probe.py

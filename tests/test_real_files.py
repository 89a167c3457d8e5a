"""Every kind of raster that people have gives the map that its pixels say; with rasterio."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from core import prepare
from core.store.read import DTYPES, ChipStore
from export import predict
from tests.conftest import call
from tests.models import write_strongest_band
from tests.real_files import KINDS, NODATA, PIXEL, Kind, budget

SIDE = 10  # px of a chip


def written(path: Path, kind: Kind) -> Path:
    """The raster as a GeoTIFF."""
    bands = kind.bands if kind.alpha is None else np.concatenate([kind.bands, kind.alpha[None]])
    count, height, width = bands.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=count, dtype=kind.dtype, nodata=kind.value,
            crs=CRS.from_user_input(kind.crs), transform=Affine(*kind.transform), photometric="MINISBLACK", alpha="NO",
        ) as target,
    ):  # fmt: skip
        if kind.colors:  # before pixels are written
            target.colorinterp = [ColorInterp[color] for color in kind.colors]
        target.write(bands)
        for number, name in enumerate(kind.descriptions or (), start=1):
            target.set_band_description(number, name)
        if kind.mask is not None:
            target.write_mask(kind.mask)
    if kind.values is None:
        return path
    path.with_suffix(".vrt").write_text(kind.vrt(path.name))
    return path.with_suffix(".vrt")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_strongest_band(tmp_path_factory.mktemp("model") / "model.onnx", gsd=PIXEL)


@given(kind=KINDS)
@budget(40)
def test_every_kind_of_raster_gives_the_map_that_its_pixels_say(model, tmp_path, kind):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    raster = written(tmp_path / "scene.tif", kind)
    options = ["--out", tmp_path / "out", "--areas", "--provider", "cpu", "--threads", 1]
    options += [] if kind.told is None else [f"--nodata={kind.told}"]
    options += ["--nodata-rule", "all"] if kind.gaps == "in all bands" else []
    assert call(predict.main, model, raster, *options) == 0
    with rasterio.open(raster) as source, rasterio.open(tmp_path / "out" / "scene.tif") as result:
        np.testing.assert_array_equal(result.read(1), kind.classes)
        assert result.transform == source.transform
        assert result.crs == source.crs
    with (tmp_path / "out" / "scene_areas.csv").open() as table:
        found = sum(float(row["hectares"]) for row in csv.DictReader(table))
    assert found == pytest.approx(kind.hectares, rel=1e-4, abs=1e-4)


@given(kind=KINDS.filter(lambda kind: kind.gaps not in ("told", "in all bands") and kind.place != "site"))
@budget(12)
def test_every_kind_of_raster_is_stored_as_its_pixels_say(tmp_path, kind):
    """Chips for learning hold the pixels and the gaps of the file; a site's own grid has no place on Earth."""
    kind = replace(kind, dtype=kind.dtype if kind.dtype in DTYPES else "float32", shape="usual")
    raster = written(tmp_path / "scene_20200101.tif", kind)
    options = ("--size", SIDE, "--min-valid", 0, "--out", tmp_path / "store", "--overwrite", "--workers", 1)
    assert call(prepare.main, "rasters", raster, *options) == 0
    store = ChipStore(tmp_path / "store")
    height, width = (side // SIDE * SIDE for side in kind.classes.shape)
    found = np.zeros((len(kind.bands), height, width), np.float32)
    for chip, row, column in zip(store.pixels(np.arange(len(store))), store.index["row"], store.index["column"]):
        found[:, row : row + SIDE, column : column + SIDE] = chip
    empty = (kind.classes == NODATA)[:height, :width]
    np.testing.assert_array_equal(found, np.where(empty, np.nan, kind.bands[:, :height, :width]))

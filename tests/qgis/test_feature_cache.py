"""Features on the disk, written and read by GDAL in QGIS: the same records as before."""

from __future__ import annotations

import hashlib
import os
import subprocess
from contextlib import closing, contextmanager

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import QgsRasterLayer

from qgis_plugin.gdal_io.cache import feature_cache
from qgis_plugin.gdal_io.job import snapshot
from qgis_plugin.runtime.learn.features import FeatureChoice, learn_features
from qgis_plugin.runtime.learn.place import FeatureRaster
from tests.qgis.rasters import write


def scene(path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(3, 230, 210)).cumsum(axis=1).cumsum(axis=2)
    image = (image - image.min()) / np.ptp(image) * 250 + 1 + rng.random(image.shape) * 4
    return write(path, np.repeat(np.repeat(image, 2, axis=1), 2, axis=2).astype(np.uint8))


@pytest.fixture
def layer(tmp_path, qgis_app):
    return QgsRasterLayer(str(scene(tmp_path / "scene.tif")), "scene")


@contextmanager
def opened(layer, features, cache=None):
    with closing(FeatureRaster(snapshot(layer).open(), features, cache)) as raster:
        yield raster


@pytest.fixture
def learned(layer):
    with closing(snapshot(layer).open()) as pixels:
        return learn_features(FeatureChoice("texture"), [pixels])


def test_a_complete_cache_becomes_a_cog_with_the_same_records(tmp_path, layer, learned):
    cache = feature_cache(tmp_path / "cache")
    with opened(layer, learned, cache) as raster:
        records = dict(raster.compute(raster.tiles()))
        assert len(records) == 4
        assert raster.complete_cache()
    (path,) = (tmp_path / "cache").rglob("*.tif")
    assert gdal.Info(str(path), format="json")["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    with opened(layer, learned, cache) as again:
        assert all(again.is_there(tile) for tile in again.tiles())
        for tile, record in again.compute(again.tiles()):
            assert np.array_equal(record[:, 1:-1, 1:-1], records[tile][:, 1:-1, 1:-1])
            assert np.abs(record.astype(int) - records[tile]).max() <= 1
        again.delete_cache()
    assert cache.size() == 0


CODE = """
import hashlib, sys
from export.rasterio_io.pixels import RasterPixels
from export.runtime.learn.features import FeatureChoice, learn_features
from export.runtime.learn.place import FeatureRaster
features = learn_features(FeatureChoice("texture"), [RasterPixels(sys.argv[1])])
record = FeatureRaster(RasterPixels(sys.argv[1]), features).record((0, 0))
print(features.graph.hex() + " " + hashlib.sha256(record.tobytes()).hexdigest())
"""


def test_features_are_those_of_the_command_line(tmp_path, layer, learned):
    python = os.environ.get("GEOAWARE_TEST_PYTHON")
    if not python:
        pytest.skip("GEOAWARE_TEST_PYTHON names no Python with rasterio")
    ran = subprocess.run([python, "-c", CODE, str(tmp_path / "scene.tif")], capture_output=True, text=True, check=True)
    graph, digest = ran.stdout.split()
    assert learned.graph.hex() == graph
    with opened(layer, learned) as raster:
        assert hashlib.sha256(raster.record((0, 0)).tobytes()).hexdigest() == digest

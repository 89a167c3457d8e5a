"""Layers without a file: tiles and pictures from a server, virtual rasters."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
)

from tests.models import card_item, write_model, write_strongest_band
from tests.qgis import rasters
from tests.qgis.conftest import BLUE, GREEN, RED
from tests.qgis.services import running_server, stripe_at
from tests.qgis.test_algorithms import wait
from tests.qgis.test_segment import Feedback, refusal

# at the equator, where a metre of EPSG:3857 is one on the ground
EXTENT = "1000000,1004800,-1200,1200 [EPSG:3857]"


@pytest.fixture
def server():
    with running_server() as started:
        yield started


@pytest.fixture(params=["xyz", "wms"])
def layer(request, server, qgis_new_project):
    uri = f"type=xyz&url={server.url}/%7Bz%7D/%7Bx%7D/%7By%7D.png&zmin=0&zmax=20"
    if request.param == "wms":
        uri = f"crs=EPSG:3857&format=image/png&layers=stripes&styles=&url={server.url}/wms"
    made = QgsRasterLayer(uri, "web map", "wms")
    assert made.isValid()
    QgsProject.instance().addMapLayer(made)
    return made


def run(layer, model, out, feedback=None, **more):
    import processing

    parameters = {"INPUT": layer, "MODEL": str(model), "OUTPUT": str(out), **more}
    return processing.run("geoaware:segment", parameters, feedback=feedback or QgsProcessingFeedback())


def test_a_service_is_read_at_the_models_pixel_size(running, layer, tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx", gsd=10.0)
    feedback = Feedback()
    run(layer, model, tmp_path / "out.tif", feedback, EXTENT=EXTENT)
    made = gdal.Open(str(tmp_path / "out.tif"))
    x, across, _, y, _, down = made.GetGeoTransform()
    assert (x, y) == (1_000_000, 1200)
    assert (across, -down) == pytest.approx((10, 10), rel=0.01)
    found = made.ReadAsArray()
    expected = np.array([RED, GREEN, BLUE])[stripe_at(x + (np.arange(found.shape[1]) + 0.5) * across)]
    assert (found == expected).mean() > 0.95  # pictures are smoothed where colours meet
    assert feedback.warnings == []


def test_pixels_of_a_service_are_measured_on_the_ground(running, layer, tmp_path):
    """At 60 degrees a metre on the ground is two of EPSG:3857."""
    model = write_strongest_band(tmp_path / "m.onnx", gsd=10.0)
    run(layer, model, tmp_path / "out.tif", EXTENT="1000000,1004800,8399000,8400000 [EPSG:3857]")
    assert gdal.Open(str(tmp_path / "out.tif")).GetGeoTransform()[1] == pytest.approx(20, rel=0.01)


def test_the_model_suggested_for_a_service_is_one_for_pictures(running, layer, tmp_path):
    from geoaware.ui.models import Entry, suggested

    grey = write_model(tmp_path / "grey.onnx", np.ones((3, 1, 1, 1), np.float32), card_item(bands=("grey",), gsd=10.0))
    found = [Entry.of(grey), Entry.of(write_strongest_band(tmp_path / "colours.onnx", gsd=10.0))]
    assert suggested(found, layer, found[1].path) == 1


def test_a_service_that_fails_is_no_empty_map(running, layer, server, tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx", gsd=10.0)
    server.broken = True
    with pytest.raises(QgsProcessingException, match="The service of the layer 'web map' did not answer"):
        run(layer, model, tmp_path / "out" / "map.tif", EXTENT=EXTENT)
    assert not (tmp_path / "out").exists()


def test_a_service_needs_an_area_and_a_pixel_size(running, layer, model, tmp_path):
    assert "does not say which size it needs" in refusal(layer, model, tmp_path / "out.tif")
    sized = write_strongest_band(tmp_path / "m.onnx", gsd=10.0)
    assert refusal(layer, sized, tmp_path / "out.tif").endswith("comes from a service: choose an extent or polygons.")


def test_a_service_can_be_cancelled(running, layer, tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx", gsd=6.0)
    feedback = Feedback(cancel_at=20)
    run(layer, model, tmp_path / "out" / "map.tif", feedback, EXTENT=EXTENT)
    assert feedback.progress() < 30
    assert not (tmp_path / "out").exists()


def test_a_service_is_read_in_the_background_when_its_layer_is_gone(running, layer, tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx", gsd=10.0)
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
    context.setProject(QgsProject.instance())
    parameters = {"INPUT": layer.id(), "MODEL": str(model), "OUTPUT": str(tmp_path / "out.tif"), "EXTENT": EXTENT}
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoaware:segment")
    steps = wait(QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback))
    next(steps)
    QgsProject.instance().removeMapLayer(layer.id())
    fine, _ = next(steps)
    assert fine, feedback.textLog()
    assert {RED, GREEN, BLUE} == set(np.unique(rasters.band(tmp_path / "out.tif")))


def test_a_virtual_raster_is_read_on_its_own_grid(running, model, scene, tmp_path, qgis_new_project):
    path = rasters.write(tmp_path / "scene.tif", scene[0])
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(path), "scene"))
    uri = f'?crs=EPSG:32633&extent=500000,4999300,500900,5000000&width=90&height=70&formula="scene@1"&scene:uri={path}&scene:provider=gdal'
    layer = QgsRasterLayer(uri, "calculated", "virtualraster")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    assert "has 1 bands, but the model needs 3" in refusal(layer, model, tmp_path / "out.tif")
    run(layer, model, tmp_path / "out.tif", BANDS=[1, 1, 1])
    assert gdal.Open(str(tmp_path / "out.tif")).GetGeoTransform() == (500_000, 10, 0, 5_000_000, 0, -10)
    assert set(np.unique(rasters.band(tmp_path / "out.tif"))) == {RED}  # all bands alike: the first


def test_a_file_in_memory_is_a_file(running, model, scene, tmp_path, qgis_new_project):
    path = rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)
    gdal.FileFromMemBuffer("/vsimem/scene.tif", path.read_bytes())
    run(QgsRasterLayer("/vsimem/scene.tif", "in memory"), model, tmp_path / "out.tif")
    gdal.Unlink("/vsimem/scene.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif"), scene[1])


def test_a_coverage_of_a_wcs_is_read_pixel_for_pixel(running, server, model, scene, tmp_path, qgis_new_project):
    server.raster = str(rasters.write(tmp_path / "scene.tif", scene[0], nodata=0))
    uri = f"url={server.url}/wcs&identifier=scene&crs=EPSG:32633&format=GTiff&version=1.0.0&cache=AlwaysNetwork"
    layer = QgsRasterLayer(uri, "coverage", "wcs")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    run(layer, model, tmp_path / "out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif"), scene[1])


@pytest.mark.parametrize("gsd", [None, 20.0])
def test_the_tiles_of_a_run_are_known_before_it(running, scene, tmp_path, gsd):
    from geoaware.gdal_io.job import RunPlan, card_in, open_job, snapshot
    from geoaware.runtime.infer.layout import Options

    model = str(write_strongest_band(tmp_path / "m.onnx", gsd=gsd))
    layer = QgsRasterLayer(str(rasters.write(tmp_path / "scene.tif", np.tile(scene[0], (1, 3, 4)))), "scene")
    plan, seen = RunPlan.checked(model, card_in(model), snapshot(layer), Options(), provider="cpu"), []
    job = open_job(plan)
    list(job.rows(lambda done, total: seen.append((done, total)) or True))
    job.close()
    assert seen[-1] == (plan.tiles, plan.tiles)

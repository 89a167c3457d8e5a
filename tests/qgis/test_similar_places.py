"""``geoaware:similar`` gives the layer and the places of ``export.similar``, number for number."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal, ogr
from qgis.core import QgsProcessingException

from tests.qgis import rasters
from tests.qgis.conftest import ROOT
from tests.qgis.test_fit_model import PYTHON, RUN_ALL, Stop, needs_python, run, stripes, write_labels

AT = [(33, 40), (213, 200)]  # column and row of smooth ground
NOT = [(150, 90)]  # of water


def places(pixels: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(500_000 + 10 * column + 3.0, 5_000_000 - 10 * row - 4.0) for column, row in pixels]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A folder with a raster, examples in degrees, and counter-examples."""
    folder = tmp_path_factory.mktemp("similar")
    rasters.write(folder / "scene.tif", stripes(), nodata=0)
    for name, pixels, epsg in (("like", AT, 4326), ("unlike", NOT, rasters.UTM)):
        marks = [(f"Point ({x} {y})", name) for x, y in places(pixels)]
        write_labels(folder / f"{name}.gpkg", marks, epsg, ogr.wkbPoint)
    return folder


def given(scene: Path, out: Path, **more) -> dict:
    return {
        "INPUT": str(scene / "scene.tif"), "LIKE": str(scene / "like.gpkg"), "UNLIKE": str(scene / "unlike.gpkg"),
        "FEATURES": "texture", "CACHE": str(out / "cache"), "OUTPUT": str(out / "s.tif"), "PLACES": str(out / "p.gpkg"), **more,
    }  # fmt: skip


def found(path: Path) -> list[tuple]:
    """Rank, score and place of each point."""
    layer = ogr.Open(str(path))
    return [
        (one.GetField("rank"), one.GetField("score"), one.GetGeometryRef().GetPoint_2D()) for one in layer.GetLayer(0)
    ]


@needs_python
def test_layer_and_places_are_those_of_the_command_line(running, scene, tmp_path):
    texts = [[f"{x},{y}" for x, y in places(pixels)] for pixels in (AT, NOT)]
    call = [
        "similar",
        str(scene / "scene.tif"),
        "--at",
        *texts[0],
        "--not",
        *texts[1],
        "--texture",
        "--out",
        str(tmp_path / "cli.tif"),
    ]
    subprocess.run([PYTHON, "-c", RUN_ALL], input=json.dumps([call]), text=True, check=True, cwd=ROOT, timeout=300)
    made = run("similar", **given(scene, tmp_path))
    mine, expected = gdal.Open(str(tmp_path / "s.tif")), gdal.Open(str(tmp_path / "cli.tif"))
    assert mine.GetGeoTransform() == expected.GetGeoTransform()
    np.testing.assert_array_equal(mine.ReadAsArray(), expected.ReadAsArray())
    assert found(tmp_path / "p.gpkg") == found(tmp_path / "cli.gpkg")
    assert made["COUNT"] == len(found(tmp_path / "p.gpkg")) > 3
    assert [path.suffix for path in (tmp_path / "cache").rglob("*.[gt]*")] == [".tif"]  # one COG, no records


def test_what_is_like_the_examples_scores_higher(running, scene, tmp_path):
    run("similar", **given(scene, tmp_path))
    scores = rasters.band(tmp_path / "s.tif")
    middles = scores[20:60, 7::15]  # one column of places in each stripe
    smooth, rough, water = (float(np.nanmedian(middles[:, ground::3])) for ground in range(3))
    assert smooth > 0.5
    assert smooth > rough + 0.2
    assert smooth > water + 0.2


def test_a_cancelled_search_leaves_nothing(running, scene, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    feedback = Stop(30)
    run("similar", feedback, **given(scene, tmp_path, OUTPUT=str(out / "s.tif"), PLACES=str(out / "p.gpkg")))
    assert feedback.isCanceled()
    assert list(out.iterdir()) == []


def test_examples_outside_the_layer_are_one_sentence(running, scene, tmp_path):
    write_labels(tmp_path / "far.gpkg", [("Point (900000 4000000)", "far")], kind=ogr.wkbPoint)
    with pytest.raises(QgsProcessingException) as caught:
        run("similar", **given(scene, tmp_path, LIKE=str(tmp_path / "far.gpkg")))
    assert "\n" not in str(caught.value).removeprefix("Unable to execute algorithm\n").strip()
    assert not (tmp_path / "s.tif").exists()

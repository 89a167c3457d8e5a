"""From the zip to the map in a QGIS Desktop with a screen, by clicks; see ``desktop.py``."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")

from export import plugin
from tests.models import CLASSES, write_series, write_strongest_band
from tests.qgis import desktop as screen
from tests.qgis import rasters
from tests.qgis.test_fit_model import NAMES, stripes
from tests.qgis.test_series import dated


def missing() -> str:
    """What is not there."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime"
    if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        return "pip of QGIS's Python"
    return ", ".join(program for program in screen.PROGRAMS if shutil.which(program) is None)


@pytest.mark.skipif(bool(missing()), reason=f"a QGIS on a virtual screen needs {missing()}")
def test_from_the_zip_to_the_map_by_clicks(scene, tmp_path):
    model = write_strongest_band(tmp_path / "colours.onnx")
    raster = rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)
    seen = screen.launch(model, raster, tmp_path / "out", 300)
    assert seen["finished"], seen
    assert seen["left"] == []
    assert seen["models at first"] == len(list(plugin.MODELS.glob("*.onnx")))
    assert seen["fit"] == ["Layer and model fit."]
    assert float(seen["tiles per second"]["CPUExecutionProvider"].replace(",", "")) > 0
    assert seen["state"] == "done"
    assert seen["layers"] == ["scene: confidence", "scene: polygons", "scene: land cover"]
    assert seen["active"] == "scene: land cover"
    assert seen["legend"] == [name for _, name, _ in CLASSES]
    assert seen["read"].startswith("scene: land cover: ")
    assert "qgis_process run geoaware:segment" in seen["page"]
    assert seen["seconds from zip to map"] < 120


@pytest.mark.skipif(bool(missing()), reason=f"a QGIS on a virtual screen needs {missing()}")
def test_layers_of_several_dates_are_mapped_by_clicks(tmp_path):
    files, _, valid = dated(tmp_path)
    model = write_series(tmp_path / "series.onnx")
    seen = screen.launch(model, files[0], tmp_path / "out", 300, series=files[1:])
    assert seen["finished"], seen
    assert seen["left"] == []
    (note,) = seen["fit"]
    assert "of it hold no data at any date" in note
    assert seen["marks"][0].startswith("2024-01-20 · scene_20240120 · no data ")
    assert "scene_20240120 (+2): number of dates" in seen["layers"]
    assert seen["read"].endswith(f", dates: {valid[:, 35, 45].sum()}")
    assert "--series --dates" in seen["page"]


@pytest.mark.skipif(bool(missing()), reason=f"a QGIS on a virtual screen needs {missing()}")
def test_from_strokes_to_a_model_and_its_map(tmp_path):
    raster = rasters.write(tmp_path / "scene.tif", stripes(), nodata=0)
    strokes = {
        name: [
            [[60 * stripe + 20, row], [60 * stripe + 40, row + 20]]
            for stripe in (number, number + 3)
            for row in (60, 200)
        ]
        for number, name in enumerate(NAMES)
    }
    seen = screen.launch(None, raster, tmp_path / "out", 300, labels={"features": "Bands", "classes": strokes})
    assert seen["finished"], seen
    assert seen["left"] == []
    assert (seen["saved"], seen["mapped"]) == ("done", "done")
    assert len(seen["seconds from stroke to map"]) == 8  # of the second and the third class
    assert seen["seconds from the panel to model and map"] < 120
    assert "qgis_process run geoaware:fitmodel" in seen["page"]

"""``geoaware:change`` gives the files of ``export.change``, pixel for pixel."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal, ogr
from qgis.core import QgsProcessingException

from tests.models import write_given, write_graph, write_series, write_strongest_band
from tests.qgis import rasters
from tests.qgis.conftest import ROOT
from tests.qgis.test_fit_model import PYTHON, RUN_ALL, needs_python, run, write_labels


def scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 3, (7, 9)), np.ones((10, 10), int))
    return (np.where(base[None] == np.arange(3)[:, None, None], 90, 60) + rng.integers(-12, 12, (3, 70, 90))).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Two dates, a model of classes, an encoder, and places whose truth is known."""
    folder = tmp_path_factory.mktemp("change")
    before, after = scene(1), scene(1)
    after[:, 20:50, 30:70] = scene(2)[:, 20:50, 30:70]
    before[:, :6, :9], after[:, -4:, :12] = 0, 0
    rasters.write(folder / "y1990.tif", before, nodata=0)
    rasters.write(folder / "y2020.tif", after, nodata=0)
    write_strongest_band(folder / "classes.onnx")
    kernel = np.random.default_rng(0).normal(0, 0.1, (8, 3, 4, 4)).astype(np.float32)
    nodes = [("Conv", ["image", "kernel"], ["features"], {"strides": [4, 4]})]
    write_graph(folder / "encoder.onnx", nodes, {"features": (1, ["batch", 8, 8, 8])}, {"kernel": kernel})
    write_given(folder / "encoder.onnx", task="embedding", classes=None, overlap=0)
    rng = np.random.default_rng(5)
    marks = []
    for row, column in zip(rng.integers(10, 60, 120).tolist(), rng.integers(15, 88, 120).tolist()):
        changed = 20 <= row < 50 and 30 <= column < 70
        marks.append((f"Point ({500_000 + 10 * column + 3} {5_000_000 - 10 * row - 4})", "yes" if changed else "no"))
    write_labels(folder / "truth.gpkg", marks, rasters.UTM, ogr.wkbPoint)
    return folder


def given(world: Path, model: str, out: Path, **more) -> dict:
    return {
        "INPUT": str(world / "y1990.tif"), "AFTER": str(world / "y2020.tif"), "MODEL": str(world / model), "THREADS": 1,
        "OUTPUT": str(out / "n.tif"), "CHANGE": str(out / "n_change.tif"), "REPORT": str(out / "n_report.html"),
        "MATRIX": str(out / "n_matrix.csv"), **more,
    }  # fmt: skip


def pixels(path: Path) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


@needs_python
@pytest.mark.parametrize("case", ["classes", "calibrated", "encoder", "extent", "mask"])
def test_files_are_those_of_the_command_line(running, world, tmp_path, case):
    model = "encoder.onnx" if case == "encoder" else "classes.onnx"
    out, mine = tmp_path / "cli", tmp_path / "mine"
    call = ["change", str(world / "y1990.tif"), str(world / "y2020.tif"), "--model", str(world / model), "--out", str(out), "--name",
            "n", "--threads", "1"]  # fmt: skip
    more = {} if case == "encoder" else {"FORMER": str(mine / "n_before.tif"), "LATTER": str(mine / "n_after.tif")}
    field = "class"
    if case == "calibrated":
        call += ["--reference", str(world / "truth.gpkg"), "--field", field]
        more |= {"REFERENCE": str(world / "truth.gpkg"), "FIELD": field}
    if case == "extent":
        call += ["--bounds", "500150", "4999500", "500600", "4999900"]
        more["EXTENT"] = "500150,500600,4999500,4999900 [EPSG:32633]"
    if case == "mask":
        call += ["--mask-band", "3", "--mask-values", "85-255"]
        more |= {"MASK_BAND": "3", "MASK_VALUES": "85-255", "BANDS": [1, 2, 2]}
        call += ["--bands", "1", "2", "2"]
    subprocess.run([PYTHON, "-c", RUN_ALL], input=json.dumps([call]), text=True, check=True, cwd=ROOT, timeout=300)
    made = run("change", **given(world, model, mine, **more))
    strength = "distance" if case == "encoder" else "probability"
    pairs = [("n.tif", "n.tif"), (f"n_{strength}.tif", "n_change.tif")]
    pairs += [] if case == "encoder" else [("n_before.tif", "n_before.tif"), ("n_after.tif", "n_after.tif")]
    for theirs, ours in pairs:
        np.testing.assert_array_equal(pixels(mine / ours), pixels(out / theirs))
    told, expected = (json.loads((folder / "n_matrix.json").read_text()) for folder in (mine, out))
    for key in ("classes", "matrix", "pixels_without_data", "changed_hectares"):
        assert told.get(key) == expected.get(key)
    named = {"sample": "truth"} if case == "calibrated" else {}  # the layer's name, not the file's
    assert told["decision"] == pytest.approx({**expected["decision"], **named})  # QGIS may have another numpy
    assert made["CHANGED"] == pytest.approx(expected["changed_hectares"])
    assert (mine / "n_matrix.csv").read_text() == (out / "n_matrix.csv").read_text()


def test_what_does_not_fit_is_one_sentence_and_leaves_nothing(running, world, tmp_path):
    rasters.write(tmp_path / "far.tif", scene(1), transform=(800_000, 10, 0, 5_000_000, 0, -10))
    with pytest.raises(QgsProcessingException, match="does not overlap"):
        run("change", **given(world, "classes.onnx", tmp_path / "out", AFTER=str(tmp_path / "far.tif")))
    write_series(tmp_path / "series.onnx")
    with pytest.raises(QgsProcessingException, match="reads a series of dates: compare periods with"):
        run("change", **{**given(world, "classes.onnx", tmp_path / "out"), "MODEL": str(tmp_path / "series.onnx")})
    more = {"REFERENCE": str(world / "truth.gpkg"), "DISTANCE": 0.2}
    with pytest.raises(QgsProcessingException, match="either reference places or a distance"):
        run("change", **given(world, "encoder.onnx", tmp_path / "out", **more))
    with pytest.raises(QgsProcessingException, match="would overwrite"):
        run("change", **given(world, "classes.onnx", tmp_path / "out", OUTPUT=str(world / "y1990.tif")))
    with pytest.raises(QgsProcessingException, match="'y1990' is given as the layer before and as the layer after"):
        run("change", **given(world, "classes.onnx", tmp_path / "out", AFTER=str(world / "y1990.tif")))
    rasters.write(tmp_path / "empty.tif", np.zeros((3, 70, 90), np.uint8), nodata=0)  # found out at the end
    with pytest.raises(QgsProcessingException, match="no pixel holds data at both dates"):
        run("change", **given(world, "classes.onnx", tmp_path / "out", AFTER=str(tmp_path / "empty.tif")))
    assert not (tmp_path / "out").exists()

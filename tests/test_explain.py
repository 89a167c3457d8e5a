"""``--explain``: what a run will do is said before it, and is what the run does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from export import predict
from tests.conftest import call, write_raster
from tests.models import write_strongest_band
from tests.real_files import Kind
from tests.test_predict_rasters import stripes
from tests.test_real_files import written


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "model.onnx", gsd=10.0)


def explained(capsys, *arguments: object) -> dict[str, str]:
    """The facts that ``--explain`` prints, by label; reasons in brackets."""
    assert call(predict.main, *arguments, "--explain", "--threads", 1) == 0
    text = re.sub(r"\n {14,}", " ", capsys.readouterr().out)
    rows = [re.fullmatch(r"  (\S+(?: \S+)*)  +(.*)", line) for line in text.splitlines()]
    return {row[1]: row[2] for row in rows if row}


def test_a_run_is_explained_without_writing_anything(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes(), nodata=0)
    before = sorted(tmp_path.iterdir())
    said = explained(capsys, model, raster, "--confidence", "--bounds", 500_100, 4_999_500, 500_500, 4_999_905)
    assert sorted(tmp_path.iterdir()) == before
    assert said["raster"] == "90 rows, 120 columns, 3 bands, uint8"
    assert said["bands"].startswith("red = 1, green = 2, blue = 3 (")
    assert said["values"].startswith("as stored (nothing says that they are in another unit; the model learned from 0")
    assert said["pixel size"] == "10 m, not resampled (the model learned from 10 m)"
    assert said["grid"].startswith("41 rows, 40 columns, west 500100, south 4999500, east 500500, north 4999910 (")
    assert said["CRS"].startswith("WGS 84 / UTM zone 33N (EPSG:32633)")
    assert said["tiles"] == "4 of 32 x 32 px, overlap 8 px (by the model card)"
    assert said["time"].startswith(
        "about 1 s (measured on the first tiles, CPUExecutionProvider, 1 at a time; onnxruntime on"
    )
    assert said["files"].startswith(
        "scene.tif, scene_confidence.tif, scene.qml, scene.tif.aux.xml, scene_confidence.qml,"
    )
    assert said["no data"] == "0 in any band that is read, as the file declares"


@pytest.mark.parametrize(
    ("place", "name"), [("compound", "WGS 84 / UTM zone 33N + EGM96 height"), ("site", "site grid")]
)
def test_any_crs_has_a_name(model, tmp_path, capsys, place, name):
    kind = Kind("uint8", "none", place, "none", (0, 1, 2), "usual")
    raster = written(tmp_path / "scene.tif", kind)
    assert explained(capsys, model, raster)["CRS"] == name


def test_what_is_explained_is_what_the_run_writes(model, tmp_path, capsys):
    """Resampled, in blocks, of several rasters."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    write_raster(folder / "a.tif", stripes(600, 600).astype(np.uint16) * 40, pixel=20.0)
    write_raster(folder / "b.tif", stripes(300, 300), pixel=5.0)
    options = (model, folder, "--out", tmp_path / "out", "--bands", 1, 2, 3, "--threads", 1)
    assert call(predict.main, *options, "--block", 512, "--explain") == 0
    a, b = capsys.readouterr().out.split(str(folder / "b.tif"))
    assert not (tmp_path / "out").exists()
    assert "20 m, resampled to 10 m; bilinear; the map is brought back" in a
    assert "stored value x 0.07" in a
    assert "5 m, resampled to 10 m; bilinear, averaged to larger pixels" in b
    counts = [int(re.search(r"in (\d+) blocks", part)[1]) if "blocks" in part else 0 for part in (a, b)]
    assert call(predict.main, *options, "--block", 512) == 0
    made = [len(list((tmp_path / "out" / f"{name}_blocks").glob("*.tif"))) for name in "ab"]
    assert counts == made == [9, 0]


def test_a_run_that_would_be_refused_is_not_explained(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "two.tif", stripes()[:2])
    assert call(predict.main, model, raster, "--explain") == 2
    assert "two.tif: has 2 bands, but the model needs 3" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call(predict.main, model, raster)
    assert "--out is required" in capsys.readouterr().err

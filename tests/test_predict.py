"""Batch inference: what is written, and what bad input gets."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from export import predict
from tests.conftest import UTM, call, write_raster
from tests.models import write_model, write_strongest_band


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "model.onnx", gsd=10.0)


def stripes(rows: int = 90, columns: int = 120) -> np.ndarray:
    """Three vertical stripes: red, green, blue; one corner without data."""
    pixels = np.full((3, rows, columns), 20, np.uint8)
    for band in range(3):
        pixels[band, :, band * columns // 3 : (band + 1) * columns // 3] = 200
    pixels[:, :10, :10] = 0
    return pixels


def test_the_map_has_the_rasters_grid_the_cards_classes_and_its_nodata(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes(), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "out") == 0
    with rasterio.open(tmp_path / "out" / "scene.tif") as result, rasterio.open(raster) as source:
        assert (result.crs, result.transform, result.shape) == (source.crs, source.transform, source.shape)
        band = result.read(1)
        assert result.colormap(1)[7][:3] == (0x30, 0xA0, 0x40)
    assert (band[:10, :10] == 255).all()
    assert (band[10:, :40] == 3).all()
    assert (band[:, 40:80] == 7).all()
    assert (band[:, 80:] == 12).all()
    assert cog_validate(tmp_path / "out" / "scene.tif")[0]
    assert "<Category>green land</Category>" in (tmp_path / "out" / "scene.tif.aux.xml").read_text()
    assert 'label="blue water"' in (tmp_path / "out" / "scene.qml").read_text()
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {"scene.tif", "scene.tif.aux.xml", "scene.qml", "scene.stac.json"}


def test_confidence_is_a_raster_beside_the_map_in_per_cent(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes(), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "out", "--confidence") == 0
    with rasterio.open(tmp_path / "out" / "scene_confidence.tif") as result:
        assert (result.count, result.nodata) == (1, 255)
        confidence = result.read(1)
    assert (confidence[:10, :10] == 255).all()
    assert confidence[50, 60] == 100
    assert "singlebandpseudocolor" in (tmp_path / "out" / "scene_confidence.qml").read_text()  # as the plugin's


def test_a_raster_without_coordinates_takes_them_from_the_command_line(model, tmp_path):
    from PIL import Image

    Image.fromarray(stripes().transpose(1, 2, 0)).save(tmp_path / "photo.png")
    arguments = [model, tmp_path / "photo.png", "--out", tmp_path / "out"]
    assert call(predict.main, *arguments, "--crs", "EPSG:4326", "--bounds", -10, 0, 10, 15) == 0
    with rasterio.open(tmp_path / "out" / "photo.tif") as result:
        assert result.bounds == (-10, 0, 10, 15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx", "scene.tif"], "none.onnx: no such file"),
        (["text.onnx", "scene.tif"], "text.onnx: not an ONNX file"),
        (["cardless.onnx", "scene.tif"], "cardless.onnx: has no model card"),
        (["model.onnx", "none.tif"], "none.tif: no such file"),
        (["model.onnx", "text.onnx"], "text.onnx: cannot be read as a raster"),
        (["model.onnx", "one.tif"], "one.tif: has 1 bands, but the model needs 3 (red, green, blue)"),
        (["model.onnx", "bare.tif"], "bare.tif: has no CRS"),
        (["model.onnx", "cut.tif"], "cut.tif: corrupt or truncated file"),
    ],
)
def test_bad_input_gets_one_sentence_and_no_file(model, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.onnx").write_text("this is no ONNX file at all")
    write_model(tmp_path / "cardless.onnx", np.zeros((3, 3, 1, 1)), item={})
    write_raster(tmp_path / "scene.tif", stripes())
    write_raster(tmp_path / "one.tif", stripes()[:1])
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_raster(tmp_path / "bare.tif", stripes(), crs=None)
    whole = write_raster(
        tmp_path / "cut.tif", np.random.default_rng(0).integers(1, 255, (3, 200, 200)).astype(np.uint8)
    )
    whole.write_bytes(whole.read_bytes()[:60_000])
    assert call(predict.main, *arguments, "--out", "out") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not list(tmp_path.glob("out/*"))


def test_one_bad_raster_does_not_stop_the_others(model, tmp_path, capsys):
    good = write_raster(tmp_path / "good.tif", stripes())
    assert call(predict.main, model, tmp_path / "none.tif", good, "--out", tmp_path / "out") == 1
    assert (tmp_path / "out" / "good.tif").exists()
    assert "none.tif: no such file" in capsys.readouterr().err


def test_an_unlikely_pixel_size_or_unit_is_said(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes().astype(np.uint16) * 50, pixel=50.0)
    assert call(predict.main, model, raster, "--out", tmp_path / "out") == 0
    error = capsys.readouterr().err
    assert "its pixels are 50 m, the model learned from 10 m: resampled on the way in" in error
    assert "its values reach 1e+04, the model learned from 0 to 255" in error


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured with Linux")
def test_memory_does_not_grow_with_the_height(tmp_path):
    code = """
import re, sys
from pathlib import Path
from export.rasterio_io.run import map_raster
from export.runtime.model.session import Model
path, raster = map(Path, sys.argv[1:])
map_raster(Model(path, "cpu", threads=1), path, str(raster), path.parent / "out", raster.stem)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
    model = write_strongest_band(tmp_path / "model.onnx", gsd=10.0, tile_size=256)
    environment = {"GDAL_CACHEMAX": "4", "PATH": "/usr/bin"}
    peaks = []  # kB; unlike ru_maxrss, VmHWM is not inherited from the process that starts the child
    for height in (4096, 16384):
        raster = write_raster(tmp_path / f"h{height}.tif", np.zeros((3, height, 1024), np.uint8), tiled=True)
        command = [sys.executable, "-c", code, model, raster]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1], env=environment
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 30_000  # of 50 MB more that are read and written


def test_real_landsat_pixels_get_a_class_and_nodata_stays(real, tmp_path):
    with rasterio.open(real / "landsat_peru_1985_2020" / "2020.tif") as source:
        pixels, crs, transform = source.read([1, 2, 3]), source.crs, source.transform
        empty = (pixels == 0).any(axis=0)
    raster = tmp_path / "peru.tif"
    with rasterio.open(
        raster,
        "w",
        driver="GTiff",
        height=pixels.shape[1],
        width=pixels.shape[2],
        count=3,
        dtype="uint8",
        crs=crs,
        transform=transform,
        nodata=0,
    ) as out:
        out.write(pixels)
    assert call(predict.main, write_strongest_band(tmp_path / "m.onnx"), raster, "--out", tmp_path / "out") == 0
    with rasterio.open(tmp_path / "out" / "peru.tif") as result:
        assert np.array_equal(result.read(1) == 255, empty)
        assert len(np.unique(result.read(1)[~empty])) == 3
        assert result.crs == crs != UTM

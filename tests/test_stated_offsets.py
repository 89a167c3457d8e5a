"""An offset that a file or an Item states, or that it says is applied, is not subtracted again."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import rasterio

from core.prepare import main as prepare
from tests.conftest import call, write_raster
from tests.models import card_item, write_model
from tests.test_predict_rasters import mapped

GREYS = ((1, "dark", "202020"), (2, "middle", "808080"), (3, "bright", "F0F0F0"))
BANDS = ("B04", "B03", "B02")
SCALED = {"scale": 1e-4, "offset": -0.1}


def reflectance() -> np.ndarray:
    rng = np.random.default_rng(5)
    return (np.add.outer(np.arange(64), np.arange(64))[None] * 18 + rng.integers(50, 300, (3, 64, 64))).astype(
        np.uint16
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three classes by the mean reflectance, with borders at 600 and 1600."""
    kernel = np.array([0, 1 / 3, 2 / 3])[:, None, None, None] * np.ones((1, 3, 1, 1))
    item = card_item(classes=GREYS, bands=BANDS, tile_size=64, overlap=0)
    item["properties"] |= {"geoaware:unit": "reflectance x 10000", "geoaware:value_range": [0, 10_000]}
    return write_model(tmp_path / "m.onnx", kernel, item, np.array([0, -600.0, -2200.0]))


def direct(model: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": pixels[None].astype(np.float32)})[0][0].argmax(0) + 1


def write_scene(folder: Path, stored: np.ndarray, described: dict, one_file: bool, **properties: object) -> Path:
    """An Item with a file for each band, or with one for all."""
    assets = {}
    for band, pixels in {"all": stored}.items() if one_file else zip(BANDS, stored[:, None]):
        path = write_raster(folder / f"{band}.tif", pixels, nodata=0)
        with rasterio.open(path, "r+") as target:
            target.descriptions = BANDS if one_file else (band,)
        own = {key: bands if one_file else bands[:1] for key, bands in described.items()}
        assets[band] = {"href": path.name, "type": "image/tiff; application=geotiff", **own}
    item = {"type": "Feature", "id": "scene", "assets": assets, "properties": properties}
    (folder / "item.json").write_text(json.dumps(item))
    return folder / "item.json"


NEW = {"s2:processing_baseline": "05.11"}
ITEMS = {
    "applied, Earth Search v1": (0, {**NEW, "earthsearch:boa_offset_applied": True}, {"raster:bands": [SCALED] * 3}),
    "applied, Earth Search v0": (0, {"sentinel:processing_baseline": "04.00", "sentinel:boa_offset_applied": True}, {}),
    "not applied": (1000, {**NEW, "earthsearch:boa_offset_applied": False}, {"raster:bands": [SCALED] * 3}),
    "stated": (500, NEW, {"raster:bands": [{"scale": 1e-4, "offset": -0.05}] * 3}),
    "zero is stated": (0, NEW, {"raster:bands": [{"scale": 1e-4, "offset": 0}] * 3}),
    "zero is stated, STAC 1.1": (0, NEW, {"bands": [{"raster:scale": 1e-4, "raster:offset": 0}] * 3}),
    "stated with an old product": (0, {"s2:processing_baseline": "02.14"}, {"raster:bands": [SCALED] * 3}),
    "by the baseline": (1000, NEW, {}),
    "by the product's name": (0, {"s2:product_uri": "S2A_MSIL2A_20190101T101010_N0211_R022_T33UXP_x.SAFE"}, {}),
}


@pytest.mark.parametrize("one_file", [False, True])
@pytest.mark.parametrize("case", ITEMS)
def test_what_an_item_states_of_the_offset_counts(case, one_file, model, tmp_path):
    added, properties, described = ITEMS[case]
    pixels = reflectance()
    item = write_scene(tmp_path, pixels + np.uint16(added), described, one_file, **properties)
    found = mapped(model, item, tmp_path / "out", "--input", "s2-l2a", name="scene")
    assert np.array_equal(found, direct(model, pixels))


@pytest.mark.parametrize(("scale", "offset", "added"), [(1e-4, 0, 0), (1e-4, -0.1, 1000), (1, -500, 500), (1, 0, 1000)])
def test_what_a_file_states_of_the_offset_counts(scale, offset, added, model, tmp_path):
    pixels = reflectance()
    raster = write_raster(tmp_path / "scene.tif", pixels + np.uint16(added), nodata=0)
    with rasterio.open(raster, "r+") as target:
        target.scales, target.offsets = (scale,) * 3, (offset,) * 3
    found = mapped(model, raster, tmp_path / "out", "--input", "s2-l2a")
    assert np.array_equal(found, direct(model, pixels))


@pytest.mark.parametrize(("scale", "offset"), [(2e-4, 0), (2e-4, -0.1), (2.75e-5, -0.2)])
def test_a_scale_that_a_file_states_counts(scale, offset, model, tmp_path, capsys):
    stored = np.rint((reflectance() / 1e4 - offset) / scale).astype(np.uint16)
    raster = write_raster(tmp_path / "scene.tif", stored, nodata=0)
    with rasterio.open(raster, "r+") as target:
        target.scales, target.offsets = (scale,) * 3, (offset,) * 3
    found = mapped(model, raster, tmp_path / "out", "--input", "s2-l2a")
    expected = direct(model, stored * (scale * 1e4) + offset * 1e4)
    assert (found != expected).mean() < 1e-3  # at the borders of classes by rounding
    assert f"stored value x {scale * 1e4:.6g} {offset * 1e4:+g} (as stated)" in capsys.readouterr().err


def test_real_numbers_up_to_one_are_reflectance_itself(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", (reflectance() / 1e4).astype(np.float32))
    found = mapped(model, raster, tmp_path / "out", "--input", "s2-l2a")
    assert (found != direct(model, reflectance())).mean() < 1e-3
    assert "taken for reflectance itself" in capsys.readouterr().err


def test_bands_with_different_scales_are_refused(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", reflectance(), nodata=0)
    with rasterio.open(raster, "r+") as target:
        target.scales = (1e-4, 2e-4, 1e-4)
    from export import predict

    assert call(predict.main, model, raster, "--out", tmp_path / "out", "--input", "s2-l2a") == 2
    assert "its bands state different scales (0.0001, 0.0002, 0.0001)" in capsys.readouterr().err


def test_each_band_of_a_file_has_its_own_offset_in_an_item(model, tmp_path):
    pixels = reflectance()
    path = write_raster(tmp_path / "all.tif", np.concatenate([pixels[:1], pixels + np.uint16(1000)]), nodata=0)
    fields = [{"scale": 1e-4, "offset": offset} for offset in (0, -0.1, -0.1, -0.1)]
    names = [{"name": name} for name in ("B01", *BANDS)]
    asset = {"href": path.name, "type": "image/tiff", "eo:bands": names, "raster:bands": fields}
    item = {"type": "Feature", "id": "scene", "assets": {"all": asset}, "properties": {"platform": "sentinel-2a"}}
    (tmp_path / "item.json").write_text(json.dumps(item))
    found = mapped(model, tmp_path / "item.json", tmp_path / "out", "--input", "s2-l2a", name="scene")
    assert np.array_equal(found, direct(model, pixels))


@pytest.mark.parametrize("one_file", [False, True])
@pytest.mark.parametrize("described", [{"raster:bands": [{"nodata": -5}] * 3}, {"bands": [{"nodata": -5}] * 3}])
def test_no_data_that_only_an_item_states_counts(described, one_file, model, tmp_path):
    pixels, properties = reflectance().astype(np.int16), {"platform": "sentinel-2a"}
    pixels[:, 10:20] = -5
    item = write_scene(tmp_path, pixels, described, one_file, **properties)
    for path in tmp_path.glob("*.tif"):
        with rasterio.open(path, "r+") as target:
            target.nodata = None
    found = mapped(model, item, tmp_path / "out", "--input", "raw", name="scene")
    assert np.array_equal(found, np.where((pixels == -5).any(axis=0), 255, direct(model, pixels)))


def test_an_item_names_bands_by_their_light(model, tmp_path):
    pixels = reflectance()
    path = write_raster(tmp_path / "all.tif", pixels[[2, 0, 1]], nodata=0)
    bands = [{"center_wavelength": light} for light in (0.49, 0.665, 0.56)]
    asset = {"href": path.name, "type": "image/tiff", "eo:bands": bands}
    item = {"type": "Feature", "id": "scene", "assets": {"all": asset}, "properties": {}}
    (tmp_path / "item.json").write_text(json.dumps(item))
    out = tmp_path / "out"
    assert np.array_equal(
        mapped(model, tmp_path / "item.json", out, "--input", "raw", name="scene"), direct(model, pixels)
    )


def test_bands_with_different_offsets_are_refused(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", reflectance(), nodata=0)
    with rasterio.open(raster, "r+") as target:
        target.scales, target.offsets = (1e-4,) * 3, (0, -0.1, -0.1)
    from export import predict

    assert call(predict.main, model, raster, "--out", tmp_path / "out", "--input", "s2-l2a") == 2
    assert "its bands state different offsets (+0, -1000, -1000)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "scaled", "message"),
    [
        (("a_20200101", "b_20230101"), ((1e-4, 0), (1e-4, -0.1)), "its values have the offset -1000, those of a_2020"),
        (("a_20200101", "b_20230101"), ((1e-4, 0), (2e-4, 0)), "its values have the scale 0.0002, those of a_2020"),
        (
            ("S2A_MSIL2A_20190101T101010_N0211_R022_T33UXP_x", "S2A_MSIL2A_20230101T101010_N0509_R022_T33UXP_x"),
            (None, None),
            "its values have the offset -1000, those of S2A_MSIL2A_2019",
        ),
    ],
)
def test_scenes_with_and_without_the_offset_are_not_mixed_in_a_store(names, scaled, message, tmp_path, capsys):
    paths = []
    for name, stated in zip(names, scaled):
        paths.append(write_raster(tmp_path / f"{name}.tif", reflectance(), nodata=0))
        if stated:
            with rasterio.open(paths[-1], "r+") as target:
                target.scales, target.offsets = ((value,) * 3 for value in stated)
    command = ("rasters", *paths, "--size", 16, "--workers", 1, "--out", tmp_path / "store")
    assert call(prepare, *command) == 2
    assert message in capsys.readouterr().err

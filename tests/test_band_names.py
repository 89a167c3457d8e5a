"""Bands are found however they are named; what is assumed is said, and what their names rule out is refused."""

import json

import numpy as np
import pytest
import rasterio

from export import predict
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault
from export.runtime.raster.band_names import BandFacts, BandNames, sensors_of
from export.runtime.raster.bands import choose_bands
from tests import bands
from tests.conftest import call, write_raster
from tests.models import write_strongest_band
from tests.test_predict_rasters import expected, mapped, stripes


def choose(names, needed, file="scene", asked=None):
    facts = [name if isinstance(name, BandFacts) else BandFacts(name) for name in names]
    read = BandNames(facts, sensors_of(f"/data/{file}.tif", {}))
    return choose_bands("r", read, range(1, len(names) + 1), needed, asked)


@pytest.mark.parametrize("case", bands.FOUND)
def test_bands_are_found_and_what_is_assumed_is_said(case):
    names, needed, found, said, file = bands.FOUND[case]
    chosen = choose(names, needed, file)
    assert tuple(chosen.numbers) == found
    assert (chosen.how.kind if chosen.doubtful else "") == said


@pytest.mark.parametrize("case", bands.REFUSED)
def test_names_that_say_other_bands_are_refused(case):
    names, needed, message, file = bands.REFUSED[case]
    with pytest.raises(InputFault) as caught:
        choose(names, needed, file)
    assert caught.value.message.kind == message


@pytest.mark.parametrize("names", bands.B04)
def test_b04_works_on_every_spelling(names):
    assert choose(names, ("x",), asked=["B04"]).numbers == [3]
    assert choose(names, ("x", "y", "z"), asked=["red", "green", "blue"]).numbers == [3, 2, 1]


def test_a_place_is_no_name_and_a_missing_band_is_named():
    assert choose(("B4", "B3", "B2"), ("x", "y"), asked=["3", "1"]).numbers == [3, 1]
    with pytest.raises(InputFault, match=r"has no band 'B09'; it has 1 \(B4\), 2 \(B3\)"):
        choose(("B4", "B3"), ("x",), asked=["B09"])


def test_wavelengths_tell_where_names_do_not_and_the_nearest_counts():
    facts = [BandFacts(f"b{n}", wavelength=400 + 5.0 * n) for n in range(1, 120)]
    chosen = choose(facts, bands.RGBN)
    assert [facts[number - 1].wavelength for number in chosen.numbers] == [665, 560, 490, 835]
    # Landsat 5's second band is green, Sentinel-2's is blue
    assert choose([BandFacts("B2", wavelength=560), BandFacts("B3", wavelength=660)], ("red", "green")).numbers == [
        2,
        1,
    ]


def test_metadata_name_the_sensor():
    names = BandNames(
        [BandFacts(f"B{n}") for n in (2, 3, 4)], sensors_of("x.tif", {"SPACECRAFT_ID": "LANDSAT_5", "SENSOR_ID": "TM"})
    )
    chosen = choose_bands("r", names, [1, 2, 3], ("red", "nir"))
    assert (chosen.numbers, chosen.doubtful) == ([2, 3], False)


def test_colours_tell_where_nothing_else_does(tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx")
    raster = write_raster(tmp_path / "a.tif", stripes()[::-1].copy(), photometric="MINISBLACK")
    with rasterio.open(raster, "r+") as target:
        target.colorinterp = [getattr(rasterio.enums.ColorInterp, name) for name in ("blue", "green", "red")]
    assert np.array_equal(mapped(model, raster, tmp_path / "out"), expected())


@pytest.mark.parametrize(
    "names", [("B2", "B3", "B4"), ("SR_B2", "SR_B3", "SR_B4"), ("Band 2 - Blue", "Band 3 - Green", "Band 4 - Red")]
)
def test_red_and_blue_are_not_exchanged(names, tmp_path, capsys):
    model = write_strongest_band(tmp_path / "m.onnx")
    raster = write_raster(tmp_path / "a.tif", stripes()[::-1].copy())
    with rasterio.open(raster, "r+") as target:
        target.descriptions = names
    assert np.array_equal(mapped(model, raster, tmp_path / "out"), expected())
    told = "band numbers are taken as those of" in capsys.readouterr().err
    assert told == ("Blue" not in names[0])


def test_facts_of_an_envi_header(tmp_path):
    (tmp_path / "a.hdr").write_text(bands.ENVI)
    np.zeros((3, 5, 6), "<u2").tofile(tmp_path / "a.img")
    pixels = RasterPixels(tmp_path / "a.img")
    assert [band.wavelength for band in pixels.bands] == [490, 560, 665]
    assert pixels.bands[0].name == "one (490 Nanometers)"
    pixels.close()


def write_item(folder, assets, **properties):
    item = {"type": "Feature", "id": "scene", "assets": assets, "properties": properties}
    (folder / "item.json").write_text(json.dumps(item))
    return folder / "item.json"


def asset(folder, name, pixels, **described):
    write_raster(folder / f"{name}.tif", pixels, photometric="MINISBLACK")
    return {"href": f"./{name}.tif", "type": "image/tiff; application=geotiff", **described}


@pytest.mark.parametrize(
    ("keys", "described"),
    [
        (("B2", "B3", "B4"), ({}, {}, {})),
        (("a", "b", "c"), [{"bands": [{"eo:center_wavelength": um}]} for um in (0.49, 0.56, 0.665)]),
        (("a", "b", "c"), [{"bands": [{"name": name}]} for name in ("S2_B02", "S2_B03", "S2_B04")]),
        (("a", "b", "c"), [{"eo:bands": [{"name": "x", "common_name": name}]} for name in ("blue", "green", "red")]),
    ],
)
def test_an_items_bands_are_found_by_key_name_or_wavelength(keys, described, tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx")
    pixels = stripes()[::-1, None].copy()
    assets = {key: asset(tmp_path, key, one, **how) for key, one, how in zip(keys, pixels, described)}
    # a picture of all bands is no source of single ones
    listed = {"eo:bands": [{"name": name} for name in ("red", "green", "blue")], "roles": ["visual"]}
    assets["visual"] = asset(tmp_path, "visual", np.zeros((3, 90, 120), np.uint8), **listed)
    item = write_item(tmp_path, assets, platform="sentinel-2b")
    assert np.array_equal(mapped(model, item, tmp_path / "out", name="scene"), expected())


def test_an_item_names_the_bands_of_its_only_file(tmp_path):
    model = write_strongest_band(tmp_path / "m.onnx")
    assets = {
        "data": asset(tmp_path, "data", stripes()[::-1].copy(), bands=[{"name": n} for n in ("blue", "green", "red")])
    }
    assert np.array_equal(mapped(model, write_item(tmp_path, assets), tmp_path / "out", name="scene"), expected())


def test_a_file_of_other_bands_is_refused_with_a_remedy(tmp_path, capsys):
    model = write_strongest_band(tmp_path / "m.onnx")
    raster = write_raster(tmp_path / "a.tif", stripes())
    with rasterio.open(raster, "r+") as target:
        target.descriptions = ("nir", "red", "green")
    assert call(predict.main, model, raster, "--out", tmp_path / "out") == 2
    assert "a.tif: its bands are nir, red, green, which are not the model's red, green, blue" in capsys.readouterr().err
    assert call(predict.main, model, raster, "--out", tmp_path / "out", "--bands", 1, 2, 3) == 0

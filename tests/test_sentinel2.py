"""Sentinel-2 products as users have them: .SAFE folders with JPEG 2000 files, small exact copies of the layout."""

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from core.imagery.safe_products import read_product
from core.prepare import main
from core.store.read import ChipStore
from export.runtime.raster.sentinel2 import baseline_of, offset_of
from tests.conftest import UTM, call
from tests.test_gaps import direct

# What the metadata of a product holds of all that, with the published names of the elements.
METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
 <n1:General_Info><Product_Info>
  <PRODUCT_START_TIME>{time}</PRODUCT_START_TIME><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
 </Product_Info><Product_Image_Characteristics>
  <QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>
  {offsets}
 </Product_Image_Characteristics></n1:General_Info>
</n1:Level-2A_User_Product>"""
OFFSETS = (
    "<BOA_ADD_OFFSET_VALUES_LIST>"
    + "".join(f'<BOA_ADD_OFFSET band_id="{band}">-1000</BOA_ADD_OFFSET>' for band in range(13))
    + "</BOA_ADD_OFFSET_VALUES_LIST>"
)


def jp2(path, pixels, pixel, dtype="uint16", crs=UTM):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "JP2OpenJPEG", "height": pixels.shape[1], "width": pixels.shape[2], "count": len(pixels)}
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"}
    place = {"crs": crs, "transform": from_origin(500_000, 5_000_000, pixel, pixel)} if crs else {}
    with rasterio.open(path, "w", dtype=dtype, **place, **profile, **lossless) as out:
        out.write(pixels.astype(dtype))


def product(folder, date, *, baseline, dark=0):
    """An L2A product of 64 x 64 px at 10 m; band values differ, the left edge holds no data."""
    rng = np.random.default_rng(int(date[-2:]))
    safe = folder / f"S2A_MSIL2A_{date}T101559_N{baseline.replace('.', '')}_R022_T33TWM_{date}T162032.SAFE"
    tile = f"T33TWM_{date}T101559"
    image = safe / "GRANULE" / f"L2A_T33TWM_A036302_{date}T102043" / "IMG_DATA"
    offset = 1000 if baseline >= "04.00" else 0
    truth = {}
    for band, pixel in (("B02", 10), ("B04", 10), ("B08", 10), ("B11", 20)):
        side = 640 // pixel
        reflectance = rng.integers(200, 4000, (1, side, side)) - dark
        stored = reflectance + offset
        stored[:, :, : 80 // pixel] = 0
        jp2(image / f"R{pixel}m" / f"{tile}_{band}_{pixel}m.jp2", stored, pixel)
        truth[band] = reflectance[0]
    jp2(image / "R20m" / f"{tile}_B02_20m.jp2", np.full((1, 32, 32), 9), 20)
    truth["TCI"] = rng.integers(1, 255, (3, 64, 64))
    jp2(image / "R10m" / f"{tile}_TCI_10m.jp2", truth["TCI"], 10, "uint8")
    time = f"{date[:4]}-{date[4:6]}-{date[6:]}T10:15:59.024Z"
    text = METADATA.format(time=time, baseline=baseline, offsets=OFFSETS if offset else "")
    (safe / "MTD_MSIL2A.xml").write_text(text)
    return safe, truth


def make(folder, *options):
    return call(main, "rasters", *options, "--size", 32, "--workers", 1, "--out", folder / "store")


def test_scenes_before_and_after_the_offset_hold_the_same_unit(tmp_path):
    old, before = product(tmp_path, "20200615", baseline="02.14")
    new, after = product(tmp_path, "20220716", baseline="04.00")
    assert make(tmp_path, old, new, "--bands", "B02", "B04", "B08") == 0
    store = ChipStore(tmp_path / "store")
    assert store.info.unit == "reflectance x 10000"
    assert store.info.bands == ("B02", "B04", "B08")
    assert store.info.gsd == 10
    rows = store.index[store.index["place"] == "r0c32"].index.to_numpy()
    assert list(store.index["datetime"].astype(str)[rows]) == [
        "2020-06-15 10:15:59.024+00:00",
        "2022-07-16 10:15:59.024+00:00",
    ]
    for chip, truth in zip(store.raw(rows), (before, after)):
        for band, name in enumerate(store.info.bands):
            assert np.array_equal(chip[band], truth[name][:32, 32:])


def test_dark_pixels_below_zero_are_data_and_zeros_are_not(tmp_path):
    safe, truth = product(tmp_path, "20220716", baseline="04.00", dark=700)
    assert make(tmp_path, safe, "--bands", "B04") == 0
    store = ChipStore(tmp_path / "store")
    row = store.index[store.index["place"] == "r0c0"].index.to_numpy()
    assert not store.valid(row)[0, :, :8].any()
    assert store.valid(row)[0, :, 8:].all()
    assert np.array_equal(store.raw(row)[0, 0, :, 8:], truth["B04"][:32, 8:32])
    assert store.info.value_range[0] < 0


def test_bands_of_20_m_are_brought_to_10_m(tmp_path):
    safe, truth = product(tmp_path, "20220716", baseline="04.00")
    assert make(tmp_path, safe, "--bands", "B02", "B11") == 0
    store = ChipStore(tmp_path / "store")
    chip = store.raw(store.index[store.index["place"] == "r32c32"].index.to_numpy())[0, 1]
    inner = chip.reshape(16, 2, 16, 2).mean(axis=(1, 3))[2:-2, 2:-2]
    assert np.corrcoef(inner.ravel(), truth["B11"][18:30, 18:30].ravel())[0, 1] > 0.9
    assert chip.min() >= truth["B11"][14:, 14:].min()
    # At the edge of the swath pixels without data are no part of others.
    found = np.full((64, 64), np.nan)
    for place, pixels in zip(store.index["place"], store.pixels(np.arange(len(store)))):
        top, left = map(int, place[1:].split("c"))
        found[top : top + 32, left : left + 32] = pixels[1]
    known = np.mgrid[0:32, 0:32][1] >= 4
    at = np.meshgrid(np.arange(64) / 2 - 0.25, np.arange(64) / 2 - 0.25)[::-1]
    expected, weight = direct(truth["B11"][None], known, *at)
    assert (weight[:, 7] > 0).all()  # what mixed the edge in before
    seen = np.isfinite(found)
    assert seen[:, 8:].all()
    assert np.abs(found - expected[0])[seen].max() <= 1


def test_the_true_colour_image_is_read_as_it_is(tmp_path):
    safe, truth = product(tmp_path, "20220716", baseline="04.00")
    assert make(tmp_path, safe, "--bands", "TCI") == 0
    store = ChipStore(tmp_path / "store")
    assert (store.info.dtype, store.info.unit) == ("uint8", "8-bit colour, 0 to 255")
    row = store.index[store.index["place"] == "r32c0"].index.to_numpy()
    assert np.array_equal(store.raw(row)[0], truth["TCI"][:, 32:, :32])


def test_a_single_jp2_is_a_raster_like_any_other(tmp_path):
    safe, truth = product(tmp_path, "20200615", baseline="02.14")
    assert make(tmp_path, next(safe.rglob("*_B04_10m.jp2"))) == 0
    store = ChipStore(tmp_path / "store")
    assert str(store.index["datetime"].iloc[0]) == "2020-06-15 10:15:59+00:00"
    row = store.index[store.index["place"] == "r0c32"].index.to_numpy()
    assert np.array_equal(store.raw(row)[0, 0], truth["B04"][:32, 32:])


def test_a_product_is_read_by_the_blocks_of_its_finest_file_and_knows_when_files_change(tmp_path):
    safe, _ = product(tmp_path, "20220716", baseline="04.00")
    fine = next(safe.rglob("*_B04_10m.jp2"))
    found = read_product(safe, ("B11", "B04"))
    with rasterio.open(found.dataset) as mosaic, rasterio.open(fine) as file:
        assert mosaic.block_shapes == list(file.block_shapes) * 2
    jp2(fine, np.zeros((1, 64, 64)), 10)
    assert read_product(safe, ("B11", "B04")).stamp != found.stamp


def spoil(safe, case):
    metadata = safe / "MTD_MSIL2A.xml"
    if case == "no metadata":
        metadata.unlink()
    if case == "broken metadata":
        metadata.write_text(metadata.read_text()[:200])
    if case == "no date":
        metadata.write_text(metadata.read_text().replace("PRODUCT_START_TIME", "STOP"))
    if case == "no band":
        next(safe.rglob("*_B04_10m.jp2")).unlink()
    if case == "damaged band":
        path = next(safe.rglob("*_B04_10m.jp2"))
        path.write_bytes(path.read_bytes()[:40])
    if case == "senseless date":
        metadata.write_text(metadata.read_text().replace("2020-06-15T", "yesterday, "))
    if case in OFFSETS_SPOILT:
        metadata.write_text(metadata.read_text().replace("</n1:General_Info>", OFFSETS_SPOILT[case]))
    if case == "no coordinates":
        with pytest.warns(NotGeoreferencedWarning):
            jp2(next(safe.rglob("*_B04_10m.jp2")), np.ones((1, 64, 64)), 10, crs=None)


OFFSETS_SPOILT = {
    "offset of no band": '<BOA_ADD_OFFSET band_id="99">-1000</BOA_ADD_OFFSET></n1:General_Info>',
    "offset without band": "<BOA_ADD_OFFSET>-1000</BOA_ADD_OFFSET></n1:General_Info>",
    "offset in words": '<BOA_ADD_OFFSET band_id="3">minus</BOA_ADD_OFFSET></n1:General_Info>',
}
SPOILT = {
    "no metadata": "is a folder, but no Sentinel-2 product",
    "broken metadata": "MTD_MSIL2A.xml: cannot be read",
    "no date": "MTD_MSIL2A.xml: has no PRODUCT_START_TIME",
    "no band": "has no file of the band B04",
    "damaged band": "_B04_10m.jp2: cannot be read as a raster",
    "senseless date": "its PRODUCT_START_TIME yesterday, 10:15:59.024Z is no date",
    "offset of no band": "its BOA_ADD_OFFSET '-1000' of band_id '99' is invalid",
    "offset without band": "its BOA_ADD_OFFSET '-1000' of band_id '' is invalid",
    "offset in words": "its BOA_ADD_OFFSET 'minus' of band_id '3' is invalid",
    "no coordinates": "_B04_10m.jp2: has no coordinates",
    "unknown band": "--bands B77: Sentinel-2 has B01, B02",
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_product_is_named_and_the_others_are_kept(case, tmp_path, capsys):
    bad, _ = product(tmp_path, "20200615", baseline="02.14")
    good, _ = product(tmp_path, "20220716", baseline="04.00")
    spoil(bad, case)
    bands = ["--bands", "B77" if case == "unknown band" else "B04"]
    assert make(tmp_path, bad, good, *bands) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert SPOILT[case] in error
    if case != "unknown band":
        assert make(tmp_path, bad, good, *bands, "--max-bad", 1) == 0
        assert len(ChipStore(tmp_path / "store").index["source"].unique()) == 1


@pytest.mark.parametrize(
    ("baseline", "stated", "darkest", "expected"),
    [
        (2.14, None, None, (0, "baseline")),
        (4.0, None, 50, (-1000, "baseline")),
        (5.11, -900, None, (-900, "stated")),
        (None, None, None, (-1000, "assumed")),
        (None, None, 950, (-1000, "assumed")),
        (None, None, 120, (0, "dark pixels")),
    ],
)
def test_without_a_baseline_the_offset_follows_from_the_dark_pixels(baseline, stated, darkest, expected):
    assert offset_of(baseline, stated, darkest) == expected


def test_the_baseline_is_read_from_metadata_else_from_the_product_name():
    name = "S2B_MSIL2A_20230101T100000_N0509_R122_T33TUN_20230101T120000.SAFE"
    assert (baseline_of(name, "02.14"), baseline_of(name), baseline_of("scene.tif")) == (2.14, 5.09, None)

"""Mask bands: which values hide a pixel."""

import numpy as np
import pytest

from export.runtime.errors import InputFault
from export.runtime.raster.band_names import BandFacts
from export.runtime.raster.mask_band import MASKS, MaskBand, mask_band


def test_scene_classes_of_sentinel2_that_hide_a_pixel():
    hidden = MASKS["scl"].hides(np.arange(12, dtype=np.uint8))
    assert np.flatnonzero(hidden).tolist() == [0, 1, 3, 8, 9, 10]


def test_bits_of_landsats_quality_that_hide_a_pixel():
    clear, water, snow, fill, dilated, cirrus, cloud, shadow = 21824, 21952, 30048, 1, 21826, 54596, 22280, 23888
    stored = np.array([clear, water, snow, fill, dilated, cirrus, cloud, shadow], np.uint16)
    assert MASKS["qa_pixel"].hides(stored).tolist() == [False, False, False, True, True, True, True, True]


def test_cloud_probability_is_read_in_per_cent_or_as_a_share():
    assert MASKS["s2cloudless"].hides(np.array([0, 39, 40, 100], np.uint8)).tolist() == [False, False, True, True]
    shares = np.array([0, 0.39, 0.4, 1, np.nan], np.float32)
    assert MASKS["s2cloudless"].hides(shares).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("preset", "values"), [("scl", [0, 12]), ("s2cloudless", [213]), ("qa_pixel", [-1]), ("s2cloudless", [0.5, 1.5])]
)
def test_values_that_such_a_band_cannot_hold_are_refused(preset, values):
    with pytest.raises(InputFault, match=r"a\.tif: its mask band .* it is no such band"):
        MASKS[preset].hides(np.array(values), "a.tif")


def test_classes_and_bits_that_were_interpolated_are_refused():
    for preset in ("scl", "qa_pixel"):
        assert MASKS[preset].hides(np.array([4.0, np.nan], np.float32)).tolist()[1]
        with pytest.raises(InputFault, match=r"holds 6\.5: classes and bits are whole numbers"):
            MASKS[preset].hides(np.array([4.0, np.nan, 6.5], np.float32), "a.tif")


def test_values_ranges_and_bits_are_read_as_users_write_them():
    rule = mask_band("Fmask", ["2,4", "40-100", "bit3", "BIT 5"])
    assert rule == MaskBand("Fmask", ((2, 2), (4, 4), (40, 100)), (3, 5))
    stored = np.array([0, 2, 4, 8, 40, 100, 101, 32, 128], np.uint8)
    assert rule.hides(stored).tolist() == [False, True, True, True, True, True, True, True, False]
    assert rule.said == "2, 4, 40-100, bit3, bit5"
    assert mask_band("SCL", ["3", "11"]).drop == ((3, 3), (11, 11))
    assert mask_band("scl", ["3"]).called == MASKS["scl"].called


@pytest.mark.parametrize("text", ["cloud", "10-8", "bit", "1e", "--3"])
def test_values_that_cannot_be_read_are_named(text):
    with pytest.raises(InputFault, match=text):
        mask_band("scl", [text])


def test_a_band_that_is_no_preset_needs_values():
    with pytest.raises(InputFault, match=r"'Fmask' says nothing of the values to drop; .* scl, qa_pixel, s2cloudless"):
        mask_band("Fmask")


def test_a_mask_band_is_found_by_its_name_or_number():
    bands = [BandFacts("B04"), BandFacts("Scene Classification Map"), BandFacts("7")]
    assert MASKS["scl"].number(bands) == 2
    assert MASKS["qa_pixel"].number(bands) is None
    assert mask_band("3", ["1"]).number(bands) == 3
    assert mask_band("7", ["1"]).number(bands) == 3
    assert mask_band("4", ["1"]).number(bands) is None

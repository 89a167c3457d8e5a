"""Rasters whose bands are named in the ways that people meet, and which bands a model must find; for both adapters."""

from __future__ import annotations

from typing import NamedTuple

RGB, RGBN = ("red", "green", "blue"), ("red", "green", "blue", "nir")
SENTINEL2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


class Named(NamedTuple):
    """What a raster calls its bands, what a model does, the numbers that are right, the message that is shown."""

    names: tuple[str, ...]
    needed: tuple[str, ...]
    found: tuple[int, ...]
    said: str = ""
    file: str = "scene"


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


FOUND = {
    "Sentinel-2": Named(SENTINEL2, RGBN, (4, 3, 2, 8)),
    "Sentinel-2, narrow infrared": Named(SENTINEL2, ("B8A", "B11", "B12"), (9, 11, 12)),
    "with pixel size": Named(_split("B02_10m, B03_10m, B04_10m"), RGB, (3, 2, 1)),
    "with prefix": Named(_split("S2_B02, S2_B03, S2_B04"), RGB, (3, 2, 1)),
    "with tile": Named(_split("T31UFS_20200101T105311_B02, T31UFS_20200101T105311_B03, T31UFS_20200101T105311_B04"), RGB, (3, 2, 1)),
    "in words": Named(_split("Band 2 - Blue, Band 3 - Green, Band 4 - Red, Band 5 - NIR"), RGBN, (3, 2, 1, 4)),
    "in long words": Named(_split("Coastal Aerosol, Blue, Green, Red, Near Infrared (NIR), SWIR 1, SWIR 2"), RGBN, (4, 3, 2, 5)),
    "in words, B8A": Named(_split("B08 - NIR, B8A - NIR, B04 - Red"), ("red", "nir", "nir08"), (3, 1, 2)),
    "in capitals": Named(_split("BLUE, GREEN, RED, NIR_NARROW, SWIR_1, SWIR_2"), ("B02", "B03", "B04", "B8A", "B11", "B12"), (1, 2, 3, 4, 5, 6)),
    "letters": Named(_split("B, G, R, N"), RGBN, (3, 2, 1, 4)),
    "SuperDove": Named(_split("coastal_blue, blue, green_i, green, yellow, red, rededge, nir"), RGBN, (6, 4, 2, 8)),
    "GDAL's Sentinel-2 driver": Named(
        ("B4, central wavelength 665 nm", "B3, central wavelength 560 nm", "B2, central wavelength 490 nm"), RGB, (1, 2, 3)
    ),
    "ENVI, with names": Named(_split("B02 (490 Nanometers), B03 (560 Nanometers), B04 (665 Nanometers)"), RGB, (3, 2, 1)),
    "ENVI, without": Named(_split("0.49 Micrometers, 0.56 Micrometers, 0.665 Micrometers"), RGB, (3, 2, 1), "bands_by_wavelength"),
    "drone": Named(_split("Blue-475, Green-560, Red-668, Red edge-717, NIR-842"), RGBN, (3, 2, 1, 5)),
    "Earth Engine, Sentinel-2 whole": Named(_split("B1, B2, B3, B4, B5, B6, B7, B8, B8A, B9, B11, B12, QA60"), RGBN, (4, 3, 2, 8)),
    "Earth Engine, three bands": Named(_split("B2, B3, B4"), RGB, (3, 2, 1), "bands_by_number"),
    "Earth Engine, median": Named(_split("B4_median, B3_median, B2_median"), RGB, (1, 2, 3), "bands_by_number"),
    "Earth Engine, with B8": Named(_split("B2, B3, B4, B8"), RGBN, (3, 2, 1, 4), "bands_by_number"),
    "Landsat 8 whole": Named(_split("SR_B1, SR_B2, SR_B3, SR_B4, SR_B5, SR_B6, SR_B7"), RGBN, (4, 3, 2, 5)),
    "Landsat 7 whole": Named(_split("SR_B1, SR_B2, SR_B3, SR_B4, SR_B5, SR_B7"), RGBN, (3, 2, 1, 4)),
    "Landsat 8 by its thermal band": Named(_split("SR_B2, SR_B3, SR_B4, ST_B10"), RGB, (3, 2, 1)),
    "Landsat 8, three bands": Named(_split("SR_B2, SR_B3, SR_B4"), RGB, (3, 2, 1), "bands_by_number"),
    "Landsat 7, three bands": Named(_split("SR_B1, SR_B2, SR_B3"), RGB, (3, 2, 1), "bands_by_number"),
    "Landsat 8 by its file": Named(_split("SR_B1, SR_B2, SR_B3, SR_B4"), RGB, (4, 3, 2), file="LC08_044034_20140318"),
    "Landsat 5 by its file": Named(_split("B2, B3, B4"), ("green", "red", "nir"), (1, 2, 3), file="LT05_044034_20100318"),
    "Landsat by the band's name": Named(_split("ETM_B1, ETM_B2, ETM_B3"), RGB, (3, 2, 1)),
    "HLS of Landsat": Named(_split("B05, B04, B03"), ("nir08", "red", "green"), (1, 2, 3), file="HLS.L30.T31UFS.2020001T105311.v2.0"),
    "the model's own numbers": Named(_split("B4, B3, B2"), ("B2", "B3", "B4"), (3, 2, 1)),
    "the model's numbers, in ESA's spelling": Named(SENTINEL2, ("B2", "B3", "B4"), (2, 3, 4)),
    "polarisations": Named(_split("VH, VV"), ("vv", "vh"), (2, 1)),
    "one left": Named(("red", "green", "blue", ""), RGBN, (1, 2, 3, 4), "bands_by_rest"),
    # nothing tells: in their order, and that is said
    "only counted": Named(_split("B1, B2, B3"), RGB, (1, 2, 3), "bands_in_order"),
    "only counted, four": Named(_split("Band_1, Band_2, Band_3, Band_4"), RGB, (1, 2, 3), "first_bands"),
    "counted, in a product": Named(_split("Band 1, Band 2, Band 3"), RGB, (1, 2, 3), "bands_in_order", "S2A_MSIL2A_20200101T105311_N0500_R051_T31UFS_x"),
    "another sensor": Named(_split("B01, B04, B03"), RGB, (1, 2, 3), "bands_in_order", "MOD09GA.A2020001.h18v04"),
    "of unknown words": Named(_split("sur_refl_b01, sur_refl_b04, sur_refl_b03"), RGB, (1, 2, 3), "bands_in_order"),
    "without names": Named(("", "", ""), RGB, (1, 2, 3), "bands_unnamed"),
}  # fmt: skip

# names, what the model needs, the message, the file's name
REFUSED = {
    "others": (_split("nir, red, green"), RGB, "other_bands", "scene"),
    "an index": (_split("NDVI, red, nir"), RGB, "other_bands", "scene"),
    "Landsat 5's green, red, infrared": (_split("SR_B2, SR_B3, SR_B4"), RGB, "other_bands", "LT05_044034_20100318"),
    "two sensors": (_split("SR_B1, SR_B2, SR_B3, SR_B4"), RGB, "bands_ambiguous", "scene"),
    "counted downwards": (_split("B4, B3, B2, B1"), RGB, "bands_ambiguous", "scene"),
    "two dates": (_split("red, green, blue, red, green, blue"), RGB, "band_twice", "scene"),
}
B04 = [
    _split("B2, B3, B4"), _split("SR_B2, SR_B3, SR_B4"), _split("B02_10m, B03_10m, B04_10m"),
    _split("Band 2 - Blue, Band 3 - Green, Band 4 - Red"), _split("S2_B02, S2_B03, S2_B04"), _split("blue, green, red"),
    _split("B02 (490 Nanometers), B03 (560 Nanometers), B04 (665 Nanometers)"),
    _split("490 Nanometers, 560 Nanometers, 665 Nanometers"),
]  # fmt: skip
ENVI = """ENVI
samples = 6
lines = 5
bands = 3
header offset = 0
file type = ENVI Standard
data type = 12
interleave = bsq
byte order = 0
map info = {UTM, 1, 1, 500000, 5000000, 10, 10, 33, North, WGS-84}
wavelength units = Nanometers
wavelength = {490, 560, 665}
band names = {one, two, three}
"""

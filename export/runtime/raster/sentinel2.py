"""Sentinel-2: names of its bands, and the offset of its stored values. The same for training and prediction."""

from __future__ import annotations

import re

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
# STAC's common names of the bands.
COMMON_NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2", "B07": "rededge3",
    "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
REFLECTANCE = "reflectance x 10000"  # unit of the values with the offset added
OFFSET = -1000  # of L2A and L1C since baseline 04.00: BOA_ADD_OFFSET, RADIO_ADD_OFFSET
OFFSET_BASELINE = 4.0
DARKEST = 900  # stored values with the offset are hardly ever lower


def baseline_of(text: str, tag: str = "") -> float | None:
    """Processing baseline of a product, from its name or that of a file inside it: ``..._N0509_...``.

    ``tag``, the baseline as the metadata state it, takes precedence.
    """
    if tag.replace(".", "", 1).isdigit():
        return float(tag)
    match = re.search(r"_N(\d{2})(\d{2})_", text)
    return float(f"{match[1]}.{match[2]}") if match else None


def offset_of(baseline: float | None, stated: float | None = None, darkest: float | None = None) -> tuple[float, str]:
    """What is to be added to stored values, and its evidence: "stated", "baseline", "dark pixels" or "assumed".

    Without a stated offset and without a baseline, the product is taken for 04.00 or later: everything that ESA
    has made or reprocessed since January 2022 is. Dark pixels below ``DARKEST`` show that nothing was added.

    Args:
        baseline: such as 5.09; None where unknown.
        stated: the offset, where the metadata or the user state it.
        darkest: the first percentile of the stored values that hold data; None where it was not measured.

    Source: ESA, Sentinel-2 processing baseline 04.00, 25 January 2022.
    """
    if stated is not None:
        return stated, "stated"
    if baseline is not None:
        return (OFFSET if baseline >= OFFSET_BASELINE else 0), "baseline"
    if darkest is not None and darkest < DARKEST:
        return 0, "dark pixels"
    return OFFSET, "assumed"

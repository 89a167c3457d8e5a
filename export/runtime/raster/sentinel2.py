"""Sentinel-2: names of its bands, and the offset of its stored values, by files and by STAC Items.

The same for training and prediction.
"""

from __future__ import annotations

import re
from typing import Any

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
_SCALE = 1e-4  # reflectance of one stored step
APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")  # of an Item: nothing is left to be added
BASELINES = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_PRODUCTS = ("s2:product_uri", "sentinel:product_id", "s2:product_id")


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


def stated_offset(scale: float | None, offset: float | None) -> float | None:
    """What is to be added to stored values, as files and catalogues write it: reflectance = 0.0001 x value - 0.1.

    GDAL gives a scale of 1 and an offset of 0 where a file states neither; beside another scale, 0 is stated.
    """
    if scale in (None, 0, 1):
        return offset or None
    return round((offset or 0) / scale, 6)  # type: ignore[operator]  # neither None nor 0


def stated_factor(scale: float | None) -> float:
    """What turns stored values into reflectance x 10000, by the scale that a file states; 1 where it states none."""
    return 1.0 if scale in (None, 0, 1) else round(scale / _SCALE, 6)  # type: ignore[operator]  # not None


def band_fields(asset: dict[str, Any], number: int) -> dict[str, Any]:
    """Properties of a band of an Item's asset: data_type, nodata, scale, offset; as in STAC 1.1 and in earlier versions."""
    fields = dict(asset)
    for key in ("raster:bands", "bands"):
        entries = asset.get(key) or []
        if len(entries) >= number and isinstance(entries[number - 1], dict):
            fields |= entries[number - 1]
    for name in ("scale", "offset"):
        if f"raster:{name}" in fields:
            fields[name] = fields[f"raster:{name}"]
    return fields


def item_baseline(item: dict[str, Any]) -> float | None:
    """Processing baseline of an Item: as stated, else from its product name; None where unknown."""
    properties = item["properties"]
    names = "/".join(str(properties.get(name)) for name in _PRODUCTS)
    tag = next((str(properties[name]) for name in BASELINES if "." in str(properties.get(name))), "")
    return baseline_of(f"{item.get('id')}/{names}", tag)


def item_offset(item: dict[str, Any], fields: dict[str, Any]) -> float | None:
    """What an Item states is to be added to the stored values of a band (``fields``); None where it does not.

    Some catalogues have removed the offset and say so, although they state it with each band; some state it even with
    products of before baseline 04.00, which have none.
    """
    if any(item["properties"].get(name) is True for name in APPLIED):
        return 0.0
    if "offset" not in fields:
        return None
    baseline = item_baseline(item)
    if baseline is not None and baseline < OFFSET_BASELINE:
        return 0.0
    return stated_offset(float(fields.get("scale", _SCALE)), float(fields["offset"])) or 0.0


def item_scale(fields: dict[str, Any]) -> float:
    """Reflectance of one stored step of a band of an Item."""
    return float(fields.get("scale", _SCALE))

"""Bands of STAC items: files, data types, units, offsets, masks. Reads no pixels.

Catalogues differ: STAC 1.1 or the earlier raster extension, a mission's band names or common names, offsets that are
stated, already applied, or left to the processing baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac

from core.errors import UserError
from core.imagery.crops import guess_unit
from core.store.read import DTYPES
from export.runtime.raster.band_names import BandFacts, BandNames, sensors_of
from export.runtime.raster.bands import find_band
from export.runtime.raster.sentinel2 import (
    APPLIED,
    BANDS,
    BASELINES,
    COMMON_NAMES,
    REFLECTANCE,
    item_baseline,
    item_offset,
    item_scale,
    offset_of,
)
from export.runtime.raster.sentinel2 import band_fields as fields_of

MASKS = ("scl", "qa_pixel")
_SPECTRAL = {*BANDS, *COMMON_NAMES.values()}
# Scene classification of Sentinel-2 L2A: no data, defective, cloud shadow, cloud (likely, sure), thin cirrus.
_SCL_INVALID = (0, 1, 3, 8, 9, 10)
# Bits of Landsat's QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow.
_QA_INVALID = 0b11111


@dataclass(frozen=True)
class Band:
    """A band to fetch: ``number``, from 1, in the file ``asset``; reflectance: a spectral band of Sentinel-2."""

    name: str
    asset: str
    number: int
    reflectance: bool

    @property
    def key(self) -> str:
        """The name that odc-stac gives it."""
        return self.asset if self.number == 1 else f"{self.asset}.{self.number}"


def find_bands(item: dict[str, Any], names: list[str], address: str) -> tuple[Band, ...]:
    """Bands by asset, common name or number in a file (``image.2``), in any spelling; a ``UserError`` if one is missing."""
    import odc.stac

    collection = odc.stac.parse_item(pystac.Item.from_dict(item)).collection
    # ``B04_10m`` is a spectral band too
    is_sentinel2 = str(item["properties"].get("platform")).lower().startswith("sentinel-2") or any(
        name in item["properties"] for name in (BASELINES[0], *APPLIED)
    )
    files = [asset for asset, number in collection.meta.bands if number == 1]
    sensors = sensors_of("", {"PLATFORM": str(item["properties"].get("platform"))})
    own = BandNames([BandFacts(file) for file in files], sensors)
    bands: list[Band] = []
    for name in names:
        try:
            asset, number = collection.band_key(name)
        except ValueError:
            place = find_band(address, own, name)
            asset, number = (files[place - 1], 1) if place else ("", 0)
        if (asset, 1) not in collection.meta.bands:
            known = ", ".join(sorted({*collection.all_bands, *collection.aliases}))
            raise UserError(f"--bands {name}: the scenes of {item.get('collection')} in {address} have {known}")
        twin = next((band.name for band in bands if (band.asset, band.number) == (asset, number)), None)
        if twin:
            raise UserError(f"--bands: a band is given twice ({twin}, {name})")
        bands.append(Band(name, asset, number, is_sentinel2 and asset.split("_")[0] in _SPECTRAL))
    return tuple(bands)


def values_of(item: dict[str, Any], bands: tuple[Band, ...], stored_type: Callable[[str, int], str]) -> tuple[str, str]:
    """Data type and unit of a store of these bands; ``stored_type`` reads the type of files whose items do not state it.

    Raises:
        UserError: the bands have no common data type that a store supports, or one cannot be read.
    """
    types, units = set(), []
    for band in bands:
        fields = band_fields(item, band.asset, band.number)
        if band.reflectance:  # signed: dark water is below zero once the offset is added
            types.add("int16")
            units.append(REFLECTANCE)
            continue
        types.add(str(fields.get("data_type") or stored_type(item["assets"][band.asset]["href"], band.number)))
        scale, offset, unit = (fields.get(name) for name in ("scale", "offset", "unit"))
        if scale not in (None, 1) or offset not in (None, 0):
            unit = f"{unit or 'value'} = {float(scale or 1):g} x stored {float(offset or 0):+g}"
        units.append(str(unit or ""))
    dtype = str(np.result_type(*types)) if types <= set(DTYPES) else " and ".join(sorted(types))
    if dtype not in DTYPES:
        raise UserError(
            f"--bands {' '.join(band.name for band in bands)}: their pixels are {' and '.join(sorted(types))}; "
            f"a store holds one of {', '.join(DTYPES)}"
        )
    if any(units):
        return dtype, "; ".join(dict.fromkeys(unit or "as stored" for unit in units))
    return dtype, guess_unit(dtype)


def find_mask(item: dict[str, Any]) -> str | None:
    """The asset of a supported cloud mask, if there is one."""
    return next((name for name in item["assets"] if name.lower() in MASKS), None)


def is_clear(mask: str, values: np.ndarray) -> np.ndarray:
    """Where the values of a cloud mask, NaN without data, show the ground.

    Source: classes as in Sen2Cor's product definition; bits as in the Landsat Collection 2 format book.
    """
    known = np.isfinite(values)
    numbers = np.where(known, values, 0).astype(np.int64)
    if mask.lower() == "scl":
        return known & ~np.isin(numbers, _SCL_INVALID)
    return known & (numbers & _QA_INVALID == 0)


def numbered(item: dict[str, Any], bands: tuple[Band, ...]) -> dict[str, Any]:
    """The item with an entry for each band of a file: odc-stac counts them, but not every catalogue lists them."""
    assets = dict(item["assets"])
    for band in bands:
        asset = assets[band.asset]
        listed = asset.get("bands") or asset.get("raster:bands") or []
        if len(listed) < band.number:
            assets[band.asset] = {**asset, "bands": [*listed, *({} for _ in range(band.number - len(listed)))]}
    return {**item, "assets": assets}


def band_fields(item: dict[str, Any], asset: str, number: int) -> dict[str, Any]:
    """Properties of a band of an item; see ``export.runtime.raster.sentinel2``."""
    return fields_of(item["assets"][asset], number)


def to_reflectance(item: dict[str, Any], fields: dict[str, Any], darkest: float | None = None) -> tuple[float, float]:
    """Factor and offset that turn a band's stored values into reflectance x 10000; darkest: see ``offset_of``.

    An item may state an offset, or that it was applied already, or only the baseline.
    """
    factor, stated = 10_000 * item_scale(fields), item_offset(item, fields)
    if stated is not None:
        return factor, factor * stated
    return factor, offset_of(item_baseline(item), None, darkest)[0]


def has_unknown_offset(item: dict[str, Any], bands: tuple[Band, ...]) -> bool:
    """Whether neither baseline nor offset of a scene of Sentinel-2 is known."""
    fields = (band_fields(item, band.asset, band.number) for band in bands if band.reflectance)
    return any(item_offset(item, stated) is None for stated in fields) and item_baseline(item) is None

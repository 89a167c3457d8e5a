"""What a STAC item says of its bands: files, data types, units, offsets, masks. Reads no pixels.

Catalogues say the same things in different words: STAC 1.1 and the raster extension of before, the names of a
mission and common names, offsets stated, applied or left to the user to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac

from core.errors import UserError
from core.imagery import safe as sentinel2
from core.imagery.squares import guess_unit

DTYPES = ("uint8", "uint16", "int16", "float32")
MASKS = ("scl", "qa_pixel")
# Names of Sentinel-2's bands in the catalogues: the mission's own, and those of Earth Search.
REFLECTANCE = frozenset(sentinel2.BANDS) | frozenset(
    "coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 cirrus swir16 swir22".split()  # noqa: SIM905
)
_OFFSET_BASELINE = 4.0  # from it on, Sentinel-2's numbers are 1000 higher
_OFFSET = -1000.0
# Scene classification of Sentinel-2 L2A: no data, defective, cloud shadow, cloud (likely, sure), thin cirrus.
_SCL_INVALID = (0, 1, 3, 8, 9, 10)
# Bits of Landsat's QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow.
_QA_INVALID = 0b11111


@dataclass(frozen=True)
class Band:
    """A band that is wanted.

    Attributes:
        name: as the user says it.
        asset: of an item: its file.
        number: in that file, from 1.
        reflectance: whether it is a spectral band of Sentinel-2.
    """

    name: str
    asset: str
    number: int
    reflectance: bool

    @property
    def key(self) -> str:
        """The name that odc-stac gives it."""
        return self.asset if self.number == 1 else f"{self.asset}.{self.number}"


def find_bands(item: dict[str, Any], names: list[str], address: str) -> tuple[Band, ...]:
    """Find the files of bands.

    Args:
        item: a scene of the collection.
        names: of assets (``B04``), common names (``red``), or ``image.2`` for the second band of a file.
        address: of the catalogue, for the error.

    Raises:
        UserError: a band is not there.
    """
    import odc.stac

    found = odc.stac.parse_item(pystac.Item.from_dict(item)).collection
    bands = []
    for name in names:
        try:
            asset, index = found.band_key(name)
        except ValueError:
            asset, index = "", 0
        if (asset, 1) not in found.meta.bands:
            known = ", ".join(sorted({*found.all_bands, *found.aliases}))
            raise UserError(f"--bands {name}: the scenes of {item.get('collection')} in {address} have {known}")
        bands.append(Band(name, asset, index, _is_reflectance(item["properties"], asset)))
    return tuple(bands)


def _is_reflectance(properties: dict[str, Any], asset: str) -> bool:
    """Whether it is a spectral band of Sentinel-2; ``B04_10m`` is one too."""
    said = ("s2:processing_baseline", "earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
    is_sentinel2 = str(properties.get("platform")).lower().startswith("sentinel-2") or any(
        n in properties for n in said
    )
    return is_sentinel2 and asset.split("_")[0] in REFLECTANCE


def values_of(item: dict[str, Any], bands: tuple[Band, ...], stored_type: Callable[[str, int], str]) -> tuple[str, str]:
    """Data type and unit of a store of these bands.

    Args:
        item: a scene of the collection.
        bands: that are wanted.
        stored_type: says the data type of a band of a file, where the item does not.

    Raises:
        UserError: the bands have no data type in common that a store knows, or one cannot be read.
    """
    types, units = set(), []
    for band in bands:
        fields = band_fields(item, band.asset, band.number)
        if band.reflectance:  # signed: dark water lies below zero once the offset is taken off
            types.add("int16")
            units.append(sentinel2.UNIT)
            continue
        types.add(str(fields.get("data_type") or stored_type(item["assets"][band.asset]["href"], band.number)))
        units.append(_unit(fields))
    dtype = str(np.result_type(*types)) if types <= set(DTYPES) else " and ".join(sorted(types))
    if dtype not in DTYPES:
        raise UserError(
            f"--bands {' '.join(band.name for band in bands)}: their pixels are {' and '.join(sorted(types))}; "
            f"a store holds one of {', '.join(DTYPES)}"
        )
    if any(units):
        said = dict.fromkeys(unit or "as stored" for unit in units)
        return dtype, "; ".join(said)
    return dtype, guess_unit(dtype)


def _unit(fields: dict[str, Any]) -> str:
    scale, offset, unit = fields.get("scale"), fields.get("offset"), fields.get("unit")
    if scale in (None, 1) and offset in (None, 0):
        return str(unit or "")
    return f"{unit or 'value'} = {float(scale or 1):g} x stored {float(offset or 0):+g}"


def find_mask(item: dict[str, Any]) -> str | None:
    """The asset that says which pixels show clouds, if there is one that is known here."""
    return next((name for name in item["assets"] if name.lower() in MASKS), None)


def is_clear(mask: str, values: np.ndarray) -> np.ndarray:
    """Where a mask shows the ground.

    Args:
        mask: name of the asset: the scene classification of Sentinel-2 (SCL) or Landsat's QA_PIXEL.
        values: (rows, cols) of it, NaN where it holds no data.

    Source: classes as in Sen2Cor's product definition; bits as in the Landsat Collection 2 format book.
    """
    known = np.isfinite(values)
    numbers = np.where(known, values, 0).astype(np.int64)
    if mask.lower() == "scl":
        return known & ~np.isin(numbers, _SCL_INVALID)
    return known & (numbers & _QA_INVALID == 0)


def numbered(item: dict[str, Any], bands: tuple[Band, ...]) -> dict[str, Any]:
    """The item with an entry for each band of a file: odc-stac counts them, and not every catalogue lists them."""
    assets = dict(item["assets"])
    for band in bands:
        asset = assets[band.asset]
        listed = asset.get("bands") or asset.get("raster:bands") or []
        if len(listed) < band.number:
            assets[band.asset] = {**asset, "bands": [*listed, *({} for _ in range(band.number - len(listed)))]}
    return {**item, "assets": assets}


def band_fields(item: dict[str, Any], asset: str, index: int) -> dict[str, Any]:
    """What the item says of a band: data_type, nodata, unit, scale, offset; of STAC 1.1 and of earlier ones."""
    described = item["assets"][asset]
    fields = dict(described)
    for key in ("raster:bands", "bands"):
        entries = described.get(key) or []
        if len(entries) >= index and isinstance(entries[index - 1], dict):
            fields |= entries[index - 1]
    for name in ("scale", "offset"):
        if f"raster:{name}" in fields:
            fields[name] = fields[f"raster:{name}"]
    return fields


def to_reflectance(item: dict[str, Any], fields: dict[str, Any]) -> tuple[float, float]:
    """Factor and offset that turn Sentinel-2's numbers into reflectance x 10000.

    Since baseline 04.00 the numbers are 1000 higher. Some catalogues have taken that off again and say so,
    some state the offset with each band, some only the baseline.

    Args:
        item: a scene.
        fields: of one of its bands, see ``band_fields``.

    Source: ESA, Sentinel-2 L2A processing baseline 04.00, BOA_ADD_OFFSET.
    """
    properties = item["properties"]
    factor = 10_000 * float(fields.get("scale", 1e-4))
    if any(properties.get(f"{catalogue}:boa_offset_applied") is True for catalogue in ("earthsearch", "sentinel")):
        return factor, 0.0
    baseline = _baseline(properties)
    if baseline is not None and baseline < _OFFSET_BASELINE:
        return factor, 0.0
    if "offset" in fields:
        return factor, 10_000 * float(fields["offset"])
    return factor, _OFFSET if baseline is not None else 0.0


def _baseline(properties: dict[str, Any]) -> float | None:
    for name in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        if re.fullmatch(r"\d+\.\d+", str(properties.get(name))):
            return float(properties[name])
    return None

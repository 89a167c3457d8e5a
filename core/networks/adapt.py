"""Adapts trained weights to the unit and the bands of a chip store. Does no file I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.errors import UserError
from core.networks.encoders import ModelSpec
from core.store.read import ChipStore
from export.runtime.raster.band_names import OLI, S2, SENSORS, TM

MAX_RATIO = 30  # of the largest values; those of 0-1, 0-255 and reflectance x 10000 differ by more
_STORED = re.compile(r"(.+) = (\S+) x stored (\S+)")  # the format of core.sources.stac.assets

# Band numbers to common names.
SENTINEL2, LANDSAT_OLI, LANDSAT_TM = (
    {f"b{number}": name for number, name in SENSORS[sensor].items()} for sensor in (S2, OLI, TM)
)
# Of newer STAC catalogues.
_WAVELENGTHS = {"rededge071": "rededge1", "rededge075": "rededge2", "rededge078": "rededge3"}


@dataclass(frozen=True)
class PixelUnit:
    """Meaning of a raw value: quantity = scale x raw + offset. Units of the same quantity can be converted."""

    quantity: str
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, text: str) -> PixelUnit:
        """Parse the unit of a store or a model; an unknown one is a quantity of its own."""
        plain = text.lower().replace("8 bits", "8-bit").replace("10,000", "10000")
        if stored := _STORED.fullmatch(plain):
            try:
                return cls(stored[1], float(stored[2]), float(stored[3]))
            except ValueError:
                return cls(plain)
        if "8-bit" in plain or "0 to 255" in plain:
            return cls("brightness", 1 / 255)
        if "reflectance" in plain:
            return cls("reflectance", 1e-4 if "10000" in plain else 1.0)
        if re.search(r"\b0 to 1(?!\d|\.\d)", plain):
            return cls("brightness")
        return cls("backscatter in dB" if "db" in plain.split() else plain)

    def convert(self, value: float, to: PixelUnit) -> float:
        """Convert a raw value to another unit of the same quantity."""
        return (self.scale * value + self.offset - to.offset) / to.scale


def to_unit(spec: ModelSpec, name: str, store: ChipStore) -> ModelSpec:
    """The specification scaled for the store's unit; ``UserError`` if it is of another quantity, or its values are not."""
    own, target = PixelUnit.of(spec.unit), PixelUnit.of(store.info.unit)
    if own.quantity != target.quantity:
        raise UserError(
            f"{name}: was trained on '{spec.unit}', but the unit of {store.path} is '{store.info.unit}'; "
            "make the store in the encoder's unit, or choose another encoder"
        )
    low, high = (own.convert(value, target) for value in spec.value_range)
    expected, actual = max(abs(low), abs(high)), max(map(abs, store.info.value_range))
    if expected and not expected / MAX_RATIO <= actual <= expected * MAX_RATIO:
        raise UserError(
            f"{name}: was trained on values up to {expected:g}, but those of {store.path} go up to {actual:g} although "
            f"its unit is '{store.info.unit}'; make the store with the correct --unit"
        )
    if own == target:
        return replace(spec, unit=store.info.unit)
    print(f"{name}: scaling converted from '{spec.unit}' to '{store.info.unit}'", flush=True)
    mean = tuple(own.convert(value, target) for value in spec.mean)
    std = tuple(value * own.scale / target.scale for value in spec.std)
    return replace(spec, unit=store.info.unit, value_range=(low, high), mean=mean, std=std)


def match_bands(known: tuple[str, ...], sensor: Mapping[str, str], bands: tuple[str, ...]) -> list[int | None]:
    """For each band of a store, the position of the same band in the ``known`` ones of the weights, or None.

    ``B04``, ``B4``, ``SR_B4`` and the common name that ``sensor`` has for it match. If no name matches and the numbers
    of bands are equal, bands are matched by position.
    """
    synonyms = [_synonyms(band, sensor) for band in known]
    positions = [next((i for i, names in enumerate(synonyms) if _plain(band) in names), None) for band in bands]
    if len(known) == len(bands) and not any(i is not None for i in positions):
        return list(range(len(bands)))
    return positions


def _plain(band: str) -> str:
    band = band.strip().lower()
    numbered = re.fullmatch(r"(?:sr_)?b0?(\d+a?)", band)
    return f"b{numbered[1]}" if numbered else _WAVELENGTHS.get(band, band)


def _synonyms(band: str, sensor: Mapping[str, str]) -> set[str]:
    plain = _plain(band)
    return {plain, sensor.get(plain, plain), *(number for number, name in sensor.items() if name == plain)}


def adapt_filters(filters: Tensor, positions: list[int | None]) -> Tensor:
    """Filters (F, bands, rows, cols) of a first convolution for other bands, scaled to keep the activations' magnitude.

    ``positions`` are those of each new band in the filters; None gives it the mean of all.
    """
    mean = filters.mean(dim=1)
    adapted = torch.stack([mean if i is None else filters[:, i] for i in positions], dim=1)
    return adapted * (filters.shape[1] / len(positions))


def to_bands(
    spec: ModelSpec, name: str, store: ChipStore, positions: list[int | None], *, measured: bool = False
) -> ModelSpec:
    """The specification with the store's bands at ``positions``; prints how they were matched if they differ.

    ``measured`` scales every band by the store's statistics instead of those of the weights.
    """
    info, known = store.info, spec.bands
    if [_plain(band) for band in known] != [_plain(band) for band in info.bands]:
        kept = ", ".join(f"{band} as {known[i]}" for band, i in zip(info.bands, positions) if i is not None)
        new = ", ".join(band for band, i in zip(info.bands, positions) if i is None)
        parts = [f"uses {kept}" if kept else f"none of its bands ({', '.join(known)}) is in the store"]
        if new:
            parts.append(f"{new} with the mean of all filters and the store's statistics")
        if len(known) != len(info.bands):
            parts.append(f"all filters of the first convolution x {len(known)}/{len(info.bands)}")
        print(f"{name}: {'; '.join(parts)}", flush=True)
    if measured:
        return replace(spec, bands=info.bands, mean=info.mean, std=info.std)
    mean = tuple(info.mean[band] if i is None else spec.mean[i] for band, i in enumerate(positions))
    std = tuple(info.std[band] if i is None else spec.std[i] for band, i in enumerate(positions))
    return replace(spec, bands=info.bands, mean=mean, std=std)

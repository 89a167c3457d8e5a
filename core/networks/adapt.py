"""Fits trained weights to a chip store: its unit, its bands. Knows nothing of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from core.errors import UserError
from core.networks.encoders import ModelSpec
from core.store.read import ChipStore

MISFIT = 30  # largest value against largest value; 0-1, 0-255 and reflectance x 10000 lie further apart
_STORED = re.compile(r"(.+) = (\S+) x stored (\S+)")  # as core.sources.stac.assets writes it

# Band numbers and what STAC calls the band ("common name"). Sources: ESA Sentinel-2 MSI; USGS Landsat band designations.
SENTINEL2 = dict(
    b1="coastal", b2="blue", b3="green", b4="red", b5="rededge071", b6="rededge075", b7="rededge078", b8="nir",
    b8a="nir08", b9="nir09", b10="cirrus", b11="swir16", b12="swir22",
)  # fmt: skip
LANDSAT_TM = dict(b1="blue", b2="green", b3="red", b4="nir08", b5="swir16", b6="lwir", b7="swir22", b8="pan")
LANDSAT_OLI = dict(
    b1="coastal", b2="blue", b3="green", b4="red", b5="nir08", b6="swir16", b7="swir22", b8="pan", b9="cirrus",
    b10="lwir11", b11="lwir12",
)  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """What a raw value means: quantity = scale x raw + offset; only units of one quantity can be converted."""

    quantity: str
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, text: str) -> Unit:
        """Read a store's or a model's unit; one that says nothing known is a quantity of its own."""
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

    def convert(self, value: float, to: Unit) -> float:
        """A raw value of this unit as a raw value of another unit of the same quantity."""
        return (self.scale * value + self.offset - to.offset) / to.scale


def to_unit(spec: ModelSpec, name: str, store: ChipStore) -> ModelSpec:
    """The specification with its scaling in the store's unit; prints a line where that needed a conversion.

    Args:
        spec: of the weights.
        name: of the weights, for people.
        store: whose unit is wanted.

    Raises:
        UserError: the unit is of another quantity, or the store's values are not what its unit says.
    """
    own, wanted = Unit.of(spec.unit), Unit.of(store.info.unit)
    if own.quantity != wanted.quantity:
        raise UserError(
            f"{name}: was trained on '{spec.unit}', but {store.path} holds '{store.info.unit}'; "
            "make the store in the encoder's unit, or take another encoder"
        )
    low, high = (own.convert(value, wanted) for value in spec.value_range)
    _check_range((low, high), name, store)
    if own == wanted:
        return replace(spec, unit=store.info.unit)
    print(f"{name}: its scaling is converted from '{spec.unit}' to '{store.info.unit}'", flush=True)
    return replace(
        spec,
        unit=store.info.unit,
        value_range=(low, high),
        mean=tuple(own.convert(value, wanted) for value in spec.mean),
        std=tuple(value * own.scale / wanted.scale for value in spec.std),
    )


def _check_range(trained: tuple[float, float], name: str, store: ChipStore) -> None:
    largest, found = (max(abs(low), abs(high)) for low, high in (trained, store.info.value_range))
    if largest and not largest / MISFIT <= found <= largest * MISFIT:
        raise UserError(
            f"{name}: was trained on values up to {largest:g}, but those of {store.path} reach {found:g}, although it "
            f"states '{store.info.unit}'; make the store with the --unit that its values have"
        )


def match_bands(known: tuple[str, ...], sensor: Mapping[str, str], bands: tuple[str, ...]) -> list[int | None]:
    """For each band of a store, the position of the same band among those of the weights, or None.

    ``B04``, ``B4``, ``SR_B4`` and the colour that the sensor has there are one band. Where no name is
    known and the numbers of bands agree, the order decides.

    Args:
        known: bands of the weights.
        sensor: what the band numbers of the weights mean.
        bands: of the store.
    """
    names = [_names(band, sensor) for band in known]
    found = [next((i for i, of in enumerate(names) if _plain(band) in of), None) for band in bands]
    if len(known) == len(bands) and not any(i is not None for i in found):
        return list(range(len(bands)))
    return found


def _plain(band: str) -> str:
    band = band.strip().lower()
    numbered = re.fullmatch(r"(?:sr_)?b0?(\d+a?)", band)
    return f"b{numbered[1]}" if numbered else band


def _names(band: str, sensor: Mapping[str, str]) -> set[str]:
    plain = _plain(band)
    alike = {number for number, color in sensor.items() if color == plain}
    return {plain, sensor.get(plain, plain)} | alike


def adapt_filters(filters: Tensor, positions: list[int | None]) -> Tensor:
    """Filters of a first convolution for other bands.

    Args:
        filters: (F, bands of the weights, rows, cols).
        positions: of each wanted band among them; a band without one gets the mean of all filters.

    Returns:
        (F, wanted bands, rows, cols), scaled so that their answers keep their size.
    """
    mean = filters.mean(dim=1)
    chosen = [mean if i is None else filters[:, i] for i in positions]
    adapted = filters.new_empty(filters.shape[0], len(chosen), *filters.shape[2:])
    for band, values in enumerate(chosen):
        adapted[:, band] = values
    return adapted * (filters.shape[1] / len(chosen))


def to_bands(
    spec: ModelSpec, name: str, store: ChipStore, positions: list[int | None], *, measured: bool = False
) -> ModelSpec:
    """The specification with the store's bands; prints a line that says how, where they are not the same.

    Args:
        spec: of the weights, in the store's unit.
        name: of the weights, for people.
        store: whose bands are wanted.
        positions: as ``match_bands`` gives them.
        measured: scale every band by the store's own statistics, not by those of the weights.
    """
    info = store.info
    if [_plain(band) for band in spec.bands] != [_plain(band) for band in info.bands]:
        _announce(spec.bands, name, info.bands, positions)
    kept = [None if measured else i for i in positions]
    return replace(
        spec,
        bands=info.bands,
        mean=tuple(info.mean[band] if i is None else spec.mean[i] for band, i in enumerate(kept)),
        std=tuple(info.std[band] if i is None else spec.std[i] for band, i in enumerate(kept)),
    )


def _announce(known: tuple[str, ...], name: str, bands: tuple[str, ...], positions: list[int | None]) -> None:
    kept = ", ".join(f"{band} as {known[i]}" for band, i in zip(bands, positions) if i is not None)
    new = ", ".join(band for band, i in zip(bands, positions) if i is None)
    said = [f"takes {kept}" if kept else f"knows none of its bands ({', '.join(known)}) here"]
    if new:
        said.append(f"{new} with the mean of its filters and the store's own statistics")
    if len(known) != len(bands):
        said.append(f"all filters of the first convolution x {len(known)}/{len(bands)}")
    print(f"{name}: {'; '.join(said)}", flush=True)

"""Which bands of a raster a model reads: by name, by number, or in their order."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputFault
from ..messages import Message
from .sentinel2 import COMMON_NAMES


def choose_bands(
    where: str, names: Sequence[str], usable: Sequence[int], needed: Sequence[str], asked: Sequence[str] | None
) -> tuple[list[int], Message | None]:
    """Choose a raster's bands: those that the user names, else by name, else the first ones in their order.

    Returns numbers from 1, in the model's order, and a note or None.

    Args:
        where: the raster, for messages.
        names: what the raster calls its bands, "" where it does not.
        usable: numbers, from 1, of those that are no alpha channel.
        needed: what the model calls its own.
        asked: names or numbers that the user gives.

    Raises:
        InputFault: a band that was asked for does not exist, or there are fewer than the model needs.
    """
    if asked:
        chosen = [_number(where, names, band) for band in asked]
        if len(chosen) != len(needed):
            raise InputFault("bands_given", count=len(chosen), needed=len(needed), bands=", ".join(needed))
        return chosen, None
    known = {common_name(names[number - 1]): number for number in reversed(usable) if names[number - 1]}
    if all(common_name(band) in known for band in needed):
        return [known[common_name(band)] for band in needed], None
    if len(usable) > len(needed):
        pairs = ", ".join(f"{band} = {number}" for band, number in zip(needed, usable))
        return list(usable[: len(needed)]), Message("first_bands", {"count": len(usable), "pairs": pairs})
    if len(usable) < len(needed):
        raise InputFault("too_few_bands", where=where, count=len(usable), needed=len(needed), bands=", ".join(needed))
    if any(common_name(band) in map(common_name, needed) for band in known):
        own = ", ".join(names[number - 1] or str(number) for number in usable)
        return list(usable), Message("bands_in_order", {"own": own, "bands": ", ".join(needed)})
    return list(usable), None


def _number(where: str, names: Sequence[str], band: str) -> int:
    plain = [common_name(name) for name in names]
    if common_name(band) in plain:
        return plain.index(common_name(band)) + 1
    if band.isdigit() and 1 <= int(band) <= len(names):
        return int(band)
    listed = [f"{number} ({name})" if name else str(number) for number, name in enumerate(names, start=1)]
    bands = ", ".join(listed if len(listed) <= 20 else [*listed[:8], "...", listed[-1]])
    raise InputFault("no_such_band", where=where, band=band, bands=bands)


def common_name(name: str) -> str:
    """One spelling for all names of a band: ``B04`` is ``red``."""
    name = name.strip()
    return COMMON_NAMES.get(name.upper(), name.lower())

"""Which bands of a raster a model reads: by name, by number, or in their order."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputFault
from ..messages import Message
from .sentinel2 import COMMON_NAMES


def choose_bands(
    where: str,
    names: Sequence[str],
    usable: Sequence[int],
    wanted: Sequence[str],
    asked: Sequence[str] | None,
) -> tuple[list[int], Message | None]:
    """Choose a raster's bands: those that the user names, else by name, else the first ones in the model's order.

    Args:
        where: the raster, for messages.
        names: what the raster calls its bands, "" where it does not.
        usable: numbers, from 1, of those that are no alpha channel.
        wanted: what the model calls its own.
        asked: by the user: names or numbers in the model's order, None where nothing was said.

    Returns:
        Numbers from 1, in the model's order, and a note or None.

    Raises:
        InputFault: a band that was asked for does not exist, or there are fewer than the model needs.
    """
    if asked:
        chosen = [_number(where, names, band) for band in asked]
        if len(chosen) != len(wanted):
            raise InputFault("bands_given", count=len(chosen), needed=len(wanted), bands=", ".join(wanted))
        return chosen, None
    known = {common_name(names[number - 1]): number for number in reversed(usable) if names[number - 1]}
    if all(common_name(band) in known for band in wanted):
        return [known[common_name(band)] for band in wanted], None
    if len(usable) > len(wanted):
        pairs = ", ".join(f"{band} = {number}" for band, number in zip(wanted, usable))
        return list(usable[: len(wanted)]), Message("first_bands", {"count": len(usable), "pairs": pairs})
    if len(usable) < len(wanted):
        raise InputFault("too_few_bands", where=where, count=len(usable), needed=len(wanted), bands=", ".join(wanted))
    if any(common_name(band) in map(common_name, wanted) for band in known):
        own = ", ".join(names[number - 1] or str(number) for number in usable)
        return list(usable), Message("bands_in_order", {"own": own, "bands": ", ".join(wanted)})
    return list(usable), None


def _number(where: str, names: Sequence[str], band: str) -> int:
    plain = [common_name(name) for name in names]
    if common_name(band) in plain:
        return plain.index(common_name(band)) + 1
    if band.isdigit() and 1 <= int(band) <= len(names):
        return int(band)
    raise InputFault("no_such_band", where=where, band=band, bands=_listed(names, range(1, len(names) + 1)))


def _listed(names: Sequence[str], numbers: Sequence[int]) -> str:
    named = [f"{number} ({names[number - 1]})" if names[number - 1] else str(number) for number in numbers]
    return ", ".join(named if len(named) <= 20 else [*named[:8], "...", named[-1]])


def common_name(name: str) -> str:
    """One spelling for all names of a band: ``B04`` is ``red``."""
    name = name.strip()
    return COMMON_NAMES.get(name.upper(), name.lower())

"""Which bands of a raster a model reads: by what their names mean, by number, or in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ..errors import InputFault
from ..messages import Message
from .band_names import MIDDLES, S2, BandFacts, BandNames, Reading, related


class Chosen(NamedTuple):
    """Numbers from 1, in the model's order; how they were found, and whether the user should read that."""

    numbers: list[int]
    how: Message
    doubtful: bool = False


class _Match(NamedTuple):
    numbers: list[int]  # 0 where none was found
    evidence: set[str]


def choose_bands(
    where: str, bands: BandNames, usable: Sequence[int], needed: Sequence[str], asked: Sequence[str] | None = None
) -> Chosen:
    """Choose a raster's bands: those that the user names, else by their names, else the first ones in their order.

    Args:
        where: the raster, for messages.
        bands: of the raster.
        usable: numbers, from 1, of those that are no alpha channel.
        needed: what the model calls its own.
        asked: names or numbers that the user gives.

    Raises:
        InputFault: a band that was asked for does not exist, there are fewer than the model needs, or their names say that
            they are others, or do not tell which ones they are.
    """
    if asked:
        return _stated(where, bands, usable, needed, asked)
    whole = _whole(where, bands, usable, needed)
    return _explained(bands, needed, whole) if whole else _in_order(where, bands, usable, needed)


def _stated(where: str, bands: BandNames, usable: Sequence[int], needed: Sequence[str], asked: Sequence[str]) -> Chosen:
    """The bands that a user names, each by itself, or together where only that tells which sensor's they are."""
    numbers = [find_band(where, bands, band) or _place(bands, band) for band in asked]
    chosen = Chosen(numbers, Message("bands_stated"))
    if 0 in numbers:
        whole = _whole(where, bands, usable, asked)
        if not whole:
            band = asked[numbers.index(0)]
            raise InputFault("no_such_band", where=where, band=band, bands=_listed(bands))
        chosen = _explained(bands, asked, whole)
    if len(asked) != len(needed):
        raise InputFault("bands_given", count=len(asked), needed=len(needed), bands=", ".join(needed))
    return chosen


def _whole(where: str, bands: BandNames, usable: Sequence[int], needed: Sequence[str]) -> list[tuple[Reading, _Match]]:
    """Every reading of the names in which all needed bands are found; in all of them they are the same.

    Raises:
        InputFault: they are not.
    """
    model = BandNames([BandFacts(name) for name in needed])
    same = [[n for n in usable if bands.numbers[n - 1] == number] for number in model.numbers if number]
    if len(same) == len(needed) and all(len(one) == 1 for one in same) and model.readings()[0].assumed:
        (reading, *_) = bands.readings()  # of a sensor that the model does not name
        spelt = all(bands.bands[n - 1].name.strip().lower() == name.lower() for (n,), name in zip(same, needed))
        evidence = "name" if spelt or (reading.sensor == S2 and not reading.assumed) else "number"
        return [(replace(reading, assumed=True), _Match([one for (one,) in same], {evidence}))]
    found = [
        (own if own.assumed else reading, _matched(where, bands, reading, usable, needed, own))
        for own in model.readings()
        for reading in bands.readings()
    ]
    whole = [(reading, match) for reading, match in found if all(match.numbers)]
    if len({tuple(match.numbers) for _, match in whole}) > 1:
        sensors = ", ".join(dict.fromkeys(reading.sensor for reading, _ in whole))
        raise InputFault("bands_ambiguous", where=where, own=_own(bands, usable), sensors=sensors)
    return whole


def _explained(bands: BandNames, needed: Sequence[str], whole: Sequence[tuple[Reading, _Match]]) -> Chosen:
    reading, (numbers, evidence) = whole[0]
    pairs = ", ".join(pairs_of(bands.bands, needed, numbers))
    if "number" in evidence and reading.assumed:
        sensors = ", ".join(dict.fromkeys(one.sensor for one, _ in whole))
        return Chosen(numbers, Message("bands_by_number", {"pairs": pairs, "sensors": sensors}), True)
    if "rest" in evidence:
        return Chosen(numbers, Message("bands_by_rest", {"pairs": pairs}), True)
    if "wavelength" in evidence:
        return Chosen(numbers, Message("bands_by_wavelength", {"pairs": pairs}), True)
    return Chosen(numbers, Message("bands_by_color") if "color" in evidence else Message("bands_by_name"))


def _matched(
    where: str, bands: BandNames, reading: Reading, usable: Sequence[int], needed: Sequence[str], own: Reading
) -> _Match:
    """Find each band by the model's ``own`` spelling, then by what is meant, then by what else it may stand for."""
    numbers, evidence = [0] * len(needed), set()
    wanted = [names[0] if names else "" for names in own.meanings]
    spelt = [band.name.strip().lower() for band in bands.bands]
    for at, name in enumerate(needed):
        same = [n for n in usable if spelt[n - 1] == name.strip().lower()]
        if same:
            numbers[at] = _only(where, bands, name, same)
            evidence.add("name")
    for first in (True, False):
        for at, name in enumerate(wanted):
            if name and not numbers[at]:
                meanings = ((n, reading.meanings[n - 1]) for n in usable if n not in numbers)
                fitting = [n for n, names in meanings if name in (names[:1] if first else names[1:])]
                if fitting:
                    numbers[at] = _only(where, bands, needed[at], fitting, MIDDLES.get(name))
                    evidence |= {reading.evidence[numbers[at] - 1], own.evidence[at]}
    left = [n for n in usable if n not in numbers]
    if numbers.count(0) == len(left) == 1 and len(needed) > 1:
        at, names = numbers.index(0), reading.meanings[left[0] - 1]
        if not names or any(related(wanted[at], name) for name in names):
            numbers[at] = left[0]
            evidence.add("rest")
    return _Match(numbers, evidence)


def meant(names: Sequence[str], sensor: str = "") -> list[str]:
    """The common name of each of several bands, of a sensor if it is known; "" where their own do not tell."""
    readings = BandNames([BandFacts(name) for name in names], frozenset({sensor} - {""})).readings()
    meanings = ({names[0] if names else "" for names in found} for found in zip(*(one.meanings for one in readings)))
    return [found.pop() if len(found) == 1 else "" for found in meanings]


def _only(where: str, bands: BandNames, name: str, numbers: Sequence[int], middle: float | None = None) -> int:
    """The only one of some bands, or that of the wavelength next to a band's ``middle``."""
    if len(numbers) == 1:
        return numbers[0]
    lights = [bands.wavelength(number - 1) for number in numbers]
    if middle and None not in lights:
        return min(zip(numbers, lights), key=lambda pair: abs(pair[1] - middle))[0]  # type: ignore[operator]
    raise InputFault("band_twice", where=where, band=name, numbers=", ".join(map(str, numbers)))


def _in_order(where: str, bands: BandNames, usable: Sequence[int], needed: Sequence[str]) -> Chosen:
    """The first bands, unless their names say that they are others."""
    if len(usable) < len(needed):
        raise InputFault("too_few_bands", where=where, count=len(usable), needed=len(needed), bands=", ".join(needed))
    numbers, wanted, own = list(usable[: len(needed)]), meant(needed), _own(bands, usable)
    readings = bands.readings()
    if any(all(_is_other(reading, number, name) for reading in readings) for number, name in zip(numbers, wanted)):
        raise InputFault("other_bands", where=where, own=own, bands=", ".join(needed))
    pairs = ", ".join(pairs_of(bands.bands, needed, numbers))
    if len(usable) > len(needed):
        return Chosen(numbers, Message("first_bands", {"count": len(usable), "pairs": pairs}), True)
    if any(bands.bands[number - 1].shown for number in usable):
        return Chosen(numbers, Message("bands_in_order", {"own": own, "bands": ", ".join(needed)}), True)
    counted = BandNames([BandFacts(name) for name in needed]).counted
    return Chosen(numbers, Message("bands_unnamed", {"pairs": pairs}), len(needed) > 1 and not counted)


def _is_other(reading: Reading, number: int, name: str) -> bool:
    """Whether a band's own name says that it is not the one of this common name."""
    evidence, known = reading.evidence[number - 1], reading.meanings[number - 1]
    sure = evidence in ("name", "wavelength") or (evidence == "number" and not reading.assumed)
    return bool(name) and sure and not any(related(name, other) for other in known)


def find_band(where: str, bands: BandNames, band: str) -> int:
    """The number, from 1, of a band by its name: as the file spells it, by the number in it, or by what is meant; else 0.

    Raises:
        InputFault: several bands could be meant.
    """
    names = [one.shown.strip().lower() for one in bands.bands]
    plain = band.strip().lower()
    if plain in names:
        return names.index(plain) + 1
    number = "" if plain.isdigit() else BandNames([BandFacts(band)]).numbers[0]
    found = {place for place, own in enumerate(bands.numbers, start=1) if own and own == number}
    (name,) = meant([band])
    for reading in () if found or not name else bands.readings():
        for first in (True, False):
            fits = [n for n, one in enumerate(reading.meanings, start=1) if name in (one[:1] if first else one[1:])]
            if fits:
                found.add(_only(where, bands, band, fits, MIDDLES.get(name)))
                break
    return found.pop() if len(found) == 1 else 0


def _place(bands: BandNames, band: str) -> int:
    """The band that a user gives by its place; 0 where there is none."""
    return int(band) if band.strip().isdigit() and int(band) <= len(bands.bands) else 0


def _listed(bands: BandNames) -> str:
    every = enumerate(bands.bands, start=1)
    listed = [f"{number} ({band.shown})" if band.shown else str(number) for number, band in every]
    return ", ".join(listed if len(listed) <= 20 else [*listed[:8], "...", listed[-1]])


def _own(bands: BandNames, usable: Sequence[int]) -> str:
    return ", ".join(bands.bands[number - 1].shown or str(number) for number in usable)


def pairs_of(bands: Sequence[BandFacts], needed: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """Each band that a model needs, the number of a raster's that is taken for it and, where it differs, its name."""
    pairs = []
    for name, number in zip(needed, numbers):
        shown = bands[number - 1].shown
        pairs.append(f"{name} = {number}" + (f" ({shown})" if shown not in ("", name) else ""))
    return pairs

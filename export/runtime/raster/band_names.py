"""What the names of bands mean: STAC's common names, numbers of Sentinel-2 and Landsat, wavelengths, colours.

A number alone means nothing before the sensor is known: band 2 is green for Landsat 7 and blue for Landsat 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .sentinel2 import COMMON_NAMES

S2, OLI, TM = "Sentinel-2", "Landsat 8 and 9", "Landsat 4 to 7"
MSS, OLD_MSS = "Landsat 4 and 5 MSS", "Landsat 1 to 3"
OTHER = "another sensor"
# Common names by a sensor's own numbers. Source of Landsat's: USGS, Landsat band designations.
SENSORS: dict[str, dict[str, str]] = {
    S2: {band[1:].lstrip("0").lower(): name for band, name in COMMON_NAMES.items()},
    OLI: {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16", "7": "swir22", "8": "pan",
        "9": "cirrus", "10": "lwir11", "11": "lwir12",
    },
    TM: {
        "1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "6": "lwir", "7": "swir22", "8": "pan",
    },
    MSS: {"1": "green", "2": "red", "3": "nir08", "4": "nir09"},
    OLD_MSS: {"4": "green", "5": "red", "6": "nir08", "7": "nir09"},
}  # fmt: skip
_USUAL = (S2, OLI, TM)  # that a number alone may be of

# Spellings of words, without what separates their parts; the first name is meant, another is taken where it is missing.
_WORDS: dict[str, tuple[str, ...]] = {
    spelling: names
    for names, spellings in {
        ("coastal",): "coastal coastalaerosol aerosol coastalblue ultrablue deepblue",
        ("blue",): "blue",
        ("greeni", "green"): "greeni",
        ("green",): "green greenii",
        ("yellow",): "yellow",
        ("red",): "red",
        ("rededge",): "rededge vegetationrededge",
        ("rededge1", "rededge"): "rededge1 rededge071 vegetationrededge1 re1",
        ("rededge2",): "rededge2 rededge075 vegetationrededge2 re2",
        ("rededge3",): "rededge3 rededge078 vegetationrededge3 re3",
        ("nir", "nir08"): "nir nir1 nearinfrared nearir infrared nearinfrarednir nirnearinfrared nirbroad",
        ("nir08", "nir"): "nir08 nirnarrow narrownir nearinfrarednarrow narrownearinfrared rededge4 vegetationrededge4",
        ("nir09",): "nir09 watervapor watervapour",
        ("cirrus",): "cirrus swircirrus",
        ("swir",): "swir shortwaveinfrared",
        ("swir16",): "swir16 swir1 shortwaveinfrared1 shortwaveir1 shortwaveinfraredswir1 swir1shortwaveinfrared1",
        ("swir22",): "swir22 swir2 shortwaveinfrared2 shortwaveir2 shortwaveinfraredswir2 swir2shortwaveinfrared2",
        ("lwir",): "lwir thermal thermalinfrared tir",
        ("lwir11",): "lwir11 tir1 tirs1 thermalinfrared1 thermalinfraredtirs1",
        ("lwir12",): "lwir12 tir2 tirs2 thermalinfrared2 thermalinfraredtirs2",
        ("pan",): "pan panchromatic",
    }.items()
    for spelling in spellings.split()
}
_LETTERS = {"r": "red", "g": "green", "b": "blue", "n": "nir", "re": "rededge", "y": "yellow", "c": "coastal"}
_GENERAL = {"nir": ("nir", "nir08"), "rededge": ("rededge1", "rededge2", "rededge3"), "swir": ("swir16", "swir22")}
_GENERAL |= {"lwir": ("lwir11", "lwir12")}
COLORS = ("red", "green", "blue", "nir", "rededge", "swir", "coastal", "pan")  # of GDAL's interpretations
# (first nanometre, what it is called up to the next one); "": nothing
_SPECTRUM: tuple[tuple[float, tuple[str, ...]], ...] = (
    (400, ("coastal",)), (455, ("blue",)), (522, ("greeni", "green")), (540, ("green",)), (592, ("yellow",)),
    (625, ("red",)), (690, ("rededge1", "rededge")), (720, ("rededge2",)), (760, ("rededge3",)),
    (795, ("nir", "nir08")), (852, ("nir08", "nir")), (890, ()), (930, ("nir09",)), (960, ()), (1360, ("cirrus",)),
    (1390, ()), (1550, ("swir16",)), (1750, ()), (2080, ("swir22",)), (2350, ()), (10_300, ("lwir11",)),
    (11_500, ("lwir12",)), (12_600, ()),
)  # fmt: skip
# Where the middle of a band is looked for, nm: Sentinel-2's.
MIDDLES = {
    "coastal": 443, "blue": 490, "green": 560, "yellow": 605, "red": 665, "rededge1": 704, "rededge2": 740, "rededge3": 783,
    "nir": 833, "nir08": 865, "nir09": 945, "cirrus": 1374, "swir16": 1612, "swir22": 2194,
}  # fmt: skip

_UNITS = {"nanometers": 1.0, "nanometer": 1.0, "nanometres": 1.0, "nm": 1.0}
_UNITS |= dict.fromkeys(("micrometers", "micrometer", "micrometres", "um", "µm", "μm", "microns"), 1000.0)
_LENGTH = rf"({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?![a-z])"
_WAVELENGTH = re.compile(rf"(?<![a-z\d.])(\d+(?:\.\d+)?)(?:\s*[-–]\s*(\d+(?:\.\d+)?))?\s*{_LENGTH}")  # noqa: RUF001
# Words beside a band's name that do not change what it is.
_BESIDE = {
    "surface", "reflectance", "toa", "boa", "central", "center", "centre", "wavelength", "median", "mean", "medoid", "mosaic",
    "composite", "p50", "l2a", "l1c", "l2sp", "l1tp", "channel", "spectral", "visible", "10m", "15m", "20m", "30m", "60m",
}  # fmt: skip
_NUMBER = re.compile(r"(?:b|band)(0?)([1-9]\d?a?)")
_PREFIX = re.compile(
    r"^(rt_)?(s2[a-d]_msi\w{3}_\d{8}t\d{6}_n\d{4}_r\d{3}_t\d\d[a-z]{3}_\d{8}t\d{6}|l[cotem]0?\d_l\w{3}_\d{6}_\d{8}_\d{8}_\d\d_(t1|t2|rt)|l[cotem]0?\d_\d{6}_\d{8}|t\d\d[a-z]{3}_\d{8}t\d{6}|"
    r"hls[._][ls]30[._]t\w{5}[._]\d{7}t\d{6}[._]v\d[._]\d)[._]"
)
_SENSOR_WORDS = {
    **dict.fromkeys(("s2", "s2a", "s2b", "s2c", "s2d", "sentinel2", "msi"), S2),
    **dict.fromkeys(("l8", "l9", "lc8", "lc08", "lc09", "landsat8", "landsat9", "oli", "tirs"), OLI),
    **dict.fromkeys(("l4", "l5", "l7", "le7", "le07", "lt4", "lt5", "lt04", "lt05", "landsat4", "landsat5", "landsat7"), TM),
    "tm": TM, "etm": TM,
}  # fmt: skip
# Names of products and of platforms, as files, folders and metadata hold them.
_PRODUCTS: tuple[tuple[str, str], ...] = (
    (r"s2[a-d](?![a-z0-9])|s2_(?:msi|sr|harmonized)|sentinel[-_ ]?2|msil[12][ac]|hls[._]s30|t\d\d[a-z]{3}_\d{8}t\d{6}", S2),
    (r"l[co]0?[89](?=_|\d{6})|lt0?[89](?=_|\d{6})|landsat[-_ ]?[89](?!\d)|hls[._]l30|oli_tirs|oli$", OLI),
    (r"l[te]0?[457](?=_|\d{6})|landsat[-_ ]?[457](?!\d)(?![-_ ]?mss)|etm\+?$|tm$", TM),
    (r"lm0?[45](?=_|\d{6})|landsat[-_ ]?[45][-_ ]?mss", MSS),
    (r"lm0?[123](?=_|\d{6})|landsat[-_ ]?[123](?!\d)", OLD_MSS),
    (r"(?:mod|myd|mcd)\d\d|modis|vnp\d\d|viirs|ast_l|aster|s3[ab]_|sentinel[-_ ]?3|hs_h\d\d|goes|cbers|spot[-_ ]?\d|prs_l", OTHER),
)  # fmt: skip
_TAGS = ("SPACECRAFT_ID", "SENSOR_ID", "SENSOR", "PLATFORM", "SATELLITE", "SPACECRAFT_NAME", "PRODUCT_URI", "MISSION")


@dataclass(frozen=True)
class BandFacts:
    """What a file says of one of its bands: its name, its colour as GDAL calls it, the middle of its spectrum in nm."""

    name: str = ""
    color: str = ""
    wavelength: float | None = None

    @classmethod
    def of(cls, description: str, color: str, tags: Mapping[str, str]) -> BandFacts:
        """A band as GDAL describes it, ``tags`` being its metadata and those of the domain IMAGERY."""
        known = {key.lower(): value for key, value in tags.items()}
        color, unit = color.lower(), known.get("wavelength_units") or known.get("wavelength_unit") or ""
        return cls(
            description or known.get("bandname", ""),
            color if color in (*COLORS, "alpha") else "",
            _nanometres(known.get("central_wavelength_um", ""), "um") or _nanometres(known.get("wavelength", ""), unit),
        )

    @property
    def shown(self) -> str:
        """What the band is called, "" where nothing tells."""
        return self.name or self.color


def _nanometres(text: str, unit: str) -> float | None:
    """A wavelength; None where number or unit are unknown."""
    try:
        value = float(text) * _UNITS[unit.strip().lower()]
    except (ValueError, KeyError):
        return None
    return value if 300 <= value <= 20_000 else None


@dataclass(frozen=True)
class _Name:
    """A name taken apart; nothing in it is known where it holds a word that is not."""

    word: tuple[str, ...] = ()
    number: str = ""  # without zeros, such as "4" or "8a"
    padded: bool = False  # "B04"
    landsat: str = ""  # "sr" or "st", as in Landsat's collection 2
    sensors: frozenset[str] = frozenset()
    wavelength: float | None = None
    plain: str = ""  # letters and digits


def _taken_apart(name: str) -> _Name:
    text = name.strip().lower()
    sensors = set(sensors_in(text))
    text = re.sub(r"(sentinel|landsat)[-_ ]+(\d)", r"\1\2", _PREFIX.sub("", text))
    wavelength = None
    if match := _WAVELENGTH.search(text):
        low, high = float(match[1]), float(match[2] or match[1])
        wavelength = _nanometres(str((low + high) / 2), match[3])
        text = f"{text[: match.start()]} {text[match.end() :]}"
    parts = re.findall(r"[a-z0-9]+", text)
    plain = "".join(parts)
    if plain in _WORDS:
        return _Name(_WORDS[plain], sensors=frozenset(sensors), wavelength=wavelength, plain=plain)
    numbers, rest, landsat = set(), [], ""
    if len(parts) == 1 and re.fullmatch(r"\d{1,2}", parts[0]):
        parts = ["band", *parts]
    for index, part in enumerate(parts):
        after = parts[index + 1] if index + 1 < len(parts) else ""
        before = parts[index - 1] if index else ""
        if match := _NUMBER.fullmatch(f"b{part}" if before in ("b", "band") else part):
            numbers.add((match[2], bool(match[1])))
        elif part in ("sr", "st") and _NUMBER.fullmatch(after):
            landsat = part
        elif part in _SENSOR_WORDS:
            sensors.add(_SENSOR_WORDS[part])
        elif re.fullmatch(r"[4-9]\d\d", part) and wavelength is None:  # "Red-668"
            wavelength = float(part)
        elif part not in _BESIDE and part != "band" and not (part == "b" and after.isdigit()):
            rest.append(part)
    word = _WORDS.get("".join(rest), ())
    if (rest and not word) or len(numbers) > 1:
        return _Name(plain=plain)
    number, padded = next(iter(numbers), ("", False))
    return _Name(word, number.lstrip("0"), padded, landsat, frozenset(sensors), wavelength, plain)


def sensors_in(text: str) -> Iterator[str]:
    """The sensors that a text names, as products and platforms are called."""
    for pattern, sensor in _PRODUCTS:
        if re.search(rf"(?<![a-z0-9])(?:{pattern})", text.lower()):
            yield sensor


def sensors_of(address: str, tags: Mapping[str, str]) -> frozenset[str]:
    """The sensors that a raster's metadata name, else its file, else its folders, the nearest first."""
    known = {key.upper(): value for key, value in tags.items()}
    stated = frozenset(sensor for key in _TAGS for sensor in sensors_in(str(known.get(key, ""))))
    if stated:
        return stated
    for part in reversed(re.split(r"[/\\]", address.split("?")[0])):
        if found := frozenset(sensors_in(part)):
            return found
    return frozenset()


@dataclass(frozen=True)
class Reading:
    """How the bands of a raster can be read together.

    Attributes:
        sensor: that numbered them; "" where numbers mean nothing.
        meanings: for each band the name that is meant and others that it may stand for; empty where it is unknown.
        evidence: for each band "name", "number" (alone), "wavelength" or "color"; "" where it is unknown.
        assumed: whether the sensor is only likely.
    """

    sensor: str
    meanings: list[tuple[str, ...]]
    evidence: list[str]
    assumed: bool = False


@dataclass
class BandNames:
    """The bands of a raster, which tell more together than each alone.

    Attributes:
        hint: sensors that the raster's metadata or its address name.
        numbers: of each band, such as "4" or "8a"; "" where it has none.
        counted: whether the numbers may be only those of their order.
    """

    bands: Sequence[BandFacts]
    hint: frozenset[str] = frozenset()
    numbers: list[str] = field(init=False)
    counted: bool = field(init=False)

    def __post_init__(self) -> None:
        self._names = [_taken_apart(band.name) for band in self.bands]
        self.numbers = [name.number for name in self._names]
        self._only_numbers = ["" if name.word else name.number for name in self._names]
        places = [(int(n), place) for place, n in enumerate(self._only_numbers, start=1) if n.isdigit()]
        plain = not any(name.landsat or name.sensors or name.number == "8a" for name in self._names)
        self.counted = bool(places) and plain and any({n - at for n, at in places} == {by} for by in (0, -1))

    def readings(self) -> list[Reading]:
        """Every reading that fits all the numbers; one without a sensor where there is none."""
        sensors, assumed = self._sensors()
        used = {number for number in self._only_numbers if number}
        fitting = [one for one in sensors if used <= SENSORS[one].keys()]
        return [self._reading(one, assumed) for one in fitting] or [self._reading("", False)]

    def _sensors(self) -> tuple[list[str], bool]:
        """Sensors that may have numbered the bands, and whether that is only likely."""
        names, stated = self._names, [one for one in self.hint if one in SENSORS]
        named = {sensor for name in names for sensor in name.sensors if sensor in SENSORS}
        numbered = [name for name in names if name.number]
        if not numbered:
            return [], False
        if named:
            return sorted(named), len(named) > 1
        plain = {name.plain for name in names}
        if any(name.number == "8a" for name in names) or plain & {"qa60", "scl"}:
            return [S2], False
        if self.hint and not stated:
            return [], False
        if any(name.landsat for name in names):
            return self._of_landsat(plain, stated)
        if stated:
            return stated, self.counted or len(stated) > 1
        if any(name.padded for name in numbered):
            return [S2], self.counted
        return ([], False) if self.counted else (list(_USUAL), True)

    def _of_landsat(self, plain: set[str], stated: list[str]) -> tuple[list[str], bool]:
        """Of names like SR_B4: by the bands that only some sensors have."""
        surface = {name.number for name in self._names if name.landsat == "sr"}
        thermal = {name.number for name in self._names if name.landsat == "st"}
        if "6" in surface or "10" in thermal or "srqaaerosol" in plain:
            return [OLI], False
        if "6" in thermal or {"1", "2", "3", "4", "5", "7"} <= surface or plain & {"sratmosopacity", "srcloudqa"}:
            return [TM], False
        left = [one for one in (OLI, TM) if one in stated or not {OLI, TM} & {*stated}]
        return left, len(left) > 1

    def _reading(self, sensor: str, assumed: bool) -> Reading:
        pairs = [self._meaning(place, sensor) for place in range(len(self.bands))]
        return Reading(
            sensor, [meaning for meaning, _ in pairs], [why if meaning else "" for meaning, why in pairs], assumed
        )

    def _meaning(self, place: int, sensor: str) -> tuple[tuple[str, ...], str]:
        band, name = self.bands[place], self._names[place]
        own = SENSORS[sensor].get(name.number, "") if sensor else ""
        by_number = (own, "nir") if own == "nir08" and sensor in (OLI, TM) else (own,)
        if name.word:
            exact = own and own in _GENERAL.get(name.word[0], ())
            return by_number if exact else name.word, "name"
        by_light = light(name.wavelength or band.wavelength)
        if by_light:
            return (by_number, "name") if own in by_light else (by_light, "wavelength")
        if own:
            return by_number, "number"
        letter = _LETTERS.get(name.plain, "") if {"r", "g", "b"} <= {one.plain for one in self._names} else ""
        if letter:
            return (letter,), "name"
        if band.color in COLORS and (not band.name or name.number):
            return _WORDS[band.color], "color"
        return (), ""

    def wavelength(self, place: int) -> float | None:
        """Of a band, from 0, in nm."""
        return self._names[place].wavelength or self.bands[place].wavelength


def light(nanometres: float | None) -> tuple[str, ...]:
    """What light of this wavelength is called."""
    names: tuple[str, ...] = ()
    for first, called in _SPECTRUM:
        if nanometres is None or nanometres < first:
            break
        names = called
    return names


def related(one: str, other: str) -> bool:
    """Whether one name may be a general word for the other."""
    return one == other or any({one, other} <= {general, *names} for general, names in _GENERAL.items())


def follow_band_by_band(names: Sequence[str], count: int) -> bool:
    """Whether the names of a stack of dates, ``count`` bands each, say that one band of all dates comes first, then the next."""
    plain = [_without_date(name) for name in names]
    first = plain[:count]
    return count > 1 and all(first) and len(set(first)) == 1 and len(set(plain)) > 1


def _without_date(name: str) -> str:
    """The name of a band without the parts that are numbers or dates: red of red_1 and of 20240110_red."""
    return " ".join(part for part in re.split(r"[_\s.:-]+", name.lower()) if not re.fullmatch(r"\d[\dtz]*", part))

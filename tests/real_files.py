"""Kinds of rasters that people have, as descriptions: two libraries write them, and each adapter must map them exactly.

The model names the strongest of red, green and blue, so the right map is known from the pixels alone: any exchange of bands,
any gap that is missed or invented, and any pixel out of its place shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from xml.sax.saxutils import escape

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

NODATA, VALUES = 255, np.array([3, 7, 12], np.uint8)  # of the maps of ``tests.models.write_strongest_band``
PIXEL = 10.0  # metres, and the model's
DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
GAPS = (
    "none", "value", "in one band", "in all bands", "a value a band", "NaN", "alpha", "mask", "value and alpha",
    "value and mask", "told", "NIR called alpha",
)  # fmt: skip
ALPHA, MASK = ("alpha", "value and alpha"), ("mask", "value and mask")
DEGREE, GRAD = PIXEL / 111_195, PIXEL / 111_195 / 0.9
SITE = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
# CRS, and the six numbers that take (column, row) to (x, y)
PLACES = {
    "UTM": ("EPSG:32633", (PIXEL, 0, 500_000, 0, -PIXEL, 5_000_000)),
    "degrees": ("EPSG:4326", (DEGREE, 0, 13.0, 0, -DEGREE, 48.0)),
    "grads": ("EPSG:4807", (GRAD, 0, 2.0, 0, -GRAD, 52.0)),
    "compound": ("EPSG:32633+5773", (PIXEL, 0, 500_000, 0, -PIXEL, 5_000_000)),
    "site": (SITE, (PIXEL, 0, 1000, 0, -PIXEL, 2000)),
    "south up": ("EPSG:32633", (PIXEL, 0, 500_000, 0, PIXEL, 5_000_000)),
    "rotated": ("EPSG:32633", (8.0, -6.0, 500_000, -6.0, -8.0, 5_000_000)),
    "feet": ("EPSG:2263", (PIXEL * 3.280833333, 0, 980_000, 0, -PIXEL * 3.280833333, 200_000)),
    "shifted": ("EPSG:32633", (PIXEL, 0, 500_003.7, 0, -PIXEL, 5_000_001.3)),
}
AXES = {
    "EPSG:4326": (6_378_137.0, 6_356_752.314245, 1.0),
    "EPSG:4807": (6_378_249.2, 6_356_515.0, 0.9),
}  # a, b, degrees
NAMES = {
    "none": None,
    "ESA": ("B04", "B03", "B02"),
    "common": ("Red", "Green", "Blue"),
    "Earth Engine": ("B4", "B3", "B2"),
    "with resolution": ("B04_10m", "B03_10m", "B02_10m"),
    "Landsat": ("SR_B4", "SR_B3", "SR_B2"),
    "product": ("S2_B04", "S2_B03", "S2_B02"),
    "number and colour": ("Band 4 - Red", "Band 3 - Green", "Band 2 - Blue"),
    "wavelength": ("665 nm", "560 nm", "490 nm"),
    "colours": None,
}
NIR = {"ESA": "B08", "Earth Engine": "B8", "with resolution": "B08_10m", "Landsat": "SR_B5", "product": "S2_B08"}
SHAPES = {
    "usual": (50, 61),
    "tiny": (5, 3),
    "wide": (4, 700),
    "tall": (300, 2),
    "one row": (1, 40),
    "one pixel": (1, 1),
}


@dataclass(frozen=True)
class Kind:
    """A raster: type of its values, how gaps are said, place, how bands are named, their order, size.

    ``order`` says which of red, green, blue and near infrared each band of the file is.
    """

    dtype: str
    gaps: str
    place: str
    names: str
    order: tuple[int, ...]
    shape: str

    @property
    def crs(self) -> str:
        return PLACES[self.place][0]

    @property
    def transform(self) -> tuple[float, ...]:
        return PLACES[self.place][1]

    @property
    def value(self) -> float | None:
        """The nodata value that the file declares of all bands."""
        declared = self.gaps.startswith("value") or self.gaps in ("in one band", "in all bands")
        return self._value if declared else None

    @property
    def values(self) -> list[float] | None:
        """The nodata values that the file declares of each of its bands, where they differ."""
        return [5.0 + colour for colour in self.order] if self.gaps == "a value a band" else None

    @property
    def told(self) -> float | None:
        """The nodata value that the user states instead."""
        return self._value if self.gaps == "told" else None

    @property
    def _value(self) -> float:
        return 0.0 if self.dtype.startswith("u") else -9999.0

    @cached_property
    def empty(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) each: where values say that there is no data, and where a mask or an alpha band does."""
        rows, columns = np.indices(SHAPES[self.shape])
        by_value = (rows < 12) & (columns % 16 < 5) & (self.gaps not in ("none", "mask", "alpha", "NIR called alpha"))
        hidden = (rows < 20) & (columns % 16 > 11) & (self.gaps in ALPHA + MASK)
        return by_value, hidden

    @cached_property
    def colours(self) -> np.ndarray:
        """(4, rows, columns) red, green, blue, near infrared; gaps that values say hold no data."""
        height, width = SHAPES[self.shape]
        rng = np.random.default_rng(5)
        strongest = rng.integers(0, 3, (-(-height // 3), -(-width // 3))).repeat(3, 0).repeat(3, 1)[:height, :width]
        pixels = rng.integers(20, 100, (4, height, width))
        np.put_along_axis(pixels, strongest[None], rng.integers(150, 251, (1, height, width)), axis=0)
        pixels = pixels.astype(self.dtype)
        by_value, _ = self.empty
        if self.gaps == "a value a band":
            for colour in range(3):
                pixels[colour, by_value] = 5 + colour  # its own
                pixels[colour, 12:14] = 5 + (colour + 1) % 3  # another band's, which is no gap
        elif by_value.any():
            one = slice(1, 2) if self.gaps in ("in one band", "in all bands") else slice(None)
            pixels[one, by_value] = np.nan if self.gaps == "NaN" else self._value
        return pixels

    @property
    def bands(self) -> np.ndarray:
        """(bands, rows, columns) as they stand in the file, without alpha."""
        return self.colours[list(self.order)]

    @property
    def descriptions(self) -> tuple[str, ...] | None:
        """Of the bands in the file."""
        names = NAMES[self.names]
        return names and tuple((*names, NIR.get(self.names, "nir"))[colour] for colour in self.order)

    @property
    def alpha(self) -> np.ndarray | None:
        """(rows, columns) of the file's last band, if it has one."""
        most = 255 if self.dtype == "uint8" else 1
        return np.where(self.empty[1], 0, most).astype(self.dtype) if self.gaps in ALPHA else None

    @property
    def colors(self) -> list[str] | None:
        """What the file calls the colour of each band, if it says that."""
        kinds = [("red", "green", "blue", "undefined")[colour] for colour in self.order]
        kinds = kinds if self.names == "colours" else ["gray", *["undefined"] * (len(self.order) - 1)]
        if self.gaps in ALPHA:
            kinds = [*kinds, "alpha"]
        elif self.gaps == "NIR called alpha":
            kinds = [*kinds[:-1], "alpha"]
        return kinds if "alpha" in kinds or self.names == "colours" else None

    @property
    def mask(self) -> np.ndarray | None:
        """(rows, columns) True where the file's mask shows pixels, if it has one."""
        return ~self.empty[1] if self.gaps in MASK else None

    @cached_property
    def classes(self) -> np.ndarray:
        """(rows, columns) the map to expect."""
        gap = self.empty[1] | (self.empty[0] & (self.gaps != "in all bands"))
        return np.where(gap, NODATA, VALUES[np.where(gap, 0, self.colours[:3]).argmax(axis=0)])

    @cached_property
    def hectares(self) -> float:
        """Area of all pixels that hold data."""
        a, b, _, d, e, f = self.transform
        counts = (self.classes != NODATA).sum(axis=1)
        if self.crs not in AXES:
            unit = 1200 / 3937 if self.place == "feet" else 1.0
            return float(counts.sum() * abs(a * e - b * d) * unit**2 / 1e4)
        large, small, degrees = AXES[self.crs]
        latitude = np.radians(degrees * (f + e * (np.arange(len(counts)) + 0.5)))
        squared = 1 - (small / large) ** 2
        below = 1 - squared * np.sin(latitude) ** 2
        down = large * (1 - squared) / below**1.5 * np.radians(degrees * abs(e))
        across = large * np.cos(latitude) / np.sqrt(below) * np.radians(degrees * abs(a))
        return float(counts @ (down * across) / 1e4)

    def vrt(self, file: str) -> str:
        """A virtual raster over the file, with a nodata value a band."""
        height, width = SHAPES[self.shape]
        a, b, c, d, e, f = self.transform
        kinds = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32"}
        kinds |= {"uint64": "UInt64", "int64": "Int64"}
        kind = kinds.get(self.dtype, self.dtype.capitalize())
        bands = "".join(
            f'<VRTRasterBand dataType="{kind}" band="{number}"><Description>{name}</Description>'
            f"<ColorInterp>{color}</ColorInterp>"
            f'<NoDataValue>{value}</NoDataValue><SimpleSource><SourceFilename relativeToVRT="1">{file}</SourceFilename>'
            f"<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"
            for number, (value, name, color) in enumerate(
                zip(self.values, self.descriptions or [""] * 4, self.colors or ["undefined"] * 4), start=1
            )
        )
        return (
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(self.crs)}</SRS>'
            f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>{bands}</VRTDataset>"
        )


def _sound(kind: Kind) -> bool:
    """Whether there is such a file, and its right map is clear."""
    if kind.gaps == "NIR called alpha" and kind.order[-1] != 3:
        return False
    if kind.gaps == "NaN" and not kind.dtype.startswith("float"):
        return False
    return kind.names != "none" or kind.order[:3] == (0, 1, 2)


ORDERS = ((0, 1, 2), (2, 1, 0), (0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 1, 0))
KINDS = st.builds(
    Kind, st.sampled_from(DTYPES), st.sampled_from(GAPS), st.sampled_from([*PLACES]), st.sampled_from([*NAMES]),
    st.sampled_from(ORDERS), st.sampled_from([*SHAPES]),
).filter(_sound)  # fmt: skip


def budget(examples: int) -> settings:
    """So many kinds, the same each time."""
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
    )  # fmt: skip

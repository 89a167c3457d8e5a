"""Rasters that mark pixels without data in every way, and which pixels those are by plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from export.runtime.infer.source import Choice, Source
from export.runtime.model.card import ModelCard
from export.runtime.raster.window import Window

ROWS, COLUMNS = 12, 14
TYPES = ("uint8", "uint16", "int16", "float32")
RGB, RGBN = ("red", "green", "blue"), ("red", "green", "blue", "nir")


@dataclass(frozen=True)
class Kind:
    """A raster of three colours and what it declares.

    Attributes:
        nodata: None or 0, of all bands alike.
        fourth: a band called alpha: none, a true one ("alpha"), or near infrared ("nir").
        mask: none, inside the file ("own"), or in a file beside it (".msk").
    """

    dtype: str
    nodata: float | None
    fourth: str
    mask: str

    @property
    def pixels(self) -> np.ndarray:
        """(3 or 4, rows, columns), the same for every kind but for NaN, which only real numbers have."""
        pixels = np.random.default_rng(0).integers(20, 120, (3, ROWS, COLUMNS)).astype(self.dtype)
        pixels[0, 1:3], pixels[:, 2:4] = 0, 0
        if self.dtype == "float32":
            pixels[1, 4:6] = np.nan
        if self.fourth == "nir":
            values = np.random.default_rng(1).integers(1, 250, (1, ROWS, COLUMNS)).astype(self.dtype)
            values[0, 10:] = 0  # water
            return np.concatenate([pixels, values])
        if self.fourth == "alpha":
            alpha = np.full((1, ROWS, COLUMNS), 255, self.dtype)
            alpha[0, 6:8, :1], alpha[0, 8:10, :9] = 128, 0  # half transparent at an edge only
            return np.concatenate([pixels, alpha])
        return pixels

    @property
    def hidden(self) -> np.ndarray:
        """(rows, columns) uint8, 0 where the mask hides pixels."""
        mask = np.full((ROWS, COLUMNS), 255, np.uint8)
        mask[8:, 7:12] = 0
        return mask

    def valid(self, bands: list[int], rule: str = "any") -> np.ndarray:
        """(rows, columns) True where a reader of these bands, from 0, finds data."""
        pixels = self.pixels[bands]
        valid = np.isfinite(pixels).all(axis=0)
        if self.nodata == 0:
            valid &= (pixels != 0).all(axis=0) if rule == "any" else (pixels != 0).any(axis=0)
        if self.fourth == "alpha":
            valid &= self.pixels[3] > 0
        return valid & (self.hidden > 0) if self.mask else valid


def kinds() -> Iterator[Kind]:
    """All of them."""
    return (Kind(*one) for one in product(TYPES, (None, 0), ("", "alpha", "nir"), ("", "own", ".msk")))


def card(names: tuple[str, ...]) -> ModelCard:
    """Of a model of these bands, whose values need no conversion."""
    fill = (0.0,) * len(names)
    return ModelCard("m", "regression", names, "8-bit values", (0, 255), fill, (), 64, 0, None, "", "")


def every_source_of_gaps_counts(write: Callable[[Path, Kind], Path], opened: Callable[[Path], Any], folder: Path):
    """Write each kind, read it through an adapter's ``Pixels``, and compare with arithmetic."""
    whole = Window(0, 0, ROWS, COLUMNS)
    for number, kind in enumerate(kinds()):
        path = write(folder / f"{number}.tif", kind)
        readings = [(RGB, (), "any"), (RGB, (), "all")]
        readings += [(RGBN, (), "any"), (RGB, ("4", "1", "2"), "any")] if kind.fourth == "nir" else []
        for names, asked, rule in readings:
            source = Source(opened(path), card(names), Choice(asked, rule=rule))
            pixels, valid = source.read(whole)
            bands = [int(band) - 1 for band in asked] or list(range(len(names)))
            given, expected = kind.pixels[bands], kind.valid(bands, rule)
            assert np.array_equal(valid, expected), (kind, names, asked, rule)
            assert np.array_equal(source.valid(whole), expected), (kind, names, asked, rule)
            assert np.array_equal(pixels[:, valid], given[:, valid])
            named = [note.kind for note in source.notes]
            assert ("no_alpha" in named) == (kind.fourth == "nir" and not asked)
            source.close()


PER_BAND = {1: -32768, 2: 0, 3: 99999}  # the last is no int16


def each_band_has_its_nodata_value(plain: Path, opened: Callable[[Path], Any]) -> None:
    """``plain`` is a written ``Kind("int16", None, "", "")``."""
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{band}">'
        f"<NoDataValue>{value}</NoDataValue><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">{plain.name}</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band, value in PER_BAND.items()
    )
    path = plain.with_suffix(".vrt")
    place = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="{COLUMNS}" rasterYSize="{ROWS}">{place}{bands}</VRTDataset>')
    for rule in ("any", "all"):
        source = Source(opened(path), card(RGB), Choice(rule=rule))
        found, second = source.read(Window(0, 0, ROWS, COLUMNS))[1], Kind("int16", None, "", "").pixels[1]
        assert np.array_equal(found, second != 0 if rule == "any" else np.ones_like(found))
        source.close()

"""The model card: bands, unit, classes, colours, pixel size, and how to interpret the model's output."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ModelFault
from ..raster.legend import LandClass, palette

TASKS = ("segmentation", "classification", "detection", "embedding", "regression")
# The names that the STAC MLM vocabulary gives to our tasks.
MLM_TASKS = {
    "semantic-segmentation": "segmentation",
    "scene-classification": "classification",
    "object-detection": "detection",
    "similarity-search": "embedding",
    "regression": "regression",
}
OF_SERIES = ("segmentation", "classification")  # tasks of models that read a series of dates
MOST_DATES = 1000
ACTIVATIONS = ("softmax", "sigmoid", "logits", "classes")
NODATA = 255  # of uint8 class rasters
LARGEST_PIXEL = 1_000_000  # metres
_REAL = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
NODATA_16 = 65535  # of uint16 class rasters, for legends that do not fit below 255


@dataclass(frozen=True)
class Scaling:
    """What the host does to raw pixel values before the graph: (raw / divisor - mean) / std, per band.

    Without mean and std only the division is done; a divisor of 1 without them leaves the values as they are.
    """

    divisor: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Scale (..., bands, rows, columns) float32 pixels; float32."""
        if self.divisor != 1:
            pixels = pixels / np.float32(self.divisor)
        if self.mean:
            mean, std = (np.array(values, np.float32)[:, None, None] for values in (self.mean, self.std))
            pixels = (pixels - mean) / std
        return pixels

    def raw(self, scaled: float, band: int) -> float:
        """The raw value that becomes ``scaled`` in a band."""
        mean, std = (self.mean[band], self.std[band]) if self.mean else (0.0, 1.0)
        return (scaled * std + mean) * self.divisor


RAW = Scaling()


def ends(dtype: np.dtype) -> tuple[np.float32, np.float32]:
    """The lowest and the highest number of a type that float32 holds too."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    low, high = (np.clip(np.float64(end), *_REAL).astype(np.float32) for end in (limits.min, limits.max))
    return low, high if int(high) <= int(limits.max) else np.nextafter(high, np.float32(0))


@dataclass(frozen=True)
class ModelCard:
    """What a host must know to feed a model and to show its output.

    Attributes:
        unit: what a pixel value means, e.g. "8-bit colour, 0 to 255".
        value_range: lowest and highest raw value that training saw.
        fill: raw value per band that replaces pixels without data (the training mean).
        classes: the legend, in the order of the model's output; empty for embeddings and regressions, and, if only the
            output shows how many there are, until the model is opened.
        tile_size: rows = columns of a tile, px; 0, if the model takes any size, until the model is opened.
        overlap: px shared by neighbouring tiles.
        border: px at each edge of a tile for which a map is not used, where networks see too little around; the overlap is
            twice that then, tiles begin at multiples of the same step, and are not blended. 0: blended.
        gsd: pixel size of the training imagery in metres, None where unknown.
        activation: what the graph's numbers are: "softmax" or "sigmoid" probabilities, "logits", "classes" (class
            values of the legend); None: known after one tile has run.
        source: where the card comes from: "geoaware", "deepness" or "given".
        threshold: sigmoid outputs only: a class counts from this probability on.
        factor: of a regression's output.
        output: name of the graph's output to use, None for the first.
        accuracy: measured, with the test data, as text; empty if it was not measured.
        dates: as many as a series of training had; the model takes any number of them then. 0: it maps one date.
        location: series only: it also takes the longitude and latitude of each pixel.
    """

    name: str
    task: str
    bands: tuple[str, ...]
    unit: str
    value_range: tuple[float, float]
    fill: tuple[float, ...]
    classes: tuple[LandClass, ...]
    tile_size: int
    overlap: int
    gsd: float | None
    license: str
    description: str
    activation: str | None = "softmax"
    scale: Scaling = RAW
    source: str = "geoaware"
    threshold: float = 0.5
    factor: float = 1.0
    output: str | None = None
    accuracy: str = ""
    border: int = 0
    dates: int = 0
    location: bool = False

    @property
    def class_dtype(self) -> np.dtype:
        """uint8 where every class value lies below 255, else uint16; its highest number means no data."""
        return np.dtype(np.uint8 if all(c.value < NODATA for c in self.classes) else np.uint16)

    @property
    def nodata(self) -> int:
        """The number that stands for no data in this model's class raster: 255 or 65535."""
        return NODATA if self.class_dtype == np.uint8 else NODATA_16

    def limits(self, dtype: np.dtype) -> tuple[float, float]:
        """The lowest and the highest raw value that a graph's input of this type can hold in every band."""
        pairs = [sorted(self.scale.raw(float(end), band) for end in ends(dtype)) for band in range(len(self.bands))]
        return max(low for low, _ in pairs), min(high for _, high in pairs)

    def scaled(self, tiles: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """What a graph of this type takes of raw values (N, bands, rows, cols): they do not wrap where it is too small for them."""
        whole, tiles = dtype.kind in "iu", tiles.astype(np.float32, copy=False)
        if whole and np.isnan(tiles).any():
            tiles = np.where(np.isnan(tiles), np.array(self.fill, np.float32)[:, None, None], tiles)
        scaled = self.scale(tiles)
        if dtype.itemsize < 4 or whole:
            scaled = np.clip(np.rint(scaled) if whole else scaled, *ends(dtype))
        return scaled.astype(dtype, copy=False)

    def checked(self) -> ModelCard:
        """The card itself; raises ModelFault if it is not consistent."""
        if self.task not in TASKS:
            raise ModelFault("card_task", task=self.task, known=", ".join(TASKS))
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ModelFault("card_activation", activation=self.activation, known=", ".join(ACTIVATIONS))
        if not self.bands or len(self.fill) != len(self.bands):
            raise ModelFault("card_fill")
        low, high = self.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ModelFault("card_value_range", low=low, high=high)
        if any(part and len(part) != len(self.bands) for part in (self.scale.mean, self.scale.std)):
            raise ModelFault("card_scale_length")
        if len(self.scale.mean) != len(self.scale.std) or 0 in (self.scale.divisor, *self.scale.std):
            raise ModelFault("card_scale_zero")
        values = [entry.value for entry in self.classes]
        if len(set(values)) != len(values) or any(not 0 <= value < NODATA_16 for value in values):
            raise ModelFault("card_class_values")
        if self.tile_size and not 0 <= self.overlap < self.tile_size:
            raise ModelFault("card_overlap")
        odd = self.overlap != 2 * self.border or self.task in ("classification", "detection")
        if self.border < 0 or (self.border and odd):
            raise ModelFault("card_border")
        fits = self.task in OF_SERIES if self.dates else not self.location
        if not (0 <= self.dates <= MOST_DATES and fits):
            raise ModelFault("card_dates", limit=MOST_DATES)
        if self.gsd is not None and not 0 < self.gsd <= LARGEST_PIXEL:
            raise ModelFault("card_gsd", limit=LARGEST_PIXEL, gsd=self.gsd)
        return self

    def with_outputs(self, channels: int, where: str) -> ModelCard:
        """The card for a graph whose output has so many channels: classes that it does not name are added.

        Raises:
            ModelFault: the card names more or fewer classes than the graph distinguishes.
        """
        if self.task not in ("segmentation", "classification") or self.activation == "classes":
            return self
        if self.source == "deepness":
            known = {entry.value: entry for entry in self.classes}
            count = 2 if channels == 1 else channels
            if all(number < count for number in known):
                legend = (known.get(n) or LandClass(n, f"channel_{n}", palette(n)) for n in range(count))
                return replace(self, classes=tuple(legend))
        # a sigmoid may also say that it is none of its channels, by the first class
        extra = (0, 1) if self.activation == "sigmoid" and channels > 1 else (1,) if channels == 1 else (0,)
        if len(self.classes) - channels in extra:
            return self
        raise ModelFault("output_classes", where=where, channels=channels, classes=len(self.classes))

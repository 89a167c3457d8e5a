"""The model card: bands, unit, classes, colours, pixel size, and how to read the model's answer.

It is one STAC MLM Item (a JSON text under the metadata key ``mlm``) in our models, Deepness's keys in the
models of that plugin's users, or a JSON file given beside the model. Code or expressions that an Item may
name are never run.
"""

from __future__ import annotations

import colorsys
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Union

import numpy as np

from ..errors import ModelFault

TASKS = ("segmentation", "classification", "detection", "embedding", "regression")
# The names that the STAC MLM vocabulary gives to our tasks.
MLM_TASKS = {
    "semantic-segmentation": "segmentation",
    "scene-classification": "classification",
    "object-detection": "detection",
    "similarity-search": "embedding",
    "regression": "regression",
}
ACTIVATIONS = ("softmax", "sigmoid", "logits", "classes")
NODATA = 255  # of uint8 class rasters
LARGEST_PIXEL = 1_000_000  # metres
NODATA_16 = 65535  # of uint16 class rasters, for legends that do not fit below 255
_NOT_RIGHT = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)  # what a strange card causes


@dataclass(frozen=True)
class LandClass:
    """One class of the legend: the value stored in the raster, its name, its colour as ``RRGGBB``."""

    value: int
    name: str
    color: str

    @property
    def rgb(self) -> Tuple[int, int, int]:
        """Red, green, blue, 0 to 255."""
        return int(self.color[0:2], 16), int(self.color[2:4], 16), int(self.color[4:6], 16)


@dataclass(frozen=True)
class Scaling:
    """What the host does to raw pixel values before the graph: (raw / divisor - mean) / std, a value a band.

    Without mean and std only the division is done; a divisor of 1 without them leaves the values as they are.
    """

    divisor: float = 1.0
    mean: Tuple[float, ...] = ()
    std: Tuple[float, ...] = ()

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


@dataclass(frozen=True)
class ModelCard:
    """What a host must know to feed a model and to show what it says.

    Attributes:
        name: title for people.
        task: one of ``TASKS``.
        bands: names of the input bands, in order.
        unit: what a pixel value means, e.g. "8-bit colour, 0 to 255".
        value_range: lowest and highest raw value that training saw.
        fill: one raw value a band that stands in for pixels without data (the training mean).
        classes: the legend, in the order of the model's output; empty for embeddings and regressions, and until
            the model was opened where only its output tells how many there are.
        tile_size: rows = columns of a tile, px; 0 until the model was opened where the model leaves it free.
        overlap: px shared by neighbouring tiles.
        gsd: pixel size of the training imagery in metres, None where unknown.
        license: licence of the weights.
        description: what it was trained on.
        activation: what the graph's numbers are: "softmax" or "sigmoid" probabilities, "logits", "classes" (class
            values of the legend); None: found by running one tile.
        scale: what happens to raw values before the graph.
        source: where the card comes from: "geoaware", "deepness" or "given".
        threshold: sigmoid outputs only: a class counts from this probability on.
        factor: what a regression's numbers are multiplied with.
        output: name of the graph's output to use, None for the first.
        accuracy: how right it was found to be and on what, for people; empty where it was not measured.
    """

    name: str
    task: str
    bands: Tuple[str, ...]
    unit: str
    value_range: Tuple[float, float]
    fill: Tuple[float, ...]
    classes: Tuple[LandClass, ...]
    tile_size: int
    overlap: int
    gsd: Optional[float]
    license: str
    description: str
    activation: Optional[str] = "softmax"
    scale: Scaling = RAW
    source: str = "geoaware"
    threshold: float = 0.5
    factor: float = 1.0
    output: Optional[str] = None
    accuracy: str = ""

    @property
    def class_dtype(self) -> np.dtype:
        """uint8 where every class value lies below 255, else uint16; its highest number means no data."""
        return np.dtype(np.uint8 if all(c.value < NODATA for c in self.classes) else np.uint16)

    @property
    def nodata(self) -> int:
        """The number that stands for no data in this model's class raster: 255 or 65535."""
        return NODATA if self.class_dtype == np.uint8 else NODATA_16

    @classmethod
    def from_metadata(cls, metadata: Dict[str, str], where: str, shape: Tuple[Optional[int], ...] = ()) -> ModelCard:
        """Read the card from an ONNX file's metadata: ours, else Deepness's keys.

        Args:
            metadata: keys and texts of ``metadata_props``.
            where: name of the file, for the message.
            shape: of the graph's input; Deepness's keys do not name the bands, so it must tell their number.

        Raises:
            ModelFault: there is no card, or it lacks something.
        """
        from .deepness import card_of_keys

        if "mlm" not in metadata and "model_type" not in metadata:
            raise ModelFault(
                f"{where}: has no model card; export it with 'python -m export.to_onnx', or describe it in a file "
                f"{Path(where).stem}.card.json beside it (task, bands, value_range, classes)"
            )
        try:
            if "mlm" in metadata:
                return cls._from_item(json.loads(metadata["mlm"]))
            return card_of_keys(metadata, where, shape).checked()
        except RecursionError:
            raise ModelFault(f"{where}: its model card is nested too deep") from None
        except _NOT_RIGHT as error:
            raise ModelFault(f"{where}: its model card is incomplete ({type(error).__name__}: {error})") from None

    @classmethod
    def from_file(cls, path: Union[str, Path]) -> ModelCard:
        """Read a card from a JSON file: an MLM Item, or an object with the fields of this class.

        ``task``, ``bands``, ``value_range`` and, for classes, ``classes`` must be there. ``scale`` is an object with
        ``divisor``, ``mean`` and ``std``. A class is a name, or an object with ``value``, ``name`` and ``color``.

        Raises:
            ModelFault: it cannot be read, or something is missing.
        """
        path = Path(path)
        try:
            item = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(item, dict):
                raise ValueError("not a JSON object")
            return cls._from_item(item) if "properties" in item else _given(item, path).checked()
        except OSError as error:
            raise ModelFault(f"{path}: cannot be read ({error.strerror})") from None
        except RecursionError:
            raise ModelFault(f"{path}: this model card is nested too deep") from None
        except _NOT_RIGHT as error:
            raise ModelFault(f"{path}: this model card is not right ({type(error).__name__}: {error})") from None

    @classmethod
    def _from_item(cls, item: Dict[str, Any]) -> ModelCard:
        properties = item["properties"]
        model_input, output = properties["mlm:input"][0], properties["mlm:output"][0]
        task = MLM_TASKS[properties["mlm:tasks"][0]]
        classes = tuple(_land_class(entry) for entry in output.get("classification:classes") or ())
        bands = tuple(band if isinstance(band, str) else str(band["name"]) for band in model_input["bands"])
        card = cls(
            name=str(properties["mlm:name"]),
            task=task,
            bands=bands,
            unit=str(properties["geoaware:unit"]),
            value_range=_pair(properties["geoaware:value_range"]),
            fill=tuple(float(v) for v in properties["geoaware:fill"]),
            classes=classes,
            tile_size=int(model_input["input"]["shape"][-1]),
            overlap=int(properties["geoaware:overlap"]),
            gsd=_metres(properties.get("gsd")),
            license=str(properties.get("license", "")),
            description=str(properties.get("description", "")),
            accuracy=_accuracy(properties.get("geoaware:accuracy")),
        )
        if task in ("segmentation", "classification", "detection") and not classes:
            raise ValueError("no classes")
        return card.checked()

    def checked(self) -> ModelCard:
        """Return the card itself where its parts agree.

        Raises:
            ValueError: they do not.
        """
        if self.task not in TASKS:
            raise ValueError(f"the task '{self.task}' is none of {', '.join(TASKS)}")
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ValueError(f"the activation '{self.activation}' is none of {', '.join(ACTIVATIONS)}")
        if not self.bands or len(self.fill) != len(self.bands):
            raise ValueError("one fill value a band is needed")
        if any(part and len(part) != len(self.bands) for part in (self.scale.mean, self.scale.std)):
            raise ValueError("one mean and one std a band are needed")
        if len(self.scale.mean) != len(self.scale.std) or 0 in (self.scale.divisor, *self.scale.std):
            raise ValueError("mean and std go together, and none of divisor and std may be 0")
        values = [entry.value for entry in self.classes]
        if len(set(values)) != len(values) or any(not 0 <= value < NODATA_16 for value in values):
            raise ValueError("class values must differ and lie within 0 to 65534")
        if self.tile_size and not 0 <= self.overlap < self.tile_size:
            raise ValueError("the overlap must be smaller than the tile")
        if self.gsd is not None and not 0 < self.gsd <= LARGEST_PIXEL:
            raise ValueError(
                f"the pixel size must be more than 0 and at most {LARGEST_PIXEL:,} metres, not {self.gsd:g}"
            )
        return self

    def with_outputs(self, channels: int) -> ModelCard:
        """The card for a graph that answers with so many channels: classes that it does not name are added.

        Raises:
            ValueError: the card names more or fewer classes than the graph tells apart.
        """
        if self.task not in ("segmentation", "classification") or self.activation == "classes":
            return self
        if self.source == "deepness":
            known = {entry.value: entry for entry in self.classes}
            wanted = 2 if channels == 1 else channels
            if all(number < wanted for number in known):
                legend = (known.get(n) or LandClass(n, f"channel_{n}", palette(n)) for n in range(wanted))
                return replace(self, classes=tuple(legend))
        # a sigmoid may also say that it is none of its channels, by the first class
        extra = (0, 1) if self.activation == "sigmoid" and channels > 1 else (1,) if channels == 1 else (0,)
        if len(self.classes) - channels in extra:
            return self
        raise ValueError(f"it answers with {channels} channels, but its card names {len(self.classes)} classes")


def palette(number: int) -> str:
    """A colour for a class that has none: hues a golden angle apart, so that neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.61803399 % 1, 0.65, 0.85 - 0.25 * (number % 2))
    return f"{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"


def _given(item: Dict[str, Any], path: Path) -> ModelCard:
    needed = ["task", "bands", "value_range"]
    if item.get("task") in ("segmentation", "classification", "detection"):
        needed.append("classes")
    missing = [key for key in needed if not item.get(key)]
    if missing:
        raise ModelFault(f"{path}: the model card must also say: {', '.join(missing)}")
    fields = set(ModelCard.__dataclass_fields__) - {"source"}
    if set(item) - fields:
        raise ModelFault(
            f"{path}: a model card knows no '{min(set(item) - fields)}'; it knows {', '.join(sorted(fields))}"
        )
    scale = item.get("scale") or {}
    scale = {} if scale == "raw" else scale
    low, high = _pair(item["value_range"])
    bands = tuple(str(band) for band in item["bands"])
    tile = int(item.get("tile_size") or 0)
    return ModelCard(
        name=str(item.get("name") or path.name.split(".")[0]),
        task=str(item["task"]),
        bands=bands,
        unit=str(item.get("unit") or f"{low:g} to {high:g}"),
        value_range=(low, high),
        fill=tuple(float(v) for v in item.get("fill") or [(low + high) / 2] * len(bands)),
        classes=tuple(_given_class(number, entry) for number, entry in enumerate(item.get("classes") or ())),
        tile_size=tile,
        overlap=int(item.get("overlap", tile // 4)),
        gsd=_metres(item.get("gsd")),
        license=str(item.get("license", "")),
        description=str(item.get("description", "")),
        activation=item.get("activation"),
        scale=Scaling(float(scale.get("divisor", 1)), _floats(scale.get("mean")), _floats(scale.get("std"))),
        source="given",
        threshold=float(item.get("threshold", 0.5)),
        factor=float(item.get("factor", 1)),
        output=item.get("output"),
        accuracy=str(item.get("accuracy", "")),
    )


def _accuracy(measured: Optional[Dict[str, Any]]) -> str:
    """A share from 0 to 1 with the ends of its 95 % interval, and of what it is the share."""
    if not measured:
        return ""
    value, low, high = (f"{100 * float(measured[key]):.1f}" for key in ("value", "low", "high"))
    return f"{value} % (95 %: {low} to {high}) {measured['of']}"


def _given_class(number: int, entry: Any) -> LandClass:
    if not isinstance(entry, dict):
        return LandClass(number, str(entry), palette(number))
    return LandClass(int(entry.get("value", number)), str(entry["name"]), _color(entry.get("color") or palette(number)))


def _land_class(entry: Dict[str, Any]) -> LandClass:
    name = str(entry.get("description") or entry["name"])
    return LandClass(int(entry["value"]), name, _color(entry["color_hint"]))


def _color(text: Any) -> str:
    color = str(text).upper()
    if not re.fullmatch("[0-9A-F]{6}", color):
        raise ValueError(f"'{color}' is not a colour like 1C6330")
    return color


def _metres(gsd: Any) -> Optional[float]:
    return None if gsd in (None, "") else float(gsd)


def _floats(values: Any) -> Tuple[float, ...]:
    return tuple(float(value) for value in values or ())


def _pair(values: Any) -> Tuple[float, float]:
    low, high = values
    return float(low), float(high)

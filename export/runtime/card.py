"""The model card inside an ONNX file: bands, unit, classes, colours, pixel size.

The card is one STAC MLM Item (a JSON text under the metadata key ``mlm``). Code or expressions that an
Item may name are never run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from .errors import ModelFault

TASKS = ("segmentation", "classification", "detection", "embedding")
# The names that the STAC MLM vocabulary gives to our tasks.
MLM_TASKS = {
    "semantic-segmentation": "segmentation",
    "scene-classification": "classification",
    "object-detection": "detection",
    "similarity-search": "embedding",
}
NODATA = 255  # of class rasters: no IGBP-like legend reaches it


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
class ModelCard:
    """What a host must know to feed a model and to show what it says.

    Attributes:
        name: title for people.
        task: one of ``TASKS``.
        bands: names of the input bands, in order.
        unit: what a pixel value means, e.g. "8-bit colour, 0 to 255".
        value_range: lowest and highest raw value that training saw.
        fill: one value a band that stands in for pixels without data (the training mean).
        classes: the legend, in the order of the model's output; empty for embeddings.
        tile_size: rows = columns of a tile, px.
        overlap: px shared by neighbouring tiles.
        gsd: pixel size of the training imagery in metres, None where unknown.
        license: licence of the weights.
        description: what it was trained on.
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

    @classmethod
    def from_metadata(cls, metadata: Dict[str, str], where: str) -> ModelCard:
        """Read the card from an ONNX file's metadata.

        Args:
            metadata: keys and texts of ``metadata_props``.
            where: name of the file, for the message.

        Raises:
            ModelFault: there is no card, or it lacks something.
        """
        if "mlm" not in metadata:
            raise ModelFault(f"{where}: has no model card; export it with 'python -m export.to_onnx'")
        try:
            return cls._from_item(json.loads(metadata["mlm"]))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelFault(f"{where}: its model card is incomplete ({type(error).__name__}: {error})") from None

    @classmethod
    def _from_item(cls, item: Dict[str, Any]) -> ModelCard:
        properties = item["properties"]
        model_input, output = properties["mlm:input"][0], properties["mlm:output"][0]
        task = MLM_TASKS[properties["mlm:tasks"][0]]
        classes = tuple(_land_class(entry) for entry in output.get("classification:classes") or ())
        bands = tuple(band if isinstance(band, str) else band["name"] for band in model_input["bands"])
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
            gsd=float(properties["gsd"]) if properties.get("gsd") else None,
            license=str(properties.get("license", "")),
            description=str(properties.get("description", "")),
        )
        card._check()
        return card

    def _check(self) -> None:
        if len(self.fill) != len(self.bands):
            raise ValueError("one fill value a band is needed")
        if self.task != "embedding" and not self.classes:
            raise ValueError("no classes")
        values = [entry.value for entry in self.classes]
        if len(set(values)) != len(values) or any(not 0 <= value < NODATA for value in values):
            raise ValueError("class values must differ and lie within 0 to 254")
        if not 0 <= self.overlap < self.tile_size:
            raise ValueError("the overlap must be smaller than the tile")


def _land_class(entry: Dict[str, Any]) -> LandClass:
    color = str(entry["color_hint"]).upper()
    if not re.fullmatch("[0-9A-F]{6}", color):
        raise ValueError(f"'{color}' is not a colour like 1C6330")
    return LandClass(int(entry["value"]), str(entry.get("description") or entry["name"]), color)


def _pair(values: Any) -> Tuple[float, float]:
    low, high = values
    return float(low), float(high)

"""What a run gives: finished rows of a map, or objects. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NO_CONFIDENCE = 255  # where there is no data


@dataclass(frozen=True)
class Rows:
    """Finished rows of the result.

    Attributes:
        top: first row in the raster.
        valid: (rows, width) bool: where the raster holds data and a tile was run.
        classes: (rows, width) class values of the card, uint8, or uint16 where they do not fit; ``card.nodata`` where
            not valid; None for a regression or an embedding.
        confidence: (rows, width) uint8, probability of that class in per cent, 255 where not valid; None without classes.
        values: (K, rows, width) float32, NaN where not valid: a regression's values, an embedding's features, the
            probabilities where they were asked for; else None.
        dates: (rows, width) uint8, or uint16, how many dates of a series hold data, 0 where not valid; else None.
    """

    top: int
    valid: np.ndarray
    classes: np.ndarray | None = None
    confidence: np.ndarray | None = None
    values: np.ndarray | None = None
    dates: np.ndarray | None = None

    @property
    def layers(self) -> dict[str, np.ndarray]:
        """All arrays that there are, by name; their last two axes are rows and columns."""
        layers = (
            ("valid", self.valid),
            ("classes", self.classes),
            ("confidence", self.confidence),
            ("values", self.values),
            ("dates", self.dates),
        )
        return {name: layer for name, layer in layers if layer is not None}


@dataclass(frozen=True)
class Objects:
    """Detected objects, best first.

    Attributes:
        boxes: (M, 4) float32 xmin, ymin, xmax, ymax in px of the raster; x to the right, y down.
        scores: (M,) float32.
        classes: (M,) class values of the card, uint8 or uint16.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def blanked(part: Rows, valid: np.ndarray) -> Rows:
    """The same rows with no data outside ``valid``."""
    layers = {**part.layers, "valid": valid}
    for name in layers.keys() - {"valid"}:
        dtype = layers[name].dtype
        gap = np.nan if dtype.kind == "f" else 0 if name == "dates" else np.iinfo(dtype).max
        layers[name] = np.where(valid, layers[name], dtype.type(gap))
    return Rows(part.top, **layers)

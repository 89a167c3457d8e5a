"""Suggests the model that fits a layer best. Without windows."""

import math
from pathlib import Path
from typing import Optional

from ...gdal_io.grid import LayerGrid
from ...gdal_io.services import band_count
from ...runtime.model.card import ModelCard
from ...runtime.raster.lattice import Transform
from ..library.models import Entry

_MISSING_BAND = 100.0  # a missing band weighs more than any difference of pixel sizes
_UNKNOWN = 1.0  # as if the pixel sizes differed by a factor of two


def suggested(entries: list[Entry], layer, last: Path) -> int:
    """Index of the model that fits a layer best; ties go to the one used last, then to one with classes.

    Args:
        entries: the models, at least one.
        layer: raster layer, or None.
        last: file of the model that was used last.
    """
    known = layer is not None and layer.isValid()
    bands, metres = (band_count(layer.dataProvider()), pixel_metres(layer)) if known else (0, None)

    def rank(number: int):
        entry = entries[number]
        if entry.card is None:
            return math.inf, True, True, number
        difference = misfit(entry.card, bands, metres) if known else 0.0
        return difference, entry.path != last, entry.card.task == "embedding", number

    return min(range(len(entries)), key=rank)


def misfit(card: ModelCard, bands: int, metres: Optional[float]) -> float:
    """How badly a model fits a layer: 0 is a fit, higher is worse.

    Args:
        card: of the model.
        bands: number of bands of the layer.
        metres: pixel size of the layer; None if unknown.
    """
    missing = _MISSING_BAND * max(0, len(card.bands) - bands)
    if not card.gsd or not metres:
        return missing + _UNKNOWN
    doublings = abs(math.log2(metres / card.gsd))
    return missing + (doublings if doublings > 1 else 0.0)


def pixel_metres(layer) -> Optional[float]:
    """Pixel size of a layer on the ground; None if it has no pixel grid or no CRS."""
    provider = layer.dataProvider()
    if not layer.isValid() or not layer.crs().isValid() or provider.xSize() < 1:
        return None
    size = Transform(layer.rasterUnitsPerPixelX(), 0, 0, 0, -layer.rasterUnitsPerPixelY(), 0)
    return LayerGrid(layer.crs().toWkt(), size, provider.ySize(), provider.xSize()).pixel_size_m[0] or None

"""Which of the models suits a layer best. Knows no windows."""

import math
from pathlib import Path
from typing import List, Optional

from ...gdal_io.grid import LayerGrid
from ...gdal_io.services import band_count
from ...runtime.model.card import ModelCard
from ...runtime.raster.lattice import Transform
from ..library.models import Entry

_LACKING = 100.0  # a band that is not there weighs more than any difference of pixel sizes
_UNKNOWN = 1.0  # as if the pixel sizes differed by a factor of two


def suggested(found: List[Entry], layer, last: Path) -> int:
    """Number of the model that fits a layer best; of several alike the one used last, then one that names classes.

    Args:
        found: the models, at least one.
        layer: raster layer, or None.
        last: the model that was used last.
    """
    known = layer is not None and layer.isValid()
    bands, metres = (band_count(layer.dataProvider()), pixel_metres(layer)) if known else (0, None)

    def rank(number: int):
        entry = found[number]
        if entry.card is None:
            return math.inf, True, True, number
        apart = misfit(entry.card, bands, metres) if known else 0.0
        return apart, entry.path != last, entry.card.task == "embedding", number

    return min(range(len(found)), key=rank)


def misfit(card: ModelCard, bands: int, metres: Optional[float]) -> float:
    """How badly a model and a layer go together: 0 well, the more the worse.

    Args:
        card: of the model.
        bands: that the layer has.
        metres: side of the layer's pixels; None where unknown.
    """
    lacking = _LACKING * max(0, len(card.bands) - bands)
    if not card.gsd or not metres:
        return lacking + _UNKNOWN
    doublings = abs(math.log2(metres / card.gsd))
    return lacking + (doublings if doublings > 1 else 0.0)


def pixel_metres(layer) -> Optional[float]:
    """Side of a layer's pixels on the ground; None where it has no pixels of its own, or no CRS."""
    provider = layer.dataProvider()
    if not layer.isValid() or not layer.crs().isValid() or provider.xSize() < 1:
        return None
    size = Transform(layer.rasterUnitsPerPixelX(), 0, 0, 0, -layer.rasterUnitsPerPixelY(), 0)
    return LayerGrid(layer.crs().toWkt(), size, provider.ySize(), provider.xSize()).pixel_size_m[0] or None

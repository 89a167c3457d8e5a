"""Several rasters of one day: tiles that complement each other are one date, two pictures of one place are not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import combinations

import numpy as np

from ...errors import InputFault
from ...raster.window import Read, Window, lattice
from ..source import Pixels
from .onto import box_on, onto

COMMON = 0.5  # of what the smaller of two rasters of a day holds: beyond it both show the same area


def check_days(dated: Iterable[tuple[date, Pixels]]) -> None:
    """Refuse rasters of one day that show the same area: which of them counts is not known.

    Neighbouring tiles overlap, and parts of a swath fill each other's gaps: both are fine. A sample of pixels is read only
    where extents have more in common.

    Raises:
        InputFault: two show the same area, or one cannot be read.
    """
    by_day: dict[date, list[Pixels]] = {}
    for day, pixels in dated:
        by_day.setdefault(day, []).append(pixels)
    for day, rasters in by_day.items():
        for one, other in combinations(rasters, 2):
            if _common_extent(one, other) > COMMON and _common_data(one, other) > COMMON:
                raise InputFault("same_day", where=one.name, other=other.name, date=f"{day:%Y-%m-%d}")


def _common_extent(one: Pixels, other: Pixels) -> float:
    """Area that both cover, as a share of the smaller one."""
    height, width = one.grid.shape
    left, top, right, bottom = box_on(other, one.grid)
    across, down = min(right, width) - max(left, 0), min(bottom, height) - max(top, 0)
    smaller = min(width * height, (right - left) * (bottom - top))
    return max(across, 0) * max(down, 0) / max(smaller, 1e-9)


def _common_data(one: Pixels, other: Pixels) -> float:
    """Pixels that both hold, as a share of those of the one that holds fewer; from a sample."""
    small, large = sorted((one, other), key=lambda raster: np.prod(raster.grid.shape))
    read = onto(_holding(large), large, small.grid, nearest=True)
    own = _holding(small)
    seen = [(own(window)[1], read(window)[1]) for window in lattice(*small.grid.shape)]
    here, there = (np.concatenate([part[number].ravel() for part in seen]) for number in (0, 1))
    return float((here & there).sum() / max(min(here.sum(), there.sum()), 1))


def _holding(pixels: Pixels) -> Read:
    """Reads where the first band of a raster holds data, whatever a mask band hides."""
    pixels = getattr(pixels, "pixels", pixels)
    band = [*pixels.usable, 1][0]
    nodata = pixels.nodata(band)

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        values, valid = pixels.read([band], window)
        return values, valid & np.isfinite(values[0]) & (True if nodata is None else values[0] != nodata)

    return read

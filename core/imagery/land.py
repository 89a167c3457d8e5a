"""Where land is, to half a degree: enough to notice that longitude and latitude were swapped.

land.png: 720 x 360 cells, plate carree from 180 W, 90 N; white where a cell holds any land in MODIS MCD12C1
of 2019 (the label file of the quickstart's sample).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

_ENOUGH = 10  # places, to say anything about them


@cache
def land_mask() -> np.ndarray:
    """(360, 720) bool, first row at 90 N, first column at 180 W."""
    with Image.open(Path(__file__).with_name("land.png")) as picture:
        return np.asarray(picture.convert("1"))


def on_land(lonlat: np.ndarray) -> np.ndarray:
    """Which of (N, 2) places in degrees lie in a cell with land, (N,) bool."""
    lon, lat = np.asarray(lonlat, np.float64).T
    rows = np.clip(np.floor((90 - lat) * 2), 0, 359).astype(int)
    columns = np.floor((lon + 180) * 2).astype(int) % 720
    return land_mask()[rows, columns]


def swapped_axes(lonlat: np.ndarray) -> str | None:
    """A warning where more of (N, 2) places in degrees would lie on land with longitude and latitude exchanged."""
    known = lonlat[np.isfinite(lonlat).all(axis=1)]
    if len(known) < _ENOUGH or np.abs(known[:, 0]).max() > 90:  # a longitude beyond 90 is no latitude
        return None
    here, there = on_land(known).mean(), on_land(known[:, ::-1]).mean()
    if here > 0.5 or there < here + 0.3:
        return None
    return (
        f"only {here:.0%} of the places lie on land, but {there:.0%} would if longitude and latitude were exchanged: "
        "the axes may be swapped"
    )

"""Places on the sphere, and spatial splits whose sides keep a distance."""

from __future__ import annotations

import numpy as np

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG
# Two tenths of the blocks test, one tenth validate; dealt in turn, so that each side is spread out.
# A raster of one block is for training.
DEAL = np.array("train test train val train test train train train train".split(), "<U6")  # noqa: SIM905
METRES_PER_DEGREE = EARTH_RADIUS_M * np.pi / 180


def wrapped(longitudes: np.ndarray) -> np.ndarray:
    """Degrees of any longitude, within -180 to 180."""
    longitudes = np.asarray(longitudes, np.float64)
    return np.where(np.abs(longitudes) > 180, (longitudes + 180) % 360 - 180, longitudes)


def unit_vectors(lonlat: np.ndarray) -> np.ndarray:
    """Turn (N, 2) longitudes and latitudes in degrees into (N, 3) points on the unit sphere."""
    lon, lat = np.radians(np.asarray(lonlat, np.float64)).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def spatial_split(lonlat: np.ndarray, margin_m: float, block_deg: tuple[float, float] | None = None) -> np.ndarray:
    """Give each place a side, by blocks of longitude and latitude dealt in a fixed order.

    Args:
        lonlat: (N, 2) degrees, one row a place.
        margin_m: places of two different sides lie farther apart than this, metres on the sphere.
        block_deg: extent of a block in longitude and latitude, degrees; by default about squares on the ground
            with an eighteenth of the longer extent, but never less than four margins.

    Returns:
        (N,) text: train, val, test, or margin (too near to another side to be used).
    """
    from scipy.spatial import cKDTree

    lonlat = np.asarray(lonlat, np.float64)
    if block_deg:  # counted from 180 W, 90 S, so that stores of other chips are split alike
        cells = np.floor((lonlat - [-180.0, -90.0]) / block_deg).astype(int)
        block_of = cells[:, 0] + cells[:, 1] * round(360 / block_deg[0])
    else:
        flat = _unrolled(lonlat)
        side_deg = max(float(np.ptp(flat, axis=0).max()) / 18, 4 * margin_m / METRES_PER_DEGREE, 1e-9)
        cells = np.floor((flat - flat.min(axis=0)) / side_deg).astype(int)
        block_of = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    result = DEAL[block_of % len(DEAL)]
    # The test side keeps all its places; the others give way.
    points = unit_vectors(lonlat)
    chord = 2 * np.sin(margin_m / EARTH_RADIUS_M / 2)
    for side, others in (("test", ("val", "train")), ("val", ("train",))):
        if (result == side).any():
            distance, _ = cKDTree(points[result == side]).query(points, distance_upper_bound=chord, workers=-1)
            result[(distance <= chord) & np.isin(result, others)] = "margin"
    return result


def _unrolled(lonlat: np.ndarray) -> np.ndarray:
    """(N, 2) degrees of latitude on the ground, about: cut where no place is, narrowed by the latitude."""
    lon, lat = lonlat.T
    around = np.unique(lon % 360)
    gaps = np.diff(around, append=around[0] + 360)
    start = around[(gaps.argmax() + 1) % len(around)]  # east of the widest gap, not at the antimeridian
    return np.stack([(lon - start) % 360 * max(np.cos(np.radians(np.median(lat))), 0.05), lat], axis=1)

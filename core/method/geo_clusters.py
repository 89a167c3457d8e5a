"""Geo clusters: spherical k-means of the training places, the classes of the geo-location pretext."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from core.store.sphere import unit_vectors


def fit_geo_clusters(lonlat: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Fit k-means on unit vectors, so that no cluster is split at the antimeridian or at a pole.

    Args:
        lonlat: (N, 2) degrees, one row per place.
        k: number of clusters; at most one per distinct position.
        seed: of the initial centres.

    Returns:
        (K, 3) unit vectors.
    """
    points = np.unique(unit_vectors(lonlat).round(9), axis=0)
    centres = KMeans(min(k, len(points)), n_init=3, random_state=seed).fit(points).cluster_centers_
    return centres / np.linalg.norm(centres, axis=1, keepdims=True)


def assign_geo_clusters(lonlat: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N,) number of the nearest of (K, 3) centres, for (N, 2) places in degrees."""
    return (unit_vectors(lonlat) @ centres.T).argmax(axis=1)

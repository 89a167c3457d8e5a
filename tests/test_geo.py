import numpy as np

from core.method.moco import assign_geo_clusters, fit_geo_clusters
from core.store.sphere import EARTH_RADIUS_M, spatial_split, unit_vectors


def test_a_cluster_is_not_torn_at_the_antimeridian():
    west, east, far = [[-179.0, 0.0]] * 5, [[179.0, 0.0]] * 5, [[0.0, 0.0]] * 5
    lonlat = np.array(west + east + far) + np.random.default_rng(0).normal(0, 0.1, (15, 2))
    found = assign_geo_clusters(lonlat, fit_geo_clusters(lonlat, 2))
    assert len(set(found[:10])) == 1
    assert found[0] != found[12]


def test_a_cluster_is_not_torn_at_the_pole():
    around = np.array([[lon, 89.0] for lon in range(-180, 180, 30)] + [[0.0, 0.0], [1.0, 1.0]])
    found = assign_geo_clusters(around, fit_geo_clusters(around, 2))
    assert len(set(found[:12])) == 1
    assert found[0] != found[12]


def test_there_are_never_more_clusters_than_places():
    assert len(fit_geo_clusters(np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]), 100)) == 3


def test_places_of_two_sides_are_farther_apart_than_the_margin():
    rng = np.random.default_rng(1)
    lonlat = np.stack([rng.uniform(-180, 180, 3000), rng.uniform(-60, 60, 3000)], axis=1)
    margin = 300_000.0
    split = spatial_split(lonlat, margin)
    assert set(split) == {"train", "val", "test", "margin"}
    points = unit_vectors(lonlat)
    for a, b in (("train", "test"), ("train", "val"), ("val", "test")):
        cosine = (points[split == a] @ points[split == b].T).max()
        assert np.arccos(np.clip(cosine, -1, 1)) * EARTH_RADIUS_M > margin


def test_strips_are_the_same_whatever_places_are_there():
    lonlat = np.stack([np.arange(-179.0, 180.0, 1.0), np.zeros(359)], axis=1)
    whole = spatial_split(lonlat, 0.0, (20.0, 180.0))
    part = spatial_split(lonlat[100:], 0.0, (20.0, 180.0))
    assert (whole[100:] == part).all()


def test_a_region_across_the_antimeridian_is_split_like_any_other():
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-4, 4, 2000), rng.uniform(-20, -12, 2000)], axis=1)
    there = lonlat + [180, 0]
    there[:, 0] = (there[:, 0] + 180) % 360 - 180
    assert list(spatial_split(there, 1000)) == list(spatial_split(lonlat, 1000))

"""Samples of labelled polygons and points: which pixels they are, and how much each label counts."""

import numpy as np
import pyproj
import pytest
import shapely

from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.polygons import placed, polygons_on
from export.runtime.infer.layout import Layout, Options
from export.runtime.infer.source import Choice, Source
from export.runtime.learn.samples import MOST, Label, pixels_of, samples_of
from export.runtime.model.card import ModelCard
from tests.conftest import UTM, write_raster


class Place:
    """Features of a raster: its row, its column and its pixel's value."""

    def __init__(self, path, gsd=None):
        bands = ("one", "two")
        card = ModelCard("f", "embedding", bands, "", (0, 255), (0.0, 0.0), (), 32, 0, gsd, "", "")
        source = Source(RasterPixels(path), card, Choice())
        self.layout = Layout(source, card, Options())

    def at(self, rows, columns, progress):
        read, _ = self.layout.read(self.layout.seen.whole)
        return np.column_stack([rows, columns, read[0, rows, columns]]).astype(np.float32)


@pytest.fixture
def scene(tmp_path):
    pixels = np.arange(2 * 60 * 80).reshape(2, 60, 80).astype(np.uint16) + 1
    pixels[:, :10, :10] = 0
    return Place(write_raster(tmp_path / "scene.tif", pixels, nodata=0))


def box(top, left, bottom, right):
    """In pixels of the scene."""
    return shapely.box(500_000 + 10 * left, 5_000_000 - 10 * bottom, 500_000 + 10 * right, 5_000_000 - 10 * top)


def label(number, kind, shape, place, crs=UTM):
    grid, crs = place.layout.source.grid, pyproj.CRS(crs)
    shapes = np.array([shape])
    if shape.geom_type == "Point":
        return Label(number, kind, tuple(placed(shapes, crs, grid)[0].tolist()))
    return Label(number, kind, polygons_on(shapes, crs, grid))


def test_a_polygon_gives_the_pixels_whose_middles_lie_in_it(scene):
    rows, columns = pixels_of(label(0, 0, box(20, 30, 24, 33), scene), scene.layout.seen)
    assert sorted(zip(rows.tolist(), columns.tolist())) == [(r, c) for r in range(20, 24) for c in range(30, 33)]


def test_a_point_and_a_polygon_without_middles_give_the_pixel_they_lie_in(scene):
    point = label(0, 0, shapely.Point(500_000 + 455, 5_000_000 - 123), scene)
    tiny = label(1, 0, shapely.box(500_451, 5_000_000 - 123, 500_453, 5_000_000 - 121), scene)
    for one in (point, tiny):
        assert [axis.tolist() for axis in pixels_of(one, scene.layout.seen)] == [[12], [45]]


def test_a_large_polygon_gives_pixels_spread_over_all_of_it(tmp_path):
    large = Place(write_raster(tmp_path / "large.tif", np.ones((2, 3000, 2048), np.uint8)))
    rows, columns = pixels_of(label(0, 0, box(0, 0, 3000, 2048), large), large.layout.seen)
    assert 200 < len(rows) <= MOST
    assert len(set(zip(rows.tolist(), columns.tolist()))) == len(rows)
    counts, _, _ = np.histogram2d(rows, columns, 4, [(0, 3000), (0, 2048)])
    assert counts.min() > 8
    again = pixels_of(label(0, 0, box(0, 0, 3000, 2048), large), large.layout.seen)
    np.testing.assert_array_equal(again, (rows, columns))
    narrow = pixels_of(label(0, 0, box(0, 0, 2900, 16), large), large.layout.seen)
    assert len(set(narrow[1].tolist())) > 4


def test_every_label_weighs_the_same_and_says_where_it_lies(scene):
    labels = [
        label(5, 1, box(20, 20, 60, 60), scene),
        label(7, 0, box(30, 70, 32, 72), scene),
        label(8, 0, shapely.Point(500_795, 5_000_000 - 5), scene),
    ]
    found = samples_of([scene], [labels])
    assert found.numbers.tolist() == [5, 7, 8]
    assert found.labels.tolist() == [1, 0, 0]
    assert np.bincount(found.polygons, found.weights).tolist() == pytest.approx([1, 1, 1])
    assert found.places[1:].tolist() == [[30.5, 70.5], [0, 79]]
    assert found.places[0] == pytest.approx([39.5, 39.5], abs=2)
    assert (found.outside, found.empty) == ((), ())
    rows, columns, values = found.features.T
    np.testing.assert_array_equal(values, rows * 80 + columns + 1)
    np.testing.assert_array_equal(found.classes, found.labels[found.polygons])


def test_labels_outside_and_on_nodata_give_no_sample_and_are_named(scene):
    labels = [
        label(0, 0, box(-50, -50, -20, -20), scene),
        label(1, 0, box(0, 0, 5, 5), scene),
        label(2, 1, box(5, 5, 15, 15), scene),
        label(3, 1, shapely.Point(400_000, 5_000_000), scene),
    ]
    found = samples_of([scene], [labels])
    assert (found.numbers.tolist(), found.outside, found.empty) == ([2], (0, 3), (1,))
    assert len(found.features) == 75  # without the quarter on nodata
    none = samples_of([scene], [labels[:2]])
    assert (none.features.shape[0], none.outside, none.empty) == (0, (0,), (1,))


def test_labels_of_another_crs_and_a_coarser_model_find_the_same_ground(scene, tmp_path):
    to_degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True)
    bent = shapely.transform(box(20, 30, 40, 50), lambda xy: np.column_stack(to_degrees.transform(*xy.T)))
    same = samples_of([scene], [[label(0, 0, bent, scene, "EPSG:4326")]])
    straight = samples_of([scene], [[label(0, 0, box(20, 30, 40, 50), scene)]])
    np.testing.assert_array_equal(same.features, straight.features)
    coarse = Place(tmp_path / "scene.tif", gsd=20.0)
    found = samples_of([coarse], [[label(0, 0, box(20, 30, 40, 50), coarse)]])
    assert found.places.tolist() == [[14.5, 19.5]]
    assert len(found.features) == 100


def test_labels_that_share_pixels_are_known(scene):
    one, beside, other = box(21, 21, 29, 29), box(28, 28, 32, 32), box(40, 50, 44, 54)
    shapes = [one, one, shapely.Point(500_505, 4_999_595), beside, other, box(32, 32, 36, 36)]
    labels = [label(number, number % 2, shape, scene) for number, shape in enumerate(shapes)]
    assert samples_of([scene], [labels]).groups.tolist() == [0, 0, 2, 0, 2, 5]
    assert samples_of([scene], [labels]).without(np.arange(6) == 0).groups.tolist() == [0, 2, 0, 2, 5]


def test_a_label_on_two_rasters_is_one_label(scene, tmp_path):
    other = Place(write_raster(tmp_path / "other.tif", np.full((2, 60, 80), 9, np.uint16), origin=(500_400, 5_000_000)))
    shape = box(20, 42, 24, 46)
    alone = box(20, 100, 24, 104)
    found = samples_of(
        [scene, other],
        [
            [label(0, 0, shape, scene), label(1, 1, alone, scene)],
            [label(0, 0, shape, other), label(1, 1, alone, other)],
        ],
    )
    assert found.numbers.tolist() == found.groups.tolist() == [0, 1]
    assert found.scenes.tolist() == [0, 1]
    assert found.places.tolist() == [[21.5, 43.5], [21.5, 61.5]]
    assert np.bincount(found.polygons).tolist() == [32, 16]
    assert found.outside == ()

"""Maps and layers of similarity from features: compared with the classifier and the cosine at every pixel and place."""

import numpy as np
import pyproj
import pytest
from rasterio.transform import Affine

from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.polygons import polygons_on
from export.runtime.errors import Cancelled, InputFault
from export.runtime.infer.layout import Limits
from export.runtime.learn.features import FeatureChoice
from export.runtime.learn.fitting import Featured, choice_of, fit_model
from export.runtime.learn.heads import Head
from export.runtime.learn.mapping import MapJob, SimilarJob, examples
from export.runtime.learn.samples import Label
from export.runtime.learn.similar import APART, Similarity, similarity
from export.runtime.raster.legend import LandClass
from export.runtime.raster.window import Window
from tests.conftest import UTM, write_raster
from tests.test_label_files import box

CLASSES = (LandClass(3, "a", "AA0000"), LandClass(7, "b", "00AA00"), LandClass(12, "c", "0000AA"))
GO = lambda done, total: True  # noqa: E731


@pytest.fixture(scope="module")
def featured(tmp_path_factory):
    """A raster of 2 x 2 tiles that ends inside a place, a corner without data."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(rng.integers(20, 230, (3, 21, 27)), 20, 1), 20, 2)[:, :410, :527]
    pixels = (pixels + rng.normal(0, 8, pixels.shape)).clip(1, 255).astype(np.uint8)
    pixels[:, :30, :50] = 0
    path = write_raster(tmp_path_factory.mktemp("mapping") / "scene.tif", pixels, nodata=0)
    return Featured.of([RasterPixels(path)], FeatureChoice("texture"))


@pytest.fixture(scope="module")
def head(featured):
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.02, (3, featured.features.channels)).astype(np.float32)
    return Head(weights, np.zeros((3, 0), np.float32), np.array([0, 0.5, -0.5], np.float32))


def whole(job):
    parts = list(job.rows(GO))
    assert [part.top for part in parts] == np.cumsum([0, *(len(part.valid) for part in parts)])[:-1].tolist()
    return {name: np.concatenate([part.layers[name] for part in parts], axis=-2) for name in parts[0].layers}


def test_a_map_is_the_answer_of_the_head_at_every_pixel(featured, head):
    (raster,) = featured.rasters
    layers = whole(MapJob(raster, head, CLASSES, probabilities=True))
    there = np.ones((410, 527), bool)
    there[:30, :50] = False
    np.testing.assert_array_equal(layers["valid"], there)
    rows, columns = (axis.ravel() for axis in np.mgrid[:410, :527])
    features = raster.at(rows, columns)
    # logits are interpolated; of a linear head that is as if features were
    expected = head.probabilities(features).T.reshape(3, 410, 527)
    np.testing.assert_allclose(layers["values"][:, there], expected[:, there], atol=1e-4)
    apart = np.sort(expected, axis=0)
    clear = there & (apart[2] - apart[1] > 1e-3)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(layers["classes"][clear], np.array([3, 7, 12])[expected.argmax(axis=0)][clear])
    assert (layers["classes"][~there] == 255).all()
    assert (layers["confidence"][~there] == 255).all()
    assert np.abs(layers["confidence"][there] - 100 * expected.max(axis=0)[there]).max() <= 0.52


def test_parts_by_bounds_and_polygons_are_those_of_the_whole(featured, head):
    (raster,) = featured.rasters
    all_of_it = whole(MapJob(raster, head, CLASSES))["classes"]
    bounds = Limits((501_000, 4_996_500, 504_500, 4_999_000))
    part = MapJob(raster, head, CLASSES, bounds)
    assert part.grid.shape == (250, 350)
    np.testing.assert_array_equal(whole(part)["classes"], all_of_it[100:350, 100:450])
    polygons = polygons_on(
        np.array([box(100, 100, 150, 140), box(390, 500, 410, 527)]), pyproj.CRS(UTM), raster.source.grid
    )
    job = MapJob(raster, head, CLASSES, Limits(None, polygons))
    expected = np.full((410, 527), 255, np.uint8)
    for window in (np.s_[100:150, 100:140], np.s_[390:410, 500:527]):
        expected[window] = all_of_it[window]
    np.testing.assert_array_equal(whole(job)["classes"], expected[100:, 100:])
    with pytest.raises(InputFault, match="bounds lie outside"):
        MapJob(raster, head, CLASSES, Limits((0, 0, 10, 10)))


def test_a_run_counts_its_tiles_and_can_be_cancelled(featured, head):
    (raster,) = featured.rasters
    counted = []
    for _ in MapJob(raster, head, CLASSES).rows(lambda done, total: not counted.append((done, total))):
        pass
    assert counted == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(Cancelled):
        list(MapJob(raster, head, CLASSES).rows(lambda done, total: done < 2))


def test_similarity_is_the_cosine_at_every_place(featured):
    (raster,) = featured.rasters
    at = np.array([raster.layout.seen.at(200.5, 100.5), raster.layout.seen.at(300.5, 300.5)])
    vectors = examples(raster, at)
    np.testing.assert_array_equal(vectors, raster.at(np.array([100, 300]), np.array([200, 300])))
    job = SimilarJob(raster, Similarity.to(vectors[:1], vectors[1:]))
    layers = whole(job)
    assert job.grid.shape == (103, 132)
    assert job.grid.transform == Affine(40, 0, 500_000, 0, -40, 5_000_000)
    scores = layers["values"][0]
    places = np.concatenate([raster.record((0, 0))[:, 1:-1, 1:-1], raster.record((0, 1))[:, 1:-1, 1:-1]], axis=2)
    expected = similarity(places[:, :96, :132].reshape(len(places), -1).T, vectors[:1], vectors[1:]).reshape(96, 132)
    there = np.isfinite(scores[:96])
    assert not there[:7, :12].any()
    assert there.sum() == 96 * 132 - 7 * 12
    np.testing.assert_array_equal(scores[:96][there], expected[there])
    best = job.best
    rows, columns = (best.rows / 4).astype(int), (best.columns / 4).astype(int)
    np.testing.assert_array_equal(scores[rows, columns], best.scores)
    assert best.scores[0] == np.nanmax(scores)
    distance = np.hypot(
        *(np.column_stack([best.rows, best.columns])[:, None] - np.column_stack([best.rows, best.columns])).T
    )
    assert (distance + 1e9 * np.eye(len(best.scores))).min() >= APART
    inside = [raster.source.grid.window_inside((x, y, x + 1e-3, y + 1e-3)) for x, y in job.places]
    assert None not in inside
    part = whole(
        SimilarJob(raster, Similarity.to(vectors[:1], vectors[1:]), Limits((501_000, 4_996_000, 503_000, 4_998_000)))
    )
    np.testing.assert_array_equal(part["values"][0], scores[50:100, 25:75])


def test_an_example_on_no_data_is_refused(featured):
    with pytest.raises(InputFault, match=r"scene\.tif: the place 500005, 4999995 lies on no data"):
        examples(featured.rasters[0], np.array([[500_005.0, 4_999_995.0]]))


def test_the_features_follow_from_what_is_given_and_from_the_raster(tmp_path):
    plain = RasterPixels(write_raster(tmp_path / "plain.tif", np.ones((3, 8, 8), np.uint8)))
    held = RasterPixels(write_raster(tmp_path / "held.tif", np.ones((64, 8, 8), np.int8)))
    assert choice_of("auto", None, plain) == FeatureChoice("texture")
    assert choice_of("auto", None, held) == FeatureChoice("raster")
    assert choice_of("auto", "m.onnx", held) == FeatureChoice("encoder", "m.onnx")
    assert choice_of("texture", "m.onnx", plain) == FeatureChoice("texture")
    with pytest.raises(InputFault, match="an encoder is needed"):
        choice_of("both", "", plain)


def test_a_fit_says_how_good_it_is_and_what_is_unlike_its_labels(featured):
    (raster,) = featured.rasters
    grid = raster.source.grid
    shapes = [box(row, column, row + 18, column + 18) for row in (101, 301) for column in (61, 161, 261, 361)]
    polygons = polygons_on(np.array([*shapes, box(-50, 0, -20, 20)]), pyproj.CRS(UTM), grid)
    labels = [Label(number, number % 2, polygons.only(number)) for number in range(9)]
    steps = []
    fitted = fit_model(featured, [labels], CLASSES, "l.gpkg", lambda step: steps.append(step) or GO)
    assert steps == ["labels", "accuracy"]
    report = fitted.report("crops")
    assert str(report.notes[0]) == "l.gpkg: 1 of 9 labels lie outside and do not count"
    assert any("nothing is labelled c" in str(note) for note in report.notes)
    numbers = report.as_dict()
    assert [entry["labels"] for entry in numbers["classes"]] == [4, 4, 0]
    assert numbers["classes"][2]["f1"] is None
    assert 0 < numbers["unlike_labels"][raster.source.where] <= 1
    text = report.as_text()
    assert "3 a" in text
    assert "bands and texture (red, green, blue)" in numbers["features"]
    assert report.as_html().count("<table>") == len(report.tables())
    classes = whole(fitted.job(raster))["classes"]
    assert set(np.unique(classes)) <= {3, 7, 255}
    with pytest.raises(InputFault, match=r"l\.gpkg: the labels that lie on the data of .*scene\.tif are all 'a'"):
        fit_model(featured, [labels[::2]], CLASSES, "l.gpkg")


def test_windows_of_the_seen_grid_without_data_take_no_time(featured, head):
    (raster,) = featured.rasters
    computed = []
    compute = raster.compute
    try:
        object.__setattr__(raster, "compute", lambda tiles, *more: computed.extend(tiles) or compute(tiles, *more))
        polygons = polygons_on(np.array([box(390, 500, 410, 527)]), pyproj.CRS(UTM), raster.source.grid)
        whole(MapJob(raster, head, CLASSES, Limits(None, polygons)))
    finally:
        del raster.__dict__["compute"]
    assert computed == [(1, 1)]
    assert raster.window((1, 1)) == Window(384, 384, 26, 143)

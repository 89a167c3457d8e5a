"""Features: the same whatever the tile, the order and the threads; the cache; what cannot be used is said."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy import ndimage

from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import Cancelled, InputFault
from export.runtime.learn.cache import FeatureCache
from export.runtime.learn.features import FeatureChoice, learn_features
from export.runtime.learn.place import FeatureRaster
from export.runtime.model.filters import filter_bank
from export.runtime.model.graph import Graph, HeadSession
from export.runtime.raster.window import Window
from export.runtime.results.pca import Directions, projection
from tests.conftest import write_raster

TEXTURE = FeatureChoice("texture")


def scenery(shape, seed=0, dtype=np.uint8):
    """Soft noise of several sizes, 1 to 255."""
    rng = np.random.default_rng(seed)
    bands = [ndimage.gaussian_filter(rng.normal(size=shape[1:]), 1 + 3 * (band % 3)) for band in range(shape[0])]
    image = np.stack([band / band.std() for band in bands]) + 0.5 * np.sin(np.arange(shape[2]) / 40)
    return np.clip(128 + 40 * image, 1, 255).astype(dtype)


def at_once(features, image):
    """The graph over a whole raster, laid out as its tiles, as (D, rows, columns) places of the raster."""
    model = onnx.load_from_string(features.graph)
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((2, "rows"), (3, "columns")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    border, factor, inner = features.border, features.factor, features.tile - 2 * features.border
    around = [(border, -(-size // inner) * inner - size + border) for size in image.shape[1:]]
    padded = np.pad(image.astype(np.float32), [(0, 0), *around], mode="edge")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (answer,) = session.run(None, {model.graph.input[0].name: padded[None]})
    first = border // factor - features.margin
    return answer[0, :, first:, first:].astype(np.uint8)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A raster of 2 x 3 tiles, whose last ones reach beyond it."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, scenery((3, 500, 910)))


@pytest.fixture(scope="module")
def learned(scene):
    return learn_features(TEXTURE, [RasterPixels(scene)])


def test_filters_are_what_scipy_computes():
    image = scenery((2, 96, 128)).astype(np.float32) / 64
    graph = Graph("image", ("batch", 2, 96, 128))
    stages = filter_bank(graph, "image", ("a", "b"))
    assert [stage.stride for stage in stages] == [4, 8, 16]
    found = {}
    for stage in stages:
        shape = ("batch", len(stage.names), 96 // stage.stride, 128 // stage.stride)
        answer = HeadSession(graph.to_bytes({"stage": (stage.tensor, shape)}))(image[None])[0]
        found |= dict(zip(stage.names, answer))

    def cells(band, size):
        return band.reshape(96 // size, size, 128 // size, size).swapaxes(1, 2)

    for number, name in enumerate("ab"):
        band = image[number].astype(np.float64)
        for size in (4, 8, 16):
            assert np.allclose(found[f"{name}: mean of {size} px"], cells(band, size).mean((2, 3)), atol=1e-4)
        for size in (4, 16):
            assert np.allclose(found[f"{name}: spread within {size} px"], cells(band, size).std((2, 3)), atol=1e-2)
        for size in (1, 2, 4, 8):
            level = cells(band, size).mean((2, 3))
            y, x = (ndimage.sobel(level, axis) / 8 for axis in (0, 1))

            def around(values, size=size):
                if size < 4:
                    side = 4 // size
                    return values.reshape(24, side, 32, side).mean((1, 3))
                return ndimage.uniform_filter(values, 3)

            tensor = np.array([[around(x * x), around(x * y)], [around(x * y), around(y * y)]]).transpose(2, 3, 0, 1)
            low, high = np.moveaxis(np.sqrt(2 * np.maximum(np.linalg.eigvalsh(tensor), 0)), -1, 0)
            middle = (slice(2, -2), slice(2, -2))  # the filters see 0 beyond the edge
            assert np.allclose(found[f"{name}: edges across, {size} px"][middle], high[middle], atol=2e-3)
            assert np.allclose(found[f"{name}: edges along, {size} px"][middle], low[middle], atol=5e-3)


def test_there_are_no_seams(scene, learned):
    raster = FeatureRaster(RasterPixels(scene), learned)
    whole = at_once(learned, scenery((3, 500, 910)))
    inner = raster.window((0, 0)).height // learned.factor
    assert raster.shape == (2, 3)
    for (row, column), record in raster.compute(raster.tiles()):
        held = raster.window((row, column))
        rows, columns = -(-held.height // 4) + 2, -(-held.width // 4) + 2
        expected = whole[:, row * inner :, column * inner :][:, :rows, :columns].astype(int)
        apart = np.abs(record[:, :rows, :columns] - expected)
        assert apart.max() <= 1  # where rounding falls either way
        assert (apart > 0).mean() < 1e-3
    raster.close()


def test_order_view_threads_and_reading_ahead_change_nothing(scene, learned):
    records = {}
    for threads, ahead in ((1, 0), (3, 4)):
        pixels = RasterPixels(scene)
        pixels.read_ahead = ahead
        raster = FeatureRaster(pixels, learned, threads=threads)
        for order in (raster.tiles(), raster.tiles()[::-1], raster.tiles(Window(300, 800, 90, 100))):
            raster._kept.clear()
            for tile, record in raster.compute(order):
                assert np.array_equal(records.setdefault(tile, record), record)
    assert len(records) == 6


def test_tiles_of_a_view_come_from_its_middle(scene, learned):
    raster = FeatureRaster(RasterPixels(scene), learned)
    assert raster.tiles(Window(390, 400, 20, 20)) == [(1, 1)]
    assert raster.tiles(Window(0, 350, 380, 400))[0] == (0, 1)
    assert sorted(raster.tiles()) == list(itertools.product(range(2), range(3)))
    assert raster.tiles(Window(2000, 0, 5, 5)) == []


def test_channels_are_half_white_and_fill_eight_bits(scene, learned):
    raster = FeatureRaster(RasterPixels(scene), learned)
    places = np.concatenate([r[:, 1:30, 1:30].reshape(len(r), -1) for _, r in raster.compute(raster.tiles())], axis=1)
    spread = places.std(axis=1)
    assert learned.channels == 16
    assert np.all(np.abs(places.mean(axis=1) - 128) < 8)
    assert 15 < spread[0] < 33
    assert np.all(spread[1:] < spread[:-1] * 1.4)
    assert spread[-1] > 1.5
    correlation = np.corrcoef(places[:8])
    assert np.abs(correlation - np.eye(8)).max() < 0.35
    assert places.min() >= 1


def test_features_at_pixels_are_those_of_resized_records(scene, learned):
    raster = FeatureRaster(RasterPixels(scene), learned)
    graph = Graph("features", ("batch", 16, 98, 98))
    scales = np.array([1, 1, 4, 4], np.float32)
    name = graph.node("Resize", "features", "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    resize = HeadSession(graph.to_bytes({"features": (name, ("batch", 16, 392, 392))}))
    rows, columns = (axis.ravel() for axis in np.mgrid[0:500:37, 0:910:41])
    found = raster.at(rows, columns)
    for tile, record in raster.compute(raster.tiles()):
        held = raster.window(tile)
        full = resize(record[None].astype(np.float32))[0]
        inside = (rows // 384 == tile[0]) & (columns // 384 == tile[1])
        expected = full[:, rows[inside] - held.row + 4, columns[inside] - held.column + 4].T
        assert inside.any()
        assert np.allclose(found[inside], expected, atol=1e-3)
    with pytest.raises(IndexError):
        raster.at(np.array([500]), np.array([0]))


def test_the_sample_and_the_graph_are_the_same_each_time(scene, learned):
    assert learn_features(TEXTURE, [RasterPixels(scene)]).key == learned.key
    two = [RasterPixels(scene) for _ in range(2)]
    assert learn_features(TEXTURE, two).key == learn_features(TEXTURE, two).key


def test_several_rasters_share_one_sample(tmp_path, scene):
    other = write_raster(tmp_path / "other.tif", scenery((3, 400, 400), seed=5)[::-1] // 2 + 1)
    both = learn_features(TEXTURE, [RasterPixels(scene), RasterPixels(other)])
    for path in (scene, other):
        raster = FeatureRaster(RasterPixels(path), both)
        assert raster.record((0, 0)).std() > 5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_bands_and_types(tmp_path, dtype, count):
    image = scenery((count, 130, 150)).astype(dtype)
    features = learn_features(TEXTURE, [RasterPixels(write_raster(tmp_path / "a.tif", image))])
    raster = FeatureRaster(RasterPixels(tmp_path / "a.tif"), features)
    assert 4 <= features.channels <= 16
    assert raster.record((0, 0)).shape == (features.channels, 98, 98)
    assert raster.record((0, 0)).min() >= 1
    assert len(features.card.bands) == count


def test_flat_and_tiny_rasters_have_features_too(tmp_path):
    for name, image in (("flat", np.full((3, 40, 50), 7, np.uint8)), ("tiny", scenery((3, 3, 2)))):
        path = write_raster(tmp_path / f"{name}.tif", image)
        features = learn_features(TEXTURE, [RasterPixels(path)])
        assert 1 <= features.channels <= 16
        assert FeatureRaster(RasterPixels(path), features).at(np.array([1]), np.array([1])).shape == (
            1,
            features.channels,
        )


def test_gaps_are_the_rasters_and_empty_tiles_are_zero(tmp_path, scene, learned):
    image = scenery((3, 500, 910))
    image[:, :, 384:] = 0
    image[:, 100:120, 30:60] = 0
    raster = FeatureRaster(RasterPixels(write_raster(tmp_path / "gaps.tif", image, nodata=0)), learned)
    assert not raster.record((0, 1)).any()
    assert raster.record((0, 0)).min() >= 1
    seen = raster.valid(Window(-10, -20, 600, 1000))
    expected = np.zeros((600, 1000), bool)
    expected[10:510, 20:930] = (image != 0).all(axis=0)
    assert np.array_equal(seen, expected)


def test_a_raster_without_data_is_refused(tmp_path):
    path = write_raster(tmp_path / "empty.tif", np.zeros((3, 50, 50), np.uint8), nodata=0)
    with pytest.raises(InputFault) as caught:
        learn_features(TEXTURE, [RasterPixels(path)])
    assert caught.value.message.kind == "features_no_data"
    assert "empty.tif" in str(caught.value)


def test_computing_can_be_cancelled_and_closed(scene, learned):
    raster = FeatureRaster(RasterPixels(scene), learned, threads=2)
    with pytest.raises(Cancelled):
        list(raster.compute(raster.tiles(), lambda done, total: done < 2))
    first, second = raster.compute(raster.tiles()), raster.compute(raster.tiles()[::-1])
    pairs = [next(first), next(second), next(first), next(second)]
    first.close()
    assert len(list(second)) == 4
    assert all(np.array_equal(raster.record(tile), record) for tile, record in pairs)


def test_memory_holds_only_some_records(scene, learned, monkeypatch):
    monkeypatch.setattr("export.runtime.learn.place._MEMORY", 2 * 16 * 98 * 98)
    raster = FeatureRaster(RasterPixels(scene), learned)
    list(raster.compute(raster.tiles()))
    assert len(raster._kept) == 2


def test_parts_of_many_and_of_few_channels_count_alike():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0, 5, (1, 40, 50)), rng.normal(0, 1, (1, 40, 50))
    values = np.concatenate([few, np.repeat(many, 60, axis=0)])
    directions = Directions(61)
    directions.add(values, np.ones((40, 50), bool))
    weights, bias = projection(directions, 2, 24.0, (1, 60))
    found = np.tensordot(weights, values, 1) + bias[:, None, None]
    np.testing.assert_allclose(found.std(axis=(1, 2)), 24, rtol=0.05)  # two directions of the same weight
    alike, _ = projection(directions, 2, 24.0, (61,))
    np.testing.assert_allclose(np.tensordot(alike, values, 1).std(axis=(1, 2)), [24, 24 * 60**-0.25], rtol=0.05)
    left, _ = projection(directions, 2, 24.0, None)
    np.testing.assert_allclose(np.tensordot(left, values, 1).std(axis=(1, 2)), [24, 24 * (25 / 60) ** 0.25], rtol=0.05)


def test_single_pixels_of_data_are_enough(tmp_path):
    image = scenery((3, 200, 200))
    kept = np.zeros((200, 200), bool)
    kept[5::40, 7::40] = True
    path = write_raster(tmp_path / "few.tif", np.where(kept, image, 0), nodata=0)
    features = learn_features(TEXTURE, [RasterPixels(path)])
    raster = FeatureRaster(RasterPixels(path), features)
    assert raster.record((0, 0)).min() >= 1
    assert np.array_equal(raster.valid(raster.layout.seen.whole), kept)


def test_of_a_slow_service_few_tiles_are_read(tmp_path, scene):
    class Service(RasterPixels):
        sampled, read_ahead = False, 0

        def read(self, bands, window):
            asked.append(window)
            return super().read(bands, window)

    asked = []
    features = learn_features(TEXTURE, [Service(scene)])
    assert len(asked) <= 8
    raster = FeatureRaster(Service(scene), features, FeatureCache(tmp_path))
    before = len(asked)
    raster.record((0, 0))
    assert len(asked) == before + 1

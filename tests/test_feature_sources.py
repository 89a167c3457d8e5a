"""Where features come from: encoders of all kinds, encoders with filters, and rasters that already hold features."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault, ModelFault
from export.runtime.infer.holding import holding_of
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice
from export.runtime.learn.features import STEPS, FeatureChoice, learn_features
from export.runtime.learn.place import FeatureRaster
from tests.conftest import write_raster
from tests.models import card_item, given_card, write_graph, write_model
from tests.test_features import at_once, scenery

FLOAT = TensorProto.FLOAT
RASTER = FeatureChoice("raster")


def conv(channels, bands, size, seed=0, scale=0.02):
    return np.random.default_rng(seed).normal(0, scale, (channels, bands, size, size)).astype(np.float32)


def encoder_item(tile, **properties):
    item = card_item(classes=(), tile_size=tile, task="similarity-search")
    item["properties"] |= properties
    return item


def write_encoder(path, tile=256, stride=4, channels=24, **properties):
    """One convolution of 2 x 2 cells at a stride; its own padding is 0."""
    nodes = [("Conv", ["image", "kernel"], ["features"], {"strides": [stride, stride], "pads": [0, 0, stride, stride]})]
    side = tile // stride
    outputs = {"features": (FLOAT, ["batch", channels, side, side])}
    metadata = {"mlm": json.dumps(encoder_item(tile, **properties))}
    weights = {"kernel": conv(channels, 3, 2 * stride)}
    return write_graph(path, nodes, outputs, weights, ("batch", 3, tile, tile), metadata)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", scenery((3, 330, 420)))


def learned(path, scene, kind="encoder"):
    return learn_features(FeatureChoice(kind, path), [RasterPixels(scene)])


def seams(features, scene, image):
    """The largest difference of records from the graph over the whole raster at once."""
    raster, whole, worst = FeatureRaster(RasterPixels(scene), features), at_once(features, image), 0
    for (row, column), record in raster.compute(raster.tiles()):
        held, inner = raster.window((row, column)), (features.tile - 2 * features.border) // features.factor
        rows, columns = (-(-side // features.factor) + 2 * features.margin for side in (held.height, held.width))
        expected = whole[:, row * inner :, column * inner :][:, :rows, :columns].astype(int)
        worst = max(worst, np.abs(record[:, :rows, :columns] - expected).max())
    return worst


@pytest.mark.parametrize("kind", ["encoder", "both"])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_an_encoder_with_a_stated_border_has_no_seams(tmp_path, scene, kind, stride):
    path = write_encoder(tmp_path / "m.onnx", stride=stride, **{"geoaware:border": 32})
    features = learned(path, scene, kind)
    assert features.exact
    assert (features.tile, features.factor) == (256, 4)
    assert features.border == (32 if kind == "encoder" else 64)
    assert features.channels == 16 if kind == "both" else 8 <= features.channels <= 16
    assert seams(features, scene, scenery((3, 330, 420))) <= 1


def test_named_stages_are_projected_each_at_its_stride(tmp_path, scene):
    nodes = [
        ("Conv", ["image", "fine"], ["stride_4"], {"strides": [4, 4]}),
        ("Conv", ["image", "coarse"], ["stride_16"], {"strides": [16, 16]}),
        ("Constant", [], ["scales"], {"value_floats": [1.0, 1.0, 4.0, 4.0]}),
        (
            "Resize",
            ["stride_16", "", "scales"],
            ["up"],
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        ),
        ("Concat", ["stride_4", "up"], ["features"], {"axis": 1}),
    ]
    weights = {"fine": conv(6, 3, 4), "coarse": conv(5, 3, 16, 1)}
    outputs = {"features": (FLOAT, ["batch", 11, 64, 64])}
    channels = [
        {"tensor": "stride_4", "stride": 4, "first": 0, "count": 6},
        {"tensor": "stride_16", "stride": 16, "first": 6, "count": 5},
    ]
    stated = {"geoaware:border": 32}
    paths = [tmp_path / "named.onnx", tmp_path / "plain.onnx"]
    for path, more in zip(paths, ({"geoaware:channels": channels}, {})):
        metadata = {"mlm": json.dumps(encoder_item(256, **stated, **more))}
        write_graph(path, nodes, outputs, weights, ("batch", 3, 256, 256), metadata)
    named, plain = (learned(path, scene) for path in paths)
    assert b"stride_16" in named.graph
    assert len(named.graph) < len(plain.graph) + 200
    records = [FeatureRaster(RasterPixels(scene), one).record((0, 0)).reshape(11, -1).T for one in (named, plain)]
    x, y = np.c_[records[0], np.ones(len(records[0]))], records[1]
    fit, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert (y - x @ fit).var() < 0.01 * y.var()  # the same but for how much a stage counts
    assert seams(named, scene, scenery((3, 330, 420))) <= 1


def test_an_encoder_without_a_border_leaves_an_eighth(tmp_path, scene):
    features = learned(write_encoder(tmp_path / "m.onnx", stride=16), scene)
    assert not features.exact
    assert features.border == 32


def test_an_encoder_of_any_size_and_odd_stride(tmp_path, scene):
    nodes = [
        ("SpaceToDepth", ["image"], ["patches"], {"blocksize": 14}),
        ("Conv", ["patches", "kernel"], ["features"], {}),
    ]
    outputs = {"features": (FLOAT, ["batch", 5, "rows", "columns"])}
    metadata = {"mlm": json.dumps(encoder_item(-1))}
    path = write_graph(
        tmp_path / "m.onnx", nodes, outputs, {"kernel": conv(5, 588, 1)}, ("batch", 3, "rows", "columns"), metadata
    )
    features = learned(path, scene)
    assert features.factor == 4
    assert features.tile % 28 == features.border % 28 == 0
    assert FeatureRaster(RasterPixels(scene), features).record((0, 0)).min() >= 1


def test_integers_and_a_hosts_scaling_are_inside_the_graph(tmp_path, scene):
    nodes = [
        ("Cast", ["image"], ["real"], {"to": FLOAT}),
        ("Conv", ["real", "kernel"], ["features"], {"strides": [4, 4]}),
    ]
    outputs = {"features": (FLOAT, ["batch", 7, 64, 64])}
    path = write_graph(
        tmp_path / "m.onnx", nodes, outputs, {"kernel": conv(7, 3, 4)}, ("batch", 3, 256, 256), {}, TensorProto.UINT8
    )
    scale = {"divisor": 2.0, "mean": [3.0] * 3, "std": [0.5] * 3}
    card = given_card(task="embedding", classes=None, tile_size=256, border=32, overlap=64, scale=scale)
    path.with_suffix(".card.json").write_text(json.dumps(card))
    features = learned(path, scene)
    image = scenery((3, 330, 420))
    session = onnxruntime.InferenceSession(features.graph)
    (answer,) = session.run(None, {session.get_inputs()[0].name: image[None, :, :256, :256].astype(np.float32)})
    scaled = np.clip(np.rint((image[:, :256, :256].astype(np.float32) / 2 - 3) / np.float32(0.5)), 0, 255)
    (own,) = onnxruntime.InferenceSession(str(path)).run(None, {"image": scaled[None].astype(np.uint8)})
    x = own[0].reshape(7, -1).T.astype(np.float64)
    y = answer[0].reshape(features.channels, -1).T
    inside = (y > 1).all(axis=1) & (y < 255).all(axis=1)
    fit, *_ = np.linalg.lstsq(np.c_[x, np.ones(len(x))][inside], y[inside], rcond=None)
    assert np.abs(np.c_[x, np.ones(len(x))][inside] @ fit - y[inside]).max() <= 0.75  # rounded


def test_models_that_give_no_features_of_places_are_refused(tmp_path, scene):
    segmentation = write_model(tmp_path / "seg.onnx", conv(3, 3, 3))
    nodes = [("GlobalAveragePool", ["image"], ["features"], {})]
    once = write_graph(
        tmp_path / "once.onnx", nodes, {"features": (FLOAT, ["batch", 3, 1, 1])}, {}, ("batch", 3, 64, 64),
        {"mlm": json.dumps(encoder_item(64))},
    )  # fmt: skip
    small = write_encoder(tmp_path / "small.onnx", tile=64, stride=32)
    for path, kind in ((segmentation, "features_of_task"), (once, "features_once"), (small, "features_tile")):
        with pytest.raises(ModelFault) as caught:
            learned(path, scene)
        assert caught.value.message.kind == kind
        assert path.name in str(caught.value)


def test_a_choice_needs_a_model_or_none():
    for kind, model in (("texture", "m.onnx"), ("encoder", None), ("raster", "m.onnx"), ("colours", None)):
        with pytest.raises(ValueError, match=kind):
            FeatureChoice(kind, model)


def described(path, image, names, **profile):
    write_raster(path, image, **profile)
    import rasterio

    with rasterio.open(path, "r+") as target:
        target.descriptions = names
    return path


def explained(features, path, values):
    """How much of the spread of values (C, rows, columns) linear combinations of a raster's features explain."""
    rows, columns = (axis.ravel() for axis in np.indices(values.shape[1:]))
    found = FeatureRaster(RasterPixels(path), features).at(rows, columns)
    x = np.c_[found, np.ones(len(found))]
    y = values.reshape(len(values), -1).T
    kept = np.isfinite(y).all(axis=1)
    fit, *_ = np.linalg.lstsq(x[kept], y[kept], rcond=None)
    return 1 - (y[kept] - x[kept] @ fit).var() / y[kept].var()


def unit_vectors(channels, shape=(40, 50), rank=8, seed=3):
    """(C, rows, columns) soft vectors of length 1 in few directions."""
    rng = np.random.default_rng(seed)
    values = np.einsum(
        "cr,ryx->cyx", rng.normal(size=(channels, rank)), scenery((rank, *shape), seed).astype(float) - 128
    )
    return values / np.linalg.norm(values, axis=0)


def test_alphaearth_bytes_are_read_by_their_rule(tmp_path):
    values = unit_vectors(64)
    stored = np.rint(np.sign(values) * np.sqrt(np.abs(values)) * 127.5).clip(-127, 127).astype(np.int8)
    stored[:, :5, :7] = -128
    path = described(tmp_path / "ae.tif", stored, [f"A{number:02}" for number in range(64)])
    pixels = RasterPixels(path)
    assert (holding_of(pixels).rule, holding_of(pixels).known) == ("square", True)
    features = learn_features(RASTER, [pixels])
    assert "AlphaEarth" in str(features.notes[0])
    assert features.channels <= 32
    raster = FeatureRaster(RasterPixels(path), features)
    assert not raster.valid(raster.layout.seen.whole)[:5, :7].any()
    assert raster.valid(raster.layout.seen.whole).sum() == 40 * 50 - 35
    meant = (stored / 127.5) ** 2 * np.sign(stored)
    meant[:, :5, :7] = np.nan
    assert explained(features, path, meant) > 0.97


def test_tessera_is_multiplied_by_the_scale_of_each_pixel(tmp_path):
    values = unit_vectors(128) * np.linspace(1, 40, 50)
    scale = np.abs(values).max(axis=0) / 127
    stored = np.rint(values / scale)
    names = [f"Tessera_Band_{number}" for number in range(128)]
    with_scale = described(
        tmp_path / "scaled.tif", np.concatenate([stored, scale[None]]).astype(np.float32), [*names, "scale"]
    )
    real = described(tmp_path / "real.tif", (stored * scale).astype(np.float32), names)
    bare = write_raster(tmp_path / "bare.tif", stored.astype(np.int8))
    rules = {path.stem: holding_of(RasterPixels(path)).rule for path in (with_scale, real, bare)}
    assert rules == {"scaled": "scale", "real": "", "bare": "direction"}
    for path, meant in ((with_scale, values), (real, values), (bare, unit_vectors(128))):
        features = learn_features(RASTER, [RasterPixels(path)])
        assert "TESSERA" in str(features.notes[0])
        assert explained(features, path, meant) > 0.97


def test_the_output_of_embedding_and_any_other_raster(tmp_path):
    values = unit_vectors(12).astype(np.float32)
    values[:, 3, 4] = np.nan
    own = described(tmp_path / "own.tif", values, [f"value {number}" for number in range(1, 13)], nodata=np.nan)
    assert holding_of(RasterPixels(own)).note.kind == "holds_embedding"
    other = write_raster(tmp_path / "rgb.tif", scenery((3, 40, 50)))
    assert not holding_of(RasterPixels(other)).known
    for path, meant in ((own, values), (other, scenery((3, 40, 50)).astype(float))):
        features = learn_features(RASTER, [RasterPixels(path)])
        assert (features.factor, features.margin, features.border) == (1, 0, 0)
        assert explained(features, path, meant) > 0.97


def test_chosen_bands_of_a_product_are_taken_as_they_are(tmp_path):
    path = write_raster(tmp_path / "ae.tif", scenery((64, 30, 30)).astype(np.int8))
    features = learn_features(RASTER, [RasterPixels(path)], Options(Choice(bands=(3, 1))))
    assert len(features.card.bands) == 2
    assert features.notes[0].kind == "holds_features"


def test_spread_of_the_first_channel_is_stated(tmp_path, scene):
    raster = FeatureRaster(RasterPixels(scene), learn_features(FeatureChoice("texture"), [RasterPixels(scene)]))
    assert raster.record((0, 0))[0].std() == pytest.approx(STEPS, rel=0.5)


def test_bands_that_are_missing_in_another_raster_are_said(tmp_path, scene):
    features = learn_features(FeatureChoice("texture"), [RasterPixels(scene)])
    other = write_raster(tmp_path / "one.tif", scenery((1, 40, 50)))
    with pytest.raises(InputFault) as caught:
        FeatureRaster(RasterPixels(other), features)
    assert caught.value.message.kind == "too_few_bands"

"""Models that others made: their cards, their outputs, their shapes."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from export.runtime.errors import InputFault, ModelFault
from export.runtime.infer.sweep import Scan, Sweep, sweep
from export.runtime.model.guard import read_header
from export.runtime.model.read_card import card_of_file
from export.runtime.model.session import Model
from tests.models import card_item, given_card, write_given, write_graph, write_model, write_strongest_band

ROOT = Path(__file__).parents[1]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
STRONGEST = np.array([3, 7, 12], np.uint8)
SCALED = ("Mul", ["image", "tenth"], ["logits"], {})
TENTH = {"tenth": np.float32(0.1)}


def image_of(shape: tuple[int, ...] = (3, 50, 70), seed: int = 0) -> np.ndarray:
    """Noise of 8 bits in which no two bands of a pixel are equal."""
    noise = np.random.default_rng(seed).integers(0, 85, shape) * 3
    return (noise + np.arange(shape[0])[:, None, None]).astype(np.uint8)


def reader(image: np.ndarray, valid: np.ndarray | None = None):
    """``read`` for an image in memory, which refuses windows that leave it."""
    valid = np.ones(image.shape[1:], bool) if valid is None else valid

    def read(window):
        rows, columns = window.row + window.height, window.column + window.width
        assert min(window.row, window.column) >= 0
        assert rows <= image.shape[1]
        assert columns <= image.shape[2]
        where = (slice(window.row, rows), slice(window.column, columns))
        return image[(slice(None), *where)], valid[where]

    return read


def swept(
    model: Model, image: np.ndarray, valid: np.ndarray | None = None, touches=lambda window: True, colours=8, **options
):
    """(classes, confidence, values, valid) of a whole image; what the model does not give is None."""
    scan = Scan(model, reader(image, valid), *image.shape[1:], Sweep(**options), touches=touches, colours=colours)
    parts = list(sweep(scan))
    fields = []
    for name, axis in (("classes", 0), ("confidence", 0), ("values", 1), ("valid", 0)):
        arrays = [getattr(part, name) for part in parts]
        fields.append(None if arrays[0] is None else np.concatenate(arrays, axis=axis))
    return fields


def dense(path: Path, nodes: list, weights: dict | None = None, channels: int = 3, side: object = 32, **card) -> Path:
    """A model with one pixel-wise output and a card beside it."""
    outputs = {"out": (FLOAT, ["batch", channels, side, side])}
    return write_given(write_graph(path, nodes, outputs, {**TENTH, **(weights or {})}), **card)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_softmax_gives_the_strongest_class_with_its_probability(tmp_path, activation):
    nodes = [SCALED, ("Softmax", ["logits"], ["out"], {"axis": 1})]
    image = image_of()
    model = Model(dense(tmp_path / "m.onnx", nodes, activation=activation))
    classes, confidence, _, _ = swept(model, image)
    assert (model.card.activation, model.card.source) == ("softmax", "given")
    exp = np.exp(image * 0.1)
    np.testing.assert_array_equal(classes, STRONGEST[image.argmax(axis=0)])
    assert np.abs(confidence - 100 * exp.max(axis=0) / exp.sum(axis=0)).max() <= 0.51


@pytest.mark.parametrize("activation", ["logits", None])
def test_logits_become_probabilities(tmp_path, activation):
    image = image_of()
    nodes = [SCALED, ("Identity", ["logits"], ["out"], {})]
    same = [SCALED, ("Softmax", ["logits"], ["out"], {"axis": 1})]
    found = swept(Model(dense(tmp_path / "a.onnx", nodes, activation=activation)), image)
    expected = swept(Model(dense(tmp_path / "b.onnx", same, activation="softmax")), image)
    np.testing.assert_array_equal(found[0], expected[0])
    assert np.abs(found[1].astype(int) - expected[1]).max() <= 1


@pytest.mark.parametrize("rank", [3, 4])
def test_one_sigmoid_channel_tells_two_classes(tmp_path, rank):
    squeeze = [("Squeeze", ["p", "axis"], ["out"], {})] if rank == 3 else [("Identity", ["p"], ["out"], {})]
    nodes = [
        ("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": 1}),
        ("Div", ["mean", "top"], ["p"], {}),
        *squeeze,
    ]
    weights = {"top": np.float32(255), "axis": np.array([1])}
    shape = ["batch", 1, 32, 32] if rank == 4 else ["batch", 32, 32]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (FLOAT, shape)}, weights)
    write_given(path, classes=["land", "water"], activation="sigmoid", threshold=0.4)
    image = image_of()
    classes, confidence, values, _ = swept(Model(path), image, probabilities=True)
    share = image.mean(axis=0) / 255
    clear = np.abs(share - 0.4) > 1e-5
    np.testing.assert_array_equal(classes[clear], (share >= 0.4)[clear])
    np.testing.assert_allclose(values[0], share, atol=1e-5)
    assert np.abs(confidence - 100 * np.where(share >= 0.4, share, 1 - share)).max() <= 0.51


def test_many_sigmoid_channels_may_say_none_of_them(tmp_path):
    nodes = [("Div", ["image", "top"], ["out"], {})]
    path = dense(tmp_path / "m.onnx", nodes, {"top": np.float32(255)}, classes=["none", "a", "b", "c"])
    model = Model(path)
    assert model.card.activation == "sigmoid"
    image = image_of()
    best = image.max(axis=0) / 255
    np.testing.assert_array_equal(swept(model, image)[0], np.where(best >= 0.5, image.argmax(axis=0) + 1, 0))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_class_numbers_are_voted_on_not_averaged(tmp_path, keepdims):
    nodes = [
        ("ArgMax", ["image"], ["number"], {"axis": 1, "keepdims": keepdims}),
        ("Gather", ["values", "number"], ["out"], {}),
    ]
    shape = ["batch", 1, 32, 32] if keepdims else ["batch", 32, 32]
    weights = {"values": STRONGEST.astype(np.int64)}
    path = write_given(write_graph(tmp_path / "m.onnx", nodes, {"out": (INT64, shape)}, weights))
    model = Model(path)
    assert model.card.activation == "classes"
    image = image_of()
    classes, confidence, _, _ = swept(model, image)
    np.testing.assert_array_equal(classes, STRONGEST[image.argmax(axis=0)])
    assert (confidence == 100).all()


def test_a_class_number_that_the_card_does_not_name_is_told(tmp_path):
    nodes = [("ArgMax", ["image"], ["out"], {"axis": 1})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (INT64, ["batch", 1, 32, 32])})
    with pytest.raises(ModelFault, match="the class 0, which its card does not name"):
        swept(Model(write_given(path)), image_of())


@pytest.mark.parametrize("factor", [2, 4])
def test_an_output_smaller_by_a_factor_is_spread_over_its_pixels(tmp_path, factor):
    nodes = [SCALED, ("AveragePool", ["logits"], ["out"], {"kernel_shape": [factor] * 2, "strides": [factor] * 2})]
    path = dense(tmp_path / "m.onnx", nodes, side=32 // factor, activation="logits", overlap=8)
    image = image_of((3, 64 - 8, 32))  # tiles begin at multiples of the factor
    model = Model(path)
    assert (model.factor, model.border) == (factor, 0)
    blocks = image.reshape(3, 56 // factor, factor, 32 // factor, factor).mean(axis=(2, 4)).argmax(axis=0)
    found = swept(model, image)[0]
    np.testing.assert_array_equal(found, STRONGEST[blocks.repeat(factor, 0).repeat(factor, 1)])


def test_an_output_without_its_border_still_covers_the_raster(tmp_path):
    kernel = np.zeros((3, 3, 7, 7), np.float32)
    kernel[range(3), range(3), 3, 3] = 0.1
    nodes = [("Conv", ["image", "kernel"], ["out"], {})]
    path = dense(tmp_path / "m.onnx", nodes, {"kernel": kernel}, side=26, activation="logits")
    image = image_of((3, 71, 45))
    model = Model(path)
    assert (model.factor, model.border) == (1, 3)
    np.testing.assert_array_equal(swept(model, image)[0], STRONGEST[image.argmax(axis=0)])


def test_outputs_are_chosen_by_name(tmp_path):
    nodes = [SCALED, ("Identity", ["logits"], ["day"], {}), ("Neg", ["logits"], ["night"], {})]
    shape = (FLOAT, ["batch", 3, 32, 32])
    path = write_given(write_graph(tmp_path / "m.onnx", nodes, {"day": shape, "night": shape}, TENTH))
    image, model = image_of(), Model(path)
    first, second = swept(model, image)[0], swept(model, image, output="night")[0]
    np.testing.assert_array_equal(first, STRONGEST[image.argmax(axis=0)])
    np.testing.assert_array_equal(second, STRONGEST[image.argmin(axis=0)])
    np.testing.assert_array_equal(swept(Model(path, output="night"), image)[0], second)
    with pytest.raises(ModelFault, match="no output 'dusk'; it has day, night"):
        swept(model, image, output="dusk")


@pytest.mark.parametrize("batch", [1, 3, "batch"])
@pytest.mark.parametrize("side", [32, "free"])
def test_fixed_and_free_shapes_give_the_same_bits(tmp_path, batch, side):
    kernel = np.random.default_rng(1).normal(0, 0.01, (3, 3, 3, 3)).astype(np.float32)
    nodes = [("Conv", ["image", "kernel"], ["out"], {"pads": [1, 1, 1, 1]})]

    def made(name: str, shape: tuple) -> Model:
        output = {"out": (FLOAT, [shape[0], 3, *shape[2:]])}
        path = write_graph(tmp_path / name, nodes, output, {"kernel": kernel}, shape)
        return Model(write_given(path, activation="logits"), "cpu")

    image = image_of((3, 75, 90))
    found = swept(made("a.onnx", (batch, 3, side, side)), image, probabilities=True)
    expected = swept(made("b.onnx", (1, 3, 32, 32)), image, probabilities=True)
    for left, right in zip(found, expected):
        np.testing.assert_array_equal(left, right)


def test_a_free_size_without_a_card_size_runs_large_tiles_but_none_larger_than_the_raster(tmp_path):
    nodes = [SCALED, ("Identity", ["logits"], ["out"], {})]
    path = write_graph(
        tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["b", 3, "h", "w"])}, TENTH, ("batch", 3, "rows", "columns")
    )
    model = Model(write_given(path, tile_size=None, overlap=None))
    assert model.card.tile_size >= 256
    assert 0 < model.card.overlap < model.card.tile_size
    image = image_of((3, 50, 70))
    assert model.sized(70).card.tile_size == 96
    np.testing.assert_array_equal(swept(model, image)[0], STRONGEST[image.argmax(axis=0)])


def patches(path: Path, patch: int, **card) -> Path:
    """A model of free size that cuts a tile into patches and joins them again: they must divide its size."""
    nodes = [
        ("SpaceToDepth", ["image"], ["cut"], {"blocksize": patch}),
        ("DepthToSpace", ["cut"], ["joined"], {"blocksize": patch}),
        ("Mul", ["joined", "tenth"], ["out"], {}),
    ]
    path = write_graph(path, nodes, {"out": (FLOAT, ["b", 3, "h", "w"])}, TENTH, ("b", 3, "h", "w"))
    return write_given(path, activation="logits", **card)


@pytest.mark.parametrize("tile", [None, "stated"])
@pytest.mark.parametrize("patch", [8, 14, 16, 18, 24, 48, 64, 100])
@pytest.mark.parametrize("shape", [(3, 90, 70), (3, 5, 600)])
def test_patches_that_must_divide_the_tile_run_on_rasters_of_any_size(tmp_path, patch, tile, shape):
    given = {"tile_size": 5 * patch, "overlap": patch // 2} if tile else {"tile_size": None, "overlap": None}
    model, image = Model(patches(tmp_path / "m.onnx", patch, **given), "cpu", threads=1), image_of(shape)
    assert model.card.tile_size % patch == 0
    if tile:
        assert model.sized(70).card.tile_size == 5 * patch
    np.testing.assert_array_equal(swept(model, image)[0], STRONGEST[image.argmax(axis=0)])


def test_a_border_of_a_quarter_of_a_tile_is_not_taken_for_a_fraction(tmp_path):
    image = image_of((3, 60, 50))
    nodes = [("AveragePool", ["image"], ["out"], {"kernel_shape": [33, 33]})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["b", 3, "h", "w"])}, image=("b", 3, "r", "c"))
    model = Model(write_given(path, activation="logits", tile_size=None, overlap=None), "cpu", threads=1)
    assert (model.border, model.factor) == (16, 1)
    padded = np.pad(image, ((0, 0), (16, 16), (16, 16)), mode="edge").astype(np.float32)
    mean = np.lib.stride_tricks.sliding_window_view(padded, (33, 33), axis=(1, 2)).mean(axis=(3, 4))
    _, _, values, _ = swept(model, image, probabilities=True)
    shares = np.exp(mean - mean.max(axis=0))
    np.testing.assert_allclose(values, shares / shares.sum(axis=0), atol=1e-4)


def test_a_model_of_free_size_that_takes_one_size_alone_runs_at_it(tmp_path):
    nodes = [("Add", ["image", "positions"], ["out"], {})]
    positions = {"positions": np.zeros((1, 3, 224, 224), np.float32)}
    path = write_graph(
        tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["b", 3, "h", "w"])}, positions, ("b", 3, "rows", "columns")
    )
    model, image = Model(write_given(path, tile_size=None, overlap=None), "cpu", threads=1), image_of()
    assert (model.card.tile_size, model.sized(50).card.tile_size) == (224, 224)
    np.testing.assert_array_equal(swept(model, image)[0], STRONGEST[image.argmax(axis=0)])


@pytest.mark.parametrize(("patch", "tile"), [(14, 100), (1000, None)])
def test_a_tile_size_that_a_graph_does_not_take_is_told_with_the_remedy(tmp_path, patch, tile):
    path = patches(tmp_path / "m.onnx", patch, tile_size=tile, overlap=None)
    expected = (
        "tiles of 100 px, the tile_size of its card" if tile else "none of the usual sizes .* state its tile_size"
    )
    with pytest.raises(ModelFault, match=expected) as caught:
        Model(path, "cpu", threads=1)
    assert "\n" not in str(caught.value)


def test_more_than_255_classes_are_stored_in_16_bits(tmp_path):
    kernel = np.zeros((300, 3, 1, 1), np.float32)
    kernel[299, 0], kernel[256, 1], kernel[5, 2] = 1, 1, 1
    path = dense(
        tmp_path / "m.onnx",
        [("Conv", ["image", "kernel"], ["out"], {})],
        {"kernel": kernel},
        channels=300,
        classes=[f"class {n}" for n in range(300)],
    )
    image, valid = image_of((3, 40, 40)), np.ones((40, 40), bool)
    valid[:5] = False
    classes = swept(Model(path), image, valid)[0]
    assert classes.dtype == np.uint16
    np.testing.assert_array_equal(classes[5:], np.array([299, 256, 5])[image.argmax(axis=0)][5:])
    assert (classes[:5] == 65535).all()


def test_a_regression_stays_float(tmp_path):
    nodes = [("ReduceMean", ["image"], ["out"], {"axes": [1], "keepdims": 1})]
    path = dense(tmp_path / "m.onnx", nodes, channels=1, task="regression", classes=None, factor=0.01)
    image, valid = image_of(), np.ones((50, 70), bool)
    valid[10:20] = False
    classes, confidence, values, _ = swept(Model(path), image, valid)
    assert classes is None
    assert confidence is None
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0][valid], image.mean(axis=0)[valid] / 100, rtol=1e-5)
    assert np.isnan(values[0][~valid]).all()


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT16, TensorProto.FLOAT16])
def test_an_input_of_integers_gets_integers(tmp_path, kind):
    nodes = [("Cast", ["image"], ["f"], {"to": FLOAT}), ("Mul", ["f", "tenth"], ["out"], {})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["b", 3, 32, 32])}, TENTH, kind=kind)
    image = image_of()
    classes = swept(Model(write_given(path)), image)[0]
    np.testing.assert_array_equal(classes, STRONGEST[image.argmax(axis=0)])


@pytest.mark.parametrize("activation", ["softmax", "logits"])
def test_where_a_model_gives_no_number_there_is_no_answer(tmp_path, activation):
    nodes = [("Log", ["image"], ["out"], {})]  # -inf of 0, NaN below
    path = dense(tmp_path / "m.onnx", nodes, activation=activation)
    image = image_of().astype(np.float32) + 1
    image[:, 20, 30] = -1
    classes, confidence, values, valid = swept(Model(path), image, probabilities=True)
    assert np.argwhere(~valid).tolist() == [[20, 30]]
    assert (classes[20, 30], confidence[20, 30]) == (255, 255)
    assert np.isfinite(values[:, valid]).all()


# Deepness


def deepness(path: Path, nodes: list, weights: dict, channels: int = 3, **keys) -> Path:
    metadata = {key: json.dumps(value) for key, value in keys.items()}
    return write_graph(path, nodes, {"out": (FLOAT, ["batch", channels, 32, 32])}, weights, metadata=metadata)


def test_a_deepness_segmentor_runs_by_its_keys_with_its_scaling(tmp_path):
    nodes = [("Identity", ["image"], ["out"], {})]  # logits: the pixels as Deepness scales them
    mean, std = [0.2, 0.5, 0.7], [0.1, 0.2, 0.4]
    path = deepness(
        tmp_path / "m.onnx",
        nodes,
        {},
        model_type="Segmentor",
        class_names={"0": "bare", "1": "road", "2": "roof"},
        resolution=50,
        tiles_overlap=25,
        standardization_mean=mean,
        standardization_std=std,
    )
    model, image = Model(path), image_of()
    card = model.card
    assert (card.source, card.task, card.gsd, card.tile_size, card.overlap) == ("deepness", "segmentation", 0.5, 32, 8)
    assert [(entry.value, entry.name) for entry in card.classes] == [(0, "bare"), (1, "road"), (2, "roof")]
    np.testing.assert_allclose(card.fill, np.array(mean) * 255)
    scaled = (image / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    np.testing.assert_array_equal(swept(model, image)[0], scaled.argmax(axis=0))


def test_a_deepness_segmentor_without_names_gets_them(tmp_path):
    path = deepness(tmp_path / "m.onnx", [("Identity", ["image"], ["out"], {})], {}, model_type="Segmentor")
    names = [(entry.value, entry.name) for entry in Model(path).card.classes]
    assert names == [(0, "channel_0"), (1, "channel_1"), (2, "channel_2")]


def test_a_deepness_segmentor_with_one_channel_uses_its_threshold(tmp_path):
    nodes = [("ReduceMean", ["image"], ["out"], {"axes": [1], "keepdims": 1})]
    path = deepness(tmp_path / "m.onnx", nodes, {}, 1, model_type="Segmentor", names=["no", "yes"], seg_thresh=0.61)
    image = image_of()
    np.testing.assert_array_equal(swept(Model(path), image)[0], image.mean(axis=0) / 255 >= 0.61)


def test_deepness_keys_that_undo_its_scaling_feed_raw_values(tmp_path):
    nodes = [("ReduceMean", ["image"], ["out"], {"axes": [1], "keepdims": 1})]
    path = deepness(
        tmp_path / "m.onnx",
        nodes,
        {},
        1,
        model_type="Regressor",
        standardization_mean=[0, 0, 0],
        standardization_std=[1 / 255] * 3,
        reg_output_scaling=2,
    )
    image = image_of()
    np.testing.assert_allclose(swept(Model(path), image)[2][0], 2 * image.mean(axis=0), rtol=1e-6)


def test_a_deepness_detector_is_refused_with_its_type(tmp_path):
    path = deepness(tmp_path / "m.onnx", [("Identity", ["image"], ["out"], {})], {}, model_type="Detector")
    with pytest.raises(ModelFault, match="Deepness model of the type 'Detector'"):
        Model(path)


def test_our_own_card_goes_before_deepness_keys(tmp_path):
    path = write_strongest_band(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"mlm": json.dumps(card_item()), "model_type": '"Segmentor"'})
    onnx.save(model, path)
    assert Model(path).card.source == "geoaware"


# Cards given beside a model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": None, "value_range": None}, "must also give: bands, value_range"),
        ({"classes": None}, "must also give: classes"),
        ({"task": "painting"}, "the task 'painting' is none of"),
        ({"overlap": 32}, "overlap must be smaller"),
        ({"colour": "red"}, "'colour' is unknown"),
        ({"fill": [1.0]}, "one fill value per band"),
        ({"scale": {"mean": [1, 1, 1], "std": [1, 0, 1]}}, "may be 0"),
        ({"classes": [{"value": 1, "name": "a", "color": "red"}]}, "'RED' is not a colour"),
        ({"classes": "water"}, "classes must be a list, or an object"),
        ({"classes": {"water": 10}}, "invalid literal for int"),
        (
            {"value_range": [255, 0]},
            "value_range must be the lowest and the highest value, in this order, not 255 and 0",
        ),
        ({"value_range": [0, float("nan")]}, "value_range must be"),
    ],
)
def test_what_a_given_card_lacks_is_asked_for(tmp_path, changes, message):
    path = tmp_path / "m.card.json"
    path.write_text(json.dumps(given_card(**changes)))
    with pytest.raises(ModelFault, match=message) as caught:
        card_of_file(path)
    assert "\n" not in str(caught.value)


def test_classes_may_be_named_by_their_values(tmp_path):
    path = tmp_path / "m.card.json"
    named = {"10": "water", "20": {"name": "forest", "color": "1c6330"}}
    path.write_text(json.dumps(given_card(classes=named)))
    legend = card_of_file(path).classes
    assert [(entry.value, entry.name) for entry in legend] == [(10, "water"), (20, "forest")]
    assert legend[1].color == "1C6330"


@pytest.mark.parametrize("sides", [("h", 128), (128, "w")])
def test_a_raster_smaller_than_a_tile_is_mapped_by_a_model_that_fixes_one_side(tmp_path, sides):
    nodes = [("Mul", ["image", "tenth"], ["out"], {})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["b", 3, *sides])}, TENTH, image=("b", 3, *sides))
    image = image_of((3, 20, 25))
    classes = swept(Model(write_given(path, tile_size=128), "cpu", threads=1), image)[0]
    np.testing.assert_array_equal(classes, STRONGEST[image.argmax(axis=0)])


def test_a_card_can_be_passed_for_a_model_that_has_another(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps(given_card(classes=["x", "y", "z"])))
    model = Model(write_strongest_band(tmp_path / "m.onnx"), card=card_of_file(tmp_path / "other.json"))
    assert [entry.name for entry in model.card.classes] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["a", "b"]}, "answers with 3 channels, but its card names 2 classes"),
        ({"bands": ["red"]}, "its input is"),
        ({"tile_size": 64}, "its input is"),
        ({"task": "classification"}, "does not fit a classification model"),
        ({"output": "best"}, "no output 'best'"),
    ],
)
def test_a_card_that_does_not_fit_its_model_is_refused(tmp_path, changes, message):
    path = write_given(write_strongest_band(tmp_path / "m.onnx"), **changes)
    with pytest.raises(ModelFault, match=message):
        Model(path)


def test_a_model_that_answers_once_a_tile_is_not_swept(tmp_path):
    nodes = [("GlobalAveragePool", ["image"], ["pooled"], {}), ("Flatten", ["pooled"], ["out"], {})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["batch", 3])})
    with pytest.raises(InputFault, match="classification model, which answers once per tile"):
        swept(Model(write_given(path, task="classification")), image_of())


# What a file can ask for


def test_a_model_whose_answer_would_be_huge_is_refused_before_it_runs(tmp_path):
    nodes = [("ConstantOfShape", ["size"], ["out"], {})]
    for name, shape in (("told", [1, 3, 90000, 90000]), ("hidden", None)):
        path = tmp_path / f"{name}.onnx"
        write_graph(path, nodes, {"out": (FLOAT, shape)}, {"size": np.array([1, 3, 90000, 90000])})
        with pytest.raises(ModelFault, match=r"for one tile would take 97\.2 GB|more memory"):
            Model(write_given(path))


def test_a_model_that_takes_all_memory_inside_is_told_so(tmp_path):
    nodes = [
        ("ConstantOfShape", ["size"], ["big"], {}),
        ("ReduceMax", ["big"], ["top"], {"keepdims": 0}),
        ("Add", ["image", "top"], ["out"], {}),
    ]
    path = write_graph(
        tmp_path / "m.onnx", nodes, {"out": (FLOAT, ["b", 3, 32, 32])}, {"size": np.array([90000, 90000, 4])}
    )
    with pytest.raises(ModelFault, match="needs more memory"):
        swept(Model(write_given(path, activation="softmax")), image_of())


def test_an_error_of_our_own_is_not_reported_as_a_bad_model(tmp_path, monkeypatch):
    class Broken:
        def run(self, *arguments):
            raise ValueError("operands could not be broadcast together")

    model = Model(write_strongest_band(tmp_path / "m.onnx"), "cpu")
    monkeypatch.setattr(model, "_opened", Broken)
    model.rest()
    with pytest.raises(ValueError, match="broadcast"):
        model.run(np.zeros((1, 3, 32, 32), np.float32))


def test_the_header_tells_the_outputs(tmp_path):
    header = read_header(write_model(tmp_path / "m.onnx", np.zeros((3, 3, 1, 1))))
    assert [(one.name, one.kind, one.shape) for one in header.outputs] == [("probabilities", 1, (None, 3, 32, 32))]
    assert (header.input_kind, header.input_shape) == (1, (None, 3, 32, 32))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "cannot open it"),
        (
            [("Add", ["image", "b"], ["a"], {}), ("Neg", ["a"], ["b"], {}), ("Neg", ["a"], ["out"], {})],
            "cannot open it",
        ),
        ([("Neg", ["nothing"], ["out"], {})], "cannot open it"),
        ([("Teleport", ["image"], ["out"], {})], "cannot open it"),
        ([("Slice", ["image", "far", "further"], ["out"], {})], "is empty|output has the shape"),
        ([("Gather", ["image", "far"], ["out"], {})], "onnxruntime failed"),
    ],
)
def test_graphs_that_make_no_sense_are_refused_in_one_sentence(tmp_path, nodes, message):
    weights = {"far": np.array([10**6]), "further": np.array([10**6 + 1])}
    path = write_graph(tmp_path / "m.onnx", nodes, {"out": (FLOAT, None)}, weights)
    with pytest.raises(ModelFault, match=message) as caught:
        Model(write_given(path), "cpu")
    assert "\n" not in str(caught.value)


def test_the_card_that_the_documentation_shows_can_be_read(tmp_path):
    text = (ROOT / "docs" / "models.md").read_text().split("```json\n")[1].split("```")[0]
    (tmp_path / "m.card.json").write_text(text)
    card = card_of_file(tmp_path / "m.card.json")
    assert [(entry.value, entry.name) for entry in card.classes] == [(0, "land"), (7, "water")]

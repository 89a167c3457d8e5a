"""The inference runtime: blending, nodata, cards and the guard."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.runtime.errors import Cancelled, ModelFault
from export.runtime.infer.blend import hann_ramp
from export.runtime.infer.sweep import Scan, sweep
from export.runtime.model.guard import read_header
from export.runtime.model.session import Model
from export.runtime.raster.window import TileGrid
from tests.models import card_item, write_model, write_strongest_band


def run(model: Model, image: np.ndarray, valid: np.ndarray | None = None, **options) -> tuple[np.ndarray, np.ndarray]:
    """Class values and confidence of a whole image."""
    valid = np.ones(image.shape[1:], bool) if valid is None else valid

    def read(window):
        where = (slice(window.row, window.row + window.height), slice(window.column, window.column + window.width))
        return image[(slice(None), *where)], valid[where]

    parts = list(sweep(Scan(model, read, *image.shape[1:], **options)))
    assert [part.top for part in parts] == np.cumsum([0, *(len(p.classes) for p in parts[:-1])]).tolist()
    return np.concatenate([p.classes for p in parts]), np.concatenate([p.confidence for p in parts])


def one_shot(kernel: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Softmax of the convolution of the whole image, zero padding, (classes, rows, cols)."""
    from scipy.ndimage import correlate

    logits = np.stack(
        [sum(correlate(band.astype(np.float64), k, mode="constant") for band, k in zip(image, ks)) for ks in kernel]
    )
    exp = np.exp(logits - logits.max(axis=0))
    return exp / exp.sum(axis=0)


def test_tiles_cover_every_pixel_and_end_at_the_edge():
    grid = TileGrid(100, 70, 32, 8)
    assert grid.tops == [0, 24, 48, 68]
    assert grid.lefts == [0, 24, 38]
    assert len(grid) == 12
    assert TileGrid(10, 10, 32, 8).tops == [0]


def test_the_ramps_of_two_tiles_add_up_to_one():
    for overlap in (1, 8, 15, 64):
        ramp = hann_ramp(overlap)
        np.testing.assert_allclose(ramp + ramp[::-1], 1)


@pytest.mark.parametrize("shape", [(100, 70), (32, 32), (1, 90), (20, 20), (33, 200)])
def test_a_model_of_single_pixels_answers_as_in_one_shot(tmp_path, shape):
    model = Model(write_strongest_band(tmp_path / "m.onnx"))
    image = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    classes, confidence = run(model, image)
    expected = one_shot(np.eye(3).reshape(3, 3, 1, 1) * 0.1, image)
    best = expected.argmax(axis=0)
    clear = np.sort(expected, axis=0)[-1] - np.sort(expected, axis=0)[-2] > 1e-5
    assert (classes == np.array([3, 7, 12])[best])[clear].all()
    assert np.abs(confidence - 100 * expected.max(axis=0)).max() <= 0.51


def test_a_convolution_that_fits_the_overlap_leaves_no_seam(tmp_path):
    kernel = np.random.default_rng(1).normal(0, 0.004, (3, 3, 5, 5))  # reaches 2 px; a quarter of the overlap is 2
    model = Model(write_model(tmp_path / "m.onnx", kernel))
    image = np.random.default_rng(2).integers(0, 256, (3, 90, 120)).astype(np.uint8)
    classes, confidence = run(model, image)
    expected = one_shot(kernel, image)
    assert (classes == np.array([3, 7, 12])[expected.argmax(axis=0)]).mean() >= 0.9999
    assert np.abs(confidence - 100 * expected.max(axis=0)).max() <= 0.51


def test_a_constant_model_is_constant(tmp_path):
    model = Model(write_model(tmp_path / "m.onnx", np.zeros((3, 3, 1, 1)), bias=np.array([0.0, 2.0, 0.0])))
    classes, confidence = run(model, np.zeros((3, 77, 59), np.uint8))
    assert (classes == 7).all()
    assert (confidence == round(100 * np.e**2 / (np.e**2 + 2))).all()


def test_nodata_stays_nodata_and_does_not_bleed(tmp_path):
    model = Model(write_strongest_band(tmp_path / "m.onnx"))
    image = np.zeros((3, 100, 100), np.float32)
    image[2] = 200.0
    valid = np.ones((100, 100), bool)
    valid[:50] = False
    valid[70:75, 10:20] = False
    image[:, ~valid] = np.nan
    classes, confidence = run(model, image, valid)
    assert (classes[~valid] == 255).all()
    assert (confidence[~valid] == 255).all()
    assert (classes[valid] == 12).all()


def test_a_fixed_batch_size_is_filled_up(tmp_path):
    path = write_strongest_band(tmp_path / "m.onnx")
    graph = onnx.load(path)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(graph, path)
    image = np.zeros((3, 40, 100), np.uint8)
    image[1] = 99
    assert (run(Model(path), image)[0] == 7).all()


def test_cancel_stops_after_one_tile(tmp_path):
    model = Model(write_strongest_band(tmp_path / "m.onnx"))
    calls = []
    with pytest.raises(Cancelled):
        run(model, np.zeros((3, 100, 100), np.uint8), progress=lambda done, total: calls.append(done) or False)
    assert calls == [1]


def save_graph(path: Path, change) -> Path:
    graph = onnx.load(write_strongest_band(path))
    change(graph)
    onnx.save(graph, path)
    return path


def external(graph) -> None:
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def foreign(graph) -> None:
    graph.graph.node[0].domain = "evil.ops"
    graph.opset_import.append(helper.make_opsetid("evil.ops", 1))


def two_inputs(graph) -> None:
    graph.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 3, 32, 32]))


def no_card(graph) -> None:
    del graph.metadata_props[:]


def broken_card(graph) -> None:
    del graph.metadata_props[:]
    helper.set_model_props(graph, {"mlm": json.dumps({"properties": {}})})


def card_text(graph, key: str, text: str) -> None:
    del graph.metadata_props[:]
    deepness = {"model_type": '"Segmentor"', "class_names": '{"0": "a", "1": "b", "2": "c"}'}
    helper.set_model_props(graph, {**({} if key == "mlm" else deepness), key: text})


def with_gsd(text: str) -> str:
    return json.dumps(card_item()).replace('"gsd": null', f'"gsd": {text}')


def hostile_colour(graph) -> None:
    item = card_item(classes=((1, "a", "FFFFFF"), (2, "b", '"/><x>'), (3, "c", "000000")))
    del graph.metadata_props[:]
    helper.set_model_props(graph, {"mlm": json.dumps(item)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external, "weights are in another file"),
        (foreign, "domain 'evil.ops'"),
        (two_inputs, "exactly one image input"),
        (no_card, "has no model card"),
        (broken_card, "the model card is not valid"),
        (hostile_colour, "is not a colour"),
    ],
)
def test_an_unsafe_or_incomplete_model_is_refused_before_it_is_opened(tmp_path, change, message, monkeypatch):
    path = tmp_path / "m.onnx"
    graph = onnx.load(write_strongest_band(path))
    change(graph)
    path.write_bytes(graph.SerializeToString())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # it must not come so far
    with pytest.raises(ModelFault, match=message):
        Model(path)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        *(("mlm", with_gsd(gsd), "pixel size must be more than 0") for gsd in ("-10", "0", "1e9", "1e400", "NaN")),
        ("resolution", "-3", "pixel size must be more than 0"),
        ("class_names", "road surface", "'road surface' cannot be read as names of classes"),
        ("class_names", "(" * 10_000, "cannot be read as names of classes"),
        ("class_names", "[" * 100_000, "nested too deeply"),
        ("mlm", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused_in_one_sentence(tmp_path, key, text, message):
    path = save_graph(tmp_path / "m.onnx", lambda graph: card_text(graph, key, text))
    with pytest.raises(ModelFault, match=message) as caught:
        Model(path)
    assert "\n" not in str(caught.value)


def test_a_given_card_that_is_nested_too_deep_is_refused(tmp_path):
    path = write_strongest_band(tmp_path / "m.onnx")
    path.with_suffix(".card.json").write_text("[" * 100_000)
    with pytest.raises(ModelFault, match="nested too deeply"):
        Model(path)


def test_a_model_may_have_the_longest_name_that_a_disk_knows(tmp_path):
    assert Model(write_strongest_band(tmp_path / f"{'m' * 250}.onnx")).card.name == "tiny colours"


def test_a_model_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = write_strongest_band(tmp_path / "m.onnx")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelFault, match=r"m\.onnx: cannot be read \(Permission denied\)"):
        read_header(path)


def test_a_sub_graph_cannot_hide_a_foreign_operator(tmp_path):
    def hide(graph):
        inner = helper.make_graph([helper.make_node("Evil", [], ["x"], domain="evil.ops")], "inner", [], [])
        graph.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))

    path = tmp_path / "m.onnx"
    graph = onnx.load(write_strongest_band(path))
    hide(graph)
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFault, match=r"evil\.ops"):
        read_header(path)


def test_domains_that_no_node_uses_are_no_reason_to_refuse(tmp_path):
    graph = onnx.load(write_strongest_band(tmp_path / "m.onnx"))
    graph.opset_import.extend(helper.make_opsetid(name, 1) for name in ("com.microsoft", "evil.ops"))
    onnx.save(graph, tmp_path / "m.onnx")
    image = np.random.default_rng(0).integers(0, 255, (3, 40, 40))
    image = (image // 3 * 3 + np.arange(3)[:, None, None]).astype(np.uint8)
    expected = np.array([3, 7, 12])[image.argmax(axis=0)]
    np.testing.assert_array_equal(run(Model(tmp_path / "m.onnx", "cpu"), image)[0], expected)


def test_what_onnxruntime_itself_prepares_or_optimises_is_accepted(tmp_path):
    source = write_strongest_band(tmp_path / "m.onnx")
    quant_pre_process(source, tmp_path / "prepared.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    for name in ("prepared.onnx", "optimised.onnx"):
        assert {entry.domain for entry in onnx.load(tmp_path / name).opset_import} > {"", "com.microsoft"}
        assert Model(tmp_path / name, "cpu").card == Model(source, "cpu").card


@pytest.mark.parametrize("inside", ["", "evil.ops"])
def test_a_function_cannot_hide_a_foreign_operator(tmp_path, inside):
    graph = onnx.load(write_strongest_band(tmp_path / "m.onnx"))
    body = [helper.make_node("Neg", ["a"], ["b"], domain=inside)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("evil.ops", 1)]
    graph.functions.append(helper.make_function("ai.onnx.ml", "Own", ["a"], ["b"], body, imports))
    if not inside:
        graph.graph.node[0].domain = "evil.ops"
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFault, match=r"domain 'evil\.ops'"):
        read_header(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"no onnx file at all, just text", b"PK\x03\x04" + bytes(100), bytes(1000)])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelFault, match=r"m\.onnx"):
        Model(tmp_path / "m.onnx")


def test_mutations_of_a_good_file_are_refused_or_read(tmp_path):
    good = write_strongest_band(tmp_path / "good.onnx").read_bytes()
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "bad.onnx", 0
    for _ in range(100):
        bad = bytearray(good)
        for at in rng.integers(0, len(bad), 5):
            bad[at] = rng.integers(0, 256)
        path.write_bytes(bad[: rng.integers(16, len(bad) + 1)])
        try:
            read_header(path)
        except ModelFault:
            refused += 1
    assert refused > 20

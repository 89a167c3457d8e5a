"""Graphs that we write ourselves: valid by the onnx package, and the same numbers as numpy's."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier

from export.runtime.errors import ModelFault
from export.runtime.model.card import ModelCard, Scaling
from export.runtime.model.graph import ML, Graph, HeadSession
from export.runtime.model.guard import read_header
from export.runtime.model.session import Model
from export.runtime.model.wire import BadWire, fields, of_float, of_int, of_ints
from tests.models import write_given, write_graph, write_model

FLOAT = TensorProto.FLOAT
SHAPE = ("batch", 3, 32, 32)


def checked(content: bytes) -> onnx.ModelProto:
    """The model as the onnx package reads it, which has checked it and derived all shapes."""
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    return model


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-300, 300, shape).astype(np.float32)


def kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.02, shape).astype(np.float32)


def convolved(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Zero padding, float64: (N, D, rows, columns)."""
    reach = weights.shape[-1] // 2
    padded = np.pad(image.astype(np.float64), ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    return np.einsum("nbijkl,dbkl->ndij", seen, weights)


def test_a_graph_from_nothing_gives_the_numbers_of_numpy():
    graph, weights = Graph("records", ("batch", 3, "rows", "columns")), kernel(5, 3, 3, 3)
    bias = np.arange(5, dtype=np.float32)
    value = graph.node("Conv", graph.input.name, weights, bias, pads=[1, 1, 1, 1], auto_pad=None)
    low, high = graph.nodes("Split", value, np.array([2, 3]), axis=1, outputs=2)
    value = graph.node("Concat", high, graph.node("Mul", low, 2.5), axis=1)
    content = graph.to_bytes({"answer": (value, ("batch", 5, "rows", "columns"))}, {"key": "välue"})
    model = checked(content)
    assert (model.ir_version, model.opset_import[0].version, len(model.opset_import)) == (8, 17, 1)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"key": "välue"}
    (output,) = model.graph.output
    assert output.name == "answer"
    image = pixels(2, 3, 9, 14)
    expected = convolved(image, weights) + bias[:, None, None]
    expected = np.concatenate([expected[:, 2:], expected[:, :2] * 2.5], axis=1)
    np.testing.assert_allclose(HeadSession(content)(image), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        *(np.array([[0, 1, 2], [3, 4, 5]], dtype) for dtype in ("uint8", "int8", "uint16", "int16", "int32", "int64")),
        *(np.array([[-0.5, 1.25], [np.inf, 3e4]], dtype) for dtype in ("float16", "float32", "float64")),
        np.array([True, False]),
        np.array([[1.0, 2.0]], ">f4"),
        np.arange(6.0, dtype="float32").reshape(2, 3).T,
        np.float32(7),
        np.zeros((0, 3), np.float32),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_constants_keep_type_shape_and_values(values):
    graph = Graph("x", ("batch", 1, 1, 1))
    name = graph.constant(values)
    model = onnx.load_from_string(graph.to_bytes({"answer": (name, [None] * values.ndim)}))
    (weight,) = map(numpy_helper.to_array, model.graph.initializer)
    np.testing.assert_array_equal(weight, values)
    assert (weight.dtype, weight.shape) == (values.dtype.newbyteorder("="), values.shape)


def test_plain_numbers_are_float32_or_whole():
    graph = Graph("x", ("batch", 1, 1, 1))
    names = [graph.constant(values) for values in (0.5, [1.0, 2.0], 3, [4, 5], [])]
    content = graph.to_bytes({f"answer {number}": (name, ()) for number, name in enumerate(names)})
    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}
    assert [str(weights[name].dtype) for name in names] == ["float32", "float32", "int64", "int64", "float32"]


def test_attributes_of_every_kind_are_read_by_onnx():
    numbers = [0, 1, 127, 128, 300, -1, 2**62, -(2**63)]
    given = {
        "one": 5, "negative": -3, "flag": True, "real": 0.25, "text": "ä", "numbers": numbers, "array": np.array([7, -8]),
        "reals": [0.5, -2.0], "real_array": np.array([1.5], np.float32), "texts": ["LEAF", "BRANCH_LEQ", "LEAF"],
        "none": None, "empty": [], "whole": np.int64(4), "float64": np.float64(0.5),
    }  # fmt: skip
    graph = Graph("x", ("batch", 1, 1, 1))
    value = graph.node("Any", "x", **given)
    (node,) = onnx.load_from_string(graph.to_bytes({"answer": (value, ())})).graph.node[:1]
    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    assert found.pop("text").decode() == "ä"
    assert [text.decode() for text in found.pop("texts")] == given["texts"]
    del given["none"], given["text"], given["texts"]
    assert found == {key: list(v) if isinstance(v, np.ndarray) else v for key, v in given.items()}


def test_numbers_are_coded_as_protobuf_reads_them():
    for number in (0, 1, 127, 128, 16383, 16384, 2**31, -1, -(2**63)):
        assert list(fields(memoryview(of_int(3, number)))) == [(3, number % 2**64)]
        ((_, packed),) = fields(memoryview(of_ints(3, np.array([number, number]))))
        alone = of_int(3, number)[1:]
        assert bytes(packed) == 2 * alone
    assert [bytes(value) for _, value in fields(memoryview(of_float(2, 1.0)))] == [b"\0\0\x80?"]
    with pytest.raises(BadWire, match="past the end"):
        list(fields(memoryview(b"\x0a\x05ab")))


def tiny(path, **changes):
    """A network that answers with two maps: its features (stride 2), and a softmax of another branch."""
    weights = {"w": kernel(4, 3, 3, 3), "v": kernel(2, 3, 1, 1), "unused": kernel(8)}
    nodes = [
        ("Conv", ["image", "w"], ["deep"], {"pads": [1] * 4, "strides": [2, 2]}),
        ("Relu", ["deep"], ["features"], {}),
        ("Conv", ["image", "v"], ["logits"], {}),
        ("Softmax", ["logits"], ["probabilities"], {"axis": 1}),
    ]
    outputs = {"probabilities": (FLOAT, ["batch", 2, 32, 32]), "features": (FLOAT, ["batch", 4, 16, 16])}
    return write_graph(path, nodes, outputs, weights, **changes), weights


def test_on_a_file_its_network_stays_and_what_is_not_needed_goes(tmp_path):
    path, weights = tiny(tmp_path / "m.onnx", metadata={"mlm": "{}"})
    graph = Graph.of_model(path)
    assert [one.name for one in graph.outputs] == ["probabilities", "features"]
    assert (graph.input.name, graph.input.shape) == ("image", (None, 3, 32, 32))
    value = graph.node("Mul", graph.answer("features"), 2.0)
    content = graph.to_bytes({"features": (value, ("batch", 4, 16, 16))})
    model = checked(content)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Mul", "Identity"]
    assert len(model.graph.initializer) == 2
    assert model.graph.output[0].name == "features_"  # the file's own value has that name
    assert not model.metadata_props
    image = pixels(1, 3, 32, 32)
    expected = 2 * convolved(image, weights["w"])[:, :, ::2, ::2].clip(0)
    np.testing.assert_allclose(HeadSession(content)(image), expected, rtol=1e-4, atol=1e-3)


def test_graphs_on_graphs_never_share_a_name(tmp_path):
    content = tiny(tmp_path / "m.onnx")[0].read_bytes()
    image = pixels(1, 3, 32, 32)
    expected = HeadSession(content)(image)
    for turn in range(4):
        graph = Graph.of_model(content)
        value = graph.node("Add", graph.answer(), float(turn))
        content = graph.to_bytes({"probabilities": (value, ("batch", 2, 32, 32))})
        names = [name for node in checked(content).graph.node for name in node.output]
        assert len(set(names)) == len(names)
    np.testing.assert_allclose(HeadSession(content)(image), expected + 6, rtol=1e-6)


def test_names_that_look_like_ours_are_not_met(tmp_path):
    nodes = [("Mul", ["image", "added/constant_1"], ["added/Mul_2"], {})]
    outputs = {"added/Mul_2": (FLOAT, ["batch", 3, 32, 32])}
    path = write_graph(tmp_path / "m.onnx", nodes, outputs, {"added/constant_1": np.float32(3)})
    graph = Graph.of_model(path)
    content = graph.to_bytes({"answer": (graph.node("Mul", graph.answer(), 5.0), SHAPE)})
    checked(content)
    image = pixels(1, 3, 32, 32)
    np.testing.assert_allclose(HeadSession(content)(image), 15 * image, rtol=1e-6)


def test_values_that_only_a_graph_within_reads_stay(tmp_path):
    branches = [
        helper.make_graph(
            [helper.make_node("Mul", ["doubled", factor], [f"out of {factor}"])], "branch", [],
            [helper.make_tensor_value_info(f"out of {factor}", FLOAT, None)],
        )
        for factor in ("two", "three")
    ]  # fmt: skip
    nodes = [
        ("Add", ["image", "image"], ["doubled"], {}),
        ("If", ["yes"], ["answer"], {"then_branch": branches[0], "else_branch": branches[1]}),
    ]
    weights = {"yes": np.array(False), "two": np.float32(2), "three": np.float32(3)}
    path = write_graph(tmp_path / "m.onnx", nodes, {"answer": (FLOAT, ["batch", 3, 32, 32])}, weights)
    graph = Graph.of_model(path)
    content = graph.to_bytes({"out of two": (graph.node("Neg", graph.answer()), SHAPE)})
    assert checked(content).graph.output[0].name == "out of two_"
    image = pixels(1, 3, 32, 32)
    np.testing.assert_allclose(HeadSession(content)(image), -6 * image, rtol=1e-6)


def test_weights_that_are_listed_as_inputs_are_weights(tmp_path):
    path, weights = tiny(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.ir_version = 3  # which asked for that
    for name in weights:
        model.graph.input.append(helper.make_tensor_value_info(name, FLOAT, weights[name].shape))
    onnx.save(model, path)
    graph = Graph.of_model(path)
    content = graph.to_bytes({"answer": (graph.answer("features"), ("batch", 4, 16, 16))})
    model = checked(content)
    assert ([one.name for one in model.graph.input], model.ir_version) == (["image"], 8)
    expected = convolved(pixels(1, 3, 32, 32), weights["w"])[:, :, ::2, ::2].clip(0)
    np.testing.assert_allclose(HeadSession(content)(pixels(1, 3, 32, 32)), expected, rtol=1e-4, atol=1e-3)


CARD = ModelCard("m", "embedding", ("r", "g", "b"), "u", (0, 255), (9.0, 8.0, 7.0), (), 32, 0, None, "", "")


@pytest.mark.parametrize(
    "kind", ["float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "int32", "int64"]
)
@pytest.mark.parametrize(
    "scale", [Scaling(), Scaling(255.0), Scaling(2.0, (1.0, 2.5, 3.0), (0.3, 0.7, 1.1))], ids=["raw", "/", "/-/"]
)
def test_raw_values_become_what_the_host_would_have_made_of_them(tmp_path, kind, scale):
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [("Cast", ["image"], ["real"], {"to": FLOAT}), ("Identity", ["real"], ["answer"], {})]
    free = ("batch", 3, "rows", "columns")
    path = write_graph(tmp_path / "m.onnx", nodes, {"answer": (FLOAT, list(free))}, image=free, kind=number)
    write_given(path, task="embedding", classes=None, fill=[9.0, 8.0, 7.0])
    host = Model(path, "cpu", scaled := ModelCard(**{**vars(CARD), "scale": scale}), threads=1)
    graph = Graph.of_model(path, scaled)
    assert (graph.input.kind, graph.input.shape) == (FLOAT, (None, 3, 32, 32))
    content = graph.to_bytes({"answer": (graph.answer(), SHAPE)})
    checked(content)
    image = pixels(2, 3, 32, 32) * 300
    image[0, :, 0, 0] = [np.nan, 0.5, -1e9] if host.whole_numbers else [0.0, 0.5, 6e4]
    np.testing.assert_array_equal(HeadSession(content)(image), host.run(image))


def test_answers_of_other_types_become_real_numbers(tmp_path):
    nodes = [("Cast", ["image"], ["answer"], {"to": TensorProto.FLOAT16})]
    path = write_graph(tmp_path / "m.onnx", nodes, {"answer": (TensorProto.FLOAT16, ["batch", 3, 32, 32])})
    graph = Graph.of_model(path)
    content = graph.to_bytes({"features": (graph.answer(), SHAPE)})
    checked(content)
    answer = HeadSession(content)(pixels(1, 3, 32, 32))
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, pixels(1, 3, 32, 32).astype(np.float16))


def rewritten(path, change) -> bytes:
    model = onnx.load(path)
    change(model)
    return model.SerializeToString()


def test_files_that_nothing_can_be_built_on_are_refused_in_one_sentence(tmp_path):
    path = tiny(tmp_path / "m.onnx")[0]
    old = rewritten(path, lambda model: setattr(model.opset_import[0], "version", 12))
    with pytest.raises(ModelFault, match=r"^old\.onnx: .*opset 12.*export it again"):
        Graph.of_model(old, where="old.onnx")
    function = helper.make_function("", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [])
    with pytest.raises(ModelFault, match="holds functions"):
        Graph.of_model(rewritten(path, lambda model: model.functions.append(function)))
    with pytest.raises(ModelFault, match=r"there\.onnx: no such file"):
        Graph.of_model(tmp_path / "there.onnx")
    with pytest.raises(ModelFault, match="not an ONNX file"):
        Graph.of_model(b"a text, and no model at all")
    texts = rewritten(
        path, lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.STRING)
    )
    with pytest.raises(ModelFault, match="an element type that no raster has"):
        Graph.of_model(texts)
    foreign = rewritten(path, lambda model: setattr(model.graph.node[0], "domain", "com.example"))
    with pytest.raises(ModelFault, match=r"domain 'com\.example'"):
        Graph.of_model(foreign)
    with pytest.raises(ModelFault, match=r"domain 'com\.example'"):
        HeadSession(foreign)


def test_versions_that_a_file_only_states_do_not_stay(tmp_path):
    def state(model):
        model.opset_import[0].domain = "ai.onnx"
        model.opset_import.extend([helper.make_opsetid(ML, 5), helper.make_opsetid("com.microsoft", 1)])

    graph = Graph.of_model(rewritten(tiny(tmp_path / "m.onnx")[0], state))
    model = checked(graph.to_bytes({"answer": (graph.answer(), ("batch", 2, 32, 32))}))
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]


def forest_graph(forest: RandomForestClassifier) -> bytes:
    """The forest as operators of ai.onnx.ml, on places of a map."""
    classes, parts = (
        len(forest.classes_),
        {key: [] for key in ("tree", "node", "feature", "value", "yes", "no", "mode")},
    )
    leaves = {key: [] for key in ("tree", "node", "class", "weight")}
    for number, tree in enumerate(one.tree_ for one in forest.estimators_):
        for node in range(tree.node_count):
            leaf = tree.children_left[node] < 0
            row = (number, node, max(tree.feature[node], 0), tree.threshold[node], tree.children_left[node].clip(0))
            row += (tree.children_right[node].clip(0), "LEAF" if leaf else "BRANCH_LEQ")
            for key, value in zip(parts, row):
                parts[key].append(value)
            if leaf:
                share = tree.value[node, 0] / tree.value[node, 0].sum() / len(forest.estimators_)
                for key, values in zip(leaves, ([number] * classes, [node] * classes, range(classes), share)):
                    leaves[key] += list(values)
    graph = Graph("records", ("batch", 3, "rows", "columns"))
    places = graph.node("Reshape", graph.node("Transpose", "records", perm=[0, 2, 3, 1]), [-1, 3])
    _, shares = graph.nodes(
        "TreeEnsembleClassifier", places, domain=ML, outputs=2, classlabels_int64s=range(classes), post_transform="NONE",
        nodes_treeids=parts["tree"], nodes_nodeids=parts["node"], nodes_featureids=parts["feature"],
        nodes_values=np.array(parts["value"], np.float32), nodes_truenodeids=parts["yes"], nodes_falsenodeids=parts["no"],
        nodes_modes=parts["mode"], class_treeids=leaves["tree"], class_nodeids=leaves["node"],
        class_ids=leaves["class"], class_weights=np.array(leaves["weight"], np.float32),
    )  # fmt: skip
    return graph.to_bytes({"shares": (shares, ("places", classes))})


def test_trees_of_ai_onnx_ml_are_trusted_and_answer_as_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    points, classes = rng.integers(0, 9, (300, 3)), rng.integers(0, 4, 300)
    forest = RandomForestClassifier(7, max_depth=6, random_state=0).fit(points, classes)
    content = forest_graph(forest)
    model = checked(content)
    assert {one.domain: one.version for one in model.opset_import} == {"": 17, ML: 3}
    assert read_header(content).input_name == "records"
    image = rng.integers(0, 9, (1, 3, 4, 5)).astype(np.float32)
    shares = HeadSession(content)(image)
    np.testing.assert_allclose(shares, forest.predict_proba(image[0].reshape(3, -1).T), atol=1e-6)
    (tmp_path / "trees.onnx").write_bytes(content)
    on_trees = Graph.of_model(tmp_path / "trees.onnx")
    again = checked(on_trees.to_bytes({"shares": (on_trees.answer(), ("places", 4))}))
    assert {one.domain: one.version for one in again.opset_import} == {"": 17, ML: 3}


def test_a_model_opens_from_the_content_of_its_file(tmp_path):
    path = write_model(tmp_path / "m.onnx", kernel(3, 3, 3, 3))
    image = pixels(1, 3, 32, 32)
    np.testing.assert_array_equal(Model(path.read_bytes(), "cpu").run(image), Model(path, "cpu").run(image))

"""Weights in other files are brought into one: whole and unchanged, and only from plain files of the same folder."""

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from core.errors import UserError
from export import to_onnx
from export.model_files.onefile import one_file
from export.runtime.errors import ModelFault
from export.runtime.model.session import Model
from export.wording import words
from tests.models import write_given, write_model, write_strongest_band

KERNEL = np.random.default_rng(0).normal(0, 0.1, (3, 3, 5, 5)).astype(np.float32)


def spread(folder: Path, one: bool = True, name: str = "m.onnx") -> Path:
    """A model whose kernel, bias and a constant in a branch lie in one other file, or in three."""
    graph = onnx.load(write_model(folder / "inside.onnx", KERNEL, bias=np.array([1.0, 2.0, 3.0])))
    branch = [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([[[[5]]]] * 3), "c"))]
    branch[0].attribute[0].t.dims[:] = [1, 3, 1, 1]
    graph.graph.node[-1].output[0] = "plain"
    shape = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 3, 1, 1])]
    yes = helper.make_graph(branch, "yes", [], shape)
    graph.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    graph.graph.node.append(helper.make_node("If", ["always"], ["extra"], then_branch=yes, else_branch=yes))
    graph.graph.node.append(helper.make_node("Add", ["plain", "extra"], ["probabilities"]))
    onnx.save(graph, folder / "inside.onnx")
    external_data_helper.convert_model_to_external_data(
        graph, one, "weights.bin" if one else None, size_threshold=0, convert_attribute=True
    )
    onnx.save(graph, folder / name)
    return folder / name


def answer(path: Path) -> np.ndarray:
    image = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]


@pytest.mark.parametrize("one", [True, False])
def test_weights_of_one_or_several_files_come_into_one_unchanged(tmp_path, one):
    path = spread(tmp_path, one)
    others = {file.name for file in tmp_path.iterdir()} - {"m.onnx", "inside.onnx"}
    assert len(others) >= 1 if one else len(others) >= 3
    with pytest.raises(ModelFault) as refused:
        Model(path)
    assert f"'python -m export.to_onnx --onefile {path}'" in words(refused.value)
    made = one_file(path)
    assert made == tmp_path / "m.onefile.onnx"
    for name in others:
        (tmp_path / name).unlink()
    np.testing.assert_array_equal(answer(made), answer(tmp_path / "inside.onnx"))
    tile = np.random.default_rng(2).integers(0, 255, (1, 3, 32, 32))
    np.testing.assert_array_equal(Model(made, "cpu").run(tile), Model(tmp_path / "inside.onnx", "cpu").run(tile))
    assert {file.name for file in tmp_path.iterdir()} == {"m.onnx", "inside.onnx", "m.onefile.onnx"}


def test_four_bit_weights_keep_their_bytes(tmp_path):
    graph = onnx.load(write_strongest_band(tmp_path / "m.onnx"))
    odd = helper.make_tensor("odd", TensorProto.INT4, [3], [1, -2, 3])
    odd.raw_data = bytes([0xE1, 0x03])
    odd.ClearField("int32_data")
    graph.graph.initializer.append(odd)
    external_data_helper.convert_model_to_external_data(graph, True, "w.bin", size_threshold=0)
    onnx.save(graph, tmp_path / "m.onnx")
    made = onnx.load(one_file(tmp_path / "m.onnx", tmp_path / "new" / "one.onnx"))
    assert next(t.raw_data for t in made.graph.initializer if t.name == "odd") == bytes([0xE1, 0x03])


def test_a_card_beside_the_model_comes_along(tmp_path):
    path = spread(tmp_path)
    write_given(path, name="mine")
    assert Model(one_file(path)).card.name == "mine"


def rewritten(folder: Path, **where: str | None) -> Path:
    """The model of ``spread`` whose kernel lies elsewhere by its own words; None takes an entry out."""
    graph = onnx.load(spread(folder), load_external_data=False)
    kernel = graph.graph.initializer[0]
    entries = {entry.key: entry.value for entry in kernel.external_data} | where
    kernel.ClearField("external_data")
    for key, value in entries.items():
        if value is not None:
            kernel.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(graph.SerializeToString())
    return folder / "m.onnx"


def refused(path: Path, message: str) -> None:
    before = {file: file.lstat().st_mtime_ns for file in path.parent.iterdir()}
    with pytest.raises((UserError, ModelFault), match=message) as caught:
        one_file(path)
    assert "\n" not in str(caught.value)
    assert {file: file.lstat().st_mtime_ns for file in path.parent.iterdir()} == before


@pytest.mark.parametrize("location", ["", ".", "..", "../weights.bin", "sub/weights.bin", "a\\b", "C:x", "{folder}/w"])
def test_weights_are_taken_from_the_same_folder_only(tmp_path, location):
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    path = rewritten(inside, location=location.format(folder=tmp_path))
    for copy in (tmp_path / "weights.bin", tmp_path / "w", inside / "sub" / "weights.bin"):
        copy.write_bytes((inside / "weights.bin").read_bytes())
    refused(path, "not in a file of the same folder")


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "none"])
def test_weights_are_taken_from_plain_files_only(tmp_path, kind):
    path, other = rewritten(tmp_path, location="other"), tmp_path / "other"
    if kind == "link":
        other.symlink_to(tmp_path / "weights.bin")
    elif kind == "hard link":
        other.hardlink_to(tmp_path / "weights.bin")
    elif kind == "pipe":
        os.mkfifo(other)
    elif kind == "folder":
        other.mkdir()
    refused(
        path,
        {"link": "it is a link", "none": "no such file", "folder": "no plain file|cannot be read"}.get(
            kind, "no plain file"
        ),
    )


@pytest.mark.parametrize(
    "where",
    [
        {"offset": "100000"},
        {"offset": "-4"},
        {"offset": "nowhere"},
        {"length": "1"},
        {"length": "-1"},
        {"length": str(2**70)},
        {"offset": str(2**70)},
        {"offset": "1e3"},
    ],
)
def test_weights_that_do_not_lie_where_the_model_says_are_refused(tmp_path, where):
    refused(rewritten(tmp_path, **where), r"the 900 bytes of the tensor 'kernel' do not lie where m\.onnx says")


def test_a_length_that_is_not_stated_is_that_of_the_shape(tmp_path):
    made = one_file(rewritten(tmp_path, length=None))
    np.testing.assert_array_equal(answer(made), answer(tmp_path / "inside.onnx"))


@pytest.mark.parametrize(
    ("dims", "kind", "message"),
    [
        ([-1], TensorProto.FLOAT, "a type or a shape that no file holds"),
        ([4], TensorProto.STRING, "a type or a shape that no file holds"),
        ([4], 999, "a type or a shape that no file holds"),
        ([3, 2**28], TensorProto.FLOAT, r"it has 3\.22 GB; one ONNX file holds at most 2 GB"),
    ],
)
def test_shapes_that_cannot_be_are_refused_before_anything_is_read(tmp_path, dims, kind, message):
    path = rewritten(tmp_path)
    graph = onnx.load(path, load_external_data=False)
    graph.graph.initializer[0].dims[:] = dims
    graph.graph.initializer[0].data_type = kind
    path.write_bytes(graph.SerializeToString())
    (tmp_path / "weights.bin").unlink()
    refused(path, message)


def test_the_guard_judges_the_result(tmp_path):
    path = spread(tmp_path)
    graph = onnx.load(path, load_external_data=False)
    graph.graph.node[0].domain = "evil.ops"
    path.write_bytes(graph.SerializeToString())
    refused(path, r"m\.onnx: refused, it needs operators of the domain 'evil\.ops'")


def test_what_needs_no_rewriting_is_told_so(tmp_path):
    refused(write_strongest_band(tmp_path / "m.onnx"), "its weights are inside already")
    (tmp_path / "text.onnx").write_text("a text")
    refused(tmp_path / "text.onnx", "not an ONNX file")
    refused(tmp_path / "gone.onnx", "no such file")
    path = spread(tmp_path)
    one_file(path)
    refused(path, r"m\.onefile\.onnx: exists already")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a RUN and --out"),
        (["--onefile", "m.onnx", "--int8"], "--onefile stands alone"),
        (["--onefile", "m.onnx", "--out", "x.txt"], "must end in .onnx"),
    ],
)
def test_the_command_says_what_it_needs(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["to_onnx", *arguments])
    assert to_onnx.main() == 2
    assert message in capsys.readouterr().err


def test_the_command_writes_one_file(tmp_path, monkeypatch, capsys):
    path, out = spread(tmp_path), tmp_path / "out" / "one.onnx"
    monkeypatch.setattr(sys, "argv", ["to_onnx", "--onefile", str(path), "--out", str(out)])
    assert to_onnx.main() == 0
    assert capsys.readouterr().out == f"model: {out}\n"
    np.testing.assert_array_equal(answer(out), answer(tmp_path / "inside.onnx"))

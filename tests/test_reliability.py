"""A tenth of the counts of ``make reliability``, by the same functions."""

from pathlib import Path

import pytest
from onnx import helper

from benchmarks.reliability.disk import NotPermitted, fill_many
from benchmarks.reliability.kills import kill_many
from benchmarks.reliability.load import change_while_read, many_polygons, map_many, noise_polygons, run_often
from benchmarks.reliability.models import good_model, open_many
from benchmarks.reliability.rasters import read_many
from export.runtime.errors import ModelFault
from export.runtime.model import providers
from export.runtime.model.guard import read_header
from export.runtime.model.session import Model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(good_model().SerializeToString())
    return path


def test_killed_batches_leave_only_whole_files_and_are_finished_by_the_next_run(model, tmp_path):
    found = kill_many(tmp_path, model, 5, rasters=2, side=200)
    assert found.problems == []
    assert (found.kills, found.finished > 0, found.hidden) == (5, True, 0)


def test_a_full_disk_gets_one_sentence_and_nothing_is_left(model, tmp_path):
    try:
        found = fill_many(tmp_path, model, 2, side=200)
    except NotPermitted as reason:
        pytest.skip(str(reason))
    assert found.problems == []
    assert (found.refused, found.done) == (1, 1)


def test_damaged_rasters_give_a_map_or_one_sentence(model, tmp_path):
    found = read_many(tmp_path, model, 30)
    assert found.problems == []
    assert found.mapped + found.refused == 30
    assert min(found.mapped, found.refused) > 3


def test_untrusted_models_are_refused_or_run(tmp_path):
    mutated, harmful = open_many(tmp_path, 20, loops=False)
    assert mutated.problems == harmful.problems == []
    assert mutated.mapped + mutated.refused == 20
    assert mutated.mapped > 0
    assert harmful.refused > 20


@pytest.mark.parametrize(
    ("load", "sizes"),
    [
        (run_often, (15,)), (map_many, (50,)), (many_polygons, (1_000, 10_000)), (noise_polygons, (200,)),
        (change_while_read, (2,)),
    ],
)  # fmt: skip
def test_long_and_large_runs(model, tmp_path, load, sizes):
    assert load(tmp_path, model, *sizes).problems == []


def test_a_loop_that_never_ends_is_stopped(tmp_path, monkeypatch):
    from benchmarks.reliability.models import hostile

    monkeypatch.setattr(providers, "_LONGEST_LOOP", 0.5)
    endless = Model(hostile(tmp_path / "hostile")["loop without end"], "cpu", threads=1)
    with pytest.raises(ModelFault, match=r"stopped, it loops for more than 0\.5 s"):
        endless.outputs(endless._sample())


def test_a_graph_cannot_hide_behind_another(tmp_path):
    model = good_model()
    model.graph.node.append(helper.make_node("Evil", ["image"], ["x"], domain="evil.ops"))
    covered = model.SerializeToString() + good_model().SerializeToString()
    (tmp_path / "two.onnx").write_bytes(covered)
    with pytest.raises(ModelFault, match="two graphs"):
        read_header(tmp_path / "two.onnx")


def test_the_defaults_of_a_function_cannot_hide_weights_in_another_file(tmp_path):
    model = good_model()
    held = model.graph.initializer[0]
    held.data_location = held.EXTERNAL
    value = helper.make_attribute("value", held)
    held.data_location = held.DEFAULT
    function = helper.make_function("", "Mine", [], ["y"], [], [helper.make_opsetid("", 17)], attribute_protos=[value])
    model.functions.append(function)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFault, match="weights are in another file"):
        read_header(tmp_path / "m.onnx")


def test_a_field_number_that_protobuf_would_cut_is_refused(tmp_path):
    wide = (1 << 35) | (7 << 3) | 2  # its lower 32 bits name the graph
    tag = bytes([*((wide >> shift) & 127 | 128 for shift in range(0, 35, 7)), wide >> 35])
    (tmp_path / "m.onnx").write_bytes(good_model().SerializeToString() + tag + b"\x00")
    with pytest.raises(ModelFault, match="field number"):
        read_header(tmp_path / "m.onnx")

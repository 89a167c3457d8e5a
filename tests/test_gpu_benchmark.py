"""The tools around the GPU's proof: what travels, what fails visibly, what a cut-off leaves. Its parts run in small."""

import importlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import inference, processes, real, speed, suite
from benchmarks.gpu.chips import CLASSES, pack, unpack, world, write_store
from benchmarks.gpu.kernels import MAGIC, without_other_kernels
from benchmarks.gpu.notes import CUT, FAILED, Notes, Setup, end, run_part
from benchmarks.learning.eurosat import described, judged
from core.networks.encoders import Encoder, ModelSpec
from core.networks.weights import load_encoder, save_model
from core.store.read import ChipStore

ROOT = Path(__file__).parents[1]


def small(folder: Path, seconds: float = 60) -> Setup:
    for name in ("out", "work"):
        (folder / name).mkdir(exist_ok=True)
    return Setup(folder / "out", folder / "work", None, True, "cpu", seconds)


def recorded(setup: Setup, name: str) -> dict:
    return json.loads((setup.out / f"{name}.json").read_text())


def test_all_limits_together_are_nine_minutes():
    waits = [int(wait) for wait in re.findall(r"timeout (\d+)", (ROOT / "benchmarks" / "gpu" / "run.sh").read_text())]
    assert command.TOTAL + sum(waits) <= 540
    assert sum(command.PARTS.values()) + 2 * command.GRACE < command.TOTAL  # each may have all of its time
    for name in command.PARTS:
        assert callable(importlib.import_module(f"benchmarks.gpu.{name}").measure)


def test_a_store_comes_back_from_its_pictures(tmp_path):
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (70, 3, 1, 1)) + np.zeros((70, 3, 32, 32), int)
    made = write_store(tmp_path / "s", smooth.astype(np.uint8), ["train"] * 35, np.arange(35) % 3, CLASSES, dates=2)
    assert pack(made, tmp_path / "packed", 90) < 40_000
    before, after = ChipStore(made), ChipStore(unpack(tmp_path / "packed", tmp_path / "back"))
    difference = before.raw(np.arange(70)).astype(int) - after.raw(np.arange(70))
    assert np.abs(difference).mean() < 6  # of colour that WebP keeps at half the resolution
    assert np.abs(difference[:, :, 8:24, 8:24]).mean() < 4
    assert before.index.equals(after.index)
    assert "packed as WebP" in after.info.provenance
    sums = (tmp_path / "back" / "SHA256SUMS").read_text().split("\n")
    subprocess.run(["sha256sum", "--check", "--quiet"], cwd=after.path, input="\n".join(sums), text=True, check=True)


def test_masks_and_dates_of_a_generated_world_are_kept(tmp_path):
    made = ChipStore(world(tmp_path / "s", 10, 16, dates=3))
    pack(made.path, tmp_path / "packed", 90)
    back = ChipStore(unpack(tmp_path / "packed", tmp_path / "back"))
    assert np.array_equal(made.masks(np.arange(30)), back.masks(np.arange(30)))
    assert set(back.places["split"]) >= {"train", "val", "test"}
    assert back.places["count"].tolist() == [3] * 10


def test_kernels_of_one_gpu_are_left():
    def entry(arch: int, content: bytes) -> bytes:
        head = struct.pack("<HHIQ", 2, 257, 64, len(content)) + bytes(12) + struct.pack("<I", arch)
        return head.ljust(64, b"\0") + content

    inside = entry(80, b"old" * 100) + entry(90, b"new" * 50) + entry(120, b"next" * 10)
    fat = MAGIC + struct.pack("<HHQ", 1, 16, len(inside)) + inside
    library = bytearray(b"code" + MAGIC + bytes(9) + b"text" + fat + b"data" + fat)
    size = len(library)
    assert without_other_kernels(library, 90) == (300, 2 * 490)
    assert len(library) == size
    assert library.count(b"new" * 50) == 2
    assert b"old" not in library
    assert b"next" not in library
    with pytest.raises(ValueError, match="no kernels for a compute capability of 7"):
        without_other_kernels(library, 70)


def test_a_failure_is_kept_and_the_next_measurement_runs(tmp_path):
    def measure(setup: Setup, notes: Notes) -> None:
        with notes.attempt("first"):
            raise ValueError("no such thing")
        notes.add(second=2)

    setup = small(tmp_path)
    assert not run_part(measure, "part", setup)
    record = recorded(setup, "part")
    assert (record["state"], record["figures"]) == (FAILED, {"second": 2})
    assert record["failures"][0]["error"] == "ValueError: no such thing"
    assert "test_gpu_benchmark.py" in record["failures"][0]["traceback"]


@pytest.mark.parametrize(("code", "state"), [(None, CUT), (3, FAILED)])
def test_a_part_that_did_not_end_keeps_its_figures(tmp_path, code, state):
    notes = Notes(tmp_path / "part.json")
    notes.add(speed=5)
    record = end(tmp_path, "part", code, 9.0)
    assert (record["state"], record["figures"]) == (state, {"speed": 5})
    assert len(record["failures"]) == 1


def test_a_part_is_stopped_at_its_limit_and_the_next_one_runs(tmp_path):
    options = ["--small", "--parts", "real", "processes", "--limit", "2", "--bundle", str(tmp_path / "bundle")]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", str(tmp_path / "out"), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stderr
    for name in ("real", "processes"):
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert record["state"] == CUT
        assert record["failures"][-1]["error"].startswith("stopped at its limit of ")
        assert (tmp_path / "out" / f"{name}.log").is_file()
        assert f"| {name} | cut off |" in (tmp_path / "out" / "summary.md").read_text()
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {"summary.md", "results.zip"}


def test_inference_runs_in_small(tmp_path):
    setup = small(tmp_path)
    assert run_part(inference.measure, "inference", setup), recorded(setup, "inference")
    figures = recorded(setup, "inference")["figures"]
    assert figures["cpu_fp32"]["pixels_of_the_cpu"] == 1
    assert figures["torch_minus_onnx"] < 1e-3
    assert figures["without_torch"] == "CPUExecutionProvider"


def test_two_processes_run_in_small(tmp_path):
    setup = small(tmp_path, 200)
    assert run_part(processes.measure, "processes", setup), recorded(setup, "processes")
    assert recorded(setup, "processes")["figures"]["largest_difference"] < 1e-4


@pytest.mark.filterwarnings("ignore")  # the peers' own
def test_the_speed_of_training_is_measured_in_small(tmp_path):
    setup = small(tmp_path)
    run_part(speed.measure, "speed", setup)
    record = recorded(setup, "speed")
    assert record["figures"]["whole_of_bare"] > 0
    assert record["figures"]["whole run"]["pairs/s"] > 0
    installed = [name for name in ("lightly", "torchgeo") if importlib.util.find_spec(name)]
    assert [name for name in installed if f"whole_of_{name}" not in record["figures"]] == [], record["failures"]


def test_a_real_run_in_small_judges_both_encoders(tmp_path):
    setup = small(tmp_path)
    assert run_part(real.measure, "real", setup), recorded(setup, "real")
    figures = recorded(setup, "real")["figures"]
    assert {"kNN", "linear"} <= figures["eurosat_64_px"].keys()
    assert {row["method"] for row in figures["bluemarble_all_dates"]} >= {"trained", "untrained", "colour_statistics"}
    assert (setup.out / "encoder-half.safetensors").is_file()


def test_failed_and_skipped_tests_are_in_the_record(tmp_path, monkeypatch):
    tests = tmp_path / "tests"
    tests.mkdir()
    lines = [
        "import pytest",
        "def test_well(): pass",
        "def test_ill(): assert 1 == 2",
        "def test_away(): pytest.skip('no GPU')",
    ]
    (tests / "test_gpu.py").write_text("\n".join(lines))
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    setup = small(tmp_path)
    assert not run_part(suite.measure, "suite", setup)
    record = recorded(setup, "suite")
    assert [record["figures"][name] for name in ("passed", "failed", "skipped")] == [1, 1, 1]
    assert [failure["what"] for failure in record["failures"]] == ["test_ill"]


def test_an_encoder_comes_back_in_half_precision(tmp_path):
    store = ChipStore(world(tmp_path / "s", 30, 32, dates=1))
    spec = ModelSpec.of_store(store, "resnet18")
    save_model(tmp_path / "e.safetensors", spec, Encoder(spec))
    real.keep_half(tmp_path / "e.safetensors", tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.51 * (tmp_path / "e.safetensors").stat().st_size
    whole, half = (load_file(tmp_path / f"{name}.safetensors") for name in ("e", "half"))
    assert all((whole[name] - half[name]).abs().max() < 1e-3 for name in whole)
    told, network = load_encoder(str(tmp_path / "half.safetensors"), store)
    assert told == spec
    assert {part.dtype for part in network.parameters()} == {next(Encoder(spec).parameters()).dtype}
    probed = real.Probe("half", file=str(tmp_path / "half.safetensors"))
    assert len(judged(described(probed, real.Bench(tmp_path, "cpu", {}), store), store)["hits"]["linear"]) > 0

"""OpenVINO beside onnxruntime, and what ``--provider auto`` decides on tiles of the raster."""

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import onnx
import pytest
import rasterio

from export import devices, predict
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import Cancelled, ModelFault
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Options
from export.runtime.infer.objects import TileBoxes
from export.runtime.infer.source import Choice
from export.runtime.infer.sweep import Scan
from export.runtime.infer.timing import agreement, speed, trial
from export.runtime.infer.timing.boxes import SampleBoxes
from export.runtime.infer.timing.trial import decided
from export.runtime.model.devices import known, openvino, plugins
from export.runtime.model.guard import read_header
from export.runtime.model.providers import onnxruntime_module
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from tests.conftest import call, write_raster
from tests.models import write_given, write_graph, write_model, write_series
from tests.test_batch import noise, random_model
from tests.test_runtime_models import image_of, swept
from tests.test_runtime_scenes import detector, scene_model
from tests.test_runtime_sweep import FLOAT, same, wide_model
from tests.test_series_run import scenes, series_of

pytest.importorskip("openvino")
CPU, OPENVINO = "CPUExecutionProvider", "OpenVINO"
CI = ("CI", "GITHUB_ACTIONS", "TF_BUILD")


@pytest.fixture(autouse=True)
def no_trials() -> None:
    """Here they are wanted."""


@pytest.fixture
def has_bf16() -> None:
    if "bf16" not in openvino.reduced_precisions(OPENVINO):
        pytest.skip("this processor has no units for bf16")


@pytest.fixture
def any_speed(monkeypatch) -> None:
    """Agreement alone decides, not how fast this computer is now."""
    monkeypatch.setattr(trial, "FASTER", 0.0)


def job_of(model, raster) -> Job:
    return Job(Model(model), RasterPixels(str(raster)), Options())


def lossy(path, factor: float = 1e4, task: str = "segmentation"):
    """A model whose answers depend on the last bits of fp32: a large number is added to the bands, and taken away again."""
    kernel, classes = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), task == "segmentation"
    nodes = [
        ("Conv", ["image", "kernel", "much"], ["raised"], {}),
        ("Conv", ["raised", "kernel", "little"], ["lowered"], {}),
        ("Softmax", ["lowered"], ["out"], {"axis": 1}) if classes else ("Neg", ["lowered"], ["out"], {}),
    ]
    weights = {"kernel": kernel, "much": np.full(3, factor, np.float32), "little": np.full(3, -factor, np.float32)}
    write_graph(path, nodes, {"out": (FLOAT, ["batch", 3, 64, 64])}, weights, ("batch", 3, 64, 64))
    return write_given(path, tile_size=64, overlap=16, **({} if classes else {"task": task, "classes": None}))


def values_model(path):
    """A regression of two bands: weighted means of 5 x 5 px."""
    kernel = np.random.default_rng(1).normal(0, 0.01, (2, 3, 5, 5)).astype(np.float32)
    nodes = [("Conv", ["image", "kernel"], ["out"], {"pads": [2] * 4})]
    write_graph(path, nodes, {"out": (FLOAT, ["batch", 2, 64, 64])}, {"kernel": kernel}, ("batch", 3, 64, 64))
    return write_given(path, task="regression", classes=None, tile_size=64, overlap=16)


def features_model(path, once: bool = False):
    """Eight features of each place of 4 px, or of each tile."""
    kernel = np.random.default_rng(1).normal(0, 0.01, (8, 3, 4, 4)).astype(np.float32)
    nodes = [("Conv", ["image", "kernel"], ["map" if once else "out"], {"strides": [4, 4]})]
    if once:
        nodes += [("GlobalMaxPool", ["map"], ["most"], {}), ("Flatten", ["most"], ["out"], {})]
    shape = ["batch", 8] if once else ["batch", 8, 16, 16]
    write_graph(path, nodes, {"out": (FLOAT, shape)}, {"kernel": kernel}, ("batch", 3, 64, 64))
    return write_given(path, task="embedding", classes=None, tile_size=64, overlap=0 if once else 16)


def features_of_tiles_model(path):
    """As ``features_model``, once a tile."""
    return features_model(path, once=True)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_openvino_gives_the_same_bits_for_any_number_of_threads_and_nearly_the_cpus_answer(tmp_path, threads):
    image = image_of((3, 150, 170))
    expected = swept(wide_model(tmp_path / "m.onnx"), image, probabilities=True)
    models = [Model(tmp_path / "m.onnx", "openvino", threads=count) for count in (1, threads)]
    first, second = (swept(model, image, probabilities=True, read_ahead=n) for n, model in enumerate(models))
    assert models[1].runner == OPENVINO
    assert models[1].threads == threads
    assert same(first, second)
    np.testing.assert_allclose(first[2], expected[2], atol=1e-4)


def test_openvino_keeps_what_it_compiled_for_a_gpu(tmp_path, monkeypatch):
    """Tried on the CPU, where it would not be worth it."""
    path = wide_model(tmp_path / "m.onnx").file
    settings = openvino._settings("GPU", "fp32", 1)
    assert "CACHE_DIR" not in openvino._settings("CPU", "fp32", 1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_CACHE_HOME", str(path))  # where no folder can be made
        assert "CACHE_DIR" not in openvino._settings("GPU", "fp32", 1)
    monkeypatch.setattr(openvino, "_settings", lambda *given: settings)
    image, kept = image_of((3, 100, 100)), known.cache_folder() / "openvino"
    answers = [swept(Model(path, "openvino"), image, probabilities=True) for _ in range(2)]
    assert len([*kept.iterdir()]) == 1
    assert same(*answers)


def test_openvino_runs_series_of_any_number_of_dates(tmp_path):
    path = write_series(tmp_path / "m.onnx", True, tile_size=32, dates=3)
    models = [Model(path, provider) for provider in ("cpu", "openvino")]
    for dates in (1, 3, 5):
        pixels, valid = image_of((dates * 3, 32, 32)).reshape(dates, 3, 32, 32), np.ones((dates, 32, 32), bool)
        valid[0, :10] = dates == 1
        place = np.random.default_rng(0).normal(size=(2, 32, 32))
        answers = [model.run_series(pixels, valid, np.linspace(1, 300, dates), place) for model in models]
        np.testing.assert_allclose(*answers, atol=1e-5)


def test_openvino_refuses_a_model_with_loops(tmp_path, monkeypatch):
    path = write_model(tmp_path / "m.onnx", np.eye(3).reshape(3, 3, 1, 1))
    monkeypatch.setattr("export.runtime.model.session.read_header", looping)
    with pytest.raises(ModelFault, match="has loops, which OpenVINO does not stop in time"):
        Model(path, "openvino")


def looping(path, where):
    return replace(read_header(path, where), loops=True)


def test_openvino_that_is_not_installed_is_named_with_its_package(tmp_path, monkeypatch):
    path = write_model(tmp_path / "m.onnx", np.eye(3).reshape(3, 3, 1, 1))
    monkeypatch.setattr("export.runtime.model.providers.is_installed", lambda: False)
    with pytest.raises(ModelFault, match="install the package openvino"):
        Model(path, "openvino")


def test_openvino_sends_nothing_when_it_is_imported(tmp_path):
    code = "from export.runtime.model.devices.openvino import openvino_devices; import sys; print(openvino_devices(), [*sys.modules])"
    environment = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "'OpenVINO'" in done.stdout
    assert "'openvino_telemetry'" not in done.stdout
    assert not (tmp_path / "intel").exists()  # where its package for telemetry keeps the id of this computer


def test_onnxruntime_sends_nothing_and_makes_no_id(tmp_path):
    """As 1.29 and later do from their import on, unless they are told not to before it, or run in CI."""
    environment = {name: value for name, value in os.environ.items() if name not in (*CI, "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for code in (
        "from export.runtime.model.providers import onnxruntime_module; onnxruntime_module()",
        "import export.model_files.quantize, onnxruntime",
    ):
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


def test_auto_takes_what_agrees_on_tiles_of_the_raster_and_remembers_it(tmp_path, any_speed, monkeypatch):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    with closing(job_of(model, raster)) as job:
        chosen = decided(job)
        assert chosen.model.provider == OPENVINO
        assert chosen.why.kind == "trial_chosen"
        assert chosen.why.fields["equal"] >= agreement.EQUAL[0]
        assert "of the pixels equal on" in str(chosen.why)
        monkeypatch.setattr(trial._Trial, "run", None)  # not called again for the same raster
        monkeypatch.setattr(Model, "rest", None)  # nor is a tile run in onnxruntime
        again = decided(job)
        assert (again.model.runner, str(again.why)) == (chosen.model.runner, str(chosen.why))
    other = write_raster(tmp_path / "b.tif", noise(500, 500, seed=1), nodata=0)
    with closing(job_of(model, other)) as job, pytest.raises(TypeError):
        decided(job)
    another_card = replace(Model(model).card, fill=(1.0, 1.0, 1.0))
    with (
        closing(Job(Model(model, card=another_card), RasterPixels(str(raster)), Options())) as job,
        pytest.raises(TypeError),
    ):
        decided(job)


def test_a_model_that_is_refused_is_named_before_anything_is_written(tmp_path):
    path, shape = tmp_path / "m.onnx", ["batch", 3, 64, 64]
    write_graph(path, [("Softmax", ["other"], ["out"], {"axis": 1})], {"out": (FLOAT, shape)}, {}, ("batch", 3, 64, 64))
    model, raster = (
        write_given(path, tile_size=64, overlap=16),
        write_raster(tmp_path / "a.tif", noise(300, 300), nodata=0),
    )
    for number, options in enumerate([[], ["--block", 256]]):
        assert call(predict.main, model, raster, "--out", tmp_path / f"{number}", *options) == 2
        assert not [*tmp_path.glob(f"{number}/*.tif")]


def test_a_trial_can_be_cancelled(tmp_path):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    with closing(job_of(model, raster)) as job, pytest.raises(Cancelled):
        decided(job, lambda: False)


def test_auto_refuses_a_precision_that_changes_the_classes(tmp_path, any_speed, has_bf16):
    model, raster = lossy(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    with closing(job_of(model, raster)) as job:
        chosen = decided(job)
    assert chosen.model.runner in (OPENVINO, CPU)
    assert [note.kind for note in chosen.against] == ["trial_apart"]
    assert str(chosen.against[0]).startswith("OpenVINO bf16 is not used: ")
    assert chosen.against[0].fields["equal"] < agreement.EQUAL[0]


@pytest.mark.parametrize("make", [values_model, features_model, features_of_tiles_model])
def test_auto_takes_what_agrees_in_values_or_features_and_remembers_it(tmp_path, any_speed, monkeypatch, make):
    model, raster = make(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(520, 520), nodata=0)
    said = (
        "99% of the values differ by up to"
        if make is values_model
        else "99% of the feature vectors have a cosine similarity"
    )
    with closing(job_of(model, raster)) as job:
        chosen = decided(job)
        assert chosen.model.runner == fastest_candidate()
        assert chosen.against == ()
        assert said in str(chosen.why)
        assert "pixels equal" not in str(chosen.why)
        monkeypatch.setattr(trial._Trial, "run", None)
        again = decided(job)
        assert (again.model.runner, str(again.why)) == (chosen.model.runner, str(chosen.why))


def test_the_sample_of_a_map_of_features_is_of_whole_tiles_from_everywhere(tmp_path):
    model, raster = features_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(520, 520), nodata=0)
    with closing(job_of(model, raster)) as job:
        windows, _ = trial._sample(job.scan(), trial._grid(job))
    assert {(window.height, window.width) for window in windows} == {(64, 64)}
    assert len(windows) == trial.TILES
    assert max(window.row for window in windows) > 400


def fastest_candidate() -> str:
    """OpenVINO in the precision that is tried first."""
    return f"{OPENVINO} bf16" if "bf16" in openvino.reduced_precisions(OPENVINO) else OPENVINO


@pytest.mark.parametrize("task", ["regression", "embedding"])
def test_auto_refuses_a_precision_that_changes_values_or_features(tmp_path, any_speed, has_bf16, task):
    model, raster = lossy(tmp_path / "m.onnx", task=task), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    with closing(job_of(model, raster)) as job:
        chosen = decided(job)
    assert chosen.model.runner in (OPENVINO, CPU)
    assert [note.kind for note in chosen.against] == ["trial_apart"]
    said = (
        "99% of the values differ by up to"
        if task == "regression"
        else "99% of the feature vectors have a cosine similarity"
    )
    assert str(chosen.against[0]).startswith(f"OpenVINO bf16 is not used: {said}")
    assert chosen.against[0].fields["apart"] > {"regression": agreement.SPREAD, "embedding": agreement.COSINE}[task][0]


def test_values_by_auto_differ_from_the_cpus_by_no_more_than_it_says(tmp_path, any_speed):
    model, raster = values_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(520, 520), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "auto") == 0
    assert call(predict.main, model, raster, "--out", tmp_path / "cpu", "--exact") == 0
    maps = []
    for folder in ("auto", "cpu"):
        with rasterio.open(tmp_path / folder / "a.tif") as source:
            maps.append(source.read().reshape(2, -1))
    spread = np.subtract(*np.nanpercentile(maps[1], (99, 1), axis=1))
    assert (np.nanpercentile(np.abs(maps[0] - maps[1]), 99, axis=1) <= agreement.SPREAD[0] * spread).all()
    facts = json.loads((tmp_path / "auto" / "a.stac.json").read_text())["properties"]["geoaware:run_by"]
    assert facts["provider"] == fastest_candidate()
    assert "of the values differ by up to" in facts["chosen"]


@pytest.mark.parametrize("make", [write_series, random_model])
def test_auto_compares_all_dates_of_a_series(tmp_path, any_speed, monkeypatch, make):
    """Of a model that reads them all, and of one whose answers for each date are averaged."""
    paths, _, _ = scenes(tmp_path, 3, (420, 400))
    job, seen = Job(Model(make(tmp_path / "m.onnx")), series_of(paths), Options(Choice(("1", "2", "3")))), []
    run = Scan._answer_of_dates
    monkeypatch.setattr(
        Scan, "_answer_of_dates", lambda own, dates, tile: seen.append(len(tile.pixels)) or run(own, dates, tile)
    )
    with closing(job):
        chosen = decided(job)
        assert chosen.model.provider == OPENVINO
        assert chosen.why.fields["equal"] >= agreement.EQUAL[0]
        assert not [note for note in chosen.against if note.kind != "trial_apart"]
        assert max(seen) == 3
        maps = [
            np.concatenate([rows.classes for rows in one.rows(lambda done, total: True)])
            for one in (chosen, job.run_by(job.model.on(CPU), chosen.why))
        ]
    assert (maps[0] == maps[1]).mean() >= agreement.EQUAL[0]


def bright(path, side: int = 400):
    """A raster with a bright rectangle in each 32 px, over which a ``detector`` finds a box."""
    rng, pixels = np.random.default_rng(0), np.zeros((3, side, side), np.uint8)
    pixels[1:] = 1
    for top in range(0, side - 32, 32):
        for left in range(0, side - 32, 32):
            height, width = rng.integers(4, 20, 2)
            pixels[0, top + 4 : top + 4 + height, left + 4 : left + 4 + width] = rng.integers(100, 250)
    return write_raster(path, pixels)


def lossy_detector(path):
    """A detector whose scores depend on the last bits of fp32; see ``lossy``."""
    detector(path)
    graph, eye = onnx.load(path), np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    for node in graph.graph.node:
        node.input[:] = ["lowered" if name == "image" else name for name in node.input]
    many = np.full(3, 1e4, np.float32)
    graph.graph.initializer.extend(
        onnx.numpy_helper.from_array(values, name)
        for name, values in (("kernel", eye), ("much", many), ("little", -many))
    )
    graph.graph.node.insert(0, onnx.helper.make_node("Conv", ["image", "kernel", "much"], ["raised"]))
    graph.graph.node.insert(1, onnx.helper.make_node("Conv", ["raised", "kernel", "little"], ["lowered"]))
    onnx.save(graph, path)


@pytest.fixture
def few_boxes(monkeypatch) -> None:
    monkeypatch.setattr(trial, "LEAST", 10)


def test_auto_takes_what_finds_the_same_objects_and_remembers_it(tmp_path, any_speed, few_boxes, monkeypatch):
    model, raster = tmp_path / "m.onnx", bright(tmp_path / "a.tif")
    detector(model)
    with closing(job_of(model, raster)) as job:
        chosen = decided(job)
        assert chosen.model.runner == fastest_candidate()
        assert "100.00% of the boxes found by both on 16 sample tiles" in str(chosen.why)
        monkeypatch.setattr(trial._Trial, "run", None)
        again = decided(job)
        assert (again.model.runner, str(again.why)) == (chosen.model.runner, str(chosen.why))
        found = [one.objects(lambda done, total: True) for one in (chosen, job.run_by(job.model.on(CPU), chosen.why))]
    assert len(found[0].boxes) > 50
    assert np.array_equal(found[0].boxes, found[1].boxes)


def test_the_explanation_of_a_detectors_run_names_its_file_and_no_size(tmp_path, any_speed, few_boxes, capsys):
    detector(tmp_path / "m.onnx")
    assert call(predict.main, tmp_path / "m.onnx", bright(tmp_path / "a.tif"), "--explain") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "files a.gpkg, a.stac.json" in said
    assert "on disk" not in said
    assert "of the boxes found by both" in said


def test_auto_refuses_a_precision_that_changes_the_scores_of_objects(tmp_path, any_speed, few_boxes, has_bf16):
    lossy_detector(tmp_path / "m.onnx")
    with closing(job_of(tmp_path / "m.onnx", bright(tmp_path / "a.tif"))) as job:
        chosen = decided(job)
    assert chosen.model.runner in (OPENVINO, CPU)
    assert str(chosen.against[0]).startswith("OpenVINO bf16 is not used: 100.00% of the boxes found by both")
    assert chosen.against[0].fields["apart"] > agreement.NEAR[0]


def test_auto_stays_on_the_cpu_where_too_few_objects_are_found_to_compare(tmp_path, any_speed, monkeypatch):
    model, raster = tmp_path / "m.onnx", bright(tmp_path / "a.tif")
    detector(model)
    said = "onnxruntime on the CPU runs it: 15 boxes on 16 sample tiles are too few to compare others by, 50 are needed"
    with closing(job_of(model, raster)) as job:
        assert str(decided(job).why) == said
        monkeypatch.setattr(trial._Trial, "run", None)
        assert str(decided(job).why) == said


def test_boxes_that_are_no_numbers_speak_against_a_provider(tmp_path, any_speed, few_boxes, monkeypatch):
    """As of a network that overflows in few bits."""
    plain = Model.outputs

    def broken(model, tiles):
        boxes, *others = plain(model, tiles)
        return [boxes if model.provider == CPU else boxes * np.float32(np.nan), *others]

    monkeypatch.setattr(Model, "outputs", broken)
    detector(tmp_path / "m.onnx")
    with closing(job_of(tmp_path / "m.onnx", bright(tmp_path / "a.tif"))) as job:
        chosen = decided(job)
        with pytest.raises(
            ModelFault, match="something else than boxes"
        ):  # nor is a map made that lacks them in silence
            job.run_by(job.model.on(OPENVINO), chosen.why).objects(lambda done, total: True)
    assert chosen.model.runner == CPU
    assert str(chosen.against[0]).startswith(f"{fastest_candidate()} is not used: the model ")
    assert "answers with something else than boxes, scores and labels" in str(chosen.against[0])


def test_nothing_is_tried_for_a_model_with_loops_where_only_openvino_is_there(tmp_path, any_speed, monkeypatch):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    monkeypatch.setattr("export.runtime.model.session.read_header", looping)
    monkeypatch.setattr(trial._Trial, "_asked", None)
    with closing(job_of(model, raster)) as job:
        assert decided(job).why.kind == "trial_kept"


def test_boxes_agree_by_place_class_and_score():
    tile = Window(0, 0, 100, 100)
    places = np.array([[10, 10, 30, 30], [50, 50, 70, 70]], np.float32)

    def sample(places, scores, labels, threshold=0.0) -> SampleBoxes:
        found = SampleBoxes(threshold)
        found.add(TileBoxes(tile, places, np.array(scores, np.float32), np.array(labels), np.zeros(len(places), bool)))
        return found

    reference = sample(places, [0.9, 0.8], [0, 1])
    assert reference.compared(reference) == agreement.Agreement("detection", 1.0, 0.0)
    assert reference.compared(sample(places + 0.5, [0.9, 0.8], [0, 1])).equal == 1
    assert reference.compared(sample(places + 2, [0.9, 0.8], [0, 1])).equal == 0
    assert reference.compared(sample(places, [0.9, 0.8], [0, 0])).equal == 0.5
    assert reference.compared(sample(places[:1], [0.9], [0])).equal == pytest.approx(2 / 3)
    assert reference.compared(sample(places[:0], [], [])).equal == 0
    assert reference.compared(sample(places, [0.9, 0.7], [0, 1])).apart == pytest.approx(0.1, rel=0.02)
    shown = sample(places, [0.9, 0.8], [0, 1], threshold=0.75)
    assert shown.compared(sample(places, [0.9, 0.74], [0, 1], threshold=0.75)).equal == 1
    assert shown.count == 2


def test_a_map_by_auto_differs_from_the_cpus_by_no_more_than_it_says(tmp_path, any_speed):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(700, 700), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "auto") == 0
    assert call(predict.main, model, raster, "--out", tmp_path / "cpu", "--provider", "cpu") == 0
    maps = []
    for folder in ("auto", "cpu"):
        with rasterio.open(tmp_path / folder / "a.tif") as source:
            maps.append(source.read(1))
    assert (maps[0] == maps[1]).mean() >= agreement.EQUAL[0]
    facts = json.loads((tmp_path / "auto" / "a.stac.json").read_text())["properties"]["geoaware:run_by"]
    assert facts["provider"].startswith(OPENVINO)
    assert "of the pixels equal" in facts["chosen"]


def test_what_speaks_against_a_provider_is_a_note_and_no_warning(tmp_path, any_speed, has_bf16, capsys):
    model, raster = lossy(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    refused = "OpenVINO bf16 is not used: "
    assert call(predict.main, model, raster, "--explain") == 0
    said = capsys.readouterr()
    assert refused in " ".join(said.out.split())
    assert said.err == ""
    (known.cache_folder() / "providers.json").unlink()
    assert call(predict.main, model, raster, "--out", tmp_path / "one") == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(refused) for line in lines)
    assert not any(line.startswith("warning") for line in lines)
    (known.cache_folder() / "providers.json").unlink()
    assert call(predict.main, model, raster, "--out", tmp_path / "blocks", "--block", 256) == 0
    told = capsys.readouterr().err
    assert f"a: {refused}" in told
    assert "warning" not in told


def test_a_provider_that_fails_on_the_model_is_named_with_the_reason(tmp_path, any_speed, monkeypatch):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)

    def broken(*given):
        raise ModelFault("openvino_failed", reason="no memory")

    monkeypatch.setattr(openvino.OpenVinoSession, "__init__", broken)
    with closing(job_of(model, raster)) as job:
        chosen = decided(job)
    assert chosen.model.runner == CPU
    assert str(chosen.against[-1]) == "OpenVINO is not used: OpenVINO failed: no memory"
    assert str(trial.told(chosen)[-1]).startswith("onnxruntime on the CPU runs it: nothing else was faster")


def test_auto_records_why_it_stays_on_the_cpu_and_says_nothing(tmp_path, capsys):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(100, 100), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "out") == 0
    assert "onnxruntime" not in capsys.readouterr().err
    facts = json.loads((tmp_path / "out" / "a.stac.json").read_text())["properties"]["geoaware:run_by"]
    assert facts["chosen"] == "onnxruntime on the CPU runs it: 4 tiles are too few to try others, from 64 on they are"
    empty = write_raster(tmp_path / "empty.tif", np.zeros((3, 500, 500), np.uint8), nodata=0)
    with closing(job_of(model, empty)) as job:
        assert decided(job).why.kind == "trial_empty"


def test_exact_stays_on_onnxruntime_in_fp32(tmp_path, any_speed):
    model, raster = random_model(tmp_path / "m.onnx"), write_raster(tmp_path / "a.tif", noise(500, 500), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "out", "--exact") == 0
    facts = json.loads((tmp_path / "out" / "a.stac.json").read_text())["properties"]["geoaware:run_by"]
    assert facts == {"provider": CPU}


def test_a_resumed_map_stays_with_what_ran_its_other_blocks(tmp_path, any_speed, capsys):
    model, raster, out = random_model(tmp_path / "m.onnx"), tmp_path / "a.tif", tmp_path / "out"
    write_raster(raster, noise(600, 600), nodata=0)
    options = [model, raster, "--out", out, "--block", 256]
    assert call(predict.main, *options, "--provider", "cpu") == 0
    block = next((out / "a_blocks").glob("*_confidence.tif"), None) or next((out / "a_blocks").glob("*.tif"))
    block.unlink()
    assert call(predict.main, *options) == 0
    assert f"{CPU} runs it, as it ran the blocks that are there" in capsys.readouterr().err
    manifest = out / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace(CPU, "OpenVINO:GPU fp16"))  # as on a computer with a GPU
    block.unlink()
    assert call(predict.main, *options) == 0
    told = capsys.readouterr().err
    assert "OpenVINO:GPU fp16, which ran the blocks that are there, is not on this computer now" in told
    assert "% of the pixels equal" in told


def test_what_is_known_of_a_computer_survives_a_corrupt_file(tmp_path):
    path = random_model(tmp_path / "m.onnx")
    before = known.Known.of(path, 2)
    before.ratios[OPENVINO] = 2.5
    before.save()
    assert known.Known.of(path, 2).ratios == {OPENVINO: 2.5}
    assert known.Known.of(path, 1).ratios == {}
    assert known.Known.of(lossy(tmp_path / "other.onnx"), 2).ratios == {}
    (known.cache_folder() / "providers.json").write_text('{"half')
    assert known.Known.of(path, 2).ratios == {}


def test_the_list_of_devices_names_what_is_there_and_how_fast_it_is(tmp_path, capsys, monkeypatch):
    path = random_model(tmp_path / "m.onnx")
    monkeypatch.setattr(speed, "SECONDS", 0.05)
    monkeypatch.setattr(sys, "argv", ["devices", str(path)])
    assert devices.main() == 0
    text = capsys.readouterr().out
    assert "processor: " in text
    assert "--provider auto chooses among: OpenVINO, " in text
    assert "pip install onnxruntime-ep-webgpu" in text
    assert "  CPUExecutionProvider: " in text
    assert "  OpenVINO: " in text
    monkeypatch.setattr(sys, "argv", ["devices", str(tmp_path / "none.onnx")])
    assert devices.main() == 2
    assert "none.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("make", [write_series, detector, scene_model])
def test_models_of_every_kind_are_measured(tmp_path, monkeypatch, make):
    monkeypatch.setattr(speed, "SECONDS", 0.02)
    path = tmp_path / "m.onnx"
    make(path)
    found = list(speed.speeds(Model(path, "cpu")))
    assert (found[0].runner, found[0].ratio) == (CPU, 1.0)
    assert all(one.tiles > 0 or one.fault for one in found)


def test_a_measurement_is_cancelled_before_the_next_call(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 60.0)
    asked = iter([True] * 5)
    with pytest.raises(Cancelled):
        list(speed.speeds(Model(random_model(tmp_path / "m.onnx"), "cpu"), lambda: next(asked, False)))


def test_without_onnxruntime_the_list_says_so_and_offers_it(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(sys, "argv", ["devices", str(random_model(tmp_path / "m.onnx"))])
    assert devices.main() == 2
    told = capsys.readouterr()
    assert "  pip install onnxruntime  (20 MB; CPUs; needed for all models)" in told.out
    assert "openvino 20" in told.out
    assert "--provider auto" not in told.out
    assert told.err.startswith("error: onnxruntime cannot be used: ")
    assert len(told.err.splitlines()) == 1


def test_plugins_of_onnxruntime_are_found_and_a_broken_one_offers_nothing(tmp_path, monkeypatch):
    package = tmp_path / "onnxruntime_ep_broken"
    package.mkdir()
    (package / "__init__.py").write_text("def get_library_path():\n    return '/none.so'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_found", None)
    monkeypatch.setattr(plugins, "_asked", {})
    assert "onnxruntime_ep_broken" in plugins.installed()
    assert "onnxruntime_ep_broken" not in plugins.plugin_devices(onnxruntime_module())
    assert any(line.startswith("onnxruntime-ep-broken: does not load: ") for line in devices.listed())


def test_blocks_share_one_session_and_record_what_ran_them(tmp_path, any_speed, monkeypatch):
    opened, begin = [], openvino.OpenVinoSession.__init__
    monkeypatch.setattr(
        openvino.OpenVinoSession, "__init__", lambda own, *given: opened.append(given[2]) or begin(own, *given)
    )
    model, raster, out = random_model(tmp_path / "m.onnx"), tmp_path / "a.tif", tmp_path / "out"
    write_raster(raster, noise(600, 600), nodata=0)
    write_raster(tmp_path / "b.tif", noise(600, 600, seed=1), nodata=0)
    assert call(predict.main, model, raster, "--out", out, "--block", 256) == 0
    assert len(opened) <= 2  # in bf16, or then in fp32: of the trial, and of all blocks
    assert call(predict.main, model, raster, tmp_path / "b.tif", "--out", tmp_path / "both") == 0
    for path, manifest in ((out / "a.stac.json", out), (tmp_path / "both" / "b.stac.json", tmp_path / "both")):
        facts = json.loads(path.read_text())["properties"]["geoaware:run_by"]
        assert "of the pixels equal" in facts["chosen"]
        entries = [json.loads(line) for line in (manifest / "manifest.jsonl").read_text().splitlines()]
        assert {entry["provider"] for entry in entries} == {facts["provider"]}


def test_onnxruntimes_own_cpu_loads_no_other_library(tmp_path):
    path = random_model(tmp_path / "m.onnx")
    code = "import sys; from export.runtime.model.session import Model; Model(sys.argv[1], 'cpu'); print('openvino' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_threads_that_ask_openvino_first_do_not_wait_for_ever(tmp_path):
    """In a process of its own, in which nothing has called OpenVINO: a quarter of such processes hung."""
    path = random_model(tmp_path / "m.onnx")
    code = (
        "import sys, threading; sys.setswitchinterval(1e-6); from export.runtime.model.session import Model;"
        "call, gate = Model(sys.argv[1], 'openvino', threads=4).on_noise(), threading.Barrier(4);"
        "threads = [threading.Thread(target=lambda: (gate.wait(), call())) for _ in range(4)];"
        "[one.start() for one in threads]; [one.join() for one in threads]"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)

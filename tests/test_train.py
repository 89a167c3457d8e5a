"""The commands of core.train and export.to_onnx, from a store to an ONNX file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
import torch
import yaml
from safetensors.torch import load_file

from core import train
from core.networks.weights import load_model
from core.store.build import build
from core.store.read import ChipStore
from core.training.tasks import ClassifierModule
from export import predict, to_onnx
from export.model_files.quantize import real_tiles
from export.runtime.model.session import Model
from tests.conftest import call, make_world, write_raster
from tests.deepness import in_deepness
from tests.sources import Bare, info
from tests.stac_schemas import check_model_item


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """A pretraining of a few steps."""
    out = tmp_path_factory.mktemp("runs") / "pretrain"
    arguments = [
        "pretrain",
        "--data",
        store.path,
        "--out",
        out,
        "--epochs",
        2,
        "--batch-size",
        32,
        "--queue",
        64,
        "--clusters",
        5,
    ]
    assert call(train.main, *arguments) == 0
    return out


@pytest.fixture(scope="module", params=["segmentation", "classification"])
def tuned(request, run, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    arguments = ["finetune", "--task", request.param, "--data", store.path, "--encoder", run / "encoder.safetensors"]
    assert call(train.main, *arguments, "--labels-fraction", 0.5, "--epochs", 3, "--batch-size", 16, "--out", out) == 0
    return out


def test_a_run_keeps_settings_metrics_logs_and_version(run):
    assert yaml.safe_load((run / "config.yaml").read_text())["variant"] == "moco-geo-tp"
    assert {"loss", "contrast", "geo", "geo_accuracy", "feature_std", "val_knn"} <= set(
        json.loads((run / "metrics.json").read_text())
    )
    assert "geoaware" in json.loads((run / "version.json").read_text())
    assert (run / "last.ckpt").is_file()
    assert "contrast" in (run / "logs" / "metrics.csv").read_text()


def test_a_runs_settings_can_be_run_again(run, tmp_path, capsys):
    assert (
        call(train.main, "pretrain", "--config", run / "config.yaml", "--out", tmp_path / "again", "--epochs", 1) == 0
    )
    assert yaml.safe_load((tmp_path / "again" / "config.yaml").read_text())["queue"] == 64
    assert "reduced to" not in capsys.readouterr().out


def test_the_same_seed_learns_the_same_weights(store, tmp_path):
    arguments = [
        "pretrain",
        "--data",
        store.path,
        "--epochs",
        1,
        "--batch-size",
        32,
        "--queue",
        64,
        "--precision",
        "32-true",
    ]
    weights = []
    for name in ("a", "b"):
        assert call(train.main, *arguments, "--out", tmp_path / name) == 0
        weights.append(load_model(tmp_path / name / "encoder.safetensors")[1].state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_pretraining_resumes_where_it_was(store, tmp_path):
    options = ["--data", store.path, "--batch-size", 32, "--queue", 64, "--clusters", 5, "--out", tmp_path / "run"]
    assert call(train.main, "pretrain", *options, "--epochs", 2) == 0
    before = json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"]
    assert call(train.main, "pretrain", *options, "--epochs", 3, "--resume") == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"] == before * 3 // 2
    assert (tmp_path / "run" / "logs" / "metrics.csv").is_file()  # the first part's are kept
    assert (tmp_path / "run" / "logs-2" / "metrics.csv").is_file()


def test_the_encoder_is_compared_with_an_untrained_one(run, store, tmp_path, capsys):
    assert (
        call(
            train.main,
            "probe",
            "--data",
            store.path,
            "--encoder",
            run / "encoder.safetensors",
            "--out",
            tmp_path / "probe",
        )
        == 0
    )
    result = json.loads((tmp_path / "probe" / "probe.json").read_text())
    for dates in ("one_date", "all_dates", "stacked"):
        assert {"trained", "untrained", "colour_statistics", "advantage_over_untrained"} <= set(result[dates])
        assert {"coordinates", "colours_and_coordinates", "advantage", "advantage_with_location"} <= set(result[dates])
        score = result[dates]["trained"]["knn"]["accuracy"]
        assert score["low"] <= score["value"] <= score["high"]
    assert "majority class" in capsys.readouterr().out
    assert result["all_dates"]["colour_statistics"]["forest"]["accuracy"]["value"] > 0.9  # this world is colour


def test_few_labels_make_a_model_that_knows_the_classes(tuned):
    result = json.loads((tuned / "metrics.json").read_text())
    assert result["accuracy"] > max(0.6, result["majority_class"] + 0.1)


def test_linear_fine_tuning_leaves_the_encoder_as_it_was(run, store, tmp_path):
    out = tmp_path / "linear"
    arguments = [
        "finetune",
        "--task",
        "classification",
        "--mode",
        "linear",
        "--data",
        store.path,
        "--encoder",
        run / "encoder.safetensors",
    ]
    assert call(train.main, *arguments, "--epochs", 1, "--batch-size", 16, "--out", out) == 0
    before = load_model(run / "encoder.safetensors")[1].state_dict()
    after = load_model(out / "model.safetensors")[1].encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.fixture(scope="module")
def exported(tuned):
    out = tuned / "model.onnx"
    assert call(to_onnx.main, tuned, "--out", out, "--tile-size", 64) == 0
    return out


def test_torch_onnx_and_the_runtime_say_the_same(tuned, exported, store):
    model = Model(exported)
    tiles = real_tiles(store, 64, count=3)
    spec, network = load_model(tuned / "model.safetensors")
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles)).softmax(1).numpy()
    np.testing.assert_allclose(model.run(tiles), expected, atol=1e-4)
    assert [c.value for c in model.card.classes] == [10, 20, 30]
    assert model.card.task == spec.task
    written = onnx.load(exported)
    assert (written.ir_version, written.opset_import[0].version) == (8, 17)


def test_the_card_gives_deepness_the_raw_values_back(exported):
    keys = {p.key: json.loads(p.value) for p in onnx.load(exported).metadata_props}
    raw = np.arange(256, dtype=np.float32)
    fed = (raw / 255 - keys["standardization_mean"][0]) / keys["standardization_std"][0]
    np.testing.assert_allclose(fed, raw, atol=1.5e-5 * 255)
    assert keys["model_type"] in ("Segmentor", "Recognition")
    assert keys["class_names"]["1"] == "class 20"
    item = json.loads(exported.with_suffix(".mlm.json").read_text())
    check_model_item(item)
    check_model_item(keys["mlm"])
    assert item["properties"]["title"] == "model"
    settings = yaml.safe_load((exported.parent / "config.yaml").read_text())
    said = item["properties"]["mlm:hyperparameters"]
    assert {key: said[key] for key in ("task", "epochs", "lr")} == {
        key: settings[key] for key in ("task", "epochs", "lr")
    }
    assert not {"data", "out", "encoder", "device"} & set(said)
    assert item["properties"] == keys["mlm"]["properties"]
    assert keys["mlm"]["stac_extensions"] == ["https://stac-extensions.github.io/mlm/v1.6.0/schema.json"]


def test_in_deepness_the_file_says_what_it_says_here(exported, world, tmp_path):
    with rasterio.open(world[0][0]) as source:
        pixels = source.read(window=rasterio.windows.Window(40, 40, 64, 64))
    keys, theirs = in_deepness(exported, pixels)
    model = Model(exported, "cpu", threads=1)
    if model.card.task == "classification":  # Deepness knows no scene classes: it takes the vector
        assert keys["model_type"] == "Recognition"
        np.testing.assert_allclose(theirs, model.run(pixels[None])[0], atol=1e-5)
        return
    raster = write_raster(tmp_path / "tile.tif", pixels, pixel=keys["resolution"] / 100)
    assert call(predict.main, exported, raster, "--out", tmp_path / "out", "--threads", 1) == 0
    with rasterio.open(tmp_path / "out" / "tile.tif") as result:
        ours = result.read(1)
    value_of = {entry.name: entry.value for entry in model.card.classes}
    values = np.array([value_of[keys["class_names"][str(number)]] for number in range(len(value_of))])
    assert len(np.unique(ours)) > 1
    assert np.array_equal(ours, values[theirs])


def test_the_bare_encoder_is_exported_as_an_embedding_model(run, store, tmp_path):
    out = tmp_path / "encoder.onnx"
    assert call(to_onnx.main, run, "--task", "embedding", "--out", out) == 0
    assert Model(out).run(real_tiles(store, 32, count=2)).shape == (2, 512)


def test_bad_input_of_training_gets_one_sentence(run, store, tmp_path, capsys):
    encoder = run / "encoder.safetensors"
    (tmp_path / "text.safetensors").write_text("nothing")
    learn = ["pretrain", "--data", store.path, "--out", tmp_path / "x"]
    tune = ["finetune", "--data", store.path, "--encoder", encoder, "--out", tmp_path / "x"]
    cases = {
        "no chip store there": ["pretrain", "--data", tmp_path, "--out", tmp_path / "x"],
        "--variant simclr: choose one of": [
            "pretrain",
            "--data",
            store.path,
            "--variant",
            "simclr",
            "--out",
            tmp_path / "x",
        ],
        "--batch-size 256: must not exceed --queue 100": [
            "pretrain",
            "--data",
            store.path,
            "--batch-size",
            256,
            "--queue",
            100,
            "--out",
            tmp_path / "x",
        ],
        "already exists": ["pretrain", "--data", store.path, "--out", run],
        "no last.ckpt to resume": ["pretrain", "--data", store.path, "--out", tmp_path / "x", "--resume"],
        "none.safetensors: no such file": ["probe", "--data", store.path, "--encoder", tmp_path / "none.safetensors"],
        "not a safetensors file": ["probe", "--data", store.path, "--encoder", tmp_path / "text.safetensors"],
        "must be above 0 and at most 1": [
            "finetune",
            "--data",
            store.path,
            "--encoder",
            encoder,
            "--out",
            tmp_path / "x",
            "--labels-fraction",
            2,
        ],
        "--task art: choose one of segmentation, classification, sequence, detection": [
            "finetune",
            "--data",
            store.path,
            "--encoder",
            encoder,
            "--out",
            tmp_path / "x",
            "--task",
            "art",
        ],
        "--epochs 0: must be above 0": ["pretrain", "--data", store.path, "--out", tmp_path / "x", "--epochs", 0],
        "--temperature 0.0: must be above 0": [
            "pretrain",
            "--data",
            store.path,
            "--out",
            tmp_path / "x",
            "--temperature",
            0,
        ],
        "--geo-head tail: choose one of projection, trunk": [
            "pretrain",
            "--data",
            store.path,
            "--out",
            tmp_path / "x",
            "--geo-head",
            "tail",
        ],
        "--seed -1: must be at least 0": ["pretrain", "--data", store.path, "--out", tmp_path / "x", "--seed", -1],
        "--arch vgg: choose": ["pretrain", "--data", store.path, "--out", tmp_path / "x", "--arch", "vgg"],
        "--precision half": [
            "finetune",
            "--data",
            store.path,
            "--encoder",
            encoder,
            "--out",
            tmp_path / "x",
            "--precision",
            "half",
        ],
        "contains the --encoder of this run": [
            "probe",
            "--data",
            store.path,
            "--encoder",
            encoder,
            "--out",
            run,
            "--overwrite",
        ],
        "has already finished its 2 epochs": ["pretrain", "--config", run / "config.yaml", "--out", run, "--resume"],
        "--views.size 0: must be at least 2 px": [*learn, "--views.size", 0],
        "--views.jitter-chance 2.0: must be between 0 and 1": [*learn, "--views.jitter-chance", 2],
        "--arch convnext_atto: does not accept images of 16 px": [
            *learn,
            "--arch",
            "convnext_atto",
            "--views.size",
            16,
        ],
        "--momentum 1.5: must be between 0 and 1": [*learn, "--momentum", 1.5],
        "--beta -1.0: must be at least 0": [*learn, "--beta", -1],
        "--lr inf: must be above 0": [*learn, "--lr", ".inf"],
        "--batch-size 1: batch norm needs": [*learn, "--batch-size", 1],
        "--max-gap inf: must be from 0 to": [*learn, "--max-gap", ".inf"],
        "--seed 4294967296: must be at least 0": [*learn, "--seed", 2**32],
        "--seed -2: must be at least 0": [*tune, "--seed", -2],
        "--seed -3: must be at least 0": ["probe", "--data", store.path, "--encoder", encoder, "--seed", -3],
        "--device tpu9": ["pretrain", "--data", store.path, "--out", tmp_path / "x", "--device", "tpu9"],
    }
    for message, arguments in cases.items():
        assert call(train.main, *arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert message in error
        assert not (tmp_path / "x").exists()


def test_a_refused_option_leaves_the_old_run_alone(run, store, capsys):
    assert call(train.main, "pretrain", "--data", store.path, "--out", run, "--overwrite", "--arch", "vgg") == 2
    assert (run / "encoder.safetensors").is_file()


def test_a_run_killed_before_its_encoder_was_written_is_finished_by_resuming(run, store, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run, out)
    (out / "encoder.safetensors").unlink()
    assert call(train.main, "pretrain", "--config", out / "config.yaml", "--out", out, "--resume") == 0
    weights = [load_model(folder / "encoder.safetensors")[1].state_dict() for folder in (run, out)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_fine_tuning_resumes_with_its_own_options_only(tuned, store, run, capsys):
    config = (tuned / "config.yaml").read_text()
    again = ["finetune", "--config", tuned / "config.yaml", "--resume"]
    assert call(train.main, *again, "--epochs", 5, "--labels-fraction", 1) == 2
    assert (
        "--resume: --labels-fraction 0.5 is now 1.0, --epochs 3 is now 5; resume with the original options"
        in capsys.readouterr().err
    )
    assert (tuned / "config.yaml").read_text() == config


def test_fine_tuning_refuses_to_run_in_several_processes(tuned, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert call(train.main, "finetune", "--config", tuned / "config.yaml") == 2
    assert "torchrun: fine-tuning runs in one process" in capsys.readouterr().err


def test_a_corrupt_checkpoint_is_reported(run, store, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").write_bytes((run / "last.ckpt").read_bytes()[:5000])
    assert call(train.main, "pretrain", "--data", store.path, "--out", tmp_path / "run", "--resume") == 2
    assert "last.ckpt: corrupt or truncated file" in capsys.readouterr().err


def test_bad_input_of_export_gets_one_sentence_and_no_file(run, tmp_path, capsys):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "encoder.safetensors").symlink_to(run / "encoder.safetensors")
    (tmp_path / "bare" / "config.yaml").write_text("data: null\n")
    cases = {
        "no such file": [tmp_path / "none.safetensors", "--out", tmp_path / "m.onnx"],
        "is it a finished run?": [tmp_path, "--out", tmp_path / "m.onnx"],
        "must end in .onnx": [run, "--out", tmp_path / "m.pt"],
        "the task of this model is embedding, not segmentation": [
            run,
            "--task",
            "segmentation",
            "--out",
            tmp_path / "m.onnx",
        ],
        "contains no chip store": [tmp_path / "bare", "--out", tmp_path / "m.onnx"],
        "must be a multiple of 32": [run, "--tile-size", 50, "--out", tmp_path / "m.onnx"],
    }
    for message, arguments in cases.items():
        assert call(to_onnx.main, *arguments) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("m.*"))


def test_an_encoder_of_other_imagery_is_refused(run, tmp_path, capsys):
    from core.prepare import main as prepare

    paths, labels = make_world(tmp_path, dates=1)
    call(
        prepare,
        "rasters",
        *paths,
        "--size",
        32,
        "--labels",
        labels,
        "--unit",
        "reflectance x 10000",
        "--out",
        tmp_path / "s",
    )
    assert ChipStore(tmp_path / "s").info.unit == "reflectance x 10000"
    assert call(train.main, "probe", "--data", tmp_path / "s", "--encoder", run / "encoder.safetensors") == 2
    assert "was trained on '8-bit values, 0 to 255'" in capsys.readouterr().err


def test_pretraining_imports_nothing_that_reads_rasters():
    code = (
        "import sys\nfor n in ('rasterio', 'torchgeo', 'geopandas', 'onnx'): sys.modules[n] = None\nimport core.train"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=Path(train.__file__).parents[1])


def test_a_store_without_coordinates_and_dates_goes_all_the_way(tmp_path, capsys):
    store, _ = build(Bare(info(chip_size=32, bands=("red", "green", "blue"), dtype="uint8")), tmp_path / "s", workers=1)
    common = ["--data", store.path, "--device", "cpu", "--epochs", 1, "--batch-size", 16]
    learn = [train.main, "pretrain", *common, "--queue", 32, "--out", tmp_path / "run"]
    assert call(*learn) == 2
    assert "--variant moco-geo-tp needs coordinates, which some places lack" in capsys.readouterr().err
    assert call(*learn, "--variant", "moco-tp") == 0
    encoder = tmp_path / "run" / "encoder.safetensors"
    tune = ["--encoder", encoder, "--task", "classification", "--out", tmp_path / "tuned"]
    assert call(train.main, "finetune", *common, *tune) == 0
    assert call(to_onnx.main, tmp_path / "tuned", "--out", tmp_path / "m.onnx") == 0
    item = json.loads((tmp_path / "m.mlm.json").read_text())
    check_model_item(item)
    assert item["geometry"] is None
    assert item["properties"]["datetime"] is not None


def test_a_finetuning_that_was_interrupted_resumes_exactly(run, store, tmp_path, monkeypatch):
    options = ["finetune", "--data", store.path, "--encoder", run / "encoder.safetensors", "--task", "sequence"]
    options += ["--epochs", 3, "--batch-size", 12, "--checkpoint-every", 1, "--precision", "32-true", "--device", "cpu"]
    assert call(train.main, *options, "--out", tmp_path / "whole") == 0
    step = ClassifierModule.training_step

    def cut_off(self, batch, batch_idx):
        if self.global_step == 17:
            raise MemoryError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", cut_off)
        with pytest.raises(MemoryError):
            call(train.main, *options, "--out", tmp_path / "cut")
    state = torch.load(tmp_path / "cut" / "last.ckpt", weights_only=False)
    loader = state["callbacks"]["Checkpoints"]["loader"]
    assert state["global_step"] == loader["step"] == 17
    assert call(train.main, *options, "--out", tmp_path / "cut", "--resume") == 0
    cut, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_the_command_imports_torch_only_when_it_runs():
    """Processes that cut chips for a quickstart import ``core.train`` too."""
    seen = "import sys, core.train; raise SystemExit(sorted({'torch', 'lightning', 'sklearn'} & set(sys.modules)) or 0)"
    assert subprocess.run([sys.executable, "-c", seen], check=False).returncode == 0

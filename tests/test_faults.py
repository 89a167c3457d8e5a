"""What an interruption, a kill, and names that meet leave behind: all of a result or nothing, and never a lost input."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from export import predict
from export.runtime.errors import InputFault
from export.runtime.files import Staging, commit, undisturbed
from tests.conftest import call, write_raster
from tests.models import card_item, write_model
from tests.test_batch import leftovers, noise, random_model


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def other_model(path: Path) -> Path:
    return write_model(
        path, np.random.default_rng(2).normal(0, 0.01, (3, 3, 3, 3)), card_item(tile_size=64, overlap=16)
    )


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "scene.tif", noise(60, 80), nodata=0)


@pytest.mark.parametrize("links", [True, False])
def test_interrupted_at_any_move_the_former_results_are_whole(scene, tmp_path, monkeypatch, capsys, links):
    one, two, out = random_model(tmp_path / "1.onnx"), other_model(tmp_path / "2.onnx"), tmp_path / "out"
    words = (scene, "--out", out, "--confidence", "--areas", "--polygons")
    assert call(predict.main, one, *words) == 0
    former, replace, moved, stop = contents(out), os.replace, [], 1

    def interrupted(source, target):
        moved.append(target)
        if len(moved) == stop:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    if not links:
        monkeypatch.setattr(
            os, "link", lambda *names, **how: replace(tmp_path / "none", tmp_path / "there")
        )  # an OSError
    while code := call(predict.main, two, *words):
        assert code == 130
        assert contents(out) == former
        assert "no incomplete files were left" in capsys.readouterr().err
        moved.clear()
        stop += 1
    assert stop > len(former)  # each file was the one that failed
    assert Path(moved[0]).name.startswith(".former-scene.stac.json")
    assert Path(moved[-1]).name == "scene.stac.json"
    assert former.keys() == contents(out).keys()
    assert former["scene.tif"] != contents(out)["scene.tif"]


def test_a_file_that_cannot_be_replaced_keeps_all_as_they_were_in_every_folder(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("former")
    (tmp_path / "two" / "b").mkdir()
    with Staging(tmp_path / "one") as one, Staging(tmp_path / "two") as two:
        for staging, name in ((one, "a"), (two, "a"), (two, "b"), (two, "c")):
            staging.keep(name).write_text("new")
        with pytest.raises(InputFault, match="two/b: cannot be written to"):
            commit([one, two])
    assert {path.read_text() for path in tmp_path.rglob("a")} == {"former"}
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["a", "b"]


def interrupted_in_between(done: list[str]) -> None:
    with undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("all")


def test_a_signal_waits_while_results_are_moved():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted_in_between(done)
    assert done == ["all"]
    beside = threading.Thread(target=lambda: done.append(str(undisturbed().__enter__())))
    beside.start()
    beside.join()
    assert len(done) == 2  # in a thread it does nothing: only the main thread takes signals


def test_an_old_map_of_blocks_goes_before_its_blocks_change(scene, tmp_path, monkeypatch):
    big, out = write_raster(tmp_path / "big.tif", noise(300, 600), nodata=0), tmp_path / "out"
    assert call(predict.main, random_model(tmp_path / "1.onnx"), big, "--out", out, "--block", 256) == 0
    monkeypatch.setattr("export.batch.workers.join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert call(predict.main, other_model(tmp_path / "2.onnx"), big, "--out", out, "--block", 256) == 130
    assert not (out / "big.vrt").exists()  # it would show blocks of both models
    assert not (out / "big.stac.json").exists()
    assert not leftovers(out)

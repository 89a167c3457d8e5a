"""What an interruption, a kill, and names that meet leave behind: all of a result or nothing, and never a lost input."""

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from export import predict
from export.batch import manifest
from export.batch.manifest import Manifest, holding
from export.runtime import files
from export.runtime.errors import InputFault
from export.runtime.files import Staging, commit, locked, undisturbed
from tests.conftest import call, write_raster
from tests.models import card_item, write_model
from tests.test_batch import done, leftovers, noise, random_model, same, start, wait_for


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


@pytest.fixture
def big(tmp_path: Path) -> tuple:
    """A raster of many blocks, and how it is run by two processes."""
    raster = write_raster(tmp_path / "big.tif", noise(600, 1000), nodata=0)
    return raster, "--block", 256, "--threads", 1, "--out", tmp_path / "out"


def stopped_workers(parent: int, out: Path) -> list[psutil.Process]:
    """Stopped at a moment when none of them gives files their names, which the next run would wait for."""
    while True:
        workers = [child for child in psutil.Process(parent).children() if "spawn_main" in " ".join(child.cmdline())]
        for worker in workers:
            worker.suspend()
        with open(out / manifest.RUN) as file:
            if locked(file):
                return workers
        for worker in workers:
            worker.resume()


def test_workers_of_a_killed_run_end_and_never_replace_what_the_next_run_made(big, tmp_path):
    one, two, out = random_model(tmp_path / "1.onnx"), other_model(tmp_path / "2.onnx"), tmp_path / "out"
    with start(one, *big, "--workers", 2) as running:
        wait_for(lambda: done(out) >= 2)
        workers = stopped_workers(running.pid, out)
        running.kill()
        running.wait()
    assert call(predict.main, two, *big) == 0
    made = {name: data for name, data in contents(out).items() if ".geoaware-run" not in name}
    for worker in workers:
        if worker.is_running():
            worker.resume()
    assert not psutil.wait_procs(workers, 30)[1]
    assert all(contents(out)[name] == data for name, data in made.items())
    assert call(predict.main, two, *big) == 0
    assert contents(out).keys() == made.keys()  # nothing is left


def test_only_the_run_that_holds_a_folder_gives_results_their_names(tmp_path, monkeypatch):
    killed = Manifest(tmp_path)
    with holding(tmp_path, killed.run), holding(tmp_path, killed.run):  # two of its workers
        pass
    killed._file.close()  # as a kill does
    monkeypatch.setattr(manifest, "_PATIENCE", 0.1)
    with holding(tmp_path, killed.run), pytest.raises(InputFault, match="in use by another run"):
        Manifest(tmp_path)
    following = Manifest(tmp_path)
    with holding(tmp_path, following.run):
        pass
    for run in (killed.run, following.run):
        with pytest.raises(InputFault, match="no longer this run's"), holding(tmp_path, run):
            pass
        following.close()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_ctrl_c_ends_a_run_whose_workers_are_stopped(big, tmp_path):
    out = tmp_path / "out"
    with start(random_model(tmp_path / "1.onnx"), *big, "--workers", 2) as running:
        wait_for(lambda: done(out) >= 2)
        stopped_workers(running.pid, out)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)[1]  # 60 s before
    assert running.returncode == 130
    assert "run the same command to resume" in said.splitlines()[-1]
    assert not leftovers(out)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_ctrl_c_while_a_command_starts_is_an_interruption(scene, tmp_path):
    with start(tmp_path / "model.onnx", scene, "--out", tmp_path / "out") as running:
        wait_for(lambda: "numpy" in Path(f"/proc/{running.pid}/maps").read_text())
        for _ in range(2):
            running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)[1]
    assert (running.returncode, said) == (130, "interrupted\n")


def raster(path: Path, side: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_raster(path, noise(side, side + 20), nodata=0)


def vrt(path: Path, source: Path) -> Path:
    """A virtual raster of one file."""
    import rasterio.shutil

    path.parent.mkdir(parents=True, exist_ok=True)
    rasterio.shutil.copy(source, path, driver="VRT")
    return path


SUFFIXES = [("a_confidence", "--confidence"), ("a_probabilities", "--probabilities")]


@pytest.mark.parametrize(("other", "option"), SUFFIXES)
@pytest.mark.parametrize("block", [(), ("--block", 256), ("--block", 256, "--merge")])
def test_results_of_two_rasters_never_meet(tmp_path, capsys, other, option, block):
    model, out = random_model(tmp_path / "m.onnx"), tmp_path / "out"
    rasters = [raster(tmp_path / "in" / f"{name}.tif", 300) for name in ("a", other)]
    assert call(predict.main, model, tmp_path / "in", "--out", out, option, *block) == 2
    said = capsys.readouterr().err
    assert all(str(raster) in said for raster in rasters)
    assert f"{out / other}" in said
    assert "rename one of them, or use two output folders" in said
    assert sorted(path.name for path in out.iterdir()) == ["manifest.jsonl"]
    assert call(predict.main, model, tmp_path / "in", "--out", out, *block) == 0  # without it all names differ


@pytest.mark.parametrize("second", ["a_blocks/0000000_0000000.tif", "a.tif/b.tif", "a.qml/b.tif"])
def test_neither_blocks_nor_folders_take_the_place_of_a_result(tmp_path, capsys, second):
    for name in ("a.vrt.tif", second):  # the first is called as a result of "a" with another suffix: no harm
        raster(tmp_path / "in" / name)
    first = raster(tmp_path / "in" / "a.img")
    assert call(predict.main, random_model(tmp_path / "m.onnx"), tmp_path / "in", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert f"of {first}" in said
    assert f"{tmp_path / 'in' / second}" in said


def kept(model: Path, capsys, *words: object, inputs: list[Path]) -> str:
    """What a run that is refused says; its inputs stay."""
    before = [path.read_bytes() for path in inputs]
    assert call(predict.main, model, *words) == 2
    assert [path.read_bytes() for path in inputs] == before
    return capsys.readouterr().err


def test_no_result_takes_the_place_of_any_input_of_the_run(tmp_path, capsys):
    model, folder = random_model(tmp_path / "m.onnx"), tmp_path / "scenes"
    far = raster(tmp_path / "far.tif", 300)
    second = raster(folder / "b_confidence.tif")
    first = vrt(folder / "b.vrt", far)
    words = (first, "--confidence", "--out", folder)
    # beside its own name, that of another raster, of a member of a virtual raster, however deep, of a link to it
    assert f"{second}: would be a result of" in kept(model, capsys, second, *words, inputs=[second, first])
    for where in (vrt(tmp_path / "c.vrt", second), vrt(tmp_path / "d.vrt", tmp_path / "c.vrt")):
        said = kept(model, capsys, where, *words, inputs=[second, first])
        assert f"{second}: would overwrite {second}, which is read; choose another --out" in said
    (tmp_path / "link.tif").symlink_to(second)
    said = kept(model, capsys, tmp_path / "link.tif", *words, inputs=[second, first])
    assert f"{second}: would overwrite {tmp_path / 'link.tif'}, which is read" in said
    # blocks, and the polygons of --mask
    cut, block = raster(folder / "g.tif", 300), raster(folder / "g_blocks" / "0000000_0000000.tif")
    words = (cut, vrt(tmp_path / "e.vrt", block), "--out", folder, "--block", 256)
    assert f"{block}: would overwrite {block}, which is read" in kept(model, capsys, *words, inputs=[block])
    mask = folder / "far_areas.json"
    shape = {"type": "Polygon", "coordinates": [[[15, 45], [15, 45.2], [15.2, 45.2], [15, 45]]]}
    mask.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": shape}))
    for more in ((), ("--block", 256)):
        said = kept(model, capsys, far, "--out", folder, "--areas", "--mask", mask, *more, inputs=[mask])
        assert f"{mask}: would overwrite {mask}, which is read" in said
    # an Item that is read, of which the map would be another
    item = folder / "x.stac.json"
    asset = {"href": str(far), "type": "image/tiff"}
    item.write_text(json.dumps({"type": "Feature", "id": "x", "properties": {}, "assets": {"image": asset}}))
    assert f"{item}: would overwrite {item}" in kept(model, capsys, item, "--out", folder, inputs=[item])
    # neither of which keeps a sound run from being made and repeated
    assert call(predict.main, model, far, first, "--out", folder) == 0
    assert call(predict.main, model, far, first, "--out", folder, "--overlap", 4) == 0


def test_names_that_differ_only_in_case_meet_where_the_disk_ignores_case(tmp_path, capsys, monkeypatch):
    model = random_model(tmp_path / "m.onnx")
    for name in ("a", "A_Confidence"):
        raster(tmp_path / "in" / f"{name}.tif")
    words = (model, tmp_path / "in", "--confidence", "--out")
    assert call(predict.main, *words, tmp_path / "out") == 0
    monkeypatch.setattr(files, "_ignores_case", lambda folder: True)
    assert call(predict.main, *words, tmp_path / "other") == 2
    assert "would be a result of" in capsys.readouterr().err


def test_a_source_of_many_files_is_stated_once(tmp_path):
    """A mosaic of 64 files in 16 blocks: neither a unit nor a line of a block grows with the number of files."""
    from export.batch.units import Unit

    model, out = random_model(tmp_path / "m.onnx"), tmp_path / "out"
    names = [raster(tmp_path / "tiles" / f"a_rather_long_name_of_a_tile_{number}.tif") for number in range(64)]
    mosaic = tmp_path / "mosaic.vrt"
    text = vrt(mosaic, raster(tmp_path / "whole.tif", 1000)).read_text()
    place = '<SrcRect xOff="0" yOff="0" xSize="1" ySize="1"/><DstRect xOff="0" yOff="0" xSize="1" ySize="1"/>'
    sources = [
        f'<SimpleSource><SourceFilename relativeToVRT="0">{name}</SourceFilename>{place}</SimpleSource>'
        for name in names
    ]
    mosaic.write_text(text.replace("<SimpleSource>", "".join(sources) + "<SimpleSource>", 1))
    assert call(predict.main, model, mosaic, "--out", out, "--block", 256) == 0
    *blocks, joined = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(blocks) == 16
    assert set(map(str, names)) <= set(joined["files"])
    assert not any("files" in entry for entry in blocks)
    assert not any("files" in field for field in Unit.__dataclass_fields__)
    assert call(predict.main, model, mosaic, "--out", out, "--block", 256) == 0
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 17  # nothing was made again
    names[5].touch()
    assert call(predict.main, model, mosaic, "--out", out, "--block", 256) == 0
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 34  # a file of it changed


def test_a_raster_too_wide_for_the_memory_is_cut_into_blocks_by_default(tmp_path, monkeypatch, capsys):
    model, wide = random_model(tmp_path / "m.onnx"), raster(tmp_path / "wide.tif", 1500)
    assert call(predict.main, model, wide, "--out", tmp_path / "one", "--threads", 1) == 0
    for module in ("runtime.infer.job", "batch.explain", "predict"):
        monkeypatch.setattr(f"export.{module}.free_memory", lambda: 700_000)
    assert call(predict.main, model, wide, "--out", tmp_path / "many", "--threads", 1) == 0
    said = capsys.readouterr().err
    assert f"warning: {wide}: 1520 px are too wide for one piece" in said
    assert "cut into blocks, joined by wide.vrt" in said
    assert len(list((tmp_path / "many" / "wide_blocks").glob("*.tif"))) == 4
    assert same(tmp_path / "one", tmp_path / "many")
    assert call(predict.main, model, wide, "--explain") == 0
    assert "cut into blocks" in capsys.readouterr().err
    assert call(predict.main, model, wide, wide, "--out", tmp_path / "many", "--threads", 1) == 0
    assert "already mapped" in capsys.readouterr().err

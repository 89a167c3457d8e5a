"""Batches of rasters: what is mapped, what is skipped, who runs it, and what a kill leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio

from export import predict
from export.runtime.files import PREFIX, Staging, clear_leftovers
from tests.conftest import call, write_raster
from tests.models import card_item, write_model

ROOT = Path(__file__).parents[1]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def noise(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Fields of about 9 px with a gap."""
    fields = np.random.default_rng(seed).integers(1, 255, (3, rows // 9 + 1, columns // 9 + 1)).astype(np.uint8)
    pixels = fields.repeat(9, axis=1).repeat(9, axis=2)[:, :rows, :columns]
    pixels[:, rows // 4 : rows // 2, : columns // 3] = 0
    return pixels


def random_model(path: Path, gsd: float | None = 10.0, **card: object) -> Path:
    kernel = np.random.default_rng(1).normal(0, 0.01, (3, 3, 5, 5))
    return write_model(path, kernel, card_item(gsd=gsd, tile_size=64, overlap=16, **card))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return random_model(tmp_path / "model.onnx")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three rasters, two of one name in two sub-folders."""
    for number, name in enumerate(("north/a", "south/a", "b")):
        path = tmp_path / "scenes" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_raster(path, noise(60, 80, number), nodata=0)
    return tmp_path / "scenes"


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def units(out: Path) -> list[str]:
    return [entry["unit"] for entry in lines(out)]


def pixels(out: Path) -> dict[str, np.ndarray]:
    """Every map, confidence and probability that a user would open."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.suffix in (".tif", ".vrt") and "_blocks" not in path.parent.name:
            with rasterio.open(path) as source:
                found[str(path.relative_to(out).with_suffix(""))] = source.read()
    return found


def same(one: Path, other: Path) -> bool:
    mine, its = pixels(one), pixels(other)
    return mine.keys() == its.keys() and all(np.array_equal(mine[k], its[k], equal_nan=True) for k in mine)


def leftovers(out: Path) -> list[Path]:
    return list(out.rglob(f"{PREFIX}*"))


def test_a_second_run_redoes_only_what_differs(model, scenes, tmp_path, capsys):
    out = tmp_path / "out"
    run = (predict.main, model, scenes, "--out", out, "--confidence")
    assert call(*run) == 0
    assert units(out) == ["b", "north/a", "south/a"]
    assert all(entry["state"] == "done" and entry["time"] and entry["provider"] for entry in lines(out))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tif")}
    assert call(*run) == 0
    assert "3 already mapped" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.tif")} == before

    write_raster(scenes / "b.tif", noise(60, 80, 9), nodata=0)  # another input
    damaged = out / "north" / "a_confidence.tif"  # another output
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    (out / "south" / "a.tif").touch()  # the same, but for the time
    assert call(*run) == 0
    assert units(out)[3:] == ["b", "north/a"]
    assert call(*run, "--overlap", 4) == 0  # other options
    assert len(lines(out)) == 8
    write_model(model, np.ones((3, 3, 1, 1)), card_item(gsd=10.0))  # another model
    assert call(*run, "--overlap", 4) == 0
    assert len(lines(out)) == 11


def test_an_incomplete_line_of_the_manifest_is_ignored_and_harms_no_other(model, scenes, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(predict.main, model, scenes, "--out", out) == 0
    manifest = out / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-40])
    assert call(predict.main, model, scenes, "--out", out) == 0
    assert "1 mapped, 2 already mapped" in capsys.readouterr().err
    assert call(predict.main, model, scenes, "--out", out) == 0
    assert "3 already mapped" in capsys.readouterr().err


def test_a_raster_that_fails_stops_no_other_and_is_named_at_the_end(model, scenes, tmp_path, capsys):
    (scenes / "broken.tif").write_text("no raster")
    write_raster(scenes / "c.tif", noise(60, 80)[:1])
    assert call(predict.main, model, scenes, "--out", tmp_path / "out") == 1
    output = capsys.readouterr().err.splitlines()
    end = output[output.index("failed:") :]
    assert end[1].startswith("  broken: ")
    assert "cannot be read as a raster" in end[1]
    assert "  c: " in end[2]
    assert "has 1 bands, but the model needs 3" in end[2]
    assert end[3].endswith("3 mapped, 2 failed")
    write_raster(scenes / "broken.tif", noise(60, 80), nodata=0)
    (scenes / "c.tif").unlink()
    assert call(predict.main, model, scenes, "--out", tmp_path / "out") == 0
    assert "1 mapped, 3 already mapped" in capsys.readouterr().err


EVERYTHING = ("--confidence", "--probabilities", "--polygons", "--areas")


@pytest.mark.parametrize(
    ("card", "side", "options"),
    [
        ({}, 300, EVERYTHING),
        ({"gsd": 16.0}, 460, ("--confidence",)),
        ({"gsd": 8.0}, 400, ("--grid", "model", "--bounds", 500_300, 4_996_700, 503_900, 4_999_500)),
    ],
)
def test_joined_blocks_have_the_bits_of_one_pass(card, side, options, tmp_path):
    model = random_model(tmp_path / "model.onnx", **card)
    raster = write_raster(tmp_path / "scene.tif", noise(side, side + 20), nodata=0)
    common = (predict.main, model, raster, "--threads", 1, *options)
    assert call(*common, "--out", tmp_path / "one") == 0
    assert call(*common, "--out", tmp_path / "vrt", "--block", 256) == 0
    assert call(*common, "--out", tmp_path / "cog", "--block", 256, "--merge") == 0
    assert len(list((tmp_path / "vrt" / "scene_blocks").glob("*[0-9].tif"))) >= 4
    assert not (tmp_path / "cog" / "scene_blocks").exists()
    for out in (tmp_path / "vrt", tmp_path / "cog"):
        assert same(tmp_path / "one", out)
        if "--polygons" in options:
            mine, its = (
                pyogrio.raw.read(folder / "scene.gpkg", layer="land_cover") for folder in (tmp_path / "one", out)
            )
            assert np.array_equal(mine[2], its[2])
            assert all(np.array_equal(a, b) for a, b in zip(mine[3], its[3]))
            for suffix in ("csv", "json"):
                name = f"scene_areas.{suffix}"
                assert (tmp_path / "one" / name).read_text() == (out / name).read_text()
    described = [
        tmp_path / "one" / "scene.tif.aux.xml",
        tmp_path / "vrt" / "scene.vrt",
        tmp_path / "cog" / "scene.tif.aux.xml",
    ]
    for tag in ("CategoryNames", "GDALRasterAttributeTable"):
        found = {ElementTree.tostring(ElementTree.parse(path).getroot().find(f".//{tag}")) for path in described}
        assert len(found) == 1
    merged = (tmp_path / "cog" / "scene.tif").read_bytes()
    assert merged == (tmp_path / "one" / "scene.tif").read_bytes()


def test_blocks_of_scene_windows_and_of_polygons_have_the_bits_of_one_pass(tmp_path, scenes):
    from tests.models import write_given, write_graph

    model = write_graph(
        tmp_path / "scene.onnx",
        [("GlobalAveragePool", ["image"], ["mean"], {}), ("Flatten", ["mean"], ["logits"], {})],
        {"logits": (1, ["batch", 3])},
    )
    write_given(model, task="classification", activation="logits")
    dense = random_model(tmp_path / "dense.onnx")
    raster = write_raster(tmp_path / "scene.tif", noise(500, 520), nodata=0)
    from shapely import Point, to_wkb

    shape = to_wkb(np.array([Point(503_000, 4_996_500).buffer(2_500)]))
    mask = tmp_path / "mask.gpkg"
    pyogrio.raw.write(mask, shape, [], [], geometry_type="Polygon", crs="EPSG:32633", driver="GPKG")
    for name, options in ((model, ("--stride", 16, "--confidence")), (dense, ("--mask", mask, "--confidence"))):
        one, many = tmp_path / f"{name.stem}1", tmp_path / f"{name.stem}2"
        assert call(predict.main, name, raster, "--threads", 1, *options, "--out", one) == 0
        assert call(predict.main, name, raster, "--threads", 1, *options, "--out", many, "--block", 256) == 0
        assert (many / "scene.vrt").exists()
        assert same(one, many)


def test_only_the_block_that_is_missing_is_made_again_and_joining_alone_adds_areas(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", noise(300, 600), nodata=0)
    out = tmp_path / "out"
    run = (predict.main, model, raster, "--out", out, "--block", 256)
    assert call(*run) == 0
    first = units(out)
    assert first[-1] == "scene"
    assert all(name.startswith("scene_blocks/") for name in first[:-1])
    gone = next((out / "scene_blocks").glob("*.tif"))
    gone.unlink()
    assert call(*run) == 0
    assert units(out)[len(first) :] == [f"scene_blocks/{gone.stem}", "scene"]
    assert call(*run, "--areas") == 0
    assert units(out)[len(first) + 2 :] == ["scene"]
    assert (out / "scene_areas.csv").exists()
    assert call(*run, "--areas", "--merge") == 0
    assert {path.name for path in out.iterdir()} == {
        "manifest.jsonl", "scene.tif", "scene.tif.aux.xml", "scene.qml", "scene.stac.json", "scene_areas.csv",
        "scene_areas.json",
    }  # fmt: skip


def start(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "export.predict", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=ENV, stderr=subprocess.PIPE, text=True)


def wait_for(found, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def done(out: Path) -> int:
    manifest = out / "manifest.jsonl"
    return manifest.read_text().count('"done"') if manifest.exists() else 0


def whole(path: Path) -> bool:
    with rasterio.open(path) as source:
        return bool(source.read().size)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple:
    """A raster of many blocks, its arguments, and what an undisturbed run makes of it."""
    folder = tmp_path_factory.mktemp("large")
    raster = write_raster(folder / "large.tif", noise(600, 1000), nodata=0, compress="deflate")
    words = (random_model(folder / "model.onnx"), raster, "--block", 256, "--threads", 1, "--exact")
    assert call(predict.main, *words, "--out", folder / "undisturbed") == 0
    return words, folder / "undisturbed"


def test_killed_with_its_workers_nothing_is_half_and_the_next_run_finishes(large, tmp_path):
    words, undisturbed = large
    out = tmp_path / "out"
    with start(*words, "--out", out, "--workers", 2) as running:
        wait_for(lambda: done(out) >= 3)
        running.kill()
        running.communicate(timeout=60)
    for path in out.rglob("*.tif"):
        assert any(part.startswith(".") for part in path.relative_to(out).parts) or whole(path)
    kept = done(out)
    assert call(predict.main, *words, "--out", out) == 0
    assert 3 <= kept < done(out)
    assert same(undisturbed, out)
    wait_for(lambda: not leftovers(out), 10)  # a process that lost its parent ends within a tile
    assert {path.name for path in out.iterdir()} == {path.name for path in undisturbed.iterdir()}


@pytest.mark.parametrize(("sign", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_an_interrupted_batch_keeps_finished_maps_and_says_how_to_resume(large, tmp_path, sign, workers):
    words, undisturbed = large
    out = tmp_path / "out"
    with start(*words, "--out", out, "--workers", workers) as running:
        wait_for(lambda: done(out) >= 2)
        running.send_signal(sign)
        begun = time.monotonic()
        said = running.communicate(timeout=60)[1]
        assert time.monotonic() - begun < 10
    assert running.returncode == 130
    assert "run the same command to resume" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not leftovers(out)
    assert call(predict.main, *words, "--out", out) == 0
    assert len(units(out)) == len(set(units(out)))  # nothing that was done was made again
    assert same(undisturbed, out)


@contextmanager
def meanwhile(out: Path, units: int, action) -> Iterator[None]:
    """Once so many units are done, do something beside what runs here."""

    def act() -> None:
        wait_for(lambda: done(out) >= units)
        action()

    with ThreadPoolExecutor(1) as beside:
        acted = beside.submit(act)
        yield
        acted.result()


def test_a_worker_that_dies_is_replaced(large, tmp_path):
    import psutil

    def kill_one() -> None:
        max(psutil.Process().children(), key=lambda child: child.memory_info().rss).kill()

    words, undisturbed = large
    out = tmp_path / "out"
    with meanwhile(out, 2, kill_one):
        assert call(predict.main, *words, "--out", out, "--workers", 2) == 0
    assert same(undisturbed, out)
    assert len(units(out)) == len(set(units(out)))
    assert not leftovers(out)


def test_two_runs_do_not_write_into_one_folder(model, scenes, tmp_path, capsys):
    from export.batch.manifest import Manifest

    other = Manifest(tmp_path / "out")
    assert call(predict.main, model, scenes, "--out", tmp_path / "out") == 2
    assert "in use by another run" in capsys.readouterr().err
    other.close()
    assert call(predict.main, model, scenes, "--out", tmp_path / "out") == 0


def test_a_leftover_is_cleared_and_the_folder_of_a_living_run_is_not(tmp_path):
    code = f"import os; from pathlib import Path; from export.runtime.files import Staging; Staging(Path({str(tmp_path)!r})); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert len(leftovers(tmp_path)) == 1
    with Staging(tmp_path) as living:
        clear_leftovers(tmp_path)
        (inside,) = leftovers(tmp_path)
        assert (living / "x").parent == inside


@contextmanager
def dask_workers(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A cluster of two workers, each a process of its own; its address and the workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0") as scheduler:
        address = scheduler.scheduler_address
        command = [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        place = ["--local-directory", folder / "dask"]
        workers = [subprocess.Popen([*command, *place], cwd=ROOT, env=ENV, **quiet) for _ in range(2)]
        try:
            yield address, workers
        finally:
            for process in workers:
                process.kill()
                process.wait()


def test_a_cluster_that_loses_a_worker_makes_the_same_map_once(large, tmp_path):
    words, undisturbed = large
    out = tmp_path / "out"
    with dask_workers(tmp_path) as (address, workers), meanwhile(out, 3, workers[0].kill):
        assert call(predict.main, *words, "--out", out, "--dask", address) == 0
    assert same(undisturbed, out)


def test_a_unit_whose_workers_were_preempted_says_so_and_not_that_memory_was_short(large, tmp_path, capsys):
    dask = pytest.importorskip("dask")
    words, undisturbed = large
    out = tmp_path / "out"
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        dask_workers(tmp_path) as (address, workers),
        meanwhile(out, 3, workers[0].terminate),
    ):
        assert call(predict.main, *words, "--out", out, "--dask", address) == 2
    assert "its workers were lost (1 in all): preempted, stopped, cut off or out of memory" in capsys.readouterr().err
    assert call(predict.main, *words, "--out", out) == 0
    assert same(undisturbed, out)


def test_a_missing_cluster_or_package_is_reported(model, scenes, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("export.batch.workers.WAIT", 1)
    run = (predict.main, model, scenes, "--out", tmp_path / "out", "--dask", "tcp://127.0.0.1:9")
    assert call(*run) == 2
    assert "--dask tcp://127.0.0.1:9: no scheduler answers there" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert call(*run) == 2
    assert "pip install 'geoaware[dask]'" in capsys.readouterr().err


def test_real_scenes_in_blocks_by_two_workers_are_the_map_of_one(real, tmp_path):
    source = real / "landsat_peru_1985_2020"
    model = random_model(tmp_path / "model.onnx", gsd=None)
    (tmp_path / "scenes").mkdir()
    for year in ("1985", "2020"):
        shutil.copy(source / f"{year}.tif", tmp_path / "scenes")
    common = (predict.main, model, tmp_path / "scenes", "--bands", 1, 2, 3, "--nodata", 0, "--exact")
    assert call(*common, "--out", tmp_path / "one", "--threads", 1) == 0
    assert call(*common, "--out", tmp_path / "many", "--workers", 2, "--block", 256) == 0
    assert same(tmp_path / "one", tmp_path / "many")

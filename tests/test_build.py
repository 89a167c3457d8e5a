"""Making a store: in parallel, cut off, with bad files, with every data type."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.store.build import Chip, build
from core.store.read import ChipStore, images_of
from core.store.splits import Split
from tests.sources import Ramp, info

ROOT = Path(__file__).parents[1]


def contents(folder: Path) -> dict[str, str]:
    """Checksum of every file of a store."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("stores") / "store"
    build(Ramp(info()), out, workers=1)
    return out


def start(out: Path, workers: int, pause: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.sources", str(out), str(workers), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_the_number_of_workers_does_not_change_the_store(undisturbed, tmp_path):
    build(Ramp(info()), tmp_path / "store", workers=2)
    assert contents(tmp_path / "store") == contents(undisturbed)


@pytest.mark.parametrize("shards", [0, 1, 4])
def test_a_killed_run_goes_on_and_makes_the_same_store(shards, undisturbed, tmp_path):
    out = tmp_path / "store"
    finished = out.with_name("store.partial") / "shards"
    child = start(out, 2, 0.1)
    while child.poll() is None and len(list(finished.glob("[0-9]*"))) < shards:
        time.sleep(0.01)
    time.sleep(0.05)  # in the middle of the next shard
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists()
    kept = {path.parent.name: path.stat().st_mtime_ns for path in finished.glob("[0-9]*/chips.npy")}
    build(Ramp(info()), out, workers=1)
    assert contents(out) == contents(undisturbed)
    assert all((out / "shards" / name / "chips.npy").stat().st_mtime_ns == time for name, time in kept.items())


def test_a_run_killed_while_it_finishes_goes_on(undisturbed, tmp_path, monkeypatch):
    from core.store import build as module

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    for name in ("write_index", "_finish"):
        out = tmp_path / name
        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(Killed):
                build(Ramp(info()), out, workers=1)
        build(Ramp(info()), out, workers=1)
        assert contents(out) == contents(undisturbed)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the workers in /proc, which is Linux's")
def test_workers_end_when_the_main_process_is_killed(tmp_path):
    child = start(tmp_path / "store", 2, 0.5)
    workers: list[int] = []
    while child.poll() is None and len(workers) < 2:
        time.sleep(0.05)
        workers = workers_of(child.pid)
    assert len(workers) == 2
    while child.poll() is None and not list((tmp_path / "store.partial" / "shards").glob(".*")):
        time.sleep(0.05)
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker goes on without its main process"
        time.sleep(0.05)


def workers_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            started_by = int((folder / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            if started_by == parent and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().split(") ")[1][:1]


def test_places_stand_together_by_date_and_keep_what_the_source_said(undisturbed):
    store = ChipStore(undisturbed)
    index = store.index
    assert list(index["place"]) == sorted(index["place"])
    assert index.groupby("place")["datetime"].is_monotonic_increasing.all()
    assert [list(rows) for rows in images_of(store.places)][:2] == [[0, 1], [2, 3]]
    assert len(store) == 2 * len(store.places) == 2 * 26
    assert (index["place_number"] == np.repeat(np.arange(26), 2)).all()
    number = index["place"].str[-3:].astype(int)
    assert (index["label"] == number % 2).all()
    assert np.allclose(index["lon"], -60 + 0.5 * number)
    assert (store.places["split"].to_numpy() == index["split"].to_numpy()[::2]).all()


def test_chips_masks_and_gaps_come_back_as_they_went_in(undisturbed):
    store = ChipStore(undisturbed)
    rows = np.array([51, 0, 17])
    made = {}
    for task in Ramp(info()).tasks:
        from core.store.build import Tally

        for chip in Ramp(info()).chips(task, Tally()):
            made[chip.place, chip.source] = chip
    for row, chip, mask, pixels in zip(rows, store.raw(rows), store.masks(rows), store.pixels(rows)):
        entry = store.index.iloc[row]
        source = made[entry["place"], entry["source"]]
        assert np.array_equal(chip, np.where(source.valid, source.pixels, 0))
        assert np.array_equal(mask, source.mask)
        assert np.array_equal(np.isnan(pixels[0]), ~source.valid)


def test_two_dates_share_one_copy_of_a_mask(undisturbed):
    masks = sum(len(np.load(path)) for path in undisturbed.glob("shards/*/labels.npy"))
    assert masks == 26


def test_statistics_are_those_of_the_training_pixels_that_hold_data(undisturbed):
    store = ChipStore(undisturbed)
    train = np.flatnonzero(store.index["split"] == "train")
    pixels = store.pixels(train).astype(np.float64)
    assert store.info.mean == pytest.approx(np.nanmean(pixels, axis=(0, 2, 3)))
    assert store.info.std == pytest.approx(np.nanstd(pixels, axis=(0, 2, 3)))
    assert store.info.value_range == (np.nanmin(pixels), np.nanmax(pixels))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_every_data_type_is_kept(dtype, tmp_path):
    @dataclass(frozen=True)
    class One:
        info: object
        tasks: tuple = (0,)
        bad: tuple = ()
        dropped: tuple = ()

        def chips(self, task, tally):
            low = -5 if dtype in ("int16", "float32") else 5
            pixels = np.linspace(low, 100, 128).reshape(2, 8, 8).astype(dtype)
            yield Chip(pixels, np.ones((8, 8), bool), "here", 0, 0, None, "file.tif")

    store, _ = build(One(info(dtype=dtype)), tmp_path / "s", workers=1)
    chip = store.raw(np.array([0]))
    assert chip.dtype == dtype
    assert np.array_equal(
        chip[0], np.linspace(-5 if dtype in ("int16", "float32") else 5, 100, 128).reshape(2, 8, 8).astype(dtype)
    )
    assert store.index["datetime"].isna().all()


def test_bad_files_stop_the_run_and_the_rest_is_kept(tmp_path, undisturbed):
    out = tmp_path / "store"
    with pytest.raises(UserError, match=r"file3.tif: is broken \(1 bad, --max-bad 0\)"):
        build(Ramp(info(), bad_tasks=(3,)), out, workers=1)
    assert not out.exists()
    # Allowed: the others are kept, and the store says what is missing.
    store, tally = build(Ramp(info(), bad_tasks=(3,)), out, workers=1, max_bad=1)
    assert len(store) == 50
    assert "left out file3.tif: is broken" in str(tally)
    assert "file3.tif" in (out / "made.json").read_text()


def test_a_mended_file_is_taken_up_by_the_next_run(tmp_path, undisturbed):
    out = tmp_path / "store"
    with pytest.raises(UserError):
        build(Ramp(info(), bad_tasks=(3,)), out, workers=1)
    build(Ramp(info()), out, workers=1)
    assert contents(out) == contents(undisturbed)


def test_another_command_does_not_touch_an_unfinished_store(tmp_path):
    out = tmp_path / "store"
    with pytest.raises(UserError):
        build(Ramp(info(), bad_tasks=(3,)), out, workers=1)
    with pytest.raises(UserError, match=r"store.partial: is an unfinished store of other options or input"):
        build(Ramp(info(), count=2), out, workers=1)
    store, _ = build(Ramp(info(), count=2), out, workers=1, overwrite=True)
    assert len(store) == 2 * 9


def test_places_beyond_the_antimeridian_come_back_on_the_other_side(tmp_path):
    @dataclass(frozen=True)
    class Fiji:
        info: object
        tasks: tuple = (0,)
        bad: tuple = ()
        dropped: tuple = ()

        def chips(self, task, tally):
            for lon in (179.5, 180.5, -180.5):
                yield Chip(np.ones((2, 8, 8), "uint16"), np.ones((8, 8), bool), f"{lon}", lon, -17, None, "f.tif")

    store, _ = build(Fiji(info()), tmp_path / "s", workers=1)
    assert sorted(store.index["lon"]) == [-179.5, 179.5, 179.5]


@dataclass(frozen=True)
class Sided:
    """Places at 0, 10, 20 ... degrees whose source states sides, or has no coordinates."""

    info: object
    sides: tuple
    located: bool = True
    tasks: tuple = (0,)
    bad: tuple = ()
    dropped: tuple = ()

    def chips(self, task, tally):
        for number, side in enumerate(self.sides):
            lon = number * 10.0 if self.located else float("nan")
            place = f"p{number // 2}"
            yield Chip(np.ones((2, 8, 8), "uint16"), np.ones((8, 8), bool), place, lon, lon / 10, None, "f", split=side)


def test_sides_of_the_source_are_kept(tmp_path):
    store, _ = build(Sided(info(), ("train", "train", "test", "test")), tmp_path / "s", workers=1)
    assert list(store.index["split"]) == ["train", "train", "test", "test"]


def test_a_place_on_both_sides_is_refused(tmp_path):
    source = Sided(info(), ("train", "test"))
    with pytest.raises(UserError, match=r"place p0: the source states two sides \(test, train\)"):
        build(source, tmp_path / "s", workers=1)
    store, _ = build(source, tmp_path / "s", workers=1, split=Split("place"), overwrite=True)
    assert store.index["split"].nunique() == 1


def test_without_coordinates_places_are_dealt_by_name(tmp_path):
    source = Sided(info(), (None,) * 400, located=False)
    store, _ = build(source, tmp_path / "s", workers=1)
    shares = store.places["split"].value_counts(normalize=True)
    assert 0.6 < shares["train"] < 0.8
    assert shares["val"] > 0.05
    assert shares["test"] > 0.1
    with pytest.raises(UserError, match="some places have no coordinates"):
        build(source, tmp_path / "t", workers=1, split=Split("spatial"))


def test_sides_lie_apart_by_the_margin(tmp_path):
    store, _ = build(Ramp(info(), count=60), tmp_path / "s", workers=1, split=Split(margin_m=150_000))
    places = store.places
    for side in ("train", "val"):
        for other in ("val", "test"):
            if side != other:
                one, two = (places[places["split"] == s]["lon"].to_numpy() for s in (side, other))
                assert np.abs(one[:, None] - two).min() * 111_195 * np.cos(np.radians(9)) > 150_000
    assert (places["split"] == "margin").any()


def test_a_store_of_another_format_is_refused(undisturbed, tmp_path):
    import shutil

    shutil.copytree(undisturbed, tmp_path / "old")
    text = (tmp_path / "old" / "store.json").read_text()
    (tmp_path / "old" / "store.json").write_text(text.replace('"format": 2', '"format": 1'))
    with pytest.raises(UserError, match="format 1, this version reads 2"):
        ChipStore(tmp_path / "old")


def test_other_chips_than_promised_are_a_fault_of_the_source(tmp_path):
    wrong = replace(Ramp(info()), info=info(chip_size=9))
    with pytest.raises(ValueError, match=r"scene0.tif: uint16 .2, 8, 8., not uint16 .2, 9, 9."):
        build(wrong, tmp_path / "s", workers=1)


def test_duckdb_finds_places_in_a_box(undisturbed):
    import duckdb

    query = f"""SELECT DISTINCT place FROM read_parquet('{undisturbed}/index.parquet')
        WHERE bbox.xmin BETWEEN -58.1 AND -57.4 AND month(datetime) = 7 ORDER BY place"""
    assert duckdb.sql(query).fetchall() == [("place 004",), ("place 005",)]


def test_geopandas_reads_the_places_in_a_box(undisturbed):
    import geopandas as gpd

    table = gpd.read_parquet(undisturbed / "index.parquet", bbox=(-58.1, -10, -57.4, -8))
    assert set(table["place"]) == {"place 004", "place 005"}
    assert table.crs == "EPSG:4326"
    assert np.allclose(table.geometry.x, table["lon"])


def test_folders_may_have_any_name(undisturbed, tmp_path):
    out = tmp_path / 'it\'s [one] *of* "my" stores'
    build(Ramp(info()), out, workers=2)
    assert contents(out) == contents(undisturbed)


def test_a_place_that_lies_in_two_places_is_refused(tmp_path):
    source = Sided(info(), (None,) * 4)  # two images of a place lie 10 degrees apart
    with pytest.raises(
        UserError, match=r"place p0: its images are up to 1,116,\d\d\d m apart, but places of two sides"
    ):
        build(source, tmp_path / "s", workers=1)
    store, _ = build(source, tmp_path / "s", workers=1, split=Split("place"))
    assert len(store) == 4


def test_a_small_spread_around_a_large_mean_is_measured(tmp_path):
    @dataclass(frozen=True)
    class Warm:
        info: object
        tasks: tuple = (0, 1, 2)
        bad: tuple = ()
        dropped: tuple = ()

        def chips(self, task, tally):
            rng = np.random.default_rng(task)
            for number in range(50):
                pixels = (1e6 + rng.choice([-1, 1], (2, 8, 8))).astype("float32")
                yield Chip(pixels, np.ones((8, 8), bool), f"{task} {number}", 0, 0, None, "f", split="train")

    store, _ = build(Warm(info(dtype="float32")), tmp_path / "s", workers=1)
    assert store.info.std == pytest.approx((1, 1), abs=1e-3)


def test_what_a_killed_run_spilled_is_not_part_of_the_store(undisturbed, tmp_path, monkeypatch):
    from core.store import build as module

    class Killed(BaseException):
        pass

    def killed(folder, *_):
        (folder / "spill").mkdir()
        (folder / "spill" / "half.tmp").write_text("half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_index", killed)
        with pytest.raises(Killed):
            build(Ramp(info()), tmp_path / "s", workers=1)
    build(Ramp(info()), tmp_path / "s", workers=1)
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_an_old_store_stays_until_the_new_one_is_whole(undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "store"
    build(Ramp(info(), count=2), out, workers=1)
    before = contents(out)
    original = Path.rename

    class Killed(BaseException):
        pass

    def rename(self, target):
        if self.name == "store.partial":
            raise Killed
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            build(Ramp(info()), out, workers=1, overwrite=True)
    assert contents(tmp_path / ".store.old") == before
    build(Ramp(info()), out, workers=1, overwrite=True)
    assert contents(out) == contents(undisturbed)
    assert not (tmp_path / ".store.old").exists()


def test_other_sides_can_be_dealt_after_a_stop(undisturbed, tmp_path, monkeypatch):
    from core.store import build as module

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "_finish", killed)
        with pytest.raises(Killed):
            build(Ramp(info()), tmp_path / "s", workers=1)
    store, _ = build(Ramp(info()), tmp_path / "s", workers=1, split=Split("place"))
    assert list(store.places["split"]) != list(ChipStore(undisturbed).places["split"])


@pytest.mark.parametrize("left", ["", '{"fingerprint": "'])
def test_a_run_killed_before_it_began_is_no_obstacle(left, undisturbed, tmp_path):
    (tmp_path / "s.partial" / "shards").mkdir(parents=True)
    (tmp_path / "s.partial" / "made.json").write_text(left)
    build(Ramp(info()), tmp_path / "s", workers=1)
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_two_runs_do_not_make_one_store(tmp_path, capsys):
    from filelock import FileLock

    from core.prepare import main
    from tests.conftest import call, write_raster

    path = write_raster(tmp_path / "a_20200101.tif", np.ones((1, 32, 32), np.uint8))
    options = ["rasters", path, "--size", 16, "--workers", 1, "--out", tmp_path / "s"]
    with FileLock(tmp_path / ".s.lock"):
        assert call(main, *options) == 2
    assert "another run is building this store" in capsys.readouterr().err
    assert call(main, *options, "--margin", "nan") == 2
    assert "--margin nan: must be at least 0" in capsys.readouterr().err
    assert call(main, *options) == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a_20200101.tif", "s"]


def test_a_store_is_read_by_several_threads(undisturbed):
    from concurrent.futures import ThreadPoolExecutor

    expected = ChipStore(undisturbed).pixels(np.arange(52))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            store = ChipStore(undisturbed)  # its columns are first read by the threads
            for found in pool.map(lambda _: store.pixels(np.arange(52)), range(16)):  # noqa: B023
                assert np.array_equal(found, expected, equal_nan=True)

"""Features on the disk: continued, checked, bounded in size, and never in the way of a run."""

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import Cancelled, InputFault
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice
from export.runtime.learn.cache import FeatureCache
from export.runtime.learn.features import FeatureChoice, learn_features
from export.runtime.learn.place import FeatureRaster
from export.wording import words
from tests.conftest import write_raster
from tests.test_features import scenery

TEXTURE = FeatureChoice("texture")
SHAPE = (3, 800, 1100)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", scenery(SHAPE))


@pytest.fixture(scope="module")
def learned(scene):
    return learn_features(TEXTURE, [RasterPixels(scene)])


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


class Counted(FeatureRaster):
    """Counts the tiles that are run."""

    def __init__(self, path, features, cache, options=None):
        super().__init__(RasterPixels(path), features, cache, options)
        self.run = []
        answers = self._aligned.answers
        self._aligned.answers = lambda model, tiles, ahead: self.run.extend(tiles) or answers(model, tiles, ahead)


def all_of(raster):
    return dict(raster.compute(raster.tiles()))


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[tile], right[tile]) for tile in left)


def test_an_interrupted_run_continues(scene, learned, cache):
    first = Counted(scene, learned, cache)
    started = first.compute(first.tiles())
    some = dict(next(started) for _ in range(3))
    started.close()
    second = Counted(scene, learned, cache)
    whole = all_of(second)
    assert set(some) <= set(whole)
    assert not set(some) & set(second.run)
    third = Counted(scene, learned, cache)
    assert same(all_of(third), whole)
    assert third.run == []
    assert same(whole, all_of(Counted(scene, learned, None)))


def test_cached_tiles_come_first(scene, learned, cache):
    before = Counted(scene, learned, cache)
    before.record((1, 2))
    order = [tile for tile, _ in Counted(scene, learned, cache).compute([(0, 0), (0, 1), (1, 2)])]
    assert order == [(1, 2), (0, 0), (0, 1)]


def test_damaged_records_are_computed_anew(scene, learned, cache):
    whole = all_of(Counted(scene, learned, cache))
    files = sorted(cache.folder.rglob("*.gaf"))
    files[0].write_bytes(files[0].read_bytes()[:-3])
    data = bytearray(files[1].read_bytes())
    data[200] ^= 1
    files[1].write_bytes(data)
    files[2].write_bytes(b"")
    shutil.copy(files[4], files[3])  # of another tile
    again = Counted(scene, learned, cache)
    assert same(all_of(again), whole)
    assert len(again.run) == 4
    assert Counted(scene, learned, cache).is_there((0, 0))


def test_other_layers_models_and_options_have_records_of_their_own(tmp_path, scene, learned, cache):
    all_of(Counted(scene, learned, cache))
    copy = shutil.copy(scene, tmp_path / "copy.tif")
    other = learn_features(TEXTURE, [RasterPixels(scene)], Options(Choice(bands=(1, 2))))
    bands = Options(Choice(bands=(3, 2, 1)))
    for raster in (
        Counted(copy, learned, cache),
        Counted(scene, other, cache, Options(Choice(bands=(1, 2)))),
        Counted(scene, learned, cache, bands),
        Counted(scene, learned, cache, Options(Choice(nodata=7))),
    ):
        raster.record((0, 0))
        assert raster.run == [(0, 0)]
    os.utime(copy)
    changed = Counted(copy, learned, cache)
    changed.record((0, 0))
    assert changed.run == [(0, 0)]


def test_records_of_others_in_its_folder_are_not_taken(scene, learned, cache, tmp_path):
    raster = Counted(scene, learned, cache)
    all_of(raster)
    other = Counted(shutil.copy(scene, tmp_path / "copy.tif"), learned, cache)
    shutil.copytree(raster._records.folder, other._records.folder)
    other.record((0, 0))
    assert other.run == [(0, 0)]
    assert len(list(other._records.folder.rglob("*.gaf"))) == 1


def test_a_full_disk_does_not_stop_the_work(scene, learned, cache, monkeypatch):
    written = []

    def full(path, data):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr("export.runtime.learn.cache._put", full)
    raster = Counted(scene, learned, cache)
    whole = all_of(raster)
    assert raster.trouble.kind == "cache_not_written"
    assert "No space left" in str(raster.trouble)
    assert "\n" not in str(raster.trouble)
    monkeypatch.undo()
    after = Counted(scene, learned, cache)
    assert same(all_of(after), whole)
    assert len(after.run) == len(whole) - 1
    assert after.trouble is None


def test_a_write_that_fails_leaves_nothing(scene, learned, cache, monkeypatch):
    raster = Counted(scene, learned, cache)
    raster.record((0, 0))
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    raster.record((0, 1))
    assert raster.trouble
    assert [path.name for path in raster._records.folder.rglob("*") if path.is_file()].count("00000.gaf") == 1
    assert not [path for path in cache.folder.rglob(".*") if path.is_file()]


def test_size_is_bounded(scene, learned, cache):
    raster = Counted(scene, learned, cache)
    all_of(raster)
    assert 0.3 * SHAPE[1] * SHAPE[2] < raster.cached_bytes() <= 1.2 * SHAPE[1] * SHAPE[2]
    assert cache.size() == raster.cached_bytes()


def test_it_can_be_deleted(scene, learned, cache, tmp_path):
    one, two = Counted(scene, learned, cache), Counted(shutil.copy(scene, tmp_path / "b.tif"), learned, cache)
    for raster in (one, two):
        raster.record((0, 0))
    mine = cache.folder / "notes.txt"
    mine.write_text("mine")
    before = two.cached_bytes()
    one.delete_cache()
    assert (one.cached_bytes(), two.cached_bytes()) == (0, before)
    one.record((0, 1))
    assert one.cached_bytes() > 0
    cache.delete()
    assert cache.size() == 4
    assert mine.exists()
    FeatureCache(tmp_path / "none").delete()
    assert FeatureCache(tmp_path / "none").size() == 0


def test_nothing_is_written_before_the_first_record(scene, learned, cache):
    Counted(scene, learned, cache)
    assert not cache.folder.exists()


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_a_layer_changed_or_removed_meanwhile_is_said(tmp_path, scene, learned, cache, how):
    path = shutil.copy(scene, tmp_path / "scene.tif")
    raster = Counted(path, learned, cache)
    records = raster.compute(raster.tiles())
    next(records)
    if how == "changed":
        os.utime(path, (1, 1))
    else:
        os.remove(path)
    with pytest.raises(InputFault) as caught:
        list(records)
    assert caught.value.message.kind == "layer_changed"
    assert "scene.tif" in str(caught.value)
    assert len(list(cache.folder.rglob("*.gaf"))) == 1


def test_statistics_beside_a_layer_change_nothing(tmp_path, scene, learned, cache):
    path = shutil.copy(scene, tmp_path / "scene.tif")
    beside = tmp_path / "scene.tif.aux.xml"
    beside.write_text("<PAMDataset></PAMDataset>")
    raster = Counted(path, learned, cache)
    records = raster.compute(raster.tiles())
    next(records)
    beside.write_text("<PAMDataset><!-- statistics --></PAMDataset>")
    whole = {tile for tile, _ in records}
    beside.unlink()
    again = Counted(path, learned, cache)
    assert len(whole) == len(all_of(again)) - 1
    assert again.run == []


def test_rasters_that_hold_features_are_not_kept(tmp_path, cache):
    path = write_raster(tmp_path / "f.tif", scenery((4, 40, 50)))
    raster = FeatureRaster(RasterPixels(path), learn_features(FeatureChoice("raster"), [RasterPixels(path)]), cache)
    all_of(raster)
    assert not cache.folder.exists()


def cog_cache(folder):
    return FeatureCache(folder, RasterioWriter, RasterPixels)


def test_a_complete_one_becomes_a_cog(tmp_path, scene, learned):
    raster = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    raster.record((0, 0))
    assert not raster.complete_cache()
    whole = all_of(raster)
    assert raster.complete_cache()
    (path,) = (tmp_path / "cache").rglob("*.tif")
    assert not list((tmp_path / "cache").rglob("*.gaf"))
    assert raster.cached_bytes() <= 1.2 * SHAPE[1] * SHAPE[2]
    with rasterio.open(path) as cog:
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (cog.count, cog.shape, cog.dtypes[0]) == (16, (202, 277), "uint8")
        assert cog.transform == rasterio.Affine(40, 0, 500_000 - 40, 0, -40, 5_000_000 + 40)
        assert cog.crs == "EPSG:32633"
    again = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    found = all_of(again)
    assert again.run == []
    assert again.complete_cache()
    for tile, record in whole.items():
        assert np.array_equal(found[tile][:, 1:-1, 1:-1], record[:, 1:-1, 1:-1])
        apart = np.abs(found[tile].astype(int) - record)
        assert apart.max() <= 1  # a margin is the neighbour's own place
        assert (apart > 0).mean() < 1e-4


def test_a_cog_keeps_empty_tiles_and_what_their_neighbours_see(tmp_path, learned):
    image = scenery(SHAPE)
    image[:, 384:768, 384:768] = 0
    image[:, :384, 768:] = 0
    path = write_raster(tmp_path / "gaps.tif", image, nodata=0)
    whole = all_of(Counted(path, learned, None))
    raster = Counted(path, learned, cog_cache(tmp_path / "cache"))
    all_of(raster)
    assert raster.complete_cache()
    found = all_of(Counted(path, learned, cog_cache(tmp_path / "cache")))
    assert not found[1, 1].any()
    assert not found[0, 2].any()
    for tile, record in whole.items():
        # where two neighbours see one empty place, which none of its pixels needs, the last one counts
        apart = np.abs(found[tile].astype(int) - record)
        assert apart[:, 1:-1, 1:-1].max() == 0
        assert (apart > 1).mean() < 0.02


def test_a_damaged_cog_is_computed_anew(tmp_path, scene, learned):
    whole = all_of(Counted(scene, learned, cog_cache(tmp_path / "cache")))
    Counted(scene, learned, cog_cache(tmp_path / "cache")).complete_cache()
    (path,) = (tmp_path / "cache").rglob("*.tif")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    again = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    found = all_of(again)
    assert 0 < len(again.run) <= len(whole)
    assert all(np.array_equal(found[tile], whole[tile]) for tile in again.run)
    path.write_bytes(data[:1000])
    cut = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    assert same(all_of(cut), whole)


@pytest.mark.parametrize("cog", [{}, {"checks": [[1]]}, {"checks": [1, 2]}, {"checks": {}}, {"checks": [[], []]}])
def test_damaged_facts_beside_a_cog_are_computed_anew(tmp_path, scene, learned, cog):
    first = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    whole = all_of(first)
    assert first.complete_cache()
    first.close()
    (about,), (path,) = ((tmp_path / "cache").rglob(name) for name in ("about.json", "features.tif"))
    about.write_text(json.dumps({**json.loads(about.read_text()), "cog": {"bytes": path.stat().st_size, **cog}}))
    again = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    assert same(all_of(again), whole)
    assert len(again.run) == len(whole)


def test_a_full_disk_while_the_cog_is_made_keeps_the_records(tmp_path, scene, learned, monkeypatch):
    raster = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    whole = all_of(raster)

    def full(self, top, rows):
        raise InputFault("write_failed", where="plain.tif", reason="No space left on device")

    monkeypatch.setattr(RasterioWriter, "write", full)
    assert not raster.complete_cache()
    assert "--cache" in words(raster.trouble)
    assert "--out" not in words(raster.trouble)
    monkeypatch.undo()
    assert not list((tmp_path / "cache").rglob("*.tif"))
    again = Counted(scene, learned, cog_cache(tmp_path / "cache"))
    assert same(all_of(again), whole)
    assert again.run == []
    with pytest.raises(Cancelled):
        again.complete_cache(lambda: False)
    assert not list((tmp_path / "cache").rglob("*.tif"))
    assert again.complete_cache()


def test_features_that_depend_on_their_tile_stay_records(tmp_path, scene, learned):
    raster = Counted(scene, replace(learned, exact=False), cog_cache(tmp_path / "cache"))
    all_of(raster)
    assert not raster.complete_cache()
    assert len(list((tmp_path / "cache").rglob("*.gaf"))) == 9

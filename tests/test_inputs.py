"""What a command line names as rasters: files, folders, patterns, lists, Items, parts of a container."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from export import predict
from export.batch.inputs import rasters
from export.batch.units import Settings
from export.batch.workers import Units, work
from export.runtime.raster.names import absolute, is_far, short, split, stem
from tests.conftest import call, write_raster
from tests.models import write_strongest_band
from tests.test_predict_rasters import GREEN, RED, expected, mapped, stripes

RGB = ("red", "green", "blue")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "model.onnx", gsd=10.0)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three rasters, two of one name in two sub-folders."""
    for name in ("north/a", "south/a", "b"):
        (tmp_path / "scenes" / name).parent.mkdir(parents=True, exist_ok=True)
        write_raster(tmp_path / "scenes" / f"{name}.tif", stripes(60, 90))
    return tmp_path / "scenes"


def write_item(path: Path, name: str, assets: dict, **properties: object) -> dict:
    item = {"type": "Feature", "stac_version": "1.1.0", "id": name, "assets": assets, "properties": properties}
    path.write_text(json.dumps(item))
    return item


def test_files_folders_patterns_lists_and_items_name_their_results(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("# two\nscenes/b.tif\n\nscenes/north/a.tif\n")
    tif = "image/tiff; application=geotiff"
    item = write_item(tmp_path / "item.json", "S2_x", {"data": {"href": "./scenes/b.tif", "type": tif}})
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))

    def named(*words: str) -> list[str]:
        return [raster.name for raster in rasters(words, RGB, Path("out"))]

    assert named("scenes/b.tif") == ["b"]
    assert named("scenes") == ["b", "north/a", "south/a"]
    assert named("scenes/**/*.tif") == ["b", "north/a", "south/a"]
    assert named("scenes/*/a.tif") == ["north/a", "south/a"]
    assert named("list.txt") == ["b", "a"]
    assert named("item.json") == named("items.json") == ["S2_x"]
    assert named("http://server/x.tif?key=1*", "scenes/b.tif", "scenes/b.tif") == ["x", "b"]


def test_what_stands_for_nothing_or_for_one_name_twice_is_refused(scenes, tmp_path, model, capsys):
    (tmp_path / "bad.json").write_text('{"type": "Feature"}')
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "bare").mkdir()
    for words, message in (
        ([scenes / "north" / "a.tif", scenes / "south" / "a.tif"], "both maps would be named a"),
        ([f"{scenes}/*.jp2"], "*.jp2: matches no file"),
        ([tmp_path / "bad.json"], "bad.json: is neither a STAC Item nor an ItemCollection"),
        ([tmp_path / "empty.txt"], "empty.txt: names no rasters"),
        ([tmp_path / "bare"], "bare: contains no rasters"),
    ):
        assert call(predict.main, model, *words, "--out", tmp_path / "out") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert call(predict.main, model, scenes, "--out", scenes) == 2
    assert "is also --out" in capsys.readouterr().err


def test_an_items_bands_are_read_from_a_file_each(model, tmp_path):
    assets = {}
    for number, (name, key) in enumerate({"red": "B04", "green": "B03", "blue": "B02"}.items()):
        write_raster(tmp_path / f"{key}.tif", stripes()[number : number + 1])
        assets[key] = {"href": f"./{key}.tif", "type": "image/tiff", "eo:bands": [{"common_name": name}]}
    assets["preview"] = {"href": "./p.tif", "type": "image/tiff", "roles": ["overview"]}
    write_item(tmp_path / "item.json", "scene", assets)
    assert np.array_equal(mapped(model, tmp_path / "item.json", tmp_path / "out", name="scene"), expected())


@pytest.fixture
def containers(tmp_path: Path) -> Path:
    """A netCDF of three variables, a GeoPackage of two rasters and a TIFF, in a folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_raster(folder / "x.tif", stripes())
    rasterio.shutil.copy(folder / "x.tif", folder / "two.nc", driver="netCDF")
    for number, table in enumerate(("first", "second")):
        more = {"APPEND_SUBDATASET": "YES"} if number else {}
        rasterio.shutil.copy(folder / "x.tif", folder / "f.gpkg", driver="GPKG", RASTER_TABLE=table, **more)
    return folder


@pytest.mark.parametrize(
    ("name", "results"),
    [
        ("GPKG:{}/f.gpkg:SECOND", "f_SECOND"),
        ('GPKG:"{}/f.gpkg":SECOND', "f_SECOND"),
        ("GTIFF_DIR:1:{}/x.tif", "x_1"),
    ],
)
def test_one_raster_of_a_container_is_mapped_by_gdals_name(model, containers, tmp_path, monkeypatch, name, results):
    monkeypatch.chdir(tmp_path)
    for folder in (containers, "data"):
        given = name.format(folder)
        assert np.array_equal(mapped(model, given, tmp_path / "out", name=results), expected())
        recorded = json.loads((tmp_path / "out" / f"{results}.stac.json").read_text())["properties"]["geoaware:raster"]
        assert recorded == name.format("").replace("/", "")
    assert np.array_equal(mapped(model, given, tmp_path / "out", "--name", "other", name="other"), expected())
    files = json.loads((batch_of(model, given, tmp_path) / "manifest.jsonl").read_text())["files"]
    assert files == [str(tmp_path / split(given)[1])]


def batch_of(model: Path, name: str, folder: Path) -> Path:
    (folder / "data" / "list.txt").write_text(name.replace("data/", "") + "\n")
    assert call(predict.main, model, folder / "data" / "list.txt", "--out", folder / "batch", "--threads", 1) == 0
    return folder / "batch"


def test_the_names_in_the_message_on_a_container_can_be_given(model, containers, tmp_path, capsys):
    """Of rasters on different grids it cannot be known which one is meant."""
    write_raster(containers / "small.tif", stripes()[:, :40])
    more = {"RASTER_TABLE": "third", "APPEND_SUBDATASET": "YES"}
    rasterio.shutil.copy(containers / "small.tif", containers / "f.gpkg", driver="GPKG", **more)
    assert call(predict.main, model, containers / "f.gpkg", "--out", tmp_path / "out") == 2
    names = capsys.readouterr().err.split("several rasters, ")[1].split("; name one")[0].split(", ")
    assert len(names) == 3
    assert np.array_equal(mapped(model, names[0], tmp_path / "out", name="f_FIRST"), expected())


def test_the_rasters_of_a_container_are_bands_where_they_lie_on_one_grid(
    model, containers, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("two.nc", "f.gpkg"):  # three variables of a band, two tables of three
        for folder in (containers, Path("data")):
            found = mapped(model, folder / name, tmp_path / "out", name=Path(name).stem)
            assert np.array_equal(found, expected())
            assert f"{name}: holds several rasters on one grid, taken as its bands: " in capsys.readouterr().err
    other = mapped(model, "data/two.nc", tmp_path / "out", "--bands", "Band2", "Band1", "Band3", name="two")
    swapped = expected()
    red, green = expected() == RED, expected() == GREEN
    swapped[red], swapped[green] = GREEN, RED
    assert np.array_equal(other, swapped)
    files = json.loads((batch_of(model, "data/two.nc", tmp_path) / "manifest.jsonl").read_text())["files"]
    assert [Path(file).name for file in files] == ["two.nc"]


def elsewhere(settings: Settings, address: str, units: Units):
    """Works in another folder, as the workers of a cluster do."""
    for unit in iter(units, None):
        with contextlib.chdir("/"):
            outcome = work(settings, unit, settings.open)
        yield outcome


@pytest.mark.parametrize("word", ["GPKG:data/f.gpkg:SECOND", "data", "data/*.tif", "data/list.txt", "data/item.json"])
def test_relative_paths_work_on_a_cluster_whose_workers_are_elsewhere(model, containers, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "cluster", elsewhere)
    (tmp_path / "data" / "list.txt").write_text("x.tif\nGTIFF_DIR:1:x.tif\n")
    write_item(tmp_path / "data" / "item.json", "x", {"data": {"href": "./x.tif", "type": "image/tiff"}})
    assert call(predict.main, "model.onnx", word, "--out", "out", "--threads", 1, "--dask", "tcp://scheduler:1") == 0
    for path in Path("out").glob("*.tif"):
        with rasterio.open(path) as result:
            assert np.array_equal(result.read(1), expected())
    assert len(list(Path("out").glob("*.tif"))) == (2 if word.endswith("txt") else 1)


@pytest.mark.parametrize(
    ("name", "parts", "results"),
    [
        ("netcdf:{}:a", ("netcdf:", "{}", ":a"), "two_a"),
        ('NETCDF:"{}":a', ('NETCDF:"', "{}", '":a'), "two_a"),
        ("GTIFF_DIR:off:408:{}", ("GTIFF_DIR:off:408:", "{}", ""), "two_off_408"),
        ('HDF5:"{}"://group/x', ('HDF5:"', "{}", '"://group/x'), "two_group_x"),
        ('HDF4_EOS:EOS_GRID:"{}":Grid:500m 16 days', ('HDF4_EOS:EOS_GRID:"', "{}", '":Grid:500m 16 days'), None),
        ("{}", ("", "{}", ""), "two"),
    ],
)
def test_a_name_is_split_into_the_path_and_what_is_around_it(tmp_path, monkeypatch, name, parts, results):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "408").mkdir()
    Path("two.nc").touch()
    given = name.format("two.nc")
    assert split(given) == tuple(part.format("two.nc") for part in parts)
    assert stem(given) == (results or "two_EOS_GRID_Grid_500m_16_days")
    assert absolute(given) == name.format(tmp_path / "two.nc")
    assert short(absolute(given)) == given
    assert not is_far(given)


def test_a_path_with_a_colon_and_names_without_a_file_are_left_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scene:1.tif").touch()
    assert split("scene:1.tif") == ("", "scene:1.tif", "")
    assert split("https://server/x.tif?key=a:b") == ("", "https://server/x.tif?key=a:b", "")
    assert absolute("netcdf:none.nc:a") == "netcdf:none.nc:a"
    assert stem("netcdf:none.nc:a") == "none_nc_a"
    assert is_far('HDF5:"/vsicurl/https://server/f.h5"://x')
    assert stem('HDF5:"/vsicurl/https://server/f.h5"://x') == "f_x"


def test_a_container_that_is_not_there_gets_one_sentence(model, tmp_path, capsys):
    assert call(predict.main, model, 'NETCDF:"none.nc":a', "--out", tmp_path / "out") == 2
    assert 'NETCDF:"none.nc":a: cannot be read as a raster' in capsys.readouterr().err.strip().splitlines()[-1]


def test_each_real_folder_is_visited_once_however_links_lead_to_it(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for link, target in (("again", "."), ("another", "."), ("a_link", "south"), ("north/up", "..")):
        os.symlink(target, scenes / link, target_is_directory=True)
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    write_raster(outside / "c.tif", stripes(9, 9))
    os.symlink(outside, scenes / "west", target_is_directory=True)
    for word in ("scenes", "scenes/**/*.tif", "**/scenes/**/*.tif", "scenes/**"):
        names = {raster.name.removeprefix("scenes/") for raster in rasters([word], RGB, Path("out"))}
        assert names == {"b", "north/a", "south/a", "west/c"}
    assert [raster.name for raster in rasters(["scenes/*/a.tif"], RGB, Path("out"))][-2:] == ["north/a", "south/a"]


@pytest.mark.parametrize("name", ["..", ".", "", " ", "a/b", "x" * 300])
def test_a_name_that_is_no_file_name_is_refused(model, scenes, tmp_path, capsys, name):
    with pytest.raises(SystemExit):
        call(predict.main, model, scenes / "b.tif", "--out", tmp_path / "out", "--name", name)
    assert "is no file name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_item_whose_id_is_no_file_name_is_refused(model, scenes, tmp_path, capsys):
    write_item(tmp_path / "item.json", "..", {"data": {"href": "./scenes/b.tif", "type": "image/tiff"}})
    assert call(predict.main, model, tmp_path / "item.json", "--out", tmp_path / "out") == 2
    assert "item.json: the Item id '..' cannot be the name of a file" in capsys.readouterr().err

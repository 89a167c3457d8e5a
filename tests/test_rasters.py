"""Dated rasters: odd grids, bad files, labels as rasters and polygons, Sentinel-2 folders."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from pyproj import Transformer
from rasterio.transform import Affine, from_origin

from core.errors import UserError
from core.imagery.dates import parse_date
from core.prepare import main
from core.sources.rasters import divide
from core.store.read import UNLABELLED, ChipStore
from tests.conftest import UTM, call, write_raster


def scene(folder, name, *, value=9, side=64, **profile):
    rng = np.random.default_rng(value)
    pixels = rng.integers(value, value + 40, (2, side, side)).astype(np.uint8)
    return write_raster(folder / name, pixels, **profile)


def make(folder, *options, size=16):
    return call(main, "rasters", *options, "--size", size, "--workers", 1, "--out", folder / "store")


def written(folder, name, crs, transform, *, side=64, value=7):
    """A raster with any transform."""
    path = folder / name
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "crs": crs}
    with rasterio.open(path, "w", transform=transform, **profile) as target:
        target.write(np.full((side, side), value, np.uint8), 1)
    return path


@pytest.mark.parametrize(
    ("shape", "block", "size"),
    [((1000, 900), (256, 256), 64), ((1000, 900), (8, 900), 32), ((700, 650), (512, 512), 100)],
)
def test_areas_hold_every_window_once(shape, block, size):
    seen = np.zeros((shape[0] // size, shape[1] // size), int)
    for area in divide(shape, block, size, 256 * 256):
        assert area.height % size == area.width % size == 0
        seen[area.row // size :, area.column // size :][: area.height // size, : area.width // size] += 1
    assert (seen == 1).all()


def test_areas_are_whole_blocks_of_the_file():
    assert {(a.row % 512, a.column % 512) for a in divide((4096, 4096), (512, 512), 64, 1_000_000)} == {(0, 0)}
    assert {a.width for a in divide((4096, 4096), (8, 4096), 64, 1_000_000)} == {4096}


def test_dates_are_found_in_several_notations(tmp_path):
    names = ["a_20200131.tif", "b_2020-02-29.tif", "c_2020_02_29.tif", "d_20200501T101112.tif", "e_2021.01.01.tif"]
    assert make(tmp_path, *(scene(tmp_path, name, value=i + 1) for i, name in enumerate(names))) == 0
    dates = ChipStore(tmp_path / "store").index.groupby("source")["datetime"].first().astype(str)
    assert list(dates) == [
        "2020-01-31 00:00:00+00:00",
        "2020-02-29 00:00:00+00:00",
        "2020-02-29 00:00:00+00:00",
        "2020-05-01 10:11:12+00:00",
        "2021-01-01 00:00:00+00:00",
    ]


def test_a_product_name_gives_the_date_of_the_picture(tmp_path):
    name = "LC08_L2SP_007068_20200101_20200823_02_T1_SR_B4.TIF"
    assert make(tmp_path, scene(tmp_path, name)) == 0
    assert str(ChipStore(tmp_path / "store").index["datetime"].iloc[0].date()) == "2020-01-01"


@pytest.mark.parametrize(
    ("name", "form", "date"),
    [
        ("S1A_IW_GRDH_1SDV_20200101T051234_20200102T051259_030612_0381E0_ABCD", None, "2020-01-01"),
        ("s1a-iw-grd-vv-20200101t235959-20200102t000012-030612-0381e0-001", None, "2020-01-01"),
        ("S2A_OPER_PRD_MSIL1C_PDMC_20160101T194313_R051_V20151230T105153_20151230T105153", None, "2015-12-30"),
        ("m_2010154_nw_13_060_20190801_20191205", None, "2019-08-01"),
        ("LT50060661985200CUB00_B4", None, "1985-07-19"),
        ("LE07_044034_20140318", None, "2014-03-18"),
        ("MOD13Q1.A2020153.h18v04.006.2020170012345", None, "2020-06-01"),
        ("HLS.L30.T31UFS.2020001T105311.v2.0.B04", None, "2020-01-01"),
        ("20200101_051234_1012_3B_AnalyticMS_SR", None, "2020-01-01"),
        ("2010120_2012-07-23_RE2_3A_Analytic", None, "2012-07-23"),
        ("tile_2010_x2000_20200131", None, "2020-01-31"),
        ("tile_2010_year_2020", "*_year_%Y", "2020-01-01"),
        ("tile_2010_2020_mean", "tile_*_%Y_*", "2020-01-01"),
        ("a_2020_060", "%Y_%j", "2020-02-29"),
        ("tile_2010", None, ""),
        ("chip_2000x2000", None, ""),
        ("grid_1999_2000", None, ""),
        ("tile_2010123", None, ""),
        ("mosaic_2019_2020-06", None, ""),
        ("a_20200101_2020-03-01", None, ""),
    ],
)
def test_a_date_is_read_only_where_it_is_one(name, form, date):
    if date:
        assert str(parse_date(Path(f"{name}.tif"), form).date()) == date
    else:
        with pytest.raises(UserError, match=r"holds (no|more than one) date"):
            parse_date(Path(f"{name}.tif"), form)


def truncated(folder):
    path = scene(folder, "b_20200201.tif", value=50, side=256, tiled=True, blockxsize=64, blockysize=64, nodata=0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


BAD = {
    "no overlap": (
        lambda f: scene(f, "b_20200201.tif", origin=(700_000, 5_000_000)),
        "does not overlap a_20200101.tif",
    ),
    "no date": (lambda f: scene(f, "b.tif"), "its name holds no date; say how to read it with --date-format"),
    "a year or a tile": (
        lambda f: scene(f, "b_2010.tif"),
        "its name holds no date; 2010 may be a year or another number",
    ),
    "two dates": (lambda f: scene(f, "b_20200101_20200301.tif"), "its name holds more than one date"),
    "truncated": (truncated, "corrupt or truncated file"),
    "metres called degrees": (
        lambda f: written(f, "b_20200201.tif", "EPSG:4326", from_origin(500_000, 5_000_000, 10, 10)),
        "its coordinates (500000, 5e+06) do not fit its CRS, EPSG:4326, which is in degrees",
    ),
    "degrees called metres": (
        lambda f: written(f, "b_20200201.tif", UTM, from_origin(15.0, 45.1, 1e-4, 1e-4)),
        "its coordinates (15, 45.1) do not fit its CRS, EPSG:32633, which is in metres",
    ),
    "other bands": (
        lambda f: write_raster(f / "b_20200201.tif", np.ones((3, 64, 64), np.uint8)),
        "has 3 bands, but a_20200101.tif has 2",
    ),
    "other pixels": (
        lambda f: write_raster(f / "b_20200201.tif", np.ones((2, 64, 64), np.int16)),
        "its pixels are int16, but those of a_20200101.tif are uint8",
    ),
    "no raster": (
        lambda f: (f / "b_20200201.tif").write_text("text") and f / "b_20200201.tif",
        "cannot be read as a raster",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_raster_is_named_and_the_others_are_kept(case, tmp_path, capsys):
    make_bad, message = BAD[case]
    good = [scene(tmp_path, "a_20200101.tif", side=256), scene(tmp_path, "c_20200301.tif", value=99, side=256)]
    bad = make_bad(tmp_path)
    order = [good[0], bad, good[1]]
    assert make(tmp_path, *order) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {bad.name}: ")
    assert message in error
    assert "Traceback" not in error
    assert make(tmp_path, *order, "--max-bad", 1) == 0
    said = capsys.readouterr().out
    assert f"left out {bad.name}: " in said
    assert message in said
    store = ChipStore(tmp_path / "store")
    assert {"a_20200101.tif", "c_20200301.tif"} <= set(store.index["source"])
    assert (store.index["source"] != bad.name).all()


def test_a_rotated_raster_gives_the_grid_and_takes_others(tmp_path):
    turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(-30) @ Affine.scale(10, -10)
    first = written(tmp_path, "a_20200101.tif", UTM, turned)
    second = scene(tmp_path, "b_20200201.tif", side=400, origin=(498_000, 5_002_000))
    with rasterio.open(second) as source:
        pixels = source.read(1)
    one_band = write_raster(tmp_path / "c_20200301.tif", pixels[None] * 0 + 5, origin=(498_000, 5_002_000))
    assert make(tmp_path, first, one_band) == 0
    store = ChipStore(tmp_path / "store")
    x, y = turned @ (16 * 2.5, 16 * 1.5)
    row = store.index[store.index["place"] == "r16c32"].iloc[0]
    assert (row["lon"], row["lat"]) == pytest.approx(
        Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(x, y)
    )
    assert (store.places["count"] == 2).all()
    assert {int(chip.max()) for chip in store.raw(np.arange(len(store)))} == {7, 5}


@pytest.mark.parametrize(
    ("crs", "origin", "pixel"), [("EPSG:32760", (812_000, 8_000_000), 100.0), ("EPSG:4326", (179.9, -18.0), 0.004)]
)
def test_a_raster_across_the_antimeridian_has_places_on_both_sides(crs, origin, pixel, tmp_path):
    first = written(tmp_path, "a_20200101.tif", crs, from_origin(*origin, pixel, pixel))
    # Another date on the other side's longitudes, which overlaps the first all the same.
    second = written(tmp_path, "b_20200201.tif", "EPSG:4326", from_origin(-180.1, -17.9, 0.004, 0.004), value=5)
    assert make(tmp_path, first, second) == 0
    store = ChipStore(tmp_path / "store")
    lon = store.places["lon"]
    assert (lon < -179).any()
    assert (lon > 179).any()
    assert lon.abs().max() <= 180
    assert (np.abs(store.places["lat"] + 18.1) < 0.5).all()


def test_a_raster_over_the_pole_has_its_places_around_it(tmp_path):
    path = written(tmp_path, "a_20200101.tif", "EPSG:3413", from_origin(-320_000, 320_000, 10_000, 10_000))
    assert make(tmp_path, path) == 0
    places = ChipStore(tmp_path / "store").places
    assert len(places) == 16
    assert places["lat"].min() > 85
    # Each quarter of the circle has a quarter of the places.
    assert (np.histogram(places["lon"], bins=[-180, -90, 0, 90, 180])[0] == 4).all()


def test_of_background_windows_a_share_is_kept(tmp_path):
    paths = scene(tmp_path, "a_20200101.tif", side=512)
    labels = write_raster(tmp_path / "l.tif", np.zeros((1, 512, 512), np.uint8))
    (tmp_path / "legend.csv").write_text("value,name,color\n0,sea,0000FF\n1,land,00FF00\n")
    options = ["--labels", labels, "--legend", tmp_path / "legend.csv", "--background", 0, "--keep-background", 8]
    assert make(tmp_path, paths, *options) == 0
    assert 70 < len(ChipStore(tmp_path / "store")) < 190  # about 128 of 1024


@pytest.fixture
def polygons(tmp_path):
    """Two fields and a lake, in another CRS than the raster; the raster spans 640 m from 500000, 5000000."""
    import geopandas as gpd
    from shapely import box

    shapes = [box(500_000, 4_999_840, 500_160, 5_000_000), box(500_320, 4_999_680, 500_480, 4_999_840)]
    shapes.append(box(500_080, 4_999_920, 500_160, 5_000_000))  # drawn later, over the first
    table = gpd.GeoDataFrame({"kind": ["field", "field", "lake"], "code": [3, 3, 7]}, geometry=shapes, crs=UTM)
    table.to_crs("EPSG:3857").to_file(tmp_path / "polygons.gpkg")
    return tmp_path / "polygons.gpkg"


def test_polygons_label_what_they_cover_and_nothing_else(polygons, tmp_path):
    assert make(tmp_path, scene(tmp_path, "a_20200101.tif"), "--labels", polygons, "--class-field", "kind") == 0
    store = ChipStore(tmp_path / "store")
    assert [entry.name for entry in store.info.classes] == ["field", "lake"]
    masks = dict(zip(store.index["place"], store.masks(np.arange(len(store)))))
    expected = np.zeros((16, 16), np.uint8)
    expected[:8, 8:] = 1
    assert np.array_equal(masks["r0c0"], expected)
    assert (masks["r16c32"] == 0).all()
    labelled = {place for place, mask in masks.items() if (mask != UNLABELLED).any()}
    assert labelled == {"r0c0", "r16c32"}
    assert (store.index["label"] >= 0).sum() == 2
    assert len(store) == 16  # the unlabelled windows stay, for pretraining


def test_numbered_classes_keep_their_numbers(polygons, tmp_path):
    assert make(tmp_path, scene(tmp_path, "a_20200101.tif"), "--labels", polygons, "--class-field", "code") == 0
    assert [entry.value for entry in ChipStore(tmp_path / "store").info.classes] == [3, 7]


def test_a_legend_names_the_classes_of_polygons(polygons, tmp_path, capsys):
    (tmp_path / "legend.csv").write_text("value,name,color\n7,lake,0000FF\n3,field,00FF00\n")
    options = ["--labels", polygons, "--class-field", "code", "--legend", tmp_path / "legend.csv"]
    assert make(tmp_path, scene(tmp_path, "a_20200101.tif"), *options) == 0
    store = ChipStore(tmp_path / "store")
    assert store.info.classes[store.index.set_index("place")["label"]["r16c32"]].name == "field"
    (tmp_path / "legend.csv").write_text("value,name,color\n7,lake,0000FF\n")
    assert make(tmp_path, scene(tmp_path, "a_20200101.tif"), *options, "--overwrite") == 2
    assert "holds the class 3, which is not in the legend" in capsys.readouterr().err


def points(folder):
    import geopandas as gpd

    table = gpd.GeoDataFrame({"kind": ["a"]}, geometry=gpd.points_from_xy([15.0], [45.0]), crs="EPSG:4326")
    table.to_file(folder / "points.gpkg")
    return folder / "points.gpkg"


BAD_LABELS = {
    "no such field": (
        ["polygons.gpkg", "--class-field", "sort"],
        "polygons.gpkg: has no field sort; it has kind, code",
    ),
    "no field named": (["polygons.gpkg"], "polygons.gpkg: holds polygons; name the field"),
    "points": (["points.gpkg", "--class-field", "kind"], "points.gpkg: holds geometries of type Point, not polygons"),
    "elsewhere": (["far.gpkg", "--class-field", "kind"], "far.gpkg: none of its polygons lies on a_20200101.tif"),
    "no vector file": (["a_20200101.tif", "--class-field", "kind"], "a_20200101.tif: cannot be read as polygons"),
    "no such file": (["none.gpkg", "--class-field", "kind"], "none.gpkg: no such file"),
    "not labels": (["text.txt"], "text.txt: cannot be read as labels"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels_get_one_sentence_and_leave_nothing(case, polygons, tmp_path, monkeypatch, capsys):
    import geopandas as gpd

    monkeypatch.chdir(tmp_path)
    path = scene(tmp_path, "a_20200101.tif")
    points(tmp_path)
    (tmp_path / "text.txt").write_text("words")
    gpd.read_file(polygons).translate(5_000_000).to_frame("geometry").assign(kind="a").to_file(tmp_path / "far.gpkg")
    before = sorted(tmp_path.iterdir())
    options, message = BAD_LABELS[case]
    assert make(tmp_path, path, "--labels", *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert sorted(tmp_path.iterdir()) == before


def test_touching_windows_are_never_on_two_sides_on_any_grid(tmp_path):
    # An equal-area grid squeezes the ground: near 65 N a window of 640 m is 1.5 km wide and 270 m high.
    path = written(tmp_path, "a_20200101.tif", "EPSG:6933", from_origin(1_000_000, 6_650_000, 10, 10), side=640)
    assert make(tmp_path, path, size=16) == 0
    index = ChipStore(tmp_path / "store").index
    side = np.full((40, 40), "", object)
    side[index["row"] // 16, index["column"] // 16] = index["split"]
    kinds = [np.isin(side, kind) for kind in ("train", "val", "test")]
    assert all(kind.any() for kind in kinds)
    for one in kinds:
        near = np.zeros_like(one)
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                near |= np.roll(one, (down, across), (0, 1)) & np.roll(
                    np.pad(np.ones((38, 38), bool), 1), (down, across), (0, 1)
                )
        assert not (near & ~one & (side != "margin")).any()


def test_many_dates_are_spread_over_shards(tmp_path, monkeypatch):
    from datetime import UTC, datetime

    from core.sources import rasters
    from core.sources.rasters import Cut, Rasters, Scene
    from core.store.build import Tally

    paths = [scene(tmp_path, f"a_202001{day:02}.tif", value=day) for day in range(1, 8)]
    scenes = [Scene.of_file(path, datetime(2020, 1, day, tzinfo=UTC)) for day, path in enumerate(paths, 1)]
    monkeypatch.setattr(rasters, "SHARD_BYTES", 2 * 64 * 64 * 3)  # three dates of the whole raster
    source = Rasters.plan(scenes, Cut(16, max_abs_lat=44.0))
    assert [(task.first, task.end) for task in source.tasks] == [(0, 3), (3, 6), (6, 7)]
    tally = Tally()
    assert not [chip for task in source.tasks for chip in source.chips(task, tally)]
    assert tally.dropped == {"windows beyond latitude 44": 16}  # told once
    source = Rasters.plan(scenes, Cut(16))
    chips = [chip for task in source.tasks for chip in source.chips(task, tally)]
    assert len(chips) == 7 * 16


def test_the_same_file_is_taken_once(tmp_path, capsys):
    path = scene(tmp_path, "a_20200101.tif")
    assert make(tmp_path, path, tmp_path / "." / path.name) == 2
    assert "is given twice" in capsys.readouterr().err


def test_near_infrared_called_alpha_is_a_band(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16)).astype(np.uint8)
    path = write_raster(tmp_path / "a_20200101.tif", pixels, photometric="RGB", alpha="YES")
    assert make(tmp_path, path) == 0
    assert (
        "its band 4 is called alpha but holds more than transparent and opaque: taken for data"
        in capsys.readouterr().out
    )
    store = ChipStore(tmp_path / "store")
    assert store.info.bands == ("red", "green", "blue", "band 4")
    assert np.array_equal(store.pixels(np.array([0]))[0], pixels)


def test_one_raster_of_a_file_is_a_scene_by_gdals_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plain = [scene(tmp_path, f"a_2020010{day}.tif", value=9 * day).name for day in (1, 2)]
    with zipfile.ZipFile("all.zip", "w") as archive:
        for name in plain:
            rasterio.shutil.copy(name, f"{name[:-4]}.nc", driver="netCDF")  # a variable for each of the two bands
            archive.write(name)
    named = [f"netcdf:{name[:-4]}.nc:Band2" for name in plain]
    zipped = [f"/vsizip/{tmp_path}/all.zip/{name}" for name in plain]
    chips = []
    for words in (plain, zipped, named):
        out = tmp_path / f"store{len(chips)}"
        assert call(main, "rasters", *words, "--size", 16, "--workers", 1, "--out", out) == 0
        store = ChipStore(out)
        chips.append(store.pixels(np.arange(len(store))))
    assert chips[0].shape == (32, 2, 16, 16)
    assert np.array_equal(chips[1], chips[0])
    assert np.array_equal(chips[2], chips[0][:, 1:])
    assert call(main, "rasters", "a_20200101.nc", "--size", 16, "--workers", 1, "--out", tmp_path / "whole") == 0
    assert "holds several rasters on one grid, taken as its bands: Band1, Band2" in capsys.readouterr().out
    whole = ChipStore(tmp_path / "whole")
    assert np.array_equal(whole.pixels(np.arange(16)), chips[0][::2])
    options = ("--size", 16, "--workers", 1, "--labels", "a_20200101.nc", "--out", tmp_path / "none")
    assert call(main, "rasters", plain[0], *options) == 2
    assert (
        "a_20200101.nc: has 0 bands, but classes are the values of one; name one of netcdf:" in capsys.readouterr().err
    )

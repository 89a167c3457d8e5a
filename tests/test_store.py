"""Rasters in, chip store out, and back."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from core.prepare import main
from core.store.read import UNLABELLED, ChipStore
from tests.conftest import UTM, call, make_world, write_raster


def test_a_chip_holds_the_pixels_of_its_window_and_date(store, world):
    paths, labels = world
    row = store.index.iloc[137]
    source = next(p for p in paths if p.name == row["source"])
    with rasterio.open(source) as dataset, rasterio.open(labels) as truth:
        window = rasterio.windows.Window(row["column"], row["row"], 32, 32)
        assert np.array_equal(store.raw(np.array([137]))[0], dataset.read(window=window))
        values = np.array([entry.value for entry in store.info.classes])
        assert np.array_equal(values[store.masks(np.array([137]))[0]], truth.read(1, window=window))
    assert row["datetime"].strftime("%Y%m%d") in source.name


def test_places_have_lon_lat_of_their_centre(store):
    row = store.index[store.index["place"] == "r0c0"].iloc[0]
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(500_160, 4_999_840)
    assert (row["lon"], row["lat"]) == pytest.approx((lon, lat))


def test_a_place_is_on_one_side_of_the_split_only(store):
    assert (store.index.groupby("place")["split"].nunique() == 1).all()
    assert {"train", "val", "test"} <= set(store.places["split"])


def test_geopandas_reads_the_index(store):
    import geopandas as gpd

    table = gpd.read_parquet(store.path / "index.parquet")
    assert table.crs == "EPSG:4326"
    assert len(table) == len(store)


def test_pixels_without_data_are_kept_apart(tmp_path):
    pixels = np.full((1, 64, 64), 7, np.uint16)
    pixels[0, :10, :32] = 0
    write_raster(tmp_path / "a_20200101.tif", pixels, nodata=0)
    assert call(main, "rasters", tmp_path / "a_20200101.tif", "--size", 32, "--out", tmp_path / "s") == 0
    store = ChipStore(tmp_path / "s")
    first = store.pixels(np.array([0]))[0, 0]
    assert np.isnan(first[:10]).all()
    assert (first[10:] == 7).all()
    assert store.info.mean == (7.0,)


def test_windows_with_too_little_data_are_dropped_and_counted(tmp_path, capsys):
    pixels = np.full((1, 64, 64), 7, np.uint8)
    pixels[0, :32, :32] = 0
    write_raster(tmp_path / "a_20200101.tif", pixels, nodata=0)
    assert call(main, "rasters", tmp_path / "a_20200101.tif", "--size", 32, "--out", tmp_path / "s") == 0
    assert "kept 3 chips; dropped: 1 with less than 50% of valid pixels" in capsys.readouterr().out


def test_a_raster_on_another_grid_is_warped_to_the_first(tmp_path):
    flat = np.full((1, 64, 64), 9, np.uint8)
    write_raster(tmp_path / "a_20200101.tif", flat, nodata=0)
    write_raster(tmp_path / "b_20200201.tif", np.full((1, 32, 32), 5, np.uint8), pixel=20.0, crs=UTM)
    assert (
        call(
            main,
            "rasters",
            tmp_path / "a_20200101.tif",
            tmp_path / "b_20200201.tif",
            "--size",
            32,
            "--out",
            tmp_path / "s",
        )
        == 0
    )
    store = ChipStore(tmp_path / "s")
    assert len(store) == 8
    assert {int(chip.max()) for chip in store.raw(np.arange(8))} == {9, 5}


def test_labels_outside_their_raster_are_unlabelled(tmp_path):
    write_raster(tmp_path / "a_20200101.tif", np.full((1, 64, 64), 9, np.uint8))
    write_raster(tmp_path / "l.tif", np.full((1, 64, 32), 4, np.uint8))
    assert (
        call(
            main,
            "rasters",
            tmp_path / "a_20200101.tif",
            "--size",
            32,
            "--labels",
            tmp_path / "l.tif",
            "--out",
            tmp_path / "s",
        )
        == 0
    )
    store = ChipStore(tmp_path / "s")
    labels = dict(zip(store.index["place"], store.index["label"]))
    assert (labels["r0c0"], labels["r0c32"]) == (0, -1)
    assert (store.masks(np.array([1])) == UNLABELLED).all()
    assert store.index["mask"].tolist()[:2] == [0, -1]


def test_files_without_coordinates_take_them_from_the_command_line(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((90, 180, 3), 120, np.uint8)).save(tmp_path / "200406.jpg")
    arguments = [
        "rasters",
        tmp_path / "200406.jpg",
        "--date-format",
        "%Y%m",
        "--size",
        30,
        "--crs",
        "EPSG:4326",
        "--bounds",
        -180,
        -90,
        180,
        90,
    ]
    assert call(main, *arguments, "--out", tmp_path / "s", "--max-abs-lat", 50) == 0
    store = ChipStore(tmp_path / "s")
    assert len(store) == 6  # of three rows of six windows, the one at the equator
    assert (store.index["lat"].abs() < 1e-9).all()


BAD = {
    "no such file": (["rasters", "none.tif", "--size", 32], "none.tif: no such file"),
    "not a raster": (["rasters", "text_20200101.tif", "--size", 32], "text_20200101.tif: cannot be read as a raster"),
    "no date": (["rasters", "nodate.tif", "--size", 32], "nodate.tif: its name holds no date"),
    "no coordinates": (["rasters", "bare_20200101.tif", "--size", 32], "bare_20200101.tif: has no coordinates"),
    "no overlap": (
        ["rasters", "a_20200101.tif", "far_20200101.tif", "--size", 32],
        "far_20200101.tif: does not overlap",
    ),
    "other bands": (["rasters", "a_20200101.tif", "two_20200101.tif", "--size", 32], "two_20200101.tif: has 2 bands"),
    "too large a chip": (["rasters", "a_20200101.tif", "--size", 500], "smaller --size"),
    "date table without a row": (
        ["rasters", "a_20200101.tif", "--size", 32, "--dates", "dates.csv"],
        "dates.csv has no row for a_20200101.tif",
    ),
    "crs without bounds": (
        ["rasters", "a_20200101.tif", "--size", 32, "--crs", "EPSG:4326"],
        "--crs and --bounds go together",
    ),
    "no such crs": (
        ["rasters", "a_20200101.tif", "--size", 32, "--crs", "x", "--bounds", 0, 0, 1, 1],
        "--crs x: not a CRS",
    ),
    "empty bounds": (
        ["rasters", "a_20200101.tif", "--size", 32, "--crs", "EPSG:4326", "--bounds", 1, 0, 1, 1],
        "must be west, south",
    ),
    "short date table": (
        ["rasters", "a_20200101.tif", "--size", 32, "--dates", "short.csv"],
        "short.csv: needs the columns",
    ),
    "a date part twice": (
        ["rasters", "a_20200101.tif", "--size", 32, "--date-format", "%Y%Y"],
        "names a part of the date twice",
    ),
    "impossible share": (["rasters", "a_20200101.tif", "--size", 32, "--min-valid", 5], "must be between 0 and 1"),
    "legend beyond 8 bit": (
        ["rasters", "a_20200101.tif", "--size", 32, "--legend", "legend.csv"],
        "lie within 0 to 254",
    ),
    "incomplete sample": (["sample", "--data", "."], "is no copy of the sample (bluemarble_monthly_2004"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flat = np.full((1, 64, 64), 9, np.uint8)
    for name in ("a_20200101.tif", "nodate.tif"):
        write_raster(tmp_path / name, flat)
    write_raster(tmp_path / "far_20200101.tif", flat, origin=(600_000, 5_000_000))
    write_raster(tmp_path / "two_20200101.tif", np.concatenate([flat, flat]))
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_raster(tmp_path / "bare_20200101.tif", flat, crs=None)
    (tmp_path / "text_20200101.tif").write_text("no raster")
    (tmp_path / "dates.csv").write_text("file,date\nother.tif,2020-01-01\n")
    (tmp_path / "short.csv").write_text("file,date\na_20200101.tif\n")
    (tmp_path / "legend.csv").write_text("value,name,color\n300,much,00FF00\n")
    before = sorted(tmp_path.iterdir())
    arguments, message = BAD[case]
    assert call(main, *arguments, "--out", "store") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert sorted(tmp_path.iterdir()) == before


def test_an_existing_store_is_replaced_only_when_asked(tmp_path, capsys):
    paths, _ = make_world(tmp_path, dates=1)
    arguments = ["rasters", *paths, "--size", 32, "--out", tmp_path / "s"]
    assert call(main, *arguments) == 0
    assert call(main, *arguments) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert call(main, *arguments, "--overwrite") == 0


def test_overwrite_never_removes_a_folder_that_is_no_store(tmp_path):
    paths, _ = make_world(tmp_path, dates=1)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("a cat")
    assert call(main, "rasters", *paths, "--size", 32, "--out", tmp_path / "photos", "--overwrite") == 2
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_damaged_store_is_refused(tmp_path):
    from core.errors import UserError

    paths, _ = make_world(tmp_path, dates=1)
    call(main, "rasters", *paths, "--size", 32, "--out", tmp_path / "s")
    (tmp_path / "s" / "shards" / "00000" / "chips.npy").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"00000.chips.npy: damaged"):
        ChipStore(tmp_path / "s").raw(np.array([0]))
    (tmp_path / "s" / "index.parquet").write_bytes(b"broken")
    with pytest.raises(UserError, match="damaged chip store"):
        ChipStore(tmp_path / "s")


def test_real_landsat_scenes_make_a_store_of_eight_dates(real, tmp_path):
    scenes = sorted((real / "landsat_peru_1985_2020").glob("*.tif"))
    assert call(main, "rasters", *scenes, "--date-format", "%Y", "--size", 32, "--out", tmp_path / "s") == 0
    store = ChipStore(tmp_path / "s")
    assert store.index["datetime"].dt.year.nunique() == 8
    assert (store.index.groupby("place")["datetime"].nunique() > 1).all()
    assert store.info.gsd == pytest.approx(90, abs=10)


def open_grids(first, second):
    from core.imagery.georasters import open_raster
    from core.imagery.pixels import read_on_grid

    with open_raster(first) as grid, open_raster(second) as source:
        pixels, valid = read_on_grid(source, grid, Window(0, 0, 64, 64))
        return pixels[0], valid


def test_coordinates_of_the_command_line_are_for_files_without(tmp_path):
    from core.imagery.georasters import open_raster
    from export.runtime.raster.lattice import Placement

    path = write_raster(tmp_path / "a.tif", np.full((1, 64, 64), 9, np.uint8))
    with open_raster(path, Placement("EPSG:4326", (0, 0, 1, 1))) as source:
        assert source.crs == UTM


def test_grids_are_compared_in_pixels_not_in_units_of_the_crs(tmp_path):
    edge = np.ones((1, 64, 64), np.uint8)
    edge[:, :, 32:] = 2
    place = {"crs": "EPSG:4326", "pixel": 1e-6, "nodata": 0}
    first = write_raster(tmp_path / "a.tif", edge, origin=(10, 50), **place)
    shifted = write_raster(tmp_path / "b.tif", edge, origin=(10 + 8e-6, 50), **place)
    pixels, mask = open_grids(first, shifted)
    assert not mask[:, :8].any()
    assert (pixels[:, 8:40] == 1).all()
    assert (pixels[:, 40:] == 2).all()


def test_an_alpha_band_is_kept_as_the_mask_when_a_raster_is_warped(tmp_path):
    pixels = np.full((4, 64, 64), 100, np.uint8)
    pixels[3] = 255
    pixels[3, :, :16] = 0
    options = {"photometric": "RGB", "alpha": "YES"}
    first = write_raster(tmp_path / "a.tif", pixels, **options)
    shifted = write_raster(tmp_path / "b.tif", pixels, origin=(500_160, 5_000_000), **options)
    _, mask = open_grids(first, shifted)
    assert not mask[:, :32].any()
    assert mask[:, 32:].all()


def test_a_south_up_raster_is_read(tmp_path):
    from rasterio.transform import Affine

    path = tmp_path / "a_20200101.tif"
    grid = Affine(10, 0, 500_000, 0, 10, 4_999_360)
    with rasterio.open(
        path, "w", driver="GTiff", height=64, width=64, count=1, dtype="uint8", crs=UTM, transform=grid
    ) as out:
        out.write(np.full((64, 64), 9, np.uint8), 1)
    assert call(main, "rasters", path, "--size", 32, "--out", tmp_path / "s") == 0
    assert len(ChipStore(tmp_path / "s")) == 4


def test_255_is_unlabelled_where_labels_declare_no_nodata(tmp_path):
    write_raster(tmp_path / "a_20200101.tif", np.full((1, 64, 64), 9, np.uint8))
    labels = np.full((1, 64, 64), 255, np.uint8)
    labels[:, :32] = 4
    write_raster(tmp_path / "l.tif", labels)
    assert (
        call(
            main,
            "rasters",
            tmp_path / "a_20200101.tif",
            "--size",
            32,
            "--labels",
            tmp_path / "l.tif",
            "--out",
            tmp_path / "s",
        )
        == 0
    )
    assert ChipStore(tmp_path / "s").index["label"].tolist() == [0, 0, -1, -1]


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:2263"])
@pytest.mark.parametrize("degrees", [0, 30])
@pytest.mark.parametrize("sides", [(20, 10), (10, 20), (10, 10.5), (7, 7)])
def test_a_raster_that_trained_a_model_is_never_resampled_for_it(crs, degrees, sides, tmp_path):
    from rasterio.transform import Affine

    from core.imagery.georasters import pixel_size_m
    from export.rasterio_io.grid import Grid
    from export.runtime.infer.layout import scale_of

    unit = 1e-5 if crs == "EPSG:4326" else 1
    transform = Affine.rotation(degrees) @ Affine.scale(sides[0] * unit, -sides[1] * unit)
    place = {"crs": crs, "transform": transform, "height": 4, "width": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **place) as source:
        gsd, seen = pixel_size_m(source), Grid(source.crs, source.transform, 4, 4).pixel_size_m
    assert gsd == max(seen)
    if crs == UTM:
        assert gsd == pytest.approx(max(sides))
    assert scale_of(seen, gsd) is None


def test_an_unwritable_folder_gets_one_sentence(tmp_path, capsys):
    paths, _ = make_world(tmp_path, dates=1)
    (tmp_path / "file").write_text("in the way")
    assert call(main, "rasters", *paths, "--size", 32, "--out", tmp_path / "file" / "s") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")

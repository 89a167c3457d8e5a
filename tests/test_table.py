"""Tables of images in, chip store out."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.prepare import main
from core.store.read import UNLABELLED, ChipStore
from tests.conftest import call, write_raster


def photo(path, color, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, quality=95)


@pytest.fixture
def album(tmp_path):
    """Six photographs of three places on land, in Europe."""
    rows = []
    for number in range(6):
        photo(tmp_path / "pictures" / f"{number}.jpg", (40 * number, 100, 200))
        rows.append(
            {
                "path": f"pictures/{number}.jpg",
                "lon": 10.0 + number // 2,
                "lat": 50.0,
                "datetime": ["2020-06-01", "2021-06-01T12:30:00Z", "20220601"][number % 3],
                "label": ["oak", "elm", "oak"][number // 2],
            }
        )
    return pd.DataFrame(rows)


def make(table, folder, *options, name="images.csv"):
    if name.endswith(".csv"):
        table.to_csv(folder / name, index=False)
    return call(main, "table", folder / name, "--size", 16, "--workers", 1, "--out", folder / "store", *options)


def test_photographs_come_in_with_place_date_label_and_coordinates(album, tmp_path):
    assert make(album, tmp_path) == 0
    store = ChipStore(tmp_path / "store")
    index = store.index
    assert len(store.places) == 3
    assert (store.places["count"] == 2).all()  # same coordinates, same place
    row = index[index["source"] == "pictures/3.jpg"].iloc[0]
    assert (row["lon"], row["lat"], row["datetime"]) == (11.0, 50.0, pd.Timestamp("2020-06-01", tz="UTC"))
    assert [store.info.classes[number].name for number in index.sort_values("source")["label"]] == ["oak"] * 2 + [
        "elm"
    ] * 2 + ["oak"] * 2
    colors = store.raw(np.arange(6)).mean(axis=(2, 3))[np.argsort(index["source"].to_numpy())]
    assert np.abs(colors[:, 0] - 40 * np.arange(6)).max() < 4
    assert store.info.bands == ("red", "green", "blue")


def test_times_in_several_iso_notations_are_read(album, tmp_path):
    assert make(album, tmp_path) == 0
    assert set(ChipStore(tmp_path / "store").index["datetime"].astype(str)) == {
        "2020-06-01 00:00:00+00:00",
        "2021-06-01 12:30:00+00:00",
        "2022-06-01 00:00:00+00:00",
    }


def test_columns_may_have_other_names(album, tmp_path):
    album = album.rename(columns={"path": "file", "lon": "x", "lat": "y"}).assign(site="all one", x=10.0)
    assert make(album, tmp_path, "--columns", "path=file", "lon=x", "lat=y", "place=site") == 0
    assert len(ChipStore(tmp_path / "store").places) == 1


def test_stated_sides_are_kept(album, tmp_path):
    assert make(album.assign(split=["train"] * 2 + ["validation"] * 2 + ["test"] * 2), tmp_path) == 0
    assert list(ChipStore(tmp_path / "store").places["split"]) == ["train", "val", "test"]


def test_a_geoparquet_gives_its_points_in_any_crs(album, tmp_path):
    import geopandas as gpd

    points = gpd.GeoDataFrame(
        album.drop(columns=["lon", "lat"]), geometry=gpd.points_from_xy(album["lon"], album["lat"], crs="EPSG:4326")
    )
    points.to_crs("EPSG:3035").to_parquet(tmp_path / "images.parquet")
    assert make(None, tmp_path, name="images.parquet") == 0
    lon = ChipStore(tmp_path / "store").index.sort_values("source")["lon"]
    assert np.allclose(lon, album["lon"], atol=1e-6)


def test_a_photograph_is_scaled_from_its_centred_square(tmp_path):
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, :32], pixels[:, 32:48], pixels[:, 48:64], pixels[:, 64:] = 255, 50, 150, 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert make(pd.DataFrame({"path": ["wide.png"], "lon": 1.0, "lat": 2.0}), tmp_path) == 0
    chip = ChipStore(tmp_path / "store").raw(np.array([0]))[0, 0]
    assert (chip[:, 2:6] == 50).all()
    assert (chip[:, 10:14] == 150).all()


def test_a_photograph_on_its_side_is_turned_upright(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert make(pd.DataFrame({"path": ["a.jpg"], "lon": 1.0, "lat": 2.0}), tmp_path) == 0
    chip = ChipStore(tmp_path / "store").raw(np.array([0]))[0, 0]
    assert chip[:, 10:].min() > 180
    assert chip[:, :6].max() < 20


def test_transparent_pixels_hold_no_data(tmp_path):
    pixels = np.full((16, 16, 4), 90, np.uint8)
    pixels[:4, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert make(pd.DataFrame({"path": ["a.png"], "lon": 1.0, "lat": 2.0}), tmp_path) == 0
    valid = ChipStore(tmp_path / "store").valid(np.array([0]))[0]
    assert not valid[:4].any()
    assert valid[4:].all()


def test_patches_with_masks_are_cut_and_stay_on_one_side(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)).save(tmp_path / f"{number}.png")
        mask = np.zeros((40, 50, 3), np.uint8)
        mask[:, :25], mask[:20, 25:] = (0, 170, 0), (0, 0, 170)
        Image.fromarray(mask).save(tmp_path / f"{number}_mask.png")
        rows.append({"path": f"{number}.png", "mask": f"{number}_mask.png"})
    (tmp_path / "legend.csv").write_text("value,name,color\n1,forest,00AA00\n2,water,0000AA\n")
    options = ["--fit", "cut", "--coordinates", "none", "--legend", tmp_path / "legend.csv"]
    assert make(pd.DataFrame(rows), tmp_path, *options) == 0
    store = ChipStore(tmp_path / "store")
    assert len(store) == 30 * 6  # 2 x 3 chips of 16 px, the rest is less than a chip
    index = store.index
    first = index[(index["source"] == "7.png") & (index["row"] == 16) & (index["column"] == 16)].index.to_numpy()
    truth = np.full((16, 16), UNLABELLED)
    truth[:, :9], truth[:4, 9:] = 0, 1
    assert np.array_equal(store.masks(first)[0], truth)
    with Image.open(tmp_path / "7.png") as image:
        assert np.array_equal(store.raw(first)[0], np.asarray(image)[16:32, 16:32].transpose(2, 0, 1))
    assert (index.groupby("source")["split"].nunique() == 1).all()
    assert index["split"].nunique() == 3


def test_georeferenced_patches_know_their_place(tmp_path):
    from pyproj import Transformer

    write_raster(tmp_path / "a.tif", np.arange(2 * 32 * 32, dtype=np.uint16).reshape(2, 32, 32))
    table = pd.DataFrame({"path": ["a.tif"]})
    assert make(table, tmp_path, "--coordinates", "files", "--fit", "cut") == 0
    store = ChipStore(tmp_path / "store")
    row = store.index[store.index["place"] == "a.tif r16c16"].iloc[0]
    lonlat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(500_240, 4_999_760)
    assert (row["lon"], row["lat"]) == pytest.approx(lonlat)
    assert store.info.dtype == "uint16"
    assert store.raw(np.array([row.name]))[0, 1, 0, 0] == 32 * 32 + 16 * 32 + 16


def test_one_bad_image_is_named_and_the_others_are_kept(album, tmp_path, capsys):
    (tmp_path / "pictures" / "2.jpg").write_bytes((tmp_path / "pictures" / "2.jpg").read_bytes()[:300])
    (tmp_path / "pictures" / "4.jpg").unlink()
    assert make(album, tmp_path) == 2
    assert "--max-bad 0" in capsys.readouterr().err.splitlines()[-1]
    assert make(album, tmp_path, "--max-bad", 2) == 0
    said = capsys.readouterr().out
    assert "left out pictures/2.jpg: cannot be used" in said
    assert "left out pictures/4.jpg: cannot be used" in said
    assert "kept 4 chips" in said
    assert len(ChipStore(tmp_path / "store")) == 4


def change(column, row, value):
    def changed(album):
        album = album.astype({column: object})
        album.loc[row, column] = value
        return album

    return changed


BAD_ROWS = {
    "latitude of 95 degrees": (
        change("lat", 2, 95),
        "row 3: lat 95 is not within -90 to 90 degrees; lon and lat may be swapped",
    ),
    "longitude is a word": (change("lon", 2, "east"), "row 3: lon east is not within -360 to 360 degrees"),
    "no latitude": (change("lat", 2, None), "row 3: lat nan is not within"),
    "a path twice": (change("path", 2, "pictures/0.jpg"), "row 3: lists pictures/0.jpg again, after row 1"),
    "another notation of dates": (change("datetime", 2, "01/06/2020"), "row 3: datetime 01/06/2020 is not an ISO date"),
    "no path": (change("path", 2, None), "row 3: has no path"),
    "unknown side": (lambda album: album.assign(split=["train", "train", "best"] * 2), "row 3: its split is none of"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_and_the_others_are_kept(case, album, tmp_path, capsys):
    changed, message = BAD_ROWS[case]
    assert make(changed(album), tmp_path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error.replace("None", "nan")
    assert error.startswith("error: images.csv row")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.csv", "pictures"]
    assert make(changed(album), tmp_path, "--max-bad", 2) == 0
    assert len(ChipStore(tmp_path / "store")) == 4 + (case != "unknown side")


BAD_TABLES = {
    "no coordinates": (lambda album: album.drop(columns="lon"), [], "images.csv: has no column lon; name the columns"),
    "no paths": (lambda album: album.drop(columns="path"), [], "images.csv: has no column path"),
    "unknown column": (
        lambda album: album,
        ["--columns", "lon=x"],
        "images.csv: has no column x; it has path, lon, lat",
    ),
    "no field": (lambda album: album, ["--columns", "colour=x"], "--columns colour=x: must look like"),
    "empty": (lambda album: album[:0], [], "images.csv: has no rows"),
    "masks without legend": (lambda album: album.assign(mask="m.png"), [], "so it needs --legend"),
    "no such root": (lambda album: album, ["--root", "elsewhere"], "--root elsewhere: no such folder"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_gets_one_sentence_and_leaves_nothing(case, album, tmp_path, capsys):
    changed, options, message = BAD_TABLES[case]
    assert make(changed(album), tmp_path, *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.csv", "pictures"]


def test_what_is_no_table_is_said(tmp_path, capsys):
    (tmp_path / "images.parquet").write_text("no parquet")
    assert make(None, tmp_path, name="images.parquet") == 2
    assert "images.parquet: cannot be read as a table" in capsys.readouterr().err
    assert make(None, tmp_path, name="none.parquet") == 2
    assert "none.parquet: cannot be read as a table" in capsys.readouterr().err


def test_swapped_axes_are_noticed(tmp_path, capsys):
    rows = []
    for number in range(12):
        photo(tmp_path / f"{number}.jpg", (9, 9, 9))
        rows.append({"path": f"{number}.jpg", "lon": 51.0 + number / 10, "lat": 6.5 + number / 2})  # Germany, exchanged
    table = pd.DataFrame(rows)
    assert make(table, tmp_path) == 0
    said = capsys.readouterr().out
    right = table.rename(columns={"lon": "lat", "lat": "lon"})
    assert make(right, tmp_path, "--overwrite") == 0
    assert "the axes may be swapped" not in capsys.readouterr().out
    assert "the axes may be swapped" in said


def test_places_of_one_date_are_warned_about(album, tmp_path, capsys):
    assert make(album.assign(lon=range(6)), tmp_path) == 0
    assert "warning: no place has two images" in capsys.readouterr().out


def test_eurosat_comes_in_as_a_table(real, tmp_path):
    import tarfile

    names = [
        f"2750/{line.strip()}"
        for part in ("train", "test")
        for line in (real / "eurosat_rgb" / f"split_{part}.txt").read_text().splitlines()[::500]
        if line
    ]
    with tarfile.open(real / "eurosat_rgb" / "eurosat_rgb_2750.tar") as archive:
        archive.extractall(tmp_path, members=[archive.getmember(name) for name in names], filter="data")
    table = pd.DataFrame(
        {
            "path": names,
            "label": [name.split("/")[1] for name in names],
            "split": ["train"] * 38 + ["test"] * (len(names) - 38),
        }
    )
    assert (
        call(main, "table", _csv(table, tmp_path), "--size", 64, "--coordinates", "none", "--out", tmp_path / "s") == 0
    )
    store = ChipStore(tmp_path / "s")
    row = store.index.iloc[11]
    with Image.open(tmp_path / row["source"]) as image:
        assert np.array_equal(store.raw(np.array([11]))[0], np.asarray(image).transpose(2, 0, 1))
    assert store.info.classes[row["label"]].name in row["source"]


def test_aerial_images_with_coloured_masks_come_in_as_a_table(real, tmp_path):
    root = real / "dubai_mbrsc_seg"
    images = sorted((root / "Tile 1" / "images").glob("*.jpg"))[:2]
    rows = [f"Tile 1/images/{path.name},Tile 1/masks/{path.stem}.png" for path in images]
    (tmp_path / "images.csv").write_text("\n".join(["path,mask", *rows]))
    legend = "value,name,color\n0,Water,E2A929\n1,Land,8429F6\n2,Road,6EC1E4\n3,Building,3C1098\n4,Vegetation,FEDD3A\n5,Other,9B9B9B\n"
    (tmp_path / "legend.csv").write_text(legend)
    options = [
        "--legend",
        tmp_path / "legend.csv",
        "--root",
        root,
        "--fit",
        "cut",
        "--coordinates",
        "none",
        "--size",
        256,
    ]
    assert call(main, "table", tmp_path / "images.csv", *options, "--workers", 1, "--out", tmp_path / "s") == 0
    store = ChipStore(tmp_path / "s")
    row = store.index.iloc[3]
    corner = (row["column"], row["row"], row["column"] + 256, row["row"] + 256)
    with Image.open(root / row["source"].replace("images", "masks").replace(".jpg", ".png")) as mask:
        colors = np.asarray(mask.convert("RGB").crop(corner))
    legend = np.array([[int(entry.color[at : at + 2], 16) for at in (0, 2, 4)] for entry in store.info.classes])
    assert np.array_equal(legend[store.masks(np.array([3]))[0]], colors)


def test_sentinel_tiles_with_land_cover_come_in_as_a_table(real, tmp_path):
    import rasterio
    from pyproj import Transformer

    root = real / "terramind_s2_lulc"
    names = sorted(path.name for path in (root / "S2RGB").glob("*.tif"))
    (tmp_path / "t.csv").write_text("\n".join(["file,mask", *(f"S2RGB/{name},LULC/{name}" for name in names)]))
    legend = [f"{value},class {value},{value:06X}" for value in range(10)]
    (tmp_path / "legend.csv").write_text("\n".join(["value,name,color", *legend]))
    options = ["--columns", "path=file", "--legend", tmp_path / "legend.csv", "--root", root, "--coordinates", "files"]
    assert call(main, "table", tmp_path / "t.csv", *options, "--size", 224, "--out", tmp_path / "s") == 0
    store = ChipStore(tmp_path / "s")
    assert len(store) == 5
    row = store.index.iloc[2]
    with (
        rasterio.open(root / row["source"]) as image,
        rasterio.open(root / row["source"].replace("S2RGB", "LULC")) as mask,
    ):
        assert np.array_equal(store.raw(np.array([2]))[0], image.read())
        assert np.array_equal(store.masks(np.array([2]))[0], mask.read(1))
        centre = Transformer.from_crs(image.crs, "EPSG:4326", always_xy=True).transform(*(image.transform @ (112, 112)))
    assert (row["lon"], row["lat"]) == pytest.approx(centre)


def _csv(table, folder):
    table.to_csv(folder / "images.csv", index=False)
    return folder / "images.csv"


def write(folder, text, name="t.csv"):
    (folder / name).write_text(text)
    return folder / name


def run(folder, table, *options):
    return call(main, "table", table, "--size", 16, "--workers", 1, "--out", folder / "store", *options)


def said(capsys):
    return capsys.readouterr().err.splitlines()[-1]


def test_a_png_of_16_bits_keeps_its_values_and_is_no_photograph_among_others(tmp_path, capsys):
    deep = np.full((16, 16), 1000, np.uint16)
    deep[:8] = 40_000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    photo(tmp_path / "plain.png", (1, 2, 3))
    assert run(tmp_path, write(tmp_path, "path,lon,lat\ndeep.png,0,0\n")) == 0
    store = ChipStore(tmp_path / "store")
    assert np.array_equal(store.raw(np.array([0]))[0, 0], deep)
    both = write(tmp_path, "path,lon,lat,place\ndeep.png,0,0,a\nplain.png,0,0,b\n")
    assert run(tmp_path, both, "--overwrite", "--max-bad", 1) == 0
    assert "left out plain.png: cannot be used (its pixels are uint8, not uint16" in capsys.readouterr().out


def test_a_turned_photograph_with_a_mask_is_refused(tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", (16, 16), 1).save(tmp_path / "m.png")
    write(tmp_path, "value,name,color\n1,land,00FF00\n", "legend.csv")
    table = write(tmp_path, "path,lon,lat,mask\na.jpg,0,0,m.png\n")
    assert run(tmp_path, table, "--legend", tmp_path / "legend.csv") == 2
    assert "is rotated by its EXIF orientation, but its mask m.png is not" in said(capsys)


def test_words_that_pandas_takes_for_nothing_are_labels(tmp_path):
    for name in "abc":
        photo(tmp_path / f"{name}.png", (9, 9, 9))
    assert run(tmp_path, write(tmp_path, "path,lon,lat,label\na.png,0,0,NA\nb.png,1,1,null\nc.png,2,2,\n")) == 0
    store = ChipStore(tmp_path / "store")
    assert [entry.name for entry in store.info.classes] == ["NA", "null"]
    assert list(store.index.sort_values("source")["label"]) == [0, 1, -1]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("b.png,0,0,2999-01-01", "row 2: datetime 2999-01-01 is not within 1826 to "),
        ("b.png,0,0,1700-01-01", "row 2: datetime 1700-01-01 is not within 1826 to "),
        ("./a.png,0,0,2020-01-01", "row 2: lists a.png again, after row 1"),
        ("b.png,0", "row 2: has 2 fields, the header 4"),
    ],
)
def test_a_row_that_makes_no_sense_is_named_and_the_next_keeps_its_number(row, why, tmp_path, capsys):
    for name in "abc":
        photo(tmp_path / f"{name}.png", (9, 9, 9))
    table = write(tmp_path, f"path,lon,lat,datetime\na.png,0,0,2020-01-01\n{row}\nc.png,0,0,never\n")
    assert run(tmp_path, table, "--max-bad", 2) == 0
    out = capsys.readouterr().out
    assert f"left out t.csv {why}" in out
    assert "left out t.csv row 3: datetime never" in out
    assert list(ChipStore(tmp_path / "store").index["source"]) == ["a.png"]


def test_what_is_cut_off_at_the_edges_is_counted(tmp_path, capsys):
    photo(tmp_path / "a.png", (9, 9, 9), (40, 32))
    photo(tmp_path / "b.png", (9, 9, 9), (32, 32))
    assert run(tmp_path, write(tmp_path, "path,lon,lat\na.png,0,0\nb.png,1,1\n"), "--fit", "cut") == 0
    assert "dropped: 1 images whose right or lower edge" in capsys.readouterr().out


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found(separator, tmp_path):
    photo(tmp_path / "a.png", (9, 9, 9))
    assert run(tmp_path, write(tmp_path, "path,lon,lat\na.png,3,4\n".replace(",", separator))) == 0
    assert ChipStore(tmp_path / "store").index["lat"][0] == 4


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("path,lon,lat\na.png,0,95\n", ["--max-bad", 3], "for instance t.csv row 1: lat 95"),
        ("path,lon,lat\na.png,0,5\n", ["--gsd", -5], "--gsd -5: must be"),
        ("path,lon,lat,datetime\na.png,0,5,2020\n", ["--date-format", "%Q"], "--date-format %Q: 'Q' is a bad"),
        ("path,lon,lat,datetime\na.png,0,5,2020\n", ["--date-format", "%m"], "--date-format %m: has no year"),
        ("path,lon,lat,lon\na.png,0,5,1\n", [], "t.csv: has two columns lon"),
        ("", [], "t.csv: has no column lat and no column lon"),
    ],
)
def test_senseless_tables_and_options_get_one_sentence(text, options, why, tmp_path, capsys):
    photo(tmp_path / "a.png", (9, 9, 9))
    assert run(tmp_path, write(tmp_path, text), *options) == 2
    assert why in said(capsys)


def test_a_broken_png_is_left_out_by_name(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for name in "ab":
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[33:37] = b"\x00\x00\x00\x10"  # the first chunk of pixels ends too early: what follows is no chunk
    (tmp_path / "a.png").write_bytes(content)
    assert run(tmp_path, write(tmp_path, "path,lon,lat\na.png,0,0\nb.png,1,1\n"), "--max-bad", 1) == 0
    assert "left out a.png: cannot be used" in capsys.readouterr().out


def test_a_hundred_missing_images_do_not_hide_the_sound_one(tmp_path):
    photo(tmp_path / "z.png", (9, 9, 9))
    rows = "".join(f"{number:03}.png,1,1,{number:03}\n" for number in range(120))
    table = write(tmp_path, f"path,lon,lat,place\n{rows}z.png,1,1,z\n")
    assert run(tmp_path, table, "--max-bad", 120) == 0
    assert len(ChipStore(tmp_path / "store")) == 1


def test_bands_in_another_order_are_refused(tmp_path, capsys):
    import rasterio

    for name, bands in (("a.tif", ("B4", "B3")), ("b.tif", ("B3", "B4"))):
        with rasterio.open(write_raster(tmp_path / name, np.ones((2, 16, 16), np.uint16)), "r+") as target:
            target.descriptions = bands
    assert run(tmp_path, write(tmp_path, "path,lon,lat\na.tif,0,0\nb.tif,0,0\n"), "--max-bad", 1) == 0
    assert "left out b.tif: cannot be used (its bands are in another order (B3, B4)" in capsys.readouterr().out


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "a.png", transparency=b"\x00\xff")
    assert run(tmp_path, write(tmp_path, "path,lon,lat\na.png,0,0\n")) == 0
    store = ChipStore(tmp_path / "store")
    assert store.raw(np.array([0]))[0, :, 8, 8].tolist() == [10, 20, 30]
    assert not store.valid(np.array([0]))[0, 0, 0]


BAD_GEO = {
    "no CRS": ({"primary_column": "g", "columns": {"g": {"encoding": "WKB", "crs": None}}}, "has no CRS"),
    "no column": ({}, "is no valid GeoParquet"),
    "broken geometry": ({"primary_column": "g", "columns": {"g": {"encoding": "WKB"}}}, "row 1: lon nan"),
    "other encoding": ({"primary_column": "g", "columns": {"g": {"encoding": "point"}}}, "is not a WKB column"),
}


@pytest.mark.parametrize("case", BAD_GEO)
def test_an_unsound_geoparquet_gets_one_sentence(case, tmp_path, capsys):
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata, why = BAD_GEO[case]
    table = pa.table({"path": ["a.png"], "g": [b"xx"]}).replace_schema_metadata({"geo": json.dumps(metadata)})
    pq.write_table(table, tmp_path / "t.parquet")
    assert run(tmp_path, tmp_path / "t.parquet") == 2
    assert why in said(capsys)


def listed(folder, rows, name="scratch", **images):
    from core.sources.image_list import ImageList
    from core.store.build import Tally
    from core.store.read import StoreInfo

    (folder / name).mkdir()
    info = StoreInfo((), "", "", images.pop("gsd", None), 16)
    return ImageList.of_rows(rows, folder / name, folder, info, Tally(), **images)


def chips(source):
    from core.store.build import Tally

    return [chip for task in source.tasks for chip in source.chips(task, Tally())]


def test_the_order_of_listing_does_not_matter(tmp_path):
    photo(tmp_path / "a.png", (9, 9, 9))
    write_raster(tmp_path / "b.tif", np.ones((1, 16, 16), np.uint16))
    rows = [{"path": "a.png"}, {"path": "b.tif"}]
    assert repr(listed(tmp_path, rows, "one")) == repr(listed(tmp_path, rows[::-1], "two"))


def test_another_root_is_another_source(tmp_path):
    for folder in ("one", "two"):
        photo(tmp_path / folder / "a.png", (9, 9, 9))
    one, two = (repr(listed(tmp_path / folder, [{"path": "a.png"}])) for folder in ("one", "two"))
    assert one != two


def test_shards_are_as_large_as_their_images_fill_them(tmp_path, monkeypatch):
    from core.sources import image_list as images

    monkeypatch.setattr(images, "SHARD_BYTES", 4 * 16 * 16 * 3)  # four chips
    for name, side in (("a", 16), ("b", 48), ("c", 16), ("d", 16)):
        photo(tmp_path / f"{name}.png", (9, 9, 9), (side, side))
    source = listed(tmp_path, [{"path": f"{name}.png"} for name in "abcd"], fit="cut")
    assert len(source.tasks) == 3
    assert [chip.source for chip in chips(source)] == ["a.png"] + ["b.png"] * 9 + ["c.png", "d.png"]


def test_an_image_of_many_shards_that_breaks_off_gives_no_chip(tmp_path, monkeypatch):
    from core.sources import image_list as images
    from core.store.build import Tally

    monkeypatch.setattr(images, "SHARD_BYTES", 4 * 16 * 16)
    noise = np.random.default_rng(0).integers(0, 255, (1, 512, 512)).astype(np.uint8)
    path = write_raster(tmp_path / "a.tif", noise, tiled=True, blockxsize=256, blockysize=256)
    path.write_bytes(path.read_bytes()[:200_000])
    source, tally = listed(tmp_path, [{"path": "a.tif"}], fit="cut"), Tally()
    assert list(source.chips(0, tally)) == []
    assert [file for file, _ in tally.bad] == ["a.tif"]


def test_chips_know_how_far_they_reach_on_the_ground(tmp_path):
    pixels = np.ones((1, 32, 32), np.uint8)
    write_raster(tmp_path / "a.tif", pixels)
    diagonal = 2**0.5
    located = chips(listed(tmp_path, [{"path": "a.tif"}], "1", fit="cut", locate=True))
    assert [chip.reach_m for chip in located] == pytest.approx([16 * 10 * diagonal] * 4, rel=0.005)
    [scaled] = chips(listed(tmp_path, [{"path": "a.tif"}], "2", locate=True))
    assert scaled.reach_m == pytest.approx(32 * 10 * diagonal, rel=0.005)
    [stated] = chips(listed(tmp_path, [{"path": "a.tif", "lon": 1, "lat": 2}], "3", gsd=20))
    assert stated.reach_m == pytest.approx(16 * 20 * diagonal)
    [*cut] = chips(listed(tmp_path, [{"path": "a.tif", "lon": 1, "lat": 2}], "4", gsd=10, fit="cut"))
    assert [chip.reach_m for chip in cut] == pytest.approx([32 * 10 * diagonal] * 4)
    [unknown] = chips(listed(tmp_path, [{"path": "a.tif", "lon": 1, "lat": 2}], "5"))
    assert np.isnan(unknown.reach_m)


def test_an_image_that_looks_beyond_the_earth_is_left_out(tmp_path):
    from core.store.build import Tally

    disc = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    origin = (-5_600_000, 5_600_000)
    write_raster(tmp_path / "a.tif", np.ones((1, 32, 32), np.uint8), crs=disc, origin=origin, pixel=350_000)
    source, tally = listed(tmp_path, [{"path": "a.tif"}], locate=True), Tally()
    assert list(source.chips(0, tally)) == []
    assert "its georeference cannot be converted to longitude and latitude" in tally.bad[0][1]

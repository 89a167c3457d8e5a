"""What ``core.prepare info`` says, draws and writes."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from core.errors import UserError
from core.report import store_info as info
from core.report import store_picture as pictures
from core.report.pictures import Painter, boxes_of, natural_bands, page_style, shorten
from core.report.store_picture import Sheet, choose_places
from core.store import index
from core.store.build import Chip, Tally, build
from core.store.read import UNLABELLED, ChipStore, LandClass, StoreInfo
from core.store.summary import Extent, Summary

SIZE = 16
CLASSES = (LandClass(1, "farm", "E0B34C"), LandClass(2, "forest", "1B7A3D"), LandClass(3, "water", "1F4FA3"))
INFO = StoreInfo(("red", "green", "blue"), "uint8", "8-bit colour", 10.0, SIZE, CLASSES, None, "made here", "none")


@dataclass(frozen=True)
class Given:
    """Chips that a test lists."""

    info: StoreInfo
    list_chips: Callable[[Tally], Iterable[Chip]] = field(repr=False)
    bad: tuple[tuple[str, str], ...] = ()
    dropped: tuple = ()
    tasks = range(1)

    def chips(self, task: int, tally: Tally) -> Iterable[Chip]:
        return self.list_chips(tally)


def chip(place: str, *, value: int = 100, info: StoreInfo = INFO, date: datetime | None = None, **more) -> Chip:
    pixels = np.full((len(info.bands), info.chip_size, info.chip_size), value, info.dtype)
    known = {
        "pixels": pixels,
        "valid": np.ones(pixels.shape[1:], bool),
        "lon": np.nan,
        "lat": np.nan,
        "source": "x.tif",
    }
    return Chip(**(known | more), place=place, datetime=date)


def make(out: Path, chips: Iterable[Chip], info: StoreInfo = INFO, **options) -> ChipStore:
    listed = list(chips)
    return build(Given(info, lambda tally: listed), out, workers=1, **options)[0]


@pytest.fixture(scope="module")
def farms(tmp_path_factory: pytest.TempPathFactory) -> ChipStore:
    """Six places, the first two with three dates (one of them half empty), two unlabelled, one of each side."""

    def chips(tally: Tally) -> Iterable[Chip]:
        half = np.ones((SIZE, SIZE), bool)
        half[:, : SIZE // 2] = False
        sides = ("train", "train", "val", "test", "train", "train")
        for number, side in enumerate(sides):
            for year in (2019, 2020, 2021)[: 3 if number < 2 else 1]:
                yield chip(
                    f"place {number}",
                    value=40 * number + 10,
                    date=datetime(year, 6, 1, tzinfo=UTC),
                    lon=10 + 0.1 * number,
                    lat=50.0,
                    split=side,
                    label=(0, 0, 1, 1, -1, -1)[number],
                    valid=half if (number, year) == (0, 2020) else np.ones((SIZE, SIZE), bool),
                )
        tally.drop("under clouds", 7)
        tally.skip("broken.tif", "is cut off")

    source = Given(INFO, chips)
    return build(source, tmp_path_factory.mktemp("info") / "farms", workers=1, max_bad=1)[0]


def command(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    info.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["info", *map(str, arguments)])
    parsed.run(parsed)


def lines(text: str) -> dict[str, str]:
    return {line[:15].strip(): line[16:] for line in text.splitlines()}


def page(store: ChipStore) -> tuple[np.ndarray, dict[str, tuple[int, int, int, int]], str]:
    """The picture as pixels, where its panels lie in it (left, top, right, bottom), and all its text."""
    with page_style():
        figure = pictures.draw_page(store, Summary.of(store))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    boxes = {axes.get_label(): axes.get_window_extent() for axes in figure.axes}
    panels = {n: (int(b.x0), int(len(pixels) - b.y1), int(b.x1), int(len(pixels) - b.y0)) for n, b in boxes.items()}
    return pixels, panels, "\n".join(text.get_text() for text in figure.findobj(Text))


def share(pixels: np.ndarray, colour: str) -> float:
    """Of pixels in about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)])
    return float((abs(pixels.astype(int) - wanted).max(axis=-1) < 8).mean())


def within(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


def test_the_text_counts_what_is_there(farms):
    said = lines(info.describe(farms, Summary.of(farms)))
    assert said["images"] == "10 of 6 places"
    assert said["repeated"] == "2 places with more than one date"
    assert said["dates per place"] == "1 to 3, median 1"
    assert said["dates"] == "2019-06-01 to 2021-06-01"
    assert said["chips"] == "16 x 16 px, 10 m per pixel"
    assert said["bands"] == "3: red, green, blue"
    assert said["pixels"] == "uint8, 8-bit colour, 10 to 210"
    assert said["with data"] == "95.0% of the pixels"
    assert said["located"] == "10.000°E to 10.500°E, 50.000°N to 50.000°N"
    assert said["kept"] == "10 chips; dropped: 7 under clouds"
    assert said["left out"] == "broken.tif: is cut off"
    assert said["train"].split() == ["4", "8"]
    assert said["val"].split() == ["1", "1"]
    assert "margin" not in said


def test_the_text_lists_classes_by_frequency(farms):
    table = info.describe(farms, Summary.of(farms)).splitlines()[-5:]
    assert [row.split()[:2] for row in table[1:4]] == [["farm", "6"], ["forest", "2"], ["water", "0"]]
    assert table[4].split() == ["not", "labelled", "2"]
    assert len(table[1].split()[2]) == 3 * len(table[2].split()[2])


def test_statistics_of_each_band_are_listed(farms):
    rows = info.describe(farms, Summary.of(farms)).splitlines()
    row = next(row.split() for row in rows if row.startswith("green"))
    assert float(row[1]) == pytest.approx(farms.info.mean[1], rel=1e-4)
    assert float(row[2]) == pytest.approx(farms.info.std[1], rel=1e-4)


def test_the_size_on_disk_is_that_of_all_files(farms):
    assert Summary.of(farms).bytes == sum(path.stat().st_size for path in farms.path.rglob("*") if path.is_file())


def test_the_command_prints_and_draws_into_the_store(farms, capsys):
    command(farms.path)
    assert "10 of 6 places" in capsys.readouterr().out
    with Image.open(farms.path / "info.png") as picture:
        assert picture.width == 1680
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    assert [path.name for path in farms.path.glob("*.partial")] == []


def test_terminals_without_degrees_and_blocks_get_the_rest(farms, tmp_path, monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", output)
    command(farms.path, "--out", tmp_path / "p.png")
    output.flush()
    said = output.buffer.getvalue().decode()
    assert "10.000?E to 10.500?E" in said
    assert "farm                    6  ########################" in said


def test_continents_lie_below_the_places_of_wide_maps(tmp_path):
    chips = [chip("Hamburg", lon=10.0, lat=53.5), chip("Palermo", lon=13.4, lat=38.1), chip("Kyiv", lon=30.5, lat=50.4)]
    store = make(tmp_path / "s", chips)
    pixels, panels, _ = page(store)
    area = within(pixels, panels["map"])
    assert 0.2 < share(area, "dcdcd3") < 0.8
    assert 0.1 < share(area, "eef3f7") < 0.7
    window = pictures._window(Summary.of(store).extent, store)
    column = int((18.5 - window.west) / (window.east - window.west) * area.shape[1])
    rows = [int((window.north - lat) / (window.north - window.south) * area.shape[0]) for lat in (47.2, 38.5)]
    assert area[rows, column].tolist() == [[0xDC, 0xDC, 0xD3], [0xEE, 0xF3, 0xF7]]  # Hungary, the Ionian Sea


def test_the_map_shows_each_side_in_its_colour_from_west_to_east(farms):
    pixels, panels, _ = page(farms)
    area = within(pixels, panels["map"])
    columns = []
    for colour in ("2f6db5", "e39a1f", "c8323c"):
        assert share(area, colour) > 1e-4
        wanted = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)])
        columns.append(np.flatnonzero((abs(area.astype(int) - wanted).max(axis=-1) < 8).any(axis=0)))
    train, val, test = columns
    assert train.min() < val.min() < test.min() < train.max()


def test_bars_have_the_colours_of_the_legend_and_the_length_of_the_counts(farms):
    pixels, panels, _ = page(farms)
    assert {"map", "dates", "train", "val", "test"} == set(panels)
    train = within(pixels, panels["train"])
    assert share(train, "E0B34C") > 0.05  # six farms
    assert share(train, "b4bcc4") == pytest.approx(share(train, "E0B34C") / 3, rel=0.15)  # two unlabelled
    assert share(train, "1B7A3D") == 0
    assert share(within(pixels, panels["val"]), "1B7A3D") > 0.05
    assert share(within(pixels, panels["dates"]), "4f7a9c") > 0.05


def test_chips_are_drawn_with_one_stretch_and_holes_are_hatched(farms):
    painter = Painter.of(farms)
    dark, bright = painter.chip(1, 64), painter.chip(9, 64)
    assert farms.column("datetime")[1] == np.datetime64("2020-06-01")
    assert set(np.unique(dark[:, :32])) <= {204, 230}  # no data
    assert len(np.unique(dark[:, :32])) == 2
    assert dark[:, 32:].max() == 0
    assert bright.min() == 255


def test_named_bands_give_natural_colours():
    assert natural_bands(("B02", "B03", "B04", "B08")) == (2, 1, 0)
    assert natural_bands(("Blue", "Green", "Red")) == (2, 1, 0)
    assert natural_bands(("B04 (10 m)", "B03", "B02")) == (0, 1, 2)
    assert natural_bands(("band 1", "band 2", "band 3")) is None


def test_a_single_band_is_grey_and_thirteen_show_the_natural_three(tmp_path):
    radar = StoreInfo(("VV",), "float32", "dB", 10.0, SIZE)
    values = np.linspace(-30, 0, SIZE * SIZE, dtype=np.float32).reshape(1, SIZE, SIZE)
    store = make(tmp_path / "radar", [chip("one", info=radar, pixels=values)], radar)
    drawn = Painter.of(store).chip(0, 64)
    assert (drawn == drawn[..., :1]).all()
    assert drawn[0, 0, 0] == 0
    assert drawn[-1, -1, 0] == 255
    names = tuple(["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"])
    many = StoreInfo(names, "uint16", "reflectance x 10000", 10.0, SIZE)
    store = make(tmp_path / "many", [chip("one", info=many), chip("two", value=9, info=many)], many)
    assert Painter.of(store).bands == (3, 2, 1)
    assert "bands: B04, B03, B02" in page(store)[2]


def test_labels_are_outlined_and_drawn_beside_the_chips(tmp_path):
    mask = np.full((SIZE, SIZE), UNLABELLED, np.uint8)
    mask[4:12, 4:12] = 1
    dates = [datetime(2020, month, 1, tzinfo=UTC) for month in (1, 2)]
    store = make(tmp_path / "s", [chip("a", date=date, mask=mask, label=1) for date in dates])
    painter = Painter.of(store)
    drawn, labels = painter.chip(0, 64), painter.mask(0, 64)
    forest = [0x1B, 0x7A, 0x3D]
    assert drawn[16, 30].tolist() == drawn[30, 17].tolist() == forest
    assert drawn[15, 30].tolist() != forest
    assert drawn[30, 30].tolist() != forest
    assert (labels[16:48, 16:48] == forest).all()
    assert set(np.unique(labels[:16])) <= {204, 230}
    assert "labels" in page(store)[2].split("\n")
    assert Summary.of(store).label_pixels.tolist() == [0, 0.25, 0, 0.75]


def test_objects_are_outlined_and_counted(tmp_path):
    boxes = np.array([[2, 2, 8, 8, 0], [4, 10, 14, 14, 2], [0, 0, 3, 3, 2]])
    store = make(tmp_path / "s", [chip("a", boxes=boxes), chip("b")])
    summary = Summary.of(store)
    assert summary.split_objects.sum(axis=0).tolist() == [1, 0, 2, 0]
    said = info.describe(store, summary)
    assert [row.split()[:3] for row in said.splitlines()[-4:-1]] == [
        ["water", "0", "2"],
        ["farm", "0", "1"],
        ["forest", "0", "0"],
    ]
    _, _, text = page(store)
    assert "Objects by class" in text
    drawn = Painter.of(store).chip(0, 64, boxes_of(store, np.array([0])))
    assert drawn[8, 20].tolist() == [0xE0, 0xB3, 0x4C]
    assert drawn[40, 30].tolist() == [0x1F, 0x4F, 0xA3]


def test_stores_without_coordinates_and_dates_say_so(tmp_path):
    store = make(
        tmp_path / "s", [chip(f"p{n}", value=n) for n in range(12)], StoreInfo(**(vars(INFO) | {"classes": ()}))
    )
    said = lines(info.describe(store, Summary.of(store)))
    assert said["located"] == "no place has coordinates"
    assert said["dates"] == "none"
    assert "no labels" in info.describe(store, Summary.of(store))
    boxes = replace(Summary.of(store), split_objects=np.array([[3], [0], [0], [0]]))
    assert "3 objects without a class" in info.describe(store, boxes)
    _, panels, text = page(store)
    assert "no coordinates: no map; no dates" in text
    assert "map" not in panels


def test_one_place_with_one_date_and_one_class_is_drawn(tmp_path):
    single = StoreInfo(**(vars(INFO) | {"classes": CLASSES[:1]}))
    only = chip("alone", info=single, date=datetime(2020, 1, 1, tzinfo=UTC), lon=179.99, lat=-89.0, label=0)
    pixels, panels, text = page(make(tmp_path / "s", [only], single))
    assert "1 image of 1 place · 2020-01-01" in text
    assert share(within(pixels, panels["map"]), "2f6db5") > 1e-4


def test_of_three_hundred_classes_twenty_are_shown_and_the_rest_counted(tmp_path):
    many = StoreInfo(**(vars(INFO) | {"classes": tuple(LandClass(n, f"kind {n}", "") for n in range(300))}))
    chips = [chip(f"p{n}/{i}", info=many, label=n) for n in range(300) for i in range(1 + (n < 20))]
    store = make(tmp_path / "s", chips, many)
    text = page(store)[2].split("\n")
    assert "280 more with 280" in text
    assert "kind 19" in text
    assert "kind 20" not in text
    assert "and 270 more classes, 270 in all" in info.describe(store, Summary.of(store))


def test_places_across_the_antimeridian_are_mapped_in_one_piece(tmp_path):
    spots = {"west": 178.0, "middle": 180.5, "east": 182.0}
    store = make(tmp_path / "s", [chip(name, lon=lon, lat=-17.0) for name, lon in spots.items()])
    extent = Summary.of(store).extent
    assert (extent.west, extent.east) == (178, 182)
    assert extent.unwrap(np.array([178.0, -178.0])).tolist() == [178, 182]
    assert lines(info.describe(store, Summary.of(store)))["located"].startswith("178.000°E to 178.000°W")
    window = pictures._window(extent, store)
    assert 177 < window.west < 178
    assert 182 < window.east < 183


def test_stores_of_the_whole_world_are_not_cut_elsewhere():
    lon = np.array([-179.0, -100, -60, 10, 60, 100, 150, 179])
    assert Extent.of(lon, np.zeros(8)) == Extent(-179, 0, 179, 0)
    assert Extent.of(np.array([-74.0, 140]), np.array([41.0, 36])) == Extent(-74, 36, 140, 41)
    assert Extent.of(np.array([np.nan]), np.array([np.nan])) is None


def test_a_map_is_as_wide_as_it_is_on_the_ground(tmp_path):
    store = make(tmp_path / "s", [chip("a", lon=10.0, lat=60.0), chip("b", lon=10.4, lat=60.1)])
    window = pictures._window(Summary.of(store).extent, store)
    across = (window.east - window.west) * np.cos(np.radians(60.05))
    assert across / (window.north - window.south) == pytest.approx(2)


def test_chosen_places_differ_in_class_side_and_position_and_stay_the_same(farms):
    chosen = choose_places(farms.places, 4)
    assert set(farms.places["label"][chosen]) == {-1, 0, 1}
    assert set(farms.places["split"][chosen]) == {"train", "val", "test"}
    assert choose_places(farms.places, 4).tolist() == chosen.tolist()
    assert len(choose_places(farms.places, 100)) == 6


def test_dates_of_a_place_are_spread_and_in_order(tmp_path):
    chips = [chip("a", value=n, date=datetime(2000 + n, 1, 1, tzinfo=UTC)) for n in range(20)]
    (strip,) = Sheet.of(make(tmp_path / "s", chips)).strips
    assert strip.rows == (0, 3, 5, 8, 11, 14, 16, 19)
    assert strip.captions[0] == "2000-01-01"
    assert strip.captions[-1] == "2019-01-01"
    assert ("8 of 20 images", None) in strip.notes


def test_long_names_are_shortened_to_their_place():
    short = shorten("folder/" * 60 + "end", 1.5, 8)
    assert short.startswith("folder/")
    assert short.endswith("/end")
    assert 15 < len(short) < 35
    assert shorten("short\nname", 1.5, 8) == "short name"


def test_names_with_dollars_and_foreign_letters_are_drawn(tmp_path):
    text = page(make(tmp_path / "s", [chip("$5_x$ 北京", date=datetime(2020, m, 1, tzinfo=UTC)) for m in (1, 2)]))[2]
    assert "$5_x$ 北京" in text


def test_the_geopackage_holds_the_index(farms, tmp_path):
    command(farms.path, "--out", tmp_path / "p.png", "--gpkg", tmp_path / "index.gpkg")
    layer = geopandas.read_file(tmp_path / "index.gpkg", layer="images")
    index = farms.index
    assert layer.crs.to_epsg() == 4326
    assert layer["place"].tolist() == index["place"].tolist()
    assert (layer["datetime"] == index["datetime"]).all()
    assert layer["split"].tolist() == index["split"].tolist()
    assert layer["class"].fillna("").tolist() == ["farm"] * 6 + ["forest"] * 2 + [""] * 2
    for name in ("place_number", "label", "shard", "chip", "mask", "row", "column", "lon", "lat"):
        assert layer[name].tolist() == index[name].tolist()
    assert layer.geometry.x.tolist() == index["lon"].tolist()
    assert layer.geometry.y.tolist() == index["lat"].tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.gpkg", "p.png"]


def test_a_geopackage_is_written_in_pieces(farms, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_LAYER_BATCH", 3)
    index.write_gpkg(farms, tmp_path / "index.gpkg")
    assert len(geopandas.read_file(tmp_path / "index.gpkg")) == 10


def test_a_geopackage_is_replaced_only_when_told_so(farms, tmp_path):
    path = tmp_path / "index.gpkg"
    path.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"index\.gpkg: exists"):
        command(farms.path, "--out", tmp_path / "p.png", "--gpkg", path)
    assert path.read_bytes() == b"precious"
    assert not (tmp_path / "p.png").exists()
    command(farms.path, "--out", tmp_path / "p.png", "--gpkg", path, "--overwrite")
    assert len(geopandas.read_file(path)) == 10


def test_a_geopackage_needs_coordinates(tmp_path):
    store = make(tmp_path / "s", [chip("a", lon=1.0, lat=2.0), chip("b")])
    with pytest.raises(UserError, match="1 image of 2 without coordinates"):
        command(store.path, "--gpkg", tmp_path / "index.gpkg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "picture.jpg"), "picture.jpg: the picture is a PNG"),
        (("--gpkg", "index.shp"), "index.shp: a GeoPackage must be named .gpkg"),
        (("--gpkg", "nowhere/index.gpkg"), "nowhere: no such folder"),
        (("--out", "nowhere/p.png"), "nowhere/p.png: cannot be written"),
    ],
)
def test_wrong_names_are_refused_with_a_sentence(farms, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        command(farms.path, *options)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no chip store there"):
        command(tmp_path)


def test_a_damaged_list_of_what_was_dropped_is_named(tmp_path):
    store = make(tmp_path / "s", [chip("a")])
    (store.path / "made.json").write_text(json.dumps({"kept": 1}))
    with pytest.raises(UserError, match=r"made\.json: corrupt"):
        command(store.path)


def test_a_damaged_shard_is_named(tmp_path):
    store = make(tmp_path / "s", [chip("a")])
    with (store.path / "shards" / "00000" / "chips.npy").open("r+b") as shard:
        shard.truncate(400)
    with pytest.raises(UserError, match=r"00000/chips.npy: damaged"):
        command(store.path)
    assert not (store.path / "info.png").exists()


def test_real_landsat_scenes_are_shown(real, tmp_path):
    folder = real / "landsat_peru_1985_2020"
    landsat = StoreInfo(("band 1", "band 2", "band 3", "band 4"), "uint8", "8-bit values", 90.0, 64)

    def chips() -> Iterable[Chip]:
        for path in sorted(folder.glob("*.tif")):
            with rasterio.open(path) as scene:
                pixels, valid = scene.read(), scene.read_masks().all(axis=0)
                for row in range(0, 320, 64):
                    for column in range(0, 640, 64):
                        window = slice(row, row + 64), slice(column, column + 64)
                        lon, lat = scene.transform @ (column + 32, row + 32)
                        date = datetime(int(path.stem), 6, 1, tzinfo=UTC)
                        square = pixels[(slice(None), *window)]
                        yield chip(
                            f"{row}/{column}",
                            info=landsat,
                            pixels=square,
                            valid=valid[window],
                            lon=lon,
                            lat=lat,
                            date=date,
                        )

    store = make(tmp_path / "peru", chips(), landsat)
    summary = Summary.of(store)
    said = lines(info.describe(store, summary))
    assert said["images"] == "400 of 50 places"
    assert said["dates per place"] == "8"
    assert said["dates"] == "1985-06-01 to 2020-06-01"
    assert -75 < summary.extent.west < summary.extent.east < -74
    pixels, panels, text = page(store)
    assert "Images by year" in text
    assert text.count("1985-06-01") == len(Sheet.of(store).strips) + 1
    chips_drawn = pixels[170:300, 260:1640].reshape(-1, 3)
    assert len(np.unique(chips_drawn, axis=0)) > 1000
    assert share(within(pixels, panels["map"]), "2f6db5") > 0.1

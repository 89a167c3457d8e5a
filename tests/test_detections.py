"""Object detection data in the layouts that COCO and xView publish."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from core.errors import UserError
from core.imagery.labels import legend_of
from core.sources import annotations, detections
from core.sources.annotations import XVIEW_CLASSES
from core.sources.detections import Detections, Tiling, add_parser
from core.store.build import Tally, build
from core.store.check import check
from core.store.read import ChipStore
from core.store.sphere import spatial_split
from tests.conftest import write_raster

# The keys as https://cocodataset.org/#format-data lists them.
COCO_KEYS = {
    "info": ["year", "version", "description", "contributor", "url", "date_created"],
    "images": ["id", "width", "height", "file_name", "license", "flickr_url", "coco_url", "date_captured"],
    "annotations": ["id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"],
    "licenses": ["id", "name", "url"],
    "categories": ["id", "name", "supercategory"],
}
# The properties of a feature of xView_train.geojson.
XVIEW_KEYS = (
    *("bounds_imcoords", "edited_by", "cat_id", "type_id", "ingest_time"),
    *("index_right", "image_id", "point_geom", "feature_id", "grid_file"),
)


def coco(images: list[dict], annotations: list[dict]) -> dict:
    """A table with all published keys; what a test does not care about is filled in."""
    fill = {name: dict.fromkeys(keys, 0) for name, keys in COCO_KEYS.items()}
    fill["annotations"]["segmentation"] = [[1, 1, 2, 1, 2, 2]]
    categories = [{"id": 7, "name": "ship"}, {"id": 3, "name": "house"}]
    return {
        "info": fill["info"] | {"description": "Harbours"},
        "images": [fill["images"] | image for image in images],
        "annotations": [fill["annotations"] | annotation for annotation in annotations],
        "licenses": [fill["licenses"] | {"name": "CC0"}],
        "categories": [fill["categories"] | category for category in categories],
    }


def xview(features: list[dict], corner: tuple[float, float] = (30.0, 10.0), step: float = 1e-5) -> dict:
    """A GeoJSON whose geometries place pixel (0, 0) of every image at ``corner``, lon and lat."""
    table = {"type": "FeatureCollection", "features": []}
    for number, feature in enumerate(features):
        box = str(feature["bounds_imcoords"]).split(",")
        xmin, ymin, xmax, ymax = map(float, box) if len(box) == 4 else (0, 0, 1, 1)
        west, east = (corner[0] + step * x for x in (xmin, xmax))
        north, south = (corner[1] - step * y for y in (ymin, ymax))
        ring = [[west, south], [west, north], [east, north], [east, south], [west, south]]
        fill = dict.fromkeys(XVIEW_KEYS, "") | {"feature_id": number, "ingest_time": "2017/07/24 12:49:09.118+00"}
        geometry = {"type": "Polygon", "coordinates": [ring]}
        table["features"].append({"type": "Feature", "properties": fill | feature, "geometry": geometry})
    return table


def prepare(folder: Path, table: object, out: str = "store", **options) -> tuple[ChipStore, Tally]:
    """Make a store of ``folder/images`` and a table of labels, as the command does."""
    build_options = {name: options.pop(name) for name in ("max_bad", "workers") if name in options}
    return build(listed(folder, table, out, **options), folder / out, **{"workers": 1} | build_options)


def listed(folder: Path, table: object, out: str = "store", **options) -> Detections:
    labels = folder / "labels.json"
    labels.write_text(table if isinstance(table, str) else json.dumps(table))
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = ["detections", "--images", folder / "images", "--labels", labels]
    for name, value in {"size": 16, **options}.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
    arguments = parser.parse_args([str(word) for word in words])
    scratch = folder / f"scratch-{out}"
    scratch.mkdir(exist_ok=True)
    return arguments.make(arguments, scratch)


def boxes_of(store: ChipStore) -> dict[tuple[str, int, int], list[list[float]]]:
    """Boxes with their class numbers, by source, row and column of the chip that has them."""
    table = pq.read_table(store.path / "boxes.parquet").to_pandas()
    found: dict = {}
    for image, *box in table.itertuples(index=False):
        row = store.index.iloc[image]
        found.setdefault((row["source"], row["row"], row["column"]), []).append(box)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path


def photo(folder: Path, name: str, height: int = 40, width: int = 40, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(1, 255, (height, width, 3), np.uint8)
    path = folder / "images" / name
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def bare_raster(folder: Path, name: str, pixels: np.ndarray, **profile) -> Path:
    with pytest.warns(NotGeoreferencedWarning):
        return write_raster(folder / "images" / name, pixels, crs=None, **profile)


ONE = {"id": 1, "file_name": "a.png"}


def test_windows_cover_an_image_to_its_edges():
    assert Tiling(16, 4).starts(40).tolist() == [0, 12, 24]
    assert Tiling(16, 0).starts(40).tolist() == [0, 16, 24]
    assert Tiling(16).starts(16).tolist() == [0]
    assert Tiling(16).starts(9).tolist() == [0]
    for size, overlap, length in ((16, 5, 101), (7, 6, 30), (10, 0, 20)):
        starts = Tiling(size, overlap).starts(length)
        covered = np.zeros(length, bool)
        for start in starts:
            covered[start : start + size] = True
        assert covered.all()
        assert (starts[:-1] + size - starts[1:] >= overlap).all()
        assert starts[-1] == length - size


def test_coco_boxes_are_clipped_to_chips_and_small_remains_are_dropped(folder):
    pixels = photo(folder, "a.png")
    table = coco(
        [ONE | {"width": 40, "height": 40, "date_captured": "2013-11-14 17:02:52"}],
        [
            {"image_id": 1, "category_id": 7, "bbox": [2, 3, 4.5, 5]},
            {"image_id": 1, "category_id": 3, "bbox": [12, 0, 10, 4]},  # four tenths left of column 16, six right
            {"image_id": 1, "category_id": 3, "bbox": [14, 20, 10, 4]},  # two tenths left of it
        ],
    )
    store, tally = prepare(folder, table)
    assert boxes_of(store) == {
        ("a.png", 0, 0): [[2, 3, 6.5, 8, 1], [12, 0, 16, 4, 0]],
        ("a.png", 0, 16): [[0, 0, 6, 4, 0]],
        ("a.png", 16, 16): [[0, 4, 8, 8, 0]],
    }
    assert tally.dropped["parts of boxes at chip edges, under 0.3 of the box's area"] == 1
    assert tally.kept == 9
    assert [(entry.value, entry.name) for entry in store.info.classes] == [(3, "house"), (7, "ship")]
    assert store.info.provenance == "labels.json: Harbours"
    assert store.info.license == "CC0"
    assert set(store.index["datetime"]) == {datetime(2013, 11, 14, 17, 2, 52, tzinfo=UTC)}
    for row, chip in zip(store.index.itertuples(), store.raw(np.arange(len(store)))):
        seen = pixels[row.row : row.row + 16, row.column : row.column + 16]
        np.testing.assert_array_equal(chip.transpose(1, 2, 0), seen)


def test_boxes_stay_with_their_chips_when_the_index_is_sorted(folder, monkeypatch):
    monkeypatch.setattr(detections, "SHARD_BYTES", 16 * 16 * 3 * 2)  # two chips a shard, so that images are parted
    rng = np.random.default_rng(1)
    images, annotations, expected = [], [], {}
    for number, name in enumerate(["z.png", "sub/m.png", "a.png"]):
        photo(folder, name, seed=number)
        images.append({"id": 100 - number, "file_name": name, "date_captured": f"20{20 - number}-01-01"})
        for row, column in ((0, 0), (0, 24), (24, 12)):
            xmin, ymin = rng.integers(0, 10, 2).tolist()
            annotations.append(
                {"image_id": 100 - number, "category_id": 3, "bbox": [column + xmin, row + ymin, 1.5, 2]}
            )
            expected[name, row, column] = [xmin, ymin, xmin + 1.5, ymin + 2, 0]
    store, _ = prepare(folder, coco(images, annotations), overlap=4)
    assert len(np.unique(store.column("shard"))) > 5
    assert store.index["source"].iloc[0] == "a.png"
    found = boxes_of(store)
    assert {key: found[key][0] for key in expected} == expected
    split_of = store.index.groupby("source")["split"].nunique()
    assert split_of.tolist() == [1, 1, 1]
    assert check(store.path) == []


def test_without_coordinates_all_chips_of_an_image_are_on_the_side_that_its_name_deals(folder):
    names = [f"{number}.png" for number in range(20)]
    for number, name in enumerate(names):
        photo(folder, name, 20, 20, seed=number)
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    store, _ = prepare(folder, coco(images, []))
    sides = store.index.groupby("source")["split"].agg(["nunique", "first"])
    assert (sides["nunique"] == 1).all()
    assert set(sides["first"]) == {"train", "val", "test"}
    (folder / "images" / "0.png").unlink()
    fewer, _ = prepare(folder, coco(images[1:], []), out="fewer")
    assert fewer.index.groupby("source")["split"].first().equals(sides["first"].drop("0.png"))


def test_georeferenced_images_are_split_by_blocks_and_know_where_their_chips_lie(folder):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 48, 48), np.uint8)
    write_raster(folder / "images" / "a.tif", pixels, crs="EPSG:4326", origin=(20.0, 50.0), pixel=0.001)
    write_raster(folder / "images" / "b.tif", pixels, crs="EPSG:4326", origin=(21.0, 50.0), pixel=0.001)
    images = [{"id": 1, "file_name": "a.tif"}, {"id": 2, "file_name": "b.tif"}]
    store, _ = prepare(folder, coco(images, [{"image_id": 2, "category_id": 3, "bbox": [17, 2, 3, 3]}]))
    chip = store.index.query("source == 'b.tif' and row == 0 and column == 16").iloc[0]
    assert (chip["lon"], chip["lat"]) == pytest.approx((21.024, 49.992))
    assert store.info.gsd == pytest.approx(111.195, abs=0.001)
    lonlat = store.places[["lon", "lat"]].to_numpy()
    assert store.places["split"].tolist() == spatial_split(lonlat, 1.5 * 16 * store.info.gsd).tolist()
    assert store.info.bands == ("red", "green", "blue")
    assert boxes_of(store) == {("b.tif", 0, 16): [[1, 2, 4, 5, 0]]}


def test_chips_know_how_far_they_reach_on_the_ground(folder):
    write_raster(folder / "images" / "a.tif", np.ones((3, 32, 32), np.uint8))
    bare_raster(folder, "b.tif", np.ones((3, 32, 32), np.uint8))
    table = xview(
        [{"image_id": name, "type_id": 73, "bounds_imcoords": "1,1,9,9"} for name in ("a.tif", "b.tif")], (30.0, 60.0)
    )
    source = listed(folder, table)
    reach = {chip.source: chip.reach_m for task in source.tasks for chip in source.chips(task, Tally())}
    assert reach["a.tif"] == pytest.approx(16 * 10 * 2**0.5, rel=0.005)
    assert reach["b.tif"] == pytest.approx(16 * 0.3 * 2**0.5, rel=1e-4)  # by the pixel size of xView


def test_images_of_a_type_that_no_store_holds_are_converted_and_never_mixed(folder, capsys):
    photo(folder, "a.png", 16, 16)
    bare_raster(folder, "b.tif", np.ones((3, 16, 16), np.float64))
    images = [{"id": name, "file_name": name} for name in ("a.png", "b.tif")]
    _, tally = prepare(folder, coco(images, []), max_bad=1)
    assert tally.bad[0][0] == "b.tif"
    assert tally.bad[0][1] == "has 3 bands of float32, most images have 3 bands of uint8"
    bare_raster(folder, "a.tif", np.full((3, 16, 16), 2**20 + 0.0))
    store, _ = prepare(folder, coco([{"id": name, "file_name": name} for name in ("a.tif", "b.tif")], []), "real")
    assert (store.raw(np.arange(2))[:, 0, 0, 0] == [2**20, 1]).all()
    assert "a.tif: its pixels are float64: stored as float32, which keeps seven digits" in capsys.readouterr().out


def test_images_of_another_folder_are_another_source(folder):
    photo(folder, "a.png", 16, 16)
    first = repr(listed(folder, coco([ONE], [])))
    (folder / "images").rename(folder / "other")
    assert first != repr(listed(folder, coco([ONE], []), images=folder / "other"))


def test_one_image_without_coordinates_lets_names_deal_for_all(folder):
    write_raster(
        folder / "images" / "a.tif", np.full((3, 32, 32), 9, np.uint8), crs="EPSG:4326", origin=(20, 50), pixel=0.001
    )
    bare_raster(folder, "b.tif", np.full((3, 32, 32), 9, np.uint8))
    images = [{"id": 1, "file_name": "a.tif"}, {"id": 2, "file_name": "b.tif"}]
    store, tally = prepare(folder, coco(images, []))
    assert store.index.groupby("source")["split"].nunique().tolist() == [1, 1]
    assert np.isfinite(store.index["lon"]).sum() == 4
    assert tally.dropped == {"images without coordinates, so all images are split by name, not by blocks": 1}


def test_small_images_are_padded_with_invalid_pixels(folder):
    pixels = photo(folder, "a.png", 10, 12)
    table = coco([ONE], [{"image_id": 1, "category_id": 3, "bbox": [8, 8, 8, 4]}])
    store, _ = prepare(folder, table, min_remain=0.2)
    assert len(store) == 1
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, :, :10, :12], pixels.transpose(2, 0, 1))
    valid = np.zeros((16, 16), bool)
    valid[:10, :12] = True
    np.testing.assert_array_equal(store.valid(np.array([0]))[0], valid)
    assert not store.raw(np.array([0]))[0][:, ~valid].any()
    assert boxes_of(store) == {("a.png", 0, 0): [[8, 8, 12, 10, 0]]}  # clipped to the image, not to the padding


def test_gray_and_palette_photographs_stand_among_coloured_ones(folder):
    photo(folder, "a.png", 16, 16)
    photo(folder, "b.png", 16, 16)
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(gray).save(folder / "images" / "gray.png")
    palette = Image.fromarray(np.ones((16, 16), np.uint8), mode=None).convert("P")
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(folder / "images" / "palette.png")
    images = [{"id": name, "file_name": f"{name}.png"} for name in ("a", "b", "gray", "palette")]
    store, tally = prepare(folder, coco(images, []))
    assert not tally.bad
    rows = store.index["source"].tolist()
    np.testing.assert_array_equal(store.raw(np.array([rows.index("gray.png")]))[0], np.stack([gray] * 3))
    shown = store.raw(np.array([rows.index("palette.png")]))[0, :, 0, 0]
    assert shown.tolist() == [10, 20, 30]


def test_empty_chips_are_kept_as_negatives_unless_unwanted(folder):
    photo(folder, "a.png", 32, 32)
    table = coco([ONE], [{"image_id": 1, "category_id": 3, "bbox": [2, 2, 4, 4]}])
    assert prepare(folder, table)[1].kept == 4
    store, tally = prepare(folder, table, out="full", skip_empty=True)
    assert (len(store), tally.dropped["without boxes"]) == (1, 3)


def test_every_box_that_is_left_out_is_counted(folder):
    photo(folder, "a.png")
    photo(folder, "unnamed.png")
    boxes = [[1, 1, 0, 5], [1, 1, 5, -2], [1, 2, 3], "nothing", [1, 1, float("nan"), 2]]
    boxes += [[50, 1, 5, 5], [0, 0, 40, 40], [1, 1, 4, 4]]
    annotations = [{"image_id": 1, "category_id": 3, "bbox": box} for box in boxes]
    annotations.append({"image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 4], "iscrowd": 1})
    _, tally = prepare(folder, coco([ONE | {"date_captured": "14th of May"}], annotations))
    assert tally.dropped == {
        "boxes without width or height": 2,
        "boxes that are not four numbers": 3,
        "boxes outside their image": 1,
        "boxes too large for any chip": 1,
        "parts of boxes at chip edges, under 0.3 of the box's area": 9,
        "boxes around crowds of objects (iscrowd)": 1,
        "images in the folder that are not in the labels": 1,
        "dates (date_captured) that are not like 2024-06-30 or 2024-06-30 12:00:00": 1,
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2020-07-20T19:39:26+02:00", datetime(2020, 7, 20, 17, 39, 26, tzinfo=UTC)),
        ("2020/07/20", datetime(2020, 7, 20, tzinfo=UTC)),
        (0, None),
        ("", None),
    ],
)
def test_dates_of_coco_exporters_are_read(written, read):
    tally = Tally()
    assert annotations._date(written, tally) == read
    assert not tally.dropped


def test_xview_is_read_with_its_published_oddities(folder):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 400, 500), np.uint8)
    bare_raster(folder, "2355.tif", pixels)
    table = xview(
        [
            {"image_id": "2355.tif", "type_id": 73, "bounds_imcoords": "10,20,30,50"},
            {"image_id": "2355.tif", "type_id": 18, "bounds_imcoords": "460,300,470,310"},
            {"image_id": "2355.tif", "type_id": 18, "bounds_imcoords": "200,390,203,395"},
            {"image_id": "2355.tif", "type_id": 75, "bounds_imcoords": "1,1,9,9"},
            {"image_id": "2355.tif", "type_id": 82, "bounds_imcoords": "1,1,9,9"},
            {"image_id": "2355.tif", "type_id": 73, "bounds_imcoords": []},
            {"image_id": "1395.tif", "type_id": 73, "bounds_imcoords": "1,1,9,9"},
        ]
    )
    assert set(table["features"][0]["properties"]) == set(XVIEW_KEYS)
    store, tally = prepare(folder, table, size=128, overlap=28, max_bad=1)
    assert tally.bad == [("1395.tif", "is in the labels, but missing")]
    for type_id in (75, 82):
        assert tally.dropped[f"boxes of type_id {type_id}, which is no class of xView"] == 1
    assert tally.dropped["boxes that are not four numbers"] == 1
    names = [entry.name for entry in store.info.classes]
    building, car = names.index("Building"), names.index("Small Car")
    found = boxes_of(store)
    assert found["2355.tif", 0, 0] == [[10, 20, 30, 50, building]]
    assert found["2355.tif", 272, 372] == [[88, 28, 98, 38, car]]
    # Without georeference the features' own geometries say where the chips lie.
    chip = store.index.query("row == 272 and column == 372").iloc[0]
    assert (chip["lon"], chip["lat"]) == pytest.approx((30 + 436e-5, 10 - 336e-5), abs=1e-9)
    assert chip["datetime"] is None or str(chip["datetime"]) == "NaT"
    assert store.info.gsd == 0.3


def test_one_feature_places_an_image_by_the_known_pixel_size(folder):
    bare_raster(folder, "5.tif", np.full((3, 200, 200), 7, np.uint8))
    table = xview([{"image_id": "5.tif", "type_id": 73, "bounds_imcoords": "90,90,110,110"}], (30.0, 60.0))
    store, _ = prepare(folder, table, size=200)
    assert (store.index["lon"][0], store.index["lat"][0]) == pytest.approx((30.001, 59.999), abs=1e-9)
    smaller, _ = prepare(folder, table, out="smaller", size=100)
    first, right = smaller.index.query("row == 0").sort_values("column")["lon"]
    assert right - first == pytest.approx(100 * 0.3 / 111_195 / np.cos(np.radians(59.999)), rel=1e-4)


def test_stray_features_do_not_move_an_image(folder):
    bare_raster(folder, "5.tif", np.full((3, 300, 900), 7, np.uint8))
    boxes = [f"{x},{y},{x + 10},{y + 10}" for x in range(0, 890, 50) for y in (0, 280)]
    table = xview([{"image_id": "5.tif", "type_id": 73, "bounds_imcoords": box} for box in boxes])
    table["features"][3]["geometry"]["coordinates"] = [[[80, 80], [81, 81], [80, 81]]]
    table["features"][4]["geometry"] = None
    store, _ = prepare(folder, table, size=300)
    lon = store.index.query("column == 600")["lon"].item()
    assert lon == pytest.approx(30 + 750e-5, abs=1e-9)


def test_the_sixty_classes_of_xview_have_colours_that_differ():
    legend = legend_of(XVIEW_CLASSES)
    assert (len(legend), legend[0].name, legend[-1].value) == (60, "Fixed-wing Aircraft", 94)
    colours = [np.array([int(entry.color[at : at + 2], 16) for at in (0, 2, 4)]) for entry in legend]
    assert min(np.abs(one - other).sum() for one, other in combinations(colours, 2)) > 15
    assert not {75, 82} & set(XVIEW_CLASSES)


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("images", "id"),
        ("images", "file_name"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
        ("annotations", "bbox"),
        ("categories", "id"),
        ("categories", "name"),
    ],
)
def test_a_missing_key_of_coco_is_named(folder, part, key):
    table = coco([ONE], [{"image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2]}])
    del table[part][0][key]
    with pytest.raises(UserError, match=rf"labels\.json: entry 0 of '{part}' has no '{key}'"):
        prepare(folder, table)


@pytest.mark.parametrize("key", ["image_id", "type_id", "bounds_imcoords"])
def test_a_missing_key_of_xview_is_named(folder, key):
    table = xview([{"image_id": "5.tif", "type_id": 73, "bounds_imcoords": "1,1,9,9"}])
    del table["features"][0]["properties"][key]
    with pytest.raises(UserError, match=rf"labels\.json: feature 0: its 'properties' has no '{key}'"):
        prepare(folder, table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is neither COCO JSON"),
        ('{"type": "Topology"}', "is neither COCO JSON"),
        ('{"images": [', "is no complete JSON"),
        ('{"images": [], "annotations": []}', "has no 'categories'"),
        ('{"images": {}, "annotations": [], "categories": []}', "its 'images' is no list"),
        ('{"images": [4], "annotations": [], "categories": []}', "entry 0 of 'images' is no JSON object"),
        ('{"features": [{"properties": null}]}', "feature 0: its 'properties' is no JSON object"),
        (coco([ONE, ONE], []), "two images have the id 1"),
        (coco([ONE, ONE | {"id": 2}], []), "two images have the file_name a.png"),
        (coco([ONE | {"id": [1]}], []), "its 'id' is neither a number nor text"),
        (
            coco([{"id": 1, "file_name": "b.png"}], []),
            "none of the 1 images .* b.png: is in the labels, but missing",
        ),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_one_sentence(folder, content, message):
    photo(folder, "a.png")
    with pytest.raises(UserError, match=message) as error:
        prepare(folder, content)
    assert "\n" not in str(error.value)
    assert not (folder / "store").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4}, "--size 4: "),
        ({"overlap": 16}, "--overlap 16: "),
        ({"min_remain": 1.5}, "--min-remain 1.5: "),
        ({"images": "nowhere"}, "nowhere: no such folder"),
        ({"labels": "nothing.json"}, "nothing.json: no such file"),
    ],
)
def test_options_that_make_no_sense_are_refused(folder, options, message):
    with pytest.raises(UserError, match=message):
        prepare(folder, coco([ONE], []), **options)


def test_bad_images_and_strange_annotations_are_told_and_the_others_are_kept(folder):
    photo(folder, "a.png", 16, 16)
    photo(folder, "resized.png", 16, 16)
    (folder / "images" / "broken.png").write_bytes((folder / "images" / "a.png").read_bytes()[:20])
    bare_raster(folder, "other.tif", np.ones((4, 16, 16), np.uint16))
    names = ["a.png", "resized.png", "broken.png", "other.tif", "gone.png"]
    images = [{"id": name, "file_name": name, "width": 16, "height": 16} for name in names]
    images[1]["width"] = 640
    annotations = [{"image_id": image, "category_id": 3, "bbox": [1, 1, 5, 5]} for image in ("a.png", "x", "x")]
    annotations.append({"image_id": "a.png", "category_id": 99, "bbox": [1, 1, 5, 5]})
    store, tally = prepare(folder, coco(images, annotations), max_bad=6)
    assert store.index["source"].tolist() == ["a.png"]
    assert boxes_of(store) == {("a.png", 0, 0): [[1, 1, 6, 6, 0]]}
    reasons = dict(tally.bad[2:])
    assert set(reasons) == {"resized.png", "broken.png", "other.tif", "gone.png"}
    assert reasons["resized.png"] == "is 16 x 16 px, but the labels were made on 640 x 16"
    assert reasons["other.tif"] == "has 4 bands of uint16, most images have 3 bands of uint8"
    labels = str(folder / "labels.json")
    assert tally.bad[0] == (f"{labels}: image_id x", "is not in 'images', so 2 of its boxes cannot be used")
    assert tally.bad[1] == (f"{labels}: class 99", "is not in the list of classes, so 1 of its boxes cannot be used")
    with pytest.raises(UserError, match="--max-bad 5"):
        prepare(folder, coco(images, annotations), out="other", max_bad=5)


def test_an_image_that_breaks_off_is_left_out_whole(folder):
    bare_raster(folder, "a.tif", np.full((3, 64, 64), 9, np.uint8))
    noise = np.random.default_rng(0).integers(1, 255, (3, 512, 512), np.uint8)
    broken = bare_raster(folder, "b.tif", noise, tiled=True, blockxsize=256, blockysize=256)
    broken.write_bytes(broken.read_bytes()[:500_000])
    images = [{"id": 1, "file_name": "a.tif"}, {"id": 2, "file_name": "b.tif"}]
    store, tally = prepare(folder, coco(images, []), size=64, max_bad=1)
    assert store.index["source"].tolist() == ["a.tif"]
    [(file, why)] = tally.bad
    assert file == "b.tif"
    assert why.startswith("cannot be used (")


def test_pixels_without_data_make_no_chips_and_stay_invalid(folder):
    pixels = np.full((3, 16, 48), 9, np.uint8)
    pixels[:, :, 8:32] = 0
    bare_raster(folder, "a.tif", pixels, nodata=0)
    store, tally = prepare(folder, coco([{"id": 1, "file_name": "a.tif"}], []))
    assert store.index["column"].tolist() == [0, 32]
    assert tally.dropped == {"without any valid pixel": 1}
    assert store.valid(np.array([0]))[0, 0].tolist() == [True] * 8 + [False] * 8


def test_worker_processes_make_the_same_store(folder, monkeypatch):
    monkeypatch.setattr(detections, "SHARD_BYTES", 16 * 16 * 3 * 12)
    for number in range(3):
        photo(folder, f"{number}.png", seed=number)
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(3)]
    table = coco(images, [{"image_id": 1, "category_id": 3, "bbox": [17, 2, 3, 3]}])
    one, told = prepare(folder, table)
    two, told_too = prepare(folder, table, out="two", workers=2)
    assert (one.path / "SHA256SUMS").read_text() == (two.path / "SHA256SUMS").read_text()
    assert told == told_too
    assert len(list((one.path / "shards").iterdir())) == 3


def test_real_masks_of_buildings_become_boxes_around_buildings(real, folder):
    """Boxes of connected buildings of two Dubai tiles, through COCO JSON, against the masks."""
    from scipy import ndimage

    data = real / "dubai_mbrsc_seg"
    if not data.is_dir():
        pytest.skip("the Dubai masks are not there")
    images, annotations, built = [], [], {}
    for tile in ("Tile 1", "Tile 2"):
        mask = np.asarray(Image.open(data / tile / "masks" / "image_part_001.png").convert("RGB"))
        building = (mask == (60, 16, 152)).all(axis=-1)
        name = f"{tile}/images/image_part_001.jpg"
        height, width = building.shape
        images.append({"id": tile, "file_name": name, "height": height, "width": width})
        built[name] = building
        for rows, columns in ndimage.find_objects(ndimage.label(building)[0]):
            box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
            annotations.append({"image_id": tile, "category_id": 3, "bbox": box})
    (folder / "images").rmdir()
    (folder / "images").symlink_to(data)
    store, tally = prepare(folder, coco(images, annotations), size=256, overlap=64)
    assert not tally.bad
    assert tally.kept == len(store) > 20
    for (name, row, column), boxes in boxes_of(store).items():
        seen = built[name][row : row + 256, column : column + 256]
        inside = np.zeros((256, 256), bool)
        for xmin, ymin, xmax, ymax, _ in np.array(boxes, int):
            inside[ymin:ymax, xmin:xmax] = True
            assert seen[ymin:ymax, xmin:xmax].any()
        outside = seen & ~inside[: seen.shape[0], : seen.shape[1]]
        assert outside.sum() < 0.25 * max(seen.sum(), 2000)  # what lies outside are dropped remains

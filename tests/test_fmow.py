"""fMoW in the layout that was published, with the JSON files that were published."""

from __future__ import annotations

import argparse
import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.sources import fmow
from core.store.build import Tally, build
from core.store.read import ChipStore

# The keys and values of fountain_514_1, as published with the ground truth (calibration factors left out).
PUBLISHED = {
    "abs_cal_factors": [],
    "approximate_wavelengths": [661, 545, 477],
    "bounding_boxes": [
        {
            "ID": -1,
            "box": [466, 299, 72, 60],
            "category": "fountain",
            "crowd_rank": 0.662536,
            "epsg": "4326",
            "raw_category": "Fountain",
            "raw_location": "POLYGON ((8.5829783604202152 47.4491842338692322, 8.5833139643901841 47.4491842338692322, "
            "8.5833139643901841 47.4489085080230737, 8.5829783604202152 47.4489085080230737, 8.5829783604202152 47.4491842338692322))",
            "spatial_reference": "GCS_WGS_1984",
        },
        {"ID": 47768, "box": [466, 299, 72, 60], "category": "fountain", "visible": "True"},
    ],
    "catalog_id": "105041000048BE00",
    "cloud_cover": 0,
    "country_code": "CHE",
    "epsg": "4326",
    "gsd": 0.468074887991,
    "img_filename": "fountain_514_1_rgb.tif",
    "img_height": 663,
    "img_width": 977,
    "mean_pixel_height": 4.595430769222e-06,
    "mean_pixel_width": 4.597314657113e-06,
    "multi_resolution_dbl": 1.87378120422,
    "multi_resolution_end_dbl": 1.93471360207,
    "multi_resolution_max_dbl": 1.93471360207,
    "multi_resolution_min_dbl": 1.81178331375,
    "multi_resolution_start_dbl": 1.81178331375,
    "off_nadir_angle_dbl": 21.8978748322,
    "off_nadir_angle_end_dbl": 24.4030666351,
    "off_nadir_angle_max_dbl": 24.4030666351,
    "off_nadir_angle_min_dbl": 19.2567901611,
    "off_nadir_angle_start_dbl": 19.2567901611,
    "pan_resolution_dbl": 0.468074887991,
    "pan_resolution_end_dbl": 0.483204722404,
    "pan_resolution_max_dbl": 0.483204722404,
    "pan_resolution_min_dbl": 0.452661842108,
    "pan_resolution_start_dbl": 0.452661842108,
    "raw_location": "POLYGON ((8.5808360117899998 47.447516092500003, 8.5853275882099993 47.447516092500003, "
    "8.5853275882099993 47.450562863099996, 8.5808360117899998 47.450562863099996, 8.5808360117899998 47.447516092500003))",
    "scan_direction": "Reverse",
    "sensor_platform_name": "GEOEYE01",
    "spatial_reference": "GCS_WGS_1984",
    "sun_azimuth_dbl": 159.207946777,
    "sun_azimuth_max_dbl": 159.974273682,
    "sun_azimuth_min_dbl": 158.569869995,
    "sun_elevation_dbl": 46.1834640503,
    "sun_elevation_max_dbl": 46.3167991638,
    "sun_elevation_min_dbl": 46.0713729858,
    "target_azimuth_dbl": 31.2082061768,
    "target_azimuth_end_dbl": 21.684381485,
    "target_azimuth_max_dbl": 44.5366287231,
    "target_azimuth_min_dbl": 21.684381485,
    "target_azimuth_start_dbl": 44.5366287231,
    "timestamp": "2012-04-02T10:32:22Z",
    "utm": "32T",
}
# What the JSON files of the challenge itself lack.
GPS = ("raw_location", "epsg", "spatial_reference", "mean_pixel_height", "mean_pixel_width")


def record(category: str = "fountain", **changes: object) -> dict:
    found = copy.deepcopy(PUBLISHED) | changes
    if "bounding_boxes" not in changes:
        for box in found["bounding_boxes"]:
            box["category"] = category
    return {key: value for key, value in found.items() if value is not None}


def photo(path: Path, colour: tuple[int, int, int] = (40, 90, 30), width: int = 40, height: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).save(path, quality=95)
    return path


def view(folder: Path, number: int, document: dict | None = None, **look) -> Path:
    """A view as published: both sharpnesses, each with its JSON."""
    for kind in ("rgb", "msrgb"):
        image = photo(folder / f"{folder.name}_{number}_{kind}.jpg", **look)
        image.with_suffix(".json").write_text(json.dumps(document or record(folder.parent.name)))
    return folder / f"{folder.name}_{number}_rgb.json"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "fmow-rgb"
    view(root / "train/fountain/fountain_514", 0, record(timestamp="2016-08-08T04:49:46.586Z"), colour=(200, 30, 30))
    view(root / "train/fountain/fountain_514", 1, colour=(30, 200, 30))
    view(root / "train/zoo/zoo_3", 0)
    view(root / "val/fountain/fountain_514", 0)  # another place than the one of that name in train
    return root


def listed(root: Path, scratch: Path, *options: str):
    parser = argparse.ArgumentParser()
    fmow.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["fmow", str(root), "--size", "16", *options])
    scratch.mkdir()
    return arguments.make(arguments, scratch)


def made(root: Path, tmp_path: Path, *options: str, max_bad: int = 0) -> tuple[ChipStore, Tally]:
    return build(listed(root, tmp_path / "scratch", *options), tmp_path / "store", workers=1, max_bad=max_bad)


def test_a_release_becomes_a_store_with_places_dates_coordinates_labels_and_sides(release, tmp_path):
    store, tally = made(release, tmp_path)
    index = store.index
    assert tally.kept == 4
    assert list(index["place"]) == ["train/fountain/fountain_514"] * 2 + [
        "train/zoo/zoo_3",
        "val/fountain/fountain_514",
    ]
    assert index["source"].iloc[0] == "train/fountain/fountain_514/fountain_514_1_rgb.jpg"  # by date, not by number
    assert list(index["datetime"].dt.to_pydatetime())[:2] == [
        datetime(2012, 4, 2, 10, 32, 22, tzinfo=UTC),
        datetime(2016, 8, 8, 4, 49, 46, 586_000, tzinfo=UTC),
    ]
    # The middle of the polygon above, by hand.
    assert np.allclose(index["lon"], (8.5808360117899998 + 8.5853275882099993) / 2, atol=1e-12)
    assert np.allclose(index["lat"], (47.447516092500003 + 47.450562863099996) / 2, atol=1e-12)
    assert [entry.name for entry in store.info.classes] == ["fountain", "zoo"]
    assert list(index["label"]) == [0, 0, 1, 0]
    assert list(index["split"]) == ["train", "train", "train", "val"]
    assert list(store.places["count"]) == [2, 1, 1]
    assert store.info.bands == ("red", "green", "blue")
    assert "Challenge Public License" in store.info.license


def test_the_pixels_are_those_of_the_sharper_image(release, tmp_path):
    photo(release / "train/fountain/fountain_514/fountain_514_1_msrgb.jpg", colour=(255, 255, 255))
    store, _ = made(release, tmp_path)
    middle = store.raw(np.arange(2))[:, :, 8, 8].astype(int)
    assert np.abs(middle - [[30, 200, 30], [200, 30, 30]]).max() <= 3  # JPEG


def test_one_folder_of_the_release_can_be_given(release, tmp_path):
    store, _ = made(release / "val", tmp_path)
    assert list(store.index["place"]) == ["val/fountain/fountain_514"]
    assert list(store.index["split"]) == ["val"]


def test_false_detections_are_left_out_and_counted_unless_asked_for(release, tmp_path):
    view(release / "val/false_detection/false_detection_0", 0)
    unconfirmed = record("zoo", bounding_boxes=PUBLISHED["bounding_boxes"][:1])
    view(release / "train/zoo/zoo_3", 1, unconfirmed)
    store, tally = made(release, tmp_path)
    assert tally.kept == 4
    assert tally.dropped == {"images of false_detection": 1, "images whose boxes are all false detections": 1}
    (tmp_path / "more").mkdir()
    store, tally = made(release, tmp_path / "more", "--with-false-detection")
    assert tally.kept == 6
    assert [entry.name for entry in store.info.classes] == ["false_detection", "fountain", "zoo"]


def numbered(root: Path, folder: str, truth: Path) -> None:
    """Two views of a place of test or seq: bare JSON beside the images, the full one in the ground truth."""
    bare = record("unknown", timestamp="2011-01-01T00:00:00Z") | dict.fromkeys(GPS, None)
    bare = {key: value for key, value in bare.items() if value is not None}
    for number, day in ((0, 5), (1, 3)):
        view(root / folder / "0011978", number, bare)
        path = truth / f"{folder}_gt/zoo/zoo_0/zoo_0_{number}_rgb.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record("zoo", timestamp=f"2015-06-0{day}T00:00:00Z")))
    pairs = [{"input": f"{folder}_gt/zoo/zoo_0", "output": f"{folder}/0011978"}]
    (truth / f"{folder}_gt_mapping.json").write_text(json.dumps(pairs))


@pytest.mark.parametrize("where", [".", "groundtruth"])
def test_the_test_folder_takes_categories_dates_and_coordinates_from_the_ground_truth(release, tmp_path, where):
    numbered(release, "test", release / where)
    store, _ = made(release, tmp_path)
    tested = store.index[store.index["place"] == "test/0011978"]
    assert list(tested["split"]) == ["test", "test"]
    assert [store.info.classes[label].name for label in tested["label"]] == ["zoo", "zoo"]
    assert list(tested["datetime"].dt.day) == [3, 5]
    assert list(tested["source"]) == ["test/0011978/0011978_1_rgb.jpg", "test/0011978/0011978_0_rgb.jpg"]
    assert np.allclose(tested["lon"], 8.5830818, atol=1e-7)


def test_train_takes_what_was_taken_out_from_the_ground_truth_beside_it(release, tmp_path):
    place = release / "val/fountain/fountain_514"
    document = record()
    apart = release / "groundtruth/val/fountain/fountain_514/fountain_514_0_rgb.json"
    apart.parent.mkdir(parents=True)
    apart.write_text(json.dumps(document))
    (place / apart.name).write_text(json.dumps({key: value for key, value in document.items() if key not in GPS}))
    store, tally = made(release, tmp_path, "--folders", "val")
    assert tally.kept == 1
    assert store.index["lat"][0] == pytest.approx(47.4490394778, abs=1e-9)


def test_a_test_folder_without_ground_truth_is_left_out_and_said(release, tmp_path):
    view(release / "test/0011978", 0)
    _, tally = made(release, tmp_path)
    assert tally.kept == 4
    assert "1 places of test that test_gt_mapping.json does not name" in str(tally)


def test_seq_comes_in_as_test_data_only_when_asked_for(release, tmp_path):
    numbered(release, "seq", release)
    assert made(release, tmp_path)[1].kept == 4
    (tmp_path / "more").mkdir()
    store, _ = made(release, tmp_path / "more", "--folders", "train", "seq")
    assert dict(zip(store.index["place"], store.index["split"]))["seq/0011978"] == "test"


@pytest.mark.parametrize("key", ["timestamp", "raw_location", "bounding_boxes"])
def test_a_view_whose_json_lacks_a_key_is_left_out_by_name_and_the_others_are_kept(release, tmp_path, key):
    view(release / "train/zoo/zoo_3", 1, record("zoo", **{key: None}))
    _, tally = made(release, tmp_path, max_bad=1)
    assert tally.kept == 4
    [(file, why)] = tally.bad
    assert file == "train/zoo/zoo_3/zoo_3_1_rgb.json"
    assert why.startswith(f"has no '{key}'")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (record(timestamp="last spring"), "'timestamp' is 'last spring'"),
        (record(raw_location="POLYGON ((8 47, 9"), "no polygon as WKT"),
        (record(raw_location="POLYGON EMPTY"), "holds no point"),
        (record(raw_location="POLYGON ((8 95, 9 95, 9 96, 8 95))"), "latitude 95"),
        (record(raw_location=[8, 47]), "unlike the published files"),
        (record(bounding_boxes=[{"ID": 3, "box": [0, 0, 1, 1]}]), "has no 'category'"),
        ([], "no object with keys"),
    ],
)
def test_a_json_file_that_makes_no_sense_is_left_out_with_the_reason(release, tmp_path, document, said):
    path = view(release / "train/zoo/zoo_3", 1)
    path.write_text(json.dumps(document))
    source = listed(release, tmp_path / "scratch")
    [(file, why)] = source.bad
    assert file == "train/zoo/zoo_3/zoo_3_1_rgb.json"
    assert said in why


def test_broken_json_and_missing_halves_are_left_out_by_name(release, tmp_path):
    folder = release / "train/zoo/zoo_3"
    view(folder, 1).write_text('{"timestamp": "2012-04-0')
    view(folder, 2).unlink()
    view(folder, 3).with_suffix(".jpg").unlink()
    (folder / "zoo_3_0_rgb.jpg").write_bytes(b"\xff\xd8 no picture")
    _, tally = made(release, tmp_path, max_bad=4)
    assert tally.kept == 3
    said = dict(tally.bad)
    assert "broken JSON" in said["train/zoo/zoo_3/zoo_3_1_rgb.json"]
    assert said["train/zoo/zoo_3/zoo_3_2_rgb.jpg"] == "its JSON file zoo_3_2_rgb.json is missing"
    assert said["train/zoo/zoo_3/zoo_3_3_rgb.json"] == "its image is missing"
    assert "cannot be used" in said["train/zoo/zoo_3/zoo_3_0_rgb.jpg"]
    (tmp_path / "more").mkdir()
    with pytest.raises(UserError, match="--max-bad 3"):
        made(release, tmp_path / "more", max_bad=3)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_place_across_the_antimeridian_does_not_lie_at_longitude_zero(tmp_path, sign):
    east, west = 179.999, -179.997
    corners = [(east, 10), (west, 10), (west, 12), (east, 12), (east, 10)][::sign]
    outline = "POLYGON ((" + ", ".join(f"{lon} {lat}" for lon, lat in corners) + "))"
    path = tmp_path / "view.json"
    path.write_text(json.dumps(record(raw_location=outline)))
    found = fmow.View.read(path)
    assert found.lon == pytest.approx(-179.999, abs=1e-9)
    assert found.lat == pytest.approx(11, abs=1e-9)


def test_a_view_knows_how_far_it_reaches(tmp_path):
    path = tmp_path / "view.json"
    path.write_text(json.dumps(record()))
    # 0.0044915766 degrees of longitude at 47.449 N, and 0.0030467706 of latitude: 338 m and 339 m.
    assert fmow.View.read(path).reach_m == pytest.approx(478.4, abs=1)


def test_a_timestamp_of_another_zone_is_turned_into_utc(tmp_path):
    path = tmp_path / "view.json"
    path.write_text(json.dumps(record(timestamp="2015-01-01T01:30:00+02:00")))
    assert fmow.View.read(path).datetime == datetime(2014, 12, 31, 23, 30, tzinfo=UTC)


def test_the_legend_of_all_categories_repeats_no_colour(tmp_path):
    for number in range(62):
        (tmp_path / f"train/category_{number:02}/category_{number:02}_0").mkdir(parents=True)
    view(tmp_path / "train/category_00/category_00_0", 0)
    classes = listed(tmp_path, tmp_path / "scratch").info.classes
    assert len(classes) == 62
    assert len({entry.color for entry in classes}) == 62


@pytest.mark.parametrize(
    ("folders", "options", "said"),
    [
        (["pictures"], [], "has no folder train, which fMoW-rgb has"),
        (["train"], ["--folders", "val"], "has no folder val, which fMoW-rgb has"),
        (["train/zoo/zoo_1"], [], "no usable image"),
    ],
)
def test_a_folder_that_is_no_release_is_refused_by_name(tmp_path, folders, options, said):
    root = tmp_path / "somewhere"
    for folder in folders:
        (root / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=said) as refused:
        listed(root, tmp_path / "scratch", *options)
    assert str(root) in str(refused.value)


def test_a_mapping_that_is_not_as_published_is_refused_by_name(release, tmp_path):
    numbered(release, "test", release)
    (release / "test_gt_mapping.json").write_text('[{"input": "test_gt/zoo/zoo_0"}]')
    with pytest.raises(UserError, match=r"test_gt_mapping\.json: is not a list"):
        listed(release, tmp_path / "scratch")


def test_the_same_release_gives_the_same_fingerprint(release, tmp_path):
    view(release / "train/zoo/zoo_3", 1).write_text("{")
    view(release / "train/fountain/fountain_514", 2).write_text("{")
    first, second = (repr(listed(release, tmp_path / name)) for name in ("one", "two"))
    assert first == second


def test_images_beyond_pillows_limit_are_read(release, tmp_path):
    # fMoW has airports of 16,000 x 16,000 px; a white one takes little room.
    path = release / "train/zoo/zoo_3/zoo_3_0_rgb.jpg"
    Image.new("L", (13_600, 13_600), 255).save(path)
    store, tally = made(release, tmp_path, "--folders", "train")
    assert tally.bad == []
    assert (store.raw(np.flatnonzero(store.index["place"] == "train/zoo/zoo_3")) > 250).all()

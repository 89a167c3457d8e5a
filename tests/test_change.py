"""``export.change``: two dates of an area, compared by classes and by features."""

import csv
import json
from pathlib import Path

import numpy as np
import pyogrio
import pystac
import pytest
import rasterio
import shapely
from rio_cogeo.cogeo import cog_validate

from export import change, predict
from export.runtime.change.decision import (
    BINS,
    Calibration,
    Histogram,
    KnownPlaces,
    calibrate,
    recall_threshold,
    truths,
)
from export.runtime.change.pairs import FromTo, PairCounts
from export.runtime.errors import InputFault
from export.runtime.model.answers import cosine_distance
from export.runtime.raster.legend import LandClass
from tests.conftest import UTM, call, write_raster
from tests.models import CLASSES, write_given, write_graph, write_strongest_band

RNG = np.random.default_rng(3)


def scene(seed, rows=70, columns=90):
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 3, (rows // 10, columns // 10)), np.ones((10, 10), int))
    pixels = np.where(base[None] == np.arange(3)[:, None, None], 90, 60) + rng.integers(-12, 12, (3, rows, columns))
    return pixels.astype(np.uint8)


@pytest.fixture
def two(tmp_path):
    """Before and after, with gaps of their own."""
    before, after = scene(1), scene(1)
    after[:, 20:50, 30:70] = scene(2)[:, 20:50, 30:70]
    before[:, :6, :9], after[:, -4:, :12], after[:, :2, :3] = 0, 0, 0
    return tuple(
        write_raster(tmp_path / f"{name}.tif", pixels, nodata=0)
        for name, pixels in (("y1990", before), ("y2020", after))
    )


@pytest.fixture
def model(tmp_path):
    return write_strongest_band(tmp_path / "model.onnx")


@pytest.fixture
def encoder(tmp_path):
    """Eight features at 4 px."""
    kernel = np.random.default_rng(0).normal(0, 0.1, (8, 3, 4, 4)).astype(np.float32)
    nodes = [("Conv", ["image", "kernel"], ["features"], {"strides": [4, 4]})]
    path = write_graph(
        tmp_path / "encoder.onnx", nodes, {"features": (1, ["batch", 8, 8, 8])}, {"kernel": kernel}
    )  # fmt: skip
    return write_given(path, task="embedding", classes=None, overlap=0)


def read(path):
    with rasterio.open(path) as source:
        return source.read()


def run(*arguments):
    assert call(change.main, *arguments, "--threads", 1) == 0


def test_classes_are_those_of_each_date_alone_and_probability_and_hectares_follow_from_them(two, model, tmp_path):
    run(*two, "--model", model, "--out", tmp_path / "out")
    for raster in two:
        predict_out = ("--out", tmp_path / "alone", "--probabilities", "--threads", 1)
        assert call(predict.main, model, raster, *predict_out) == 0
    name, classes, shares = tmp_path / "out" / "y1990_to_y2020", [], []
    for raster, side in zip(two, ("before", "after")):
        alone = read(tmp_path / "alone" / raster.name)[0]
        np.testing.assert_array_equal(read(f"{name}_{side}.tif")[0], alone)
        classes.append(alone)
        shares.append(read(tmp_path / "alone" / f"{raster.stem}_probabilities.tif"))
    there = (classes[0] != 255) & (classes[1] != 255)
    position = np.zeros(256, int)
    position[[value for value, *_ in CLASSES]] = [0, 1, 2]
    expected = np.where(there, 1 + 3 * position[classes[0]] + position[classes[1]], 255)
    np.testing.assert_array_equal(read(f"{name}.tif")[0], expected)
    percent = np.rint(100 * (1 - (shares[0] * shares[1]).sum(axis=0)))
    np.testing.assert_array_equal(read(f"{name}_probability.tif")[0], np.where(there, percent, 255))

    table = list(csv.reader(Path(f"{name}_matrix.csv").read_text().splitlines()))
    assert table[0][1:-1] == [names for _, names, _ in CLASSES]
    hectares = np.array([[float(cell) for cell in row[1:]] for row in table[1:]])
    counts = np.array([[((expected == 1 + 3 * i + j) & there).sum() for j in range(3)] for i in range(3)])
    np.testing.assert_allclose(hectares[:3, :3], counts * 0.01, atol=1e-9)
    np.testing.assert_allclose(hectares[3, :3], counts.sum(axis=0) * 0.01, atol=1e-9)
    told = json.loads(Path(f"{name}_matrix.json").read_text())
    assert told["matrix"]["pixels"] == counts.tolist()
    gaps = {"before_only": int(((classes[0] != 255) & (classes[1] == 255)).sum()),
            "after_only": int(((classes[0] == 255) & (classes[1] != 255)).sum()),
            "neither": int(((classes[0] == 255) & (classes[1] == 255)).sum())}  # fmt: skip
    assert told["pixels_without_data"] == gaps
    assert min(gaps.values()) > 0
    assert told["changed_hectares"] == pytest.approx((counts.sum() - np.trace(counts)) * 0.01)
    assert told["decision"] == {"calibrated": False}


def test_files_are_cogs_with_styles_names_item_and_report(two, model, tmp_path, capfd):
    run(*two, "--model", model, "--out", tmp_path / "out", "--name", "found")
    out = tmp_path / "out"
    for end in ("", "_before", "_after", "_probability"):
        assert cog_validate(out / f"found{end}.tif", quiet=True)[0]
        assert (out / f"found{end}.qml").exists()
    with rasterio.open(two[0]) as source, rasterio.open(out / "found.tif") as result:
        assert (source.crs, source.transform, source.shape) == (result.crs, result.transform, result.shape)
    names = {one["name"] for one in json.loads((out / "found_matrix.json").read_text())["classes"]}
    assert {"red land", "red land to green land"} <= names  # a class that stayed has its plain name
    assert "red land to green land" in (out / "found.qml").read_text()
    item = pystac.Item.from_file(out / "found.stac.json")
    assert {"map", "before", "after", "probability", "matrix", "report"} <= item.assets.keys()
    assert item.properties["geoaware:options"]["before"] == ["y1990.tif"]
    page = (out / "found_report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "not calibrated" in page
    assert "not calibrated" in capfd.readouterr().err
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_second_run_replaces_the_first_and_a_failed_one_leaves_it(two, model, tmp_path, capfd):
    out = tmp_path / "out"
    run(*two, "--model", model, "--out", out, "--name", "found")
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    whole = two[1].read_bytes()
    two[1].write_bytes(whole[: len(whole) // 2])
    assert call(change.main, *two, "--model", model, "--out", out, "--name", "found") == 2
    assert "y2020.tif" in capfd.readouterr().err.splitlines()[-1]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    two[1].write_bytes(whole)
    run(two[1], two[0], "--model", model, "--out", out, "--name", "found")
    assert (out / "found.tif").read_bytes() != first["found.tif"]
    assert first.keys() == {path.name for path in out.iterdir()}


def test_limits_and_masks_count_only_what_was_asked_for(two, model, tmp_path):
    mask = tmp_path / "mask.gpkg"
    box = shapely.box(500_000, 4_999_500, 500_200, 5_000_000)
    pyogrio.raw.write(mask, shapely.to_wkb([box]), [], [], geometry_type="Polygon", crs=UTM, driver="GPKG")
    run(*two, "--model", model, "--out", tmp_path / "out", "--mask", mask, "--name", "part")
    told = json.loads((tmp_path / "out" / "part_matrix.json").read_text())
    pixels = np.sum(told["matrix"]["pixels"])
    assert pixels + sum(told["pixels_without_data"].values()) == 20 * 50
    assert read(tmp_path / "out" / "part.tif").shape == (1, 50, 20)


def test_features_are_compared_by_their_cosine_and_cut_by_otsus_rule(two, encoder, tmp_path, capfd):
    run(*two, "--model", encoder, "--out", tmp_path / "out", "--name", "found")
    for raster in two:
        assert call(predict.main, encoder, raster, "--out", tmp_path / "alone", "--threads", 1) == 0
    one, other = (read(tmp_path / "alone" / raster.name).astype(np.float64) for raster in two)
    length = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    distance = read(tmp_path / "out" / "found_distance.tif")[0]
    np.testing.assert_allclose(distance, 1 - (one * other).sum(axis=0) / length, atol=2e-6)
    told = json.loads((tmp_path / "out" / "found_matrix.json").read_text())
    threshold, known = told["decision"]["threshold"], distance[np.isfinite(distance)].astype(np.float64)
    edges = np.linspace(0, 2, BINS + 1)[1:-1]
    between = [
        (known < at).mean() * (known >= at).mean() * (known[known < at].mean() - known[known >= at].mean()) ** 2
        if 0 < (known < at).sum() < len(known) else 0.0
        for at in edges
    ]  # fmt: skip
    at = edges[np.abs(edges - threshold).argmin()]
    assert between[list(edges).index(at)] == pytest.approx(max(between), rel=1e-3)
    assert told["decision"]["separability"] == pytest.approx(max(between) / known.var(), rel=1e-2)
    changed = np.where(np.isfinite(distance), 1 + (distance >= threshold), 255)
    np.testing.assert_array_equal(read(tmp_path / "out" / "found.tif")[0], changed)
    assert told["changed_hectares"] == pytest.approx((changed == 2).sum() * 0.16)
    assert "Otsu" in capfd.readouterr().err


def test_a_given_threshold_counts(two, encoder, tmp_path):
    run(*two, "--model", encoder, "--out", tmp_path / "out", "--name", "found", "--threshold", 0.25)
    distance = read(tmp_path / "out" / "found_distance.tif")[0]
    changed = read(tmp_path / "out" / "found.tif")[0]
    np.testing.assert_array_equal(changed == 2, distance >= 0.25)


def reference(path, places, values, field="class"):
    points = shapely.points([(500_000 + 10 * column + 5, 5_000_000 - 10 * row - 5) for row, column in places])
    values = np.array(values, object if isinstance(values[0], str) else None)
    pyogrio.raw.write(path, shapely.to_wkb(points), [values], [field], geometry_type="Point", crs=UTM, driver="GPKG")
    return path


def test_a_sample_calibrates_the_probability(two, model, tmp_path):
    run(*two, "--model", model, "--out", tmp_path / "raw", "--name", "found")
    raw, pairs = (read(tmp_path / "raw" / f"found{end}.tif")[0] for end in ("_probability", ""))
    places = np.argwhere(raw != 255)
    places = places[np.random.default_rng(0).permutation(len(places))[:400]]
    at = raw[places[:, 0], places[:, 1]]
    changed = np.random.default_rng(1).random(400) < 0.1 + 0.5 * at / 100
    sample = reference(tmp_path / "truth.gpkg", places, changed.astype(np.int64), "changed")
    options = ("--reference", sample, "--field", "changed")
    run(*two, "--model", model, "--out", tmp_path / "out", "--name", "found", *options)
    percent = read(tmp_path / "out" / "found_probability.tif")[0]
    np.testing.assert_array_equal(percent == 255, raw == 255)
    told = json.loads((tmp_path / "out" / "found_matrix.json").read_text())["decision"]
    assert told["calibrated"]
    assert told["places"] == 400
    assert told["brier_after_left_out"] < told["brier_before"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "found.tif")[0], pairs)
    table = Calibration(told["slope"], told["shift"], 400, (0, 0)).of(np.arange(101, dtype=np.uint8))
    np.testing.assert_array_equal(percent[raw != 255], table[raw[raw != 255]])
    for low, high in ((0, 20), (80, 100)):  # calibrated: as many changed as it says
        held = (at >= low) & (at <= high)
        assert abs(table[at[held]].mean() / 100 - changed[held].mean()) < 0.12


def test_a_sample_sets_the_threshold_of_features_that_keeps_nine_of_ten(two, encoder, tmp_path):
    run(*two, "--model", encoder, "--out", tmp_path / "raw", "--name", "found")
    distance = read(tmp_path / "raw" / "found_distance.tif")[0]
    cells = np.argwhere(np.isfinite(distance))
    truth = np.where(distance[cells[:, 0], cells[:, 1]] > 0.06, "yes", "no")
    sample = reference(tmp_path / "truth.gpkg", 4 * cells + 1, truth.tolist())
    run(*two, "--model", encoder, "--out", tmp_path / "out", "--name", "found", "--reference", sample)
    told = json.loads((tmp_path / "out" / "found_matrix.json").read_text())["decision"]
    values = distance[np.isfinite(distance)]
    assert 0.9 <= (values[truth == "yes"] >= told["threshold"]).mean() == pytest.approx(told["recall"])
    assert (values[truth == "no"] >= told["threshold"]).mean() == pytest.approx(told["false_alarms"])


def test_calibration_is_weighted_logistic_regression_with_platts_targets():
    linear_model = pytest.importorskip("sklearn.linear_model")
    percent = RNG.integers(0, 101, 500).astype(float)
    changed = RNG.random(500) < percent / 150
    weights = RNG.uniform(0.2, 2, 500)
    made = calibrate(percent, KnownPlaces("s", np.zeros((500, 2)), changed), weights)
    share = np.clip(percent / 100, 0.005, 0.995)
    of, weights = np.log(share / (1 - share)), weights / weights.mean()
    ups, downs = weights[changed].sum(), weights[~changed].sum()
    target = np.where(changed, (ups + 1) / (ups + 2), 1 / (downs + 2))
    twice = np.concatenate([weights * target, weights * (1 - target)])
    peer = linear_model.LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    peer.fit(np.concatenate([of, of])[:, None], np.repeat([1, 0], 500), sample_weight=twice)
    assert made.slope == pytest.approx(peer.coef_[0, 0], rel=1e-3)
    assert made.shift == pytest.approx(peer.intercept_[0], abs=1e-3)


def test_a_sample_that_contradicts_calibrates_nothing():
    percent = np.arange(101.0)
    with pytest.raises(InputFault, match="no more often"):
        calibrate(percent, KnownPlaces("s", np.zeros((101, 2)), percent < 30), np.ones(101))


def test_otsu_lies_between_two_groups_and_knows_how_far_they_are_apart():
    histogram, hardly = Histogram(), Histogram()
    histogram.add(np.concatenate([RNG.normal(0.1, 0.01, 900), RNG.normal(1.2, 0.05, 100), [np.nan]]))
    hardly.add(np.abs(RNG.normal(0.1, 0.03, 1000)))
    assert 0.2 < histogram.otsu().value < 1.0
    assert histogram.otsu().separability > 0.95 > 0.75 > hardly.otsu().separability
    with pytest.raises(InputFault, match="both dates"):
        Histogram().otsu()


def test_weights_count_in_the_threshold_of_a_sample():
    distances = np.array([0.9, 0.8, 0.7, 0.1, 0.05])
    changed = np.array([True, True, True, True, False])
    found = recall_threshold(distances, changed, np.array([30.0, 30, 30, 10, 1]))
    assert found.value == pytest.approx(0.7, abs=1e-3)
    assert (found.recall, found.false_alarms) == (pytest.approx(0.9), 0)
    assert recall_threshold(distances, changed, np.ones(5)).value == pytest.approx(0.1, abs=1e-3)


def test_truth_is_yes_or_no_or_a_class_of_the_map():
    names = FromTo((LandClass(10, "Wood", "000000"), LandClass(20, "town", "FFFFFF"))).names()
    assert names == {1: ("Wood", False), 2: ("Wood to town", True), 3: ("town to Wood", True), 4: ("town", False)}
    assert truths("s", "class", ["wood to Town", "TOWN", 3, 4.0, "no"], names).tolist() == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert truths("s", "class", [1, 0, 1], names).tolist() == [True, False, True]
    assert truths("s", "class", ["Yes", "unchanged", True], names).tolist() == [True, False, True]
    with pytest.raises(InputFault, match="'maybe' in 'class'"):
        truths("s", "class", ["maybe"], names)


def test_pairs_of_many_classes_take_16_bits_and_too_many_are_refused():
    classes = tuple(LandClass(number, f"c{number}", f"{number:06X}") for number in range(17))
    pairs = FromTo(classes)
    assert pairs.dtype == np.uint16
    values = pairs.value(np.repeat(np.arange(17), 17), np.tile(np.arange(17), 17))
    assert values.tolist() == list(range(1, 290))
    assert FromTo(classes[:15]).dtype == np.uint8
    with pytest.raises(InputFault, match="256 classes"):
        FromTo(tuple(LandClass(number, str(number), "000000") for number in range(256)))


def test_areas_follow_the_rows_of_the_grid():
    tally = PairCounts(2, np.array([100.0, 400.0]))
    before, after = np.array([[0, 0, 1], [1, 1, 0]]), np.array([[0, 1, 1], [1, 0, 0]])
    tally.add(0, before, after, np.array([[True, True, True], [True, True, False]]))
    assert tally.pixels.tolist() == [[1, 1], [1, 2]]
    assert tally.m2.tolist() == [[100, 100], [400, 500]]


def test_the_distance_of_features_without_direction():
    one = np.array([[[0.0, 0.0, 3.0]], [[0.0, 0.0, 4.0]]])
    other = np.array([[[0.0, 1.0, -6.0]], [[0.0, 0.0, -8.0]]])
    np.testing.assert_allclose(cosine_distance(one, other)[0], [0, 1, 2])


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"task": "regression", "classes": None}, "a segmentation / classification / embedding model is needed"),
        ({"activation": "sigmoid"}, "do not exclude each other"),
    ],
)  # fmt: skip
def test_models_without_probabilities_are_refused(two, tmp_path, capfd, card, sentence):
    path = write_graph(
        tmp_path / "other.onnx", [("Sigmoid", ["image"], ["answer"], {})], {"answer": (1, ["batch", 3, 32, 32])}
    )  # fmt: skip
    write_given(path, **card)
    assert call(change.main, *two, "--model", path, "--out", tmp_path / "out") == 2
    assert sentence in capfd.readouterr().err
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


def test_bad_input_is_one_sentence(two, model, tmp_path, capfd):
    far = write_raster(tmp_path / "far.tif", scene(1), origin=(800_000, 5_000_000))
    empty = write_raster(tmp_path / "empty.tif", 0 * scene(1), nodata=0)
    few = reference(tmp_path / "few.gpkg", [(30, 30), (40, 40)], [1, 0])
    odd = reference(tmp_path / "odd.gpkg", [(30, 30)], ["perhaps"])
    cases = [
        ((two[0], far), "far.tif: does not overlap"),
        ((two[0], empty), "no pixel holds data at both dates"),
        ((two[0], tmp_path / "none.tif"), "none.tif"),
        ((*two, "--reference", few), "few.gpkg: 1 changed and 1 unchanged places"),
        ((*two, "--reference", odd), "'perhaps' in 'class'"),
        ((*two, "--reference", tmp_path / "no.gpkg"), "no.gpkg: no such file"),
    ]
    for arguments, sentence in cases:
        assert call(change.main, *arguments, "--model", model, "--out", tmp_path / "out") == 2, arguments
        error = capfd.readouterr().err
        assert sentence in error
        assert "Traceback" not in error
        assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]
    with pytest.raises(SystemExit, match="2"):
        call(change.main, *two, "--model", model, "--out", tmp_path / "out", "--name", "../y1990")
    assert "is no file name" in capfd.readouterr().err
    before = two[0].read_bytes()
    assert call(change.main, *two, "--model", model, "--out", tmp_path, "--name", "y1990") == 2
    assert "would overwrite" in capfd.readouterr().err
    assert two[0].read_bytes() == before


def test_what_a_mask_band_hides_has_no_data_at_that_date(two, model, tmp_path, capfd):
    hidden = np.zeros((70, 90), bool)
    hidden[30:45, 10:60] = True
    write_raster(tmp_path / "y1990_SCL.tif", np.where(hidden, 9, 4).astype(np.uint8)[None])
    write_raster(tmp_path / "y2020_SCL.tif", np.full((1, 70, 90), 4, np.uint8))
    run(*two, "--model", model, "--out", tmp_path / "all")
    run(*two, "--model", model, "--out", tmp_path / "clear", "--mask-band", "scl")
    for end in ("", "_probability"):
        whole, clear = (read(tmp_path / out / f"y1990_to_y2020{end}.tif")[0] for out in ("all", "clear"))
        np.testing.assert_array_equal(clear, np.where(hidden, 255, whole))
    item = json.loads((tmp_path / "clear" / "y1990_to_y2020.stac.json").read_text())
    assert item["properties"]["geoaware:mask"].startswith("SCL: 0-1, 3")
    capfd.readouterr()
    bad = (tmp_path / "y1990_SCL.tif", two[1], "--model", model, "--out", tmp_path / "out", "--mask-band", "scl")
    assert call(change.main, *bad) == 2
    assert "one of them is a mask" in capfd.readouterr().err
    assert call(change.main, *two, "--model", model, "--out", tmp_path / "out", "--mask-band", "qa_pixel") == 2
    assert "y1990.tif: has no band QA_PIXEL" in capfd.readouterr().err


def test_a_raster_that_is_shifted_by_whole_pixels_is_compared_where_both_overlap(two, model, tmp_path):
    run(*two, "--model", model, "--out", tmp_path / "out", "--name", "whole")
    part = write_raster(tmp_path / "part.tif", read(two[1])[:, 10:, 20:80], origin=(500_200, 4_999_900), nodata=0)
    run(two[0], part, "--model", model, "--out", tmp_path / "out", "--name", "part", "--overlap", 0)
    with rasterio.open(tmp_path / "out" / "part.tif") as result:
        assert result.transform[:6] == (10, 0, 500_200, 0, -10, 4_999_900)
        np.testing.assert_array_equal(result.read(1), read(tmp_path / "out" / "whole.tif")[0, 10:, 20:80])


def test_a_raster_of_another_crs_and_pixel_size_is_brought_onto_the_grid_before(model, tmp_path):
    from rasterio.warp import Resampling, reproject

    pixels = np.kron(np.where(scene(1, 40, 50) > 75, 90, 60).astype(np.uint8), np.ones((4, 4), np.uint8))
    before = write_raster(tmp_path / "before.tif", pixels, nodata=0)
    with rasterio.open(before) as source:
        height, width, step = 190, 240, 1.1e-4
        place = rasterio.transform.from_origin(15.0, 45.1535, step, step)
        other = np.zeros((3, height, width), np.uint8)
        reproject(source.read(), other, src_transform=source.transform, src_crs=UTM, dst_transform=place,
                  dst_crs="EPSG:4326", src_nodata=0, dst_nodata=0, resampling=Resampling.nearest)  # fmt: skip
    after = write_raster(
        tmp_path / "after.tif", other, crs="EPSG:4326", origin=(15.0, 45.1535), pixel=step, nodata=0
    )  # fmt: skip
    run(before, after, "--model", model, "--out", tmp_path / "out", "--name", "n")
    told = json.loads((tmp_path / "out" / "n_matrix.json").read_text())
    counts = np.array(told["matrix"]["pixels"])
    assert counts.sum() > 20_000
    assert np.trace(counts) > 0.93 * counts.sum()  # edges of blocks differ, nothing else


def test_periods_are_the_means_of_their_dates(two, model, tmp_path):
    third = write_raster(tmp_path / "y2021.tif", scene(5), nodata=0)
    run("--before", two[0], "--after", two[1], third, "--model", model, "--out", tmp_path / "out", "--name", "n")
    shares = []
    for raster in (*two, third):
        options = ("--out", tmp_path / "alone", "--probabilities", "--threads", 1)
        assert call(predict.main, model, raster, *options) == 0
        shares.append(read(tmp_path / "alone" / f"{raster.stem}_probabilities.tif"))
    after = np.nanmean(shares[1:], axis=0)
    expected = 100 * (1 - (shares[0] * after).sum(axis=0))
    found = read(tmp_path / "out" / "n_probability.tif")[0]
    there = found != 255
    np.testing.assert_array_equal(there, np.isfinite(expected))
    assert np.abs(found[there] - expected[there]).max() <= 0.51
    np.testing.assert_array_equal(
        read(tmp_path / "out" / "n_after.tif")[0][there],
        np.array([value for value, *_ in CLASSES])[after.argmax(axis=0)][there],
    )


def test_a_model_of_series_needs_to_know_the_days(two, tmp_path, capfd):
    from tests.models import write_series

    model = write_series(tmp_path / "series.onnx")
    days = [
        write_raster(tmp_path / f"s_{day}.tif", scene(n)) for n, day in enumerate(("20200110", "20200610", "20210110"))
    ]
    run("--before", *days[:2], "--after", days[2], "--model", model, "--out", tmp_path / "out", "--name", "n")
    assert read(tmp_path / "out" / "n.tif").shape == (1, 70, 90)
    assert call(change.main, *two, "--model", model, "--out", tmp_path / "out", "--name", "m") == 2
    assert (
        "nothing says when it was taken, which the model needs to know; write the date into" in capfd.readouterr().err
    )
    same = write_raster(tmp_path / "t_20210110.tif", scene(5))
    assert (
        call(change.main, "--before", days[0], "--after", days[2], same, "--model", model, "--out", tmp_path / "o") == 2
    )
    assert "s_20210110.tif: is of 2021-01-10, as is" in capfd.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_run_that_fails_leaves_no_folder(two, model, tmp_path, capfd):
    (tmp_path / "there").mkdir()
    empty = write_raster(tmp_path / "empty.tif", np.zeros((3, 70, 90), np.uint8), nodata=0)
    for out in ("new/folder", "there"):
        assert call(change.main, two[0], empty, "--model", model, "--out", tmp_path / out) == 2
    assert "no pixel holds data at both dates" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()
    assert not [*(tmp_path / "there").iterdir()]  # it was not made by the run


def test_rasters_that_are_given_twice_are_refused_and_a_reversed_order_is_said(two, model, tmp_path, capfd):
    assert call(change.main, two[0], two[0], "--model", model, "--out", tmp_path / "out") == 2
    assert f"{two[0]}: is given twice" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    days = [write_raster(tmp_path / f"s_{day}.tif", scene(n)) for n, day in enumerate(("20210110", "20200610"))]
    run(*days, "--model", model, "--out", tmp_path / "out")
    assert (
        "before are of 2021-01-10, later than those after (2020-06-10): the map shows changes from the later to the earlier date"
        in capfd.readouterr().err
    )
    run(*days[::-1], "--model", model, "--out", tmp_path / "out")
    assert "backwards" not in capfd.readouterr().err


def test_planted_changes_lie_where_they_are_said_to_lie_and_nowhere_else():
    from benchmarks.change.planted import plant, windows

    pixels = np.random.default_rng(0).integers(1, 200, (3, 160, 160)).astype(np.uint8)
    planted = plant(pixels, np.random.default_rng(1))
    np.testing.assert_array_equal(planted.pixels[:, planted.weight == 0], pixels[:, planted.weight == 0])
    inside = planted.weight == 1
    assert 500 < inside.sum() < 8000
    assert (planted.pixels[:, inside] != pixels[:, inside]).mean() > 0.9
    changed, kept = planted.cells()
    assert changed.shape == (40, 40)
    assert not (changed & kept).any()
    means = windows(pixels.astype(float), 8, 4)
    np.testing.assert_allclose(means[:, 2, 3], pixels[:, 8:16, 12:20].mean(axis=(1, 2)))

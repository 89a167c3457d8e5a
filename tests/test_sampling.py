"""Stratified samples of a map: what is drawn, what the file holds, and what is estimated from it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pyogrio
import pytest

from benchmarks import areas
from export import assess, sample
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault
from export.runtime.infer.class_map import ClassMap
from export.runtime.raster.legend import from_to
from export.runtime.results.estimates import StratifiedCounts, by_class, stratified
from export.runtime.sampling.assessing import assess_sample
from export.runtime.sampling.design import Wanted, sizes, standard_error
from export.runtime.sampling.draw import draw
from export.runtime.sampling.sample_file import read_sample, save_answers
from tests.conftest import call, write_raster

NAMES = {1: "forest", 2: "crops", 3: "forest to crops"}


@pytest.fixture
def change_map(tmp_path):
    """Forest left, crops right, a clearing between them, a corner without data; 10 m pixels."""
    classes = np.full((1, 150, 230), 1, np.uint8)
    classes[:, :, 120:] = 2
    classes[:, 60:75, 90:120] = 3
    classes[:, :10, :10] = 255
    path = write_raster(tmp_path / "change.tif", classes, nodata=255)
    names = "".join(f"<Category>{NAMES.get(value, '')}</Category>" for value in range(4))
    path.with_name("change.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    return path


def drawn(path, names=NAMES, side=2048, **wanted):
    with closing(RasterPixels(path)) as pixels:
        return draw(ClassMap(pixels, names), Wanted(**wanted), lambda *_: True, side)


def values_of(path):
    with closing(RasterPixels(path)) as pixels:
        return pixels.read([1], pixels.grid.whole)[0][0]


def test_classes_named_a_to_b_are_change_where_both_sides_are_known():
    assert from_to(NAMES) == {3: ("forest", "crops")}
    assert from_to({1: "bare to sparse", 2: "water"}) == {}
    assert from_to({1: "a to b", 2: "b to a", 3: "b to b"}) == {1: ("a", "b"), 2: ("b", "a")}
    both = {1: "bare to sparse", 2: "water", 3: "bare to sparse to water", 4: "water to bare to sparse"}
    assert from_to(both) == {3: ("bare to sparse", "water"), 4: ("water", "bare to sparse")}


def test_sizes_are_those_of_the_papers_example_and_keep_the_standard_error():
    mapped = np.array([200_000, 150_000, 3_200_000, 6_450_000])  # Olofsson et al. 2014, section 5.1.1
    accuracy = np.array([0.7, 0.6, 0.9, 0.95])
    plain = sizes(mapped, mapped, accuracy, 0.01, 2)
    assert plain.sum() == pytest.approx(641, abs=3)
    assert standard_error(mapped, mapped, accuracy, plain) == pytest.approx(0.01, rel=0.01)
    raised = sizes(mapped, mapped, accuracy, 0.01, 75)
    assert raised.tolist() == [75, 75, *plain[2:]]
    assert sizes(np.array([5, 95]), np.array([5, 95]), np.array([0.9, 0.9]), 0.01, 50).tolist() == [5, 86]


def test_strata_are_the_classes_and_what_lies_around_change(change_map):
    found = drawn(change_map, buffer=2, least=20)
    values, valid = values_of(change_map), values_of(change_map) != 255
    near = np.zeros(values.shape, bool)
    near[58:77, 88:122] = True
    near &= values != 3
    expected = {
        "forest": (values == 1) & ~near, "crops": (values == 2) & ~near, "forest to crops": values == 3, "buffer": near,
    }  # fmt: skip
    assert {one.name: one.pixels for one in found.strata} == {name: int(mask.sum()) for name, mask in expected.items()}
    assert sum(one.m2 for one in found.strata) == pytest.approx(valid.sum() * 100)
    for number, one in enumerate(found.strata):
        at = found.stratum == number
        assert expected[one.name][found.rows[at], found.columns[at]].all()
        assert at.sum() == one.points >= 20
    assert (values[found.rows, found.columns] == found.value).all()
    assert len({*zip(found.rows, found.columns)}) == len(found)
    assert (np.diff(found.stratum) != 0).sum() > 100  # in random order


@pytest.mark.parametrize("distance", [0, 45])
def test_what_is_drawn_depends_on_seed_and_map_but_on_no_window(change_map, distance):
    whole, parts = (drawn(change_map, side=side, distance=distance, least=20, seed=5) for side in (2048, 37))
    for name in ("rows", "columns", "stratum", "value"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.strata == parts.strata
    assert whole.mapped == parts.mapped
    other = drawn(change_map, distance=distance, least=20, seed=6)
    assert {*zip(whole.rows, whole.columns)} != {*zip(other.rows, other.columns)}


def test_no_two_points_are_closer_than_asked_and_what_is_missing_is_said(change_map):
    found = drawn(change_map, distance=25, error=0.03, least=20)
    places = 10 * np.column_stack([found.rows, found.columns])
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    assert apart.min() >= 25
    assert {one.name: one.points for one in found.strata}["forest"] > 50
    assert found.notes == ()
    few = drawn(change_map, distance=300, error=0.03, least=20)
    assert "fewer points than planned in" in str(few.notes[0])


def test_every_pixel_of_a_stratum_is_as_likely_and_in_degrees_those_that_are_larger_are_likelier(tmp_path):
    flat = write_raster(tmp_path / "flat.tif", np.ones((1, 30, 40), np.uint8))
    counts = np.zeros((30, 40))
    for seed in range(400):
        found = drawn(flat, {}, seed=seed, error=0.05, accuracy={"": 0.8})
        counts[found.rows, found.columns] += 1
    n = counts.sum() / 400
    share = n / counts.size
    assert counts.var() == pytest.approx(400 * share * (1 - share), rel=0.15)
    ones = np.ones((1, 80, 40), np.uint8)
    degrees = write_raster(tmp_path / "degrees.tif", ones, crs="EPSG:4326", origin=(0, 80), pixel=1)
    rows = np.concatenate([drawn(degrees, {}, seed=seed, error=0.05, accuracy={"": 0.8}).rows for seed in range(200)])
    with closing(RasterPixels(degrees)) as pixels:
        of_rows = pixels.grid.row_areas
    assert (rows < 40).mean() == pytest.approx(of_rows[:40].sum() / of_rows.sum(), abs=0.015)


def labelled(path, truth, keep=1.0):
    """Give the first share of the points of a file their classes in an array."""
    known = read_sample(path)
    names = {one.value: one.name for one in known.classes}
    points = known.points[: int(keep * len(known.points))]
    at = [(int((5_000_000 - point.y) // 10), int((point.x - 500_000) // 10)) for point in points]
    save_answers(path, [replace(point, answer=names[int(truth[place])]) for point, place in zip(points, at)])


def test_command_line_draws_and_assesses_without_the_map(change_map, tmp_path, capsys):
    out = tmp_path / "sample.gpkg"
    assert call(sample.main, change_map, "--out", out, "--seed", 7, "--accuracy", 0.9, "forest to crops=0.6") == 0
    assert "expected standard error of the overall accuracy 0.00" in capsys.readouterr().out
    info = pyogrio.read_info(out, layer="sample")
    assert info["features"] == len(drawn(change_map, seed=7, accuracy={"": 0.9, "forest to crops": 0.6}))
    known = read_sample(out)
    assert (known.settings["seed"], known.settings["map"]) == ("7", str(change_map))
    assert [one.name for one in known.classes] == ["forest", "crops", "forest to crops", "crops to forest"]
    truth = values_of(change_map).copy()
    truth[56:60, 90:120] = 3  # missed beside the clearing
    truth[100:110, 200:210] = 4  # and a change of another kind that nobody mapped
    labelled(out, truth)
    change_map.unlink()
    assert call(assess.main, "--reference", out, "--out", tmp_path / "a.json") == 0
    assert "all change" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    change = report["classes"][2]
    assert change["mapped_ha"] == 4.5
    assert change["area_ha_low"] <= 5.7 <= change["area_ha_high"]
    assert report["change_ha_low"] <= 6.7 <= report["change_ha_high"]
    assert "Stehman 2014" in report["method"]
    assert [one["name"] for one in report["strata"]] == ["forest", "crops", "forest to crops", "buffer"]


def test_a_sample_assesses_another_map_of_the_same_area_by_its_own_strata(change_map, tmp_path):
    out = tmp_path / "sample.gpkg"
    call(sample.main, change_map, "--out", out)
    truth = values_of(change_map).copy()
    truth[truth == 255] = 1
    labelled(out, truth, 0.5)
    other = np.where(truth == 3, 1, truth)[None].astype(np.uint8)
    report = assess.assess(write_raster(tmp_path / "other.tif", other), out)
    assert report.result.users[0, 1] == 1
    wrong = report.counts[report.classes.index(1), report.classes.index(3)]
    assert wrong > 0
    weights = np.array([one.m2 for one in read_sample(out).strata])
    lost = next(one for one in report.strata if one.name == "forest to crops")
    assert lost.right == 0
    shares = np.array([1 - one.right / one.labelled for one in report.strata])
    assert 1 - report.result.overall[0] == pytest.approx(weights @ shares / weights.sum())
    assert "points have no class yet" in str(report.notes[0])


def test_indicators_give_the_estimates_of_the_paper_where_strata_are_no_classes():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 12, (3, 2, 2))
    covered = np.array([10.0, 30.0, 60.0])
    found = stratified(StratifiedCounts(units, covered, np.full(3, -1), np.full(3, np.inf)))
    weight, n = covered / 100, units.sum(axis=(1, 2))
    assert found.areas[0] == pytest.approx(100 * weight @ (units.sum(axis=1) / n[:, None]))
    assert found.overall[0] == pytest.approx(weight @ ((units[:, 0, 0] + units[:, 1, 1]) / n))
    y, x = weight @ (units[:, 1, 1] / n), weight @ (units[:, 1].sum(axis=1) / n)
    assert found.users[0, 1] == pytest.approx(y / x)
    assert found.producers[0, 1] == pytest.approx(y / (weight @ (units[:, :, 1].sum(axis=1) / n)))
    for part in (found.users, found.producers, found.areas):
        assert (part[1] < part[0]).all()
        assert (part[0] < part[2]).all()


def test_limits_of_a_large_sample_are_those_of_the_papers_variances():
    units = 400 * np.array([[[30, 10], [5, 5]], [[5, 5], [2, 38]]])
    covered, n = np.array([0.4, 0.6]), units.sum(axis=(1, 2))
    found = stratified(StratifiedCounts(units, covered, np.full(2, -1), np.full(2, np.inf)))
    y = units[:, 1, 1] / n
    for x, part in ((units[:, 1].sum(axis=1) / n, found.users), (units[:, :, 1].sum(axis=1) / n, found.producers)):
        ratio = (covered @ y) / (covered @ x)
        # y is 1 only where x is: its products with x are y itself
        spread = y * (1 - y) + ratio**2 * x * (1 - x) - 2 * ratio * y * (1 - x)
        margin = 1.96 * np.sqrt((covered**2 * spread / n).sum()) / (covered @ x)
        assert part[2, 1] - part[1, 1] == pytest.approx(2 * margin, rel=0.03)


def test_nothing_is_uncertain_where_all_pixels_were_labelled():
    counts = np.array([[8, 2], [1, 9]])
    sample_ = replace(by_class(counts, np.array([1.0, 3.0])), pixels=np.array([10, 10]))
    found = stratified(sample_)
    for part in (found.overall[:, None], found.users, found.producers, found.areas):
        np.testing.assert_allclose(part[1], part[0], atol=1e-9)
        np.testing.assert_allclose(part[2], part[0], atol=1e-9)


@pytest.mark.parametrize("units", areas.UNITS)
@pytest.mark.parametrize("omitted", areas.OMITTED)
def test_intervals_of_areas_hold_the_truth_as_often_as_they_say_in_tiny_strata_too(units, omitted):
    held = areas.coverage(areas.ours, omitted, "rare", units, 1000)
    assert {name: float(np.nanmin(one)) for name, (one, _) in held.items() if np.nanmin(one) < 0.94} == {}


def test_normal_intervals_would_not():
    held = areas.coverage(areas.normal, "an almost perfect map", "rare", "200, 200, 1, 1, 1", 200)
    assert min(np.nanmin(one) for one, _ in held.values()) < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--change", "mud"], "has no class or stratum 'mud'; it has forest, crops, forest to crops"),
        (["--accuracy", "mud=0.8"], "has no class or stratum 'mud'"),
        (["--accuracy", "1.5"], "an expected accuracy must lie between 0 and 1, and 1.5 does not"),
        (["--accuracy", "high"], "--accuracy high: write 0.9"),
        (["--error", "0"], "must lie between 0 and 0.5"),
        (["--buffer", "-1"], "a buffer at most 500 px"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(change_map, tmp_path, options, message, capsys):
    assert call(sample.main, change_map, "--out", tmp_path / "s.gpkg", *options) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]
    assert not (tmp_path / "s.gpkg").exists()


def test_a_sample_that_somebody_labels_is_never_overwritten(change_map, tmp_path, capsys):
    out = tmp_path / "s.gpkg"
    for _ in range(2):
        assert call(sample.main, change_map, "--out", out, "--error", "0.05") == 0
    point = read_sample(out).points[3]
    save_answers(out, [replace(point, answer="crops", notes="hazy")])
    before = out.read_bytes()
    assert call(sample.main, change_map, "--out", out) == 2
    assert "holds a sample with 1 labelled points, which would be lost; choose another --out" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_an_answer_is_saved_at_once_and_a_file_in_use_keeps_what_it_holds(change_map, tmp_path):
    out = tmp_path / "s.gpkg"
    call(sample.main, change_map, "--out", out, "--error", "0.05")
    point = read_sample(out).points[0]
    save_answers(out, [replace(point, answer="crops", notes="hazy")])
    saved = read_sample(out).points[0]
    assert (saved.answer, saved.notes, saved.seen, saved.x) == ("crops", "hazy", True, point.x)
    with closing(sqlite3.connect(out, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputFault, match="another program is writing to the file"):
            save_answers(out, [replace(point, answer="forest")], patience=0.01)
    assert read_sample(out).points[0].answer == "crops"
    with pytest.raises(InputFault, match="point 1 is no longer in the file"):
        save_answers(out, [replace(point, answer="forest"), replace(point, fid=99_999)])
    assert read_sample(out).points[0].answer == "crops"
    with pytest.raises(InputFault, match="the file with the sample is gone"):
        save_answers(tmp_path / "none.gpkg", [point])


def test_other_files_are_no_samples_and_an_unlabelled_one_says_nothing(change_map, tmp_path, capsys):
    assert call(assess.main, "--reference", change_map) == 2
    assert "no sample that was drawn from a map; name the MAP" in capsys.readouterr().err
    out = tmp_path / "s.gpkg"
    call(sample.main, change_map, "--out", out, "--error", "0.05")
    with pytest.raises(InputFault, match="no point has a class yet"):
        assess_sample(read_sample(out))

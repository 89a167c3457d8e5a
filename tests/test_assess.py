"""Accuracy of a map: the paper's worked example, and maps compared with points and polygons."""

import json
import re

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from benchmarks import coverage
from export import assess
from export.runtime.errors import InputFault
from export.runtime.results.estimates import estimate, exact_limits
from tests.conftest import UTM, call, write_raster

# Olofsson et al. 2014, table 8: deforestation, forest gain, stable forest, stable non-forest
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000])  # pixels of 30 m


def test_the_papers_worked_example_comes_out_as_printed():
    found = estimate(COUNTS, MAPPED)
    assert np.round(found.overall[0], 2) == 0.95
    assert np.round(found.users[0], 2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert np.round(found.producers[0], 2).tolist() == [0.75, 0.85, 0.93, 0.96]
    assert np.round(found.areas[0, 0]) == 235_086
    assert np.round(found.areas[0, 0] * 0.09) == 21_158  # hectares


def test_limits_of_a_large_sample_are_those_of_the_paper():
    found = estimate(COUNTS * 100, MAPPED)
    for part, margins in (
        (found.users, [0.07, 0.10, 0.04, 0.02]),
        (found.producers, [0.21, 0.25, 0.03, 0.02]),
        (found.areas[:, :1], [68_418]),
    ):
        assert (part[2] - part[1]) / 2 * 10 == pytest.approx(np.array(margins), rel=0.06, abs=0.006)


def test_shares_have_the_limits_of_clopper_and_pearson():
    from scipy.special import betaincinv

    for k, n in [(1, 2), (49, 50), (3, 7), (1999, 2000)]:
        expected = betaincinv(k, n - k + 1, 0.025), betaincinv(k + 1, n - k, 0.975)
        assert exact_limits(k, n) == pytest.approx(expected)
    assert exact_limits(50, 50) == pytest.approx((0.025 ** (1 / 50), 1))
    assert exact_limits(0, 1) == pytest.approx((0, 0.975))


def test_a_perfect_sample_leaves_the_mapped_areas_and_proves_no_perfect_map():
    found = estimate(np.diag([10, 20]), np.array([300.0, 700.0]))
    one, two = 1 - 0.025 ** (1 / 10), 1 - 0.025 ** (1 / 20)  # shares of errors that so many units can miss
    assert found.users.T.ravel().tolist() == pytest.approx([1, 1 - one, 1, 1, 1 - two, 1])
    assert found.overall == pytest.approx([1, 1 - np.hypot(0.3 * one, 0.7 * two), 1])
    assert found.areas[0].tolist() == [300, 700]
    assert found.areas[1, 0] == pytest.approx(300 - 300 * one)
    assert found.areas[2, 0] == pytest.approx(300 + 700 * two)
    assert found.producers[1, 0] == pytest.approx(1 / (1 + 0.7 * two / 0.3), rel=0.1)
    assert found.producers[1, 0] < 1 / (1 + 0.7 * two / 0.3)  # its own class may be smaller too


def test_one_unit_alone_in_a_rare_class_leaves_the_limits_of_the_others(halves, tmp_path):
    found = estimate(np.array([[1, 0], [4, 96]]), np.array([1.0, 99.0]))
    without = estimate(np.array([[100, 0], [4, 96]]), np.array([1.0, 99.0]))
    assert found.users[:, 0].tolist() == pytest.approx([1, 0.025, 1])
    assert found.overall == pytest.approx(without.overall, abs=0.01)
    truth = reference(tmp_path / "points.gpkg", [pixel(20, 3), pixel(20, 40), pixel(20, 41)], [3, 7, 7])
    notes = [str(note) for note in assess.assess(halves, truth).notes]
    assert notes[0].startswith("one unit alone lies on red land")
    assert notes[1].startswith("on each of green land all units are of one class")


@pytest.mark.parametrize("units", [(10,) * 5, (1, 10, 20, 20, 50)])
def test_intervals_hold_the_truth_as_often_as_they_say(units):
    held = coverage.of_maps(np.array(coverage.LADDER), "all", np.array(units), 200, 0)
    assert {name: shares.min() >= 0.92 for name, shares in held.items()} == dict.fromkeys(coverage.MEASURES, True)
    assert all(shares.mean() >= 0.94 for shares in held.values())


@pytest.fixture
def halves(tmp_path):
    """Left half class 3, right half class 7, a corner without data; 10 m pixels."""
    classes = np.full((1, 40, 60), 3, np.uint8)
    classes[:, :, 30:] = 7
    classes[:, :5, :5] = 255
    path = write_raster(tmp_path / "map.tif", classes, nodata=255)
    names = "".join(
        f"<Category>{'red land' if v == 3 else 'green land' if v == 7 else ''}</Category>" for v in range(8)
    )
    path.with_name("map.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    return path


def reference(path, shapes, values, crs=UTM, field="class"):
    column = np.array(values, object if isinstance(values[0], str) else np.int32)
    kind = shapes[0].geom_type
    wkb = shapely.to_wkb(np.array(shapes, object))
    pyogrio.raw.write(path, wkb, [column], [field], geometry_type=kind, crs=crs, driver="GPKG")
    return path


def pixel(row, column):
    return shapely.Point(500_000 + 10 * column + 5, 5_000_000 - 10 * row - 5)


def test_points_find_their_pixels_and_nodata_never_counts(halves, tmp_path, capsys):
    places = [(20, 3), (20, 8), (20, 29), (20, 30), (20, 59), (39, 40), (0, 0), (20, 70)]
    points = [pixel(*place) for place in places]
    truth = reference(tmp_path / "points.gpkg", points, [3, 3, 7, 7, 7, 7, 3, 3])
    assert call(assess.main, halves, "--reference", truth, "--out", tmp_path / "a.json") == 0
    said = capsys.readouterr()
    assert "2 of 8 units lie outside the map or on nodata" in said.err
    assert "overall accuracy" in said.out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["confusion"]["counts"] == [[2, 1], [0, 3]]
    red, green = found["classes"]
    assert (red["name"], red["mapped_ha"], green["mapped_ha"]) == ("red land", (40 * 30 - 25) / 100, 12)
    assert red["area_ha"] == pytest.approx(11.75 * 2 / 3)
    assert green["area_ha"] == pytest.approx(12 + 11.75 / 3)
    assert (red["users"], red["producers"], green["users"]) == (pytest.approx(2 / 3), 1, 1)
    assert (green["users_low"], green["users_high"]) == (pytest.approx(0.025 ** (1 / 3)), 1)
    assert f"1.000 ({green['users_low']:.3f} to 1.000)" in said.out


def test_polygons_in_another_crs_are_one_unit_each_and_names_are_classes(halves, tmp_path):
    import pyproj

    boxes = [shapely.box(500_110, 4_999_700, 500_190, 4_999_800), shapely.box(500_250, 4_999_700, 500_500, 4_999_800)]
    boxes += [shapely.box(500_400, 4_999_900, 500_404, 4_999_904)]
    to_degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True)
    bent = [shapely.transform(b, lambda xy: np.column_stack(to_degrees.transform(*xy.T))) for b in boxes]
    truth = reference(tmp_path / "areas.gpkg", bent, ["red land", "Green Land", "green land"], "EPSG:4326", "name")
    report = assess.assess(halves, truth)
    assert report.counts.tolist() == [[1, 0], [0, 2]]


def test_a_class_without_units_is_left_out_and_said(halves, tmp_path):
    truth = reference(tmp_path / "points.gpkg", [pixel(20, 3), pixel(20, 8)], [3, 7])
    report = assess.assess(halves, truth)
    assert any("no unit lies on green land" in str(note) for note in report.notes)
    assert report.result.overall[0] == 0.5


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["red land", "mud"], [], "'mud' in 'class' is neither a class number nor a class name"),
        ([3, 7], ["--field", "kind"], "has no attribute 'kind'; it has class"),
        ([3, 7], ["--layer", "none"], "cannot be read as points or polygons"),
    ],
)
def test_a_bad_reference_gets_one_sentence(halves, values, options, message, tmp_path, capsys):
    truth = reference(tmp_path / "points.gpkg", [pixel(20, 3), pixel(20, 8)], values)
    assert call(assess.main, halves, "--reference", truth, *options) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]


def test_an_alpha_channel_and_nodata_of_a_map_hide_its_classes(tmp_path):
    classes = np.full((2, 40, 60), 3, np.uint8)
    classes[0, :10], classes[1] = 255, 255
    classes[1, :, :20] = 0
    path = write_raster(tmp_path / "map.tif", classes, nodata=255, alpha="yes")
    truth = reference(tmp_path / "points.gpkg", [pixel(20, 30), pixel(20, 3), pixel(3, 30)], [3, 7, 7])
    report = assess.assess(path, truth)
    assert report.as_dict()["classes"][0]["mapped_ha"] == pytest.approx(30 * 40 / 100)
    assert report.counts.tolist() == [[1]]


def test_a_second_band_that_a_map_calls_alpha_and_is_none_hides_nothing(tmp_path):
    layers = np.full((2, 40, 60), 3, np.uint8)
    layers[1] = np.arange(60)  # a confidence, 0 to 59
    path = write_raster(tmp_path / "map.tif", layers, alpha="yes")
    truth = reference(tmp_path / "points.gpkg", [pixel(20, 30), pixel(20, 0)], [3, 3])
    assert assess.assess(path, truth).counts.tolist() == [[2]]


def test_names_are_found_in_a_vrt_and_in_the_sources_of_one_without_names(halves, tmp_path):
    import rasterio.shutil

    truth = reference(tmp_path / "points.gpkg", [pixel(20, 3), pixel(20, 40)], ["red land", "green land"])
    expected = assess.assess(halves, truth)
    rasterio.shutil.copy(halves, tmp_path / "map.vrt", driver="VRT")
    text = (tmp_path / "map.vrt").read_text()
    assert "<Category>red land</Category>" in text
    bare = re.sub("<CategoryNames>.*</CategoryNames>", "", text, flags=re.DOTALL)
    (tmp_path / "bare.vrt").write_text(bare)
    (tmp_path / "own.vrt").write_text(text.replace("red land", "Red Land"))
    for name in ("map.vrt", "bare.vrt"):
        assert assess.assess(tmp_path / name, truth).as_dict() == expected.as_dict()
    assert assess.assess(tmp_path / "own.vrt", truth).names[3] == "Red Land"


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "int64", "float32", "float64"])
def test_a_map_of_whole_numbers_of_any_type_is_one_of_classes(halves, tmp_path, dtype):
    with rasterio.open(halves) as source:
        classes = source.read()
    nodata = -1 if dtype.startswith(("i", "f")) else 255
    other = write_raster(
        tmp_path / "other.tif", np.where(classes == 255, nodata, classes.astype(dtype)).astype(dtype), nodata=nodata
    )
    truth = reference(tmp_path / "points.gpkg", [pixel(20, 3), pixel(20, 8), pixel(20, 40), pixel(0, 0)], [3, 7, 7, 3])
    report = assess.assess(other, truth)
    assert report.counts.tolist() == [[1, 1], [0, 1]]
    assert report.as_dict()["classes"][0]["mapped_ha"] == pytest.approx((40 * 30 - 25) / 100)
    broken = write_raster(tmp_path / "broken.tif", np.full((1, 40, 60), -3 if dtype[0] == "i" else 2, dtype))
    if dtype.startswith("f"):
        broken = write_raster(tmp_path / "broken.tif", np.full((1, 40, 60), 0.5, dtype))
    if dtype != "uint16":
        with pytest.raises(InputFault, match=r"holds no (class numbers|data)"):
            assess.assess(broken, truth)

"""Accuracy of a map: the paper's worked example, and maps compared with points and polygons."""

import json
import re

import numpy as np
import pyogrio
import pytest
import shapely

from export import assess
from export.runtime.results.assessment import estimate
from tests.conftest import UTM, call, write_raster

# Olofsson et al. 2014, table 8: deforestation, forest gain, stable forest, stable non-forest
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000])  # pixels of 30 m


def test_the_papers_worked_example_comes_out_as_printed():
    found = estimate(COUNTS, MAPPED)
    assert np.round(found.overall, 2).tolist() == [0.95, 0.02]
    assert np.round(found.users, 2).tolist() == [[0.88, 0.73, 0.93, 0.96], [0.07, 0.10, 0.04, 0.02]]
    assert np.round(found.producers, 2).tolist() == [[0.75, 0.85, 0.93, 0.96], [0.21, 0.25, 0.03, 0.02]]
    assert np.round(found.areas[:, 0]).tolist() == [235_086, 68_418]
    assert np.round(found.areas[:, 0] * 0.09).tolist() == [21_158, 6_158]  # hectares


def test_a_perfect_sample_leaves_the_mapped_areas_as_they_are():
    found = estimate(np.diag([10, 20]), np.array([300.0, 700.0]))
    assert found.overall == (1.0, 0.0)
    assert found.areas.tolist() == [[300, 700], [0, 0]]


def test_a_class_of_one_unit_has_no_margin():
    found = estimate(np.array([[1, 0], [0, 5]]), np.array([1.0, 1.0]))
    assert found.users[0].tolist() == [1, 1]
    assert np.isnan(found.users[1, 0])


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

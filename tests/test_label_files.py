"""Labels of vector files: classes, colours and place."""

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from rasterio.crs import CRS
from rasterio.transform import from_origin

from export.rasterio_io.grid import Grid
from export.rasterio_io.labels import classes_in, labels_on, read_labels
from export.runtime.errors import InputFault
from export.runtime.learn.samples import pixels_of
from export.runtime.raster.legend import LandClass, palette
from export.runtime.results.style import add_style
from tests.conftest import UTM

GRID = Grid(CRS.from_string(UTM), from_origin(500_000, 5_000_000, 10, 10), 60, 80)


def box(top, left, bottom, right):
    return shapely.box(500_000 + 10 * left, 5_000_000 - 10 * bottom, 500_000 + 10 * right, 5_000_000 - 10 * top)


def write_labels(path, shapes, crs=UTM, **fields):
    """Write shapes with attributes into a GeoPackage."""
    columns = [
        np.array(v, object if any(isinstance(x, (str, type(None))) for x in v) else None) for v in fields.values()
    ]
    wkb = shapely.to_wkb(np.array(shapes, object))
    kind = shapes[0].geom_type if len({shape and shape.geom_type for shape in shapes}) == 1 else "Unknown"
    pyogrio.raw.write(path, wkb, columns, list(fields), geometry_type=kind, crs=crs, driver="GPKG", layer="labels")
    return path


BOXES = [box(0, 0, 2, 2), box(10, 10, 13, 12), box(20, 20, 22, 25)]


def test_files_share_classes_and_number_their_labels_on(tmp_path):
    one = write_labels(tmp_path / "a.gpkg", BOXES, kind=["wheat", None, "maize"])
    to_degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True)
    bent = [shapely.transform(shape, lambda xy: np.column_stack(to_degrees.transform(*xy.T))) for shape in BOXES]
    points = [shapely.centroid(shape) for shape in bent]
    two = write_labels(tmp_path / "b.gpkg", [bent[0], points[1], bent[2]], "EPSG:4326", kind=["maize", "rye", "wheat"])
    files = [read_labels(path, "kind") for path in (one, two)]
    classes, index = classes_in(files)
    assert [entry.name for entry in classes] == ["maize", "rye", "wheat"]
    labels = labels_on(files, index, GRID)
    assert [(label.number, label.class_index) for label in labels] == [(0, 2), (2, 0), (3, 0), (4, 1), (5, 2)]
    found = [pixels_of(label, GRID) for label in labels]
    assert [len(rows) for rows, _ in found] == [4, 10, 4, 1, 10]
    np.testing.assert_array_equal(found[1], found[4])
    assert [axis.tolist() for axis in found[3]] == [[11], [11]]


def test_features_without_a_shape_move_no_class_to_another_label(tmp_path):
    kinds = ["wheat", "lost", "maize", "rye"]
    for shapes in ([BOXES[0], None, *BOXES[1:3]], [BOXES[0], shapely.Polygon(), *BOXES[1:3]]):
        points = [shapely.centroid(one) if one else None for one in shapes]
        for number, made in enumerate((shapes, points)):
            file = read_labels(write_labels(tmp_path / f"{number}.gpkg", made, kind=kinds), "kind")
            classes, index = classes_in([file])
            found = {classes[one.class_index].name: pixels_of(one, GRID) for one in labels_on([file], index, GRID)}
            alone = read_labels(write_labels(tmp_path / f"{number}b.gpkg", made[3:], kind=["rye"]), "kind")
            (rye,) = labels_on([alone], [np.zeros(1, int)], GRID)
            np.testing.assert_array_equal(found["rye"], pixels_of(rye, GRID))
            assert set(found) == {"wheat", "maize", "rye"}


def test_values_and_colours_of_the_panels_own_file_are_kept(tmp_path):
    path = write_labels(
        tmp_path / "l.gpkg", BOXES, **{"class": [2, 1, 2], "name": ["b", "a", "b"], "color": ["#112233", "#445566", ""]}
    )
    classes, index = classes_in([read_labels(path, "name")])
    assert classes == (LandClass(1, "a", "445566"), LandClass(2, "b", "112233"))
    assert index[0].tolist() == [1, 0, 1]


def test_colours_come_from_the_style_in_the_file_or_beside_it(tmp_path):
    legend = (LandClass(1, "a", "AA0000"), LandClass(2, "b", "00BB00"))
    path = write_labels(tmp_path / "l.gpkg", BOXES, **{"class": [2, 1, 3]})
    add_style(path, "labels", legend)
    classes, _ = classes_in([read_labels(path)])
    assert [entry.color for entry in classes] == ["AA0000", "00BB00", palette(2)]
    qml = (
        "<qgis><renderer-v2 type='categorizedSymbol' attr='kind'><categories><category value='x' symbol='0'/></categories>"
        "<symbols><symbol name='0'><layer><Option type='Map'><Option name='color' value='1,2,3,255'/></Option></layer>"
        "</symbol></symbols></renderer-v2></qgis>"
    )
    beside = write_labels(tmp_path / "m.gpkg", BOXES, kind=["x", "y", "x"], other=[1, 2, 3])
    beside.with_suffix(".qml").write_text(qml)
    assert classes_in([read_labels(beside, "kind")])[0][0].color == "010203"
    assert classes_in([read_labels(beside, "other")])[0][0].color == palette(0)
    beside.with_suffix(".qml").write_text("<broken")
    assert classes_in([read_labels(beside, "kind")])[0][0].color == palette(0)


@pytest.mark.parametrize(
    ("shapes", "crs", "message"),
    [
        ([shapely.LineString([(0, 0), (1, 1)])], UTM, "holds lines; labels are points or polygons"),
        ([shapely.MultiPoint([(0, 0), (1, 1)])], UTM, "several points in one feature"),
        (BOXES[:1], None, "has no CRS"),
    ],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_bad_label_files_get_one_sentence(tmp_path, shapes, crs, message):
    path = write_labels(tmp_path / "l.gpkg", shapes, crs, kind=["a"])
    with pytest.raises(InputFault, match=message):
        read_labels(path, "kind")


def test_a_missing_attribute_is_named(tmp_path):
    path = write_labels(tmp_path / "l.gpkg", BOXES, kind=["a", "b", "a"], other=[1, 2, 3])
    with pytest.raises(InputFault, match="has no attribute 'crop'; it has kind, other"):
        read_labels(path, "crop")

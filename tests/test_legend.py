"""Classes from an attribute of labels: names, values and colours."""

import numpy as np
import pytest

from export.runtime.errors import InputFault
from export.runtime.raster.legend import LandClass, classes_of, color_of, palette


def test_names_become_classes_in_their_order_and_empty_ones_none():
    values = ["water", " forest  old", None, "water ", "", float("nan"), "NULL"]
    legend, index = classes_of("a.gpkg", "kind", values)
    assert legend == (LandClass(1, "forest old", palette(0)), LandClass(2, "water", palette(1)))
    assert index.tolist() == [1, 0, -1, 1, -1, -1, -1]


def test_whole_numbers_are_the_values_of_their_classes():
    legend, index = classes_of("a.gpkg", "kind", np.array([30.0, 2.0, np.nan, 30.0]))
    assert [(entry.value, entry.name) for entry in legend] == [(2, "2"), (30, "30")]
    assert index.tolist() == [1, 0, -1, 1]
    mixed, _ = classes_of("a.gpkg", "kind", ["2.5", "7"])
    assert [(entry.value, entry.name) for entry in mixed] == [(1, "2.5"), (2, "7")]


def test_values_and_colours_beside_the_names_are_taken():
    names, numbers = ["wheat", "maize", "wheat"], [7, 3, 7]
    legend, index = classes_of(
        "a.gpkg", "name", names, numbers, ["#ff0000", "", "0,0,255,255"], {"maize": "0,255,0,255"}
    )
    assert legend == (LandClass(3, "maize", "00FF00"), LandClass(7, "wheat", "FF0000"))
    assert index.tolist() == [1, 0, 1]
    legend, _ = classes_of("a.gpkg", "name", names, [7, 3, 8])
    assert [entry.value for entry in legend] == [1, 2]
    legend, _ = classes_of("a.gpkg", "name", names, ["7", "07", "7"])
    assert [entry.value for entry in legend] == [1, 2], "7 and 07 are one value"


def test_colours_are_read_as_people_write_them():
    texts = ["#1c6330", "1C6330", "28,99,48", "28, 99, 48,255,rgb:0.1,0.2,0.3,1", "red", "300,1,1", None]
    assert [color_of(text) for text in texts] == ["1C6330"] * 4 + [""] * 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["Wheat", "maize", "wheat"], "'Wheat' and 'wheat' in 'crop' differ by case, spaces or leading zeros only"),
        (["winter wheat", "winterwheat"], "differ by case, spaces or leading zeros only"),
        (["1", "0", "00"], "'0' and '00' in 'crop' differ"),
        ([None, ""], "'crop' is empty for all labels"),
        ([*range(300)], "'crop' has 300 different values"),
    ],
)
def test_what_is_no_list_of_classes_gets_one_sentence(values, message):
    with pytest.raises(InputFault, match=message):
        classes_of("a.gpkg", "crop", values)

"""Parts of the host: grids, units, bands, resampling, patches."""

import numpy as np
import pyproj
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from export.rasterio_io.grid import Grid
from export.rasterio_io.vectors import Area
from export.runtime.errors import InputFault
from export.runtime.model.card import ModelCard
from export.runtime.model.read_card import card_of_metadata
from export.runtime.model.units import conversion, doubt, may_be_sentinel2, recognised_name
from export.runtime.raster.band_names import BandFacts, BandNames
from export.runtime.raster.bands import choose_bands
from export.runtime.raster.resample import Scale, resampled
from export.runtime.raster.shapes.patches import Runs, find_patches
from export.runtime.raster.window import Window
from tests.models import card_item

RGB = ("red", "green", "blue")


def card(unit: str, top: float) -> ModelCard:
    item = card_item()
    item["properties"] |= {"geoaware:unit": unit, "geoaware:value_range": [0, top]}
    import json

    return card_of_metadata({"mlm": json.dumps(item)}, "m.onnx")


def test_the_whole_earth_in_degrees_has_the_area_of_the_ellipsoid():
    grid = Grid(CRS.from_epsg(4326), from_origin(-180, 90, 0.5, 0.5), 360, 720)
    assert grid.row_areas.sum() * 720 == pytest.approx(510_065_621_724_088, rel=1e-12)  # m2, WGS 84
    assert np.allclose(grid.row_areas, grid.row_areas[::-1])


def test_a_pixel_in_degrees_has_the_area_of_its_geodesic_outline():
    grid = Grid(CRS.from_epsg(4326), from_origin(10, 60, 0.01, 0.01), 1, 1)
    along = np.linspace(10, 10.01, 200)
    lons, lats = np.concatenate([along, along[::-1]]), np.repeat([60, 59.99], 200)
    area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)
    assert grid.row_areas[0] == pytest.approx(abs(area), rel=1e-7)


def test_a_projected_pixel_has_its_plain_area_also_when_rotated_or_in_feet():
    turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -20)
    assert Grid(CRS.from_epsg(32633), turned, 3, 4).row_areas == pytest.approx([200, 200, 200])
    feet = Grid(CRS.from_epsg(2263), from_origin(1e6, 2e5, 10, 10), 1, 1)
    assert feet.row_areas[0] == pytest.approx((10 * 1200 / 3937) ** 2)


def test_a_window_of_bounds_in_another_crs_holds_them():
    grid = Grid(CRS.from_epsg(32633), from_origin(500_000, 5_000_000, 10, 10), 100, 100)
    own = Area((500_100, 4_999_500, 500_300, 4_999_900)).on(grid, "a.tif")
    assert own.window(grid, "a.tif") == (Window(10, 10, 40, 20), None)
    degrees = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform_bounds(500_100, 4_999_500, 500_300, 4_999_900)  # fmt: skip
    window, _ = Area(degrees, "EPSG:4326").on(grid, "a.tif").window(grid, "a.tif")
    assert abs(window.row - 10) <= 1
    assert abs(window.column - 10) <= 1
    with pytest.raises(
        InputFault, match=r"a.tif: the bounds lie outside it \(it covers 500000, 4999000, 501000, 5000000\)"
    ):
        Area((0, 0, 1, 1)).on(grid, "a.tif").window(grid, "a.tif")


@pytest.mark.parametrize(
    ("kind", "unit", "top", "baseline", "stored", "value", "expected"),
    [
        ("raw", "8-bit colour, 0 to 255", 255, None, None, 77, 77),
        ("s2-l2a", "reflectance x 10000", 10_000, 5.09, None, 3000, 2000),
        ("s2-l2a", "reflectance x 10000", 10_000, 3.01, None, 3000, 3000),
        ("s2-l2a", "reflectance x 10000", 10_000, None, None, 3000, 2000),
        ("s2-l2a", "reflectance x 10000", 10_000, None, 0.0, 3000, 3000),
        ("s2-l1c", "top-of-atmosphere reflectance x 10000 (Sentinel-2 L1C)", 10_000, 4.0, None, 1500, 500),
        ("s2-l2a", "EuroSAT RGB: reflectance x 10000 of 0-2750 as 0 to 255", 255, 5.0, None, 2375, 127.5),
        ("s2-l2a", "8-bit colour, 0 to 255", 255, 5.0, None, 1000 + 3558, 255),
        ("s2-l2a", "8-bit colour, 0 to 255", 255, 5.0, None, 9000, 255),
        ("tci", "reflectance x 10000", 10_000, None, None, 255, 3558),
        ("tci", "8-bit colour, 0 to 255", 255, None, None, 99, 99),
    ],
)
def test_sentinel2_numbers_become_the_models_unit(kind, unit, top, baseline, stored, value, expected):
    change = conversion(kind, card(unit, top), baseline, stored)
    assert change(np.array([[[value]]], np.uint16))[0, 0, 0] == pytest.approx(expected)


def test_a_model_of_another_unit_takes_no_sentinel2():
    with pytest.raises(InputFault, match="learned from 'decibel'"):
        conversion("s2-l2a", card("decibel", 10), None, None)


@pytest.mark.parametrize(
    ("dtype", "metres", "top"), [("uint16", 30, 255), ("float32", 10, 255), ("uint16", 10, 10_000), ("uint8", 10, 255)]
)
def test_numbers_that_may_be_others_are_not_taken_for_sentinel2(dtype, metres, top):
    assert not may_be_sentinel2(dtype, metres, card("", top))
    assert may_be_sentinel2("uint16", 10.05, card("", 255))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("/d/T33TUN_20230101T100000_TCI_10m.jp2", "tci"), ("/d_TCI.x/a.jp2", "raw"), ("/d/a_TCI.tif", "tci")],
)
def test_a_true_colour_image_is_recognised_by_its_name(name, kind):
    assert recognised_name(name, card("8-bit colour", 255)).kind == kind
    assert recognised_name(name, card("reflectance x 10000", 10_000)).kind == "raw"


def test_values_that_cannot_be_right_are_doubted():
    colour = card("8-bit colour, 0 to 255", 255)
    assert "reach 3000" in str(doubt(np.array([3000.0]), colour))
    assert "reach 0.9" in str(doubt(np.array([0.9]), colour))
    assert "go down to -9999" in str(doubt(np.array([-9999.0, 100]), colour))
    assert doubt(np.array([3.0, 250]), colour) is None


def test_bands_are_found_by_name_number_or_order():
    def choose(*names, needed=RGB, usable=None, asked=None):
        bands = BandNames([BandFacts(name) for name in names])
        return choose_bands("r", bands, usable or range(1, len(names) + 1), needed, asked)

    names = ["B02", "B03", "B04", "B08", "quality"]
    assert choose(*names).numbers == [3, 2, 1]
    assert choose(*names, asked=["b08", "3", "B03"]).numbers == [4, 3, 2]
    unnamed = choose("", "", "")
    assert (unnamed.numbers, unnamed.doubtful) == ([1, 2, 3], True)
    assert str(unnamed.how) == "its bands have no names: taken in their order, red = 1, green = 2, blue = 3"
    with pytest.raises(InputFault, match="its bands are nir, red, green, which are not the model's red, green, blue"):
        choose("nir", "red", "green")
    first = choose("red", "", "", "", needed=("red", "nir"), usable=[1, 3, 4])
    assert first.numbers == [1, 3]
    assert str(first.how) == "has 3 bands that are not named as the model's: taken as red = 1, nir = 3"
    with pytest.raises(InputFault, match="has 2 bands, but the model needs 3"):
        choose("", "")
    with pytest.raises(InputFault, match="2 bands are given"):
        choose(*names, asked=["1", "2"])


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 3.0, 20.0])
def test_a_ramp_stays_a_ramp_and_windows_agree_to_the_bit(scale):
    rows, columns = 640, 700
    ramp = (np.arange(rows)[:, None] + 2.0 * np.arange(columns))[None].astype(np.float32)
    valid = np.ones((rows, columns), bool)

    def read(window):
        at = np.s_[window.row : window.row + window.height, window.column : window.column + window.width]
        return ramp[(slice(None), *at)], valid[at]

    target = resampled(read, rows, columns, Scale(scale, scale))
    height, width = int(rows / scale), int(columns / scale)
    whole, there = target(Window(0, 0, height, width))
    assert there.all()
    expected = (np.arange(height)[:, None] + 0.5 + 2 * (np.arange(width) + 0.5)) * scale - 1.5
    rim = int(np.ceil(max(scale, 1) / scale)) + 1  # at the rim there is nothing beyond to average with
    assert np.allclose(whole[0, rim:-rim, rim:-rim], expected[rim:-rim, rim:-rim], atol=0.2 * max(scale, 1))
    part, _ = target(Window(height // 3, width // 2, height // 2, width // 4))
    assert np.array_equal(part, whole[:, height // 3 : height // 3 + height // 2, width // 2 : width // 2 + width // 4])


def test_gaps_never_leak_into_resampled_values():
    pixels = np.full((1, 40, 40), 50, np.int16)
    valid = np.ones((40, 40), bool)
    pixels[:, 10:30, 10:30], valid[10:30, 10:30] = -9999, False

    def read(window):
        at = np.s_[window.row : window.row + window.height, window.column : window.column + window.width]
        return pixels[(slice(None), *at)], valid[at]

    values, there = resampled(read, 40, 40, Scale(2, 2), 0.5)(Window(0, 0, 20, 20))
    assert np.allclose(values[:, there], 50)
    assert not there[6:14, 6:14].any()
    assert there[:5].all()


def patches_of(classes, least=0.0, row_areas=None):
    classes = np.array(classes, np.uint8)
    confidence = np.full(classes.shape, 80, np.uint8)
    blocks = [(classes[i : i + 2], confidence[i : i + 2]) for i in range(0, len(classes), 2)]
    areas = np.ones(len(classes)) if row_areas is None else np.array(row_areas)
    found = find_patches(Runs.of(blocks, 255), areas, least)
    return found, found.rows(0, len(classes))


def test_patches_touch_along_edges_not_corners():
    found, numbers = patches_of([[1, 1, 2], [2, 1, 255], [2, 2, 1]])
    assert found.value.tolist() == [1, 2, 2, 1]
    assert numbers.tolist() == [[1, 1, 2], [3, 1, 0], [3, 3, 4]]
    assert found.pixels.tolist() == [3, 1, 3, 1]
    assert found.confidence.tolist() == [80] * 4


def test_small_patches_go_to_their_largest_neighbour():
    found, numbers = patches_of([[1, 1, 1, 2, 2], [1, 3, 1, 2, 2], [1, 1, 1, 2, 2], [4, 4, 2, 2, 2]], least=3)
    assert numbers.tolist() == [[1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [1, 1, 2, 2, 2]]
    assert found.value.tolist() == [1, 2]
    assert found.area.tolist() == [11, 9]


def test_patches_that_meet_through_a_merged_one_become_one():
    _, numbers = patches_of([[1, 1, 3, 1, 1], [1, 1, 3, 1, 1]], least=3)
    assert numbers.tolist() == [[1] * 5] * 2


def test_the_smallest_area_is_true_area_and_islands_stay():
    found, _ = patches_of([[1, 2], [1, 1], [255, 255], [3, 255]], least=2, row_areas=[3, 1, 1, 1])
    assert found.value.tolist() == [1, 2, 3]


def test_patches_are_those_of_a_known_algorithm():
    from rasterio.features import shapes

    classes = np.random.default_rng(3).integers(0, 3, (60, 50)).astype(np.uint8)
    found, numbers = patches_of(classes)
    assert len(found.value) == sum(1 for _ in shapes(classes, connectivity=4))
    assert found.pixels.sum() == classes.size
    assert (found.value[numbers - 1] == classes).all()

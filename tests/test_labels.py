"""Labels of the ground: files that cannot be used, lie elsewhere, or are exchanged for others."""

import numpy as np
import pytest
import rasterio
import shapely

from core.errors import UserError
from core.imagery.georasters import open_raster
from core.imagery.labels import LabelPolygons, LabelRaster, open_labels
from core.store.read import UNLABELLED, LandClass
from tests.conftest import write_raster

CLASSES = (LandClass(1, "wood", "00FF00"),)


@pytest.fixture
def grid(tmp_path):
    with open_raster(write_raster(tmp_path / "grid.tif", np.ones((1, 64, 64), np.uint8))) as source:
        yield source


def polygons(path, crs="EPSG:32633", name="wood"):
    import geopandas as gpd

    frame = gpd.GeoDataFrame({"kind": [name]}, geometry=[shapely.box(500_000, 4_999_700, 500_300, 5_000_000)], crs=crs)
    frame.to_file(path)
    return path


def test_polygons_without_a_crs_are_refused(tmp_path, grid):
    with pytest.warns(UserWarning, match="crs"):
        polygons(tmp_path / "p.shp", crs=None)
    with pytest.raises(UserError, match=r"p\.shp: has no CRS"):
        LabelPolygons(tmp_path / "p.shp", "kind", CLASSES).check(grid)


def test_a_label_raster_that_lies_elsewhere_is_refused(tmp_path, grid):
    path = write_raster(tmp_path / "l.tif", np.ones((1, 64, 64), np.uint8), origin=(900_000, 5_000_000))
    with pytest.raises(UserError, match=r"l\.tif: does not overlap grid\.tif"):
        LabelRaster(path, None, CLASSES).check(grid)


def test_a_label_raster_that_breaks_off_is_refused_with_and_without_a_legend(tmp_path, grid):
    noise = np.random.default_rng(0).integers(0, 2, (1, 512, 512)).astype(np.uint8)
    path = write_raster(tmp_path / "l.tif", noise, tiled=True, blockxsize=256, blockysize=256)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(UserError, match=r"l\.tif: cannot be read as labels"):
        open_labels(path, None, None, None)
    labels = open_labels(path, None, CLASSES, None)
    with pytest.raises(UserError, match=r"l\.tif: corrupt or truncated file"):
        labels.numbers(grid, rasterio.windows.Window(0, 0, 64, 64))


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
@pytest.mark.parametrize("legend", [True, False])
def test_label_rasters_may_have_any_type_and_nodata(dtype, legend, tmp_path, grid):
    values = np.random.default_rng(0).integers(0, 4, (64, 64)) * 30
    gap = np.arange(64 * 64).reshape(64, 64) % 7 == 0
    nodata = 255 if np.dtype(dtype).kind == "u" else -99
    path = write_raster(tmp_path / "l.tif", np.where(gap, nodata, values)[None].astype(dtype), nodata=nodata)
    classes = tuple(LandClass(value, str(value), "00FF00") for value in (90, 60, 30, 0))
    labels = open_labels(path, None, classes if legend else None, None)
    labels.check(grid)
    found = labels.numbers(grid, rasterio.windows.Window(0, 0, 64, 64))
    number = 3 - values // 30 if legend else values // 30
    assert np.array_equal(found, np.where(gap, UNLABELLED, number))
    assert [entry.value for entry in labels.classes] == ([90, 60, 30, 0] if legend else [0, 30, 60, 90])


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.5"), (-1, "-1"), (300, "300")])
def test_what_is_no_class_value_is_refused_by_name(value, text, tmp_path, grid):
    path = write_raster(tmp_path / "l.tif", np.full((1, 64, 64), value, np.float32))
    with pytest.raises(
        UserError, match=rf"l\.tif: holds the value {text}, but classes are whole numbers from 0 to 254"
    ):
        open_labels(path, None, None, None)
    with pytest.raises(UserError, match=rf"l\.tif: holds the value {text}, which is not in the legend"):
        open_labels(path, None, CLASSES, None).numbers(grid, rasterio.windows.Window(0, 0, 64, 64))


def test_other_labels_of_the_same_name_are_another_source(tmp_path):
    def written(value):
        return repr(LabelRaster(write_raster(tmp_path / "l.tif", np.full((1, 8, 8), value, np.uint8)), None, CLASSES))

    assert written(1) != written(2)
    first = repr(LabelPolygons(polygons(tmp_path / "p.shp"), "kind", CLASSES))
    assert first != repr(LabelPolygons(polygons(tmp_path / "p.shp", name="town"), "kind", CLASSES))

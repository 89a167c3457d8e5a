"""What is written beside a map: confidence, probabilities, polygons, areas, STAC Item."""

import csv
import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyproj
import pystac
import pytest
import rasterio
import shapely
from rio_cogeo.cogeo import cog_validate

from export import predict
from tests.conftest import UTM, call, write_raster
from tests.models import CLASSES, card_item, write_given, write_graph, write_model, write_strongest_band
from tests.test_predict_rasters import BLUE, GREEN, RED, stripes
from tests.test_runtime_scenes import detector, scene_model, scene_with


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_strongest_band(tmp_path / "model.onnx")


def run(model, raster, out, *options):
    assert call(predict.main, model, raster, "--out", out, "--threads", 1, *options) == 0
    return out


def blocks(rows: int = 60, columns: int = 90, seed: int = 0) -> np.ndarray:
    """Squares of 6 px in three colours, and a gap."""
    classes = np.kron(np.random.default_rng(seed).integers(0, 3, (rows // 6, columns // 6)), np.ones((6, 6), int))
    pixels = np.where(classes[None] == np.arange(3)[:, None, None], 200, 20).astype(np.uint8)
    pixels[:, :8, :8] = 0
    return pixels


def test_all_rasters_are_valid_cogs_on_one_grid(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", np.tile(blocks(), (1, 10, 10)), nodata=0)
    out = run(model, raster, tmp_path / "out", "--confidence", "--probabilities")
    with rasterio.open(raster) as source:
        place, gap = (source.crs, source.transform, source.shape), source.read(1) == 0
    for name, overviews in (("scene", 1), ("scene_confidence", 1), ("scene_probabilities", 3)):
        sound, errors, warnings = cog_validate(out / f"{name}.tif", quiet=True)
        assert (sound, errors, warnings) == (True, [], [])
        with rasterio.open(out / f"{name}.tif") as result:
            assert (result.crs, result.transform, result.shape) == place
            assert (result.dataset_mask() == 0).tolist() == gap.tolist()
            assert len(result.overviews(1)) >= 1
            assert result.count == overviews
    with rasterio.open(out / "scene.tif") as result:
        coarse = result.read(1, out_shape=(300, 450))
        assert set(np.unique(coarse)) <= {RED, GREEN, BLUE, 255}  # overviews invent no class


@pytest.mark.parametrize("options", [(), ("--block", 256, "--merge")])
def test_attribute_table_counts_the_pixels_of_the_map(model, tmp_path, options):
    raster = write_raster(tmp_path / "scene.tif", np.tile(blocks(), (1, 5, 4)), nodata=0)
    out = run(model, raster, tmp_path / "out", *options)
    with rasterio.open(out / "scene.tif") as result:
        classes, hectares = result.read(1), np.prod(result.res) / 10_000
    table = ElementTree.parse(out / "scene.tif.aux.xml").find(".//GDALRasterAttributeTable")
    assert [name.text for name in table.iter("Name")] == ["value", "count", "class", "red", "green", "blue", "area_ha"]
    rows = [[cell.text for cell in row] for row in table.iter("Row")]
    assert len(rows) == len(CLASSES)
    for row, (value, name, color) in zip(rows, CLASSES):
        count = int((classes == value).sum())
        assert row[:3] == [str(value), str(count), name]
        assert bytes(map(int, row[3:6])).hex().upper() == color
        assert float(row[6]) == pytest.approx(count * hectares)


def test_probabilities_have_a_band_a_class_and_agree_with_the_map(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blocks(), nodata=0)
    out = run(model, raster, tmp_path / "out", "--probabilities", "--confidence")
    with rasterio.open(out / "scene_probabilities.tif") as result:
        shares = result.read()
        assert result.descriptions == ("red land", "green land", "blue water")
        assert (result.dtypes[0], str(result.nodata)) == ("float32", "nan")
    with rasterio.open(out / "scene.tif") as result, rasterio.open(out / "scene_confidence.tif") as sure:
        classes, confidence = result.read(1), sure.read(1)
    there = classes != 255
    assert np.isnan(shares[:, ~there]).all()
    assert np.allclose(shares[:, there].sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(np.array([RED, GREEN, BLUE])[shares[:, there].argmax(axis=0)], classes[there])
    assert np.abs(100 * shares[:, there].max(axis=0) - confidence[there]).max() <= 0.51


def read_polygons(path: Path) -> tuple[np.ndarray, dict]:
    meta, _, wkb, columns = pyogrio.raw.read(path, layer="land_cover")
    return shapely.from_wkb(wkb), dict(zip(meta["fields"], columns))


def test_polygons_follow_the_edges_of_the_pixels_exactly(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blocks(), nodata=0)
    out = run(model, raster, tmp_path / "out", "--polygons", "--areas")
    shapes, fields = read_polygons(out / "scene.gpkg")
    assert shapely.is_valid(shapes).all()
    assert np.allclose(shapely.area(shapes), fields["area_m2"])
    assert (fields["area_m2"] == fields["pixels"] * 100).all()
    with rasterio.open(out / "scene.tif") as result:
        burnt = rasterio.features.rasterize(
            list(zip(shapes, fields["class"].tolist())), result.shape, 255, transform=result.transform, dtype="uint8"
        )
        assert np.array_equal(burnt, result.read(1))
    assert shapely.union_all(shapes).area == pytest.approx(
        (60 * 90 - 64) * 100
    )  # nothing overlaps, nothing is left out
    assert {"red land", "green land", "blue water"} == set(fields["name"])
    assert (fields["confidence"] == 100).all()


def test_patches_below_the_smallest_area_are_merged_away(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blocks(), nodata=0)
    out = run(model, raster, tmp_path / "out", "--polygons", "--min-area", 10_000)
    shapes, fields = read_polygons(out / "scene.gpkg")
    assert (fields["area_m2"] >= 10_000).all()
    assert shapely.area(shapes).sum() == pytest.approx((60 * 90 - 64) * 100)
    assert shapely.is_valid(shapes).all()


def test_polygons_that_memory_does_not_hold_are_refused_and_it_is_said_before(model, tmp_path, capsys, monkeypatch):
    for module in ("runtime.infer.job", "runtime.raster.shapes.patches"):
        monkeypatch.setattr(f"export.{module}.free_memory", lambda: 1_000_000)
    calm = write_raster(tmp_path / "calm.tif", stripes())
    run(model, calm, tmp_path / "out", "--polygons")
    assert "calm.tif: its polygons would take 4.32 MB of memory" in capsys.readouterr().err
    noise = np.random.default_rng(0).integers(1, 255, (3, 90, 120)).astype(np.uint8)
    noisy = write_raster(tmp_path / "noisy.tif", noise)
    assert call(predict.main, model, noisy, "--out", tmp_path / "o", "--polygons", "--threads", 1) == 2
    assert "error: noisy: the map is so finely divided that its polygons take" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert call(predict.main, model, noisy, "--out", tmp_path / "b", "--polygons", "--block", 256) == 2
    assert call(predict.main, model, noisy, "--out", tmp_path / "o", "--threads", 1) == 0


def test_areas_are_those_counted_by_hand(model, tmp_path):
    pixels = stripes()
    pixels[:, :10, :10] = 0
    raster = write_raster(tmp_path / "scene.tif", pixels, nodata=0)
    out = run(model, raster, tmp_path / "out", "--areas")
    rows = list(csv.DictReader((out / "scene_areas.csv").read_text().splitlines()))
    assert [row["pixels"] for row in rows] == ["3500", "3600", "3600"]
    assert [float(row["hectares"]) for row in rows] == [35, 36, 36]
    assert float(rows[0]["per_cent"]) == pytest.approx(100 * 3500 / 10_700, abs=1e-4)
    assert json.loads((out / "scene_areas.json").read_text())["classes"][0]["name"] == "red land"


def test_areas_in_degrees_are_those_on_the_ellipsoid(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes(), crs="EPSG:4326", origin=(10, 60), pixel=0.01)
    out = run(model, raster, tmp_path / "out", "--areas", "--polygons")
    edge = np.linspace(10, 10.4, 5000)
    lons, lats = np.concatenate([edge, edge[::-1]]), np.repeat([60, 59.1], 5000)
    area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)
    rows = list(csv.DictReader((out / "scene_areas.csv").read_text().splitlines()))
    assert [float(row["hectares"]) for row in rows] == pytest.approx([abs(area) / 10_000] * 3, rel=1e-6)
    _, fields = read_polygons(out / "scene.gpkg")
    assert fields["area_m2"] == pytest.approx([abs(area)] * 3, rel=1e-6)


def test_areas_in_a_projection_that_stretches_are_warned_of(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes(), crs="EPSG:3857", origin=(1e6, 8.4e6))
    run(model, raster, tmp_path / "out", "--areas")
    assert "which shows 4" in capsys.readouterr().err  # 1 / cos(60 degrees) squared


def test_the_stac_item_names_place_files_and_model(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    out = run(model, raster, tmp_path / "out", "--confidence", "--polygons", "--areas", "--probabilities")
    item = pystac.Item.from_file(str(out / "scene.stac.json"))
    assert item.properties["geoaware:model"]["file:checksum"] == "1220" + hashlib.sha256(model.read_bytes()).hexdigest()
    assert item.properties["proj:code"] == "EPSG:32633"
    west, south, east, north = item.bbox
    assert pyproj.Transformer.from_crs(4326, UTM, always_xy=True).transform(west, north) == pytest.approx(
        (5e5, 5e6), abs=20
    )
    assert (west < east, south < north) == (True, True)
    named = {Path(asset.href).name: asset for asset in item.assets.values()}
    assert set(named) == {path.name for path in out.iterdir()} - {"scene.stac.json"}
    for name, asset in named.items():
        assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256((out / name).read_bytes()).hexdigest()
    assert len(item.assets["map"].extra_fields["classification:classes"]) == 3


def test_one_raster_may_get_another_name(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    run(model, raster, tmp_path / "out", "--name", "landcover")
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"landcover"}
    with pytest.raises(SystemExit):
        call(predict.main, model, raster, "--out", tmp_path / "out", "--name", "../away")
    assert "--name ../away: is no file name" in capsys.readouterr().err


def test_a_second_run_replaces_the_first_and_the_bytes_are_the_same(model, tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blocks(), nodata=0)
    once = run(model, raster, tmp_path / "a", "--confidence", "--areas")
    before = {path.name: path.read_bytes() for path in once.iterdir() if "stac" not in path.name}
    run(model, raster, tmp_path / "a", "--confidence", "--areas")
    assert {path.name: path.read_bytes() for path in once.iterdir() if "stac" not in path.name} == before


def test_a_full_map_of_300_classes_is_written_in_16_bits(tmp_path):
    classes = tuple((number, f"class {number}", "30A040") for number in range(300))
    kernel, bias = np.zeros((300, 3, 1, 1)), np.zeros(300)
    kernel[299, 0] = kernel[5, 1] = kernel[256, 2] = 0.1
    model = write_model(tmp_path / "m.onnx", kernel, card_item(classes=classes), bias)
    pixels = stripes()
    pixels[:, :4] = 0
    raster = write_raster(tmp_path / "scene.tif", pixels, nodata=0)
    out = run(model, raster, tmp_path / "out", "--polygons", "--areas")
    with rasterio.open(out / "scene.tif") as result:
        assert (result.dtypes[0], result.nodata) == ("uint16", 65535)
        assert np.array_equal(np.unique(result.read(1)), [5, 256, 299, 65535])
    _, fields = read_polygons(out / "scene.gpkg")
    assert sorted(fields["name"]) == ["class 256", "class 299", "class 5"]


@pytest.mark.parametrize(("stride", "shape"), [(32, (3, 4)), (16, (6, 8))])
def test_scene_classes_lie_on_a_coarse_grid_with_the_rasters_corner(tmp_path, stride, shape):
    scene_model(tmp_path / "scenes.onnx")
    raster = write_raster(tmp_path / "scene.tif", stripes(90, 120))
    out = run(tmp_path / "scenes.onnx", raster, tmp_path / "out", "--stride", stride, "--areas")
    with rasterio.open(out / "scene.tif") as result:
        assert result.shape == shape
        assert result.res == (10 * stride, 10 * stride)
        assert (result.bounds.left, result.bounds.top) == (500_000, 5_000_000)
        assert result.xy(0, 1) == (500_000 + 15 * stride, 5_000_000 - 5 * stride)
        assert set(np.unique(result.read(1))) <= {RED, GREEN, BLUE}


def test_a_regression_is_written_as_numbers(tmp_path, capsys):
    nodes = [("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": 1})]
    model = write_graph(tmp_path / "m.onnx", nodes, {"mean": (1, ("batch", 1, 32, 32))})
    write_given(model, task="regression", classes=None)
    pixels = stripes().astype(np.float32)
    pixels[:, :5] = -9
    raster = write_raster(tmp_path / "scene.tif", pixels, nodata=-9)
    out = run(model, raster, tmp_path / "out", "--areas", "--stride", 8)
    assert "--areas, --stride: ignored, does not apply to this regression model" in capsys.readouterr().err
    with rasterio.open(out / "scene.tif") as result:
        values = result.read(1)
        assert (result.dtypes[0], str(result.nodata)) == ("float32", "nan")
    assert np.isnan(values[:5]).all()
    assert np.allclose(values[5:], 80)
    assert {path.name for path in out.iterdir()} == {"scene.tif", "scene.stac.json"}


def test_objects_are_boxes_in_the_rasters_crs(tmp_path):
    detector(tmp_path / "boxes.onnx")
    image = scene_with((20, 10, 44, 30))
    raster = write_raster(tmp_path / "scene.tif", image)
    out = run(tmp_path / "boxes.onnx", raster, tmp_path / "out")
    meta, _, wkb, _ = pyogrio.raw.read(out / "scene.gpkg", layer="objects")
    boxes = shapely.from_wkb(wkb)
    assert len(boxes) == 1
    assert boxes[0].bounds == (500_200, 5_000_000 - 300, 500_440, 5_000_000 - 100)
    assert list(meta["fields"]) == ["class", "name", "score"]
    assert pystac.Item.from_file(str(out / "scene.stac.json")).assets["objects"].href.endswith("scene.gpkg")


def test_polygons_bring_the_colours_of_the_legend(model, tmp_path):
    import sqlite3
    from contextlib import closing

    raster = write_raster(tmp_path / "scene.tif", stripes())
    out = run(model, raster, tmp_path / "out", "--polygons")
    with closing(sqlite3.connect(out / "scene.gpkg")) as database:
        style, default = database.execute("SELECT styleQML, useAsDefault FROM layer_styles").fetchone()
    assert default == 1
    assert 'label="green land"' in style
    assert "48,160,64,255" in style
    assert pyogrio.list_layers(out / "scene.gpkg")[:, 0].tolist() == ["land_cover", "layer_styles"]


def test_a_threshold_replaces_the_cards_and_is_recorded(tmp_path, capsys):
    nodes = [("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": 1}), ("Div", ["mean", "top"], ["p"], {})]
    model = write_graph(tmp_path / "m.onnx", nodes, {"p": (1, ("n", 1, 32, 32))}, {"top": np.float32(255)})
    write_given(model, classes=["land", "water"], activation="sigmoid", threshold=0.4)
    pixels = np.tile(np.arange(120, dtype=np.uint8) * 2, (3, 90, 1))
    raster = write_raster(tmp_path / "scene.tif", pixels)
    for options, least in (([], 0.4), (["--threshold", 0.7], 0.7), (["--threshold", 0], 0)):
        out = run(model, raster, tmp_path / f"out{least}", *options)
        with rasterio.open(out / "scene.tif") as result:
            assert np.array_equal(result.read(1), pixels[0] / 255 >= least)
        recorded = json.loads((out / "scene.stac.json").read_text())["properties"]["geoaware:options"]
        assert recorded.get("threshold") == (least if options else None)
    assert "--threshold" not in capsys.readouterr().err
    blocks = run(model, raster, tmp_path / "blocks", "--threshold", 0.7, "--block", 256)
    assert (blocks / "scene.tif").read_bytes() == (tmp_path / "out0.7" / "scene.tif").read_bytes()


def test_a_threshold_is_the_lowest_score_of_an_object(tmp_path):
    detector(tmp_path / "boxes.onnx")
    image = scene_with((4, 4, 20, 20), (60, 60, 80, 80))
    image[:, :30, :30] //= 5  # scores 0.4 and 2
    raster = write_raster(tmp_path / "scene.tif", image)
    for least, count in ((0, 2), (0.5, 1)):
        out = run(tmp_path / "boxes.onnx", raster, tmp_path / "out", "--threshold", least)
        assert pyogrio.read_info(out / "scene.gpkg", layer="objects")["features"] == count


def test_a_threshold_that_cannot_be_or_does_not_apply_is_reported(model, tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", stripes())
    run(model, raster, tmp_path / "out", "--threshold", 0.9)
    assert "--threshold: ignored, does not apply to this segmentation model" in capsys.readouterr().err
    for value in (1.5, -0.1, "nan"):
        with pytest.raises(SystemExit):
            call(predict.main, model, raster, "--out", tmp_path / "out", "--threshold", value)
        assert "--threshold must be from 0 to 1" in capsys.readouterr().err

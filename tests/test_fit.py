"""From labels to a model and its map on the command line: the saved model gives the map's pixels; bad input is one sentence."""

import errno
import json

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely

from export import fit, predict, similar
from export.runtime.learn.cache import Records
from tests.conftest import UTM, call, write_raster
from tests.test_feature_sources import write_encoder
from tests.test_label_files import box, write_labels

COLOURS = np.array([[60, 120, 40], [180, 150, 90], [40, 60, 160]])
NAMES = ("forest", "bare", "water")


def patches(rows, columns, seed=0):
    return np.kron(np.random.default_rng(seed).integers(0, 3, (rows // 50, columns // 50)), np.ones((50, 50), int))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A raster larger than one tile, of three kinds of land in patches, a corner without data; and its classes."""
    classes = patches(500, 650)
    pixels = COLOURS[classes].transpose(2, 0, 1) + np.random.default_rng(1).normal(0, 12, (3, 500, 650))
    pixels = pixels.clip(1, 255).astype(np.uint8)
    pixels[:, :40, :40] = 0
    path = write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", pixels, nodata=0)
    return path, classes


def labels_of(classes, per_class=4, start=1):
    """Boxes of 20 px inside patches, and their classes."""
    shapes, names, count = [], [], dict.fromkeys(range(3), 0)
    for row in range(start, classes.shape[0] // 50):
        for column in range(1, classes.shape[1] // 50):
            kind = int(classes[row * 50, column * 50])
            if count[kind] < per_class:
                count[kind] += 1
                shapes.append(box(row * 50 + 15, column * 50 + 15, row * 50 + 35, column * 50 + 35))
                names.append(NAMES[kind])
    return shapes, names


@pytest.fixture(scope="module")
def labels(scene, tmp_path_factory):
    shapes, names = labels_of(scene[1])
    return write_labels(tmp_path_factory.mktemp("labels") / "fields.gpkg", shapes, kind=names)


def read(path, band=1):
    with rasterio.open(path) as source:
        return source.read(band)


def pixels_of(path):
    with rasterio.open(path) as source:
        return source.read()


def test_a_model_is_fitted_judged_saved_and_gives_the_pixels_of_its_map(scene, labels, tmp_path, capsys):
    path, truth = scene
    out = tmp_path / "crops.onnx"
    options = (
        "--labels",
        labels,
        "--field",
        "kind",
        "--out",
        out,
        "--map",
        tmp_path / "maps",
        "--confidence",
        "--areas",
    )
    assert call(fit.main, path, *options) == 0
    said = capsys.readouterr()
    assert "accuracy" in said.out
    mapped, confidence = (read(tmp_path / "maps" / name) for name in ("scene.tif", "scene_confidence.tif"))
    values = {"bare": 1, "forest": 2, "water": 3}
    true = np.array([values[name] for name in NAMES])[truth]
    there = np.ones(truth.shape, bool)
    there[:40, :40] = False
    np.testing.assert_array_equal(mapped != 255, there)
    assert (mapped == true)[there].mean() > 0.65  # labels lie in the middle of patches only
    assert call(predict.main, out, path, "--out", tmp_path / "again", "--confidence") == 0
    np.testing.assert_array_equal(read(tmp_path / "again" / "scene.tif"), mapped)
    assert np.abs(read(tmp_path / "again" / "scene_confidence.tif").astype(int) - confidence).max() <= 1
    report = json.loads((tmp_path / "crops_report.json").read_text())
    assert [(one["name"], one["labels"]) for one in report["classes"]] == [("bare", 4), ("forest", 4), ("water", 4)]
    assert np.sum(report["confusion"]["labels"]) == pytest.approx(12, abs=0.01)
    assert report["accuracy"] > 0.7
    assert report["accuracy_low"] < report["accuracy"]
    assert 0 <= report["unlike_labels"][str(path)] < 1
    assert "<table>" in (tmp_path / "crops_report.html").read_text()
    hectares = json.loads((tmp_path / "maps" / "scene_areas.json").read_text())
    assert sum(one["hectares"] for one in hectares["classes"]) == pytest.approx((500 * 650 - 1600) / 100)


def test_a_part_of_the_map_has_the_pixels_of_the_whole(scene, labels, tmp_path):
    path, _ = scene
    window = (100, 90, 400, 470)  # top, left, bottom, right
    mask = write_labels(tmp_path / "mask.gpkg", [box(*window), box(410, 600, 430, 620)], kind=["a", "b"])
    common = (path, "--labels", labels, "--field", "kind", "--cache", tmp_path / "cache")
    assert call(fit.main, *common, "--out", tmp_path / "a.onnx", "--map", tmp_path / "whole") == 0
    assert call(fit.main, *common, "--out", tmp_path / "b.onnx", "--map", tmp_path / "mask", "--mask", mask) == 0
    west, north = 500_000 + 900, 5_000_000 - 1000
    bounds = ("--bounds", west, north - 3000, west + 3800, north)
    assert call(fit.main, *common, "--out", tmp_path / "c.onnx", "--map", tmp_path / "part", *bounds) == 0
    whole = read(tmp_path / "whole" / "scene.tif")
    np.testing.assert_array_equal(read(tmp_path / "part" / "scene.tif"), whole[100:400, 90:470])
    with rasterio.open(tmp_path / "mask" / "scene.tif") as source:
        assert source.shape == (330, 530)
        masked = source.read(1)
    np.testing.assert_array_equal(masked[:300, :380], whole[100:400, 90:470])
    np.testing.assert_array_equal(masked[310:, 510:], whole[410:430, 600:620])
    assert (masked[:300, 380:] == 255).all()


def test_several_rasters_and_label_files_in_another_crs_count_together(scene, tmp_path, capsys):
    path, classes = scene
    other_classes = patches(200, 300, seed=5)
    pixels = COLOURS[other_classes].transpose(2, 0, 1).astype(np.uint8)
    other = write_raster(tmp_path / "other.tif", pixels, nodata=0, origin=(600_000, 5_000_000))
    shapes, names = labels_of(classes, 2)
    one = write_labels(tmp_path / "one.gpkg", shapes, kind=names)
    shapes, names = labels_of(other_classes, 2, start=0)
    to_degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True)
    moved = [shapely.affinity.translate(shape, 100_000) for shape in shapes]
    bent = [shapely.transform(shape, lambda xy: np.column_stack(to_degrees.transform(*xy.T))) for shape in moved]
    two = write_labels(tmp_path / "two.gpkg", bent, "EPSG:4326", kind=names)
    out = ("--out", tmp_path / "m.onnx", "--map", tmp_path / "maps")
    assert call(fit.main, path, other, "--labels", one, two, "--field", "kind", *out) == 0
    report = json.loads((tmp_path / "m_report.json").read_text())
    assert sum(entry["labels"] for entry in report["classes"]) == 12
    assert set(report["unlike_labels"]) == {str(path), str(other)}
    mapped = read(tmp_path / "maps" / "other.tif")
    (tmp_path / "folder").mkdir()
    same = (other.rename(tmp_path / "folder" / "scene.tif"), path, "--labels", one, two, "--field", "kind")
    assert call(fit.main, *same, "--out", tmp_path / "same.onnx") == 0
    capsys.readouterr()
    assert call(fit.main, *same, *out) == 2
    assert "both maps would be named scene" in sentence(capsys)
    assert (mapped == np.array([2, 1, 3])[other_classes]).mean() > 0.6


def test_the_cache_gives_the_same_map_and_a_damaged_one_is_made_anew(scene, labels, tmp_path):
    path, _ = scene
    common = (path, "--labels", labels, "--field", "kind", "--cache", tmp_path / "cache")
    for name in ("one", "two", "three"):
        assert call(fit.main, *common, "--out", tmp_path / f"{name}.onnx", "--map", tmp_path / name) == 0
        (kept,) = (tmp_path / "cache").rglob("*.tif")  # one COG, now that all records are there
        if name == "two":
            data = bytearray(kept.read_bytes())
            data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
            kept.write_bytes(data)
    first = read(tmp_path / "one" / "scene.tif")
    for name in ("two", "three"):
        np.testing.assert_array_equal(read(tmp_path / name / "scene.tif"), first)


def test_an_interrupted_run_leaves_its_features_for_the_next(scene, labels, tmp_path, capsys, monkeypatch):
    write, count = Records.write, []

    def interrupted(self, tile, record):
        write(self, tile, record)
        count.append(tile)
        if len(count) == 2:
            raise KeyboardInterrupt

    options = (
        "--labels",
        labels,
        "--field",
        "kind",
        "--cache",
        tmp_path / "cache",
        "--out",
        tmp_path / "out" / "m.onnx",
    )
    with monkeypatch.context() as patched:
        patched.setattr(Records, "write", interrupted)
        assert call(fit.main, scene[0], *options) == 130
    assert capsys.readouterr().err.endswith("interrupted; no incomplete files were left\n")
    assert not (tmp_path / "out").exists()
    again = []
    monkeypatch.setattr(Records, "write", lambda self, tile, record: (again.append(tile), write(self, tile, record)))
    assert call(fit.main, scene[0], *options) == 0
    assert set(again) == {(0, 0), (0, 1), (1, 0), (1, 1)} - set(count)


def test_a_cache_that_cannot_be_written_is_said_and_costs_nothing(scene, labels, tmp_path, capsys):
    (tmp_path / "cache").write_text("no folder")
    options = ("--labels", labels, "--field", "kind", "--out", tmp_path / "m.onnx", "--cache", tmp_path / "cache")
    assert call(fit.main, scene[0], *options) == 0
    assert "cache" in capsys.readouterr().err
    assert (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("options", [("--encoder",), ("--encoder", "--texture")])
def test_an_encoder_alone_and_with_texture(scene, labels, tmp_path, capsys, options):
    encoder = write_encoder(tmp_path / "encoder.onnx", **{"geoaware:border": 32})
    given = [encoder if option == "--encoder" else None for option in options]
    flags = [word for pair in zip(options, given) for word in pair if word]
    out = tmp_path / "m.onnx"
    common = ("--labels", labels, "--field", "kind", "--out", out, "--map", tmp_path / "maps")
    assert call(fit.main, scene[0], *common, *flags) == 0
    report = json.loads((tmp_path / "m_report.json").read_text())
    expected = "encoder.onnx with bands and texture (" if len(options) > 1 else "encoder.onnx ("
    assert report["features"].startswith(expected)
    assert call(predict.main, out, scene[0], "--out", tmp_path / "again") == 0
    np.testing.assert_array_equal(read(tmp_path / "again" / "scene.tif"), read(tmp_path / "maps" / "scene.tif"))
    assert call(fit.main, scene[0], *common[:4], "--out", encoder, *flags) == 2
    assert "encoder.onnx" in sentence(capsys)


@pytest.mark.parametrize("gsd", [20.0, 4.0])
def test_a_raster_with_other_pixels_than_the_encoders_is_mapped_on_its_own_grid(scene, labels, tmp_path, gsd):
    encoder = write_encoder(tmp_path / "encoder.onnx", **{"geoaware:border": 32, "gsd": gsd})
    out = tmp_path / "m.onnx"
    common = ("--labels", labels, "--field", "kind", "--encoder", encoder)
    assert call(fit.main, scene[0], *common, "--out", out, "--map", tmp_path / "maps") == 0
    assert call(predict.main, out, scene[0], "--out", tmp_path / "again") == 0
    whole = read(tmp_path / "maps" / "scene.tif")
    assert whole.shape == scene[1].shape
    assert (whole[:40, :40] == 255).all()
    np.testing.assert_array_equal(read(tmp_path / "again" / "scene.tif"), whole)
    west, north = 500_000 + 900, 5_000_000 - 1000
    bounds = ("--bounds", west, north - 3000, west + 3800, north)
    assert call(fit.main, scene[0], *common, "--out", tmp_path / "b.onnx", "--map", tmp_path / "part", *bounds) == 0
    np.testing.assert_array_equal(read(tmp_path / "part" / "scene.tif"), whole[100:400, 90:470])


def test_a_raster_that_holds_features_is_recognised_and_mapped(scene, labels, tmp_path, capsys):
    _, classes = scene
    directions = np.random.default_rng(3).normal(0, 60, (64, 3))
    noise = np.random.default_rng(4).normal(0, 10, (64, *classes.shape))
    bytes_ = (directions[:, classes] + noise).clip(-127, 127).astype(np.int8)
    bytes_[:, :40, :40] = -128
    path = write_raster(tmp_path / "embedded.tif", bytes_)
    out = tmp_path / "m.onnx"
    assert call(fit.main, path, "--labels", labels, "--field", "kind", "--out", out, "--map", tmp_path / "maps") == 0
    assert "AlphaEarth" in capsys.readouterr().err
    mapped = read(tmp_path / "maps" / "embedded.tif")
    assert (mapped[:40, :40] == 255).all()
    assert (mapped == np.array([2, 1, 3])[classes])[40:].mean() > 0.95
    assert call(predict.main, out, path, "--out", tmp_path / "again") == 0
    np.testing.assert_array_equal(read(tmp_path / "again" / "embedded.tif"), mapped)


def test_a_full_disk_under_the_cache_costs_the_cache_alone(scene, labels, tmp_path, capsys, monkeypatch):
    def full(self, tile, record):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("export.runtime.learn.cache.Records.write", full)
    options = ("--labels", labels, "--field", "kind", "--out", tmp_path / "m.onnx", "--cache", tmp_path / "cache")
    assert call(fit.main, scene[0], *options, "--map", tmp_path / "maps") == 0
    assert "No space left on device" in capsys.readouterr().err
    assert (tmp_path / "maps" / "scene.tif").exists()


def sentence(capsys):
    """The one sentence of an error; warnings may precede it."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    return lines[0]


SOME = [box(60, 60, 80, 80), box(100, 100, 120, 120)]


@pytest.mark.parametrize(
    ("shapes", "kinds", "message"),
    [
        (SOME, ["a", "a"], "are all 'a'; at least two classes are needed"),
        ([box(-90, 0, -50, 20), box(-40, 0, -20, 20)], ["a", "b"], "none of its labels lies on"),
        ([box(2, 2, 9, 9), box(20, 20, 30, 30)], ["a", "b"], "lie on pixels without data"),
        (SOME, ["Wheat", "wheat"], "'Wheat' and 'wheat' in 'kind' differ by case, spaces or leading zeros only"),
        (SOME, [None, ""], "'kind' is empty for all labels"),
    ],
)
def test_labels_that_make_no_map_get_one_sentence_and_leave_nothing(scene, tmp_path, capsys, shapes, kinds, message):
    path = write_labels(tmp_path / "labels.gpkg", shapes, kind=kinds)
    out = tmp_path / "out" / "m.onnx"
    assert call(fit.main, scene[0], "--labels", path, "--field", "kind", "--out", out) == 2
    found = sentence(capsys)
    assert message in found
    assert "labels.gpkg" in found
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_what_looks_wrong_with_a_raster_is_said(scene, labels, tmp_path, capsys):
    pixels = pixels_of(scene[0]).astype(np.float32)
    pixels[:, :, 400:] = -9999
    bare = write_raster(tmp_path / "bare.tif", pixels)
    small = write_raster(tmp_path / "small.tif", pixels_of(scene[0]) / np.float32(255))
    encoder = write_encoder(tmp_path / "encoder.onnx", gsd=30)
    options = ("--labels", labels, "--field", "kind", "--out", tmp_path / "m.onnx")
    assert call(fit.main, bare, *options) == 0
    assert "and no nodata value is declared" in capsys.readouterr().err
    assert call(fit.main, scene[0], small, *options) == 0
    assert "small.tif: its values" in capsys.readouterr().err
    assert call(fit.main, scene[0], *options, "--encoder", encoder) == 0
    assert "the model learned from 30 m: resampled" in capsys.readouterr().err


def test_what_is_left_out_is_said(scene, tmp_path, capsys):
    shapes, names = labels_of(scene[1], 3)
    shapes += [box(-90, 0, -50, 20), box(2, 2, 9, 9), box(60, 60, 70, 70)]
    path = write_labels(tmp_path / "labels.gpkg", shapes, kind=[*names, "bare", "water", None])
    assert call(fit.main, scene[0], "--labels", path, "--field", "kind", "--out", tmp_path / "m.onnx") == 0
    said = capsys.readouterr().err
    assert "1 of 12 labels have no class and do not count" in said
    assert "1 of 11 labels lie outside and do not count" in said
    assert "1 of 11 labels lie on pixels without data and do not count" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "folder.onnx"), "folder.onnx: is a folder"),
        (("--out", "file/m.onnx"), "file: is a file and no folder"),
        (("--map", "file"), "file: is a file and no folder"),
        (("--map", "maps", "--bounds", "0", "0", "1", "1"), "the bounds lie outside it"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(scene, labels, tmp_path, capsys, options, message):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("mine")
    places = [tmp_path / one if one in ("folder.onnx", "file/m.onnx", "file", "maps") else one for one in options]
    out = () if "--out" in options else ("--out", tmp_path / "m.onnx")
    assert call(fit.main, scene[0], "--labels", labels, "--field", "kind", *out, *places) == 2
    assert message in sentence(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.onnx"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_label_file_named_twice_is_refused(scene, labels, tmp_path, capsys):
    assert call(fit.main, scene[0], "--labels", labels, labels, "--field", "kind", "--out", tmp_path / "m.onnx") == 2
    assert "a file of labels is named twice" in sentence(capsys)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_raster_without_crs_and_a_model_over_its_input_are_refused(scene, labels, tmp_path, capsys):
    bare = write_raster(tmp_path / "bare.tif", np.ones((3, 60, 60), np.uint8), crs=None)
    common = ("--labels", labels, "--field", "kind")
    assert call(fit.main, bare, *common, "--out", tmp_path / "m.onnx") == 2
    found = sentence(capsys)
    assert "bare.tif: has no CRS" in found
    assert "--bounds" not in found, "which does not place a raster here"
    assert call(fit.main, scene[0], *common, "--out", tmp_path / "m.onnx", "--map", scene[0].parent) == 2
    assert "scene.tif" in sentence(capsys)
    assert call(fit.main, scene[0], *common, "--out", tmp_path / "m.onnx", "--encoder", tmp_path / "none.onnx") == 2
    assert "none.onnx: no such file" in sentence(capsys)


def test_places_like_an_example_are_found(scene, tmp_path, capsys):
    path, classes = scene
    water, forest = (np.argwhere(classes[60:, 60:] == kind)[0] + 60 + 25 for kind in (2, 0))
    at, unlike = (f"{500_000 + 10 * c + 5},{5_000_000 - 10 * r - 5}" for r, c in (water, forest))
    out = tmp_path / "similar.tif"
    assert call(similar.main, path, "--at", at, "--not", unlike, "--out", out) == 0
    with rasterio.open(out) as source:
        scores, transform = source.read(1), source.transform
    assert scores.shape == (125, 163)
    assert transform.a == 40
    assert np.isnan(scores[:10, :10]).all()
    full = np.repeat(np.repeat(scores, 4, 0), 4, 1)[:500, :650]
    assert np.nanmean(full[classes == 2]) > np.nanmean(full[classes != 2]) + 0.3
    meta, _, wkb, (rank, score) = pyogrio.raw.read(out.with_suffix(".gpkg"))
    assert (list(meta["fields"]), rank.tolist()) == (["rank", "score"], list(range(1, len(rank) + 1)))
    x, y = shapely.get_coordinates(shapely.from_wkb(wkb)).T
    rows, columns = ((5_000_000 - y) / 10).astype(int), ((x - 500_000) / 10).astype(int)
    assert (classes[rows[:10], columns[:10]] == 2).all()
    np.testing.assert_allclose(full[rows, columns], score, atol=1e-4)
    assert (columns.max(), rows.max()) <= (649, 499)
    degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True)
    turned = (",".join(map(repr, degrees.transform(*map(float, place.split(","))))) for place in (at, unlike))
    options = [f"--at={next(turned)}", f"--not={next(turned)}", "--crs", "EPSG:4326"]
    assert call(similar.main, path, *options, "--out", tmp_path / "degrees.tif") == 0
    np.testing.assert_array_equal(read(tmp_path / "degrees.tif"), scores)
    points = write_labels(tmp_path / "points.gpkg", [shapely.Point(*map(float, at.split(",")))], kind=["x"])
    again = tmp_path / "again.tif"
    kept = tmp_path / "kept"
    assert call(similar.main, path, "--points", points, "--not", unlike, "--out", again, "--cache", kept) == 0
    assert [one.suffix for one in kept.rglob("*.[gt]*")] == [".tif"]  # one COG, no records
    np.testing.assert_array_equal(read(again), read(out))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["500005,4999995"], "scene.tif: the place 500005, 4999995 lies on no data of it"),
        (["0,0"], "lies on no data of it"),
        (["500005;4999995"], "500005;4999995: is no place; write x,y"),
    ],
)
def test_bad_places_get_one_sentence(scene, tmp_path, capsys, places, message):
    assert call(similar.main, scene[0], "--at", *places, "--out", tmp_path / "s.tif") == 2
    assert message in sentence(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (shapely.LineString([(500_100, 4_999_000), (500_900, 4_999_000)]), "holds lines"),
        (shapely.MultiPoint([(500_900, 4_999_000), (501_900, 4_999_000)]), "holds several points in one feature"),
    ],
)
def test_examples_of_other_shapes_are_refused(scene, tmp_path, capsys, shape, message):
    points = write_labels(tmp_path / "p.gpkg", [shape])
    assert call(similar.main, scene[0], "--points", points, "--out", tmp_path / "s.tif") == 2
    found = sentence(capsys)
    assert "p.gpkg" in found
    assert message in found
    assert not (tmp_path / "s.tif").exists()

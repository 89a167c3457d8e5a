"""Models whose card leaves out a border of each tile: the map is that of the whole raster at once, without seams."""

import json

import numpy as np
import pytest
from onnx import TensorProto

from export import predict
from export.runtime.errors import InputFault, ModelFault
from export.runtime.infer.scenes import windows
from export.runtime.infer.sweep import Scan, Sweep, sweep
from export.runtime.model.graph import HeadSession
from export.runtime.model.read_card import card_of_file, card_of_metadata
from export.runtime.model.session import Model
from export.runtime.raster.window import TileGrid, Window
from tests.conftest import call, write_raster
from tests.models import card_item, given_card, write_given, write_graph
from tests.test_batch import noise, same
from tests.test_explain import explained
from tests.test_runtime_models import image_of, reader, swept

FLOAT = TensorProto.FLOAT
TILE, BORDER = 64, 16  # the network below sees 11 px around a pixel


def network(path, side=TILE, head=True, **card):
    """Convolutions at stride 1, 2 and 4; with a head, brought to the size of the tile and to probabilities."""
    rng = np.random.default_rng(3)
    weights = {
        "scale": np.float32(1 / 100),
        "a": rng.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.4, (5, 4, 3, 3)).astype(np.float32),
        "c": rng.normal(0, 0.4, (5, 5, 3, 3)).astype(np.float32),
        "head": rng.normal(0, 1, (3, 5, 1, 1)).astype(np.float32),
        "sizes": np.array([1, 1, 4, 4], np.float32),
    }
    nodes = [
        ("Mul", ["image", "scale"], ["x"], {}),
        ("Conv", ["x", "a"], ["xa"], {"pads": [1] * 4}),
        ("Relu", ["xa"], ["ra"], {}),
        ("Conv", ["ra", "b"], ["xb"], {"pads": [1] * 4, "strides": [2, 2]}),
        ("Relu", ["xb"], ["rb"], {}),
        ("Conv", ["rb", "c"], ["features"], {"pads": [1] * 4, "strides": [2, 2]}),
    ]
    outputs = {"features": (FLOAT, ["batch", 5, side and side // 4, side and side // 4])}
    if head:
        nodes += [
            ("Conv", ["features", "head"], ["places"], {}),
            ("Resize", ["places", "", "sizes"], ["logits"], {"mode": "linear"}),
            ("Softmax", ["logits"], ["probabilities"], {"axis": 1}),
        ]
        outputs = {"probabilities": (FLOAT, ["batch", 3, side, side])}
    size = side or "px"
    path = write_graph(path, nodes, outputs, weights, image=("batch", 3, size, size))
    given = {"tile_size": TILE, "overlap": 2 * BORDER, "border": BORDER, "activation": "softmax"}
    if not head:
        given |= {"task": "embedding", "classes": None}
    return write_given(path, **given | card)


@pytest.fixture
def whole(tmp_path):
    """What the network says of a whole raster, its edge pixels repeated around it."""
    run = {
        head: HeadSession(network(tmp_path / f"whole{head}.onnx", None, head).read_bytes()) for head in (True, False)
    }

    def answer(image, head=True):
        _, rows, columns = image.shape
        around = [(0, 0), *((2 * BORDER, 2 * BORDER + -length % 4) for length in (rows, columns))]
        cells, first = (1, 2 * BORDER) if head else (4, BORDER // 2)
        found = run[head](np.pad(image.astype(np.float32), around, mode="edge")[None])[0]
        return found[:, first : first - (-rows // cells), first : first - (-columns // cells)]

    return answer


@pytest.mark.parametrize("shape", [(3, 150, 201), (3, 64, 64), (3, 10, 33), (3, 97, 32)])
def test_the_map_is_that_of_the_whole_raster_at_once(tmp_path, whole, shape):
    image = image_of(shape)
    classes, _, values, valid = swept(Model(network(tmp_path / "m.onnx"), "cpu"), image, probabilities=True)
    assert valid.all()
    np.testing.assert_allclose(values, whole(image), atol=1e-5)  # as close beside seams as anywhere
    numbers = np.array([3, 7, 12])[whole(image).argmax(axis=0)]
    assert (classes == numbers).mean() > 0.999


def test_without_a_border_there_are_seams(tmp_path, whole):
    """So the test above can fail."""
    image = image_of((3, 150, 201))
    model = Model(network(tmp_path / "m.onnx", border=None, overlap=0), "cpu")
    assert np.abs(swept(model, image, probabilities=True)[2] - whole(image)).max() > 0.05


def test_features_lie_on_one_grid_and_come_without_seams(tmp_path, whole):
    image = image_of((3, 150, 201))
    model = Model(network(tmp_path / "m.onnx", head=False), "cpu")
    assert (model.factor, model.border, model.card.border) == (4, 0, BORDER)
    parts = list(windows(Scan(model, reader(image), *image.shape[1:])))
    values = np.concatenate([part.values for part in parts], axis=1)
    assert values.shape == (5, 38, 51)
    np.testing.assert_allclose(values, whole(image, head=False), atol=1e-5)


def test_features_do_not_depend_on_what_lies_beyond_their_tiles(tmp_path):
    """The same pixels in a larger raster give the same bits: tiles stay where they are."""
    image, model = image_of((3, 160, 192)), Model(network(tmp_path / "m.onnx", head=False), "cpu")

    def features(image):
        parts = windows(Scan(model, reader(image), *image.shape[1:]))
        return np.concatenate([part.values for part in parts], axis=1)

    inner = (96 - BORDER) // 4
    np.testing.assert_array_equal(features(image)[:, :inner, :inner], features(image[:, :96, :96])[:, :inner, :inner])


def test_gaps_stay_gaps_and_count_as_fill_around(tmp_path, whole):
    image, valid = image_of((3, 150, 201)), np.ones((150, 201), bool)
    valid[30:75, 80:170] = False
    valid[120:, :64] = False  # whole tiles
    found = swept(Model(network(tmp_path / "m.onnx"), "cpu"), image, valid, probabilities=True)
    np.testing.assert_array_equal(found[3], valid)
    filled = np.where(valid, image, 127.5)
    np.testing.assert_allclose(found[2][:, valid], whole(filled)[:, valid], atol=1e-5)


@pytest.mark.parametrize(("batch", "threads", "read_ahead"), [(1, 3, 4), (4, 1, 0), (4, 2, 7)])
def test_parts_batches_and_threads_give_the_same_bits(tmp_path, batch, threads, read_ahead):
    image = image_of((3, 150, 201))
    expected = swept(Model(network(tmp_path / "m.onnx"), "cpu", threads=1), image, probabilities=True, read_ahead=0)
    model = Model(network(tmp_path / "m.onnx"), "cpu", threads=threads)
    model.batch = batch
    found = swept(model, image, probabilities=True, read_ahead=read_ahead)
    if batch == 1:
        np.testing.assert_array_equal(found[2], expected[2])
    for part in (Window(0, 0, 150, 201), Window(0, 96, 77, 64), Window(31, 5, 2, 190), Window(149, 200, 1, 1)):
        options = Sweep(area=part, probabilities=True, read_ahead=read_ahead)
        rows = list(sweep(Scan(model, reader(image), *image.shape[1:], options)))
        values = np.concatenate([one.values for one in rows], axis=1)
        where = (slice(part.row, part.row + part.height), slice(part.column, part.column + part.width))
        np.testing.assert_array_equal(values, found[2][(slice(None), *where)])


def test_flips_and_turns_keep_the_middle(tmp_path):
    image = image_of((3, 32, 32))
    model = Model(network(tmp_path / "m.onnx"), "cpu")
    values = swept(model, image, tta=True, probabilities=True)[2]
    turned = swept(model, np.ascontiguousarray(np.rot90(image, axes=(1, 2))), tta=True, probabilities=True)[2]
    np.testing.assert_allclose(turned, np.rot90(values, axes=(1, 2)), atol=1e-5)


def test_the_model_itself_answers_for_the_whole_tile(tmp_path):
    model = Model(network(tmp_path / "m.onnx", head=False), "cpu")
    assert model.run(image_of((3, 64, 64))[None]).shape == (1, 5, 16, 16)


def test_aligned_tiles_begin_at_multiples_and_reach_beyond():
    grid = TileGrid(100, 64, 32, 0, aligned=True)
    assert (grid.tops, grid.lefts, len(grid)) == ([0, 32, 64, 96], [0, 32], 8)
    assert TileGrid(10, 33, 32, 0, aligned=True).lefts == [0, 32]
    assert TileGrid(10, 33, 32, 8, aligned=True).lefts == [0, 24]


def test_other_overlaps_are_refused_and_the_own_is_not(tmp_path):
    model, image = Model(network(tmp_path / "m.onnx"), "cpu"), image_of((3, 100, 100))
    same = swept(model, image, overlap=2 * BORDER, probabilities=True)[2]
    np.testing.assert_array_equal(same, swept(model, image, probabilities=True)[2])
    with pytest.raises(InputFault, match="overlap by 32 px, of which 16 px at each edge are left out"):
        swept(model, image, overlap=8)


def test_a_free_tile_size_stays_for_small_rasters_too(tmp_path, whole):
    path = network(tmp_path / "m.onnx", None, tile_size=None)
    image = image_of((3, 40, 50))
    model = Model(path, "cpu")
    assert model.sizes is not None
    assert model.sized(40) is model
    np.testing.assert_allclose(swept(model, image, probabilities=True)[2], whole(image), atol=1e-5)


def test_borders_are_read_from_both_kinds_of_cards(tmp_path):
    item = card_item(tile_size=TILE, overlap=0)
    item["properties"]["geoaware:border"] = BORDER
    card = card_of_metadata({"mlm": json.dumps(item)}, "m")
    assert (card.border, card.overlap) == (BORDER, 2 * BORDER)
    path = tmp_path / "m.card.json"
    path.write_text(json.dumps(given_card(border=10, overlap=None)))
    assert (card_of_file(path).border, card_of_file(path).overlap) == (10, 20)


@pytest.mark.parametrize("card", [{"overlap": 8}, {"border": -2, "overlap": -4}, {"border": 16, "task": "detection"}])
def test_cards_whose_border_makes_no_sense_are_refused(tmp_path, card):
    with pytest.raises(ModelFault, match=r"a border needs an overlap of twice its size|overlap must be smaller"):
        Model(network(tmp_path / "m.onnx", **card))


def test_borders_that_do_not_fit_the_answer_are_refused(tmp_path):
    sentence = (
        r"m\.onnx: its card leaves out {} px at each edge, which does not fit its output of 16 rows for a tile of 64"
    )
    with pytest.raises(ModelFault, match=sentence.format(6)):
        Model(network(tmp_path / "m.onnx", head=False, border=6, overlap=12))
    with pytest.raises(ModelFault, match="overlap must be smaller"):
        Model(network(tmp_path / "m.onnx", border=32, overlap=64))
    nodes = [("GlobalAveragePool", ["image"], ["features"], {})]
    path = write_graph(
        tmp_path / "v.onnx", nodes, {"features": (FLOAT, ["batch", 3, 1, 1])}, image=("batch", 3, 64, 64)
    )
    write_given(path, task="embedding", classes=None, tile_size=64, overlap=32, border=16)
    with pytest.raises(ModelFault, match="leaves out 16 px at each edge"):
        Model(path)


@pytest.mark.parametrize(
    ("head", "options"),
    [
        (True, ("--probabilities", "--confidence")),
        (True, ("--tta",)),
        (False, ()),
        (True, ("--bounds", 500_300, 4_996_700, 503_900, 4_999_500)),
    ],
)
def test_blocks_and_workers_have_the_bits_of_one_pass(tmp_path, head, options):
    model = network(tmp_path / "m.onnx", head=head)
    raster = write_raster(tmp_path / "scene.tif", noise(500, 420), nodata=0)
    common = (predict.main, model, raster, "--threads", 1, *options)
    assert call(*common, "--out", tmp_path / "one") == 0
    assert call(*common, "--out", tmp_path / "vrt", "--block", 256) == 0
    assert len(list((tmp_path / "vrt" / "scene_blocks").glob("*[0-9].tif"))) >= 2
    assert call(*common, "--out", tmp_path / "two", "--block", 256, "--workers", 2) == 0
    assert same(tmp_path / "one", tmp_path / "vrt")
    assert same(tmp_path / "one", tmp_path / "two")


def test_another_overlap_is_refused_with_what_to_do(tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", noise(150, 201), nodata=0)
    model = network(tmp_path / "m.onnx")
    assert call(predict.main, model, raster, "--out", tmp_path / "out", "--overlap", 16) == 2
    assert capsys.readouterr().err.endswith("no other overlap fits; leave --overlap out\n")
    assert not (tmp_path / "out" / "scene.tif").exists()


def test_where_pixels_are_brought_to_the_models_size_blocks_fit_too(tmp_path):
    model = network(tmp_path / "m.onnx", gsd=16.0)
    raster = write_raster(tmp_path / "scene.tif", noise(460, 480), nodata=0)
    assert call(predict.main, model, raster, "--out", tmp_path / "one") == 0
    assert call(predict.main, model, raster, "--out", tmp_path / "vrt", "--block", 256) == 0
    assert same(tmp_path / "one", tmp_path / "vrt")


def test_the_tiles_that_a_run_will_take_are_counted_before(tmp_path, capsys):
    raster = write_raster(tmp_path / "scene.tif", noise(150, 201), nodata=0)
    for head in (True, False):
        found = explained(capsys, network(tmp_path / "m.onnx", head=head), raster)
        assert found["tiles"] == "35 of 64 x 64 px, overlap 32 px (by the model card)"

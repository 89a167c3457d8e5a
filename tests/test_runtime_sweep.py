"""Exactness: blending against the one-shot answer, and the same bits however the work is cut."""

import threading

import numpy as np
import pytest
from onnx import TensorProto

from export.runtime.errors import Cancelled, InputFault, ModelFault
from export.runtime.infer.sweep import Scan, Sweep, ahead, mapped, sweep
from export.runtime.model.session import Model
from export.runtime.raster.legend import LandClass
from export.runtime.raster.window import Window
from export.runtime.results.areas import Areas
from export.runtime.results.rows import Rows
from tests.models import card_item, write_given, write_graph, write_model, write_strongest_band
from tests.test_runtime import one_shot
from tests.test_runtime_models import STRONGEST, image_of, reader, swept

FLOAT = TensorProto.FLOAT


def same(left: list, right: list) -> bool:
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(left, right))


def wide_model(path, reach: int = 3, **card) -> Model:
    """Sees ``reach`` px around each pixel."""
    kernel = np.random.default_rng(1).normal(0, 0.02 / reach, (3, 3, 2 * reach + 1, 2 * reach + 1))
    return Model(write_model(path, kernel, card_item(**{"tile_size": 64, "overlap": 16, **card})), "cpu", threads=1)


@pytest.mark.parametrize("reach", [2, 5, 7])
def test_a_receptive_field_that_fits_the_overlap_gives_the_one_shot_answer(tmp_path, reach):
    model = wide_model(tmp_path / "m.onnx", reach)  # 2 x 7 + 1 px fit into 16
    kernel = np.random.default_rng(1).normal(0, 0.02 / reach, (3, 3, 2 * reach + 1, 2 * reach + 1))
    image = image_of((3, 300, 410))
    classes, _, values, _ = swept(model, image, probabilities=True)
    expected = one_shot(kernel, image)
    assert (classes == STRONGEST[expected.argmax(axis=0)]).mean() >= 0.9999
    difference = np.abs(values - expected)
    assert difference.max() < 1e-4  # no seam: as small at the tiles' borders as inside them


def test_on_real_imagery_the_blended_map_is_the_one_shot_map(tmp_path, real):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(real / "landsat_peru_1985_2020" / "2020.tif") as source:
        image = source.read([1, 2, 3])
    kernel = np.random.default_rng(1).normal(0, 0.004, (3, 3, 15, 15))
    model = Model(write_model(tmp_path / "m.onnx", kernel, card_item(tile_size=64, overlap=16)), threads=1)
    expected = one_shot(kernel, image).argmax(axis=0)
    assert (swept(model, image)[0] == STRONGEST[expected]).mean() >= 0.9999


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("read_ahead", [0, 1, 7])
def test_threads_and_reading_ahead_do_not_change_a_bit(tmp_path, threads, read_ahead):
    path = tmp_path / "m.onnx"
    image = image_of((3, 150, 170))
    expected = swept(wide_model(path), image, probabilities=True, read_ahead=0)
    found = swept(Model(path, "cpu", threads=threads), image, probabilities=True, read_ahead=read_ahead)
    assert same(found, expected)


def test_the_parts_of_a_raster_fit_together_to_the_same_bits(tmp_path):
    model, image = wide_model(tmp_path / "m.onnx"), image_of((3, 230, 260))
    valid = np.ones(image.shape[1:], bool)
    valid[60:90, 100:220] = False
    whole = swept(model, image, valid, probabilities=True)
    for part in (Window(0, 0, 100, 120), Window(100, 120, 130, 140), Window(97, 1, 5, 200), Window(229, 259, 1, 1)):
        rows = list(sweep(Scan(model, reader(image, valid), *image.shape[1:], Sweep(area=part, probabilities=True))))
        assert rows[0].top == part.row
        where = (slice(part.row, part.row + part.height), slice(part.column, part.column + part.width))
        found = [
            np.concatenate([r.classes for r in rows]),
            np.concatenate([r.confidence for r in rows]),
            np.concatenate([r.values for r in rows], axis=1),
            np.concatenate([r.valid for r in rows]),
        ]
        assert same(found, [array[(..., *where)] for array in whole])


def test_another_overlap_is_taken_and_one_that_does_not_fit_is_refused(tmp_path):
    model, image = wide_model(tmp_path / "m.onnx", 7), image_of((3, 130, 140))
    kernel = np.random.default_rng(1).normal(0, 0.02 / 7, (3, 3, 15, 15))
    expected = STRONGEST[one_shot(kernel, image).argmax(axis=0)]
    for overlap in (32, 48):  # 48: three tiles share a pixel
        assert (swept(model, image, overlap=overlap)[0] == expected).mean() >= 0.9999
    assert (swept(model, image, overlap=0)[0] == expected).mean() < 0.9999
    with pytest.raises(InputFault, match="overlap of 64 px does not fit tiles of 64 px"):
        swept(model, image, overlap=64)


def test_flips_and_turns_average_to_an_answer_that_turns_with_the_image(tmp_path):
    model, image = wide_model(tmp_path / "m.onnx"), image_of((3, 64, 64))
    values = swept(model, image, tta=True, probabilities=True)[2]
    for turn in (lambda a: np.rot90(a, axes=(1, 2)), lambda a: a[:, ::-1], lambda a: a[..., ::-1]):
        turned = swept(model, np.ascontiguousarray(turn(image)), tta=True, probabilities=True)[2]
        np.testing.assert_allclose(turned, turn(values), atol=1e-6)
    plain = swept(model, image, probabilities=True)[2]
    assert np.abs(values - plain).max() > 0.01


def test_no_data_in_no_data_out_in_every_number(tmp_path):
    model, image = wide_model(tmp_path / "m.onnx"), image_of((3, 150, 150))
    valid = np.random.default_rng(0).random((150, 150)) > 0.3
    classes, confidence, values, found = swept(model, image, valid, probabilities=True)
    np.testing.assert_array_equal(found, valid)
    assert (classes[~valid] == 255).all()
    assert (confidence[~valid] == 255).all()
    assert np.isnan(values[:, ~valid]).all()
    assert np.isfinite(values[:, valid]).all()


def test_tiles_that_are_not_wanted_are_neither_read_nor_run(tmp_path):
    model, image = Model(write_strongest_band(tmp_path / "m.onnx"), threads=1), image_of((3, 200, 200))
    read, asked = reader(image), []

    def recording(window):
        asked.append(window)
        return read(window)

    def touches(window):
        return window.row + window.height > 120 and window.column < 60

    rows = list(sweep(Scan(model, recording, 200, 200, touches=touches)))
    classes = np.concatenate([r.classes for r in rows])
    assert asked
    assert all(touches(window) for window in asked)
    np.testing.assert_array_equal(classes[120:, :60], STRONGEST[image.argmax(axis=0)][120:, :60])
    assert (classes[:90] == 255).all()
    assert (classes[:, 100:] == 255).all()


def test_memory_does_not_grow_with_the_height(tmp_path):
    model = Model(write_strongest_band(tmp_path / "m.onnx"), threads=2)
    alive, most = set(), 0
    lock = threading.Lock()

    class Counted(np.ndarray):
        def __del__(self):
            with lock:
                alive.discard(id(self))

    def read(window):
        nonlocal most
        pixels = np.zeros((3, window.height, window.width), np.uint8).view(Counted)
        with lock:
            alive.add(id(pixels))
            most = max(most, len(alive))
        return pixels, np.ones((window.height, window.width), bool)

    for _ in sweep(Scan(model, read, 2000, 40, Sweep(read_ahead=4))):
        pass
    assert most <= 4 + 2 + 8 + 2  # read ahead, in work, waiting, in hands


@pytest.mark.parametrize("read_ahead", [0, 3])
def test_an_error_while_reading_comes_to_the_caller_and_ends_all_threads(tmp_path, read_ahead):
    model, image = Model(write_strongest_band(tmp_path / "m.onnx"), threads=2), image_of((3, 200, 200))

    def read(window):
        if window.row > 60:
            raise InputFault.worded("the disk is gone")
        return reader(image)(window)

    before = threading.active_count()
    with pytest.raises(InputFault, match="the disk is gone"):
        list(sweep(Scan(model, read, 200, 200, Sweep(read_ahead=read_ahead))))
    assert threading.active_count() == before


def test_a_caller_who_stops_or_goes_away_leaves_no_thread(tmp_path):
    model, image = Model(write_strongest_band(tmp_path / "m.onnx"), threads=2), image_of((3, 300, 300))
    before = threading.active_count()
    with pytest.raises(Cancelled):
        list(sweep(Scan(model, reader(image), 300, 300, progress=lambda done, total: done < 3)))
    rows = sweep(Scan(model, reader(image), 300, 300))
    next(rows)
    rows.close()
    assert threading.active_count() == before


def test_items_made_ahead_and_worked_on_beside_each_other_stay_in_order():
    made = []

    def items():
        for number in range(50):
            made.append(number)
            yield number

    gate = threading.Event()

    def work(number):
        if number == 0:
            gate.wait(5)
        return number * 2

    results = mapped(work, ahead(items(), 3), 4)
    threading.Timer(0.3, gate.set).start()
    assert next(results) == 0
    assert len(made) < 50  # bounded: the rest waits until somebody takes results
    assert list(results) == [2 * n for n in range(1, 50)]


@pytest.mark.parametrize("shape", [(1, 90), (90, 1), (1, 1), (31, 33)])
def test_rasters_smaller_than_a_tile(tmp_path, shape):
    model, image = Model(write_strongest_band(tmp_path / "m.onnx"), threads=1), image_of((3, *shape))
    np.testing.assert_array_equal(swept(model, image)[0], STRONGEST[image.argmax(axis=0)])


@pytest.mark.parametrize("provider", ["auto", "cpu", "CPUExecutionProvider"])
def test_the_provider_that_runs_is_named(tmp_path, provider):
    found = Model(write_strongest_band(tmp_path / "m.onnx"), provider).provider
    assert found == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": "cuda"}, "this onnxruntime has no CUDAExecutionProvider; it has"),
        ({"provider": "abacus"}, "this onnxruntime has no abacus"),
        ({"precision": "bf16"}, "calculates in fp32 only"),
        ({"precision": "fp8"}, "'fp8' is none of fp32, bf16, fp16"),
    ],
)
def test_what_is_not_there_is_refused_not_replaced(tmp_path, options, message):
    with pytest.raises(ModelFault, match=message):
        Model(write_strongest_band(tmp_path / "m.onnx"), **{"provider": "cpu", **options})


def test_areas_are_those_counted_by_hand():
    classes = (LandClass(3, "red", "FF0000"), LandClass(7, "green", "00FF00"), LandClass(300, "blue", "0000FF"))
    found = Areas(classes, 3)
    grid = np.array([[3, 3, 7, 65535], [7, 7, 7, 7], [65535, 65535, 3, 300]], np.uint16)
    found.add(Rows(0, grid[:2] != 65535, grid[:2]))
    found.add(Rows(2, grid[2:] != 65535, grid[2:]))
    table = found.table(np.array([100.0, 200.0, 400.0]))
    assert [(row.value, row.pixels, row.m2) for row in table] == [(3, 3, 600.0), (7, 5, 900.0), (300, 1, 400.0)]
    np.testing.assert_allclose([row.percent for row in table], [600 / 19, 900 / 19, 400 / 19])
    assert [row.m2 for row in found.table(np.float64(2))] == [6.0, 10.0, 2.0]


def test_a_fixed_batch_does_not_change_a_bit(tmp_path):
    kernel = np.random.default_rng(1).normal(0, 0.01, (3, 3, 5, 5)).astype(np.float32)
    nodes = [("Conv", ["image", "kernel"], ["out"], {"pads": [2] * 4})]
    image, answers = image_of((3, 100, 130)), []
    for batch in (1, 2, 4, 16):
        output = {"out": (FLOAT, [batch, 3, 32, 32])}
        path = write_graph(tmp_path / f"{batch}.onnx", nodes, output, {"kernel": kernel}, (batch, 3, 32, 32))
        answers.append(
            swept(Model(write_given(path, activation="logits"), "cpu", threads=2), image, probabilities=True)
        )
    assert all(same(answer, answers[0]) for answer in answers)


def test_tiles_of_one_colour_are_run_once_and_get_the_same_bits(tmp_path, monkeypatch):
    model, image = wide_model(tmp_path / "m.onnx"), image_of((3, 300, 410))
    image[:, 100:, :250] = 7
    expected = swept(model, image, probabilities=True)
    ran = []
    monkeypatch.setattr(Model, "run", lambda own, tiles, run=Model.run: ran.append(len(tiles)) or run(own, tiles))
    assert same(swept(model, image, probabilities=True), expected)
    once = len(ran)
    ran.clear()
    assert same(swept(model, image, probabilities=True, colours=0), expected)
    assert once < len(ran) - 5

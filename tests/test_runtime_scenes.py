"""Sliding windows of scene classifiers and encoders, and objects across the borders of tiles."""

import numpy as np
import pytest
from onnx import TensorProto

from export.runtime.errors import InputFault, ModelFault
from export.runtime.infer.objects import TileBoxes, _Merged, detect
from export.runtime.infer.scenes import cell_size, scene_grid, windows
from export.runtime.infer.sweep import Scan, Sweep
from export.runtime.model.session import Model
from export.runtime.raster.window import Window
from tests.models import write_given, write_graph, write_strongest_band
from tests.test_runtime_models import STRONGEST, image_of, reader

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def scene_model(path, **card) -> Model:
    """Probabilities of three classes: the share of each band in the mean of a tile of 32 px."""
    nodes = [
        ("GlobalAveragePool", ["image"], ["mean"], {}),
        ("ReduceSum", ["mean", "axis"], ["sum"], {"keepdims": 1}),
        ("Div", ["mean", "sum"], ["share"], {}),
        ("Flatten", ["share"], ["out"], {}),
    ]
    write_graph(path, nodes, {"out": (FLOAT, ["batch", 3])}, {"axis": np.array([1])})
    return Model(write_given(path, task="classification", **card), threads=2)


def slid(model, image, valid=None, **options):
    parts = list(windows(Scan(model, reader(image, valid), *image.shape[1:], Sweep(**options))))
    assert [part.top for part in parts] == np.cumsum([0, *(len(p.valid) for p in parts[:-1])]).tolist()
    fields = [("classes", 0), ("values", 1), ("valid", 0)]
    return [
        None if getattr(parts[0], name) is None else np.concatenate([getattr(p, name) for p in parts], axis=axis)
        for name, axis in fields
    ]


def test_the_coarse_grid_is_what_a_hand_computes():
    assert scene_grid(100, 64, 32, 32) == (4, 2)
    assert scene_grid(100, 64, 32, 20) == (5, 4)
    assert scene_grid(10, 10, 32, 32) == (1, 1)
    for stride in (0, 33):
        with pytest.raises(InputFault, match="does not fit windows of 32 px"):
            scene_grid(100, 100, 32, stride)


@pytest.mark.parametrize("stride", [32, 16, 8, 20, 5])
def test_cells_are_the_mean_of_the_windows_that_hold_their_middle(tmp_path, stride):
    model, image = scene_model(tmp_path / "m.onnx"), image_of((3, 90, 75))
    classes, values, valid = slid(model, image, stride=stride, probabilities=True)
    rows, columns = scene_grid(90, 75, 32, stride)
    assert classes.shape == (rows, columns)
    assert valid.all()
    assert cell_size(model, Sweep(stride=stride)) == stride
    starts = [[*range(0, length - 32, stride), length - 32] for length in (90, 75)]
    for i in range(rows):
        for j in range(columns):
            y, x = ((cell * stride + min((cell + 1) * stride, length)) / 2 for cell, length in ((i, 90), (j, 75)))
            means = [
                image[:, top : top + 32, left : left + 32].mean(axis=(1, 2))
                for top in starts[0]
                for left in starts[1]
                if top <= y < top + 32 and left <= x < left + 32
            ]
            expected = np.mean([mean / mean.sum() for mean in means], axis=0)
            np.testing.assert_allclose(values[:, i, j], expected, rtol=1e-5)
            assert classes[i, j] == STRONGEST[expected.argmax()]


def test_a_cell_is_empty_only_where_all_its_pixels_are(tmp_path):
    model, image = scene_model(tmp_path / "m.onnx"), image_of((3, 96, 96))
    valid = np.zeros((96, 96), bool)
    valid[40, 70] = True
    classes, _, found = slid(model, image, valid, stride=16)
    assert np.argwhere(found).tolist() == [[2, 4]]
    assert (classes[~found] == 255).all()
    assert classes[2, 4] != 255


def test_parts_of_the_coarse_grid_fit_together_to_the_same_bits(tmp_path):
    model, image = scene_model(tmp_path / "m.onnx"), image_of((3, 130, 150))
    whole = slid(model, image, stride=12, probabilities=True)
    area = Window(36, 48, 60, 102)
    parts = list(windows(Scan(model, reader(image), 130, 150, Sweep(stride=12, probabilities=True, area=area))))
    assert parts[0].top == 3
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts], axis=1), whole[1][:, 3:8, 4:13])


def test_features_come_as_one_vector_a_cell_or_as_a_map(tmp_path):
    image = image_of((3, 64, 96))
    pooled = write_graph(
        tmp_path / "vector.onnx",
        [("GlobalAveragePool", ["image"], ["mean"], {}), ("Flatten", ["mean"], ["out"], {})],
        {"out": (FLOAT, ["batch", 3])},
    )
    dense = write_graph(
        tmp_path / "map.onnx",
        [("AveragePool", ["image"], ["out"], {"kernel_shape": [8, 8], "strides": [8, 8]})],
        {"out": (FLOAT, ["batch", 3, 4, 4])},
    )
    for path, cell, overlap in ((pooled, 32, 0), (dense, 8, 0), (dense, 8, 16)):
        model = Model(write_given(path, task="embedding", classes=None, overlap=overlap), threads=1)
        classes, values, valid = slid(model, image)
        assert classes is None
        assert valid.all()
        assert cell_size(model) == cell
        expected = image.reshape(3, 64 // cell, cell, 96 // cell, cell).mean(axis=(2, 4))
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_flips_and_turns_of_a_window_are_averaged(tmp_path):
    model, image = scene_model(tmp_path / "m.onnx"), image_of((3, 64, 64))
    plain, turned = (slid(model, image, tta=tta, probabilities=True)[1] for tta in (False, True))
    np.testing.assert_allclose(turned, plain, rtol=1e-5)


def test_a_segmentation_has_no_windows(tmp_path):
    with pytest.raises(InputFault, match="segmentation model, which has no sliding window"):
        slid(Model(write_strongest_band(tmp_path / "m.onnx")), image_of())


# Objects


def detector(path, overlap: int = 8) -> Model:
    """One box around the pixels of band 0 that are over 0, of a tile of 32 px; class of the highest value."""
    nodes = [
        ("Slice", ["image", "zero", "one", "one"], ["band"], {}),
        ("ReduceMax", ["band"], ["by_column"], {"axes": [0, 1, 2], "keepdims": 0}),
        ("ReduceMax", ["band"], ["by_row"], {"axes": [0, 1, 3], "keepdims": 0}),
        ("Greater", ["by_column", "nothing"], ["columns_hit"], {}),
        ("Greater", ["by_row", "nothing"], ["rows_hit"], {}),
        ("NonZero", ["columns_hit"], ["columns"], {}),
        ("NonZero", ["rows_hit"], ["rows"], {}),
    ]
    for axis in ("columns", "rows"):
        nodes += [
            ("Cast", [axis], [f"{axis}_f"], {"to": FLOAT}),
            ("ReduceMin", [f"{axis}_f"], [f"{axis}_low"], {"axes": [1], "keepdims": 1}),
            ("ReduceMax", [f"{axis}_f"], [f"{axis}_last"], {"axes": [1], "keepdims": 1}),
            ("Add", [f"{axis}_last", "step"], [f"{axis}_high"], {}),
        ]
    nodes += [
        ("Concat", ["columns_low", "rows_low", "columns_high", "rows_high"], ["boxes"], {"axis": 1}),
        ("ReduceMax", ["band"], ["top"], {"axes": [0, 1, 2, 3], "keepdims": 0}),
        ("Div", ["top", "hundred"], ["score"], {}),
        ("Reshape", ["score", "single"], ["scores"], {}),
        ("Reshape", ["label", "single"], ["labels"], {}),
    ]
    weights = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "nothing": np.float32(0),
        "step": np.float32(1),
        "hundred": np.float32(255),
        "single": np.array([1]),
        "label": np.int64(1),
    }
    # Slice takes starts, ends, axes
    nodes[0] = ("Slice", ["image", "zero", "one", "one"], ["band"], {})
    outputs = {"boxes": (FLOAT, ["n", 4]), "scores": (FLOAT, ["n"]), "labels": (INT64, ["n"])}
    path = write_graph(path, nodes, outputs, weights, (1, 3, 32, 32))
    return Model(write_given(path, task="detection", overlap=overlap), threads=2)


def scene_with(*boxes: tuple[int, int, int, int], shape=(100, 120)) -> np.ndarray:
    image = np.zeros((3, *shape), np.uint8)
    for left, top, right, bottom in boxes:
        image[0, top:bottom, left:right] = 200
    return image


# A raster in which a tile holds part of one object at most: what this simple detector can tell.
@pytest.mark.parametrize(
    "box",
    [
        (3, 5, 13, 12),  # inside one tile
        (22, 40, 31, 47),  # in the overlap of two
        (20, 20, 30, 30),  # at the corner of four
        (10, 60, 40, 70),  # cut by a border on either side
        (5, 33, 95, 41),  # longer than two tiles
        (110, 90, 120, 100),  # at the raster's end
    ],
)
def test_an_object_is_found_once_and_whole_wherever_the_borders_lie(tmp_path, box):
    image = scene_with(box)
    valid = np.ones(image.shape[1:], bool)

    def read(window):
        return reader(image, valid)(window)

    model = detector(tmp_path / "m.onnx")
    tiles_with_objects = image[0] > 0

    def touches(window):  # NonZero of an empty tile leaves no box to reduce
        rows, columns = (
            slice(window.row, window.row + window.height),
            slice(window.column, window.column + window.width),
        )
        return bool(tiles_with_objects[rows, columns].any())

    found = detect(Scan(model, read, *image.shape[1:], touches=touches))
    assert found.boxes.tolist() == [list(map(float, box))]
    assert found.classes.tolist() == [7]
    np.testing.assert_allclose(found.scores, 200 / 255)


def test_two_objects_side_by_side_across_a_border_stay_two():
    merged = _Merged()

    def tile(window, boxes, cut):
        boxes = np.array(boxes, np.float32)
        count = len(boxes)
        return TileBoxes(window, boxes, np.full(count, 0.9, np.float32), np.zeros(count, int), np.array(cut))

    merged.add(tile(Window(0, 0, 32, 32), [[20, 2, 32, 8], [20, 12, 32, 18]], [True, True]))
    merged.add(tile(Window(0, 24, 32, 32), [[24, 12, 40, 18], [24, 2, 36, 8]], [True, True]))
    boxes, _, _ = merged.objects()
    assert sorted(boxes.tolist()) == [[20, 2, 36, 8], [20, 12, 40, 18]]


def test_objects_of_different_classes_are_not_joined():
    merged = _Merged()
    for label, window in ((0, Window(0, 0, 32, 32)), (1, Window(0, 16, 32, 32))):
        box = np.array([[18, 2, 28, 8]], np.float32)
        merged.add(TileBoxes(window, box, np.ones(1, np.float32), np.array([label]), np.array([False])))
    assert sorted(merged.objects()[2].tolist()) == [0, 1]


def test_an_object_without_data_under_its_middle_is_left_out(tmp_path):
    image = scene_with((3, 5, 13, 12))
    valid = np.ones(image.shape[1:], bool)
    valid[8, 8] = False
    model = detector(tmp_path / "m.onnx")
    touches = lambda w: not w.row and not w.column  # noqa: E731
    found = detect(Scan(model, reader(image, valid), *image.shape[1:], touches=touches))
    assert len(found.boxes) == 0


def test_a_detector_needs_three_outputs_and_a_segmentation_is_none(tmp_path):
    with pytest.raises(InputFault, match="a detection model is needed"):
        detect(Scan(Model(write_strongest_band(tmp_path / "s.onnx")), reader(image_of()), 50, 70))
    path = write_graph(tmp_path / "m.onnx", [("Identity", ["image"], ["out"], {})], {"out": (FLOAT, [1, 3, 32, 32])})
    with pytest.raises(ModelFault, match="three outputs: boxes, scores, labels"):
        Model(write_given(path, task="detection"))

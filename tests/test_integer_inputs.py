"""Models whose input is an integer or of 16 bits: what does not fit is clipped and said, never wrapped."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from export.runtime.model.session import Model
from tests.conftest import write_raster
from tests.models import write_graph
from tests.test_predict_rasters import mapped

KINDS = {
    "uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "uint16": TensorProto.UINT16, "int16": TensorProto.INT16,
    "int32": TensorProto.INT32, "int64": TensorProto.INT64, "float16": TensorProto.FLOAT16,
}  # fmt: skip


def thresholds(path, kind, **card):
    """Three classes of one band, with borders at 100 and 200; the graph turns its input into real numbers first."""
    weights = {"w": np.array([0, 1, 2], np.float32)[:, None, None, None], "b": np.array([0, -100, -300], np.float32)}
    nodes = [("Cast", ["image"], ["real"], {"to": TensorProto.FLOAT}), ("Conv", ["real", "w", "b"], ["logits"], {})]
    nodes.append(("Softmax", ["logits"], ["out"], {"axis": 1}))
    outputs, image = {"out": (TensorProto.FLOAT, ["batch", 3, 32, 32])}, ("batch", 1, 32, 32)
    write_graph(path, nodes, outputs, weights, image, kind=KINDS[kind])
    classes = [{"value": value, "name": name} for value, name in ((1, "low"), (2, "middle"), (3, "high"))]
    told = {"task": "segmentation", "bands": ["b1"], "value_range": [0, 255], "unit": "numbers", "classes": classes}
    told |= {"tile_size": 32, "overlap": 0, **card}
    path.with_suffix(".card.json").write_text(json.dumps(told))
    return path


def direct(path, pixels):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": pixels[None]})[0][0].argmax(axis=0) + 1


@pytest.mark.parametrize("stored", ["int16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_beyond_the_input_do_not_wrap(kind, stored, tmp_path, capsys):
    pixels = np.random.default_rng(2).integers(-300, 600, (1, 32, 32)).astype(stored)
    pixels[0, 0, :4] = (300, -3, 255, 70)
    model = thresholds(tmp_path / "m.onnx", kind)
    if kind == "float16":
        whole = pixels.astype(np.float16)
    else:
        limits = np.iinfo(kind)
        whole = np.clip(pixels.astype(np.int64), limits.min, limits.max).astype(kind)
    raster = write_raster(tmp_path / "a.tif", pixels)
    assert np.array_equal(mapped(model, raster, tmp_path / "out", "--input", "raw"), direct(model, whole))
    said = "the model takes whole numbers from" in capsys.readouterr().err
    assert said == (kind in ("uint8", "int8", "uint16") or (stored == "float32" and kind != "float16"))


def test_fractions_are_rounded_and_gaps_are_filled(tmp_path):
    model = Model(thresholds(tmp_path / "m.onnx", "uint8", fill=[150]), "cpu")
    tile = np.full((1, 1, 32, 32), 99.7, np.float32)
    tile[..., 0], tile[..., 1], tile[..., 2] = np.nan, np.inf, 1e9
    found = model.run(tile)[0].argmax(axis=0) + 1
    rounded = np.full((1, 32, 32), 100, np.uint8)
    rounded[..., 0], rounded[..., 1:3] = 150, 255
    np.testing.assert_array_equal(found, direct(tmp_path / "m.onnx", rounded))


def test_large_numbers_of_16_bits_stay_finite(tmp_path):
    model = Model(thresholds(tmp_path / "m.onnx", "float16"), "cpu")
    assert (model.run(np.full((1, 1, 32, 32), 1e6, np.float32))[0].argmax(axis=0) == 2).all()

"""A model as the QGIS plugin Deepness 0.6.5 runs it: with the onnxruntime that it pins, by its contract."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PACKAGES = Path(__file__).parents[1] / "build" / "deepness"

# The one program of these tests that runs under numpy 1.26 and onnxruntime 1.17.0.
CHILD = """
import json, sys
import numpy as np, onnxruntime
assert onnxruntime.__version__ == "1.17.0", onnxruntime.__version__
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
keys = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
(image,) = session.get_inputs()
pixels = np.array(json.load(sys.stdin), np.float32).transpose(1, 2, 0)
assert image.shape[1:] == [pixels.shape[2], keys["tile_size"], keys["tile_size"]], image.shape
scaled = (pixels / 255 - keys["standardization_mean"]) / keys["standardization_std"]
answer = session.run(None, {image.name: scaled.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
if keys["model_type"] == "Segmentor":
    answer = np.where(answer < keys["seg_thresh"], 0, answer).argmax(axis=0)
json.dump([keys, answer.tolist()], sys.stdout)
"""


# Runs any graph on the inputs of one file of arrays, and keeps the answer in another.
CHILD_OF_ARRAYS = """
import sys
import numpy as np, onnxruntime
assert onnxruntime.__version__ == "1.17.0", onnxruntime.__version__
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
np.save(sys.argv[3], session.run(None, dict(np.load(sys.argv[2])))[0])
"""


def in_its_onnxruntime(model: Path, feed: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """The first output of a graph in the onnxruntime that Deepness pins."""
    check_packages()
    np.savez(folder / "feed.npz", **feed)
    command = [sys.executable, "-S", "-c", CHILD_OF_ARRAYS, model, folder / "feed.npz", folder / "answer.npy"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=PACKAGES)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "answer.npy")


def check_packages() -> None:
    """Skip the test where they are not there."""
    if not (PACKAGES / "onnxruntime").is_dir():
        pytest.skip(f"{PACKAGES} is not there: make test-core puts onnxruntime 1.17.0, which Deepness pins, into it")


def in_deepness(model: Path, tile: np.ndarray) -> tuple[dict, np.ndarray]:
    """What it makes of one tile of raw pixels (bands, rows, cols).

    Returns:
        The model's keys, and the answer: class numbers (rows, cols) of a Segmentor, the vector of a Recognition.
    """
    check_packages()
    done = subprocess.run(
        [sys.executable, "-S", "-c", CHILD, model],  # no site-packages but these
        input=json.dumps(tile.tolist()), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGES)}, cwd=PACKAGES,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    keys, answer = json.loads(done.stdout)
    return keys, np.array(answer)

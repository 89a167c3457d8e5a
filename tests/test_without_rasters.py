"""From a chip store on, nothing needs rasterio, torchgeo or QGIS."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCKED = ("rasterio", "torchgeo", "osgeo", "qgis", "geopandas", "pyogrio", "duckdb", "odc", "openvino")
CODE = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from pathlib import Path
import numpy as np
from benchmarks.gpu.chips import world
from core.train import main
from export.runtime.infer.sweep import Scan, sweep
from export.runtime.model.session import Model
from export.to_onnx import main as to_onnx

store = str(world(Path("store"), 40, 32))
common = ["--data", store, "--device", "cpu"]
small = ["--epochs", "1", "--batch-size", "16"]
assert main(["pretrain", *common, *small, "--queue", "32", "--clusters", "4", "--out", "run"]) == 0
encoder = ["--encoder", "run/encoder.safetensors"]
assert main(["probe", *common, *encoder, "--out", "probe"]) == 0
assert main(["finetune", *common, *encoder, *small, "--out", "map"]) == 0
assert to_onnx(["map", "--out", "map.onnx", "--tile-size", "64"]) == 0

image = np.load("store/shards/00000/chips.npy")[:9].reshape(3, 3, 3, 32, 32).transpose(2, 0, 3, 1, 4).reshape(3, 96, 96)

def read(window):
    rows, columns = slice(window.row, window.row + window.height), slice(window.column, window.column + window.width)
    return image[:, rows, columns].astype(np.float32), np.ones((window.height, window.width), bool)

rows = list(sweep(Scan(Model(Path("map.onnx"), "cpu"), read, 96, 96)))
assert np.concatenate([part.classes for part in rows]).shape == (96, 96)
"""


def test_from_a_store_to_a_map_without_packages_that_read_rasters(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "probe" / "report.html").is_file()

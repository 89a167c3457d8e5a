#!/usr/bin/env bash
# One would guess: a U-Net of segmentation_models_pytorch that is exported for tiles of 256 px and any batch says so: its output is
# (batch, classes, 256, 256), as that of the library's FPN, DeepLabV3+ or Linknet is.
# What happens (torch 2.15.0 with dynamo=False, segmentation_models_pytorch 0.6.0): the output is (batch, classes, batch, an unnamed
# number): the decoder resizes to the size of another map, and the exporter names the rows after the batch. The numbers that the
# network gives are right. Whoever then fixes the batch with onnxruntime's own function (1.31.1) gets a file whose output has as many rows
# as tiles: (4, classes, 4, ?). onnxruntime prints a warning that shapes cannot be merged, and runs it.
# Who meets it: who exports such U-Nets (torchgeo's segmentation has them too) for programs that take the size of the map from the
# file, and reads 4 rows, or one. To be safe: write the true sizes into the output after the export, or run a tile to learn them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "torch==2.15.0" "segmentation_models_pytorch==0.6.0" "onnx==1.23.2" \
  "onnxruntime==1.31.1"
cat > probe.py <<'PY'
import warnings

import numpy as np
import onnx
import onnxruntime
import segmentation_models_pytorch as smp
import torch
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed


def output(graph):
    return [size.dim_value or size.dim_param for size in graph.output[0].type.tensor_type.shape.dim]


print(f"torch {torch.__version__}, segmentation_models_pytorch {smp.__version__}, onnxruntime {onnxruntime.__version__}")
stated = {}
for name in ("FPN", "Linknet", "Unet"):
    network = getattr(smp, name)("resnet18", encoder_weights=None, classes=5).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 3, 256, 256),), f"{name}.onnx", opset_version=17, dynamo=False,
            input_names=["image"], output_names=["scores"], dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        )
    stated[name] = output(onnx.load(f"{name}.onnx").graph)
    print(f"{name}: {stated[name]}")
assert stated["FPN"] == stated["Linknet"] == ["batch", 5, 256, 256]
assert stated["Unet"][:3] == ["batch", 5, "batch"]
model = onnx.load("Unet.onnx")
make_dim_param_fixed(model.graph, "batch", 4)
fixed = output(model.graph)
print(f"Unet with a batch of 4: {fixed}")
assert fixed[:3] == [4, 5, 4]
session = onnxruntime.InferenceSession("Unet.onnx", providers=["CPUExecutionProvider"])
shape = session.run(None, {"image": np.zeros((2, 3, 256, 256), np.float32)})[0].shape
print(f"Unet of two tiles gives {shape}")
assert shape == (2, 5, 256, 256)
PY
venv/bin/python probe.py

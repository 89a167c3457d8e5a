#!/usr/bin/env bash
# One would guess: a float32 ONNX model gives float32 answers on the CPU, whichever execution provider of onnxruntime runs it; a lower
# precision is something that one asks for.
# What happens (onnxruntime 1.31.1, plugin onnxruntime-ep-openvino 1.8.1, a processor with units for bf16): the plugin calculates in bf16
# without being asked. Answers differ from those of the CPU provider in the third digit instead of the seventh, and nothing says so. With
# INFERENCE_PRECISION_HINT f32 in its load_config it gives float32. On processors without such units it calculates in float32 by itself, so a
# test on an older machine does not show it.
# Who meets it: whoever compares maps of two computers, or checks an export by comparing onnxruntime's answers with torch's.
set -euo pipefail
if ! grep -qE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
  echo "this processor has no units for bf16: nothing to show"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "onnxruntime==1.31.1" "onnxruntime-ep-openvino==1.8.1" "onnx==1.23.2" "numpy==2.4.6"
cat > probe.py <<'PY'
import json

import numpy as np
import onnx
import onnxruntime
import onnxruntime_ep_openvino as plugin
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
sizes = (3, 32, 32, 8)
nodes, weights = [], []
for number, (into, out) in enumerate(zip(sizes, sizes[1:])):
    kernel = rng.normal(0, (2 / (9 * into)) ** 0.5, (out, into, 3, 3)).astype(np.float32)
    weights.append(numpy_helper.from_array(kernel, f"kernel{number}"))
    nodes.append(helper.make_node("Conv", [f"x{number}", f"kernel{number}"], [f"c{number}"], pads=[1] * 4))
    nodes.append(helper.make_node("Relu", [f"c{number}"], [f"x{number + 1}"]))
shape = [1, 3, 128, 128]
graph = helper.make_graph(
    nodes, "g", [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("x3", TensorProto.FLOAT, [1, 8, 128, 128])], weights,
)
onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), "model.onnx")
onnxruntime.register_execution_provider_library("openvino", plugin.get_library_path())
devices = [one for one in onnxruntime.get_ep_devices() if one.ep_name == plugin.get_ep_name()]
pixels = rng.random(shape, np.float32)


def answer(settings=None):
    options = onnxruntime.SessionOptions()
    if settings is not None:
        options.add_provider_for_devices(devices, settings)
        session = onnxruntime.InferenceSession("model.onnx", options)
    else:
        session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x0": pixels})[0]


expected = answer()
asked = {"load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f32"}})}
print(f"onnxruntime {onnxruntime.__version__}")
found = {}
for name, settings in (("the plugin as it is", {}), ("the plugin with f32", asked)):
    found[name] = np.abs(answer(settings) - expected).max() / np.abs(expected).max()
    print(f"{name}: largest difference to the CPU provider {found[name]:.1e} of the largest value")
assert found["the plugin as it is"] > 1e-3
assert found["the plugin with f32"] < 1e-5
PY
venv/bin/python -W ignore probe.py

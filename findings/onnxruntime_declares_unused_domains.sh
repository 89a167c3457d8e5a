#!/usr/bin/env bash
# One would guess: opset_import of an ONNX file lists the operator domains that its nodes use, so a file of standard
# operators declares the standard domain only, before and after a tool has simplified it.
# What happens (onnxruntime 1.24.1): quant_pre_process, which its guide recommends before quantising, and a session with
# optimized_model_filepath both write a file that declares seven more domains (com.microsoft, org.pytorch.aten,
# ai.onnx.preview.training and others), although every node is still a standard operator, also at the basic level of optimisation.
# Who meets it: loaders that judge by opset_import whether a file needs custom operators. They refuse sound files; the
# domains of the nodes, also of those in branches and functions, are what counts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "onnx==1.21.0" "onnxruntime==1.24.1" "sympy==1.14.0"
cat > probe.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization.shape_inference import quant_pre_process

print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], np.zeros(108, np.float32))
nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["y"], ["z"])]
values = [
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, bands, 8, 8])] for name, bands in (("x", 3), ("z", 4))
]
model = helper.make_model(helper.make_graph(nodes, "g", *values, [weights]), opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 10
onnx.save(model, "written.onnx")
quant_pre_process("written.onnx", "preprocessed.onnx")
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = "optimised.onnx"
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
onnxruntime.InferenceSession("written.onnx", options, providers=["CPUExecutionProvider"])
for name in ("written", "preprocessed", "optimised"):
    loaded = onnx.load(f"{name}.onnx")
    declared, used = {entry.domain for entry in loaded.opset_import}, {node.domain for node in loaded.graph.node}
    print(f"{name}: declares {sorted(declared)}, uses {sorted(used)}")
    assert used == {""}
    assert declared == {""} if name == "written" else {"com.microsoft", "org.pytorch.aten"} < declared
PY
venv/bin/python probe.py

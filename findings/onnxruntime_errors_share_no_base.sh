#!/usr/bin/env bash
# One would guess: the errors of onnxruntime have a common base class to catch, or derive from RuntimeError.
# What happens (onnxruntime 1.31.1): fifteen classes (Fail, InvalidArgument, NoSuchFile, InvalidGraph, ...) each derive
# from Exception alone, and none is exported by the package: they are in onnxruntime.capi.onnxruntime_pybind11_state.
# An input of a wrong rank raises InvalidArgument, a missing file NoSuchFile, a missing input ValueError.
# Who meets it: programs that run models of others and must tell a bad model from an error of their own; `except
# Exception` is what remains, unless they list the classes of that module.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "onnxruntime==1.31.1" "onnx==1.23.2" "numpy==2.4.6"
cat > probe.py <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", value[:1], value[1:])
opset = [helper.make_opsetid("", 17)]
model = helper.make_model(graph, ir_version=9, opset_imports=opset).SerializeToString()
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def error_of(call):
    try:
        call()
    except Exception as error:
        return error
    raise SystemExit("no error was raised")


print(f"onnxruntime {onnxruntime.__version__}")
classes = [one for one in vars(state).values() if isinstance(one, type) and issubclass(one, Exception)]
print(len(classes), "classes, bases:", {base.__name__ for one in classes for base in one.__bases__})
assert len(classes) == 15
assert all(one.__bases__ == (Exception,) for one in classes)
assert not [one.__name__ for one in classes if hasattr(onnxruntime, one.__name__)]
errors = {
    "wrong rank": error_of(lambda: session.run(None, {"x": np.zeros(3, np.float32)})),
    "no file": error_of(lambda: onnxruntime.InferenceSession("none.onnx", providers=["CPUExecutionProvider"])),
    "no input": error_of(lambda: session.run(None, {})),
}
for cause, error in errors.items():
    print(f"{cause}: {type(error).__name__}, a RuntimeError: {isinstance(error, RuntimeError)}")
assert [type(error).__name__ for error in errors.values()] == ["InvalidArgument", "NoSuchFile", "ValueError"]
PY
venv/bin/python probe.py

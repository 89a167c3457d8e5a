#!/usr/bin/env bash
# One would guess: infer requests are made to be used by several threads, one each; which thread calls first does not matter.
# What happens (openvino 2026.4.1, CPython 3.11 and newer): if the first calls of a process come from several threads at once, the process
# may hang for ever, with the interpreter's lock held, so that nothing else runs and not even Ctrl+C is heard. One thread initialises a
# static variable of the binding and lets go of the interpreter's lock while it imports numpy's types; the other has got that lock and
# waits for the variable (__cxa_guard_acquire under pybind11's gil_safe_call_once_and_store, by gdb). After one call all is well.
# Who meets it: whoever runs tiles in a pool of threads, as onnxruntime allows. Here 3 of 12 processes hung, in other trials half of them; with the usual
# interval of switches fewer do. The remedy: the first call of a process runs alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "openvino==2026.4.1" "numpy==2.4.6"
cat > probe.py <<'PY'
import sys
import threading

import numpy as np
import openvino as ov

sys.setswitchinterval(1e-6)  # threads take turns more often than usual
picture = ov.opset13.parameter([1, 3, 64, 64], np.float32)
model = ov.Core().compile_model(ov.Model([ov.opset13.relu(picture)], [picture]), "CPU", {"NUM_STREAMS": 4})
requests, gate = [model.create_infer_request() for _ in range(4)], threading.Barrier(4)


def call(request):
    gate.wait()
    request.infer({0: np.zeros((1, 3, 64, 64), np.float32)}, share_inputs=True)


if sys.argv[1] == "first alone":
    requests[0].infer({0: np.zeros((1, 3, 64, 64), np.float32)}, share_inputs=True)
threads = [threading.Thread(target=call, args=(one,)) for one in requests]
for one in threads:
    one.start()
for one in threads:
    one.join()
PY
for how in "at once" "first alone"; do
  hung=0
  for _ in $(seq 12); do timeout -s KILL 15 venv/bin/python probe.py "$how" 2>/dev/null || hung=$((hung + 1)); done
  echo "first calls $how: $hung of 12 processes hung"
  if [ "$how" = "at once" ]; then [ $hung -gt 0 ]; else [ $hung = 0 ]; fi
done

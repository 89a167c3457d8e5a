"""Benchmarks of speed and memory, as ratios within one run; results go to docs/benchmarks."""

import export as export  # first: it keeps onnxruntime from sending events

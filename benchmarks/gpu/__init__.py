"""Proof on a GPU: ``bash benchmarks/gpu/run.sh OUT``, prepared by ``python -m benchmarks.gpu.stage FOLDER``."""

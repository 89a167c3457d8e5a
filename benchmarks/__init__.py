"""Benchmarks of speed and memory, as ratios within one run; results go to docs/benchmarks."""

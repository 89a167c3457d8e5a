"""Speed and memory, measured as ratios in one run; figures go to docs/benchmarks."""
